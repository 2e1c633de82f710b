//! Runs seeds from the command line: `simulator --seed 17 --trace`, `simulator --seeds 0..500`.

use std::ops::Range;
use std::process::ExitCode;

use clap::Parser;
use simulator::cuts;
use simulator::run::{Outcome, Way, run};
use simulator::seeds::run_all;

/// Whole brokers in one thread under one seed, with hostile disks and networks.
#[derive(Parser)]
struct Arguments {
    /// Runs this seed.
    #[arg(long, conflicts_with = "seeds", required_unless_present = "seeds")]
    seed: Option<u64>,
    /// Runs these seeds, the last one excluded, such as 0..500.
    #[arg(long, value_parser = range)]
    seeds: Option<Range<u64>>,
    /// Prints the plan of the seed, the end of its trace and the broker's log.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Runs a single log that is cut again and again, instead of a broker.
    #[arg(long, conflicts_with = "trace")]
    cuts: bool,
    /// How many entries of the trace are printed.
    #[arg(long, default_value_t = 2000)]
    entries: usize,
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let parts = text
        .split_once("..")
        .and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    parts
        .filter(|range| !range.is_empty())
        .ok_or_else(|| "must be like 0..500".into())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let way = Way {
        trace: if arguments.trace { arguments.entries } else { 0 },
        ..Way::default()
    };
    let run = |seed| {
        if arguments.cuts {
            cuts::run(seed, None)
        } else {
            run(seed, way)
        }
    };
    match (arguments.seed, arguments.seeds) {
        (Some(seed), _) => one(seed, arguments.trace, run),
        (None, Some(seeds)) => many(seeds, run),
        (None, None) => ExitCode::FAILURE,
    }
}

fn one(seed: u64, with_trace: bool, run: impl Fn(u64) -> Outcome) -> ExitCode {
    if with_trace {
        println!("{:#?}", simulator::plan::Plan::new(seed));
    }
    let outcome = run(seed);
    outcome.trace.iter().for_each(|line| println!("{line}"));
    if with_trace {
        outcome.log.iter().for_each(|line| println!("{line}"));
        println!(
            "trouble that has shown: {:?}; rot: {:?}",
            outcome.shown, outcome.rot
        );
    }
    println!(
        "seed {seed}: {} messages acknowledged, {} starts, {} ms, trace hash {:016x}",
        outcome.acked, outcome.starts, outcome.took_ms, outcome.trace_hash
    );
    tell(seed, &outcome)
}

fn many(seeds: Range<u64>, run: impl Fn(u64) -> Outcome + Sync) -> ExitCode {
    let summary = run_all(seeds, run, false);
    println!(
        "{} seeds, {} messages acknowledged, {} starts, {} seeds wrong",
        summary.seeds,
        summary.acked,
        summary.starts,
        summary.failures.len()
    );
    let codes = summary
        .failures
        .iter()
        .map(|failure| tell(failure.seed, &failure.outcome));
    codes.fold(ExitCode::SUCCESS, |_, code| code)
}

fn tell(seed: u64, outcome: &Outcome) -> ExitCode {
    for wrong in &outcome.wrong {
        println!("seed {seed}: {wrong}");
    }
    if outcome.wrong.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
