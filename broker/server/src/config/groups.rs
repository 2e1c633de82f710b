//! Settings of groups, share groups, streams groups and transactions.
//!
//! What a newcomer would get wrong: none of them does anything yet; they are here so that a file that has
//! them starts, and so that they are described as Kafka describes them.

use super::setting::{I32, I64, INT, Kind, LIST, Setting, int, long, settings};

/// The settings, by name.
pub(super) const SETTINGS: &[Setting] = settings! {
    "add.partitions.to.txn.retry.backoff.max.ms", int(0, I32), Some("100"), Restart, Later,
        "Longest time a broker waits before it asks again whether a partition is part of a transaction.";
    "add.partitions.to.txn.retry.backoff.ms", int(1, I32), Some("20"), Restart, Later,
        "Time before a broker asks again whether a partition is part of a transaction.";
    "errors.deadletterqueue.auto.create.topics.enable", Kind::Boolean, Some("false"), Cluster, Later,
        "Whether dead-letter topics of share groups are created by themselves.";
    "errors.deadletterqueue.topic.name.prefix", Kind::Text, Some("dlq."), Cluster, Later,
        "Prefix of the names of dead-letter topics.";
    "group.consumer.assignment.interval.ms", int(0, I32), Some("1000"), Cluster, Later,
        "Shortest time between two assignments of a consumer group.";
    "group.consumer.assignor.offload.enable", Kind::Boolean, Some("true"), Cluster, Hidden,
        "Whether assignments of consumer groups are computed in the background.";
    "group.consumer.assignors", LIST, Some("uniform,range"), Restart, Later,
        "Assignors of consumer groups, the default one first.";
    "group.consumer.heartbeat.interval.ms", int(1, I32), Some("5000"), Restart, Later,
        "How often members of a consumer group send heartbeats.";
    "group.consumer.max.assignment.interval.ms", int(0, I32), Some("15000"), Restart, Later,
        "Upper bound for a group's own assignment interval.";
    "group.consumer.max.heartbeat.interval.ms", int(1, I32), Some("15000"), Restart, Later,
        "Upper bound for a consumer group's own heartbeat interval.";
    "group.consumer.max.session.timeout.ms", int(1, I32), Some("60000"), Restart, Later,
        "Upper bound for a consumer group's own session timeout.";
    "group.consumer.max.size", int(1, I32), Some("2147483647"), Restart, Later,
        "Most members of a consumer group.";
    "group.consumer.migration.policy",
        Kind::ChoiceAnyCase(&["DISABLED", "DOWNGRADE", "UPGRADE", "BIDIRECTIONAL"]), Some("bidirectional"), Restart, Later,
        "Which way groups may move between the classic and the consumer protocol.";
    "group.consumer.min.assignment.interval.ms", int(0, I32), Some("0"), Restart, Later,
        "Lower bound for a group's own assignment interval.";
    "group.consumer.min.heartbeat.interval.ms", int(1, I32), Some("5000"), Restart, Later,
        "Lower bound for a consumer group's own heartbeat interval.";
    "group.consumer.min.session.timeout.ms", int(1, I32), Some("45000"), Restart, Later,
        "Lower bound for a consumer group's own session timeout.";
    "group.consumer.regex.refresh.interval.ms", int(10000, I32), Some("600000"), Restart, Hidden,
        "How often subscriptions by pattern are matched anew.";
    "group.consumer.session.timeout.ms", int(1, I32), Some("45000"), Restart, Later,
        "Silence after which a member of a consumer group is removed.";
    "group.coordinator.append.linger.ms", int(-1, I32), Some("-1"), Restart, Later,
        "Time the group coordinator gathers records before it writes them; -1 adapts to the load.";
    "group.coordinator.background.threads", int(1, I32), Some("2"), Restart, Later,
        "Threads for background work of the group coordinator.";
    "group.coordinator.cached.buffer.max.bytes", int(524288, I32), Some("1048588"), Cluster, Later,
        "Largest write buffer the group coordinator keeps for reuse.";
    "group.coordinator.rebalance.protocols",
        Kind::List { of: &["consumer", "classic", "share", "streams"], filled: false }, Some("classic,consumer,streams"), Restart, Later,
        "Group protocols that are offered.";
    "group.coordinator.threads", int(1, I32), Some("4"), Restart, Later,
        "Threads of the group coordinator. Klamm runs it on the shard that owns the partition.";
    "group.initial.rebalance.delay.ms", INT, Some("3000"), Restart, Later,
        "Time a new group waits for more members before its first rebalance.";
    "group.max.session.timeout.ms", INT, Some("1800000"), Restart, Later,
        "Longest session timeout a member of a classic group may ask for.";
    "group.max.size", int(1, I32), Some("2147483647"), Restart, Later,
        "Most members of a classic group.";
    "group.min.session.timeout.ms", INT, Some("6000"), Restart, Later,
        "Shortest session timeout a member of a classic group may ask for.";
    "group.share.assignment.interval.ms", int(0, I32), Some("1000"), Cluster, Later,
        "Shortest time between two assignments of a share group.";
    "group.share.assignor.offload.enable", Kind::Boolean, Some("true"), Cluster, Hidden,
        "Whether assignments of share groups are computed in the background.";
    "group.share.assignors", LIST, Some("simple"), Restart, Later,
        "Assignors of share groups, the default one first.";
    "group.share.delivery.count.limit", int(2, 10), Some("5"), Restart, Later,
        "How often a record is delivered to a share group before it is given up.";
    "group.share.dlq.manager.class.name",
        Kind::Text, Some("org.apache.kafka.server.share.dlq.DefaultShareGroupDLQManager"), Restart, Hidden,
        "Java class that writes to dead-letter topics.";
    "group.share.heartbeat.interval.ms", int(1, I32), Some("5000"), Restart, Later,
        "How often members of a share group send heartbeats.";
    "group.share.initialize.retry.interval.ms", int(1, I32), Some("30000"), Restart, Hidden,
        "Time before initialising the state of a share partition is tried again.";
    "group.share.max.assignment.interval.ms", int(0, I32), Some("15000"), Restart, Later,
        "Upper bound for a share group's own assignment interval.";
    "group.share.max.delivery.count.limit", int(5, 25), Some("10"), Restart, Later,
        "Upper bound for a share group's own delivery count limit.";
    "group.share.max.heartbeat.interval.ms", int(1, I32), Some("15000"), Restart, Later,
        "Upper bound for a share group's own heartbeat interval.";
    "group.share.max.partition.max.record.locks", int(2000, 10000), Some("4000"), Restart, Later,
        "Upper bound for a share group's own limit of records in flight.";
    "group.share.max.record.lock.duration.ms", int(30000, 3600000), Some("60000"), Restart, Later,
        "Upper bound for a share group's own acquisition lock.";
    "group.share.max.session.timeout.ms", int(1, I32), Some("60000"), Restart, Later,
        "Upper bound for a share group's own session timeout.";
    "group.share.max.share.sessions", int(1, I32), Some("2000"), Restart, Later,
        "Most share sessions of a broker.";
    "group.share.max.size", int(1, 1000), Some("200"), Restart, Later,
        "Most members of a share group.";
    "group.share.min.assignment.interval.ms", int(0, I32), Some("0"), Restart, Later,
        "Lower bound for a share group's own assignment interval.";
    "group.share.min.delivery.count.limit", int(2, 5), Some("2"), Restart, Later,
        "Lower bound for a share group's own delivery count limit.";
    "group.share.min.heartbeat.interval.ms", int(1, I32), Some("5000"), Restart, Later,
        "Lower bound for a share group's own heartbeat interval.";
    "group.share.min.partition.max.record.locks", int(100, 2000), Some("100"), Restart, Later,
        "Lower bound for a share group's own limit of records in flight.";
    "group.share.min.record.lock.duration.ms", int(1000, 30000), Some("15000"), Restart, Later,
        "Lower bound for a share group's own acquisition lock.";
    "group.share.min.session.timeout.ms", int(1, I32), Some("45000"), Restart, Later,
        "Lower bound for a share group's own session timeout.";
    "group.share.partition.max.record.locks", int(100, 10000), Some("2000"), Restart, Later,
        "Most records in flight per share partition.";
    "group.share.persister.class.name",
        Kind::Text, Some("org.apache.kafka.server.share.persister.DefaultStatePersister"), Restart, Hidden,
        "Java class that stores the state of share groups.";
    "group.share.record.lock.duration.ms", int(1000, 3600000), Some("30000"), Restart, Later,
        "Time a member of a share group has to acknowledge a record.";
    "group.share.session.timeout.ms", int(1, I32), Some("45000"), Restart, Later,
        "Silence after which a member of a share group is removed.";
    "group.streams.acceptable.recovery.lag", long(0, I64), Some("10000"), Restart, Hidden,
        "Lag at which a standby task counts as caught up.";
    "group.streams.assignment.interval.ms", int(0, I32), Some("1000"), Cluster, Later,
        "Shortest time between two assignments of a streams group.";
    "group.streams.assignor.offload.enable", Kind::Boolean, Some("true"), Cluster, Hidden,
        "Whether assignments of streams groups are computed in the background.";
    "group.streams.assignors", LIST, Some("sticky"), Restart, Later,
        "Assignors of streams groups, the default one first.";
    "group.streams.heartbeat.interval.ms", int(1, I32), Some("5000"), Restart, Later,
        "How often members of a streams group send heartbeats.";
    "group.streams.initial.rebalance.delay.ms", int(0, I32), Some("3000"), Restart, Later,
        "Time a new streams group waits for more members before its first assignment.";
    "group.streams.max.assignment.interval.ms", int(0, I32), Some("15000"), Restart, Later,
        "Upper bound for a streams group's own assignment interval.";
    "group.streams.max.heartbeat.interval.ms", int(1, I32), Some("15000"), Restart, Later,
        "Upper bound for a streams group's own heartbeat interval.";
    "group.streams.max.session.timeout.ms", int(1, I32), Some("60000"), Restart, Later,
        "Upper bound for a streams group's own session timeout.";
    "group.streams.max.size", int(1, I32), Some("2147483647"), Restart, Later,
        "Most members of a streams group.";
    "group.streams.max.standby.replicas", int(0, I32), Some("2"), Restart, Later,
        "Upper bound for a streams group's own number of standby replicas.";
    "group.streams.max.warmup.replicas", int(0, I32), Some("20"), Restart, Hidden,
        "Upper bound for a streams group's own number of warm-up replicas.";
    "group.streams.min.assignment.interval.ms", int(0, I32), Some("0"), Restart, Later,
        "Lower bound for a streams group's own assignment interval.";
    "group.streams.min.heartbeat.interval.ms", int(1, I32), Some("5000"), Restart, Later,
        "Lower bound for a streams group's own heartbeat interval.";
    "group.streams.min.session.timeout.ms", int(1, I32), Some("45000"), Restart, Later,
        "Lower bound for a streams group's own session timeout.";
    "group.streams.min.task.offset.interval.ms", int(1, I32), Some("15000"), Restart, Hidden,
        "Lower bound for a streams group's own task offset interval.";
    "group.streams.num.standby.replicas", int(0, I32), Some("0"), Restart, Later,
        "Standby replicas of each stateful task.";
    "group.streams.num.warmup.replicas", int(0, I32), Some("2"), Restart, Hidden,
        "Warm-up replicas of each stateful task that moves.";
    "group.streams.rack.aware.assignment.tags", LIST, Some(""), Restart, Later,
        "Client tags over which standby tasks are spread.";
    "group.streams.session.timeout.ms", int(1, I32), Some("45000"), Restart, Later,
        "Silence after which a member of a streams group is removed.";
    "group.streams.task.offset.interval.ms", int(1, I32), Some("60000"), Restart, Hidden,
        "How often members of a streams group report their task offsets.";
    "group.streams.topology.description.plugin.class", Kind::Class, None, Restart, Later,
        "Java class that stores descriptions of topologies.";
    "offset.metadata.max.bytes", INT, Some("4096"), Restart, Later,
        "Longest text a client may store with a committed offset.";
    "offsets.commit.timeout.ms", int(1, I32), Some("5000"), Restart, Later,
        "Time a commit of offsets waits for the replicas.";
    "offsets.load.buffer.size", int(1, I32), Some("5242880"), Restart, Later,
        "Bytes read at a time when a group coordinator loads its partition.";
    "offsets.retention.check.interval.ms", long(1, I64), Some("600000"), Restart, Later,
        "How often expired offsets are removed.";
    "offsets.retention.minutes", int(1, I32), Some("10080"), Restart, Later,
        "Time the offsets of an empty group are kept.";
    "offsets.topic.compression.codec", INT, Some("0"), Restart, Later,
        "Codec of the offsets topic.";
    "offsets.topic.num.partitions", int(1, I32), Some("50"), Restart, Later,
        "Partitions of the offsets topic.";
    "offsets.topic.replication.factor", Kind::Short { min: 1, max: 32767 }, Some("3"), Restart, Later,
        "Replicas of the offsets topic.";
    "offsets.topic.segment.bytes", int(1, I32), Some("104857600"), Restart, Later,
        "Segment size of the offsets topic.";
    "producer.id.expiration.check.interval.ms", int(1, I32), Some("600000"), Restart, Hidden,
        "How often expired producer ids are removed.";
    "producer.id.expiration.ms", int(1, I32), Some("86400000"), Cluster, Later,
        "Time after which the state of a silent producer is forgotten.";
    "share.coordinator.append.linger.ms", int(-1, I32), Some("-1"), Restart, Later,
        "Time the share coordinator gathers records before it writes them; -1 adapts to the load.";
    "share.coordinator.cached.buffer.max.bytes", int(524288, I32), Some("1048588"), Cluster, Later,
        "Largest write buffer the share coordinator keeps for reuse.";
    "share.coordinator.cold.partition.snapshot.interval.ms", int(1, I32), Some("300000"), Restart, Hidden,
        "How often idle share partitions are written anew.";
    "share.coordinator.load.buffer.size", int(1, I32), Some("5242880"), Restart, Later,
        "Bytes read at a time when a share coordinator loads its partition.";
    "share.coordinator.snapshot.update.records.per.snapshot", int(0, 500), Some("500"), Restart, Later,
        "Updates of a share partition between two full records.";
    "share.coordinator.state.topic.compression.codec", INT, Some("0"), Restart, Later,
        "Codec of the share state topic.";
    "share.coordinator.state.topic.min.isr", Kind::Short { min: 1, max: 32767 }, Some("2"), Restart, Later,
        "Replicas of the share state topic that must be in sync.";
    "share.coordinator.state.topic.num.partitions", int(1, I32), Some("50"), Restart, Later,
        "Partitions of the share state topic.";
    "share.coordinator.state.topic.prune.interval.ms", int(1, I32), Some("300000"), Restart, Hidden,
        "How often the share state topic is pruned.";
    "share.coordinator.state.topic.replication.factor", Kind::Short { min: 1, max: 32767 }, Some("3"), Restart, Later,
        "Replicas of the share state topic.";
    "share.coordinator.state.topic.segment.bytes", int(1, I32), Some("104857600"), Restart, Later,
        "Segment size of the share state topic.";
    "share.coordinator.threads", int(1, I32), Some("1"), Restart, Later,
        "Threads of the share coordinator. Klamm runs it on the shard that owns the partition.";
    "share.coordinator.write.timeout.ms", int(1, I32), Some("5000"), Restart, Later,
        "Time a write of the share coordinator waits for the replicas.";
    "share.fetch.purgatory.purge.interval.requests", INT, Some("1000"), Restart, Later,
        "How often finished waits of ShareFetch are cleared away.";
    "transaction.abort.timed.out.transaction.cleanup.interval.ms", int(1, I32), Some("10000"), Restart, Later,
        "How often transactions that ran out of time are aborted.";
    "transaction.max.timeout.ms", int(1, I32), Some("900000"), Restart, Later,
        "Longest transaction timeout a client may ask for.";
    "transaction.partition.verification.enable", Kind::Boolean, Some("true"), Cluster, Later,
        "Whether a partition checks that it is part of the transaction before it appends.";
    "transaction.remove.expired.transaction.cleanup.interval.ms", int(1, I32), Some("3600000"), Restart, Later,
        "How often expired transactional ids are removed.";
    "transaction.state.log.load.buffer.size", int(1, I32), Some("5242880"), Restart, Later,
        "Bytes read at a time when a transaction coordinator loads its partition.";
    "transaction.state.log.min.isr", int(1, I32), Some("2"), Restart, Later,
        "Replicas of the transaction topic that must be in sync.";
    "transaction.state.log.num.partitions", int(1, I32), Some("50"), Restart, Later,
        "Partitions of the transaction topic.";
    "transaction.state.log.replication.factor", Kind::Short { min: 1, max: 32767 }, Some("3"), Restart, Later,
        "Replicas of the transaction topic.";
    "transaction.state.log.segment.bytes", int(1, I32), Some("104857600"), Restart, Later,
        "Segment size of the transaction topic.";
    "transaction.two.phase.commit.enable", Kind::Boolean, Some("false"), Restart, Later,
        "Whether clients may take part in two-phase commits.";
    "transactional.id.expiration.ms", int(1, I32), Some("604800000"), Restart, Later,
        "Time after which an unused transactional id is forgotten.";
};
