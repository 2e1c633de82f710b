//! Files of a stopped or a running node as plain values, for people to look at; and recovery without a broker.
//!
//! Reading changes nothing and asks for no lock. A live segment ends in zeros, which were allocated ahead; a
//! live journal ends where its newest commit does. Kafka's own tool fails on both.

use std::io::{self, Read};
use std::path::Path;
use std::sync::mpsc;

use bytes::Bytes;
use protocol::batch::{Batch, HEADER_BYTES, Header, length_of};
use protocol::types::Offset;

use crate::core::Options;
use crate::dir::{Dir, DirConfig};
use crate::error::StorageError;
use crate::journal::frames::HalfHeader;
use crate::journal::records::{Fence, Record, Seal};
use crate::journal::replay::{self, Rot};
use crate::recovery::{self, Report};
use crate::store::Store;
use crate::{LogConfig, PartitionId};

/// Longest batch that is read whole: what no sane `max.message.bytes` reaches.
const BATCH_BYTES_MAX: usize = 1 << 30;

/// A batch of a segment, with the position where it begins. Its header, CRC and records are looked at with
/// [`Batch::parse`].
#[derive(Clone, Debug)]
pub struct DumpedBatch {
    /// Byte position in the file.
    pub position: u64,
    /// All its bytes.
    pub bytes: Bytes,
}

impl DumpedBatch {
    /// A view of it; `None` never happens for batches that [`Segment`] gives.
    pub fn batch(&self) -> Option<Batch<'_>> {
        Batch::parse(&self.bytes).ok()
    }
}

/// How a segment ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// With the last batch.
    Exact,
    /// In space allocated ahead: the segment of a running node, or of one that crashed.
    Zeros,
    /// In the midst of a batch that says it has this many bytes.
    CutOff {
        /// Where the batch begins.
        position: u64,
        /// Its length.
        length: usize,
    },
    /// In bytes that are no batch.
    Garbage {
        /// Where they begin.
        position: u64,
        /// What is wrong with them.
        what: String,
    },
}

/// The batches of a `.log` file, one after the other, from whatever reads it.
#[derive(Debug)]
pub struct Segment<R> {
    from: R,
    position: u64,
    end: Option<End>,
}

impl<R: Read> Segment<R> {
    /// Reads from the start of a file.
    pub fn new(from: R) -> Self {
        Self {
            from,
            position: 0,
            end: None,
        }
    }

    /// How the segment ends, once [`next_batch`](Self::next_batch) has given `None`.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// The next batch; `None` at the end.
    ///
    /// # Errors
    /// Of the reader.
    pub fn next_batch(&mut self) -> io::Result<Option<DumpedBatch>> {
        if self.end.is_some() {
            return Ok(None);
        }
        let position = self.position;
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        let has = self.read(&mut bytes, HEADER_BYTES)?;
        if has == 0 {
            self.end = Some(End::Exact);
            return Ok(None);
        }
        if bytes.iter().all(|&byte| byte == 0) {
            self.end = Some(End::Zeros);
            return Ok(None);
        }
        let length = match length_of(&bytes) {
            Ok(length) if length <= BATCH_BYTES_MAX => length,
            Ok(length) => {
                self.end = Some(End::CutOff { position, length });
                return Ok(None);
            }
            Err(error) => {
                let what = error.to_string();
                self.end = Some(End::Garbage { position, what });
                return Ok(None);
            }
        };
        // Grows with what is really there: the length is only believed as far as bytes follow.
        let rest = length.saturating_sub(bytes.len());
        self.read(&mut bytes, rest)?;
        if bytes.len() < length || Header::parse(&bytes).is_err() {
            self.end = Some(End::CutOff { position, length });
            return Ok(None);
        }
        self.position += length as u64;
        Ok(Some(DumpedBatch {
            position,
            bytes: bytes.into(),
        }))
    }

    fn read(&mut self, bytes: &mut Vec<u8>, count: usize) -> io::Result<usize> {
        (&mut self.from).take(count as u64).read_to_end(bytes)
    }
}

/// One record of a journal, without the bytes it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DumpedRecord {
    /// Bytes of a segment.
    Bytes {
        /// The partition.
        id: PartitionId,
        /// The log's incarnation.
        incarnation: u32,
        /// Base offset of the segment.
        segment: Offset,
        /// Position in it.
        position: u32,
        /// How many bytes.
        length: usize,
        /// How many of them, from the first, were journalled before.
        old: u32,
    },
    /// A cut.
    Fence(Fence),
    /// A final segment.
    Seal(Seal),
}

/// A journal as replay would take it.
#[derive(Clone, Debug, Default)]
pub struct DumpedJournal {
    /// The newest generation.
    pub last: Option<HalfHeader>,
    /// The file position of each commit's header that counts, and its records.
    pub commits: Vec<(u64, Vec<DumpedRecord>)>,
    /// Acknowledged records that cannot be read.
    pub rot: Option<Rot>,
}

/// The journal in the bytes of its file.
pub fn dump_journal(bytes: &[u8]) -> DumpedJournal {
    let mut commits: Vec<(u64, Vec<DumpedRecord>)> = Vec::new();
    let found = replay::walk(bytes, &mut |position, record| {
        if commits.last().is_none_or(|last| last.0 != position) {
            commits.push((position, Vec::new()));
        }
        if let Some((_, records)) = commits.last_mut() {
            records.push(dumped(&record));
        }
    });
    DumpedJournal {
        last: found.last,
        commits,
        rot: found.rot,
    }
}

fn dumped(record: &Record<'_>) -> DumpedRecord {
    match *record {
        Record::Bytes(placed) => DumpedRecord::Bytes {
            id: placed.id,
            incarnation: placed.incarnation,
            segment: placed.segment,
            position: placed.position,
            length: placed.bytes.len(),
            old: placed.old,
        },
        Record::Fence(fence) => DumpedRecord::Fence(fence),
        Record::Seal(seal) => DumpedRecord::Seal(seal),
    }
}

/// Recovers a log dir that nobody has open and closes it cleanly, so that an Apache Kafka may open it. Blocks
/// the calling thread, which must not be a shard's.
///
/// # Errors
/// [`StorageError::Locked`] when a node has it open; as [`Dir::open`]. With damaged partitions in it the dir
/// keeps its guard, and the report names them.
pub fn recover(path: &Path) -> Result<Report, StorageError> {
    let (sender, receiver) = mpsc::channel();
    let path = path.to_owned();
    let dir = path.clone();
    let started = shards::run(shards::Config::default(), move |_| {
        let (sender, path) = (sender.clone(), path.clone());
        async move {
            // Nobody listens only when the caller is gone.
            let _ = sender.send(recover_here(&path).await);
        }
    });
    if let Err(error) = started {
        return Err(StorageError::foreign(&dir, error.to_string()));
    }
    receiver.recv().unwrap_or(Err(StorageError::Closed))
}

/// The same on the current shard, which is the only one.
///
/// # Errors
/// As [`recover`].
pub async fn recover_here(path: &Path) -> Result<Report, StorageError> {
    let options = Options::default();
    let dir = Dir::open(DirConfig {
        path: path.to_owned(),
        shards: 1,
        // Nothing is appended: the smallest will do.
        journal_bytes: 0,
        expected: None,
        may_owe: false,
        options: Options {
            journal_ready_bytes: 0,
            ..options
        },
    })
    .await?;
    let store = Store::open(dir.share()).await?;
    let mut known: Vec<(PartitionId, String)> = dir
        .partitions()
        .map(|(id, topic)| (id, topic.to_owned()))
        .collect();
    known.extend(recovery::find_directories(path).await?);
    for (id, topic) in known {
        // A damaged one stays as it is; closing passes over it.
        store.open_partition(&id, &topic, LogConfig::default()).await?;
    }
    let closed = store.close().await?;
    let report = dir.report().clone();
    dir.close(vec![closed], -1).await?;
    Ok(report)
}

#[cfg(test)]
mod tests {
    use protocol::batch::HeaderFields;
    use protocol::records::BatchBuilder;

    use super::*;

    fn batch() -> Vec<u8> {
        let mut builder = BatchBuilder::new(HeaderFields::default());
        builder.append(1, None, Some(b"value"), &[]).expect("fits");
        builder.build().expect("builds")
    }

    #[test]
    fn a_segment_ends_in_one_of_four_ways() {
        let check = |tail: &[u8], expected: End| {
            let bytes = [batch(), batch(), tail.to_vec()].concat();
            let mut segment = Segment::new(bytes.as_slice());
            let mut positions = Vec::new();
            while let Some(found) = segment.next_batch().expect("memory is read") {
                assert!(found.batch().is_some_and(|batch| batch.crc_is_valid()));
                positions.push(found.position);
            }
            assert_eq!(positions, [0, batch().len() as u64]);
            assert_eq!(segment.end(), Some(&expected));
        };
        let position = 2 * batch().len() as u64;
        check(b"", End::Exact);
        check(&[0; 5_000], End::Zeros);
        let cut = batch();
        let length = cut.len();
        check(&cut[..length - 1], End::CutOff { position, length });
        let mut huge = cut.clone();
        huge[8..12].copy_from_slice(&i32::MAX.to_be_bytes());
        let length = i32::MAX as usize + 12;
        check(&huge, End::CutOff { position, length });
        let mut other = cut;
        other[16] = 1;
        let bytes = [batch(), batch(), other].concat();
        let mut segment = Segment::new(bytes.as_slice());
        while segment.next_batch().expect("memory is read").is_some() {}
        assert!(
            matches!(segment.end(), Some(End::Garbage { .. })),
            "{:?}",
            segment.end()
        );
    }
}
