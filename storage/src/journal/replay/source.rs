//! Where a replay finds a journal's bytes: in memory, or in the file with several reads on their way.
//!
//! What a newcomer would get wrong: the file is read in one direction. Going back costs a new beginning, which only
//! happens where something is rotten. Memory stays small however large the journal is.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use shards::buffers::{Buffer, Purpose};
use shards::fs::{File, OpenOptions};
use shards::{Priority, Task};

use super::super::frames::BLOCK;
use crate::error::{During, StorageError};

/// Bytes of one read.
const PIECE_BYTES: usize = 512 << 10;
/// Reads on their way: what an NVMe device needs to be at its full rate.
const PIECES_AT_A_TIME: usize = 8;

/// The bytes of a journal's file.
pub(super) trait Source {
    /// How long the file is.
    fn len(&self) -> u64;

    /// The bytes at `at`, fewer than `len` only at the end of the file.
    ///
    /// # Errors
    /// Of the disk.
    async fn get(&mut self, at: u64, len: usize) -> Result<&[u8], StorageError>;
}

/// Bytes that are there already; never waits.
pub(super) struct Memory<'a>(pub &'a [u8]);

impl Source for Memory<'_> {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    async fn get(&mut self, at: u64, len: usize) -> Result<&[u8], StorageError> {
        let rest = usize::try_from(at).ok().and_then(|at| self.0.get(at..));
        let rest = rest.unwrap_or_default();
        Ok(rest.get(..len.min(rest.len())).unwrap_or_default())
    }
}

/// A file read ahead of who asks, as soon as somebody asks for two places in a row.
pub(super) struct Ahead {
    file: Rc<File>,
    path: PathBuf,
    length: u64,
    /// Contiguous bytes from `window_at` on.
    window: Vec<u8>,
    window_at: u64,
    /// What follows the window, on its way, in order; with where each ends.
    pieces: VecDeque<(u64, Task<io::Result<Buffer>>)>,
    /// Where the next piece begins.
    next: u64,
    /// The last answer was found by reading on where the one before ended.
    is_in_a_row: bool,
    /// Bytes read so far.
    pub bytes_read: u64,
}

impl Ahead {
    pub async fn open(path: &Path) -> Result<Ahead, StorageError> {
        let options = OpenOptions {
            read: true,
            direct: true,
            ..OpenOptions::default()
        };
        let file = Rc::new(File::open(path, options).await.during("open", path)?);
        let length = file.len().await.during("look at", path)?;
        Ok(Ahead {
            file,
            path: path.to_owned(),
            length,
            window: Vec::new(),
            window_at: 0,
            pieces: VecDeque::new(),
            next: 0,
            is_in_a_row: false,
            bytes_read: 0,
        })
    }

    /// # Errors
    /// Of the disk.
    pub async fn close(mut self) -> Result<(), StorageError> {
        self.forget().await;
        match Rc::try_unwrap(self.file) {
            Ok(file) => file.close().await.during("close", &self.path),
            Err(_) => Ok(()),
        }
    }

    /// Waits for the reads on their way; what they bring is not wanted.
    async fn forget(&mut self) {
        for (_, piece) in std::mem::take(&mut self.pieces) {
            let _ = piece.await; // a read that failed and that nobody needs
        }
    }

    fn window_end(&self) -> u64 {
        self.window_at + self.window.len() as u64
    }

    /// Begins anew at the block of `at`.
    async fn go_to(&mut self, at: u64) {
        self.forget().await;
        self.window.clear();
        self.window_at = at / BLOCK as u64 * BLOCK as u64;
        self.next = self.window_at;
        self.is_in_a_row = false;
    }

    /// Sends off reads: one of the bytes that are wanted, or as many as may be on their way.
    async fn send_off(&mut self, until: u64) {
        let (count, bytes) = match self.is_in_a_row {
            true => (PIECES_AT_A_TIME, PIECE_BYTES),
            false => (
                1,
                ((until - self.next) as usize)
                    .next_multiple_of(BLOCK)
                    .min(PIECE_BYTES),
            ),
        };
        while self.pieces.len() < count && self.next < self.length {
            let wanted = (self.length - self.next).min(bytes as u64) as usize;
            // Taken here and in order: the piece that is waited for must not wait for those behind it.
            let buffer = Buffer::take(Purpose::Background, wanted).await;
            let (file, at) = (self.file.clone(), self.next);
            self.next += wanted as u64;
            let reading = shards::spawn(Priority::Clients, async move {
                let (count, buffer) = file.read_at(at, buffer).await;
                count.map(|_| buffer)
            });
            self.pieces.push_back((self.next, reading));
        }
    }

    /// Moves the next piece into the window; `false` at the end of the file.
    async fn take_piece(&mut self, until: u64) -> Result<bool, StorageError> {
        self.send_off(until).await;
        let Some((end, piece)) = self.pieces.pop_front() else {
            return Ok(false);
        };
        let buffer = piece.await.during("read", &self.path)?;
        self.bytes_read += buffer.len() as u64;
        if let Some(whole) = buffer.get(..(end - self.window_end()) as usize) {
            self.window.extend_from_slice(whole);
            return Ok(true);
        }
        // A short read: what follows it is asked for again, from the start of a block.
        let usable = buffer.len() / BLOCK * BLOCK;
        self.window
            .extend_from_slice(buffer.get(..usable).unwrap_or_default());
        self.forget().await;
        self.next = self.window_end();
        // Nothing at all where the file should have bytes: it has become shorter.
        Ok(!buffer.is_empty())
    }
}

impl Source for Ahead {
    fn len(&self) -> u64 {
        self.length
    }

    async fn get(&mut self, at: u64, len: usize) -> Result<&[u8], StorageError> {
        let until = at.saturating_add(len as u64).min(self.length);
        if at < self.window_at || at > self.next {
            self.go_to(at).await;
        }
        if until > self.window_end() {
            self.is_in_a_row |= self.next > self.window_at;
            let passed = (at.min(self.window_end()) - self.window_at) as usize / BLOCK * BLOCK;
            self.window.drain(..passed);
            self.window_at += passed as u64;
        }
        while until > self.window_end() && self.take_piece(until).await? {}
        let from = usize::try_from(at - self.window_at).unwrap_or(usize::MAX);
        let rest = self.window.get(from..).unwrap_or_default();
        Ok(rest.get(..len.min(rest.len())).unwrap_or_default())
    }
}
