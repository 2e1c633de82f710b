//! Before an election: the epoch is known, its leader is not.

use protocol::types::LeaderEpoch;

/// A node that follows nobody yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unattached {
    /// The highest epoch this node has seen, in its file or its log.
    pub(crate) epoch: LeaderEpoch,
}
