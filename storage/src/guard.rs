//! The signs on the door of a log dir: open, closed cleanly, and by whom.
//!
//! While the dir is open, and after a crash, a sub-directory whose name is no partition's keeps an Apache Kafka
//! from starting on it, which would cut what still stands in the journal (D15). The checkpoint is believed if
//! that guard is there (our crash) or if the clean sign carries its token (our close); otherwise somebody else
//! was here (D22).

use std::path::Path;

use protocol::types::Uuid;
use shards::fs;

use crate::error::{During, StorageError};
use crate::kafka_files::{CLEAN_SHUTDOWN, CleanShutdown, FILE_BYTES_MAX};
use crate::log::write_aside;

/// Kafka refuses a log dir with such a directory in it, and its message says what to do.
pub const GUARD: &str = "klamm-open-run-klamm-recover-first";

/// How a dir was left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// We were using it and did not close it.
    Open,
    /// Closed cleanly, with this sign; by us if it carries the token of our checkpoint.
    Closed(CleanShutdown),
    /// Closed cleanly by a Kafka that leaves an empty sign.
    ClosedByOther,
    /// New, or left by somebody else without closing.
    Unknown,
}

/// Reads the signs.
pub async fn look(dir: &Path) -> Result<Left, StorageError> {
    let guard = dir.join(GUARD);
    if fs::exists(&guard).await.during("look at", &guard)? {
        return Ok(Left::Open);
    }
    let sign = dir.join(CLEAN_SHUTDOWN);
    if !fs::exists(&sign).await.during("look at", &sign)? {
        return Ok(Left::Unknown);
    }
    let bytes = fs::read(&sign, FILE_BYTES_MAX).await.during("read", &sign)?;
    Ok(CleanShutdown::decode(&bytes).map_or(Left::ClosedByOther, Left::Closed))
}

/// Says that the dir is open; durable before it returns.
pub async fn open(dir: &Path) -> Result<(), StorageError> {
    let guard = dir.join(GUARD);
    if !fs::exists(&guard).await.during("look at", &guard)? {
        fs::create_dir(&guard).await.during("make", &guard)?;
        fs::sync_dir(dir).await.during("sync", dir)?;
    }
    // The guard stands first: at no moment is the dir without a sign that it is in use.
    let sign = dir.join(CLEAN_SHUTDOWN);
    if fs::exists(&sign).await.during("look at", &sign)? {
        fs::remove_file(&sign).await.during("remove", &sign)?;
        fs::sync_dir(dir).await.during("sync", dir)?;
    }
    Ok(())
}

/// Says that the dir is closed; all else is durable by now.
pub async fn close(dir: &Path, broker_epoch: i64, token: Uuid) -> Result<(), StorageError> {
    let sign = dir.join(CLEAN_SHUTDOWN);
    write_aside(&sign, CleanShutdown::new(broker_epoch, token).encode()).await?;
    fs::sync_dir(dir).await.during("sync", dir)?;
    let guard = dir.join(GUARD);
    fs::remove_dir(&guard).await.during("remove", &guard)?;
    fs::sync_dir(dir).await.during("sync", dir)
}
