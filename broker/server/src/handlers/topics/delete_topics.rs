//! DeleteTopics 1-6: deletes topics by name, from 6 on also by id.
//!
//! 4 is flexible; 5 adds a message to each error; 6 names topics by name or id, and answers with both.
//!
//! What a newcomer would get wrong: the answer says that nobody finds the topic any more, not that its files are gone.

use std::rc::Rc;

use metadata::Refusal;
use protocol::error_code::ErrorCode;
use protocol::messages::delete_topics_response::DeletableTopicResult;
use protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};
use protocol::types::TopicId;
use protocol::wire::DecodeError;

use crate::context::{Context, ReplyTo, Request};
use crate::pipeline::{Answer, Started};
use crate::topic_commands::{self, Answers, Which};

/// Versions below know no id.
const IDS_SINCE: i16 = 6;
/// Versions below do not know TOPIC_DELETION_DISABLED.
const DISABLED_SINCE: i16 = 3;

/// Queues the command to the controller; the answer waits until it is carried out everywhere.
pub fn start(request: &Request, context: &Rc<Context>) -> Result<Started, DecodeError> {
    let asked = request.decode(DeleteTopicsRequest::decode)?;
    let reply_to = request.reply_to;
    let which: Vec<Which> = match reply_to.version >= IDS_SINCE {
        false => asked
            .topic_names
            .iter()
            .map(|name| Which::Name((*name).to_owned()))
            .collect(),
        true => asked
            .topics
            .iter()
            .map(|topic| match topic.name {
                Some(name) => Which::Name(name.to_owned()),
                None => Which::Id(topic.topic_id),
            })
            .collect(),
    };
    if !context.node.settings().topics.delete {
        let code = match reply_to.version >= DISABLED_SINCE {
            true => ErrorCode::TopicDeletionDisabled,
            false => ErrorCode::InvalidRequest,
        };
        return Ok(Started::Now(answer(reply_to, &which, Err(code))));
    }
    let deletion = topic_commands::delete(which.clone());
    Ok(Started::later(
        async move { answer(reply_to, &which, deletion.await) },
    ))
}

fn answer(reply_to: ReplyTo, which: &[Which], deleted: Answers<(String, TopicId)>) -> Answer {
    let deleted = deleted.unwrap_or_else(|code| {
        let refusal = Refusal {
            code,
            message: "Topics cannot be deleted now.".to_owned(),
        };
        which.iter().map(|_| Err(refusal.clone())).collect()
    });
    let responses = which
        .iter()
        .zip(&deleted)
        .map(|(which, deleted)| match (deleted, which) {
            (Ok((name, topic_id)), _) => DeletableTopicResult {
                name: Some(name),
                topic_id: *topic_id,
                ..DeletableTopicResult::default()
            },
            (Err(refusal), Which::Name(name)) => DeletableTopicResult {
                name: Some(name),
                error_code: refusal.code.code(),
                error_message: Some(&refusal.message),
                ..DeletableTopicResult::default()
            },
            (Err(refusal), Which::Id(topic_id)) => DeletableTopicResult {
                topic_id: *topic_id,
                error_code: refusal.code.code(),
                error_message: Some(&refusal.message),
                ..DeletableTopicResult::default()
            },
        });
    let response = DeleteTopicsResponse {
        responses: responses.collect(),
        ..DeleteTopicsResponse::default()
    };
    reply_to.answer(|out, version| response.encode(out, version))
}
