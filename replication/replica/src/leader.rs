//! The leader of a partition.
//!
//! What a newcomer would get wrong: the high watermark never goes back, not even when the leadership begins anew; and
//! the epoch that a client names is checked before anything it asks for is looked at.

use protocol::types::{LeaderEpoch, Offset};

/// The leader of one partition in one epoch. It lives on the shard that owns the partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    epoch: LeaderEpoch,
    /// Where the log ended when this leader took over.
    epoch_start: Offset,
    pub(crate) log_start: Offset,
    pub(crate) durable_end: Offset,
    pub(crate) high_watermark: Offset,
}

/// How the epoch that somebody names compares with the leader's (`Partition.checkCurrentLeaderEpoch`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epoch {
    /// It is this one, or none was named.
    Current,
    /// It is an older one: FENCED_LEADER_EPOCH.
    Fenced,
    /// It is a later one, of which this node has not heard: UNKNOWN_LEADER_EPOCH.
    Unknown,
}

impl Leader {
    /// A leader that takes over: the log begins at `log_start` and everything before `durable_end` is durable.
    pub fn new(epoch: LeaderEpoch, log_start: Offset, durable_end: Offset) -> Leader {
        let epoch_start = durable_end;
        let leader = Leader {
            epoch,
            epoch_start,
            log_start,
            durable_end,
            high_watermark: durable_end,
        };
        leader.invariants();
        leader
    }

    /// The epoch it leads in.
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// Where the log ended when it took over.
    pub fn epoch_start(&self) -> Offset {
        self.epoch_start
    }

    /// The first offset there is.
    pub fn log_start(&self) -> Offset {
        self.log_start
    }

    /// Everything before this is on all replicas in sync: what consumers may see, and what acks=all waits for.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// Everything before `end` is durable here. Gives the high watermark if that moves it. What is known already may
    /// be said again.
    pub fn on_durable(&mut self, end: Offset) -> Option<Offset> {
        if end <= self.durable_end {
            return None;
        }
        self.durable_end = end;
        self.advance()
    }

    /// Records before `start` are deleted. It never goes back, and not beyond the high watermark.
    pub fn on_log_start(&mut self, start: Offset) {
        self.log_start = self.log_start.max(start).min(self.high_watermark);
        self.invariants();
    }

    /// Takes over again, in a later epoch, without having lost the log. An epoch that is not later changes nothing.
    pub fn on_epoch(&mut self, epoch: LeaderEpoch, log_end: Offset) {
        if epoch > self.epoch {
            self.epoch = epoch;
            self.epoch_start = log_end;
        }
    }

    /// What to say to somebody who believes the leader's epoch to be `named`; -1 names none.
    pub fn check_epoch(&self, named: LeaderEpoch) -> Epoch {
        match named {
            LeaderEpoch(-1) => Epoch::Current,
            _ if named < self.epoch => Epoch::Fenced,
            _ if named > self.epoch => Epoch::Unknown,
            _ => Epoch::Current,
        }
    }

    /// With nobody else in sync, what is durable here is everywhere.
    fn advance(&mut self) -> Option<Offset> {
        let before = self.high_watermark;
        self.high_watermark = self.durable_end.max(before);
        self.invariants();
        (self.high_watermark > before).then_some(self.high_watermark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leader() -> Leader {
        Leader::new(LeaderEpoch(3), Offset(5), Offset(10))
    }

    #[test]
    fn the_high_watermark_is_the_durable_end() {
        let mut leader = leader();
        assert_eq!(
            (leader.high_watermark(), leader.epoch_start()),
            (Offset(10), Offset(10))
        );
        let check = |leader: &mut Leader, end, expected: Option<i64>| {
            assert_eq!(leader.on_durable(Offset(end)), expected.map(Offset), "{end}");
        };
        check(&mut leader, 10, None);
        check(&mut leader, 12, Some(12));
        check(&mut leader, 11, None);
        check(&mut leader, 12, None);
        check(&mut leader, 20, Some(20));
    }

    #[test]
    fn the_log_start_stays_within() {
        let mut leader = leader();
        for (start, expected) in [(3, 5), (7, 7), (6, 7), (100, 10)] {
            leader.on_log_start(Offset(start));
            assert_eq!(leader.log_start(), Offset(expected), "{start}");
        }
    }

    #[test]
    fn epochs_are_compared() {
        let mut leader = leader();
        for (named, expected) in [
            (-1, Epoch::Current),
            (2, Epoch::Fenced),
            (3, Epoch::Current),
            (4, Epoch::Unknown),
            (-2, Epoch::Fenced),
        ] {
            assert_eq!(leader.check_epoch(LeaderEpoch(named)), expected, "{named}");
        }
        leader.on_epoch(LeaderEpoch(3), Offset(15));
        assert_eq!(leader.epoch_start(), Offset(10));
        leader.on_epoch(LeaderEpoch(4), Offset(15));
        assert_eq!(
            (leader.epoch(), leader.epoch_start()),
            (LeaderEpoch(4), Offset(15))
        );
        assert_eq!(leader.check_epoch(LeaderEpoch(3)), Epoch::Fenced);
    }
}
