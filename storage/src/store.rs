//! The logs of one shard in one log dir, with the journal they share.
//!
//! One per shard and dir; everything here runs on that shard. Besides the loop that commits, three tasks work
//! for all logs: one brings to the files what an old half of the journal protects, one gives memory back when
//! it is wanted, one looks after idle partitions.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use protocol::types::Uuid;
use shards::sync::{Semaphore, Signal};
use shards::time::{self, Instant};
use shards::{Priority, fs, select2};

use crate::checkpoint::{self, Checkpoint, Entry};
use crate::core::{Core, Stats};
use crate::dir::DirShare;
use crate::error::{During, StorageError};
use crate::journal::{Halves, Journal, commit};
use crate::kafka_files;
use crate::log::{Log, write_aside};
use crate::outline::Outline;
use crate::recovery;
use crate::{LogConfig, PartitionId};

/// Logs that are settled at a time.
const AT_A_TIME: usize = 32;
/// Logs that are put to rest at once when memory is wanted.
const RECLAIM_AT_ONCE: usize = 8;
/// Until another look whether what a fence orders is done.
const CARRYING_OUT: Duration = Duration::from_millis(1);
const SWEEP: Duration = Duration::from_secs(1);
/// Sweeps between two looks for expired producers: Kafka looks every ten minutes.
const SWEEPS_PER_EXPIRY: u32 = 600;

/// See the module.
pub struct Store {
    core: Rc<Core>,
    share: DirShare,
    halves: Rc<Halves>,
    /// No journal is kept any more: halves of this one may be used again.
    is_recovered: Signal,
    logs: RefCell<BTreeMap<PartitionId, Rc<Log>>>,
    /// Partitions deleted in this run, and their last incarnations.
    deleted: RefCell<BTreeMap<PartitionId, u32>>,
}

/// What a store leaves behind for [`Dir::close`](crate::Dir::close).
#[derive(Debug)]
pub struct Closed {
    pub(crate) logs: BTreeMap<PartitionId, Entry>,
    pub(crate) deleted: BTreeSet<PartitionId>,
}

impl Store {
    /// Opens this shard's part of the dir: its journal, empty, and no log yet.
    ///
    /// # Errors
    /// Of the disk.
    pub async fn open(share: DirShare) -> Result<Rc<Store>, StorageError> {
        let shard = shards::current().id().0;
        let core = Core::new(share.path(), shard, share.run(), share.options());
        let journal = Journal::open(&core, share.journal_half_bytes()).await?;
        let store = Rc::new(Store {
            core: core.clone(),
            share,
            halves: journal.halves(),
            is_recovered: Signal::new(),
            logs: RefCell::default(),
            deleted: RefCell::default(),
        });
        if !store.share.is_owing() {
            store.is_recovered.set();
        }
        let committing = core.clone();
        let _ = core.gate.spawn(Priority::Clients, async move {
            let _ = commit::run(committing.clone(), journal).await;
            committing.stopped.set();
        });
        let _ = core
            .gate
            .spawn(Priority::Background, store.clone().release_halves());
        let _ = core
            .gate
            .spawn(Priority::Background, store.clone().reclaim_memory());
        let _ = core
            .gate
            .spawn(Priority::Clients, store.clone().reclaim_windows());
        let _ = core.gate.spawn(Priority::Housekeeping, store.clone().sweep());
        let failing = store.clone();
        let _ = core.gate.spawn(Priority::Clients, async move {
            select2(failing.core.failed.wait(), failing.core.stopped.wait()).await;
            if failing.core.failure().is_some() {
                for log in failing.logs() {
                    log.drop_waiters();
                }
            }
        });
        Ok(store)
    }

    /// A log that this node has, whether in use already or not. `None`: it was never created here. No file of
    /// it is touched, unless no checkpoint knows it.
    ///
    /// # Errors
    /// Of the disk. Damage is met when the log is used.
    pub async fn open_partition(
        self: &Rc<Self>,
        id: &PartitionId,
        topic: &str,
        config: LogConfig,
    ) -> Result<Option<Rc<Log>>, StorageError> {
        if let Some(log) = self.log(id) {
            log.set_config(config);
            return Ok(Some(log));
        }
        if self.deleted.borrow().contains_key(id) {
            return Ok(None);
        }
        if let Some((entry, owed)) = self.share.claim(id).await {
            let log = self.insert(*id, entry, config, self.share.was_clean());
            if let Some(owed) = owed {
                log.owe(owed);
            }
            return Ok(Some(log));
        }
        let path = self
            .core
            .path
            .join(kafka_files::directory_name(topic, id.partition));
        if topic_id_of(&path, topic).await? != Some(id.topic_id) {
            return Ok(None);
        }
        let mut outline = recovery::rebuild(&path, &config, None).await?;
        self.share.add_text_checkpoints(topic, id.partition, &mut outline);
        let mut entry = Entry {
            topic: topic.to_owned(),
            outline,
            config,
        };
        if entry.outline.damage.is_none() {
            // Else they would stay open, with all index entries in memory and in every checkpoint.
            recovery::finish_segments(&path, &mut entry).await?;
        }
        Ok(Some(self.insert(*id, entry, config, false)))
    }

    /// Makes a partition's directory, durable before this returns (D12), or opens the one that is there. A
    /// directory of this name that belongs to another topic id is kept under a name that Kafka calls stray.
    ///
    /// # Errors
    /// Of the disk.
    pub async fn create_partition(
        self: &Rc<Self>,
        id: &PartitionId,
        topic: &str,
        config: LogConfig,
    ) -> Result<Rc<Log>, StorageError> {
        self.core.alive()?;
        if let Some(log) = self.open_partition(id, topic, config).await? {
            return Ok(log);
        }
        let result = self.make_directory(id, topic).await;
        self.core.check(result)?;
        if let Some(log) = self.log(id) {
            return Ok(log);
        }
        let deleted = self.deleted.borrow_mut().remove(id);
        let mut outline = Outline::new(Default::default(), time::wall_ms());
        // Above every incarnation that a journal may still name, should the id have been here before.
        let of_run = u32::try_from(self.core.run << 12).unwrap_or(u32::MAX / 2);
        outline.incarnation = of_run.max(deleted.map_or(0, |incarnation| incarnation + 1));
        let entry = Entry {
            topic: topic.to_owned(),
            outline,
            config,
        };
        let log = self.insert(*id, entry, config, false);
        if deleted.is_some() {
            log.come_back().await?;
        }
        Ok(log)
    }

    async fn make_directory(&self, id: &PartitionId, topic: &str) -> Result<(), StorageError> {
        let name = kafka_files::directory_name(topic, id.partition);
        let path = self.core.path.join(&name);
        if fs::exists(&path).await.during("look at", &path)?
            && let Some(other) = topic_id_of(&path, topic).await?
        {
            let stray = kafka_files::stray_directory_name(topic, id.partition, other);
            let stray = self.core.path.join(stray);
            tracing::warn!(
                "{} is of another topic: kept as {}",
                path.display(),
                stray.display()
            );
            fs::rename(&path, &stray).await.during("rename", &path)?;
        }
        match fs::create_dir(&path).await {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            result => result.during("make", &path)?,
        }
        if topic != recovery::METADATA_TOPIC {
            let metadata = path.join(kafka_files::PARTITION_METADATA);
            write_aside(&metadata, kafka_files::encode_partition_metadata(id.topic_id)).await?;
        }
        fs::sync_dir(&path).await.during("sync", &path)?;
        fs::sync_dir(&self.core.path)
            .await
            .during("sync", &self.core.path)
    }

    fn insert(&self, id: PartitionId, entry: Entry, config: LogConfig, is_as_closed: bool) -> Rc<Log> {
        let mut logs = self.logs.borrow_mut();
        let log = logs
            .entry(id)
            .or_insert_with(|| Log::new(&self.core, id, entry, config, is_as_closed));
        log.clone()
    }

    /// A log that was opened or created.
    pub fn log(&self, id: &PartitionId) -> Option<Rc<Log>> {
        self.logs.borrow().get(id).cloned()
    }

    /// The logs that were opened or created, by id.
    pub fn logs(&self) -> Vec<Rc<Log>> {
        self.logs.borrow().values().cloned().collect()
    }

    /// Deletes a partition: fenced in the journal first, so that no replay brings it back (D9), then its
    /// directory goes.
    ///
    /// # Errors
    /// Of the disk.
    pub async fn delete_partition(&self, id: &PartitionId) -> Result<(), StorageError> {
        let Some(log) = self.log(id) else {
            return Ok(());
        };
        let incarnation = self.core.check(log.delete().await)?;
        self.logs.borrow_mut().remove(id);
        self.deleted.borrow_mut().insert(*id, incarnation);
        Ok(())
    }

    /// Gives up a partition that should not be here, without losing a byte of it: its directory is kept under a name
    /// that Kafka calls stray. Gives that directory; `None` when it was not there any more.
    ///
    /// # Errors
    /// Of the disk.
    pub async fn set_partition_aside(&self, id: &PartitionId) -> Result<Option<PathBuf>, StorageError> {
        let Some(log) = self.log(id) else {
            return Ok(None);
        };
        let (stray, incarnation) = self.core.check(log.set_aside().await)?;
        self.logs.borrow_mut().remove(id);
        self.deleted.borrow_mut().insert(*id, incarnation);
        Ok(stray)
    }

    /// Brings to the files what the partitions opened here are owed since the start, and writes a checkpoint that
    /// counts it.
    ///
    /// # Errors
    /// Of the disk.
    pub async fn settle_owed(&self) -> Result<(), StorageError> {
        let owed: Vec<_> = self.logs().into_iter().filter(|log| log.is_owed()).collect();
        let settled = for_each(owed, async |log| log.settle_owed().await).await;
        self.core.check(settled)?;
        let written = self.write_checkpoint(0).await;
        self.core.check(written)
    }

    /// The dir's recovery has finished: no journal of an earlier start is kept any more.
    pub fn recovery_has_finished(&self) {
        self.is_recovered.set();
    }

    /// What took the dir offline, if something has.
    pub fn failure(&self) -> Option<StorageError> {
        self.core.failure()
    }

    /// Resolves when the dir goes offline, or the store is closed.
    pub async fn failed(&self) {
        select2(self.core.failed.wait(), self.core.stopped.wait()).await;
    }

    /// Takes this shard's part of the dir offline, because another's has failed.
    pub fn fail(&self, error: &StorageError) {
        self.core.fail(error);
    }

    /// Counters since the store was opened.
    pub fn stats(&self) -> Stats {
        self.core.stats.get()
    }

    /// From now on no read waits for memory: the node stops, and who holds it may be waiting for that.
    pub fn give_up_reads(&self) {
        self.core.reads_given_up.set();
    }

    /// Closes: no more appends; what was staged is committed, everything goes to the files, at exact length,
    /// with what Kafka keeps beside them (the first part of D21).
    ///
    /// # Errors
    /// The dir's failure: it is then left as after a crash.
    pub async fn close(&self) -> Result<Closed, StorageError> {
        self.core.is_closing.set(true);
        self.core.work.notify_one();
        self.core.stopped.wait().await;
        self.core.gate.close().await;
        self.core.alive()?;
        let result = for_each(self.logs(), async |log| log.close_files().await).await;
        self.core.check(result)?;
        Ok(Closed {
            logs: self.entries(),
            deleted: self.deleted.borrow().keys().copied().collect(),
        })
    }

    fn entries(&self) -> BTreeMap<PartitionId, Entry> {
        let logs = self.logs.borrow();
        logs.iter().map(|(&id, log)| (id, log.entry())).collect()
    }

    async fn release_halves(self: Rc<Self>) {
        loop {
            select2(self.halves.release_wanted.notified(), self.core.stopped.wait()).await;
            let Some(old) = self.halves.to_release.take() else {
                if self.core.stopped.is_set() {
                    return;
                }
                continue;
            };
            // Whatever it is: the half is never free again, and who waits for it must hear of that.
            if let Err(error) = self.release(old).await {
                self.core.fail(&error);
                return;
            }
            self.halves.released();
        }
    }

    /// Brings what generation `old` protects to the files, then writes the checkpoint that counts it. Not while
    /// journals are kept: older bytes must not be replayed without the newer ones.
    async fn release(&self, old: u64) -> Result<(), StorageError> {
        select2(self.is_recovered.wait(), self.core.stopped.wait()).await;
        if !self.is_recovered.is_set() {
            return Ok(());
        }
        let unsettled: Vec<_> = self.logs().into_iter().filter(|log| log.is_unsettled()).collect();
        for_each(unsettled, async move |log| log.release(old).await).await?;
        self.write_checkpoint(old + 1).await
    }

    /// Writes this shard's checkpoint. Nothing in it is uncommitted, and it counts all of the journal below that
    /// generation.
    async fn write_checkpoint(&self, counts_below: u64) -> Result<(), StorageError> {
        while self.logs.borrow().values().any(|log| log.is_carrying_out()) {
            self.core.alive()?;
            time::sleep(CARRYING_OUT).await;
        }
        let number = self.halves.checkpoint.get() + 1;
        let checkpoint = Checkpoint {
            run: self.core.run,
            number,
            counts_below,
            token: Uuid::ZERO,
            logs: self.entries(),
            deleted: self.deleted.borrow().keys().copied().collect(),
        };
        write_checkpoint(
            &self.core.path.join(checkpoint::shard_file(self.core.shard)),
            &checkpoint,
        )
        .await?;
        fs::sync_dir(&self.core.path)
            .await
            .during("sync", &self.core.path)?;
        self.halves.checkpoint.set(number);
        Ok(())
    }

    /// Gives memory back when a tail waits for it: first what only readers use, then that of the partitions
    /// that have been quiet longest.
    async fn reclaim_memory(self: Rc<Self>) {
        loop {
            select2(self.core.memory_wanted.notified(), self.core.stopped.wait()).await;
            if self.core.stopped.is_set() {
                return;
            }
            while self.core.memory_waiters.get() > 0 && self.core.failure().is_none() {
                let waiting = self.core.memory_waiters.get();
                for log in self.logs() {
                    log.drop_settled();
                }
                shards::yield_now().await;
                if self.core.memory_waiters.get() < waiting {
                    continue;
                }
                let mut holders: Vec<_> = self.logs().into_iter().filter(|log| log.holds_memory()).collect();
                holders.sort_by_key(|log| {
                    let (at, is_staged) = log.last_append();
                    (is_staged, at)
                });
                holders.truncate(RECLAIM_AT_ONCE);
                let result = for_each(holders, async |log| log.rest().await).await;
                if self.core.check(result).is_err() {
                    return;
                }
                if self.core.memory_waiters.get() == waiting {
                    // All that is held is in commits on their way, or with slow readers.
                    time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
    }

    /// Gives back what is kept for who reads on when a read waits for memory.
    async fn reclaim_windows(self: Rc<Self>) {
        loop {
            select2(self.core.reads_wanted.notified(), self.core.stopped.wait()).await;
            if self.core.stopped.is_set() {
                return;
            }
            for log in self.logs() {
                log.drop_all_windows();
            }
        }
    }

    async fn sweep(self: Rc<Self>) {
        let mut sweeps = 0u32;
        loop {
            select2(
                time::sleep(SWEEP.min(self.core.options.idle)),
                self.core.stopped.wait(),
            )
            .await;
            if self.core.stopped.is_set() || self.core.failure().is_some() {
                return;
            }
            let idle = self.core.options.idle;
            let is_idle = |log: &Rc<Log>| {
                let (at, is_staged) = log.last_append();
                !is_staged && log.holds_memory() && at.elapsed() >= idle
            };
            let since = Instant(time::now().0.saturating_sub(idle.as_nanos() as u64));
            let idle: Vec<_> = self.logs().into_iter().filter(is_idle).collect();
            let result = for_each(idle, async |log| log.rest().await).await;
            if self.core.check(result).is_err() {
                return;
            }
            for log in self.logs() {
                log.drop_windows(since);
            }
            sweeps += 1;
            if sweeps.is_multiple_of(SWEEPS_PER_EXPIRY) {
                let now_ms = time::wall_ms();
                for log in self.logs() {
                    log.expire_producers(now_ms);
                }
            }
        }
    }
}

/// Writes a checkpoint aside and puts it in place; durable with the directory's next sync.
pub(crate) async fn write_checkpoint(
    path: &std::path::Path,
    checkpoint: &Checkpoint,
) -> Result<(), StorageError> {
    let bytes = checkpoint
        .encode()
        .map_err(|error| StorageError::damaged(path, 0, format!("{error:?}")))?;
    write_aside(path, bytes).await
}

/// The topic id in a partition's directory; `None` when there is no directory or no `partition.metadata`.
pub(crate) async fn topic_id_of(path: &std::path::Path, topic: &str) -> Result<Option<Uuid>, StorageError> {
    if topic == recovery::METADATA_TOPIC {
        let is_there = fs::exists(path).await.during("look at", path)?;
        return Ok(is_there.then_some(Uuid::METADATA_TOPIC));
    }
    let metadata = path.join(kafka_files::PARTITION_METADATA);
    if !fs::exists(&metadata).await.during("look at", &metadata)? {
        return Ok(None);
    }
    let bytes = fs::read(&metadata, kafka_files::FILE_BYTES_MAX)
        .await
        .during("read", &metadata)?;
    kafka_files::decode_partition_metadata(&bytes)
        .map(Some)
        .map_err(|wrong| StorageError::damaged(&metadata, 0, wrong.to_string()))
}

/// Does something to each log, many at a time; the first error is given back, after all have ended.
async fn for_each<F>(logs: Vec<Rc<Log>>, work: F) -> Result<(), StorageError>
where
    F: AsyncFn(Rc<Log>) -> Result<(), StorageError> + Clone + 'static,
{
    let limit = Rc::new(Semaphore::new(AT_A_TIME));
    let mut tasks = Vec::with_capacity(logs.len());
    for log in logs {
        let permit = limit.acquire(1).await;
        let work = work.clone();
        tasks.push(shards::spawn(Priority::Background, async move {
            let result = work(log).await;
            drop(permit);
            result
        }));
    }
    let mut result = Ok(());
    for task in tasks {
        result = result.and(task.await);
    }
    result
}

impl std::fmt::Debug for Store {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "Store({}, shard {})",
            self.core.path.display(),
            self.core.shard
        )
    }
}
