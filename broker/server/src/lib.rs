//! The Klamm process: connections, handlers, hosted partitions, and the drivers of the pure parts.

pub mod config;
pub mod connection;
pub mod pipeline;
pub mod placement;
pub mod receive;
