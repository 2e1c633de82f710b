//! Control batches: records that a quorum or a coordinator writes for the readers of the log, never for
//! applications. Here are those that a quorum of one with snapshots writes; a test elsewhere in the crate holds
//! all of them against bytes of Kafka's.
//!
//! What a newcomer would get wrong: the value begins with a version that is an ordinary field of it; there is no
//! producer id, also no sequence; and readers skip types they do not know, so that a type is an `i16` until asked.

use crate::batch::{Batch, HeaderFields};
use crate::messages::{LeaderChangeMessage, SnapshotFooterRecord, SnapshotHeaderRecord};
use crate::records::{self, BatchBuilder};
use crate::types::{LeaderEpoch, Offset};

/// What a control record is about (ControlRecordType in Kafka).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum ControlType {
    /// A transaction was aborted.
    Abort = 0,
    /// A transaction was committed.
    Commit = 1,
    /// A quorum has a new leader.
    LeaderChange = 2,
    /// The beginning of a snapshot.
    SnapshotHeader = 3,
    /// The end of a snapshot, without which it is not whole.
    SnapshotFooter = 4,
    /// The version of the quorum's protocol.
    KRaftVersion = 5,
    /// The voters of a quorum.
    KRaftVoters = 6,
}

impl ControlType {
    const ALL: [ControlType; 7] = [
        ControlType::Abort,
        ControlType::Commit,
        ControlType::LeaderChange,
        ControlType::SnapshotHeader,
        ControlType::SnapshotFooter,
        ControlType::KRaftVersion,
        ControlType::KRaftVoters,
    ];

    /// The type that the key of a control record names; `None` for a key that is none, or of a type to be skipped.
    /// Later versions of the key may be longer.
    pub fn of_key(key: &[u8]) -> Option<ControlType> {
        let [_, _, high, low, ..] = key else { return None };
        ControlType::ALL
            .get(usize::from(u16::from_be_bytes([*high, *low])))
            .copied()
    }

    /// The key of such a record: version 0, then the type.
    pub fn key(self) -> [u8; 4] {
        [0, 0, 0, self as u8]
    }
}

/// Where in a log a control batch goes.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Epoch of the leader that writes it; in a snapshot, the snapshot's.
    pub leader_epoch: LeaderEpoch,
    /// Its time, in ms since 1970.
    pub timestamp: i64,
}

/// The batch with which a new leader of a quorum begins its epoch. The message's own version decides how it is
/// written.
pub fn leader_change(place: Place, message: &LeaderChangeMessage) -> Vec<u8> {
    let mut value = Vec::new();
    message.encode(&mut value, message.version);
    batch(place, &[(ControlType::LeaderChange, value)])
}

/// The first batch of a snapshot.
pub fn snapshot_header(place: Place, record: &SnapshotHeaderRecord) -> Vec<u8> {
    let mut value = Vec::new();
    record.encode(&mut value, record.version);
    batch(place, &[(ControlType::SnapshotHeader, value)])
}

/// The last batch of a snapshot.
pub fn snapshot_footer(place: Place, record: &SnapshotFooterRecord) -> Vec<u8> {
    let mut value = Vec::new();
    record.encode(&mut value, record.version);
    batch(place, &[(ControlType::SnapshotFooter, value)])
}

fn batch(place: Place, records: &[(ControlType, Vec<u8>)]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(HeaderFields {
        base_offset: place.base_offset,
        leader_epoch: place.leader_epoch,
        is_control: true,
        ..HeaderFields::default()
    });
    for (kind, value) in records {
        builder
            .append(place.timestamp, Some(&kind.key()), Some(value), &[])
            .expect("a control record is small");
    }
    builder.build().expect("without a codec nothing can fail")
}

/// Bytes that the records of a control batch may decompress to: they are small, and nobody compresses them.
const DECOMPRESSED_BYTES_MAX: usize = 1024 * 1024;

/// Type and value of each record of a control batch, those of unknown types left out. That the batch is one is
/// for the caller to see.
///
/// # Errors
/// Records that cannot be read, or that have no value.
pub fn records_of(batch: &Batch<'_>) -> Result<Vec<(ControlType, Vec<u8>)>, records::Error> {
    let mut out = Vec::new();
    for record in &batch.records(DECOMPRESSED_BYTES_MAX)? {
        let record = record?;
        if let Some(kind) = record.key.and_then(ControlType::of_key) {
            out.push((kind, record.value.ok_or(records::Error::Malformed)?.to_vec()));
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::leader_change_message;
    use crate::wire::Reader;

    const PLACE: Place = Place {
        base_offset: Offset(12),
        leader_epoch: LeaderEpoch(3),
        timestamp: 1_700_000_000_000,
    };

    #[test]
    fn keys() {
        let check = |key: &[u8], expected| assert_eq!(ControlType::of_key(key), expected, "{key:?}");
        for kind in ControlType::ALL {
            check(&kind.key(), Some(kind));
        }
        check(&[0, 0, 0, 2], Some(ControlType::LeaderChange));
        check(&[0, 1, 0, 1, 9], Some(ControlType::Commit));
        check(&[0, 0, 0, 7], None);
        check(&[0, 0, 0xff, 0xff], None);
        check(&[0, 0, 0], None);
    }

    #[test]
    fn a_leader_change_reads_back() {
        let voter = |voter_id| leader_change_message::Voter {
            voter_id,
            ..Default::default()
        };
        let message = LeaderChangeMessage {
            version: 0,
            leader_id: 1,
            voters: vec![voter(1), voter(2)],
            granting_voters: vec![voter(1)],
        };
        let bytes = leader_change(PLACE, &message);
        let batch = Batch::parse(&bytes).unwrap();
        assert!(batch.is_control() && batch.crc_is_valid());
        assert_eq!(
            (batch.base_offset(), batch.leader_epoch()),
            (PLACE.base_offset, PLACE.leader_epoch)
        );
        let records = records_of(&batch).unwrap();
        let [(ControlType::LeaderChange, value)] = records.as_slice() else {
            panic!("{records:?}")
        };
        assert_eq!(
            LeaderChangeMessage::decode(&mut Reader::new(value, 1000), 0),
            Ok(message)
        );
    }

    #[test]
    fn unknown_types_are_left_out() {
        let mut builder = BatchBuilder::new(HeaderFields {
            is_control: true,
            ..HeaderFields::default()
        });
        builder.append(0, Some(&[0, 0, 0, 99]), Some(b"?"), &[]).unwrap();
        builder
            .append(0, Some(&ControlType::Abort.key()), Some(b"x"), &[])
            .unwrap();
        let bytes = builder.build().unwrap();
        let records = records_of(&Batch::parse(&bytes).unwrap()).unwrap();
        assert_eq!(records, [(ControlType::Abort, b"x".to_vec())]);
    }
}
