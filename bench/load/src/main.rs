//! `load`: put a Kafka-compatible broker under load and say what it did and what it cost.

#![allow(
    clippy::disallowed_methods,
    reason = "a program of its own on ordinary threads: it keeps real time"
)]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use load::control::{Control, resolve};
use load::report::Report;
use load::workload::{Kind, Workload};
use load::{drive, first};

/// Puts a Kafka-compatible broker under load: open loop, full latency histogram, the broker's CPU time.
#[derive(Parser)]
struct Arguments {
    /// Where the broker listens.
    #[arg(long, default_value = "127.0.0.1:9092")]
    bootstrap: String,
    /// The broker's process, if its CPU time is wanted.
    #[arg(long)]
    pid: Option<u32>,
    /// A workload file (TOML); the options below are ignored then.
    #[arg(long)]
    workload: Option<PathBuf>,
    /// Topic to create for this run.
    #[arg(long, default_value = "load")]
    topic: String,
    /// Only wait until the existing topic takes one record with acks=all, trying again and again, and stop.
    #[arg(long)]
    first_acknowledged: bool,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// produce, or fetch (a paced producer and long-polling consumers).
    #[arg(long, value_enum, default_value = "produce")]
    kind: Kind,
    /// 0, 1 or -1 (all).
    #[arg(long, default_value_t = -1, allow_hyphen_values = true)]
    acks: i16,
    /// Bytes of a record's value.
    #[arg(long, default_value_t = 1024)]
    record_bytes: usize,
    /// Records in a batch.
    #[arg(long, default_value_t = 1)]
    batch_records: usize,
    /// Partitions of the topic.
    #[arg(long, default_value_t = 1)]
    partitions: usize,
    /// Connections that produce.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Connections that fetch.
    #[arg(long, default_value_t = 1)]
    consumers: usize,
    /// Requests a connection may have unanswered.
    #[arg(long, default_value_t = 5)]
    in_flight: usize,
    /// Requests per second over all connections; 0 keeps every window full.
    #[arg(long, default_value_t = 0)]
    rate: u64,
    /// Measured seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Seconds before that.
    #[arg(long, default_value_t = 2)]
    warmup_seconds: u64,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let workload = match &arguments.workload {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            Workload::parse(&text).with_context(|| path.display().to_string())?
        }
        None => Workload {
            kind: arguments.kind,
            acks: arguments.acks,
            record_bytes: arguments.record_bytes,
            batch_records: arguments.batch_records,
            partitions: arguments.partitions,
            connections: arguments.connections,
            consumers: arguments.consumers,
            in_flight: arguments.in_flight,
            rate: arguments.rate,
            seconds: arguments.seconds,
            warmup_seconds: arguments.warmup_seconds,
        },
    };
    workload.check()?;
    let address = resolve(&arguments.bootstrap)?;
    if arguments.first_acknowledged {
        return first::wait(address, &arguments.topic);
    }
    let topic = Control::connect(address)?.create(&arguments.topic, workload.partitions)?;
    let measured = drive::run(&workload, address, topic, arguments.pid)?;
    let report = Report::new(&workload, &measured);
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("{}", report.to_text());
    }
    Ok(())
}
