//! The small files of a data directory, Kafka's and ours.
//!
//! The first byte of an input chooses the reader.

use std::fmt::Debug;

use protocol::crc::crc32c;
use protocol::types::{BrokerId, LeaderEpoch, Offset, Partition, ProducerEpoch, ProducerId, Sequence, Uuid};
use storage::checkpoint::{Checkpoint, Entry};
use storage::index::OffsetIndex;
use storage::kafka_files::{
    self, CleanShutdown, MetaProperties, decode_epochs, decode_offsets, decode_partition_metadata,
    encode_epochs, encode_offsets, encode_partition_metadata,
};
use storage::outline::Outline;
use storage::producers::{ProducerBatch, Producers};
use storage::time_index::TimeIndex;
use storage::{LogConfig, PartitionId};

use super::SLACK;
use crate::Target;
use crate::runner::Answer;

/// See the module.
pub const FILES: Target = Target {
    name: "files",
    corpus,
    mend,
    read,
    // A checkpoint stands in memory as bytes, as it is stored and as what it means; and is compared.
    memory_max: |length| 64 * length + SLACK,
};

struct Reader {
    examples: fn() -> Vec<Vec<u8>>,
    read: fn(&[u8]) -> Answer,
}

const READERS: &[Reader] = &[
    Reader {
        examples: || {
            let one = ("topic".to_owned(), Partition(3), Offset(17));
            vec![encode_offsets(&[]), encode_offsets(&[one.clone(), one])]
        },
        read: |bytes| round(decode_offsets, |entries| encode_offsets(entries), bytes),
    },
    Reader {
        examples: || {
            vec![encode_epochs(&[
                (LeaderEpoch(0), Offset(0)),
                (LeaderEpoch(4), Offset(90)),
            ])]
        },
        read: |bytes| round(decode_epochs, |entries| encode_epochs(entries), bytes),
    },
    Reader {
        examples: || vec![encode_partition_metadata(Uuid([0x61; 16]))],
        read: |bytes| {
            round(
                decode_partition_metadata,
                |id| encode_partition_metadata(*id),
                bytes,
            )
        },
    },
    Reader {
        examples: || {
            let properties = |directory_id| MetaProperties {
                cluster_id: "4L6g3nShT-eMCtK--X86sw".to_owned(),
                node_id: BrokerId(1),
                directory_id,
            };
            vec![
                properties(None).encode(),
                properties(Some(Uuid([8; 16]))).encode(),
            ]
        },
        read: |bytes| round(MetaProperties::decode, MetaProperties::encode, bytes),
    },
    Reader {
        examples: || {
            vec![
                CleanShutdown::new(7, Uuid([2; 16])).encode(),
                b"{\"version\":0,\"brokerEpoch\":1}".to_vec(),
            ]
        },
        read: |bytes| {
            let clean = CleanShutdown::decode(bytes);
            Answer::shown(clean.map(|clean| (clean.carries(Uuid([2; 16])), clean.broker_epoch.signum())))
        },
    },
    Reader {
        examples: || vec![checkpoint().encode().expect("a checkpoint")],
        read: |bytes| {
            let found = Checkpoint::decode(bytes);
            if let Ok(found) = &found {
                let again = found.encode().map(|bytes| Checkpoint::decode(&bytes));
                assert_eq!(again, Ok(Ok(found.clone())));
            }
            Answer::shown(found.map(|found| (found.logs.len(), found.deleted.len())))
        },
    },
    Reader {
        examples: || {
            vec![
                producers().encode_snapshot(),
                Producers::default().encode_snapshot(),
            ]
        },
        read: |bytes| round(Producers::decode_snapshot, Producers::encode_snapshot, bytes),
    },
    Reader {
        examples: || {
            let mut index = OffsetIndex::new(Offset(100));
            for number in 1..40 {
                index.append(Offset(100 + number * 3), number as u32 * 4_100);
            }
            let mut out = Vec::new();
            index.encode_from(0, &mut out);
            vec![out]
        },
        read: |bytes| {
            let found = OffsetIndex::decode(Offset(100), bytes);
            if let Ok(index) = &found {
                for offset in [0, 100, 101, i64::MAX] {
                    let _ = index.position_for(Offset(offset));
                }
                let mut out = Vec::new();
                index.encode_from(0, &mut out);
                assert_eq!(out, bytes);
            }
            Answer::shown(found.map(|index| index.len()))
        },
    },
    Reader {
        examples: || {
            let mut index = TimeIndex::new(Offset(100));
            for number in 1..40 {
                index.append(1_700_000_000_000 + number, Offset(100 + number));
            }
            let mut out = Vec::new();
            index.encode_from(0, &mut out);
            vec![out]
        },
        read: |bytes| {
            let found = TimeIndex::decode(Offset(100), bytes);
            if let Ok(index) = &found {
                for time in [i64::MIN, -1, 0, 1_700_000_000_007, i64::MAX] {
                    let _ = index.offset_before(time);
                }
                let mut out = Vec::new();
                index.encode_from(0, &mut out);
                assert_eq!(out, bytes);
            }
            Answer::shown(found.map(|index| index.len()))
        },
    },
    Reader {
        examples: || vec![b"a-topic-17".to_vec(), b"00000000000000000017.log".to_vec()],
        read: |bytes| {
            let Ok(name) = str::from_utf8(bytes) else {
                return Answer::default();
            };
            let directory = kafka_files::parse_directory_name(name);
            if let Some((topic, partition)) = directory {
                assert_eq!(kafka_files::directory_name(topic, partition), name);
            }
            let segment = kafka_files::parse_segment_file_name(name);
            if let Some((base, suffix)) = segment {
                assert!(base.0 >= 0 && name.ends_with(suffix));
            }
            Answer::of((directory.is_some(), segment.is_some()))
        },
    },
];

/// What is read is written as what reads as the same.
fn round<T: PartialEq + Debug, E: Debug>(
    decode: fn(&[u8]) -> Result<T, E>,
    encode: fn(&T) -> Vec<u8>,
    bytes: &[u8],
) -> Answer {
    let found = decode(bytes);
    if let Ok(found) = &found {
        let again = decode(&encode(found)).unwrap_or_else(|error| panic!("{found:?}: {error:?}"));
        assert_eq!(again, *found);
    }
    Answer::shown(found.map(|_| bytes.len().checked_ilog2()))
}

fn producers() -> Producers {
    let mut producers = Producers::default();
    for id in 0..3 {
        let batch = ProducerBatch {
            producer_id: ProducerId(id),
            epoch: ProducerEpoch(1),
            first_sequence: Sequence(0),
            offset_delta: 4,
            timestamp: 1_700_000_000_000,
        };
        producers.apply(&batch, Offset(5 * id + 4));
    }
    producers
}

fn checkpoint() -> Checkpoint {
    let mut outline = Outline::new(Offset(0), 1);
    outline.producers = producers();
    outline.epochs.assign(LeaderEpoch(0), Offset(0));
    let id = |partition| PartitionId {
        topic_id: Uuid([5; 16]),
        partition: Partition(partition),
    };
    let entry = Entry {
        topic: "topic".to_owned(),
        outline,
        config: LogConfig::default(),
    };
    Checkpoint {
        run: 3,
        number: 4,
        counts_below: 3,
        token: Uuid([2; 16]),
        logs: [(id(0), entry.clone()), (id(1), entry)].into(),
        deleted: vec![id(2)],
    }
}

fn corpus() -> Vec<Vec<u8>> {
    let numbered = READERS.iter().enumerate();
    numbered
        .flat_map(|(number, reader)| {
            (reader.examples)().into_iter().map(move |example| {
                let mut input = vec![number as u8];
                input.extend(example);
                input
            })
        })
        .collect()
}

/// The CRCs of a checkpoint's envelope and of a producer snapshot.
fn mend(input: &mut [u8]) {
    let Some((number, bytes)) = input.split_first_mut() else {
        return;
    };
    match number {
        5 if bytes.len() >= 24 => {
            let (envelope, body) = bytes.split_at_mut(24);
            envelope[12..16].copy_from_slice(&crc32c(body).to_le_bytes());
            envelope[16..24].copy_from_slice(&(body.len() as u64).to_le_bytes());
        }
        6 if bytes.len() >= 6 => {
            let crc = crc32c(&bytes[6..]);
            bytes[2..6].copy_from_slice(&crc.to_be_bytes());
        }
        _ => {}
    }
}

fn read(input: &[u8]) -> Answer {
    let Some((&number, bytes)) = input.split_first() else {
        return Answer::default();
    };
    match READERS.get(usize::from(number)) {
        Some(reader) => Answer::of((number, (reader.read)(bytes).0)),
        None => Answer::default(),
    }
}
