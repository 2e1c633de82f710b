//! Blocks of producer ids, handed out to brokers.
//!
//! What a newcomer would get wrong: the record holds the first id that nobody has yet, not the first of the
//! block; a block that a broker loses in a crash is skipped, never handed out again.

use protocol::ErrorCode;
use protocol::messages::{MetadataRecord, ProducerIdsRecord};
use protocol::types::{BrokerId, ProducerId};

use super::{Controller, Decision, Refusal};

/// Ids in a block (`ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE`).
pub const BLOCK_IDS: i64 = 1_000;

/// The ids from `first` on, [`BLOCK_IDS`] of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// The first.
    pub first: ProducerId,
}

impl Controller {
    /// Gives a broker a block of producer ids (`ProducerIdControlManager`).
    pub fn decide_producer_ids(&mut self, broker: BrokerId, epoch: i64) -> Decision<Result<Block, Refusal>> {
        if let Err(refusal) = self.check_broker(broker, epoch) {
            return self.refuse(Err(refusal));
        }
        let first = self.image.producer_ids().map_or(ProducerId(0), |ids| ids.next);
        let Some(next) = first.0.checked_add(BLOCK_IDS) else {
            let message = "there are no producer ids left";
            return self.refuse(Err(Refusal::new(ErrorCode::UnknownServerError, message)));
        };
        let mut draft = self.draft();
        draft.push(&MetadataRecord::ProducerIds(ProducerIdsRecord {
            broker_id: broker.0,
            broker_epoch: epoch,
            next_producer_id: next,
        }));
        self.adopt(draft, Ok(Block { first }))
    }
}
