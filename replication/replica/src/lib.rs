//! The two roles of a partition: a leader that moves the high watermark, a follower that catches up. Pure.
//!
//! ```text
//! log start <= high watermark <= durable end <= log end
//! ```
//!
//! What a newcomer would get wrong: "what is there" means the durable end everywhere, never the end of the log:
//! a record that a power cut could take must not be seen by anybody. A partition without followers is a leader
//! whose own durable end is the high watermark.

mod invariants;
pub mod leader;

pub use leader::{Epoch, Leader};
