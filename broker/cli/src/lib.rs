//! The command line: one file per noun, on ordinary threads.
//!
//! `klamm topics`, `produce` and `consume` talk to a broker like any client; `logs` and `recover` look at a data
//! directory. Text for people, `--format json` everywhere. What goes wrong is one line on stderr and exit code 1.
//!
//! What a newcomer would get wrong: nothing here runs on a shard. The broker's process shares the binary, not the code.

#![deny(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "they panic when nobody reads: see `output`"
)]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a program for people, on ordinary threads: files, clocks and sockets are those of the standard library"
)]

pub mod client;
pub mod cluster;
pub mod consume;
pub mod logs;
pub mod output;
pub mod partitioner;
pub mod produce;
pub mod record_text;
pub mod recover;
pub mod sequences;
pub mod topics;
pub mod waiting;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

/// What `klamm` can be asked besides being a broker.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Create, list, describe and delete topics.
    Topics(topics::Arguments),
    /// Write records from standard input to a topic.
    Produce(produce::Arguments),
    /// Read records of a topic to standard output.
    Consume(consume::Arguments),
    /// Look into the files of a data directory, of a stopped or a running node.
    Logs(logs::Arguments),
    /// Recover a data directory without a broker and close it cleanly.
    Recover(recover::Arguments),
}

/// Runs a command to its end. An error is one line on stderr and exit code 1; a reader that went away
/// (`klamm consume … | head`) is no error. `data_dir` is the data directory that settings name, which only the
/// broker's own list of settings knows.
pub fn run(
    command: &Command,
    data_dir: impl FnOnce(&recover::Arguments) -> Result<PathBuf, String>,
) -> ExitCode {
    let result = match command {
        Command::Topics(arguments) => topics::run(arguments),
        Command::Produce(arguments) => produce::run(arguments),
        Command::Consume(arguments) => consume::run(arguments),
        Command::Logs(arguments) => logs::run(arguments),
        Command::Recover(arguments) => {
            let directory = arguments
                .directory
                .clone()
                .map_or_else(|| data_dir(arguments), Ok);
            directory
                .map_err(anyhow::Error::msg)
                .and_then(|directory| recover::run(&directory, arguments.format))
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::tell(&format!("klamm: {}", output::one_line(&error)));
            ExitCode::FAILURE
        }
    }
}
