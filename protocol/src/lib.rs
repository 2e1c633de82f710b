//! Kafka's bytes on the wire and on disk: pure, no clock, no socket, no file.

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
