//! One non-blocking connection: bytes that wait to be sent, frames that arrived, and when each answer was due.
//!
//! Answers come in the order of the requests (Kafka promises it), so a queue of due times is all the bookkeeping.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

/// The largest answer that is believed.
const FRAME_BYTES_MAX: usize = 128 << 20;

/// A connection and what is under way on it.
pub struct Connection {
    stream: TcpStream,
    token: Token,
    outgoing: Vec<u8>,
    sent: usize,
    incoming: Vec<u8>,
    filled: usize,
    waiting: VecDeque<Instant>,
    wants_write: bool,
}

impl Connection {
    /// Connects, without Nagle's delay, and registers itself under `token`.
    ///
    /// # Errors
    /// What the socket says.
    pub fn open(address: SocketAddr, registry: &Registry, token: Token) -> Result<Connection> {
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        registry.register(&mut stream, token, Interest::READABLE)?;
        Ok(Connection {
            stream,
            token,
            outgoing: Vec::new(),
            sent: 0,
            incoming: vec![0; 64 << 10],
            filled: 0,
            waiting: VecDeque::new(),
            wants_write: false,
        })
    }

    /// Requests that have no answer yet.
    pub fn in_flight(&self) -> usize {
        self.waiting.len()
    }

    /// Queues a whole frame that `fill` appends; `due` is when its latency starts to count. A request without an
    /// answer (acks=0) passes none.
    pub fn queue(&mut self, due: Option<Instant>, fill: impl FnOnce(&mut Vec<u8>)) {
        fill(&mut self.outgoing);
        self.waiting.extend(due);
    }

    /// Sends what it can; asks to be told when there is room for the rest.
    ///
    /// # Errors
    /// What the socket says.
    pub fn flush(&mut self, registry: &Registry) -> Result<()> {
        while self.sent < self.outgoing.len() {
            match self.stream.write(&self.outgoing[self.sent..]) {
                Ok(0) => bail!("the broker closed the connection"),
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        if self.sent == self.outgoing.len() {
            self.outgoing.clear();
            self.sent = 0;
        }
        let wants_write = !self.outgoing.is_empty();
        if wants_write != self.wants_write {
            let interest = if wants_write {
                Interest::READABLE | Interest::WRITABLE
            } else {
                Interest::READABLE
            };
            registry.reregister(&mut self.stream, self.token, interest)?;
            self.wants_write = wants_write;
        }
        Ok(())
    }

    /// Reads all there is and hands every whole answer (without its length) to `answer`, with the time it was due.
    ///
    /// # Errors
    /// The broker closed the connection, an answer nobody waits for, a length beyond belief, or what `answer` says.
    pub fn receive(&mut self, mut answer: impl FnMut(Instant, &[u8]) -> Result<()>) -> Result<()> {
        loop {
            if self.filled == self.incoming.len() {
                let larger = self.incoming.len() * 2;
                self.incoming.resize(larger, 0);
            }
            match self.stream.read(&mut self.incoming[self.filled..]) {
                Ok(0) => bail!("the broker closed the connection"),
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            }
            self.cut(&mut answer)?;
        }
        Ok(())
    }

    fn cut(&mut self, answer: &mut impl FnMut(Instant, &[u8]) -> Result<()>) -> Result<()> {
        let mut at = 0;
        while let Some(prefix) = self.incoming[at..self.filled].first_chunk::<4>() {
            let length = u32::from_be_bytes(*prefix) as usize;
            ensure!(length <= FRAME_BYTES_MAX, "an answer of {length} bytes");
            let Some(frame) = self.incoming[at + 4..self.filled].get(..length) else {
                break;
            };
            let Some(due) = self.waiting.pop_front() else {
                bail!("an answer to no request")
            };
            answer(due, frame)?;
            at += 4 + length;
        }
        self.incoming.copy_within(at..self.filled, 0);
        self.filled -= at;
        Ok(())
    }
}
