//! Whole brokers in one thread under one seed, with hostile disks and networks.
//!
//! [`run::run`] makes a world from a seed, starts the real broker in it, lets clients work while it crashes, and
//! judges what they saw; [`cuts::run`] does the same to a single log that is truncated. What a newcomer would
//! get wrong: clients run on the same façade as the broker and speak the wire protocol; nothing is known of the
//! broker but what comes over its socket, what it logs and what it leaves on its disk.

pub mod admin;
pub mod broker;
pub mod closed;
pub mod connection;
pub mod cuts;
pub mod message;
pub mod plan;
pub mod producer;
pub mod reader;
pub mod recorder;
pub mod run;
pub mod seeds;
pub mod trouble;
