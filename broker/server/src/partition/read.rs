//! Reading for consumers, on the shard that owns the partitions.
//!
//! What a newcomer would get wrong: a wait starts only if nothing has become visible since the read that found too
//! little; between the two nothing is awaited, so no commit is missed.

use bytes::Bytes;
use protocol::error_code::ErrorCode;
use protocol::types::{LeaderEpoch, Offset, Partition as Index, TopicId};
use shards::time::{Duration, Instant, now, sleep_until};
use shards::{Either, select2};
use storage::{PartitionId, ReadAt, ReadError};

use super::waiters::{Interested, Thirst};
use crate::errors;
use crate::shard::Node;

/// A wait looks this often whether its client is still there.
const LOOK: Duration = Duration::from_secs(2);

/// What a consumer asks of one partition.
#[derive(Copy, Clone, Debug)]
pub struct Wanted {
    /// The topic.
    pub topic_id: TopicId,
    /// Which partition of it.
    pub partition: Index,
    /// The first offset wanted.
    pub offset: Offset,
    /// The epoch the client believes in, or -1.
    pub current_leader_epoch: LeaderEpoch,
    /// The epoch of the record before `offset`, or -1.
    pub last_fetched_epoch: LeaderEpoch,
    /// Bytes wanted at most, but for the first batch.
    pub max_bytes: usize,
}

/// What holds for all partitions of a fetch on one shard.
#[derive(Copy, Clone, Debug)]
pub struct Limits {
    /// Bytes of all together at most, but for the first batch.
    pub max_bytes: usize,
    /// Below so many the answer waits; 0 is never.
    pub min_bytes: usize,
    /// Until then.
    pub deadline: Instant,
    /// Whether to wait for memory as long as nothing was read. Not while records from another shard are held: two
    /// fetches could wait for what the other has.
    pub may_wait: bool,
}

/// What one partition answers.
#[derive(Clone, Debug)]
pub struct Read {
    /// NONE, or why nothing was read.
    pub error: ErrorCode,
    /// The offset behind the last visible record; -1 with an error.
    pub high_watermark: Offset,
    /// Where the log begins; -1 with an error.
    pub log_start_offset: Offset,
    /// Where the client's log and ours part, instead of records.
    pub diverging: Option<(LeaderEpoch, Offset)>,
    /// Whole batches in a row; the first may begin before the offset wanted.
    pub records: Vec<Bytes>,
    /// Bytes of `records`.
    pub bytes: usize,
    /// There may be records, and was no memory to read them into.
    pub is_short: bool,
}

impl Read {
    /// Nothing was read.
    pub fn failed(error: ErrorCode) -> Read {
        Read {
            error,
            high_watermark: Offset(-1),
            log_start_offset: Offset(-1),
            diverging: None,
            records: Vec::new(),
            bytes: 0,
            is_short: false,
        }
    }

    /// Whether the client must know at once, however little there is to read.
    pub fn is_urgent(&self) -> bool {
        self.error != ErrorCode::None || self.diverging.is_some()
    }
}

/// Reads the partitions in order, and again after a wait as long as there is too little and time is left.
pub async fn read_here(wanted: Vec<Wanted>, limits: Limits, interested: Interested) -> Vec<Read> {
    let node = Node::current();
    loop {
        let reads = read_once(&node, &wanted, limits, &interested).await;
        let bytes: usize = reads.iter().map(|read| read.bytes).sum();
        let is_done = bytes >= limits.min_bytes || reads.iter().any(|read| read.is_urgent() || read.is_short);
        if is_done || now() >= limits.deadline || node.is_stopping() || !interested.is_there() {
            return reads;
        }
        let seen = wanted.iter().zip(&reads).map(|(wanted, read)| Seen {
            topic_id: wanted.topic_id,
            partition: wanted.partition,
            high_watermark: read.high_watermark,
        });
        let seen = seen.collect();
        watch(
            &node,
            seen,
            limits.min_bytes - bytes,
            limits.deadline,
            interested.clone(),
        )
        .await;
    }
}

/// Up to where a consumer has seen a partition.
#[derive(Copy, Clone, Debug)]
pub struct Seen {
    /// The topic.
    pub topic_id: TopicId,
    /// Which partition of it.
    pub partition: Index,
    /// The high watermark when it was read.
    pub high_watermark: Offset,
}

/// Waits until `missing` bytes have become visible in the partitions together, or one of them has left, or for the
/// deadline.
pub async fn watch_here(seen: Vec<Seen>, missing: usize, deadline: Instant, interested: Interested) {
    watch(&Node::current(), seen, missing, deadline, interested).await;
}

async fn watch(node: &Node, seen: Vec<Seen>, missing: usize, deadline: Instant, interested: Interested) {
    let thirst = Thirst::new(missing, interested.clone());
    for Seen {
        topic_id,
        partition,
        high_watermark,
    } in seen
    {
        match node.partition(PartitionId { topic_id, partition }) {
            Some(partition) if partition.high_watermark() == high_watermark => {
                partition.add_consumer(&thirst)
            }
            // Something has happened since: it is for the next read to find out what.
            _ => return,
        }
    }
    // A shard that stops wakes those who wait, once: who comes after that does not wait.
    if node.is_stopping() {
        return;
    }
    while interested.is_there() && now() < deadline {
        let look = deadline.min(now() + LOOK);
        match select2(thirst.quenched(), sleep_until(look)).await {
            Either::First(()) => break,
            Either::Second(()) => {}
        }
    }
}

/// Reads each partition once, in order. The first one that has any records gives at least one batch of them, however
/// large; the others give what there is room for, and memory for at once.
///
/// One wait for memory is enough: who waited in vain does not wait again for the next partition.
async fn read_once(node: &Node, wanted: &[Wanted], limits: Limits, interested: &Interested) -> Vec<Read> {
    let mut bytes = 0;
    let mut may_wait = limits.may_wait;
    let mut reads = Vec::with_capacity(wanted.len());
    for one in wanted {
        let room = limits.max_bytes.saturating_sub(bytes);
        may_wait &= interested.is_there();
        let read = read_partition(node, one, room, bytes == 0, may_wait)
            .await
            .unwrap_or_else(Read::failed);
        bytes += read.bytes;
        may_wait &= !read.is_short;
        reads.push(read);
    }
    reads
}

async fn read_partition(
    node: &Node,
    wanted: &Wanted,
    room: usize,
    is_first: bool,
    may_wait: bool,
) -> Result<Read, ErrorCode> {
    let id = PartitionId {
        topic_id: wanted.topic_id,
        partition: wanted.partition,
    };
    let partition = node.partition(id).ok_or(ErrorCode::NotLeaderOrFollower)?;
    partition.check_epoch(wanted.current_leader_epoch)?;
    let log = partition.log();
    log.is_usable().map_err(|error| errors::of_storage(&error))?;
    let high_watermark = partition.high_watermark();
    let log_start_offset = log.log_start_offset();
    let mut read = Read {
        error: ErrorCode::None,
        high_watermark,
        log_start_offset,
        ..Read::failed(ErrorCode::None)
    };
    if wanted.last_fetched_epoch >= LeaderEpoch(0) {
        let end = log.end_offset_for_epoch(wanted.last_fetched_epoch);
        let (epoch, end) = end.ok_or(ErrorCode::OffsetOutOfRange)?;
        if epoch < wanted.last_fetched_epoch || end < wanted.offset {
            read.diverging = Some((epoch, end));
            return Ok(read);
        }
    }
    if wanted.offset < log_start_offset || wanted.offset > log.log_end_offset() {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    let max_bytes = wanted.max_bytes.min(room);
    if wanted.offset >= high_watermark || (max_bytes == 0 && !is_first) {
        return Ok(read);
    }
    let at = ReadAt {
        from: wanted.offset,
        bytes_max: max_bytes,
        at_least_one: is_first,
        upper_bound: high_watermark,
        may_wait: may_wait && is_first,
    };
    match log.read(at).await {
        Ok(data) => {
            read.bytes = data.bytes;
            read.records = data.chunks;
        }
        Err(ReadError::NoMemory) => read.is_short = true,
        Err(ReadError::Offline(error)) => return Err(partition.failed_read(&error)),
        Err(error) => return Err(errors::of_read(&error)),
    }
    Ok(read)
}
