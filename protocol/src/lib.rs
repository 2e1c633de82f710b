//! Kafka's bytes on the wire and on disk: pure, no clock, no socket, no file.
//!
//! To be read in this order:
//!
//! - [`types`], [`error_code`]: the numbers that stand in messages, each a type of its own.
//! - [`wire`]: how primitive types are read and written, and why nothing a peer says about sizes is believed.
//! - `schema/`: one short description of every message and log record, in the notation that
//!   `build/schema.rs` explains; [`messages`]: what the build script makes of them.
//! - [`api`]: which APIs there are, and the one table of what the broker announces and accepts.
//! - [`frame`]: what stands around a message on a connection.
//! - [`crc`], [`compression`], [`batch`], [`records`]: the record batch, the one thing that Produce, Fetch,
//!   replicas and segment files have in common. It is patched in place and never encoded anew.
//!
//! What a newcomer would get wrong: bytes from a socket or a disk may be anything. Whatever is decoded here is
//! refused with an error, never with a panic, and before memory is allocated for it.

pub mod api;
pub mod batch;
pub mod compression;
pub mod control;
pub mod crc;
pub mod error_code;
pub mod fetch;
pub mod frame;
pub mod messages;
pub mod produce;
pub mod records;
pub mod types;
pub mod validation;
pub mod wire;

pub use api::ApiKey;
pub use error_code::ErrorCode;
pub use types::{
    BrokerId, LeaderEpoch, Offset, Partition, ProducerEpoch, ProducerId, Sequence, TopicId, Uuid, UuidError,
};
pub use wire::{DecodeError, Reader};
