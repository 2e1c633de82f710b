//! The checkpoint: the outlines of a log dir's partitions in one file, so that a start opens none of them.
//!
//! It is a cache: losing it costs time, never a record (D17). It counts what was staged when it was taken, and
//! is therefore made durable only after all of that is committed. The file for the whole dir is written when
//! all is still (after recovery, at close); while the node runs each shard writes one for its own partitions,
//! believed only if it is of the same run. Envelope and contents stand in `format.md`.

use std::collections::{BTreeMap, VecDeque};

use protocol::crc::crc32c;
use protocol::types::{LeaderEpoch, Offset, Partition, ProducerEpoch, ProducerId, Sequence, Uuid};
use rkyv::rancor;
use rkyv::util::AlignedVec;

use crate::index::OffsetIndex;
use crate::leader_epochs::LeaderEpochs;
use crate::outline::Outline;
use crate::producers::{Producer, Producers, Remembered};
use crate::segment::Segment;
use crate::time_index::TimeIndex;
use crate::{LogConfig, PartitionId};

/// Name of the file for the whole log dir.
pub const FILE: &str = "klamm-checkpoint";
/// Longest file that is read.
pub const BYTES_MAX: usize = 1 << 30;

const MAGIC: [u8; 8] = *b"KLAMMCHK";
const VERSION: u32 = 3;
const ENVELOPE_BYTES: usize = 24;

/// The name of a shard's own file.
pub fn shard_file(shard: u16) -> String {
    format!("{FILE}-{shard}")
}

/// One file's contents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Number of the start of the dir in which it was written.
    pub run: u64,
    /// Numbers the files of one shard and run; journals say which they rely on. 0 in the dir's file.
    pub number: u64,
    /// Drawn anew for each; the clean sign of a close carries the token of its checkpoint (D22).
    pub token: Uuid,
    /// The shard's journal is counted wholly below this generation; 0 in the dir's file.
    pub counts_below: u64,
    /// The partitions.
    pub logs: BTreeMap<PartitionId, Entry>,
    /// Partitions deleted in this run, which the dir's file may still have.
    pub deleted: Vec<PartitionId>,
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Name of its topic, which with the partition's number names its directory.
    pub topic: String,
    /// All that is known of the log.
    pub outline: Outline,
    /// What it was opened with, for a replay that must move the outline on.
    pub config: LogConfig,
}

/// Why a file is no checkpoint.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum CheckpointError {
    /// Shorter than it says, or no checkpoint at all.
    Envelope,
    /// Of another version.
    Version(u32),
    /// The CRC does not match.
    Crc,
    /// The contents are not what the version says.
    Contents,
}

impl Checkpoint {
    /// The bytes of the file.
    pub fn encode(&self) -> Result<Vec<u8>, CheckpointError> {
        let stored = StoredCheckpoint::from(self);
        let body = rkyv::to_bytes::<rancor::Error>(&stored).or(Err(CheckpointError::Contents))?;
        let mut out = Vec::with_capacity(ENVELOPE_BYTES + body.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&crc32c(&body).to_le_bytes());
        out.extend_from_slice(&(body.len() as u64).to_le_bytes());
        out.extend_from_slice(&body);
        Ok(out)
    }

    /// The checkpoint in the bytes of a file.
    pub fn decode(bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
        let (envelope, body) = bytes
            .split_first_chunk::<ENVELOPE_BYTES>()
            .ok_or(CheckpointError::Envelope)?;
        let [
            magic @ ..,
            v0,
            v1,
            v2,
            v3,
            c0,
            c1,
            c2,
            c3,
            l0,
            l1,
            l2,
            l3,
            l4,
            l5,
            l6,
            l7,
        ] = *envelope;
        if magic != MAGIC {
            return Err(CheckpointError::Envelope);
        }
        let version = u32::from_le_bytes([v0, v1, v2, v3]);
        if version != VERSION {
            return Err(CheckpointError::Version(version));
        }
        if body.len() as u64 != u64::from_le_bytes([l0, l1, l2, l3, l4, l5, l6, l7]) {
            return Err(CheckpointError::Envelope);
        }
        if crc32c(body) != u32::from_le_bytes([c0, c1, c2, c3]) {
            return Err(CheckpointError::Crc);
        }
        let mut aligned = AlignedVec::<16>::with_capacity(body.len());
        aligned.extend_from_slice(body);
        let stored: StoredCheckpoint =
            rkyv::from_bytes::<_, rancor::Error>(&aligned).or(Err(CheckpointError::Contents))?;
        Checkpoint::try_from(stored)
    }
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct StoredCheckpoint {
    run: u64,
    number: u64,
    counts_below: u64,
    token: [u8; 16],
    logs: Vec<StoredLog>,
    deleted: Vec<([u8; 16], i32)>,
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct StoredLog {
    topic_id: [u8; 16],
    partition: i32,
    topic: String,
    config: [i64; 6],
    incarnation: u32,
    log_start: i64,
    high_watermark: i64,
    end: i64,
    segments: Vec<StoredSegment>,
    epochs: Vec<(i32, i64)>,
    producers: Vec<StoredProducer>,
    damage: Option<String>,
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct StoredSegment {
    base: i64,
    length: u32,
    is_sealed: bool,
    max_timestamp: i64,
    max_timestamp_offset: i64,
    first_timestamp: Option<i64>,
    created_ms: i64,
    offsets_on_disk: u32,
    times_on_disk: u32,
    offsets: Vec<u8>,
    times: Vec<u8>,
    last_time: i64,
    bytes_since_entry: u32,
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct StoredProducer {
    id: i64,
    epoch: i16,
    last_timestamp: i64,
    coordinator_epoch: i32,
    transaction_first_offset: Option<i64>,
    batches: Vec<(i32, i64, i32, i64)>,
}

impl From<&Checkpoint> for StoredCheckpoint {
    fn from(checkpoint: &Checkpoint) -> Self {
        Self {
            run: checkpoint.run,
            number: checkpoint.number,
            counts_below: checkpoint.counts_below,
            token: checkpoint.token.0,
            logs: checkpoint
                .logs
                .iter()
                .map(|(id, entry)| stored_log(id, entry))
                .collect(),
            deleted: checkpoint
                .deleted
                .iter()
                .map(|id| (id.topic_id.0, id.partition.0))
                .collect(),
        }
    }
}

impl TryFrom<StoredCheckpoint> for Checkpoint {
    type Error = CheckpointError;

    fn try_from(stored: StoredCheckpoint) -> Result<Self, CheckpointError> {
        let mut logs = BTreeMap::new();
        for log in stored.logs {
            let id = partition_id(log.topic_id, log.partition);
            logs.insert(id, entry(log).ok_or(CheckpointError::Contents)?);
        }
        Ok(Self {
            run: stored.run,
            number: stored.number,
            counts_below: stored.counts_below,
            token: Uuid(stored.token),
            logs,
            deleted: stored
                .deleted
                .into_iter()
                .map(|(topic, partition)| partition_id(topic, partition))
                .collect(),
        })
    }
}

fn partition_id(topic_id: [u8; 16], partition: i32) -> PartitionId {
    PartitionId {
        topic_id: Uuid(topic_id),
        partition: Partition(partition),
    }
}

fn stored_log(id: &PartitionId, entry: &Entry) -> StoredLog {
    let outline = &entry.outline;
    StoredLog {
        topic_id: id.topic_id.0,
        partition: id.partition.0,
        topic: entry.topic.clone(),
        config: entry.config.to_numbers(),
        incarnation: outline.incarnation,
        log_start: outline.log_start.0,
        high_watermark: outline.high_watermark.0,
        end: outline.end.0,
        segments: outline.segments.iter().map(stored_segment).collect(),
        epochs: outline
            .epochs
            .entries()
            .iter()
            .map(|(epoch, start)| (epoch.0, start.0))
            .collect(),
        producers: outline
            .producers
            .iter()
            .map(|(id, known)| stored_producer(id, known))
            .collect(),
        damage: outline.damage.clone(),
    }
}

fn stored_segment(segment: &Segment) -> StoredSegment {
    let (mut offsets, mut times) = (Vec::new(), Vec::new());
    segment.offsets.encode_from(0, &mut offsets);
    segment.times.encode_from(0, &mut times);
    StoredSegment {
        base: segment.base.0,
        length: segment.length,
        is_sealed: segment.is_sealed,
        max_timestamp: segment.max_timestamp,
        max_timestamp_offset: segment.max_timestamp_offset.0,
        first_timestamp: segment.first_timestamp,
        created_ms: segment.created_ms,
        offsets_on_disk: segment.offsets_on_disk,
        times_on_disk: segment.times_on_disk,
        offsets,
        times,
        last_time: segment.last_time,
        bytes_since_entry: segment.bytes_since_entry,
    }
}

fn stored_producer(id: ProducerId, known: &Producer) -> StoredProducer {
    StoredProducer {
        id: id.0,
        epoch: known.epoch.0,
        last_timestamp: known.last_timestamp,
        coordinator_epoch: known.coordinator_epoch,
        transaction_first_offset: known.transaction_first_offset.map(|first| first.0),
        batches: known
            .batches
            .iter()
            .map(|batch| {
                (
                    batch.last_sequence.0,
                    batch.last_offset.0,
                    batch.offset_delta,
                    batch.timestamp,
                )
            })
            .collect(),
    }
}

fn entry(stored: StoredLog) -> Option<Entry> {
    let segments: Vec<Segment> = stored.segments.into_iter().map(segment).collect::<Option<_>>()?;
    let ascend = segments
        .windows(2)
        .all(|pair| matches!(pair, [a, b] if a.base < b.base));
    if segments.is_empty() || !ascend {
        return None;
    }
    let epochs = stored
        .epochs
        .into_iter()
        .map(|(epoch, start)| (LeaderEpoch(epoch), Offset(start)))
        .collect();
    let mut producers = Producers::default();
    for known in stored.producers {
        let batches: VecDeque<Remembered> = known
            .batches
            .into_iter()
            .map(|(sequence, offset, offset_delta, timestamp)| Remembered {
                last_sequence: Sequence(sequence),
                last_offset: Offset(offset),
                offset_delta,
                timestamp,
            })
            .collect();
        producers.restore(
            ProducerId(known.id),
            Producer {
                epoch: ProducerEpoch(known.epoch),
                last_timestamp: known.last_timestamp,
                coordinator_epoch: known.coordinator_epoch,
                transaction_first_offset: known.transaction_first_offset.map(Offset),
                batches,
            },
        );
    }
    Some(Entry {
        topic: stored.topic,
        config: LogConfig::from_numbers(stored.config),
        outline: Outline {
            incarnation: stored.incarnation,
            log_start: Offset(stored.log_start),
            high_watermark: Offset(stored.high_watermark),
            end: Offset(stored.end),
            segments,
            epochs: LeaderEpochs::from_entries(epochs)?,
            producers,
            damage: stored.damage,
        },
    })
}

fn segment(stored: StoredSegment) -> Option<Segment> {
    let base = Offset(stored.base);
    Some(Segment {
        base,
        length: stored.length,
        is_sealed: stored.is_sealed,
        max_timestamp: stored.max_timestamp,
        max_timestamp_offset: Offset(stored.max_timestamp_offset),
        first_timestamp: stored.first_timestamp,
        created_ms: stored.created_ms,
        offsets_on_disk: stored.offsets_on_disk,
        times_on_disk: stored.times_on_disk,
        offsets: OffsetIndex::decode(base, &stored.offsets).ok()?,
        times: TimeIndex::decode(base, &stored.times).ok()?,
        last_time: stored.last_time,
        bytes_since_entry: stored.bytes_since_entry,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Checkpoint {
        let mut outline = Outline::new(Offset(10), 5);
        outline.end = Offset(40);
        outline.active().offsets.append(Offset(12), 70);
        outline.active().times.append(99, Offset(12));
        outline.epochs.assign(LeaderEpoch(3), Offset(10));
        let known = Producer {
            epoch: ProducerEpoch(1),
            last_timestamp: 7,
            coordinator_epoch: -1,
            transaction_first_offset: None,
            batches: VecDeque::from([Remembered {
                last_sequence: Sequence(4),
                last_offset: Offset(39),
                offset_delta: 4,
                timestamp: 7,
            }]),
        };
        outline.producers.restore(ProducerId(1), known);
        let entry = Entry {
            topic: "orders".into(),
            outline,
            config: LogConfig::default(),
        };
        let id = partition_id([1; 16], 2);
        Checkpoint {
            run: 4,
            number: 2,
            counts_below: 4,
            token: Uuid([8; 16]),
            logs: BTreeMap::from([(id, entry)]),
            deleted: vec![partition_id([2; 16], 0)],
        }
    }

    #[test]
    fn a_checkpoint_comes_back() {
        let bytes = sample().encode().expect("encodes");
        assert_eq!(Checkpoint::decode(&bytes), Ok(sample()));
        let empty = Checkpoint::default();
        assert_eq!(Checkpoint::decode(&empty.encode().expect("encodes")), Ok(empty));
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let bytes = sample().encode().expect("encodes");
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 0x40;
            assert!(Checkpoint::decode(&damaged).is_err(), "byte {place}");
        }
        for length in 0..bytes.len() {
            assert!(Checkpoint::decode(&bytes[..length]).is_err(), "length {length}");
        }
    }

    #[test]
    fn contents_that_lie_under_a_right_crc_are_refused() {
        // Whoever computes the CRC anew still gets no unchecked access.
        let bytes = sample().encode().expect("encodes");
        let mut body = bytes[ENVELOPE_BYTES..].to_vec();
        for place in 0..body.len() {
            body[place] ^= 0xff;
            let mut forged = bytes[..12].to_vec();
            forged.extend_from_slice(&crc32c(&body).to_le_bytes());
            forged.extend_from_slice(&(body.len() as u64).to_le_bytes());
            forged.extend_from_slice(&body);
            let _ = Checkpoint::decode(&forged);
            body[place] ^= 0xff;
        }
    }
}
