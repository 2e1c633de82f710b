//! Which partitions this shard hosts, as the newest metadata has it: opens the new ones and gives the others up.
//!
//! What a newcomer would get wrong: opening comes before the view is put in place and giving up after it, so that a
//! shard is never sent a request for a partition that it does not have yet, nor finds one that it gave up.

use std::rc::Rc;
use std::sync::Arc;

use metadata::image::topics::Topic;
use protocol::batch;
use protocol::types::TopicId;
use protocol::validation::ProduceRules;
use shards::{Gate, budget};
use storage::{LogConfig, PartitionId};

use super::Partition;
use crate::config::{self, TimestampType, TopicSettings};
use crate::images::View;
use crate::shard::Node;

/// Partitions that one shard opens at the same time: enough to keep the disk busy with their directories.
const OPENED_AT_ONCE: usize = 16;

/// Opens every partition that `view` gives to this shard and that it does not have yet; those that it has learn of
/// a later leader epoch.
pub async fn open_all(node: &Rc<Node>, view: &Arc<View>) {
    let permits = shards::sync::Semaphore::new(OPENED_AT_ONCE);
    let opening = Gate::new();
    for topic in view.image.topics().iter() {
        let mut missing = Vec::new();
        for id in mine(node, view, topic) {
            match (node.partition(id), topic.partition(id.partition)) {
                (Some(partition), Some(of_image)) => partition.lead_from(of_image.leader_epoch),
                _ => missing.push(id),
            }
        }
        if missing.is_empty() {
            continue;
        }
        // Only now: it is much work, and this runs at every change of metadata.
        let settings = topic_settings(node, view, &topic.name);
        for id in missing {
            let permit = permits.acquire(1).await;
            let (node, topic) = (node.clone(), topic.clone());
            let settings = settings.clone();
            let open = async move {
                open(&node, &topic, id, &settings).await;
                drop(permit);
            };
            // The gate is closed below and nowhere else.
            opening.spawn(shards::Priority::Clients, open).ok();
        }
    }
    opening.close().await;
}

/// Gives up every partition that `view` no longer gives to this shard, and removes its files.
pub async fn remove_all(node: &Rc<Node>, view: &Arc<View>) {
    for partition in node.partitions() {
        let PartitionId {
            topic_id,
            partition: index,
        } = partition.id;
        if topic_id == TopicId::METADATA_TOPIC || view.owner(topic_id, index) == Ok(node.shard) {
            continue;
        }
        node.remove_partition(partition.id);
        if let Err(error) = node.store.delete_partition(&partition.id).await {
            tracing::error!(topic = %partition.topic, partition = %index, "partition not deleted: {error}");
        }
    }
}

/// The partitions of a topic that this shard owns and this node has a replica of.
fn mine<'a>(node: &'a Node, view: &'a View, topic: &'a Topic) -> impl Iterator<Item = PartitionId> + 'a {
    let this = node.settings().node_id;
    let owned = topic.partitions().filter(move |(index, one)| {
        view.owner(topic.id, *index) == Ok(node.shard) && one.replicas.contains(&this)
    });
    owned.map(|(index, _)| PartitionId {
        topic_id: topic.id,
        partition: index,
    })
}

async fn open(node: &Node, topic: &Topic, id: PartitionId, settings: &TopicSettings) {
    let Some(of_image) = topic.partition(id.partition) else {
        return;
    };
    let log = node
        .store
        .create_partition(&id, &topic.name, log_config(settings))
        .await;
    match log {
        Ok(log) => {
            let epoch = of_image.leader_epoch;
            if log.latest_epoch().is_none_or(|latest| latest < epoch) {
                log.assign_epoch(epoch);
            }
            node.add_partition(Partition::new(
                id,
                topic.name.to_string(),
                log,
                epoch,
                rules(settings),
            ));
        }
        Err(error) => {
            tracing::error!(topic = %topic.name, partition = %id.partition, "partition not opened: {error}");
        }
    }
}

/// The settings in force for a topic.
fn topic_settings(node: &Node, view: &View, topic: &str) -> TopicSettings {
    let configs = view.image.configs();
    let broker = configs.broker(node.settings().node_id);
    node.shared
        .config
        .topic(&configs.topic(topic), &broker, &configs.cluster())
}

fn log_config(settings: &TopicSettings) -> LogConfig {
    LogConfig {
        segment_bytes: u32::try_from(settings.segment_bytes).unwrap_or(u32::MAX),
        index_interval_bytes: settings.index_interval_bytes,
        is_compacted: settings.is_compacted,
        ..LogConfig::default()
    }
}

fn rules(settings: &TopicSettings) -> ProduceRules {
    ProduceRules {
        timestamp_type: match settings.timestamp_type {
            TimestampType::CreateTime => batch::TimestampType::CreateTime,
            TimestampType::LogAppendTime => batch::TimestampType::LogAppendTime,
        },
        timestamp_before_max_ms: settings.timestamp_before_max_ms,
        timestamp_after_max_ms: settings.timestamp_after_max_ms,
        is_compacted: settings.is_compacted,
        // A log written elsewhere may ask for more than could be read again here, and so may a default.
        batch_bytes_max: settings
            .max_message_bytes
            .min(config::batch_bytes_max(budget::total())),
        ..ProduceRules::default()
    }
}
