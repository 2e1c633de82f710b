//! Faults that a test asks for: which operations they hit, and what they do to them.

use std::time::Duration;

use crate::engine::sim::Crash;
use crate::engine::sim::random::Stream;

/// What is done on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names of the calls of `fs` say it all")]
pub enum Operation {
    Open,
    Read,
    Write,
    Sync,
    SyncDir,
    Allocate,
    SetLen,
    Len,
    CreateDir,
    Rename,
    RemoveFile,
    RemoveDir,
    ReadDir,
    Metadata,
    Space,
    Lock,
}

impl Operation {
    /// Those that change what a power cut leaves.
    pub const CHANGES: [Operation; 9] = [
        Operation::Open,
        Operation::Write,
        Operation::Sync,
        Operation::SyncDir,
        Operation::Allocate,
        Operation::SetLen,
        Operation::Rename,
        Operation::RemoveFile,
        Operation::CreateDir,
    ];
}

/// What a fault does to an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It fails with this `errno`; a failed sync leaves its pages clean and perhaps lost, as Linux does.
    Error(i32),
    /// A write takes only a part: some whole blocks, or of a single block some sectors.
    Short,
    /// One bit, chosen at random, is flipped: in what a write leaves, or in what a read gives.
    Flip,
    /// It takes this much longer.
    Delay(Duration),
    /// It is not done until [`super::Disk::go_on`].
    Stop,
    /// It says that it is done and does nothing (a sync that a device lies about).
    Lie,
    /// The node crashes while it is in flight, so that it may be done, half done or not done.
    Crash(Crash),
}

/// A fault to be injected: it hits operations that match, one by one.
#[derive(Clone, Debug)]
pub struct Fault {
    effect: Effect,
    path: String,
    operations: Vec<Operation>,
    skip: u64,
    times: u64,
    ppm: u32,
}

impl Fault {
    /// A fault that hits the next operation, whatever it is, once.
    pub fn new(effect: Effect) -> Fault {
        Fault {
            effect,
            path: String::new(),
            operations: Vec::new(),
            skip: 0,
            times: 1,
            ppm: 1_000_000,
        }
    }

    /// Only operations whose path contains `part`.
    pub fn path(mut self, part: &str) -> Fault {
        self.path = part.to_owned();
        self
    }

    /// Only these operations.
    pub fn on(mut self, operations: &[Operation]) -> Fault {
        self.operations = operations.to_vec();
        self
    }

    /// Lets `skip` matching operations pass first.
    pub fn skip(mut self, skip: u64) -> Fault {
        self.skip = skip;
        self
    }

    /// Hits this many operations; [`u64::MAX`] for all.
    pub fn times(mut self, times: u64) -> Fault {
        self.times = times;
        self
    }

    /// Hits a matching operation with this chance only, in parts per million.
    pub fn chance(mut self, ppm: u32) -> Fault {
        self.ppm = ppm;
        self
    }

    pub(super) fn is_crash(&self) -> bool {
        matches!(self.effect, Effect::Crash(_))
    }

    pub(super) fn is_error(&self) -> bool {
        matches!(self.effect, Effect::Error(_))
    }

    pub(super) fn errors_left(&self) -> u64 {
        if self.is_error() { self.times } else { 0 }
    }

    /// What becomes of this operation, if the fault hits it.
    pub(super) fn hit(&mut self, operation: Operation, path: &str, random: &mut Stream) -> Option<Effect> {
        let concerns = self.operations.is_empty() || self.operations.contains(&operation);
        if !concerns || self.times == 0 || !path.contains(&self.path) {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        if self.ppm < 1_000_000 && !random.chance(self.ppm) {
            return None;
        }
        self.times = self.times.saturating_sub(u64::from(self.times != u64::MAX));
        Some(self.effect.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of ten writes to `a/b`, counted from 0, the fault hits.
    fn hits(mut fault: Fault) -> Vec<usize> {
        let mut random = Stream::keyed(0, 0);
        (0..10)
            .filter(|_| fault.hit(Operation::Write, "a/b", &mut random).is_some())
            .collect()
    }

    #[test]
    fn faults_hit_what_they_name() {
        let fault = Fault::new(Effect::Error(5));
        assert_eq!(hits(fault.clone()), [0]);
        assert_eq!(hits(fault.clone().skip(3).times(2)), [3, 4]);
        assert_eq!(hits(fault.clone().times(u64::MAX)).len(), 10);
        assert_eq!(hits(fault.clone().path("b")), [0]);
        assert!(hits(fault.clone().path("c")).is_empty());
        assert!(hits(fault.clone().on(&[Operation::Sync])).is_empty());
        assert_eq!(hits(fault.clone().on(&[Operation::Sync, Operation::Write])), [0]);
        assert!((1..10).contains(&hits(fault.times(u64::MAX).chance(500_000)).len()));
    }
}
