//! The offset index of one segment: which file position to start scanning at for an offset (`.index`).
//!
//! An entry names the *last* offset of a batch and the position where that batch starts, and there is one
//! about every `index.interval.bytes`, so a lookup gives a place at or before the wanted batch, never the
//! batch itself. Source: Kafka's `OffsetIndex` and `LogSegment.append`.

use protocol::types::Offset;

/// One entry is a relative offset and a position, both i32, big-endian.
pub const ENTRY_BYTES: usize = 8;

/// The entries of one segment in memory; the file's bytes are these entries and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffsetIndex {
    base: i64,
    entries: Vec<Entry>,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// Offset minus the segment's base offset.
    relative: u32,
    position: u32,
}

/// Why the bytes of an index file are no index of this segment.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum IndexError {
    /// The length is no multiple of the size of an entry.
    Length,
    /// Offsets or positions do not ascend, or are negative.
    Order,
}

impl OffsetIndex {
    /// The empty index of the segment that begins at `base`.
    pub fn new(base: Offset) -> Self {
        Self {
            base: base.0,
            entries: Vec::new(),
        }
    }

    /// The index in the bytes of a closed `.index` file.
    pub fn decode(base: Offset, bytes: &[u8]) -> Result<Self, IndexError> {
        let (entries, rest) = bytes.as_chunks::<ENTRY_BYTES>();
        if !rest.is_empty() {
            return Err(IndexError::Length);
        }
        let mut index = Self::new(base);
        index.entries.reserve(entries.len());
        for entry in entries {
            let [a, b, c, d, e, f, g, h] = *entry;
            let entry = Entry {
                relative: u32::from_be_bytes([a, b, c, d]),
                position: u32::from_be_bytes([e, f, g, h]),
            };
            let in_range = entry.relative <= i32::MAX as u32 && entry.position <= i32::MAX as u32;
            let ascends = index
                .entries
                .last()
                .is_none_or(|last| entry.relative > last.relative && entry.position > last.position);
            if !in_range || !ascends {
                return Err(IndexError::Order);
            }
            index.entries.push(entry);
        }
        Ok(index)
    }

    /// Appends to `out` the file bytes of the entries from number `first` on.
    pub fn encode_from(&self, first: usize, out: &mut Vec<u8>) {
        for entry in self.entries.iter().skip(first) {
            out.extend_from_slice(&entry.relative.to_be_bytes());
            out.extend_from_slice(&entry.position.to_be_bytes());
        }
    }

    /// Notes that the batch whose last offset is `offset` starts at `position`. Entries must come in order;
    /// an entry that does not ascend, or whose offset is out of an i32's reach, is not kept: it is a hint.
    pub fn append(&mut self, offset: Offset, position: u32) {
        let Some(relative) = self.relative(offset) else {
            return;
        };
        if self
            .entries
            .last()
            .is_none_or(|last| relative > last.relative && position > last.position)
        {
            self.entries.push(Entry { relative, position });
        }
    }

    /// The position to scan from for the batch that holds `offset`: that of the greatest entry at or below
    /// it, 0 if there is none.
    pub fn position_for(&self, offset: Offset) -> u32 {
        let Some(relative) = self.relative(offset) else {
            return if offset.0 < self.base {
                0
            } else {
                self.entries.last().map_or(0, |last| last.position)
            };
        };
        let after = self.entries.partition_point(|entry| entry.relative <= relative);
        after
            .checked_sub(1)
            .and_then(|place| self.entries.get(place))
            .map_or(0, |entry| entry.position)
    }

    /// Drops the entries of `position` and beyond: what follows a truncation to that position.
    pub fn truncate_to_position(&mut self, position: u32) {
        let keep = self.entries.partition_point(|entry| entry.position < position);
        self.entries.truncate(keep);
    }

    /// The position of the last entry, where a scan for the rest begins.
    pub fn last_position(&self) -> u32 {
        self.entries.last().map_or(0, |last| last.position)
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
    pub fn iter(&self) -> impl Iterator<Item = (Offset, u32)> {
        self.entries
            .iter()
            .map(|entry| (Offset(self.base + i64::from(entry.relative)), entry.position))
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn relative(&self, offset: Offset) -> Option<u32> {
        let relative = u32::try_from(offset.0.checked_sub(self.base)?).ok()?;
        (relative <= i32::MAX as u32).then_some(relative)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> OffsetIndex {
        let mut index = OffsetIndex::new(Offset(100));
        index.append(Offset(110), 4_200);
        index.append(Offset(150), 9_000);
        index.append(Offset(199), 20_000);
        index
    }

    #[test]
    fn a_lookup_gives_the_greatest_entry_at_or_below() {
        let check = |offset: i64, expected: u32| {
            assert_eq!(sample().position_for(Offset(offset)), expected, "{offset}");
        };
        check(0, 0);
        check(100, 0);
        check(109, 0);
        check(110, 4_200);
        check(149, 4_200);
        check(150, 9_000);
        check(1_000, 20_000);
        check(i64::MAX, 20_000);
    }

    #[test]
    fn the_file_is_kafkas() {
        let mut bytes = Vec::new();
        sample().encode_from(0, &mut bytes);
        assert_eq!(
            bytes,
            [
                0, 0, 0, 10, 0, 0, 0x10, 0x68, 0, 0, 0, 50, 0, 0, 0x23, 0x28, 0, 0, 0, 99, 0, 0, 0x4e, 0x20
            ]
        );
        assert_eq!(OffsetIndex::decode(Offset(100), &bytes), Ok(sample()));
        let mut tail = Vec::new();
        sample().encode_from(2, &mut tail);
        assert_eq!(tail, bytes[16..]);
    }

    #[test]
    fn bytes_that_are_no_index_are_refused() {
        let check = |bytes: &[u8], expected: IndexError| {
            assert_eq!(OffsetIndex::decode(Offset(0), bytes), Err(expected), "{bytes:?}");
        };
        check(&[0; 7], IndexError::Length);
        check(&[0; 16], IndexError::Order);
        check(&[0xff, 0, 0, 0, 0, 0, 0, 1], IndexError::Order);
        check(&[0, 0, 0, 1, 0xff, 0, 0, 1], IndexError::Order);
        check(
            &[0, 0, 0, 2, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 1, 0],
            IndexError::Order,
        );
    }

    #[test]
    fn truncation_drops_what_starts_at_the_cut() {
        let check = |position: u32, expected: usize| {
            let mut index = sample();
            index.truncate_to_position(position);
            assert_eq!(index.len(), expected, "{position}");
        };
        check(0, 0);
        check(4_200, 0);
        check(4_201, 1);
        check(20_000, 2);
        check(30_000, 3);
    }

    #[test]
    fn what_does_not_ascend_is_not_kept() {
        let mut index = sample();
        index.append(Offset(199), 30_000);
        index.append(Offset(300), 20_000);
        index.append(Offset(99), 40_000);
        index.append(Offset(100 + (1 << 31)), 50_000);
        assert_eq!(index, sample());
    }
}
