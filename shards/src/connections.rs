//! One listener, many shards: each accepted connection goes to the shard that has the fewest.
//!
//! SO_REUSEPORT would spread by a hash of addresses, and a few clients can all land on one core. Here one task
//! accepts and hands the socket over; nothing of the connection stays behind on the accepting shard.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::mesh;
use crate::net::{Accepted, TcpListener, TcpStream};
use crate::shard::{self, ShardId};
use crate::time;

/// How long accepting pauses when the process has no descriptor left (EMFILE and its kind).
const PAUSE: Duration = Duration::from_millis(20);

/// How many connections each shard has. Clones count together; one for all listeners of a process.
#[derive(Clone, Debug)]
pub struct Spread {
    open: Arc<[AtomicUsize]>,
}

impl Spread {
    /// For the shards of this process, all without connections.
    pub fn new() -> Spread {
        let count = shard::current().count();
        Spread {
            open: (0..count).map(|_| AtomicUsize::new(0)).collect(),
        }
    }

    /// Connections of one shard; 0 for one that does not exist.
    pub fn open(&self, shard: ShardId) -> usize {
        self.open
            .get(usize::from(shard.0))
            .map_or(0, |open| open.load(Ordering::Relaxed))
    }

    /// Connections of all shards.
    pub fn total(&self) -> usize {
        self.open.iter().map(|open| open.load(Ordering::Relaxed)).sum()
    }

    /// Takes a place on the shard with the fewest, the first of equals.
    fn take(&self) -> Place {
        let fewest = self
            .open
            .iter()
            .enumerate()
            .min_by_key(|(_, open)| open.load(Ordering::Relaxed));
        let shard = ShardId(fewest.map_or(0, |(index, _)| index as u16));
        if let Some(open) = self.open.get(usize::from(shard.0)) {
            open.fetch_add(1, Ordering::Relaxed);
        }
        Place {
            spread: self.clone(),
            shard,
        }
    }
}

impl Default for Spread {
    fn default() -> Spread {
        Spread::new()
    }
}

/// A connection's place in the count; given up when dropped. Keep it as long as the stream.
#[derive(Debug)]
pub struct Place {
    spread: Spread,
    shard: ShardId,
}

impl Place {
    /// The shard that the connection belongs to.
    pub fn shard(&self) -> ShardId {
        self.shard
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(open) = self.spread.open.get(usize::from(self.shard.0)) {
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Accepts until `listener` is closed. `receive` is called on the shard that the connection goes to, and must only
/// start what serves it (a task in a gate of that shard).
///
/// Want of descriptors is waited out, with one warning each time it begins.
pub async fn hand_out<F>(listener: &TcpListener, spread: &Spread, receive: F)
where
    F: Fn(TcpStream, Place) + Send + Clone + 'static,
{
    let mut short = false;
    loop {
        match listener.accept().await {
            Ok(accepted) => {
                short = false;
                send(accepted, spread.take(), receive.clone()).await;
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return,
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if !std::mem::replace(&mut short, true) {
                    tracing::warn!("cannot accept connections, will go on trying: {error}");
                }
                time::sleep(PAUSE).await;
            }
        }
    }
}

async fn send<F>(accepted: Accepted, place: Place, receive: F)
where
    F: FnOnce(TcpStream, Place) + Send + 'static,
{
    let to = place.shard;
    mesh::ready(to).await;
    let call = mesh::call(to, move || {
        // A connection that is gone already needs no serving.
        if let Ok(stream) = TcpStream::from_accepted(accepted) {
            receive(stream, place);
        }
        async {}
    });
    drop(call); // nothing is to be waited for
}
