//! What must be true of a history of produce and consume calls, whoever recorded it.
//!
//! A recorder (a test with real clients, the simulator) writes down [`Event`]s in the order in which they
//! happened; [`check`] finds every [`Anomaly`] in them. Nothing here knows a client library, a clock or a
//! file, so both recorders share one judge.
//!
//! What a newcomer would get wrong:
//! - A send without an [`Event::Acked`] or [`Event::Refused`] is *unknown*: it may be in the log or not, and
//!   both are right.
//! - Lost writes, gaps and phantom reads can only be told from a *whole* reading of a log, so nothing is
//!   said about them before some reader closes with [`Event::ReadAll`].
//! - The order of the history is the only time there is: `Sent` is written before the call is made, `Acked`
//!   and `Read` after the answer was seen.

mod anomaly;
mod check;
mod history;

pub use anomaly::Anomaly;
pub use check::{Rules, check};
pub use history::{Event, HistoryError, Log, parse_lines, write_line};
