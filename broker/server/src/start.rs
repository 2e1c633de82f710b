//! The way up: the data directory, the stores, the metadata log, the partitions, and last the clients.
//!
//! Everything happens on shard 0, which opens the other shards by messages. What a newcomer would get wrong: the order.
//! The directory is locked before anything is written to it, and before a port in use could be told instead of who has
//! the directory; sockets are bound before the directory is formatted and before
//! recovery costs time; nobody is accepted before every partition is there.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use metadata::Controller;
use metadata::controller::brokers::Registration;
use metadata::controller::features;
use metadata::image::brokers::{ControllerNode, Endpoint};
use protocol::types::Uuid;
use shards::connections::{Spread, hand_out};
use shards::net::TcpListener;
use shards::sync::Signal;
use shards::time::Duration;
use shards::{Gate, Priority, ShardId, fs, mesh, random};
use storage::{Dir, DirConfig, DirLock, DirShare, Options, StorageError, Store};

use crate::config::{Listener, Settings};
use crate::controller_driver::ControllerDriver;
use crate::images::{self, View};
use crate::quorum_driver::QuorumDriver;
use crate::shard::{Node, Shared};
use crate::{Setup, format, metadata_log, strays};

/// How long a start waits for an address that is in use.
const ADDRESS_FREED_WAIT_MAX: Duration = Duration::from_secs(5);
/// The pause between two tries.
const ADDRESS_TRIED_AGAIN: Duration = Duration::from_millis(10);

/// A node that serves clients. Lives on shard 0.
pub(crate) struct Running {
    /// What all shards share.
    pub shared: Arc<Shared>,
    /// The log directory.
    pub dir: Dir,
    /// This broker's epoch.
    pub broker_epoch: i64,
    /// Decides and publishes metadata.
    pub controller: Rc<ControllerDriver>,
    /// The controller's task.
    pub publishing: Gate,
    /// What a crash left to be done beside the clients.
    pub recovering: Gate,
    /// The tasks that accept clients.
    pub accepting: Gate,
    /// The listeners; closing them ends those tasks.
    pub sockets: Vec<Rc<TcpListener>>,
    /// Set when a store has failed: the node cannot go on.
    pub failed: Rc<Failed>,
    addresses: Vec<SocketAddr>,
}

/// The first failure of a store.
#[derive(Default)]
pub(crate) struct Failed {
    signal: Signal,
    error: RefCell<Option<StorageError>>,
}

impl Failed {
    fn set(&self, error: &StorageError) {
        self.error.borrow_mut().get_or_insert_with(|| error.clone());
        self.signal.set();
    }

    /// Resolves with the failure, as one line.
    pub async fn wait(&self) -> String {
        self.signal.wait().await;
        let error = self.error.borrow();
        let error = error.as_ref().map_or_else(String::new, ToString::to_string);
        format!("the log directory has failed, the next start recovers it: {error}")
    }
}

impl Running {
    /// Where clients are served, in the order of the listeners.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

/// Brings the node up to serving clients.
///
/// # Errors
/// One line for an operator.
pub(crate) async fn start(setup: &Setup) -> Result<Running, String> {
    let started = shards::time::now();
    let settings = &setup.config.settings;
    let lock = lock_dir(settings).await?;
    let sockets: Vec<Rc<TcpListener>> = bind(&setup.addresses).await?;
    let formatted = format::open(&settings.data_dir, settings).await?;
    let addresses = sockets
        .iter()
        .map(|socket| socket.local_addr())
        .collect::<Result<Vec<_>, _>>();
    let addresses = addresses.map_err(|error| format!("a listener has no address: {error}"))?;
    let dir = open_dir(lock, settings, formatted.cluster_id).await?;
    let shared = Arc::new(Shared {
        config: setup.config.clone(),
        cluster_id: dir.meta().cluster_id.clone(),
    });
    let failed = Rc::new(Failed::default());
    open_shards(&shared, &dir).await?;
    let node = Node::current();
    let log = metadata_log::open(&node).await?;
    let quorum = QuorumDriver::lead(&log, settings.node_id).await?;
    let loader = metadata_log::load(&log, quorum.committed()).await?;
    strays::clear(&node, &dir, &log, &loader).await?;
    let view = View::empty(settings.node_id, shards::current().count());
    images::publish(Arc::new(view.next(loader.image().clone(), loader.next_offset()))).await;
    let controller = Controller::new(&loader, log.log_end_offset());
    let controller = Rc::new(ControllerDriver::new(controller, loader, log, quorum));
    shards::current().set_state(controller.clone());
    let publishing = Gate::new();
    spawn(&publishing, controller.clone().publish());
    let directory_id = dir.meta().directory_id.unwrap_or_default();
    let broker_epoch = register(&controller, settings, directory_id, &addresses).await?;
    watch_stores(&failed).await;
    take_memory().await;
    // From the first client on nothing is waited for: a start that is told to stop must have acknowledged nothing.
    let recovering = Gate::new();
    if dir.is_owing() {
        let finish = finish_recovery(dir.share());
        recovering.spawn(Priority::Background, finish).ok();
    }
    let (accepting, spread) = (Gate::new(), Spread::of(setup.connections_most));
    for (number, socket) in sockets.iter().enumerate() {
        let (socket, spread) = (socket.clone(), spread.clone());
        let accept = async move {
            hand_out(&socket, &spread, move |stream, place| {
                Node::current().serve(stream, place, number)
            })
            .await;
        };
        spawn(&accepting, accept);
    }
    say(setup, &dir, &shared, &addresses, started.elapsed());
    Ok(Running {
        shared,
        dir,
        broker_epoch,
        controller,
        publishing,
        recovering,
        accepting,
        sockets,
        failed,
        addresses,
    })
}

/// Lets every shard begin to take its memory, which would have competed with the start.
async fn take_memory() {
    for shard in shards::current().all() {
        let take = mesh::call(shard, || {
            Node::current().take_memory();
            std::future::ready(())
        });
        // A shard that has stopped needs none.
        take.await.ok();
    }
}

fn spawn(gate: &Gate, task: impl Future<Output = ()> + 'static) {
    // The gates of a start are closed by the stop and nowhere else.
    gate.spawn(Priority::Clients, task).ok();
}

/// Opens the listeners. The kernel takes a killed process's ring apart only after its end, and until then the ring
/// holds its sockets: an address that is in use is tried again for a while.
async fn bind(addresses: &[SocketAddr]) -> Result<Vec<Rc<TcpListener>>, String> {
    let mut sockets = Vec::new();
    let deadline = shards::time::now() + ADDRESS_FREED_WAIT_MAX;
    let mut waits = false;
    for address in addresses {
        let socket = loop {
            match TcpListener::bind(*address) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && shards::time::now() < deadline => {
                    if !std::mem::replace(&mut waits, true) {
                        let seconds = ADDRESS_FREED_WAIT_MAX.as_secs();
                        tracing::info!("{address} is in use; waiting {seconds} s at most until it is free");
                    }
                    shards::time::sleep(ADDRESS_TRIED_AGAIN).await;
                }
                bound => break bound,
            }
        };
        let socket = socket.map_err(|error| format!("cannot listen on {address}: {error}"))?;
        sockets.push(Rc::new(socket));
    }
    Ok(sockets)
}

/// Takes the directory for this process, and makes it first if need be.
async fn lock_dir(settings: &Settings) -> Result<DirLock, String> {
    let path = &settings.data_dir;
    let made = fs::create_dir_all(path).await;
    made.map_err(|error| format!("cannot make {}: {error}", path.display()))?;
    Dir::lock(path).await.map_err(|error| error.to_string())
}

async fn open_dir(lock: DirLock, settings: &Settings, cluster_id: String) -> Result<Dir, String> {
    let config = DirConfig {
        path: settings.data_dir.clone(),
        shards: shards::current().count(),
        journal_bytes: settings.journal_bytes,
        expected: Some((settings.node_id, cluster_id)),
        may_owe: true,
        options: Options::default(),
    };
    let opened = Dir::open_locked(lock, config).await;
    let dir = opened.map_err(|error| error.to_string())?;
    let report = dir.report();
    if report.commits > 0 {
        tracing::info!(
            "recovered {} partitions from {} commits of the journal ({} bytes) in {} ms",
            report.partitions,
            report.commits,
            report.journal_bytes,
            report.elapsed_ms
        );
    }
    Ok(dir)
}

/// Opens the store of every shard and puts its state in place.
async fn open_shards(shared: &Arc<Shared>, dir: &Dir) -> Result<(), String> {
    let open = |shard: ShardId| {
        let (shared, share) = (shared.clone(), dir.share());
        mesh::call(shard, move || open_shard(shared, share))
    };
    let calls: Vec<_> = shards::current().all().map(open).collect();
    for call in calls {
        call.await.map_err(|error| error.to_string())??;
    }
    Ok(())
}

async fn open_shard(shared: Arc<Shared>, share: DirShare) -> Result<(), String> {
    let store = Store::open(share).await.map_err(|error| error.to_string())?;
    let view = View::empty(shared.config.settings.node_id, shards::current().count());
    let node = Rc::new(Node::new(shared, store, Arc::new(view)));
    shards::current().set_state(node.clone());
    let sweep = node.clone().sweep();
    node.tasks.spawn(Priority::Housekeeping, sweep).ok();
    Ok(())
}

/// Brings to the files what partitions are owed since a crash, on all shards; then the journals that had it go.
async fn finish_recovery(share: DirShare) {
    let started = shards::time::now();
    let settled = images::every(|| async { Node::current().store.settle_owed().await }).await;
    // A disk that fails is the store's failure, which ends the node: a start then begins anew.
    let is_settled = settled.is_ok_and(|stores| stores.iter().all(Result::is_ok));
    if !is_settled {
        return;
    }
    if let Err(error) = share.finish_recovery().await {
        Node::current().store.fail(&error);
        return;
    }
    let told = images::every(|| async { Node::current().store.recovery_has_finished() }).await;
    if told.is_ok() {
        let took = started.elapsed().as_millis();
        tracing::info!("everything recovered stands in the segments, {took} ms after the start");
    }
}

/// Registers this node as controller and broker; resolves with the broker's epoch when it may lead.
async fn register(
    controller: &Rc<ControllerDriver>,
    settings: &Settings,
    directory_id: Uuid,
    addresses: &[SocketAddr],
) -> Result<i64, String> {
    let refused = |what: &dyn std::fmt::Display| format!("the broker cannot register: {what}");
    let incarnation_id = Uuid(random::uuid_bytes());
    let node = ControllerNode {
        id: settings.node_id,
        incarnation_id,
        listeners: settings
            .listeners
            .controller
            .iter()
            .map(|one| endpoint(one, one.port))
            .collect(),
        features: features::supported(),
    };
    let broker = Registration {
        broker_id: settings.node_id,
        incarnation_id,
        listeners: advertised(settings, addresses),
        features: features::supported(),
        rack: settings.rack.clone(),
        directories: vec![directory_id],
    };
    let id = settings.node_id;
    let activated = controller
        .clone()
        .submit(|controller| controller.decide_activate())
        .await;
    activated.map_err(|error| refused(&error))?;
    let known = controller
        .clone()
        .submit(move |controller| controller.decide_register_controller(&node))
        .await;
    known.map_err(|error| refused(&error))?;
    let epoch = controller
        .clone()
        .submit(move |controller| controller.decide_register_broker(&broker))
        .await;
    let epoch = epoch
        .map_err(|error| refused(&error))?
        .map_err(|refusal| refused(&refusal.message))?;
    let unfenced = controller
        .clone()
        .submit(move |controller| controller.decide_unfence(id, epoch))
        .await;
    unfenced
        .map_err(|error| refused(&error))?
        .map_err(|refusal| refused(&refusal.message))?;
    Ok(epoch)
}

fn endpoint(listener: &Listener, port: u16) -> Endpoint {
    Endpoint {
        name: listener.name.clone(),
        host: listener.host.clone(),
        port,
        security_protocol: listener.protocol.code(),
    }
}

/// What clients are told: a port of 0 is the one that the listener of that name was bound to.
fn advertised(settings: &Settings, addresses: &[SocketAddr]) -> Vec<Endpoint> {
    let bound = |listener: &Listener| {
        let all = settings.listeners.broker.iter().zip(addresses);
        all.filter(|(one, _)| one.name == listener.name)
            .map(|(_, address)| address.port())
            .next()
    };
    let told = |listener: &Listener| match listener.port {
        0 => endpoint(listener, bound(listener).unwrap_or(0)),
        port => endpoint(listener, port),
    };
    settings.listeners.advertised.iter().map(told).collect()
}

/// Sets `failed` on this shard when the store of any shard has failed, and takes the other stores offline.
async fn watch_stores(failed: &Rc<Failed>) {
    for shard in shards::current().all() {
        let watch = mesh::call(shard, || async {
            let node = Node::current();
            node.store.failed().await;
            node.store.failure()
        });
        let failed = failed.clone();
        let follow = async move {
            if let Ok(Some(error)) = watch.await {
                failed.set(&error);
                for shard in shards::current().all() {
                    let error = error.clone();
                    let fail = mesh::call(shard, move || {
                        Node::current().store.fail(&error);
                        std::future::ready(())
                    });
                    // A shard that has stopped has nothing left to fail.
                    fail.await.ok();
                }
            }
        };
        Node::current().tasks.spawn(Priority::Housekeeping, follow).ok();
    }
}

fn say(setup: &Setup, dir: &Dir, shared: &Shared, addresses: &[SocketAddr], took: std::time::Duration) {
    let settings = &setup.config.settings;
    let version = env!("CARGO_PKG_VERSION");
    let meta = dir.meta();
    tracing::info!(
        "Klamm {version}, node {} of cluster {}",
        meta.node_id,
        shared.cluster_id
    );
    tracing::info!("{}, {} MiB of journal", setup.host, settings.journal_bytes >> 20);
    tracing::info!("data in {}", settings.data_dir.display());
    for (listener, address) in settings.listeners.broker.iter().zip(addresses) {
        tracing::info!("listening on {}://{address}", listener.name);
    }
    tracing::info!("started in {} ms", took.as_millis());
}
