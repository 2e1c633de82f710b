//! The node's listeners: accepted once, on shard 0, and handed to the shard with the fewest connections.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use shards::net::{Accepted, TcpListener};
use shards::sync::Signal;
use shards::time::{Duration, sleep};
use shards::{Either, ShardId, mesh, select2};

use crate::shard::{Node, Shared};

/// After a failed accept (no file descriptors left, as a rule) the next is tried this much later.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts clients on `listener`, the one with that number, until `stop` is set.
pub async fn accept(node: Rc<Node>, listener: TcpListener, number: usize, stop: Rc<Signal>) {
    loop {
        match select2(stop.wait(), listener.accept()).await {
            Either::First(()) => break,
            Either::Second(Ok(accepted)) => hand_out(&node.shared, accepted, number),
            Either::Second(Err(error)) => {
                tracing::warn!("a connection could not be accepted: {error}");
                if let Either::First(()) = select2(stop.wait(), sleep(PAUSE)).await {
                    break;
                }
            }
        }
    }
    listener.close();
}

fn hand_out(shared: &Shared, accepted: Accepted, listener: usize) {
    let counts = shared.open.iter().map(|open| open.load(Ordering::Relaxed));
    let Some((shard, _)) = counts.enumerate().min_by_key(|(_, count)| *count) else {
        return;
    };
    shared.open[shard].fetch_add(1, Ordering::Relaxed);
    // The connection is the other shard's from here on; there is nothing to wait for.
    drop(mesh::call(ShardId(shard as u16), move || {
        Node::current().serve(accepted, listener);
        std::future::ready(())
    }));
}

/// Opens the socket of a listener. The text of the error names the address.
pub fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).map_err(|error| format!("cannot listen on {address}: {error}"))
}
