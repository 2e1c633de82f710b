//! The shard's journal: one write and one sync commit all that was staged since the last.
//!
//! What a newcomer would get wrong: the journal's sync vouches for the journal alone, never for a segment
//! file (D2), and a half is used again only when all it protects is safe elsewhere (D6). The file is written
//! with zeros before it is used, because a sync of allocated but unwritten blocks costs twice as much.

pub(crate) mod commit;
pub mod frames;
pub mod records;
pub mod replay;

use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::Bytes;
use protocol::types::Uuid;
use shards::buffers::{Buffer, Purpose};
use shards::fs::{self, File, OpenOptions};
use shards::sync::Notify;
use shards::{Priority, random};

use crate::core::Core;
use crate::error::{During, StorageError};
use crate::planted::{self, Planted};
use frames::{BLOCK, CommitHeader, HALF_HEAD_BYTES, HalfHeader};

/// How often a write that was cut short is repeated.
const REPEATS_MAX: usize = 8;
/// Less room than this at the end of a half is not worth a commit.
const ROOM_MIN: u64 = 16 * BLOCK as u64;
/// Smallest half that works at all.
pub const HALF_BYTES_MIN: u64 = 1 << 20;
const ZEROS_BYTES: usize = 256 << 10;

/// The name of a shard's journal.
pub fn file_name(shard: u16) -> String {
    format!("{FILE}-{shard}")
}

/// What the names of journals begin with.
pub const FILE: &str = "klamm-journal";
/// And those of journals that a recovery keeps.
pub const KEPT_FILE: &str = "klamm-kept-journal";

/// The journal of one shard in one log dir.
pub(crate) struct Journal {
    file: Rc<File>,
    path: PathBuf,
    half: HalfHeader,
    /// Sequence of the next commit.
    sequence: u64,
    previous_crc: u32,
    /// Where in the file the next commit goes.
    position: u64,
    state: Rc<Halves>,
}

/// What the journal's background work tells the loop that commits.
#[derive(Default)]
pub(crate) struct Halves {
    /// Bytes of the file that are written, if only with zeros.
    zeroed: Cell<u64>,
    /// The half that is not in use protects nothing any more.
    is_other_free: Cell<bool>,
    /// Number of the last checkpoint that is durable.
    pub checkpoint: Cell<u64>,
    /// A generation that must be released: told to the store.
    pub to_release: Cell<Option<u64>>,
    /// One of the above has changed.
    pub changed: Notify,
    /// There is something to release.
    pub release_wanted: Notify,
}

impl Halves {
    /// The generation before the current one protects nothing any more.
    pub fn released(&self) {
        self.is_other_free.set(true);
        self.changed.notify_one();
    }
}

impl Journal {
    /// Opens or makes the journal of `core`'s shard, empty: whoever opens it has replayed what it held.
    pub async fn open(core: &Rc<Core>, half_bytes: u64) -> Result<Self, StorageError> {
        let half_bytes = half_bytes.max(HALF_BYTES_MIN) / BLOCK as u64 * BLOCK as u64;
        let path = core.path.join(file_name(core.shard));
        let old = replay::last_half(&path).await?;
        let (journal, generation, is_same) = match old {
            // A new beginning is always in half 0.
            Some(half) if half.half_bytes == half_bytes => (half.journal, (half.generation | 1) + 1, true),
            _ => (Uuid(random::uuid_bytes()), 0, false),
        };
        let options = OpenOptions {
            read: true,
            write: true,
            create: true,
            truncate: !is_same,
            direct: true,
            ..OpenOptions::default()
        };
        let file = Rc::new(File::open(&path, options).await.during("open", &path)?);
        let length = file.len().await.during("look at", &path)?;
        let state = Rc::new(Halves::default());
        state.zeroed.set(length / BLOCK as u64 * BLOCK as u64);
        state.is_other_free.set(true);
        let mut opened = Self {
            half: HalfHeader {
                journal,
                generation,
                first_sequence: 0,
                previous_crc: 0,
                shard: core.shard,
                run: core.run,
                half_bytes,
                is_fresh: true,
                checkpoint: 0,
            },
            file,
            path,
            sequence: 0,
            previous_crc: 0,
            position: 0,
            state,
        };
        let ready = core.options.journal_ready_bytes.min(half_bytes).max(ROOM_MIN);
        while opened.state.zeroed.get() < ready {
            zero_next(&opened.file, &opened.path, &opened.state, ready).await?;
        }
        opened.file.sync_all().await.during("sync", &opened.path)?;
        fs::sync_dir(&core.path).await.during("sync", &core.path)?;
        opened.begin_half(generation, true).await?;
        opened.zero_in_background(core);
        Ok(opened)
    }

    /// The generation that commits belong to now.
    pub fn generation(&self) -> u64 {
        self.half.generation
    }

    /// What the background work shares with the journal.
    pub fn halves(&self) -> Rc<Halves> {
        self.state.clone()
    }

    /// Bytes that the next commit may have, its header included; waits while the journal is full.
    async fn room(&mut self, core: &Rc<Core>) -> Result<usize, StorageError> {
        let left = self.half.start() + self.half.half_bytes - self.position;
        if left < ROOM_MIN {
            self.switch(core).await?;
        }
        loop {
            core.alive()?;
            let end = (self.half.start() + self.half.half_bytes).min(self.state.zeroed.get());
            let room = end.saturating_sub(self.position);
            if room >= ROOM_MIN.min(self.half.half_bytes) {
                let most = core
                    .options
                    .commit_bytes_max
                    .clamp(4 * BLOCK, frames::COMMIT_BYTES_MAX);
                return Ok(usize::try_from(room).unwrap_or(usize::MAX).min(most));
            }
            shards::select2(self.state.changed.notified(), core.failed.wait()).await;
        }
    }

    /// Goes on in the other half, once nothing in it is needed (D6).
    async fn switch(&mut self, core: &Rc<Core>) -> Result<(), StorageError> {
        if !self.state.is_other_free.get() {
            core.count(|stats| stats.journal_waits += 1);
        }
        let next = self.half.generation + 1;
        let needed = next % 2 * self.half.half_bytes + ROOM_MIN;
        let is_early = planted::is(Planted::JournalReusedTooEarly);
        while !(is_early || self.state.is_other_free.get()) || self.state.zeroed.get() < needed {
            shards::select2(self.state.changed.notified(), core.failed.wait()).await;
            core.alive()?;
        }
        let old = self.half.generation;
        self.begin_half(next, false).await?;
        core.count(|stats| stats.switches += 1);
        self.state.is_other_free.set(false);
        self.state.to_release.set(Some(old));
        self.state.release_wanted.notify_one();
        Ok(())
    }

    /// The header of a new generation is durable before anything is committed to it.
    async fn begin_half(&mut self, generation: u64, is_fresh: bool) -> Result<(), StorageError> {
        self.half.generation = generation;
        self.half.first_sequence = self.sequence;
        self.half.previous_crc = self.previous_crc;
        self.half.is_fresh = is_fresh;
        self.half.checkpoint = self.state.checkpoint.get();
        let mut block = Buffer::take(Purpose::Background, BLOCK).await;
        block.extend_from_slice(&self.half.encode());
        pad(&mut block);
        write_synced(&self.file, self.half.position(), block.freeze())
            .await
            .during("write", &self.path)?;
        self.position = self.half.start() + HALF_HEAD_BYTES as u64;
        Ok(())
    }

    /// Writes a commit whose records stand in `buffer` behind the room for its header; durable afterwards.
    async fn write(&mut self, mut buffer: Buffer) -> Result<(), StorageError> {
        let header = CommitHeader {
            journal: self.half.journal,
            generation: self.half.generation,
            sequence: self.sequence,
            length: (buffer.len() - frames::COMMIT_HEADER_BYTES) as u32,
            previous_crc: self.previous_crc,
        };
        let crc = header.seal(&mut buffer);
        pad(&mut buffer);
        let length = buffer.len() as u64;
        debug_assert!(self.position + length <= self.half.start() + self.half.half_bytes);
        let bytes = buffer.freeze();
        if planted::is(Planted::BufferChangedInFlight) {
            planted::change_later(&bytes);
        }
        let written = match planted::is(Planted::AckBeforeSync) {
            true => self.file.write_all_at(self.position, bytes).await,
            false => write_synced(&self.file, self.position, bytes).await,
        };
        written.during("write", &self.path)?;
        self.position += length;
        self.sequence += 1;
        self.previous_crc = crc;
        Ok(())
    }

    fn zero_in_background(&self, core: &Rc<Core>) {
        let end = 2 * self.half.half_bytes;
        let (file, path, state) = (self.file.clone(), self.path.clone(), self.state.clone());
        let shared = core.clone();
        let _ = core.gate.spawn(Priority::Background, async move {
            let core = shared;
            while state.zeroed.get() < end && !core.is_closing.get() && core.failure().is_none() {
                let result = zero_next(&file, &path, &state, end).await;
                if core.check(result).is_err() {
                    return;
                }
                state.changed.notify_one();
            }
        });
    }
}

/// Empties the journal at `path`: afterwards nothing of it is replayed. For a dir that nobody works in.
pub(crate) async fn reset(path: &Path) -> Result<(), StorageError> {
    let Some(mut half) = replay::last_half(path).await? else {
        return Ok(());
    };
    half.generation = (half.generation | 1) + 1;
    half.first_sequence = 0;
    half.previous_crc = 0;
    half.is_fresh = true;
    half.checkpoint = 0;
    let options = OpenOptions {
        read: true,
        write: true,
        direct: true,
        ..OpenOptions::default()
    };
    let file = File::open(path, options).await.during("open", path)?;
    let mut block = Buffer::take(Purpose::Background, BLOCK).await;
    block.extend_from_slice(&half.encode());
    pad(&mut block);
    write_synced(&file, half.position(), block.freeze())
        .await
        .during("write", path)?;
    file.close().await.during("close", path)
}

async fn zero_next(file: &File, path: &Path, state: &Halves, end: u64) -> Result<(), StorageError> {
    let from = state.zeroed.get();
    let length = (end - from).min(ZEROS_BYTES as u64) as usize;
    let mut zeros = Buffer::take(Purpose::Background, length).await;
    zeros.spare_mut().fill(0);
    zeros.set_len(length);
    file.write_all_at(from, zeros.freeze())
        .await
        .during("write", path)?;
    state.zeroed.set(from + length as u64);
    Ok(())
}

/// Fills up to whole blocks with zeros.
fn pad(buffer: &mut Buffer) {
    let length = buffer.len();
    let whole = length.next_multiple_of(BLOCK).min(buffer.capacity());
    if let Some(rest) = buffer.spare_mut().get_mut(..whole - length) {
        rest.fill(0);
    }
    buffer.set_len(whole);
}

/// Writes and syncs. A write that was cut short is repeated with its sync, since the sync was cancelled or
/// came too early; any other failure is final (D14).
async fn write_synced(file: &File, position: u64, bytes: Bytes) -> io::Result<()> {
    for _ in 0..REPEATS_MAX {
        let commit = file.write_and_sync_at(position, bytes.clone()).await;
        if commit.written? == bytes.len() {
            return commit.synced;
        }
    }
    Err(io::ErrorKind::WriteZero.into())
}
