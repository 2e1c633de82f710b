//! Why a connection ended: what its one line in the log says.
//!
//! What a newcomer would get wrong: whatever a client does, the node is well, so no end of a connection is a warning.

use std::fmt;
use std::io;

use protocol::frame::FrameError;
use shards::time::Duration;

use super::activity::SLOW_WINDOW;

/// Why a connection ended.
#[derive(Debug)]
pub enum Ended {
    /// The client closed its side: nothing more will come. What it asked before is answered first.
    ByClient {
        /// Bytes of an unfinished request were lost with it.
        in_frame: bool,
        /// Requests that were not answered yet.
        under_way: usize,
    },
    /// The socket failed, usually a reset by the client.
    Failed(io::Error),
    /// The length field of a frame cannot be accepted.
    Frame(FrameError),
    /// A request that Kafka answers by closing the connection: malformed, or of an API or version nobody offers.
    Refused(String),
    /// Nothing was received or sent for `connections.max.idle.ms`.
    Idle(Duration),
    /// A frame that had begun did not go on.
    Slow,
    /// The client does not read its answers.
    NotReading,
    /// The node stops.
    Stopping,
}

impl fmt::Display for Ended {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::ByClient { in_frame: true, .. } => {
                out.write_str("the client closed it in the middle of a request")
            }
            Ended::ByClient { under_way: 0, .. } => out.write_str("the client closed it"),
            Ended::ByClient { under_way, .. } => {
                write!(
                    out,
                    "the client closed its side with {under_way} requests under way"
                )
            }
            Ended::Failed(error) => write!(out, "the socket failed: {error}"),
            Ended::Frame(error) => write!(out, "unacceptable frame: {error}"),
            Ended::Refused(why) => out.write_str(why),
            Ended::Idle(limit) => write!(out, "idle for {} ms (connections.max.idle.ms)", limit.as_millis()),
            Ended::Slow => write!(
                out,
                "a request that had begun did not arrive within {SLOW_WINDOW:?}"
            ),
            Ended::NotReading => out.write_str("the client does not read its answers"),
            Ended::Stopping => out.write_str("the node stops"),
        }
    }
}

impl Ended {
    /// Whether this is how clients leave every day, of no interest to an operator. `is_silent`: nothing was ever
    /// received, as from who only looks whether the port is open.
    pub fn is_ordinary(&self, is_silent: bool) -> bool {
        match self {
            Ended::ByClient { in_frame, under_way } => !in_frame && *under_way == 0,
            Ended::Failed(_) => is_silent,
            Ended::Stopping => true,
            Ended::Idle(_) | Ended::Frame(_) | Ended::Refused(_) | Ended::Slow | Ended::NotReading => false,
        }
    }
}
