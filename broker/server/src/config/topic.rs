//! Settings of one topic. All of them change while the broker runs.
//!
//! What a newcomer would get wrong: the default here holds only when the broker has no value for the
//! setting's synonym ([`SYNONYMS`]).

use super::setting::{I32, I64, INT, Kind, LONG, Setting, int, long, settings};

/// The settings, by name.
pub(super) const SETTINGS: &[Setting] = settings! {
    "cleanup.policy", Kind::List { of: &["compact", "delete"], filled: false }, Some("delete"), Cluster, Acted,
        "What happens to old segments: `delete`, `compact`, both, or nothing. For the time being nothing is deleted or \
         compacted; with `compact` records must have keys.";
    "compression.gzip.level", Kind::Int { min: 1, max: 9, or: Some(-1) }, Some("-1"), Cluster, Later,
        "Level at which gzip compresses when the broker compresses itself; -1 is the codec's own default.";
    "compression.lz4.level", int(1, 17), Some("9"), Cluster, Later,
        "Level at which lz4 compresses when the broker compresses itself.";
    "compression.type",
        Kind::Choice(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), Some("producer"), Cluster, Later,
        "Codec that batches are stored with; `producer` keeps them as they were sent.";
    "compression.zstd.level", int(-131072, 22), Some("3"), Cluster, Later,
        "Level at which zstd compresses when the broker compresses itself.";
    "delete.retention.ms", long(0, I64), Some("86400000"), Cluster, Later,
        "Time a tombstone is kept in a compacted log.";
    "errors.deadletterqueue.group.enable", Kind::Boolean, Some("false"), Cluster, Later,
        "Whether the topic may be the dead-letter topic of share groups.";
    "file.delete.delay.ms", long(0, I64), Some("60000"), Cluster, Later,
        "Time between taking a segment out of use and removing its file.";
    "flush.messages", long(1, I64), Some("9223372036854775807"), Cluster, Later,
        "Records after which the log is flushed. Klamm acknowledges only what is durable and needs no such interval.";
    "flush.ms", long(0, I64), Some("9223372036854775807"), Cluster, Later,
        "Time after which the log is flushed. Klamm acknowledges only what is durable and needs no such interval.";
    "follower.replication.throttled.replicas", Kind::Throttled, Some(""), Cluster, Later,
        "Replicas that are throttled as followers, as PARTITION:BROKER, or `*` for all.";
    "index.interval.bytes", int(0, I32), Some("4096"), Cluster, Acted,
        "Bytes of records between two entries of an index.";
    "internal.segment.bytes", INT, None, Cluster, Hidden,
        "Size of segments, below the public bound.";
    "leader.replication.throttled.replicas", Kind::Throttled, Some(""), Cluster, Later,
        "Replicas that are throttled as leaders, as PARTITION:BROKER, or `*` for all.";
    "local.retention.bytes", long(-2, I64), Some("-2"), Cluster, Later,
        "Bytes of a tiered partition kept here; -2 follows `retention.bytes`.";
    "local.retention.ms", long(-2, I64), Some("-2"), Cluster, Later,
        "Time tiered segments are kept here; -2 follows `retention.ms`.";
    "max.compaction.lag.ms", long(1, I64), Some("9223372036854775807"), Cluster, Later,
        "Time after which a record must be compacted.";
    "max.decompressed.message.bytes", int(1, 2147483639), Some("2147483639"), Cluster, Later,
        "Largest size a compressed batch may have once decompressed.";
    "max.message.bytes", int(0, I32), Some("1048588"), Cluster, Acted,
        "Largest batch that a producer may send, after compression.";
    "message.timestamp.after.max.ms", long(0, I64), Some("3600000"), Cluster, Acted,
        "How far a record's time may lie ahead of the broker's clock.";
    "message.timestamp.before.max.ms", long(0, I64), Some("9223372036854775807"), Cluster, Acted,
        "How far a record's time may lie behind the broker's clock.";
    "message.timestamp.type", Kind::Choice(&["CreateTime", "LogAppendTime"]), Some("CreateTime"), Cluster, Acted,
        "Whether records carry the producer's time or the time of their append.";
    "min.cleanable.dirty.ratio", Kind::Double { min: 0.0, max: 1.0 }, Some("0.5"), Cluster, Later,
        "Share of the log that must be uncompacted before it is cleaned.";
    "min.compaction.lag.ms", long(0, I64), Some("0"), Cluster, Later,
        "Time during which a record is not compacted.";
    "min.insync.replicas", int(1, I32), Some("1"), Cluster, Acted,
        "Replicas that must be in sync for acks=all; never more than the topic has.";
    "preallocate", Kind::Boolean, Some("false"), Cluster, Later,
        "Whether a new segment file is allocated in full. Klamm always allocates ahead of the tail.";
    "remote.copy.lag.bytes", long(-1, I64), Some("-1"), Cluster, Later,
        "Bytes a closed segment may wait before it is tiered; 0 tiers at once, -1 is bound by retention alone.";
    "remote.copy.lag.ms", long(-1, I64), Some("0"), Cluster, Later,
        "Time a closed segment may wait before it is tiered; 0 tiers at once, -1 is bound by retention alone.";
    "remote.log.copy.disable", Kind::Boolean, Some("false"), Cluster, Later,
        "Whether a tiered topic stops copying and becomes read-only there.";
    "remote.log.delete.on.disable", Kind::Boolean, Some("false"), Cluster, Later,
        "Whether tiered segments are deleted when tiering is switched off.";
    "remote.storage.enable", Kind::Boolean, Some("false"), Cluster, Later,
        "Whether the topic is tiered to remote storage.";
    "retention.bytes", LONG, Some("-1"), Cluster, Later,
        "Size of a partition above which old segments are deleted; -1 is without bound.";
    "retention.ms", long(-1, I64), Some("604800000"), Cluster, Later,
        "Time a segment is kept; -1 is for ever.";
    "segment.bytes", int(1048576, I32), Some("1073741824"), Cluster, Acted,
        "Size at which a segment is closed and a new one begun.";
    "segment.index.bytes", int(4, I32), Some("10485760"), Cluster, Later,
        "Largest size of an index file.";
    "segment.jitter.ms", long(0, I64), Some("0"), Cluster, Later,
        "Largest random reduction of the roll time.";
    "segment.ms", long(1, I64), Some("604800000"), Cluster, Later,
        "Time after which a segment is closed even if it is not full.";
    "unclean.leader.election.enable", Kind::Boolean, Some("false"), Cluster, Later,
        "Whether a replica that is not in sync may become leader, at the price of lost records.";
};

/// The broker settings that give a topic setting its default, the strongest first, with the milliseconds
/// that one unit of the value is worth (`ServerTopicConfigSynonyms`).
pub(super) const SYNONYMS: &[(&str, &[(&str, i64)])] = &[
    ("cleanup.policy", &[("log.cleanup.policy", 1)]),
    ("compression.gzip.level", &[("compression.gzip.level", 1)]),
    ("compression.lz4.level", &[("compression.lz4.level", 1)]),
    ("compression.type", &[("compression.type", 1)]),
    ("compression.zstd.level", &[("compression.zstd.level", 1)]),
    ("delete.retention.ms", &[("log.cleaner.delete.retention.ms", 1)]),
    ("file.delete.delay.ms", &[("log.segment.delete.delay.ms", 1)]),
    ("flush.messages", &[("log.flush.interval.messages", 1)]),
    (
        "flush.ms",
        &[
            ("log.flush.interval.ms", 1),
            ("log.flush.scheduler.interval.ms", 1),
        ],
    ),
    ("index.interval.bytes", &[("log.index.interval.bytes", 1)]),
    ("local.retention.bytes", &[("log.local.retention.bytes", 1)]),
    ("local.retention.ms", &[("log.local.retention.ms", 1)]),
    (
        "max.compaction.lag.ms",
        &[("log.cleaner.max.compaction.lag.ms", 1)],
    ),
    (
        "max.decompressed.message.bytes",
        &[("max.decompressed.message.bytes", 1)],
    ),
    ("max.message.bytes", &[("message.max.bytes", 1)]),
    (
        "message.timestamp.after.max.ms",
        &[("log.message.timestamp.after.max.ms", 1)],
    ),
    (
        "message.timestamp.before.max.ms",
        &[("log.message.timestamp.before.max.ms", 1)],
    ),
    ("message.timestamp.type", &[("log.message.timestamp.type", 1)]),
    (
        "min.cleanable.dirty.ratio",
        &[("log.cleaner.min.cleanable.ratio", 1)],
    ),
    (
        "min.compaction.lag.ms",
        &[("log.cleaner.min.compaction.lag.ms", 1)],
    ),
    ("min.insync.replicas", &[("min.insync.replicas", 1)]),
    ("preallocate", &[("log.preallocate", 1)]),
    ("remote.copy.lag.bytes", &[("log.remote.copy.lag.bytes", 1)]),
    ("remote.copy.lag.ms", &[("log.remote.copy.lag.ms", 1)]),
    ("retention.bytes", &[("log.retention.bytes", 1)]),
    (
        "retention.ms",
        &[
            ("log.retention.ms", 1),
            ("log.retention.minutes", 60_000),
            ("log.retention.hours", 3_600_000),
        ],
    ),
    ("segment.bytes", &[("log.segment.bytes", 1)]),
    ("segment.index.bytes", &[("log.index.size.max.bytes", 1)]),
    (
        "segment.jitter.ms",
        &[("log.roll.jitter.ms", 1), ("log.roll.jitter.hours", 3_600_000)],
    ),
    ("segment.ms", &[("log.roll.ms", 1), ("log.roll.hours", 3_600_000)]),
    (
        "unclean.leader.election.enable",
        &[("unclean.leader.election.enable", 1)],
    ),
];
