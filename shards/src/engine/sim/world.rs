//! A world: nodes, clients, their disks and the network between them, driven step by step by a test.

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use super::machine::Machine;
use super::random::{Purpose, Stream};
use super::{Crash, Disk, Network, Options};
use crate::shard::ShardId;
use crate::side::Signal;
use crate::time::Instant;

/// A node of the world, or the machine of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(pub(crate) usize);

/// A condition did not come true in time.
#[derive(Debug)]
pub struct Stuck {
    /// Virtual time at which the wait ended.
    pub at: Instant,
    /// Nothing was left to happen at all, ever: a wake-up went missing, or everybody has ended.
    pub is_dead: bool,
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = if self.is_dead {
            "nothing is left to happen"
        } else {
            "time is over"
        };
        write!(f, "{why} at {:.6} s", self.at.0 as f64 / 1e9)
    }
}

impl std::error::Error for Stuck {}

/// All of it, from one seed. Dropping it ends every process without running it.
pub struct World {
    machine: Rc<Machine>,
    workload: Stream,
    nodes: u8,
    clients: u8,
}

impl World {
    /// A world without nodes, in which time has just begun.
    pub fn new(seed: u64, options: Options) -> World {
        let workload = Stream::new(seed, Purpose::Workload);
        World {
            machine: Machine::new(seed, options),
            workload,
            nodes: 0,
            clients: 0,
        }
    }

    /// A node with an empty disk, not running yet. The first is 10.0.0.1, the next 10.0.0.2 and so on.
    pub fn add_node(&mut self) -> NodeId {
        self.nodes += 1;
        NodeId(
            self.machine
                .add_node(IpAddr::V4(Ipv4Addr::new(10, 0, 0, self.nodes))),
        )
    }

    /// Starts a process of `shards` shards on the node, as [`crate::run`] does: `main` runs once on each, and
    /// the process ends when all of them have returned.
    ///
    /// # Panics
    /// When one runs there already.
    pub fn start<F, Fut>(&mut self, node: NodeId, shards: u16, main: F)
    where
        F: Fn(ShardId) -> Fut + Clone + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        self.machine.start(node.0, shards, main);
        self.machine.power_on();
    }

    /// Runs a future on a machine of its own (10.0.1.1 and so on), with one shard: a client. It ends when the
    /// future does; what the future spawned ends with it.
    pub fn add_client<Fut>(&mut self, future: Fut) -> NodeId
    where
        Fut: Future<Output = ()> + 'static,
    {
        self.clients += 1;
        let node = self
            .machine
            .add_node(IpAddr::V4(Ipv4Addr::new(10, 0, 1, self.clients)));
        let future = Rc::new(std::cell::RefCell::new(Some(future)));
        self.machine.start(node, 1, move |_| {
            let future = future.borrow_mut().take();
            async move {
                if let Some(future) = future {
                    future.await;
                }
            }
        });
        NodeId(node)
    }

    /// The address of a node or client.
    pub fn address(&self, node: NodeId) -> IpAddr {
        self.machine.nodes.borrow()[node.0].address
    }

    /// Sends a signal to the node's process; without one it is lost.
    pub fn signal(&mut self, node: NodeId, signal: Signal) {
        self.machine.signal(node.0, signal);
    }

    /// Ends the node's process at once. Its disk stays and can be started on again. Without a process a kill does
    /// nothing, and a power cut takes from the disk what was not synced.
    pub fn crash(&mut self, node: NodeId, crash: Crash) {
        self.machine.crash(node.0, crash);
    }

    /// Whether a process runs on the node: it was started, has not crashed, and its mains have not all returned.
    pub fn is_running(&self, node: NodeId) -> bool {
        self.machine.is_running(node.0)
    }

    /// Virtual time.
    pub fn now(&self) -> Instant {
        Instant(self.machine.now())
    }

    /// Lets one thing happen. False when nothing will ever happen again.
    pub fn step(&mut self) -> bool {
        self.machine.step()
    }

    /// Steps until `condition` holds, which is asked after every step.
    ///
    /// # Errors
    /// [`Stuck`] when that takes longer than `limit` of virtual time, or nothing is left to happen.
    pub fn run_until(
        &mut self,
        limit: Duration,
        mut condition: impl FnMut(&World) -> bool,
    ) -> Result<(), Stuck> {
        let deadline = self.now() + limit;
        loop {
            if condition(self) {
                return Ok(());
            }
            let moved = self.step();
            if !moved || self.now() > deadline {
                return Err(Stuck {
                    at: self.now(),
                    is_dead: !moved,
                });
            }
        }
    }

    /// Lets `duration` of virtual time pass; less if nothing is left to happen.
    pub fn run_for(&mut self, duration: Duration) {
        let deadline = self.now() + duration;
        while self.now() < deadline && self.step() {}
    }

    /// Lets every client and node run until all of `nodes` have ended.
    ///
    /// # Errors
    /// As [`World::run_until`].
    pub fn run_to_end(&mut self, limit: Duration, nodes: &[NodeId]) -> Result<(), Stuck> {
        self.run_until(limit, |world| nodes.iter().all(|node| !world.is_running(*node)))
    }

    /// The node's disk, also while it is down.
    pub fn disk(&self, node: NodeId) -> Disk {
        Disk::new(self.machine.clone(), node)
    }

    /// The network.
    pub fn network(&self) -> Network {
        Network::new(self.machine.clone())
    }

    /// Random numbers for the test itself: they change nothing in the choices of the world.
    pub fn random(&mut self) -> &mut Stream {
        &mut self.workload
    }

    /// A hash over all that has happened: every choice, message and byte.
    pub fn trace_hash(&self) -> u64 {
        self.machine.trace_hash()
    }

    /// The last entries of the trace ([`Options::trace_kept`] of them), oldest first.
    pub fn trace_tail(&self) -> Vec<String> {
        self.machine.trace_tail()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // After a panic the parts of the world may be in any state: leave them alone, the memory is lost.
        if !std::thread::panicking() {
            self.machine.end();
        }
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("now", &self.now())
            .finish_non_exhaustive()
    }
}
