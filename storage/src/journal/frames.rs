//! What frames the records in the journal's file: the header of a half and the header of a commit.
//!
//! A commit always begins on a fresh block of 4 KiB, so no block with acknowledged bytes is ever written
//! again in its generation (D4). The chain of CRCs runs on from one half into the next: the header of a new
//! generation names the last commit of the one before, which is how rot at the very end of a full half is
//! told from its natural end (D5). Byte by byte in `format.md`; numbers are little-endian.

use protocol::crc::{Crc32c, crc32c};
use protocol::types::Uuid;

use super::records::part;

/// Size of a block: commits and halves begin on one.
pub const BLOCK: usize = 4096;
/// Size of a commit's header.
pub const COMMIT_HEADER_BYTES: usize = 64;
/// Size of the head of a half: two blocks for its header, used in turn, so that a torn header of a new
/// generation leaves the old one legible, and an illegible one is rot.
pub const HALF_HEAD_BYTES: usize = 2 * BLOCK;
/// Largest size of a half that is believed, and largest generation and sequence: none is ever reached, and sums of
/// them stay in range.
const HALF_BYTES_MAX: u64 = 1 << 40;
const COUNT_MAX: u64 = 1 << 62;
/// Most bytes of records that one commit may hold.
pub const COMMIT_BYTES_MAX: usize = 8 << 20;

const COMMIT_MAGIC: [u8; 8] = *b"KLAMMCMT";
const HALF_MAGIC: [u8; 8] = *b"KLAMMJNL";
const VERSION: u16 = 1;

/// The head of a half: a generation begins.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct HalfHeader {
    /// Random, new for each journal file.
    pub journal: Uuid,
    /// Grows by one at each switch of halves; generation g lies in half g mod 2.
    pub generation: u64,
    /// Sequence of the first commit of this generation.
    pub first_sequence: u64,
    /// CRC of the commit before it, in the other half; 0 in a journal's first generation.
    pub previous_crc: u32,
    /// The shard that writes it.
    pub shard: u16,
    /// Number of the start (open of the log dir) in which it was written.
    pub run: u64,
    /// Size of each half.
    pub half_bytes: u64,
    /// Whether all that earlier generations protected is safe in the segment files: they are not replayed.
    pub is_fresh: bool,
    /// Number of the shard's checkpoint that counts what halves used again had protected; 0 before the first.
    pub checkpoint: u64,
}

impl HalfHeader {
    /// Where its half begins in the file.
    pub fn start(&self) -> u64 {
        self.generation % 2 * self.half_bytes
    }

    /// Where the header stands in the file.
    pub fn position(&self) -> u64 {
        self.start() + self.generation / 2 % 2 * BLOCK as u64
    }

    /// The newest sound header at the front of a half that begins at `start` of the file.
    pub fn newest(half: &[u8], start: u64) -> Option<HalfHeader> {
        let slots = [half, half.get(BLOCK..).unwrap_or_default()];
        let sound = slots.into_iter().zip([start, start + BLOCK as u64]);
        sound
            .filter_map(|(slot, position)| {
                HalfHeader::decode(slot).filter(|half| half.position() == position)
            })
            .max_by_key(|half| half.generation)
    }

    /// The header in its block.
    pub fn encode(&self) -> [u8; 80] {
        let mut out = [0; 80];
        out[..8].copy_from_slice(&HALF_MAGIC);
        out[8..10].copy_from_slice(&VERSION.to_le_bytes());
        out[10..12].copy_from_slice(&self.shard.to_le_bytes());
        out[12..16].copy_from_slice(&self.previous_crc.to_le_bytes());
        out[16..32].copy_from_slice(&self.journal.0);
        out[32..40].copy_from_slice(&self.generation.to_le_bytes());
        out[40..48].copy_from_slice(&self.first_sequence.to_le_bytes());
        out[48..56].copy_from_slice(&self.run.to_le_bytes());
        out[56..64].copy_from_slice(&self.half_bytes.to_le_bytes());
        out[64] = u8::from(self.is_fresh);
        out[68..76].copy_from_slice(&self.checkpoint.to_le_bytes());
        let crc = crc32c(&out[..76]);
        out[76..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// The header at the front of a half, if there is a sound one of this version.
    pub fn decode(half: &[u8]) -> Option<HalfHeader> {
        let header = half.first_chunk::<80>()?;
        let sound = header.starts_with(&HALF_MAGIC)
            && u16::from_le_bytes(part(header, 8)) == VERSION
            && crc32c(&header[..76]) == u32::from_le_bytes(part(header, 76));
        let half = sound.then(|| HalfHeader {
            journal: Uuid(part(header, 16)),
            generation: u64::from_le_bytes(part(header, 32)),
            first_sequence: u64::from_le_bytes(part(header, 40)),
            previous_crc: u32::from_le_bytes(part(header, 12)),
            shard: u16::from_le_bytes(part(header, 10)),
            run: u64::from_le_bytes(part(header, 48)),
            half_bytes: u64::from_le_bytes(part(header, 56)),
            is_fresh: header[64] != 0,
            checkpoint: u64::from_le_bytes(part(header, 68)),
        })?;
        let size_is_sound = (HALF_HEAD_BYTES as u64..=HALF_BYTES_MAX).contains(&half.half_bytes)
            && half.half_bytes.is_multiple_of(BLOCK as u64);
        (size_is_sound && half.generation < COUNT_MAX && half.first_sequence < COUNT_MAX).then_some(half)
    }
}

/// The header of a commit.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct CommitHeader {
    /// That of the half.
    pub journal: Uuid,
    /// That of the half.
    pub generation: u64,
    /// Grows by one with each commit of the journal, over all generations.
    pub sequence: u64,
    /// Bytes of records after the header.
    pub length: u32,
    /// CRC of the commit before it.
    pub previous_crc: u32,
}

impl CommitHeader {
    /// Bytes of the file that a commit with `length` bytes of records takes: whole blocks.
    pub fn blocks_bytes(length: usize) -> usize {
        (COMMIT_HEADER_BYTES + length).next_multiple_of(BLOCK)
    }

    /// Writes the header into the first 64 bytes of `commit`, behind which the records stand already;
    /// returns the commit's CRC, which covers both.
    pub fn seal(&self, commit: &mut [u8]) -> u32 {
        let Some((header, records)) = commit.split_first_chunk_mut::<COMMIT_HEADER_BYTES>() else {
            debug_assert!(false, "a commit has room for its header");
            return 0;
        };
        debug_assert_eq!(records.len(), self.length as usize);
        *header = [0; COMMIT_HEADER_BYTES];
        header[..8].copy_from_slice(&COMMIT_MAGIC);
        header[8..24].copy_from_slice(&self.journal.0);
        header[24..32].copy_from_slice(&self.generation.to_le_bytes());
        header[32..40].copy_from_slice(&self.sequence.to_le_bytes());
        header[40..44].copy_from_slice(&self.length.to_le_bytes());
        header[44..48].copy_from_slice(&self.previous_crc.to_le_bytes());
        let crc = crc_of(header, records);
        header[60..].copy_from_slice(&crc.to_le_bytes());
        crc
    }

    /// The header at the front of `bytes`, if one is there; its CRC is not looked at.
    pub fn decode(bytes: &[u8]) -> Option<CommitHeader> {
        let header = bytes.first_chunk::<COMMIT_HEADER_BYTES>()?;
        let length = u32::from_le_bytes(part(header, 40));
        if !header.starts_with(&COMMIT_MAGIC) || length as usize > COMMIT_BYTES_MAX {
            return None;
        }
        Some(CommitHeader {
            journal: Uuid(part(header, 8)),
            generation: u64::from_le_bytes(part(header, 24)),
            sequence: u64::from_le_bytes(part(header, 32)),
            length,
            previous_crc: u32::from_le_bytes(part(header, 44)),
        })
    }

    /// The records of this commit, which begins at the front of `bytes`, and its CRC, if that is right.
    pub fn verify<'a>(&self, bytes: &'a [u8]) -> Option<(&'a [u8], u32)> {
        let (header, rest) = bytes.split_first_chunk::<COMMIT_HEADER_BYTES>()?;
        let records = rest.get(..self.length as usize)?;
        let crc = crc_of(header, records);
        (crc == u32::from_le_bytes(part(header, 60))).then_some((records, crc))
    }
}

fn crc_of(header: &[u8; COMMIT_HEADER_BYTES], records: &[u8]) -> u32 {
    let mut crc = Crc32c::new();
    crc.update(&header[..60]);
    crc.update(records);
    crc.value()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn half() -> HalfHeader {
        HalfHeader {
            journal: Uuid([5; 16]),
            generation: 8,
            first_sequence: 1_234,
            previous_crc: 0xdead_beef,
            shard: 3,
            run: 17,
            half_bytes: 64 << 20,
            is_fresh: true,
            checkpoint: 6,
        }
    }

    fn commit(records: &[u8]) -> (CommitHeader, Vec<u8>, u32) {
        let header = CommitHeader {
            journal: Uuid([5; 16]),
            generation: 8,
            sequence: 1_235,
            length: records.len() as u32,
            previous_crc: 77,
        };
        let mut bytes = vec![0; COMMIT_HEADER_BYTES];
        bytes.extend_from_slice(records);
        let crc = header.seal(&mut bytes);
        (header, bytes, crc)
    }

    #[test]
    fn a_half_begins_with_its_header() {
        let bytes = half().encode();
        assert_eq!(HalfHeader::decode(&bytes), Some(half()));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(HalfHeader::decode(&damaged), None, "bit {bit}");
        }
        assert_eq!(HalfHeader::decode(&[0; BLOCK]), None);
        assert_eq!(HalfHeader::decode(&bytes[..79]), None);
    }

    #[test]
    fn a_header_with_impossible_numbers_is_none_though_its_crc_is_right() {
        let check = |change: fn(&mut HalfHeader), expected: bool| {
            let mut header = half();
            change(&mut header);
            let bytes = header.encode();
            assert_eq!(HalfHeader::decode(&bytes).is_some(), expected, "{header:?}");
            // Where it would stand is asked for only when its numbers are sound.
            assert!(HalfHeader::newest(&bytes, 1).is_none());
        };
        check(|half| half.half_bytes = HALF_BYTES_MAX, true);
        check(|half| half.half_bytes = u64::MAX - 1, false);
        check(|half| half.half_bytes = HALF_BYTES_MAX + BLOCK as u64, false);
        check(|half| half.half_bytes = BLOCK as u64, false);
        check(|half| half.half_bytes = HALF_HEAD_BYTES as u64 + 1, false);
        check(|half| half.generation = u64::MAX, false);
        check(|half| half.first_sequence = u64::MAX, false);
    }

    #[test]
    fn a_torn_header_leaves_the_one_before_it() {
        let mut file = vec![0; HALF_HEAD_BYTES];
        let mut write = |generation: u64, is_torn: bool| {
            let half = HalfHeader { generation, ..half() };
            let at = (half.position() - half.start()) as usize;
            let bytes = half.encode();
            let length = if is_torn { 40 } else { bytes.len() };
            file[at..at + length].copy_from_slice(&bytes[..length]);
            HalfHeader::newest(&file, half.start()).map(|half| half.generation)
        };
        assert_eq!(write(7, true), None);
        assert_eq!(write(7, false), Some(7));
        assert_eq!(write(9, true), Some(7));
        assert_eq!(write(9, false), Some(9));
        assert_eq!(write(11, true), Some(9));
    }

    #[test]
    fn a_commit_comes_back() {
        let (header, bytes, crc) = commit(b"some records");
        assert_eq!(CommitHeader::decode(&bytes), Some(header));
        assert_eq!(header.verify(&bytes), Some((&b"some records"[..], crc)));
    }

    #[test]
    fn every_flipped_bit_of_a_commit_is_noticed() {
        let (_, bytes, _) = commit(&[3; 100]);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let found = CommitHeader::decode(&damaged).and_then(|header| header.verify(&damaged));
            assert_eq!(found, None, "bit {bit}");
        }
        for length in 0..bytes.len() {
            let cut = &bytes[..length];
            assert_eq!(
                CommitHeader::decode(cut).and_then(|header| header.verify(cut)),
                None
            );
        }
    }

    #[test]
    fn a_commit_takes_whole_blocks() {
        let check = |length: usize, expected: usize| {
            assert_eq!(CommitHeader::blocks_bytes(length), expected, "{length}");
        };
        check(0, 4096);
        check(4032, 4096);
        check(4033, 8192);
    }

    #[test]
    fn a_length_beyond_the_bound_is_no_commit() {
        let (_, mut bytes, _) = commit(b"");
        bytes[40..44].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(CommitHeader::decode(&bytes), None);
    }
}
