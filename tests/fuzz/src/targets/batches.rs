//! Record batches as a broker reads them from a client or a disk, and the four codecs by themselves.

use protocol::batch::{BatchMut, HEADER_BYTES, TimestampType, batches};
use protocol::compression::{Codec, compress, decompress};
use protocol::control;
use protocol::crc::crc32c;
use protocol::validation::{ProduceRules, validate_produced};
use protocol::{LeaderEpoch, Offset};

use super::{SLACK, examples};
use crate::Target;
use crate::runner::Answer;

/// Bytes that a batch may decompress to.
const PLAIN_BYTES_MAX: usize = 256 << 10;
/// What a decoder, or the windows of a walk over records, may hold beside what comes out.
const DECODER_BYTES_MAX: usize = 512 << 10;

/// Several batches one after the other, read, judged as a client's and stamped.
pub const BATCHES: Target = Target {
    name: "batches",
    corpus: batches_corpus,
    mend: mend_batches,
    read: read_batches,
    // Decompressed records, in a vector that doubles as it grows.
    memory_max: |length| 4 * PLAIN_BYTES_MAX + DECODER_BYTES_MAX + 4 * length + SLACK,
};

/// A codec (one byte) and a compressed stream.
pub const CODECS: Target = Target {
    name: "codecs",
    corpus: codecs_corpus,
    mend: super::nothing_to_mend,
    read: read_codec,
    memory_max: |length| 4 * PLAIN_BYTES_MAX + DECODER_BYTES_MAX + 4 * length + SLACK,
};

fn batches_corpus() -> Vec<Vec<u8>> {
    let mut corpus = examples::kafka_batches();
    let two = corpus.iter().take(4).flatten().copied().collect();
    corpus.push(two);
    corpus.extend(examples::judged_batches());
    corpus
}

/// Gives each batch the CRC of its bytes, as far as lengths lead from one to the next.
pub fn mend_batches(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(batch) = bytes.get_mut(at..)
        && batch.len() >= HEADER_BYTES
    {
        let length = i32::from_be_bytes([batch[8], batch[9], batch[10], batch[11]]);
        let Ok(length) = usize::try_from(length) else {
            return;
        };
        let end = (12 + length).min(batch.len());
        if end < HEADER_BYTES {
            return;
        }
        let crc = crc32c(&batch[21..end]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
        at += end;
    }
}

fn read_batches(input: &[u8]) -> Answer {
    let mut said = vec![validate(input)];
    for batch in batches(input) {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => {
                said.push(format!("{error:?}"));
                break;
            }
        };
        let header = batch.header();
        let _ = (header.last_offset(), header.next_offset(), header.last_sequence());
        let records = match batch.records(PLAIN_BYTES_MAX) {
            Ok(records) => records,
            Err(error) => {
                said.push(format!("{error:?} {:?}", batch.codec()));
                continue;
            }
        };
        let mut count = 0;
        let mut error = None;
        for record in &records {
            match record {
                Ok(record) => {
                    assert_eq!(record.headers.iter().count(), record.headers.len());
                    count += 1;
                }
                Err(found) => error = Some(found),
            }
        }
        let control = control::records_of(&batch).map(|records| records.len());
        said.push(format!(
            "{:?} {} {error:?} {control:?}",
            batch.codec(),
            batch.crc_is_valid() && count > 0
        ));
        stamp(batch.bytes());
    }
    Answer::of(said)
}

/// A leader's stamp leaves a batch whose CRC is right.
fn stamp(batch: &[u8]) {
    let mut copy = batch.to_vec();
    let Ok(mut stamped) = BatchMut::parse(&mut copy) else {
        panic!("a batch that parses can be stamped");
    };
    stamped.set_base_offset(Offset(77));
    stamped.set_leader_epoch(LeaderEpoch(5));
    if stamped.set_max_timestamp(TimestampType::LogAppendTime, 1_000) {
        let parsed = protocol::batch::Batch::parse(&copy).expect("it parsed before");
        assert!(parsed.crc_is_valid() && parsed.base_offset() == Offset(77));
    }
}

fn validate(input: &[u8]) -> String {
    let rules = ProduceRules {
        decompressed_bytes_max: PLAIN_BYTES_MAX,
        ..ProduceRules::default()
    };
    let mut allowance = 2 * PLAIN_BYTES_MAX;
    let judged = validate_produced(input, &rules, 1_700_000_000_000, &mut allowance);
    assert!(allowance >= PLAIN_BYTES_MAX);
    if let Ok(valid) = &judged {
        assert!(valid.length <= input.len() && valid.records_count >= 1);
        let mut batch = input[..valid.length].to_vec();
        let mut stamped = BatchMut::parse(&mut batch).expect("it was judged good");
        valid.stamp(&mut stamped, Offset(1_000), LeaderEpoch(9));
        // What is in the log is read by followers and consumers.
        let batch = protocol::batch::Batch::parse(&batch).expect("and stays good");
        assert!(batch.crc_is_valid());
        let records = batch.records(PLAIN_BYTES_MAX).expect("its records are legible");
        let mut expected = 1_000;
        for record in &records {
            assert_eq!(record.expect("each of them").offset, Offset(expected));
            expected += 1;
        }
        assert_eq!(expected, 1_000 + i64::from(valid.records_count));
        return "valid".to_owned();
    }
    judged.map_or_else(
        |error| format!("{:?} {error:.12}", error.error_code()),
        |_| String::new(),
    )
}

fn codecs_corpus() -> Vec<Vec<u8>> {
    let text = b"what repeats, repeats, repeats, repeats and repeats ".repeat(20);
    let noise: Vec<u8> = (0..3_000u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let long = vec![b'x'; PLAIN_BYTES_MAX + 1];
    let mut corpus = Vec::new();
    for codec in Codec::ALL {
        for plain in [&b""[..], b"short", &text, &noise, &long] {
            let mut out = vec![codec.id()];
            compress(codec, plain, None, &mut out).expect("a codec writes to memory");
            if out.len() < crate::mutate::BYTES_MAX {
                corpus.push(out);
            }
        }
    }
    corpus
}

fn read_codec(input: &[u8]) -> Answer {
    let Some((&id, stream)) = input.split_first() else {
        return Answer::default();
    };
    let Some(codec) = Codec::from_id(id) else {
        return Answer::default();
    };
    let plain = decompress(codec, stream, PLAIN_BYTES_MAX);
    if let Ok(plain) = &plain {
        assert!(plain.len() <= PLAIN_BYTES_MAX);
    }
    Answer::of((id, format!("{:?}", plain.map(|plain| plain.len()))))
}
