//! Which shard of this node owns a partition: a pure table that keeps the shards evenly loaded.
//!
//! The table is a function of the tables before it: a partition that was placed stays where it is for as long as
//! it exists, because its log, its journal records and its waiters are on that shard. Only a restart may place
//! anew (the journals of all shards are replayed whatever the count of shards was). `__cluster_metadata` is always
//! owned by shard 0, where the quorum and the controller live, and is not in the table.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::types::{Partition, TopicId};

/// A shard of this node by its index. The runtime's own id is made of it at the edge, so that this file stays pure.
pub type Index = u16;

/// Owner shards by topic and partition. Immutable: [`Placement::update`] makes the next table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    owners: BTreeMap<TopicId, Arc<[Index]>>,
    load: Vec<usize>,
}

impl Placement {
    /// An empty table over `shards` shards; at least one.
    pub fn new(shards: u16) -> Placement {
        assert!(shards > 0, "a node has at least one shard");
        Placement {
            owners: BTreeMap::new(),
            load: vec![0; usize::from(shards)],
        }
    }

    /// The owner of a partition, or `None` when the table does not know it. The metadata log's owner is shard 0.
    pub fn owner(&self, topic: TopicId, partition: Partition) -> Option<Index> {
        if topic == TopicId::METADATA_TOPIC {
            return Some(0);
        }
        let index = usize::try_from(partition.0).ok()?;
        self.owners.get(&topic)?.get(index).copied()
    }

    /// How many partitions each shard owns.
    pub fn load(&self) -> &[usize] {
        &self.load
    }

    /// The table for `topics`, each with its number of partitions: partitions that are still there keep their
    /// shard, those that are gone free it, and each new one goes to the shard that then owns the fewest (the
    /// lowest index among equals).
    pub fn update(&self, topics: impl IntoIterator<Item = (TopicId, usize)>) -> Placement {
        let topics: BTreeMap<TopicId, usize> = topics.into_iter().collect();
        let mut next = self.clone();
        for (topic, owners) in &self.owners {
            let keep = topics.get(topic).copied().unwrap_or(0);
            if keep < owners.len() {
                for shard in &owners[keep..] {
                    next.load[usize::from(*shard)] -= 1;
                }
                if keep == 0 {
                    next.owners.remove(topic);
                } else {
                    next.owners.insert(*topic, owners[..keep].into());
                }
            }
        }
        for (topic, count) in topics {
            let placed = next.owners.get(&topic).map_or(0, |owners| owners.len());
            if placed < count {
                let mut owners = next
                    .owners
                    .get(&topic)
                    .map_or_else(Vec::new, |owners| owners.to_vec());
                owners.extend((placed..count).map(|_| next.least_loaded()));
                next.owners.insert(topic, owners.into());
            }
        }
        next.invariants();
        next
    }

    fn least_loaded(&mut self) -> Index {
        let mut least = 0;
        for (shard, load) in self.load.iter().enumerate() {
            if *load < self.load[least] {
                least = shard;
            }
        }
        self.load[least] += 1;
        least as Index
    }

    fn invariants(&self) {
        debug_assert_eq!(
            self.load.iter().sum::<usize>(),
            self.owners.values().map(|owners| owners.len()).sum::<usize>(),
            "the load counts exactly what is placed"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> TopicId {
        let mut bytes = [0; 16];
        bytes[0] = 0x40;
        bytes[15] = n;
        protocol::types::Uuid(bytes)
    }

    fn check(shards: u16, steps: &[&[(u8, usize)]], expected_load: &[usize]) {
        let mut placement = Placement::new(shards);
        for step in steps {
            let next = placement.update(step.iter().map(|(topic, count)| (id(*topic), *count)));
            for (topic, count) in step.iter() {
                for partition in 0..*count {
                    let partition = Partition(partition as i32);
                    let owner = next.owner(id(*topic), partition);
                    assert!(owner.is_some_and(|shard| shard < shards));
                    if let Some(before) = placement.owner(id(*topic), partition) {
                        assert_eq!(owner, Some(before), "a placed partition moved");
                    }
                }
                assert_eq!(next.owner(id(*topic), Partition(*count as i32)), None);
            }
            placement = next;
        }
        assert_eq!(placement.load(), expected_load);
    }

    #[test]
    fn partitions_are_spread_and_stay() {
        check(1, &[&[(1, 5)]], &[5]);
        check(
            4,
            &[&[(1, 1)], &[(1, 1), (2, 1)], &[(1, 1), (2, 1), (3, 2)]],
            &[1, 1, 1, 1],
        );
        check(3, &[&[(1, 10)]], &[4, 3, 3]);
        check(2, &[&[(1, 4), (2, 4)], &[(2, 4)], &[(2, 4), (3, 2)]], &[3, 3]);
        check(2, &[&[(1, 4)], &[(1, 6)], &[(1, 1)], &[]], &[0, 0]);
    }

    #[test]
    fn the_metadata_log_is_on_shard_0() {
        let placement = Placement::new(4);
        assert_eq!(placement.owner(TopicId::METADATA_TOPIC, Partition(0)), Some(0));
        assert_eq!(placement.owner(id(1), Partition(0)), None);
        assert_eq!(placement.owner(id(1), Partition(-1)), None);
    }

    #[test]
    fn random_changes_never_move_what_stays() {
        let mut seed = 7_u64;
        let mut next = move |bound: u64| {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (seed >> 33) % bound
        };
        let mut topics: BTreeMap<u8, usize> = BTreeMap::new();
        let mut placement = Placement::new(5);
        for _ in 0..500 {
            let topic = next(20) as u8;
            if next(3) == 0 {
                topics.remove(&topic);
            } else {
                topics.insert(topic, 1 + next(9) as usize);
            }
            let after = placement.update(topics.iter().map(|(topic, count)| (id(*topic), *count)));
            for (topic, count) in &topics {
                for partition in 0..*count as i32 {
                    let before = placement.owner(id(*topic), Partition(partition));
                    let now = after.owner(id(*topic), Partition(partition));
                    assert!(now.is_some());
                    assert!(before.is_none() || before == now);
                }
            }
            placement = after;
        }
    }
}
