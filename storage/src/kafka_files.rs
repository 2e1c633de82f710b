//! Kafka's small files in a log dir and in a partition's directory: text checkpoints, `meta.properties`,
//! `partition.metadata` and `.kafka_cleanshutdown`, from bytes and to bytes.
//!
//! They are Kafka's down to the last newline, because Kafka reads them strictly: a checkpoint with a wrong
//! count takes the whole log dir offline. Nothing here touches a disk; who writes one writes it aside, syncs
//! it, renames it and syncs the directory. Source: section 5 of the formats page.

use std::fmt::Write as _;

use protocol::types::{BrokerId, LeaderEpoch, Offset, Partition, TopicId, Uuid};
use serde::{Deserialize, Serialize};

/// Longest of these files that is read; more is no file of ours or Kafka's.
pub const FILE_BYTES_MAX: usize = 64 << 20;

/// Name of the file with cluster, node and directory ids.
pub const META_PROPERTIES: &str = "meta.properties";
/// Name of the file with a partition's topic id.
pub const PARTITION_METADATA: &str = "partition.metadata";
/// Name of the file with the start offset of each leader epoch, in a partition's directory.
pub const LEADER_EPOCHS: &str = "leader-epoch-checkpoint";
/// Name of the file with the high watermarks, in the log dir.
pub const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";
/// Name of the file with the offsets below which segments are flushed, in the log dir.
pub const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
/// Name of the file with log start offsets, in the log dir.
pub const LOG_STARTS: &str = "log-start-offset-checkpoint";
/// Name of the file that says the dir was closed cleanly.
pub const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
/// Name of the file whose record lock says that a process uses the dir.
pub const LOCK: &str = ".lock";

/// What is wrong with such a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Line number from 1; 0 when the file as a whole is meant.
    pub line: usize,
    /// What was wanted there.
    pub wanted: &'static str,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => write!(out, "{} is wanted", self.wanted),
            line => write!(out, "line {line}: {} is wanted", self.wanted),
        }
    }
}

impl std::error::Error for Malformed {}

fn wrong<T>(line: usize, wanted: &'static str) -> Result<T, Malformed> {
    Err(Malformed { line, wanted })
}

fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).or(wrong(0, "UTF-8 text"))
}

/// The bytes of a checkpoint of offsets per partition (`OffsetCheckpointFile`).
pub fn encode_offsets(entries: &[(String, Partition, Offset)]) -> Vec<u8> {
    let mut out = format!("0\n{}\n", entries.len());
    for (topic, partition, offset) in entries {
        let _ = writeln!(out, "{topic} {partition} {offset}");
    }
    out.into_bytes()
}

/// The entries of a checkpoint of offsets per partition.
pub fn decode_offsets(bytes: &[u8]) -> Result<Vec<(String, Partition, Offset)>, Malformed> {
    decode_lines(bytes, |line| {
        let mut words = line.split(' ');
        let entry = (
            words.next()?.to_owned(),
            Partition(words.next()?.parse().ok()?),
            Offset(words.next()?.parse().ok()?),
        );
        words.next().is_none().then_some(entry)
    })
}

/// The bytes of a `leader-epoch-checkpoint`.
pub fn encode_epochs(entries: &[(LeaderEpoch, Offset)]) -> Vec<u8> {
    let mut out = format!("0\n{}\n", entries.len());
    for (epoch, start) in entries {
        let _ = writeln!(out, "{epoch} {start}");
    }
    out.into_bytes()
}

/// The entries of a `leader-epoch-checkpoint`.
pub fn decode_epochs(bytes: &[u8]) -> Result<Vec<(LeaderEpoch, Offset)>, Malformed> {
    decode_lines(bytes, |line| {
        let (epoch, start) = line.split_once(' ')?;
        Some((LeaderEpoch(epoch.parse().ok()?), Offset(start.parse().ok()?)))
    })
}

fn decode_lines<T>(bytes: &[u8], entry: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, Malformed> {
    let mut lines = text(bytes)?.lines();
    if lines.next() != Some("0") {
        return wrong(1, "version 0");
    }
    let count: Option<usize> = lines.next().and_then(|line| line.parse().ok());
    let Some(count) = count else {
        return wrong(2, "a number of entries");
    };
    let mut entries = Vec::new();
    for (place, line) in lines.enumerate() {
        match entry(line) {
            Some(entry) => entries.push(entry),
            None => return wrong(place + 3, "an entry of numbers parted by one space"),
        }
    }
    if entries.len() != count {
        return wrong(2, "as many entries as are counted");
    }
    Ok(entries)
}

/// The bytes of a `partition.metadata`.
pub fn encode_partition_metadata(topic_id: TopicId) -> Vec<u8> {
    format!("version: 0\ntopic_id: {topic_id}").into_bytes()
}

/// The topic id in a `partition.metadata`.
pub fn decode_partition_metadata(bytes: &[u8]) -> Result<TopicId, Malformed> {
    let mut lines = text(bytes)?.lines();
    if lines.next() != Some("version: 0") {
        return wrong(1, "version: 0");
    }
    let id = lines.next().and_then(|line| line.strip_prefix("topic_id: "));
    match id.and_then(|id| id.parse().ok()) {
        Some(id) if id != Uuid::ZERO => Ok(id),
        _ => wrong(2, "topic_id: and an id"),
    }
}

/// Who a log dir belongs to (`MetaProperties` version 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    /// The cluster.
    pub cluster_id: String,
    /// The node.
    pub node_id: BrokerId,
    /// This directory; absent in files written before Kafka 3.7.
    pub directory_id: Option<Uuid>,
}

impl MetaProperties {
    /// The bytes of the file. Keys in Kafka's order, without the comment with the date.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = format!(
            "cluster.id={}\n",
            self.cluster_id
                .replace('\\', "\\\\")
                .replace('=', "\\=")
                .replace(':', "\\:")
        );
        if let Some(id) = self.directory_id {
            let _ = writeln!(out, "directory.id={id}");
        }
        let _ = writeln!(out, "node.id={}", self.node_id);
        out.push_str("version=1\n");
        out.into_bytes()
    }

    /// The properties in the bytes of the file; unknown keys are kept out, as Kafka does.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (mut version, mut cluster_id, mut node_id, mut directory_id) = (None, None, None, None);
        for (place, line) in text(bytes)?.lines().enumerate() {
            let line = line.trim_start();
            if line.is_empty() || line.starts_with(['#', '!']) {
                continue;
            }
            let Some((key, value)) = line.split_once('=') else {
                return wrong(place + 1, "key=value");
            };
            let value = value.trim().replace('\\', "");
            let number = |value: &str| value.parse::<i32>().or(wrong(place + 1, "a number"));
            match key.trim() {
                "version" => version = Some(number(&value)?),
                "cluster.id" => cluster_id = Some(value),
                "node.id" | "broker.id" => node_id = Some(BrokerId(number(&value)?)),
                "directory.id" => directory_id = Some(value.parse().or(wrong(place + 1, "an id"))?),
                _ => {}
            }
        }
        if version != Some(1) {
            return wrong(0, "version=1");
        }
        let (Some(cluster_id), Some(node_id)) = (cluster_id, node_id) else {
            return wrong(0, "cluster.id and node.id");
        };
        Ok(Self {
            cluster_id,
            node_id,
            directory_id,
        })
    }
}

/// What `.kafka_cleanshutdown` says. An unknown field is ignored by Kafka, which deletes the file at start
/// and writes it anew without: so a token of ours that is found again proves that nobody wrote in between.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CleanShutdown {
    version: i32,
    /// The broker's epoch when it closed, -1 if it had none.
    #[serde(rename = "brokerEpoch")]
    pub broker_epoch: i64,
    /// Names the checkpoint that belongs to this close (D22).
    #[serde(rename = "klammToken", default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

impl CleanShutdown {
    /// What a close of ours writes.
    pub fn new(broker_epoch: i64, token: Uuid) -> Self {
        Self {
            version: 0,
            broker_epoch,
            token: Some(token.to_string()),
        }
    }

    /// The bytes of the file.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// What the file says; `None` for an empty one (old Kafka) or bytes that are not this JSON: closed
    /// cleanly, by somebody else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// Whether the file carries this token.
    pub fn carries(&self, token: Uuid) -> bool {
        self.token.as_deref() == Some(token.to_string().as_str())
    }
}

/// `<topic>-<partition>`, the name of a partition's directory.
pub fn directory_name(topic: &str, partition: Partition) -> String {
    format!("{topic}-{partition}")
}

/// `<topic>-<partition>.<32 hex digits>-delete`, the last name of a deleted partition's directory.
pub fn deleted_directory_name(topic: &str, partition: Partition, id: TopicId) -> String {
    suffixed_directory_name(topic, partition, id, "delete")
}

/// `<topic>-<partition>.<32 hex digits>-stray`, the name of a directory that is no partition's any more.
pub fn stray_directory_name(topic: &str, partition: Partition, id: TopicId) -> String {
    suffixed_directory_name(topic, partition, id, "stray")
}

/// The topic's name is cut so that the whole is a name that file systems take (`UnifiedLog.logDeleteDirName`).
fn suffixed_directory_name(topic: &str, partition: Partition, id: TopicId, suffix: &str) -> String {
    let rest = format!("-{}.{}-{suffix}", partition.0, hex(id));
    let cut = topic.floor_char_boundary(NAME_BYTES_MAX - rest.len());
    format!("{}{rest}", topic.get(..cut).unwrap_or_default())
}

/// Longest name of a directory that file systems take.
const NAME_BYTES_MAX: usize = 255;

fn hex(id: Uuid) -> String {
    id.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The topic and partition that a directory's name stands for (`LocalLog.parseTopicPartitionName`). Unlike Kafka,
/// only the name that [`directory_name`] gives counts: `orders-07` is nobody's directory, not that of `orders-7`.
pub fn parse_directory_name(name: &str) -> Option<(&str, Partition)> {
    let (topic, digits) = name.rsplit_once('-')?;
    let partition: i32 = digits.parse().ok()?;
    let is_plain = digits == "0" || !digits.starts_with(['0', '+', '-']);
    (!topic.is_empty() && is_plain).then_some((topic, Partition(partition)))
}

/// The name of a segment's file: the base offset in twenty digits and the suffix, such as `.log`.
pub fn segment_file_name(base: Offset, suffix: &str) -> String {
    format!("{:020}{suffix}", base.0)
}

/// The base offset and suffix (with its dot) of a segment's file name.
pub fn parse_segment_file_name(name: &str) -> Option<(Offset, &str)> {
    let (digits, suffix) = name.split_at_checked(20)?;
    let digits_only = digits.bytes().all(|byte| byte.is_ascii_digit());
    let base = digits.parse().ok()?;
    (digits_only && suffix.starts_with('.')).then_some((Offset(base), suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offset_checkpoints_are_kafkas() {
        let entries = vec![
            ("orders".to_owned(), Partition(0), Offset(17)),
            ("a.b_c".to_owned(), Partition(12), Offset(0)),
        ];
        let bytes = encode_offsets(&entries);
        assert_eq!(bytes, b"0\n2\norders 0 17\na.b_c 12 0\n");
        assert_eq!(decode_offsets(&bytes), Ok(entries));
        assert_eq!(decode_offsets(b"0\n0\n"), Ok(vec![]));
    }

    #[test]
    fn malformed_checkpoints_name_the_line() {
        let check = |bytes: &[u8], line: usize| {
            assert_eq!(
                decode_offsets(bytes).map_err(|wrong| wrong.line),
                Err(line),
                "{bytes:?}"
            );
        };
        check(b"", 1);
        check(b"1\n0\n", 1);
        check(b"0\nx\n", 2);
        check(b"0\n2\na 0 1\n", 2);
        check(b"0\n1\na 0\n", 3);
        check(b"0\n1\na 0 1 2\n", 3);
        check(b"0\n2\na 0 1\n\n", 4);
        check(b"\xff", 0);
    }

    #[test]
    fn epoch_checkpoints_are_kafkas() {
        let entries = vec![(LeaderEpoch(0), Offset(0)), (LeaderEpoch(3), Offset(44))];
        assert_eq!(encode_epochs(&entries), b"0\n2\n0 0\n3 44\n");
        assert_eq!(decode_epochs(b"0\n2\n0 0\n3 44\n"), Ok(entries));
        assert!(decode_epochs(b"0\n1\n0 0 0\n").is_err());
    }

    #[test]
    fn partition_metadata_names_the_topic() {
        let id = Uuid::METADATA_TOPIC;
        let bytes = encode_partition_metadata(id);
        assert_eq!(bytes, b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(decode_partition_metadata(&bytes), Ok(id));
        let check = |bytes: &[u8]| assert!(decode_partition_metadata(bytes).is_err(), "{bytes:?}");
        check(b"");
        check(b"version: 1\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ\n");
        check(b"version: 0\ntopic_id: short\n");
        check(b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA\n");
    }

    #[test]
    fn meta_properties_are_javas() {
        let meta = MetaProperties {
            cluster_id: "a:b=c".into(),
            node_id: BrokerId(7),
            directory_id: Some(Uuid([9; 16])),
        };
        assert_eq!(MetaProperties::decode(&meta.encode()), Ok(meta));
        let kafkas = b"#\n#Tue Nov 24 13:00:00 UTC 2026\ncluster.id=MkU3OEVBNTcwNTJENDM2Qk\n\
            directory.id=AAAAAAAAAAAAAAAAAAAAAQ\nnode.id=1\nversion=1\n";
        let meta = MetaProperties::decode(kafkas).expect("Kafka's own");
        assert_eq!(meta.cluster_id, "MkU3OEVBNTcwNTJENDM2Qk");
        assert_eq!(meta.node_id, BrokerId(1));
        assert_eq!(meta.directory_id, Some(Uuid::METADATA_TOPIC));
        let check = |bytes: &[u8]| assert!(MetaProperties::decode(bytes).is_err(), "{bytes:?}");
        check(b"");
        check(b"version=0\nbroker.id=1\n");
        check(b"version=1\nnode.id=1\n");
        check(b"version=1\ncluster.id=x\nnode.id=x\n");
        check(b"nonsense");
    }

    #[test]
    fn the_clean_sign_carries_our_token() {
        let token = Uuid([3; 16]);
        let sign = CleanShutdown::new(12, token);
        let bytes = sign.encode();
        assert!(
            bytes.starts_with(b"{\"version\":0,\"brokerEpoch\":12,"),
            "{bytes:?}"
        );
        assert!(CleanShutdown::decode(&bytes).is_some_and(|sign| sign.carries(token)));
        let kafkas = CleanShutdown::decode(b"{\"version\":0,\"brokerEpoch\":5}").expect("Kafka's own");
        assert_eq!(kafkas.broker_epoch, 5);
        assert!(!kafkas.carries(token));
        assert_eq!(CleanShutdown::decode(b""), None);
    }

    #[test]
    fn names_are_parsed_as_kafka_parses_them() {
        let check = |name: &str, expected: Option<(&str, i32)>| {
            let found = parse_directory_name(name).map(|(topic, partition)| (topic, partition.0));
            assert_eq!(found, expected, "{name}");
        };
        check("orders-0", Some(("orders", 0)));
        check("a-b-12", Some(("a-b", 12)));
        check("__cluster_metadata-0", Some(("__cluster_metadata", 0)));
        check("orders", None);
        check("-1", None);
        check("orders-x", None);
        check("orders-07", None);
        check("orders-+7", None);
        check("orders-0.0123-delete", None);
        let check = |topic: &str, partition: i32, expected: &str| {
            let name = deleted_directory_name(topic, Partition(partition), Uuid([0xab; 16]));
            assert_eq!(name, format!("{expected}.{}-delete", "ab".repeat(16)));
            assert!(name.len() <= NAME_BYTES_MAX);
            let name = stray_directory_name(topic, Partition(partition), Uuid([0xab; 16]));
            assert!(name.len() <= NAME_BYTES_MAX);
        };
        check("orders", 7, "orders-7");
        check(&"n".repeat(249), 7, &format!("{}-7", "n".repeat(213)));
        check(
            &"n".repeat(249),
            i32::MAX,
            &format!("{}-{}", "n".repeat(204), i32::MAX),
        );
        let check = |name: &str, expected: Option<(i64, &str)>| {
            let found = parse_segment_file_name(name).map(|(base, suffix)| (base.0, suffix));
            assert_eq!(found, expected, "{name}");
        };
        check("00000000000000000017.log", Some((17, ".log")));
        check("00000000000000000017.snapshot", Some((17, ".snapshot")));
        check("00000000000000000017", None);
        check("0000000000000000001x.log", None);
        check("99999999999999999999.log", None);
        check("leader-epoch-checkpoint", None);
        assert_eq!(
            segment_file_name(Offset(17), ".index"),
            "00000000000000000017.index"
        );
    }
}
