//! The seeded engine: every shard of every node in one thread, on simulated time, disks and networks.
//!
//! A test makes a [`World`] from a seed, adds nodes and clients, and steps. All that may vary between two
//! runs of a real cluster is chosen from the seed, and chosen unkindly; a seed that fails is replayed by running
//! it again. What a newcomer would get wrong: the code that runs is the broker's own, so whatever it takes
//! from outside of `shards` (a clock, a thread, a hash map's order) breaks the replay, and the trace hash is
//! there to notice. Read [`World`] first, then `machine` (the scheduler), `disk` and `network`.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;

use crate::engine::Body;
use crate::priorities::Priority;
use crate::side::Signal;
use machine::{Kicks, Machine};

mod disk;
mod events;
mod files;
mod machine;
mod network;
mod options;
mod random;
mod reply;
mod sockets;
mod tasks;
mod trace;
mod world;

pub use disk::{Disk, Effect, Fault, Operation, Snapshot};
pub(crate) use files::{File, Lock};
pub use network::Network;
pub use options::{DiskOptions, NetworkOptions, Options, Schedule};
pub use random::Stream;
pub(crate) use sockets::{Accepted, TcpListener, TcpStream};
pub use world::{NodeId, Stuck, World};

/// How a node ends without being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// `kill -9`: the operating system lives, keeps the page cache and closes the sockets.
    Kill,
    /// Power is cut: of all that was not synced any part is lost, and no peer is told.
    PowerCut,
}

/// Changes the first byte of `bytes`, which nobody may ever do: for a test that shows how the disk notices that
/// the bytes of a write did not stand still.
#[allow(unsafe_code, reason = "breaks on purpose what the types guarantee")]
pub fn scribble(bytes: &bytes::Bytes) {
    if !bytes.is_empty() {
        // SAFETY: the memory is a heap block of a `Buffer`, writable and alive as long as `bytes`, and the whole
        // world is one thread in which nobody holds a slice of it across this call. That `Bytes` promises never
        // to change is what is broken here; the compiler cannot build on that promise, because the memory is
        // reached through a raw pointer and nothing is read from it on both sides of this opaque call.
        unsafe { bytes.as_ptr().cast_mut().write(!std::hint::black_box(bytes)[0]) };
    }
}

/// A shard's engine.
#[derive(Clone)]
pub(crate) struct Engine {
    pub(crate) machine: Rc<Machine>,
    pub(crate) seat: usize,
    pub(crate) node: usize,
    pub(crate) process: u64,
}

/// Makes a shard look into its inbox.
#[derive(Clone)]
pub(crate) struct Kick {
    seat: usize,
    kicks: Arc<Kicks>,
}

impl Kick {
    pub fn kick(&self) {
        self.kicks.push(self.seat);
    }
}

impl Engine {
    /// All priorities are alike here: the scheduler owes nobody anything.
    pub fn spawn(&self, _priority: Priority, body: Body) {
        self.machine.spawn(self.seat, body);
    }

    pub fn before_yield(&self) {}

    pub fn now(&self) -> u64 {
        self.machine.now()
    }

    pub fn wall_ms(&self) -> i64 {
        self.machine.wall_ms(self.node)
    }

    pub fn missed_wakes(&self) -> u64 {
        0 // a missing wake-up is a world that is stuck
    }

    pub fn signals(&self) -> std::io::Result<Signals> {
        Ok(Signals { engine: self.clone() })
    }
}

/// Signals of the process, sent by [`World::signal`].
pub(crate) struct Signals {
    engine: Engine,
}

impl Signals {
    pub async fn next(&self) -> Signal {
        let engine = &self.engine;
        poll_fn(|cx| engine.machine.poll_signal(engine.node, engine.process, cx)).await
    }
}
