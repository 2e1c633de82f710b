//! The records of a batch: read one by one, or put together into a new batch.
//!
//! ```text
//! length varint (of what follows) . attributes i8 = 0 . timestamp delta varlong . offset delta varint
//! key length varint (-1 null) . key . value length varint (-1 null) . value
//! headers varint . per header: key length varint . key . value length varint (-1 null) . value
//! ```
//!
//! What a newcomer would get wrong: varints are zig-zag; a record's timestamp is base plus delta only for
//! CreateTime, under LogAppendTime it is the batch's max timestamp; the count in the header must agree with what
//! is there, to the last byte; and a length inside a record is bounded by the record, not by the batch.

use std::borrow::Cow;
use std::io::BufRead;

use crate::batch::{Batch, HEADER_BYTES, HeaderFields, TimestampType};
use crate::compression::{self, Codec};
use crate::types::Offset;

/// Why the records of a batch cannot be read.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// A codec id that Kafka does not define.
    Codec(u8),
    /// The compressed stream is malformed or holds too much.
    Compression(compression::Error),
    /// A record contradicts itself or ends too early.
    Malformed,
    /// Fewer records than the header claims (or a negative number of them).
    TooFew,
    /// Bytes are left over after the records that the header claims.
    Trailing,
    /// A record holds more bytes than the caller allows.
    RecordTooLarge,
    /// What is built would be longer than a batch can be (2 GiB).
    BatchTooLarge,
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Codec(id) => write!(f, "codec {id} does not exist"),
            Error::Compression(error) => error.fmt(f),
            Error::Malformed => f.write_str("a record is malformed"),
            Error::TooFew => f.write_str("there are fewer records than the batch claims"),
            Error::Trailing => f.write_str("bytes are left over after the last record"),
            Error::RecordTooLarge => f.write_str("a record is larger than is allowed"),
            Error::BatchTooLarge => f.write_str("the batch would be too large"),
        }
    }
}

impl std::error::Error for Error {}

impl From<compression::Error> for Error {
    fn from(error: compression::Error) -> Self {
        Error::Compression(error)
    }
}

/// One record, borrowed from its batch.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Unused by Kafka, 0.
    pub attributes: i8,
    /// In ms since 1970, -1 for none.
    pub timestamp: i64,
    /// Its place in the partition.
    pub offset: Offset,
    /// `None` is null, which is not the same as empty.
    pub key: Option<&'a [u8]>,
    /// `None` is null: on a compacted topic, the key is to be deleted.
    pub value: Option<&'a [u8]>,
    /// Its headers, in the order they were written; keys may repeat.
    pub headers: Headers<'a>,
}

/// The headers of a record: already checked, decoded when asked for, so that none costs an allocation.
#[derive(Copy, Clone)]
pub struct Headers<'a> {
    /// Begins with the first header; what follows the last one is not theirs.
    bytes: &'a [u8],
    count: usize,
}

/// Key (UTF-8 by custom) and value of a header.
pub type RecordHeader<'a> = (&'a [u8], Option<&'a [u8]>);

impl<'a> Headers<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Key and value of each.
    pub fn iter(&self) -> impl Iterator<Item = RecordHeader<'a>> + use<'a> {
        let mut source = Slice(self.bytes);
        // All of them were walked when the record was read, so that none is lost here.
        (0..self.count).map_while(move |_| {
            let mut body = Body {
                left: source.0.len(),
                source: &mut source,
            };
            body.header().ok()
        })
    }
}

impl std::fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl PartialEq for Headers<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count && self.iter().eq(other.iter())
    }
}

impl Eq for Headers<'_> {}

/// The records of one batch, decompressed if they had to be.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    bytes: Cow<'a, [u8]>,
    base_offset: Offset,
    base_timestamp: i64,
    /// Set under LogAppendTime: the timestamp of every record.
    append_time: Option<i64>,
    count: i32,
}

impl<'a> Records<'a> {
    /// See [`Batch::records`].
    pub(crate) fn of(batch: Batch<'a>, decompressed_bytes_max: usize) -> Result<Self, Error> {
        let bytes = match codec_of(&batch)? {
            Codec::None => Cow::Borrowed(batch.records_bytes()),
            codec => Cow::Owned(compression::decompress(
                codec,
                batch.records_bytes(),
                decompressed_bytes_max,
            )?),
        };
        Ok(Self {
            bytes,
            base_offset: batch.base_offset(),
            base_timestamp: batch.base_timestamp(),
            append_time: match batch.timestamp_type() {
                TimestampType::CreateTime => None,
                TimestampType::LogAppendTime => Some(batch.max_timestamp()),
            },
            count: batch.records_count(),
        })
    }

    /// The records as bytes, not compressed.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Gives each record, and an error in place of the first that is wrong; after that, nothing. That the count
    /// agrees with what is there is found at the end.
    pub fn iter(&self) -> Iter<'_> {
        Iter {
            source: Slice(&self.bytes),
            left: Some(self.count),
            base_offset: self.base_offset,
            base_timestamp: self.base_timestamp,
            append_time: self.append_time,
        }
    }
}

impl<'r> IntoIterator for &'r Records<'_> {
    type Item = Result<Record<'r>, Error>;
    type IntoIter = Iter<'r>;

    fn into_iter(self) -> Iter<'r> {
        self.iter()
    }
}

/// See [`Records::iter`].
#[derive(Clone, Debug)]
pub struct Iter<'r> {
    source: Slice<'r>,
    /// Records still to come; `None` when it is over.
    left: Option<i32>,
    base_offset: Offset,
    base_timestamp: i64,
    append_time: Option<i64>,
}

impl<'r> Iterator for Iter<'r> {
    type Item = Result<Record<'r>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let left = self.left.take()?;
        if left <= 0 {
            return match left {
                0 if self.source.0.is_empty() => None,
                0 => Some(Err(Error::Trailing)),
                _ => Some(Err(Error::TooFew)),
            };
        }
        let raw = match read_record(&mut self.source, usize::MAX) {
            Ok(raw) => raw,
            Err(error) => return Some(Err(error)),
        };
        self.left = Some(left - 1);
        Some(Ok(Record {
            attributes: raw.attributes,
            timestamp: self
                .append_time
                .unwrap_or_else(|| self.base_timestamp.wrapping_add(raw.timestamp_delta)),
            offset: Offset(self.base_offset.0.wrapping_add(i64::from(raw.offset_delta))),
            key: raw.key,
            value: raw.value,
            headers: Headers {
                bytes: raw.headers,
                count: raw.headers_count,
            },
        }))
    }
}

/// The codec of a batch, or the error that names the id.
pub(crate) fn codec_of(batch: &Batch<'_>) -> Result<Codec, Error> {
    batch.codec().ok_or(Error::Codec((batch.attributes() & 7) as u8))
}

/// A record as it stands in the bytes. `S` is what the source gives for a stretch of them.
pub(crate) struct RawRecord<S> {
    pub attributes: i8,
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub key: Option<S>,
    pub value: Option<S>,
    /// Begins with the first header.
    pub headers: S,
    pub headers_count: usize,
}

impl RawRecord<&[u8]> {
    fn without_bytes(self) -> RawRecord<()> {
        RawRecord {
            attributes: self.attributes,
            timestamp_delta: self.timestamp_delta,
            offset_delta: self.offset_delta,
            key: self.key.map(|_| ()),
            value: self.value.map(|_| ()),
            headers: (),
            headers_count: self.headers_count,
        }
    }
}

/// Where the bytes of records come from: memory, or a stream of which nothing is kept.
pub(crate) trait Source {
    type Span;
    fn byte(&mut self) -> Result<u8, Error>;
    fn take(&mut self, bytes: usize) -> Result<Self::Span, Error>;
    /// All that has not been read, without reading it.
    fn rest(&self) -> Self::Span;
    /// [`read_record`], by a shorter way if the source has one.
    fn record(&mut self, body_bytes_max: usize) -> Result<RawRecord<Self::Span>, Error>
    where
        Self: Sized,
    {
        read_record(self, body_bytes_max)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Slice<'a>(pub &'a [u8]);

impl<'a> Source for Slice<'a> {
    type Span = &'a [u8];

    #[inline]
    fn byte(&mut self) -> Result<u8, Error> {
        let (byte, rest) = self.0.split_first().ok_or(Error::TooFew)?;
        self.0 = rest;
        Ok(*byte)
    }

    #[inline]
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(Error::TooFew)?;
        self.0 = rest;
        Ok(taken)
    }

    fn rest(&self) -> &'a [u8] {
        self.0
    }
}

/// Records of which only the shape is wanted, decompressed piece by piece.
pub(crate) struct Stream<R>(pub R);

impl<R: BufRead> Stream<R> {
    fn filled(&mut self) -> Result<&[u8], Error> {
        match self.0.fill_buf() {
            Ok([]) => Err(Error::TooFew),
            Ok(bytes) => Ok(bytes),
            Err(error) => Err(compression::error_of(&error).into()),
        }
    }

    /// Whether everything has been read.
    pub fn is_empty(&mut self) -> Result<bool, Error> {
        match self.filled() {
            Ok(_) => Ok(false),
            Err(Error::TooFew) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

impl<R: BufRead> Source for Stream<R> {
    type Span = ();

    fn byte(&mut self) -> Result<u8, Error> {
        let byte = self.filled()?.first().copied().ok_or(Error::TooFew)?;
        self.0.consume(1);
        Ok(byte)
    }

    fn take(&mut self, bytes: usize) -> Result<(), Error> {
        let mut left = bytes;
        while left > 0 {
            let count = self.filled()?.len().min(left);
            self.0.consume(count);
            left -= count;
        }
        Ok(())
    }

    fn rest(&self) {}

    fn record(&mut self, body_bytes_max: usize) -> Result<RawRecord<()>, Error> {
        let ready = self.0.fill_buf().map_err(|error| compression::error_of(&error))?;
        let mut slice = Slice(ready);
        let record = read_record(&mut slice, body_bytes_max).map(RawRecord::without_bytes);
        let bytes = ready.len() - slice.0.len();
        match record {
            Ok(record) => {
                self.0.consume(bytes);
                Ok(record)
            }
            // It goes on beyond what is ready: again from its beginning, byte by byte.
            Err(Error::TooFew) => read_record(self, body_bytes_max),
            Err(error) => Err(error),
        }
    }
}

/// Reads one record; its body may have `body_bytes_max` bytes (DefaultRecord.readFrom and readPartiallyFrom).
#[inline]
pub(crate) fn read_record<S: Source>(
    source: &mut S,
    body_bytes_max: usize,
) -> Result<RawRecord<S::Span>, Error> {
    let length = Body { source, left: 5 }.varint()?;
    let left = usize::try_from(length).map_err(|_| Error::Malformed)?;
    if left > body_bytes_max {
        return Err(Error::RecordTooLarge);
    }
    let mut body = Body { source, left };
    let attributes = i8::from_be_bytes([body.byte()?]);
    let timestamp_delta = body.varlong()?;
    let offset_delta = body.varint()?;
    let key = body.sized()?;
    let value = body.sized()?;
    // A header has at least two bytes, so that a count can be refused before anything is read for it.
    let headers_count = usize::try_from(body.varint()?).map_err(|_| Error::Malformed)?;
    if headers_count > body.left / 2 {
        return Err(Error::Malformed);
    }
    let headers = body.source.rest();
    for _ in 0..headers_count {
        body.header()?;
    }
    if body.left > 0 {
        return Err(Error::Malformed);
    }
    Ok(RawRecord {
        attributes,
        timestamp_delta,
        offset_delta,
        key,
        value,
        headers,
        headers_count,
    })
}

/// The inside of one record: nothing beyond its length can be reached.
struct Body<'s, S> {
    source: &'s mut S,
    left: usize,
}

impl<S: Source> Body<'_, S> {
    #[inline]
    fn byte(&mut self) -> Result<u8, Error> {
        self.left = self.left.checked_sub(1).ok_or(Error::Malformed)?;
        self.source.byte()
    }

    #[inline]
    fn varint(&mut self) -> Result<i32, Error> {
        let value = self.varlong()?;
        i32::try_from(value).map_err(|_| Error::Malformed)
    }

    #[inline]
    fn varlong(&mut self) -> Result<i64, Error> {
        // Nearly all have one byte or two.
        let mut zigzag = u64::from(self.byte()?);
        if zigzag >= 0x80 {
            let second = u64::from(self.byte()?);
            zigzag = zigzag & 0x7f | (second & 0x7f) << 7;
            if second >= 0x80 {
                zigzag = self.long_varlong(zigzag)?;
            }
        }
        Ok((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
    }

    /// The rest of one that goes on after two bytes.
    #[cold]
    fn long_varlong(&mut self, mut zigzag: u64) -> Result<u64, Error> {
        for shift in (14..70).step_by(7) {
            let byte = self.byte()?;
            // Of a tenth byte one bit fits.
            if shift == 63 && byte > 1 {
                break;
            }
            zigzag |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(zigzag);
            }
        }
        Err(Error::Malformed)
    }

    /// Length and bytes; any negative length is null, as it is to Kafka.
    #[inline]
    fn sized(&mut self) -> Result<Option<S::Span>, Error> {
        let Ok(bytes) = usize::try_from(self.varint()?) else {
            return Ok(None);
        };
        self.left = self.left.checked_sub(bytes).ok_or(Error::Malformed)?;
        self.source.take(bytes).map(Some)
    }

    #[inline]
    fn header(&mut self) -> Result<(S::Span, Option<S::Span>), Error> {
        let key = self.sized()?.ok_or(Error::Malformed)?;
        Ok((key, self.sized()?))
    }
}

/// Puts records together into one batch (MemoryRecordsBuilder in Kafka).
///
/// Offsets run from the base offset without gaps, the base timestamp is that of the first record, and the
/// header's other fields are taken from the [`HeaderFields`] given at the start.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    fields: HeaderFields,
    level: Option<i32>,
    append_time: Option<i64>,
    /// Records, not compressed.
    records: Vec<u8>,
}

impl BatchBuilder {
    /// Starts a batch. Of `fields`, the count, the last offset delta and the base timestamp come from the records,
    /// and under CreateTime so does the max timestamp; under LogAppendTime it is kept as given.
    pub fn new(fields: HeaderFields) -> Self {
        let append_time = match fields.timestamp_type {
            TimestampType::CreateTime => None,
            TimestampType::LogAppendTime => Some(fields.max_timestamp),
        };
        Self {
            fields: HeaderFields {
                records_count: 0,
                ..fields
            },
            level: None,
            append_time,
            records: Vec::new(),
        }
    }

    /// Compresses with this level (see [`compression::compress`]).
    pub fn with_level(mut self, level: Option<i32>) -> Self {
        self.level = level;
        self
    }

    /// How many records there are.
    pub fn count(&self) -> i32 {
        self.fields.records_count
    }

    /// Bytes that the batch has without compression.
    pub fn bytes_uncompressed(&self) -> usize {
        HEADER_BYTES + self.records.len()
    }

    /// Adds a record; `timestamp` in ms since 1970.
    ///
    /// # Errors
    /// [`Error::BatchTooLarge`]; the record is then not in the batch.
    pub fn append(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[RecordHeader<'_>],
    ) -> Result<(), Error> {
        let offset_delta = self.fields.records_count;
        let is_first = offset_delta == 0;
        let base_timestamp = if is_first {
            timestamp
        } else {
            self.fields.base_timestamp
        };
        let max_timestamp = if is_first {
            timestamp
        } else {
            self.fields.max_timestamp.max(timestamp)
        };

        let body = body_length(
            timestamp.wrapping_sub(base_timestamp),
            offset_delta,
            key,
            value,
            headers,
        );
        let fits = self
            .records
            .len()
            .saturating_add(body)
            .saturating_add(HEADER_BYTES + 5)
            < i32::MAX as usize;
        if !fits || offset_delta == i32::MAX {
            return Err(Error::BatchTooLarge);
        }
        let out = &mut self.records;
        out.reserve(body + 5);
        put_varlong(body as i64, out);
        let before = out.len();
        out.push(0);
        put_varlong(timestamp.wrapping_sub(base_timestamp), out);
        put_varlong(i64::from(offset_delta), out);
        put_sized(key, out);
        put_sized(value, out);
        put_varlong(headers.len() as i64, out);
        for (key, value) in headers {
            put_sized(Some(key), out);
            put_sized(*value, out);
        }
        assert_eq!(
            out.len() - before,
            body,
            "a record's length is computed as it is written"
        );

        self.fields.records_count += 1;
        self.fields.last_offset_delta = offset_delta;
        self.fields.base_timestamp = base_timestamp;
        self.fields.max_timestamp = self.append_time.unwrap_or(max_timestamp);
        Ok(())
    }

    /// The batch, with length and CRC.
    ///
    /// # Errors
    /// The codec failed, or what it made is too large. Without compression neither happens.
    ///
    /// # Panics
    /// Without any record: such a batch must never reach a log.
    pub fn build(self) -> Result<Vec<u8>, Error> {
        assert!(self.fields.records_count > 0, "a batch has at least one record");
        let mut out = vec![0; HEADER_BYTES];
        compression::compress(self.fields.codec, &self.records, self.level, &mut out)?;
        let records = out.get(HEADER_BYTES..).unwrap_or_default();
        let header = self.fields.encode(records).ok_or(Error::BatchTooLarge)?;
        for (to, from) in out.iter_mut().zip(header) {
            *to = from;
        }
        Ok(out)
    }
}

fn body_length(
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[RecordHeader<'_>],
) -> usize {
    let headers_length: usize = headers
        .iter()
        .map(|(key, value)| sized_length(Some(key)) + sized_length(*value))
        .sum();
    1 + varlong_length(timestamp_delta)
        + varlong_length(i64::from(offset_delta))
        + sized_length(key)
        + sized_length(value)
        + varlong_length(headers.len() as i64)
        + headers_length
}

fn sized_length(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varlong_length(bytes.len() as i64) + bytes.len())
}

fn varlong_length(value: i64) -> usize {
    let significant = 64 - zigzag(value).leading_zeros().min(63);
    significant.div_ceil(7) as usize
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

fn put_varlong(value: i64, out: &mut Vec<u8>) {
    let mut left = zigzag(value);
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

fn put_sized(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    match bytes {
        None => put_varlong(-1, out),
        Some(bytes) => {
            put_varlong(bytes.len() as i64, out);
            out.extend_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{LeaderEpoch, ProducerEpoch, ProducerId, Sequence};
    use rand::{RngExt, SeedableRng};

    type Owned = (
        i64,
        Option<Vec<u8>>,
        Option<Vec<u8>>,
        Vec<(Vec<u8>, Option<Vec<u8>>)>,
    );

    fn random_bytes(random: &mut impl RngExt, max: usize) -> Vec<u8> {
        (0..random.random_range(0..=max))
            .map(|_| random.random_range(b'a'..b'f'))
            .collect()
    }

    fn random_records(random: &mut impl RngExt) -> Vec<Owned> {
        let start = random.random_range(-1..2_000_000_000_000i64);
        (0..random.random_range(1..40))
            .map(|_| {
                let maybe = |random: &mut _, max| match RngExt::random_range(random, 0..3) {
                    0 => None,
                    _ => Some(random_bytes(random, max)),
                };
                let key = maybe(random, 20);
                let value = maybe(random, 300);
                let headers =
                    (0..random.random_range(0..3)).map(|_| (random_bytes(random, 8), maybe(random, 8)));
                let headers = headers.collect();
                (start + random.random_range(-5000..5000), key, value, headers)
            })
            .collect()
    }

    fn built(fields: HeaderFields, records: &[Owned]) -> Vec<u8> {
        let mut builder = BatchBuilder::new(fields);
        for (timestamp, key, value, headers) in records {
            let headers: Vec<_> = headers
                .iter()
                .map(|(k, v)| (k.as_slice(), v.as_deref()))
                .collect();
            builder
                .append(*timestamp, key.as_deref(), value.as_deref(), &headers)
                .unwrap();
        }
        builder.build().unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Vec<Owned>, Error> {
        let batch = Batch::parse(bytes).map_err(|_| Error::Malformed)?;
        let records = batch.records(1 << 20)?;
        let mut out = Vec::new();
        for record in &records {
            let record = record?;
            let headers = record
                .headers
                .iter()
                .map(|(k, v)| (k.to_vec(), v.map(<[u8]>::to_vec)));
            let (key, value) = (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
            out.push((record.timestamp, key, value, headers.collect()));
        }
        Ok(out)
    }

    #[test]
    fn what_is_built_reads_back() {
        let mut random = rand_pcg::Pcg64Mcg::seed_from_u64(3);
        for round in 0..300 {
            let records = random_records(&mut random);
            let fields = HeaderFields {
                base_offset: Offset(random.random_range(0..i64::MAX / 2)),
                leader_epoch: LeaderEpoch(random.random()),
                codec: Codec::ALL[round % 5],
                producer_id: ProducerId(random.random()),
                producer_epoch: ProducerEpoch(random.random()),
                base_sequence: Sequence(random.random()),
                is_transactional: random.random(),
                ..HeaderFields::default()
            };
            let bytes = built(fields, &records);
            let batch = Batch::parse(&bytes).unwrap();
            assert!(batch.crc_is_valid());
            assert_eq!(batch.length(), bytes.len());
            assert_eq!(batch.records_count() as usize, records.len());
            assert_eq!(batch.last_offset_delta(), batch.records_count() - 1);
            assert_eq!(Some(batch.max_timestamp()), records.iter().map(|r| r.0).max());
            assert_eq!(read(&bytes), Ok(records.clone()));
            let offsets: Vec<_> = batch
                .records(1 << 20)
                .unwrap()
                .iter()
                .map(|r| r.unwrap().offset.0)
                .collect();
            assert_eq!(
                offsets,
                (batch.base_offset().0..=batch.last_offset().0).collect::<Vec<_>>()
            );

            let now = 77_000;
            let append_time = TimestampType::LogAppendTime;
            let bytes = built(
                HeaderFields {
                    timestamp_type: append_time,
                    max_timestamp: now,
                    ..fields
                },
                &records,
            );
            let stamped: Vec<Owned> = records.into_iter().map(|(_, k, v, h)| (now, k, v, h)).collect();
            assert_eq!(read(&bytes), Ok(stamped));
        }
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic() {
        let mut random = rand_pcg::Pcg64Mcg::seed_from_u64(5);
        for round in 0..60 {
            let codec = Codec::ALL[round % 5];
            let good = built(
                HeaderFields {
                    codec,
                    ..HeaderFields::default()
                },
                &random_records(&mut random),
            );
            for cut in 0..good.len() {
                assert!(read(&good[..cut]).is_err());
            }
            for at in 0..good.len() {
                let mut bytes = good.clone();
                bytes[at] ^= 1 << random.random_range(0..8);
                let is_caught = Batch::parse(&bytes).map_or(true, |batch| !batch.crc_is_valid());
                // Base offset and leader epoch lie outside the CRC.
                assert!(is_caught || at < 8 || (12..16).contains(&at), "byte {at}");
                let _ = read(&bytes);
            }
        }
    }

    #[test]
    fn records_that_contradict_themselves() {
        // One record: length 7, attributes 0, deltas 0, null key, value "v", no headers.
        let good = [14, 0, 0, 0, 1, 2, b'v', 0];
        let check = |count: i32, records: &[u8], expected: Option<Error>| {
            let fields = HeaderFields {
                records_count: count,
                ..HeaderFields::default()
            };
            let mut bytes = fields.encode(records).unwrap().to_vec();
            bytes.extend_from_slice(records);
            assert_eq!(read(&bytes).err(), expected, "{count} {records:?}");
            // The form that keeps nothing must judge alike.
            let mut stream = Stream(records);
            let streamed = (0..count.max(0)).try_for_each(|_| stream.record(100).map(drop));
            let streamed = streamed.and_then(|()| match stream.is_empty()? {
                _ if count < 0 => Err(Error::TooFew),
                true => Ok(()),
                false => Err(Error::Trailing),
            });
            assert_eq!(streamed.err(), expected, "{count} {records:?}, streamed");
        };
        check(1, &good, None);
        check(0, &[], None);
        check(2, &[good, good].concat(), None);
        check(0, &good, Some(Error::Trailing));
        check(1, &[good.as_slice(), &[0]].concat(), Some(Error::Trailing));
        check(2, &good, Some(Error::TooFew));
        check(i32::MAX, &good, Some(Error::TooFew));
        check(-1, &good, Some(Error::TooFew));
        check(1, &[12, 0, 0, 0, 1, 2, b'v', 0], Some(Error::Malformed)); // length one short
        check(1, &[16, 0, 0, 0, 1, 2, b'v', 0, 0], Some(Error::Malformed)); // length one long
        check(1, &[1, 0, 0, 0, 1, 2, b'v', 0], Some(Error::Malformed)); // length -1
        check(1, &[14, 0, 0, 0, 1, 100, b'v', 0], Some(Error::Malformed)); // value beyond the record
        check(1, &[14, 0, 0, 0, 3, 2, b'v', 0], None); // key length -2 is null too
        check(1, &[14, 0, 0, 0, 1, 2, b'v', 1], Some(Error::Malformed)); // -1 headers
        check(1, &[14, 0, 0, 0, 1, 2, b'v', 2], Some(Error::Malformed)); // a header that is not there
        check(1, &[18, 0, 0, 0, 1, 2, b'v', 2, 0, 0], None); // a header with empty key and value
        check(1, &[18, 0, 0, 0, 1, 2, b'v', 2, 1, 0], Some(Error::Malformed)); // a header with a null key
        check(
            1,
            &[14, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80],
            Some(Error::Malformed),
        ); // no end of a varint
        check(1, &[0x80, 0x80, 0x80, 0x80, 0x80, 0x01], Some(Error::Malformed));
    }

    #[test]
    fn varlongs() {
        for value in [
            0,
            1,
            -1,
            63,
            64,
            -64,
            -65,
            8191,
            8192,
            i64::from(i32::MAX),
            i64::MAX,
            i64::MIN,
        ] {
            let mut bytes = Vec::new();
            put_varlong(value, &mut bytes);
            assert_eq!(bytes.len(), varlong_length(value), "{value}");
            let mut source = Slice(&bytes);
            assert_eq!(
                Body {
                    source: &mut source,
                    left: 10
                }
                .varlong(),
                Ok(value)
            );
            assert!(source.0.is_empty());
        }
    }
}
