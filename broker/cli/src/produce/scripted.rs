//! A producer against a broker that answers by a script, on a real connection.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use clap::Parser;
use protocol::batch::Batch;
use protocol::frame::{self, RequestHeader, ResponseHeader};
use protocol::messages::api_versions_response::ApiVersion;
use protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use protocol::messages::produce_response::TopicProduceResponse;
use protocol::messages::{ApiVersionsResponse, InitProducerIdResponse, MetadataResponse};
use protocol::wire::Reader;
use protocol::{ProducerEpoch, ProducerId, Sequence};

use super::*;

const REQUEST_BYTES_MAX: usize = 1 << 20;

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    arguments: Arguments,
}

/// What the broker says of a batch.
type Said = (ErrorCode, i64);
/// Value of its only record, producer id and base sequence of a batch that came.
type Came = (String, i64, i32);

/// Answers on the one connection it takes, until that is closed.
fn broker(listener: TcpListener, mut script: VecDeque<Said>) -> JoinHandle<Vec<Came>> {
    std::thread::spawn(move || {
        let port = i32::from(listener.local_addr().unwrap().port());
        let (mut stream, _) = listener.accept().unwrap();
        let mut came = Vec::new();
        let mut ids = VecDeque::from([ErrorCode::CoordinatorLoadInProgress, ErrorCode::None]);
        while let Some(request) = read_request(&mut stream) {
            let mut reader = Reader::new(&request, REQUEST_BYTES_MAX);
            let header = RequestHeader::decode(&mut reader).unwrap();
            let api = ApiKey::try_from(header.api_key).unwrap();
            let version = header.api_version;
            let mut out = Vec::new();
            frame::begin(&mut out);
            let correlation_id = header.correlation_id;
            ResponseHeader { correlation_id }.encode(&mut out, api, version);
            match api {
                ApiKey::ApiVersions => versions().encode(&mut out, version),
                ApiKey::Metadata => metadata(port).encode(&mut out, version),
                ApiKey::InitProducerId => {
                    let response = InitProducerIdResponse {
                        error_code: ids.pop_front().unwrap().code(),
                        producer_id: 7,
                        producer_epoch: 0,
                        ..Default::default()
                    };
                    response.encode(&mut out, version);
                }
                _ => {
                    let request = ProduceRequest::decode(&mut reader, version).unwrap();
                    came.push(batch_of(&request));
                    // With acks=0 nothing is answered.
                    if request.acks == 0 {
                        continue;
                    }
                    let (code, base_offset) = script.pop_front().unwrap();
                    let partition = PartitionProduceResponse {
                        error_code: code.code(),
                        base_offset,
                        ..Default::default()
                    };
                    let topic = TopicProduceResponse {
                        name: "t",
                        partition_responses: vec![partition],
                        ..Default::default()
                    };
                    let response = ProduceResponse {
                        responses: vec![topic],
                        ..Default::default()
                    };
                    response.encode(&mut out, version);
                }
            }
            frame::end(&mut out, 0).unwrap();
            stream.write_all(&out).unwrap();
        }
        assert!(script.is_empty(), "not asked for: {script:?}");
        came
    })
}

fn read_request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut prefix = [0; frame::LENGTH_BYTES];
    stream.read_exact(&mut prefix).ok()?;
    let mut request = vec![0; frame::frame_length(prefix, REQUEST_BYTES_MAX).unwrap()];
    stream.read_exact(&mut request).unwrap();
    Some(request)
}

fn versions() -> ApiVersionsResponse<'static> {
    let api = |api: ApiKey, min_version: i16, max_version: i16| ApiVersion {
        api_key: api as i16,
        min_version,
        max_version,
    };
    ApiVersionsResponse {
        api_keys: vec![
            api(ApiKey::Produce, 3, 13),
            api(ApiKey::Metadata, 0, 12),
            api(ApiKey::InitProducerId, 0, 5),
        ],
        ..Default::default()
    }
}

/// Topic `t` with one partition, led by this broker.
fn metadata(port: i32) -> MetadataResponse<'static> {
    let broker = MetadataResponseBroker {
        node_id: 0,
        host: "127.0.0.1",
        port,
        ..Default::default()
    };
    let topic = MetadataResponseTopic {
        name: Some("t"),
        partitions: vec![MetadataResponsePartition::default()],
        ..Default::default()
    };
    MetadataResponse {
        brokers: vec![broker],
        topics: vec![topic],
        ..Default::default()
    }
}

fn batch_of(request: &ProduceRequest<'_>) -> Came {
    let batch = Batch::parse(request.topic_data[0].partition_data[0].records.unwrap()).unwrap();
    let records = batch.records(REQUEST_BYTES_MAX).unwrap();
    let record = records.iter().next().unwrap().unwrap();
    let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
    let (ProducerId(id), ProducerEpoch(epoch)) = (batch.producer_id(), batch.producer_epoch());
    assert_eq!(epoch, if id < 0 { -1 } else { 0 });
    let Sequence(sequence) = batch.base_sequence();
    (value, id, sequence)
}

/// Sends "a" and "b", one batch each; the summary's records and last offset, or the error.
fn produce(port: u16, acks: &str) -> Result<(u64, Option<i64>)> {
    let server = format!("127.0.0.1:{port}");
    let line = ["produce", "t", "--acks", acks, "--bootstrap-server", &server];
    let CommandLine { arguments } = CommandLine::parse_from(line);
    let mut producer = Producer::begin(&arguments)?;
    for value in ["a", "b"] {
        producer.add(Record {
            value: Some(value.into()),
            ..Default::default()
        })?;
        producer.flush()?;
    }
    let summary = &producer.summary;
    Ok((summary.records, summary.last_offsets.get(&0).copied()))
}

fn check(acks: &str, script: &[Said], expected: Option<(u64, Option<i64>)>, came: &[(&str, i64, i32)]) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let broker = broker(listener, script.iter().copied().collect());
    assert_eq!(produce(port, acks).ok(), expected, "{acks} {script:?}");
    let found = broker.join().unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|(value, id, at)| (&value[..], *id, *at))
        .collect();
    assert_eq!(found, came, "{acks} {script:?}");
}

#[test]
fn a_batch_that_is_sent_again_is_the_same_batch() {
    use ErrorCode::{DuplicateSequenceNumber, MessageTooLarge, None as Fine, NotLeaderOrFollower};
    let (a, b) = (("a", 7, 0), ("b", 7, 1));
    check("all", &[(Fine, 10), (Fine, 11)], Some((2, Some(11))), &[a, b]);
    let script = [(NotLeaderOrFollower, -1), (Fine, 10), (Fine, 11)];
    check("all", &script, Some((2, Some(11))), &[a, a, b]);
    let script = [
        (Fine, 10),
        (NotLeaderOrFollower, -1),
        (DuplicateSequenceNumber, -1),
    ];
    check("all", &script, Some((2, None)), &[a, b, b]);
    check("all", &[(Fine, 10), (MessageTooLarge, -1)], None, &[a, b]);
}

#[test]
fn without_a_producer_id_nothing_is_sent_again_that_may_be_there() {
    use ErrorCode::{None as Fine, NotLeaderOrFollower, UnknownTopicOrPartition};
    let (a, b) = (("a", -1, -1), ("b", -1, -1));
    check("1", &[(Fine, 10), (Fine, 11)], Some((2, Some(11))), &[a, b]);
    check("1", &[(NotLeaderOrFollower, -1)], None, &[a]);
    let script = [(UnknownTopicOrPartition, -1), (Fine, 10), (Fine, 11)];
    check("1", &script, Some((2, Some(11))), &[a, a, b]);
    check("0", &[], Some((2, None)), &[a, b]);
}
