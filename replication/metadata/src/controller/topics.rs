//! Topics are created and deleted.
//!
//! What a newcomer would get wrong: topics of one request stand each for itself, one may succeed and the next
//! be refused; ids come from outside, for nothing here is random; `.` and `_` in a name are the same to
//! metrics, so two names that differ only there collide.

mod plan;

use std::collections::BTreeMap;

use protocol::ErrorCode;
use protocol::messages::{MetadataRecord, RemoveTopicRecord};
use protocol::types::{BrokerId, Partition, TopicId, Uuid};

pub use plan::check_name;

use super::{Controller, Decision, Refusal};
use crate::image::Image;
use crate::image::configs::Settings;
use crate::records::RECORDS_MAX;

/// A topic that somebody wants.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted<'a> {
    /// Its name.
    pub name: &'a str,
    /// How many partitions; -1 leaves it to the broker, or to `assignments`.
    pub num_partitions: i32,
    /// How many replicas of each; -1 leaves it to the broker, or to `assignments`.
    pub replication_factor: i16,
    /// Which brokers hold which partition; empty leaves it to the controller.
    pub assignments: Vec<(Partition, Vec<BrokerId>)>,
    /// Its settings, as they were sent.
    pub configs: Vec<(&'a str, Option<&'a str>)>,
}

/// What holds for topics that do not say.
pub struct Rules<'a> {
    /// Partitions, 1 or more.
    pub num_partitions: i32,
    /// Replicas, 1 or more.
    pub replication_factor: i16,
    /// Whether settings are allowed; the error is a sentence for the client.
    pub check_configs: &'a dyn Fn(&Settings) -> Result<(), String>,
}

/// A topic that was created, or could be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// Its id.
    pub topic_id: TopicId,
    /// How many partitions it has.
    pub num_partitions: i32,
    /// How many replicas each has.
    pub replication_factor: i16,
    /// Its settings.
    pub configs: Settings,
}

/// A topic to be deleted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Which<'a> {
    /// By its name.
    Name(&'a str),
    /// By its id.
    Id(TopicId),
}

impl Controller {
    /// Creates topics; an answer for each, in order. `ids` gives new ids. With `validate_only` the answers
    /// are as if, and nothing is decided (`ReplicationControlManager.createTopics`).
    pub fn decide_create_topics(
        &mut self,
        topics: &[Wanted<'_>],
        validate_only: bool,
        rules: &Rules<'_>,
        ids: &mut dyn FnMut() -> Uuid,
    ) -> Decision<Vec<Result<Created, Refusal>>> {
        if let Err(refusal) = plan::check_count(topics, rules) {
            return self.refuse(topics.iter().map(|_| Err(refusal.clone())).collect());
        }
        let names = counts(topics.iter().map(|topic| topic.name));
        let mut draft = self.draft();
        let mut answers = Vec::with_capacity(topics.len());
        for topic in topics {
            let plan = match names.get(topic.name) {
                Some(1) => plan::plan(&draft.image, topic, rules),
                _ => Err(Refusal::new(ErrorCode::InvalidRequest, "Duplicate topic name.")),
            };
            answers.push(plan.and_then(|plan| {
                let topic_id = new_id(&draft.image, ids);
                plan.write(&mut draft, topic, topic_id)
            }));
        }
        match validate_only {
            true => self.refuse(answers),
            false => self.adopt(draft, answers),
        }
    }

    /// Deletes topics; an answer for each, in order: name and id of what is gone
    /// (`ReplicationControlManager.deleteTopics`).
    pub fn decide_delete_topics(
        &mut self,
        topics: &[Which<'_>],
    ) -> Decision<Vec<Result<(String, TopicId), Refusal>>> {
        let times = counts(topics.iter());
        let mut draft = self.draft();
        let mut answers = Vec::with_capacity(topics.len());
        for topic in topics {
            let found = match times.get(topic) {
                Some(1) if draft.records.len() < RECORDS_MAX => find(&draft.image, topic),
                Some(1) => Err(too_many()),
                _ => Err(doubled(topic)),
            };
            if let Ok((_, topic_id)) = found {
                draft.push(&MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id }));
            }
            answers.push(found);
        }
        self.adopt(draft, answers)
    }
}

/// How often each is there.
fn counts<T: Ord>(all: impl Iterator<Item = T>) -> BTreeMap<T, usize> {
    let mut counts = BTreeMap::new();
    all.for_each(|one| *counts.entry(one).or_default() += 1);
    counts
}

fn new_id(image: &Image, ids: &mut dyn FnMut() -> Uuid) -> TopicId {
    loop {
        let id = ids();
        // The first 100 values are reserved, and a text that begins with a hyphen looks like an option to
        // tools.
        let is_fit = u128::from_be_bytes(id.0) >= 100 && !id.to_string().starts_with('-');
        if is_fit && image.topics().by_id(id).is_none() {
            return id;
        }
    }
}

fn too_many() -> Refusal {
    Refusal::new(
        ErrorCode::PolicyViolation,
        "Excessively large number of partitions per request.",
    )
}

fn doubled(topic: &Which<'_>) -> Refusal {
    let what = match topic {
        Which::Name(_) => "Duplicate topic name.",
        Which::Id(_) => "Duplicate topic id.",
    };
    Refusal::new(ErrorCode::InvalidRequest, what)
}

fn find(image: &Image, topic: &Which<'_>) -> Result<(String, TopicId), Refusal> {
    let found = match topic {
        Which::Name(name) => image.topics().get(name),
        Which::Id(id) => image.topics().by_id(*id),
    };
    let found = found.map(|found| (found.name.to_string(), found.id));
    found.ok_or_else(|| match topic {
        Which::Name(_) => Refusal::new(
            ErrorCode::UnknownTopicOrPartition,
            "This server does not host this topic-partition.",
        ),
        Which::Id(_) => Refusal::new(
            ErrorCode::UnknownTopicId,
            "This server does not host this topic ID.",
        ),
    })
}
