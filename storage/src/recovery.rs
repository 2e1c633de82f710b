//! After a crash: outlines are moved on to the end of what the journals hold, which goes to the segment files.
//!
//! It costs what the journals hold: a partition that no journal names is neither opened nor listed. Most partitions
//! need not wait for their files: the journals are kept, and what each partition lacks is [`Owed`] until it is used or
//! somebody has time. Nothing is
//! deleted and nothing is cut that might have been acknowledged; where bytes do not meet (D16), or are rotten
//! (D5), the partition goes offline and its files stay as they are. Running it twice gives the same files.

mod owed;
mod rebuild;
mod replayed;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use protocol::types::{Offset, Uuid};
use shards::buffers::{BLOCK, Buffer, Purpose};
use shards::fs::{self, File, OpenOptions};
use shards::sync::Semaphore;
use shards::{Priority, time};

use crate::PartitionId;
use crate::checkpoint::{Checkpoint, Entry};
use crate::error::{During, StorageError};
use crate::index;
use crate::journal::frames::HalfHeader;
use crate::journal::records::{Cut, Record};
use crate::journal::replay;
use crate::journals::{self, Listed};
use crate::kafka_files::{self, parse_directory_name, segment_file_name};
use crate::log::write_at_end;
use crate::segment::Segment;
use crate::tail::block_start;
use crate::time_index;
pub(crate) use owed::Owed;
pub(crate) use rebuild::rebuild;
use replayed::{Replayed, Run};

/// The topic whose directory has no `partition.metadata`, as in Kafka.
pub(crate) const METADATA_TOPIC: &str = "__cluster_metadata";
/// Partitions that are worked on at a time.
const AT_A_TIME: usize = 32;
const WRITE_BYTES: usize = 256 << 10;

/// What a recovery found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Commits replayed.
    pub commits: u64,
    /// Bytes of journals read.
    pub journal_bytes: u64,
    /// Partitions that the journals named.
    pub partitions: usize,
    /// Partitions that went offline, and why.
    pub damaged: Vec<(PartitionId, String)>,
    /// Files in which bytes of partitions without a directory were set aside.
    pub set_aside: Vec<String>,
    /// Journals in which acknowledged records are rotten, under the names they were given; they stay.
    pub rotten: Vec<String>,
    /// Milliseconds that it took.
    pub elapsed_ms: u64,
}

/// What a recovery gives its caller to go on with.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    pub report: Report,
    /// Journals that are rotten: they get another name ([`journals::set_aside`]) when the checkpoint is durable, since
    /// until then they alone tell which partitions are offline.
    pub rotten: Vec<PathBuf>,
    /// What is not in the files yet, if the caller allowed that: the journals must be kept.
    pub owed: BTreeMap<PartitionId, Owed>,
}

/// Replays every journal of the dir on top of `checkpoint`, which is moved on. Afterwards all of it stands in
/// the segment files, synced, but for what is owed.
///
/// # Errors
/// Of the disk. Damage is no error: it is reported, and marked in the partition's outline.
pub(crate) async fn recover(
    dir: &Path,
    checkpoint: &mut Checkpoint,
    counted: &Counted,
    may_owe: bool,
) -> Result<Recovered, StorageError> {
    let started = time::now();
    let mut report = Report::default();
    let mut rotten_journals = Vec::new();
    let mut replayed: BTreeMap<PartitionId, Replayed> = BTreeMap::new();
    let mut rotten: BTreeMap<PartitionId, String> = BTreeMap::new();
    let mut everything_is_suspect = None;
    for Listed { path, is_kept, .. } in journals::list(dir).await? {
        // What a killed process wrote and did not sync can be read, and a power cut may still take it: it must
        // not get into a checkpoint before it is durable here (D15).
        fs::sync_file(&path).await.during("sync", &path)?;
        let found = replay::read(
            &path,
            |half, generation| counted.has(half, generation),
            |_, record: Record<'_>| {
                replayed
                    .entry(record.id())
                    .or_insert_with(|| Replayed::new(checkpoint.logs.get(&record.id())))
                    .take(&record, is_kept);
            },
        )
        .await?;
        report.commits += found.commits;
        report.journal_bytes += found.bytes;
        if let Some(rot) = found.rot {
            let error = StorageError::damaged(&path, rot.position, "acknowledged records cannot be read");
            tracing::error!("{error}");
            for id in rot.named {
                rotten.entry(id).or_insert_with(|| error.to_string());
            }
            if !rot.names_are_complete {
                everything_is_suspect = Some(error.to_string());
            }
            rotten_journals.push(path);
        }
    }
    if let Some(reason) = everything_is_suspect {
        // The bad commit may have named any partition; only those that go on after it without a hole are
        // surely whole, and which those are cannot be told from a commit that is not legible.
        let directories = find_directories(dir).await?;
        let known: BTreeSet<PartitionId> = (checkpoint.logs.keys())
            .chain(replayed.keys())
            .chain(directories.keys())
            .copied()
            .collect();
        for id in known {
            rotten.entry(id).or_insert_with(|| reason.clone());
        }
    }
    // Also those of which nothing sound is left.
    for id in rotten.keys() {
        replayed
            .entry(*id)
            .or_insert_with(|| Replayed::new(checkpoint.logs.get(id)));
    }
    report.partitions = replayed.len();
    let may_owe = may_owe && rotten_journals.is_empty();
    let mut directories = None;
    let mut work = Vec::new();
    let mut owed = BTreeMap::new();
    for (id, mut log) in replayed {
        if log.is_deleted {
            finish_deletion(dir, &id).await?;
            checkpoint.logs.remove(&id);
            continue;
        }
        if let Some(reason) = rotten.get(&id) {
            log.damage(reason.clone());
        }
        let entry = match checkpoint.logs.remove(&id) {
            Some(entry) => Some(entry),
            None => {
                if directories.is_none() {
                    directories = Some(find_directories(dir).await?);
                }
                let topic = directories.as_ref().and_then(|found| found.get(&id));
                topic.map(|topic| Entry {
                    topic: topic.clone(),
                    outline: log.outline.clone(),
                    config: log.config,
                })
            }
        };
        log.advance();
        match entry {
            Some(mut entry) if may_owe && log.is_only_bytes() => {
                entry.outline = log.outline.clone();
                checkpoint.logs.insert(id, entry.clone());
                owed.insert(id, Owed::new(entry, log));
            }
            Some(entry) => work.push((id, entry, log)),
            None => {
                let names = set_aside(dir, id, &log, "which has no directory").await?;
                report.set_aside.extend(names);
            }
        }
    }
    for (id, entry, names) in settle_all(dir, work).await? {
        checkpoint.logs.insert(id, entry);
        report.set_aside.extend(names);
    }
    for (id, reason) in rotten {
        if let Some(entry) = checkpoint.logs.get_mut(&id) {
            entry.outline.damage.get_or_insert(reason);
        }
    }
    for (id, entry) in &checkpoint.logs {
        if let Some(damage) = &entry.outline.damage {
            tracing::error!(topic = %entry.topic, partition = %id.partition, "the partition is offline: {damage}");
            report.damaged.push((*id, damage.clone()));
        }
    }
    report.elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(Recovered {
        report,
        rotten: rotten_journals,
        owed,
    })
}

/// Which generations of the shards' journals a checkpoint counts wholly: their bytes stand in the files.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    /// The run that the shards' checkpoints are of.
    pub run: u64,
    /// By shard: every generation below this one.
    pub below: BTreeMap<u16, u64>,
}

impl Counted {
    /// Whether all of `generation` is counted, in the journal with that header.
    fn has(&self, half: &HalfHeader, generation: u64) -> bool {
        half.run == self.run
            && self
                .below
                .get(&half.shard)
                .is_some_and(|&below| generation < below)
    }
}

/// Partitions by the `partition.metadata` in the directories of a dir; for ids that no checkpoint knows.
pub(crate) async fn find_directories(dir: &Path) -> Result<BTreeMap<PartitionId, String>, StorageError> {
    let limit = Rc::new(Semaphore::new(AT_A_TIME));
    let mut tasks = Vec::new();
    for entry in fs::read_dir(dir).await.during("list", dir)? {
        if !entry.is_dir || parse_directory_name(&entry.name).is_none() {
            continue;
        }
        let permit = limit.acquire(1).await;
        let path = dir.join(&entry.name).join(kafka_files::PARTITION_METADATA);
        tasks.push(shards::spawn(Priority::Clients, async move {
            let found = read_topic_id(&path).await;
            drop(permit);
            found.map(|found| (entry.name, found))
        }));
    }
    let mut directories = BTreeMap::new();
    for task in tasks {
        let (name, found) = task.await?;
        let Some((topic, partition)) = parse_directory_name(&name) else {
            continue;
        };
        // The metadata log has no such file, as in Kafka.
        let found = if topic == METADATA_TOPIC {
            Some(Uuid::METADATA_TOPIC)
        } else {
            found
        };
        if let Some(topic_id) = found {
            directories.insert(PartitionId { topic_id, partition }, topic.to_owned());
        }
    }
    Ok(directories)
}

async fn read_topic_id(path: &Path) -> Result<Option<Uuid>, StorageError> {
    if !fs::exists(path).await.during("look at", path)? {
        return Ok(None);
    }
    let bytes = fs::read(path, kafka_files::FILE_BYTES_MAX)
        .await
        .during("read", path)?;
    let found = kafka_files::decode_partition_metadata(&bytes);
    if let Err(wrong) = &found {
        tracing::warn!("{} is passed over: {wrong}", path.display());
    }
    Ok(found.ok())
}

/// Removes a directory of plain files; directories in it are left, and so is it then.
pub(crate) async fn remove_directory(path: &Path) -> Result<(), StorageError> {
    for entry in fs::read_dir(path).await.during("list", path)? {
        let file = path.join(&entry.name);
        if !entry.is_dir {
            fs::remove_file(&file).await.during("remove", &file)?;
        }
    }
    fs::remove_dir(path).await.during("remove", path)
}

/// Directories that a deletion gave their last name: it was fenced, so they may go (as in Kafka at its start).
pub(crate) async fn remove_deleted(dir: &Path) -> Result<(), StorageError> {
    for entry in fs::read_dir(dir).await.during("list", dir)? {
        if entry.is_dir && entry.name.ends_with("-delete") {
            remove_directory(&dir.join(&entry.name)).await?;
        }
    }
    Ok(())
}

/// A deletion that was fenced and not carried out: the directory gets its last name.
async fn finish_deletion(dir: &Path, id: &PartitionId) -> Result<(), StorageError> {
    if let Some(topic) = find_directories(dir).await?.get(id) {
        let path = dir.join(kafka_files::directory_name(topic, id.partition));
        let gone = dir.join(kafka_files::deleted_directory_name(
            topic,
            id.partition,
            id.topic_id,
        ));
        fs::rename(&path, &gone).await.during("rename", &path)?;
        fs::sync_dir(dir).await.during("sync", dir)?;
    }
    Ok(())
}

/// Bytes of a partition that has no place for them go to plain files, which Kafka ignores (D11).
async fn set_aside(
    dir: &Path,
    id: PartitionId,
    log: &Replayed,
    reason: &str,
) -> Result<Vec<String>, StorageError> {
    let mut names = Vec::new();
    for (segment, run) in log.runs.iter().filter(|(_, run)| !run.bytes.is_empty()) {
        let name = format!(
            "klamm-set-aside-{}-{}-{}-{}",
            id.topic_id, id.partition, segment.0, run.start
        );
        let path = dir.join(&name);
        tracing::warn!("records of {id}, {reason}, are set aside in {}", path.display());
        crate::log::write_file(&path, run.bytes.clone()).await?;
        names.push(name);
    }
    fs::sync_dir(dir).await.during("sync", dir)?;
    Ok(names)
}

type Work = (PartitionId, Entry, Replayed);

/// What became of a partition, and the files in which bytes of it were set aside.
type Settled = (PartitionId, Entry, Vec<String>);

async fn settle_all(dir: &Path, work: Vec<Work>) -> Result<Vec<Settled>, StorageError> {
    let limit = Rc::new(Semaphore::new(AT_A_TIME));
    let mut tasks = Vec::new();
    for (id, entry, log) in work {
        let permit = limit.acquire(1).await;
        let dir = dir.to_owned();
        tasks.push(shards::spawn(Priority::Clients, async move {
            let result = settle(&dir, id, entry, log).await;
            drop(permit);
            result.map(|(entry, names)| (id, entry, names))
        }));
    }
    let mut settled = Vec::new();
    for task in tasks {
        settled.push(task.await?);
    }
    Ok(settled)
}

/// Brings one partition's files and outline to the end that the journal knows.
async fn settle(
    dir: &Path,
    id: PartitionId,
    mut entry: Entry,
    mut log: Replayed,
) -> Result<(Entry, Vec<String>), StorageError> {
    let path = &dir.join(kafka_files::directory_name(&entry.topic, id.partition));
    if log.damage.is_none() {
        check_starts(path, &mut log).await?;
    }
    if log.damage.is_some() {
        // Nothing is touched: the files are evidence. So is what only the journal has, which is emptied.
        let names = set_aside(dir, id, &log, "which is damaged").await?;
        entry.outline.damage = log.damage;
        return Ok((entry, names));
    }
    for cut in &log.cuts {
        carry_out(path, &log, *cut).await?;
    }
    // Names change with a new file and with what a fence or a seal makes of a segment; else they are durable.
    let mut has_new_names = log.is_new || !log.cuts.is_empty() || log.outline.segments.len() > 1;
    for (&base, run) in &log.runs {
        let is_sealed = log.outline.segment(base).is_some_and(|segment| segment.is_sealed);
        if !is_sealed && (log.is_new || log.must_rescan || log.outline.segment(base).is_some()) {
            has_new_names |= write_run(&path.join(segment_file_name(base, ".log")), run).await?;
        }
    }
    if log.is_new || log.must_rescan {
        let end = log.runs.iter().next_back().map(|(&base, run)| (base, run.end()));
        entry.outline = rebuild(path, &log.config, end).await?;
        entry.outline.incarnation = log.outline.incarnation;
        entry.outline.log_start = log
            .outline
            .log_start
            .clamp(entry.outline.log_start, entry.outline.end);
        entry.outline.high_watermark = log.outline.high_watermark.min(entry.outline.end);
        if entry.outline.damage.is_none() {
            let (base, length) = (entry.outline.active().base, entry.outline.active().length);
            cut(&path.join(segment_file_name(base, ".log")), length).await?;
        }
    } else {
        entry.outline = log.outline;
    }
    finish_segments(path, &mut entry).await?;
    if let Some(start) = log.start {
        let gone = entry.outline.advance_start(start);
        remove_segments(path, |base| gone.iter().any(|segment| segment.base == base)).await?;
    }
    if has_new_names {
        fs::sync_dir(path).await.during("sync", path)?;
    }
    entry.outline.invariants();
    Ok((entry, Vec::new()))
}

/// Bytes are only put behind bytes that are there: a file that is missing or short was not emptied by us (D16).
/// Runs of segments that are gone by order go too.
async fn check_starts(path: &Path, log: &mut Replayed) -> Result<(), StorageError> {
    if !log.is_new && !log.must_rescan {
        let outline = &log.outline;
        log.runs.retain(|&base, _| outline.segment(base).is_some());
    }
    let mut gone = Vec::new();
    for (&base, run) in &log.runs {
        if run.start == 0 || log.outline.segment(base).is_some_and(|segment| segment.is_sealed) {
            continue;
        }
        let file = path.join(segment_file_name(base, ".log"));
        if !fs::exists(&file).await.during("look at", &file)? {
            if log.start.is_some_and(|start| start > base) {
                gone.push(base);
                continue;
            }
            let what = format!("the file is missing, the journal goes on at {}", run.start);
            log.damage = Some(StorageError::damaged(&file, 0, what).to_string());
            return Ok(());
        }
        let length = length_of(&file).await?;
        if length < u64::from(run.start) {
            let what = format!("{length} bytes are there, the journal goes on at {}", run.start);
            log.damage = Some(StorageError::damaged(&file, length, what).to_string());
            return Ok(());
        }
    }
    log.runs.retain(|base, _| !gone.contains(base));
    Ok(())
}

async fn length_of(path: &Path) -> Result<u64, StorageError> {
    let file = open(path, false).await?;
    let length = file.len().await.during("look at", path)?;
    file.close().await.during("close", path)?;
    Ok(length)
}

/// Finishes what a fence ordered: what lies past the cut goes, unless it was written after the cut.
async fn carry_out(path: &Path, log: &Replayed, order: Cut) -> Result<(), StorageError> {
    let is_later = |base: &Offset| {
        log.runs.contains_key(base)
            || log.sealed.contains_key(base)
            || !log.is_new && log.outline.segment(*base).is_some()
    };
    match order {
        Cut::Truncate {
            segment, position, ..
        } => {
            remove_segments(path, |base| base > segment && !is_later(&base)).await?;
            let is_sealed = log.sealed.contains_key(&segment)
                || log
                    .outline
                    .segment(segment)
                    .is_some_and(|segment| segment.is_sealed);
            if !is_sealed {
                cut(&path.join(segment_file_name(segment, ".log")), position).await?;
            }
            Ok(())
        }
        Cut::Restart(_) => remove_segments(path, |base| !is_later(&base)).await,
        Cut::Delete | Cut::Start(_) => Ok(()),
    }
}

/// Removes all files of the segments that `is_gone` names.
pub(crate) async fn remove_segments(
    path: &Path,
    is_gone: impl Fn(Offset) -> bool,
) -> Result<(), StorageError> {
    for found in fs::read_dir(path).await.during("list", path)? {
        if let Some((base, _)) = kafka_files::parse_segment_file_name(&found.name)
            && is_gone(base)
        {
            let file = path.join(&found.name);
            fs::remove_file(&file).await.during("remove", &file)?;
        }
    }
    fs::sync_dir(path).await.during("sync", path)
}

/// Cuts a file that is longer than that.
async fn cut(path: &Path, length: u32) -> Result<(), StorageError> {
    if !fs::exists(path).await.during("look at", path)? {
        return Ok(());
    }
    let file = open(path, false).await?;
    if file.len().await.during("look at", path)? > u64::from(length) {
        file.set_len(u64::from(length))
            .await
            .during("cut to its length", path)?;
        file.sync_all().await.during("sync", path)?;
    }
    file.close().await.during("close", path)
}

async fn open(path: &Path, may_create: bool) -> Result<File, StorageError> {
    let options = OpenOptions {
        read: true,
        write: true,
        create: may_create,
        direct: true,
        ..OpenOptions::default()
    };
    File::open(path, options).await.during("open", path)
}

/// Writes a run at its place, whole blocks, cuts the file there and syncs it: past the end it reads as zeros.
/// Gives whether the file was made.
async fn write_run(path: &Path, run: &Run) -> Result<bool, StorageError> {
    let is_new = run.start == 0 && !fs::exists(path).await.during("look at", path)?;
    let file = open(path, is_new).await?;
    debug_assert_eq!(run.start, block_start(run.start));
    let padded = u64::from(run.end()).next_multiple_of(BLOCK as u64);
    // A run is empty when its only batch never became whole; space for nothing is refused.
    if !run.bytes.is_empty() {
        file.allocate(u64::from(run.start), padded - u64::from(run.start))
            .await
            .during("allocate space for", path)?;
    }
    let mut position = u64::from(run.start);
    for piece in run.bytes.chunks(WRITE_BYTES) {
        let mut buffer = Buffer::take(Purpose::Background, WRITE_BYTES).await;
        buffer.extend_from_slice(piece);
        let whole = piece.len().next_multiple_of(BLOCK);
        if let Some(rest) = buffer.spare_mut().get_mut(..whole - piece.len()) {
            rest.fill(0);
        }
        buffer.set_len(whole);
        file.write_all_at(position, buffer.freeze())
            .await
            .during("write", path)?;
        position += whole as u64;
    }
    file.set_len(u64::from(run.end()))
        .await
        .during("cut to its length", path)?;
    file.sync_data().await.during("sync", path)?;
    file.close().await.during("close", path)?;
    Ok(is_new)
}

/// Segments with a successor get what sealed ones have: exact length and whole indexes.
pub(crate) async fn finish_segments(path: &Path, entry: &mut Entry) -> Result<(), StorageError> {
    let count = entry.outline.segments.len();
    for segment in entry.outline.segments.iter_mut().take(count.saturating_sub(1)) {
        if segment.is_sealed {
            continue;
        }
        let file = path.join(segment_file_name(segment.base, ".log"));
        let has = length_of(&file).await?;
        if has < u64::from(segment.length) {
            let what = format!("{has} bytes are there, {} are known", segment.length);
            entry.outline.damage = Some(StorageError::damaged(&file, has, what).to_string());
            return Ok(());
        }
        cut(&file, segment.length).await?;
        segment.finish_times();
        write_segment_indexes(path, segment).await?;
        segment.is_sealed = true;
    }
    Ok(())
}

async fn write_segment_indexes(path: &Path, segment: &mut Segment) -> Result<(), StorageError> {
    let (mut offsets, mut times) = (Vec::new(), Vec::new());
    segment.offsets.encode_from(0, &mut offsets);
    segment.times.encode_from(0, &mut times);
    let offsets_at = segment.offsets_on_disk as usize * index::ENTRY_BYTES;
    let times_at = segment.times_on_disk as usize * time_index::ENTRY_BYTES;
    write_at_end(
        &path.join(segment_file_name(segment.base, ".index")),
        offsets_at,
        offsets,
    )
    .await?;
    write_at_end(
        &path.join(segment_file_name(segment.base, ".timeindex")),
        times_at,
        times,
    )
    .await?;
    segment.indexes_are_on_disk(segment.offsets.len(), segment.times.len());
    Ok(())
}
