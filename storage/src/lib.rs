//! A partition on disk: the journal, the log, and what it takes to believe them after a crash.
//!
//! What a newcomer would get wrong: bytes are safe when the shard's journal has them, not when they stand in
//! a `.log` file; those are written later, in whole blocks, from memory.

pub mod checkpoint;
mod core;
mod dir;
mod error;
pub mod guard;
pub mod index;
pub mod journal;
mod journals;
pub mod kafka_files;
pub mod leader_epochs;
mod log;
mod log_config;
pub mod offline;
pub mod outline;
pub mod planted;
pub mod producers;
mod recovery;
mod reserve;
mod rope;
pub mod segment;
mod store;
mod tail;
pub mod time_index;

pub use crate::core::{Options, Stats};
pub use dir::{Dir, DirConfig, DirLock, DirShare};
pub use error::StorageError;
pub use log::{AppendError, Appended, Log, ReadAt, ReadData, ReadError, TimestampOffset, readable_bytes_max};
pub use log_config::LogConfig;
pub use recovery::Report;
pub use store::{Closed, Store};

use protocol::types::{Partition, TopicId};

/// What a partition is called inside: by id, so that a topic that is deleted and made again under its name
/// is another one (D11).
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PartitionId {
    /// The topic.
    pub topic_id: TopicId,
    /// The partition's number in it.
    pub partition: Partition,
}

impl std::fmt::Display for PartitionId {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}/{}", self.topic_id, self.partition)
    }
}
