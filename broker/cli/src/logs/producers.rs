//! Snapshots of a partition's producers.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Result, anyhow};
use serde::Serialize;
use storage::producers::Producers;

use super::Printer;
use super::time_text::time_text;

pub fn dump(path: &Path, printer: &mut Printer<'_>) -> Result<()> {
    let bytes = fs::read(path)?;
    let producers =
        Producers::decode_snapshot(&bytes).map_err(|error| anyhow!("no snapshot of producers: {error:?}"))?;
    for (id, producer) in producers.iter() {
        let newest = producer.batches.back();
        printer.line(&ProducerLine {
            producer_id: id.0,
            producer_epoch: producer.epoch.0,
            coordinator_epoch: producer.coordinator_epoch,
            last_timestamp: producer.last_timestamp,
            transaction_first_offset: producer.transaction_first_offset.map(|first| first.0),
            last_sequence: newest.map(|newest| newest.last_sequence.0),
            last_offset: newest.map(|newest| newest.last_offset.0),
            offset_delta: newest.map(|newest| newest.offset_delta),
        })?;
    }
    Ok(())
}

#[derive(Serialize)]
struct ProducerLine {
    producer_id: i64,
    producer_epoch: i16,
    coordinator_epoch: i32,
    last_timestamp: i64,
    transaction_first_offset: Option<i64>,
    last_sequence: Option<i32>,
    last_offset: Option<i64>,
    offset_delta: Option<i32>,
}

impl fmt::Display for ProducerLine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "producer {}/{} last at {}",
            self.producer_id,
            self.producer_epoch,
            time_text(self.last_timestamp)
        )?;
        if let (Some(sequence), Some(offset)) = (self.last_sequence, self.last_offset) {
            write!(out, " last sequence {sequence} last offset {offset}")?;
        }
        if let Some(first) = self.transaction_first_offset {
            write!(out, " transaction open from {first}")?;
        }
        Ok(())
    }
}
