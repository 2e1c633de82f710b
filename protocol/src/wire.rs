//! Reading and writing Kafka's primitive types: what every generated message is made of.
//!
//! What a newcomer would get wrong: nothing a peer says about sizes is believed. [`Reader`] compares each
//! count and length with the bytes that are left, by the least an element can take, before it allocates,
//! and what it does allocate is charged to a budget, because a few bytes on the wire can be a large struct
//! in memory. Descriptions cannot nest without end (the generator refuses a struct within itself), so depth
//! needs no counter.

use std::fmt;
use std::ops::RangeInclusive;

use crate::types::Uuid;

/// The most elements an array may have (Kafka 4.4: `MessageUtil`).
pub const ELEMENTS_MAX: usize = 1_000_000;
/// The most tagged fields a struct may have (Kafka 4.4).
pub const TAGS_MAX: usize = 10_000;
/// The most bytes a text may have, in every encoding.
pub const TEXT_BYTES_MAX: usize = i16::MAX as usize;

/// Why bytes are not the message they are said to be. The connection or the record they came from cannot be
/// read any further.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum DecodeError {
    /// Bytes end before the value does.
    Truncated,
    /// A count or length that the bytes left cannot hold, or that no message may have.
    Length,
    /// Null where this version has no null.
    Null,
    /// A text that is not UTF-8.
    Text,
    /// A variable-length number of more bits than it may have.
    Varint,
    /// Tagged fields out of order, twice, or of another size than their content.
    Tag,
    /// Decoding would allocate more than its budget.
    Budget,
    /// A version of the message that is not described.
    Version(i16),
    /// A frame version, a record type or a key type that is not described.
    Unknown(u32),
    /// So many bytes are left behind the message.
    Trailing(usize),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Truncated => out.write_str("the bytes end too early"),
            DecodeError::Length => out.write_str("a count or length is larger than the bytes left"),
            DecodeError::Null => out.write_str("null where a value is required"),
            DecodeError::Text => out.write_str("a text is not UTF-8"),
            DecodeError::Varint => out.write_str("a variable-length number is too long"),
            DecodeError::Tag => out.write_str("tagged fields are out of order or of a wrong size"),
            DecodeError::Budget => out.write_str("the message needs more memory than it may use"),
            DecodeError::Version(version) => write!(out, "version {version} is not known"),
            DecodeError::Unknown(number) => write!(out, "type {number} is not known"),
            DecodeError::Trailing(count) => write!(out, "{count} bytes are left over"),
        }
    }
}

impl std::error::Error for DecodeError {}

type Result<T> = std::result::Result<T, DecodeError>;

/// Takes values off the front of a slice; texts and bytes borrow from it.
///
/// After an error the reader stands anywhere; do not use it further.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    budget: usize,
    flexible: bool,
}

impl<'a> Reader<'a> {
    /// Reads `bytes`; the arrays decoded from them may together take `budget` bytes of memory.
    pub fn new(bytes: &'a [u8], budget: usize) -> Reader<'a> {
        Reader {
            rest: bytes,
            budget,
            flexible: false,
        }
    }

    /// What is not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The memory that may still be allocated, in bytes. What decoding took is the difference.
    pub fn budget(&self) -> usize {
        self.budget
    }

    /// Fails if bytes are left over.
    pub fn finish(&self) -> Result<()> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::Trailing(self.rest.len()))
        }
    }

    /// Whether texts, bytes and arrays come in the compact encoding, and structs end in tagged fields. A
    /// message's `decode` sets it; whoever decodes a nested struct by itself sets it first.
    pub fn set_flexible(&mut self, flexible: bool) {
        self.flexible = flexible;
    }

    /// Begins a message of the given version: refuses one that is not described and chooses the encoding.
    pub(crate) fn begin(
        &mut self,
        version: i16,
        known: RangeInclusive<i16>,
        flexible_since: i16,
    ) -> Result<()> {
        if !known.contains(&version) {
            return Err(DecodeError::Version(version));
        }
        self.flexible = version >= flexible_since;
        Ok(())
    }

    /// Exactly `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// One byte; every value but 0 is true.
    pub fn bool(&mut self) -> Result<bool> {
        Ok(self.i8()? != 0)
    }

    /// One byte, signed.
    pub fn i8(&mut self) -> Result<i8> {
        Ok(i8::from_be_bytes(self.fixed()?))
    }

    /// Two bytes, big-endian like all that follow.
    pub fn i16(&mut self) -> Result<i16> {
        Ok(i16::from_be_bytes(self.fixed()?))
    }

    /// Two bytes, unsigned.
    pub fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_be_bytes(self.fixed()?))
    }

    /// Four bytes.
    pub fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.fixed()?))
    }

    /// Four bytes, unsigned.
    pub fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.fixed()?))
    }

    /// Eight bytes.
    pub fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_be_bytes(self.fixed()?))
    }

    /// Eight bytes, IEEE 754.
    pub fn f64(&mut self) -> Result<f64> {
        Ok(f64::from_be_bytes(self.fixed()?))
    }

    /// Sixteen bytes.
    pub fn uuid(&mut self) -> Result<Uuid> {
        Ok(Uuid(self.fixed()?))
    }

    /// An unsigned number in groups of 7 bits, the lowest first; at most 5 bytes and 32 bits.
    pub fn uvarint(&mut self) -> Result<u32> {
        let mut value = 0u64;
        for place in 0..5 {
            let [byte] = self.fixed()?;
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                return u32::try_from(value).map_err(|_| DecodeError::Varint);
            }
        }
        Err(DecodeError::Varint)
    }

    /// A length or count in the compact encoding (one more than itself, 0 for null) or as an i32.
    fn count(&mut self) -> Result<Option<usize>> {
        let count = if self.flexible {
            i64::from(self.uvarint()?) - 1
        } else {
            i64::from(self.i32()?)
        };
        // A negative count of any size is null, as in Kafka's generated readers.
        if count < 0 {
            Ok(None)
        } else {
            usize::try_from(count).map(Some).map_err(|_| DecodeError::Length)
        }
    }

    /// A text.
    pub fn str(&mut self) -> Result<&'a str> {
        self.nullable_str()?.ok_or(DecodeError::Null)
    }

    /// A text or null.
    pub fn nullable_str(&mut self) -> Result<Option<&'a str>> {
        let length = if self.flexible {
            self.count()?
        } else {
            usize::try_from(self.i16()?).ok()
        };
        let Some(length) = length else { return Ok(None) };
        if length > self.rest.len() || length > TEXT_BYTES_MAX {
            return Err(DecodeError::Length);
        }
        std::str::from_utf8(self.take(length)?)
            .map(Some)
            .map_err(|_| DecodeError::Text)
    }

    /// Bytes, or record batches, which are bytes here.
    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        self.nullable_bytes()?.ok_or(DecodeError::Null)
    }

    /// Bytes or null.
    pub fn nullable_bytes(&mut self) -> Result<Option<&'a [u8]>> {
        let Some(length) = self.count()? else {
            return Ok(None);
        };
        if length > self.rest.len() {
            return Err(DecodeError::Length);
        }
        self.take(length).map(Some)
    }

    /// An array whose elements take at least `least` bytes each.
    pub fn array<T>(
        &mut self,
        least: usize,
        version: i16,
        element: fn(&mut Reader<'a>, i16) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.nullable_array(least, version, element)?
            .ok_or(DecodeError::Null)
    }

    /// An array or null.
    pub fn nullable_array<T>(
        &mut self,
        least: usize,
        version: i16,
        element: fn(&mut Reader<'a>, i16) -> Result<T>,
    ) -> Result<Option<Vec<T>>> {
        let Some(count) = self.admit(least, size_of::<T>())? else {
            return Ok(None);
        };
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(element(self, version)?);
        }
        Ok(Some(elements))
    }

    /// The count of an array, once it is known that the bytes and the budget suffice for it.
    fn admit(&mut self, least: usize, size: usize) -> Result<Option<usize>> {
        let Some(count) = self.count()? else {
            return Ok(None);
        };
        if count > ELEMENTS_MAX || count > self.rest.len() / least.max(1) {
            return Err(DecodeError::Length);
        }
        self.budget = self.budget.checked_sub(count * size).ok_or(DecodeError::Budget)?;
        Ok(Some(count))
    }

    /// Whether a nullable struct that is not tagged follows.
    pub fn is_present(&mut self) -> Result<bool> {
        Ok(self.i8()? >= 0)
    }

    /// Whether a nullable struct follows in a tagged field.
    pub fn is_present_in_tag(&mut self) -> Result<bool> {
        Ok(self.uvarint()? != 0)
    }

    /// The tagged fields at the end of a struct. `field` decodes the one of that number and says true, or
    /// touches nothing and says false; what it does not know is skipped.
    pub fn tags(&mut self, mut field: impl FnMut(&mut Reader<'a>, u32) -> Result<bool>) -> Result<()> {
        let mut next = self.tags_count()?;
        let mut last = None;
        while next > 0 {
            next -= 1;
            let (tag, after) = self.enter_tag(last)?;
            if field(self, tag)? && !self.rest.is_empty() {
                return Err(DecodeError::Tag);
            }
            self.rest = after;
            last = Some(tag);
        }
        Ok(())
    }

    /// The tagged fields of a struct that has none of its own.
    pub fn skip_tags(&mut self) -> Result<()> {
        self.tags(|_, _| Ok(false))
    }

    fn tags_count(&mut self) -> Result<usize> {
        if !self.flexible {
            return Ok(0);
        }
        let count = self.uvarint()? as usize;
        // A tag and a size take a byte each.
        if count > TAGS_MAX || count > self.rest.len() / 2 {
            return Err(DecodeError::Length);
        }
        Ok(count)
    }

    /// Limits the reader to the next tagged field; its number and what follows it.
    fn enter_tag(&mut self, last: Option<u32>) -> Result<(u32, &'a [u8])> {
        let tag = self.uvarint()?;
        if last.is_some_and(|last| tag <= last) {
            return Err(DecodeError::Tag);
        }
        let size = self.uvarint()? as usize;
        let (field, after) = self.rest.split_at_checked(size).ok_or(DecodeError::Length)?;
        self.rest = field;
        Ok((tag, after))
    }
}

/// Appends values to a buffer in the encoding that [`Reader`] reads.
///
/// A text of more than [`TEXT_BYTES_MAX`] bytes is cut at a character: Kafka's readers refuse longer ones,
/// and an error message that quotes what a client sent must not bring the sender down.
#[derive(Debug)]
pub struct Writer<'o> {
    out: &'o mut Vec<u8>,
    flexible: bool,
}

impl<'o> Writer<'o> {
    /// Appends to `out`, in the compact encoding if `flexible`.
    pub fn new(out: &'o mut Vec<u8>, flexible: bool) -> Writer<'o> {
        Writer { out, flexible }
    }

    /// Begins a message of the given version in its encoding.
    pub(crate) fn begin(
        out: &'o mut Vec<u8>,
        version: i16,
        known: RangeInclusive<i16>,
        flexible_since: i16,
    ) -> Writer<'o> {
        debug_assert!(
            known.contains(&version),
            "version {version} is not among {known:?}"
        );
        Writer::new(out, version >= flexible_since)
    }

    /// Bytes as they are, without a length.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// One byte, 0 or 1.
    pub fn bool(&mut self, value: bool) {
        self.out.push(u8::from(value));
    }

    /// One byte.
    pub fn i8(&mut self, value: i8) {
        self.raw(&value.to_be_bytes());
    }

    /// Two bytes.
    pub fn i16(&mut self, value: i16) {
        self.raw(&value.to_be_bytes());
    }

    /// Two bytes.
    pub fn u16(&mut self, value: u16) {
        self.raw(&value.to_be_bytes());
    }

    /// Four bytes.
    pub fn i32(&mut self, value: i32) {
        self.raw(&value.to_be_bytes());
    }

    /// Four bytes.
    pub fn u32(&mut self, value: u32) {
        self.raw(&value.to_be_bytes());
    }

    /// Eight bytes.
    pub fn i64(&mut self, value: i64) {
        self.raw(&value.to_be_bytes());
    }

    /// Eight bytes.
    pub fn f64(&mut self, value: f64) {
        self.raw(&value.to_be_bytes());
    }

    /// Sixteen bytes.
    pub fn uuid(&mut self, value: Uuid) {
        self.raw(&value.0);
    }

    /// An unsigned number in groups of 7 bits.
    pub fn uvarint(&mut self, value: u32) {
        let (bytes, count) = uvarint_bytes(value);
        self.raw(&bytes[..count]);
    }

    /// The count of an array or the length of bytes that the caller appends itself; `None` is null.
    ///
    /// Panics beyond 2^31 - 1: nothing that large is ever built, requests are bounded long before.
    pub fn count(&mut self, count: Option<usize>) {
        let count = count.map_or(-1, |count| {
            i32::try_from(count).expect("counts are bounded by memory budgets")
        });
        if self.flexible {
            self.uvarint((i64::from(count) + 1) as u32);
        } else {
            self.i32(count);
        }
    }

    /// A text.
    pub fn str(&mut self, text: &str) {
        let text = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
        if self.flexible {
            self.uvarint(text.len() as u32 + 1);
        } else {
            self.i16(text.len() as i16);
        }
        self.raw(text.as_bytes());
    }

    /// A text or null.
    pub fn nullable_str(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.str(text),
            None if self.flexible => self.uvarint(0),
            None => self.i16(-1),
        }
    }

    /// Bytes or records.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.count(Some(bytes.len()));
        self.raw(bytes);
    }

    /// Bytes or null.
    pub fn nullable_bytes(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bytes(bytes),
            None => self.count(None),
        }
    }

    /// An array.
    pub fn array<T>(&mut self, elements: &[T], version: i16, element: fn(&T, &mut Writer<'_>, i16)) {
        self.count(Some(elements.len()));
        for one in elements {
            element(one, self, version);
        }
    }

    /// An array or null.
    pub fn nullable_array<T>(
        &mut self,
        elements: Option<&[T]>,
        version: i16,
        element: fn(&T, &mut Writer<'_>, i16),
    ) {
        match elements {
            Some(elements) => self.array(elements, version, element),
            None => self.count(None),
        }
    }

    /// The number of tagged fields that follow; nothing in versions that have none.
    pub fn tags(&mut self, count: u32) {
        if self.flexible {
            self.uvarint(count);
        }
    }

    /// One tagged field: its number, its size and what `content` writes.
    pub fn tag(&mut self, tag: u32, content: impl FnOnce(&mut Writer<'_>)) {
        self.uvarint(tag);
        let start = self.out.len();
        content(self);
        let (bytes, count) = uvarint_bytes((self.out.len() - start) as u32);
        self.out.splice(start..start, bytes[..count].iter().copied());
    }
}

/// The bytes of a variable-length number, and how many of them count.
fn uvarint_bytes(mut value: u32) -> ([u8; 5], usize) {
    let mut bytes = [0; 5];
    let mut count = 0;
    for byte in &mut bytes {
        count += 1;
        *byte = value as u8 & 0x7f;
        value >>= 7;
        if value == 0 {
            break;
        }
        *byte |= 0x80;
    }
    (bytes, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variable_length_numbers() {
        let check = |bytes: &[u8], expected: Result<u32>| {
            let mut reader = Reader::new(bytes, 0);
            assert_eq!(reader.uvarint(), expected);
            if let Ok(value) = expected {
                let mut out = Vec::new();
                Writer::new(&mut out, true).uvarint(value);
                assert_eq!(out, bytes);
            }
        };
        check(b"\x00", Ok(0));
        check(b"\x7f", Ok(127));
        check(b"\x80\x01", Ok(128));
        check(b"\xff\xff\xff\xff\x0f", Ok(u32::MAX));
        check(b"\xff\xff\xff\xff\x10", Err(DecodeError::Varint));
        check(b"\xff\xff\xff\xff\xff\x01", Err(DecodeError::Varint));
        check(b"\x80", Err(DecodeError::Truncated));
    }

    #[test]
    fn texts() {
        let check = |flexible: bool, bytes: &[u8], expected: Result<Option<&str>>| {
            let mut reader = Reader::new(bytes, 0);
            reader.set_flexible(flexible);
            assert_eq!(reader.nullable_str(), expected);
        };
        check(false, b"\0\x02ab", Ok(Some("ab")));
        check(false, b"\xff\xff", Ok(None));
        check(false, b"\x80\x00", Ok(None));
        check(false, b"\0\x03ab", Err(DecodeError::Length));
        check(false, b"\0\x01\xff", Err(DecodeError::Text));
        check(true, b"\x03ab", Ok(Some("ab")));
        check(true, b"\x00", Ok(None));
        check(true, b"\x04ab", Err(DecodeError::Length));
        // Kafka's readers take no text of more than 32767 bytes, whatever its length can say.
        let long = [b"\x81\x80\x02".as_slice(), &[b'a'; 0x8000]].concat();
        check(true, &long, Err(DecodeError::Length));
    }

    #[test]
    fn a_text_that_is_too_long_is_cut_at_a_character() {
        let check = |flexible: bool, text: &str, kept: usize| {
            let mut out = Vec::new();
            Writer::new(&mut out, flexible).str(text);
            let mut reader = Reader::new(&out, 0);
            reader.set_flexible(flexible);
            assert_eq!(reader.str(), Ok(&text[..kept]));
            assert_eq!(reader.finish(), Ok(()));
        };
        for flexible in [false, true] {
            check(flexible, &"a".repeat(TEXT_BYTES_MAX), TEXT_BYTES_MAX);
            check(flexible, &"a".repeat(TEXT_BYTES_MAX + 1), TEXT_BYTES_MAX);
            check(flexible, &"\u{e4}".repeat(TEXT_BYTES_MAX), TEXT_BYTES_MAX - 1);
        }
    }

    #[test]
    fn counts_are_bounded_by_bytes_elements_and_budget() {
        let check = |bytes: &[u8], least: usize, budget: usize, expected: Result<Option<usize>>| {
            let mut reader = Reader::new(bytes, budget);
            let found = reader.nullable_array(least, 0, |reader, _| reader.i16());
            assert_eq!(found.map(|array| array.map(|array| array.len())), expected);
        };
        check(b"\0\0\0\x02abcd", 2, 4, Ok(Some(2)));
        check(b"\0\0\0\x02abcd", 2, 3, Err(DecodeError::Budget));
        check(b"\0\0\0\x03abcd", 2, 100, Err(DecodeError::Length));
        check(b"\0\0\0\x02abcd", 3, 100, Err(DecodeError::Length));
        check(b"\x7f\xff\xff\xffabcd", 2, usize::MAX, Err(DecodeError::Length));
        check(b"\xff\xff\xff\xff", 2, 0, Ok(None));
        check(b"\0\0\0\0", 2, 0, Ok(Some(0)));
        let many = [&1_000_001u32.to_be_bytes(), vec![0; 2_000_002].as_slice()].concat();
        check(&many, 2, usize::MAX, Err(DecodeError::Length));
    }

    #[test]
    fn tagged_fields() {
        let check = |bytes: &[u8], expected: Result<Option<i16>>| {
            let mut reader = Reader::new(bytes, 0);
            reader.set_flexible(true);
            let mut found = None;
            let read = reader.tags(|reader, tag| match tag {
                1 => {
                    found = Some(reader.i16()?);
                    Ok(true)
                }
                _ => Ok(false),
            });
            assert_eq!(read.map(|()| found), expected);
        };
        check(b"\0", Ok(None));
        check(b"\x01\x01\x02\0\x09", Ok(Some(9)));
        check(b"\x02\0\x01x\x01\x02\0\x09", Ok(Some(9)));
        check(b"\x02\x01\x02\0\x09\x63\0", Ok(Some(9)));
        check(b"\x02\x02\0\x01\x02\0\x09", Err(DecodeError::Tag));
        check(b"\x02\x01\x02\0\x09\x01\x02\0\x09", Err(DecodeError::Tag));
        check(b"\x01\x01\x03\0\x09x", Err(DecodeError::Tag));
        check(b"\x01\x01\x01\0\x09", Err(DecodeError::Truncated));
        check(b"\x01\x01\x09\0\x09", Err(DecodeError::Length));
        check(b"\x02\x01\0", Err(DecodeError::Length));
        let many = [b"\x91\x4e".as_slice(), &[0; 30_000]].concat();
        check(&many, Err(DecodeError::Length));
    }
}
