//! What stands around every request and response: four bytes of length, then a header.
//!
//! ```text
//! request   length i32 | API key i16 | version i16 | correlation id i32 | client id i16 + text | tags ... body
//! response  length i32 | correlation id i32 | tags ... body
//! ```
//!
//! What a newcomer would get wrong: the length does not count itself; the client id keeps its two-byte length
//! even where all else is compact; and the tags are there only in flexible versions of the message, in
//! responses of ApiVersions never.

use std::fmt;

use crate::api::ApiKey;
use crate::wire::{DecodeError, Reader, Writer};

/// The bytes of the length before a frame.
pub const LENGTH_BYTES: usize = 4;

/// A length that no frame may have; the connection is closed.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum FrameError {
    /// Less than nothing.
    Negative(i32),
    /// More than `socket.request.max.bytes`.
    TooLarge {
        /// What the peer announced.
        length: usize,
        /// What is allowed.
        max: usize,
    },
    /// Of our own making, and more than the length field can say: 2 GiB.
    TooLong(usize),
}

impl fmt::Display for FrameError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::Negative(length) => write!(out, "a frame of {length} bytes"),
            FrameError::TooLarge { length, max } => {
                write!(out, "a frame of {length} bytes, more than the {max} allowed")
            }
            FrameError::TooLong(length) => {
                write!(out, "a frame of {length} bytes, more than any frame can have")
            }
        }
    }
}

impl std::error::Error for FrameError {}

/// The length of the frame that follows `prefix`, at most `max` bytes (`NetworkReceive`).
pub fn frame_length(prefix: [u8; LENGTH_BYTES], max: usize) -> Result<usize, FrameError> {
    let length = i32::from_be_bytes(prefix);
    match usize::try_from(length) {
        Err(_) => Err(FrameError::Negative(length)),
        Ok(length) if length > max => Err(FrameError::TooLarge { length, max }),
        Ok(length) => Ok(length),
    }
}

/// The header of a request (`RequestHeader.json`, versions 1 and 2).
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct RequestHeader<'a> {
    /// As sent: there may be no such API.
    pub api_key: i16,
    /// As sent: the API may have no such version.
    pub api_version: i16,
    /// Goes back in the response.
    pub correlation_id: i32,
    /// Who the client says it is.
    pub client_id: Option<&'a str>,
}

impl<'a> RequestHeader<'a> {
    /// Reads the header; the body follows it. For an API that is not known the header has no tags, and nothing
    /// behind it means anything.
    pub fn decode(reader: &mut Reader<'a>) -> Result<RequestHeader<'a>, DecodeError> {
        reader.set_flexible(false);
        let header = RequestHeader {
            api_key: reader.i16()?,
            api_version: reader.i16()?,
            correlation_id: reader.i32()?,
            client_id: reader.nullable_str()?,
        };
        reader.set_flexible(header.is_flexible());
        reader.skip_tags()?;
        Ok(header)
    }

    /// Appends the header.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out, false);
        writer.i16(self.api_key);
        writer.i16(self.api_version);
        writer.i32(self.correlation_id);
        writer.nullable_str(self.client_id);
        Writer::new(out, self.is_flexible()).tags(0);
    }

    fn is_flexible(&self) -> bool {
        ApiKey::try_from(self.api_key).is_ok_and(|api| api.has_flexible_header(self.api_version))
    }
}

/// The header of a response (`ResponseHeader.json`, versions 0 and 1).
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct ResponseHeader {
    /// That of the request.
    pub correlation_id: i32,
}

impl ResponseHeader {
    /// Reads the header of a response to the given API and version.
    pub fn decode(reader: &mut Reader<'_>, api: ApiKey, version: i16) -> Result<ResponseHeader, DecodeError> {
        let correlation_id = reader.i32()?;
        reader.set_flexible(api.has_flexible_response_header(version));
        reader.skip_tags()?;
        Ok(ResponseHeader { correlation_id })
    }

    /// Appends the header of a response to the given API and version.
    pub fn encode(&self, out: &mut Vec<u8>, api: ApiKey, version: i16) {
        let mut writer = Writer::new(out, api.has_flexible_response_header(version));
        writer.i32(self.correlation_id);
        writer.tags(0);
    }
}

/// Leaves room for the length of a frame; [`end`] fills it in once the rest is there.
pub fn begin(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0; LENGTH_BYTES]);
}

/// Writes the length of the frame that begins at the front of `out` and goes on for `bytes_after` bytes
/// which are sent from elsewhere, such as record batches.
///
/// # Errors
/// [`FrameError::TooLong`] from 2 GiB on: there is no such frame, and the connection must be closed.
///
/// # Panics
/// If `out` does not begin with a frame.
pub fn end(out: &mut [u8], bytes_after: usize) -> Result<(), FrameError> {
    let (length, rest) = out
        .split_first_chunk_mut::<LENGTH_BYTES>()
        .expect("the frame was begun");
    let bytes = rest.len().saturating_add(bytes_after);
    *length = i32::try_from(bytes)
        .map_err(|_| FrameError::TooLong(bytes))?
        .to_be_bytes();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_bounded() {
        let check = |prefix: i32, expected: Result<usize, FrameError>| {
            assert_eq!(frame_length(prefix.to_be_bytes(), 100), expected);
        };
        check(0, Ok(0));
        check(100, Ok(100));
        check(
            101,
            Err(FrameError::TooLarge {
                length: 101,
                max: 100,
            }),
        );
        check(
            i32::MAX,
            Err(FrameError::TooLarge {
                length: i32::MAX as usize,
                max: 100,
            }),
        );
        check(-1, Err(FrameError::Negative(-1)));
    }

    #[test]
    fn request_headers_have_tags_in_flexible_versions_only() {
        let check = |bytes: &[u8], expected: Result<RequestHeader<'_>, DecodeError>, left: usize| {
            let mut reader = Reader::new(bytes, 0);
            assert_eq!(RequestHeader::decode(&mut reader), expected);
            if let Ok(header) = expected {
                assert_eq!(reader.rest().len(), left);
                let mut out = Vec::new();
                header.encode(&mut out);
                assert_eq!(out, bytes[..bytes.len() - left]);
            }
        };
        let header = |api_key, api_version, client_id| RequestHeader {
            api_key,
            api_version,
            correlation_id: 7,
            client_id,
        };
        check(
            b"\0\x12\0\x02\0\0\0\x07\0\x02me",
            Ok(header(18, 2, Some("me"))),
            0,
        );
        check(b"\0\x12\0\x02\0\0\0\x07\xff\xffrest", Ok(header(18, 2, None)), 4);
        check(
            b"\0\x12\0\x03\0\0\0\x07\0\x02me\0",
            Ok(header(18, 3, Some("me"))),
            0,
        );
        check(b"\0\x12\0\x03\0\0\0\x07\0\x02me", Err(DecodeError::Truncated), 0);
        // A version far beyond ours still has the header of a flexible one, so that it can be answered.
        check(
            b"\0\x12\x7f\xff\0\0\0\x07\xff\xff\0body",
            Ok(header(18, i16::MAX, None)),
            4,
        );
        check(b"\0\x63\0\0\0\0\0\x07\xff\xff", Ok(header(99, 0, None)), 0);
        check(b"\0\x12\0\x02\0\0\0\x07\0\x09me", Err(DecodeError::Length), 0);
        check(b"\0\x12", Err(DecodeError::Truncated), 0);
    }

    #[test]
    fn unknown_tags_of_a_header_are_skipped() {
        let mut reader = Reader::new(b"\0\x12\0\x03\0\0\0\x07\xff\xff\x01\x05\x02abbody", 0);
        assert!(RequestHeader::decode(&mut reader).is_ok());
        assert_eq!(reader.rest(), b"body");
    }

    #[test]
    fn a_response_is_framed() {
        let check = |api: ApiKey, version: i16, bytes_after: usize, expected: &[u8]| {
            let mut out = Vec::new();
            begin(&mut out);
            ResponseHeader { correlation_id: 9 }.encode(&mut out, api, version);
            end(&mut out, bytes_after).unwrap();
            assert_eq!(out, expected);
            let mut reader = Reader::new(&out[LENGTH_BYTES..], 0);
            assert_eq!(
                ResponseHeader::decode(&mut reader, api, version),
                Ok(ResponseHeader { correlation_id: 9 })
            );
            assert_eq!(reader.finish(), Ok(()));
        };
        check(ApiKey::Metadata, 8, 0, b"\0\0\0\x04\0\0\0\x09");
        check(ApiKey::Metadata, 9, 0, b"\0\0\0\x05\0\0\0\x09\0");
        check(ApiKey::ApiVersions, 3, 0, b"\0\0\0\x04\0\0\0\x09");
        check(ApiKey::Fetch, 12, 256, b"\0\0\x01\x05\0\0\0\x09\0");
    }

    #[test]
    fn the_longest_frame_is_below_2_gib() {
        let check = |bytes_after: usize, expected: Result<[u8; 4], FrameError>| {
            let mut out = vec![0; LENGTH_BYTES + 2];
            let ended = end(&mut out, bytes_after).map(|()| [out[0], out[1], out[2], out[3]]);
            assert_eq!(ended, expected);
        };
        let most = i32::MAX as usize;
        check(0, Ok([0, 0, 0, 2]));
        check(most - 2, Ok([0x7f, 0xff, 0xff, 0xff]));
        check(most - 1, Err(FrameError::TooLong(most + 1)));
        check(usize::MAX, Err(FrameError::TooLong(usize::MAX)));
    }
}
