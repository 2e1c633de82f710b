//! FindCoordinator 0-6: which broker coordinates a group, a transactional id or a share partition.
//!
//! 1 adds the kind of key, the throttle time and a message; 3 is flexible; 4 asks for many keys at once; 5 and 6
//! change nothing on the wire (transactions of version 2, share groups).
//!
//! This broker coordinates nothing yet, so every key is answered with COORDINATOR_NOT_AVAILABLE, as Kafka answers
//! while the topic behind a coordinator is being created. Clients take it for temporary and ask again.

use std::rc::Rc;

use protocol::error_code::ErrorCode;
use protocol::messages::find_coordinator_response::Coordinator;
use protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use protocol::types::Uuid;
use protocol::wire::DecodeError;

use crate::context::{Context, Request};
use crate::pipeline::Started;

/// A key of a share partition; 0 is a group's, 1 a transactional id.
const SHARE: i8 = 2;
/// Versions below know no share partitions.
const SHARE_SINCE: i16 = 6;
/// From here on an answer has no message, however it ends.
const KEYS_SINCE: i16 = 4;

/// Answers at once.
pub fn start(request: &Request, _context: &Rc<Context>) -> Result<Started, DecodeError> {
    let asked = request.decode(FindCoordinatorRequest::decode)?;
    let version = request.reply_to.version;
    let of_key = |key: &str| match asked.key_type {
        0 | 1 => ErrorCode::CoordinatorNotAvailable,
        SHARE if version >= SHARE_SINCE && is_share_partition(key) => ErrorCode::CoordinatorNotAvailable,
        _ => ErrorCode::InvalidRequest,
    };
    let coordinator = |key| Coordinator {
        key,
        node_id: -1,
        host: "",
        port: -1,
        error_code: of_key(key).code(),
        error_message: Some(""),
    };
    let (error, message) = match version < KEYS_SINCE {
        true => (of_key(asked.key), message(of_key(asked.key))),
        false => (ErrorCode::None, ""),
    };
    let response = FindCoordinatorResponse {
        error_code: error.code(),
        error_message: Some(message),
        node_id: -1,
        port: -1,
        coordinators: asked.coordinator_keys.into_iter().map(coordinator).collect(),
        ..FindCoordinatorResponse::default()
    };
    Ok(request.reply_to.now(|out, version| response.encode(out, version)))
}

/// What Kafka says to an error (`Errors.message`).
fn message(error: ErrorCode) -> &'static str {
    match error {
        ErrorCode::InvalidRequest => {
            "This most likely occurred because of a request being malformed by the client library or the message was \
             sent to an incompatible broker. See the broker logs for more details."
        }
        _ => "The coordinator is not available.",
    }
}

/// Whether a key is `GROUP:TOPIC_ID:PARTITION` (`SharePartitionKey.validate`).
fn is_share_partition(key: &str) -> bool {
    let mut parts = key.rsplitn(3, ':');
    let partition = parts.next().and_then(|part| part.parse::<i32>().ok());
    let topic = parts.next().and_then(|id| id.parse::<Uuid>().ok());
    let group = parts.next().unwrap_or_default();
    partition.is_some() && topic.is_some() && !group.trim().is_empty()
}
