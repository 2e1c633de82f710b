//! What lets a batch be sent twice and stand in the log once: a producer id, and the sequence at which the next batch
//! of each partition begins (KIP-98; `TransactionManager` of Kafka's own client).
//!
//! What a newcomer would get wrong: a sequence moves on when its batch is closed, not when it is answered. A batch keeps
//! its sequence however often it is sent, and the next one for the same partition waits until it is acknowledged.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use protocol::api::ApiKey;
use protocol::batch::HeaderFields;
use protocol::error_code::ErrorCode;
use protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};
use protocol::{ProducerEpoch, ProducerId, Sequence};

use crate::client::{Client, kafka_error};
use crate::waiting::Waiting;

/// Before a broker that has no producer ids yet is asked again.
const RETRY: Duration = Duration::from_millis(20);

/// The streams of one producer to its partitions.
#[derive(Debug)]
pub struct Sequences {
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    /// Where the next batch begins; a partition that is missing begins at 0.
    next: BTreeMap<i32, Sequence>,
}

impl Sequences {
    /// Asks for a producer id that nobody else has, and waits while the broker has none to give.
    ///
    /// # Errors
    /// The broker cannot be reached, refuses, or has been waited for long enough.
    pub fn begin(client: &mut Client) -> Result<Sequences> {
        let request = InitProducerIdRequest {
            transactional_id: None,
            // Unused without a transactional id.
            transaction_timeout_ms: i32::MAX,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        let mut waiting = Waiting::default();
        loop {
            let (code, sequences) = client.call(
                None,
                ApiKey::InitProducerId,
                5,
                |out, version| request.encode(out, version),
                |reader, version| {
                    let response = InitProducerIdResponse::decode(reader, version)?;
                    let id = ProducerId(response.producer_id);
                    let epoch = ProducerEpoch(response.producer_epoch);
                    Ok((response.error_code, Sequences::new(id, epoch)))
                },
            )?;
            if code == 0 {
                return Ok(sequences);
            }
            let why = kafka_error("a producer id", code, None);
            if !ErrorCode::from_code(code).is_retriable() {
                return Err(why);
            }
            waiting.on(why)?;
            sleep(RETRY);
        }
    }

    fn new(producer_id: ProducerId, producer_epoch: ProducerEpoch) -> Sequences {
        Sequences {
            producer_id,
            producer_epoch,
            next: BTreeMap::new(),
        }
    }

    /// `fields` as those of the next batch for `partition`.
    pub fn mark(&self, partition: i32, fields: HeaderFields) -> HeaderFields {
        HeaderFields {
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            base_sequence: self.next.get(&partition).copied().unwrap_or(Sequence(0)),
            ..fields
        }
    }

    /// The next batch for `partition` is closed and has `count` records.
    pub fn close(&mut self, partition: i32, count: i32) {
        let next = self.next.entry(partition).or_insert(Sequence(0));
        *next = next.plus(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_partition_counts_its_own_records() {
        let mut sequences = Sequences::new(ProducerId(7), ProducerEpoch(2));
        let mut check = |partition: i32, count: i32, expected: i32| {
            let marked = sequences.mark(partition, HeaderFields::default());
            // Looking moves nothing.
            assert_eq!(sequences.mark(partition, HeaderFields::default()), marked);
            let found = (marked.producer_id, marked.producer_epoch, marked.base_sequence);
            assert_eq!(found, (ProducerId(7), ProducerEpoch(2), Sequence(expected)));
            sequences.close(partition, count);
        };
        check(0, 3, 0);
        check(1, 5, 0);
        check(0, 1, 3);
        check(0, i32::MAX - 4, 4);
        // After 2^31 - 1 comes 0.
        check(0, 2, i32::MAX);
        check(0, 1, 1);
        check(1, 1, 5);
    }
}
