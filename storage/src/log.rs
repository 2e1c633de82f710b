//! A log: one partition's segments and the offsets between them.
//!
//! ```text
//!      log start          high watermark      durable end         end
//!          |  readable by consumers  |  readable by    |  staged:    |
//!          v                         v  followers      v  not yet    v
//!   -------+-------------------------+-----------------+-------------+
//! ```
//!
//! Appending only stages: offsets are assigned and everything that depends on order is decided in one
//! synchronous call. The journal's next commit takes what was staged, and only then does the durable end move;
//! nothing beyond it is ever acknowledged, read or counted (D1). A log lives on the shard that owns its
//! partition. Source: Kafka's `UnifiedLog`.

mod append;
mod files;
mod look_up;
mod read;
mod settle;
mod truncate;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};

use bytes::Bytes;
use protocol::batch::HEADER_BYTES;
use protocol::types::{LeaderEpoch, Offset};
use shards::buffers::BLOCK;
use shards::fs::File;
use shards::sync::{Semaphore, oneshot};
use shards::time::{self, Instant};

use crate::checkpoint::Entry;
use crate::core::Core;
use crate::error::StorageError;
use crate::index::OffsetIndex;
use crate::kafka_files;
use crate::outline::Outline;
use crate::recovery::Owed;
use crate::tail::{Tail, block_start};
use crate::time_index::TimeIndex;
use crate::{LogConfig, PartitionId};

pub use append::{AppendError, Appended};
pub(crate) use append::{Placing, Touched};
pub use look_up::TimestampOffset;
pub use read::{ReadAt, ReadData, ReadError, readable_bytes_max};
pub(crate) use settle::{write_aside, write_at_end, write_file};

/// See the module. Shared by handle; belongs to one shard.
pub struct Log {
    id: PartitionId,
    topic: String,
    path: PathBuf,
    core: Rc<Core>,
    /// Itself, for its background tasks.
    this: Weak<Log>,
    state: RefCell<State>,
    /// One at a time writes the log's files, or changes which there are.
    files_permit: Semaphore,
    /// Among those that the next commit asks.
    pub(crate) is_ready: Cell<bool>,
    is_preparing: Cell<bool>,
    is_settling: Cell<bool>,
}

struct State {
    outline: Outline,
    config: LogConfig,
    /// Batches that are not durable yet, oldest first.
    staged: VecDeque<Staged>,
    /// How many of them, from the first, stand wholly in the tail and in a commit on its way.
    placed: usize,
    /// Segments that are not sealed, ascending; the last takes appends.
    open: VecDeque<OpenSegment>,
    /// Sealed segments' files that were read.
    read_files: BTreeMap<Offset, Rc<File>>,
    /// Bytes read from files, for who reads on.
    windows: Vec<read::Window>,
    /// Index entries read from files, by segment.
    read_indexes: BTreeMap<Offset, Rc<Indexes>>,
    durable_end: Offset,
    waiters: Vec<(Offset, oneshot::Sender<()>)>,
    /// The generation of the journal that has the bytes from the start of the last block on.
    generation: Option<u64>,
    /// What the files lack since the last crash; before anything else they get it.
    owed: Option<Owed>,
    /// They have not got all of it yet.
    is_owed: bool,
    /// The files were compared with the outline.
    is_verified: bool,
    /// Being truncated or deleted: no appends.
    is_fenced: bool,
    /// What the log was before a fence that is on its way to the journal.
    before_fence: Option<Box<Entry>>,
    /// A fence is durable and the files are not yet what it orders.
    is_carrying_out: bool,
    is_deleted: bool,
    /// The files are as a clean close leaves them.
    is_as_closed: bool,
    last_append: Instant,
}

/// A batch on its way to the disk.
struct Staged {
    segment: Offset,
    /// Where it begins in the segment.
    position: u32,
    /// The header with its final offset and epoch; the rest of the batch follows in `batch`.
    header: [u8; HEADER_BYTES],
    /// Given up when all of it is placed.
    batch: Bytes,
    /// How many of its bytes stand in the tail.
    placed: usize,
    next_offset: Offset,
    /// What the segment was before it, for a checkpoint that must not count it.
    before: Before,
}

impl Staged {
    /// Bytes still to be placed.
    fn left(&self) -> usize {
        self.batch.len().saturating_sub(self.placed)
    }
}

#[derive(Copy, Clone)]
struct Before {
    max_timestamp: i64,
    max_timestamp_offset: Offset,
    first_timestamp: Option<i64>,
    bytes_since_entry: u32,
}

/// The part of a segment's indexes that its files hold.
struct Indexes {
    offsets: OffsetIndex,
    times: TimeIndex,
}

/// A segment whose bytes are not all where they will stay.
struct OpenSegment {
    base: Offset,
    tail: Tail,
    /// The journal has the bytes before this position.
    committed: u32,
    /// End of the last batch that is wholly committed.
    durable: u32,
    /// Whole blocks before this position are written to the file.
    written: u32,
    /// The file has the bytes before this position, synced.
    settled: u32,
    /// The file's length.
    allocated: u32,
    file: Option<Rc<File>>,
    /// The producers as they were where it begins, for the file that Kafka keeps of that; empty once written.
    snapshot: Vec<u8>,
}

impl OpenSegment {
    /// A segment that has `length` bytes on disk.
    fn new(base: Offset, length: u32) -> Self {
        Self {
            base,
            tail: Tail::new(length),
            committed: length,
            durable: length,
            written: block_start(length),
            settled: length,
            allocated: 0,
            file: None,
            snapshot: Vec::new(),
        }
    }
}

impl Log {
    pub(crate) fn new(
        core: &Rc<Core>,
        id: PartitionId,
        entry: Entry,
        config: LogConfig,
        is_as_closed: bool,
    ) -> Rc<Self> {
        let path = core
            .path
            .join(kafka_files::directory_name(&entry.topic, id.partition));
        let mut outline = entry.outline;
        let end = outline.end;
        let active = outline.active();
        let open = VecDeque::from([OpenSegment::new(active.base, active.length)]);
        Rc::new_cyclic(|this| Self {
            this: this.clone(),
            id,
            topic: entry.topic,
            path,
            core: core.clone(),
            state: RefCell::new(State {
                outline,
                config,
                staged: VecDeque::new(),
                placed: 0,
                open,
                read_files: BTreeMap::new(),
                windows: Vec::new(),
                read_indexes: BTreeMap::new(),
                durable_end: end,
                waiters: Vec::new(),
                generation: None,
                owed: None,
                is_owed: false,
                is_verified: false,
                is_fenced: false,
                before_fence: None,
                is_carrying_out: false,
                is_deleted: false,
                is_as_closed,
                last_append: time::now(),
            }),
            files_permit: Semaphore::new(1),
            is_ready: Cell::new(false),
            is_preparing: Cell::new(false),
            is_settling: Cell::new(false),
        })
    }

    /// The partition.
    pub fn id(&self) -> PartitionId {
        self.id
    }

    /// Its topic's name.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// First offset that may be read.
    pub fn log_start_offset(&self) -> Offset {
        self.state.borrow().outline.log_start
    }

    /// Offset of the next record appended. What lies before it need not be durable.
    pub fn log_end_offset(&self) -> Offset {
        self.state.borrow().outline.end
    }

    /// Offset after the last record that would survive a power cut, all before it included (D1).
    pub fn durable_end(&self) -> Offset {
        self.state.borrow().durable_end
    }

    /// As last set, clamped to the log: what a start finds in the checkpoint.
    pub fn high_watermark(&self) -> Offset {
        let state = self.state.borrow();
        let outline = &state.outline;
        outline
            .high_watermark
            .max(outline.log_start)
            .min(state.durable_end)
    }

    /// Notes the broker's high watermark for the next checkpoint; never moves it back.
    pub fn set_high_watermark(&self, offset: Offset) {
        let mut state = self.state.borrow_mut();
        let offset = offset.min(state.durable_end);
        let known = &mut state.outline.high_watermark;
        *known = (*known).max(offset);
    }

    /// The newest leader epoch that the log knows.
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.state.borrow().outline.latest_epoch()
    }

    /// The leader epoch that the record at `offset`, or the next one written there, belongs to; `None` before the first.
    pub fn epoch_for(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.state.borrow().outline.epochs.epoch_for(offset)
    }

    /// Notes that a leader epoch begins at the end of the log (on becoming leader).
    pub fn assign_epoch(&self, epoch: LeaderEpoch) {
        let mut state = self.state.borrow_mut();
        let end = state.outline.end;
        state.outline.epochs.assign(epoch, end);
    }

    /// Kafka's `endOffsetFor`: the epoch that answers and where it ends; `None` is (-1, -1).
    pub fn end_offset_for_epoch(&self, requested: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let state = self.state.borrow();
        state.outline.epochs.end_offset_for(requested, state.outline.end)
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.state.borrow().outline.bytes()
    }

    /// Number of idempotent producers known.
    pub fn producers(&self) -> usize {
        self.state.borrow().outline.producers.len()
    }

    /// Forgets producers that sent nothing for as long as the settings say.
    pub(crate) fn expire_producers(&self, now_ms: i64) {
        let mut state = self.state.borrow_mut();
        let expiration_ms = state.config.producer_expiration_ms;
        state.outline.producers.expire(now_ms, expiration_ms);
    }

    /// Number of segments.
    pub fn segments(&self) -> usize {
        self.state.borrow().outline.segments.len()
    }

    /// Other settings, from the next append on.
    pub fn set_config(&self, config: LogConfig) {
        self.state.borrow_mut().config = config;
    }

    /// Why the log cannot be used, if so: damage found at start, the dir's failure, or its end.
    pub fn is_usable(&self) -> Result<(), StorageError> {
        self.core.alive()?;
        let state = self.state.borrow();
        if state.is_deleted {
            return Err(StorageError::Closed);
        }
        match &state.outline.damage {
            Some(damage) => Err(StorageError::damaged(&self.path, 0, damage.as_str())),
            None => Ok(()),
        }
    }

    /// Takes the log offline; nothing of it is touched any more (D5, D16).
    pub(crate) fn damage(&self, error: &StorageError) {
        let mut state = self.state.borrow_mut();
        if state.outline.damage.is_none() {
            tracing::error!(topic = %self.topic, partition = %self.id.partition, "the partition is offline: {error}");
            state.outline.damage = Some(error.to_string());
        }
        let dropped: usize = state.staged.iter().map(Staged::left).sum();
        state.staged.clear();
        state.placed = 0;
        state.waiters.clear();
        let left = self.core.staged_bytes.get().saturating_sub(dropped);
        self.core.staged_bytes.set(left);
        self.core.work.notify_one();
    }

    /// Resolves when everything before `up_to` is durable.
    ///
    /// # Errors
    /// The dir's or the log's failure: it may or may not be durable, and must not be acknowledged.
    pub fn durable(&self, up_to: Offset) -> impl Future<Output = Result<(), StorageError>> + use<> {
        let mut state = self.state.borrow_mut();
        let waiting = if state.durable_end >= up_to {
            None
        } else {
            let (sender, receiver) = oneshot::channel();
            state.waiters.push((up_to, sender));
            Some(receiver)
        };
        drop(state);
        let usable = self.is_usable();
        let core = self.core.clone();
        async move {
            usable?;
            let Some(waiting) = waiting else { return Ok(()) };
            match waiting.await {
                Ok(()) => Ok(()),
                Err(_) => Err(core.failure().unwrap_or(StorageError::Closed)),
            }
        }
    }

    /// Lets go of those who wait: what they wait for will not come.
    pub(crate) fn drop_waiters(&self) {
        let waiters = std::mem::take(&mut self.state.borrow_mut().waiters);
        drop(waiters);
    }

    /// What a checkpoint holds of the log: nothing that is not committed, be it bytes or a fence.
    pub(crate) fn entry(&self) -> Entry {
        let state = self.state.borrow();
        if let Some(before) = &state.before_fence {
            return Entry::clone(before);
        }
        let mut outline = state.outline.clone();
        if let Some(first) = state.staged.front() {
            outline.take_back(first.segment, first.position, state.durable_end);
            if let Some(segment) = outline.segment_mut(first.segment) {
                segment.max_timestamp = first.before.max_timestamp;
                segment.max_timestamp_offset = first.before.max_timestamp_offset;
                segment.first_timestamp = first.before.first_timestamp;
                segment.bytes_since_entry = first.before.bytes_since_entry;
            }
        }
        outline.invariants();
        Entry {
            topic: self.topic.clone(),
            outline,
            config: state.config,
        }
    }
}

/// Rounded up to whole blocks.
fn block_end(position: u32) -> u32 {
    position.next_multiple_of(BLOCK as u32)
}

impl std::fmt::Debug for Log {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Log({}-{})", self.topic, self.id.partition)
    }
}
