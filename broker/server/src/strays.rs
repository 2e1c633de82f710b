//! Directories of partitions that this node should not have: what is left of a deletion that a crash cut short is
//! removed, everything else is kept under a name that Kafka, too, calls stray.
//!
//! What a newcomer would get wrong: that the metadata does not know a topic is no proof that it was deleted. A metadata
//! log that was lost, or is another cluster's, knows none. Only a committed RemoveTopicRecord is one (D11). And a
//! topic's name is none either: the directory of a deleted topic has the name of the one that was made after it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;

use metadata::loader::removed_topics;
use metadata::{Image, Loader};
use protocol::batch::Batch;
use protocol::types::{BrokerId, TopicId};
use shards::sync::Semaphore;
use shards::{Priority, fs};
use storage::kafka_files::{self, FILE_BYTES_MAX, PARTITION_METADATA};
use storage::{Dir, Log, LogConfig, PartitionId};

use crate::metadata_log;
use crate::shard::Node;

/// Directories that are looked into at the same time.
const AT_A_TIME: usize = 16;

/// Clears the log directory of what the committed metadata gives this node no part in. It comes before any partition
/// is opened: one of the same name would meet the old directory.
///
/// # Errors
/// One line: the metadata log cannot be read, or the disk fails.
pub async fn clear(node: &Node, dir: &Dir, log: &Log, loader: &Loader) -> Result<(), String> {
    let image = loader.image();
    let foreign = find(node, dir, image).await?;
    if foreign.is_empty() {
        return Ok(());
    }
    let mut deleted = BTreeSet::new();
    let note = |batch: &Batch<'_>| {
        deleted.extend(removed_topics(batch).map_err(|error| error.to_string())?);
        Ok(())
    };
    metadata_log::for_each_batch(log, log.log_start_offset(), loader.next_offset(), note).await?;
    let failed = |error: storage::StorageError| error.to_string();
    let (mut strays, mut removed) = (Vec::new(), 0);
    for (id, topic) in foreign {
        let opened = node.store.open_partition(&id, &topic, LogConfig::default()).await;
        if opened.map_err(failed)?.is_none() {
            continue;
        }
        if deleted.contains(&id.topic_id) {
            node.store.delete_partition(&id).await.map_err(failed)?;
            removed += 1;
        } else if let Some(stray) = node.store.set_partition_aside(&id).await.map_err(failed)? {
            strays.push(stray);
        }
    }
    if let Some(first) = strays.first() {
        tracing::warn!(
            "{} directories are of partitions that the metadata does not give to this node: kept as {} and so on",
            strays.len(),
            first.display()
        );
    }
    if removed > 0 {
        tracing::info!("finished the deletion of {removed} partitions of deleted topics");
    }
    Ok(())
}

/// The partitions that have something here and should not, with their topics' names.
async fn find(node: &Node, dir: &Dir, image: &Image) -> Result<BTreeMap<PartitionId, String>, String> {
    let this = node.settings().node_id;
    // What storage knows needs no look into its directory.
    let known: BTreeMap<PartitionId, &str> = dir.partitions().collect();
    let mut foreign: BTreeMap<PartitionId, String> = known
        .iter()
        .filter(|(id, _)| !is_ours(image, this, id))
        .map(|(id, topic)| (*id, (*topic).to_owned()))
        .collect();
    let path = &node.settings().data_dir;
    let entries = fs::read_dir(path).await;
    let entries = entries.map_err(|error| format!("cannot list {}: {error}", path.display()))?;
    let permits = Rc::new(Semaphore::new(AT_A_TIME));
    let mut looks = Vec::new();
    for entry in entries.into_iter().filter(|entry| entry.is_dir) {
        let Some((topic, partition)) = kafka_files::parse_directory_name(&entry.name) else {
            continue;
        };
        let of_name = image.topics().get(topic).map(|topic| PartitionId {
            topic_id: topic.id,
            partition,
        });
        if of_name.is_some_and(|id| known.contains_key(&id)) {
            continue;
        }
        let permit = permits.acquire(1).await;
        let topic = topic.to_owned();
        let file = path.join(&entry.name).join(PARTITION_METADATA);
        looks.push(shards::spawn(Priority::Clients, async move {
            let found = topic_id(&file).await;
            drop(permit);
            found.map(|topic_id| (PartitionId { topic_id, partition }, topic))
        }));
    }
    for look in looks {
        if let Some((id, topic)) = look.await
            && !is_ours(image, this, &id)
        {
            foreign.insert(id, topic);
        }
    }
    Ok(foreign)
}

/// Whether the metadata gives this node a replica of the partition; it always has the metadata log.
fn is_ours(image: &Image, this: BrokerId, id: &PartitionId) -> bool {
    let topic = image.topics().by_id(id.topic_id);
    let partition = topic.and_then(|topic| topic.partition(id.partition));
    id.topic_id == TopicId::METADATA_TOPIC
        || partition.is_some_and(|partition| partition.replicas.contains(&this))
}

/// The topic id in a `partition.metadata`. A directory that has none that can be read is nobody's: it is left alone.
async fn topic_id(file: &Path) -> Option<TopicId> {
    let bytes = fs::read(file, FILE_BYTES_MAX).await.ok()?;
    kafka_files::decode_partition_metadata(&bytes).ok()
}
