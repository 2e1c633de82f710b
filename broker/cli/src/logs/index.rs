//! The two indexes of a segment.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;
use storage::{index, time_index};

use super::time_text::time_text;
use super::{Printer, Wanted, base_of};

pub fn dump_offsets(path: &Path, wanted: Wanted, printer: &mut Printer<'_>) -> Result<()> {
    let (base, bytes) = (base_of(path), fs::read(path)?);
    let (entries, rest) = bytes.as_chunks::<{ index::ENTRY_BYTES }>();
    let mut last = None;
    for &[a, b, c, d, e, f, g, h] in entries {
        let relative = i32::from_be_bytes([a, b, c, d]);
        let position = i32::from_be_bytes([e, f, g, h]);
        if relative == 0 && position == 0 {
            return printer.line(&Note::allocated_ahead());
        }
        let entry = OffsetEntry {
            offset: base + i64::from(relative),
            position,
        };
        let ascends = last.is_none_or(|last| (relative, position) > last);
        last = Some((relative, position));
        if wanted.includes(entry.offset, entry.offset) {
            printer.line(&entry)?;
        }
        if !ascends {
            wrong("an entry is not above the one before", printer)?;
        }
    }
    whole(rest, printer)
}

pub fn dump_times(path: &Path, wanted: Wanted, printer: &mut Printer<'_>) -> Result<()> {
    let (base, bytes) = (base_of(path), fs::read(path)?);
    let (entries, rest) = bytes.as_chunks::<{ time_index::ENTRY_BYTES }>();
    let mut last = None;
    for &[a, b, c, d, e, f, g, h, i, j, k, l] in entries {
        let timestamp = i64::from_be_bytes([a, b, c, d, e, f, g, h]);
        let relative = i32::from_be_bytes([i, j, k, l]);
        if timestamp == 0 && relative == 0 {
            return printer.line(&Note::allocated_ahead());
        }
        let entry = TimeEntry {
            timestamp,
            offset: base + i64::from(relative),
        };
        let ascends = last.is_none_or(|(time, offset)| timestamp > time && relative >= offset);
        last = Some((timestamp, relative));
        if wanted.includes(entry.offset, entry.offset) {
            printer.line(&entry)?;
        }
        if !ascends {
            wrong("an entry is not above the one before", printer)?;
        }
    }
    whole(rest, printer)
}

fn whole(rest: &[u8], printer: &mut Printer<'_>) -> Result<()> {
    match rest.is_empty() {
        true => Ok(()),
        false => wrong("ends in a part of an entry", printer),
    }
}

fn wrong(note: &'static str, printer: &mut Printer<'_>) -> Result<()> {
    printer.wrong(note);
    printer.line(&Note::wrong(note))
}

/// The last offset of a batch, and where it begins.
#[derive(Serialize)]
struct OffsetEntry {
    offset: i64,
    position: i32,
}

impl fmt::Display for OffsetEntry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "offset {} position {}", self.offset, self.position)
    }
}

/// The largest time up to an offset.
#[derive(Serialize)]
struct TimeEntry {
    timestamp: i64,
    offset: i64,
}

impl fmt::Display for TimeEntry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "timestamp {} offset {}",
            time_text(self.timestamp),
            self.offset
        )
    }
}

#[derive(Serialize)]
struct Note {
    note: &'static str,
    is_wrong: bool,
}

impl Note {
    fn allocated_ahead() -> Note {
        Note {
            note: "the rest is allocated ahead",
            is_wrong: false,
        }
    }

    fn wrong(note: &'static str) -> Note {
        Note { note, is_wrong: true }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}{}", if self.is_wrong { "WRONG: " } else { "" }, self.note)
    }
}
