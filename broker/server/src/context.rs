//! What a handler is given: the request it answers and the place it runs at.
//!
//! What a newcomer would get wrong: a [`Request`] holds the frame, so it keeps the whole receive buffer alive. A
//! handler decodes and starts from it, and takes only the small [`ReplyTo`] into the future that answers.

use std::rc::Rc;

use bytes::Bytes;
use protocol::api::ApiKey;
use protocol::frame::{self, FrameError, ResponseHeader};
use protocol::wire::{DecodeError, Reader};

use crate::connection::Connection;
use crate::pipeline::{Answer, Started};
use crate::shard::Node;

/// Memory that the decoded form of a request may take: some times its bytes, and enough for any small one.
const DECODED_BYTES_PER_BYTE: usize = 32;
const DECODED_BYTES_LEAST: usize = 64 << 10;
const DECODED_BYTES_MOST: usize = 64 << 20;

/// Where a request came from and what serves it.
pub struct Context {
    /// The state of this shard.
    pub node: Rc<Node>,
    /// The connection that asks.
    pub connection: Rc<Connection>,
}

impl Context {
    /// The name of the listener that the client came through.
    pub fn listener(&self) -> &str {
        let listeners = &self.node.settings().listeners.broker;
        listeners
            .get(self.connection.listener)
            .map_or("", |listener| &listener.name)
    }
}

/// A request whose header was read.
#[derive(Debug)]
pub struct Request {
    /// Whom to answer.
    pub reply_to: ReplyTo,
    /// Who the client says it is; empty when it does not.
    pub client_id: String,
    /// The whole frame.
    pub frame: Bytes,
    /// Where in the frame the body begins.
    pub body: usize,
}

/// What the response must repeat, and how it is encoded.
#[derive(Copy, Clone, Debug)]
pub struct ReplyTo {
    /// The API.
    pub api: ApiKey,
    /// The version of the request, and so of the response.
    pub version: i16,
    /// Chosen by the client.
    pub correlation_id: i32,
}

impl Request {
    /// Reads the body with the `decode` of its message. As in Kafka, bytes behind the message are ignored.
    ///
    /// # Errors
    /// [`DecodeError`]: the connection is to be closed.
    pub fn decode<'a, M>(
        &'a self,
        decode: fn(&mut Reader<'a>, i16) -> Result<M, DecodeError>,
    ) -> Result<M, DecodeError> {
        let body = self.frame.get(self.body..).unwrap_or_default();
        let budget = (body.len() * DECODED_BYTES_PER_BYTE).clamp(DECODED_BYTES_LEAST, DECODED_BYTES_MOST);
        decode(&mut Reader::new(body, budget), self.reply_to.version)
    }
}

impl ReplyTo {
    /// The response whose body `encode` appends in the version given to it; the end of the connection should it be longer
    /// than a frame can be.
    pub fn answer(self, encode: impl FnOnce(&mut Vec<u8>, i16)) -> Answer {
        self.answer_in(self.version, encode)
    }

    /// The same in another version than that of the request, which only ApiVersions needs.
    pub fn answer_in(self, version: i16, encode: impl FnOnce(&mut Vec<u8>, i16)) -> Answer {
        let mut out = self.begin(256);
        encode(&mut out, version);
        let ended = frame::end(&mut out, 0);
        self.send(ended.map(|()| vec![Bytes::from(out)]))
    }

    /// Sends a response frame in pieces; what is no frame ends the connection.
    pub fn send(self, frame: Result<Vec<Bytes>, FrameError>) -> Answer {
        match frame {
            Ok(pieces) => Answer::Send(pieces),
            Err(error) => Answer::Close(format!("the answer to {} would be {error}", self.api)),
        }
    }

    /// The start of a response frame: length field and header, with room for `expected` bytes in all.
    pub fn begin(self, expected: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(expected);
        frame::begin(&mut out);
        let header = ResponseHeader {
            correlation_id: self.correlation_id,
        };
        header.encode(&mut out, self.api, self.version);
        out
    }

    /// [`ReplyTo::answer`] of a handler that has nothing to wait for.
    pub fn now(self, encode: impl FnOnce(&mut Vec<u8>, i16)) -> Started {
        Started::Now(self.answer(encode))
    }
}
