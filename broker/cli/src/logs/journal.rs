//! A shard's journal: what is acknowledged and may not be in the segment files yet.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Result, bail};
use protocol::types::Uuid;
use serde::Serialize;
use storage::PartitionId;
use storage::journal::records::Cut;
use storage::kafka_files::{PARTITION_METADATA, decode_partition_metadata, parse_directory_name};
use storage::offline::{DumpedRecord, dump_journal};

use super::{METADATA_TOPIC, Printer};

pub fn dump(path: &Path, printer: &mut Printer<'_>) -> Result<()> {
    let bytes = fs::read(path)?;
    let journal = dump_journal(&bytes);
    let names = Names::of(path.parent().unwrap_or(Path::new(".")));
    match &journal.last {
        Some(half) => printer.line(&HalfLine {
            journal: half.journal.to_string(),
            shard: half.shard,
            run: half.run,
            generation: half.generation,
            first_sequence: half.first_sequence,
            half_bytes: half.half_bytes,
            is_fresh: half.is_fresh,
        })?,
        None if bytes.iter().all(|&byte| byte == 0) => printer.line(&EmptyLine {
            note: "no generation was begun: nothing in it",
        })?,
        None => bail!("bytes that are no journal"),
    }
    for (position, records) in &journal.commits {
        printer.line(&CommitLine {
            position: *position,
            records: records
                .iter()
                .map(|record| RecordLine::of(record, &names))
                .collect(),
        })?;
    }
    match &journal.rot {
        Some(rot) => {
            printer.wrong(&format!(
                "acknowledged records that cannot be read, from {}",
                rot.position
            ));
            printer.line(&RotLine {
                rotten_from: rot.position,
                partitions: rot.named.iter().map(|id| names.name(*id)).collect(),
                names_are_complete: rot.names_are_complete,
            })
        }
        None => Ok(()),
    }
}

/// Names of partitions, which the journal knows by topic id only, from the directories beside it.
struct Names(BTreeMap<PartitionId, String>);

impl Names {
    fn of(data: &Path) -> Names {
        let entries = fs::read_dir(data).into_iter().flatten().flatten();
        Names(entries.filter_map(|entry| name_of(&entry.path())).collect())
    }

    /// `orders-0`, or topic id and number where no directory has them.
    fn name(&self, id: PartitionId) -> String {
        self.0.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }
}

fn name_of(directory: &Path) -> Option<(PartitionId, String)> {
    let name = directory.file_name()?.to_str()?;
    let (topic, partition) = parse_directory_name(name)?;
    let topic_id = match topic {
        METADATA_TOPIC => Uuid::METADATA_TOPIC,
        _ => decode_partition_metadata(&fs::read(directory.join(PARTITION_METADATA)).ok()?).ok()?,
    };
    Some((PartitionId { topic_id, partition }, name.to_owned()))
}

/// The newest generation.
#[derive(Serialize)]
struct HalfLine {
    journal: String,
    shard: u16,
    run: u64,
    generation: u64,
    first_sequence: u64,
    half_bytes: u64,
    is_fresh: bool,
}

impl fmt::Display for HalfLine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "journal {} of shard {}, run {}, generation {} from commit {}, halves of {} bytes",
            self.journal, self.shard, self.run, self.generation, self.first_sequence, self.half_bytes
        )?;
        match self.is_fresh {
            true => out.write_str("; earlier generations are not replayed"),
            false => Ok(()),
        }
    }
}

#[derive(Serialize)]
struct EmptyLine {
    note: &'static str,
}

impl fmt::Display for EmptyLine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.note)
    }
}

/// One commit that a replay would take.
#[derive(Serialize)]
struct CommitLine {
    position: u64,
    records: Vec<RecordLine>,
}

impl fmt::Display for CommitLine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "commit at {}", self.position)?;
        self.records
            .iter()
            .try_for_each(|record| write!(out, "\n    {record}"))
    }
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum RecordLine {
    Bytes {
        partition: String,
        incarnation: u32,
        segment: i64,
        position: u32,
        length: usize,
        old: u32,
    },
    Fence {
        partition: String,
        incarnation: u32,
        cut: String,
    },
    Seal {
        partition: String,
        incarnation: u32,
        segment: i64,
        length: u32,
        end: i64,
    },
}

impl RecordLine {
    fn of(record: &DumpedRecord, names: &Names) -> RecordLine {
        match *record {
            DumpedRecord::Bytes {
                id,
                incarnation,
                segment,
                position,
                length,
                old,
            } => RecordLine::Bytes {
                partition: names.name(id),
                incarnation,
                segment: segment.0,
                position,
                length,
                old,
            },
            DumpedRecord::Fence(fence) => RecordLine::Fence {
                partition: names.name(fence.id),
                incarnation: fence.incarnation,
                cut: cut_text(&fence.cut),
            },
            DumpedRecord::Seal(seal) => RecordLine::Seal {
                partition: names.name(seal.id),
                incarnation: seal.incarnation,
                segment: seal.segment.0,
                length: seal.length,
                end: seal.end.0,
            },
        }
    }
}

fn cut_text(cut: &Cut) -> String {
    match cut {
        Cut::Truncate {
            segment,
            position,
            end,
        } => format!("truncate to offset {end}, byte {position} of segment {segment}"),
        Cut::Restart(offset) => format!("restart at offset {offset}"),
        Cut::Delete => "delete".to_owned(),
        Cut::Start(offset) => format!("start at offset {offset}"),
    }
}

impl fmt::Display for RecordLine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordLine::Bytes {
                partition,
                segment,
                position,
                length,
                old,
                ..
            } => {
                let end = u64::from(*position) + *length as u64;
                write!(out, "BYTES {partition} segment {segment} bytes {position}..{end}")?;
                match old {
                    0 => Ok(()),
                    old => write!(out, ", the first {old} not new"),
                }
            }
            RecordLine::Fence { partition, cut, .. } => write!(out, "FENCE {partition} {cut}"),
            RecordLine::Seal {
                partition,
                segment,
                length,
                end,
                ..
            } => write!(
                out,
                "SEAL {partition} segment {segment} length {length} next offset {end}"
            ),
        }
    }
}

#[derive(Serialize)]
struct RotLine {
    rotten_from: u64,
    partitions: Vec<String>,
    names_are_complete: bool,
}

impl fmt::Display for RotLine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "ROTTEN from {}: acknowledged records cannot be read, of {}{}",
            self.rotten_from,
            self.partitions.join(", "),
            if self.names_are_complete {
                ""
            } else {
                " and perhaps others"
            }
        )
    }
}
