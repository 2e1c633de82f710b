//! What to do to the broker: one workload as a file or the command line gives it.

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// Which way the records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Produce requests only.
    Produce,
    /// Long-polling fetches at the tail, beside a paced producer that writes what they read.
    Fetch,
}

/// One workload. Sizes in bytes, times in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// Produce or fetch.
    pub kind: Kind,
    /// 0, 1 or -1 (all).
    #[serde(default = "all")]
    pub acks: i16,
    /// Bytes of a record's value.
    pub record_bytes: usize,
    /// Records in a batch; 1 is unbatched.
    #[serde(default = "one")]
    pub batch_records: usize,
    /// Partitions of the topic; requests go round them.
    #[serde(default = "one")]
    pub partitions: usize,
    /// Connections that produce.
    #[serde(default = "one")]
    pub connections: usize,
    /// Connections that fetch; each reads all partitions.
    #[serde(default)]
    pub consumers: usize,
    /// Requests a connection may have unanswered.
    #[serde(default = "five")]
    pub in_flight: usize,
    /// Requests per second over all connections; 0 keeps every window full.
    #[serde(default)]
    pub rate: u64,
    /// Measured time.
    pub seconds: u64,
    /// Time before it, not measured.
    #[serde(default = "one_second")]
    pub warmup_seconds: u64,
}

fn all() -> i16 {
    -1
}

fn one() -> usize {
    1
}

fn five() -> usize {
    5
}

fn one_second() -> u64 {
    1
}

impl Workload {
    /// Reads a workload from TOML.
    ///
    /// # Errors
    /// A key that is not known, a value that is out of bounds.
    pub fn parse(text: &str) -> Result<Workload> {
        let workload: Workload = toml::from_str(text).context("not a workload")?;
        workload.check()?;
        Ok(workload)
    }

    /// Whether the numbers make sense together.
    ///
    /// # Errors
    /// The first that does not, by name.
    pub fn check(&self) -> Result<()> {
        ensure!(
            [-1, 0, 1].contains(&self.acks),
            "acks = {}: -1, 0 or 1",
            self.acks
        );
        ensure!(
            (1..=900_000).contains(&self.record_bytes),
            "record_bytes = {}: 1 to 900000",
            self.record_bytes
        );
        ensure!(self.batch_records >= 1, "batch_records = 0: at least 1");
        let batch = self.record_bytes.saturating_mul(self.batch_records);
        ensure!(
            batch <= 900_000,
            "record_bytes * batch_records = {batch}: at most 900000 (max.message.bytes)"
        );
        ensure!(
            (1..=10_000).contains(&self.partitions),
            "partitions = {}: 1 to 10000",
            self.partitions
        );
        ensure!(
            (1..=4_000).contains(&self.connections),
            "connections = {}: 1 to 4000",
            self.connections
        );
        ensure!(
            (1..=1_000).contains(&self.in_flight),
            "in_flight = {}: 1 to 1000",
            self.in_flight
        );
        ensure!(
            (1..=600).contains(&self.seconds),
            "seconds = {}: 1 to 600",
            self.seconds
        );
        ensure!(
            self.warmup_seconds <= 60,
            "warmup_seconds = {}: at most 60",
            self.warmup_seconds
        );
        ensure!(
            self.kind == Kind::Produce || self.consumers >= 1,
            "consumers = 0: a fetch workload needs one"
        );
        ensure!(
            self.acks != 0 || self.rate > 0,
            "acks = 0 has no answers to pace by: give a rate"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_says_what_is_wrong_with_it() {
        let check = |extra: &str, expected: Option<&str>| {
            let text = format!("kind = \"produce\"\nseconds = 1\n{extra}");
            let error = Workload::parse(&text).err().map(|e| format!("{e:#}"));
            match expected {
                None => assert_eq!(error, None, "{extra}"),
                Some(part) => assert!(
                    error.as_deref().unwrap_or("").contains(part),
                    "{extra}: {error:?}"
                ),
            }
        };
        check("record_bytes = 100", None);
        check(
            "record_bytes = 1024\nbatch_records = 64\npartitions = 1000\nconnections = 64",
            None,
        );
        check("record_bytes = 100\nacks = 2", Some("acks = 2"));
        check("record_bytes = 100\nspeed = 2", Some("speed"));
        check("record_bytes = 1024\nbatch_records = 1024", Some("900000"));
        check("record_bytes = 100\nacks = 0", Some("rate"));
        check("record_bytes = 100\npartitions = 0", Some("partitions = 0"));
    }
}
