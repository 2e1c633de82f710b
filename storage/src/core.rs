//! What the logs and the journal of one store share: who has something to commit, and whether the dir works.
//!
//! Nobody holds a log's file permit while waiting for the journal, and the journal waits for nothing that
//! needs a commit: else a full journal would wait for itself.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use shards::Gate;
use shards::sync::{Notify, Semaphore, Signal, oneshot};

use crate::error::StorageError;
use crate::journal::records::{Fence, Seal};
use crate::log::Log;

/// Sizes and times that a store works with; the defaults are meant for production, tests choose smaller ones.
#[derive(Copy, Clone, Debug)]
pub struct Options {
    /// Size of a chunk of a partition's tail.
    pub chunk_bytes: usize,
    /// Most bytes of one commit.
    pub commit_bytes_max: usize,
    /// Bytes of a partition that may be written and not synced before they are synced.
    pub unsynced_bytes_max: u32,
    /// Settled bytes of a partition that stay in memory for readers while nobody else wants the memory.
    pub kept_bytes: u32,
    /// A partition that got nothing for so long gives its memory back.
    pub idle: Duration,
    /// Space for a segment is allocated in steps of this size.
    pub allocate_bytes: u32,
    /// Journal bytes written with zeros before the first commit; the rest follows in the background.
    pub journal_ready_bytes: u64,
    /// Disk space kept for recovery, checkpoints and the close.
    pub reserve_bytes: u64,
    /// Index entries of a partition that are kept in the checkpoint before they go to the index files.
    pub index_entries_kept: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            chunk_bytes: 64 << 10,
            commit_bytes_max: 1 << 20,
            unsynced_bytes_max: 1 << 20,
            kept_bytes: 256 << 10,
            idle: Duration::from_secs(5),
            allocate_bytes: 1 << 20,
            journal_ready_bytes: 4 << 20,
            reserve_bytes: 4 << 20,
            index_entries_kept: 64,
        }
    }
}

/// Counters of one store since it was opened.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Commits of the journal.
    pub commits: u64,
    /// Bytes of records in them, with what is logged again.
    pub commit_bytes: u64,
    /// Bytes of batches appended.
    pub appended_bytes: u64,
    /// Switches of halves.
    pub switches: u64,
    /// Times a full journal made appends wait.
    pub journal_waits: u64,
    /// Writes to segment files.
    pub segment_writes: u64,
    /// Syncs of segment files.
    pub segment_syncs: u64,
    /// Reads of segment files.
    pub segment_reads: u64,
    /// Segment files opened.
    pub segment_opens: u64,
}

/// A record that must be committed, beside the bytes of appends.
pub(crate) enum Order {
    /// Cut a log; with `has_head` it is then put into the journal again from the start of its last block.
    Fence {
        fence: Fence,
        log: Rc<Log>,
        has_head: bool,
    },
    /// A segment is final.
    Seal(Seal),
}

/// See the module.
pub(crate) struct Core {
    /// The log dir.
    pub path: PathBuf,
    /// This shard's number.
    pub shard: u16,
    /// Number of this start of the dir.
    pub run: u64,
    pub options: Options,
    pub stats: Cell<Stats>,
    /// Every task of the store.
    pub gate: Gate,
    /// Logs with staged bytes that are not waiting for memory or files.
    pub ready: RefCell<VecDeque<Rc<Log>>>,
    /// Records to commit, and who waits for that.
    pub orders: RefCell<VecDeque<(Order, oneshot::Sender<()>)>>,
    /// Something was added to the two above.
    pub work: Notify,
    /// Bytes staged and not placed, over all logs.
    pub staged_bytes: Cell<usize>,
    /// A tail waits for memory.
    pub memory_wanted: Notify,
    /// How many wait for it: tails, and the read of a large batch.
    pub memory_waiters: Cell<usize>,
    /// A read from a file waits for memory.
    pub reads_wanted: Notify,
    /// How many wait for it; meanwhile nothing that was read is kept.
    pub reads_waiters: Cell<usize>,
    /// Whoever waits for memory while it holds what it has read already: one at a time, or they wait for each other.
    pub large_read: Semaphore,
    /// Reads wait for memory no longer: the node stops.
    pub reads_given_up: Signal,
    /// No more appends.
    pub is_closing: Cell<bool>,
    /// Nothing will be committed any more: all is, or the dir has failed.
    pub stopped: Signal,
    failure: RefCell<Option<StorageError>>,
    /// Set with the failure.
    pub failed: Signal,
}

impl Core {
    pub fn new(path: &Path, shard: u16, run: u64, options: Options) -> Rc<Self> {
        Rc::new(Self {
            path: path.to_owned(),
            shard,
            run,
            options,
            stats: Cell::default(),
            gate: Gate::new(),
            ready: RefCell::default(),
            orders: RefCell::default(),
            work: Notify::new(),
            staged_bytes: Cell::new(0),
            memory_wanted: Notify::new(),
            memory_waiters: Cell::new(0),
            reads_wanted: Notify::new(),
            reads_waiters: Cell::new(0),
            large_read: Semaphore::new(1),
            reads_given_up: Signal::new(),
            is_closing: Cell::new(false),
            stopped: Signal::new(),
            failure: RefCell::default(),
            failed: Signal::new(),
        })
    }

    /// Changes the counters.
    pub fn count(&self, change: impl FnOnce(&mut Stats)) {
        let mut stats = self.stats.get();
        change(&mut stats);
        self.stats.set(stats);
    }

    /// What failed, if something has: the dir is offline from then on (D14).
    pub fn failure(&self) -> Option<StorageError> {
        self.failure.borrow().clone()
    }

    /// Takes the dir offline; the first reason stays.
    pub fn fail(&self, error: &StorageError) {
        let is_first = self.failure.borrow().is_none();
        if is_first {
            tracing::error!(dir = %self.path.display(), "the log dir is offline until restart: {error}");
            *self.failure.borrow_mut() = Some(error.clone());
            self.failed.set();
            self.work.notify_one();
        }
    }

    /// Takes the dir offline when `result` is a failure of the disk.
    pub fn check<T>(&self, result: Result<T, StorageError>) -> Result<T, StorageError> {
        if let Err(error @ StorageError::Io { .. }) = &result {
            self.fail(error);
        }
        result
    }

    /// An error when the dir is offline.
    pub fn alive(&self) -> Result<(), StorageError> {
        self.failure().map_or(Ok(()), Err)
    }

    /// Whether nothing is staged anywhere.
    pub fn is_drained(&self) -> bool {
        self.staged_bytes.get() == 0 && self.ready.borrow().is_empty() && self.orders.borrow().is_empty()
    }

    /// Has a record committed; resolves when it is.
    ///
    /// # Errors
    /// The dir's failure; [`StorageError::Closed`] when nothing is committed any more.
    pub async fn commit(&self, order: Order) -> Result<(), StorageError> {
        let done = self.order(order);
        let over = shards::select2(self.failed.wait(), self.stopped.wait());
        match shards::select2(done, over).await {
            shards::Either::First(Ok(())) => Ok(()),
            _ => Err(self.failure().unwrap_or(StorageError::Closed)),
        }
    }

    /// Has a record committed with the next commit.
    pub fn order(&self, order: Order) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.orders.borrow_mut().push_back((order, sender));
        self.work.notify_one();
        receiver
    }

    /// Puts a log among those that the next commit asks for bytes.
    pub fn make_ready(&self, log: &Rc<Log>) {
        if !log.is_ready.replace(true) {
            self.ready.borrow_mut().push_back(log.clone());
            self.work.notify_one();
        }
    }
}
