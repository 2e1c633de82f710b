//! What can go wrong below a log: the disk, the bytes on it, or the order of things.
//!
//! The error is cheap to clone and may travel between shards: one failed sync answers everybody who waited,
//! and after it the directory stays offline until the next start (D14), so the same error is met again.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use protocol::types::Offset;

/// Why something on disk did not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageError {
    /// The operating system refused; `what` is the operation in words.
    Io {
        /// Such as "write the journal".
        what: &'static str,
        /// The file or directory.
        path: Arc<str>,
        /// The kind, for those who act on it (a full disk).
        kind: io::ErrorKind,
        /// What the system said.
        text: Arc<str>,
    },
    /// Another process uses the directory.
    Locked {
        /// The directory.
        path: Arc<str>,
        /// The other's process id, if it left it.
        pid: Arc<str>,
    },
    /// Bytes that were acknowledged are damaged or gone; nothing was cut.
    Damaged {
        /// The file.
        path: Arc<str>,
        /// Byte position in it.
        position: u64,
        /// What is wrong.
        what: Arc<str>,
    },
    /// The directory belongs to another cluster or node, or to nobody.
    Foreign {
        /// The directory.
        path: Arc<str>,
        /// What does not fit.
        what: Arc<str>,
    },
    /// The store, or the log, has been closed or deleted.
    Closed,
    /// A read would have to wait for memory, and was not to, or had waited for long.
    NoMemory,
    /// A batch on disk that no read will ever have the memory for: it was written when there was more.
    TooLarge {
        /// Its first offset.
        offset: Offset,
        /// Its bytes.
        bytes: usize,
        /// As many as can be read.
        allowed: usize,
    },
}

impl StorageError {
    /// An error of the operating system.
    pub fn io(what: &'static str, path: impl AsRef<Path>, error: &io::Error) -> Self {
        StorageError::Io {
            what,
            path: text_of(path.as_ref()),
            kind: error.kind(),
            text: error.to_string().into(),
        }
    }

    /// Damage at `position` of a file.
    pub fn damaged(path: impl AsRef<Path>, position: u64, what: impl Into<Arc<str>>) -> Self {
        StorageError::Damaged {
            path: text_of(path.as_ref()),
            position,
            what: what.into(),
        }
    }

    /// A directory that is not ours.
    pub fn foreign(path: impl AsRef<Path>, what: impl Into<Arc<str>>) -> Self {
        StorageError::Foreign {
            path: text_of(path.as_ref()),
            what: what.into(),
        }
    }
}

fn text_of(path: &Path) -> Arc<str> {
    path.to_string_lossy().into()
}

impl fmt::Display for StorageError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StorageError::Io { what, path, text, .. } => write!(out, "cannot {what} {path}: {text}"),
            StorageError::Locked { path, pid } if pid.is_empty() => {
                write!(out, "{path} is in use by another process")
            }
            StorageError::Locked { path, pid } => write!(out, "{path} is in use by process {pid}"),
            StorageError::Damaged { path, position, what } => {
                write!(out, "{path} is damaged at byte {position}: {what}")
            }
            StorageError::Foreign { path, what } => write!(out, "{path}: {what}"),
            StorageError::Closed => out.write_str("closed"),
            StorageError::NoMemory => out.write_str("no memory is free for a read"),
            StorageError::TooLarge {
                offset,
                bytes,
                allowed,
            } => write!(
                out,
                "the batch at {offset} has {bytes} bytes, of which {allowed} can be read"
            ),
        }
    }
}

impl std::error::Error for StorageError {}

/// Gives an error of the operating system its operation and path.
pub(crate) trait During<T> {
    /// `what` reads on from "cannot".
    fn during(self, what: &'static str, path: impl AsRef<Path>) -> Result<T, StorageError>;
}

impl<T> During<T> for io::Result<T> {
    fn during(self, what: &'static str, path: impl AsRef<Path>) -> Result<T, StorageError> {
        self.map_err(|error| StorageError::io(what, path, &error))
    }
}
