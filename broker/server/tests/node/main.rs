//! A whole node on the simulated machine, asked in Kafka's protocol: what the handlers answer, and in which order.
//!
//! What a newcomer would get wrong: time is simulated, so a long poll of seconds costs nothing, and every case runs
//! under several seeds, that is with tasks, messages and packets in several orders.

use std::cell::Cell;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use broker::config::{self, Host, Sources};
use broker::{Broker, Ended, Setup};
use shards::side::Signal;
use shards::sim::{Crash, Options, World};

mod client;
mod closing;
mod ends;
mod large;
mod limits;
mod requests;

pub(crate) const PORT: u16 = 9092;
pub(crate) const SEEDS: std::ops::Range<u64> = 0..6;
pub(crate) const CONNECTIONS_MOST: usize = 20;
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

/// Starts a node with two shards, runs `client` against it, stops it, and expects a clean end.
pub(crate) fn check<Fut: Future<Output = ()> + 'static>(client: fn(SocketAddr) -> Fut) {
    for seed in SEEDS {
        let mut world = World::new(seed, Options::default());
        let node = world.add_node();
        let (broker, address) = start(&mut world, node);
        run(&mut world, &broker, address, client);
        world.signal(node, Signal::Terminate);
        world
            .run_until(PATIENCE, |world| !world.is_running(node))
            .expect("the node stops");
        assert_eq!(broker.ended(), Some(&Ended::Stopped), "seed {seed}");
    }
}

/// The same with an end in between: `first`, a crash or a stop, and `second` against the node started again.
pub(crate) fn check_over_restart<Fut, Next>(first: fn(SocketAddr) -> Fut, second: fn(SocketAddr) -> Next)
where
    Fut: Future<Output = ()> + 'static,
    Next: Future<Output = ()> + 'static,
{
    for seed in SEEDS {
        for crash in [None, Some(Crash::Kill), Some(Crash::PowerCut)] {
            let mut world = World::new(seed, Options::default());
            let node = world.add_node();
            let (broker, address) = start(&mut world, node);
            run(&mut world, &broker, address, first);
            match crash {
                Some(crash) => world.crash(node, crash),
                None => world.signal(node, Signal::Terminate),
            }
            world
                .run_until(PATIENCE, |world| !world.is_running(node))
                .expect("the node ends");
            let (broker, address) = start(&mut world, node);
            run(&mut world, &broker, address, second);
        }
    }
}

pub(crate) fn start(world: &mut World, node: shards::sim::NodeId) -> (Broker, SocketAddr) {
    start_with(world, node, 2)
}

/// The same with so many shards, that share the memory.
pub(crate) fn start_with(world: &mut World, node: shards::sim::NodeId, shards: u16) -> (Broker, SocketAddr) {
    let ip = world.address(node);
    let file = format!(
        "log.dirs=/data\nlisteners=PLAINTEXT://{ip}:{PORT}\nnum.partitions=3\nklamm.journal.bytes=33554432\n"
    );
    let sources = Sources {
        file: Some(file.as_bytes()),
        environment: &[],
        overrides: &[],
        host: Host {
            name: ip.to_string(),
            memory_bytes: 1 << 30,
        },
    };
    let config = config::load(&sources).unwrap_or_else(|problem| panic!("{problem}"));
    let address = SocketAddr::new(ip, PORT);
    let setup = Setup {
        config: Arc::new(config),
        addresses: vec![address],
        host: "simulated".to_owned(),
        connections_most: CONNECTIONS_MOST,
    };
    let broker = Broker::new(setup);
    let main = broker.clone();
    world.start(node, shards, move |shard| main.clone().run(shard));
    (broker, address)
}

pub(crate) fn run<Fut: Future<Output = ()> + 'static>(
    world: &mut World,
    broker: &Broker,
    address: SocketAddr,
    client: fn(SocketAddr) -> Fut,
) {
    let done = Rc::new(Cell::new(false));
    let told = done.clone();
    world.add_client(async move {
        client(address).await;
        told.set(true);
    });
    let ran = world.run_until(PATIENCE, |_| done.get());
    assert!(
        ran.is_ok(),
        "the client does not come to its end: {ran:?}, the node: {:?}",
        broker.ended()
    );
}
