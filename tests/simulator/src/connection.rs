//! One client's connection to a broker: requests out, responses in, in order.
//!
//! Nothing is retried here. After any error the connection is of no more use, and whether a request that was
//! not answered took effect is unknown.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use protocol::frame::{self, RequestHeader, ResponseHeader};
use protocol::{ApiKey, DecodeError, Reader};
use shards::Bytes;
use shards::buffers::{Buffer, Purpose};
use shards::net::TcpStream;
use shards::time::timeout;

/// Longest response that is believed.
const FRAME_BYTES_MAX: usize = 64 << 20;
/// What decoding one response may allocate.
const BUDGET: usize = 64 << 20;
/// How long an answer may take, beyond which the broker counts as gone: after a power cut nobody says so.
const PATIENCE: Duration = Duration::from_millis(1500);

/// A connection with any number of requests under way.
pub struct Connection {
    stream: TcpStream,
    correlation: Cell<i32>,
    /// What was asked and not answered yet.
    asked: RefCell<VecDeque<Asked>>,
    /// Bytes that belong to no whole response yet.
    rest: RefCell<Vec<u8>>,
}

#[derive(Clone, Copy)]
struct Asked {
    correlation: i32,
    api: ApiKey,
    version: i16,
}

/// The body of a response, to be decoded by whoever asked.
pub struct Response {
    frame: Vec<u8>,
    body: usize,
    version: i16,
}

impl Response {
    /// Decodes it; an answer that is no message of its version is an error of the broker.
    ///
    /// # Errors
    /// InvalidData.
    pub fn decode<'a, T>(
        &'a self,
        decode: impl FnOnce(&mut Reader<'a>, i16) -> Result<T, DecodeError>,
    ) -> io::Result<T> {
        let mut reader = Reader::new(self.frame.get(self.body..).unwrap_or_default(), BUDGET);
        let message = decode(&mut reader, self.version).map_err(invalid)?;
        reader.finish().map_err(invalid)?;
        Ok(message)
    }
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Of connecting; TimedOut when nobody answers.
    pub async fn open(address: SocketAddr) -> io::Result<Connection> {
        let stream = timeout(PATIENCE, TcpStream::connect(address))
            .await
            .map_err(late)??;
        Ok(Connection {
            stream,
            correlation: Cell::new(0),
            asked: RefCell::default(),
            rest: RefCell::default(),
        })
    }

    /// How many requests are not answered yet.
    pub fn under_way(&self) -> usize {
        self.asked.borrow().len()
    }

    /// Sends a request that will be answered.
    ///
    /// # Errors
    /// Of the stream.
    pub async fn send(
        &self,
        api: ApiKey,
        version: i16,
        body: impl FnOnce(&mut Vec<u8>, i16),
    ) -> io::Result<()> {
        let asked = Asked {
            correlation: self.correlation.replace(self.correlation.get() + 1),
            api,
            version,
        };
        self.asked.borrow_mut().push_back(asked);
        self.put(asked, body).await
    }

    /// Sends a request that will not be answered (Produce with acks=0).
    ///
    /// # Errors
    /// Of the stream.
    pub async fn send_unanswered(
        &self,
        api: ApiKey,
        version: i16,
        body: impl FnOnce(&mut Vec<u8>, i16),
    ) -> io::Result<()> {
        let asked = Asked {
            correlation: self.correlation.replace(self.correlation.get() + 1),
            api,
            version,
        };
        self.put(asked, body).await
    }

    async fn put(&self, asked: Asked, body: impl FnOnce(&mut Vec<u8>, i16)) -> io::Result<()> {
        let header = RequestHeader {
            api_key: asked.api as i16,
            api_version: asked.version,
            correlation_id: asked.correlation,
            client_id: Some("simulated"),
        };
        let mut out = Vec::new();
        frame::begin(&mut out);
        header.encode(&mut out);
        body(&mut out, asked.version);
        frame::end(&mut out, 0).expect("a small request");
        timeout(PATIENCE, self.stream.write_all(vec![Bytes::from(out)]))
            .await
            .map_err(late)?
    }

    /// The next response.
    ///
    /// # Errors
    /// Of the stream; TimedOut; UnexpectedEof; InvalidData when it is no answer to what was asked.
    pub async fn receive(&self) -> io::Result<Response> {
        timeout(PATIENCE, self.receive_patiently()).await.map_err(late)?
    }

    async fn receive_patiently(&self) -> io::Result<Response> {
        let frame = self.frame().await?;
        let asked = self
            .asked
            .borrow_mut()
            .pop_front()
            .ok_or_else(|| invalid("an answer to nothing"))?;
        let mut reader = Reader::new(&frame, BUDGET);
        let header = ResponseHeader::decode(&mut reader, asked.api, asked.version).map_err(invalid)?;
        if header.correlation_id != asked.correlation {
            return Err(invalid(format!(
                "answer {} to question {}",
                header.correlation_id, asked.correlation
            )));
        }
        let body = frame.len() - reader.rest().len();
        Ok(Response {
            frame,
            body,
            version: asked.version,
        })
    }

    /// The next frame, without its length.
    async fn frame(&self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(frame) = cut(&mut self.rest.borrow_mut())? {
                return Ok(frame);
            }
            let buffer = Buffer::take(Purpose::Receive, 64 << 10).await;
            let (count, buffer) = self.stream.read(buffer).await;
            if count? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.rest.borrow_mut().extend_from_slice(&buffer);
        }
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// As [`Connection::send`] and [`Connection::receive`].
    pub async fn call(
        &self,
        api: ApiKey,
        version: i16,
        body: impl FnOnce(&mut Vec<u8>, i16),
    ) -> io::Result<Response> {
        self.send(api, version, body).await?;
        self.receive().await
    }
}

/// Takes a whole frame off the front, if there is one.
fn cut(bytes: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    let Some(prefix) = bytes.first_chunk() else {
        return Ok(None);
    };
    let length =
        frame::frame_length(*prefix, FRAME_BYTES_MAX).map_err(|error| invalid(format!("{error:?}")))?;
    if bytes.len() < frame::LENGTH_BYTES + length {
        return Ok(None);
    }
    let rest = bytes.split_off(frame::LENGTH_BYTES + length);
    let mut frame = std::mem::replace(bytes, rest);
    frame.drain(..frame::LENGTH_BYTES);
    Ok(Some(frame))
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn late(_: shards::time::Elapsed) -> io::Error {
    io::ErrorKind::TimedOut.into()
}
