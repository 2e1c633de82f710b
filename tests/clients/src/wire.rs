//! A client without opinions: it sends any bytes as a request and gives back what comes.
//!
//! Client libraries speak one version of each API, the newest both sides know. This speaks them all, and
//! things that no library would say.

use anyhow::{Context, Result, ensure};
use protocol::ApiKey;
use protocol::frame::{RequestHeader, ResponseHeader};
use protocol::wire::Reader;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// What decoding an answer may take of memory.
pub const BUDGET: usize = 64 << 20;

/// One connection.
pub struct Wire {
    stream: TcpStream,
    correlation_id: i32,
}

impl Wire {
    /// To the broker at `bootstrap` (`host:port`).
    pub fn connect(bootstrap: &str) -> Result<Wire> {
        let stream = TcpStream::connect(bootstrap)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.set_nodelay(true)?;
        Ok(Wire {
            stream,
            correlation_id: 0,
        })
    }

    /// Sends a request; gives its correlation id.
    pub fn send(&mut self, api_key: i16, api_version: i16, body: &[u8]) -> Result<i32> {
        self.correlation_id += 1;
        let correlation_id = self.correlation_id;
        let mut frame = Vec::new();
        RequestHeader {
            api_key,
            api_version,
            correlation_id,
            client_id: Some("wire"),
        }
        .encode(&mut frame);
        frame.extend(body);
        let length = i32::try_from(frame.len())?;
        self.send_bytes(&[&length.to_be_bytes(), frame.as_slice()].concat())?;
        Ok(correlation_id)
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// The next frame, without its length.
    pub fn receive(&mut self) -> Result<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).context("no answer")?;
        let length = protocol::frame::frame_length(length, BUDGET)?;
        let mut frame = vec![0; length];
        self.stream.read_exact(&mut frame)?;
        Ok(frame)
    }

    /// Sends a request and gives the body of its response.
    pub fn call(&mut self, api: ApiKey, version: i16, body: &[u8]) -> Result<Vec<u8>> {
        let correlation_id = self.send(api as i16, version, body)?;
        let frame = self.receive()?;
        let mut reader = Reader::new(&frame, BUDGET);
        let header = ResponseHeader::decode(&mut reader, api, version)?;
        ensure!(
            header.correlation_id == correlation_id,
            "an answer to another question: {header:?}"
        );
        Ok(reader.rest().to_vec())
    }

    /// Whether the broker closes the connection, without a word.
    pub fn is_closed(&mut self) -> Result<bool> {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(0) => Ok(true),
            Ok(_) => Ok(false),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}
