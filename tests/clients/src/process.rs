//! One process from its start to its end, with what it reads and all that it writes.

use std::io::Write;
use std::process::{Command, Output, Stdio};

/// Runs a command with this standard input to its end.
///
/// # Errors
/// It cannot be started. What it makes of its input and how it ends is told by the output.
pub fn run(mut command: Command, input: &[u8]) -> std::io::Result<Output> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take();
    std::thread::scope(|scope| {
        // One that gives up closes its input; its exit code tells.
        scope.spawn(move || stdin.take().map(|mut stdin| stdin.write_all(input)));
        child.wait_with_output()
    })
}
