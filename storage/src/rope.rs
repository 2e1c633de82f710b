//! Contiguous bytes of a segment in several pieces, read across their seams.
//!
//! Tail reads and disk reads both give one, so batches are found by the same walk in either.

use bytes::Bytes;
use protocol::batch::{self, HEADER_BYTES, Header};

/// Pieces that follow each other; `start` is the file position of the first byte.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rope {
    start: u32,
    end: u32,
    pieces: Vec<(u32, Bytes)>,
}

/// A batch in a rope.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Found {
    /// File position of its first byte.
    pub position: u32,
    /// Its whole length.
    pub length: u32,
    /// Its header.
    pub header: [u8; HEADER_BYTES],
}

/// What stands at a position.
#[derive(Debug)]
pub(crate) enum Peek {
    /// A batch header; the batch may reach past the rope.
    Batch(Found),
    /// Fewer bytes than a header has.
    Short,
    /// No batch.
    Not(batch::Error),
}

impl Rope {
    /// No bytes, at `start`.
    pub fn at(start: u32) -> Self {
        Self {
            start,
            end: start,
            pieces: Vec::new(),
        }
    }

    /// Adds bytes behind the last.
    pub fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.pieces.push((self.end, bytes.clone()));
            self.end += bytes.len() as u32;
        }
    }

    /// Whether `position` is the rope's end or inside it.
    pub fn touches(&self, position: u32) -> bool {
        self.start <= position && position <= self.end
    }

    /// Whether it holds no bytes.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// File position after the last byte.
    pub fn end(&self) -> u32 {
        self.end
    }

    /// Copies the bytes at `position` into `out`; false when the rope does not hold all of them.
    pub fn copy(&self, position: u32, out: &mut [u8]) -> bool {
        if position < self.start || (self.end as usize) < position as usize + out.len() {
            return false;
        }
        let mut place = self.piece_at(position);
        let mut done = 0;
        while done < out.len() {
            let Some((start, bytes)) = self.pieces.get(place) else {
                return false;
            };
            let from = (position as usize + done).saturating_sub(*start as usize);
            let Some(bytes) = bytes.get(from..) else {
                return false;
            };
            let count = bytes.len().min(out.len() - done);
            if let (Some(out), Some(bytes)) = (out.get_mut(done..done + count), bytes.get(..count)) {
                out.copy_from_slice(bytes);
            }
            done += count;
            place += 1;
        }
        true
    }

    /// The pieces of `from..to`, which must lie inside.
    pub fn slice(&self, from: u32, to: u32) -> Vec<Bytes> {
        let mut out = Vec::new();
        for (start, bytes) in self.pieces.iter().skip(self.piece_at(from)) {
            let end = start + bytes.len() as u32;
            let (from, to) = (from.max(*start), to.min(end));
            if from >= to {
                break;
            }
            out.push(bytes.slice((from - start) as usize..(to - start) as usize));
        }
        out
    }

    /// What stands at `position`.
    pub fn peek(&self, position: u32) -> Peek {
        let mut header = [0; HEADER_BYTES];
        if !self.copy(position, &mut header) {
            return Peek::Short;
        }
        match Header::parse(&header) {
            Ok(parsed) => match u32::try_from(parsed.length()) {
                Ok(length) => Peek::Batch(Found {
                    position,
                    length,
                    header,
                }),
                Err(_) => Peek::Short,
            },
            Err(error) => Peek::Not(error),
        }
    }

    /// The bytes of `from..to` in one piece, copied only when they lie across a seam.
    pub fn whole(&self, from: u32, to: u32) -> Option<Bytes> {
        if from < self.start || to > self.end || from > to {
            return None;
        }
        let mut pieces = self.slice(from, to);
        if pieces.len() == 1 {
            return pieces.pop();
        }
        let mut all = Vec::with_capacity((to - from) as usize);
        for piece in &pieces {
            all.extend_from_slice(piece);
        }
        Some(all.into())
    }

    fn piece_at(&self, position: u32) -> usize {
        self.pieces
            .partition_point(|(start, bytes)| start + bytes.len() as u32 <= position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rope() -> Rope {
        let mut rope = Rope::at(100);
        for piece in [&b"abc"[..], b"", b"defgh", b"i"] {
            rope.push(Bytes::from_static(piece));
        }
        rope
    }

    #[test]
    fn bytes_are_read_across_seams() {
        let check = |from: u32, to: u32, expected: &[u8]| {
            let mut out = vec![0; (to - from) as usize];
            assert!(rope().copy(from, &mut out), "{from}..{to}");
            assert_eq!(out, expected);
            assert_eq!(rope().whole(from, to).as_deref(), Some(expected));
            assert_eq!(rope().slice(from, to).concat(), expected);
        };
        check(100, 109, b"abcdefghi");
        check(102, 104, b"cd");
        check(103, 108, b"defgh");
        check(108, 109, b"i");
        check(104, 104, b"");
    }

    #[test]
    fn nothing_is_read_outside() {
        let check = |from: u32, length: usize| assert!(!rope().copy(from, &mut vec![0; length]), "{from}");
        check(99, 2);
        check(100, 10);
        check(109, 1);
        assert_eq!(rope().whole(99, 101), None);
        assert_eq!(rope().whole(105, 110), None);
        assert!(matches!(rope().peek(100), Peek::Short));
    }
}
