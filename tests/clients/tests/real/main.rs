//! All tests with real clients, in one program since each program links librdkafka anew.

#![allow(clippy::disallowed_methods, reason = "tests run on ordinary threads")]

mod commands;
mod crash;
mod docs;
mod files;
mod inside;
mod limits;
mod matrix;
mod sent;
mod topics;
mod versions;
