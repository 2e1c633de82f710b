//! An operator who creates and deletes topics, and the look at what topics there are in the end.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use protocol::messages::create_topics_request::CreatableTopic;
use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse, MetadataRequest,
    MetadataResponse,
};
use protocol::{ApiKey, ErrorCode, Uuid};
use shards::time::sleep;

use crate::connection::Connection;
use crate::recorder::{Fate, Recorder, Topic};

const CREATE_TOPICS_VERSION: i16 = 7;
const DELETE_TOPICS_VERSION: i16 = 6;
const METADATA_VERSION: i16 = 13;
const PAUSE: Duration = Duration::from_millis(50);

/// Creates a topic, trying until it is there.
pub async fn create(recorder: &Rc<Recorder>, name: &str, partitions: i32) {
    while !recorder.is_over() {
        match try_create(recorder, name, partitions).await {
            Ok(Some(id)) => {
                recorder.add_topic(Topic {
                    name: name.to_owned(),
                    id,
                    partitions,
                    fate: Fate::Lives,
                });
                return;
            }
            Ok(None) => {}
            Err(error) => look_at(recorder, &error),
        }
        sleep(PAUSE).await;
    }
}

/// Deletes a topic, trying until it is gone.
pub async fn delete(recorder: &Rc<Recorder>, topic: Uuid) {
    recorder.set_fate(topic, Fate::Unknown);
    while !recorder.is_over() {
        match try_delete(recorder, topic).await {
            Ok(true) => return recorder.set_fate(topic, Fate::Deleted),
            Ok(false) => {}
            Err(error) => look_at(recorder, &error),
        }
        sleep(PAUSE).await;
    }
}

fn look_at(recorder: &Recorder, error: &io::Error) {
    if error.kind() == io::ErrorKind::InvalidData {
        recorder.problem(format!("admin: {error}"));
    }
}

/// The id of the topic once it is there, created by this request or by an earlier one that was not answered.
async fn try_create(recorder: &Recorder, name: &str, partitions: i32) -> io::Result<Option<Uuid>> {
    let connection = Connection::open(recorder.address).await?;
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name,
            num_partitions: partitions,
            replication_factor: 1,
            ..CreatableTopic::default()
        }],
        timeout_ms: 10_000,
        validate_only: false,
    };
    let response = connection
        .call(ApiKey::CreateTopics, CREATE_TOPICS_VERSION, |out, version| {
            request.encode(out, version)
        })
        .await?;
    let response = response.decode(CreateTopicsResponse::decode)?;
    let topic = response
        .topics
        .first()
        .ok_or_else(|| invalid("a CreateTopics response without its topic"))?;
    match ErrorCode::from_code(topic.error_code) {
        ErrorCode::None => Ok(Some(topic.topic_id)),
        ErrorCode::TopicAlreadyExists => {
            let there = topics(&connection).await?;
            Ok(there
                .into_iter()
                .find(|(there, _)| there == name)
                .map(|(_, id)| id))
        }
        code if code.is_retriable() => Ok(None),
        code => {
            recorder.problem(format!("CreateTopics of {name}: {}", code.name()));
            Ok(None)
        }
    }
}

async fn try_delete(recorder: &Recorder, topic: Uuid) -> io::Result<bool> {
    let connection = Connection::open(recorder.address).await?;
    let request = DeleteTopicsRequest {
        topics: vec![DeleteTopicState {
            name: None,
            topic_id: topic,
        }],
        timeout_ms: 10_000,
        ..DeleteTopicsRequest::default()
    };
    let response = connection
        .call(ApiKey::DeleteTopics, DELETE_TOPICS_VERSION, |out, version| {
            request.encode(out, version)
        })
        .await?;
    let response = response.decode(DeleteTopicsResponse::decode)?;
    let answer = response
        .responses
        .first()
        .ok_or_else(|| invalid("a DeleteTopics response without its topic"))?;
    match ErrorCode::from_code(answer.error_code) {
        // Not there any more: an earlier request was heard.
        ErrorCode::None | ErrorCode::UnknownTopicId => Ok(true),
        code if code.is_retriable() => Ok(false),
        code => {
            recorder.problem(format!("DeleteTopics of {topic}: {}", code.name()));
            Ok(false)
        }
    }
}

/// Names and ids of all topics that the broker tells of.
async fn topics(connection: &Connection) -> io::Result<Vec<(String, Uuid)>> {
    let request = MetadataRequest {
        topics: None,
        ..MetadataRequest::default()
    };
    let response = connection
        .call(ApiKey::Metadata, METADATA_VERSION, |out, version| {
            request.encode(out, version)
        })
        .await?;
    let response = response.decode(MetadataResponse::decode)?;
    Ok(response
        .topics
        .iter()
        .map(|topic| (topic.name.unwrap_or_default().to_owned(), topic.topic_id))
        .collect())
}

/// Compares what topics the broker has with what it promised.
///
/// # Errors
/// Of the connection.
pub async fn check_topics(recorder: &Recorder) -> io::Result<()> {
    let connection = Connection::open(recorder.address).await?;
    let there = topics(&connection).await?;
    for topic in recorder.topics() {
        let is_there = there.iter().any(|(_, id)| *id == topic.id);
        let expected = match topic.fate {
            Fate::Lives => true,
            Fate::Deleted => false,
            Fate::Unknown => is_there,
        };
        if is_there != expected {
            let what = if expected {
                "created and is not there"
            } else {
                "deleted and is there"
            };
            recorder.problem(format!("topic {} ({}) was {what}", topic.name, topic.id));
        }
    }
    Ok(())
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
