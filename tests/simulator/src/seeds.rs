//! Many seeds, on as many threads as there are cores: each world lives in one thread, so they do not meet.

#![allow(
    clippy::disallowed_methods,
    reason = "worlds share nothing: one ordinary thread for each core runs them, outside of any shard"
)]

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::run::{Outcome, Shown};

/// A seed that went wrong.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Which.
    pub seed: u64,
    /// How.
    pub outcome: Outcome,
}

/// What came of all seeds together.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Seeds that were run.
    pub seeds: u64,
    /// Messages acknowledged.
    pub acked: u64,
    /// Starts of brokers.
    pub starts: u64,
    /// What of their trouble has shown.
    pub shown: Shown,
    /// Those that went wrong, by their number.
    pub failures: Vec<Failure>,
}

/// Runs the seeds, in no particular order; with `first_only` no more are begun once one went wrong.
pub fn run_all(seeds: Range<u64>, run: impl Fn(u64) -> Outcome + Sync, first_only: bool) -> Summary {
    let next = AtomicU64::new(seeds.start);
    let is_enough = AtomicBool::new(false);
    let summary = Mutex::new(Summary::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        while !is_enough.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let outcome = run(seed);
            let mut summary = summary.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            summary.seeds += 1;
            summary.acked += outcome.acked;
            summary.starts += u64::from(outcome.starts);
            summary.shown.failures += outcome.shown.failures;
            summary.shown.rotten += outcome.shown.rotten;
            summary.shown.events += outcome.shown.events;
            if !outcome.wrong.is_empty() {
                is_enough.fetch_or(first_only, Ordering::Relaxed);
                summary.failures.push(Failure { seed, outcome });
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let mut summary = summary
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    summary.failures.sort_by_key(|failure| failure.seed);
    summary
}
