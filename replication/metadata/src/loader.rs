//! Makes images out of the committed log, batch by batch.
//!
//! What a newcomer would get wrong: between the records that begin and end a metadata transaction the new
//! records must not be seen; the loader keeps them on an image of its own until the end, over as many batches
//! as it takes.

use std::collections::BTreeSet;

use protocol::batch::Batch;
use protocol::messages::MetadataRecord;
use protocol::records;
use protocol::types::{Offset, TopicId};
use protocol::wire::Reader;

use crate::image::{ApplyError, Image};

/// A decompressed batch of the metadata log may have this many bytes. The log is not compressed; a batch has
/// 8 MiB at most.
const BATCH_BYTES_MAX: usize = 64 << 20;
/// As for one record of an image.
const DECODE_BUDGET: usize = 64 << 20;

/// An image on its way along the log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loader {
    image: Image,
    /// The image with the records of an open transaction.
    transaction: Option<Image>,
    next_offset: Offset,
}

/// Why a batch cannot be applied; the loader is then of no more use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The batch cannot be read.
    Records(records::Error),
    /// A record in it has no value.
    NoValue(Offset),
    /// The record at this offset cannot be applied.
    Apply(Offset, ApplyError),
    /// The batch does not begin where the last one ended.
    Gap(Offset),
}

impl std::fmt::Display for Error {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Records(error) => write!(out, "a batch of the metadata log cannot be read: {error}"),
            Error::NoValue(offset) => write!(out, "the metadata record at offset {offset} has no value"),
            Error::Apply(offset, error) => write!(out, "at offset {offset} of the metadata log {error}"),
            Error::Gap(offset) => write!(
                out,
                "the metadata log goes on at offset {offset}, not where it ended"
            ),
        }
    }
}

impl std::error::Error for Error {}

impl Loader {
    /// A loader that goes on from a snapshot's image; the next record is at `next_offset`.
    pub fn new(image: Image, next_offset: Offset) -> Loader {
        Loader {
            image,
            transaction: None,
            next_offset,
        }
    }

    /// The image as of the last record applied, without those of an open transaction.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// The offset of the next record.
    pub fn next_offset(&self) -> Offset {
        self.next_offset
    }

    /// Whether a transaction has begun and not ended.
    pub fn is_in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// Applies one committed batch. Control batches only move the offset.
    pub fn apply_batch(&mut self, batch: &Batch<'_>) -> Result<(), Error> {
        let header = batch.header();
        if header.base_offset() != self.next_offset {
            return Err(Error::Gap(header.base_offset()));
        }
        if !header.is_control() {
            let records = batch.records(BATCH_BYTES_MAX).map_err(Error::Records)?;
            for record in &records {
                let record = record.map_err(Error::Records)?;
                let value = record.value.ok_or(Error::NoValue(record.offset))?;
                self.apply(value)
                    .map_err(|error| Error::Apply(record.offset, error))?;
            }
        }
        self.next_offset = header.next_offset();
        Ok(())
    }

    fn apply(&mut self, value: &[u8]) -> Result<(), ApplyError> {
        let (record, _) = MetadataRecord::decode(&mut Reader::new(value, DECODE_BUDGET))?;
        match (&record, &mut self.transaction) {
            (MetadataRecord::BeginTransaction(_), None) => self.transaction = Some(self.image.clone()),
            (MetadataRecord::EndTransaction(_), Some(_)) => {
                self.image = self.transaction.take().unwrap_or_default();
            }
            (MetadataRecord::AbortTransaction(_), Some(_)) => self.transaction = None,
            (
                MetadataRecord::BeginTransaction(_)
                | MetadataRecord::EndTransaction(_)
                | MetadataRecord::AbortTransaction(_),
                _,
            ) => return Err(ApplyError::Transaction),
            (_, Some(open)) => open.apply_record(&record, value)?,
            (_, None) => self.image.apply_record(&record, value)?,
        }
        Ok(())
    }
}

/// The topics that a batch of the metadata log takes away. What cannot be decoded fails when it is applied, not here.
///
/// # Errors
/// The batch cannot be read.
pub fn removed_topics(batch: &Batch<'_>) -> Result<BTreeSet<TopicId>, Error> {
    let mut removed = BTreeSet::new();
    if batch.header().is_control() {
        return Ok(removed);
    }
    let records = batch.records(BATCH_BYTES_MAX).map_err(Error::Records)?;
    for record in &records {
        let value = record.map_err(Error::Records)?.value.unwrap_or_default();
        let decoded = MetadataRecord::decode(&mut Reader::new(value, DECODE_BUDGET));
        if let Ok((MetadataRecord::RemoveTopic(record), _)) = decoded {
            removed.insert(record.topic_id);
        }
    }
    Ok(removed)
}
