//! What the handlers answer.
//!
//! What a newcomer would get wrong: errors stand in the answer's parts, so that one wrong part harms no other.

use std::time::Duration;

use protocol::api::ApiKey;
use protocol::error_code::ErrorCode;
use protocol::messages::*;
use protocol::types::Uuid;
use shards::time::{now, sleep};

use crate::client::*;
use crate::*;

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
fn a_coordinator_is_asked_for_by_keys_that_its_kind_has() {
    check(|address| async move {
        let client = Client::connect(address).await;
        let (group, transaction, share, unknown) = (0, 1, 2, 3);
        let of_share = "g:AAAAAAAAAAAAAAAAAAAAAQ:0";
        for (version, key_type, key, expected) in [
            (2, group, "g", ErrorCode::CoordinatorNotAvailable),
            (2, share, of_share, ErrorCode::InvalidRequest),
            (2, unknown, "g", ErrorCode::InvalidRequest),
            (5, transaction, "g", ErrorCode::CoordinatorNotAvailable),
            (5, share, of_share, ErrorCode::InvalidRequest),
            (6, share, of_share, ErrorCode::CoordinatorNotAvailable),
            (6, share, "g", ErrorCode::InvalidRequest),
            (6, share, " :AAAAAAAAAAAAAAAAAAAAAQ:0", ErrorCode::InvalidRequest),
            (6, share, "g:AAAAAAAAAAAAAAAAAAAAAQ:x", ErrorCode::InvalidRequest),
        ] {
            let request = FindCoordinatorRequest {
                key,
                key_type,
                coordinator_keys: vec![key],
            };
            let answer = client
                .ask(ApiKey::FindCoordinator, version, |out, v| request.encode(out, v))
                .await;
            let answer = decode(
                &answer,
                ApiKey::FindCoordinator,
                version,
                FindCoordinatorResponse::decode,
            );
            let error = match version < 4 {
                true => answer.error_code,
                false => answer.coordinators[0].error_code,
            };
            assert_eq!(
                error,
                expected.code(),
                "version {version}, kind {key_type}, {key}"
            );
        }
    });
}
