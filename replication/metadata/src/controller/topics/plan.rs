//! What a new topic will be, or why it cannot be.
//!
//! What a newcomer would get wrong: the order of the checks shows in the error a client gets, so it is
//! Kafka's; and with `assignments` both counts must be -1.

use std::collections::BTreeMap;

use protocol::ErrorCode;
use protocol::messages::{ClearElrRecord, ConfigRecord, MetadataRecord, PartitionRecord, TopicRecord};
use protocol::types::{BrokerId, TopicId, Uuid};

use super::{Created, Rules, Wanted, too_many};
use crate::controller::{Draft, Refusal, placement};
use crate::image::Image;
use crate::image::configs::{Settings, TOPIC};
use crate::records::RECORDS_MAX;

/// The topic of the metadata log itself, which is no topic of the image.
const METADATA_TOPIC: &str = "__cluster_metadata";
const NAME_BYTES_MAX: usize = 249;

/// A topic as it will be: the replicas of each partition, and its settings.
pub(super) struct Plan {
    replicas: Vec<Vec<BrokerId>>,
    configs: Settings,
}

/// Whether a topic may have this name; the error says why not (`Topic.validate`).
pub fn check_name(name: &str) -> Result<(), String> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let reason = match name {
        "" => "the empty string is not allowed".to_owned(),
        "." | ".." => format!("'{name}' is not allowed"),
        _ if name.len() > NAME_BYTES_MAX => {
            format!("the length of '{name}' is longer than the max allowed length {NAME_BYTES_MAX}")
        }
        _ if !name.bytes().all(is_legal) => {
            format!(
                "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
            )
        }
        _ => return Ok(()),
    };
    Err(format!("Topic name is invalid: {reason}"))
}

pub(super) fn check_count(topics: &[Wanted<'_>], rules: &Rules<'_>) -> Result<(), Refusal> {
    let of = |topic: &Wanted<'_>| match (topic.assignments.len(), topic.num_partitions) {
        (0, -1) => i64::from(rules.num_partitions),
        (0, given) => i64::from(given).max(0),
        (assigned, _) => assigned as i64,
    };
    let total: i64 = topics.iter().map(of).sum();
    if total > RECORDS_MAX as i64 {
        Err(too_many())
    } else {
        Ok(())
    }
}

pub(super) fn plan(image: &Image, topic: &Wanted<'_>, rules: &Rules<'_>) -> Result<Plan, Refusal> {
    if topic.name == METADATA_TOPIC {
        let message = format!("Creation of internal topic {METADATA_TOPIC} is prohibited.");
        return Err(Refusal::new(ErrorCode::InvalidRequest, message));
    }
    check_name(topic.name).map_err(|message| Refusal::new(ErrorCode::InvalidTopicException, message))?;
    if image.topics().get(topic.name).is_some() {
        let message = format!("Topic '{}' already exists.", topic.name);
        return Err(Refusal::new(ErrorCode::TopicAlreadyExists, message));
    }
    check_collision(image, topic.name)?;
    let configs = plan_configs(topic, rules)?;
    let replicas = match topic.assignments.is_empty() {
        true => plan_counted(image, topic, rules)?,
        false => plan_assigned(image, topic)?,
    };
    Ok(Plan { replicas, configs })
}

/// Only names with a `.` or `_` can collide. A collision agrees with the name up to the first of them, so
/// only the names that begin so are looked at.
fn check_collision(image: &Image, name: &str) -> Result<(), Refusal> {
    let Some((prefix, _)) = name.split_once(['.', '_']) else {
        return Ok(());
    };
    let is_same = |one: u8, other: u8| one == other || matches!((one, other), (b'.', b'_') | (b'_', b'.'));
    let collides = |other: &str| {
        other.len() == name.len()
            && other
                .bytes()
                .zip(name.bytes())
                .all(|(one, other)| is_same(one, other))
    };
    let near = image
        .topics()
        .from(prefix)
        .take_while(|topic| topic.name.starts_with(prefix));
    match near.map(|topic| &topic.name).find(|other| collides(other)) {
        Some(other) => {
            let message = format!("Topic '{name}' collides with existing topic: {other}");
            Err(Refusal::new(ErrorCode::InvalidTopicException, message))
        }
        None => Ok(()),
    }
}

fn plan_configs(topic: &Wanted<'_>, rules: &Rules<'_>) -> Result<Settings, Refusal> {
    let invalid = |message| Refusal::new(ErrorCode::InvalidConfig, message);
    let mut configs = Settings::new();
    for (name, value) in &topic.configs {
        let value =
            value.ok_or_else(|| invalid(format!("Null value not supported for topic configs: {name}")))?;
        configs.insert((*name).to_owned(), value.to_owned());
    }
    (rules.check_configs)(&configs).map_err(invalid)?;
    Ok(configs)
}

fn plan_counted(image: &Image, topic: &Wanted<'_>, rules: &Rules<'_>) -> Result<Vec<Vec<BrokerId>>, Refusal> {
    let or = |given: i32, default: i32| if given == -1 { default } else { given };
    let replicas = or(topic.replication_factor.into(), rules.replication_factor.into());
    let partitions = or(topic.num_partitions, rules.num_partitions);
    if replicas <= 0 {
        let message = "Replication factor must be larger than 0, or -1 to use the default value.";
        return Err(Refusal::new(ErrorCode::InvalidReplicationFactor, message));
    }
    if partitions <= 0 {
        let message = "Number of partitions was set to an invalid non-positive value.";
        return Err(Refusal::new(ErrorCode::InvalidPartitions, message));
    }
    placement::place(image, partitions, replicas as i16)
}

fn plan_assigned(image: &Image, topic: &Wanted<'_>) -> Result<Vec<Vec<BrokerId>>, Refusal> {
    let set = [
        (topic.replication_factor != -1, "replication factor"),
        (topic.num_partitions != -1, "numPartitions"),
    ];
    if let Some((_, what)) = set.into_iter().find(|(is_set, _)| *is_set) {
        let message = format!("A manual partition assignment was specified, but {what} was not set to -1.");
        return Err(Refusal::new(ErrorCode::InvalidRequest, message));
    }
    let invalid = |message| Refusal::new(ErrorCode::InvalidReplicaAssignment, message);
    let mut planned = BTreeMap::new();
    let mut first = None;
    for (partition, brokers) in &topic.assignments {
        let index = partition.0;
        check_assigned(image, index, brokers).map_err(invalid)?;
        let replicas = *first.get_or_insert(brokers.len());
        if brokers.len() != replicas {
            return Err(invalid(format!(
                "The manual partition assignment includes a partition with {} replica(s), but this is not consistent \
                 with previous partitions, which have {replicas} replica(s).",
                brokers.len()
            )));
        }
        if planned.insert(index, brokers.clone()).is_some() {
            let message = format!("Found multiple manual partition assignments for partition {index}");
            return Err(invalid(message));
        }
    }
    if !planned.keys().copied().eq(0..planned.len() as i32) {
        return Err(invalid(
            "partitions should be a consecutive 0-based integer sequence".to_owned(),
        ));
    }
    Ok(planned.into_values().collect())
}

fn check_assigned(image: &Image, index: i32, brokers: &[BrokerId]) -> Result<(), String> {
    let includes = "The manual partition assignment includes";
    if brokers.is_empty() {
        return Err(format!("{includes} an empty replica list."));
    }
    for (at, id) in brokers.iter().enumerate() {
        if image.broker(*id).is_none() {
            return Err(format!(
                "{includes} broker {id}, but no such broker is registered."
            ));
        }
        if brokers.iter().take(at).any(|other| other == id) {
            return Err(format!("{includes} the broker {id} more than once."));
        }
    }
    if !brokers.iter().any(|id| is_active(image, *id)) {
        return Err(format!(
            "All brokers specified in the manual partition assignment for partition {index} are fenced or in \
             controlled shutdown."
        ));
    }
    Ok(())
}

fn is_active(image: &Image, id: BrokerId) -> bool {
    image.broker(id).is_some_and(|broker| broker.is_active())
}

impl Plan {
    pub(super) fn write(
        self,
        draft: &mut Draft,
        topic: &Wanted<'_>,
        topic_id: TopicId,
    ) -> Result<Created, Refusal> {
        // The topic's own record and the one that clears who is eligible stand for the two.
        if draft.records.len() + 2 + self.configs.len() + self.replicas.len() > RECORDS_MAX {
            return Err(too_many());
        }
        draft.push(&MetadataRecord::Topic(TopicRecord {
            name: topic.name,
            topic_id,
        }));
        for (name, value) in &self.configs {
            draft.push(&MetadataRecord::Config(ConfigRecord {
                resource_type: TOPIC,
                resource_name: topic.name,
                name,
                value: Some(value.as_str()),
            }));
        }
        if self.configs.contains_key("min.insync.replicas") {
            // Who is eligible depends on it, so it starts afresh with every change, and Kafka takes this for
            // one.
            draft.push(&MetadataRecord::ClearElr(ClearElrRecord {
                topic_name: topic.name,
            }));
        }
        for (index, replicas) in (0..).zip(&self.replicas) {
            let record = partition_record(&draft.image, topic_id, index, replicas);
            draft.push(&MetadataRecord::Partition(record));
        }
        Ok(Created {
            topic_id,
            num_partitions: self.replicas.len() as i32,
            replication_factor: self.replicas.first().map_or(0, Vec::len) as i16,
            configs: self.configs,
        })
    }
}

fn partition_record(image: &Image, topic_id: TopicId, index: i32, replicas: &[BrokerId]) -> PartitionRecord {
    let active = replicas.iter().filter(|id| is_active(image, **id));
    let isr: Vec<i32> = active.map(|id| id.0).collect();
    PartitionRecord {
        partition_id: index,
        topic_id,
        replicas: replicas.iter().map(|id| id.0).collect(),
        leader: isr.first().copied().unwrap_or(-1),
        isr,
        leader_epoch: 0,
        partition_epoch: 0,
        directories: replicas.iter().map(|id| directory(image, *id)).collect(),
        ..PartitionRecord::default()
    }
}

/// Where a broker puts a new partition: its one directory, or it says so later (`DirectoryId`).
fn directory(image: &Image, id: BrokerId) -> Uuid {
    const MIGRATING: u128 = 0;
    const UNASSIGNED: u128 = 1;
    match image.broker(id).map(|broker| broker.directories.as_slice()) {
        Some([one]) => *one,
        Some([]) | None => Uuid(MIGRATING.to_be_bytes()),
        Some(_) => Uuid(UNASSIGNED.to_be_bytes()),
    }
}
