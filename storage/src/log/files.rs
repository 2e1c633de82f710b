//! The files of a log: compared with the outline before first use, made, allocated ahead, opened for reading.
//!
//! A log that nobody uses has no file open and was not looked at. The comparison is what keeps a missing,
//! shortened or exchanged file from being bridged (D16): the partition goes offline, nothing is cut to fit.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use protocol::batch::Header;
use protocol::types::Offset;
use shards::Priority;
use shards::buffers::{BLOCK, Buffer, Chunk, Purpose};
use shards::fs::{self, File, OpenOptions};
use shards::time;

use super::{Indexes, Log, block_end};
use crate::error::{During, StorageError};
use crate::index::{self, OffsetIndex};
use crate::kafka_files::{parse_segment_file_name, segment_file_name};
use crate::recovery::Owed;
use crate::tail::block_start;
use crate::time_index::{self, TimeIndex};

/// How many index files of a log stay in memory once read.
const INDEXES_READ_MAX: usize = 4;
/// How many sealed segment files of a log stay open once read.
const FILES_READ_MAX: usize = 4;

/// Until another attempt when no more files may be open.
const FILES_WAIT: Duration = Duration::from_millis(50);
/// Too many files are open: in the process, in the host. The same numbers on every Linux.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;

/// What the next staged batch waits for.
enum Lack {
    Nothing,
    Verified,
    File {
        base: Offset,
        is_new: bool,
    },
    Space {
        file: Rc<File>,
        base: Offset,
        from: u32,
        to: u32,
    },
    Memory {
        base: Offset,
        end: u32,
        file: Rc<File>,
    },
}

impl Log {
    /// The path of one of a segment's files.
    pub(super) fn segment_path(&self, base: Offset, suffix: &str) -> PathBuf {
        self.path.join(segment_file_name(base, suffix))
    }

    /// Gets, in the background, what staged batches wait for; then the log is ready again.
    pub(crate) fn prepare_soon(self: &Rc<Self>) {
        if self.is_preparing.replace(true) {
            return;
        }
        let log = self.clone();
        let spawned = self.core.gate.spawn(Priority::Clients, async move {
            let result = log.prepare().await;
            log.is_preparing.set(false);
            match log.core.check(result) {
                Ok(()) => log.core.make_ready(&log),
                Err(StorageError::Io { .. }) => {}
                Err(error) => log.damage(&error),
            }
        });
        if spawned.is_err() {
            self.is_preparing.set(false);
        }
    }

    async fn prepare(self: &Rc<Self>) -> Result<(), StorageError> {
        loop {
            match self.lack() {
                Lack::Nothing => return Ok(()),
                Lack::Verified => self.verify().await?,
                Lack::File { base, is_new } => {
                    let _permit = self.files_permit.acquire(1).await;
                    let file = self.open_for_append(base, is_new).await?;
                    let length = file
                        .len()
                        .await
                        .during("look at", self.segment_path(base, ".log"))?;
                    let mut state = self.state.borrow_mut();
                    if let Some(open) = state.open.iter_mut().find(|open| open.base == base) {
                        open.file = Some(Rc::new(file));
                        // A part of a block at the end is no place for a block to be written.
                        open.allocated = block_start(u32::try_from(length).unwrap_or(u32::MAX));
                    }
                }
                Lack::Space { file, base, from, to } => {
                    let _permit = self.files_permit.acquire(1).await;
                    let path = self.segment_path(base, ".log");
                    file.allocate(u64::from(from), u64::from(to - from))
                        .await
                        .during("allocate space for", path)?;
                    let mut state = self.state.borrow_mut();
                    if let Some(open) = state.open.iter_mut().find(|open| open.base == base) {
                        open.allocated = open.allocated.max(to);
                    }
                }
                Lack::Memory { base, end, file } => {
                    // No permit is held: what frees memory needs it.
                    let mut chunk = self.wait_for_chunk().await?;
                    let from = block_start(end);
                    if from != end {
                        let _permit = self.files_permit.acquire(1).await;
                        let head = self.read_block(&file, base, from).await?;
                        let head = head.get(..(end - from) as usize);
                        chunk.append(head.ok_or_else(|| self.is_short(base, from))?);
                    }
                    let mut state = self.state.borrow_mut();
                    let open = state.open.iter_mut().find(|open| open.base == base);
                    if let Some(open) = open.filter(|open| open.tail.room() == 0 && open.tail.end() == end) {
                        open.tail.push(chunk);
                    }
                }
            }
            self.core.alive()?;
        }
    }

    fn lack(&self) -> Lack {
        let state = self.state.borrow();
        if !state.is_verified {
            return Lack::Verified;
        }
        let Some(staged) = state.staged.get(state.placed) else {
            return Lack::Nothing;
        };
        let Some(open) = state.open.iter().find(|open| open.base == staged.segment) else {
            return Lack::Nothing;
        };
        let Some(file) = open.file.clone() else {
            return Lack::File {
                base: open.base,
                is_new: open.tail.end() == 0,
            };
        };
        let known = state
            .outline
            .segment(staged.segment)
            .map_or(0, |known| known.length);
        let whole_end = staged.position + staged.batch.len() as u32;
        if open.allocated < whole_end {
            let step = self.core.options.allocate_bytes;
            let to = known
                .max(whole_end)
                .saturating_add(step)
                .next_multiple_of(step.max(BLOCK as u32));
            let most = block_end(
                state
                    .config
                    .segment_bytes
                    .max(known)
                    .min(i32::MAX as u32 - BLOCK as u32),
            );
            return Lack::Space {
                file,
                base: open.base,
                from: open.allocated,
                to: to.min(most).max(block_end(whole_end)),
            };
        }
        if open.tail.room() == 0 {
            return Lack::Memory {
                base: open.base,
                end: open.tail.end(),
                file,
            };
        }
        Lack::Nothing
    }

    pub(super) async fn wait_for_chunk(&self) -> Result<Chunk, StorageError> {
        let bytes = self.core.options.chunk_bytes;
        if let Some(chunk) = Chunk::try_take(Purpose::Tails, bytes) {
            return Ok(chunk);
        }
        self.core.memory_waiters.set(self.core.memory_waiters.get() + 1);
        self.core.memory_wanted.notify_one();
        let chunk = shards::select2(Chunk::take(Purpose::Tails, bytes), self.core.failed.wait()).await;
        self.core.memory_waiters.set(self.core.memory_waiters.get() - 1);
        match chunk {
            shards::Either::First(chunk) => Ok(chunk),
            shards::Either::Second(()) => Err(self.core.failure().unwrap_or(StorageError::Closed)),
        }
    }

    pub(super) async fn open_for_append(&self, base: Offset, is_new: bool) -> Result<File, StorageError> {
        let path = self.segment_path(base, ".log");
        let options = OpenOptions {
            read: true,
            write: true,
            create: is_new,
            direct: true,
            ..OpenOptions::default()
        };
        let file = self.open_file(&path, options).await?;
        if is_new {
            fs::sync_dir(&self.path).await.during("sync", &self.path)?;
        }
        Ok(file)
    }

    /// Opens a segment's file. That the process, or the host, has as many files open as it may is no failure of
    /// the disk: what this log keeps open for readers is given back, and it is tried again until it works.
    async fn open_file(&self, path: &Path, options: OpenOptions) -> Result<File, StorageError> {
        self.core.count(|stats| stats.segment_opens += 1);
        let mut is_told = false;
        loop {
            match File::open(path, options).await {
                Err(error) if matches!(error.raw_os_error(), Some(EMFILE | ENFILE)) => {
                    if !is_told {
                        tracing::warn!("{} waits to be opened: {error}", path.display());
                        is_told = true;
                    }
                    self.state.borrow_mut().read_files.clear();
                    time::sleep(FILES_WAIT).await;
                    self.core.alive()?;
                }
                result => return result.during("open", path),
            }
        }
    }

    pub(super) async fn read_block(
        &self,
        file: &File,
        base: Offset,
        position: u32,
    ) -> Result<Buffer, StorageError> {
        let buffer = Buffer::take(Purpose::Background, BLOCK).await;
        self.core.count(|stats| stats.segment_reads += 1);
        let (count, mut buffer) = file.read_at(u64::from(position), buffer).await;
        let count = count.during("read", self.segment_path(base, ".log"))?;
        buffer.set_len(count.min(BLOCK));
        Ok(buffer)
    }

    pub(super) fn is_short(&self, base: Offset, position: u32) -> StorageError {
        StorageError::damaged(
            self.segment_path(base, ".log"),
            u64::from(position),
            "the file ends before its known end",
        )
    }

    /// Notes what the files lack; nothing was done with the log yet.
    pub(crate) fn owe(&self, owed: Owed) {
        let mut state = self.state.borrow_mut();
        state.owed = Some(owed);
        state.is_owed = true;
    }

    /// Whether the files lack something that only a journal of an earlier start has.
    pub(crate) fn is_owed(&self) -> bool {
        self.state.borrow().is_owed
    }

    /// Brings the files to where they should have been at the start; that it is not possible is this log's damage.
    pub(crate) async fn settle_owed(&self) -> Result<(), StorageError> {
        match self.verify_once().await {
            Err(StorageError::Damaged { .. }) => Ok(()),
            result => result,
        }
    }

    async fn pay(&self) -> Result<(), StorageError> {
        let owed = self.state.borrow_mut().owed.take();
        let Some(owed) = owed else { return Ok(()) };
        let settled = owed.settle(&self.core.path, self.id).await?;
        let mut state = self.state.borrow_mut();
        state.is_owed = false;
        if let Some(damage) = settled.outline.damage {
            return Err(StorageError::damaged(&self.path, 0, damage));
        }
        // Those before the last are sealed now; the last, and what came after it, has changed by itself meanwhile.
        let count = settled.outline.segments.len();
        for segment in settled.outline.segments.into_iter().take(count.saturating_sub(1)) {
            if let Some(known) = state.outline.segment_mut(segment.base) {
                *known = segment;
            }
        }
        Ok(())
    }

    /// Compares the files with the outline, once.
    pub(crate) async fn verify(&self) -> Result<(), StorageError> {
        let _permit = self.files_permit.acquire(1).await;
        if self.state.borrow().is_verified {
            return Ok(());
        }
        self.pay().await?;
        let found = fs::read_dir(&self.path).await.during("list", &self.path)?;
        let known: Vec<(Offset, u32, bool)> = {
            let state = self.state.borrow();
            let segments = state.outline.segments.iter();
            segments
                .map(|segment| {
                    (
                        segment.base,
                        durable_length(&state, segment.base, segment.length),
                        segment.is_sealed,
                    )
                })
                .collect()
        };
        for (place, &(base, length, is_sealed)) in known.iter().enumerate() {
            let name = segment_file_name(base, ".log");
            let entry = found.iter().find(|entry| entry.name == name);
            let has = entry.map_or(0, |entry| entry.len);
            if has < u64::from(length) || is_sealed && has != u64::from(length) {
                let what = format!("{has} bytes are there, {length} are known");
                return Err(StorageError::damaged(
                    self.segment_path(base, ".log"),
                    has.min(u64::from(length)),
                    what,
                ));
            }
            if length > 0 {
                let next = known.get(place + 1).map_or(i64::MAX, |next| next.0.0);
                self.verify_first_batch(base, next).await?;
            }
        }
        for entry in &found {
            let Some((base, ".log")) = parse_segment_file_name(&entry.name) else {
                continue;
            };
            if known.iter().all(|segment| segment.0 != base) {
                self.remove_if_blank(base).await?;
            }
        }
        self.state.borrow_mut().is_verified = true;
        Ok(())
    }

    async fn verify_first_batch(&self, base: Offset, next: i64) -> Result<(), StorageError> {
        let file = self.open_for_read(base).await?;
        let block = self.read_block(&file, base, 0).await?;
        let fits = Header::parse(&block)
            .is_ok_and(|header| header.base_offset() >= base && header.base_offset().0 < next);
        if fits {
            return Ok(());
        }
        let path = self.segment_path(base, ".log");
        Err(StorageError::damaged(
            path,
            0,
            "the first batch is not one of this segment",
        ))
    }

    /// A roll that was never committed leaves a file of zeros; anything else that nobody knows is damage.
    async fn remove_if_blank(&self, base: Offset) -> Result<(), StorageError> {
        let path = self.segment_path(base, ".log");
        let file = self.open_for_read(base).await?;
        let block = self.read_block(&file, base, 0).await?;
        if block.iter().any(|&byte| byte != 0) {
            return Err(StorageError::damaged(
                &path,
                0,
                "nothing is known of this segment",
            ));
        }
        drop(file);
        tracing::info!(
            "removing {}, a segment that nothing was committed to",
            path.display()
        );
        fs::remove_file(&path).await.during("remove", &path)
    }

    /// A segment's file for reading; the active one's is that for appending.
    pub(super) async fn open_for_read(&self, base: Offset) -> Result<Rc<File>, StorageError> {
        {
            let state = self.state.borrow();
            let open = state.open.iter().find(|open| open.base == base);
            if let Some(file) = open.and_then(|open| open.file.clone()) {
                return Ok(file);
            }
            if let Some(file) = state.read_files.get(&base) {
                return Ok(file.clone());
            }
        }
        let path = self.segment_path(base, ".log");
        let options = OpenOptions {
            read: true,
            direct: true,
            ..OpenOptions::default()
        };
        let file = Rc::new(self.open_file(&path, options).await?);
        let mut state = self.state.borrow_mut();
        if state
            .outline
            .segment(base)
            .is_some_and(|segment| segment.is_sealed)
        {
            if state.read_files.len() >= FILES_READ_MAX {
                state.read_files.pop_first();
            }
            state.read_files.insert(base, file.clone());
        }
        Ok(file)
    }

    /// The index entries of a segment that are in its files. Files that are missing or damaged give an empty
    /// index: lookups then scan from the segment's start.
    pub(super) async fn read_indexes(&self, base: Offset) -> Result<Rc<Indexes>, StorageError> {
        let (offsets, times) = {
            let state = self.state.borrow();
            if let Some(indexes) = state.read_indexes.get(&base) {
                return Ok(indexes.clone());
            }
            let segment = state.outline.segment(base);
            segment.map_or((0, 0), |segment| (segment.offsets_on_disk, segment.times_on_disk))
        };
        let read = async |suffix: &str, bytes: usize| {
            if bytes == 0 {
                return Vec::new();
            }
            let path = self.segment_path(base, suffix);
            match fs::read(&path, crate::kafka_files::FILE_BYTES_MAX).await {
                Ok(mut found) if found.len() >= bytes => {
                    found.truncate(bytes);
                    found
                }
                Ok(_) => Vec::new(),
                Err(error) => {
                    tracing::warn!("scanning instead: cannot read {}: {error}", path.display());
                    Vec::new()
                }
            }
        };
        let offset_bytes = read(".index", offsets as usize * index::ENTRY_BYTES).await;
        let time_bytes = read(".timeindex", times as usize * time_index::ENTRY_BYTES).await;
        let indexes = Rc::new(Indexes {
            offsets: OffsetIndex::decode(base, &offset_bytes).unwrap_or_else(|_| OffsetIndex::new(base)),
            times: TimeIndex::decode(base, &time_bytes).unwrap_or_else(|_| TimeIndex::new(base)),
        });
        let mut state = self.state.borrow_mut();
        if state.read_indexes.len() >= INDEXES_READ_MAX {
            state.read_indexes.pop_first();
        }
        state.read_indexes.insert(base, indexes.clone());
        Ok(indexes)
    }
}

/// How much of a segment must be in its file by now.
fn durable_length(state: &super::State, base: Offset, length: u32) -> u32 {
    state
        .open
        .iter()
        .find(|open| open.base == base)
        .map_or(length, |open| open.settled.min(length))
}
