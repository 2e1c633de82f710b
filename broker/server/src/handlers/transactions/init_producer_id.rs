//! InitProducerId 0-5: an id for an idempotent producer.
//!
//! 1 changes throttling only; 2 is flexible; 3 lets a producer name the id it has (KIP-360); 4 tells a fenced producer so;
//! 5 is for transactions of version 2. 6 is not stable in Kafka 4.4 and not announced.
//!
//! What a newcomer would get wrong: without a transactional id every request gets a fresh id with epoch 0, also one
//! that names an id it has. With one it is for a transaction coordinator, and there is none yet:
//! COORDINATOR_NOT_AVAILABLE, which clients take for temporary.

use std::rc::Rc;

use protocol::error_code::ErrorCode;
use protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};
use protocol::types::ProducerId;
use protocol::wire::DecodeError;

use crate::context::{Context, ReplyTo, Request};
use crate::pipeline::{Answer, Started};
use crate::producer_ids;

/// Answers at once while this shard has ids left, else when the controller has given it a block of them.
pub fn start(request: &Request, context: &Rc<Context>) -> Result<Started, DecodeError> {
    let asked = request.decode(InitProducerIdRequest::decode)?;
    let reply_to = request.reply_to;
    if let Some(transactional_id) = asked.transactional_id {
        let error = match transactional_id.is_empty() {
            true => ErrorCode::InvalidRequest,
            false => ErrorCode::CoordinatorNotAvailable,
        };
        return Ok(Started::Now(answer(reply_to, Err(error))));
    }
    // An id without an epoch, or an epoch without an id.
    if (asked.producer_id < 0) != (asked.producer_epoch < 0) {
        return Ok(Started::Now(answer(reply_to, Err(ErrorCode::InvalidRequest))));
    }
    let node = context.node.clone();
    Ok(Started::later(async move {
        answer(reply_to, producer_ids::next(&node).await)
    }))
}

fn answer(reply_to: ReplyTo, id: Result<ProducerId, ErrorCode>) -> Answer {
    let response = match id {
        Ok(id) => InitProducerIdResponse {
            producer_id: id.0,
            producer_epoch: 0,
            ..Default::default()
        },
        Err(error) => InitProducerIdResponse {
            error_code: error.code(),
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        },
    };
    reply_to.answer(|out, version| response.encode(out, version))
}
