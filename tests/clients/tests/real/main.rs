//! All tests with real clients, in one program since each program links librdkafka anew.

mod crash;
mod files;
mod limits;
mod matrix;
mod sent;
mod topics;
