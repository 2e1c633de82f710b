//! Hostile bytes for everything that reads bytes: what comes from a socket, what comes from a disk.
//!
//! A [`Target`] is one reader with good examples of what it reads. The [`runner`] changes the examples
//! ([`mutate`]), gives them to the reader, and holds it to three promises: it never panics, it never holds more
//! memory than it says for an input of that size, and it never takes long. An input that makes the reader answer
//! as none did before joins the examples.
//!
//! `cargo test -p fuzz` gives each target a short, bounded run with a fixed seed; `cargo run -p fuzz -- TARGET
//! --seconds 600 --seed 7` looks for longer.
//!
//! What a newcomer would get wrong: bytes behind a checksum are useless to a fuzzer that does not mend it, so most
//! targets have a `mend`; and an allocation too large for the machine ends the process before anything can be said:
//! `--keep FILE` then writes down each input before it is tried.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test: it reads examples and measures time, on ordinary threads"
)]

pub mod mutate;
pub mod runner;
// Here, since the module that makes examples looks for it at the root.
#[path = "../../../protocol/build/schema.rs"]
#[allow(dead_code)] // the build of `protocol` uses all of it, examples only what they are made of
mod schema;
pub mod targets;

pub use runner::{Finding, Kind, Limit, Summary, Target, run};
