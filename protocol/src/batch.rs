//! One record batch, magic 2 (DefaultRecordBatch in Kafka): a view of its bytes, and the few fields of them
//! that a leader rewrites in place.
//!
//! ```text
//!  0 base offset i64    8 length i32, of what follows it   12 leader epoch i32   16 magic i8 = 2   17 crc u32
//! 21 attributes i16    23 last offset delta i32   27 base timestamp i64   35 max timestamp i64
//! 43 producer id i64   51 producer epoch i16      53 base sequence i32    57 records i32    61 records ...
//! ```
//!
//! What a newcomer would get wrong: the CRC covers byte 21 to the end, so base offset and leader epoch may
//! change freely while timestamps may not; the last offset is base plus delta and not base plus count, since
//! compaction takes records out; the base timestamp need not be the smallest; and a view is checked for its
//! shape only: whether its CRC is right and its records are sound is asked for, never implied.

use crate::compression::Codec;
use crate::crc::{self, crc32c};
use crate::records::{self, Records};
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence};

/// Bytes before the records (RECORD_BATCH_OVERHEAD in Kafka).
pub const HEADER_BYTES: usize = 61;
/// Bytes before those that the length field counts (LOG_OVERHEAD in Kafka).
pub const LOG_OVERHEAD_BYTES: usize = 12;
/// Bytes that must be there before length and magic can be told: see [`length_of`].
pub const MAGIC_END_BYTES: usize = 17;
/// The only magic that is written since Kafka 4.0.
pub const MAGIC: i8 = 2;
/// The timestamp of a record that has none.
pub const NO_TIMESTAMP: i64 = -1;

/// Where the part begins that the CRC covers.
const CRC_FROM: usize = 21;
const CODEC_BITS: i16 = 0b111;
const TIMESTAMP_TYPE_BIT: i16 = 1 << 3;
const TRANSACTIONAL_BIT: i16 = 1 << 4;
const CONTROL_BIT: i16 = 1 << 5;
const DELETE_HORIZON_BIT: i16 = 1 << 6;

/// Why bytes are not a batch. None of these says anything about the CRC.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The bytes end too early; at least `needed` are wanted, counted from where the batch begins.
    Truncated {
        /// Bytes wanted: of the whole batch if its length could be read.
        needed: usize,
    },
    /// The length field holds less than a header.
    Length(i32),
    /// A format other than 2; 0 and 1 are Kafka's old ones.
    Magic(i8),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Truncated { needed } => {
                write!(f, "the batch ends too early, it should have {needed} bytes")
            }
            Error::Length(length) => write!(f, "{length} is no length of a batch"),
            Error::Magic(magic) => write!(f, "magic {magic} instead of {MAGIC}"),
        }
    }
}

impl std::error::Error for Error {}

/// Who gave the records of a batch their timestamps.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer did, one by one.
    #[default]
    CreateTime,
    /// The leader did when it appended; the batch's max timestamp holds for every record.
    LogAppendTime,
}

/// The length of the batch at the front of `prefix`, whole: with the bytes before the length field.
///
/// [`MAGIC_END_BYTES`] suffice. The batch itself need not be there.
///
/// # Errors
/// As [`Batch::parse`], but [`Error::Truncated`] only when the prefix is shorter than that.
pub fn length_of(prefix: &[u8]) -> Result<usize, Error> {
    let Some(prefix) = prefix.first_chunk::<MAGIC_END_BYTES>() else {
        return Err(Error::Truncated {
            needed: MAGIC_END_BYTES,
        });
    };
    let length = i32::from_be_bytes([prefix[8], prefix[9], prefix[10], prefix[11]]);
    let magic = i8::from_be_bytes([prefix[16]]);
    // The smallest that any magic has: below it, what reads as a magic lies outside.
    if length < 14 {
        return Err(Error::Length(length));
    }
    if magic != MAGIC {
        return Err(Error::Magic(magic));
    }
    match usize::try_from(length) {
        Ok(bytes) if bytes + LOG_OVERHEAD_BYTES >= HEADER_BYTES => Ok(bytes + LOG_OVERHEAD_BYTES),
        _ => Err(Error::Length(length)),
    }
}

/// The header of a batch, for those who read no further (scans, indexes, recovery).
#[derive(Copy, Clone, Debug)]
pub struct Header<'a>(&'a [u8; HEADER_BYTES]);

macro_rules! field {
    ($(#[$doc:meta])* $name:ident, $at:literal, $raw:ty, $wrap:expr => $out:ty) => {
        $(#[$doc])*
        pub fn $name(&self) -> $out {
            let mut raw = [0; size_of::<$raw>()];
            raw.copy_from_slice(&self.0[$at..$at + size_of::<$raw>()]);
            $wrap(<$raw>::from_be_bytes(raw))
        }
    };
}

impl<'a> Header<'a> {
    /// The header at the front of `bytes`.
    ///
    /// # Errors
    /// As [`Batch::parse`], but [`Error::Truncated`] only when not even the header is there.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        length_of(bytes)?;
        bytes
            .first_chunk()
            .map(Header)
            .ok_or(Error::Truncated { needed: HEADER_BYTES })
    }

    /// The bytes of it.
    pub fn bytes(&self) -> &'a [u8; HEADER_BYTES] {
        self.0
    }

    /// Bytes of the whole batch, this header included.
    pub fn length(&self) -> usize {
        // The sign was looked at when the header was parsed.
        self.length_field() as usize + LOG_OVERHEAD_BYTES
    }

    field!(
        /// What the length field says: bytes after it.
        length_field, 8, i32, std::convert::identity => i32);
    field!(
        /// The offset that the deltas of the records count from. A producer sends 0.
        base_offset, 0, i64, Offset => Offset);
    field!(
        /// Epoch of the leader that appended it; a producer sends -1.
        leader_epoch, 12, i32, LeaderEpoch => LeaderEpoch);
    field!(
        /// The CRC that the batch claims.
        crc, 17, u32, std::convert::identity => u32);
    field!(
        /// All flags at once.
        attributes, 21, i16, std::convert::identity => i16);
    field!(
        /// Last offset less base offset; also of a compacted batch that has lost its last record.
        last_offset_delta, 23, i32, std::convert::identity => i32);
    field!(
        /// The timestamp, in ms since 1970, that the deltas of the records count from; the delete horizon
        /// where [`Header::has_delete_horizon`].
        base_timestamp, 27, i64, std::convert::identity => i64);
    field!(
        /// Largest timestamp of the records as the writer claims, in ms since 1970; of all of them for
        /// [`TimestampType::LogAppendTime`].
        max_timestamp, 35, i64, std::convert::identity => i64);
    field!(
        /// Who wrote it; -1 when neither idempotent nor transactional.
        producer_id, 43, i64, ProducerId => ProducerId);
    field!(
        /// The incarnation of [`Header::producer_id`], or -1.
        producer_epoch, 51, i16, ProducerEpoch => ProducerEpoch);
    field!(
        /// Sequence number of the first record, or -1.
        base_sequence, 53, i32, Sequence => Sequence);
    field!(
        /// How many records the batch claims; never trust it for an allocation, it may be negative.
        records_count, 57, i32, std::convert::identity => i32);

    /// Offset of the last record. Wraps when base and delta are nonsense.
    pub fn last_offset(&self) -> Offset {
        Offset(
            self.base_offset()
                .0
                .wrapping_add(i64::from(self.last_offset_delta())),
        )
    }

    /// The offset after [`Header::last_offset`].
    pub fn next_offset(&self) -> Offset {
        Offset(self.last_offset().0.wrapping_add(1))
    }

    /// Sequence number of the last record, or -1 if there are none (`DefaultRecordBatch.lastSequence`).
    pub fn last_sequence(&self) -> Sequence {
        match self.base_sequence() {
            Sequence(-1) => Sequence(-1),
            base => base.plus(self.last_offset_delta()),
        }
    }

    /// How the records are compressed; `None` for the ids 5 to 7, which mean nothing.
    pub fn codec(&self) -> Option<Codec> {
        Codec::from_id((self.attributes() & CODEC_BITS) as u8)
    }

    /// Who gave the timestamps.
    pub fn timestamp_type(&self) -> TimestampType {
        match self.attributes() & TIMESTAMP_TYPE_BIT {
            0 => TimestampType::CreateTime,
            _ => TimestampType::LogAppendTime,
        }
    }

    /// Whether it belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes() & TRANSACTIONAL_BIT != 0
    }

    /// Whether it holds control records, which applications never see.
    pub fn is_control(&self) -> bool {
        self.attributes() & CONTROL_BIT != 0
    }

    /// Whether compaction has put the time after which tombstones may go into the base timestamp.
    pub fn has_delete_horizon(&self) -> bool {
        self.attributes() & DELETE_HORIZON_BIT != 0
    }

    /// Whether an idempotent or transactional producer wrote it.
    pub fn has_producer_id(&self) -> bool {
        self.producer_id().0 >= 0
    }
}

/// A view of one whole batch: everything that its header says, and its records.
#[derive(Copy, Clone, Debug)]
pub struct Batch<'a> {
    header: Header<'a>,
    bytes: &'a [u8],
}

impl<'a> Batch<'a> {
    /// The batch at the front of `bytes`; more may follow it.
    ///
    /// # Errors
    /// [`Error`]; the shape alone is checked: magic, and a length that holds a header and is there.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let needed = length_of(bytes)?;
        let bytes = bytes.get(..needed).ok_or(Error::Truncated { needed })?;
        Ok(Self {
            header: Header::parse(bytes)?,
            bytes,
        })
    }

    /// All bytes of it, as they are on the wire and on disk.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Its header, with the lifetime of the bytes.
    pub fn header(&self) -> Header<'a> {
        self.header
    }

    /// What follows the header: the records, compressed if a codec is named.
    pub fn records_bytes(&self) -> &'a [u8] {
        self.bytes.get(HEADER_BYTES..).unwrap_or_default()
    }

    /// Whether the CRC is that of the bytes. Costs one pass over the batch.
    pub fn crc_is_valid(&self) -> bool {
        self.bytes
            .get(CRC_FROM..)
            .is_some_and(|covered| crc32c(covered) == self.crc())
    }

    /// The records, decompressed if need be into at most `decompressed_bytes_max` bytes.
    ///
    /// # Errors
    /// An unknown codec, a malformed stream, or more bytes than allowed. Malformed records are found only when
    /// they are come to.
    pub fn records(&self, decompressed_bytes_max: usize) -> Result<Records<'a>, records::Error> {
        Records::of(*self, decompressed_bytes_max)
    }
}

impl<'a> std::ops::Deref for Batch<'a> {
    type Target = Header<'a>;

    fn deref(&self) -> &Header<'a> {
        &self.header
    }
}

/// The batches that stand one after the other in `bytes`.
///
/// The first one that does not parse is given as an error, and is the last item.
pub fn batches(bytes: &[u8]) -> Batches<'_> {
    Batches {
        rest: bytes,
        is_over: false,
    }
}

/// See [`batches`].
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    rest: &'a [u8],
    is_over: bool,
}

impl<'a> Batches<'a> {
    /// What has not been given out; after an error, the bytes that did not parse.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<Batch<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over || self.rest.is_empty() {
            return None;
        }
        let parsed = Batch::parse(self.rest);
        match &parsed {
            Ok(batch) => self.rest = self.rest.get(batch.length()..).unwrap_or_default(),
            Err(_) => self.is_over = true,
        }
        Some(parsed)
    }
}

/// A batch whose header a leader stamps when it appends.
///
/// The header and the records may lie in different places, so that a header can be stamped on its way into
/// a log whose bytes come from a buffer that must not change.
#[derive(Debug)]
pub struct BatchMut<'a> {
    header: &'a mut [u8; HEADER_BYTES],
    records: &'a [u8],
}

impl<'a> BatchMut<'a> {
    /// The batch at the front of `bytes`, to be changed there.
    ///
    /// # Errors
    /// As [`Batch::parse`].
    pub fn parse(bytes: &'a mut [u8]) -> Result<Self, Error> {
        let needed = Batch::parse(bytes)?.length();
        let truncated = Error::Truncated { needed };
        let bytes = bytes.get_mut(..needed).ok_or(truncated)?;
        let (header, records) = bytes.split_first_chunk_mut().ok_or(truncated)?;
        Ok(Self { header, records })
    }

    /// Takes the header of `batch` over into `header`, to be changed there; `batch` stays as it is.
    pub fn of_copy(header: &'a mut [u8; HEADER_BYTES], batch: Batch<'a>) -> Self {
        *header = *batch.header().bytes();
        Self {
            header,
            records: batch.records_bytes(),
        }
    }

    /// The header as it is now.
    pub fn header(&self) -> Header<'_> {
        Header(self.header)
    }

    /// Moves the batch so that its first offset is `offset`. The CRC does not cover this.
    pub fn set_base_offset(&mut self, offset: Offset) {
        self.header[0..8].copy_from_slice(&offset.0.to_be_bytes());
    }

    /// Notes the epoch of the leader that appends. The CRC does not cover this.
    pub fn set_leader_epoch(&mut self, epoch: LeaderEpoch) {
        self.header[12..16].copy_from_slice(&epoch.0.to_be_bytes());
    }

    /// Sets type and largest timestamp, and the CRC if that changed anything (one more pass over the batch).
    /// Returns whether it did (`DefaultRecordBatch.setMaxTimestamp`).
    pub fn set_max_timestamp(&mut self, kind: TimestampType, max_timestamp: i64) -> bool {
        let header = self.header();
        if header.timestamp_type() == kind && header.max_timestamp() == max_timestamp {
            return false;
        }
        let attributes = match kind {
            TimestampType::CreateTime => header.attributes() & !TIMESTAMP_TYPE_BIT,
            TimestampType::LogAppendTime => header.attributes() | TIMESTAMP_TYPE_BIT,
        };
        self.header[21..23].copy_from_slice(&attributes.to_be_bytes());
        self.header[35..43].copy_from_slice(&max_timestamp.to_be_bytes());
        self.set_crc();
        true
    }

    fn set_crc(&mut self) {
        let mut crc = crc::Crc32c::new();
        crc.update(&self.header[CRC_FROM..]);
        crc.update(self.records);
        self.header[17..CRC_FROM].copy_from_slice(&crc.value().to_be_bytes());
    }
}

/// All that a header says, for one who writes a batch.
///
/// The default is what a plain producer sends: offset 0, no leader epoch, no producer id.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct HeaderFields {
    /// See [`Header::base_offset`].
    pub base_offset: Offset,
    /// See [`Header::leader_epoch`].
    pub leader_epoch: LeaderEpoch,
    /// See [`Header::codec`].
    pub codec: Codec,
    /// See [`Header::timestamp_type`].
    pub timestamp_type: TimestampType,
    /// See [`Header::is_transactional`].
    pub is_transactional: bool,
    /// See [`Header::is_control`].
    pub is_control: bool,
    /// See [`Header::last_offset_delta`].
    pub last_offset_delta: i32,
    /// See [`Header::base_timestamp`].
    pub base_timestamp: i64,
    /// See [`Header::max_timestamp`].
    pub max_timestamp: i64,
    /// See [`Header::producer_id`].
    pub producer_id: ProducerId,
    /// See [`Header::producer_epoch`].
    pub producer_epoch: ProducerEpoch,
    /// See [`Header::base_sequence`].
    pub base_sequence: Sequence,
    /// See [`Header::records_count`].
    pub records_count: i32,
}

impl Default for HeaderFields {
    fn default() -> Self {
        Self {
            base_offset: Offset(0),
            leader_epoch: LeaderEpoch(-1),
            codec: Codec::None,
            timestamp_type: TimestampType::CreateTime,
            is_transactional: false,
            is_control: false,
            last_offset_delta: 0,
            base_timestamp: NO_TIMESTAMP,
            max_timestamp: NO_TIMESTAMP,
            producer_id: ProducerId(-1),
            producer_epoch: ProducerEpoch(-1),
            base_sequence: Sequence(-1),
            records_count: 0,
        }
    }
}

impl HeaderFields {
    /// The header in front of `records` (already compressed), with length and CRC.
    /// `None` when the batch would be longer than its length field can say.
    pub fn encode(&self, records: &[u8]) -> Option<[u8; HEADER_BYTES]> {
        let length = i32::try_from(HEADER_BYTES - LOG_OVERHEAD_BYTES + records.len()).ok()?;
        let mut attributes = i16::from(self.codec.id());
        let mut flag = |is_set: bool, bit: i16| attributes |= if is_set { bit } else { 0 };
        flag(
            self.timestamp_type == TimestampType::LogAppendTime,
            TIMESTAMP_TYPE_BIT,
        );
        flag(self.is_transactional, TRANSACTIONAL_BIT);
        flag(self.is_control, CONTROL_BIT);
        let mut header = [0; HEADER_BYTES];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &self.base_offset.0.to_be_bytes());
        put(8, &length.to_be_bytes());
        put(12, &self.leader_epoch.0.to_be_bytes());
        put(16, &MAGIC.to_be_bytes());
        put(21, &attributes.to_be_bytes());
        put(23, &self.last_offset_delta.to_be_bytes());
        put(27, &self.base_timestamp.to_be_bytes());
        put(35, &self.max_timestamp.to_be_bytes());
        put(43, &self.producer_id.0.to_be_bytes());
        put(51, &self.producer_epoch.0.to_be_bytes());
        put(53, &self.base_sequence.0.to_be_bytes());
        put(57, &self.records_count.to_be_bytes());
        BatchMut {
            header: &mut header,
            records,
        }
        .set_crc();
        Some(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (HeaderFields, Vec<u8>) {
        let fields = HeaderFields {
            base_offset: Offset(0x0102_0304_0506),
            leader_epoch: LeaderEpoch(7),
            codec: Codec::Zstd,
            timestamp_type: TimestampType::CreateTime,
            is_transactional: true,
            is_control: false,
            last_offset_delta: 2,
            base_timestamp: 1000,
            max_timestamp: 1005,
            producer_id: ProducerId(99),
            producer_epoch: ProducerEpoch(3),
            base_sequence: Sequence(i32::MAX - 1),
            records_count: 3,
        };
        let records = b"not looked at";
        let mut bytes = fields.encode(records).unwrap().to_vec();
        bytes.extend_from_slice(records);
        (fields, bytes)
    }

    #[test]
    fn a_header_reads_as_it_was_written() {
        let (fields, bytes) = sample();
        let batch = Batch::parse(&bytes).unwrap();
        let read = HeaderFields {
            base_offset: batch.base_offset(),
            leader_epoch: batch.leader_epoch(),
            codec: batch.codec().unwrap(),
            timestamp_type: batch.timestamp_type(),
            is_transactional: batch.is_transactional(),
            is_control: batch.is_control(),
            last_offset_delta: batch.last_offset_delta(),
            base_timestamp: batch.base_timestamp(),
            max_timestamp: batch.max_timestamp(),
            producer_id: batch.producer_id(),
            producer_epoch: batch.producer_epoch(),
            base_sequence: batch.base_sequence(),
            records_count: batch.records_count(),
        };
        assert_eq!(read, fields);
        assert!(batch.crc_is_valid());
        assert_eq!(batch.length(), bytes.len());
        assert_eq!(batch.last_offset(), Offset(0x0102_0304_0508));
        assert_eq!(batch.last_sequence(), Sequence(0));
        assert_eq!(batch.records_bytes(), b"not looked at");
    }

    #[test]
    fn shapes() {
        let (_, good) = sample();
        let with = |at: usize, new: &[u8]| {
            let mut bytes = good.clone();
            bytes[at..at + new.len()].copy_from_slice(new);
            bytes
        };
        let check = |bytes: &[u8], expected: Result<usize, Error>| {
            assert_eq!(Batch::parse(bytes).map(|b| b.length()), expected);
        };
        check(&good, Ok(74));
        check(&[good.as_slice(), &good].concat(), Ok(74));
        for cut in 0..good.len() {
            let needed = if cut < 17 { 17 } else { 74 };
            check(&good[..cut], Err(Error::Truncated { needed }));
        }
        check(&with(16, &[1]), Err(Error::Magic(1)));
        check(&with(16, &[0]), Err(Error::Magic(0)));
        check(&with(16, &[0xff]), Err(Error::Magic(-1)));
        check(&with(8, &48i32.to_be_bytes()), Err(Error::Length(48)));
        check(&with(8, &49i32.to_be_bytes()), Ok(61));
        check(&with(8, &0i32.to_be_bytes()), Err(Error::Length(0)));
        check(&with(8, &(-1i32).to_be_bytes()), Err(Error::Length(-1)));
        check(&with(8, &i32::MIN.to_be_bytes()), Err(Error::Length(i32::MIN)));
        check(
            &with(8, &i32::MAX.to_be_bytes()),
            Err(Error::Truncated {
                needed: i32::MAX as usize + 12,
            }),
        );
    }

    #[test]
    fn batches_in_a_row() {
        let (_, one) = sample();
        let row = [one.as_slice(), &one, &one[..30]].concat();
        let mut row = batches(&row);
        assert_eq!(row.next().unwrap().unwrap().length(), 74);
        assert_eq!(row.next().unwrap().unwrap().length(), 74);
        assert_eq!(row.next().unwrap().unwrap_err(), Error::Truncated { needed: 74 });
        assert!(row.next().is_none());
        assert_eq!(row.rest(), &one[..30]);
        assert!(batches(&[]).next().is_none());
    }

    #[test]
    fn a_leader_stamps_in_place_and_elsewhere_alike() {
        let (_, before) = sample();
        let stamp = |batch: &mut BatchMut<'_>, kind, max| {
            batch.set_base_offset(Offset(77));
            batch.set_leader_epoch(LeaderEpoch(8));
            batch.set_max_timestamp(kind, max)
        };
        for (kind, max, changes) in [
            (TimestampType::CreateTime, 1005, false),
            (TimestampType::CreateTime, 1006, true),
            (TimestampType::LogAppendTime, 1005, true),
            (TimestampType::LogAppendTime, 5000, true),
        ] {
            let mut bytes = before.clone();
            assert_eq!(
                stamp(&mut BatchMut::parse(&mut bytes).unwrap(), kind, max),
                changes
            );
            let batch = Batch::parse(&bytes).unwrap();
            assert!(batch.crc_is_valid());
            assert_eq!(
                (batch.base_offset(), batch.leader_epoch()),
                (Offset(77), LeaderEpoch(8))
            );
            assert_eq!((batch.timestamp_type(), batch.max_timestamp()), (kind, max));
            assert!(batch.is_transactional());
            assert_eq!(batch.codec(), Some(Codec::Zstd));

            let mut header = [0; HEADER_BYTES];
            stamp(
                &mut BatchMut::of_copy(&mut header, Batch::parse(&before).unwrap()),
                kind,
                max,
            );
            assert_eq!(header, bytes[..HEADER_BYTES]);
        }
    }

    #[test]
    fn any_changed_bit_under_the_crc_is_found() {
        let (_, good) = sample();
        for at in 17..good.len() {
            for bit in 0..8 {
                let mut bytes = good.clone();
                bytes[at] ^= 1 << bit;
                assert!(
                    !Batch::parse(&bytes).unwrap().crc_is_valid(),
                    "bit {bit} of byte {at}"
                );
            }
        }
    }
}
