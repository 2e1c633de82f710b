//! The time index of one segment: from which offset on a timestamp may be found (`.timeindex`).
//!
//! An entry (timestamp, offset) means: every record with a larger timestamp has a larger offset. It is not
//! "the record with this time"; producers' clocks go back and forth. When a segment is rolled or closed the
//! largest timestamp is written as the last entry. Source: Kafka's `TimeIndex`.

use protocol::types::Offset;

use crate::index::IndexError;

/// One entry is a timestamp i64 and a relative offset i32, big-endian.
pub const ENTRY_BYTES: usize = 12;

/// The entries of one segment in memory; the file's bytes are these entries and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimeIndex {
    base: i64,
    entries: Vec<Entry>,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
struct Entry {
    timestamp: i64,
    relative: u32,
}

impl TimeIndex {
    /// The empty index of the segment that begins at `base`.
    pub fn new(base: Offset) -> Self {
        Self {
            base: base.0,
            entries: Vec::new(),
        }
    }

    /// The index in the bytes of a closed `.timeindex` file.
    pub fn decode(base: Offset, bytes: &[u8]) -> Result<Self, IndexError> {
        let (entries, rest) = bytes.as_chunks::<ENTRY_BYTES>();
        if !rest.is_empty() {
            return Err(IndexError::Length);
        }
        let mut index = Self::new(base);
        index.entries.reserve(entries.len());
        for entry in entries {
            let [a, b, c, d, e, f, g, h, i, j, k, l] = *entry;
            let entry = Entry {
                timestamp: i64::from_be_bytes([a, b, c, d, e, f, g, h]),
                relative: u32::from_be_bytes([i, j, k, l]),
            };
            let ascends = index
                .entries
                .last()
                .is_none_or(|last| entry.timestamp > last.timestamp && entry.relative >= last.relative);
            if entry.relative > i32::MAX as u32 || !ascends {
                return Err(IndexError::Order);
            }
            index.entries.push(entry);
        }
        Ok(index)
    }

    /// Appends to `out` the file bytes of the entries from number `first` on.
    pub fn encode_from(&self, first: usize, out: &mut Vec<u8>) {
        for entry in self.entries.iter().skip(first) {
            out.extend_from_slice(&entry.timestamp.to_be_bytes());
            out.extend_from_slice(&entry.relative.to_be_bytes());
        }
    }

    /// Notes that up to now `timestamp` is the largest, carried at `offset`. Nothing is added when the
    /// timestamp is not larger than the last entry's (`TimeIndex.maybeAppend`).
    pub fn append(&mut self, timestamp: i64, offset: Offset) {
        let relative = offset
            .0
            .checked_sub(self.base)
            .and_then(|relative| u32::try_from(relative).ok())
            .filter(|&relative| relative <= i32::MAX as u32);
        let Some(relative) = relative else { return };
        let ascends = self
            .entries
            .last()
            .is_none_or(|last| timestamp > last.timestamp && relative >= last.relative);
        if timestamp >= 0 && ascends {
            self.entries.push(Entry { timestamp, relative });
        }
    }

    /// The offset to scan from for the first record with at least `timestamp`: that of the greatest entry
    /// with a smaller timestamp, the segment's base if there is none.
    pub fn offset_before(&self, timestamp: i64) -> Offset {
        let after = self.entries.partition_point(|entry| entry.timestamp < timestamp);
        let relative = after
            .checked_sub(1)
            .and_then(|place| self.entries.get(place))
            .map_or(0, |entry| entry.relative);
        Offset(self.base + i64::from(relative))
    }

    /// The last entry: the largest timestamp seen when it was written, and its offset.
    pub fn last(&self) -> Option<(i64, Offset)> {
        self.entries
            .last()
            .map(|last| (last.timestamp, Offset(self.base + i64::from(last.relative))))
    }

    /// Drops the entries of `offset` and beyond: what follows a truncation to that offset.
    pub fn truncate_to(&mut self, offset: Offset) {
        let keep = self
            .entries
            .partition_point(|entry| self.base + i64::from(entry.relative) < offset.0);
        self.entries.truncate(keep);
    }

    /// Forgets the first `count` entries, which a file holds.
    pub fn drop_first(&mut self, count: usize) {
        self.entries.drain(..count.min(self.entries.len()));
    }

    /// Puts the entries of `earlier`, an index of the same segment, before these.
    pub fn prepend(&mut self, mut earlier: Self) {
        earlier.entries.append(&mut self.entries);
        self.entries = earlier.entries;
    }

    /// The entries, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (i64, Offset)> {
        self.entries
            .iter()
            .map(|entry| (entry.timestamp, Offset(self.base + i64::from(entry.relative))))
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> TimeIndex {
        let mut index = TimeIndex::new(Offset(1_000));
        index.append(50, Offset(1_010));
        index.append(70, Offset(1_020));
        index.append(90, Offset(1_020));
        index
    }

    #[test]
    fn a_lookup_gives_a_place_before_the_time() {
        let check = |timestamp: i64, expected: i64| {
            assert_eq!(sample().offset_before(timestamp), Offset(expected), "{timestamp}");
        };
        check(-1, 1_000);
        check(50, 1_000);
        check(51, 1_010);
        check(70, 1_010);
        check(71, 1_020);
        check(i64::MAX, 1_020);
    }

    #[test]
    fn times_that_do_not_grow_are_not_kept() {
        let mut index = sample();
        index.append(90, Offset(1_030));
        index.append(10, Offset(1_040));
        index.append(99, Offset(1_019));
        assert_eq!(index, sample());
        let mut index = TimeIndex::new(Offset(0));
        index.append(-1, Offset(5));
        assert!(index.is_empty());
    }

    #[test]
    fn the_file_is_kafkas() {
        let mut bytes = Vec::new();
        sample().encode_from(0, &mut bytes);
        assert_eq!(bytes.len(), 36);
        assert_eq!(bytes[..12], [0, 0, 0, 0, 0, 0, 0, 50, 0, 0, 0, 10]);
        assert_eq!(TimeIndex::decode(Offset(1_000), &bytes), Ok(sample()));
        assert_eq!(TimeIndex::decode(Offset(0), &bytes[1..]), Err(IndexError::Length));
        assert_eq!(TimeIndex::decode(Offset(0), &[0; 24]), Err(IndexError::Order));
    }

    #[test]
    fn truncation_drops_what_the_cut_drops() {
        let check = |offset: i64, expected: usize| {
            let mut index = sample();
            index.truncate_to(Offset(offset));
            assert_eq!(index.len(), expected, "{offset}");
        };
        check(1_000, 0);
        check(1_010, 0);
        check(1_011, 1);
        check(1_021, 3);
    }
}
