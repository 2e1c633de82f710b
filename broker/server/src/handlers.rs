//! One file per API. All have one shape: decode, route to the owners, collect, answer.

pub mod cluster {
    //! What brokers there are and what they offer.
    pub mod api_versions;
    pub mod describe_cluster;
}
pub mod configs {
    //! Settings of topics and brokers.
    pub mod describe_configs;
}
pub mod data {
    //! Records: written, read, found.
    pub mod fetch;
    pub mod list_offsets;
    pub mod offset_for_leader_epoch;
    pub mod produce;
}
pub mod groups {
    //! Groups and their coordinators.
    pub mod find_coordinator;
}
pub mod topics {
    //! Topics: made, described, deleted.
    pub mod create_topics;
    pub mod delete_topics;
    pub mod describe_topic_partitions;
    pub mod metadata;
}
pub mod transactions {
    //! Producer ids and transactions.
    pub mod init_producer_id;
}

/// The operations of a field that nobody asked for.
const NOT_ASKED: i32 = i32::MIN;
/// Everything that may be done with a topic, one bit per operation (`AclOperation`): read, write, create, delete,
/// alter, describe, describe and alter configs. Without authorization everybody may do everything.
const TOPIC_OPERATIONS: i32 = 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 11;
/// The same for the cluster: create, alter, describe, cluster action, describe and alter configs, idempotent write.
const CLUSTER_OPERATIONS: i32 = 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12;
