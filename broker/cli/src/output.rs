//! How answers and errors look: a table or JSON on stdout, one line on stderr.

use std::io::{self, IsTerminal, Write};

use anyhow::{Context, Result};
use clap::ValueEnum;
use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

/// What an error of standard output is about.
pub const STDOUT: &str = "standard output";

/// For whom the output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Prints a value for programs, or the line of text that says the same to people.
///
/// # Errors
/// Stdout cannot be written.
pub fn say(format: Format, value: &impl Serialize, text: &str) -> Result<()> {
    match format {
        Format::Json => json(value),
        Format::Text => line(text),
    }
}

/// Prints a line.
///
/// # Errors
/// Stdout cannot be written.
pub fn line(text: &str) -> Result<()> {
    writeln!(io::stdout(), "{text}").context(STDOUT)
}

/// Says something to the person who watches. Nobody may: then it is lost, which is no reason to end.
pub fn tell(text: &str) {
    writeln!(io::stderr(), "{text}").ok();
}

/// An error of [`STDOUT`] if whoever read our output went away. Between two waits this is the only way to learn it:
/// the next write, which would fail, may never come.
///
/// # Errors
/// The reader went away: see [`is_broken_pipe`].
pub fn check_reader() -> Result<()> {
    let stdout = io::stdout();
    // No event is asked for: errors and the other side's end are told without.
    let mut asked = [PollFd::new(&stdout, PollFlags::empty())];
    match poll(&mut asked, Some(&Timespec::default())) {
        Ok(1..) => Err(io::Error::from(io::ErrorKind::BrokenPipe)).context(STDOUT),
        // A poll that fails says nothing about the reader.
        _ => Ok(()),
    }
}

/// Prints rows under their headings, columns aligned.
///
/// # Errors
/// Stdout cannot be written.
pub fn table(headings: &[&str], rows: Vec<Vec<String>>) -> Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(headings.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for line in table.to_string().lines() {
        // Every column is padded on both sides, the first one too.
        self::line(line.strip_prefix(' ').unwrap_or(line).trim_end())?;
    }
    Ok(())
}

/// Prints a value as JSON, indented.
///
/// # Errors
/// Stdout cannot be written.
pub fn json(value: &impl Serialize) -> Result<()> {
    line(&serde_json::to_string_pretty(value)?)
}

/// A counter on stderr for what takes long. Nothing is drawn where stderr is no terminal, or where records are being
/// printed to one.
pub fn progress(what: &'static str, stdout_carries_records: bool) -> ProgressBar {
    if stdout_carries_records && io::stdout().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{human_pos} {msg} {per_sec} {elapsed}") {
        bar.set_style(style);
    }
    bar.with_message(what)
}

/// An error and its causes as one line.
pub fn one_line(error: &anyhow::Error) -> String {
    format!("{error:#}")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

/// Whether the reader of our output went away.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn an_error_is_one_line() {
        let error = Err::<(), _>(anyhow!("first\n  second"))
            .context("while trying")
            .unwrap_err();
        assert_eq!(one_line(&error), "while trying: first second");
        assert!(!is_broken_pipe(&error));
        let error = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).context("printing");
        assert!(is_broken_pipe(&error));
    }
}
