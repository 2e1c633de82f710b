//! The engines: everything above matches on one of these enums at the leaf and nowhere else.
//!
//! An engine runs tasks, tells the time, kicks shards that sleep, and does files and sockets. Tasks' handles,
//! waiting, timers, messages between shards, budgets and buffers are common to all engines.
//!
//! One more engine is a module below this one and an arm of each `match` in here, which the compiler asks for. It is
//! chosen in [`run`], and says what it needs of the host in [`crate::checks::engine`]; nothing above this crate names
//! an engine. It gives
//!
//! - the types of the table below ([`Kick`] and [`Accepted`] go between threads), with the methods that the façade
//!   calls; a call that takes a buffer gives it back, and goes on when its future is dropped;
//! - for each shard a [`Core`], entered ([`shard::enter`]) around every poll and every drop of a task;
//! - in every turn: `core.timers.fire`, `core.memory.reclaim` and `mesh::drain`. It may wait when no task is runnable
//!   and none of the three has work, until the next timer or a [`Kick`], of which none may get lost;
//! - an end: when all mains have returned, tasks are dropped without being run, then `core.clear`.
//!
//! `tests/suite.rs` runs on every engine, with a few lines that say how to start it.

use std::future::Future;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::path::Path;
use std::pin::Pin;

use bytes::Bytes;

use crate::buffers::Buffer;
use crate::fs::{Commit, Entry, OpenOptions, Space};
use crate::priorities::Priority;
use crate::shard::{self, Config, Core, ShardId, StartError};
use crate::side::Signal;

#[cfg(feature = "simulation")]
pub mod sim;
pub(crate) mod uring;

/// A task as the engines see it.
pub(crate) type Body = Pin<Box<dyn Future<Output = ()>>>;

macro_rules! engines {
    ($($(#[$doc:meta])* $name:ident = $uring:ty, $sim:ty;)*) => { $(
        $(#[$doc])*
        pub(crate) enum $name {
            Uring($uring),
            #[cfg(feature = "simulation")]
            Sim($sim),
        }
    )* };
}

engines! {
    /// A shard's engine.
    #[derive(Clone)]
    Engine = std::rc::Rc<uring::Engine>, sim::Engine;
    /// Makes a shard look into its inbox, from any thread.
    #[derive(Clone)]
    Kick = uring::Kick, sim::Kick;
    /// An open file.
    File = uring::File, sim::File;
    /// A held lock.
    #[allow(dead_code, reason = "held for its Drop")]
    Lock = uring::Lock, sim::Lock;
    /// A listening socket.
    TcpListener = uring::TcpListener, sim::TcpListener;
    /// A socket between shards.
    Accepted = uring::Accepted, sim::Accepted;
    /// A connected socket.
    TcpStream = uring::TcpStream, sim::TcpStream;
    /// Signals of the process.
    Signals = uring::Signals, sim::Signals;
}

/// Runs the shards on the engine for this host; see [`crate::shard::run`].
pub(crate) fn run<F, Fut>(config: Config, main: F) -> Result<(), StartError>
where
    F: Fn(ShardId) -> Fut + Send + Clone + 'static,
    Fut: Future<Output = ()> + 'static,
{
    uring::run(config, main)
}

/// Matches on the engine: `leaf!(Type, self, inner => expression)`.
macro_rules! leaf {
    ($type:ident, $value:expr, $inner:ident => $body:expr) => {
        match $value {
            $type::Uring($inner) => $body,
            #[cfg(feature = "simulation")]
            $type::Sim($inner) => $body,
        }
    };
}

/// Makes a value by the current shard's engine: `make!(Type, engine => uring expression, sim expression)`.
macro_rules! make {
    ($type:ident, $engine:ident => $uring:expr, $sim:expr) => {
        match shard::with(|core| core.engine.clone()) {
            Engine::Uring($engine) => $uring.map($type::Uring),
            #[cfg(feature = "simulation")]
            Engine::Sim($engine) => $sim.map($type::Sim),
        }
    };
}

impl Engine {
    /// Queues a task; never polls it inside the call.
    pub fn spawn(&self, priority: Priority, body: Body) {
        leaf!(Engine, self, engine => engine.spawn(priority, body));
    }

    /// The running task is about to yield.
    pub fn before_yield(&self) {
        leaf!(Engine, self, engine => engine.before_yield());
    }

    /// Monotonic nanoseconds.
    pub fn now(&self) -> u64 {
        leaf!(Engine, self, engine => engine.now())
    }

    /// Milliseconds since 1970.
    pub fn wall_ms(&self) -> i64 {
        leaf!(Engine, self, engine => engine.wall_ms())
    }

    /// Which machine of the simulated ones this is.
    pub fn node(&self) -> Option<usize> {
        match self {
            Engine::Uring(_) => None,
            #[cfg(feature = "simulation")]
            Engine::Sim(engine) => Some(engine.node),
        }
    }

    /// See [`crate::Shard::missed_wakes`].
    pub fn missed_wakes(&self) -> u64 {
        leaf!(Engine, self, engine => engine.missed_wakes())
    }

    /// See [`crate::buffers::touch`].
    pub async fn touch_memory(&self, core: &Core) {
        match self {
            Engine::Uring(engine) => engine.touch_memory(core).await,
            // Its buffers come from the heap.
            #[cfg(feature = "simulation")]
            Engine::Sim(_) => {}
        }
    }

    pub async fn create_dir(&self, path: &Path) -> io::Result<()> {
        leaf!(Engine, self, engine => engine.create_dir(path).await)
    }

    pub async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        leaf!(Engine, self, engine => engine.rename(from, to).await)
    }

    pub async fn remove_file(&self, path: &Path) -> io::Result<()> {
        leaf!(Engine, self, engine => engine.remove_file(path).await)
    }

    pub async fn remove_dir(&self, path: &Path) -> io::Result<()> {
        leaf!(Engine, self, engine => engine.remove_dir(path).await)
    }

    pub async fn sync_dir(&self, path: &Path) -> io::Result<()> {
        leaf!(Engine, self, engine => engine.sync_dir(path).await)
    }

    /// In any order; the façade sorts.
    pub async fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        leaf!(Engine, self, engine => engine.read_dir(path).await)
    }

    /// Of one name; `Entry::name` is left empty.
    pub async fn metadata(&self, path: &Path) -> io::Result<Entry> {
        leaf!(Engine, self, engine => engine.metadata(path).await)
    }

    pub async fn space(&self, path: &Path) -> io::Result<Space> {
        leaf!(Engine, self, engine => engine.space(path).await)
    }

    pub async fn lock(&self, path: &Path) -> io::Result<Lock> {
        make!(Lock, engine => engine.lock(path).await, engine.lock(path).await)
    }
}

impl Kick {
    /// Cheap when the shard is awake.
    pub fn kick(&self) {
        leaf!(Kick, self, kick => kick.kick());
    }
}

impl File {
    pub async fn open(path: &Path, options: OpenOptions) -> io::Result<File> {
        make!(File, engine => uring::File::open(&engine, path, options).await,
            sim::File::open(&engine, path, options).await)
    }

    pub async fn read_at(&self, position: u64, buffer: Buffer) -> (io::Result<usize>, Buffer) {
        leaf!(File, self, file => file.read_at(position, buffer).await)
    }

    pub async fn write_at(&self, position: u64, bytes: Bytes) -> io::Result<usize> {
        leaf!(File, self, file => file.write_at(position, bytes).await)
    }

    pub async fn write_and_sync_at(&self, position: u64, bytes: Bytes) -> Commit {
        leaf!(File, self, file => file.write_and_sync_at(position, bytes).await)
    }

    /// fdatasync or fsync.
    pub async fn sync(&self, data_only: bool) -> io::Result<()> {
        leaf!(File, self, file => file.sync(data_only).await)
    }

    pub async fn allocate(&self, position: u64, length: u64) -> io::Result<()> {
        leaf!(File, self, file => file.allocate(position, length).await)
    }

    pub async fn set_len(&self, length: u64) -> io::Result<()> {
        leaf!(File, self, file => file.set_len(length).await)
    }

    pub async fn len(&self) -> io::Result<u64> {
        leaf!(File, self, file => file.len().await)
    }

    pub async fn close(self) -> io::Result<()> {
        leaf!(File, self, file => file.close().await)
    }
}

impl TcpListener {
    pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
        make!(TcpListener, engine => uring::TcpListener::bind(&engine, address),
            sim::TcpListener::bind(&engine, address))
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        leaf!(TcpListener, self, listener => listener.local_addr())
    }

    /// The simulated network has only one kind.
    pub fn set_congestion(&self, name: &str) -> io::Result<()> {
        match self {
            TcpListener::Uring(listener) => listener.set_congestion(name),
            #[cfg(feature = "simulation")]
            TcpListener::Sim(_) => Ok(()),
        }
    }

    pub async fn accept(&self) -> io::Result<Accepted> {
        match self {
            TcpListener::Uring(listener) => listener.accept().await.map(Accepted::Uring),
            #[cfg(feature = "simulation")]
            TcpListener::Sim(listener) => listener.accept().await.map(Accepted::Sim),
        }
    }

    pub fn close(&self) {
        leaf!(TcpListener, self, listener => listener.close());
    }
}

impl Accepted {
    pub fn peer_addr(&self) -> SocketAddr {
        leaf!(Accepted, self, accepted => accepted.peer_addr())
    }
}

impl TcpStream {
    pub fn from_accepted(accepted: Accepted) -> io::Result<TcpStream> {
        match (accepted, shard::with(|core| core.engine.clone())) {
            (Accepted::Uring(accepted), Engine::Uring(engine)) => {
                uring::TcpStream::from_accepted(&engine, accepted).map(TcpStream::Uring)
            }
            #[cfg(feature = "simulation")]
            (Accepted::Sim(accepted), Engine::Sim(engine)) => {
                sim::TcpStream::from_accepted(&engine, accepted).map(TcpStream::Sim)
            }
            #[cfg(feature = "simulation")]
            _ => panic!("a socket of one engine on a shard of another"),
        }
    }

    pub async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
        make!(TcpStream, engine => uring::TcpStream::connect(&engine, address).await,
            sim::TcpStream::connect(&engine, address).await)
    }

    pub fn peer_addr(&self) -> SocketAddr {
        leaf!(TcpStream, self, stream => stream.peer_addr())
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        leaf!(TcpStream, self, stream => stream.local_addr())
    }

    pub async fn readable(&self) -> io::Result<()> {
        leaf!(TcpStream, self, stream => stream.readable().await)
    }

    pub async fn read(&self, buffer: Buffer) -> (io::Result<usize>, Buffer) {
        leaf!(TcpStream, self, stream => stream.read(buffer).await)
    }

    pub async fn write_all(&self, pieces: Vec<Bytes>) -> io::Result<()> {
        leaf!(TcpStream, self, stream => stream.write_all(pieces).await)
    }

    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        leaf!(TcpStream, self, stream => stream.shutdown(how))
    }
}

impl Signals {
    pub async fn next(&self) -> Signal {
        leaf!(Signals, self, signals => signals.next().await)
    }
}

/// See [`crate::side::signals`].
pub(crate) fn signals() -> io::Result<Signals> {
    make!(Signals, engine => engine.signals(), engine.signals())
}
