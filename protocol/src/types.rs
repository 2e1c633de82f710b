//! The small numbers Kafka counts in, each a type of its own, so that an offset is never passed where an
//! epoch is meant.
//!
//! What a newcomer would get wrong: -1 is a real value in most of them (no offset, no leader, no producer
//! id), and a [`Sequence`] wraps from 2^31 - 1 to 0, never to a negative number.

use std::fmt;
use std::str::FromStr;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(out)
            }
        }
    };
}

number! {
    /// The place of a record in its partition's log, from 0. -1 stands for "unknown" in several messages.
    Offset(i64)
}
number! {
    /// How often the leadership of a partition has changed; -1 is "unknown".
    LeaderEpoch(i32)
}
number! {
    /// `node.id` of a broker or controller; -1 is "none".
    BrokerId(i32)
}
number! {
    /// The index of a partition within its topic, from 0.
    Partition(i32)
}
number! {
    /// Who wrote a batch, for idempotence and transactions; -1 is "nobody in particular".
    ProducerId(i64)
}
number! {
    /// The incarnation of a [`ProducerId`]; -1 is "none".
    ProducerEpoch(i16)
}
number! {
    /// The number of a record within a producer's stream to one partition; -1 is "none".
    Sequence(i32)
}

impl Sequence {
    /// The sequence `by` records further on: 2^31 - 1 is followed by 0 (`DefaultRecordBatch.incrementSequence`).
    pub fn plus(self, by: i32) -> Sequence {
        Sequence(self.0.wrapping_add(by) & i32::MAX)
    }

    /// The sequence `by` records back (`DefaultRecordBatch.decrementSequence`).
    pub fn minus(self, by: i32) -> Sequence {
        Sequence(self.0.wrapping_sub(by) & i32::MAX)
    }
}

/// 128 bits that name a topic, a cluster, a log directory or an incarnation of a broker. Its text is that of
/// Kafka's class `Uuid`: 22 characters of base64 with `-` and `_`, without padding.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uuid(pub [u8; 16]);

/// A [`Uuid`] that names a topic. All zeros where a message names the topic by its name instead.
pub type TopicId = Uuid;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl Uuid {
    /// "No id". `Uuid.ZERO_UUID`.
    pub const ZERO: Uuid = Uuid([0; 16]);
    /// The topic id of `__cluster_metadata`, and the id reserved for "one" (`Uuid.METADATA_TOPIC_ID`).
    pub const METADATA_TOPIC: Uuid = Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

    /// Whether this is [`Uuid::ZERO`].
    pub fn is_zero(self) -> bool {
        self == Uuid::ZERO
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = u128::from_be_bytes(self.0);
        let mut text = String::with_capacity(22);
        for place in 0..22u32 {
            // 21 characters of 6 bits and a last one of 2 bits, filled up with zeros.
            let bits = if place < 21 {
                number >> (122 - 6 * place)
            } else {
                number << 4
            };
            text.push(char::from(ALPHABET[(bits & 63) as usize]));
        }
        out.pad(&text)
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// A text that is not 22 characters of URL-safe base64 (24 with padding are taken too, as Kafka does).
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct UuidError;

impl fmt::Display for UuidError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("not an id: 22 characters of A-Z a-z 0-9 - _ are wanted")
    }
}

impl std::error::Error for UuidError {}

impl FromStr for Uuid {
    type Err = UuidError;

    fn from_str(text: &str) -> Result<Uuid, UuidError> {
        let text = text.strip_suffix("==").unwrap_or(text);
        if text.len() != 22 {
            return Err(UuidError);
        }
        let mut number = 0u128;
        for (place, letter) in text.bytes().enumerate() {
            let bits = ALPHABET
                .iter()
                .position(|&known| known == letter)
                .ok_or(UuidError)? as u128;
            number = if place < 21 {
                number << 6 | bits
            } else {
                number << 2 | bits >> 4
            };
        }
        Ok(Uuid(number.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_written_as_kafka_writes_them() {
        let check = |bytes: u128, text: &str| {
            let id = Uuid(bytes.to_be_bytes());
            assert_eq!(id.to_string(), text);
            assert_eq!(text.parse(), Ok(id));
        };
        check(0, "AAAAAAAAAAAAAAAAAAAAAA");
        check(1, "AAAAAAAAAAAAAAAAAAAAAQ");
        check(u128::MAX, "_____________________w");
        check(
            0x0011_2233_4455_6677_8899_aabb_ccdd_eeff,
            "ABEiM0RVZneImaq7zN3u_w",
        );
        assert_eq!("AAAAAAAAAAAAAAAAAAAAAQ==".parse(), Ok(Uuid::METADATA_TOPIC));
        for bad in [
            "",
            "AAAA",
            "AAAAAAAAAAAAAAAAAAAAA+",
            "AAAAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAä",
        ] {
            assert_eq!(bad.parse::<Uuid>(), Err(UuidError), "{bad}");
        }
    }

    #[test]
    fn sequences_wrap_to_zero() {
        let check = |from: i32, by: i32, to: i32| {
            assert_eq!(Sequence(from).plus(by), Sequence(to));
            assert_eq!(Sequence(to).minus(by), Sequence(from));
        };
        check(0, 1, 1);
        check(i32::MAX, 1, 0);
        check(i32::MAX - 2, 5, 2);
    }
}
