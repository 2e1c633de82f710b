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
    /// The client closed its side; `in_frame`: in the middle of a request.
    ByClient {
        /// Bytes of an unfinished request were lost with it.
        in_frame: bool,
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
            Ended::ByClient { in_frame: false } => out.write_str("the client closed it"),
            Ended::ByClient { in_frame: true } => {
                out.write_str("the client closed it in the middle of a request")
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
    /// Whether this is how clients leave every day, of no interest to an operator. `is_between`: no request had begun
    /// or was unanswered.
    pub fn is_ordinary(&self, is_between: bool) -> bool {
        match self {
            Ended::ByClient { in_frame } => !in_frame,
            Ended::Failed(_) => is_between,
            Ended::Stopping => true,
            Ended::Idle(_) | Ended::Frame(_) | Ended::Refused(_) | Ended::Slow | Ended::NotReading => false,
        }
    }
}
