//! `klamm logs dump`: what the files of a data directory say, of a stopped or a running node.
//!
//! Text is one line for each batch, record, entry or commit; JSON is one object a line, the file's name in each. The
//! files are only read, and without a lock.
//!
//! What a newcomer would get wrong: the `.log` of a running node ends in zeros, which were allocated ahead, and lacks
//! what was appended last: that stands in the journal until whole blocks of it are written.

mod index;
mod journal;
mod producers;
mod segment;
mod time_text;
mod value;

use std::fmt::{self, Display};
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde::Serialize;
use storage::kafka_files::{META_PROPERTIES, parse_directory_name, parse_segment_file_name};

use crate::output::{self, Format};

/// Look into the files of a data directory.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Print batches, records, index entries, producers and journals.
    Dump(Dump),
}

#[derive(Args, Debug)]
struct Dump {
    /// Files (.log, .checkpoint, .index, .timeindex, .snapshot, klamm-journal-0), a partition's directory, or a data
    /// directory: then its journals, or what --partition names.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// A partition in a data directory, as its directory is called: orders-0. May be given several times.
    #[arg(long, short, value_name = "TOPIC-N")]
    partition: Vec<String>,
    /// Only batches and entries that reach this offset or lie beyond it.
    #[arg(long, value_name = "OFFSET", default_value_t = 0)]
    from: i64,
    /// Only batches and entries that begin below this offset.
    #[arg(long, value_name = "OFFSET", default_value_t = i64::MAX)]
    to: i64,
    /// Print the records in the batches too: offset, time, key, value, headers. Those of __cluster_metadata are named.
    #[arg(long, short)]
    records: bool,
    /// Text for people or JSON, one object a line.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Runs `klamm logs`.
///
/// # Errors
/// A file is none that is known, or something in it cannot be read; what can be read, of all files, is printed before.
pub fn run(arguments: &Arguments) -> Result<()> {
    let Action::Dump(dump) = &arguments.action;
    let stdout = io::stdout().lock();
    let mut printer = Printer {
        out: BufWriter::new(Box::new(stdout)),
        format: dump.format,
        file: String::new(),
        wrong: Vec::new(),
        failed: false,
    };
    dump_all(dump, &mut printer)
}

fn dump_all(dump: &Dump, printer: &mut Printer<'_>) -> Result<()> {
    for path in &dump.paths {
        for file in files(path, &dump.partition)? {
            match one(&file, dump, printer) {
                Err(error) if !printer.failed => printer.wrong(&output::one_line(&error)),
                done => done?,
            }
        }
    }
    printer.out.flush().context(output::STDOUT)?;
    match printer.wrong.as_slice() {
        [] => Ok(()),
        [one] => bail!("{one}"),
        [first, others @ ..] => bail!("{first}; and {} more that cannot be read", others.len()),
    }
}

/// What is asked of each file.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    from: i64,
    to: i64,
    records: bool,
}

impl Wanted {
    /// Whether something between these offsets, both in it, is asked for.
    fn includes(&self, first: i64, last: i64) -> bool {
        last >= self.from && first < self.to
    }
}

fn one(path: &Path, dump: &Dump, printer: &mut Printer<'_>) -> Result<()> {
    let wanted = Wanted {
        from: dump.from,
        to: dump.to,
        records: dump.records,
    };
    printer.begin(path)?;
    let Some(kind) = Kind::of(path) else {
        bail!("no file that can be dumped: .log, .checkpoint, .index, .timeindex, .snapshot, klamm-journal-N")
    };
    match kind {
        Kind::Batches => segment::dump(path, wanted, printer),
        Kind::Index => index::dump_offsets(path, wanted, printer),
        Kind::TimeIndex => index::dump_times(path, wanted, printer),
        Kind::Producers => producers::dump(path, printer),
        Kind::Journal => journal::dump(path, printer),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Batches,
    Index,
    TimeIndex,
    Producers,
    Journal,
}

impl Kind {
    fn of(path: &Path) -> Option<Kind> {
        let name = path.file_name()?.to_str()?;
        if name.starts_with(storage::journal::FILE) || name.starts_with(storage::journal::KEPT_FILE) {
            return Some(Kind::Journal);
        }
        // A snapshot of the metadata log has the epoch in its name as well.
        match parse_segment_file_name(name) {
            Some((_, ".log")) => Some(Kind::Batches),
            Some((_, ".index")) => Some(Kind::Index),
            Some((_, ".timeindex")) => Some(Kind::TimeIndex),
            Some((_, ".snapshot")) => Some(Kind::Producers),
            _ if name.ends_with(".checkpoint") => Some(Kind::Batches),
            _ => None,
        }
    }
}

/// The files that a path stands for, in the order of their names.
fn files(path: &Path, partitions: &[String]) -> Result<Vec<PathBuf>> {
    let about = || path.display().to_string();
    if !fs::metadata(path).with_context(about)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    if !partitions.is_empty() {
        let mut all = Vec::new();
        for partition in partitions {
            all.extend(files(&path.join(partition), &[])?);
        }
        return Ok(all);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).with_context(about)? {
        let path = entry?.path();
        if Kind::of(&path).is_some() {
            found.push(path);
        }
    }
    found.sort();
    if found.is_empty() {
        let is_data_directory = path.join(META_PROPERTIES).exists();
        bail!(
            "{}: nothing in it to dump{}",
            path.display(),
            if is_data_directory {
                "; name a --partition"
            } else {
                ""
            }
        );
    }
    Ok(found)
}

/// The topic of the metadata log, which has no `partition.metadata`.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// Whether a file has records of metadata: a snapshot of them, which is what `.checkpoint` means and
/// `bootstrap.checkpoint` is, or by its directory.
fn is_metadata(path: &Path) -> bool {
    if path
        .extension()
        .is_some_and(|extension| extension == "checkpoint")
    {
        return true;
    }
    let absolute = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    absolute
        .parent()
        .and_then(Path::file_name)
        .and_then(|name| parse_directory_name(name.to_str()?))
        .is_some_and(|(topic, _)| topic == METADATA_TOPIC)
}

/// The base offset in a file's name, 0 if it has none.
fn base_of(path: &Path) -> i64 {
    let name = path.file_name().and_then(|name| name.to_str());
    name.and_then(parse_segment_file_name)
        .map_or(0, |(base, _)| base.0)
}

/// Where lines go.
struct Printer<'o> {
    out: BufWriter<Box<dyn Write + 'o>>,
    format: Format,
    file: String,
    /// What could not be read, each with its file.
    wrong: Vec<String>,
    /// Whether the output could not be written, which ends everything.
    failed: bool,
}

#[derive(Serialize)]
struct InFile<'a, L> {
    file: &'a str,
    #[serde(flatten)]
    line: &'a L,
}

impl Printer<'_> {
    fn begin(&mut self, path: &Path) -> Result<()> {
        self.file = path.display().to_string();
        match self.format {
            Format::Text => self.write(format_args!("{}", path.display())),
            Format::Json => Ok(()),
        }
    }

    /// Remembers that something in the file cannot be read.
    fn wrong(&mut self, what: &str) {
        self.wrong.push(format!("{}: {what}", self.file));
    }

    /// One line, which JSON has as an object.
    fn line(&mut self, line: &(impl Serialize + Display)) -> Result<()> {
        match self.format {
            Format::Text => self.write(format_args!("  {line}")),
            Format::Json => {
                let line = InFile {
                    file: &self.file,
                    line,
                };
                let text = serde_json::to_string(&line)?;
                self.write(format_args!("{text}"))
            }
        }
    }

    fn write(&mut self, line: fmt::Arguments<'_>) -> Result<()> {
        let written = writeln!(self.out, "{line}");
        self.failed |= written.is_err();
        written.context(output::STDOUT)
    }
}

#[cfg(test)]
mod tests;
