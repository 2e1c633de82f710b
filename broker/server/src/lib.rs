//! The Klamm process: connections, handlers, hosted partitions, and the drivers of the pure parts.
//!
//! Read in this order: [`Broker`] (what a process starts), `start`, [`shard`] (what each core has), [`connection`] and
//! [`dispatch`] (from a socket to a handler), [`handlers`], [`partition`], [`controller_driver`].
//!
//! What a newcomer would get wrong: this is a library that runs on any engine of `shards`, simulated ones too; the
//! environment, arguments and the host are looked at by `main.rs` alone.

pub mod config;
pub mod connection;
pub mod context;
pub mod controller_driver;
pub mod dispatch;
pub mod errors;
pub mod format;
pub mod handlers;
pub mod images;
pub mod metadata_log;
pub mod partition;
pub mod pipeline;
pub mod placement;
pub mod producer_ids;
pub mod quorum_driver;

pub mod receive;
pub mod shard;
mod start;
mod stop;
mod strays;

pub mod topic_commands;

use std::net::SocketAddr;
use std::sync::Arc;

use shards::side::{self, Signals};
use shards::time::Duration;
use shards::{Either, ShardId, select2};

use config::Config;

/// What shard 0 tells, once, to the plain thread that started the shards.
#[allow(
    clippy::disallowed_types,
    reason = "not static: it belongs to one node and goes with it"
)]
type Told<T> = Arc<std::sync::OnceLock<T>>;

/// One node, as a process (or the simulator) starts it: run [`Broker::run`] on every shard, then ask how it ended.
/// Clones are the same node.
#[derive(Clone)]
pub struct Broker {
    setup: Arc<Setup>,
    started: Told<Vec<SocketAddr>>,
    ended: Told<Ended>,
}

/// What a node is started with.
pub struct Setup {
    /// All settings.
    pub config: Arc<Config>,
    /// The address of each listener for clients, in the order of the settings; port 0 is any port.
    pub addresses: Vec<SocketAddr>,
    /// One line about the machine for the log: the engine, the CPUs.
    pub host: String,
    /// Most connections of clients, over all listeners.
    pub connections_most: usize,
}

/// How a node came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop, and everything is closed cleanly.
    Stopped,
    /// It was told to stop while it started. Nothing was acknowledged yet; the next start recovers what this one left.
    Abandoned,
    /// It was told a second time while it stopped, and ended at once. The next start recovers.
    Interrupted,
    /// It could not start, or could not close cleanly: one line for an operator.
    Failed(String),
}

impl Broker {
    /// A node that was not started yet.
    pub fn new(setup: Setup) -> Broker {
        Broker {
            setup: Arc::new(setup),
            started: Arc::default(),
            ended: Arc::default(),
        }
    }

    /// What every shard runs. Shard 0 opens the others, waits for the signal to stop and closes them; the others have
    /// nothing to do of their own.
    pub async fn run(self, shard: ShardId) {
        if shard != ShardId(0) {
            return;
        }
        let ended = match side::signals() {
            Ok(signals) => self.serve(&signals).await,
            Err(error) => Ended::Failed(format!("signals cannot be taken over: {error}")),
        };
        // Only this shard sets it, and only here.
        self.ended.set(ended).ok();
    }

    async fn serve(&self, signals: &Signals) -> Ended {
        // Boxed: the machine of a start is large, and there is one.
        let starting = Box::pin(start::start(&self.setup));
        let running = match select2(starting, signals.next()).await {
            Either::First(Ok(running)) => running,
            Either::First(Err(error)) => return Ended::Failed(error),
            Either::Second(_) => return Ended::Abandoned,
        };
        self.started.set(running.addresses().to_vec()).ok();
        match select2(running.failed.wait(), signals.next()).await {
            Either::First(error) => return Ended::Failed(error),
            Either::Second(signal) => tracing::info!("stopping on {signal:?}; once more stops at once"),
        }
        match select2(Box::pin(stop::stop(running)), once_more(signals)).await {
            Either::First(Ok(())) => Ended::Stopped,
            Either::First(Err(error)) => Ended::Failed(error),
            Either::Second(_) => Ended::Interrupted,
        }
    }

    /// Where clients are served, in the order of the listeners; `None` until they are.
    pub fn addresses(&self) -> Option<&[SocketAddr]> {
        self.started.get().map(Vec::as_slice)
    }

    /// How it ended; `None` until it has.
    pub fn ended(&self) -> Option<&Ended> {
        self.ended.get()
    }
}

/// A signal that follows another one sooner is the same request: `timeout` and terminals signal a process and its group,
/// which reaches the process twice.
const SAME_REQUEST: Duration = Duration::from_millis(100);

/// Waits for a signal that is a request of its own, after one that has just come.
async fn once_more(signals: &Signals) {
    let first = shards::time::now();
    while {
        signals.next().await;
        first.elapsed() < SAME_REQUEST
    } {}
}
