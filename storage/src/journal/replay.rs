//! Reading a journal after the end of whoever wrote it: which commits count, and whether what follows them is
//! a torn end or rot.
//!
//! A bad commit is the torn end only if no later valid commit follows, in its half or in the next generation;
//! otherwise something that was acknowledged is rotten (so it is when the other half has commits of a generation
//! whose header cannot be read), and the partitions concerned are named instead of
//! anything being cut (D5).

use std::collections::BTreeSet;
use std::path::Path;

use shards::buffers::{Buffer, Purpose};
use shards::fs::{self, File, OpenOptions};

use super::frames::{BLOCK, COMMIT_HEADER_BYTES, CommitHeader, HALF_HEAD_BYTES, HalfHeader};
use super::records::Record;
use crate::PartitionId;
use crate::error::{During, StorageError};

const READ_BYTES: usize = 512 << 10;

/// Acknowledged records that cannot be read any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rot {
    /// Where in the journal's file the first bad commit, or header, lies.
    pub position: u64,
    /// Partitions named by it, as far as legible, and by everything after it.
    pub named: BTreeSet<PartitionId>,
    /// Whether the bad commit is legible enough to know that it names no others.
    pub names_are_complete: bool,
}

/// What one half holds.
#[derive(Debug)]
struct HalfEnd {
    position: usize,
    sequence: u64,
    crc: u32,
    rot: Option<Rot>,
}

/// What was found in a journal, beside the records given out.
#[derive(Debug, Default)]
pub struct Found {
    /// Commits that count.
    pub commits: u64,
    /// Bytes of the file that were read.
    pub bytes: u64,
    /// The last header, if there is one.
    pub last: Option<HalfHeader>,
    /// Rot, if there is any.
    pub rot: Option<Rot>,
}

/// The newest header of the journal at `path`; `None` when there is no file or no header in it.
pub(crate) async fn last_half(path: &Path) -> Result<Option<HalfHeader>, StorageError> {
    let Some(bytes) = read_file(path, Some(HALF_HEAD_BYTES)).await? else {
        return Ok(None);
    };
    if let Some(first) = HalfHeader::newest(&bytes, 0) {
        let second = read_at(path, first.half_bytes, HALF_HEAD_BYTES).await?;
        let second = HalfHeader::newest(&second, first.half_bytes);
        let second = second.filter(|second| second.generation > first.generation);
        return Ok(Some(second.unwrap_or(first)));
    }
    let bytes = read_file(path, None).await?.unwrap_or_default();
    Ok(find_halves(&bytes).pop())
}

/// Reads the journal at `path` and gives each record that counts to `visit`, in order, with the file position
/// of its commit.
pub(crate) async fn read(path: &Path, mut visit: impl FnMut(u64, Record<'_>)) -> Result<Found, StorageError> {
    match read_file(path, None).await? {
        Some(bytes) => Ok(walk(&bytes, &mut visit)),
        None => Ok(Found::default()),
    }
}

/// The same on the bytes of a journal's file.
pub fn walk(bytes: &[u8], visit: &mut dyn FnMut(u64, Record<'_>)) -> Found {
    let mut found = Found {
        bytes: bytes.len() as u64,
        ..Found::default()
    };
    let halves = find_halves(bytes);
    found.last = halves.last().copied();
    let Some(last) = found.last else {
        // No header was ever durable, or all are rotten: commits tell which.
        let first_commit = (0..bytes.len()).step_by(BLOCK).find(|&at| {
            bytes
                .get(at..)
                .is_some_and(|rest| CommitHeader::decode(rest).is_some())
        });
        if first_commit.is_some() {
            found.rot = Some(Rot::default());
        }
        return found;
    };
    let previous = halves.iter().find(|half| half.generation + 1 == last.generation);
    let mut rot: Option<Rot> = None;
    if !last.is_fresh {
        match previous {
            Some(previous) => {
                let end = walk_half(bytes, previous, &mut found.commits, visit);
                rot = end.rot;
                let is_whole = end.sequence == last.first_sequence && end.crc == last.previous_crc;
                if rot.is_none() && !is_whole {
                    rot = Some(bad_commit(bytes, previous, end.position));
                }
            }
            None => {
                rot = Some(Rot {
                    position: (last.generation + 1) % 2 * last.half_bytes,
                    ..Rot::default()
                });
            }
        }
    }
    match &mut rot {
        None => rot = walk_half(bytes, &last, &mut found.commits, visit).rot,
        // Everything later is named, whether it is sound or not.
        Some(rot) => {
            let mut ignored = 0;
            let end = walk_half(bytes, &last, &mut ignored, &mut |position, record| {
                rot.named.insert(record.id());
                visit(position, record);
            });
            if let Some(more) = end.rot {
                rot.named.extend(more.named);
                rot.names_are_complete &= more.names_are_complete;
            }
        }
    }
    if let Some(more) = later_generation(bytes, &last) {
        let rot = rot.get_or_insert_with(|| Rot {
            position: more.position,
            ..Rot::default()
        });
        rot.named.extend(more.named);
        rot.names_are_complete = false;
    }
    found.rot = rot;
    found
}

/// Commits of a generation after `last`, in the other half: they were acknowledged, and the header that says so
/// is rotten. What else it named cannot be known.
fn later_generation(bytes: &[u8], last: &HalfHeader) -> Option<Rot> {
    let start = usize::try_from((last.generation + 1) % 2 * last.half_bytes).ok()?;
    let end = start.saturating_add(usize::try_from(last.half_bytes).ok()?);
    let half = bytes.get(..end.min(bytes.len()))?;
    let mut rot: Option<Rot> = None;
    for at in (start..half.len()).step_by(BLOCK) {
        let Some(commit) = half.get(at..) else { break };
        let Some(header) = CommitHeader::decode(commit) else {
            continue;
        };
        if header.journal != last.journal || header.generation <= last.generation {
            continue;
        }
        if let Some((records, _)) = header.verify(commit) {
            let rot = rot.get_or_insert_with(|| Rot {
                position: start as u64,
                ..Rot::default()
            });
            rot.named.extend(Record::named_in(records).0);
        }
    }
    rot
}

/// The sound headers, by generation.
fn find_halves(bytes: &[u8]) -> Vec<HalfHeader> {
    let mut halves: Vec<HalfHeader> = HalfHeader::newest(bytes, 0).into_iter().collect();
    let second_at = match halves.first() {
        Some(first) => usize::try_from(first.half_bytes).ok(),
        None => (0..bytes.len())
            .step_by(BLOCK)
            .find(|&at| second_half(bytes, at).is_some()),
    };
    if let Some(second) = second_at.and_then(|at| second_half(bytes, at)) {
        halves.push(second);
    }
    halves.sort_by_key(|half| half.generation);
    halves
}

/// The header of a second half that begins at `at`.
fn second_half(bytes: &[u8], at: usize) -> Option<HalfHeader> {
    HalfHeader::newest(bytes.get(at..)?, at as u64)
}

fn walk_half(
    bytes: &[u8],
    half: &HalfHeader,
    commits: &mut u64,
    visit: &mut dyn FnMut(u64, Record<'_>),
) -> HalfEnd {
    let start = usize::try_from(half.start()).unwrap_or(usize::MAX);
    let length = usize::try_from(half.half_bytes).unwrap_or(usize::MAX);
    let limit = start.saturating_add(length).min(bytes.len());
    let half_bytes = bytes.get(..limit).unwrap_or_default();
    let mut end = HalfEnd {
        position: start + HALF_HEAD_BYTES,
        sequence: half.first_sequence,
        crc: half.previous_crc,
        rot: None,
    };
    while let Some((header, records, crc)) = commit_at(half_bytes, half, end.position) {
        if header.sequence != end.sequence
            || header.previous_crc != end.crc
            || !visit_all(end.position, records, visit)
        {
            break;
        }
        *commits += 1;
        end.position += CommitHeader::blocks_bytes(records.len());
        end.sequence += 1;
        end.crc = crc;
    }
    let is_later = |at: usize| {
        commit_at(half_bytes, half, at).is_some_and(|(header, _, _)| header.sequence >= end.sequence)
    };
    if (end.position..half_bytes.len()).step_by(BLOCK).any(is_later) {
        end.rot = Some(bad_commit(half_bytes, half, end.position));
    }
    end
}

/// Gives out the records of a commit, all or none; false when they are not what this version writes.
fn visit_all(position: usize, records: &[u8], visit: &mut dyn FnMut(u64, Record<'_>)) -> bool {
    let mut rest = records;
    while !rest.is_empty() {
        match Record::decode(rest) {
            Ok((_, after)) => rest = after,
            Err(_) => return false,
        }
    }
    rest = records;
    while let Ok((record, after)) = Record::decode(rest) {
        visit(position as u64, record);
        rest = after;
    }
    true
}

/// The commit of this half that lies at a position, if its CRC is right.
fn commit_at<'a>(bytes: &'a [u8], half: &HalfHeader, at: usize) -> Option<(CommitHeader, &'a [u8], u32)> {
    let bytes = bytes.get(at..)?;
    let header = CommitHeader::decode(bytes)?;
    if header.journal != half.journal || header.generation != half.generation {
        return None;
    }
    let (records, crc) = header.verify(bytes)?;
    Some((header, records, crc))
}

/// What a bad commit at `at` and the sound ones after it name.
fn bad_commit(bytes: &[u8], half: &HalfHeader, at: usize) -> Rot {
    let mut rot = Rot {
        position: at as u64,
        ..Rot::default()
    };
    let rest = bytes.get(at..).unwrap_or_default();
    if let Some(header) = CommitHeader::decode(rest) {
        let end = COMMIT_HEADER_BYTES + header.length as usize;
        if let Some(records) = rest.get(COMMIT_HEADER_BYTES..end) {
            let (named, is_complete) = Record::named_in(records);
            rot.named.extend(named);
            // A length that was made smaller hides names: it is believed only if a commit follows there.
            let next = at + CommitHeader::blocks_bytes(header.length as usize);
            let is_followed = commit_at(bytes, half, next).is_some() || next >= bytes.len();
            rot.names_are_complete = is_complete && is_followed;
        }
    }
    let mut position = at + BLOCK;
    while position < bytes.len() {
        match commit_at(bytes, half, position) {
            Some((_, records, _)) => {
                rot.named.extend(Record::named_in(records).0);
                position += CommitHeader::blocks_bytes(records.len());
            }
            None => position += BLOCK,
        }
    }
    rot
}

async fn read_file(path: &Path, max: Option<usize>) -> Result<Option<Vec<u8>>, StorageError> {
    if !fs::exists(path).await.during("look at", path)? {
        return Ok(None);
    }
    read_at(path, 0, max.unwrap_or(usize::MAX)).await.map(Some)
}

async fn read_at(path: &Path, from: u64, max: usize) -> Result<Vec<u8>, StorageError> {
    let options = OpenOptions {
        read: true,
        direct: true,
        ..OpenOptions::default()
    };
    let file = File::open(path, options).await.during("open", path)?;
    let length = file.len().await.during("look at", path)?.saturating_sub(from);
    let length = usize::try_from(length).unwrap_or(usize::MAX).min(max);
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let wanted = (length - bytes.len()).min(READ_BYTES);
        let buffer = Buffer::take(Purpose::Background, wanted).await;
        let (count, buffer) = file.read_at(from + bytes.len() as u64, buffer).await;
        if count.during("read", path)? == 0 {
            break;
        }
        // A short read that ends inside a block is read again from the block's start: direct reads must.
        let usable = if bytes.len() + buffer.len() < length {
            buffer.len() / BLOCK * BLOCK
        } else {
            buffer.len()
        };
        bytes.extend_from_slice(buffer.get(..usable).unwrap_or_default());
    }
    bytes.truncate(length);
    file.close().await.during("close", path)?;
    Ok(bytes)
}
