//! All that can happen to a quorum.

use protocol::types::Offset;

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The log is open and ends at this offset. Comes first, once.
    Start {
        /// The offset of the next record.
        log_end: Offset,
    },
    /// Everything in this node's log before the offset survives a power cut. Never goes back.
    Durable(Offset),
    /// This node shall not lead any more, because it stops or because its log failed.
    Resign,
}
