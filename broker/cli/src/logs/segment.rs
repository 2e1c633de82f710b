//! Batches, of a segment or of a snapshot of the metadata log.

use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::Result;
use protocol::batch::{Batch, HEADER_BYTES, TimestampType};
use protocol::records::Record;
use serde::Serialize;
use storage::offline::{End, Segment};

use super::time_text::time_text;
use super::value::{Meaning, meaning};
use super::{Printer, Wanted, is_metadata};
use crate::record_text::{HeaderText, RecordText, to_fields};

/// What reaches the file of an open segment at least, and in multiples.
const BLOCK_BYTES: u64 = 4096;
/// The most that one batch may unpack to.
const BATCH_BYTES_MAX: usize = 256 << 20;

pub fn dump(path: &Path, wanted: Wanted, printer: &mut Printer<'_>) -> Result<()> {
    let is_metadata = is_metadata(path);
    let mut segment = Segment::new(BufReader::with_capacity(1 << 20, File::open(path)?));
    let mut end = 0;
    // Where the last batch is whose checksum is wrong, and whether a running node has just begun to write it.
    let mut suspect = None;
    while let Some(found) = segment.next_batch()? {
        end = found.position + found.bytes.len() as u64;
        let Some(batch) = found.batch() else { continue };
        if let Some((position, _)) = suspect.take() {
            printer.wrong(&wrong_crc(position));
        }
        let is_begun = !batch.crc_is_valid() && is_begun(found.position, &found.bytes);
        if !batch.crc_is_valid() {
            suspect = Some((found.position, is_begun));
        }
        if !wanted.includes(batch.base_offset().0, batch.last_offset().0) {
            continue;
        }
        printer.line(&BatchLine::of(&batch, found.position, is_begun))?;
        if wanted.records && !is_begun {
            records(&batch, is_metadata, wanted, printer)?;
        }
    }
    let is_allocated_ahead = match segment.end() {
        Some(End::Zeros) => true,
        Some(End::CutOff { position, .. } | End::Garbage { position, .. }) => {
            has_begun_header(path, *position)?
        }
        Some(End::Exact) | None => false,
    };
    match suspect {
        Some((_, is_begun)) if is_begun && is_allocated_ahead => {}
        Some((position, _)) => printer.wrong(&wrong_crc(position)),
        None => {}
    }
    let how = match segment.end() {
        _ if is_allocated_ahead => {
            "in space allocated ahead: open, or not closed cleanly; what was appended last may stand in the journal only"
                .to_owned()
        }
        None | Some(End::Exact | End::Zeros) => "with the file".to_owned(),
        Some(End::CutOff { length, .. }) => format!("in the midst of a batch of {length} bytes"),
        Some(End::Garbage { what, .. }) => format!("in bytes that are no batch: {what}"),
    };
    if !is_allocated_ahead && matches!(segment.end(), Some(End::CutOff { .. } | End::Garbage { .. })) {
        printer.wrong(&format!("what can be read ends at {end}, {how}"));
    }
    printer.line(&EndLine { end, how })
}

fn wrong_crc(position: u64) -> String {
    format!("the batch at {position} has a wrong checksum")
}

/// Whether a batch is one that a running node has begun to write: only whole blocks reach the file, so from one of
/// their borders on it is zeros.
fn is_begun(position: u64, bytes: &[u8]) -> bool {
    let zeros = bytes.iter().rev().take_while(|&&byte| byte == 0).count();
    let written = position + (bytes.len() - zeros) as u64;
    written.next_multiple_of(BLOCK_BYTES) < position + bytes.len() as u64
}

/// The same of a batch of which not even the header is whole.
fn has_begun_header(path: &Path, position: u64) -> Result<bool> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(position))?;
    let mut bytes = Vec::new();
    file.take(2 * BLOCK_BYTES).read_to_end(&mut bytes)?;
    let written = (position.next_multiple_of(BLOCK_BYTES) - position) as usize;
    let is_short = written < HEADER_BYTES && written < bytes.len();
    Ok(is_short && bytes.iter().skip(written).all(|&byte| byte == 0))
}

fn records(batch: &Batch<'_>, is_metadata: bool, wanted: Wanted, printer: &mut Printer<'_>) -> Result<()> {
    let found = match batch.records(BATCH_BYTES_MAX) {
        Ok(found) => found,
        Err(error) => {
            return illegible(batch, &error, printer);
        }
    };
    for record in &found {
        match record {
            Ok(record) if wanted.includes(record.offset.0, record.offset.0) => {
                let meaning = meaning(&record, batch.is_control(), is_metadata);
                printer.line(&RecordLine::of(&record, meaning))?;
            }
            Ok(_) => {}
            Err(error) => {
                return illegible(batch, &error, printer);
            }
        }
    }
    Ok(())
}

fn illegible(batch: &Batch<'_>, error: &dyn fmt::Display, printer: &mut Printer<'_>) -> Result<()> {
    let error = error.to_string();
    // A wrong checksum says it already, and so does the end of a file that is being written.
    if batch.crc_is_valid() {
        printer.wrong(&format!("records that cannot be read: {error}"));
    }
    printer.line(&WrongLine { error })
}

/// A batch, without its records.
#[derive(Serialize)]
struct BatchLine {
    position: u64,
    bytes: usize,
    base_offset: i64,
    last_offset: i64,
    records_count: i32,
    codec: &'static str,
    timestamp_type: &'static str,
    base_timestamp: i64,
    max_timestamp: i64,
    leader_epoch: i32,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    last_sequence: i32,
    is_transactional: bool,
    is_control: bool,
    crc: u32,
    crc_is_valid: bool,
    /// Being written: the rest stands in the journal.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_begun: bool,
}

impl BatchLine {
    fn of(batch: &Batch<'_>, position: u64, is_begun: bool) -> BatchLine {
        BatchLine {
            position,
            bytes: batch.length(),
            base_offset: batch.base_offset().0,
            last_offset: batch.last_offset().0,
            records_count: batch.records_count(),
            codec: batch.codec().map_or("unknown", |codec| codec.name()),
            timestamp_type: match batch.timestamp_type() {
                TimestampType::CreateTime => "CreateTime",
                TimestampType::LogAppendTime => "LogAppendTime",
            },
            base_timestamp: batch.base_timestamp(),
            max_timestamp: batch.max_timestamp(),
            leader_epoch: batch.leader_epoch().0,
            producer_id: batch.producer_id().0,
            producer_epoch: batch.producer_epoch().0,
            base_sequence: batch.base_sequence().0,
            last_sequence: batch.last_sequence().0,
            is_transactional: batch.is_transactional(),
            is_control: batch.is_control(),
            crc: batch.crc(),
            crc_is_valid: batch.crc_is_valid(),
            is_begun,
        }
    }
}

impl fmt::Display for BatchLine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "offsets {}..{} count {} at {} bytes {} {} {} {} epoch {}",
            self.base_offset,
            self.last_offset,
            self.records_count,
            self.position,
            self.bytes,
            self.codec,
            self.timestamp_type,
            time_text(self.max_timestamp),
            self.leader_epoch,
        )?;
        if self.producer_id >= 0 {
            write!(out, " producer {}/{}", self.producer_id, self.producer_epoch)?;
            write!(out, " sequences {}..{}", self.base_sequence, self.last_sequence)?;
        }
        for (is_so, word) in [
            (self.is_transactional, " transactional"),
            (self.is_control, " control"),
        ] {
            if is_so {
                out.write_str(word)?;
            }
        }
        out.write_str(match (self.crc_is_valid, self.is_begun) {
            (true, _) => " crc ok",
            (false, true) => " begun: the rest is not in the file yet",
            (false, false) => " CRC WRONG",
        })
    }
}

#[derive(Serialize)]
struct RecordLine {
    #[serde(flatten)]
    record: RecordText,
    #[serde(flatten)]
    meaning: Option<Meaning>,
}

impl RecordLine {
    fn of(record: &Record<'_>, meaning: Option<Meaning>) -> RecordLine {
        let (key, key_base64) = to_fields(record.key);
        let (value, value_base64) = to_fields(record.value);
        let headers = record.headers.iter().map(|(key, value)| {
            let (value, value_base64) = to_fields(value);
            HeaderText {
                key: String::from_utf8_lossy(key).into_owned(),
                value,
                value_base64,
            }
        });
        let record = RecordText {
            offset: Some(record.offset.0),
            timestamp: Some(record.timestamp),
            key,
            key_base64,
            value,
            value_base64,
            headers: headers.collect(),
            ..RecordText::default()
        };
        RecordLine { record, meaning }
    }
}

impl fmt::Display for RecordLine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = &self.record;
        let time = time_text(record.timestamp.unwrap_or(-1));
        write!(out, "  {} {time}", record.offset.unwrap_or(-1))?;
        if let Some(meaning) = &self.meaning {
            return write!(out, " {meaning}");
        }
        let mut part = |name: &str, text: &Option<String>, base64: &Option<String>| match (text, base64) {
            (Some(text), _) => write!(out, " {name} {text:?}"),
            (None, Some(base64)) => write!(out, " {name} base64:{base64}"),
            (None, None) => write!(out, " {name} null"),
        };
        part("key", &record.key, &record.key_base64)?;
        part("value", &record.value, &record.value_base64)?;
        for header in &record.headers {
            part(
                &format!("header {:?}", header.key),
                &header.value,
                &header.value_base64,
            )?;
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct EndLine {
    end: u64,
    how: String,
}

impl fmt::Display for EndLine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "ends at {}, {}", self.end, self.how)
    }
}

#[derive(Serialize)]
struct WrongLine {
    error: String,
}

impl fmt::Display for WrongLine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "  RECORDS NOT LEGIBLE: {}", self.error)
    }
}
