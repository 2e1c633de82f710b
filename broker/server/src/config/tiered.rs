//! Settings of tiered storage.
//!
//! What a newcomer would get wrong: none of them does anything yet.

use super::setting::{I32, I64, Kind, Setting, int, long, settings};

/// The settings, by name.
pub(super) const SETTINGS: &[Setting] = settings! {
    "follower.fetch.last.tiered.offset.enable", Kind::Boolean, Some("false"), Cluster, Later,
        "Whether a new follower starts at the end of what is already tiered.";
    "log.local.retention.bytes", long(-2, I64), Some("-2"), Cluster, Later,
        "Bytes of a tiered partition kept here; -2 follows `log.retention.bytes`.";
    "log.local.retention.ms", long(-2, I64), Some("-2"), Cluster, Later,
        "Time tiered segments are kept here; -2 follows `log.retention.ms`.";
    "log.remote.copy.lag.bytes", long(-1, I64), Some("-1"), Cluster, Later,
        "Bytes a closed segment may wait before it is tiered; 0 tiers at once, -1 is bound by retention alone.";
    "log.remote.copy.lag.ms", long(-1, I64), Some("0"), Cluster, Later,
        "Time a closed segment may wait before it is tiered; 0 tiers at once, -1 is bound by retention alone.";
    "remote.fetch.max.wait.ms", int(1, I32), Some("500"), Cluster, Later,
        "Time a fetch waits for tiered data.";
    "remote.list.offsets.request.timeout.ms", long(1, I64), Some("30000"), Cluster, Later,
        "Time a search for offsets in tiered data may take.";
    "remote.log.index.file.cache.total.size.bytes", long(1, I64), Some("1073741824"), Cluster, Later,
        "Size of the cache of tiered index files.";
    "remote.log.index.file.cache.ttl.ms", long(-1, I64), Some("900000"), Restart, Hidden,
        "Time a tiered index file stays in the cache without being used.";
    "remote.log.manager.copier.thread.pool.size", int(1, I32), Some("10"), Cluster, Later,
        "Threads that copy segments to the remote storage.";
    "remote.log.manager.copy.max.bytes.per.second", long(1, I64), Some("9223372036854775807"), Cluster, Later,
        "Most bytes per second copied to the remote storage.";
    "remote.log.manager.copy.quota.window.num", int(1, I32), Some("11"), Restart, Later,
        "Samples kept for the quota on copying.";
    "remote.log.manager.copy.quota.window.size.seconds", int(1, I32), Some("1"), Restart, Later,
        "Length of one sample for the quota on copying.";
    "remote.log.manager.expiration.thread.pool.size", int(1, I32), Some("10"), Cluster, Later,
        "Threads that delete expired segments in the remote storage.";
    "remote.log.manager.fetch.max.bytes.per.second", long(1, I64), Some("9223372036854775807"), Cluster, Later,
        "Most bytes per second fetched from the remote storage.";
    "remote.log.manager.fetch.quota.window.num", int(1, I32), Some("11"), Restart, Later,
        "Samples kept for the quota on fetching.";
    "remote.log.manager.fetch.quota.window.size.seconds", int(1, I32), Some("1"), Restart, Later,
        "Length of one sample for the quota on fetching.";
    "remote.log.manager.follower.thread.pool.size", int(1, I32), Some("2"), Cluster, Later,
        "Threads that do the tiering work of followers.";
    "remote.log.manager.task.interval.ms", long(1, I64), Some("30000"), Restart, Later,
        "How often tiering tasks run.";
    "remote.log.manager.task.retry.backoff.max.ms", long(1, I64), Some("30000"), Restart, Hidden,
        "Longest pause after a failed tiering task.";
    "remote.log.manager.task.retry.backoff.ms", long(1, I64), Some("500"), Restart, Hidden,
        "First pause after a failed tiering task.";
    "remote.log.manager.task.retry.jitter", Kind::Double { min: 0.0, max: 0.5 }, Some("0.2"), Restart, Hidden,
        "Random part of the pause after a failed tiering task.";
    "remote.log.manager.thread.pool.size", int(1, I32), Some("2"), Restart, Later,
        "Threads that schedule tiering tasks.";
    "remote.log.metadata.custom.metadata.max.bytes", int(0, I32), Some("128"), Restart, Later,
        "Most bytes of metadata that a remote storage plug-in may attach to a segment.";
    "remote.log.metadata.manager.class.name",
        Kind::FilledText, Some("org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager"), Restart, Later,
        "Java class that keeps the metadata of tiered segments.";
    "remote.log.metadata.manager.class.path", Kind::Text, None, Restart, Later,
        "Class path of that class.";
    "remote.log.metadata.manager.impl.prefix", Kind::FilledText, Some("rlmm.config."), Restart, Later,
        "Prefix of the settings handed to that class.";
    "remote.log.metadata.manager.listener.name", Kind::FilledText, None, Restart, Later,
        "Listener that class connects to.";
    "remote.log.reader.max.pending.tasks", int(1, I32), Some("100"), Restart, Later,
        "Most queued reads of tiered data.";
    "remote.log.reader.threads", int(1, I32), Some("10"), Cluster, Later,
        "Threads that read tiered data.";
    "remote.log.storage.manager.class.name", Kind::FilledText, None, Restart, Later,
        "Java class that stores tiered segments.";
    "remote.log.storage.manager.class.path", Kind::Text, None, Restart, Later,
        "Class path of that class.";
    "remote.log.storage.manager.impl.prefix", Kind::FilledText, Some("rsm.config."), Restart, Later,
        "Prefix of the settings handed to that class.";
    "remote.log.storage.system.enable", Kind::Boolean, Some("false"), Restart, Later,
        "Whether topics may be tiered to remote storage.";
};
