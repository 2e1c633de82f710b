//! Batches that are more than a shard has memory for: refused when they come, and told of when they are there already.
//!
//! What a newcomer would get wrong: the memory of the simulated node does not change, but the more shards share it, the
//! less each of them has.

use protocol::api::ApiKey;
use protocol::error_code::ErrorCode;
use protocol::messages::*;
use shards::log::{Levels, Log};
use shards::side::Signal;
use shards::sim::{Options, World};
use tracing::level_filters::LevelFilter;

use crate::client::*;
use crate::*;

/// More than one of four shards can hold, and less than one of two can.
const BATCH_BYTES: usize = 9 << 20;

/// Creates topic `name` with one partition and that `max.message.bytes`; what is wrong with that.
async fn create_for(client: &Client, name: &str, max_message_bytes: &str) -> (ErrorCode, String) {
    let config = create_topics_request::CreatableTopicConfig {
        name: "max.message.bytes",
        value: Some(max_message_bytes),
    };
    let topic = create_topics_request::CreatableTopic {
        name,
        num_partitions: 1,
        replication_factor: 1,
        configs: vec![config],
        ..Default::default()
    };
    let request = CreateTopicsRequest {
        topics: vec![topic],
        timeout_ms: 10_000,
        ..Default::default()
    };
    let answer = client
        .ask(ApiKey::CreateTopics, 7, |out, v| request.encode(out, v))
        .await;
    let answer = decode(&answer, ApiKey::CreateTopics, 7, CreateTopicsResponse::decode);
    let created = &answer.topics[0];
    let message = created.error_message.unwrap_or_default().to_owned();
    (ErrorCode::from_code(created.error_code), message)
}

#[test]
fn a_topic_that_asks_for_more_than_a_shard_holds_is_refused() {
    check(|address| async move {
        let client = Client::connect(address).await;
        let (error, message) = create_for(&client, "a", "2147483647").await;
        assert_eq!(error, ErrorCode::InvalidConfig);
        let allowed = broker::config::batch_bytes_max(Options::default().memory_bytes / 2);
        let expected = format!(
            "Invalid value 2147483647 for configuration max.message.bytes: Value must be at most {allowed}, what one \
             shard can hold of klamm.memory.bytes"
        );
        assert_eq!(message, expected);
        let (error, _) = create_for(&client, "a", &allowed.to_string()).await;
        assert_eq!(error, ErrorCode::None);
        // So much is not only allowed, but kept and read again.
        let value = "x".repeat(allowed - 200);
        assert_eq!(client.produce("a", 0, &value).await, Ok(0));
        let found = client.fetch("a", &[(0, 0)], 1, 0).await;
        assert!(found == [(ErrorCode::None, vec![value])]);
    });
}

#[test]
fn a_batch_from_a_start_with_more_memory_is_told_of_and_waited_for_by_nobody() {
    for seed in SEEDS {
        let (log, lines) = Log::buffer(Levels::all(LevelFilter::INFO));
        tracing::subscriber::with_default(log, || less_memory(seed));
        let all = lines.take();
        let told: Vec<&String> = all
            .iter()
            .filter(|line| line.contains("cannot be read"))
            .collect();
        let [line] = told.as_slice() else {
            panic!("seed {seed}: {all:#?}")
        };
        for part in [" ERROR ", "topic=a partition=0 offset=1", "klamm.memory.bytes"] {
            assert!(line.contains(part), "seed {seed}: {line}");
        }
    }
}

fn less_memory(seed: u64) {
    let mut world = World::new(seed, Options::default());
    let node = world.add_node();
    let stop = |world: &mut World, broker: Broker| {
        world.signal(node, Signal::Terminate);
        let stopped = world.run_until(PATIENCE, |world| !world.is_running(node));
        assert!(stopped.is_ok(), "seed {seed}: {stopped:?}");
        assert_eq!(broker.ended(), Some(&Ended::Stopped), "seed {seed}");
    };
    let (broker, address) = start_with(&mut world, node, 2);
    run(&mut world, &broker, address, |address| async move {
        let client = Client::connect(address).await;
        let (error, _) = create_for(&client, "a", "10000000").await;
        assert_eq!(error, ErrorCode::None);
        assert_eq!(client.produce("a", 0, "small").await, Ok(0));
        assert_eq!(client.produce("a", 0, &"x".repeat(BATCH_BYTES)).await, Ok(1));
        assert_eq!(client.produce("a", 0, "later").await, Ok(2));
    });
    stop(&mut world, broker);
    let (broker, address) = start_with(&mut world, node, 4);
    run(&mut world, &broker, address, |address| async move {
        let client = Client::connect(address).await;
        for _ in 0..3 {
            let found = client.fetch("a", &[(0, 1)], 1, 500).await;
            assert_eq!(found, [(ErrorCode::KafkaStorageError, vec![])]);
        }
        // What lies before and behind it is read, and small ones are taken.
        let found = client.fetch("a", &[(0, 0)], 1, 500).await;
        assert_eq!(found, [(ErrorCode::None, vec!["small".to_owned()])]);
        let found = client.fetch("a", &[(0, 2)], 1, 500).await;
        assert_eq!(found, [(ErrorCode::None, vec!["later".to_owned()])]);
        let produced = client.produce("a", 0, &"x".repeat(BATCH_BYTES)).await;
        assert_eq!(produced, Err(ErrorCode::MessageTooLarge));
        assert_eq!(client.produce("a", 0, "new").await, Ok(3));
    });
    stop(&mut world, broker);
}
