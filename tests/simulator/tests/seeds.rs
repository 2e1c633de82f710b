//! The real broker under many seeds, and the proof that a seed can be replayed.

#![allow(clippy::disallowed_methods, reason = "a test is no shard: it runs the binary")]

use std::process::Command;

use simulator::cuts;
use simulator::run::{Way, run};
use simulator::seeds::run_all;

/// How many seeds are run, and from which on; a nightly run may take others.
const SEEDS: std::ops::Range<u64> = 0..500;

#[test]
fn five_hundred_seeds_are_right() {
    let summary = run_all(SEEDS, |seed| run(seed, Way::default()), false);
    println!(
        "{} seeds, {} acknowledged, {} starts, {:?}",
        summary.seeds, summary.acked, summary.starts, summary.shown
    );
    for failure in &summary.failures {
        println!(
            "seed {} (cargo run -p simulator -- --seed {} --trace):",
            failure.seed, failure.seed
        );
        failure
            .outcome
            .wrong
            .iter()
            .for_each(|wrong| println!("    {wrong}"));
    }
    assert!(
        summary.failures.is_empty(),
        "{} seeds went wrong",
        summary.failures.len()
    );
    assert!(
        summary.acked > 10_000 && summary.starts > 1_000,
        "they did next to nothing"
    );
    let shown = summary.shown;
    assert!(
        shown.failures > 50 && shown.rotten > 10 && shown.events > 200,
        "next to nothing was done to them: {shown:?}"
    );
}

#[test]
fn five_hundred_seeds_of_cuts_are_right() {
    let summary = run_all(SEEDS, |seed| cuts::run(seed, None), false);
    for failure in &summary.failures {
        println!("seed {}: {}", failure.seed, failure.outcome.wrong.join("\n    "));
    }
    assert!(
        summary.failures.is_empty(),
        "{} seeds went wrong",
        summary.failures.len()
    );
    assert!(summary.acked > 10_000, "they did next to nothing");
}

#[test]
fn one_seed_has_one_trace() {
    for seed in [1, 2, 3] {
        let (first, second) = (
            run(seed, Way::default()),
            run(
                seed,
                Way {
                    trace: 10,
                    ..Way::default()
                },
            ),
        );
        assert_eq!(first.trace_hash, second.trace_hash, "seed {seed}");
        let output = Command::new(env!("CARGO_BIN_EXE_simulator"))
            .args(["--seed", &seed.to_string()])
            .output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        let hash = format!("trace hash {:016x}", first.trace_hash);
        assert!(
            text.contains(&hash),
            "another process saw another trace: {hash} is not in {text}"
        );
    }
}
