//! What a partition's files lack after a crash, while the journals that have it are kept.
//!
//! What a newcomer would get wrong: it is no second copy to be lost. Until every partition of the dir has got what it
//! is owed the journals stay, no half of a newer one is used again, and a crash replays them all, oldest first (D6).

use std::path::Path;

use super::replayed::Replayed;
use super::settle;
use crate::PartitionId;
use crate::checkpoint::Entry;
use crate::error::StorageError;

/// See the module.
#[derive(Debug)]
pub(crate) struct Owed {
    entry: Entry,
    log: Replayed,
}

impl Owed {
    pub(super) fn new(entry: Entry, log: Replayed) -> Self {
        Self { entry, log }
    }

    /// Brings the partition's files to the end that its outline has had since the start; durable. Gives the entry as
    /// it is then, with the segments before the last sealed; with damage if the files are not what they should be (D16).
    ///
    /// # Errors
    /// Of the disk.
    pub async fn settle(self, dir: &Path, id: PartitionId) -> Result<Entry, StorageError> {
        let (entry, _) = settle(dir, id, self.entry, self.log).await?;
        Ok(entry)
    }
}
