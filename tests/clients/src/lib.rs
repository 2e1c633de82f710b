//! Real clients against the real binary: what the last word about compatibility is spoken with.
//!
//! [`Broker`] starts a process and judges its log; [`Client`] is what librdkafka, kcat, kafka-python, the Java
//! client and `klamm` itself have in common, so that one test runs over all of them and what one wrote the
//! others read.
//! Read in the order: `broker`, `client`, one of the drivers, then `tests/real`.
//!
//! What a newcomer would get wrong: the clients are not in the repository. `tests/run install` fetches them
//! below `target/clients`; a test that cannot find one fails, it never passes over it. The broker under test
//! is Klamm, or Apache Kafka itself with `CLIENTS_TARGET=kafka`: a test that Apache Kafka fails is wrong.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "starts processes and waits for them, on ordinary threads"
)]

pub mod broker;

pub mod capture;
pub mod client;

pub mod dump;
pub mod kcat;
pub mod klamm;
pub mod librdkafka;
pub mod load;

pub mod log_lines;
pub mod paths;
pub mod process;
pub mod record;
pub mod script;
pub mod wire;

pub use broker::{Broker, Settings, Target};
pub use client::{Acks, Client, Codec, Consume, Failure, From, Produce, TopicSpec};
pub use record::{Consumed, Record};
