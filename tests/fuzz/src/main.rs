//! `fuzz [TARGET] --seconds N --seed S`: looks for longer than the tests do. Exit code 1 with a finding.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test: it reads examples and measures time, on ordinary threads"
)]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Parser;
use fuzz::{Limit, run, targets};

/// Gives hostile bytes to everything that reads bytes.
#[derive(Parser)]
struct Arguments {
    /// The target; all of them in turn without it.
    target: Option<String>,
    /// How long, in seconds of CPU for each target.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How many inputs at most for each target.
    #[arg(long, default_value_t = u64::MAX)]
    inputs: u64,
    /// The same seed gives the same inputs.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Writes each input to this file before it is tried: for those that end the process.
    #[arg(long)]
    keep: Option<PathBuf>,
    /// Tries the bytes of this file only, and nothing made from them.
    #[arg(long, requires = "target", conflicts_with_all = ["seconds", "inputs", "seed", "keep"])]
    input: Option<PathBuf>,
}

fn main() -> ExitCode {
    match go() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn go() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let chosen: Vec<_> = targets::ALL
        .iter()
        .filter(|target| arguments.target.as_ref().is_none_or(|name| target.name == name))
        .collect();
    if chosen.is_empty() {
        let names: Vec<_> = targets::ALL.iter().map(|target| target.name).collect();
        bail!("no such target; there are: {}", names.join(", "));
    }
    if let Some(path) = &arguments.input {
        let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
        println!("{:?}", (chosen[0].read)(&bytes));
        return Ok(());
    }
    let limit = Limit {
        inputs: arguments.inputs,
        seconds: arguments.seconds,
    };
    let mut findings = 0;
    for target in chosen {
        match run(target, arguments.seed, limit, arguments.keep.as_ref()) {
            Ok(summary) => println!("{}: {summary:?}", target.name),
            Err(finding) => {
                findings += 1;
                println!("FOUND with seed {}: {finding}", arguments.seed);
            }
        }
    }
    if findings > 0 {
        bail!("{findings} targets did something wrong");
    }
    Ok(())
}
