//! Settings of a node among others: roles, metadata quorum, replication, quotas.
//!
//! What a newcomer would get wrong: `node.id` and `process.roles` have defaults here, Kafka demands them.

use super::setting::{I32, I64, INT, Kind, LIST, LONG, Setting, int, long, settings};

/// The settings, by name.
pub(super) const SETTINGS: &[Setting] = settings! {
    "alter.log.dirs.replication.quota.window.num", int(1, I32), Some("11"), Restart, Later,
        "Samples kept for the quota on moves between log directories.";
    "alter.log.dirs.replication.quota.window.size.seconds", int(1, I32), Some("1"), Restart, Later,
        "Length of one sample for the quota on moves between log directories.";
    "auto.leader.rebalance.enable", Kind::Boolean, Some("true"), Restart, Later,
        "Whether leadership is handed back to preferred replicas from time to time.";
    "broker.heartbeat.interval.ms", INT, Some("2000"), Restart, Later,
        "How often a broker tells the controller that it is alive.";
    "broker.id", INT, Some("-1"), Restart, Acted,
        "The older name of `node.id`.";
    "broker.rack", Kind::Text, None, Restart, Acted,
        "The rack or zone of this broker, told to clients and used to spread replicas.";
    "broker.session.timeout.ms", INT, Some("9000"), Restart, Later,
        "How long a broker may be silent before the controller fences it.";
    "client.quota.callback.class", Kind::Class, None, Restart, Later,
        "Java class that computes client quotas.";
    "controlled.shutdown.enable", Kind::Boolean, Some("true"), Restart, Later,
        "Whether a stopping broker first hands its leaderships to others.";
    "controller.listener.names", LIST, Some("CONTROLLER"), Restart, Acted,
        "Names of the listeners that the controller quorum uses.";
    "controller.performance.always.log.threshold.ms", long(0, I64), Some("2000"), Restart, Hidden,
        "Controller events slower than this are always logged.";
    "controller.performance.sample.period.ms", long(100, I64), Some("60000"), Restart, Hidden,
        "How often figures about controller events are logged.";
    "controller.quorum.append.linger.ms", int(0, I32), Some("25"), Restart, Later,
        "Time the leader of the quorum gathers records before it writes them.";
    "controller.quorum.auto.join.enable", Kind::Boolean, Some("false"), Restart, Later,
        "Whether a new controller adds itself to the voters.";
    "controller.quorum.bootstrap.servers", LIST, Some(""), Restart, Acted,
        "Addresses of controllers to find the quorum by, as HOST:PORT. For the time being one, this node itself; the \
         directory is formatted without voters in it, so Apache Kafka opens it with `controller.quorum.voters`.";
    "controller.quorum.election.backoff.max.ms", int(0, I32), Some("1000"), Restart, Later,
        "Longest random wait after an election without a winner.";
    "controller.quorum.election.timeout.ms", int(0, I32), Some("1000"), Restart, Later,
        "Time without news of a leader before a voter starts an election.";
    "controller.quorum.fetch.max.bytes", int(1, I32), Some("1048576"), Restart, Later,
        "Most bytes of metadata records fetched at a time.";
    "controller.quorum.fetch.snapshot.max.bytes", int(1, I32), Some("1048576"), Restart, Later,
        "Most bytes of a metadata snapshot fetched at a time.";
    "controller.quorum.fetch.timeout.ms", int(0, I32), Some("2000"), Restart, Later,
        "Time without a successful fetch from the leader before a voter starts an election.";
    "controller.quorum.request.timeout.ms", int(0, I32), Some("2000"), Restart, Later,
        "Time to wait for the answer to a request between controllers.";
    "controller.quorum.retry.backoff.ms", int(0, I32), Some("20"), Restart, Later,
        "Time before a failed request between controllers is sent again.";
    "controller.quorum.voters", LIST, Some(""), Restart, Acted,
        "The voters of the metadata quorum, as ID@HOST:PORT. One for the time being: this node itself.";
    "controller.quota.window.num", int(1, I32), Some("11"), Restart, Later,
        "Samples kept for the quota on changes of topics.";
    "controller.quota.window.size.seconds", int(1, I32), Some("1"), Restart, Later,
        "Length of one sample for the quota on changes of topics.";
    "controller.socket.timeout.ms", INT, Some("30000"), Restart, Later,
        "Socket timeout of connections from brokers to the controller.";
    "cordoned.log.dirs", LIST, Some(""), PerBroker, Later,
        "Log directories that get no new partitions.";
    "default.replication.factor", INT, Some("1"), Restart, Acted,
        "Replicas of a topic created without saying how many.";
    "follower.replication.throttled.rate", long(0, I64), Some("9223372036854775807"), PerBroker, Hidden,
        "Bytes per second that throttled replicas of this broker fetch.";
    "initial.broker.registration.timeout.ms", INT, Some("60000"), Restart, Later,
        "Time a starting broker tries to register before it stops.";
    "inter.broker.listener.name", Kind::Text, None, Restart, Acted,
        "Name of the listener that brokers use among themselves.";
    "internal.metadata.delete.delay.millis", LONG, Some("60000"), Restart, Hidden,
        "Time before files of the metadata log that are no longer needed are removed.";
    "internal.metadata.log.segment.bytes", INT, None, Restart, Hidden,
        "Size of the metadata log's segments, below the public bound.";
    "internal.metadata.max.batch.size.in.bytes", INT, Some("8388608"), Restart, Hidden,
        "Largest batch of the metadata log.";
    "leader.imbalance.check.interval.seconds", long(1, I64), Some("300"), Restart, Later,
        "How often leaderships are checked for balance.";
    "leader.replication.throttled.rate", long(0, I64), Some("9223372036854775807"), PerBroker, Hidden,
        "Bytes per second that throttled replicas get from this broker as leader.";
    "metadata.log.dir", Kind::Text, None, Restart, Later,
        "Directory of the metadata log; the first log directory when not set.";
    "metadata.log.max.record.bytes.between.snapshots", long(1, I64), Some("20971520"), Restart, Later,
        "Bytes of metadata records after which a snapshot is written.";
    "metadata.log.max.snapshot.interval.ms", long(0, I64), Some("3600000"), Restart, Later,
        "Time after which a metadata snapshot is written if there is anything new.";
    "metadata.log.segment.bytes", int(8388608, I32), Some("1073741824"), Restart, Later,
        "Size at which a segment of the metadata log is closed.";
    "metadata.log.segment.ms", LONG, Some("604800000"), Restart, Later,
        "Time after which a segment of the metadata log is closed.";
    "metadata.max.idle.interval.ms", int(0, I32), Some("500"), Restart, Later,
        "How often an idle controller writes a record that does nothing; 0 is never.";
    "metadata.max.retention.bytes", LONG, Some("104857600"), Restart, Later,
        "Size of metadata log and snapshots above which old ones are deleted.";
    "metadata.max.retention.ms", LONG, Some("604800000"), Restart, Later,
        "Time metadata segments and snapshots are kept once a newer snapshot covers them.";
    "min.insync.replicas", int(1, I32), Some("1"), Cluster, Acted,
        "Replicas that must be in sync for acks=all; never more than the topic has.";
    "node.id", int(0, I32), Some("1"), Restart, Acted,
        "The id of this node in its cluster.";
    "num.replica.alter.log.dirs.threads", INT, None, Restart, Later,
        "Threads that move replicas between log directories.";
    "num.replica.fetchers", int(1, I32), Some("1"), Cluster, Later,
        "Threads that fetch from each other broker.";
    "process.roles",
        Kind::List { of: &["broker", "controller"], filled: true }, Some("broker,controller"), Restart, Acted,
        "The roles of this node. `broker,controller` for the time being.";
    "quota.window.num", int(1, I32), Some("11"), Restart, Later,
        "Samples kept for client quotas.";
    "quota.window.size.seconds", int(1, I32), Some("1"), Restart, Later,
        "Length of one sample for client quotas.";
    "replica.alter.log.dirs.io.max.bytes.per.second", long(0, I64), Some("9223372036854775807"), PerBroker, Hidden,
        "Bytes per second that moves between log directories may take.";
    "replica.fetch.backoff.ms", int(0, I32), Some("1000"), Restart, Later,
        "Pause of a follower after a failed fetch.";
    "replica.fetch.max.bytes", int(0, I32), Some("1048576"), Restart, Later,
        "Bytes a follower asks for per partition.";
    "replica.fetch.min.bytes", INT, Some("1"), Restart, Later,
        "Bytes a leader should gather before it answers a follower.";
    "replica.fetch.response.max.bytes", int(0, I32), Some("10485760"), Restart, Later,
        "Bytes a follower asks for per fetch.";
    "replica.fetch.wait.max.ms", INT, Some("500"), Restart, Later,
        "Time a follower's fetch may wait at the leader.";
    "replica.high.watermark.checkpoint.interval.ms", LONG, Some("5000"), Restart, Later,
        "How often high watermarks are written down.";
    "replica.lag.time.max.ms", LONG, Some("30000"), Restart, Later,
        "Time a follower may lag before it leaves the ISR.";
    "replica.selector.class", Kind::Text, None, Restart, Later,
        "Java class that chooses which replica a consumer reads from.";
    "replica.socket.receive.buffer.bytes", INT, Some("65536"), Restart, Later,
        "Socket receive buffer of follower fetches.";
    "replica.socket.timeout.ms", INT, Some("30000"), Restart, Later,
        "Socket timeout of follower fetches.";
    "replication.quota.window.num", int(1, I32), Some("11"), Restart, Later,
        "Samples kept for replication quotas.";
    "replication.quota.window.size.seconds", int(1, I32), Some("1"), Restart, Later,
        "Length of one sample for replication quotas.";
    "request.timeout.ms", INT, Some("30000"), Restart, Later,
        "Time this broker waits for answers of other nodes.";
    "socket.connection.setup.timeout.max.ms", LONG, Some("30000"), Restart, Later,
        "Longest time to set up a connection to another node after several failures.";
    "socket.connection.setup.timeout.ms", LONG, Some("10000"), Restart, Later,
        "Time to set up a connection to another node.";
    "unclean.leader.election.enable", Kind::Boolean, Some("false"), Cluster, Later,
        "Whether a replica that is not in sync may become leader, at the price of lost records.";
    "unclean.leader.election.interval.ms", long(1, I64), Some("300000"), Restart, Hidden,
        "How often partitions without a leader are looked at for an unclean election.";
    "unstable.api.versions.enable", Kind::Boolean, Some("false"), Restart, Hidden,
        "Whether unfinished API versions are announced.";
    "unstable.feature.versions.enable", Kind::Boolean, Some("false"), Restart, Hidden,
        "Whether unfinished feature levels are accepted.";
};
