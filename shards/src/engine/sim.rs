//! The seeded engine: skeleton of what it supplies.
//!
//! What it can use as it is: `shard::Core::new` (with `Lanes::new`/`Port::new`, `Budget::new`, `Memory::from_heap`,
//! `Random::from_seed`), `shard::enter` around every poll and every drain, `Core::timers` (`next`, `fire`),
//! `mesh::drain_from` (one lane at a time, so lanes can be delayed against each other), `Port::has_work`,
//! `Memory::reclaim`/`has_work` (before a shard's turn), `Core::clear` after its tasks are dropped.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::path::Path;

use bytes::Bytes;

use crate::buffers::Buffer;
use crate::engine::Body;
use crate::fs::{Commit, Entry, OpenOptions, Space};
use crate::priorities::Priority;
use crate::side::Signal;

/// An open file.
pub(crate) struct File;
/// A held lock.
pub(crate) struct Lock;
/// A listening socket.
pub(crate) struct TcpListener;
/// A socket between shards; must be Send.
pub(crate) struct Accepted;
/// A connected socket.
pub(crate) struct TcpStream;
/// Signals of the process.
pub(crate) struct Signals;

/// A shard's engine; Clone is cheap (an `Rc` inside).
#[derive(Clone)]
pub(crate) struct Engine;

/// Makes a shard look into its inbox; Send + Sync though everything runs in one thread.
#[derive(Clone)]
pub(crate) struct Kick;

impl Kick {
    /// Marks the shard as having something in its inbox.
    pub fn kick(&self) {
        todo!()
    }
}

impl Engine {
    pub fn spawn(&self, _priority: Priority, _body: Body) {
        todo!()
    }

    pub fn before_yield(&self) {
        todo!()
    }

    pub fn now(&self) -> u64 {
        todo!()
    }

    pub fn wall_ms(&self) -> i64 {
        todo!()
    }

    pub fn missed_wakes(&self) -> u64 {
        todo!()
    }

    pub async fn create_dir(&self, _path: &Path) -> io::Result<()> {
        todo!()
    }

    pub async fn rename(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        todo!()
    }

    pub async fn remove_file(&self, _path: &Path) -> io::Result<()> {
        todo!()
    }

    pub async fn remove_dir(&self, _path: &Path) -> io::Result<()> {
        todo!()
    }

    pub async fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        todo!()
    }

    pub async fn read_dir(&self, _path: &Path) -> io::Result<Vec<Entry>> {
        todo!()
    }

    pub async fn metadata(&self, _path: &Path) -> io::Result<Entry> {
        todo!()
    }

    pub async fn space(&self, _path: &Path) -> io::Result<Space> {
        todo!()
    }

    pub async fn lock(&self, _path: &Path) -> io::Result<Lock> {
        todo!()
    }

    pub fn signals(&self) -> io::Result<Signals> {
        todo!()
    }
}

impl File {
    pub async fn open(_engine: &Engine, _path: &Path, _options: OpenOptions) -> io::Result<File> {
        todo!()
    }

    pub async fn read_at(&self, _position: u64, _buffer: Buffer) -> (io::Result<usize>, Buffer) {
        todo!()
    }

    pub async fn write_at(&self, _position: u64, _bytes: Bytes) -> io::Result<usize> {
        todo!()
    }

    pub async fn write_and_sync_at(&self, _position: u64, _bytes: Bytes) -> Commit {
        todo!()
    }

    pub async fn sync(&self, _data_only: bool) -> io::Result<()> {
        todo!()
    }

    pub async fn allocate(&self, _position: u64, _length: u64) -> io::Result<()> {
        todo!()
    }

    pub async fn set_len(&self, _length: u64) -> io::Result<()> {
        todo!()
    }

    pub async fn len(&self) -> io::Result<u64> {
        todo!()
    }

    pub async fn close(self) -> io::Result<()> {
        todo!()
    }
}

impl TcpListener {
    pub fn bind(_engine: &Engine, _address: SocketAddr) -> io::Result<TcpListener> {
        todo!()
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        todo!()
    }

    pub async fn accept(&self) -> io::Result<Accepted> {
        todo!()
    }

    pub fn close(&self) {
        todo!()
    }
}

impl Accepted {
    pub fn peer_addr(&self) -> SocketAddr {
        todo!()
    }
}

impl TcpStream {
    pub fn from_accepted(_engine: &Engine, _accepted: Accepted) -> io::Result<TcpStream> {
        todo!()
    }

    pub async fn connect(_engine: &Engine, _address: SocketAddr) -> io::Result<TcpStream> {
        todo!()
    }

    pub fn peer_addr(&self) -> SocketAddr {
        todo!()
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        todo!()
    }

    pub async fn readable(&self) -> io::Result<()> {
        todo!()
    }

    pub async fn read(&self, _buffer: Buffer) -> (io::Result<usize>, Buffer) {
        todo!()
    }

    pub async fn write_all(&self, _pieces: Vec<Bytes>) -> io::Result<()> {
        todo!()
    }

    pub fn shutdown(&self, _how: Shutdown) -> io::Result<()> {
        todo!()
    }
}

impl Signals {
    pub async fn next(&self) -> Signal {
        todo!()
    }
}
