//! The produce side: requests made once per partition and sent again and again, so that the generator costs little.
//!
//! Only the correlation id changes from request to request, and, where a consumer measures how long a record was under
//! way, the stamp in the first bytes of its value together with the checksum.

use protocol::batch::HeaderFields;
use protocol::crc::crc32c;
use protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use protocol::messages::produce_response::ProduceResponse;
use protocol::records::BatchBuilder;
use protocol::wire::Reader;

use anyhow::{Result, anyhow, ensure};

use crate::control::{DECODE_BUDGET, Topic, frame};
use crate::workload::Workload;

/// Produce 13 names topics by id; every broker of the 4.x line has it.
const VERSION: i16 = 13;
/// Bytes of a stamp at the front of a value.
pub const STAMP_BYTES: usize = 8;
/// Where the checksum of a batch stands, and where the bytes that it covers begin (DefaultRecordBatch).
const CRC_AT: usize = 17;
const CRC_FROM: usize = 21;
const BATCH_HEADER_BYTES: usize = 61;

/// A whole Produce request for one partition, ready to be sent.
pub struct Template {
    bytes: Vec<u8>,
    batch_at: usize,
    batch_bytes: usize,
    value_at: usize,
}

impl Template {
    /// One batch as the workload wants it, for `partition`.
    ///
    /// # Errors
    /// A batch that the protocol cannot hold.
    pub fn new(workload: &Workload, topic: Topic, partition: usize, now_ms: i64) -> Result<Template> {
        let batch = batch(workload, now_ms)?;
        let data = PartitionProduceData {
            index: partition as i32,
            records: Some(&batch),
        };
        let request = ProduceRequest {
            acks: workload.acks,
            timeout_ms: 30_000,
            topic_data: vec![TopicProduceData {
                topic_id: topic.id,
                partition_data: vec![data],
                ..Default::default()
            }],
            ..Default::default()
        };
        let mut bytes = Vec::new();
        frame(&mut bytes, ProduceRequest::API_KEY, VERSION, true, 0, |out| {
            request.encode(out, VERSION)
        });
        // Behind the records stand the empty tagged sections of the partition, the topic and the request.
        let batch_at = bytes.len() - 3 - batch.len();
        let value_at = batch_at + first_value_at(workload.record_bytes);
        Ok(Template {
            bytes,
            batch_at,
            batch_bytes: batch.len(),
            value_at,
        })
    }

    /// Bytes of the record batch in it.
    pub fn batch_bytes(&self) -> usize {
        self.batch_bytes
    }

    /// Appends the request under this correlation id; with a stamp, the first record's value begins with it.
    pub fn write(&mut self, out: &mut Vec<u8>, correlation_id: i32, stamp: Option<u64>) {
        self.bytes[8..12].copy_from_slice(&correlation_id.to_be_bytes());
        if let Some(stamp) = stamp {
            self.bytes[self.value_at..self.value_at + STAMP_BYTES].copy_from_slice(&stamp.to_be_bytes());
            let batch = &self.bytes[self.batch_at..self.batch_at + self.batch_bytes];
            let crc = crc32c(&batch[CRC_FROM..]);
            self.bytes[self.batch_at + CRC_AT..self.batch_at + CRC_AT + 4]
                .copy_from_slice(&crc.to_be_bytes());
        }
        out.extend_from_slice(&self.bytes);
    }
}

/// The stamp at the front of the first value of a batch that a [`Template`] made; none if it is not one.
pub fn stamp_of(batch: &[u8], record_bytes: usize) -> Option<u64> {
    batch
        .get(first_value_at(record_bytes)..)?
        .first_chunk()
        .map(|bytes| u64::from_be_bytes(*bytes))
}

/// Error codes in an answer (its correlation id included).
///
/// # Errors
/// An answer that cannot be read.
pub fn errors(answer: &[u8]) -> Result<u64> {
    let body = answer
        .get(5..)
        .ok_or_else(|| anyhow!("an answer of {} bytes", answer.len()))?;
    let response = ProduceResponse::decode(&mut Reader::new(body, DECODE_BUDGET), VERSION)
        .map_err(|error| anyhow!("Produce: {error:?}"))?;
    ensure!(
        !response.responses.is_empty(),
        "Produce: an answer without a topic"
    );
    let partitions = response
        .responses
        .iter()
        .flat_map(|topic| &topic.partition_responses);
    Ok(partitions.filter(|partition| partition.error_code != 0).count() as u64)
}

fn batch(workload: &Workload, now_ms: i64) -> Result<Vec<u8>> {
    // Bytes that nobody would compress away.
    let value: Vec<u8> = (0..workload.record_bytes as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let mut builder = BatchBuilder::new(HeaderFields::default());
    for _ in 0..workload.batch_records {
        builder
            .append(now_ms, None, Some(&value), &[])
            .map_err(|error| anyhow!("{error:?}"))?;
    }
    builder.build().map_err(|error| anyhow!("{error:?}"))
}

/// Where the first value begins in a batch of records without key and headers, all timestamps equal.
fn first_value_at(record_bytes: usize) -> usize {
    let value_length = varint_bytes(record_bytes);
    // attributes, timestamp delta, offset delta, key length; the value and its length; header count
    let record = 4 + value_length + record_bytes + 1;
    BATCH_HEADER_BYTES + varint_bytes(record) + 4 + value_length
}

fn varint_bytes(value: usize) -> usize {
    let zigzag = (value as u64) << 1;
    (64 - zigzag.leading_zeros()).div_ceil(7).max(1) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::batch::Batch;

    #[test]
    fn the_stamp_stands_where_the_first_value_begins() {
        let check = |record_bytes: usize, batch_records: usize| {
            let text = format!(
                "kind = \"produce\"\nseconds = 1\nrecord_bytes = {record_bytes}\nbatch_records = {batch_records}"
            );
            let workload = Workload::parse(&text).unwrap();
            let mut template = Template::new(
                &workload,
                Topic {
                    id: Default::default(),
                    partitions: 1,
                },
                0,
                1_700_000_000_000,
            )
            .unwrap();
            let mut out = Vec::new();
            template.write(&mut out, 7, Some(0x0123_4567_89ab_cdef));
            let bytes = &out[template.batch_at..template.batch_at + template.batch_bytes];
            let batch = Batch::parse(bytes).unwrap();
            assert!(batch.crc_is_valid(), "{record_bytes} x {batch_records}");
            assert_eq!(batch.records_count() as usize, batch_records);
            assert_eq!(stamp_of(bytes, record_bytes), Some(0x0123_4567_89ab_cdef));
            assert_eq!(out[8..12], 7i32.to_be_bytes());
        };
        check(8, 1);
        check(59, 3);
        check(100, 1);
        check(1024, 16);
        check(1024, 64);
        check(20_000, 2);
    }
}
