//! Offsets by time: the first record that is not older than a timestamp.
//!
//! The time index only says where to begin; the answer is a record's own timestamp, found inside its batch,
//! which may have to be decompressed. Source: Kafka's `UnifiedLog.fetchOffsetByTimestamp`.

use protocol::batch::{Batch, Header};
use protocol::types::{LeaderEpoch, Offset};

use super::Log;
use super::read::Patience;
use crate::error::StorageError;
use crate::segment::Segment;

/// Most bytes that one batch is decompressed to for a look-up.
const DECOMPRESSED_BYTES_MAX: usize = 64 << 20;

/// Where a timestamp was found.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct TimestampOffset {
    /// The record's offset.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp: i64,
    /// The epoch of the leader that wrote it.
    pub leader_epoch: LeaderEpoch,
}

impl Log {
    /// The first record below `upper_bound` whose timestamp is at least `timestamp`.
    ///
    /// # Errors
    /// Damage, or of the disk.
    pub async fn offset_for_timestamp(
        &self,
        timestamp: i64,
        upper_bound: Offset,
    ) -> Result<Option<TimestampOffset>, StorageError> {
        self.is_usable()?;
        self.verify_once().await?;
        let bases: Vec<Offset> = {
            let state = self.state.borrow();
            let is_candidate = |segment: &&Segment| segment.max_timestamp >= timestamp;
            state
                .outline
                .segments
                .iter()
                .filter(is_candidate)
                .map(|segment| segment.base)
                .collect()
        };
        for base in bases {
            let look_up = async |patience| self.look_up_in(base, timestamp, patience).await;
            if let Some(found) = self.patiently(look_up).await? {
                return Ok(Some(found).filter(|found| found.offset < upper_bound));
            }
        }
        Ok(None)
    }

    /// The first record below `upper_bound` that carries the log's largest timestamp.
    ///
    /// # Errors
    /// Damage, or of the disk.
    pub async fn max_timestamp(&self, upper_bound: Offset) -> Result<Option<TimestampOffset>, StorageError> {
        let largest = {
            let state = self.state.borrow();
            state
                .outline
                .segments
                .iter()
                .map(|segment| segment.max_timestamp)
                .max()
        };
        match largest {
            Some(largest) if largest >= 0 => self.offset_for_timestamp(largest, upper_bound).await,
            _ => Ok(None),
        }
    }

    async fn look_up_in(
        &self,
        base: Offset,
        timestamp: i64,
        patience: Patience,
    ) -> Result<Option<TimestampOffset>, StorageError> {
        let (mut from, has_more, log_start) = {
            let state = self.state.borrow();
            let Some(segment) = state.outline.segment(base) else {
                return Ok(None);
            };
            let from = segment.times.offset_before(timestamp);
            let has_more = from == base && segment.times_on_disk > 0;
            (from, has_more, state.outline.log_start)
        };
        if has_more {
            from = self.read_indexes(base).await?.times.offset_before(timestamp);
        }
        let mut position = self.position_hint(base, from).await?;
        let Some(mut walk) = self.walk(base, position, 0, patience) else {
            return Ok(None);
        };
        while let Some(found) = walk.batch_at(position).await? {
            position += found.length;
            let is_candidate = Header::parse(&found.header)
                .is_ok_and(|header| header.max_timestamp() >= timestamp && header.last_offset() >= log_start);
            if is_candidate {
                let bytes = walk.bytes_of(&found).await?;
                if let Some(found) = look_up_in_batch(&bytes, timestamp, log_start) {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }
}

/// Records that cannot be read are passed over: the batch was validated when it came, and a look-up by time is
/// no place to fail a consumer.
fn look_up_in_batch(bytes: &[u8], timestamp: i64, log_start: Offset) -> Option<TimestampOffset> {
    let batch = Batch::parse(bytes).ok()?;
    let records = batch.records(DECOMPRESSED_BYTES_MAX).ok()?;
    records
        .iter()
        .map_while(Result::ok)
        .find(|record| record.timestamp >= timestamp && record.offset >= log_start)
        .map(|record| TimestampOffset {
            offset: record.offset,
            timestamp: record.timestamp,
            leader_epoch: batch.leader_epoch(),
        })
}
