//! The outline of a log from its files alone: when no checkpoint knows it, or a truncation made producers
//! doubtful, or somebody else wrote the files.
//!
//! It reads every byte, as Kafka's recovery does, but cuts nothing: zeros from the last batch to the file's end
//! are the space that was allocated ahead; anything else that does not parse is damage, also a batch that the file
//! ends in. Only where the journal says that the file ends inside a batch was that one never whole. Source: Kafka's
//! `LogLoader`.

use std::path::Path;

use bytes::Bytes;
use protocol::batch::Batch;
use protocol::types::Offset;
use shards::buffers::{BLOCK, Buffer, Purpose};
use shards::fs::{self, File, OpenOptions};
use shards::time;

use crate::LogConfig;
use crate::error::{During, StorageError};
use crate::kafka_files::{self, parse_segment_file_name, segment_file_name};
use crate::leader_epochs::LeaderEpochs;
use crate::outline::Outline;
use crate::producers::Producers;
use crate::rope::{Peek, Rope};

const READ_BYTES: usize = 256 << 10;

/// Where a segment's scan stopped.
enum Stop {
    /// All parsed, up to the end or to zeros that reach it.
    End,
    /// The file ends inside a batch, which says that it reaches this far if its header is whole.
    Torn(Option<u32>),
    /// What follows is neither.
    Not(String),
}

/// Reads the segments of the partition's directory. `known_end` is the last segment that the journal names and
/// how long it is by it: batches up to there, but for one that may have begun and never have become whole.
pub(crate) async fn rebuild(
    path: &Path,
    config: &LogConfig,
    known_end: Option<(Offset, u32)>,
) -> Result<Outline, StorageError> {
    let found = fs::read_dir(path).await.during("list", path)?;
    let (mut bases, mut snapshots) = (Vec::new(), Vec::new());
    for entry in &found {
        match parse_segment_file_name(&entry.name) {
            Some((base, ".log")) => bases.push(base),
            Some((at, ".snapshot")) => snapshots.push(at),
            _ => {}
        }
    }
    let first = bases.first().copied().unwrap_or_default();
    let mut outline = Outline::new(first, time::wall_ms());
    // A snapshot at the first segment holds what the deleted ones before it told.
    if snapshots.contains(&first) && first.0 > 0 {
        outline.producers = read_snapshot(path, first).await?;
    }
    for (place, &base) in bases.iter().enumerate() {
        if place > 0 {
            if base < outline.end {
                outline.damage = Some(format!("segment {base} begins before offset {}", outline.end));
                return Ok(outline);
            }
            // Compaction leaves gaps between segments; without it a segment is gone (D16).
            if base > outline.end && !config.is_compacted {
                let reason = format!("the segment before ends at offset {}", outline.end);
                let file = path.join(segment_file_name(base, ".log"));
                outline.damage = Some(StorageError::damaged(file, 0, reason).to_string());
                return Ok(outline);
            }
            outline.end = base;
            outline.roll(time::wall_ms());
        }
        let stop = scan(path, base, &mut outline, config).await?;
        let length = outline.active().length;
        let known = known_end.filter(|known| known.0 == base).map(|known| known.1);
        let reason = match (stop, known) {
            (Stop::Not(reason), _) => Some(reason),
            (Stop::End, Some(known)) if length < known => Some(format!("the journal knows {known} bytes")),
            (Stop::End, _) => None,
            (Stop::Torn(reaches), Some(known)) if reaches.is_none_or(|reaches| reaches > known) => None,
            (Stop::Torn(_), _) => Some("the file ends inside a batch".into()),
        };
        if let Some(reason) = reason {
            let file = path.join(segment_file_name(base, ".log"));
            outline.damage = Some(StorageError::damaged(file, u64::from(length), reason).to_string());
            return Ok(outline);
        }
    }
    if outline.producers.is_empty()
        && let Some(&newest) = snapshots.iter().rfind(|&&at| at <= outline.end)
    {
        outline.producers = read_snapshot(path, newest).await?;
    }
    let epochs = path.join(kafka_files::LEADER_EPOCHS);
    if outline.epochs.entries().is_empty() && fs::exists(&epochs).await.during("look at", &epochs)? {
        let bytes = fs::read(&epochs, kafka_files::FILE_BYTES_MAX)
            .await
            .during("read", &epochs)?;
        let entries = kafka_files::decode_epochs(&bytes).unwrap_or_default();
        outline.epochs = LeaderEpochs::from_entries(entries).unwrap_or_default();
    }
    outline.high_watermark = outline.log_start;
    Ok(outline)
}

async fn read_snapshot(path: &Path, at: Offset) -> Result<Producers, StorageError> {
    let file = path.join(segment_file_name(at, ".snapshot"));
    let bytes = fs::read(&file, kafka_files::FILE_BYTES_MAX)
        .await
        .during("read", &file)?;
    Ok(Producers::decode_snapshot(&bytes).unwrap_or_else(|error| {
        tracing::warn!("{} is passed over: {error:?}", file.display());
        Producers::default()
    }))
}

async fn open(path: &Path, base: Offset) -> Result<File, StorageError> {
    let path = path.join(segment_file_name(base, ".log"));
    let options = OpenOptions {
        read: true,
        direct: true,
        ..OpenOptions::default()
    };
    File::open(&path, options).await.during("open", &path)
}

async fn read(file: &File, path: &Path, position: u32) -> Result<(Bytes, bool), StorageError> {
    let buffer = Buffer::take(Purpose::Background, READ_BYTES).await;
    let (count, mut buffer) = file.read_at(u64::from(position), buffer).await;
    let count = count.during("read", path)?;
    let is_end = count == 0;
    // Go on at the start of a block; the rest of the file's last block is given once.
    let length = file.len().await.during("look at", path)?;
    let reaches_end = u64::from(position) + count as u64 >= length;
    if !reaches_end {
        buffer.set_len(count / BLOCK * BLOCK);
    }
    Ok((Bytes::copy_from_slice(&buffer), is_end || reaches_end))
}

/// Moves the outline on over a segment's batches.
async fn scan(
    path: &Path,
    base: Offset,
    outline: &mut Outline,
    config: &LogConfig,
) -> Result<Stop, StorageError> {
    let file = open(path, base).await?;
    let stop = scan_file(&file, path, outline, config).await;
    file.close().await.during("close", path)?;
    stop
}

async fn scan_file(
    file: &File,
    path: &Path,
    outline: &mut Outline,
    config: &LogConfig,
) -> Result<Stop, StorageError> {
    let mut rope = Rope::at(0);
    let mut position = 0u32;
    let mut is_end = false;
    loop {
        let mut reaches = None;
        let whole = match rope.peek(position) {
            Peek::Batch(batch) => {
                reaches = position.checked_add(batch.length);
                reaches.and_then(|end| rope.whole(position, end))
            }
            Peek::Short => None,
            Peek::Not(error) => {
                let is_blank = is_blank(file, path, rope, position, is_end).await?;
                return Ok(if is_blank {
                    Stop::End
                } else {
                    Stop::Not(error.to_string())
                });
            }
        };
        if let Some(bytes) = whole {
            let Ok(batch) = Batch::parse(&bytes) else {
                return Ok(Stop::Not("no batch".into()));
            };
            if !batch.crc_is_valid() || batch.base_offset() < outline.end {
                return Ok(Stop::Not("a batch with a wrong CRC or offset".into()));
            }
            outline.append(&batch.header(), config);
            position += bytes.len() as u32;
            continue;
        }
        if is_end {
            let is_blank = is_blank(file, path, rope, position, true).await?;
            return Ok(if is_blank { Stop::End } else { Stop::Torn(reaches) });
        }
        let from = rope.end();
        let mut next = Rope::at(position);
        for piece in rope.slice(position, from) {
            next.push(piece);
        }
        rope = next;
        let (bytes, reaches_end) = read(file, path, from).await?;
        is_end = reaches_end;
        rope.push(bytes);
    }
}

/// Whether there are only zeros from `position`, which is in the rope, to the end of the file, which the rope
/// reaches or not.
async fn is_blank(
    file: &File,
    path: &Path,
    rope: Rope,
    position: u32,
    mut is_end: bool,
) -> Result<bool, StorageError> {
    let is_zero = |bytes: &[u8]| bytes.iter().all(|&byte| byte == 0);
    if !rope
        .slice(position, rope.end())
        .iter()
        .all(|piece| is_zero(piece))
    {
        return Ok(false);
    }
    let mut from = rope.end();
    while !is_end {
        let (bytes, reaches_end) = read(file, path, from).await?;
        if !is_zero(&bytes) {
            return Ok(false);
        }
        from += bytes.len() as u32;
        is_end = reaches_end;
    }
    Ok(true)
}
