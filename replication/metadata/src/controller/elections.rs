//! Who leads a partition.
//!
//! What a newcomer would get wrong: Apache Kafka leaves every partition of a node that stopped cleanly
//! without a leader and with an empty ISR; who held everything stands in the eligible replicas then.

use protocol::messages::{MetadataRecord, PartitionChangeRecord};
use protocol::types::{BrokerId, Partition as PartitionIndex, TopicId};

use super::Draft;
use crate::image::topics::Partition;

/// Elects `broker`, which has just become active, where there is no leader and it holds everything
/// (`PartitionChangeBuilder`, election type ONLINE).
pub(super) fn elect_leaderless(draft: &mut Draft, broker: BrokerId) {
    let leaderless: Vec<(TopicId, PartitionIndex, bool)> = draft
        .image
        .topics()
        .iter()
        .flat_map(|topic| topic.partitions().map(|(index, one)| (topic.id, index, one)))
        .filter(|(_, _, partition)| can_lead(partition, broker))
        .map(|(topic_id, index, partition)| (topic_id, index, partition.isr.is_empty()))
        .collect();
    for (topic_id, index, is_isr_empty) in leaderless {
        draft.push(&MetadataRecord::PartitionChange(PartitionChangeRecord {
            partition_id: index.0,
            topic_id,
            leader: broker.0,
            isr: is_isr_empty.then(|| vec![broker.0]),
            eligible_leader_replicas: is_isr_empty.then(Vec::new),
            last_known_elr: is_isr_empty.then(Vec::new),
            ..PartitionChangeRecord::default()
        }));
    }
}

fn can_lead(partition: &Partition, broker: BrokerId) -> bool {
    let is_last = partition.isr.is_empty()
        && (partition.eligible.contains(&broker)
            || partition.eligible.is_empty() && partition.last_known == [broker]);
    partition.leader.0 < 0
        && partition.replicas.contains(&broker)
        && (partition.isr.contains(&broker) || is_last)
}
