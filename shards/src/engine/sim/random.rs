//! The seed's random streams, one per purpose.
//!
//! One stream for everything would tie all choices together: a workload that draws one number more would
//! also change every later delay of the disk. Split, a change in one part leaves the others as they were.

use rand::Rng;
use rand_pcg::Pcg64Mcg;

/// What a stream of numbers is drawn for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Schedule,
    Network,
    Disk,
    Workload,
}

/// A reproducible stream of numbers.
#[derive(Clone, Debug)]
pub struct Stream(Pcg64Mcg);

impl Stream {
    pub(crate) fn new(seed: u64, purpose: Purpose) -> Stream {
        Stream::keyed(seed, purpose as u64)
    }

    /// A stream of its own for each `key`.
    pub fn keyed(seed: u64, key: u64) -> Stream {
        let high = scatter(seed ^ scatter(key.wrapping_add(0x9e37_79b9_7f4a_7c15)));
        let low = scatter(high ^ seed.rotate_left(32));
        Stream(Pcg64Mcg::new((u128::from(high) << 64) | u128::from(low) | 1))
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number from 0 up to, not including, `end`; 0 for an `end` of 0.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(end)) >> 64) as u64
    }

    /// An index into something of `len` elements.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// A number of the range, both ends included.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        debug_assert!(least <= most);
        least + self.below((most - least).saturating_add(1))
    }

    /// True `ppm` times in a million.
    pub fn chance(&mut self, ppm: u32) -> bool {
        ppm > 0 && self.below(1_000_000) < u64::from(ppm)
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }
}

/// Spreads every bit of `value` over all bits of the result (the finaliser of SplitMix64).
pub(crate) fn scatter(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_and_differ() {
        let mut draw = Stream::new(7, Purpose::Disk);
        let mut again = Stream::new(7, Purpose::Disk);
        let mut other = Stream::new(7, Purpose::Network);
        let first: Vec<u64> = (0..8).map(|_| draw.next_u64()).collect();
        assert_eq!(first, (0..8).map(|_| again.next_u64()).collect::<Vec<_>>());
        assert_ne!(first, (0..8).map(|_| other.next_u64()).collect::<Vec<_>>());
    }

    #[test]
    fn bounds_hold() {
        let mut stream = Stream::keyed(1, 2);
        for _ in 0..1000 {
            assert!(stream.below(3) < 3);
            assert!((5..=9).contains(&stream.between(5, 9)));
            assert!(!stream.chance(0));
            assert!(stream.chance(1_000_000));
        }
        assert_eq!(stream.below(0), 0);
        assert_eq!(stream.between(4, 4), 4);
    }
}
