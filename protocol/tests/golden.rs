//! Our record batches against bytes of Apache Kafka's own classes: read, written again unchanged, and judged alike.
//!
//! The files in `golden/` come from `golden/Golden.java`, which has the same records as this file.

#![allow(clippy::disallowed_methods, reason = "tests run on ordinary threads")]

use std::path::Path;

use protocol::batch::{Batch, BatchMut, HeaderFields, TimestampType, batches};
use protocol::compression::Codec;
use protocol::control::{self, ControlType, Place};
use protocol::messages::{
    EndTxnMarker, LeaderChangeMessage, SnapshotFooterRecord, SnapshotHeaderRecord,
    leader_change_message::Voter,
};
use protocol::records::{BatchBuilder, RecordHeader};
use protocol::validation::{InvalidBatch, ProduceRules, validate_produced};
use protocol::wire::Reader;
use protocol::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence};

const TIME: i64 = 1_700_000_000_000;
const BYTES_MAX: usize = 1 << 20;

type Plain = (
    i64,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Vec<(Vec<u8>, Option<Vec<u8>>)>,
);

fn golden(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn short_records() -> Vec<Plain> {
    let bytes = |text: &str| Some(text.as_bytes().to_vec());
    let headers = vec![
        (b"h1".to_vec(), bytes("v1")),
        (b"h1".to_vec(), None),
        (b"".to_vec(), bytes("")),
    ];
    vec![
        (TIME, bytes("key-0"), bytes("value-0"), vec![]),
        (TIME + 5, None, bytes("null key"), vec![]),
        (TIME + 3, bytes("tombstone"), None, vec![]),
        (TIME + 10, bytes(""), bytes(""), headers),
        (TIME + 20, bytes("k"), bytes(&"0123456789".repeat(300)), vec![]),
    ]
}

fn long_records() -> Vec<Plain> {
    let value = |i| format!("value {i}, ").repeat(300).into_bytes();
    (0..40)
        .map(|i| {
            (
                TIME + i,
                Some(format!("key-{i}").into_bytes()),
                Some(value(i)),
                vec![],
            )
        })
        .collect()
}

fn read(batch: &Batch<'_>) -> Vec<Plain> {
    let records = batch.records(BYTES_MAX).expect("the records can be had");
    let plain = records.iter().enumerate().map(|(i, record)| {
        let record = record.expect("the record is sound");
        assert_eq!(record.offset.0, batch.base_offset().0 + i as i64);
        let headers = record
            .headers
            .iter()
            .map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec)));
        (
            record.timestamp,
            record.key.map(<[u8]>::to_vec),
            record.value.map(<[u8]>::to_vec),
            headers.collect(),
        )
    });
    plain.collect()
}

fn build(fields: HeaderFields, records: &[Plain]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(fields);
    for (timestamp, key, value, headers) in records {
        let headers: Vec<RecordHeader<'_>> = headers
            .iter()
            .map(|(k, v)| (k.as_slice(), v.as_deref()))
            .collect();
        builder
            .append(*timestamp, key.as_deref(), value.as_deref(), &headers)
            .expect("it fits");
    }
    builder.build().expect("it can be built")
}

#[test]
fn batches_of_every_codec_hold_the_same_records() {
    for codec in Codec::ALL {
        let check = |name: String, expected: &[Plain]| {
            let bytes = golden(&name);
            let batch = Batch::parse(&bytes).unwrap();
            assert!(batch.crc_is_valid(), "{name}");
            assert_eq!(batch.length(), bytes.len(), "{name}");
            assert_eq!(batch.codec(), Some(codec), "{name}");
            assert_eq!(batch.records_count() as usize, expected.len());
            assert_eq!(
                Some(batch.max_timestamp()),
                expected.iter().map(|record| record.0).max()
            );
            assert_eq!(read(&batch), expected, "{name}");

            let ours = build(
                HeaderFields {
                    codec,
                    ..HeaderFields::default()
                },
                expected,
            );
            assert_eq!(
                read(&Batch::parse(&ours).unwrap()),
                expected,
                "{name}, written by us"
            );
            // The codec's output may differ between implementations, what surrounds it may not.
            if codec == Codec::None {
                assert_eq!(ours, bytes, "{name}, written by us");
            }
        };
        check(format!("{}.bin", codec.name()), &short_records());
        if codec != Codec::None {
            check(format!("{}-long.bin", codec.name()), &long_records());
        }
    }
}

#[test]
fn uncompressed_batches_are_written_byte_for_byte() {
    let check = |name: &str, fields: HeaderFields, expected_times: Option<i64>| {
        let bytes = golden(name);
        assert_eq!(build(fields, &short_records()), bytes, "{name}");
        let mut expected = short_records();
        expected
            .iter_mut()
            .for_each(|record| record.0 = expected_times.unwrap_or(record.0));
        assert_eq!(read(&Batch::parse(&bytes).unwrap()), expected, "{name}");
    };
    let append_time = HeaderFields {
        base_offset: Offset(77),
        leader_epoch: LeaderEpoch(3),
        timestamp_type: TimestampType::LogAppendTime,
        max_timestamp: TIME + 1000,
        ..HeaderFields::default()
    };
    check("append-time.bin", append_time, Some(TIME + 1000));
    let idempotent = HeaderFields {
        producer_id: ProducerId(4711),
        producer_epoch: ProducerEpoch(7),
        base_sequence: Sequence(2_147_483_646),
        ..HeaderFields::default()
    };
    check("idempotent.bin", idempotent, None);
    let transactional = HeaderFields {
        base_offset: Offset(123_456_789_012),
        leader_epoch: LeaderEpoch(5),
        producer_id: ProducerId(4711),
        producer_epoch: ProducerEpoch(8),
        base_sequence: Sequence(0),
        is_transactional: true,
        ..HeaderFields::default()
    };
    check("transactional.bin", transactional, None);
    assert_eq!(
        Batch::parse(&golden("idempotent.bin")).unwrap().last_sequence(),
        Sequence(2)
    );
}

#[test]
fn control_batches_are_written_byte_for_byte() {
    let place = |base_offset| Place {
        base_offset: Offset(base_offset),
        leader_epoch: LeaderEpoch(3),
        timestamp: TIME,
    };
    let voter = |voter_id| Voter {
        voter_id,
        ..Voter::default()
    };
    let change = LeaderChangeMessage {
        version: 0,
        leader_id: 1,
        voters: vec![voter(1), voter(2)],
        granting_voters: vec![voter(1)],
    };
    let header = SnapshotHeaderRecord {
        version: 0,
        last_contained_log_timestamp: TIME - 1,
    };
    let footer = SnapshotFooterRecord { version: 0 };
    let check = |name: &str, ours: Vec<u8>, kind: ControlType| {
        let bytes = golden(name);
        assert_eq!(ours, bytes, "{name}");
        let records = control::records_of(&Batch::parse(&bytes).unwrap()).unwrap();
        assert_eq!(
            records.iter().map(|record| record.0).collect::<Vec<_>>(),
            [kind],
            "{name}"
        );
    };
    check(
        "leader-change.bin",
        control::leader_change(place(12), &change),
        ControlType::LeaderChange,
    );
    check(
        "snapshot-header.bin",
        control::snapshot_header(place(0), &header),
        ControlType::SnapshotHeader,
    );
    check(
        "snapshot-footer.bin",
        control::snapshot_footer(place(9), &footer),
        ControlType::SnapshotFooter,
    );

    let marker = golden("commit-marker.bin");
    let marker = Batch::parse(&marker).unwrap();
    assert!(marker.is_control() && marker.is_transactional());
    assert_eq!(
        (marker.producer_id(), marker.producer_epoch()),
        (ProducerId(4711), ProducerEpoch(8))
    );
    assert_eq!(marker.last_sequence(), Sequence(-1));
    let records = control::records_of(&marker).unwrap();
    let [(ControlType::Commit, value)] = records.as_slice() else {
        panic!("{records:?}")
    };
    let value = EndTxnMarker::decode(&mut Reader::new(&value[2..], 0), 0).unwrap();
    assert_eq!(value.coordinator_epoch, 6);
}

#[test]
fn truncated_golden_bytes_are_errors() {
    for name in [
        "none.bin",
        "gzip.bin",
        "snappy.bin",
        "lz4.bin",
        "zstd.bin",
        "leader-change.bin",
    ] {
        let bytes = golden(name);
        for cut in 1..bytes.len() {
            assert!(
                batches(&bytes[..cut]).any(|batch| batch.is_err()),
                "{name} cut at {cut}"
            );
        }
    }
}

/// Cases that Kafka lets pass, or fails at with UNKNOWN_SERVER_ERROR, and we refuse: offsets that do not run from 0
/// without gaps, and, inside a compressed batch, a record that is longer than it says, at which consumers would fail.
const STRICTER: [&str; 3] = ["offset-twice", "offset-from-one", "length-short"];

#[test]
fn batches_are_judged_as_by_kafka() {
    let text = String::from_utf8(golden("validation.txt")).unwrap();
    let mut judged = 0;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split(" | ").collect();
        let [name, kind, compacted, before, after, batch, outcome] = fields[..] else {
            panic!("{line}")
        };
        let rules = ProduceRules {
            timestamp_type: match kind {
                "create" => TimestampType::CreateTime,
                _ => TimestampType::LogAppendTime,
            },
            is_compacted: compacted == "true",
            timestamp_before_max_ms: before.parse().unwrap(),
            timestamp_after_max_ms: after.parse().unwrap(),
            ..ProduceRules::default()
        };
        let mut bytes = unhex(batch);
        let ours = match validate_produced(&bytes, &rules, TIME, &mut { usize::MAX }) {
            Ok(valid) => {
                valid.stamp(
                    &mut BatchMut::parse(&mut bytes).unwrap(),
                    Offset(1000),
                    LeaderEpoch(9),
                );
                bytes.iter().map(|byte| format!("{byte:02x}")).collect()
            }
            Err(error) => said(&error),
        };
        let is_stricter = STRICTER.iter().any(|case| name.ends_with(case));
        assert_eq!(
            ours,
            if is_stricter { "INVALID_RECORD" } else { outcome },
            "{name}"
        );
        judged += 1;
    }
    assert!(judged > 150);
}

fn said(error: &InvalidBatch) -> String {
    let mut text = error.error_code().name().to_owned();
    if let InvalidBatch::RecordErrors { errors, .. } = error {
        errors
            .iter()
            .for_each(|error| text += &format!(":{}", error.index));
    }
    text
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}
