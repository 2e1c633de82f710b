//! The task queues of a shard and their shares of its core.
//!
//! Shares count only among queues that have something to run: background work alone gets the whole core.
//! A task that does not yield owns the core whatever its queue, so long loops call [`crate::yield_now`].

/// The queue that a task runs in.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// What a client waits for: connections, appends, fetches, commits.
    Clients,
    /// Compaction, retention, recovery, cold reads.
    Background,
    /// Metrics, checkpoints of rarely changing state, touching memory ahead of use.
    Housekeeping,
}

impl Priority {
    /// All of them, the most urgent first.
    pub const ALL: [Priority; 3] = [Priority::Clients, Priority::Background, Priority::Housekeeping];

    /// Share of the core while other queues are runnable too, in thousandths of what [`Priority::Clients`] gets.
    pub const fn shares(self) -> usize {
        match self {
            Priority::Clients => 1000,
            Priority::Background => 100,
            Priority::Housekeeping => 50,
        }
    }
}
