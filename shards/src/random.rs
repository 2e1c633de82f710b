//! Random numbers of the current shard: unpredictable in production, drawn from the seed in the simulator.
//!
//! Good for ids, jitter and hash keys. Not a source of secrets: those come from the security crates' own input.

use std::cell::RefCell;

use rand::rand_core::{Rng, SeedableRng};
use rand::rngs::{StdRng, SysRng};

use crate::shard;

/// A uniformly random number.
pub fn u64() -> u64 {
    shard::with(|core| core.random.u64())
}

/// A uniformly random number below `bound`; 0 when `bound` is 0.
pub fn below(bound: u64) -> u64 {
    // Lemire's multiplication without rejection: the bias is below bound / 2^64.
    ((u128::from(u64()) * u128::from(bound)) >> 64) as u64
}

/// Fills `bytes` with random bytes.
pub fn fill(bytes: &mut [u8]) {
    shard::with(|core| core.random.fill(bytes));
}

/// The 16 bytes of a random UUID (version 4, RFC 9562), as Kafka's `Uuid.randomUuid` makes them.
pub fn uuid_bytes() -> [u8; 16] {
    let mut bytes = [0; 16];
    fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes
}

/// The generator of one shard.
pub(crate) struct Random(RefCell<Box<dyn Rng>>);

impl Random {
    /// Seeded by the operating system.
    pub fn from_system() -> Result<Random, String> {
        let rng = StdRng::try_from_rng(&mut SysRng).map_err(|error| error.to_string())?;
        Ok(Random(RefCell::new(Box::new(rng))))
    }

    /// Repeats itself for the same seed.
    #[cfg(feature = "simulation")]
    pub fn from_seed(seed: u64) -> Random {
        Random(RefCell::new(Box::new(rand_pcg::Pcg64Mcg::seed_from_u64(seed))))
    }

    pub fn u64(&self) -> u64 {
        self.0.borrow_mut().next_u64()
    }

    pub fn fill(&self, bytes: &mut [u8]) {
        self.0.borrow_mut().fill_bytes(bytes);
    }
}
