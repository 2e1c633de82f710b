//! CPU time of the broker, from outside: all threads of a process, those that the kernel runs for its ring included.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// CPU time that the process `pid` has used so far, in seconds: user and system, of threads that live and of those that
/// ended (`/proc/PID/stat`, fields 14 and 15). The unit is a clock tick, usually 10 ms: measure over seconds.
///
/// # Errors
/// No such process, or a line of another shape.
pub fn seconds(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("no process {pid}"))?;
    parse(&text).with_context(|| format!("{path}: not the line it should be"))
}

fn parse(text: &str) -> Option<f64> {
    // The second field is the name in brackets and may hold anything, so count from the last bracket.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let user: f64 = fields.get(11)?.parse().ok()?;
    let system: f64 = fields.get(12)?.parse().ok()?;
    Some((user + system) / ticks_per_second())
}

fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

/// Largest resident size of the process so far, in bytes (`VmHWM`); none if it cannot be read.
pub fn resident_bytes_max(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).ok()?;
    let line = text.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace()
        .nth(1)?
        .parse::<u64>()
        .ok()
        .map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_read_whatever_the_name() {
        let line = "7 (a) b c) S 1 7 7 0 -1 4194304 100 0 0 0 250 150 0 0 20 0 1 0 5 6 7";
        assert_eq!(parse(line), Some(400.0 / ticks_per_second()));
        assert_eq!(parse("7 (x) S 1"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn this_process_has_used_some() {
        assert!(seconds(std::process::id()).is_ok_and(|s| s >= 0.0));
        assert!(seconds(u32::MAX).is_err());
    }
}
