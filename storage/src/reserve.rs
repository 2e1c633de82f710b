//! Space that a full disk does not have, kept for the work that must not fail for want of it (D13).
//!
//! Space for records is allocated before they are acknowledged; recovery, checkpoints and the close need a
//! little more, and this file is what they live on: it is removed before them and made again afterwards.

use std::path::Path;

use shards::fs::{self, File, OpenOptions};

use crate::error::{During, StorageError};

/// The name of the file. Kafka ignores plain files in a log dir.
pub const FILE: &str = "klamm-reserve";

/// Gives the space back to the disk.
pub(crate) async fn give_back(dir: &Path) -> Result<(), StorageError> {
    let path = dir.join(FILE);
    if fs::exists(&path).await.during("look at", &path)? {
        fs::remove_file(&path).await.during("remove", &path)?;
    }
    Ok(())
}

/// Takes space, as much as wanted; a disk that is full already leaves the dir without, said once.
pub(crate) async fn take(dir: &Path, bytes: u64) -> Result<(), StorageError> {
    let path = dir.join(FILE);
    let options = OpenOptions {
        write: true,
        create: true,
        ..OpenOptions::default()
    };
    let file = File::open(&path, options).await.during("open", &path)?;
    let result = file.allocate(0, bytes).await;
    file.close().await.during("close", &path)?;
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {
            tracing::warn!("{} is full: there is no reserve", dir.display());
            give_back(dir).await
        }
        result => result.during("allocate space for", &path),
    }
}
