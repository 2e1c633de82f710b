//! A client for the tests, which speaks Kafka's protocol by hand.
//!
//! What a newcomer would get wrong: an answer is decoded by who asked, since it borrows from the frame.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::time::Duration;

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
use shards::time::sleep;

/// A connection that speaks Kafka's protocol.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    correlation: Cell<i32>,
    rest: RefCell<Vec<u8>>,
}

impl Client {
    /// Connects, as soon as the node listens.
    pub(crate) async fn connect(address: SocketAddr) -> Client {
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
    pub(crate) async fn send(&self, api: ApiKey, version: i16, body: impl FnOnce(&mut Vec<u8>, i16)) {
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
    pub(crate) async fn receive(&self) -> Option<Vec<u8>> {
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
    pub(crate) async fn ask(
        &self,
        api: ApiKey,
        version: i16,
        body: impl FnOnce(&mut Vec<u8>, i16),
    ) -> Vec<u8> {
        self.send(api, version, body).await;
        self.receive().await.expect("an answer")
    }

    /// Creates topics; the id of the first, or its error.
    pub(crate) async fn create(&self, topics: &[(&str, i32)]) -> Result<Uuid, ErrorCode> {
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
    pub(crate) async fn produce(&self, topic: &str, partition: i32, value: &str) -> Result<i64, ErrorCode> {
        self.send_produce(topic, partition, -1, &batch(value, None)).await;
        self.produced().await
    }

    pub(crate) async fn send_produce(&self, topic: &str, index: i32, acks: i16, records: &[u8]) {
        self.send_produce_within(10_000, topic, index, acks, records)
            .await;
    }

    pub(crate) async fn send_produce_within(
        &self,
        timeout_ms: i32,
        topic: &str,
        index: i32,
        acks: i16,
        records: &[u8],
    ) {
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
    pub(crate) async fn produced(&self) -> Result<i64, ErrorCode> {
        let answer = self.receive().await.expect("an answer");
        let answer = decode(&answer, ApiKey::Produce, 9, ProduceResponse::decode);
        let part = &answer.responses[0].partition_responses[0];
        match ErrorCode::from_code(part.error_code) {
            ErrorCode::None => Ok(part.base_offset),
            error => Err(error),
        }
    }

    /// Fetches from partitions of a topic: error and values of each.
    pub(crate) async fn fetch(
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

    pub(crate) async fn send_fetch(
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
    pub(crate) async fn fetched(&self) -> Vec<(ErrorCode, Vec<String>)> {
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
    pub(crate) async fn metadata(
        &self,
        name: Option<&str>,
        topic_id: Uuid,
        may_create: bool,
    ) -> (ErrorCode, usize) {
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

pub(crate) fn decode<'a, M>(
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
pub(crate) fn batch(value: &str, producer: Option<(i64, i32)>) -> Vec<u8> {
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

pub(crate) fn now_ms() -> i64 {
    shards::time::wall_ms()
}

pub(crate) fn values(records: &[u8]) -> Vec<String> {
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
