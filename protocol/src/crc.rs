//! CRC-32C (Castagnoli), the checksum of record batches and of producer snapshots.
//!
//! It is not the CRC-32 of gzip and of the legacy record format (IEEE polynomial). In a batch it covers
//! the bytes from the attributes to the end, not the header before them, which the leader rewrites.

use crc_fast::{CrcAlgorithm, Digest};

/// The CRC-32C of `bytes`, as it is written big-endian into a batch. Of no bytes it is 0.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// CRC-32C over bytes that come in pieces. Its result equals [`crc32c`] over the pieces in a row.
pub struct Crc32c(Digest);

impl Crc32c {
    /// The state before any byte.
    pub fn new() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }

    /// Takes in the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The CRC of all that was taken in so far; more may follow.
    pub fn value(&self) -> u32 {
        // The digest serves 64-bit polynomials too; of a 32-bit one the upper half is always zero.
        self.0.finalize() as u32
    }
}

impl Default for Crc32c {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        let check = |bytes: &[u8], expected: u32| {
            assert_eq!(crc32c(bytes), expected, "{bytes:?}");
            for cut in 0..=bytes.len() {
                let mut pieces = Crc32c::new();
                pieces.update(&bytes[..cut]);
                pieces.update(&bytes[cut..]);
                assert_eq!(pieces.value(), expected, "{bytes:?} cut at {cut}");
            }
        };
        // The examples of RFC 3720, appendix B.4, and the usual check value.
        check(b"", 0);
        check(b"123456789", 0xe306_9283);
        check(&[0; 32], 0x8a91_36aa);
        check(&[0xff; 32], 0x62a8_ab43);
        check(&std::array::from_fn::<u8, 32, _>(|i| i as u8), 0x46dd_794e);
        check(&std::array::from_fn::<u8, 32, _>(|i| 31 - i as u8), 0x113f_db5c);
    }
}
