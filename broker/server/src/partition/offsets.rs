//! Finding offsets: by time, by leader epoch, and both ends of the log; on the shard that owns the partition.

use protocol::error_code::ErrorCode;
use protocol::types::{LeaderEpoch, Offset, Partition as Index, TopicId};
use storage::{PartitionId, StorageError, TimestampOffset};

use crate::errors;
use crate::shard::Node;

/// What a client looks for in one partition.
#[derive(Copy, Clone, Debug)]
pub struct Looked {
    /// The topic.
    pub topic_id: TopicId,
    /// Which partition of it.
    pub partition: Index,
    /// The epoch the client believes in, or -1.
    pub current_leader_epoch: LeaderEpoch,
    /// Which offset.
    pub sought: Sought,
}

/// Which offset is looked for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Sought {
    /// The one behind the last visible record.
    Latest,
    /// Of the first record.
    Earliest,
    /// Of the first record with the largest timestamp.
    MaxTimestamp,
    /// Of the last record in remote storage, or of the first that is still to go there: nothing does.
    Tiered,
    /// Of the first record at or after that time, in ms since 1970.
    At(i64),
}

impl Sought {
    /// Whether the answer may stand in a file.
    fn may_read(self) -> bool {
        matches!(self, Sought::MaxTimestamp | Sought::At(_))
    }

    /// What a timestamp means in a version of ListOffsets; negative ones are names.
    ///
    /// # Errors
    /// UNSUPPORTED_VERSION for a name that the version, or anybody, does not know.
    pub fn from_timestamp(timestamp: i64, version: i16) -> Result<Sought, ErrorCode> {
        match timestamp {
            0.. => Ok(Sought::At(timestamp)),
            -1 => Ok(Sought::Latest),
            -2 => Ok(Sought::Earliest),
            -3 if version >= 7 => Ok(Sought::MaxTimestamp),
            // All of the log is local.
            -4 if version >= 8 => Ok(Sought::Earliest),
            -5 if version >= 9 => Ok(Sought::Tiered),
            -6 if version >= 11 => Ok(Sought::Tiered),
            _ => Err(ErrorCode::UnsupportedVersion),
        }
    }
}

/// What was found; offset -1 without an error is "no such record".
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// NONE, or why nobody could look.
    pub error: ErrorCode,
    /// The record's timestamp, or -1.
    pub timestamp: i64,
    /// Its offset, or -1.
    pub offset: Offset,
    /// Its leader epoch, or -1.
    pub leader_epoch: LeaderEpoch,
}

impl Found {
    /// Nobody could look.
    pub fn failed(error: ErrorCode) -> Found {
        Found {
            error,
            timestamp: -1,
            offset: Offset(-1),
            leader_epoch: LeaderEpoch(-1),
        }
    }

    /// There is no such record.
    fn nothing() -> Found {
        Found::failed(ErrorCode::None)
    }
}

/// Where an epoch ends that a client asks for.
#[derive(Copy, Clone, Debug)]
pub struct EpochLooked {
    /// The topic.
    pub topic_id: TopicId,
    /// Which partition of it.
    pub partition: Index,
    /// The epoch the client believes in, or -1.
    pub current_leader_epoch: LeaderEpoch,
    /// The epoch whose end is wanted.
    pub epoch: LeaderEpoch,
}

/// The largest epoch up to the one asked for, and where it ends; both -1 when there is none.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct EndOfEpoch {
    /// NONE, or why nobody could look.
    pub error: ErrorCode,
    /// The epoch that was found.
    pub epoch: LeaderEpoch,
    /// The offset behind its last record.
    pub offset: Offset,
}

impl EndOfEpoch {
    /// Nobody could look.
    pub fn failed(error: ErrorCode) -> EndOfEpoch {
        EndOfEpoch {
            error,
            epoch: LeaderEpoch(-1),
            offset: Offset(-1),
        }
    }
}

/// Looks up each, in order. When one has waited for memory in vain, so would the others: they are answered alike.
pub async fn look_up_here(looked: Vec<Looked>) -> Vec<Found> {
    let node = Node::current();
    let mut found: Vec<Found> = Vec::with_capacity(looked.len());
    let mut has_waited = false;
    for one in looked {
        let one = match has_waited && one.sought.may_read() {
            true => Err(ErrorCode::RequestTimedOut),
            false => look_up(&node, one).await,
        };
        has_waited |= one
            .as_ref()
            .is_err_and(|error| *error == ErrorCode::RequestTimedOut);
        found.push(one.unwrap_or_else(Found::failed));
    }
    found
}

async fn look_up(node: &Node, looked: Looked) -> Result<Found, ErrorCode> {
    let Looked {
        topic_id,
        partition,
        current_leader_epoch,
        sought,
    } = looked;
    let partition = node
        .partition(PartitionId { topic_id, partition })
        .ok_or(ErrorCode::NotLeaderOrFollower)?;
    partition.check_epoch(current_leader_epoch)?;
    let (log, high_watermark) = (partition.log(), partition.high_watermark());
    let at = |offset, leader_epoch| Found {
        error: ErrorCode::None,
        timestamp: -1,
        offset,
        leader_epoch,
    };
    let offline = |error: StorageError| partition.failed_read(&error);
    // Where a log that is offline ends is not known: a client that believed it would go back or skip.
    log.is_usable().map_err(offline)?;
    match sought {
        Sought::Latest => Ok(at(high_watermark, partition.leader_epoch())),
        Sought::Earliest => {
            let start = log.log_start_offset();
            Ok(at(start, log.epoch_for(start).unwrap_or(LeaderEpoch(-1))))
        }
        Sought::Tiered => Ok(Found::nothing()),
        Sought::MaxTimestamp => Ok(found(log.max_timestamp(high_watermark).await.map_err(offline)?)),
        Sought::At(timestamp) => Ok(found(
            log.offset_for_timestamp(timestamp, high_watermark)
                .await
                .map_err(offline)?,
        )),
    }
}

fn found(at: Option<TimestampOffset>) -> Found {
    at.map_or_else(Found::nothing, |at| Found {
        error: ErrorCode::None,
        timestamp: at.timestamp,
        offset: at.offset,
        leader_epoch: at.leader_epoch,
    })
}

/// Looks up each, in order.
pub async fn ends_of_epochs_here(looked: Vec<EpochLooked>) -> Vec<EndOfEpoch> {
    let node = Node::current();
    looked
        .into_iter()
        .map(|one| end_of_epoch(&node, one).unwrap_or_else(EndOfEpoch::failed))
        .collect()
}

fn end_of_epoch(node: &Node, looked: EpochLooked) -> Result<EndOfEpoch, ErrorCode> {
    let EpochLooked {
        topic_id,
        partition,
        current_leader_epoch,
        epoch,
    } = looked;
    let partition = node
        .partition(PartitionId { topic_id, partition })
        .ok_or(ErrorCode::NotLeaderOrFollower)?;
    partition.check_epoch(current_leader_epoch)?;
    let log = partition.log();
    log.is_usable().map_err(|error| errors::of_storage(&error))?;
    Ok(match log.end_offset_for_epoch(epoch) {
        Some((epoch, offset)) => EndOfEpoch {
            error: ErrorCode::None,
            epoch,
            offset,
        },
        None => EndOfEpoch::failed(ErrorCode::None),
    })
}
