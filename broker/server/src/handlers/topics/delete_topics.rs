//! DeleteTopics 1-6: deletes topics by name, from 6 on also by id.
//!
//! 4 is flexible; 5 adds a message to each error; 6 names topics by name or id, and answers with both.
//!
//! What a newcomer would get wrong: the answer says that nobody finds the topic any more, not that its files are gone;
//! and a topic named by both name and id, or by neither, is refused alone, the others are deleted.

use std::rc::Rc;

use metadata::Refusal;
use protocol::error_code::ErrorCode;
use protocol::messages::delete_topics_request::DeleteTopicState;
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
    let asked: Vec<Asked> = match reply_to.version >= IDS_SINCE {
        false => asked.topic_names.iter().map(|name| by_name(name)).collect(),
        true => asked.topics.iter().map(wanted).collect(),
    };
    if !context.node.settings().topics.delete {
        let code = match reply_to.version >= DISABLED_SINCE {
            true => ErrorCode::TopicDeletionDisabled,
            false => ErrorCode::InvalidRequest,
        };
        return Ok(Started::Now(answer(reply_to, &asked, Err(code))));
    }
    let deletion = topic_commands::delete(asked.iter().filter_map(|one| one.clone().ok()).collect());
    Ok(Started::later(
        async move { answer(reply_to, &asked, deletion.await) },
    ))
}

/// A topic to be deleted, or the name and id of one that is not named rightly.
type Asked = Result<Which, (Option<String>, TopicId)>;

fn by_name(name: &str) -> Asked {
    Ok(Which::Name(name.to_owned()))
}

fn wanted(topic: &DeleteTopicState<'_>) -> Asked {
    match (topic.name, topic.topic_id) {
        (Some(name), TopicId::ZERO) => by_name(name),
        (None, id) if id != TopicId::ZERO => Ok(Which::Id(id)),
        (name, id) => Err((name.map(str::to_owned), id)),
    }
}

fn answer(reply_to: ReplyTo, asked: &[Asked], deleted: Answers<(String, TopicId)>) -> Answer {
    let none_deleted = deleted.as_ref().err().map(|code| Refusal {
        code: *code,
        message: "Topics cannot be deleted now.".to_owned(),
    });
    let mut deleted = deleted.iter().flatten();
    let responses = asked.iter().map(|asked| match asked {
        Err((name, topic_id)) => DeletableTopicResult {
            name: name.as_deref(),
            topic_id: *topic_id,
            error_code: ErrorCode::InvalidRequest.code(),
            error_message: Some(match name {
                Some(_) => "You may not specify both topic name and topic id.",
                None => "Neither topic name nor id were specified.",
            }),
        },
        Ok(which) => match (deleted.next(), &none_deleted) {
            (Some(Ok((name, topic_id))), _) => DeletableTopicResult {
                name: Some(name),
                topic_id: *topic_id,
                ..DeletableTopicResult::default()
            },
            (Some(Err(refusal)), _) | (None, Some(refusal)) => refused(which, refusal),
            // The controller answers each.
            (None, None) => DeletableTopicResult::default(),
        },
    });
    let response = DeleteTopicsResponse {
        responses: responses.collect(),
        ..DeleteTopicsResponse::default()
    };
    reply_to.answer(|out, version| response.encode(out, version))
}

fn refused<'a>(which: &'a Which, refusal: &'a Refusal) -> DeletableTopicResult<'a> {
    let (name, topic_id) = match which {
        Which::Name(name) => (Some(name.as_str()), TopicId::ZERO),
        Which::Id(id) => (None, *id),
    };
    DeletableTopicResult {
        name,
        topic_id,
        error_code: refusal.code.code(),
        error_message: Some(&refusal.message),
    }
}
