//! What one shard of the node has: its partitions, its connections, its look at the metadata.
//!
//! Every task of the shard finds it through [`Node::current`]. What a newcomer would get wrong: nothing in here is
//! shared between shards but what is immutable (settings, [`View`]); a partition of another shard is reached by a message to its owner only.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use shards::connections::Place;
use shards::net::TcpStream;
use shards::sync::Signal;
use shards::time::{Duration, now, sleep};
use shards::{Either, Gate, Priority, ShardId, buffers, mesh, select2};
use storage::{PartitionId, Store};

use crate::config::{Config, Settings};
use crate::connection::Connection;
use crate::context::Context;
use crate::dispatch;
use crate::images::View;
use crate::partition::Partition;
use crate::producer_ids::ProducerIds;

/// How often connections are looked at, unless the idle limit is so short that it must be more often.
const SWEEP: Duration = Duration::from_secs(1);
const SWEEP_LEAST: Duration = Duration::from_millis(10);

/// What all shards of one node share; immutable.
pub struct Shared {
    /// Settings as given.
    pub config: Arc<Config>,
    /// From `meta.properties`.
    pub cluster_id: String,
}

/// The state of one shard.
pub struct Node {
    /// Which shard this is.
    pub shard: ShardId,
    /// What all shards share.
    pub shared: Arc<Shared>,
    /// The partitions and journal on this shard's part of the log directory.
    pub store: Rc<Store>,
    /// Tasks of the broker that are no connections.
    pub tasks: Gate,
    /// Producer ids that this shard may give out.
    pub producer_ids: ProducerIds,
    view: RefCell<Arc<View>>,
    partitions: RefCell<BTreeMap<PartitionId, Rc<Partition>>>,
    connections: RefCell<BTreeMap<u64, Rc<Connection>>>,
    next_connection: Cell<u64>,
    serving: Gate,
    stopping: Signal,
}

impl Node {
    /// The state of the shard that the running task belongs to.
    ///
    /// # Panics
    /// Before the shard was opened.
    pub fn current() -> Rc<Node> {
        shards::current().state()
    }

    /// A shard without partitions or connections.
    pub fn new(shared: Arc<Shared>, store: Rc<Store>, view: Arc<View>) -> Node {
        Node {
            shard: shards::current().id(),
            shared,
            store,
            tasks: Gate::new(),
            producer_ids: ProducerIds::default(),
            view: RefCell::new(view),
            partitions: RefCell::new(BTreeMap::new()),
            connections: RefCell::new(BTreeMap::new()),
            next_connection: Cell::new(0),
            serving: Gate::new(),
            stopping: Signal::new(),
        }
    }

    /// The settings that the broker acts on.
    pub fn settings(&self) -> &Settings {
        &self.shared.config.settings
    }

    /// The newest metadata that this shard has; keep it for the length of one request and no longer.
    pub fn view(&self) -> Arc<View> {
        self.view.borrow().clone()
    }

    /// Puts newer metadata in place.
    pub fn set_view(&self, view: Arc<View>) {
        *self.view.borrow_mut() = view;
    }

    /// A partition that this shard owns.
    pub fn partition(&self, id: PartitionId) -> Option<Rc<Partition>> {
        self.partitions.borrow().get(&id).cloned()
    }

    /// All partitions that this shard owns, in the order of their ids.
    pub fn partitions(&self) -> Vec<Rc<Partition>> {
        self.partitions.borrow().values().cloned().collect()
    }

    /// Takes a partition in.
    pub fn add_partition(&self, partition: Rc<Partition>) {
        let before = self.partitions.borrow_mut().insert(partition.id, partition);
        debug_assert!(before.is_none(), "a partition is opened once");
    }

    /// Gives a partition up: nobody finds it any more, and who waited for it is told.
    pub fn remove_partition(&self, id: PartitionId) -> Option<Rc<Partition>> {
        let partition = self.partitions.borrow_mut().remove(&id)?;
        partition.leave();
        Some(partition)
    }

    /// Serves a client that came through the listener of that number, until it leaves or the node stops. `place` is
    /// its place among the connections of all shards.
    pub fn serve(self: &Rc<Self>, stream: TcpStream, place: Place, listener: usize) {
        let id = self.next_connection.replace(self.next_connection.get() + 1);
        let connection = Rc::new(Connection::new(id, stream.peer_addr(), listener, stream));
        self.connections.borrow_mut().insert(id, connection.clone());
        let node = self.clone();
        let serving = async move {
            let limit = usize::try_from(node.settings().socket_request_max_bytes).unwrap_or(0);
            let context = Rc::new(Context {
                node: node.clone(),
                connection: connection.clone(),
            });
            let start = |frame| dispatch::start(&context, frame);
            let ended = connection
                .serve(limit, start, every_mesh_ready, async || {
                    node.stopping.wait().await
                })
                .await;
            tracing::trace!(client = %connection.peer, "no longer served: {ended}");
            node.connections.borrow_mut().remove(&id);
            drop(place);
        };
        // A closed gate drops the task, and with it the socket: the node stops.
        if self.serving.spawn(Priority::Clients, serving).is_err() {
            self.connections.borrow_mut().remove(&id);
        }
    }

    /// Begins, now that the shard serves, to take its memory from the kernel; the stop ends it.
    pub fn take_memory(self: &Rc<Self>) {
        let node = self.clone();
        let take = async move {
            select2(node.stopping.wait(), buffers::touch()).await;
        };
        self.tasks.spawn(Priority::Housekeeping, take).ok();
    }

    /// Looks at every connection once a while, until the node stops.
    pub async fn sweep(self: Rc<Self>) {
        let limit = self.settings().connections_max_idle_ms;
        let max_idle = match u64::try_from(limit) {
            Ok(ms) if ms > 0 => Duration::from_millis(ms),
            _ => Duration::MAX,
        };
        let every = (max_idle / 4).clamp(SWEEP_LEAST, SWEEP);
        while let Either::Second(()) = select2(self.swept_out(), sleep(every)).await {
            let connections: Vec<Rc<Connection>> = self.connections.borrow().values().cloned().collect();
            let now = now();
            for connection in connections {
                connection.sweep(now, max_idle);
            }
        }
    }

    /// Resolves when the node stops and no connection is left to look at.
    async fn swept_out(&self) {
        self.stopping.wait().await;
        self.serving.close().await;
    }

    /// Whether the node stops.
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_set()
    }

    /// Takes no further request, and waits until every request that was taken is answered and its connection closed.
    pub async fn drain(&self) {
        self.stopping.set();
        for partition in self.partitions() {
            partition.wake_consumers();
        }
        self.store.give_up_reads();
        self.serving.close().await;
    }
}

/// Waits until every shard takes a message.
async fn every_mesh_ready() {
    for shard in shards::current().all() {
        mesh::ready(shard).await;
    }
}
