//! A partition on disk: the journal, the log, and what it takes to believe them after a crash.
