//! Record batches against the crate `kafka-protocol`, both ways: what one writes the other reads, for random
//! records, every codec, and the header's fields.

use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use protocol::batch::{Batch, HeaderFields};
use protocol::compression::Codec;
use protocol::records::{BatchBuilder, RecordHeader};
use protocol::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence};
use rand::{RngExt, SeedableRng};

const CODECS: [(Codec, Compression); 5] = [
    (Codec::None, Compression::None),
    (Codec::Gzip, Compression::Gzip),
    (Codec::Snappy, Compression::Snappy),
    (Codec::Lz4, Compression::Lz4),
    (Codec::Zstd, Compression::Zstd),
];

fn text(random: &mut impl RngExt, max: usize) -> String {
    (0..random.random_range(0..max))
        .map(|_| random.random_range('a'..'g'))
        .collect()
}

/// Records as that crate has them: sequence and offset run on together.
fn random_records(random: &mut impl RngExt) -> Vec<Record> {
    let base_offset = random.random_range(0..1i64 << 40);
    let base_sequence = random.random_range(0..1 << 20);
    let transactional = random.random();
    let (producer_id, producer_epoch) = (random.random_range(0..1i64 << 40), random.random_range(0..100));
    let partition_leader_epoch = random.random_range(0..1000);
    (0..random.random_range(1..50))
        .map(|i| {
            let some =
                |random: &mut _, max| RngExt::random_bool(random, 0.8).then(|| text(random, max).into());
            let headers: IndexMap<_, _> = (0..random.random_range(0..3))
                .map(|_| (StrBytes::from_string(text(random, 5)), some(random, 9)))
                .collect();
            Record {
                transactional,
                control: false,
                delete_horizon: false,
                partition_leader_epoch,
                producer_id,
                producer_epoch,
                timestamp_type: TimestampType::Creation,
                offset: base_offset + i64::from(i),
                sequence: base_sequence + i,
                timestamp: 1_700_000_000_000 + random.random_range(-1000..1000),
                key: some(random, 20),
                value: some(random, 2000),
                headers,
            }
        })
        .collect()
}

fn check_equal(batch: &Batch<'_>, theirs: &[Record]) {
    let first = &theirs[0];
    assert_eq!(batch.base_offset(), Offset(first.offset));
    assert_eq!(batch.base_sequence(), Sequence(first.sequence));
    assert_eq!(batch.leader_epoch(), LeaderEpoch(first.partition_leader_epoch));
    assert_eq!(batch.producer_id(), ProducerId(first.producer_id));
    assert_eq!(batch.producer_epoch(), ProducerEpoch(first.producer_epoch));
    assert_eq!(batch.is_transactional(), first.transactional);
    assert_eq!(batch.records_count() as usize, theirs.len());
    let ours = batch.records(1 << 20).unwrap();
    for (ours, theirs) in ours.iter().zip(theirs) {
        let ours = ours.unwrap();
        assert_eq!((ours.offset.0, ours.timestamp), (theirs.offset, theirs.timestamp));
        assert_eq!(
            (ours.key, ours.value),
            (theirs.key.as_deref(), theirs.value.as_deref())
        );
        let headers = theirs
            .headers
            .iter()
            .map(|(key, value)| (key.as_bytes(), value.as_deref()));
        assert!(ours.headers.iter().eq(headers));
    }
}

#[test]
fn we_read_what_it_writes() {
    let mut random = rand_pcg::Pcg64Mcg::seed_from_u64(1);
    for round in 0..200 {
        let (codec, compression) = CODECS[round % 5];
        let records = random_records(&mut random);
        let mut bytes = bytes::BytesMut::new();
        let options = RecordEncodeOptions {
            version: 2,
            compression,
        };
        RecordBatchEncoder::encode(&mut bytes, &records, &options).unwrap();
        let batch = Batch::parse(&bytes).unwrap();
        assert!(batch.crc_is_valid());
        assert_eq!(batch.codec(), Some(codec));
        check_equal(&batch, &records);
    }
}

#[test]
fn it_reads_what_we_write() {
    let mut random = rand_pcg::Pcg64Mcg::seed_from_u64(2);
    for round in 0..200 {
        let (codec, compression) = CODECS[round % 5];
        let records = random_records(&mut random);
        let first = &records[0];
        let mut builder = BatchBuilder::new(HeaderFields {
            base_offset: Offset(first.offset),
            leader_epoch: LeaderEpoch(first.partition_leader_epoch),
            codec,
            producer_id: ProducerId(first.producer_id),
            producer_epoch: ProducerEpoch(first.producer_epoch),
            base_sequence: Sequence(first.sequence),
            is_transactional: first.transactional,
            ..HeaderFields::default()
        });
        for record in &records {
            let headers: Vec<RecordHeader<'_>> = record
                .headers
                .iter()
                .map(|(key, value)| (key.as_bytes(), value.as_deref()))
                .collect();
            builder
                .append(
                    record.timestamp,
                    record.key.as_deref(),
                    record.value.as_deref(),
                    &headers,
                )
                .unwrap();
        }
        let bytes = builder.build().unwrap();
        check_equal(&Batch::parse(&bytes).unwrap(), &records);
        let set = RecordBatchDecoder::decode(&mut bytes.as_slice()).unwrap();
        assert_eq!(set.compression, compression);
        assert_eq!(set.records, records);
    }
}
