//! What a partition knows of its idempotent producers: epochs, sequences and the last five batches of each,
//! and Kafka's `.snapshot` file of it.
//!
//! Three outcomes, not two: a batch is new, or an exact repeat of one of the last five (success with the
//! *first* offsets, nothing appended), or wrong. An old repeat that fell out of the window is out of order,
//! not a duplicate. Source: Kafka's `ProducerStateManager`, section 16 of the formats page.

use std::collections::{BTreeMap, VecDeque};

use protocol::crc::crc32c;
use protocol::types::{Offset, ProducerEpoch, ProducerId, Sequence};

/// Batches remembered per producer: as many as a client may have in flight.
pub const WINDOW: usize = 5;

const SNAPSHOT_VERSION: i16 = 1;
const SNAPSHOT_HEADER_BYTES: usize = 10;
const SNAPSHOT_ENTRY_BYTES: usize = 46;

/// What of a batch's header concerns its producer.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct ProducerBatch {
    /// Never -1: batches without a producer are none of ours.
    pub producer_id: ProducerId,
    /// The producer's epoch.
    pub epoch: ProducerEpoch,
    /// Sequence of the first record.
    pub first_sequence: Sequence,
    /// Last offset minus first offset.
    pub offset_delta: i32,
    /// The batch's largest timestamp.
    pub timestamp: i64,
}

/// One remembered batch.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Sequence of its last record.
    pub last_sequence: Sequence,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// Last offset minus first offset.
    pub offset_delta: i32,
    /// Its largest timestamp.
    pub timestamp: i64,
}

impl Remembered {
    /// Sequence of its first record.
    pub fn first_sequence(&self) -> Sequence {
        self.last_sequence.minus(self.offset_delta)
    }

    /// Offset of its first record.
    pub fn first_offset(&self) -> Offset {
        Offset(self.last_offset.0 - i64::from(self.offset_delta))
    }
}

/// What is known of one producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Producer {
    /// Its newest epoch.
    pub epoch: ProducerEpoch,
    /// Largest timestamp of its newest batch.
    pub last_timestamp: i64,
    /// Epoch of the transaction coordinator that wrote its last marker, -1 if none.
    pub coordinator_epoch: i32,
    /// First offset of its open transaction, if there is one.
    pub transaction_first_offset: Option<Offset>,
    /// Its last batches of this epoch, oldest first, at most [`WINDOW`].
    pub batches: VecDeque<Remembered>,
}

/// Why a batch is refused.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum SequenceError {
    /// INVALID_PRODUCER_EPOCH: a newer incarnation of the producer has written.
    InvalidProducerEpoch,
    /// OUT_OF_ORDER_SEQUENCE_NUMBER: a batch before this one is missing, or it is too old to be recognised.
    OutOfOrderSequence,
}

/// What is to be done with a batch.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Append it, then [`Producers::apply`] it.
    New,
    /// It is there already: answer with the offsets it has.
    Duplicate(Remembered),
}

/// All producers of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Producers {
    entries: BTreeMap<ProducerId, Producer>,
}

/// Why the bytes of a snapshot are none.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum SnapshotError {
    /// Shorter or longer than its count says.
    Length,
    /// A version other than 1.
    Version,
    /// The CRC does not match.
    Crc,
}

impl Producers {
    /// Judges a client's batch against what is known, in Kafka's order: repeat, epoch, sequence.
    pub fn check(&self, batch: &ProducerBatch) -> Result<Verdict, SequenceError> {
        let Some(known) = self.entries.get(&batch.producer_id) else {
            // The state may have been lost to expiry, so any sequence is accepted.
            return Ok(Verdict::New);
        };
        let last_sequence = batch.first_sequence.plus(batch.offset_delta);
        if batch.epoch == known.epoch {
            let repeat = known.batches.iter().find(|old| {
                old.first_sequence() == batch.first_sequence && old.last_sequence == last_sequence
            });
            if let Some(old) = repeat {
                return Ok(Verdict::Duplicate(*old));
            }
        }
        if batch.epoch < known.epoch {
            return Err(SequenceError::InvalidProducerEpoch);
        }
        let expected = match known.batches.back() {
            Some(last) if batch.epoch == known.epoch => Some(last.last_sequence.plus(1)),
            // A marker alone is known of this epoch: nothing to compare with.
            None if batch.epoch == known.epoch => None,
            // An epoch known from a file without one (-1) says nothing.
            _ if known.epoch.0 < 0 => None,
            _ => Some(Sequence(0)),
        };
        if expected.is_some_and(|expected| expected != batch.first_sequence) {
            return Err(SequenceError::OutOfOrderSequence);
        }
        Ok(Verdict::New)
    }

    /// Takes in a batch that was appended and ends at `last_offset`. Replay and followers come here without
    /// [`check`](Self::check): what is in the log is true.
    pub fn apply(&mut self, batch: &ProducerBatch, last_offset: Offset) {
        let known = self.entries.entry(batch.producer_id).or_insert_with(|| Producer {
            epoch: batch.epoch,
            last_timestamp: batch.timestamp,
            coordinator_epoch: -1,
            transaction_first_offset: None,
            batches: VecDeque::with_capacity(WINDOW),
        });
        if known.epoch != batch.epoch {
            known.epoch = batch.epoch;
            known.batches.clear();
        }
        if known.batches.len() == WINDOW {
            known.batches.pop_front();
        }
        known.last_timestamp = batch.timestamp;
        known.batches.push_back(Remembered {
            last_sequence: batch.first_sequence.plus(batch.offset_delta),
            last_offset,
            offset_delta: batch.offset_delta,
            timestamp: batch.timestamp,
        });
    }

    /// Forgets batches that end at `end` or later, and producers of which nothing else is known.
    pub fn take_back(&mut self, end: Offset) {
        self.entries.retain(|_, known| {
            let had = known.batches.len();
            known.batches.retain(|batch| batch.last_offset < end);
            if let Some(newest) = known.batches.back() {
                known.last_timestamp = newest.timestamp;
            }
            had == 0 || !known.batches.is_empty()
        });
    }

    /// Forgets producers that have been idle for `expiration_ms` at `now_ms` and have no open transaction.
    pub fn expire(&mut self, now_ms: i64, expiration_ms: i64) {
        self.entries.retain(|_, known| {
            known.transaction_first_offset.is_some()
                || now_ms.saturating_sub(known.last_timestamp) < expiration_ms
        });
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// The producers, by id.
    pub fn iter(&self) -> impl Iterator<Item = (ProducerId, &Producer)> {
        self.entries.iter().map(|(&id, known)| (id, known))
    }

    /// Puts back what a checkpoint held of one producer.
    pub fn restore(&mut self, id: ProducerId, mut known: Producer) {
        while known.batches.len() > WINDOW {
            known.batches.pop_front();
        }
        self.entries.insert(id, known);
    }

    /// Number of producers known.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no producer is known.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The bytes of a `.snapshot` file, version 1. Only the newest batch of each producer is in it.
    pub fn encode_snapshot(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SNAPSHOT_HEADER_BYTES + self.len() * SNAPSHOT_ENTRY_BYTES);
        out.extend_from_slice(&SNAPSHOT_VERSION.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&(self.len() as i32).to_be_bytes());
        for (id, known) in &self.entries {
            let newest = known.batches.back();
            out.extend_from_slice(&id.0.to_be_bytes());
            out.extend_from_slice(&known.epoch.0.to_be_bytes());
            out.extend_from_slice(&newest.map_or(-1, |newest| newest.last_sequence.0).to_be_bytes());
            out.extend_from_slice(&newest.map_or(-1, |newest| newest.last_offset.0).to_be_bytes());
            out.extend_from_slice(&newest.map_or(0, |newest| newest.offset_delta).to_be_bytes());
            out.extend_from_slice(&known.last_timestamp.to_be_bytes());
            out.extend_from_slice(&known.coordinator_epoch.to_be_bytes());
            let first = known.transaction_first_offset.map_or(-1, |first| first.0);
            out.extend_from_slice(&first.to_be_bytes());
        }
        let crc = crc32c(out.get(6..).unwrap_or_default());
        if let Some(place) = out.get_mut(2..6) {
            place.copy_from_slice(&crc.to_be_bytes());
        }
        out
    }

    /// The producers in the bytes of a `.snapshot` file.
    pub fn decode_snapshot(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let (header, entries) = bytes
            .split_first_chunk::<SNAPSHOT_HEADER_BYTES>()
            .ok_or(SnapshotError::Length)?;
        let [v0, v1, c0, c1, c2, c3, n0, n1, n2, n3] = *header;
        if i16::from_be_bytes([v0, v1]) != SNAPSHOT_VERSION {
            return Err(SnapshotError::Version);
        }
        if crc32c(bytes.get(6..).unwrap_or_default()) != u32::from_be_bytes([c0, c1, c2, c3]) {
            return Err(SnapshotError::Crc);
        }
        let (entries, rest) = entries.as_chunks::<SNAPSHOT_ENTRY_BYTES>();
        if !rest.is_empty() || i64::from(i32::from_be_bytes([n0, n1, n2, n3])) != entries.len() as i64 {
            return Err(SnapshotError::Length);
        }
        let mut producers = Self::default();
        for entry in entries {
            let mut fields = Fields(entry);
            let id = ProducerId(i64::from_be_bytes(fields.take()));
            let epoch = ProducerEpoch(i16::from_be_bytes(fields.take()));
            let last_sequence = Sequence(i32::from_be_bytes(fields.take()));
            let last_offset = Offset(i64::from_be_bytes(fields.take()));
            let offset_delta = i32::from_be_bytes(fields.take());
            let timestamp = i64::from_be_bytes(fields.take());
            let coordinator_epoch = i32::from_be_bytes(fields.take());
            let first = i64::from_be_bytes(fields.take());
            let newest = Remembered {
                last_sequence,
                last_offset,
                offset_delta,
                timestamp,
            };
            let known = Producer {
                epoch,
                last_timestamp: timestamp,
                coordinator_epoch,
                transaction_first_offset: (first >= 0).then_some(Offset(first)),
                // A negative offset: the entry exists because of a marker alone.
                batches: (last_offset.0 >= 0).then_some(newest).into_iter().collect(),
            };
            producers.entries.insert(id, known);
        }
        Ok(producers)
    }
}

/// Fixed-size fields cut one after the other from an entry of known size.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk::<N>() {
            Some((field, rest)) => {
                self.0 = rest;
                *field
            }
            None => [0; N],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(epoch: i16, first: i32, count: i32) -> ProducerBatch {
        ProducerBatch {
            producer_id: ProducerId(9),
            epoch: ProducerEpoch(epoch),
            first_sequence: Sequence(first),
            offset_delta: count - 1,
            timestamp: 1_000,
        }
    }

    /// Producer 9 in epoch 1 after batches of one record with sequences 0..n at offsets 100...
    fn after(n: i32) -> Producers {
        let mut producers = Producers::default();
        for sequence in 0..n {
            producers.apply(&batch(1, sequence, 1), Offset(100 + i64::from(sequence)));
        }
        producers
    }

    #[test]
    fn sequences_are_judged_as_kafka_does() {
        use SequenceError::*;
        #[derive(Debug, PartialEq)]
        enum Out {
            New,
            Duplicate(i64),
            Refused(SequenceError),
        }
        let check = |epoch: i16, first: i32, count: i32, expected: Out| {
            let out = match after(7).check(&batch(epoch, first, count)) {
                Ok(Verdict::New) => Out::New,
                Ok(Verdict::Duplicate(old)) => Out::Duplicate(old.first_offset().0),
                Err(error) => Out::Refused(error),
            };
            assert_eq!(out, expected, "epoch {epoch} first {first} count {count}");
        };
        check(1, 7, 3, Out::New);
        check(1, 8, 1, Out::Refused(OutOfOrderSequence));
        check(1, 6, 1, Out::Duplicate(106));
        check(1, 2, 1, Out::Duplicate(102));
        // Fell out of the window of five.
        check(1, 1, 1, Out::Refused(OutOfOrderSequence));
        // Overlaps without being equal.
        check(1, 5, 2, Out::Refused(OutOfOrderSequence));
        check(0, 7, 1, Out::Refused(InvalidProducerEpoch));
        check(0, 6, 1, Out::Refused(InvalidProducerEpoch));
        check(2, 0, 1, Out::New);
        check(2, 7, 1, Out::Refused(OutOfOrderSequence));
        assert_eq!(Producers::default().check(&batch(5, 77, 2)), Ok(Verdict::New));
    }

    #[test]
    fn sequences_wrap() {
        let mut producers = Producers::default();
        producers.apply(&batch(0, i32::MAX - 1, 3), Offset(2));
        assert_eq!(producers.check(&batch(0, 1, 1)), Ok(Verdict::New));
        let repeat = producers.check(&batch(0, i32::MAX - 1, 3));
        assert!(matches!(repeat, Ok(Verdict::Duplicate(old)) if old.first_offset() == Offset(0)));
        assert_eq!(
            producers.check(&batch(0, 0, 1)),
            Err(SequenceError::OutOfOrderSequence)
        );
    }

    #[test]
    fn a_new_epoch_forgets_the_old_batches() {
        let mut producers = after(3);
        producers.apply(&batch(2, 0, 1), Offset(103));
        assert_eq!(
            producers.check(&batch(2, 2, 1)),
            Err(SequenceError::OutOfOrderSequence)
        );
        let (_, known) = producers.iter().next().expect("one");
        assert_eq!(known.batches.len(), 1);
    }

    #[test]
    fn idle_producers_expire() {
        let check = |now: i64, expected: usize| {
            let mut producers = after(1);
            producers.expire(now, 500);
            assert_eq!(producers.len(), expected, "{now}");
        };
        check(1_499, 1);
        check(1_500, 0);
    }

    #[test]
    fn the_snapshot_is_kafkas() {
        let bytes = after(7).encode_snapshot();
        assert_eq!(bytes.len(), 56);
        assert_eq!(bytes[..2], [0, 1]);
        assert_eq!(bytes[2..6], crc32c(&bytes[6..]).to_be_bytes());
        let mut expected = vec![0, 0, 0, 1];
        expected.extend_from_slice(&9i64.to_be_bytes());
        expected.extend_from_slice(&1i16.to_be_bytes());
        expected.extend_from_slice(&6i32.to_be_bytes());
        expected.extend_from_slice(&106i64.to_be_bytes());
        expected.extend_from_slice(&0i32.to_be_bytes());
        expected.extend_from_slice(&1_000i64.to_be_bytes());
        expected.extend_from_slice(&(-1i32).to_be_bytes());
        expected.extend_from_slice(&(-1i64).to_be_bytes());
        assert_eq!(bytes[6..], expected);
        let back = Producers::decode_snapshot(&bytes).expect("our own");
        assert_eq!(back.encode_snapshot(), bytes);
        assert_eq!(back.check(&batch(1, 7, 1)), Ok(Verdict::New));
    }

    #[test]
    fn a_damaged_snapshot_is_refused() {
        let bytes = after(2).encode_snapshot();
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1;
            assert!(Producers::decode_snapshot(&damaged).is_err(), "byte {place}");
        }
        for length in 0..bytes.len() {
            assert!(
                Producers::decode_snapshot(&bytes[..length]).is_err(),
                "length {length}"
            );
        }
        let mut longer = bytes;
        longer.push(0);
        assert!(Producers::decode_snapshot(&longer).is_err());
    }
}
