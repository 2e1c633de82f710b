//! Sockets as the shards see them: handles on the ends of connections that the network keeps.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, SocketAddr};

use bytes::Bytes;

use super::Engine;
use super::network::Side;
use crate::buffers::Buffer;
use crate::{engine, shard};

/// A listening socket.
pub(crate) struct TcpListener {
    engine: Engine,
    address: SocketAddr,
}

/// A connection on its way from one shard to another: numbers only, so that it can be sent.
pub(crate) struct Accepted {
    connection: u64,
    peer: SocketAddr,
    is_taken: bool,
}

/// A connected socket.
pub(crate) struct TcpStream {
    engine: Engine,
    connection: u64,
    side: Side,
    peer: SocketAddr,
}

impl TcpListener {
    pub fn bind(engine: &Engine, address: SocketAddr) -> io::Result<TcpListener> {
        let address = engine.machine.bind(engine.node, engine.process, address)?;
        Ok(TcpListener {
            engine: engine.clone(),
            address,
        })
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    pub async fn accept(&self) -> io::Result<Accepted> {
        let engine = &self.engine;
        let (connection, peer) =
            poll_fn(|cx| engine.machine.poll_accept(self.address, engine.process, cx)).await?;
        Ok(Accepted {
            connection,
            peer,
            is_taken: false,
        })
    }

    pub fn close(&self) {
        self.engine
            .machine
            .close_listener(self.address, self.engine.process);
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        self.close();
    }
}

impl Accepted {
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }
}

impl Drop for Accepted {
    fn drop(&mut self) {
        if self.is_taken {
            return;
        }
        if let Some(core) = shard::try_current()
            && let engine::Engine::Sim(engine) = &core.engine
        {
            engine.machine.close(self.connection, Side(1));
        }
    }
}

impl TcpStream {
    pub fn from_accepted(engine: &Engine, mut accepted: Accepted) -> io::Result<TcpStream> {
        accepted.is_taken = true;
        let (connection, peer) = (accepted.connection, accepted.peer);
        Ok(TcpStream {
            engine: engine.clone(),
            connection,
            side: Side(1),
            peer,
        })
    }

    pub async fn connect(engine: &Engine, address: SocketAddr) -> io::Result<TcpStream> {
        let connection = engine
            .machine
            .connect(engine.node, engine.process, address)
            .await?;
        Ok(TcpStream {
            engine: engine.clone(),
            connection,
            side: Side(0),
            peer: address,
        })
    }

    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let address = self.engine.machine.address_of(self.connection, self.side);
        address.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOTCONN))
    }

    pub async fn readable(&self) -> io::Result<()> {
        poll_fn(|cx| self.engine.machine.poll_readable(self.connection, self.side, cx)).await;
        Ok(())
    }

    pub async fn read(&self, mut buffer: Buffer) -> (io::Result<usize>, Buffer) {
        let machine = &self.engine.machine;
        let count = poll_fn(|cx| machine.poll_read(self.connection, self.side, &mut buffer, cx)).await;
        (count, buffer)
    }

    pub async fn write_all(&self, pieces: Vec<Bytes>) -> io::Result<()> {
        let machine = &self.engine.machine;
        let mut pieces = VecDeque::from(pieces);
        poll_fn(|cx| machine.poll_write(self.connection, self.side, &mut pieces, cx)).await
    }

    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.engine.machine.shutdown(self.connection, self.side, how)
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        let engine = &self.engine;
        if engine.machine.process(engine.node) == Some(engine.process) {
            engine.machine.close(self.connection, self.side);
        }
    }
}
