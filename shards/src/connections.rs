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

/// Refused connections are told of at most this often.
const TOLD: Duration = Duration::from_secs(60);
/// How long accepting pauses when the process has no descriptor left (EMFILE and its kind).
const PAUSE: Duration = Duration::from_millis(20);

/// How many connections each shard has. Clones count together; one for all listeners of a process.
#[derive(Clone, Debug)]
pub struct Spread {
    open: Arc<[AtomicUsize]>,
    most: usize,
}

impl Spread {
    /// For the shards of this process, all without connections.
    pub fn new() -> Spread {
        Spread::of(usize::MAX)
    }

    /// The same for at most `most` connections of all shards together.
    pub fn of(most: usize) -> Spread {
        let count = shard::current().count();
        Spread {
            open: (0..count).map(|_| AtomicUsize::new(0)).collect(),
            most,
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

    /// Takes a place on the shard with the fewest, the first of equals; `None` when there are as many as may be.
    fn take(&self) -> Option<Place> {
        if self.total() >= self.most {
            return None;
        }
        let fewest = self
            .open
            .iter()
            .enumerate()
            .min_by_key(|(_, open)| open.load(Ordering::Relaxed));
        let shard = ShardId(fewest.map_or(0, |(index, _)| index as u16));
        if let Some(open) = self.open.get(usize::from(shard.0)) {
            open.fetch_add(1, Ordering::Relaxed);
        }
        Some(Place {
            spread: self.clone(),
            shard,
        })
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
/// A connection beyond those that `spread` has room for is closed at once, and told of once a minute at most: it must
/// not use up the descriptors that everything else needs. Want of descriptors is waited out, with one warning each time
/// it begins.
pub async fn hand_out<F>(listener: &TcpListener, spread: &Spread, receive: F)
where
    F: Fn(TcpStream, Place) + Send + Clone + 'static,
{
    let mut short = false;
    let mut refused = Refused::default();
    loop {
        match listener.accept().await {
            Ok(accepted) => {
                short = false;
                match spread.take() {
                    Some(place) => send(accepted, place, receive.clone()).await,
                    None => refused.note(&accepted, spread.most),
                }
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

/// Connections that were closed because there were too many, since the last that was told of.
#[derive(Default)]
struct Refused {
    count: u64,
    told: Option<time::Instant>,
}

impl Refused {
    fn note(&mut self, accepted: &Accepted, most: usize) {
        self.count += 1;
        if self.told.is_some_and(|told| told.elapsed() < TOLD) {
            return;
        }
        tracing::warn!(
            "closed {} new connections, the last from {}: {most} are open, as many as the limit of open files leaves \
             room for (raise it with `ulimit -n` or LimitNOFILE=)",
            self.count,
            accepted.peer_addr()
        );
        (self.count, self.told) = (0, Some(time::now()));
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
