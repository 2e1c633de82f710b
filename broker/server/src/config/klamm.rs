//! Our own settings.
//!
//! What a newcomer would get wrong: a key that begins with `klamm.` and does not stand here is an error, not
//! a warning.

use super::setting::{I64, Kind, Setting, int, long, settings};

/// The settings, by name.
pub(super) const SETTINGS: &[Setting] = settings! {
    "klamm.cpus", Kind::FilledText, None, Restart, Acted,
        "CPUs to run on, as a list such as 0-7,16. All that the process may use when not set.";
    "klamm.durability", Kind::Choice(&["sync"]), Some("sync"), Restart, Acted,
        "What an acknowledged record has survived: `sync` is a power cut.";
    "klamm.journal.bytes", long(16 << 20, I64), None, Restart, Acted,
        "Bytes of all journals of the log directory together. 256 MiB when not set, 128 MiB without any settings.";
    "klamm.memory.bytes", long(64 << 20, I64), None, Restart, Acted,
        "Memory of all shards together. A quarter of what host or cgroup allow when not set, 512 MiB without any settings.";
    "klamm.shards", int(1, 1024), None, Restart, Acted,
        "Number of shards. One per CPU when not set; more than CPUs is for development.";
};
