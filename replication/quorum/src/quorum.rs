//! The state machine of one voter: one input, one match, outputs in order.

use protocol::types::{BrokerId, LeaderEpoch, Offset};

use crate::candidate::Candidate;
use crate::leader::Leader;
use crate::unattached::Unattached;
use crate::{ElectionState, Input, Output, Voters};

/// One voter of the quorum. Whoever drives it gives it one [`Input`] at a time and does the [`Output`]s in order,
/// each to its end, before the next.
#[derive(Clone, Debug)]
pub struct Quorum {
    pub(crate) node: BrokerId,
    pub(crate) voters: Voters,
    pub(crate) state: State,
    /// Everything before this is committed; none until the leader of some epoch has committed its first record.
    pub(crate) high_watermark: Option<Offset>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Unattached(Unattached),
    Leader(Leader),
    /// It led this epoch and does so no more.
    Resigned(LeaderEpoch),
}

/// What a voter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It follows nobody yet.
    Unattached,
    /// It leads.
    Leader {
        /// The offset of the record that opened its epoch. Its controller is active once everything before is applied.
        epoch_start: Offset,
    },
    /// It led and does so no more.
    Resigned,
}

/// Why a node cannot take part in its quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is not one of the voters.
    NotAVoter(BrokerId),
    /// There are more voters than one.
    SeveralVoters(usize),
    /// `quorum-state` was written for other voters.
    OtherVoters(Voters),
    /// There is no epoch after this one.
    LastEpoch(LeaderEpoch),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refused::NotAVoter(node) => write!(out, "node {node} is not one of the quorum's voters"),
            Refused::SeveralVoters(count) => {
                write!(
                    out,
                    "the quorum has {count} voters: clusters of several nodes come later"
                )
            }
            Refused::OtherVoters(voters) => {
                let ids: Vec<String> = voters.iter().map(|id| id.to_string()).collect();
                write!(
                    out,
                    "quorum-state names other voters than the settings: {}",
                    ids.join(", ")
                )
            }
            Refused::LastEpoch(epoch) => write!(out, "there is no epoch after {epoch}"),
        }
    }
}

impl std::error::Error for Refused {}

impl Quorum {
    /// A voter as it starts: `stored` is what `quorum-state` says, if there is one, and `log_epoch` the epoch of the
    /// last record of the log, -1 if it is empty.
    pub fn new(
        node: BrokerId,
        voters: Voters,
        stored: Option<ElectionState>,
        log_epoch: LeaderEpoch,
    ) -> Result<Quorum, Refused> {
        if !voters.contains(node) {
            return Err(Refused::NotAVoter(node));
        }
        if voters.len() > 1 {
            return Err(Refused::SeveralVoters(voters.len()));
        }
        let stored = stored.unwrap_or_default();
        if !stored.voters.is_empty() && stored.voters != voters {
            return Err(Refused::OtherVoters(stored.voters));
        }
        let epoch = stored.epoch.max(log_epoch);
        if Candidate::after(epoch, node).is_none() {
            return Err(Refused::LastEpoch(epoch));
        }
        Ok(Quorum {
            node,
            voters,
            state: State::Unattached(Unattached { epoch }),
            high_watermark: None,
        })
    }

    /// What it is.
    pub fn role(&self) -> Role {
        match &self.state {
            State::Unattached(_) => Role::Unattached,
            State::Leader(leader) => Role::Leader {
                epoch_start: leader.epoch_start,
            },
            State::Resigned(_) => Role::Resigned,
        }
    }

    /// Its epoch.
    pub fn epoch(&self) -> LeaderEpoch {
        match &self.state {
            State::Unattached(unattached) => unattached.epoch,
            State::Leader(leader) => leader.epoch,
            State::Resigned(epoch) => *epoch,
        }
    }

    /// The leader of its epoch, as far as it knows.
    pub fn leader(&self) -> Option<BrokerId> {
        matches!(self.state, State::Leader(_)).then_some(self.node)
    }

    /// Everything before this is committed.
    pub fn high_watermark(&self) -> Option<Offset> {
        self.high_watermark
    }

    /// Something happened: what to do about it.
    pub fn on_input(&mut self, input: Input) -> Vec<Output> {
        let outputs = match (input, &mut self.state) {
            (Input::Start { log_end }, State::Unattached(unattached)) => {
                let epoch = unattached.epoch;
                self.start(epoch, log_end)
            }
            (Input::Durable(end), State::Leader(leader)) => {
                assert!(
                    end >= leader.durable,
                    "the durable end went back from {} to {end}",
                    leader.durable
                );
                leader.durable = end;
                self.advance()
            }
            (Input::Resign, State::Leader(leader)) => {
                self.state = State::Resigned(leader.epoch);
                vec![Output::Resigned]
            }
            (Input::Resign, State::Unattached(unattached)) => {
                self.state = State::Resigned(unattached.epoch);
                Vec::new()
            }
            // What was still on its way when it resigned does nothing any more.
            (_, State::Resigned(_)) => Vec::new(),
            (Input::Durable(_), State::Unattached(_)) => Vec::new(),
            (Input::Start { .. }, State::Leader(_)) => panic!("a quorum starts once"),
        };
        if cfg!(debug_assertions) {
            self.invariants();
        }
        outputs
    }

    fn start(&mut self, epoch: LeaderEpoch, log_end: Offset) -> Vec<Output> {
        let candidate = Candidate::after(epoch, self.node).expect("checked when the quorum was made");
        assert!(candidate.has_won(&self.voters), "one vote of one is a majority");
        let leader = Leader::of(&candidate, log_end);
        let outputs = vec![
            Output::Persist(candidate.election_state(self.node, &self.voters)),
            Output::Persist(leader.election_state(self.node, &self.voters)),
            Output::Append {
                offset: log_end,
                epoch: leader.epoch,
                message: leader.message(self.node, &self.voters),
            },
        ];
        self.state = State::Leader(leader);
        outputs
    }

    fn advance(&mut self) -> Vec<Output> {
        let State::Leader(leader) = &self.state else {
            return Vec::new();
        };
        match leader.high_watermark() {
            Some(next) if self.high_watermark.is_none_or(|now| next > now) => {
                self.high_watermark = Some(next);
                vec![Output::HighWatermark(next)]
            }
            _ => Vec::new(),
        }
    }
}
