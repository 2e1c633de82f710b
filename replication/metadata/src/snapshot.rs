//! Snapshots of an image, as Kafka's `.checkpoint` files: a control batch that opens, records, a control
//! batch that closes.
//!
//! What a newcomer would get wrong: a file without the closing batch was never finished and is not a
//! snapshot; offsets in the file count from 0 and have nothing to do with the log's, whose end stands in the
//! file's name.

use protocol::batch::{Batch, HeaderFields, batches};
use protocol::control::{self, ControlType, Place};
use protocol::messages::{SnapshotFooterRecord, SnapshotHeaderRecord};
use protocol::records::{self, BatchBuilder};
use protocol::types::{LeaderEpoch, Offset};
use protocol::wire::{DecodeError, Reader};

use crate::image::Image;
use crate::loader::{self, Loader};
use crate::records::Records;

/// A batch of a snapshot is closed when it has this many bytes.
const BATCH_BYTES: usize = 1 << 20;
/// And when it has this many records.
const BATCH_RECORDS: i32 = 10_000;

/// Which part of the log a snapshot stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id {
    /// The first offset that is not in it.
    pub end_offset: Offset,
    /// The epoch of the last record that is.
    pub epoch: LeaderEpoch,
}

impl Id {
    /// The name of the file.
    pub fn file_name(&self) -> String {
        format!("{:020}-{:010}.checkpoint", self.end_offset.0, self.epoch.0)
    }

    /// The snapshot that a file of this name holds; none if it is no snapshot's.
    pub fn of_file_name(name: &str) -> Option<Id> {
        let (offset, epoch) = name.strip_suffix(".checkpoint")?.split_once('-')?;
        let is_number = |text: &str, digits| text.len() == digits && text.bytes().all(|b| b.is_ascii_digit());
        let fits = is_number(offset, 20) && is_number(epoch, 10);
        fits.then_some(())?;
        Some(Id {
            end_offset: Offset(offset.parse().ok()?),
            epoch: LeaderEpoch(epoch.parse().ok()?),
        })
    }
}

/// Why bytes are no snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// A batch is damaged: cut off, or its CRC is wrong. The place is the byte it begins at.
    Damaged(usize),
    /// A batch cannot be read.
    Records(records::Error),
    /// The opening batch is missing or cannot be read.
    NoHeader,
    /// The closing batch is missing.
    NoFooter,
    /// The opening record cannot be read.
    Decode(DecodeError),
    /// A record cannot be applied.
    Load(loader::Error),
}

impl std::fmt::Display for Error {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Damaged(at) => write!(out, "the batch at byte {at} is damaged"),
            Error::Records(error) => write!(out, "a batch cannot be read: {error}"),
            Error::NoHeader => out.write_str("it does not begin with a snapshot's header"),
            Error::NoFooter => out.write_str("it does not end with a snapshot's footer"),
            Error::Decode(error) => write!(out, "its header cannot be read: {error}"),
            Error::Load(error) => write!(out, "{error}"),
        }
    }
}

impl std::error::Error for Error {}

/// A snapshot that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// What it says.
    pub image: Image,
    /// The time of the last record of the log that is in it, in ms since 1970.
    pub last_timestamp: i64,
}

/// The bytes of a snapshot of `image`; `last_timestamp` is the time of the last record of the log that is in
/// it, and `now` the time now, in ms since 1970.
///
/// # Errors
/// One record is longer than a batch can be.
pub fn encode(image: &Image, id: Id, last_timestamp: i64, now: i64) -> Result<Vec<u8>, records::Error> {
    let header = SnapshotHeaderRecord {
        version: 0,
        last_contained_log_timestamp: last_timestamp,
    };
    let place = |base_offset| Place {
        base_offset,
        leader_epoch: id.epoch,
        timestamp: now,
    };
    let mut out = control::snapshot_header(place(Offset(0)), &header);
    let end = write_records(&mut out, &image.records(), Offset(1), id.epoch, now)?;
    out.extend(control::snapshot_footer(
        place(end),
        &SnapshotFooterRecord { version: 0 },
    ));
    Ok(out)
}

/// The records as batches that are not compressed, from `base` on; gives the offset after the last.
fn write_records(
    out: &mut Vec<u8>,
    records: &Records,
    base: Offset,
    leader_epoch: LeaderEpoch,
    now: i64,
) -> Result<Offset, records::Error> {
    let start = |base_offset| {
        BatchBuilder::new(HeaderFields {
            base_offset,
            leader_epoch,
            ..HeaderFields::default()
        })
    };
    let mut next = base;
    let mut batch = start(next);
    for value in records.values() {
        if batch.count() >= BATCH_RECORDS || batch.bytes_uncompressed() + value.len() > BATCH_BYTES {
            next = Offset(next.0 + i64::from(batch.count()));
            flush(out, std::mem::replace(&mut batch, start(next)))?;
        }
        batch.append(now, None, Some(value), &[])?;
    }
    next = Offset(next.0 + i64::from(batch.count()));
    flush(out, batch)?;
    Ok(next)
}

fn flush(out: &mut Vec<u8>, batch: BatchBuilder) -> Result<(), records::Error> {
    if batch.count() > 0 {
        out.extend(batch.build()?);
    }
    Ok(())
}

/// Reads a snapshot. Every CRC is checked, so that a rotten file is found here and not later.
pub fn decode(bytes: &[u8]) -> Result<Snapshot, Error> {
    let mut loader = Loader::default();
    let mut all = batches(bytes);
    let mut last_timestamp = None;
    let mut is_closed = false;
    loop {
        let at = bytes.len() - all.rest().len();
        let batch = match all.next() {
            None if all.rest().is_empty() => break,
            None => return Err(Error::Damaged(at)),
            Some(batch) => batch.map_err(|_| Error::Damaged(at))?,
        };
        if !batch.crc_is_valid() || is_closed {
            return Err(Error::Damaged(at));
        }
        if batch.header().is_control() {
            let (opening, closing) = read_control(&batch)?;
            last_timestamp = last_timestamp.or(opening);
            is_closed = closing;
        }
        if last_timestamp.is_none() {
            return Err(Error::NoHeader);
        }
        loader.apply_batch(&batch).map_err(Error::Load)?;
    }
    let last_timestamp = last_timestamp.ok_or(Error::NoHeader)?;
    if !is_closed {
        return Err(Error::NoFooter);
    }
    Ok(Snapshot {
        image: loader.image().clone(),
        last_timestamp,
    })
}

/// The time in a snapshot's header, and whether a footer is there.
fn read_control(batch: &Batch<'_>) -> Result<(Option<i64>, bool), Error> {
    let mut opening = None;
    let mut is_closing = false;
    for (kind, value) in control::records_of(batch).map_err(Error::Records)? {
        match kind {
            ControlType::SnapshotHeader => {
                let header = SnapshotHeaderRecord::decode(&mut Reader::new(&value, value.len()), 0);
                opening = Some(header.map_err(Error::Decode)?.last_contained_log_timestamp);
            }
            ControlType::SnapshotFooter => is_closing = true,
            // The voters stand in the snapshots of a quorum whose voters may change; here they may not.
            ControlType::Abort
            | ControlType::Commit
            | ControlType::LeaderChange
            | ControlType::KRaftVersion
            | ControlType::KRaftVoters => {}
        }
    }
    Ok((opening, is_closing))
}
