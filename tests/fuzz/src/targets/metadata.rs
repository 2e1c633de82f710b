//! The metadata log: records applied to an image, and snapshots.
//!
//! An input of `records` is values of records, each behind its length (two bytes).

use metadata::snapshot::{self, Id};
use metadata::{Image, Loader};
use protocol::batch::{HeaderFields, batches};
use protocol::messages::register_broker_record::{BrokerEndpoint, BrokerFeature};
use protocol::messages::{
    BeginTransactionRecord, BrokerRegistrationChangeRecord, ConfigRecord, EndTransactionRecord,
    FeatureLevelRecord, FenceBrokerRecord, MetadataRecord, PartitionChangeRecord, PartitionRecord,
    ProducerIdsRecord, RegisterBrokerRecord, RemoveTopicRecord, TopicRecord, UnfenceBrokerRecord,
    UnregisterBrokerRecord,
};
use protocol::records::BatchBuilder;
use protocol::types::{LeaderEpoch, Offset, Uuid};

use super::batches::mend_batches;
use super::{examples, nothing_to_mend};
use crate::Target;
use crate::runner::Answer;

/// Records of the metadata log, applied one after the other.
pub const RECORDS: Target = Target {
    name: "metadata",
    corpus,
    mend: nothing_to_mend,
    read,
    memory_max,
};

/// Snapshots, and batches as the log has them.
pub const SNAPSHOTS: Target = Target {
    name: "snapshots",
    corpus: snapshots_corpus,
    mend: mend_batches,
    read: read_snapshot,
    memory_max,
};

/// An image of a few thousand records, twice, and the structs that decoding them needs.
fn memory_max(length: usize) -> usize {
    64 * length + (8 << 20)
}

const TOPIC: Uuid = Uuid([7; 16]);

/// A small cluster's life: every value is one that the image takes after those before it.
fn values() -> Vec<Vec<u8>> {
    let partition = |partition_id| PartitionRecord {
        partition_id,
        topic_id: TOPIC,
        replicas: vec![1],
        isr: vec![1],
        leader: 1,
        directories: vec![Uuid([9; 16])],
        ..PartitionRecord::default()
    };
    let records = [
        MetadataRecord::FeatureLevel(FeatureLevelRecord {
            name: "metadata.version",
            feature_level: 31,
        }),
        MetadataRecord::RegisterBroker(RegisterBrokerRecord {
            broker_id: 1,
            incarnation_id: Uuid([3; 16]),
            broker_epoch: 2,
            end_points: vec![BrokerEndpoint {
                name: "PLAINTEXT",
                host: "localhost",
                port: 9092,
                security_protocol: 0,
            }],
            features: vec![BrokerFeature {
                name: "metadata.version",
                min_supported_version: 7,
                max_supported_version: 31,
            }],
            fenced: true,
            log_dirs: vec![Uuid([9; 16])],
            ..RegisterBrokerRecord::default()
        }),
        MetadataRecord::UnfenceBroker(UnfenceBrokerRecord { id: 1, epoch: 2 }),
        MetadataRecord::BrokerRegistrationChange(BrokerRegistrationChangeRecord {
            broker_id: 1,
            broker_epoch: 2,
            fenced: -1,
            ..BrokerRegistrationChangeRecord::default()
        }),
        MetadataRecord::ProducerIds(ProducerIdsRecord {
            broker_id: 1,
            broker_epoch: 2,
            next_producer_id: 1_000,
        }),
        MetadataRecord::BeginTransaction(BeginTransactionRecord { name: Some("topic") }),
        MetadataRecord::Topic(TopicRecord {
            name: "topic",
            topic_id: TOPIC,
        }),
        MetadataRecord::Partition(partition(0)),
        MetadataRecord::Partition(partition(1)),
        MetadataRecord::Config(ConfigRecord {
            resource_type: 2,
            resource_name: "topic",
            name: "segment.bytes",
            value: Some("1048576"),
        }),
        MetadataRecord::EndTransaction(EndTransactionRecord {}),
        MetadataRecord::PartitionChange(PartitionChangeRecord {
            partition_id: 1,
            topic_id: TOPIC,
            isr: Some(vec![1]),
            leader: 1,
            ..PartitionChangeRecord::default()
        }),
        MetadataRecord::Config(ConfigRecord {
            resource_type: 2,
            resource_name: "topic",
            name: "segment.bytes",
            value: None,
        }),
        MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id: TOPIC }),
        MetadataRecord::FenceBroker(FenceBrokerRecord { id: 1, epoch: 2 }),
        MetadataRecord::UnregisterBroker(UnregisterBrokerRecord {
            broker_id: 1,
            broker_epoch: 2,
        }),
    ];
    records.iter().map(value).collect()
}

fn value(record: &MetadataRecord<'_>) -> Vec<u8> {
    let version = examples::descriptions()
        .iter()
        .find(|message| message.kind == "metadata" && message.key == Some(record.api_key()))
        .map_or(0, |message| message.versions.to);
    let mut out = Vec::new();
    record.encode(&mut out, version);
    out
}

fn corpus() -> Vec<Vec<u8>> {
    let values = values();
    let mut corpus: Vec<Vec<u8>> = (1..=values.len()).map(|count| framed(&values[..count])).collect();
    for message in examples::descriptions() {
        if message.kind != "metadata" {
            continue;
        }
        for version in message.versions.from..=message.versions.to {
            let mut sample = vec![1, message.key.unwrap_or(0) as u8, version as u8];
            sample.extend(examples::message(&message, version));
            corpus.push(framed(&[sample]));
        }
    }
    corpus
}

fn framed(values: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for value in values {
        out.extend((value.len() as u16).to_be_bytes());
        out.extend(value);
    }
    out
}

fn read(input: &[u8]) -> Answer {
    let mut image = Image::default();
    let mut said = Vec::new();
    let mut rest = input;
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length));
        let (value, next) = after.split_at(length.min(after.len()));
        said.push(image.apply(value).map_err(|error| format!("{error:.24}")));
        rest = next;
        if said.len() > 64 {
            break;
        }
    }
    is_same_from_its_records(&image);
    Answer::of(said)
}

/// What a snapshot says is what the log said.
fn is_same_from_its_records(image: &Image) {
    let mut again = Image::default();
    for value in image.records().values() {
        if let Err(error) = again.apply(value) {
            panic!("an image's own record is refused: {error}");
        }
    }
    assert!(again == *image, "an image differs from what its records make");
}

fn snapshots_corpus() -> Vec<Vec<u8>> {
    let values = values();
    let mut corpus = Vec::new();
    let mut image = Image::default();
    let id = Id {
        end_offset: Offset(100),
        epoch: LeaderEpoch(1),
    };
    for value in &values {
        // Those of a transaction are the loader's.
        let _ = image.apply(value);
        corpus.push(snapshot::encode(&image, id, 1, 2).expect("a small snapshot"));
    }
    let mut builder = BatchBuilder::new(HeaderFields::default());
    for value in &values {
        builder.append(1, None, Some(value), &[]).expect("a small batch");
    }
    corpus.push(builder.build().expect("a small batch"));
    corpus
}

fn read_snapshot(input: &[u8]) -> Answer {
    let snapshot = snapshot::decode(input);
    if let Ok(snapshot) = &snapshot {
        is_same_from_its_records(&snapshot.image);
    }
    let mut said = vec![format!("{:.40}", format!("{:?}", snapshot.map(|_| ())))];
    let mut loader = Loader::new(Image::default(), Offset(0));
    for batch in batches(input).map_while(Result::ok) {
        match loader.apply_batch(&batch) {
            Ok(()) => said.push(format!("{}", loader.is_in_transaction())),
            Err(error) => {
                said.push(format!("{:.24}", format!("{error:?}")));
                break;
            }
        }
    }
    Answer::of(said)
}
