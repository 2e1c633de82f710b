//! How answers and errors look: a table or JSON on stdout, one line on stderr.

use std::io::{self, IsTerminal, Write};

use anyhow::Result;
use clap::ValueEnum;
use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

/// For whom the output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
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
        writeln!(io::stdout(), "{}", line.trim_end())?;
    }
    Ok(())
}

/// Prints a value as JSON, indented.
///
/// # Errors
/// Stdout cannot be written.
pub fn json(value: &impl Serialize) -> Result<()> {
    writeln!(io::stdout(), "{}", serde_json::to_string_pretty(value)?)?;
    Ok(())
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
    use anyhow::{Context, anyhow};

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
