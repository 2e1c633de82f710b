//! Reading: from memory when the bytes are there, otherwise from the file with read-ahead.
//!
//! Nothing at or beyond the durable end is ever given out, whatever the caller asks for (D1), and no read goes
//! to a block of the file that has newer bytes in memory or a write in flight (D8): bytes in memory are taken
//! first, at once, and the file is read only below them.

use std::rc::Rc;

use bytes::Bytes;
use protocol::batch::Header;
use protocol::types::Offset;
use shards::budget;
use shards::buffers::{BLOCK, Buffer, Purpose};
use shards::fs::File;
use shards::time::{self, Duration, Instant};
use shards::{Either, Priority, select2};

use super::{Log, State};
use crate::core::Core;
use crate::error::{During, StorageError};
use crate::rope::{Found, Peek, Rope};
use crate::tail::block_start;

/// Bytes of a first read from the file.
const WINDOW_BYTES_MIN: u32 = 64 << 10;
/// Bytes of a read by somebody who goes on and on.
const WINDOW_BYTES_MAX: u32 = 512 << 10;
/// Parts of the memory for reads that one window may take, at least.
const WINDOWS_LEAST: usize = 8;
/// Memory is waited for so long: who asked is told then that there is none, and asks again. Clients give up after 30 s
/// by default.
const MEMORY_WAIT_MAX: Duration = Duration::from_secs(5);
/// Windows kept per log.
const WINDOWS_MAX: usize = 3;

/// What to read.
#[derive(Copy, Clone, Debug)]
pub struct ReadAt {
    /// The first batch is the one that holds this offset, or the next.
    pub from: Offset,
    /// No more bytes than this ...
    pub bytes_max: usize,
    /// ... unless the first batch alone has more, and this is set.
    pub at_least_one: bool,
    /// No batch that reaches this offset; the durable end bounds it anyway.
    pub upper_bound: Offset,
    /// Whether to wait for memory if there is none. Who holds the chunks of another read must not: two that hold some
    /// of it and wait for more may wait for each other.
    pub may_wait: bool,
}

/// Whole batches, one after the other.
#[derive(Clone, Debug, Default)]
pub struct ReadData {
    /// The bytes, in pieces that share the log's memory: let go of them soon.
    pub chunks: Vec<Bytes>,
    /// How many bytes.
    pub bytes: usize,
}

/// Why nothing was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// OFFSET_OUT_OF_RANGE: before the log start or behind the end.
    OutOfRange,
    /// There is no memory now, and the read was not to wait for it, or has waited for long.
    NoMemory,
    /// The log or the dir is offline, or there will never be enough memory: KAFKA_STORAGE_ERROR.
    Offline(StorageError),
}

impl From<StorageError> for ReadError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::NoMemory => ReadError::NoMemory,
            error => ReadError::Offline(error),
        }
    }
}

/// Whether a walk waits for memory.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// Never.
    None,
    /// As long as it holds nothing, until then at most.
    Empty(Instant),
    /// Until then; only the holder of `Core::large_read`.
    Full(Instant),
    /// However long it takes; only the holder of `Core::large_read`.
    Endless,
}

/// The largest batch that can be read from disk on a shard whose reads can have `reads_bytes` of memory at most: the windows
/// that it lies in reach beyond it on both sides.
pub fn readable_bytes_max(reads_bytes: usize) -> usize {
    reads_bytes.saturating_sub(2 * window_bytes_max(reads_bytes) as usize)
}

/// The largest window on such a shard.
fn window_bytes_max(reads_bytes: usize) -> u32 {
    let part = u32::try_from(reads_bytes / WINDOWS_LEAST).unwrap_or(u32::MAX);
    readable(part.clamp(BLOCK as u32, WINDOW_BYTES_MAX))
}

/// Bytes of a segment's file, kept for who reads on.
pub(super) struct Window {
    base: Offset,
    start: u32,
    bytes: Bytes,
    used: Instant,
}

impl Window {
    fn end(&self) -> u32 {
        self.start + self.bytes.len() as u32
    }
}

/// Counts one that waits for memory, also when its future is dropped.
struct Waiting {
    core: Rc<Core>,
    is_large: bool,
}

impl Waiting {
    fn begin(core: &Rc<Core>, is_large: bool) -> Self {
        core.reads_waiters.set(core.reads_waiters.get() + 1);
        if is_large {
            core.memory_waiters.set(core.memory_waiters.get() + 1);
            core.memory_wanted.notify_one();
        }
        Self {
            core: core.clone(),
            is_large,
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let core = &self.core;
        core.reads_waiters.set(core.reads_waiters.get() - 1);
        if self.is_large {
            core.memory_waiters.set(core.memory_waiters.get() - 1);
        }
    }
}

/// Up to where a segment's bytes are to be read from its file.
#[derive(Copy, Clone)]
struct OnDisk {
    end: u32,
    incarnation: u32,
}

impl OnDisk {
    fn of(state: &State, base: Offset) -> Self {
        let open = state.open.iter().find(|open| open.base == base);
        let length = state.outline.segment(base).map_or(0, |segment| segment.length);
        Self {
            end: open.map_or(length, |open| open.tail.start()),
            incarnation: state.outline.incarnation,
        }
    }
}

/// A segment being walked, batch by batch.
pub(super) struct Walk<'a> {
    log: &'a Log,
    pub base: Offset,
    /// End of what may be seen.
    pub limit: u32,
    rope: Rope,
    patience: Patience,
}

impl Log {
    /// Reads whole batches. Empty when there is nothing below the bound yet.
    ///
    /// # Errors
    /// As named.
    pub async fn read(&self, at: ReadAt) -> Result<ReadData, ReadError> {
        self.is_usable()?;
        let (bound, base) = {
            let state = self.state.borrow();
            let outline = &state.outline;
            if at.from < outline.log_start || at.from > outline.end {
                return Err(ReadError::OutOfRange);
            }
            let bound = at.upper_bound.min(state.durable_end);
            (bound, outline.segment_for(at.from).map(|segment| segment.base))
        };
        if at.from >= bound {
            return Ok(ReadData::default());
        }
        self.verify_once().await?;
        if !at.may_wait {
            return Ok(self.read_below(bound, base, &at, Patience::None).await?);
        }
        Ok(self
            .patiently(async |patience| self.read_below(bound, base, &at, patience).await)
            .await?)
    }

    /// Does a read that waits for memory as long as it holds none, and again, should that not be enough, as the only
    /// one that waits holding some: what the others hold is on its way to clients and comes back. Both within
    /// [`MEMORY_WAIT_MAX`].
    pub(super) async fn patiently<T>(
        &self,
        read: impl AsyncFn(Patience) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let until = time::now() + MEMORY_WAIT_MAX;
        match read(Patience::Empty(until)).await {
            Err(StorageError::NoMemory) => {
                let permit = self.within(until, self.core.large_read.acquire(1)).await;
                let _permit = permit.ok_or(StorageError::NoMemory)?;
                read(Patience::Full(until)).await
            }
            result => result,
        }
    }

    /// What `wait` comes to, unless it takes longer or the node stops.
    async fn within<T>(&self, until: Instant, wait: impl Future<Output = T>) -> Option<T> {
        let given_up = select2(self.core.reads_given_up.wait(), time::sleep_until(until));
        match select2(wait, given_up).await {
            Either::First(waited) => Some(waited),
            Either::Second(_) => None,
        }
    }

    /// Reads from the segment `base` on, and from later ones should it have nothing.
    async fn read_below(
        &self,
        bound: Offset,
        mut base: Option<Offset>,
        at: &ReadAt,
        patience: Patience,
    ) -> Result<ReadData, StorageError> {
        while let Some(segment) = base {
            let hint = self.position_hint(segment, at.from).await?;
            let Some(mut walk) = self.walk(segment, hint, at.bytes_max, patience) else {
                break;
            };
            if let Some(first) = walk.find(hint, at.from).await? {
                return walk.collect(first, at, bound).await;
            }
            // Compaction leaves segments without the records they are named for: the next has them.
            let state = self.state.borrow();
            let next = state.outline.segments.iter().find(|next| next.base > segment);
            base = next.map(|next| next.base);
        }
        Ok(ReadData::default())
    }

    pub(super) async fn verify_once(&self) -> Result<(), StorageError> {
        if self.state.borrow().is_verified {
            return Ok(());
        }
        let result = self.verify().await;
        if let Err(error @ StorageError::Damaged { .. }) = &result {
            self.damage(error);
        }
        self.core.check(result)
    }

    /// A position at or before the batch that holds `offset`.
    pub(super) async fn position_hint(&self, base: Offset, offset: Offset) -> Result<u32, StorageError> {
        let has_more = {
            let state = self.state.borrow();
            let Some(segment) = state.outline.segment(base) else {
                return Ok(0);
            };
            let position = segment.offsets.position_for(offset);
            if position > 0 {
                return Ok(position);
            }
            segment.offsets_on_disk > 0
        };
        if !has_more {
            return Ok(0);
        }
        Ok(self.read_indexes(base).await?.offsets.position_for(offset))
    }

    /// Begins a walk through a segment near `position`.
    pub(super) fn walk(
        &self,
        base: Offset,
        position: u32,
        bytes_max: usize,
        patience: Patience,
    ) -> Option<Walk<'_>> {
        let state = self.state.borrow();
        let length = state.outline.segment(base)?.length;
        let open = state.open.iter().find(|open| open.base == base);
        let limit = open.map_or(length, |open| open.durable);
        drop(state);
        let wanted = u32::try_from(bytes_max).unwrap_or(u32::MAX).min(WINDOW_BYTES_MAX);
        let mut walk = Walk {
            log: self,
            base,
            limit,
            rope: Rope::at(position),
            patience,
        };
        walk.rope = walk.in_memory(position, wanted)?;
        Some(walk)
    }

    /// Bytes of the file from `position` on, at least one, from a window that is read if need be; empty when
    /// the file has none. Only blocks below what is in memory, and below the end, are looked at.
    ///
    /// # Errors
    /// [`StorageError::NoMemory`] when there is none and no more patience.
    async fn window(&self, base: Offset, position: u32, patience: Patience) -> Result<Bytes, StorageError> {
        let now = time::now();
        let bytes_max = window_bytes_max(budget::most(Purpose::Reads));
        let bytes_min = WINDOW_BYTES_MIN.min(bytes_max);
        let start = block_start(position);
        let (size, on_disk) = {
            let mut state = self.state.borrow_mut();
            let holds = |window: &&mut Window| {
                window.base == base && window.start <= position && position < window.end()
            };
            if let Some(window) = state.windows.iter_mut().find(holds) {
                window.used = now;
                return Ok(window.bytes.slice((position - window.start) as usize..));
            }
            let is_before = |window: &&Window| window.base == base && window.end() == start;
            let size = match state.windows.iter().find(is_before) {
                Some(before) => (2 * before.bytes.len() as u32).min(bytes_max),
                None => bytes_min,
            };
            (size, OnDisk::of(&state, base))
        };
        let whole_end = block_start(on_disk.end);
        let size = match whole_end.saturating_sub(start) {
            0 => BLOCK as u32,
            whole => readable(whole.min(size.clamp(bytes_min, bytes_max))),
        };
        let file = self.open_for_read(base).await?;
        let buffer = self.buffer(size, patience).await?;
        // The last block of a log at rest may be written again at any time: it is read under the permit that
        // writing it needs, after another look at whether it is still at rest.
        let (on_disk, _permit) = if start < whole_end {
            (on_disk, None)
        } else {
            let permit = self.files_permit.acquire(1).await;
            (OnDisk::of(&self.state.borrow(), base), Some(permit))
        };
        if position >= on_disk.end {
            return Ok(Bytes::new());
        }
        let bytes = self.read_window(&file, base, start, size, buffer).await?;
        self.keep(base, start, &bytes, on_disk);
        if size > bytes_min {
            self.read_ahead(&file, base, start + size, size, on_disk);
        }
        let to = bytes.len().min((on_disk.end - start) as usize);
        let from = (position - start) as usize;
        Ok(if from < to {
            bytes.slice(from..to)
        } else {
            Bytes::new()
        })
    }

    /// Memory for a read. When there is none, what all logs keep for who reads on is given back at once.
    async fn buffer(&self, size: u32, patience: Patience) -> Result<Buffer, StorageError> {
        if let Some(buffer) = Buffer::try_take(Purpose::Reads, size as usize) {
            return Ok(buffer);
        }
        self.core.reads_wanted.notify_one();
        let until = match patience {
            Patience::None => return Err(StorageError::NoMemory),
            Patience::Empty(until) | Patience::Full(until) => Some(until),
            Patience::Endless => None,
        };
        // Only one log reads a large batch at a time; for it the tails, too, give back what they can.
        let is_large = matches!(patience, Patience::Full(_) | Patience::Endless);
        let _waiting = Waiting::begin(&self.core, is_large);
        let wait = Buffer::take(Purpose::Reads, size as usize);
        match until {
            Some(until) => self.within(until, wait).await.ok_or(StorageError::NoMemory),
            None => Ok(wait.await),
        }
    }

    async fn read_window(
        &self,
        file: &File,
        base: Offset,
        start: u32,
        size: u32,
        buffer: Buffer,
    ) -> Result<Bytes, StorageError> {
        self.core.count(|stats| stats.segment_reads += 1);
        let (count, mut buffer) = file.read_at(u64::from(start), buffer).await;
        let count = count.during("read", self.segment_path(base, ".log"))?;
        buffer.set_len(count.min(size as usize));
        Ok(buffer.freeze())
    }

    fn keep(&self, base: Offset, start: u32, bytes: &Bytes, on_disk: OnDisk) {
        // Only whole blocks: the last one may be written again with more in it.
        let whole = bytes
            .len()
            .min(block_start(on_disk.end).saturating_sub(start) as usize)
            / BLOCK
            * BLOCK;
        let mut state = self.state.borrow_mut();
        // A read that was overtaken by a truncation saw bytes that are no more.
        if whole == 0 || state.outline.incarnation != on_disk.incarnation {
            return;
        }
        if self.core.reads_waiters.get() > 0 {
            return;
        }
        if state.windows.len() >= WINDOWS_MAX {
            let oldest = state
                .windows
                .iter()
                .enumerate()
                .min_by_key(|(_, window)| window.used);
            if let Some(oldest) = oldest.map(|(place, _)| place) {
                state.windows.remove(oldest);
            }
        }
        state.windows.push(Window {
            base,
            start,
            bytes: bytes.slice(..whole),
            used: time::now(),
        });
    }

    /// Reads what comes next in the background, when there is memory for it.
    fn read_ahead(&self, file: &Rc<File>, base: Offset, start: u32, size: u32, on_disk: OnDisk) {
        let is_known = {
            let state = self.state.borrow();
            let holds =
                |window: &Window| window.base == base && window.start <= start && start < window.end();
            state.windows.iter().any(holds)
        };
        let size = readable(size.min(block_start(on_disk.end).saturating_sub(start)));
        let Some(log) = self.this.upgrade().filter(|_| !is_known && size > 0) else {
            return;
        };
        let Some(buffer) = Buffer::try_take(Purpose::Reads, size as usize) else {
            return;
        };
        let file = file.clone();
        let _ = self.core.gate.spawn(Priority::Background, async move {
            // Whoever needs the bytes reads them again and meets the error, if it is one.
            if let Ok(bytes) = log.read_window(&file, base, start, size, buffer).await {
                log.keep(base, start, &bytes, on_disk);
            }
        });
    }

    /// Lets go of all bytes that are kept for who reads on.
    pub(crate) fn drop_all_windows(&self) {
        self.state.borrow_mut().windows.clear();
    }

    /// Lets go of bytes that nobody has read on from since `since`.
    pub(crate) fn drop_windows(&self, since: Instant) {
        self.state
            .borrow_mut()
            .windows
            .retain(|window| window.used >= since);
    }
}

impl Walk<'_> {
    /// The bytes in memory from `position` on; an empty rope there when the file has to be read first. `None`
    /// when the segment is gone.
    fn in_memory(&self, position: u32, wanted: u32) -> Option<Rope> {
        let state = self.log.state.borrow();
        state.outline.segment(self.base)?;
        let mut rope = Rope::at(position);
        if let Some(open) = state.open.iter().find(|open| open.base == self.base)
            && open.tail.start() <= position
        {
            let to = position
                .saturating_add(wanted)
                .saturating_add(2 * BLOCK as u32)
                .min(self.limit);
            for view in open.tail.view(position, to) {
                rope.push(view);
            }
        }
        Some(rope)
    }

    /// Makes the rope reach from `position` to `end`, which is not beyond the limit.
    async fn reach(&mut self, position: u32, end: u32) -> Result<(), StorageError> {
        if self.rope.touches(position) && self.rope.end() >= end {
            return Ok(());
        }
        if !self.rope.touches(position) {
            self.rope = Rope::at(position);
        }
        while self.rope.end() < end {
            let at = self.rope.end();
            let memory = self.in_memory(at, end - at).ok_or(StorageError::Closed)?;
            if memory.end() > at {
                for piece in memory.slice(at, memory.end()) {
                    self.rope.push(piece);
                }
                continue;
            }
            let patience = match self.patience {
                Patience::Empty(_) if !self.rope.is_empty() => Patience::None,
                patience => patience,
            };
            let bytes = self.log.window(self.base, at, patience).await?;
            let bytes = bytes.slice(..bytes.len().min((self.limit - at) as usize));
            if bytes.is_empty()
                && self
                    .in_memory(at, end - at)
                    .is_some_and(|memory| memory.end() > at)
            {
                // It came to be in memory again while the file was asked for.
                continue;
            }
            if bytes.is_empty() {
                return Err(self.damaged(at, "the file ends before its known end"));
            }
            self.rope.push(bytes);
        }
        Ok(())
    }

    /// The batch at `position`; `None` at the limit.
    pub async fn batch_at(&mut self, position: u32) -> Result<Option<Found>, StorageError> {
        if position >= self.limit {
            return Ok(None);
        }
        let header_end = position.saturating_add(protocol::batch::HEADER_BYTES as u32);
        if header_end > self.limit {
            return Err(self.damaged(position, "a batch is cut off"));
        }
        self.reach(position, header_end).await?;
        match self.rope.peek(position) {
            Peek::Batch(found) if found.length <= self.limit - position => Ok(Some(found)),
            Peek::Not(error) => Err(self.damaged(position, &error.to_string())),
            _ => Err(self.damaged(position, "a batch is cut off")),
        }
    }

    /// Makes the rope reach over a whole batch.
    ///
    /// # Errors
    /// [`StorageError::TooLarge`] when there will never be the memory to read it.
    async fn reach_batch(&mut self, found: &Found) -> Result<(), StorageError> {
        let end = found.position + found.length;
        let (bytes, allowed) = (
            found.length as usize,
            readable_bytes_max(budget::most(Purpose::Reads)),
        );
        let is_in_memory = || {
            let memory = self.in_memory(found.position, found.length);
            memory.is_some_and(|memory| memory.end() >= end)
        };
        if bytes > allowed && !is_in_memory() {
            return Err(StorageError::TooLarge {
                offset: Header::parse(&found.header).map_or(Offset(-1), |header| header.base_offset()),
                bytes,
                allowed,
            });
        }
        self.reach(found.position, end).await
    }

    /// The bytes of a batch, in one piece.
    pub async fn bytes_of(&mut self, found: &Found) -> Result<Bytes, StorageError> {
        let end = found.position + found.length;
        self.reach_batch(found).await?;
        let whole = self.rope.whole(found.position, end);
        whole.ok_or_else(|| self.damaged(found.position, "a batch is cut off"))
    }

    /// The first batch from `position` on that reaches `offset`.
    pub async fn find(&mut self, position: u32, offset: Offset) -> Result<Option<Found>, StorageError> {
        let mut position = position;
        while let Some(found) = self.batch_at(position).await? {
            if last_offset(&found) >= offset {
                return Ok(Some(found));
            }
            position += found.length;
        }
        Ok(None)
    }

    async fn collect(mut self, first: Found, at: &ReadAt, bound: Offset) -> Result<ReadData, StorageError> {
        let start = first.position;
        let mut end = start;
        let mut next = Some(first);
        while let Some(found) = next {
            let bytes = (end - start) as usize + found.length as usize;
            let is_first = end == start;
            if last_offset(&found) >= bound || bytes > at.bytes_max && !(is_first && at.at_least_one) {
                break;
            }
            // A long answer is cut where reading on would mean another read from the file.
            if !is_first && found.position + found.length > self.rope.end() {
                break;
            }
            self.reach_batch(&found).await?;
            end += found.length;
            if end >= self.limit || end + protocol::batch::HEADER_BYTES as u32 > self.rope.end() {
                break;
            }
            next = self.batch_at(end).await?;
        }
        Ok(ReadData {
            chunks: self.rope.slice(start, end),
            bytes: (end - start) as usize,
        })
    }

    fn damaged(&self, position: u32, what: &str) -> StorageError {
        StorageError::damaged(
            self.log.segment_path(self.base, ".log"),
            u64::from(position),
            what,
        )
    }
}

/// The largest buffer of at most `size` bytes: a read fills its buffer, whose capacity is a power of two, and
/// must not reach into blocks that are none of its business.
fn readable(size: u32) -> u32 {
    size.checked_ilog2().map_or(0, |power| 1 << power)
}

/// Offset of a batch's last record.
pub(super) fn last_offset(found: &Found) -> Offset {
    Header::parse(&found.header).map_or(Offset(-1), |header| header.last_offset())
}
