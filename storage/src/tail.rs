//! The end of a segment in memory, at the byte positions that it has in the file.
//!
//! What is filled never changes, so the same bytes serve readers, the journal's copy and the direct write to
//! the file without being copied again (D8). The first byte in memory is at the start of a block, which need
//! not be the start of a batch.

use std::collections::VecDeque;

use bytes::Bytes;
use shards::buffers::{BLOCK, Chunk};

/// `position` rounded down to the start of its block.
pub(crate) fn block_start(position: u32) -> u32 {
    position - position % BLOCK as u32
}

/// Contiguous chunks up to the end of what was placed.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    pieces: VecDeque<Piece>,
    end: u32,
}

#[derive(Debug)]
struct Piece {
    position: u32,
    chunk: Chunk,
}

impl Piece {
    fn end(&self) -> u32 {
        self.position + self.chunk.filled() as u32
    }
}

impl Tail {
    /// Nothing in memory, the segment having `end` bytes.
    pub fn new(end: u32) -> Self {
        Self {
            pieces: VecDeque::new(),
            end,
        }
    }

    /// Position after the last byte placed.
    pub fn end(&self) -> u32 {
        self.end
    }

    /// Position of the first byte in memory; [`end`](Self::end) if there is none.
    pub fn start(&self) -> u32 {
        self.pieces.front().map_or(self.end, |piece| piece.position)
    }

    /// Whether no chunk is held.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// How many chunks are held.
    pub fn chunks(&self) -> usize {
        self.pieces.len()
    }

    /// How many bytes still fit into the last chunk.
    pub fn room(&self) -> usize {
        self.pieces
            .back()
            .map_or(0, |piece| piece.chunk.capacity() - piece.chunk.filled())
    }

    /// Adds a chunk behind the full ones. When there is none yet and the end is inside a block, the chunk must
    /// hold that block's bytes up to the end already.
    pub fn push(&mut self, chunk: Chunk) {
        debug_assert_eq!(self.room(), 0, "the last chunk is full");
        let position = self.end - chunk.filled() as u32;
        debug_assert_eq!(position, block_start(position));
        debug_assert!(self.pieces.is_empty() || chunk.filled() == 0);
        self.pieces.push_back(Piece { position, chunk });
    }

    /// Appends what fits of `bytes`; gives how many that were.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let count = self
            .pieces
            .back_mut()
            .map_or(0, |piece| piece.chunk.append(bytes));
        self.end += count as u32;
        count
    }

    /// The bytes of `from..to`, shared; both must be in memory.
    pub fn view(&self, from: u32, to: u32) -> Vec<Bytes> {
        let mut views = Vec::new();
        let first = self.pieces.partition_point(|piece| piece.end() <= from);
        for piece in self.pieces.iter().skip(first) {
            let (start, end) = (from.max(piece.position), to.min(piece.end()));
            if start >= end {
                break;
            }
            views.push(
                piece
                    .chunk
                    .view((start - piece.position) as usize..(end - piece.position) as usize),
            );
        }
        views
    }

    /// Drops chunks that lie wholly before `position`.
    pub fn drop_before(&mut self, position: u32) {
        while self
            .pieces
            .front()
            .is_some_and(|piece| piece.position + piece.chunk.capacity() as u32 <= position)
        {
            self.pieces.pop_front();
        }
    }

    /// Drops all chunks.
    pub fn clear(&mut self) {
        self.pieces.clear();
    }
}
