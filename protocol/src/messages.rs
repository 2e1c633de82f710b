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
