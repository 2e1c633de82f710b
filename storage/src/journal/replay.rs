//! Reading a journal after the end of whoever wrote it: which commits count, and whether what follows them is
//! a torn end or rot.
//!
//! A bad commit is the torn end only if no later valid commit follows, in its half or in the next generation;
//! otherwise something that was acknowledged is rotten (so it is when the other half has commits of a generation
//! whose header cannot be read), and the partitions concerned are named instead of
//! anything being cut (D5).

mod source;

use std::collections::BTreeSet;
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use shards::fs;

use super::frames::{BLOCK, COMMIT_HEADER_BYTES, CommitHeader, HALF_HEAD_BYTES, HalfHeader};
use super::records::Record;
use crate::PartitionId;
use crate::error::{During, StorageError};
use source::{Ahead, Memory, Source};

/// How much of the half that is not in use is looked at for commits whose header is rotten: the first of them stand
/// there.
const LATER_BYTES: u64 = 4 << 20;

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
    position: u64,
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

type Visit<'a> = &'a mut dyn FnMut(u64, Record<'_>);

/// The newest header of the journal at `path`; `None` when there is no file or no header in it.
pub(crate) async fn last_half(path: &Path) -> Result<Option<HalfHeader>, StorageError> {
    if !fs::exists(path).await.during("look at", path)? {
        return Ok(None);
    }
    let mut file = Ahead::open(path).await?;
    let last = find_halves(&mut file).await?.pop();
    file.close().await?;
    Ok(last)
}

/// Reads the journal at `path` and gives each record that counts to `visit`, in order, with the file position
/// of its commit. `is_counted` says of a generation, of which the last header is given, whether a checkpoint that is
/// believed counts all of it: it is not replayed then.
pub(crate) async fn read(
    path: &Path,
    is_counted: impl Fn(&HalfHeader, u64) -> bool,
    mut visit: impl FnMut(u64, Record<'_>),
) -> Result<Found, StorageError> {
    if !fs::exists(path).await.during("look at", path)? {
        return Ok(Found::default());
    }
    let mut file = Ahead::open(path).await?;
    let mut found = walk_source(&mut file, &is_counted, &mut visit).await?;
    found.bytes = file.bytes_read;
    file.close().await?;
    Ok(found)
}

/// The same on the bytes of a journal's file, without a checkpoint.
pub fn walk(bytes: &[u8], visit: &mut dyn FnMut(u64, Record<'_>)) -> Found {
    let mut memory = Memory(bytes);
    let walked = pin!(walk_source(&mut memory, &|_, _| false, visit));
    let Poll::Ready(Ok(mut found)) = walked.poll(&mut Context::from_waker(Waker::noop())) else {
        debug_assert!(false, "memory neither waits nor fails");
        return Found::default();
    };
    found.bytes = bytes.len() as u64;
    found
}

async fn walk_source(
    source: &mut impl Source,
    is_counted: &dyn Fn(&HalfHeader, u64) -> bool,
    visit: Visit<'_>,
) -> Result<Found, StorageError> {
    let mut found = Found::default();
    let halves = find_halves(source).await?;
    found.last = halves.last().copied();
    let Some(last) = found.last else {
        // No header was ever durable, or all are rotten: commits tell which.
        for at in (0..source.len()).step_by(BLOCK) {
            if CommitHeader::decode(source.get(at, COMMIT_HEADER_BYTES).await?).is_some() {
                found.rot = Some(Rot::default());
                break;
            }
        }
        return Ok(found);
    };
    let previous = halves.iter().find(|half| half.generation + 1 == last.generation);
    let mut rot: Option<Rot> = None;
    if !last.is_fresh && !is_counted(&last, last.generation.saturating_sub(1)) {
        match previous {
            Some(previous) => {
                let end = walk_half(source, previous, &mut found.commits, visit).await?;
                rot = end.rot;
                let is_whole = end.sequence == last.first_sequence && end.crc == last.previous_crc;
                if rot.is_none() && !is_whole {
                    rot = Some(bad_commit(source, previous, end.position).await?);
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
        None => rot = walk_half(source, &last, &mut found.commits, visit).await?.rot,
        // Everything later is named, whether it is sound or not.
        Some(rot) => {
            let mut ignored = 0;
            let mut named = BTreeSet::new();
            let end = walk_half(source, &last, &mut ignored, &mut |position, record| {
                named.insert(record.id());
                visit(position, record);
            })
            .await?;
            rot.named.extend(named);
            if let Some(more) = end.rot {
                rot.named.extend(more.named);
                rot.names_are_complete &= more.names_are_complete;
            }
        }
    }
    if let Some(more) = later_generation(source, &last).await? {
        let rot = rot.get_or_insert_with(|| Rot {
            position: more.position,
            ..Rot::default()
        });
        rot.named.extend(more.named);
        rot.names_are_complete = false;
    }
    found.rot = rot;
    Ok(found)
}

/// Commits of a generation after `last`, in the other half: they were acknowledged, and the header that says so
/// is rotten. What else it named cannot be known.
async fn later_generation(source: &mut impl Source, last: &HalfHeader) -> Result<Option<Rot>, StorageError> {
    let start = (last.generation + 1) % 2 * last.half_bytes;
    let end = start
        .saturating_add(last.half_bytes.min(LATER_BYTES))
        .min(source.len());
    let mut rot: Option<Rot> = None;
    for at in (start..end).step_by(BLOCK) {
        let Some(header) = CommitHeader::decode(source.get(at, COMMIT_HEADER_BYTES).await?) else {
            continue;
        };
        if header.journal != last.journal || header.generation <= last.generation {
            continue;
        }
        let commit = source
            .get(at, COMMIT_HEADER_BYTES + header.length as usize)
            .await?;
        if let Some((records, _)) = header.verify(commit) {
            let rot = rot.get_or_insert_with(|| Rot {
                position: start,
                ..Rot::default()
            });
            rot.named.extend(Record::named_in(records).0);
        }
    }
    Ok(rot)
}

/// The sound headers, by generation.
async fn find_halves(source: &mut impl Source) -> Result<Vec<HalfHeader>, StorageError> {
    let mut halves: Vec<HalfHeader> = Vec::new();
    halves.extend(HalfHeader::newest(source.get(0, HALF_HEAD_BYTES).await?, 0));
    match halves.first() {
        Some(first) => {
            let at = first.half_bytes;
            halves.extend(HalfHeader::newest(source.get(at, HALF_HEAD_BYTES).await?, at));
        }
        None => {
            for at in (0..source.len()).step_by(BLOCK) {
                if let Some(second) = HalfHeader::newest(source.get(at, HALF_HEAD_BYTES).await?, at) {
                    halves.push(second);
                    break;
                }
            }
        }
    }
    halves.sort_by_key(|half| half.generation);
    Ok(halves)
}

/// Where the bytes of a half end in the file.
fn limit(source: &impl Source, half: &HalfHeader) -> u64 {
    half.start().saturating_add(half.half_bytes).min(source.len())
}

async fn walk_half(
    source: &mut impl Source,
    half: &HalfHeader,
    commits: &mut u64,
    visit: Visit<'_>,
) -> Result<HalfEnd, StorageError> {
    let mut end = HalfEnd {
        position: half.start() + HALF_HEAD_BYTES as u64,
        sequence: half.first_sequence,
        crc: half.previous_crc,
        rot: None,
    };
    while let Some((header, records, crc)) = commit_at(source, half, end.position).await? {
        if header.sequence != end.sequence
            || header.previous_crc != end.crc
            || !visit_all(end.position, records, visit)
        {
            break;
        }
        *commits += 1;
        end.position += CommitHeader::blocks_bytes(records.len()) as u64;
        end.sequence += 1;
        end.crc = crc;
    }
    for at in (end.position..limit(source, half)).step_by(BLOCK) {
        let later = commit_at(source, half, at).await?;
        if later.is_some_and(|(header, _, _)| header.sequence >= end.sequence) {
            end.rot = Some(bad_commit(source, half, end.position).await?);
            break;
        }
    }
    Ok(end)
}

/// Gives out the records of a commit, all or none; false when they are not what this version writes.
fn visit_all(position: u64, records: &[u8], visit: Visit<'_>) -> bool {
    let mut rest = records;
    while !rest.is_empty() {
        match Record::decode(rest) {
            Ok((_, after)) => rest = after,
            Err(_) => return false,
        }
    }
    rest = records;
    while let Ok((record, after)) = Record::decode(rest) {
        visit(position, record);
        rest = after;
    }
    true
}

/// The commit of this half that lies at a position, if its CRC is right.
async fn commit_at<'a>(
    source: &'a mut impl Source,
    half: &HalfHeader,
    at: u64,
) -> Result<Option<(CommitHeader, &'a [u8], u32)>, StorageError> {
    let left = usize::try_from(limit(source, half).saturating_sub(at)).unwrap_or(usize::MAX);
    let header = source.get(at, COMMIT_HEADER_BYTES.min(left)).await?;
    let Some(header) = CommitHeader::decode(header) else {
        return Ok(None);
    };
    if header.journal != half.journal || header.generation != half.generation {
        return Ok(None);
    }
    let length = COMMIT_HEADER_BYTES + header.length as usize;
    let commit = source.get(at, length.min(left)).await?;
    Ok(header.verify(commit).map(|(records, crc)| (header, records, crc)))
}

/// What a bad commit at `at` and the sound ones after it name.
async fn bad_commit(source: &mut impl Source, half: &HalfHeader, at: u64) -> Result<Rot, StorageError> {
    let mut rot = Rot {
        position: at,
        ..Rot::default()
    };
    let limit = limit(source, half);
    let left = usize::try_from(limit.saturating_sub(at)).unwrap_or(usize::MAX);
    let header = source.get(at, COMMIT_HEADER_BYTES.min(left)).await?;
    if let Some(header) = CommitHeader::decode(header) {
        let end = COMMIT_HEADER_BYTES + header.length as usize;
        let commit = source.get(at, end.min(left)).await?;
        if let Some(records) = commit.get(COMMIT_HEADER_BYTES..end) {
            let (named, is_complete) = Record::named_in(records);
            rot.named.extend(named);
            // A length that was made smaller hides names: it is believed only if a commit follows there.
            let next = at + CommitHeader::blocks_bytes(header.length as usize) as u64;
            let is_followed = next >= limit || commit_at(source, half, next).await?.is_some();
            rot.names_are_complete = is_complete && is_followed;
        }
    }
    let mut position = at + BLOCK as u64;
    while position < limit {
        match commit_at(source, half, position).await? {
            Some((_, records, _)) => {
                rot.named.extend(Record::named_in(records).0);
                position += CommitHeader::blocks_bytes(records.len()) as u64;
            }
            None => position += BLOCK as u64,
        }
    }
    Ok(rot)
}
