//! One segment: what is known of it without its bytes, and when the next one must begin.
//!
//! Index entries that are safely in the index files are not kept in memory; those since then are. So an index
//! in memory is the *end* of the index, and a lookup below it must read the file first. Source: Kafka's
//! `LogSegment`.

use protocol::batch::Header;
use protocol::types::Offset;

use crate::LogConfig;
use crate::index::{self, OffsetIndex};
use crate::time_index::{self, TimeIndex};

/// A segment's place, size, times and the end of its indexes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Offset of its first record, and its name.
    pub base: Offset,
    /// Its bytes: batches appended so far.
    pub length: u32,
    /// Whether it has its exact bytes, length and indexes on disk and never changes again.
    pub is_sealed: bool,
    /// Largest timestamp in it, -1 if none.
    pub max_timestamp: i64,
    /// Last offset of the batch that carries it.
    pub max_timestamp_offset: Offset,
    /// Largest timestamp of its first batch, from which its age counts.
    pub first_timestamp: Option<i64>,
    /// Wall clock when it was begun.
    pub created_ms: i64,
    /// Index entries that are in the file.
    pub offsets_on_disk: u32,
    /// Time index entries that are in the file.
    pub times_on_disk: u32,
    /// Index entries since then.
    pub offsets: OffsetIndex,
    /// Time index entries since then.
    pub times: TimeIndex,
    /// Timestamp of the last entry of the time index, in the file or since; -1 if there is none.
    pub last_time: i64,
    /// Bytes since the last index entry.
    pub bytes_since_entry: u32,
}

impl Segment {
    /// An empty segment.
    pub fn new(base: Offset, now_ms: i64) -> Self {
        Self {
            base,
            length: 0,
            is_sealed: false,
            max_timestamp: -1,
            max_timestamp_offset: base,
            first_timestamp: None,
            created_ms: now_ms,
            offsets_on_disk: 0,
            times_on_disk: 0,
            offsets: OffsetIndex::new(base),
            times: TimeIndex::new(base),
            last_time: -1,
            bytes_since_entry: 0,
        }
    }

    /// Whether a batch with this header must go to a new segment (`LogSegment.shouldRoll`).
    pub fn is_full_for(&self, header: &Header<'_>, config: &LogConfig, now_ms: i64) -> bool {
        if self.length == 0 {
            return false;
        }
        let length = header.length() as u64;
        let size = u64::from(self.length) + length;
        let reach = header.last_offset().0.saturating_sub(self.base.0);
        let age = match self.first_timestamp {
            Some(first) if first >= 0 && header.max_timestamp() >= 0 => header.max_timestamp() - first,
            _ => now_ms - self.created_ms,
        };
        let entries_max = config.segment_index_bytes as usize / index::ENTRY_BYTES;
        let times_max = config.segment_index_bytes as usize / time_index::ENTRY_BYTES;
        size > u64::from(config.segment_bytes)
            || size > i32::MAX as u64
            || reach > i64::from(i32::MAX)
            || age > config.segment_ms
            || self.offsets_on_disk as usize + self.offsets.len() >= entries_max
            || self.times_on_disk as usize + self.times.len() + 1 >= times_max
    }

    /// Takes in the header of a batch that is appended at the end.
    pub fn append(&mut self, header: &Header<'_>, config: &LogConfig) {
        debug_assert!(!self.is_sealed);
        let length = header.length() as u32;
        let last = header.last_offset();
        if header.max_timestamp() > self.max_timestamp {
            self.max_timestamp = header.max_timestamp();
            self.max_timestamp_offset = last;
        }
        self.first_timestamp.get_or_insert(header.max_timestamp());
        if self.bytes_since_entry > config.index_interval_bytes {
            self.offsets.append(last, self.length);
            self.finish_times();
            self.bytes_since_entry = 0;
        }
        self.length += length;
        self.bytes_since_entry = self.bytes_since_entry.saturating_add(length);
    }

    /// Adds the largest timestamp to the time index if it is not there: between batches now and then, and as
    /// the last entry when nothing follows for now.
    pub fn finish_times(&mut self) {
        if self.max_timestamp > self.last_time {
            self.last_time = self.max_timestamp;
            self.times.append(self.max_timestamp, self.max_timestamp_offset);
        }
    }

    /// Notes that the files hold all entries; memory lets go of them.
    pub fn indexes_are_on_disk(&mut self, offsets: usize, times: usize) {
        debug_assert!(offsets <= self.offsets.len() && times <= self.times.len());
        self.offsets_on_disk += offsets as u32;
        self.times_on_disk += times as u32;
        self.offsets.drop_first(offsets);
        self.times.drop_first(times);
    }
}
