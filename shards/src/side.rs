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

/// Holds SIGTERM and SIGINT back from now on, until [`signals`] takes them over: one that comes while a process starts
/// must not end it half done. Call it first thing in `main`: it holds for this thread and those it starts.
///
/// # Errors
/// When the signal mask is refused.
pub fn hold_signals() -> std::io::Result<()> {
    engine::uring::signals::hold()
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
