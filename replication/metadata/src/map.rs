//! An ordered map whose clones share what they have in common.
//!
//! What a newcomer would get wrong: a clone costs one reference count; a change to a clone copies the list of
//! chunks (one pointer per some dozens of entries) and the one chunk it touches, never the entries of other
//! chunks. Changes to a map that nobody shares copy nothing.

use std::borrow::Borrow;
use std::sync::Arc;

/// Entries in a chunk before it is split in two.
const CHUNK_ENTRIES_MAX: usize = 64;

/// Some neighbours among the entries, shared by all maps that have them.
type Chunk<K, V> = Arc<Vec<(K, V)>>;

/// A sorted map in chunks. No chunk is empty, keys ascend within and between them.
#[derive(Debug)]
pub struct Map<K, V> {
    chunks: Arc<Vec<Chunk<K, V>>>,
    len: usize,
}

impl<K, V> Clone for Map<K, V> {
    fn clone(&self) -> Self {
        Map {
            chunks: Arc::clone(&self.chunks),
            len: self.len,
        }
    }
}

impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        Map {
            chunks: Arc::default(),
            len: 0,
        }
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for Map<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<K, V> Map<K, V> {
    /// The number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All entries in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.chunks
            .iter()
            .flat_map(|chunk| chunk.iter())
            .map(|(key, value)| (key, value))
    }
}

impl<K: Ord + Clone, V: Clone> Map<K, V> {
    /// The value of `key`.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let chunk = self.chunks.get(self.chunk_of(key))?;
        let at = chunk
            .binary_search_by(|(known, _)| known.borrow().cmp(key))
            .ok()?;
        chunk.get(at).map(|(_, value)| value)
    }

    /// The entries from `key` on (which need not be one of them), in order.
    pub fn from<Q: Ord + ?Sized>(&self, key: &Q) -> impl Iterator<Item = (&K, &V)>
    where
        K: Borrow<Q>,
    {
        let first = self.chunk_of(key);
        let within = self.chunks.get(first).map_or(0, |chunk| {
            chunk.partition_point(|(known, _)| known.borrow() < key)
        });
        let chunks = self.chunks.iter().skip(first).flat_map(|chunk| chunk.iter());
        chunks.skip(within).map(|(key, value)| (key, value))
    }

    /// Puts a value in, and gives back the one it replaces.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let at = self.chunk_of(&key).min(self.chunks.len().saturating_sub(1));
        let chunks = Arc::make_mut(&mut self.chunks);
        let Some(chunk) = chunks.get_mut(at) else {
            chunks.push(Arc::new(vec![(key, value)]));
            self.len += 1;
            return None;
        };
        let entries = Arc::make_mut(chunk);
        match entries.binary_search_by(|(known, _)| known.cmp(&key)) {
            Ok(found) => entries
                .get_mut(found)
                .map(|(_, old)| std::mem::replace(old, value)),
            Err(place) => {
                entries.insert(place, (key, value));
                self.len += 1;
                if entries.len() > CHUNK_ENTRIES_MAX {
                    let upper = entries.split_off(CHUNK_ENTRIES_MAX / 2);
                    chunks.insert(at + 1, Arc::new(upper));
                }
                None
            }
        }
    }

    /// Takes an entry out.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let at = self.chunk_of(key);
        let found = self
            .chunks
            .get(at)?
            .binary_search_by(|(known, _)| known.borrow().cmp(key))
            .ok()?;
        let chunks = Arc::make_mut(&mut self.chunks);
        let entries = Arc::make_mut(chunks.get_mut(at)?);
        let (_, value) = entries.remove(found);
        if entries.is_empty() {
            chunks.remove(at);
        }
        self.len -= 1;
        Some(value)
    }

    /// Changes the value of `key` in place; what is shared is copied first. None if there is no such entry.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let at = self.chunk_of(key);
        let found = self
            .chunks
            .get(at)?
            .binary_search_by(|(known, _)| known.borrow().cmp(key))
            .ok()?;
        let entries = Arc::make_mut(Arc::make_mut(&mut self.chunks).get_mut(at)?);
        entries.get_mut(found).map(|(_, value)| value)
    }

    /// The first chunk whose last key is not below `key`; the number of chunks if there is none.
    fn chunk_of<Q: Ord + ?Sized>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        self.chunks
            .partition_point(|chunk| chunk.last().is_some_and(|(last, _)| last.borrow() < key))
    }

    #[cfg(test)]
    fn invariants(&self) {
        assert!(
            self.chunks
                .iter()
                .all(|chunk| !chunk.is_empty() && chunk.len() <= CHUNK_ENTRIES_MAX)
        );
        let keys: Vec<&K> = self.iter().map(|(key, _)| key).collect();
        assert!(keys.is_sorted_by(|one, other| one < other));
        assert_eq!(keys.len(), self.len);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::{Rng, RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    use super::*;

    #[test]
    fn behaves_as_a_tree_map() {
        for seed in 0..200 {
            let mut random = Pcg64::seed_from_u64(seed);
            let (mut map, mut model) = (Map::default(), BTreeMap::new());
            let mut kept = Vec::new();
            for _ in 0..400 {
                let key = random.random_range(0..300u32);
                match random.next_u32() % 5 {
                    0..=2 => assert_eq!(map.insert(key, seed), model.insert(key, seed)),
                    3 => assert_eq!(map.remove(&key), model.remove(&key)),
                    _ => assert_eq!(map.get_mut(&key), model.get_mut(&key)),
                }
                map.invariants();
                assert_eq!(map.get(&key), model.get(&key));
                assert!(map.from(&key).eq(model.range(key..)));
                if random.next_u32().is_multiple_of(50) {
                    kept.push((map.clone(), model.clone()));
                }
            }
            assert!(map.iter().eq(model.iter()));
            assert!(
                kept.iter().all(|(map, model)| map.iter().eq(model.iter())),
                "a clone changed"
            );
        }
    }

    #[test]
    fn a_change_copies_one_chunk() {
        let mut map = Map::default();
        for key in 0..10_000u32 {
            map.insert(key, key);
        }
        let before = map.clone();
        map.insert(10_001, 0);
        let shared = before
            .chunks
            .iter()
            .filter(|chunk| map.chunks.iter().any(|other| Arc::ptr_eq(chunk, other)));
        assert!(shared.count() + 1 >= before.chunks.len());
    }
}
