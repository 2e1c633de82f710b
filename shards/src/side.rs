//! The way to plain threads: what is not latency critical, or would block a shard.
//!
//! Messages cross in bounded flume channels; a shard that waits on one is woken through its inbox. In the
//! simulator the other end is a script.

use crate::engine;

/// What the operator asks of the process.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// SIGTERM: stop in good order.
    Terminate,
    /// SIGINT, as by Ctrl-C.
    Interrupt,
}

/// Signals of the process, in the order they came.
pub struct Signals(engine::Signals);

/// Takes over SIGTERM and SIGINT: from now they do not end the process but arrive here. Call it once per
/// process, on one shard; of several holders each signal reaches one.
///
/// # Errors
/// When the thread or the signal mask is refused.
pub fn signals() -> std::io::Result<Signals> {
    engine::signals().map(Signals)
}

impl Signals {
    /// The next one. Dropping the future loses none.
    pub async fn next(&self) -> Signal {
        self.0.next().await
    }
}

impl std::fmt::Debug for Signals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signals")
    }
}
