//! The metadata log as a start finds it: opened, and read from its newest snapshot on.
//!
//! What a newcomer would get wrong: only what is committed is read. The log may hold more, which a later leader could
//! still take back; with one voter the two ends meet as soon as it leads.

use std::rc::Rc;

use metadata::{Loader, snapshot};
use protocol::batch::{Batch, batches};
use protocol::types::{Offset, Partition, TopicId};
use shards::fs;
use storage::{Log, LogConfig, PartitionId, ReadAt};

use crate::shard::Node;

/// The topic of the metadata log.
const TOPIC: &str = "__cluster_metadata";
/// Bytes that are read at a time.
const READ_BYTES: usize = 1 << 20;
/// A snapshot is read whole; a million partitions need less.
const SNAPSHOT_BYTES_MAX: usize = 1 << 30;

/// Opens the log on this shard, or makes it.
///
/// # Errors
/// One line for an operator, as from all here.
pub async fn open(node: &Node) -> Result<Rc<Log>, String> {
    let id = PartitionId {
        topic_id: TopicId::METADATA_TOPIC,
        partition: Partition(0),
    };
    let log = node
        .store
        .create_partition(&id, TOPIC, LogConfig::default())
        .await;
    log.map_err(|error| format!("the metadata log: {error}"))
}

/// Everything that the log says up to `committed`, from its newest snapshot on.
///
/// # Errors
/// The log, or the snapshot, is damaged.
pub async fn load(log: &Log, committed: Offset) -> Result<Loader, String> {
    let mut loader = load_snapshot(log).await?;
    let from = loader.next_offset();
    let apply = |batch: &Batch<'_>| loader.apply_batch(batch).map_err(|error| error.to_string());
    for_each_batch(log, from, committed, apply).await?;
    Ok(loader)
}

async fn load_snapshot(log: &Log) -> Result<Loader, String> {
    let dir = log.path();
    let entries = fs::read_dir(dir)
        .await
        .map_err(|error| format!("cannot list {}: {error}", dir.display()))?;
    let newest = entries
        .iter()
        .filter_map(|entry| snapshot::Id::of_file_name(&entry.name))
        .max_by_key(|id| id.end_offset);
    let Some(id) = newest else {
        return Ok(Loader::default());
    };
    let path = dir.join(id.file_name());
    let bytes = fs::read(&path, SNAPSHOT_BYTES_MAX).await;
    let bytes = bytes.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let snapshot = snapshot::decode(&bytes).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Loader::new(snapshot.image, id.end_offset))
}

/// Gives `take` every batch from offset `from` up to `committed`, in order; the first may begin before `from`.
///
/// # Errors
/// The log is damaged, or `take` has failed.
pub async fn for_each_batch(
    log: &Log,
    from: Offset,
    committed: Offset,
    mut take: impl FnMut(&Batch<'_>) -> Result<(), String>,
) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Debug| format!("the metadata log cannot be read: {error:?}");
    let mut next = from;
    while next < committed {
        let at = ReadAt {
            from: next.max(log.log_start_offset()),
            bytes_max: READ_BYTES,
            at_least_one: true,
            upper_bound: committed,
            may_wait: true,
        };
        let data = log.read(at).await.map_err(|error| failed(&error))?;
        let before = next;
        for batch in batches(&data.chunks.concat()) {
            let batch = batch.map_err(|error| failed(&error))?;
            if !batch.crc_is_valid() {
                return Err(failed(&"a batch is damaged"));
            }
            take(&batch)?;
            next = batch.header().next_offset();
        }
        if next == before {
            return Err(failed(&"it has a hole"));
        }
    }
    Ok(())
}
