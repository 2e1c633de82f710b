//! Settings of one broker: listeners, sockets, logs, metrics.
//!
//! What a newcomer would get wrong: the defaults of `listeners` and `log.dir` are ours, so that a node
//! starts without any settings.

use super::setting::{DOUBLE, I32, I64, INT, Kind, LIST, LONG, Setting, int, long, settings};

/// The settings, by name.
pub(super) const SETTINGS: &[Setting] = settings! {
    "advertised.listeners", LIST, None, Restart, Acted,
        "Addresses that clients are told to connect to, as NAME://HOST:PORT. Those of `listeners` when not set.";
    "alter.config.policy.class.name", Kind::Class, None, Restart, Later,
        "Java class that may refuse changes of settings.";
    "auto.create.topics.enable", Kind::Boolean, Some("true"), Restart, Acted,
        "Whether a topic that a client asks for by name is created when it does not exist.";
    "background.threads", int(1, I32), Some("10"), Cluster, Later,
        "Threads for background work. Klamm has one shard per core instead.";
    "compression.gzip.level", Kind::Int { min: 1, max: 9, or: Some(-1) }, Some("-1"), Cluster, Later,
        "Level at which gzip compresses when the broker compresses itself; -1 is the codec's own default.";
    "compression.lz4.level", int(1, 17), Some("9"), Cluster, Later,
        "Level at which lz4 compresses when the broker compresses itself.";
    "compression.type",
        Kind::Choice(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), Some("producer"), Cluster, Later,
        "Codec that batches are stored with; `producer` keeps them as they were sent.";
    "compression.zstd.level", int(-131072, 22), Some("3"), Cluster, Later,
        "Level at which zstd compresses when the broker compresses itself.";
    "config.providers", LIST, Some(""), Cluster, Later,
        "Plug-ins that fetch values of settings from elsewhere.";
    "connections.max.idle.ms", LONG, Some("600000"), Restart, Acted,
        "A connection without any request for this long is closed.";
    "create.topic.policy.class.name", Kind::Class, None, Restart, Later,
        "Java class that may refuse the creation of topics.";
    "delete.records.purgatory.purge.interval.requests", INT, Some("1"), Restart, Later,
        "How often finished waits of DeleteRecords are cleared away.";
    "delete.topic.enable", Kind::Boolean, Some("true"), Restart, Acted,
        "Whether topics may be deleted.";
    "fetch.max.bytes", int(1024, I32), Some("57671680"), Restart, Acted,
        "Most bytes a fetch request is answered with, whatever the client asks for.";
    "fetch.purgatory.purge.interval.requests", INT, Some("1000"), Restart, Later,
        "How often finished waits of Fetch are cleared away.";
    "kafka.metrics.polling.interval.secs", int(1, I32), Some("10"), Restart, Later,
        "How often metrics reporters poll.";
    "kafka.metrics.reporters", LIST, Some(""), Restart, Later,
        "Java classes that report the older metrics.";
    "listener.security.protocol.map",
        Kind::Text, Some("SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT"), PerBroker, Acted,
        "Security protocol of each listener name, as NAME:PROTOCOL. PLAINTEXT alone is offered for the time being.";
    "listeners", LIST, Some("PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"), PerBroker, Acted,
        "Addresses to listen on, as NAME://HOST:PORT; an empty host is every interface.";
    "log.cleaner.backoff.ms", long(0, I64), Some("15000"), Cluster, Later,
        "Pause of the log cleaner when there is nothing to clean.";
    "log.cleaner.dedupe.buffer.size", LONG, Some("134217728"), Cluster, Later,
        "Memory of all cleaners together for removing duplicates.";
    "log.cleaner.delete.retention.ms", long(0, I64), Some("86400000"), Cluster, Later,
        "Time a tombstone is kept in a compacted log.";
    "log.cleaner.enable", Kind::Boolean, Some("true"), Restart, Later,
        "Whether compacted topics are cleaned.";
    "log.cleaner.io.buffer.load.factor", DOUBLE, Some("0.9"), Cluster, Later,
        "How full the buffer for removing duplicates may be.";
    "log.cleaner.io.buffer.size", int(0, I32), Some("524288"), Cluster, Later,
        "Memory of all cleaners together for reading and writing.";
    "log.cleaner.io.max.bytes.per.second", DOUBLE, Some("1.7976931348623157E308"), Cluster, Later,
        "Most bytes per second that cleaners read and write.";
    "log.cleaner.max.compaction.lag.ms", long(1, I64), Some("9223372036854775807"), Cluster, Later,
        "Time after which a record must be compacted.";
    "log.cleaner.min.cleanable.ratio", Kind::Double { min: 0.0, max: 1.0 }, Some("0.5"), Cluster, Later,
        "Share of a log that must be uncompacted before it is cleaned.";
    "log.cleaner.min.compaction.lag.ms", long(0, I64), Some("0"), Cluster, Later,
        "Time during which a record is not compacted.";
    "log.cleaner.threads", int(0, I32), Some("1"), Cluster, Later,
        "Threads that clean logs.";
    "log.cleanup.policy", Kind::List { of: &["compact", "delete"], filled: false }, Some("delete"), Cluster, Acted,
        "What happens to old segments: `delete`, `compact`, both, or nothing. For the time being nothing is deleted or \
         compacted; with `compact` records must have keys.";
    "log.dir", LIST, Some("./data"), Restart, Acted,
        "The log directory when `log.dirs` is not set.";
    "log.dir.failure.timeout.ms", long(1, I64), Some("30000"), Restart, Later,
        "Time a broker with a failed log directory has to tell the controller before it stops.";
    "log.dirs", LIST, None, Restart, Acted,
        "Directories that hold the partitions. One for the time being.";
    "log.flush.interval.messages", long(1, I64), Some("9223372036854775807"), Cluster, Later,
        "Records after which a log is flushed. Klamm acknowledges only what is durable and needs no such interval.";
    "log.flush.interval.ms", LONG, None, Cluster, Later,
        "Time after which a log is flushed. Klamm acknowledges only what is durable and needs no such interval.";
    "log.flush.offset.checkpoint.interval.ms", int(0, I32), Some("60000"), Restart, Later,
        "How often recovery points are written down.";
    "log.flush.scheduler.interval.ms", LONG, Some("9223372036854775807"), Restart, Later,
        "How often it is checked whether a log should be flushed.";
    "log.flush.start.offset.checkpoint.interval.ms", int(0, I32), Some("60000"), Restart, Later,
        "How often log start offsets are written down.";
    "log.index.interval.bytes", int(0, I32), Some("4096"), Cluster, Acted,
        "Bytes of records between two entries of an index.";
    "log.index.size.max.bytes", int(4, I32), Some("10485760"), Cluster, Later,
        "Largest size of an index file.";
    "log.initial.task.delay.ms", long(0, I64), Some("30000"), Restart, Hidden,
        "Time after the start before logs are looked after.";
    "log.message.timestamp.after.max.ms", long(0, I64), Some("3600000"), Cluster, Acted,
        "How far a record's time may lie ahead of the broker's clock.";
    "log.message.timestamp.before.max.ms", long(0, I64), Some("9223372036854775807"), Cluster, Acted,
        "How far a record's time may lie behind the broker's clock.";
    "log.message.timestamp.type", Kind::Choice(&["CreateTime", "LogAppendTime"]), Some("CreateTime"), Cluster, Acted,
        "Whether records carry the producer's time or the time of their append.";
    "log.preallocate", Kind::Boolean, Some("false"), Cluster, Later,
        "Whether a new segment file is allocated in full. Klamm always allocates ahead of the tail.";
    "log.retention.bytes", LONG, Some("-1"), Cluster, Later,
        "Size of a partition above which old segments are deleted; -1 is without bound.";
    "log.retention.check.interval.ms", long(1, I64), Some("300000"), Restart, Later,
        "How often logs are checked for segments to delete.";
    "log.retention.hours", INT, Some("168"), Restart, Later,
        "Time a segment is kept, in hours; `log.retention.minutes` and `log.retention.ms` go before it.";
    "log.retention.minutes", INT, None, Restart, Later,
        "Time a segment is kept, in minutes; `log.retention.ms` goes before it.";
    "log.retention.ms", LONG, None, Cluster, Later,
        "Time a segment is kept; -1 is for ever.";
    "log.roll.hours", int(1, I32), Some("168"), Restart, Later,
        "Time after which a segment is closed, in hours; `log.roll.ms` goes before it.";
    "log.roll.jitter.hours", int(0, I32), Some("0"), Restart, Later,
        "Largest random reduction of the roll time, in hours; `log.roll.jitter.ms` goes before it.";
    "log.roll.jitter.ms", LONG, None, Cluster, Later,
        "Largest random reduction of the roll time.";
    "log.roll.ms", LONG, None, Cluster, Later,
        "Time after which a segment is closed even if it is not full.";
    "log.segment.bytes", int(1048576, I32), Some("1073741824"), Cluster, Acted,
        "Size at which a segment is closed and a new one begun.";
    "log.segment.delete.delay.ms", long(0, I64), Some("60000"), Cluster, Later,
        "Time between taking a segment out of use and removing its file.";
    "max.connection.creation.rate", int(0, I32), Some("2147483647"), Cluster, Later,
        "Most new connections per second.";
    "max.connections", int(0, I32), Some("2147483647"), Cluster, Later,
        "Most connections of this broker.";
    "max.connections.per.ip", int(0, I32), Some("2147483647"), Cluster, Later,
        "Most connections from one address.";
    "max.connections.per.ip.overrides", Kind::Text, Some(""), Cluster, Later,
        "Most connections of certain addresses, as HOST:COUNT.";
    "max.decompressed.message.bytes", int(1, 2147483639), Some("2147483639"), Cluster, Later,
        "Largest size a compressed batch may have once decompressed.";
    "max.incremental.fetch.session.cache.slots", int(0, I32), Some("1000"), Restart, Later,
        "Most fetch sessions kept.";
    "max.request.partition.size.limit", int(1, I32), Some("2000"), Restart, Acted,
        "Most partitions that one DescribeTopicPartitions answer holds.";
    "message.max.bytes", int(0, I32), Some("1048588"), Cluster, Acted,
        "Largest batch that a producer may send, after compression. More than a shard can receive, keep and read again (38 to 45 % of its part of `klamm.memory.bytes`) is refused when set, here or for a topic.";
    "metric.reporters", LIST, Some("org.apache.kafka.common.metrics.JmxReporter"), Cluster, Later,
        "Java classes that report metrics.";
    "metrics.num.samples", int(1, I32), Some("2"), Restart, Later,
        "Samples kept for each metric.";
    "metrics.recording.level", Kind::Text, Some("INFO"), Restart, Later,
        "How detailed metrics are.";
    "metrics.sample.window.ms", long(1, I64), Some("30000"), Restart, Later,
        "Length of one sample of a metric.";
    "num.io.threads", int(1, I32), Some("8"), Cluster, Later,
        "Threads that work on requests. Klamm has one shard per core instead.";
    "num.network.threads", int(1, I32), Some("3"), Cluster, Later,
        "Threads that read and write sockets. Klamm has one shard per core instead.";
    "num.partitions", int(1, I32), Some("1"), Restart, Acted,
        "Partitions of a topic created without saying how many.";
    "num.recovery.threads.per.data.dir", int(1, I32), Some("2"), Cluster, Later,
        "Threads per log directory for recovery. Klamm recovers each shard's logs on that shard.";
    "producer.purgatory.purge.interval.requests", INT, Some("1000"), Restart, Later,
        "How often finished waits of Produce are cleared away.";
    "queued.max.request.bytes", LONG, Some("-1"), Restart, Later,
        "Bytes of queued requests above which no more are read. Klamm has a budget per shard: see `klamm.memory.bytes`.";
    "queued.max.requests", int(1, I32), Some("500"), Restart, Later,
        "Queued requests above which no more are read. Klamm has a budget per shard: see `klamm.memory.bytes`.";
    "server.max.startup.time.ms", long(0, I64), Some("9223372036854775807"), Restart, Hidden,
        "Time within which the server must have started.";
    "socket.listen.backlog.size", int(1, I32), Some("50"), Restart, Later,
        "Connections that may wait to be accepted.";
    "socket.receive.buffer.bytes", INT, Some("102400"), Restart, Later,
        "Socket receive buffer; -1 leaves it to the system.";
    "socket.request.max.bytes", int(1, I32), Some("104857600"), Restart, Acted,
        "Largest request; a connection that announces more is closed.";
    "socket.send.buffer.bytes", INT, Some("102400"), Restart, Later,
        "Socket send buffer; -1 leaves it to the system.";
    "telemetry.max.bytes", int(1, I32), Some("1048576"), Restart, Later,
        "Largest metrics message that clients may push.";
};
