//! A whole node on the simulated machine, asked in Kafka's protocol: what the handlers answer, and in which order.
//!
//! What a newcomer would get wrong: time is simulated, so a long poll of seconds costs nothing, and every case runs
//! under several seeds, that is with tasks, messages and packets in several orders.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use broker::config::{self, Host, Sources};
use broker::{Broker, Ended, Setup};
use protocol::api::ApiKey;
use protocol::batch::HeaderFields;
use protocol::error_code::ErrorCode;
use protocol::frame::{self, RequestHeader, ResponseHeader};
use protocol::messages::*;
use protocol::records::BatchBuilder;
use protocol::types::{ProducerEpoch, ProducerId, Sequence, Uuid};
use protocol::wire::{DecodeError, Reader};
use shards::buffers::{Buffer, Purpose};
use shards::net::TcpStream;
use shards::side::Signal;
use shards::sim::{Crash, Effect, Fault, Operation, Options, World};
use shards::time::{now, sleep};

const PORT: u16 = 9092;
const SEEDS: std::ops::Range<u64> = 0..6;
const CONNECTIONS_MOST: usize = 20;
const PATIENCE: Duration = Duration::from_secs(600);

/// Starts a node with two shards, runs `client` against it, stops it, and expects a clean end.
fn check<Fut: Future<Output = ()> + 'static>(client: fn(SocketAddr) -> Fut) {
    for seed in SEEDS {
        let mut world = World::new(seed, Options::default());
        let node = world.add_node();
        let (broker, address) = start(&mut world, node);
        run(&mut world, &broker, address, client);
        world.signal(node, Signal::Terminate);
        world
            .run_until(PATIENCE, |world| !world.is_running(node))
            .expect("the node stops");
        assert_eq!(broker.ended(), Some(&Ended::Stopped), "seed {seed}");
    }
}

/// The same with an end in between: `first`, a crash or a stop, and `second` against the node started again.
fn check_over_restart<Fut, Next>(first: fn(SocketAddr) -> Fut, second: fn(SocketAddr) -> Next)
where
    Fut: Future<Output = ()> + 'static,
    Next: Future<Output = ()> + 'static,
{
    for seed in SEEDS {
        for crash in [None, Some(Crash::Kill), Some(Crash::PowerCut)] {
            let mut world = World::new(seed, Options::default());
            let node = world.add_node();
            let (broker, address) = start(&mut world, node);
            run(&mut world, &broker, address, first);
            match crash {
                Some(crash) => world.crash(node, crash),
                None => world.signal(node, Signal::Terminate),
            }
            world
                .run_until(PATIENCE, |world| !world.is_running(node))
                .expect("the node ends");
            let (broker, address) = start(&mut world, node);
            run(&mut world, &broker, address, second);
        }
    }
}

fn start(world: &mut World, node: shards::sim::NodeId) -> (Broker, SocketAddr) {
    let ip = world.address(node);
    let file = format!(
        "log.dirs=/data\nlisteners=PLAINTEXT://{ip}:{PORT}\nnum.partitions=3\nklamm.journal.bytes=33554432\n"
    );
    let sources = Sources {
        file: Some(&file),
        environment: &[],
        overrides: &[],
        host: Host {
            name: ip.to_string(),
            memory_bytes: 1 << 30,
        },
    };
    let config = config::load(&sources).unwrap_or_else(|problem| panic!("{problem}"));
    let address = SocketAddr::new(ip, PORT);
    let setup = Setup {
        config: Arc::new(config),
        addresses: vec![address],
        host: "simulated".to_owned(),
        connections_most: CONNECTIONS_MOST,
    };
    let broker = Broker::new(setup);
    let main = broker.clone();
    world.start(node, 2, move |shard| main.clone().run(shard));
    (broker, address)
}

fn run<Fut: Future<Output = ()> + 'static>(
    world: &mut World,
    broker: &Broker,
    address: SocketAddr,
    client: fn(SocketAddr) -> Fut,
) {
    let done = Rc::new(Cell::new(false));
    let told = done.clone();
    world.add_client(async move {
        client(address).await;
        told.set(true);
    });
    let ran = world.run_until(PATIENCE, |_| done.get());
    assert!(
        ran.is_ok(),
        "the client does not come to its end: {ran:?}, the node: {:?}",
        broker.ended()
    );
}

/// A connection that speaks Kafka's protocol.
struct Client {
    stream: TcpStream,
    correlation: Cell<i32>,
    rest: RefCell<Vec<u8>>,
}

impl Client {
    /// Connects, as soon as the node listens.
    async fn connect(address: SocketAddr) -> Client {
        let stream = loop {
            match TcpStream::connect(address).await {
                Ok(stream) => break stream,
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        };
        Client {
            stream,
            correlation: Cell::new(0),
            rest: RefCell::default(),
        }
    }

    /// Sends a request without waiting for its answer.
    async fn send(&self, api: ApiKey, version: i16, body: impl FnOnce(&mut Vec<u8>, i16)) {
        let correlation_id = self.correlation.replace(self.correlation.get() + 1);
        let mut out = Vec::new();
        frame::begin(&mut out);
        let header = RequestHeader {
            api_key: api as i16,
            api_version: version,
            correlation_id,
            client_id: Some("test"),
        };
        header.encode(&mut out);
        body(&mut out, version);
        frame::end(&mut out, 0).expect("a small request");
        self.stream.write_all(vec![out.into()]).await.ok();
    }

    /// The frame of the next answer, or `None` if the connection ends first.
    async fn receive(&self) -> Option<Vec<u8>> {
        loop {
            let mut rest = std::mem::take(&mut *self.rest.borrow_mut());
            if let Some(prefix) = rest.first_chunk::<4>() {
                let end = 4 + i32::from_be_bytes(*prefix) as usize;
                if rest.len() >= end {
                    *self.rest.borrow_mut() = rest.split_off(end);
                    return Some(rest.split_off(4));
                }
            }
            let (read, buffer) = self
                .stream
                .read(Buffer::take(Purpose::Receive, 65536).await)
                .await;
            if !matches!(read, Ok(count) if count > 0) {
                return None;
            }
            rest.extend_from_slice(&buffer);
            *self.rest.borrow_mut() = rest;
        }
    }

    /// Sends a request and gives its answer's frame.
    async fn ask(&self, api: ApiKey, version: i16, body: impl FnOnce(&mut Vec<u8>, i16)) -> Vec<u8> {
        self.send(api, version, body).await;
        self.receive().await.expect("an answer")
    }

    /// Creates topics; the id of the first, or its error.
    async fn create(&self, topics: &[(&str, i32)]) -> Result<Uuid, ErrorCode> {
        let topics = topics
            .iter()
            .map(|(name, num_partitions)| create_topics_request::CreatableTopic {
                name,
                num_partitions: *num_partitions,
                replication_factor: 1,
                ..Default::default()
            });
        let request = CreateTopicsRequest {
            topics: topics.collect(),
            timeout_ms: 10_000,
            ..Default::default()
        };
        let answer = self
            .ask(ApiKey::CreateTopics, 7, |out, v| request.encode(out, v))
            .await;
        let answer = decode(&answer, ApiKey::CreateTopics, 7, CreateTopicsResponse::decode);
        match ErrorCode::from_code(answer.topics[0].error_code) {
            ErrorCode::None => Ok(answer.topics[0].topic_id),
            error => Err(error),
        }
    }

    /// Produces one record to a partition; its offset, or the error.
    async fn produce(&self, topic: &str, partition: i32, value: &str) -> Result<i64, ErrorCode> {
        self.send_produce(topic, partition, -1, &batch(value, None)).await;
        self.produced().await
    }

    async fn send_produce(&self, topic: &str, index: i32, acks: i16, records: &[u8]) {
        self.send_produce_within(10_000, topic, index, acks, records)
            .await;
    }

    async fn send_produce_within(&self, timeout_ms: i32, topic: &str, index: i32, acks: i16, records: &[u8]) {
        let part = produce_request::PartitionProduceData {
            index,
            records: Some(records),
        };
        let topic = produce_request::TopicProduceData {
            name: topic,
            partition_data: vec![part],
            ..Default::default()
        };
        let request = ProduceRequest {
            acks,
            timeout_ms,
            topic_data: vec![topic],
            ..Default::default()
        };
        self.send(ApiKey::Produce, 9, |out, v| request.encode(out, v))
            .await;
    }

    /// The answer to the next Produce.
    async fn produced(&self) -> Result<i64, ErrorCode> {
        let answer = self.receive().await.expect("an answer");
        let answer = decode(&answer, ApiKey::Produce, 9, ProduceResponse::decode);
        let part = &answer.responses[0].partition_responses[0];
        match ErrorCode::from_code(part.error_code) {
            ErrorCode::None => Ok(part.base_offset),
            error => Err(error),
        }
    }

    /// Fetches from partitions of a topic: error and values of each.
    async fn fetch(
        &self,
        topic: &str,
        from: &[(i32, i64)],
        min_bytes: i32,
        max_wait_ms: i32,
    ) -> Vec<(ErrorCode, Vec<String>)> {
        self.send_fetch(topic, from, min_bytes, i32::MAX, max_wait_ms)
            .await;
        self.fetched().await
    }

    async fn send_fetch(
        &self,
        topic: &str,
        from: &[(i32, i64)],
        min_bytes: i32,
        max_bytes: i32,
        max_wait_ms: i32,
    ) {
        let partitions = from
            .iter()
            .map(|(partition, fetch_offset)| fetch_request::FetchPartition {
                partition: *partition,
                fetch_offset: *fetch_offset,
                partition_max_bytes: 1 << 20,
                ..Default::default()
            });
        let topic = fetch_request::FetchTopic {
            topic,
            partitions: partitions.collect(),
            ..Default::default()
        };
        let request = FetchRequest {
            min_bytes,
            max_bytes,
            max_wait_ms,
            topics: vec![topic],
            ..Default::default()
        };
        self.send(ApiKey::Fetch, 12, |out, v| request.encode(out, v))
            .await;
    }

    /// The answer to the next Fetch.
    async fn fetched(&self) -> Vec<(ErrorCode, Vec<String>)> {
        let answer = self.receive().await.expect("an answer");
        let answer = decode(&answer, ApiKey::Fetch, 12, FetchResponse::decode);
        let partitions = answer.responses.iter().flat_map(|topic| &topic.partitions);
        partitions
            .map(|part| {
                (
                    ErrorCode::from_code(part.error_code),
                    values(part.records.unwrap_or_default()),
                )
            })
            .collect()
    }

    /// The metadata of one topic, by name or id.
    async fn metadata(&self, name: Option<&str>, topic_id: Uuid, may_create: bool) -> (ErrorCode, usize) {
        let topic = metadata_request::MetadataRequestTopic { topic_id, name };
        let request = MetadataRequest {
            topics: Some(vec![topic]),
            allow_auto_topic_creation: may_create,
            ..Default::default()
        };
        let answer = self
            .ask(ApiKey::Metadata, 12, |out, v| request.encode(out, v))
            .await;
        let answer = decode(&answer, ApiKey::Metadata, 12, MetadataResponse::decode);
        (
            ErrorCode::from_code(answer.topics[0].error_code),
            answer.topics[0].partitions.len(),
        )
    }
}

fn decode<'a, M>(
    answer: &'a [u8],
    api: ApiKey,
    version: i16,
    decode: fn(&mut Reader<'a>, i16) -> Result<M, DecodeError>,
) -> M {
    let mut reader = Reader::new(answer, 1 << 20);
    ResponseHeader::decode(&mut reader, api, version).expect("a header");
    let message = decode(&mut reader, version).expect("a message");
    reader.finish().expect("nothing more");
    message
}

/// One batch of one record; with a producer's id and the record's sequence.
fn batch(value: &str, producer: Option<(i64, i32)>) -> Vec<u8> {
    let mut fields = HeaderFields::default();
    if let Some((id, sequence)) = producer {
        fields.producer_id = ProducerId(id);
        fields.producer_epoch = ProducerEpoch(0);
        fields.base_sequence = Sequence(sequence);
    }
    let mut batch = BatchBuilder::new(fields);
    batch
        .append(now_ms(), None, Some(value.as_bytes()), &[])
        .expect("a small record");
    batch.build().expect("a small batch")
}

fn now_ms() -> i64 {
    shards::time::wall_ms()
}

fn values(records: &[u8]) -> Vec<String> {
    let mut values = Vec::new();
    for batch in protocol::batch::batches(records) {
        let batch = batch.expect("whole batches");
        assert!(batch.crc_is_valid());
        for record in &batch.records(1 << 20).expect("records") {
            let value = record.expect("a record").value.unwrap_or_default().to_vec();
            values.push(String::from_utf8(value).expect("a text"));
        }
    }
    values
}

#[test]
fn a_created_topic_is_there_at_once_on_every_shard() {
    check(|address| async move {
        let client = Client::connect(address).await;
        assert!(client.create(&[("a", 8)]).await.is_ok());
        assert_eq!(
            client.create(&[("a", 8)]).await,
            Err(ErrorCode::TopicAlreadyExists)
        );
        for partition in 0..8 {
            assert_eq!(client.produce("a", partition, "x").await, Ok(0));
        }
        assert_eq!(
            client.produce("a", 8, "x").await,
            Err(ErrorCode::UnknownTopicOrPartition)
        );
        assert_eq!(
            client.produce("b", 0, "x").await,
            Err(ErrorCode::UnknownTopicOrPartition)
        );
        let from: Vec<(i32, i64)> = (0..8).map(|partition| (partition, 0)).collect();
        let fetched = client.fetch("a", &from, 1, 0).await;
        assert!(
            fetched
                .iter()
                .all(|(error, values)| *error == ErrorCode::None && values == &["x"])
        );
    });
}

#[test]
fn pipelined_batches_keep_their_sequence() {
    check(|address| async move {
        let client = Client::connect(address).await;
        client.create(&[("a", 2)]).await.expect("created");
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 0,
            ..Default::default()
        };
        let answer = client
            .ask(ApiKey::InitProducerId, 4, |out, v| request.encode(out, v))
            .await;
        let id = decode(&answer, ApiKey::InitProducerId, 4, InitProducerIdResponse::decode).producer_id;
        for sequence in 0..40 {
            // Two partitions by turns, which two shards own: each must see its own in order.
            let records = batch(&format!("{sequence}"), Some((id, sequence / 2)));
            client.send_produce("a", sequence % 2, -1, &records).await;
        }
        for sequence in 0..40 {
            assert_eq!(client.produced().await, Ok(i64::from(sequence / 2)));
        }
        // Sent once more, it is answered with its first offset; a gap is refused.
        client
            .send_produce("a", 0, -1, &batch("38", Some((id, 19))))
            .await;
        assert_eq!(client.produced().await, Ok(19));
        client
            .send_produce("a", 0, -1, &batch("gap", Some((id, 21))))
            .await;
        assert_eq!(client.produced().await, Err(ErrorCode::OutOfOrderSequenceNumber));
    });
}

#[test]
fn acks_0_is_never_answered_and_a_failure_closes() {
    check(|address| async move {
        let client = Client::connect(address).await;
        client.create(&[("a", 1)]).await.expect("created");
        client.send_produce("a", 0, 0, &batch("quiet", None)).await;
        assert_eq!(
            client.produce("a", 0, "told").await,
            Ok(1),
            "the next answer is that of the next request"
        );
        client.send_produce("a", 0, 7, &batch("x", None)).await;
        assert_eq!(client.produced().await, Err(ErrorCode::InvalidRequiredAcks));
        client.send_produce("a", 5, 0, &batch("nowhere", None)).await;
        assert!(client.receive().await.is_none(), "the connection is closed");
    });
}

#[test]
fn what_is_asked_behind_a_produce_sees_its_records() {
    check(|address| async move {
        let client = Client::connect(address).await;
        client.create(&[("a", 4)]).await.expect("created");
        for offset in 0..20 {
            for partition in 0..4 {
                client.send_produce("a", partition, 1, &batch("mine", None)).await;
                client
                    .send_fetch("a", &[(partition, offset)], 0, i32::MAX, 0)
                    .await;
            }
            for _ in 0..4 {
                assert_eq!(client.produced().await, Ok(offset));
                let (error, values) = client.fetched().await.remove(0);
                assert_eq!((error, values.len()), (ErrorCode::None, 1));
            }
        }
    });
}

#[test]
fn a_produce_waits_for_the_commit_whatever_its_timeout() {
    check(|address| async move {
        let client = Client::connect(address).await;
        client.create(&[("a", 1)]).await.expect("created");
        let mut expected = 0;
        for acks in [1, -1] {
            for timeout_ms in [0, -1, 1, i32::MIN] {
                client
                    .send_produce_within(timeout_ms, "a", 0, acks, &batch("once", None))
                    .await;
                assert_eq!(
                    client.produced().await,
                    Ok(expected),
                    "acks {acks}, timeout {timeout_ms}"
                );
                expected += 1;
            }
        }
    });
}

#[test]
fn a_long_poll_ends_with_enough_bytes_or_with_its_time() {
    check(|address| async move {
        let (reader, writer) = (Client::connect(address).await, Client::connect(address).await);
        writer.create(&[("a", 4)]).await.expect("created");
        let from = [(0, 0), (1, 0), (2, 0), (3, 0)];
        let begun = now();
        let fetched = reader.fetch("a", &from, 1, 3_000).await;
        assert!(
            fetched
                .iter()
                .all(|(error, values)| *error == ErrorCode::None && values.is_empty())
        );
        assert!(begun.elapsed() >= Duration::from_secs(3), "there was nothing");
        let writing = shards::spawn(shards::Priority::Clients, async move {
            sleep(Duration::from_secs(1)).await;
            for partition in 0..4 {
                assert_eq!(
                    writer
                        .produce("a", partition, "seventy or more bytes with its header")
                        .await,
                    Ok(0)
                );
                sleep(Duration::from_secs(1)).await;
            }
        });
        let begun = now();
        let fetched = reader.fetch("a", &from, 1, 60_000).await;
        assert_eq!(fetched.iter().filter(|(_, values)| !values.is_empty()).count(), 1);
        assert!(begun.elapsed() < Duration::from_secs(2), "one record is enough");
        // What is wanted lies on both shards.
        let fetched = reader.fetch("a", &from, 300, 60_000).await;
        assert!(fetched.iter().filter(|(_, values)| !values.is_empty()).count() >= 3);
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "all four are more than enough"
        );
        let begun = now();
        let fetched = reader.fetch("a", &[(0, 1), (9, 0), (1, 99)], 1, 60_000).await;
        let errors: Vec<ErrorCode> = fetched.iter().map(|(error, _)| *error).collect();
        assert_eq!(
            errors,
            [
                ErrorCode::None,
                ErrorCode::UnknownTopicOrPartition,
                ErrorCode::OffsetOutOfRange
            ]
        );
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "an error is told at once"
        );
        writing.await;
        let begun = now();
        reader.send_fetch("a", &[(0, 0)], 1 << 20, 60, 60_000).await;
        assert_eq!(reader.fetched().await[0].1.len(), 1);
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "no more is waited for than may be read"
        );
    });
}

#[test]
fn topics_are_created_when_asked_for() {
    check(|address| async move {
        let client = Client::connect(address).await;
        let unknown = (ErrorCode::UnknownTopicOrPartition, 0);
        assert_eq!(client.metadata(Some("a"), Uuid::ZERO, false).await, unknown);
        assert_eq!(
            client.metadata(Some("a"), Uuid::ZERO, true).await,
            (ErrorCode::None, 3)
        );
        assert_eq!(
            client.metadata(Some("a b"), Uuid::ZERO, true).await.0,
            ErrorCode::InvalidTopicException
        );
        assert_eq!(
            client
                .metadata(Some("__consumer_offsets"), Uuid::ZERO, true)
                .await,
            unknown
        );
        assert_eq!(
            client.metadata(None, Uuid([7; 16]), true).await.0,
            ErrorCode::UnknownTopicId
        );
        assert_eq!(
            client.produce("__consumer_offsets", 0, "x").await,
            Err(ErrorCode::UnknownTopicOrPartition)
        );
    });
}

#[test]
fn a_topic_that_was_deleted_and_made_again_is_another() {
    check(|address| async move {
        let client = Client::connect(address).await;
        let first = client.create(&[("a", 2)]).await.expect("created");
        assert_eq!(client.produce("a", 0, "old").await, Ok(0));
        let topics = vec![delete_topics_request::DeleteTopicState {
            name: None,
            topic_id: first,
        }];
        let request = DeleteTopicsRequest {
            topics,
            timeout_ms: 10_000,
            ..Default::default()
        };
        let answer = client
            .ask(ApiKey::DeleteTopics, 6, |out, v| request.encode(out, v))
            .await;
        let answer = decode(&answer, ApiKey::DeleteTopics, 6, DeleteTopicsResponse::decode);
        assert_eq!(
            (answer.responses[0].error_code, answer.responses[0].name),
            (0, Some("a"))
        );
        assert_eq!(
            client.metadata(None, first, false).await.0,
            ErrorCode::UnknownTopicId
        );
        assert_eq!(
            client.produce("a", 0, "gone").await,
            Err(ErrorCode::UnknownTopicOrPartition)
        );
        let second = client.create(&[("a", 2)]).await.expect("created again");
        assert_ne!(first, second);
        assert_eq!(client.produce("a", 0, "new").await, Ok(0));
        assert_eq!(
            client.fetch("a", &[(0, 0)], 1, 0).await,
            [(ErrorCode::None, vec!["new".to_owned()])]
        );
    });
}

#[test]
fn partitions_are_described_page_by_page() {
    check(|address| async move {
        let client = Client::connect(address).await;
        client.create(&[("a", 3), ("b", 2)]).await.expect("created");
        let mut seen = Vec::new();
        let mut pages = 0;
        let mut next: Option<(String, i32)> = None;
        loop {
            let cursor = next.as_ref().map(|(topic_name, partition_index)| {
                describe_topic_partitions_request::Cursor {
                    topic_name,
                    partition_index: *partition_index,
                }
            });
            let request = DescribeTopicPartitionsRequest {
                response_partition_limit: 2,
                cursor,
                ..Default::default()
            };
            let answer = client
                .ask(ApiKey::DescribeTopicPartitions, 0, |out, v| {
                    request.encode(out, v)
                })
                .await;
            let api = ApiKey::DescribeTopicPartitions;
            let answer = decode(&answer, api, 0, DescribeTopicPartitionsResponse::decode);
            for topic in &answer.topics {
                let name = topic.name.unwrap_or_default();
                seen.extend(
                    topic
                        .partitions
                        .iter()
                        .map(|one| format!("{name}{}", one.partition_index)),
                );
            }
            pages += 1;
            next = answer
                .next_cursor
                .map(|cursor| (cursor.topic_name.to_owned(), cursor.partition_index));
            if next.is_none() {
                break;
            }
        }
        assert_eq!((seen.join(" "), pages), ("a0 a1 a2 b0 b1".to_owned(), 3));
    });
}

#[test]
fn what_is_not_offered_is_answered_as_kafka_does() {
    check(|address| async move {
        let client = Client::connect(address).await;
        // A version beyond: the answer is of version 0, its header as ever, and names the range.
        let answer = client
            .ask(ApiKey::ApiVersions, 127, |out, _| out.extend([1, 1, 0]))
            .await;
        let answer = decode(&answer, ApiKey::ApiVersions, 0, ApiVersionsResponse::decode);
        assert_eq!(answer.error_code, ErrorCode::UnsupportedVersion.code());
        assert_eq!(
            (answer.api_keys[0].api_key, answer.api_keys[0].max_version),
            (18, 5)
        );
        // A session nobody gave out.
        let request = FetchRequest {
            session_id: 5,
            session_epoch: 3,
            ..Default::default()
        };
        let answer = client
            .ask(ApiKey::Fetch, 12, |out, v| request.encode(out, v))
            .await;
        let answer = decode(&answer, ApiKey::Fetch, 12, FetchResponse::decode);
        assert_eq!(answer.error_code, ErrorCode::FetchSessionIdNotFound.code());
        // Coordinators come later.
        let request = FindCoordinatorRequest {
            key: "group",
            ..Default::default()
        };
        let answer = client
            .ask(ApiKey::FindCoordinator, 2, |out, v| request.encode(out, v))
            .await;
        let answer = decode(
            &answer,
            ApiKey::FindCoordinator,
            2,
            FindCoordinatorResponse::decode,
        );
        assert_eq!(answer.error_code, ErrorCode::CoordinatorNotAvailable.code());
        // Anything else that is not offered ends the connection.
        for (api, version) in [(ApiKey::JoinGroup, 5), (ApiKey::Metadata, 99)] {
            let client = Client::connect(address).await;
            client.send(api, version, |_, _| {}).await;
            assert!(client.receive().await.is_none(), "{api} {version}");
        }
    });
}

#[test]
fn what_was_acknowledged_is_there_after_any_end() {
    check_over_restart(
        |address| async move {
            let client = Client::connect(address).await;
            client.create(&[("a", 4)]).await.expect("created");
            for number in 0..12 {
                let offset = client.produce("a", number % 4, &format!("{number}")).await;
                assert_eq!(offset, Ok(i64::from(number / 4)));
            }
        },
        |address| async move {
            let client = Client::connect(address).await;
            let fetched = client.fetch("a", &[(0, 0), (1, 0), (2, 0), (3, 0)], 1, 0).await;
            for (partition, (error, values)) in fetched.into_iter().enumerate() {
                let expected: Vec<String> =
                    (0..3).map(|round| format!("{}", round * 4 + partition)).collect();
                assert_eq!(
                    (error, values),
                    (ErrorCode::None, expected),
                    "partition {partition}"
                );
            }
            assert_eq!(client.produce("a", 3, "more").await, Ok(3));
        },
    );
}

#[test]
fn a_topic_is_described_once_however_often_it_is_named() {
    check(|address| async move {
        let client = Client::connect(address).await;
        client.create(&[("a", 2)]).await.expect("it is created");
        let topic = |name| metadata_request::MetadataRequestTopic {
            name: Some(name),
            ..Default::default()
        };
        let request = MetadataRequest {
            topics: Some(["a", "none", "a", "none", "a"].map(topic).to_vec()),
            ..Default::default()
        };
        let answer = client
            .ask(ApiKey::Metadata, 12, |out, v| request.encode(out, v))
            .await;
        let answer = decode(&answer, ApiKey::Metadata, 12, MetadataResponse::decode);
        let names: Vec<_> = answer.topics.iter().map(|topic| topic.name).collect();
        assert_eq!(names, [Some("a"), Some("none")]);
    });
}

#[test]
fn what_is_not_named_rightly_is_refused_and_the_rest_deleted() {
    check(|address| async move {
        let client = Client::connect(address).await;
        let id = client.create(&[("a", 1)]).await.expect("it is created");
        client.create(&[("b", 1)]).await.expect("it is created");
        let state = |name, topic_id| delete_topics_request::DeleteTopicState { name, topic_id };
        let request = DeleteTopicsRequest {
            topics: vec![
                state(Some("a"), id),
                state(None, Uuid::ZERO),
                state(Some("b"), Uuid::ZERO),
                state(Some("none"), Uuid::ZERO),
            ],
            timeout_ms: 10_000,
            ..Default::default()
        };
        let answer = client
            .ask(ApiKey::DeleteTopics, 6, |out, v| request.encode(out, v))
            .await;
        let answer = decode(&answer, ApiKey::DeleteTopics, 6, DeleteTopicsResponse::decode);
        let codes: Vec<_> = answer
            .responses
            .iter()
            .map(|one| (one.name, ErrorCode::from_code(one.error_code)))
            .collect();
        assert_eq!(
            codes,
            [
                (Some("a"), ErrorCode::InvalidRequest),
                (None, ErrorCode::InvalidRequest),
                (Some("b"), ErrorCode::None),
                (Some("none"), ErrorCode::UnknownTopicOrPartition),
            ]
        );
        assert_eq!(
            client.metadata(Some("a"), Uuid::ZERO, false).await.0,
            ErrorCode::None
        );
    });
}

#[test]
fn a_topic_made_again_at_once_keeps_its_files() {
    check_over_restart(
        |address| async move {
            let client = Client::connect(address).await;
            client.create(&[("a", 2)]).await.expect("it is created");
            let deletion = DeleteTopicsRequest {
                topic_names: vec!["a"],
                timeout_ms: 10_000,
                ..Default::default()
            };
            let creation = CreateTopicsRequest {
                topics: vec![create_topics_request::CreatableTopic {
                    name: "a",
                    num_partitions: 2,
                    replication_factor: 1,
                    ..Default::default()
                }],
                timeout_ms: 10_000,
                ..Default::default()
            };
            // Both are decided before the first of them is committed.
            client
                .send(ApiKey::DeleteTopics, 4, |out, v| deletion.encode(out, v))
                .await;
            client
                .send(ApiKey::CreateTopics, 7, |out, v| creation.encode(out, v))
                .await;
            client.receive().await.expect("it is deleted");
            let created = client.receive().await.expect("it is created");
            let created = decode(&created, ApiKey::CreateTopics, 7, CreateTopicsResponse::decode);
            assert_eq!(created.topics[0].error_code, 0);
            for partition in 0..2 {
                assert_eq!(client.produce("a", partition, "kept").await, Ok(0));
            }
        },
        |address| async move {
            let client = Client::connect(address).await;
            for partition in 0..2 {
                let found = client.fetch("a", &[(partition, 0)], 1, 0).await;
                assert_eq!(found, [(ErrorCode::None, vec!["kept".to_owned()])]);
            }
        },
    );
}

/// Deletes topic `a` while the disk holds up the removal of its directories, and crashes in between: the deletion is
/// committed, the files are there. With a topic `b` that stays. Gives the world as the crash leaves it.
fn crash_in_a_deletion(seed: u64, crash: Crash) -> (World, shards::sim::NodeId) {
    let mut world = World::new(seed, Options::default());
    let node = world.add_node();
    let (broker, address) = start(&mut world, node);
    run(&mut world, &broker, address, |address| async move {
        let client = Client::connect(address).await;
        client.create(&[("a", 2), ("b", 2)]).await.expect("created");
        for (topic, partition) in [("a", 0), ("a", 1), ("b", 0), ("b", 1)] {
            assert_eq!(client.produce(topic, partition, "x").await, Ok(0));
        }
    });
    let hold = Fault::new(Effect::Stop).times(u64::MAX);
    world.disk(node).inject(hold.path("/a-").on(&[Operation::Rename]));
    run(&mut world, &broker, address, |address| async move {
        let client = Client::connect(address).await;
        let deletion = DeleteTopicsRequest {
            topic_names: vec!["a"],
            timeout_ms: 10_000,
            ..Default::default()
        };
        let body = |out: &mut Vec<u8>, v| deletion.encode(out, v);
        client.send(ApiKey::DeleteTopics, 4, body).await;
        let asked = Client::connect(address).await;
        while asked.metadata(Some("a"), Uuid::ZERO, false).await.0 == ErrorCode::None {
            sleep(Duration::from_millis(1)).await;
        }
    });
    world.crash(node, crash);
    world.disk(node).clear_faults();
    (world, node)
}

/// The directories in the data directory whose names begin so.
fn directories(world: &World, node: shards::sim::NodeId, begin: &str) -> Vec<String> {
    let names = world.disk(node).list("/data").expect("a data directory");
    names.into_iter().filter(|name| name.starts_with(begin)).collect()
}

#[test]
fn a_deletion_that_a_crash_cut_short_is_finished() {
    let mut left = 0;
    for seed in SEEDS {
        for crash in [Crash::Kill, Crash::PowerCut] {
            let (mut world, node) = crash_in_a_deletion(seed, crash);
            // A crash may carry out what is in flight.
            left += directories(&world, node, "a-")
                .iter()
                .filter(|name| name.len() == 4)
                .count();
            let (broker, address) = start(&mut world, node);
            run(&mut world, &broker, address, |address| async move {
                let client = Client::connect(address).await;
                assert_eq!(
                    client.metadata(Some("a"), Uuid::ZERO, false).await.0,
                    ErrorCode::UnknownTopicOrPartition
                );
            });
            assert!(
                directories(&world, node, "a-").is_empty(),
                "seed {seed}, {crash:?}"
            );
            assert_eq!(directories(&world, node, "b-"), ["b-0/", "b-1/"]);
            // Nothing brings it back, and its name is free.
            world.crash(node, crash);
            let (broker, address) = start(&mut world, node);
            assert!(directories(&world, node, "a-").is_empty());
            run(&mut world, &broker, address, |address| async move {
                let client = Client::connect(address).await;
                client.create(&[("a", 2)]).await.expect("created");
                assert_eq!(client.produce("a", 1, "new").await, Ok(0));
                let found = client.fetch("b", &[(0, 0), (1, 0)], 1, 0).await;
                assert!(found.iter().all(|(_, values)| values == &["x"]));
            });
            world.signal(node, Signal::Terminate);
            let stopped = world.run_until(PATIENCE, |world| !world.is_running(node));
            assert!(stopped.is_ok());
            assert_eq!(broker.ended(), Some(&Ended::Stopped));
        }
    }
    assert!(left > 4, "the window is met");
}

#[test]
fn what_the_metadata_does_not_know_is_kept_as_stray() {
    for seed in SEEDS {
        let mut world = World::new(seed, Options::default());
        let node = world.add_node();
        let (broker, address) = start(&mut world, node);
        run(&mut world, &broker, address, |address| async move {
            let client = Client::connect(address).await;
            client.create(&[("a", 1), ("b", 1)]).await.expect("created");
            assert_eq!(client.produce("a", 0, "x").await, Ok(0));
        });
        world.signal(node, Signal::Terminate);
        let stopped = world.run_until(PATIENCE, |world| !world.is_running(node));
        assert!(stopped.is_ok());
        // Another cluster's directory by whatever way, under a name of its own and under one of ours.
        let disk = world.disk(node);
        let log = disk.read("/data/a-0/00000000000000000000.log").expect("a log");
        for name in ["c-0", "b-0"] {
            if name == "c-0" {
                disk.create_dir("/data/c-0").expect("made");
            }
            let path = format!("/data/{name}");
            let foreign = format!("version: 0\ntopic_id: {}", Uuid([9; 16]));
            disk.write(&format!("{path}/partition.metadata"), foreign.as_bytes())
                .expect("written");
            disk.write(&format!("{path}/00000000000000000000.log"), &log)
                .expect("written");
        }
        let (broker, address) = start(&mut world, node);
        run(&mut world, &broker, address, |address| async move {
            let client = Client::connect(address).await;
            let found = client.fetch("a", &[(0, 0)], 1, 0).await;
            assert_eq!(found, [(ErrorCode::None, vec!["x".to_owned()])]);
        });
        let strays = directories(&world, node, "c-0");
        assert!(strays.len() == 1 && strays[0].ends_with("-stray/"), "{strays:?}");
        let kept = format!("/data/{}00000000000000000000.log", strays[0]);
        assert_eq!(disk.read(&kept).expect("kept"), log);
        assert!(broker.ended().is_none());
    }
}

#[test]
fn the_batches_of_one_request_share_what_they_may_decompress_to() {
    // 150 MiB of zeros in each of four batches; one alone is well within what a batch may have.
    let mut builder = BatchBuilder::new(HeaderFields {
        codec: protocol::compression::Codec::Zstd,
        ..HeaderFields::default()
    });
    builder
        .append(0, None, Some(&vec![0; 150 << 20]), &[])
        .expect("a record");
    let batch = builder.build().expect("a batch");
    assert!(batch.len() < 100_000);
    let mut world = World::new(1, Options::default());
    let node = world.add_node();
    let (broker, address) = start(&mut world, node);
    let batch = Rc::new(batch);
    let done = Rc::new(Cell::new(false));
    let told = done.clone();
    world.add_client(async move {
        let client = Client::connect(address).await;
        client.create(&[("a", 4)]).await.expect("created");
        let part = |index| produce_request::PartitionProduceData {
            index,
            records: Some(&batch),
        };
        let topic = produce_request::TopicProduceData {
            name: "a",
            partition_data: (0..4).map(part).collect(),
            ..Default::default()
        };
        let request = ProduceRequest {
            acks: -1,
            timeout_ms: 10_000,
            topic_data: vec![topic],
            ..Default::default()
        };
        let answer = client
            .ask(ApiKey::Produce, 9, |out, v| request.encode(out, v))
            .await;
        let answer = decode(&answer, ApiKey::Produce, 9, ProduceResponse::decode);
        let parts = &answer.responses[0].partition_responses;
        let errors: Vec<_> = parts
            .iter()
            .map(|part| ErrorCode::from_code(part.error_code))
            .collect();
        // One on each of the two shards; the client sends the others again.
        let count = |error| errors.iter().filter(|one| **one == error).count();
        assert_eq!(count(ErrorCode::None), 2, "{errors:?}");
        assert_eq!(count(ErrorCode::RequestTimedOut), 2, "{errors:?}");
        assert!(ErrorCode::RequestTimedOut.is_retriable());
        told.set(true);
    });
    let ran = world.run_until(PATIENCE, |_| done.get());
    assert!(ran.is_ok() && broker.ended().is_none());
}

#[test]
fn a_connection_too_many_is_closed_and_harms_nobody() {
    check(|address| async move {
        let mut clients = Vec::new();
        while clients.len() < CONNECTIONS_MOST {
            let client = Client::connect(address).await;
            let found = client.metadata(Some("a"), Uuid::ZERO, false).await;
            assert_eq!(found.0, ErrorCode::UnknownTopicOrPartition);
            clients.push(client);
        }
        for _ in 0..3 {
            let refused = Client::connect(address).await;
            refused.send(ApiKey::ApiVersions, 0, |_, _| {}).await;
            assert!(refused.receive().await.is_none());
        }
        clients[0].create(&[("a", 1)]).await.expect("created");
        drop(clients.pop());
        // The broker learns of it in its own time.
        loop {
            let client = Client::connect(address).await;
            client.send(ApiKey::ApiVersions, 0, |_, _| {}).await;
            if client.receive().await.is_some() {
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
    });
}

#[test]
fn resources_without_settings_are_described_as_kafka_does() {
    check(|address| async move {
        let client = Client::connect(address).await;
        let asked = [(8, "1"), (8, "2"), (8, ""), (16, "any"), (16, ""), (3, "x")];
        let resource = |(resource_type, resource_name)| describe_configs_request::DescribeConfigsResource {
            resource_type,
            resource_name,
            configuration_keys: None,
        };
        let request = DescribeConfigsRequest {
            resources: asked.into_iter().map(resource).collect(),
            ..Default::default()
        };
        let answer = client
            .ask(ApiKey::DescribeConfigs, 4, |out, v| request.encode(out, v))
            .await;
        let answer = decode(
            &answer,
            ApiKey::DescribeConfigs,
            4,
            DescribeConfigsResponse::decode,
        );
        let found: Vec<String> = answer
            .results
            .iter()
            .map(|one| match ErrorCode::from_code(one.error_code) {
                ErrorCode::None => {
                    let text = |config: &describe_configs_response::DescribeConfigsResourceResult<'_>| {
                        format!(
                            "{}={} ({})",
                            config.name,
                            config.value.unwrap_or("-"),
                            config.config_source
                        )
                    };
                    one.configs.iter().map(text).collect::<Vec<_>>().join(" ")
                }
                error => format!("{error}: {}", one.error_message.unwrap_or_default()),
            })
            .collect();
        assert_eq!(
            found,
            [
                "root=INFO (6)",
                "INVALID_REQUEST: Unexpected broker id, expected 1 but received 2",
                "INVALID_REQUEST: Broker id must not be empty",
                "interval.ms=300000 (5) match= (5) metrics= (5)",
                "INVALID_REQUEST: Client metrics subscription name must not be empty",
                "INVALID_REQUEST: Unsupported resource type: 3",
            ]
        );
    });
}

#[test]
fn a_disk_that_fails_takes_the_node_down_and_nothing_that_was_acknowledged() {
    for seed in SEEDS {
        for operation in [Operation::Write, Operation::Sync] {
            let mut world = World::new(seed, Options::default());
            let node = world.add_node();
            let (broker, address) = start(&mut world, node);
            run(&mut world, &broker, address, |address| async move {
                let client = Client::connect(address).await;
                client.create(&[("a", 4)]).await.expect("created");
            });
            let acknowledged: Rc<RefCell<Vec<Vec<String>>>> = Rc::new(RefCell::new(vec![Vec::new(); 4]));
            for partition in 0..4 {
                let acknowledged = acknowledged.clone();
                world.add_client(async move {
                    let client = Client::connect(address).await;
                    for number in 0.. {
                        let value = format!("{partition}-{number}");
                        client
                            .send_produce("a", partition, -1, &batch(&value, None))
                            .await;
                        let Some(answer) = client.receive().await else {
                            return;
                        };
                        let answer = decode(&answer, ApiKey::Produce, 9, ProduceResponse::decode);
                        if answer.responses[0].partition_responses[0].error_code != 0 {
                            return;
                        }
                        acknowledged.borrow_mut()[partition as usize].push(value);
                    }
                });
            }
            let count = |acknowledged: &RefCell<Vec<Vec<String>>>| -> usize {
                acknowledged.borrow().iter().map(Vec::len).sum()
            };
            let some = world.run_until(PATIENCE, |_| count(&acknowledged) > 40);
            assert!(some.is_ok(), "{some:?}");
            let fault = Fault::new(Effect::Error(5))
                .path("klamm-journal")
                .on(&[operation]);
            world.disk(node).inject(fault.skip(seed));
            let ended = world.run_until(PATIENCE, |world| !world.is_running(node));
            assert!(ended.is_ok(), "it goes on: {ended:?}");
            let Some(Ended::Failed(line)) = broker.ended() else {
                panic!("{:?}", broker.ended())
            };
            assert!(
                line.starts_with("the log directory has failed, the next start recovers it: cannot ")
                    && line.contains("/data/klamm-journal")
                    && line.lines().count() == 1,
                "{line}"
            );
            world.disk(node).clear_faults();
            let (broker, address) = start(&mut world, node);
            let expected = acknowledged.borrow().clone();
            let done = Rc::new(Cell::new(false));
            let told = done.clone();
            world.add_client(async move {
                let client = Client::connect(address).await;
                let found = client.fetch("a", &[(0, 0), (1, 0), (2, 0), (3, 0)], 1, 0).await;
                for ((error, found), expected) in found.iter().zip(&expected) {
                    assert_eq!(*error, ErrorCode::None);
                    // What was on its way may be there, too, and only that: one record.
                    assert!(found.starts_with(expected) && found.len() <= expected.len() + 1);
                }
                told.set(true);
            });
            let read = world.run_until(PATIENCE, |_| done.get());
            assert!(read.is_ok(), "{read:?}, {:?}", broker.ended());
        }
    }
}

#[test]
fn who_only_announces_a_large_request_keeps_no_memory_from_others() {
    check(|address| async move {
        let mut idle = Vec::new();
        for number in 0..CONNECTIONS_MOST - 1 {
            let client = Client::connect(address).await;
            // A length of 90 MB, and at most as much as every request begins with.
            let mut start = 90_000_000i32.to_be_bytes().to_vec();
            start.resize(4 + 13 * number, 0);
            client.stream.write_all(vec![start.into()]).await.expect("sent");
            idle.push(client);
        }
        sleep(Duration::from_secs(1)).await;
        let begun = now();
        let client = Client::connect(address).await;
        client.create(&[("a", 1)]).await.expect("created");
        let value = "x".repeat(900_000);
        assert_eq!(client.produce("a", 0, &value).await, Ok(0));
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    });
}

#[test]
fn a_request_of_more_than_the_memory_for_requests_is_taken_alone() {
    check(|address| async move {
        let client = Client::connect(address).await;
        // Half of the memory of the node is its shard's, and half of that is for requests at most.
        let topics = vec![metadata_request::MetadataRequestTopic {
            name: Some("a"),
            ..Default::default()
        }];
        let request = MetadataRequest {
            topics: Some(topics),
            ..Default::default()
        };
        let answer = client
            .ask(ApiKey::Metadata, 12, |out, v| {
                request.encode(out, v);
                // As in Kafka, bytes behind the message are ignored.
                out.resize(24 << 20, 0);
            })
            .await;
        let answer = decode(&answer, ApiKey::Metadata, 12, MetadataResponse::decode);
        assert_eq!(answer.topics.len(), 1);
    });
}
