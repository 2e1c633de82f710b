//! Apache Kafka's own reading of a closed data directory: `kafka-dump-log` over every file that it knows.

use crate::broker::java;
use crate::paths;
use anyhow::{Result, bail, ensure};
use std::path::{Path, PathBuf};

/// Words by which `kafka-dump-log` says that something is wrong; its exit code is 0 all the same.
const COMPLAINTS: [&str; 8] = [
    "isvalid: false",
    "Mismatches in",
    "Found timestamp mismatch",
    "Found out of order timestamp",
    "Index timestamp",
    "is corrupt",
    "Could not",
    "xception",
];

/// What one reading found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Dumped {
    /// Records in the `.log` files of topics.
    pub records: usize,
    /// Records in the metadata log.
    pub metadata_records: usize,
    /// Files that were read.
    pub files: usize,
}

/// Reads all `.log`, `.index`, `.timeindex`, `.snapshot` and `.checkpoint` files below a data directory; fails on
/// the first complaint.
pub fn dump_everything(data: &Path) -> Result<Dumped> {
    let mut dumped = Dumped::default();
    let (metadata, topics): (Vec<PathBuf>, Vec<PathBuf>) = files(data)?
        .into_iter()
        .partition(|path| path.starts_with(data.join("__cluster_metadata-0")));
    ensure!(!metadata.is_empty(), "no metadata log in {}", data.display());
    dumped.files = metadata.len() + topics.len();
    dumped.metadata_records = dump(&metadata, &["--cluster-metadata-decoder"])?;
    if !topics.is_empty() {
        dumped.records = dump(&topics, &["--deep-iteration"])?;
    }
    Ok(dumped)
}

/// Runs the tool; gives the number of records that it printed.
fn dump(files: &[PathBuf], options: &[&str]) -> Result<usize> {
    let names: Vec<&str> = files.iter().filter_map(|path| path.to_str()).collect();
    let output = java()
        .args(["-Dklamm.tests.level=warn", "-cp", &paths::tools_class_path()?])
        .args([
            "org.apache.kafka.tools.DumpLogSegments",
            "--files",
            &names.join(","),
        ])
        .args(options)
        .output()?;
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    ensure!(
        output.status.success(),
        "kafka-dump-log: {}\n{out}\n{err}",
        output.status
    );
    if let Some(line) = out.lines().find(|line| is_complaint(line)) {
        let lines = out.lines().skip_while(|other| *other != line).take(5);
        bail!(
            "kafka-dump-log complains: {}",
            lines.collect::<Vec<_>>().join("\n")
        );
    }
    if let Some(line) = err.lines().find(|line| is_complaint(line) || !is_harmless(line)) {
        bail!("kafka-dump-log complains: {line}");
    }
    Ok(out.lines().filter(|line| line.starts_with("| offset:")).count())
}

fn is_complaint(line: &str) -> bool {
    COMPLAINTS.iter().any(|complaint| line.contains(complaint)) || is_hole(line)
}

/// The tool expects every segment to begin at offset 0 and tells so of each later one, in two lines.
fn is_harmless(line: &str) -> bool {
    line.trim().is_empty()
        || line.starts_with("Non-consecutive offsets in")
        || line.contains("-1 is followed by")
}

/// "17 is followed by 19", below the line that names the file.
fn is_hole(line: &str) -> bool {
    line.contains(" is followed by ") && !line.trim_start().starts_with("-1 ")
}

fn files(data: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for partition in std::fs::read_dir(data)? {
        let partition = partition?.path();
        if !partition.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(partition)? {
            let path = file?.path();
            let kind = path.extension().and_then(|kind| kind.to_str());
            if matches!(
                kind,
                Some("log" | "index" | "timeindex" | "snapshot" | "checkpoint")
            ) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, complains: bool) {
        assert_eq!(is_complaint(line), complains, "{line}");
    }

    #[test]
    fn complaints_are_told_from_records() {
        check("baseOffset: 0 lastOffset: 1 count: 2 isvalid: true", false);
        check("baseOffset: 0 lastOffset: 1 count: 2 isvalid: false", true);
        check("  -1 is followed by 1500", false);
        check("  17 is followed by 19", true);
        check("Mismatches in :/data/t-0/00000000000000000000.index", true);
        check(
            "| offset: 3 CreateTime: 1 keySize: 1 valueSize: 1 sequence: 3 headerKeys: []",
            false,
        );
    }
}
