//! `klamm recover`: after a crash, brings what stands in the journals to the segment files and closes the data
//! directory cleanly, without a broker. Then an Apache Kafka may open it as well.
//!
//! What a newcomer would get wrong: Klamm itself needs no such step, it recovers at every start; and a directory with
//! a damaged partition stays closed to Apache Kafka, which would cut off what is left of it.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;
use storage::Report;
use storage::offline;

use crate::output::{self, Format};

/// Bring a data directory that was not closed into the state of a clean close.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The data directory; without it that of the settings, as for `klamm broker`.
    #[arg(conflicts_with_all = ["config", "overrides"])]
    pub directory: Option<PathBuf>,
    /// The file of settings that names the directory, such as server.properties.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A setting that goes before file and environment; may be given more than once.
    #[arg(long = "override", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Text for people or JSON.
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// Recovers and closes `directory`, and says what was found.
///
/// # Errors
/// A broker runs on it (the error names its process); it is no data directory; the disk fails; or partitions are
/// damaged, after all others are recovered.
pub fn run(directory: &Path, format: Format) -> Result<()> {
    let report = offline::recover(directory)?;
    let done = Done::of(directory, &report);
    let said = output::say(format, &done, &done.text());
    if !report.damaged.is_empty() {
        bail!(
            "{} partitions are damaged and stay offline; {} keeps its guard",
            report.damaged.len(),
            directory.display()
        );
    }
    said
}

#[derive(Serialize)]
struct Done {
    directory: String,
    commits: u64,
    journal_bytes: u64,
    partitions: usize,
    damaged: Vec<Damage>,
    set_aside: Vec<String>,
    rotten: Vec<String>,
    elapsed_ms: u64,
    closed_cleanly: bool,
}

#[derive(Serialize)]
struct Damage {
    partition: String,
    what: String,
}

impl Done {
    fn of(directory: &Path, report: &Report) -> Done {
        let damage = |(id, what): &(storage::PartitionId, String)| Damage {
            partition: id.to_string(),
            what: what.clone(),
        };
        Done {
            directory: directory.display().to_string(),
            commits: report.commits,
            journal_bytes: report.journal_bytes,
            partitions: report.partitions,
            damaged: report.damaged.iter().map(damage).collect(),
            set_aside: report.set_aside.clone(),
            rotten: report.rotten.clone(),
            elapsed_ms: report.elapsed_ms,
            closed_cleanly: report.damaged.is_empty(),
        }
    }

    fn text(&self) -> String {
        let mut lines = vec![match self.commits {
            0 => format!("{}: nothing stood in the journals", self.directory),
            commits => format!(
                "{}: {commits} commits of the journals for {} partitions are in the segment files ({} ms)",
                self.directory, self.partitions, self.elapsed_ms
            ),
        }];
        let set_aside = self.set_aside.iter();
        lines
            .extend(set_aside.map(|file| format!("records of an unknown partition are set aside in {file}")));
        let rotten = self.rotten.iter();
        lines.extend(
            rotten.map(|file| format!("a journal has records that cannot be read; it is kept as {file}")),
        );
        let damaged = self.damaged.iter();
        lines.extend(damaged.map(|one| format!("damaged: {}: {}", one.partition, one.what)));
        if self.closed_cleanly {
            lines.push("closed cleanly: Klamm or Apache Kafka may open it".to_owned());
        }
        lines.join("\n")
    }
}
