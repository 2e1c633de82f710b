//! Records on their way to the log: the values a decision writes, in order.
//!
//! What a newcomer would get wrong: a record is encoded when it is decided, in the version that
//! metadata.version 4.4-IV2 asks for; what is applied later is what was written, decoded again. One record in
//! the log is one value here, so the offset of each is known.

use protocol::messages::MetadataRecord;

/// The most records of one atomic batch, and so of one decision (`QuorumController.MAX_RECORDS_PER_BATCH`).
pub const RECORDS_MAX: usize = 10_000;

/// The values of records, each in its frame.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Records {
    values: Vec<Vec<u8>>,
}

impl Records {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The values, in order.
    pub fn values(&self) -> impl Iterator<Item = &[u8]> {
        self.values.iter().map(Vec::as_slice)
    }

    /// Adds one.
    pub(crate) fn push(&mut self, record: &MetadataRecord<'_>) -> &[u8] {
        let mut value = Vec::new();
        record.encode(&mut value, version(record));
        self.push_value(value)
    }

    /// Adds one that is already encoded.
    pub(crate) fn push_value(&mut self, value: Vec<u8>) -> &[u8] {
        self.values.push(value);
        self.values.last().map_or(&[], Vec::as_slice)
    }
}

/// The version Apache Kafka writes a record in at metadata.version 4.4-IV2 with
/// eligible.leader.replicas.version 1.
fn version(record: &MetadataRecord<'_>) -> i16 {
    match record {
        MetadataRecord::RegisterBroker(_) => 4,
        MetadataRecord::Partition(_) | MetadataRecord::PartitionChange(_) => 2,
        MetadataRecord::BrokerRegistrationChange(change) => match change {
            _ if change.cordoned_log_dirs.is_some() => 3,
            _ if !change.log_dirs.is_empty() => 2,
            _ if change.in_controlled_shutdown != 0 => 1,
            _ => 0,
        },
        _ => 0,
    }
}
