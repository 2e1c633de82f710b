//! The controller: turns commands into records and answers.
//!
//! What a newcomer would get wrong: a decision is final here the moment it is made (the controller's image
//! has it), but its answer must not leave the node before its records are committed. If they cannot be
//! written the node's log directory is lost and the controller with it; there is no way back from a decision.

pub mod brokers;
pub mod elections;
pub mod features;
pub mod placement;
pub mod producer_ids;
pub mod topics;

use protocol::ErrorCode;
use protocol::messages::{AbortTransactionRecord, MetadataRecord};
use protocol::types::Offset;

use crate::image::{ApplyError, Image};
use crate::loader::Loader;
use crate::records::Records;

/// The active controller of a cluster. It lives with the leader of the metadata quorum, from when that has
/// applied everything before its epoch.
#[derive(Debug)]
pub struct Controller {
    /// All that is decided, committed or not.
    image: Image,
    /// Where the next record goes.
    next_offset: Offset,
    /// Whether a controller before this one left a transaction open.
    must_abort: bool,
}

/// What was decided. The records go into one batch that begins at `base_offset`; the answer goes to the
/// client when they are committed, at once if there are none. Only `decide_unfence` may give more than
/// [`RECORDS_MAX`](crate::records::RECORDS_MAX) records; they need not become visible together and may be cut
/// into several batches anywhere.
#[must_use]
#[derive(Debug, PartialEq)]
pub struct Decision<A> {
    /// The offset of the first record.
    pub base_offset: Offset,
    /// What to append.
    pub records: Records,
    /// What to answer.
    pub answer: A,
}

/// A command, or a part of one, that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Kafka's code for it.
    pub code: ErrorCode,
    /// A sentence for the client.
    pub message: String,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Refusal {
        Refusal {
            code,
            message: message.into(),
        }
    }
}

impl Controller {
    /// The controller that goes on where the committed log ends. `next_offset` is the end of the log, behind
    /// the control batch that opens the leader's epoch.
    pub fn new(loader: &Loader, next_offset: Offset) -> Controller {
        assert!(
            next_offset >= loader.next_offset(),
            "the controller begins behind what it has applied"
        );
        Controller {
            image: loader.image().clone(),
            next_offset,
            must_abort: loader.is_in_transaction(),
        }
    }

    /// Everything decided so far, committed or not.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Where the next record goes.
    pub fn next_offset(&self) -> Offset {
        self.next_offset
    }

    /// The first decision of every controller: the records that an empty log must begin with, or the end of
    /// what another controller left half done.
    pub fn decide_activate(&mut self) -> Decision<()> {
        let mut draft = self.draft();
        if std::mem::take(&mut self.must_abort) {
            let reason = Some("a new controller took over");
            draft.push(&MetadataRecord::AbortTransaction(AbortTransactionRecord {
                reason,
            }));
        }
        if draft.image.feature(crate::image::METADATA_VERSION) == 0 {
            features::bootstrap(&mut draft);
        }
        self.adopt(draft, ())
    }

    /// What a decision is drafted on.
    fn draft(&self) -> Draft {
        Draft {
            image: self.image.clone(),
            records: Records::default(),
            base_offset: self.next_offset,
        }
    }

    /// Makes a draft the truth.
    fn adopt<A>(&mut self, draft: Draft, answer: A) -> Decision<A> {
        self.image = draft.image;
        self.next_offset = Offset(draft.base_offset.0 + draft.records.len() as i64);
        Decision {
            base_offset: draft.base_offset,
            records: draft.records,
            answer,
        }
    }

    /// A decision without records: all is refused, or nothing is to be done.
    fn refuse<A>(&self, answer: A) -> Decision<A> {
        Decision {
            base_offset: self.next_offset,
            records: Records::default(),
            answer,
        }
    }
}

/// A decision in the making: its records, and the image with them applied. Dropped if it comes to nothing.
struct Draft {
    image: Image,
    records: Records,
    base_offset: Offset,
}

impl Draft {
    /// Where the next record goes.
    fn next_offset(&self) -> Offset {
        Offset(self.base_offset.0 + self.records.len() as i64)
    }

    /// Adds a record. That a record of our own can be applied is ours to guarantee.
    fn push(&mut self, record: &MetadataRecord<'_>) {
        let value = self.records.push(record);
        let applied: Result<(), ApplyError> = self.image.apply_record(record, value);
        assert_eq!(
            applied,
            Ok(()),
            "a decided record does not fit the image: {record:?}"
        );
    }
}
