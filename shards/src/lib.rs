//! Cores, files, sockets, time and messages: the runtime of the house, one shard per core.
//!
//! Everything that waits in Klamm waits on a type of this crate. The types are concrete; which engine
//! works below them (`uring`, or the seeded `sim` under the feature `simulation`) is an `enum` matched at
//! the leaf, so nothing above knows. Read in this order: [`shard`] (start, and where state lives), [`task`],
//! [`mesh`] (messages between shards), [`buffers`] (memory), [`fs`] and [`net`].
//!
//! What a newcomer would get wrong: [`spawn`] only queues, it never runs the task inside the call;
//! dropping a future cancels no operation of the kernel, so a write whose future was dropped may still
//! happen; and state is kept in the shard ([`Shard::state`]), never in a `static` or a thread-local,
//! because in the simulator many shards share one thread.

pub mod budget;
pub mod buffers;
pub mod checks;
pub mod collections;
pub mod connections;
pub mod cpus;
mod engine;
pub mod fs;
pub mod gate;
pub mod log;
pub mod mesh;
pub mod net;
pub mod priorities;
pub mod random;
pub mod shard;
pub mod side;
#[cfg(feature = "simulation")]
pub use engine::sim;
pub mod sync;
pub mod task;
pub mod time;

pub use bytes::Bytes;
pub use gate::Gate;
pub use priorities::Priority;
pub use shard::{Config, Shard, ShardId, StartError, current, run};
pub use sync::{Either, select2};
pub use task::{Task, spawn, yield_now};
