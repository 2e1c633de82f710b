//! Appending: everything about order is decided at once, the bytes follow with the journal's next commit.
//!
//! [`Log::append`] waits for nothing, neither memory nor files: what cannot be placed yet is kept as the bytes
//! of the request, which their own budget bounds. Placing copies a batch once into the tail and once into the
//! commit, in as many parts as memory and journal give room for; a batch counts when its last part is in.

use std::rc::Rc;

use bytes::Bytes;
use protocol::batch::{Batch, BatchMut, HEADER_BYTES, Header};
use protocol::types::{LeaderEpoch, Offset};
use shards::buffers::{Chunk, Purpose};
use shards::time;

use super::{Before, Log, OpenSegment, Staged, State};
use crate::error::StorageError;
use crate::journal::commit::Building;
use crate::outline::producer_batch;
use crate::producers::{SequenceError, Verdict};
use crate::tail::block_start;

/// What an append did.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Offset of the last record.
    pub last_offset: Offset,
    /// Its largest timestamp as it is stored: under LogAppendTime when it was appended. In ms since 1970.
    pub max_timestamp: i64,
    /// The batch was there already, at these offsets; nothing was appended. It may not be durable yet.
    pub is_duplicate: bool,
}

/// Why a batch was not appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendError {
    /// OUT_OF_ORDER_SEQUENCE_NUMBER.
    OutOfOrderSequence,
    /// INVALID_PRODUCER_EPOCH.
    InvalidProducerEpoch,
    /// Longer than a segment may be: RECORD_LIST_TOO_LARGE.
    TooLarge,
    /// Not exactly one batch, or offsets that do not ascend.
    Malformed,
    /// The log is being truncated or deleted.
    Fenced,
    /// The log or the dir is offline: KAFKA_STORAGE_ERROR.
    Offline(StorageError),
}

impl From<SequenceError> for AppendError {
    fn from(error: SequenceError) -> Self {
        match error {
            SequenceError::InvalidProducerEpoch => AppendError::InvalidProducerEpoch,
            SequenceError::OutOfOrderSequence => AppendError::OutOfOrderSequence,
        }
    }
}

/// What a commit holds of one segment.
pub(crate) struct Touched {
    pub log: Rc<Log>,
    segment: Offset,
    /// Where the tail ended when the commit was built.
    end: u32,
    /// How many batches became whole.
    batches: usize,
}

/// How far placing came.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Placing {
    /// Nothing is left.
    Done,
    /// The commit is full.
    CommitFull,
    /// Memory or a file is wanted first.
    Unprepared,
}

impl Log {
    /// Appends one batch as leader: assigns offsets and epoch, stages it. `batch` is whole and validated, its
    /// timestamps final. Offsets follow the order of calls; acknowledge only after
    /// [`durable`](Self::durable)`(last_offset + 1)`.
    ///
    /// # Errors
    /// As named; nothing was staged then.
    pub fn append(
        self: &Rc<Self>,
        batch: Bytes,
        epoch: LeaderEpoch,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        self.is_usable().map_err(AppendError::Offline)?;
        let parsed = whole(&batch)?;
        let mut state = self.state.borrow_mut();
        if let Some(from) = producer_batch(&parsed.header())
            && let Verdict::Duplicate(old) = state.outline.producers.check(&from)?
        {
            return Ok(Appended {
                base_offset: old.first_offset(),
                last_offset: old.last_offset,
                max_timestamp: old.timestamp,
                is_duplicate: true,
            });
        }
        let mut header = [0; HEADER_BYTES];
        let mut stamped = BatchMut::of_copy(&mut header, parsed);
        stamped.set_base_offset(state.outline.end);
        stamped.set_leader_epoch(epoch);
        self.stage(&mut state, header, batch, now_ms)
    }

    /// Appends one batch as follower: it has its offsets and epoch, and begins at or after the log's end.
    ///
    /// # Errors
    /// As named; nothing was staged then.
    pub fn append_replicated(self: &Rc<Self>, batch: Bytes, now_ms: i64) -> Result<Appended, AppendError> {
        self.is_usable().map_err(AppendError::Offline)?;
        let header = *whole(&batch)?.header().bytes();
        let mut state = self.state.borrow_mut();
        self.stage(&mut state, header, batch, now_ms)
    }

    fn stage(
        self: &Rc<Self>,
        state: &mut State,
        header: [u8; HEADER_BYTES],
        batch: Bytes,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        if state.is_fenced || self.core.is_closing.get() {
            return Err(AppendError::Fenced);
        }
        let parsed = Header::parse(&header).or(Err(AppendError::Malformed))?;
        if parsed.base_offset() < state.outline.end || parsed.last_offset_delta() < 0 {
            return Err(AppendError::Malformed);
        }
        let config = state.config;
        if batch.len() as u64 > u64::from(config.segment_bytes).min(i32::MAX as u64) {
            return Err(AppendError::TooLarge);
        }
        if state.outline.active().is_full_for(&parsed, &config, now_ms) {
            state.outline.roll(now_ms);
            let base = state.outline.end;
            let mut open = OpenSegment::new(base, 0);
            open.snapshot = state.outline.producers.encode_snapshot();
            state.open.push_back(open);
        }
        let active = state.outline.active();
        let (segment, position) = (active.base, active.length);
        let before = Before {
            max_timestamp: active.max_timestamp,
            max_timestamp_offset: active.max_timestamp_offset,
            first_timestamp: active.first_timestamp,
            bytes_since_entry: active.bytes_since_entry,
        };
        state.outline.append(&parsed, &config);
        let appended = Appended {
            base_offset: parsed.base_offset(),
            last_offset: parsed.last_offset(),
            max_timestamp: parsed.max_timestamp(),
            is_duplicate: false,
        };
        let length = batch.len();
        state.staged.push_back(Staged {
            segment,
            position,
            header,
            batch,
            placed: 0,
            next_offset: parsed.next_offset(),
            before,
        });
        state.last_append = time::now();
        state.is_as_closed = false;
        self.core.staged_bytes.set(self.core.staged_bytes.get() + length);
        self.core.count(|stats| stats.appended_bytes += length as u64);
        if !self.is_preparing.get() {
            self.core.make_ready(self);
        }
        Ok(appended)
    }

    /// Moves staged bytes into the tail and into the commit that is being built.
    pub(crate) fn place(self: &Rc<Self>, commit: &mut Building) -> Placing {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        loop {
            let Some(staged) = state.staged.get_mut(state.placed) else {
                return Placing::Done;
            };
            let Some(open) = state.open.iter_mut().find(|open| open.base == staged.segment) else {
                debug_assert!(false, "a staged batch has its segment");
                return Placing::Done;
            };
            let whole_end = staged.position + staged.batch.len() as u32;
            if open.file.is_none() || !state.is_verified || open.allocated < whole_end {
                return Placing::Unprepared;
            }
            if open.tail.room() == 0 && !add_chunk(open, self.core.options.chunk_bytes) {
                return Placing::Unprepared;
            }
            let generation = commit.generation();
            let needs_head = state.generation != Some(generation);
            let from = if needs_head {
                block_start(open.tail.end())
            } else {
                open.tail.end()
            };
            let old = open.tail.end() - from;
            let Some(mut record) =
                commit.begin(self.id, state.outline.incarnation, staged.segment, from, old)
            else {
                return Placing::CommitFull;
            };
            for head in open.tail.view(from, open.tail.end()) {
                record.push(&head);
            }
            state.generation = Some(generation);
            // One record takes as many batches of the segment as there is room for.
            let mut batches = 0;
            let mut stopped = None;
            while stopped.is_none() {
                let Some(staged) = state.staged.get_mut(state.placed) else {
                    break;
                };
                let whole_end = staged.position + staged.batch.len() as u32;
                if staged.segment != open.base {
                    break;
                }
                if open.allocated < whole_end {
                    stopped = Some(Placing::Unprepared);
                    break;
                }
                while staged.left() > 0 {
                    if record.room() == 0 {
                        stopped = Some(Placing::CommitFull);
                        break;
                    }
                    if open.tail.room() == 0 && !add_chunk(open, self.core.options.chunk_bytes) {
                        stopped = Some(Placing::Unprepared);
                        break;
                    }
                    let piece = match staged.header.get(staged.placed..) {
                        Some(header) if !header.is_empty() => header,
                        _ => staged.batch.get(staged.placed..).unwrap_or_default(),
                    };
                    let piece = piece.get(..piece.len().min(record.room())).unwrap_or_default();
                    let count = open.tail.append(piece);
                    record.push(piece.get(..count).unwrap_or_default());
                    staged.placed += count;
                    self.core
                        .staged_bytes
                        .set(self.core.staged_bytes.get().saturating_sub(count));
                }
                if staged.left() == 0 {
                    staged.batch = Bytes::new();
                    staged.placed = 0;
                    state.placed += 1;
                    batches += 1;
                }
            }
            record.finish();
            commit.touch(Touched {
                log: self.clone(),
                segment: open.base,
                end: open.tail.end(),
                batches,
            });
            if let Some(stopped) = stopped {
                return stopped;
            }
        }
    }

    /// Logs the last block's bytes again, for an incarnation that has just begun; there is room for them.
    pub(crate) fn place_head(self: &Rc<Self>, commit: &mut Building) {
        let mut state = self.state.borrow_mut();
        let generation = commit.generation();
        let incarnation = state.outline.incarnation;
        let Some(open) = state.open.back() else { return };
        let (from, end) = (block_start(open.tail.end()), open.tail.end());
        if open.tail.start() > from || from == end {
            return;
        }
        if let Some(mut record) = commit.begin(self.id, incarnation, open.base, from, end - from) {
            for head in open.tail.view(from, end) {
                record.push(&head);
            }
            record.finish();
            state.generation = Some(generation);
        }
    }

    /// A commit with this part of the log is durable: the durable end moves, those who wait are woken.
    pub(crate) fn committed(self: &Rc<Self>, touched: &Touched) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        for _ in 0..touched.batches {
            let Some(staged) = state.staged.pop_front() else {
                break;
            };
            state.placed = state.placed.saturating_sub(1);
            debug_assert!(staged.next_offset > state.durable_end);
            state.durable_end = staged.next_offset;
            if let Some(open) = state.open.iter_mut().find(|open| open.base == staged.segment) {
                open.durable = match state.staged.front() {
                    Some(next) if next.segment == staged.segment => next.position,
                    _ => state
                        .outline
                        .segment(staged.segment)
                        .map_or(open.durable, |known| known.length),
                };
            }
        }
        let mut has_full_chunk = false;
        if let Some(open) = state.open.iter_mut().find(|open| open.base == touched.segment) {
            open.committed = touched.end;
            let chunk = self.core.options.chunk_bytes as u32;
            has_full_chunk = open.committed - open.written >= chunk || state.open.len() > 1;
        }
        let durable_end = state.durable_end;
        let mut place = 0;
        while place < state.waiters.len() {
            if state
                .waiters
                .get(place)
                .is_some_and(|waiter| waiter.0 <= durable_end)
            {
                let (_, sender) = state.waiters.swap_remove(place);
                let _ = sender.send(());
            } else {
                place += 1;
            }
        }
        if has_full_chunk {
            self.settle_soon();
        }
    }
}

fn whole(batch: &Bytes) -> Result<Batch<'_>, AppendError> {
    match Batch::parse(batch) {
        Ok(parsed) if parsed.length() == batch.len() => Ok(parsed),
        _ => Err(AppendError::Malformed),
    }
}

/// Gives the tail another chunk, if memory is there and no block has to be read first.
fn add_chunk(open: &mut OpenSegment, chunk_bytes: usize) -> bool {
    if open.tail.is_empty() && open.tail.end() != block_start(open.tail.end()) {
        return false;
    }
    match Chunk::try_take(Purpose::Tails, chunk_bytes) {
        Some(chunk) => {
            open.tail.push(chunk);
            true
        }
        None => false,
    }
}
