//! The journals that lie in a dir: those that stores append to, and those of the start before the last crash that are
//! kept until what they hold stands in the files.
//!
//! What a newcomer would get wrong: between a kept journal and the current one of the same shard the order counts. The
//! kept one is older, and must never be replayed without the one that came after it.

use std::path::{Path, PathBuf};

use shards::{fs, time};

use crate::error::{During, StorageError};
use crate::journal;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub path: PathBuf,
    /// The shard that it is, or was, of.
    pub shard: u16,
    /// Nobody appends to it; see the module.
    pub is_kept: bool,
}

impl Listed {
    fn from_name(dir: &Path, name: &str) -> Option<Self> {
        [(journal::KEPT_FILE, true), (journal::FILE, false)]
            .into_iter()
            .find_map(|(kind, is_kept)| {
                let number = name.strip_prefix(kind)?.strip_prefix('-')?;
                Some(Self {
                    path: dir.join(name),
                    shard: number.parse().ok()?,
                    is_kept,
                })
            })
    }
}

/// All of them, in the order in which they were written: first those that are kept.
///
/// # Errors
/// Of the disk.
pub(crate) async fn list(dir: &Path) -> Result<Vec<Listed>, StorageError> {
    let found = fs::read_dir(dir).await.during("list", dir)?;
    let mut journals: Vec<Listed> = found
        .into_iter()
        .filter(|entry| !entry.is_dir)
        .filter_map(|entry| Listed::from_name(dir, &entry.name))
        .collect();
    journals.sort_by_key(|listed| (!listed.is_kept, listed.shard));
    Ok(journals)
}

/// Keeps every journal under a name under which nobody appends to it; durable. There were none of that name.
///
/// # Errors
/// Of the disk.
pub(crate) async fn keep(dir: &Path) -> Result<(), StorageError> {
    for current in list(dir).await? {
        if !current.is_kept {
            let kept = dir.join(format!("{}-{}", journal::KEPT_FILE, current.shard));
            fs::rename(&current.path, &kept)
                .await
                .during("rename", &current.path)?;
        }
    }
    fs::sync_dir(dir).await.during("sync", dir)
}

/// Removes the journals that were kept: all that they hold stands in the files, and checkpoints count it. Durable,
/// since after it the others are emptied or used again, and older bytes must not be replayed without newer ones.
///
/// # Errors
/// Of the disk.
pub(crate) async fn remove_kept(dir: &Path) -> Result<(), StorageError> {
    let mut is_any = false;
    for kept in list(dir).await? {
        if kept.is_kept {
            is_any = true;
            fs::remove_file(&kept.path).await.during("remove", &kept.path)?;
        }
    }
    match is_any {
        true => fs::sync_dir(dir).await.during("sync", dir),
        false => Ok(()),
    }
}

/// Makes the current journals hold nothing, and removes those of `shards` and above, which are no more. Durable with
/// the next sync of the dir.
///
/// # Errors
/// Of the disk.
pub(crate) async fn empty(dir: &Path, shards: u16) -> Result<(), StorageError> {
    for current in list(dir).await? {
        if current.is_kept {
            continue;
        }
        journal::reset(&current.path).await?;
        if current.shard >= shards {
            fs::remove_file(&current.path)
                .await
                .during("remove", &current.path)?;
        }
    }
    Ok(())
}

/// Gives a journal a name under which nobody replays or empties it; durable. Gives that name.
///
/// # Errors
/// Of the disk.
pub(crate) async fn set_aside(path: &Path) -> Result<String, StorageError> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".rotten-{}", time::wall_ms()));
    let aside = PathBuf::from(name);
    fs::rename(path, &aside).await.during("rename", path)?;
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::sync_dir(dir).await.during("sync", dir)?;
    Ok(aside.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (name, expected) in [
            ("klamm-journal-0", Some((0, false))),
            ("klamm-journal-65535", Some((65_535, false))),
            ("klamm-kept-journal-3", Some((3, true))),
            ("klamm-journal-65536", None),
            ("klamm-journal-", None),
            ("klamm-journal", None),
            ("klamm-journal-1.rotten-17", None),
            ("klamm-kept-journal-x", None),
            ("klamm-checkpoint-1", None),
        ] {
            let found = Listed::from_name(Path::new("/d"), name);
            let what = found.as_ref().map(|listed| (listed.shard, listed.is_kept));
            assert_eq!(what, expected, "{name}");
            assert!(found.is_none_or(|listed| listed.path == Path::new("/d").join(name)));
        }
    }
}
