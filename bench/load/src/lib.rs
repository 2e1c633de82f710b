//! Open-loop load against any Kafka-compatible broker, with full latency histograms and the broker's CPU time.
//!
//! *Open loop*: a request is due at a time that does not depend on earlier answers, and its latency counts from when it
//! was due, not from when it could be sent. So a broker that stalls is charged for everybody who would have waited.
//! With a rate of zero the loop is closed: each connection keeps its window full, which measures cost per byte and the
//! most that goes through, and says nothing about latency.
//!
//! One thread drives all connections, so that on a small machine the generator takes one core and the broker another.

#![allow(
    clippy::disallowed_methods,
    reason = "a program of its own on ordinary threads: it keeps real time"
)]

pub mod connection;
pub mod control;
pub mod cpu;
pub mod drive;
pub mod fetch;
pub mod first;
pub mod produce;
pub mod report;
pub mod workload;
