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
use protocol::wire::DecodeError;

use crate::context::{Context, Request};
use crate::pipeline::Started;

/// The kinds of keys: group, transaction, share.
const KEY_TYPES: std::ops::RangeInclusive<i8> = 0..=2;
const MESSAGE: &str = "The coordinator is not available.";
const INVALID_KEY_TYPE: &str = "The type of the key is not known.";

/// Answers at once.
pub fn start(request: &Request, _context: &Rc<Context>) -> Result<Started, DecodeError> {
    let asked = request.decode(FindCoordinatorRequest::decode)?;
    let (error, message) = match KEY_TYPES.contains(&asked.key_type) {
        true => (ErrorCode::CoordinatorNotAvailable.code(), MESSAGE),
        false => (ErrorCode::InvalidRequest.code(), INVALID_KEY_TYPE),
    };
    let coordinator = |key| Coordinator {
        key,
        node_id: -1,
        host: "",
        port: -1,
        error_code: error,
        error_message: Some(message),
    };
    let response = FindCoordinatorResponse {
        error_code: error,
        error_message: Some(message),
        node_id: -1,
        port: -1,
        coordinators: asked.coordinator_keys.into_iter().map(coordinator).collect(),
        ..FindCoordinatorResponse::default()
    };
    Ok(request.reply_to.now(|out, version| response.encode(out, version)))
}
