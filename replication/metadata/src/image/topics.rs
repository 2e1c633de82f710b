//! Topics and their partitions, by name and by id.
//!
//! What a newcomer would get wrong: a partition's leader epoch moves only when a change names a leader, its
//! partition epoch with every change (`PartitionRegistration.merge`); leader -1 is "none".

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::messages::{PartitionChangeRecord, PartitionRecord};
use protocol::types::{BrokerId, LeaderEpoch, Partition as PartitionIndex, TopicId, Uuid};

use super::ApplyError;
use crate::map::Map;

/// All topics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Topics {
    by_name: Map<Arc<str>, Arc<Topic>>,
    names: Map<TopicId, Arc<str>>,
}

/// One topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Topic {
    /// Its name.
    pub name: Arc<str>,
    /// Its id; never another topic's, not even after it was deleted.
    pub id: TopicId,
    /// Its partitions. A map, since one record of a rotten log may name any index.
    partitions: BTreeMap<PartitionIndex, Partition>,
}

/// One partition.
#[derive(Clone, Debug, PartialEq)]
pub struct Partition {
    /// The brokers that hold it, the preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// The log directory of each of `replicas`.
    pub directories: Vec<Uuid>,
    /// The replicas in sync.
    pub isr: Vec<BrokerId>,
    /// Replicas that a reassignment takes away.
    pub removing: Vec<BrokerId>,
    /// Replicas that a reassignment adds.
    pub adding: Vec<BrokerId>,
    /// Replicas out of sync that hold everything below the high watermark (KIP-966).
    pub eligible: Vec<BrokerId>,
    /// The last leader, when nobody is in sync or eligible.
    pub last_known: Vec<BrokerId>,
    /// The leader; -1 is none.
    pub leader: BrokerId,
    /// Whether the leader was elected uncleanly and is still recovering (1) or not (0).
    pub leader_recovery_state: i8,
    /// Counts the leaders.
    pub leader_epoch: LeaderEpoch,
    /// Counts the changes.
    pub partition_epoch: i32,
}

impl Topic {
    /// The partition of this index.
    pub fn partition(&self, index: PartitionIndex) -> Option<&Partition> {
        self.partitions.get(&index)
    }

    /// All partitions in the order of their indexes.
    pub fn partitions(&self) -> impl Iterator<Item = (PartitionIndex, &Partition)> {
        self.partitions.iter().map(|(index, one)| (*index, one))
    }

    /// How many partitions there are.
    pub fn partitions_count(&self) -> usize {
        self.partitions.len()
    }
}

impl Topics {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// The topic of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_name.get(name)
    }

    /// The topic of this id.
    pub fn by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.names.get(&id).and_then(|name| self.by_name.get(name))
    }

    /// All topics in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_name.iter().map(|(_, topic)| topic)
    }

    /// The topics from `name` on, in order.
    pub fn from<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Arc<Topic>> {
        self.by_name.from(name).map(|(_, topic)| topic)
    }

    pub(super) fn add(&mut self, name: &str, id: TopicId) -> Result<(), ApplyError> {
        if self.by_name.get(name).is_some() || self.names.get(&id).is_some() {
            return Err(ApplyError::TopicExists(id));
        }
        let name: Arc<str> = name.into();
        self.names.insert(id, Arc::clone(&name));
        self.by_name.insert(
            Arc::clone(&name),
            Arc::new(Topic {
                name,
                id,
                partitions: BTreeMap::new(),
            }),
        );
        Ok(())
    }

    /// Takes a topic out and gives its name.
    pub(super) fn remove(&mut self, id: TopicId) -> Result<Arc<str>, ApplyError> {
        let name = self.names.remove(&id).ok_or(ApplyError::UnknownTopic(id))?;
        self.by_name.remove(&name);
        Ok(name)
    }

    pub(super) fn put_partition(&mut self, record: &PartitionRecord) -> Result<(), ApplyError> {
        if record.partition_id < 0 {
            return Err(ApplyError::UnknownPartition(record.topic_id, record.partition_id));
        }
        let partition = Partition {
            replicas: brokers(&record.replicas),
            directories: record.directories.clone(),
            isr: brokers(&record.isr),
            removing: brokers(&record.removing_replicas),
            adding: brokers(&record.adding_replicas),
            eligible: record
                .eligible_leader_replicas
                .as_deref()
                .map(brokers)
                .unwrap_or_default(),
            last_known: record.last_known_elr.as_deref().map(brokers).unwrap_or_default(),
            leader: BrokerId(record.leader),
            leader_recovery_state: record.leader_recovery_state,
            leader_epoch: LeaderEpoch(record.leader_epoch),
            partition_epoch: record.partition_epoch,
        };
        let topic = self.topic_mut(record.topic_id)?;
        topic
            .partitions
            .insert(PartitionIndex(record.partition_id), partition);
        Ok(())
    }

    pub(super) fn change_partition(&mut self, record: &PartitionChangeRecord) -> Result<(), ApplyError> {
        let unknown = ApplyError::UnknownPartition(record.topic_id, record.partition_id);
        let topic = self.topic_mut(record.topic_id)?;
        let partition = topic.partitions.get_mut(&PartitionIndex(record.partition_id));
        partition.ok_or(unknown)?.change(record);
        Ok(())
    }

    /// Forgets who was eligible (`ClearElrRecord`); "" is every topic.
    pub(super) fn clear_eligible(&mut self, name: &str) -> Result<(), ApplyError> {
        let ids: Vec<TopicId> = match name {
            "" => self
                .iter()
                .filter(|topic| topic.has_eligible())
                .map(|topic| topic.id)
                .collect(),
            _ => vec![
                self.get(name)
                    .ok_or_else(|| ApplyError::UnknownTopicName(name.to_owned()))?
                    .id,
            ],
        };
        for id in ids {
            for partition in self.topic_mut(id)?.partitions.values_mut() {
                partition.eligible.clear();
                partition.last_known.clear();
            }
        }
        Ok(())
    }

    fn topic_mut(&mut self, id: TopicId) -> Result<&mut Topic, ApplyError> {
        let name = self.names.get(&id).ok_or(ApplyError::UnknownTopic(id))?;
        let topic = self
            .by_name
            .get_mut(&**name)
            .ok_or(ApplyError::UnknownTopic(id))?;
        Ok(Arc::make_mut(topic))
    }
}

impl Topic {
    fn has_eligible(&self) -> bool {
        self.partitions
            .values()
            .any(|one| !one.eligible.is_empty() || !one.last_known.is_empty())
    }
}

/// In a change: the leader stays.
pub(crate) const LEADER_UNCHANGED: i32 = -2;

impl Partition {
    fn change(&mut self, record: &PartitionChangeRecord) {
        let set = |field: &mut Vec<BrokerId>, value: &Option<Vec<i32>>| {
            if let Some(value) = value {
                *field = brokers(value);
            }
        };
        set(&mut self.isr, &record.isr);
        set(&mut self.replicas, &record.replicas);
        set(&mut self.removing, &record.removing_replicas);
        set(&mut self.adding, &record.adding_replicas);
        set(&mut self.eligible, &record.eligible_leader_replicas);
        set(&mut self.last_known, &record.last_known_elr);
        if let Some(directories) = &record.directories {
            self.directories = directories.clone();
        }
        if record.leader_recovery_state >= 0 {
            self.leader_recovery_state = record.leader_recovery_state;
        }
        if record.leader != LEADER_UNCHANGED {
            self.leader = BrokerId(record.leader);
            self.leader_epoch = LeaderEpoch(self.leader_epoch.0.wrapping_add(1));
        }
        self.partition_epoch = self.partition_epoch.wrapping_add(1);
    }

    pub(super) fn record(&self, topic_id: TopicId, index: PartitionIndex) -> PartitionRecord {
        let filled = |list: &[BrokerId]| (!list.is_empty()).then(|| numbers(list));
        PartitionRecord {
            partition_id: index.0,
            topic_id,
            replicas: numbers(&self.replicas),
            isr: numbers(&self.isr),
            removing_replicas: numbers(&self.removing),
            adding_replicas: numbers(&self.adding),
            leader: self.leader.0,
            leader_recovery_state: self.leader_recovery_state,
            leader_epoch: self.leader_epoch.0,
            partition_epoch: self.partition_epoch,
            directories: self.directories.clone(),
            eligible_leader_replicas: filled(&self.eligible),
            last_known_elr: filled(&self.last_known),
        }
    }
}

fn brokers(ids: &[i32]) -> Vec<BrokerId> {
    ids.iter().copied().map(BrokerId).collect()
}

fn numbers(ids: &[BrokerId]) -> Vec<i32> {
    ids.iter().map(|id| id.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_record_costs_one_partition_whatever_its_index() {
        let id = Uuid([1; 16]);
        let check = |index: i32, expected: Option<usize>| {
            let mut topics = Topics::default();
            topics.add("topic", id).expect("a new topic");
            let record = PartitionRecord {
                partition_id: index,
                topic_id: id,
                ..PartitionRecord::default()
            };
            let put = topics.put_partition(&record).map(|()| {
                let topic = topics.get("topic").expect("there it is");
                assert!(topic.partition(PartitionIndex(index)).is_some());
                topic.partitions().count()
            });
            assert_eq!(put.ok(), expected, "{index}");
        };
        check(0, Some(1));
        check(i32::MAX, Some(1));
        check(-1, None);
    }
}
