//! The broker under test: the real one, started on a simulated node.

use std::net::SocketAddr;
use std::sync::Arc;

use broker::config::{self, Host, Sources};
use broker::{Broker, Setup};
use shards::sim::{NodeId, World};

use crate::plan::Plan;

/// Where it listens.
pub const PORT: u16 = 9092;
/// Its log directory.
pub const LOG_DIR: &str = "/data";

/// Starts it; the handle tells how it ended.
pub fn start(world: &mut World, node: NodeId, plan: &Plan) -> Broker {
    let address = world.address(node);
    let file = format!(
        "log.dirs={LOG_DIR}\n\
         listeners=PLAINTEXT://{address}:{PORT}\n\
         num.partitions=1\n\
         auto.create.topics.enable=false\n\
         log.segment.bytes=1048576\n\
         klamm.journal.bytes={}\n",
        plan.journal_bytes
    );
    let host = Host {
        name: address.to_string(),
        memory_bytes: 1 << 30,
    };
    let sources = Sources {
        file: Some(&file),
        environment: &[],
        overrides: &[],
        host,
    };
    let config = match config::load(&sources) {
        Ok(config) => config,
        Err(problem) => panic!("the settings of the simulator are wrong: {problem:?}"),
    };
    let broker = Broker::new(Setup {
        config: Arc::new(config),
        addresses: vec![SocketAddr::new(address, PORT)],
        host: "a simulated node".to_owned(),
    });
    let started = broker.clone();
    world.start(node, plan.shards, move |shard| broker.clone().run(shard));
    started
}
