//! From memory to the segment files: whole blocks, lazily, and never what is not committed.
//!
//! Bytes of a write in flight do not change: whole blocks are written straight from the tail, whose filled
//! bytes are final; a partial block goes out as a copy (D8). A block is written again only while the journal
//! has its bytes (D7). Only here does a segment become sealed: exact length, exact bytes, indexes, synced (D10).

use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
use protocol::types::Offset;
use shards::Priority;
use shards::buffers::{BLOCK, Buffer, Purpose};
use shards::fs::{self, File, OpenOptions};

use super::Log;
use crate::core::Order;
use crate::error::{During, StorageError};
use crate::index;
use crate::journal::records::Seal;
use crate::kafka_files;
use crate::tail::block_start;
use crate::time_index;

/// How far to go.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Depth {
    /// Write whole blocks; sync when much has come together.
    Write,
    /// Write and sync whole blocks.
    Blocks,
    /// The last, partial block too.
    All,
}

/// One open segment as it stands when settling begins.
struct Plan {
    base: Offset,
    file: Rc<File>,
    from: u32,
    to: u32,
    committed: u32,
    settled: u32,
    /// A later segment has begun and all bytes of this one are committed.
    is_over: bool,
    blocks: Vec<Bytes>,
    rest: Vec<Bytes>,
}

impl Log {
    /// Writes full chunks in the background.
    pub(crate) fn settle_soon(self: &Rc<Self>) {
        if self.is_settling.replace(true) {
            // It is followed by another look when the next chunk is full.
            return;
        }
        let log = self.clone();
        let spawned = self.core.gate.spawn(Priority::Background, async move {
            let result = log.settle(Depth::Write).await;
            log.is_settling.set(false);
            let _ = log.core.check(result);
        });
        if spawned.is_err() {
            self.is_settling.set(false);
        }
    }

    /// Writes what is committed to the files, as deep as asked.
    ///
    /// # Errors
    /// Of the disk: the dir must go offline then.
    pub(crate) async fn settle(self: &Rc<Self>, depth: Depth) -> Result<(), StorageError> {
        let _permit = self.files_permit.acquire(1).await;
        self.settle_permitted(depth).await
    }

    /// The same for who holds the permit.
    pub(super) async fn settle_permitted(self: &Rc<Self>, depth: Depth) -> Result<(), StorageError> {
        self.core.alive()?;
        let bases: Vec<Offset> = self.state.borrow().open.iter().map(|open| open.base).collect();
        for base in bases {
            self.open_if_over(base).await?;
            if let Some(plan) = self.plan(base) {
                self.carry_out(plan, depth).await?;
            }
        }
        Ok(())
    }

    /// A segment may be over before anything was appended to it in this run; it is sealed all the same.
    async fn open_if_over(&self, base: Offset) -> Result<(), StorageError> {
        let is_over = {
            let state = self.state.borrow();
            let is_last = state.open.back().is_some_and(|last| last.base == base);
            let length = state.outline.segment(base).map(|segment| segment.length);
            let open = state.open.iter().find(|open| open.base == base);
            state.is_verified
                && !state.is_deleted
                && !is_last
                && open.is_some_and(|open| open.file.is_none() && Some(open.committed) == length)
        };
        if is_over {
            let file = self.open_for_append(base, false).await?;
            self.with_open(base, |open| open.file = Some(Rc::new(file)));
        }
        Ok(())
    }

    fn plan(&self, base: Offset) -> Option<Plan> {
        let state = self.state.borrow();
        if state.is_deleted {
            return None;
        }
        let is_last = state.open.back().is_some_and(|last| last.base == base);
        let open = state.open.iter().find(|open| open.base == base)?;
        let length = state.outline.segment(base)?.length;
        let (from, to) = (open.written, block_start(open.committed));
        let rest = if open.settled < open.committed {
            open.tail.view(to, open.committed)
        } else {
            Vec::new()
        };
        Some(Plan {
            base,
            file: open.file.clone()?,
            from,
            to: to.max(from),
            committed: open.committed,
            settled: open.settled,
            is_over: !is_last && open.committed == length && open.tail.end() == length,
            blocks: open.tail.view(from, to),
            rest,
        })
    }

    async fn carry_out(self: &Rc<Self>, plan: Plan, depth: Depth) -> Result<(), StorageError> {
        let path = self.segment_path(plan.base, ".log");
        let mut position = plan.from;
        for block in plan.blocks {
            let count = block.len() as u32;
            debug_assert_eq!((position % BLOCK as u32, count % BLOCK as u32), (0, 0));
            self.core.count(|stats| stats.segment_writes += 1);
            plan.file
                .write_all_at(u64::from(position), block)
                .await
                .during("write", &path)?;
            position += count;
        }
        debug_assert_eq!(position, plan.to, "the blocks were in memory");
        self.with_open(plan.base, |open| open.written = plan.to);
        let takes_all = depth == Depth::All || plan.is_over;
        let is_partial = plan.committed != plan.to;
        if takes_all && is_partial && plan.settled < plan.committed {
            let mut copy = Buffer::take(Purpose::Background, BLOCK).await;
            for piece in &plan.rest {
                copy.extend_from_slice(piece);
            }
            debug_assert_eq!(copy.len() as u32, plan.committed - plan.to);
            let zeros = BLOCK - copy.len();
            copy.extend_from_slice(&[0; BLOCK][..zeros]);
            copy.set_len(BLOCK);
            self.core.count(|stats| stats.segment_writes += 1);
            plan.file
                .write_all_at(u64::from(plan.to), copy.freeze())
                .await
                .during("write", &path)?;
        }
        if plan.is_over {
            plan.file
                .set_len(u64::from(plan.committed))
                .await
                .during("cut to its length", &path)?;
        }
        let unsynced = plan.to.saturating_sub(plan.settled);
        let reaches = if takes_all { plan.committed } else { plan.to };
        let is_due =
            depth >= Depth::Blocks || plan.is_over || unsynced >= self.core.options.unsynced_bytes_max;
        if is_due && plan.settled < reaches || plan.is_over {
            self.core.count(|stats| stats.segment_syncs += 1);
            plan.file.sync_data().await.during("sync", &path)?;
            self.with_open(plan.base, |open| open.settled = open.settled.max(reaches));
        }
        if plan.is_over {
            self.seal(plan.base, plan.committed).await?;
        } else {
            let kept = self.core.options.kept_bytes;
            self.with_open(plan.base, |open| {
                open.tail
                    .drop_before(block_start(open.settled.min(open.written)).saturating_sub(kept));
            });
        }
        Ok(())
    }

    fn with_open(&self, base: Offset, change: impl FnOnce(&mut super::OpenSegment)) {
        let mut state = self.state.borrow_mut();
        if let Some(open) = state.open.iter_mut().find(|open| open.base == base) {
            change(open);
        }
    }

    /// The segment's file is final: so are its indexes; then the journal is told.
    async fn seal(self: &Rc<Self>, base: Offset, length: u32) -> Result<(), StorageError> {
        self.write_indexes(base, true).await?;
        let (end, snapshot) = {
            let mut state = self.state.borrow_mut();
            let end = state.outline.end;
            match state.open.iter_mut().find(|open| open.base > base) {
                Some(next) => (next.base, std::mem::take(&mut next.snapshot)),
                None => (end, Vec::new()),
            }
        };
        if !snapshot.is_empty() {
            write_file(&self.segment_path(end, ".snapshot"), snapshot).await?;
        }
        let seal = {
            let mut state = self.state.borrow_mut();
            state.open.retain(|open| open.base != base);
            let incarnation = state.outline.incarnation;
            if let Some(segment) = state.outline.segment_mut(base) {
                segment.is_sealed = true;
            }
            Seal {
                id: self.id,
                incarnation,
                segment: base,
                length,
                end,
            }
        };
        drop(self.core.order(Order::Seal(seal)));
        Ok(())
    }

    /// Writes the index entries that are only in memory to the files, behind those already there.
    pub(super) async fn write_indexes(&self, base: Offset, is_final: bool) -> Result<(), StorageError> {
        let (mut offsets, mut times) = (Vec::new(), Vec::new());
        let (offsets_at, times_at, offsets_count, times_count) = {
            let state = self.state.borrow();
            let Some(segment) = state.outline.segment(base) else {
                return Ok(());
            };
            // Entries of batches that are not committed stay in memory.
            let limit = state
                .open
                .iter()
                .find(|open| open.base == base)
                .map(|open| open.durable);
            let mut kept = segment.offsets.clone();
            let mut kept_times = segment.times.clone();
            if let Some(limit) = limit.filter(|_| !is_final) {
                kept.truncate_to_position(limit);
                kept_times.truncate_to(state.durable_end);
            }
            kept.encode_from(0, &mut offsets);
            kept_times.encode_from(0, &mut times);
            (
                segment.offsets_on_disk,
                segment.times_on_disk,
                kept.len(),
                kept_times.len(),
            )
        };
        let offsets_at = offsets_at as usize * index::ENTRY_BYTES;
        let times_at = times_at as usize * time_index::ENTRY_BYTES;
        write_at_end(&self.segment_path(base, ".index"), offsets_at, offsets).await?;
        write_at_end(&self.segment_path(base, ".timeindex"), times_at, times).await?;
        let mut state = self.state.borrow_mut();
        if let Some(segment) = state.outline.segment_mut(base) {
            segment.indexes_are_on_disk(offsets_count, times_count);
        }
        state.read_indexes.remove(&base);
        Ok(())
    }

    /// Before a checkpoint: index entries go to the files when there are many, so that it stays small.
    pub(crate) async fn spill_indexes(&self) -> Result<(), StorageError> {
        let base = {
            let mut state = self.state.borrow_mut();
            let active = state.outline.active();
            if active.offsets.len() < self.core.options.index_entries_kept {
                return Ok(());
            }
            active.base
        };
        let _permit = self.files_permit.acquire(1).await;
        if self.state.borrow().is_deleted {
            return Ok(());
        }
        self.write_indexes(base, false).await
    }

    /// Everything before the durable end stands in the files afterwards, and memory is given back, unless the
    /// log is in use again by then.
    pub(crate) async fn rest(self: &Rc<Self>) -> Result<(), StorageError> {
        self.settle(Depth::All).await?;
        let mut state = self.state.borrow_mut();
        let is_still = state.staged.is_empty();
        for open in &mut state.open {
            if is_still && open.settled == open.tail.end() {
                open.tail.clear();
                open.written = block_start(open.settled);
            }
        }
        Ok(())
    }

    /// Gives back chunks that only readers would miss; whether there were any.
    pub(crate) fn drop_settled(&self) -> bool {
        let mut state = self.state.borrow_mut();
        let mut any = false;
        for open in &mut state.open {
            let before = open.tail.chunks();
            open.tail.drop_before(block_start(open.settled.min(open.written)));
            any |= open.tail.chunks() < before;
        }
        any
    }

    /// Whether memory is held.
    pub(crate) fn holds_memory(&self) -> bool {
        self.state.borrow().open.iter().any(|open| !open.tail.is_empty())
    }

    /// When the log last got something, and whether something of it is on its way.
    pub(crate) fn last_append(&self) -> (shards::time::Instant, bool) {
        let state = self.state.borrow();
        (state.last_append, !state.staged.is_empty())
    }

    /// Whether some of it stands in the journal alone.
    pub(crate) fn is_unsettled(&self) -> bool {
        let state = self.state.borrow();
        state.open.len() > 1 || state.open.iter().any(|open| open.settled < open.committed)
    }

    /// Brings all that generation `old` of the journal protects into the files, so that its half may be used
    /// again (D6).
    pub(crate) async fn release(self: &Rc<Self>, old: u64) -> Result<(), StorageError> {
        let needs_all = {
            let state = self.state.borrow();
            state.generation.is_none_or(|generation| generation <= old)
        };
        self.settle(if needs_all { Depth::All } else { Depth::Blocks })
            .await?;
        self.spill_indexes().await
    }

    /// The log's part of a clean close (D21): all in the files, at exact length, with everything that Kafka
    /// keeps beside it.
    pub(crate) async fn close_files(self: &Rc<Self>) -> Result<(), StorageError> {
        {
            let state = self.state.borrow();
            if state.outline.damage.is_some() || state.is_as_closed || state.is_deleted {
                return Ok(());
            }
        }
        // A file that nobody has compared yet may not be what is known of it: it is not brought to a length then.
        match self.verify_once().await {
            Err(StorageError::Damaged { .. }) => return Ok(()),
            result => result?,
        }
        let _permit = self.files_permit.acquire(1).await;
        self.settle_permitted(Depth::All).await?;
        let (base, length, file) = {
            let mut state = self.state.borrow_mut();
            debug_assert!(state.staged.is_empty());
            let active = state.outline.active();
            active.finish_times();
            let (base, length) = (active.base, active.length);
            let file = state.open.back().and_then(|open| open.file.clone());
            (base, length, file)
        };
        let path = self.segment_path(base, ".log");
        let file = match file {
            Some(file) => file,
            None => Rc::new(self.open_for_append(base, length == 0).await?),
        };
        file.set_len(u64::from(length))
            .await
            .during("cut to its length", &path)?;
        file.sync_all().await.during("sync", &path)?;
        self.write_indexes(base, true).await?;
        let (end, producers, epochs) = {
            let state = self.state.borrow();
            let outline = &state.outline;
            (outline.end, outline.producers.clone(), outline.epochs.clone())
        };
        if !producers.is_empty() {
            let path = self.segment_path(end, ".snapshot");
            write_file(&path, producers.encode_snapshot()).await?;
        }
        self.remove_snapshots(|at, bases| at != end && !bases.contains(&at))
            .await?;
        let path = self.path.join(kafka_files::LEADER_EPOCHS);
        write_aside(&path, kafka_files::encode_epochs(epochs.entries())).await?;
        fs::sync_dir(&self.path).await.during("sync", &self.path)?;
        let mut state = self.state.borrow_mut();
        for open in &mut state.open {
            open.tail.clear();
            open.file = None;
        }
        state.read_files.clear();
        state.is_as_closed = true;
        Ok(())
    }

    /// Removes the producer snapshots that `is_stale` says are; it is given the segments' bases.
    pub(super) async fn remove_snapshots(
        &self,
        is_stale: impl Fn(Offset, &[Offset]) -> bool,
    ) -> Result<(), StorageError> {
        let bases: Vec<Offset> = {
            let state = self.state.borrow();
            state
                .outline
                .segments
                .iter()
                .map(|segment| segment.base)
                .collect()
        };
        for entry in fs::read_dir(&self.path).await.during("list", &self.path)? {
            if let Some((at, ".snapshot")) = kafka_files::parse_segment_file_name(&entry.name)
                && is_stale(at, &bases)
            {
                let path = self.path.join(&entry.name);
                fs::remove_file(&path).await.during("remove", &path)?;
            }
        }
        Ok(())
    }
}

/// Makes a file with these bytes, synced; its name is durable with the directory's next sync.
pub(crate) async fn write_file(path: &Path, bytes: Vec<u8>) -> Result<(), StorageError> {
    fs::write(path, bytes).await.during("write", path)?;
    fs::sync_file(path).await.during("sync", path)
}

/// Replaces a file at once: written aside, synced, renamed. Durable with the directory's next sync.
pub(crate) async fn write_aside(path: &Path, bytes: Vec<u8>) -> Result<(), StorageError> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".tmp");
    let aside = Path::new(&aside);
    write_file(aside, bytes).await?;
    fs::rename(aside, path).await.during("rename", aside)
}

/// Writes behind the first `at` bytes of a file, which is made if need be, and cuts it there; synced.
pub(crate) async fn write_at_end(path: &Path, at: usize, bytes: Vec<u8>) -> Result<(), StorageError> {
    let options = OpenOptions {
        write: true,
        create: true,
        ..OpenOptions::default()
    };
    let file = File::open(path, options).await.during("open", path)?;
    let end = at + bytes.len();
    file.write_all_at(at as u64, bytes.into())
        .await
        .during("write", path)?;
    file.set_len(end as u64).await.during("cut to its length", path)?;
    file.sync_all().await.during("sync", path)?;
    file.close().await.during("close", path)
}
