//! Every version of every API that a broker of this stage has, spoken without a client library, and what no
//! library would say.

use anyhow::{Context, Result, ensure};
use clients::client::Admin;
use clients::librdkafka::Librdkafka;
use clients::wire::{BUDGET, Wire};
use clients::{Broker, Settings, Target, TopicSpec};
use protocol::api::{SUPPORTED, supported};
use protocol::batch::{HeaderFields, batches};
use protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::describe_configs_request::DescribeConfigsResource;
use protocol::messages::describe_topic_partitions_request::TopicRequest;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::*;
use protocol::records::BatchBuilder;
use protocol::wire::Reader;
use protocol::{ApiKey, Uuid};

const TOPIC: &str = "versions";
const TIME: i64 = 1_000_000_000_000;

/// Asks with one message and binds the whole answer, decoded to its last byte.
macro_rules! ask {
    ($wire:expr, $version:expr, $request:expr, $Response:ident, $body:ident, $answer:ident) => {
        let mut request = Vec::new();
        $request.encode(&mut request, $version);
        let api = ApiKey::try_from($Response::API_KEY)?;
        let $body = $wire
            .call(api, $version, &request)
            .with_context(|| format!("{api} version {}", $version))?;
        let mut reader = Reader::new(&$body, BUDGET);
        let $answer = $Response::decode(&mut reader, $version)
            .with_context(|| format!("{api} version {}: {:02x?}", $version, $body))?;
        reader
            .finish()
            .with_context(|| format!("{api} version {}", $version))?;
    };
}

/// A broker with one topic, and a connection.
struct Scene {
    broker: Broker,
    wire: Wire,
    topic_id: Uuid,
}

impl Scene {
    fn set() -> Result<Scene> {
        let broker = Broker::start(Settings::from_environment()?)?;
        let mut client = Librdkafka::new(&broker.bootstrap());
        client.create_topic(&TopicSpec {
            name: TOPIC,
            partitions: 2,
            configs: &[],
        })?;
        client.wait_for_end(TOPIC, 0, 0)?;
        client.wait_for_end(TOPIC, 1, 0)?;
        let mut wire = Wire::connect(&broker.bootstrap())?;
        ask!(
            wire,
            13,
            metadata_request(Some(TOPIC)),
            MetadataResponse,
            body,
            answer
        );
        let topic_id = answer.topics.first().context("no topic")?.topic_id;
        Ok(Scene {
            broker,
            wire,
            topic_id,
        })
    }
}

fn metadata_request(name: Option<&str>) -> MetadataRequest<'_> {
    MetadataRequest {
        topics: name.map(|name| {
            vec![MetadataRequestTopic {
                name: Some(name),
                topic_id: Uuid::default(),
            }]
        }),
        allow_auto_topic_creation: false,
        ..MetadataRequest::default()
    }
}

fn versions(api: ApiKey) -> Result<std::ops::RangeInclusive<i16>> {
    Ok(supported(api)
        .with_context(|| format!("{api} is not supported"))?
        .accepted
        .clone())
}

#[test]
fn api_versions_tells_what_apache_kafka_tells() -> Result<()> {
    let mut scene = Scene::set()?;
    for version in versions(ApiKey::ApiVersions)? {
        let request = ApiVersionsRequest {
            client_software_name: "wire",
            client_software_version: "1",
            ..ApiVersionsRequest::default()
        };
        ask!(scene.wire, version, request, ApiVersionsResponse, body, answer);
        ensure!(answer.error_code == 0, "version {version}: {answer:?}");
        for line in SUPPORTED {
            let found = answer
                .api_keys
                .iter()
                .find(|found| found.api_key == line.key as i16);
            let found = found.map(|found| found.min_version..=found.max_version);
            ensure!(found.as_ref() == Some(&line.announced), "{}: {found:?}", line.key);
        }
        // Klamm announces what it can, and nothing else.
        let is_klamm = scene.broker.target() == Target::Klamm;
        ensure!(
            !is_klamm || answer.api_keys.len() == SUPPORTED.len(),
            "{:?}",
            answer.api_keys
        );
    }
    // A version that does not exist is answered in version 0, so that the client can find one that does.
    scene.wire.send(ApiKey::ApiVersions as i16, 127, &[0, 0, 0])?;
    let frame = scene.wire.receive()?;
    let mut reader = Reader::new(frame.get(4..).context("short")?, BUDGET);
    let answer = ApiVersionsResponse::decode(&mut reader, 0)?;
    reader.finish()?;
    ensure!(
        answer.error_code == 35 && !answer.api_keys.is_empty(),
        "{answer:?}"
    );
    scene.broker.stop()?;
    Ok(())
}

#[test]
fn every_version_describes() -> Result<()> {
    let mut scene = Scene::set()?;
    let wire = &mut scene.wire;
    let port = i32::from(scene.broker.port());
    for version in versions(ApiKey::Metadata)? {
        ask!(
            wire,
            version,
            metadata_request(Some(TOPIC)),
            MetadataResponse,
            body,
            answer
        );
        let topic = answer.topics.first().context("no topic")?;
        ensure!(
            topic.error_code == 0 && topic.name == Some(TOPIC),
            "{version}: {answer:?}"
        );
        ensure!(
            version < 10 || topic.topic_id == scene.topic_id,
            "{version}: {answer:?}"
        );
        ensure!(topic.partitions.len() == 2, "{version}: {answer:?}");
        let leads = topic
            .partitions
            .iter()
            .all(|partition| partition.error_code == 0 && partition.leader_id == 1);
        ensure!(leads, "{version}: {answer:?}");
        let broker = answer.brokers.first().context("no broker")?;
        ensure!(
            broker.node_id == 1 && broker.port == port && broker.host == "127.0.0.1",
            "{answer:?}"
        );
        ensure!(version < 1 || answer.controller_id == 1, "{version}: {answer:?}");
        // Versions below 4 cannot say that a topic must not be made, so there it is being made.
        if version >= 4 {
            ask!(
                wire,
                version,
                metadata_request(Some("nowhere")),
                MetadataResponse,
                body,
                answer
            );
            let topic = answer.topics.first().context("no topic")?;
            ensure!(topic.error_code == 3, "{version}: {answer:?}");
        }
        ask!(
            wire,
            version,
            metadata_request(None),
            MetadataResponse,
            body,
            answer
        );
        // In version 0 nothing is everything, and null is written as nothing.
        ensure!(
            answer.topics.iter().any(|topic| topic.name == Some(TOPIC)),
            "{version}: {answer:?}"
        );
    }
    // By id.
    for version in 12..=13 {
        let topics = vec![MetadataRequestTopic {
            name: None,
            topic_id: scene.topic_id,
        }];
        let request = MetadataRequest {
            topics: Some(topics),
            ..MetadataRequest::default()
        };
        ask!(wire, version, request, MetadataResponse, body, answer);
        let is_right = answer
            .topics
            .first()
            .is_some_and(|topic| topic.name == Some(TOPIC));
        ensure!(is_right, "{version}: {answer:?}");
    }
    for version in versions(ApiKey::DescribeCluster)? {
        ask!(
            wire,
            version,
            DescribeClusterRequest::default(),
            DescribeClusterResponse,
            body,
            answer
        );
        let is_right = answer.error_code == 0 && answer.controller_id == 1 && answer.brokers.len() == 1;
        ensure!(is_right, "{version}: {answer:?}");
    }
    for version in versions(ApiKey::DescribeTopicPartitions)? {
        let topics = [TOPIC, "nowhere-2"].map(|name| TopicRequest { name });
        let request = DescribeTopicPartitionsRequest {
            topics: topics.to_vec(),
            response_partition_limit: 2000,
            cursor: None,
        };
        ask!(
            wire,
            version,
            request,
            DescribeTopicPartitionsResponse,
            body,
            answer
        );
        // Answered by name.
        let found: Vec<_> = answer
            .topics
            .iter()
            .map(|topic| (topic.name, topic.error_code, topic.partitions.len()))
            .collect();
        ensure!(
            found == [(Some("nowhere-2"), 3, 0), (Some(TOPIC), 0, 2)],
            "{version}: {answer:?}"
        );
        ensure!(
            answer.topics.iter().any(|topic| topic.topic_id == scene.topic_id),
            "{answer:?}"
        );
    }
    for version in versions(ApiKey::DescribeConfigs)? {
        let resource = DescribeConfigsResource {
            resource_type: 2,
            resource_name: TOPIC,
            configuration_keys: Some(vec!["segment.bytes"]),
        };
        let request = DescribeConfigsRequest {
            resources: vec![resource],
            ..DescribeConfigsRequest::default()
        };
        ask!(wire, version, request, DescribeConfigsResponse, body, answer);
        let result = answer.results.first().context("no result")?;
        let config = result.configs.first().context("no config")?;
        let is_right = result.error_code == 0
            && result.configs.len() == 1
            && config.name == "segment.bytes"
            && config.value == Some("1073741824");
        ensure!(is_right, "{version}: {answer:?}");
    }
    scene.broker.stop()?;
    Ok(())
}

#[test]
fn every_version_makes_and_removes_topics() -> Result<()> {
    let mut scene = Scene::set()?;
    let wire = &mut scene.wire;
    for version in versions(ApiKey::CreateTopics)? {
        let name = format!("made-{version}");
        let request = |validate_only| CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: &name,
                num_partitions: 3,
                replication_factor: 1,
                configs: vec![CreatableTopicConfig {
                    name: "max.message.bytes",
                    value: Some("5000"),
                }],
                ..CreatableTopic::default()
            }],
            timeout_ms: 30_000,
            validate_only,
        };
        for (validate_only, expected) in [(true, 0), (false, 0), (false, 36)] {
            ask!(
                wire,
                version,
                request(validate_only),
                CreateTopicsResponse,
                body,
                answer
            );
            let topic = answer.topics.first().context("no topic")?;
            ensure!(
                topic.error_code == expected && topic.name == name,
                "{version}: {answer:?}"
            );
            ensure!(
                version < 5 || expected != 0 || topic.num_partitions == 3,
                "{version}: {answer:?}"
            );
        }
    }
    let made = *versions(ApiKey::CreateTopics)?.end();
    for version in versions(ApiKey::DeleteTopics)? {
        let name = format!("made-{}", made - version + 1);
        let name = if version == made { "made-2" } else { name.as_str() };
        let states = vec![DeleteTopicState {
            name: Some(name),
            ..DeleteTopicState::default()
        }];
        let request = || DeleteTopicsRequest {
            topics: if version < 6 { Vec::new() } else { states.clone() },
            topic_names: if version < 6 { vec![name] } else { Vec::new() },
            timeout_ms: 30_000,
        };
        for expected in [0, 3] {
            ask!(wire, version, request(), DeleteTopicsResponse, body, answer);
            let topic = answer.responses.first().context("no topic")?;
            ensure!(
                topic.error_code == expected && topic.name == Some(name),
                "{version}: {answer:?}"
            );
        }
    }
    // By id.
    let states = vec![DeleteTopicState {
        name: None,
        topic_id: scene.topic_id,
    }];
    for (states, expected) in [(states.clone(), 0), (states, 100)] {
        let request = DeleteTopicsRequest {
            topics: states,
            topic_names: Vec::new(),
            timeout_ms: 30_000,
        };
        ask!(wire, 6, request, DeleteTopicsResponse, body, answer);
        ensure!(
            answer.responses.first().map(|topic| topic.error_code) == Some(expected),
            "{answer:?}"
        );
    }
    scene.broker.stop()?;
    Ok(())
}

#[test]
fn every_version_writes_and_reads() -> Result<()> {
    let mut scene = Scene::set()?;
    let wire = &mut scene.wire;
    let topic_id = scene.topic_id;
    let mut end = 0;
    for version in versions(ApiKey::Produce)? {
        for acks in [1, -1] {
            let records = batch(end)?;
            let partition = PartitionProduceData {
                index: 0,
                records: Some(&records),
            };
            let topic = TopicProduceData {
                name: TOPIC,
                topic_id,
                partition_data: vec![partition],
            };
            let request = ProduceRequest {
                transactional_id: None,
                acks,
                timeout_ms: 30_000,
                topic_data: vec![topic],
            };
            ask!(wire, version, request, ProduceResponse, body, answer);
            let topic = answer.responses.first().context("no topic")?;
            let partition = topic.partition_responses.first().context("no partition")?;
            ensure!(
                partition.error_code == 0 && partition.base_offset == end,
                "{version}: {answer:?}"
            );
            ensure!(
                version < 13 || topic.topic_id == topic_id,
                "{version}: {answer:?}"
            );
            end += 2;
        }
    }
    for version in versions(ApiKey::Fetch)? {
        let partition = FetchPartition {
            partition: 0,
            current_leader_epoch: -1,
            fetch_offset: 3,
            partition_max_bytes: 1 << 20,
            ..FetchPartition::default()
        };
        let topic = FetchTopic {
            topic: TOPIC,
            topic_id,
            partitions: vec![partition],
        };
        let request = FetchRequest {
            replica_id: -1,
            max_wait_ms: 1000,
            min_bytes: 1,
            max_bytes: 1 << 20,
            session_id: 0,
            session_epoch: -1,
            topics: vec![topic],
            ..FetchRequest::default()
        };
        ask!(wire, version, request, FetchResponse, body, answer);
        ensure!(
            answer.error_code == 0 && answer.session_id == 0,
            "{version}: {answer:?}"
        );
        let topic = answer.responses.first().context("no topic")?;
        ensure!(
            if version < 13 {
                topic.topic == TOPIC
            } else {
                topic.topic_id == topic_id
            },
            "{answer:?}"
        );
        let partition = topic.partitions.first().context("no partition")?;
        let is_right = partition.error_code == 0
            && partition.high_watermark == end
            && partition.last_stable_offset == end
            && (version < 5 || partition.log_start_offset == 0);
        ensure!(is_right, "{version}: {answer:?}");
        // Whole batches from the one that holds offset 3, each as it was sent.
        let mut next = 2;
        for found in batches(partition.records.context("no records")?) {
            let found = found?;
            ensure!(
                found.crc_is_valid() && found.base_offset().0 == next,
                "{version}: {next}"
            );
            // All but base offset and leader epoch is the producer's.
            let sent = batch(next)?;
            ensure!(found.bytes().get(16..) == sent.get(16..), "{version}: {next}");
            next += 2;
        }
        ensure!(next == end, "{version}: {next}");
    }
    for version in versions(ApiKey::ListOffsets)? {
        // Earliest, latest, and the first record that is not older.
        for (timestamp, offset, found_at) in [
            (-2, 0, -1),
            (-1, end, -1),
            (TIME + 3, 3, TIME + 3),
            (TIME * 2, -1, -1),
        ] {
            let partition = ListOffsetsPartition {
                partition_index: 0,
                current_leader_epoch: -1,
                timestamp,
            };
            let topic = ListOffsetsTopic {
                name: TOPIC,
                partitions: vec![partition],
            };
            let request = ListOffsetsRequest {
                replica_id: -1,
                isolation_level: 0,
                topics: vec![topic],
                timeout_ms: 30_000,
            };
            ask!(wire, version, request, ListOffsetsResponse, body, answer);
            let partition = answer
                .topics
                .first()
                .and_then(|topic| topic.partitions.first())
                .context("nothing")?;
            let found = (partition.error_code, partition.offset, partition.timestamp);
            ensure!(
                found == (0, offset, found_at),
                "{version}: {timestamp}: {answer:?}"
            );
        }
    }
    for version in versions(ApiKey::OffsetForLeaderEpoch)? {
        let partition = OffsetForLeaderPartition {
            partition: 0,
            current_leader_epoch: -1,
            leader_epoch: 0,
        };
        let topic = OffsetForLeaderTopic {
            topic: TOPIC,
            partitions: vec![partition],
        };
        let request = OffsetForLeaderEpochRequest {
            replica_id: -1,
            topics: vec![topic],
        };
        ask!(wire, version, request, OffsetForLeaderEpochResponse, body, answer);
        let partition = answer
            .topics
            .first()
            .and_then(|topic| topic.partitions.first())
            .context("nothing")?;
        let found = (partition.error_code, partition.leader_epoch, partition.end_offset);
        ensure!(found == (0, 0, end), "{version}: {answer:?}");
    }
    let mut last = -1;
    for version in versions(ApiKey::InitProducerId)? {
        let request = || InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            producer_id: -1,
            producer_epoch: -1,
            ..InitProducerIdRequest::default()
        };
        if version == 0 {
            await_producer_ids(wire, &request())?;
        }
        ask!(wire, version, request(), InitProducerIdResponse, body, answer);
        let is_new = answer.error_code == 0 && answer.producer_id > last && answer.producer_epoch == 0;
        ensure!(is_new, "{version}: {answer:?} after {last}");
        last = answer.producer_id;
    }
    for version in versions(ApiKey::FindCoordinator)? {
        let request = FindCoordinatorRequest {
            key: "a group",
            key_type: 0,
            coordinator_keys: vec!["a group"],
        };
        ask!(wire, version, request, FindCoordinatorResponse, body, answer);
        let code = match answer.coordinators.first() {
            Some(coordinator) => coordinator.error_code,
            None => answer.error_code,
        };
        // COORDINATOR_NOT_AVAILABLE; Apache Kafka says so until it has made its topic.
        let is_right = code == 15 || (code == 0 && scene.broker.target() == Target::Kafka);
        ensure!(is_right, "{version}: {answer:?}");
    }
    scene.broker.stop()?;
    Ok(())
}

/// Apache Kafka's first answer is COORDINATOR_LOAD_IN_PROGRESS: its broker asks its controller for ids then.
fn await_producer_ids(wire: &mut Wire, request: &InitProducerIdRequest<'_>) -> Result<()> {
    loop {
        ask!(wire, 0, request, InitProducerIdResponse, body, answer);
        match answer.error_code {
            14 => std::thread::sleep(std::time::Duration::from_millis(10)),
            _ => return Ok(()),
        }
    }
}

/// Two records whose times tell their offsets.
fn batch(base_offset: i64) -> Result<Vec<u8>> {
    let mut batch = BatchBuilder::new(HeaderFields::default());
    for offset in [base_offset, base_offset + 1] {
        let value = format!("value {offset}");
        batch.append(TIME + offset, Some(b"key"), Some(value.as_bytes()), &[])?;
    }
    Ok(batch.build()?)
}

#[test]
fn nonsense_closes_the_connection_and_nothing_else() -> Result<()> {
    let mut settings = Settings::from_environment()?;
    for text in [
        "Closing connection",
        "closing the connection",
        "Closing socket",
        "Exception while processing request",
        "Unexpected error from",
    ] {
        settings = settings.allow(text);
    }
    let broker = Broker::start(settings)?;
    let frames: [(&str, Vec<u8>); 8] = [
        ("a negative length", vec![0xff, 0xff, 0xff, 0xff]),
        (
            "a length beyond socket.request.max.bytes",
            vec![0x7f, 0xff, 0xff, 0xff],
        ),
        ("a frame too short for a header", vec![0, 0, 0, 2, 0, 3]),
        ("an API that is gone", frame(4, 0, &[])),
        ("an API that never was", frame(999, 0, &[])),
        ("a version that never was", frame(3, 99, &[])),
        (
            "Produce below version 3",
            frame(0, 2, &[0, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
        ),
        (
            "a count beyond all memory",
            frame(3, 8, &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0]),
        ),
    ];
    for (what, bytes) in frames {
        let mut wire = Wire::connect(&broker.bootstrap())?;
        wire.send_bytes(&bytes)?;
        ensure!(wire.is_closed().context(what)?, "{what}: not closed");
    }
    // Others are served as before.
    let mut wire = Wire::connect(&broker.bootstrap())?;
    ask!(
        wire,
        0,
        ApiVersionsRequest::default(),
        ApiVersionsResponse,
        body,
        answer
    );
    ensure!(answer.error_code == 0, "{answer:?}");
    broker.stop()?;
    Ok(())
}

/// A frame with a header of version 1.
fn frame(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let header = [
        &key.to_be_bytes()[..],
        &version.to_be_bytes(),
        &[0, 0, 0, 7, 0xff, 0xff],
    ]
    .concat();
    let length = (header.len() + body.len()) as i32;
    [&length.to_be_bytes()[..], &header, body].concat()
}
