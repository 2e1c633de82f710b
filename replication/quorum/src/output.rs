//! All that a quorum wants done.
//!
//! What a newcomer would get wrong: outputs are done in the order they come, each to its end before the next, and all of
//! them before the next input. That order is what makes a vote durable before anybody acts on it.

use protocol::messages::LeaderChangeMessage;
use protocol::types::{LeaderEpoch, Offset};

use crate::ElectionState;

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Write this to `quorum-state`, durably: aside, synced, renamed, directory synced.
    Persist(ElectionState),
    /// Append a control batch of one record with this message. It gets exactly this offset.
    Append {
        /// The end of the log.
        offset: Offset,
        /// The epoch to write into the batch.
        epoch: LeaderEpoch,
        /// The record.
        message: LeaderChangeMessage,
    },
    /// Everything before this offset is committed: it may be applied, and answers that waited for it may go. Never
    /// goes back.
    HighWatermark(Offset),
    /// This node leads no more: whoever waited for a commit is told so.
    Resigned,
}
