//! The messages on the wire and the records in the logs, generated from `schema/`, with one `decode` and one
//! `encode` each.
//!
//! A message stands here by its name; the structs it is made of stand in a module named after it, with the
//! names that Kafka gives them: [`MetadataResponse`] holds `metadata_response::MetadataResponseBroker`.
//! Texts and bytes borrow from what was decoded. `Default` gives the defaults of the description, which are
//! also what a field has that the decoded version lacks.
//!
//! What a newcomer would get wrong: a nullable field is an `Option` in all versions; in a version that has no
//! null, `None` is written as empty. A nested struct's `decode` takes the encoding from the reader, which
//! only a whole message's `decode` sets. Unknown tagged fields are skipped and not kept.

use std::ops::RangeInclusive;

use crate::types::Uuid;
use crate::wire::{DecodeError, Reader, Writer};

/// The version of the frame around a record's value (`AbstractApiMessageSerde`).
const FRAME_VERSION: u32 = 1;

/// The frame around the values of `__cluster_metadata` and `__remote_log_metadata`: frame version, type and
/// version of the record as variable-length numbers, then the record.
macro_rules! framed {
    ($name:ident) => {
        impl<'a> $name<'a> {
            /// Reads the whole value of a record, and says in which version the record was written. A type or
            /// version that is not described is an error: what the log says would be lost without it.
            pub fn decode(r: &mut Reader<'a>) -> Result<(Self, i16), DecodeError> {
                let frame = r.uvarint()?;
                if frame != FRAME_VERSION {
                    return Err(DecodeError::Unknown(frame));
                }
                let api_key = r.uvarint()?;
                let version = i16::try_from(r.uvarint()?).map_err(|_| DecodeError::Version(i16::MAX))?;
                let record = Self::decode_content(r, api_key, version)?;
                r.finish()?;
                Ok((record, version))
            }

            /// Appends the whole value of a record in the given version of its type.
            pub fn encode(&self, out: &mut Vec<u8>, version: i16) {
                let mut w = Writer::new(out, true);
                w.uvarint(FRAME_VERSION);
                w.uvarint(self.api_key() as u32);
                w.uvarint(version as u32);
                self.encode_content(out, version);
            }
        }
    };
}

include!(concat!(env!("OUT_DIR"), "/messages.rs"));

#[cfg(test)]
mod tests {
    use super::metadata_response::MetadataResponseTopic;
    use super::*;

    #[test]
    fn a_metadata_record_has_its_frame() {
        let check = |record: MetadataRecord<'_>, version: i16, bytes: &[u8]| {
            let mut out = Vec::new();
            record.encode(&mut out, version);
            assert_eq!(out, bytes);
            assert_eq!(
                MetadataRecord::decode(&mut Reader::new(bytes, 1024)),
                Ok((record, version))
            );
        };
        let level = FeatureLevelRecord {
            name: "metadata.version",
            feature_level: 27,
        };
        check(
            MetadataRecord::FeatureLevel(level),
            0,
            b"\x01\x0c\0\x11metadata.version\0\x1b\0",
        );
        check(MetadataRecord::NoOp(NoOpRecord::default()), 0, b"\x01\x14\0\0");
        let change = PartitionChangeRecord {
            partition_id: 3,
            topic_id: Uuid([7; 16]),
            leader: 2,
            directories: Some(vec![Uuid::ZERO]),
            ..Default::default()
        };
        let id = [7; 16];
        let tags = [b"\x02\x01\x04\0\0\0\x02\x08\x11\x02".as_slice(), &[0; 16]].concat();
        let bytes = [b"\x01\x05\x02\0\0\0\x03".as_slice(), &id, &tags].concat();
        check(MetadataRecord::PartitionChange(change), 2, &bytes);
    }

    #[test]
    fn a_record_that_is_not_known_is_an_error() {
        let check = |bytes: &[u8], expected: DecodeError| {
            assert_eq!(
                MetadataRecord::decode(&mut Reader::new(bytes, 1024)),
                Err(expected)
            );
        };
        check(b"\x02\x14\0\0", DecodeError::Unknown(2));
        check(b"\x01\x06\0\0", DecodeError::Unknown(6));
        check(b"\x01\x14\x01\0", DecodeError::Version(1));
        check(b"\x01\x14\0\0x", DecodeError::Trailing(1));
        check(b"\x01\x14\0", DecodeError::Truncated);
        check(b"", DecodeError::Truncated);
    }

    #[test]
    fn null_is_refused_where_a_version_has_none() {
        let check = |version: i16, expected: Result<bool, DecodeError>| {
            let request = MetadataRequest::decode(&mut Reader::new(b"\xff\xff\xff\xff", 0), version);
            assert_eq!(request.map(|request| request.topics.is_none()), expected);
        };
        check(0, Err(DecodeError::Null));
        check(1, Ok(true));
        check(3, Ok(true));
        check(4, Err(DecodeError::Truncated));
    }

    #[test]
    fn defaults_are_those_of_the_description() {
        let request = MetadataRequest::decode(&mut Reader::new(b"\0\0\0\0", 0), 0).unwrap();
        assert!(request.allow_auto_topic_creation);
        assert_eq!(FetchRequest::default().max_bytes, i32::MAX);
        assert_eq!(FetchRequest::default().replica_id, -1);
        assert_eq!(FetchRequest::default().cluster_id, None);
        assert_eq!(PartitionChangeRecord::default().leader, -2);
        assert_eq!(RegisterBrokerRecord::default().rack, Some(""));
    }

    #[test]
    fn what_a_version_lacks_is_dropped() {
        let response = MetadataResponse {
            throttle_time_ms: 5,
            topics: vec![MetadataResponseTopic {
                name: None,
                ..Default::default()
            }],
            ..Default::default()
        };
        let mut out = Vec::new();
        response.encode(&mut out, 0);
        // No brokers; one topic: error code, an empty name where null is not allowed, no partitions.
        assert_eq!(out, b"\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0");
    }
}
