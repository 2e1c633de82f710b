//! The leader: its epoch begins with a record of its own, and what it has durably is committed.
//!
//! What a newcomer would get wrong: nothing is committed in an epoch before the record that opens it is, since only then
//! is it sure that no other leader could cut what came before; and the leader counts its durable end, not its log's.

use protocol::messages::{LeaderChangeMessage, leader_change_message::Voter};
use protocol::types::{BrokerId, LeaderEpoch, Offset, Uuid};

use crate::candidate::Candidate;
use crate::{ElectionState, Voters};

/// A node that leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leader {
    pub(crate) epoch: LeaderEpoch,
    /// The offset of the record that opens the epoch.
    pub(crate) epoch_start: Offset,
    /// Who voted for it.
    granting: Vec<BrokerId>,
    /// Everything before this is durable here.
    pub(crate) durable: Offset,
}

impl Leader {
    /// The winner of an election, whose log ends at `log_end`.
    pub(crate) fn of(candidate: &Candidate, log_end: Offset) -> Leader {
        let granting = candidate.granting().collect();
        Leader {
            epoch: candidate.epoch(),
            epoch_start: log_end,
            granting,
            durable: Offset(0),
        }
    }

    /// The record that opens the epoch.
    pub(crate) fn message(&self, node: BrokerId, voters: &Voters) -> LeaderChangeMessage {
        // Version 0 of the message has no directories.
        let voter = |id: BrokerId| Voter {
            voter_id: id.0,
            voter_directory_id: Uuid::ZERO,
        };
        LeaderChangeMessage {
            version: 0,
            leader_id: node.0,
            voters: voters.iter().map(voter).collect(),
            granting_voters: self.granting.iter().copied().map(voter).collect(),
        }
    }

    pub(crate) fn election_state(&self, node: BrokerId, voters: &Voters) -> ElectionState {
        ElectionState {
            epoch: self.epoch,
            leader: Some(node),
            voted: None,
            voters: voters.clone(),
        }
    }

    /// What is committed: with one voter, what is durable here, once that holds the opening record.
    pub(crate) fn high_watermark(&self) -> Option<Offset> {
        (self.durable > self.epoch_start).then_some(self.durable)
    }
}
