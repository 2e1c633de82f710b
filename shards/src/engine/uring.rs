//! The engine over glommio's scheduler and one io_uring of our own per shard (bodies follow).

use std::future::Future;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;

use crate::buffers::Buffer;
use crate::engine::Body;
use crate::fs::{Commit, Entry, OpenOptions, Space};
use crate::priorities::Priority;
use crate::shard::{Config, ShardId, StartError};
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

/// A shard's engine.
pub(crate) struct Engine;

/// Makes a shard look into its inbox.
#[derive(Clone)]
pub(crate) struct Kick;

impl Kick {
    pub fn kick(&self) {
        todo!()
    }
}

/// See [`crate::shard::run`].
pub(crate) fn run<F, Fut>(_config: Config, _main: F) -> Result<(), StartError>
where
    F: Fn(ShardId) -> Fut + Send + Clone + 'static,
    Fut: Future<Output = ()> + 'static,
{
    todo!()
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
    pub async fn open(_engine: &Rc<Engine>, _path: &Path, _options: OpenOptions) -> io::Result<File> {
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
    pub fn bind(_engine: &Rc<Engine>, _address: SocketAddr) -> io::Result<TcpListener> {
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
    pub fn from_accepted(_engine: &Rc<Engine>, _accepted: Accepted) -> io::Result<TcpStream> {
        todo!()
    }

    pub async fn connect(_engine: &Rc<Engine>, _address: SocketAddr) -> io::Result<TcpStream> {
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
