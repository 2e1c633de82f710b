//! A metadata log that Apache Kafka 4.4.0 wrote: a fresh node, topics created, refused and deleted, settings,
//! producer ids, three clean restarts. Ours must read all of it and write the same bytes for the same
//! commands.

use metadata::controller::brokers::Registration;
use metadata::controller::topics::{Rules, Wanted, Which};
use metadata::controller::{Controller, features};
use metadata::image::brokers::{Endpoint, Supported};
use metadata::snapshot::{self, Id};
use metadata::{Image, Loader};
use protocol::batch::batches;
use protocol::messages::MetadataRecord;
use protocol::types::{BrokerId, LeaderEpoch, Offset, Partition, Uuid};
use protocol::wire::Reader;

const LOG: &[u8] = include_bytes!("golden/kafka-4.4.0.log");
/// What `kafka-storage format` left beside it.
const SNAPSHOT: &[u8] = include_bytes!("golden/kafka-4.4.0.checkpoint");
const BROKER: BrokerId = BrokerId(1);

/// Offset and value of every record that is not idle.
fn values() -> Vec<(i64, Vec<u8>)> {
    let mut values = Vec::new();
    for batch in batches(LOG) {
        let batch = batch.unwrap();
        if batch.header().is_control() {
            continue;
        }
        for record in &batch.records(1 << 20).unwrap() {
            let record = record.unwrap();
            values.push((record.offset.0, record.value.unwrap().to_vec()));
        }
    }
    values.retain(|(_, value)| !matches!(decode(value).0, MetadataRecord::NoOp(_)));
    values
}

fn decode(value: &[u8]) -> (MetadataRecord<'_>, i16) {
    MetadataRecord::decode(&mut Reader::new(value, 1 << 20)).unwrap()
}

/// The values of the records that `wanted` names, in order.
fn some(wanted: impl Fn(&MetadataRecord<'_>) -> bool) -> Vec<Vec<u8>> {
    values()
        .into_iter()
        .map(|(_, value)| value)
        .filter(|value| wanted(&decode(value).0))
        .collect()
}

fn loaded() -> Image {
    let mut loader = Loader::default();
    for batch in batches(LOG) {
        loader.apply_batch(&batch.unwrap()).unwrap();
    }
    assert!(!loader.is_in_transaction());
    loader.image().clone()
}

#[test]
fn the_whole_log_is_read() {
    let image = loaded();
    let names: Vec<&str> = image.topics().iter().map(|topic| &*topic.name).collect();
    assert_eq!(
        names,
        [
            "a.b",
            "as0",
            "assigned",
            "ccleanup.policyx",
            "cleader.replication.throttled.replicasx",
            "clocal.retention.msx",
            "cmax.decompressed.message.bytesx",
            "cmin.insync.replicasx",
            "cpreallocatex",
            "defaults"
        ]
    );
    let assigned = image.topics().get("assigned").unwrap();
    assert_eq!(image.topics().by_id(assigned.id), Some(assigned));
    assert_eq!(assigned.partitions_count(), 2);
    // The node stopped cleanly: Kafka takes the leader away and remembers who held everything.
    let partition = assigned.partition(Partition(1)).unwrap();
    assert_eq!((partition.leader, partition.isr.len()), (BrokerId(-1), 0));
    assert_eq!(
        (&partition.eligible, &partition.last_known),
        (&vec![BROKER], &vec![BROKER])
    );
    assert_eq!(
        image
            .configs()
            .topic("cmin.insync.replicasx")
            .get("min.insync.replicas")
            .unwrap(),
        "5"
    );
    assert_eq!(image.configs().topic("conf").len(), 0, "deleted with its topic");
    assert_eq!(image.configs().cluster().len(), 2);
    assert_eq!(
        image.configs().broker(BROKER).get("log.cleaner.threads").unwrap(),
        "2"
    );
    assert_eq!(image.producer_ids().unwrap().next.0, 1000);
    let broker = image.broker(BROKER).unwrap();
    assert!(broker.is_fenced && broker.is_shutting_down && broker.directories.len() == 1);
    assert_eq!(broker.cordoned, Some(Vec::new()));
    assert_eq!(image.controllers().count(), 1);
    let mut initial = features::INITIAL.to_vec();
    initial.sort();
    assert!(image.features().eq(initial));
    let mut supported = features::supported();
    supported.sort_by(|one, other| one.name.cmp(&other.name));
    let mut theirs: Vec<Supported> = broker.features.clone();
    theirs.sort_by(|one, other| one.name.cmp(&other.name));
    assert_eq!(theirs, supported);
}

#[test]
fn their_snapshot_is_read_and_written_back() {
    let read = snapshot::decode(SNAPSHOT).unwrap();
    let mut initial = features::INITIAL.to_vec();
    initial.sort();
    assert!(read.image.features().eq(initial));
    assert_eq!(read.image.topics().len(), 0);
    let id = Id {
        end_offset: Offset(0),
        epoch: LeaderEpoch(0),
    };
    let ours = snapshot::encode(&read.image, id, read.last_timestamp, 7).unwrap();
    assert_eq!(ours.len(), SNAPSHOT.len());
    // Theirs has three times, one for each batch; all else is equal.
    for (ours, theirs) in batches(&ours).zip(batches(SNAPSHOT)) {
        let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
        assert_eq!(ours.records_bytes(), theirs.records_bytes());
        assert_eq!(ours.header().base_offset(), theirs.header().base_offset());
        assert_eq!(ours.header().is_control(), theirs.header().is_control());
    }
}

#[test]
fn records_are_written_back_unchanged() {
    for (offset, value) in values() {
        let (record, version) = decode(&value);
        let mut out = Vec::new();
        record.encode(&mut out, version);
        assert_eq!(out, value, "offset {offset}: {record:?}");
    }
}

#[test]
fn an_image_survives_records_and_snapshots() {
    let image = loaded();
    let mut again = Image::default();
    image
        .records()
        .values()
        .for_each(|value| again.apply(value).unwrap());
    assert_eq!(again, image);
    let id = Id {
        end_offset: Offset(289),
        epoch: LeaderEpoch(4),
    };
    let bytes = snapshot::encode(&image, id, 5, 7).unwrap();
    let read = snapshot::decode(&bytes).unwrap();
    assert_eq!((read.image, read.last_timestamp), (image, 5));
    for end in 0..bytes.len() {
        assert!(snapshot::decode(&bytes[..end]).is_err(), "cut at {end}");
    }
    for at in 0..bytes.len() {
        let mut rotten = bytes.clone();
        rotten[at] ^= 1;
        // Base offset and leader epoch stand outside a batch's CRC; the offsets are still checked for gaps.
        let is_epoch = snapshot::decode(&rotten).is_ok_and(|read| read.last_timestamp == 5);
        assert!(snapshot::decode(&rotten).is_err() || is_epoch, "flipped at {at}");
    }
    assert_eq!(Id::of_file_name(&id.file_name()), Some(id));
    assert_eq!(id.file_name(), "00000000000000000289-0000000004.checkpoint");
}

#[test]
fn the_same_commands_write_the_same_records() {
    let mut controller = Controller::new(&Loader::new(Image::default(), Offset(1)), Offset(1));
    let activation = controller.decide_activate();
    let theirs: Vec<Vec<u8>> = values().into_iter().take(9).map(|(_, value)| value).collect();
    assert!(activation.records.values().eq(theirs.iter().map(Vec::as_slice)));

    // Their registration with its own offsets, read into the image and written by us.
    let registrations = some(|record| matches!(record, MetadataRecord::RegisterBroker(_)));
    let (MetadataRecord::RegisterBroker(theirs), version) = decode(&registrations[0]) else {
        unreachable!()
    };
    assert_eq!((version, theirs.broker_epoch), (4, 12));
    let listeners = theirs.end_points.iter().map(|one| Endpoint {
        name: one.name.to_owned(),
        host: one.host.to_owned(),
        port: one.port,
        security_protocol: one.security_protocol,
    });
    let features = theirs.features.iter().map(|one| Supported {
        name: one.name.to_owned(),
        min: one.min_supported_version,
        max: one.max_supported_version,
    });
    let registration = Registration {
        broker_id: BROKER,
        incarnation_id: theirs.incarnation_id,
        listeners: listeners.collect(),
        features: features.collect(),
        rack: None,
        directories: theirs.log_dirs.clone(),
    };
    let mut controller = Controller::new(&Loader::new(controller.image().clone(), Offset(10)), Offset(12));
    let registered = controller.decide_register_broker(&registration);
    assert_eq!(registered.answer, Ok(12));
    assert!(registered.records.values().eq([registrations[0].as_slice()]));
    let unfenced = controller.decide_unfence(BROKER, 12);
    let is_unfence = |record: &MetadataRecord<'_>| match record {
        MetadataRecord::BrokerRegistrationChange(one) => one.broker_epoch == 12 && one.fenced == -1,
        _ => false,
    };
    assert!(
        unfenced
            .records
            .values()
            .eq(some(is_unfence).iter().map(Vec::as_slice))
    );

    create_as_they_did(&mut controller);
    let block = controller.decide_producer_ids(BROKER, 12);
    assert_eq!(block.answer.map(|block| block.first.0), Ok(0));
}

fn create_as_they_did(controller: &mut Controller) {
    let plain = Wanted {
        name: "plain",
        num_partitions: 3,
        replication_factor: 1,
        ..Wanted::default()
    };
    let conf = Wanted {
        name: "conf",
        num_partitions: 1,
        replication_factor: 1,
        configs: vec![
            ("cleanup.policy", Some("compact")),
            ("max.message.bytes", Some(" 2000 ")),
            ("segment.bytes", Some("1048576")),
        ],
        ..Wanted::default()
    };
    let insync = Wanted {
        name: "cmin.insync.replicasx",
        num_partitions: 1,
        replication_factor: 1,
        configs: vec![("min.insync.replicas", Some("5"))],
        ..Wanted::default()
    };
    let rules = Rules {
        num_partitions: 1,
        replication_factor: 1,
        check_configs: &|_| Ok(()),
    };
    for wanted in [plain, conf, insync] {
        let name = wanted.name;
        let id = topic_id(name);
        let theirs = some(|record| match record {
            MetadataRecord::Topic(one) => one.topic_id == id,
            MetadataRecord::Partition(one) => one.topic_id == id,
            MetadataRecord::Config(one) => one.resource_name == name,
            MetadataRecord::ClearElr(one) => one.topic_name == name,
            _ => false,
        });
        let created = controller.decide_create_topics(&[wanted], false, &rules, &mut || id);
        assert!(created.answer[0].is_ok());
        assert!(
            created.records.values().eq(theirs.iter().map(Vec::as_slice)),
            "{name}"
        );
    }
    let deleted = controller.decide_delete_topics(&[Which::Name("conf"), Which::Id(topic_id("plain"))]);
    let theirs = some(|record| matches!(record, MetadataRecord::RemoveTopic(_)));
    assert!(deleted.records.values().eq(theirs.iter().map(Vec::as_slice)));
}

fn topic_id(name: &str) -> Uuid {
    let found = some(|record| matches!(record, MetadataRecord::Topic(one) if one.name == name));
    match decode(&found[0]).0 {
        MetadataRecord::Topic(one) => one.topic_id,
        other => unreachable!("{other:?}"),
    }
}

/// Kafka stopped cleanly, and we start on what it left.
#[test]
fn leaders_come_back_as_kafka_elects_them() {
    let image = loaded();
    let mut controller = Controller::new(&Loader::new(image.clone(), Offset(289)), Offset(290));
    assert!(controller.decide_activate().records.is_empty());
    let known = image.broker(BROKER).unwrap();
    let registration = Registration {
        broker_id: BROKER,
        incarnation_id: Uuid([9; 16]),
        listeners: known.listeners.clone(),
        features: known.features.clone(),
        rack: None,
        directories: known.directories.clone(),
    };
    let epoch = controller.decide_register_broker(&registration).answer.unwrap();
    let unfenced = controller.decide_unfence(BROKER, epoch);
    let elections = some(|record| matches!(record, MetadataRecord::PartitionChange(one) if one.leader == 1));
    let mut theirs: Vec<&[u8]> = elections.iter().map(Vec::as_slice).collect();
    theirs.sort();
    theirs.dedup();
    let mut ours: Vec<&[u8]> = unfenced.records.values().skip(1).collect();
    ours.sort();
    assert_eq!(ours, theirs);
    for topic in controller.image().topics().iter() {
        for (_, partition) in topic.partitions() {
            assert_eq!((partition.leader, &partition.isr), (BROKER, &vec![BROKER]));
            assert!(partition.eligible.is_empty() && partition.last_known.is_empty());
        }
    }
}
