//! The producer ids that a shard gives out, from blocks that the controller gives to the broker.
//!
//! What a newcomer would get wrong: ids of a block that were not given out are lost at a restart, as in Kafka; no id
//! is ever given out twice, because a block is committed before its first id is used.

use std::cell::RefCell;
use std::ops::Range;

use metadata::controller::producer_ids::BLOCK_IDS;
use protocol::error_code::ErrorCode;
use protocol::types::ProducerId;
use shards::sync::Semaphore;

use crate::controller_driver;
use crate::shard::Node;

/// The ids that one shard has left.
#[derive(Debug)]
pub struct ProducerIds {
    left: RefCell<Range<i64>>,
    /// One asks the controller at a time.
    asking: Semaphore,
}

impl Default for ProducerIds {
    /// None yet.
    fn default() -> ProducerIds {
        ProducerIds {
            left: RefCell::new(0..0),
            asking: Semaphore::new(1),
        }
    }
}

impl ProducerIds {
    fn take(&self) -> Option<ProducerId> {
        self.left.borrow_mut().next().map(ProducerId)
    }
}

/// An id that nobody has had.
///
/// # Errors
/// Of the controller; COORDINATOR_LOAD_IN_PROGRESS, as Kafka says while a broker waits for its first block.
pub async fn next(node: &Node) -> Result<ProducerId, ErrorCode> {
    let ids = &node.producer_ids;
    loop {
        if let Some(id) = ids.take() {
            return Ok(id);
        }
        let _one = ids.asking.acquire(1).await;
        if let Some(id) = ids.take() {
            return Ok(id);
        }
        let this = node.settings().node_id;
        let epoch = node.view().image.broker(this).map_or(-1, |broker| broker.epoch);
        let block = controller_driver::decide(move |controller| controller.decide_producer_ids(this, epoch));
        match block.await {
            Ok(Ok(Ok(block))) => *ids.left.borrow_mut() = block.first.0..block.first.0 + BLOCK_IDS,
            Ok(Ok(Err(refusal))) => return Err(refusal.code),
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(ErrorCode::CoordinatorLoadInProgress),
        }
    }
}
