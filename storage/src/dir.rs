//! One log dir of the node: its lock, its signs, its recovery at start and the last steps of its close.
//!
//! Opened on one shard before any store; afterwards every journal is empty, and all records stand in the segment
//! files or are owed to their partition, so any number of shards and any placement of partitions is right. Dropping a
//! dir without closing it leaves what a crash leaves.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::types::{BrokerId, Offset, Partition, Uuid};
use shards::{fs, random, time};

use crate::PartitionId;
use crate::checkpoint::{self, Checkpoint, Entry};
use crate::core::Options;
use crate::error::{During, StorageError};
use crate::guard::{self, Left};
use crate::journal;
use crate::journals;
use crate::kafka_files::{self, FILE_BYTES_MAX, META_PROPERTIES, MetaProperties};
use crate::log::write_aside;
use crate::outline::Outline;
use crate::recovery::{self, Counted, Owed, Recovered, Report};
use crate::reserve;
use crate::store::{Closed, write_checkpoint};

/// How to open a log dir.
#[derive(Clone, Debug)]
pub struct DirConfig {
    /// The directory.
    pub path: PathBuf,
    /// Number of shards that will have a store in it.
    pub shards: u16,
    /// Bytes of all journals together; split over shards and halves.
    pub journal_bytes: u64,
    /// The node and cluster that it must belong to.
    pub expected: Option<(BrokerId, String)>,
    /// Whether a partition may get what the journals have for it after the start: when it is used, or at the call of
    /// [`Store::settle_owed`](crate::Store::settle_owed). The caller then ends with [`DirShare::finish_recovery`].
    pub may_owe: bool,
    /// Sizes and times.
    pub options: Options,
}

/// See the module.
#[derive(Debug)]
pub struct Dir {
    shared: Arc<Shared>,
    meta: MetaProperties,
    report: Report,
    previous_broker_epoch: i64,
    _lock: DirLock,
}

/// A log dir that this process has for itself; dropping it gives it up.
#[derive(Debug)]
pub struct DirLock(#[allow(dead_code, reason = "held for its Drop")] fs::Lock);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    run: u64,
    was_clean: bool,
    journal_half_bytes: u64,
    options: Options,
    logs: BTreeMap<PartitionId, Entry>,
    /// Some partitions were owed bytes at the start: journals are kept.
    is_owing: bool,
    /// Locked for moments, while partitions are opened for the first time.
    unclaimed: Mutex<Unclaimed>,
    /// High watermarks and log starts as Kafka's text files tell them, for logs that no checkpoint of ours knows.
    high_watermarks: BTreeMap<(String, Partition), Offset>,
    log_starts: BTreeMap<(String, Partition), Offset>,
}

/// Partitions that were owed something at the start and that no store has opened.
#[derive(Debug, Default)]
struct Unclaimed {
    owed: BTreeMap<PartitionId, Owed>,
    /// The end of the recovery sees to it just now.
    in_work: Option<PartitionId>,
    /// What became of those that it saw to.
    settled: BTreeMap<PartitionId, Entry>,
}

/// Until another look at a partition that the end of a recovery sees to.
const CLAIM_WAIT: Duration = Duration::from_millis(1);

/// What each shard needs to open its [`Store`](crate::Store).
#[derive(Clone, Debug)]
pub struct DirShare(Arc<Shared>);

impl DirShare {
    pub(crate) fn path(&self) -> &Path {
        &self.0.path
    }

    pub(crate) fn run(&self) -> u64 {
        self.0.run
    }

    pub(crate) fn was_clean(&self) -> bool {
        self.0.was_clean
    }

    pub(crate) fn journal_half_bytes(&self) -> u64 {
        self.0.journal_half_bytes
    }

    pub(crate) fn options(&self) -> Options {
        self.0.options
    }

    /// What is known of a partition, and what its files lack: for the log that will see to it.
    pub(crate) async fn claim(&self, id: &PartitionId) -> Option<(Entry, Option<Owed>)> {
        while self.unclaimed().in_work == Some(*id) {
            time::sleep(CLAIM_WAIT).await;
        }
        let mut unclaimed = self.unclaimed();
        let entry = unclaimed.settled.get(id).or_else(|| self.0.logs.get(id))?;
        Some((entry.clone(), unclaimed.owed.remove(id)))
    }

    fn unclaimed(&self) -> MutexGuard<'_, Unclaimed> {
        self.0.unclaimed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_owing(&self) -> bool {
        self.0.is_owing
    }

    /// Ends a recovery, when every store has settled what its partitions were owed: those that no store has opened are
    /// seen to here, and the journals that were kept go. The stores are told with
    /// [`Store::recovery_has_finished`](crate::Store::recovery_has_finished).
    ///
    /// # Errors
    /// Of the disk.
    pub async fn finish_recovery(&self) -> Result<(), StorageError> {
        let path = self.path();
        let settled = self.settle_unclaimed().await?;
        if !settled.is_empty() {
            let mut checkpoint = Checkpoint {
                run: self.0.run,
                token: Uuid(random::uuid_bytes()),
                logs: self.0.logs.clone(),
                ..Checkpoint::default()
            };
            checkpoint.logs.extend(settled);
            write_checkpoint(&path.join(checkpoint::FILE), &checkpoint).await?;
            fs::sync_dir(path).await.during("sync", path)?;
        }
        journals::remove_kept(path).await
    }

    /// Gives what became of all partitions that were owed something and that no store had opened by then.
    async fn settle_unclaimed(&self) -> Result<BTreeMap<PartitionId, Entry>, StorageError> {
        loop {
            let next = {
                let mut unclaimed = self.unclaimed();
                let next = unclaimed.owed.pop_first();
                unclaimed.in_work = next.as_ref().map(|next| next.0);
                next
            };
            let Some((id, owed)) = next else {
                return Ok(self.unclaimed().settled.clone());
            };
            let entry = owed.settle(self.path(), id).await?;
            self.unclaimed().settled.insert(id, entry);
        }
    }

    pub(crate) fn add_text_checkpoints(&self, topic: &str, partition: Partition, outline: &mut Outline) {
        let key = (topic.to_owned(), partition);
        if let Some(&start) = self.0.log_starts.get(&key) {
            outline.advance_start(start);
        }
        if let Some(&high) = self.0.high_watermarks.get(&key) {
            outline.high_watermark = high.clamp(outline.log_start, outline.end);
        }
    }
}

impl Dir {
    /// Makes the directory if need be and writes `meta.properties`, durable. One that has it already is left
    /// as it is.
    ///
    /// # Errors
    /// Of the disk.
    pub async fn format(path: impl AsRef<Path>, meta: &MetaProperties) -> Result<(), StorageError> {
        let path = path.as_ref();
        fs::create_dir_all(path).await.during("make", path)?;
        let file = path.join(META_PROPERTIES);
        if fs::exists(&file).await.during("look at", &file)? {
            return Ok(());
        }
        write_aside(&file, meta.encode()).await?;
        fs::sync_dir(path).await.during("sync", path)
    }

    /// Who the directory belongs to; `None` when it is not formatted.
    ///
    /// # Errors
    /// Of the disk, or a malformed file.
    pub async fn read_meta(path: impl AsRef<Path>) -> Result<Option<MetaProperties>, StorageError> {
        let file = path.as_ref().join(META_PROPERTIES);
        if !fs::exists(&file).await.during("look at", &file)? {
            return Ok(None);
        }
        let bytes = fs::read(&file, FILE_BYTES_MAX).await.during("read", &file)?;
        let meta = MetaProperties::decode(&bytes);
        meta.map(Some)
            .map_err(|wrong| StorageError::damaged(&file, 0, wrong.to_string()))
    }

    /// Takes the directory for this process alone; what is done before [`Dir::open_locked`] nobody else sees half
    /// done. The directory must be there; it need not be formatted.
    ///
    /// # Errors
    /// [`StorageError::Locked`] when another process has it; of the disk.
    pub async fn lock(path: impl AsRef<Path>) -> Result<DirLock, StorageError> {
        lock(path.as_ref()).await.map(DirLock)
    }

    /// [`Dir::lock`] and [`Dir::open_locked`]; a directory that is not formatted is not touched.
    ///
    /// # Errors
    /// Of both.
    pub async fn open(config: DirConfig) -> Result<Dir, StorageError> {
        own_meta(&config).await?;
        let lock = Dir::lock(&config.path).await?;
        Dir::open_locked(lock, config).await
    }

    /// Says that the directory is open, and recovers what a crash left in the journals.
    ///
    /// # Errors
    /// [`StorageError::Foreign`] when it is another node's or not formatted; of the disk.
    pub async fn open_locked(lock: DirLock, config: DirConfig) -> Result<Dir, StorageError> {
        let meta = own_meta(&config).await?;
        let path = config.path;
        let left = guard::look(&path).await?;
        let (mut checkpoint, is_ours, counted) = believed(&path, &left).await?;
        let (high_watermarks, log_starts) = text_checkpoints(&path, is_ours).await?;
        sync_name(&path).await?;
        // From here on a crash is ours (D15).
        guard::open(&path).await?;
        reserve::give_back(&path).await?;
        let Recovered {
            mut report,
            rotten,
            owed,
        } = match left {
            Left::Open => {
                let may_owe = config.may_owe && can_keep(&path, config.journal_bytes).await?;
                recovery::recover(&path, &mut checkpoint, &counted, may_owe).await?
            }
            _ => Recovered::default(),
        };
        checkpoint.run += 1;
        checkpoint.token = Uuid(random::uuid_bytes());
        checkpoint.deleted.clear();
        write_checkpoint(&path.join(checkpoint::FILE), &checkpoint).await?;
        fs::sync_dir(&path).await.during("sync", &path)?;
        for journal in rotten {
            report.rotten.push(journals::set_aside(&journal).await?);
        }
        if owed.is_empty() {
            journals::remove_kept(&path).await?;
        } else {
            journals::keep(&path).await?;
        }
        empty_journals(&path, config.shards).await?;
        recovery::remove_deleted(&path).await?;
        reserve::take(&path, config.options.reserve_bytes).await?;
        let previous_broker_epoch = match &left {
            Left::Closed(sign) => sign.broker_epoch,
            _ => -1,
        };
        let shared = Arc::new(Shared {
            path,
            run: checkpoint.run,
            was_clean: is_ours && matches!(left, Left::Closed(_)),
            journal_half_bytes: config.journal_bytes / u64::from(config.shards.max(1)) / 2,
            options: config.options,
            logs: checkpoint.logs,
            is_owing: !owed.is_empty(),
            unclaimed: Mutex::new(Unclaimed {
                owed,
                ..Unclaimed::default()
            }),
            high_watermarks,
            log_starts,
        });
        Ok(Dir {
            shared,
            meta,
            report,
            previous_broker_epoch,
            _lock: lock,
        })
    }

    /// Who the directory belongs to.
    pub fn meta(&self) -> &MetaProperties {
        &self.meta
    }

    /// For [`Store::open`](crate::Store::open), on every shard.
    pub fn share(&self) -> DirShare {
        DirShare(self.shared.clone())
    }

    /// What recovery found and did.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The broker epoch of the last clean close, -1 if there was none.
    pub fn previous_broker_epoch(&self) -> i64 {
        self.previous_broker_epoch
    }

    /// Partitions that the dir holds, with their topics' names; also those that no store has opened.
    pub fn partitions(&self) -> impl Iterator<Item = (PartitionId, &str)> {
        self.shared
            .logs
            .iter()
            .map(|(&id, entry)| (id, entry.topic.as_str()))
    }

    /// Whether journals are kept since the start, because partitions were owed bytes that only those have.
    pub fn is_owing(&self) -> bool {
        self.shared.is_owing
    }

    /// The rest of D21, when every store has closed: Kafka's checkpoints, ours, the journals, and last the
    /// signs. With a damaged partition in it the dir keeps its guard, so that no Kafka cuts what is left of it.
    ///
    /// # Errors
    /// Of the disk: the dir is then as after a crash.
    pub async fn close(self, closed: Vec<Closed>, broker_epoch: i64) -> Result<(), StorageError> {
        let path = &self.shared.path;
        reserve::give_back(path).await?;
        let mut logs = self.shared.logs.clone();
        logs.extend(self.share().settle_unclaimed().await?);
        for store in closed {
            logs.retain(|id, _| !store.deleted.contains(id));
            logs.extend(store.logs);
        }
        write_text_checkpoints(path, &logs).await?;
        let is_damaged = logs.values().any(|entry| entry.outline.damage.is_some());
        let checkpoint = Checkpoint {
            // A later run than the shards' checkpoints, which are older than this one and removed only after it:
            // a crash in between must not find them believable.
            run: self.shared.run + 1,
            number: 0,
            counts_below: 0,
            token: Uuid(random::uuid_bytes()),
            logs,
            deleted: Vec::new(),
        };
        write_checkpoint(&path.join(checkpoint::FILE), &checkpoint).await?;
        fs::sync_dir(path).await.during("sync", path)?;
        journals::remove_kept(path).await?;
        empty_journals(path, u16::MAX).await?;
        if is_damaged {
            tracing::warn!("{} has damaged partitions and keeps its guard", path.display());
            return Ok(());
        }
        guard::close(path, broker_epoch, checkpoint.token).await
    }
}

/// The `meta.properties` of a directory that is the expected node's.
async fn own_meta(config: &DirConfig) -> Result<MetaProperties, StorageError> {
    let path = &config.path;
    let Some(meta) = Dir::read_meta(path).await? else {
        return Err(StorageError::foreign(
            path,
            "there is no meta.properties: not formatted",
        ));
    };
    if let Some((node, cluster)) = &config.expected
        && (meta.node_id != *node || meta.cluster_id != *cluster)
    {
        let what = format!("belongs to node {} of cluster {}", meta.node_id, meta.cluster_id);
        return Err(StorageError::foreign(path, what));
    }
    Ok(meta)
}

/// Makes the directory's own name durable, and the names above it: whoever made them, if only a start of ours
/// that was killed, may not have (D12).
async fn sync_name(path: &Path) -> Result<(), StorageError> {
    for above in path.ancestors().skip(1) {
        let above = if above.as_os_str().is_empty() {
            Path::new(".")
        } else {
            above
        };
        match fs::sync_dir(above).await {
            // A directory that we may not even open is none in which we made anything.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {}
            result => result.during("sync", above)?,
        }
    }
    Ok(())
}

async fn lock(path: &Path) -> Result<fs::Lock, StorageError> {
    let file = path.join(kafka_files::LOCK);
    match fs::lock(&file).await {
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            let pid = error.to_string();
            let is_pid = !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit());
            Err(StorageError::Locked {
                path: path.to_string_lossy().into(),
                pid: if is_pid { pid.into() } else { "".into() },
            })
        }
        result => result.during("lock", &file),
    }
}

/// Whether journals may be kept beside new ones: there is space, and none are kept since an earlier start. Else a
/// journal of a third start would have to be told from both.
async fn can_keep(path: &Path, journal_bytes: u64) -> Result<bool, StorageError> {
    let space = fs::space(path).await.during("look at the space of", path)?;
    let has_kept = journals::list(path).await?.iter().any(|journal| journal.is_kept);
    Ok(!has_kept && space.free >= journal_bytes.saturating_mul(2))
}

/// The checkpoint that may be believed, whether it may (D22), and what of the journals it counts.
async fn believed(path: &Path, left: &Left) -> Result<(Checkpoint, bool, Counted), StorageError> {
    let mut counted = Counted::default();
    let Some(mut base) = read_checkpoint(&path.join(checkpoint::FILE)).await? else {
        return Ok((Checkpoint::default(), false, counted));
    };
    match left {
        Left::Closed(sign) if sign.carries(base.token) => return Ok((base, true, counted)),
        Left::Open => {}
        _ => {
            let run = base.run;
            let nothing = Checkpoint {
                run,
                ..Checkpoint::default()
            };
            return Ok((nothing, false, counted));
        }
    }
    counted.run = base.run;
    // A journal whose halves were used again relies on a checkpoint of its shard; without that one the dir's
    // is too old to say where logs end, and the segments must be read.
    let mut needed: BTreeMap<u16, u64> = BTreeMap::new();
    for journal in journals::list(path).await? {
        if let Some(half) = journal::replay::last_half(&journal.path).await?
            && half.checkpoint > 0
            && half.run == base.run
        {
            needed.insert(half.shard, half.checkpoint);
        }
    }
    for name in shard_checkpoints(path).await? {
        let Some(newer) = read_checkpoint(&path.join(&name)).await? else {
            continue;
        };
        let shard = name
            .rsplit('-')
            .next()
            .and_then(|shard| shard.parse::<u16>().ok());
        if newer.run != base.run {
            continue;
        }
        if let Some(shard) =
            shard.filter(|shard| needed.get(shard).is_some_and(|&number| newer.number >= number))
        {
            needed.remove(&shard);
        }
        if let Some(shard) = shard {
            counted.below.insert(shard, newer.counts_below);
        }
        for id in &newer.deleted {
            base.logs.remove(id);
        }
        base.logs.extend(newer.logs);
    }
    if !needed.is_empty() {
        tracing::warn!(
            "{} lacks a checkpoint: the segments are read instead",
            path.display()
        );
        base.logs.clear();
        return Ok((base, false, Counted::default()));
    }
    Ok((base, true, counted))
}

async fn read_checkpoint(path: &Path) -> Result<Option<Checkpoint>, StorageError> {
    if !fs::exists(path).await.during("look at", path)? {
        return Ok(None);
    }
    let bytes = match fs::read(path, checkpoint::BYTES_MAX).await {
        Err(error) if error.kind() == ErrorKind::FileTooLarge => {
            tracing::warn!(
                "{} is too large and not believed: the segments are read instead",
                path.display()
            );
            return Ok(None);
        }
        result => result.during("read", path)?,
    };
    match Checkpoint::decode(&bytes) {
        Ok(checkpoint) => Ok(Some(checkpoint)),
        Err(error) => {
            tracing::warn!(
                "{} is not believed ({error:?}): the segments are read instead",
                path.display()
            );
            Ok(None)
        }
    }
}

async fn shard_checkpoints(path: &Path) -> Result<Vec<String>, StorageError> {
    let found = fs::read_dir(path).await.during("list", path)?;
    let is_one = |name: &str| {
        let number = name
            .strip_prefix(checkpoint::FILE)
            .and_then(|rest| rest.strip_prefix('-'));
        number.is_some_and(|number| number.parse::<u16>().is_ok())
    };
    Ok(found
        .into_iter()
        .map(|entry| entry.name)
        .filter(|name| is_one(name))
        .collect())
}

/// After the dir's checkpoint is durable: journals hold nothing, those of shards that are no more go, and so do
/// the shards' checkpoints.
async fn empty_journals(path: &Path, shards: u16) -> Result<(), StorageError> {
    journals::empty(path, shards).await?;
    for name in shard_checkpoints(path).await? {
        let file = path.join(name);
        fs::remove_file(&file).await.during("remove", &file)?;
    }
    fs::sync_dir(path).await.during("sync", path)
}

type ByName = BTreeMap<(String, Partition), Offset>;

async fn text_checkpoints(path: &Path, is_ours: bool) -> Result<(ByName, ByName), StorageError> {
    let mut both = [ByName::new(), ByName::new()];
    if !is_ours {
        for (known, name) in both
            .iter_mut()
            .zip([kafka_files::HIGH_WATERMARKS, kafka_files::LOG_STARTS])
        {
            let file = path.join(name);
            if fs::exists(&file).await.during("look at", &file)? {
                let bytes = fs::read(&file, FILE_BYTES_MAX).await.during("read", &file)?;
                let entries = kafka_files::decode_offsets(&bytes)
                    .map_err(|wrong| StorageError::damaged(&file, 0, wrong.to_string()))?;
                known.extend(
                    entries
                        .into_iter()
                        .map(|(topic, partition, offset)| ((topic, partition), offset)),
                );
            }
        }
    }
    let [high_watermarks, log_starts] = both;
    Ok((high_watermarks, log_starts))
}

async fn write_text_checkpoints(
    path: &Path,
    logs: &BTreeMap<PartitionId, Entry>,
) -> Result<(), StorageError> {
    let of = |value: &dyn Fn(&Outline) -> Option<Offset>| {
        let mut entries: Vec<(String, Partition, Offset)> = Vec::new();
        for (id, entry) in logs {
            // Kafka keeps the metadata log apart.
            if id.topic_id != Uuid::METADATA_TOPIC
                && let Some(offset) = value(&entry.outline)
            {
                entries.push((entry.topic.clone(), id.partition, offset));
            }
        }
        entries.sort();
        kafka_files::encode_offsets(&entries)
    };
    let files = [
        (kafka_files::RECOVERY_POINTS, of(&|outline| Some(outline.end))),
        (
            kafka_files::HIGH_WATERMARKS,
            of(&|outline| Some(outline.high_watermark.clamp(outline.log_start, outline.end))),
        ),
        (
            kafka_files::LOG_STARTS,
            of(&|outline| {
                let first = outline.segments.first().map(|segment| segment.base);
                first
                    .is_some_and(|first| outline.log_start > first)
                    .then_some(outline.log_start)
            }),
        ),
    ];
    for (name, bytes) in files {
        write_aside(&path.join(name), bytes).await?;
    }
    Ok(())
}
