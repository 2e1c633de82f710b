//! The records inside a commit of the journal: BYTES, FENCE and SEAL; NOTE is reserved for direct writes.
//!
//! A record names topic id, partition and incarnation, never a path (D11). Each record's header has a CRC of
//! its own beside the commit's: when a commit is rotten, the headers that are sound still say which
//! partitions it named (D5). Byte by byte in `format.md`; numbers are little-endian, unlike Kafka's files.

use protocol::crc::crc32c;
use protocol::types::{Offset, Partition, Uuid};

use crate::PartitionId;

/// Size of a record's header; BYTES carries its bytes behind it, the others nothing.
pub const RECORD_BYTES: usize = 64;

const BYTES: u8 = 1;
// 2 is NOTE, a direct write to a segment: kept free so that journals need no new version when it comes.
const FENCE: u8 = 3;
const SEAL: u8 = 4;

const CUT_TRUNCATE: u8 = 1;
const CUT_RESTART: u8 = 2;
const CUT_DELETE: u8 = 3;
const CUT_START: u8 = 4;

/// One record.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// Bytes of a segment file.
    Bytes(Placed<'a>),
    /// From here on the log is another incarnation.
    Fence(Fence),
    /// A segment has its exact length and bytes, synced.
    Seal(Seal),
}

/// Where bytes belong.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Placed<'a> {
    /// The partition.
    pub id: PartitionId,
    /// The log's incarnation.
    pub incarnation: u32,
    /// Base offset of the segment.
    pub segment: Offset,
    /// Position in the segment's file of the first byte.
    pub position: u32,
    /// How many of the bytes, from the first, were journalled before (the head of a partial block).
    pub old: u32,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// The order to forget what a log held (D9); `incarnation` is the one that begins.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The partition.
    pub id: PartitionId,
    /// The incarnation that begins with this record.
    pub incarnation: u32,
    /// What goes.
    pub cut: Cut,
}

/// What a fence cuts off.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Everything from `position` of `segment` on; the log then ends at `end`.
    Truncate {
        /// Base offset of the segment that becomes the last.
        segment: Offset,
        /// Its new length.
        position: u32,
        /// The new log end offset.
        end: Offset,
    },
    /// Everything; the log begins anew at this offset.
    Restart(Offset),
    /// Everything; the partition is gone.
    Delete,
    /// Everything below this offset: the log starts there, and whole segments below it may go.
    Start(Offset),
}

/// A segment that will not change any more (D10).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    /// The partition.
    pub id: PartitionId,
    /// The log's incarnation.
    pub incarnation: u32,
    /// Base offset of the segment.
    pub segment: Offset,
    /// Its exact length.
    pub length: u32,
    /// Offset after its last record: the base of the next segment.
    pub end: Offset,
}

/// Why bytes are no record.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// Fewer bytes than the record needs.
    Short,
    /// The header's CRC does not match.
    Crc,
    /// A kind that this version does not know.
    Kind(u8),
    /// A field outside its bounds.
    Field,
}

impl Record<'_> {
    /// The partition that the record is about.
    pub fn id(&self) -> PartitionId {
        match self {
            Record::Bytes(placed) => placed.id,
            Record::Fence(fence) => fence.id,
            Record::Seal(seal) => seal.id,
        }
    }

    /// The 64 bytes of the record's header; the bytes of a BYTES record follow it.
    pub fn encode_header(&self) -> [u8; RECORD_BYTES] {
        let mut fields = Fields::default();
        match *self {
            Record::Bytes(placed) => {
                fields.kind = BYTES;
                fields.incarnation = placed.incarnation;
                fields.length = placed.bytes.len() as u32;
                fields.segment = placed.segment.0;
                fields.position = placed.position;
                fields.old = placed.old;
            }
            Record::Fence(fence) => {
                fields.kind = FENCE;
                fields.incarnation = fence.incarnation;
                match fence.cut {
                    Cut::Truncate {
                        segment,
                        position,
                        end,
                    } => {
                        fields.cut = CUT_TRUNCATE;
                        fields.segment = segment.0;
                        fields.position = position;
                        fields.offset = end.0;
                    }
                    Cut::Restart(offset) => {
                        fields.cut = CUT_RESTART;
                        fields.offset = offset.0;
                    }
                    Cut::Delete => fields.cut = CUT_DELETE,
                    Cut::Start(offset) => {
                        fields.cut = CUT_START;
                        fields.offset = offset.0;
                    }
                }
            }
            Record::Seal(seal) => {
                fields.kind = SEAL;
                fields.incarnation = seal.incarnation;
                fields.segment = seal.segment.0;
                fields.position = seal.length;
                fields.offset = seal.end.0;
            }
        }
        fields.encode(self.id())
    }
}

impl<'a> Record<'a> {
    /// The record at the front of `bytes`, and what follows it.
    pub fn decode(bytes: &'a [u8]) -> Result<(Record<'a>, &'a [u8]), RecordError> {
        let (header, rest) = bytes
            .split_first_chunk::<RECORD_BYTES>()
            .ok_or(RecordError::Short)?;
        let (id, fields) = Fields::decode(header)?;
        let incarnation = fields.incarnation;
        let record = match fields.kind {
            BYTES => {
                let length = fields.length as usize;
                let (bytes, rest) = rest.split_at_checked(length).ok_or(RecordError::Short)?;
                let end = fields
                    .position
                    .checked_add(fields.length)
                    .ok_or(RecordError::Field)?;
                if fields.old > fields.length || end > i32::MAX as u32 || fields.segment < 0 {
                    return Err(RecordError::Field);
                }
                let placed = Placed {
                    id,
                    incarnation,
                    segment: Offset(fields.segment),
                    position: fields.position,
                    old: fields.old,
                    bytes,
                };
                return Ok((Record::Bytes(placed), rest));
            }
            FENCE => {
                let cut = match fields.cut {
                    CUT_TRUNCATE => Cut::Truncate {
                        segment: Offset(fields.segment),
                        position: fields.position,
                        end: Offset(fields.offset),
                    },
                    CUT_RESTART => Cut::Restart(Offset(fields.offset)),
                    CUT_DELETE => Cut::Delete,
                    CUT_START => Cut::Start(Offset(fields.offset)),
                    _ => return Err(RecordError::Field),
                };
                Record::Fence(Fence { id, incarnation, cut })
            }
            SEAL => Record::Seal(Seal {
                id,
                incarnation,
                segment: Offset(fields.segment),
                length: fields.position,
                end: Offset(fields.offset),
            }),
            kind => return Err(RecordError::Kind(kind)),
        };
        if fields.length != 0 {
            return Err(RecordError::Field);
        }
        Ok((record, rest))
    }

    /// The partitions named by the records in `bytes` whose headers are sound although the commit around
    /// them is not; `false` when a header is damaged, so that more may have been named.
    pub fn named_in(bytes: &[u8]) -> (Vec<PartitionId>, bool) {
        let mut named = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            match Record::decode(rest) {
                Ok((record, after)) => {
                    named.push(record.id());
                    rest = after;
                }
                Err(_) => return (named, false),
            }
        }
        (named, true)
    }
}

#[derive(Default)]
struct Fields {
    kind: u8,
    cut: u8,
    incarnation: u32,
    length: u32,
    segment: i64,
    position: u32,
    old: u32,
    offset: i64,
}

impl Fields {
    fn encode(&self, id: PartitionId) -> [u8; RECORD_BYTES] {
        let mut out = [0; RECORD_BYTES];
        out[0] = self.kind;
        out[1] = self.cut;
        out[4..8].copy_from_slice(&id.partition.0.to_le_bytes());
        out[8..24].copy_from_slice(&id.topic_id.0);
        out[24..28].copy_from_slice(&self.incarnation.to_le_bytes());
        out[28..32].copy_from_slice(&self.length.to_le_bytes());
        out[32..40].copy_from_slice(&self.segment.to_le_bytes());
        out[40..44].copy_from_slice(&self.position.to_le_bytes());
        out[44..48].copy_from_slice(&self.old.to_le_bytes());
        out[48..56].copy_from_slice(&self.offset.to_le_bytes());
        let crc = crc32c(&out[..60]);
        out[60..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    fn decode(header: &[u8; RECORD_BYTES]) -> Result<(PartitionId, Fields), RecordError> {
        if crc32c(&header[..60]) != u32::from_le_bytes(part(header, 60)) {
            return Err(RecordError::Crc);
        }
        let id = PartitionId {
            topic_id: Uuid(part(header, 8)),
            partition: Partition(i32::from_le_bytes(part(header, 4))),
        };
        let fields = Fields {
            kind: header[0],
            cut: header[1],
            incarnation: u32::from_le_bytes(part(header, 24)),
            length: u32::from_le_bytes(part(header, 28)),
            segment: i64::from_le_bytes(part(header, 32)),
            position: u32::from_le_bytes(part(header, 40)),
            old: u32::from_le_bytes(part(header, 44)),
            offset: i64::from_le_bytes(part(header, 48)),
        };
        Ok((id, fields))
    }
}

/// The `N` bytes at `at` of a header; `at` is a constant of the format, inside it.
pub(super) fn part<const N: usize, const M: usize>(header: &[u8; M], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&header[at..at + N]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> PartitionId {
        PartitionId {
            topic_id: Uuid([7; 16]),
            partition: Partition(3),
        }
    }

    fn placed(bytes: &[u8]) -> Record<'_> {
        Record::Bytes(Placed {
            id: id(),
            incarnation: 4,
            segment: Offset(1_000),
            position: 8_192,
            old: 2,
            bytes,
        })
    }

    fn encode(record: &Record) -> Vec<u8> {
        let mut out = record.encode_header().to_vec();
        if let Record::Bytes(placed) = record {
            out.extend_from_slice(placed.bytes);
        }
        out
    }

    fn samples() -> Vec<Record<'static>> {
        let fence = |cut| {
            Record::Fence(Fence {
                id: id(),
                incarnation: 5,
                cut,
            })
        };
        vec![
            placed(b"batch"),
            fence(Cut::Truncate {
                segment: Offset(0),
                position: 77,
                end: Offset(12),
            }),
            fence(Cut::Restart(Offset(99))),
            fence(Cut::Delete),
            fence(Cut::Start(Offset(5))),
            Record::Seal(Seal {
                id: id(),
                incarnation: 5,
                segment: Offset(0),
                length: 123,
                end: Offset(40),
            }),
        ]
    }

    #[test]
    fn records_come_back_and_leave_the_rest() {
        let mut all = Vec::new();
        for record in samples() {
            let mut bytes = encode(&record);
            bytes.extend_from_slice(b"rest");
            assert_eq!(Record::decode(&bytes), Ok((record, &b"rest"[..])));
            all.extend_from_slice(&encode(&record));
        }
        assert_eq!(Record::named_in(&all), (vec![id(); 6], true));
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        for record in samples() {
            let bytes = encode(&record);
            for bit in 0..RECORD_BYTES * 8 {
                let mut damaged = bytes.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Record::decode(&damaged), Err(RecordError::Crc), "bit {bit}");
            }
            for length in 0..bytes.len() {
                assert_eq!(Record::decode(&bytes[..length]), Err(RecordError::Short));
            }
        }
        assert_eq!(Record::decode(&[0; 64]), Err(RecordError::Crc));
    }

    #[test]
    fn fields_out_of_bounds_are_refused() {
        let check = |change: fn(&mut Fields), expected: RecordError| {
            let mut fields = Fields {
                kind: BYTES,
                length: 4,
                ..Fields::default()
            };
            change(&mut fields);
            let mut bytes = fields.encode(id()).to_vec();
            bytes.extend_from_slice(&[1; 4]);
            assert_eq!(Record::decode(&bytes).map(|_| ()), Err(expected));
        };
        check(|f| f.length = u32::MAX, RecordError::Short);
        check(|f| f.length = 5, RecordError::Short);
        check(|f| f.old = 5, RecordError::Field);
        check(|f| f.position = u32::MAX, RecordError::Field);
        check(|f| f.position = i32::MAX as u32 - 3, RecordError::Field);
        check(|f| f.segment = -1, RecordError::Field);
        check(|f| f.kind = 2, RecordError::Kind(2));
        check(|f| f.kind = 9, RecordError::Kind(9));
        check(|f| f.kind = SEAL, RecordError::Field);
        check(|f| (f.kind, f.length, f.cut) = (FENCE, 0, 0), RecordError::Field);
    }

    #[test]
    fn rot_leaves_the_names_before_it() {
        let mut all = Vec::new();
        for record in samples() {
            all.extend_from_slice(&encode(&record));
        }
        // A flipped byte of the payload harms no name, one of the second header hides the rest.
        all[65] ^= 1;
        assert_eq!(Record::named_in(&all), (vec![id(); 6], true));
        all[70] ^= 1;
        assert_eq!(Record::named_in(&all), (vec![id(); 1], false));
    }
}
