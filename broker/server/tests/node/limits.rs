//! What one client may use up, and that the others are served all the same.
//!
//! What a newcomer would get wrong: the memory of the simulated node is small, so that its bounds are met.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use protocol::api::ApiKey;
use protocol::batch::HeaderFields;
use protocol::error_code::ErrorCode;
use protocol::messages::*;
use protocol::records::BatchBuilder;
use protocol::types::Uuid;
use shards::sim::{Options, World};
use shards::time::{now, sleep};

use crate::client::*;
use crate::*;

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
