//! Six mistakes made on purpose: the simulator finds each of them within five hundred seeds.

use std::ops::Range;

use simulator::cuts;
use simulator::run::{Outcome, Way, run};
use simulator::seeds::run_all;
use storage::planted::Planted;

const SEEDS: Range<u64> = 0..500;

/// The mistake is found by the first seed that goes wrong with it and is right without it, however that shows: what
/// shows first depends on the timing of the seed, which any change of the code shifts.
fn check(planted: Planted, run: impl Fn(u64, Option<Planted>) -> Outcome + Sync) {
    let compared = |seed| {
        let mut outcome = run(seed, Some(planted));
        if !outcome.wrong.is_empty() && !run(seed, None).wrong.is_empty() {
            // It is not the mistake that shows here.
            outcome.wrong.clear();
        }
        outcome
    };
    let summary = run_all(SEEDS, compared, true);
    let Some(failure) = summary.failures.first() else {
        panic!("{planted:?} was not found in {} seeds", summary.seeds);
    };
    let wrong = failure.outcome.wrong.join("\n");
    println!("{planted:?} was found by seed {}:\n{wrong}", failure.seed);
}

/// In a whole broker.
fn check_broker(planted: Planted) {
    check(planted, |seed, planted| {
        let way = Way {
            planted,
            ..Way::default()
        };
        run(seed, way)
    });
}

#[test]
fn acknowledging_before_the_sync() {
    check_broker(Planted::AckBeforeSync);
}

#[test]
fn a_hole_in_the_prefix() {
    check_broker(Planted::HoleInPrefix);
}

#[test]
fn using_the_journal_again_too_early() {
    check_broker(Planted::JournalReusedTooEarly);
}

#[test]
fn a_truncation_that_comes_undone() {
    check(Planted::TruncationResurrected, cuts::run);
}

#[test]
fn changing_a_buffer_in_flight() {
    check_broker(Planted::BufferChangedInFlight);
}

#[test]
fn replaying_a_deleted_topic() {
    check_broker(Planted::DeletedTopicReplayed);
}
