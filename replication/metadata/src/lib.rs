//! The metadata image, its records, and the controller that decides them. Pure.
//!
//! ```text
//! command -> controller.decide_*  -> records (and the answer, to be held back)
//!                                    -> appended, durable, committed
//!            committed log -> loader -> the next image -> every shard
//! ```
//!
//! What a newcomer would get wrong: the controller decides on an image that already has what it decided and
//! is not yet committed, so that two requests for one name do not both succeed; everybody else sees committed
//! records only.

pub mod controller;
pub mod image;
pub mod loader;
pub mod map;
pub mod records;
pub mod snapshot;

pub use controller::{Controller, Decision, Refusal};
pub use image::{ApplyError, Image};
pub use loader::Loader;
pub use records::Records;
