//! Produce 3-13: appends one batch to each of the partitions named.
//!
//! 3 and 4 are equal; 5 adds the log start offset to the answer; 6 changes throttling only; 7 allows zstd; 8 adds the
//! errors of single records; 9 is flexible; 10 adds leader hints (KIP-951); 11 and 12 concern transactions; 13
//! names topics by id.
//!
//! What a newcomer would get wrong: acks=1 is answered after the journal commit like acks=all, since acknowledged
//! means durable here. acks=0 is never answered; if it fails, the connection is closed, which is how Kafka makes
//! such a client look again.

use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use protocol::error_code::ErrorCode;
use protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use protocol::messages::{ProduceRequest, ProduceResponse};
use protocol::produce::{Acks, ZSTD_SINCE};
use protocol::types::{Partition, TopicId};
use protocol::wire::DecodeError;
use shards::ShardId;
use shards::mesh::{self, Call};
use shards::time::Duration;

use crate::context::{Context, ReplyTo, Request};
use crate::images::View;
use crate::partition::append::{self, Append, Appended, Options};
use crate::pipeline::{Answer, Started};

/// Internal topics are written by coordinators and, for repairs, by the admin client.
const ADMIN_CLIENT_ID: &str = "__admin_client";
/// Versions below name topics by name.
const IDS_SINCE: i16 = 13;

/// One topic of the request as it is repeated in the response.
struct Topic {
    name: String,
    id: TopicId,
    partitions: Vec<i32>,
}

/// Queues the appends to the owners of the partitions, and answers when all have replied.
pub fn start(request: &Request, context: &Rc<Context>) -> Result<Started, DecodeError> {
    let asked = request.decode(ProduceRequest::decode)?;
    let reply_to = request.reply_to;
    let view = context.node.view();
    let refused = refused(&asked);
    let mut topics = Vec::with_capacity(asked.topic_data.len());
    let mut results = Vec::new();
    let mut owners: BTreeMap<ShardId, (Vec<usize>, Vec<Append>)> = BTreeMap::new();
    for topic in &asked.topic_data {
        let topic_id = match refused {
            Some(error) => Err(error),
            None => resolve(&view, topic.name, topic.topic_id, request),
        };
        for part in &topic.partition_data {
            let partition = Partition(part.index);
            match topic_id.and_then(|id| Ok((id, view.owner(id, partition)?))) {
                Ok((topic_id, owner)) => {
                    let records = part
                        .records
                        .map_or_else(Bytes::new, |bytes| request.frame.slice_ref(bytes));
                    let (slots, appends) = owners.entry(owner).or_default();
                    slots.push(results.len());
                    appends.push(Append {
                        topic_id,
                        partition,
                        records,
                    });
                    // Stands if the owner stops before it replies.
                    results.push(Appended::failed(ErrorCode::NotLeaderOrFollower));
                }
                Err(error) => results.push(Appended::failed(error)),
            }
        }
        topics.push(Topic {
            name: topic.name.to_owned(),
            id: topic.topic_id,
            partitions: topic.partition_data.iter().map(|part| part.index).collect(),
        });
    }
    let Some(acks) = Acks::from_i16(asked.acks) else {
        return Ok(Started::Now(answer(reply_to, &topics, &results)));
    };
    let options = Options {
        acks,
        timeout: Duration::from_millis(u64::try_from(asked.timeout_ms).unwrap_or(0)),
        is_zstd_allowed: reply_to.version >= ZSTD_SINCE,
    };
    let calls: Vec<(Vec<usize>, Call<Vec<Appended>>)> = owners
        .into_iter()
        .map(|(owner, (slots, appends))| {
            (
                slots,
                mesh::call(owner, move || append::append_here(appends, options)),
            )
        })
        .collect();
    Ok(Started::later(async move {
        for (slots, call) in calls {
            for (slot, appended) in slots.into_iter().zip(call.await.unwrap_or_default()) {
                if let Some(result) = results.get_mut(slot) {
                    *result = appended;
                }
            }
        }
        match acks {
            Acks::None => unanswered(&topics, &results),
            Acks::Leader | Acks::All => answer(reply_to, &topics, &results),
        }
    }))
}

/// What is wrong with the request as a whole, if anything: every partition of it is then answered with that.
fn refused(asked: &ProduceRequest<'_>) -> Option<ErrorCode> {
    if Acks::from_i16(asked.acks).is_none() {
        return Some(ErrorCode::InvalidRequiredAcks);
    }
    let mut parts = asked.topic_data.iter().flat_map(|topic| &topic.partition_data);
    let is_transactional = parts.any(|part| append::is_transactional(part.records.unwrap_or_default()));
    (is_transactional && asked.transactional_id.is_none())
        .then_some(ErrorCode::TransactionalIdAuthorizationFailed)
}

/// The topic meant, if this client may write to it.
fn resolve(view: &View, name: &str, id: TopicId, request: &Request) -> Result<TopicId, ErrorCode> {
    let topic = match request.reply_to.version >= IDS_SINCE {
        true => view.topic_by_id(id)?,
        false => view.topic_by_name(name)?,
    };
    if View::is_internal(&topic.name) && request.client_id != ADMIN_CLIENT_ID {
        return Err(ErrorCode::InvalidTopicException);
    }
    Ok(topic.id)
}

/// Nothing, or the end of the connection if an append failed.
fn unanswered(topics: &[Topic], results: &[Appended]) -> Answer {
    let partitions = topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(move |index| (topic, *index)));
    match partitions
        .zip(results)
        .find(|(_, result)| result.error != ErrorCode::None)
    {
        None => Answer::Nothing,
        Some(((topic, index), result)) => {
            let topic = if topic.name.is_empty() {
                topic.id.to_string()
            } else {
                topic.name.clone()
            };
            Answer::Close(format!(
                "Produce with acks=0 failed for {topic}-{index}: {}",
                result.error
            ))
        }
    }
}

fn answer(reply_to: ReplyTo, topics: &[Topic], results: &[Appended]) -> Answer {
    let mut results = results.iter();
    let mut responses = Vec::with_capacity(topics.len());
    for topic in topics {
        responses.push(TopicProduceResponse {
            name: &topic.name,
            topic_id: topic.id,
            partition_responses: topic
                .partitions
                .iter()
                .zip(results.by_ref())
                .map(|(index, result)| partition_response(*index, result))
                .collect(),
        });
    }
    let response = ProduceResponse {
        responses,
        ..ProduceResponse::default()
    };
    reply_to.answer(|out, version| response.encode(out, version))
}

fn partition_response(index: i32, result: &Appended) -> PartitionProduceResponse<'_> {
    PartitionProduceResponse {
        index,
        error_code: result.error.code(),
        base_offset: result.base_offset.0,
        log_append_time_ms: result.append_time_ms,
        log_start_offset: result.log_start_offset.0,
        record_errors: result
            .record_errors
            .iter()
            .map(|(index, message)| BatchIndexAndErrorMessage {
                batch_index: *index,
                batch_index_error_message: Some(message),
            })
            .collect(),
        error_message: result.message.as_deref(),
        ..PartitionProduceResponse::default()
    }
}
