//! Commands about topics on their way from any shard to the controller, with everything they need to own.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;

use metadata::Refusal;
use metadata::controller::topics::{self, Created, Rules};
use protocol::error_code::ErrorCode;
use protocol::types::{BrokerId, Partition, TopicId, Uuid};
use shards::random;

use crate::config::{Config, check_batches, check_topic};
use crate::controller_driver;

/// A topic that a client wants, as in the controller.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// -1: the broker's default, or as many as `assignments`.
    pub num_partitions: i32,
    /// -1: the broker's default, or as `assignments` say.
    pub replication_factor: i16,
    /// Which brokers hold which partition; empty leaves it to the controller.
    pub assignments: Vec<(Partition, Vec<BrokerId>)>,
    /// Its settings, as they were sent.
    pub configs: Vec<(String, Option<String>)>,
}

/// A topic that a client wants to be gone.
#[derive(Clone, Debug)]
pub enum Which {
    /// By name.
    Name(String),
    /// By id.
    Id(TopicId),
}

/// An answer for each topic, in order; or why the controller answered nothing.
pub type Answers<T> = Result<Vec<Result<T, Refusal>>, ErrorCode>;

/// Has the controller create topics: an answer for each, in order, when every shard has their partitions.
pub fn create(
    config: Arc<Config>,
    wanted: Vec<Wanted>,
    validate_only: bool,
) -> impl Future<Output = Answers<Created>> {
    let call = controller_driver::decide(move |controller| {
        let defaults = &config.settings.topics;
        let rules = Rules {
            num_partitions: defaults.num_partitions,
            replication_factor: defaults.default_replication_factor,
            check_configs: &|configs| {
                check_topic(configs)?;
                check_batches(configs, shards::budget::total())
            },
        };
        let wanted: Vec<topics::Wanted<'_>> = wanted
            .iter()
            .map(|topic| topics::Wanted {
                name: &topic.name,
                num_partitions: topic.num_partitions,
                replication_factor: topic.replication_factor,
                assignments: topic.assignments.clone(),
                configs: topic
                    .configs
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_deref()))
                    .collect(),
            })
            .collect();
        controller.decide_create_topics(&wanted, validate_only, &rules, &mut || Uuid(random::uuid_bytes()))
    });
    async move { call.await.unwrap_or(Err(ErrorCode::NotController)) }
}

/// Has the controller create topics that were only asked for, with all defaults. Resolves with the names of those that
/// could not be, and why; one that somebody else created meanwhile is there.
pub fn create_missing(
    config: Arc<Config>,
    names: BTreeSet<String>,
) -> impl Future<Output = Vec<(String, ErrorCode)>> {
    let names: Vec<String> = names.into_iter().collect();
    let wanted = names.iter().map(|name| Wanted {
        name: name.clone(),
        num_partitions: -1,
        replication_factor: -1,
        assignments: Vec::new(),
        configs: Vec::new(),
    });
    let creation = create(config, wanted.collect(), false);
    async move {
        match creation.await {
            Ok(created) => names
                .into_iter()
                .zip(created)
                .filter_map(|(name, created)| Some((name, created.err()?.code)))
                .filter(|(_, code)| *code != ErrorCode::TopicAlreadyExists)
                .collect(),
            Err(code) => names.into_iter().map(|name| (name, code)).collect(),
        }
    }
}

/// Has the controller delete topics: name and id of each that is gone, in order.
pub fn delete(which: Vec<Which>) -> impl Future<Output = Answers<(String, TopicId)>> {
    let call = controller_driver::decide(move |controller| {
        let which: Vec<topics::Which<'_>> = which
            .iter()
            .map(|one| match one {
                Which::Name(name) => topics::Which::Name(name),
                Which::Id(id) => topics::Which::Id(*id),
            })
            .collect();
        controller.decide_delete_topics(&which)
    });
    async move { call.await.unwrap_or(Err(ErrorCode::NotController)) }
}
