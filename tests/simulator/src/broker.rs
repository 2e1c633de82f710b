//! The broker under test: the real one, started on a simulated node.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use broker::config::{self, Host, Sources};
use broker::{Broker, Setup};
use shards::sim::{NodeId, World};
use storage::planted::Planted;

use crate::plan::Plan;

/// Where it listens.
pub const PORT: u16 = 9092;
/// Its log directory.
pub const LOG_DIR: &str = "/data";

/// Starts it; the handle tells how it ended.
pub fn start(world: &mut World, node: NodeId, plan: &Plan, planted: Option<Planted>) -> Broker {
    let address = world.address(node);
    let file = format!(
        "log.dirs={LOG_DIR}\n\
         listeners=PLAINTEXT://{address}:{PORT}\n\
         num.partitions=1\n\
         auto.create.topics.enable=false\n\
         log.segment.bytes=1048576\n"
    );
    let host = Host {
        name: address.to_string(),
        memory_bytes: 1 << 30,
    };
    let sources = Sources {
        file: Some(file.as_bytes()),
        environment: &[],
        overrides: &[],
        host,
    };
    let mut config = match config::load(&sources) {
        Ok(config) => config,
        Err(problem) => panic!("the settings of the simulator are wrong: {problem:?}"),
    };
    // Below the bound that operators are held to, so that its halves are switched often.
    config.settings.journal_bytes = plan.journal_bytes;
    let broker = Broker::new(Setup {
        config: Arc::new(config),
        addresses: vec![SocketAddr::new(address, PORT)],
        host: "a simulated node".to_owned(),
        connections_most: usize::MAX,
    });
    let started = broker.clone();
    world.start(node, plan.shards, move |shard| {
        let broker = broker.clone();
        async move {
            if let Some(planted) = planted {
                shards::current().set_state(Rc::new(planted));
            }
            broker.run(shard).await;
        }
    });
    started
}
