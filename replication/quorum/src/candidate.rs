//! During an election: the node has voted for itself in a new epoch and counts votes.

use std::collections::BTreeSet;

use protocol::types::{BrokerId, LeaderEpoch};

use crate::{ElectionState, Voters};

/// A node that wants to lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    epoch: LeaderEpoch,
    granting: BTreeSet<BrokerId>,
}

impl Candidate {
    /// Stands in the epoch after `epoch`, with its own vote. None if there is no further epoch.
    pub(crate) fn after(epoch: LeaderEpoch, node: BrokerId) -> Option<Candidate> {
        let epoch = LeaderEpoch(epoch.0.checked_add(1)?);
        Some(Candidate {
            epoch,
            granting: BTreeSet::from([node]),
        })
    }

    /// The epoch it stands in.
    pub(crate) fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// Who voted for it.
    pub(crate) fn granting(&self) -> impl Iterator<Item = BrokerId> {
        self.granting.iter().copied()
    }

    /// Whether a majority did.
    pub(crate) fn has_won(&self, voters: &Voters) -> bool {
        self.granting.iter().filter(|id| voters.contains(**id)).count() >= voters.majority()
    }

    /// What must be durable before anybody hears of the candidacy.
    pub(crate) fn election_state(&self, node: BrokerId, voters: &Voters) -> ElectionState {
        ElectionState {
            epoch: self.epoch,
            leader: None,
            voted: Some(node),
            voters: voters.clone(),
        }
    }
}
