//! Six mistakes made on purpose: the simulator finds each of them within five hundred seeds.

use std::ops::Range;

use simulator::cuts;
use simulator::run::{Outcome, Way, run};
use simulator::seeds::run_all;
use storage::planted::Planted;

const SEEDS: Range<u64> = 0..500;

/// How it shows that something which was acknowledged is not there, or not as it was.
const LOSS: &[&str] = &[
    "lost write",
    "phantom read",
    "inconsistent offset",
    "is gone",
    "was created and is not there",
    "the partition is offline",
    "ended by itself",
];

/// The mistake is found by something that is said in one of these ways.
fn check(planted: Planted, run: impl Fn(u64) -> Outcome + Sync, expected: &[&str]) {
    let summary = run_all(SEEDS, run, true);
    let Some(failure) = summary.failures.first() else {
        panic!("{planted:?} was not found in {} seeds", summary.seeds);
    };
    let wrong = failure.outcome.wrong.join("\n");
    println!("{planted:?} was found by seed {}:\n{wrong}", failure.seed);
    assert!(
        expected.iter().any(|expected| wrong.contains(expected)),
        "{planted:?}: {wrong}"
    );
}

/// In a whole broker.
fn check_broker(planted: Planted, expected: &[&str]) {
    check(
        planted,
        |seed| {
            run(
                seed,
                Way {
                    planted: Some(planted),
                    ..Way::default()
                },
            )
        },
        expected,
    );
}

#[test]
fn acknowledging_before_the_sync() {
    check_broker(Planted::AckBeforeSync, LOSS);
}

#[test]
fn a_hole_in_the_prefix() {
    check_broker(Planted::HoleInPrefix, LOSS);
}

#[test]
fn using_the_journal_again_too_early() {
    check_broker(Planted::JournalReusedTooEarly, LOSS);
}

#[test]
fn a_truncation_that_comes_undone() {
    let planted = Planted::TruncationResurrected;
    check(
        planted,
        |seed| cuts::run(seed, Some(planted)),
        &["the log holds", "the partition is offline"],
    );
}

#[test]
fn changing_a_buffer_in_flight() {
    check_broker(
        Planted::BufferChangedInFlight,
        &["changed while their write was in flight"],
    );
}

#[test]
fn replaying_a_deleted_topic() {
    check_broker(
        Planted::DeletedTopicReplayed,
        &["which was deleted", "set aside", "ended by itself", "never sent"],
    );
}
