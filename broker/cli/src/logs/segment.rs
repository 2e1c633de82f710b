//! Batches, of a segment or of a snapshot of the metadata log.

use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::Result;
use protocol::batch::{Batch, TimestampType};
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
    // Where and what the last batch is whose checksum is wrong.
    let mut suspect = None;
    while let Some(found) = segment.next_batch()? {
        end = found.position + found.bytes.len() as u64;
        let Some(batch) = found.batch() else { continue };
        if let Some((position, _)) = suspect.take() {
            printer.wrong(&wrong_crc(position));
        }
        if !batch.crc_is_valid() {
            suspect = Some((found.position, found.bytes.clone()));
        }
        if !wanted.includes(batch.base_offset().0, batch.last_offset().0) {
            continue;
        }
        printer.line(&BatchLine::of(&batch, found.position))?;
        if wanted.records {
            records(&batch, is_metadata, wanted, printer)?;
        }
    }
    match (segment.end(), suspect) {
        (Some(End::Zeros), Some((position, bytes))) if is_begun(position, &bytes) => {}
        (_, Some((position, _))) => printer.wrong(&wrong_crc(position)),
        (_, None) => {}
    }
    let how = match segment.end() {
        None | Some(End::Exact) => "with the file".to_owned(),
        Some(End::Zeros) => {
            "in space allocated ahead: open, or not closed cleanly; what was appended last may stand in the journal only"
                .to_owned()
        }
        Some(End::CutOff { length, .. }) => format!("in the midst of a batch of {length} bytes"),
        Some(End::Garbage { what, .. }) => format!("in bytes that are no batch: {what}"),
    };
    if matches!(segment.end(), Some(End::CutOff { .. } | End::Garbage { .. })) {
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
}

impl BatchLine {
    fn of(batch: &Batch<'_>, position: u64) -> BatchLine {
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
        out.write_str(if self.crc_is_valid {
            " crc ok"
        } else {
            " CRC WRONG"
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
