//! Hash maps whose keys a client may choose: hashed with a random key, which the simulator draws from its seed.
//!
//! They are never iterated (`clippy::iter_over_hash_type` refuses it): the order would differ from run to
//! run. What is iterated is a `BTreeMap`, a `Vec` or an `IndexMap`.

use ahash::RandomState;

use crate::random;

/// A hash map; make it with [`hash_map`].
#[allow(
    clippy::disallowed_types,
    reason = "the one place that gives the map its hasher"
)]
pub type HashMap<K, V> = std::collections::HashMap<K, V, RandomState>;

/// A hash set; make it with [`hash_set`].
#[allow(
    clippy::disallowed_types,
    reason = "the one place that gives the set its hasher"
)]
pub type HashSet<T> = std::collections::HashSet<T, RandomState>;

/// An empty map, hashed with keys from the current shard's random numbers.
pub fn hash_map<K, V>() -> HashMap<K, V> {
    HashMap::with_hasher(hasher())
}

/// An empty set, hashed with keys from the current shard's random numbers.
pub fn hash_set<T>() -> HashSet<T> {
    HashSet::with_hasher(hasher())
}

fn hasher() -> RandomState {
    RandomState::with_seeds(random::u64(), random::u64(), random::u64(), random::u64())
}
