//! Appending what a client produced, on the shard that owns the partition.
//!
//! What a newcomer would get wrong: everything up to the staging happens inside the call, before anything is awaited.
//! That is what keeps the order of one connection's requests, and of one idempotent producer's sequences.

use std::future::Future;
use std::rc::Rc;

use bytes::Bytes;
use protocol::batch::{BatchMut, Header};
use protocol::error_code::ErrorCode;
use protocol::produce::Acks;
use protocol::types::{Offset, Partition as Index, TopicId};
use protocol::validation::{DECOMPRESSED_BYTES_MAX, InvalidBatch, ValidBatch, validate_produced};
use shards::sync::oneshot;
use shards::time::{Duration, Instant, sleep_until, wall_ms};
use shards::{Either, select2};
use storage::PartitionId;

use super::Partition;
use crate::errors;
use crate::shard::Node;

/// What acks=all waits for at least, whatever its timeout. That timeout is about replicas, and there is none but this
/// one: a batch that is staged will be committed, and a client that is told otherwise sends it a second time.
const COMMIT_WAIT_LEAST: Duration = Duration::from_secs(5);

/// One batch for one partition.
#[derive(Debug)]
pub struct Append {
    /// The topic.
    pub topic_id: TopicId,
    /// Which partition of it.
    pub partition: Index,
    /// What the client sent for it; lent by the connection's shard.
    pub records: Bytes,
}

/// What holds for all batches of a request.
#[derive(Copy, Clone, Debug)]
pub struct Options {
    /// What has to have happened before the answer.
    pub acks: Acks,
    /// How long acks=all waits for replicas; as in Kafka it says nothing about acks=1.
    pub timeout: Duration,
    /// Whether the version of the request allows zstd.
    pub is_zstd_allowed: bool,
}

/// What became of one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// NONE, or why it was not appended, or not in time.
    pub error: ErrorCode,
    /// Offset of its first record; -1 with an error.
    pub base_offset: Offset,
    /// When the leader stamped it, in ms since 1970; -1 under CreateTime.
    pub append_time_ms: i64,
    /// Where the log begins; -1 when unknown.
    pub log_start_offset: Offset,
    /// Single records that were wrong: place in the batch and why.
    pub record_errors: Vec<(i32, String)>,
    /// What was wrong, for people.
    pub message: Option<String>,
}

impl Appended {
    /// Nothing was appended.
    pub fn failed(error: ErrorCode) -> Appended {
        Appended {
            error,
            base_offset: Offset(-1),
            append_time_ms: -1,
            log_start_offset: Offset(-1),
            record_errors: Vec::new(),
            message: None,
        }
    }
}

/// A batch that was staged, and what its answer waits for.
struct Staged {
    answer: Appended,
    commit: Option<oneshot::Receiver<()>>,
}

impl Options {
    /// When the answer is due, committed or not; `None`: when it is committed.
    fn deadline(&self) -> Option<Instant> {
        (self.acks == Acks::All).then(|| shards::time::now() + self.timeout.max(COMMIT_WAIT_LEAST))
    }
}

/// Stages every batch, in order, within this call; the future answers for each in the same order.
pub fn append_here(appends: Vec<Append>, options: Options) -> impl Future<Output = Vec<Appended>> {
    let node = Node::current();
    let mut allowance = DECOMPRESSED_BYTES_MAX;
    let staged: Vec<Staged> = appends
        .iter()
        .map(|append| stage(&node, append, options, &mut allowance))
        .collect();
    async move {
        // One deadline for all: they are committed together.
        let mut answers = Vec::with_capacity(staged.len());
        let deadline = options.deadline();
        for Staged { mut answer, commit } in staged {
            if let Some(commit) = commit {
                let committed = match deadline {
                    None => Either::First(commit.await),
                    Some(deadline) => select2(commit, sleep_until(deadline)).await,
                };
                match committed {
                    Either::First(Ok(())) => {}
                    Either::First(Err(_)) => answer = Appended::failed(ErrorCode::NotLeaderOrFollower),
                    Either::Second(()) => answer = Appended::failed(ErrorCode::RequestTimedOut),
                }
            }
            answers.push(answer);
        }
        answers
    }
}

/// Checks a batch and stages it, or says why not.
fn stage(node: &Node, append: &Append, options: Options, allowance: &mut usize) -> Staged {
    let id = PartitionId {
        topic_id: append.topic_id,
        partition: append.partition,
    };
    let staged = match node.partition(id) {
        Some(partition) => partition.append(node, &append.records, options, allowance),
        // The metadata of the connection's shard was older or newer than ours, or the node stops.
        None => Err(Appended::failed(ErrorCode::NotLeaderOrFollower)),
    };
    staged.unwrap_or_else(|answer| Staged { answer, commit: None })
}

impl Partition {
    /// `allowance`: what the compressed batches of the request may still decompress to on this shard.
    fn append(
        self: &Rc<Self>,
        node: &Node,
        records: &Bytes,
        options: Options,
        allowance: &mut usize,
    ) -> Result<Staged, Appended> {
        let now_ms = wall_ms();
        let log_start_offset = self.log.log_start_offset();
        let refused = |error| Appended {
            log_start_offset,
            ..Appended::failed(error)
        };
        let mut rules = self.rules.borrow().clone();
        rules.is_zstd_allowed = options.is_zstd_allowed;
        let is_lowered = *allowance < rules.decompressed_bytes_max;
        let valid = validate_produced(records, &rules, now_ms, allowance).map_err(|invalid| Appended {
            record_errors: record_errors(&invalid),
            message: Some(invalid.to_string()),
            ..refused(match is_lowered && invalid.is_too_large_inside() {
                // It may well be right, and other batches of the request have used up what this one needs. A client
                // sends it again in a request of its own.
                true => ErrorCode::RequestTimedOut,
                false => invalid.error_code(),
            })
        })?;
        if is_transactional(records) {
            // No transaction can be open: there is no coordinator to open one.
            return Err(refused(ErrorCode::InvalidTxnState));
        }
        let batch = final_bytes(records, &valid);
        let bytes = batch.len();
        let appended = self
            .log
            .append(batch, self.leader_epoch(), now_ms)
            .map_err(|error| refused(errors::of_append(&error)))?;
        let end = Offset(appended.last_offset.0 + 1);
        if !appended.is_duplicate {
            self.note_staged(node, end, bytes);
        }
        let answer = Appended {
            base_offset: appended.base_offset,
            // Of a repeat: when the batch was appended the first time.
            append_time_ms: match valid.append_time_ms() {
                -1 => -1,
                _ => appended.max_timestamp,
            },
            ..refused(ErrorCode::None)
        };
        let is_answered_at_once = options.acks == Acks::None || end <= self.high_watermark();
        let commit = (!is_answered_at_once).then(|| self.committed(end));
        Ok(Staged { answer, commit })
    }
}

/// The batch as it is to be stored but for offset and epoch: copied only if the leader sets its timestamps.
fn final_bytes(records: &Bytes, valid: &ValidBatch) -> Bytes {
    let batch = records.slice(..valid.length);
    let is_final = Header::parse(&batch).is_ok_and(|header| {
        header.timestamp_type() == valid.timestamp_type && header.max_timestamp() == valid.max_timestamp
    });
    if is_final {
        return batch;
    }
    let mut copy = batch.to_vec();
    if let Ok(mut batch) = BatchMut::parse(&mut copy) {
        batch.set_max_timestamp(valid.timestamp_type, valid.max_timestamp);
    }
    copy.into()
}

fn record_errors(invalid: &InvalidBatch) -> Vec<(i32, String)> {
    match invalid {
        InvalidBatch::RecordErrors { errors, .. } => errors
            .iter()
            .map(|error| (error.index, error.kind.to_string()))
            .collect(),
        _ => Vec::new(),
    }
}

/// Whether the first batch of `records` belongs to a transaction.
pub fn is_transactional(records: &[u8]) -> bool {
    Header::parse(records).is_ok_and(|header| header.is_transactional())
}
