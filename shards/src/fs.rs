//! Files: every call is asynchronous, takes its buffer and gives it back, and never blocks the shard.
//!
//! What a newcomer would get wrong: dropping a future does not stop the operation, which may still happen; a
//! write may be short; nothing is durable before a sync of the file, and a new name not before [`sync_dir`] of
//! its directory. With `direct`, position, address and length must be multiples of 4096
//! ([`crate::buffers::BLOCK`]), or the kernel answers EINVAL.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::buffers::{BLOCK, Buffer, Purpose};
use crate::engine::{self, Engine};
use crate::shard;

/// Writes in a row that may end before a whole block is written.
const FRUITLESS_WRITES_MAX: usize = 8;

/// How to open a file.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// For reading.
    pub read: bool,
    /// For writing.
    pub write: bool,
    /// Make it when it is not there.
    pub create: bool,
    /// Make it, and fail when it is there.
    pub create_new: bool,
    /// Cut it to nothing.
    pub truncate: bool,
    /// Past the page cache (O_DIRECT).
    pub direct: bool,
}

/// An open file. Dropping it closes it in the background; [`File::close`] waits for that.
pub struct File(engine::File);

/// What became of a linked write and sync.
#[derive(Debug)]
pub struct Commit {
    /// Bytes written; may be fewer than given.
    pub written: io::Result<usize>,
    /// Whether they are durable. An error (ECANCELED) also when the write failed or was short.
    pub synced: io::Result<()>,
}

impl File {
    /// Opens or makes a file. Descriptors are closed on exec.
    ///
    /// # Errors
    /// Of open(2).
    pub async fn open(path: impl AsRef<Path>, options: OpenOptions) -> io::Result<File> {
        engine::File::open(path.as_ref(), options).await.map(File)
    }

    /// Reads from `position` into `buffer`, from its start up to its capacity, and sets its length. May give fewer
    /// bytes than there are; 0 only at or behind the end of the file. On an error the length is 0.
    pub async fn read_at(&self, position: u64, buffer: Buffer) -> (io::Result<usize>, Buffer) {
        self.0.read_at(position, buffer).await
    }

    /// Writes at `position`; gives how many bytes were written.
    ///
    /// # Errors
    /// Of write(2): ENOSPC, EIO, EINVAL when not aligned.
    pub async fn write_at(&self, position: u64, bytes: Bytes) -> io::Result<usize> {
        self.0.write_at(position, bytes).await
    }

    /// Writes all of `bytes`, going on after short writes: from the last whole block when position and length are
    /// whole blocks, so that what was aligned stays so.
    ///
    /// # Errors
    /// As [`File::write_at`]; WriteZero when a write got nowhere several times. Part of it may have been written.
    pub async fn write_all_at(&self, position: u64, bytes: Bytes) -> io::Result<()> {
        let (mut position, mut bytes) = (position, bytes);
        let aligned = position.is_multiple_of(BLOCK as u64) && bytes.len().is_multiple_of(BLOCK);
        let unit = if aligned { BLOCK } else { 1 };
        let mut fruitless = 0;
        while !bytes.is_empty() {
            let count = self.write_at(position, bytes.clone()).await?.min(bytes.len());
            let whole = count / unit * unit;
            fruitless = if whole == 0 { fruitless + 1 } else { 0 };
            if fruitless == FRUITLESS_WRITES_MAX {
                return Err(io::ErrorKind::WriteZero.into());
            }
            position += whole as u64;
            bytes = bytes.split_off(whole);
        }
        Ok(())
    }

    /// One write and, linked to it, one fdatasync: the sync starts in the kernel as soon as the whole write is done.
    pub async fn write_and_sync_at(&self, position: u64, bytes: Bytes) -> Commit {
        self.0.write_and_sync_at(position, bytes).await
    }

    /// fdatasync: data and length are durable.
    ///
    /// # Errors
    /// EIO and its kind: what was written since the last sync may or may not be there, now and for ever.
    pub async fn sync_data(&self) -> io::Result<()> {
        self.0.sync(true).await
    }

    /// fsync: all metadata too.
    ///
    /// # Errors
    /// As [`File::sync_data`].
    pub async fn sync_all(&self) -> io::Result<()> {
        self.0.sync(false).await
    }

    /// Allocates `position .. position + length`; the file grows to the end of it if it was shorter, reading zeros.
    ///
    /// # Errors
    /// Of fallocate(2).
    pub async fn allocate(&self, position: u64, length: u64) -> io::Result<()> {
        self.0.allocate(position, length).await
    }

    /// Cuts or extends (with a hole) to `length`.
    ///
    /// # Errors
    /// Of ftruncate(2).
    pub async fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length).await
    }

    /// The length in bytes; true of the open file, also when its name is gone.
    ///
    /// # Errors
    /// Of statx(2).
    pub async fn len(&self) -> io::Result<u64> {
        self.0.len().await
    }

    /// Closes it and waits for that. Close before removing: the other way round the kernel frees the blocks at an
    /// unlucky moment.
    ///
    /// # Errors
    /// Of close(2).
    pub async fn close(self) -> io::Result<()> {
        self.0.close().await
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("File")
    }
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The name without the directory.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Length in bytes (of a file).
    pub len: u64,
}

/// Room on a file system, in bytes.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Space {
    /// All of it.
    pub total: u64,
    /// What an ordinary user may still use.
    pub free: u64,
}

/// A lock on a file, held until dropped (or until the process ends, however it ends).
pub struct Lock(#[allow(dead_code, reason = "held for its Drop")] engine::Lock);

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lock")
    }
}

fn engine() -> Engine {
    shard::with(|core| core.engine.clone())
}

/// Makes one directory.
///
/// # Errors
/// Of mkdir(2): AlreadyExists, NotFound (the parent).
pub async fn create_dir(path: impl AsRef<Path>) -> io::Result<()> {
    engine().create_dir(path.as_ref()).await
}

/// Makes a directory and those above it that are missing. Syncs nothing.
///
/// # Errors
/// Of mkdir(2), except that it is there already.
pub async fn create_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    let mut missing: Vec<PathBuf> = Vec::new();
    let mut at = Some(path);
    while let Some(dir) = at.filter(|dir| !dir.as_os_str().is_empty()) {
        match create_dir(dir).await {
            Ok(()) => break,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => break,
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push(dir.to_path_buf()),
            Err(error) => return Err(error),
        }
        at = dir.parent();
    }
    for dir in missing.iter().rev() {
        match create_dir(dir).await {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Gives a file or directory a new name; a file that has the name is replaced, atomically.
///
/// # Errors
/// Of rename(2).
pub async fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    engine().rename(from.as_ref(), to.as_ref()).await
}

/// Removes a file's name.
///
/// # Errors
/// Of unlink(2).
pub async fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    engine().remove_file(path.as_ref()).await
}

/// Removes an empty directory.
///
/// # Errors
/// Of rmdir(2).
pub async fn remove_dir(path: impl AsRef<Path>) -> io::Result<()> {
    engine().remove_dir(path.as_ref()).await
}

/// Makes the names in a directory durable: after create, rename and remove.
///
/// # Errors
/// Of open(2) and fsync(2).
pub async fn sync_dir(path: impl AsRef<Path>) -> io::Result<()> {
    engine().sync_dir(path.as_ref()).await
}

/// What is in a directory, sorted by name. Names that are not UTF-8 are left out.
///
/// # Errors
/// Of opendir(3) and readdir(3).
pub async fn read_dir(path: impl AsRef<Path>) -> io::Result<Vec<Entry>> {
    let mut entries = engine().read_dir(path.as_ref()).await?;
    entries.sort_unstable();
    Ok(entries)
}

/// Whether the name is there.
///
/// # Errors
/// Of statx(2), except that it is not there.
pub async fn exists(path: impl AsRef<Path>) -> io::Result<bool> {
    match engine().metadata(path.as_ref()).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Reads a whole small file (settings, checkpoints) of at most `max` bytes, through the page cache.
///
/// # Errors
/// FileTooLarge when there is more; otherwise of open(2) and read(2).
pub async fn read(path: impl AsRef<Path>, max: usize) -> io::Result<Vec<u8>> {
    let file = File::open(
        path,
        OpenOptions {
            read: true,
            ..OpenOptions::default()
        },
    )
    .await?;
    let mut bytes = Vec::new();
    let result = loop {
        let buffer = Buffer::take(Purpose::Background, 64 << 10).await;
        let (count, buffer) = file.read_at(bytes.len() as u64, buffer).await;
        match count {
            Ok(0) => break Ok(()),
            Ok(_) if bytes.len() + buffer.len() > max => break Err(io::ErrorKind::FileTooLarge.into()),
            Ok(_) => bytes.extend_from_slice(&buffer),
            Err(error) => break Err(error),
        }
    };
    file.close().await?;
    result.map(|()| bytes)
}

/// Makes or replaces a file in place, through the page cache; nothing is synced.
///
/// # Errors
/// Of open(2) and write(2); the file may then hold part of it.
pub async fn write(path: impl AsRef<Path>, bytes: Vec<u8>) -> io::Result<()> {
    let options = OpenOptions {
        write: true,
        create: true,
        truncate: true,
        ..OpenOptions::default()
    };
    let file = File::open(path, options).await?;
    let result = file.write_all_at(0, bytes.into()).await;
    file.close().await?;
    result
}

/// Opens a file and syncs all of it.
///
/// # Errors
/// Of open(2) and fsync(2).
pub async fn sync_file(path: impl AsRef<Path>) -> io::Result<()> {
    let file = File::open(
        path,
        OpenOptions {
            read: true,
            ..OpenOptions::default()
        },
    )
    .await?;
    let result = file.sync_all().await;
    file.close().await?;
    result
}

/// Room on the file system that holds `path`.
///
/// # Errors
/// Of statvfs(3).
pub async fn space(path: impl AsRef<Path>) -> io::Result<Space> {
    engine().space(path.as_ref()).await
}

/// Takes the lock of `path` (made if missing), as Kafka does with `.lock` (a record lock of fcntl(2)), and writes
/// the process id into it.
///
/// # Errors
/// WouldBlock when another process holds it; the text is then that process's id, if it wrote one.
pub async fn lock(path: impl AsRef<Path>) -> io::Result<Lock> {
    engine().lock(path.as_ref()).await.map(Lock)
}
