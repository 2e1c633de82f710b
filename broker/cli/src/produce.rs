//! `klamm produce`: lines of standard input become records.
//!
//! Lines are gathered into batches while input is at hand, and a batch is sent when it is full or input pauses, so that
//! typing by hand and piping a file both do what one expects.
//!
//! What a newcomer would get wrong: most of the errors that pass are answered before a leader has written as well as
//! after (it ceases to lead while it waits for the others). With acks=all, the default, that does no harm: batches bear
//! a producer id and sequences, so that one that is sent again stands in the log once. With acks=1 only what was surely
//! not written is sent again. An answer that does not come is an error: the records may or may not be there.

use std::collections::BTreeMap;
use std::io::{self, BufRead};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use protocol::api::ApiKey;
use protocol::batch::HeaderFields;
use protocol::compression::Codec;
use protocol::error_code::ErrorCode;
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::produce_response::PartitionProduceResponse;
use protocol::messages::{ProduceRequest, ProduceResponse};
use protocol::records::BatchBuilder;
use serde::Serialize;

use crate::client::{Bootstrap, Client, kafka_error};
use crate::cluster::{Absent, Cluster, Topic};
use crate::output::{self, Format};
use crate::partitioner::partition_of;
use crate::record_text::{RecordText, from_fields};
use crate::sequences::Sequences;
use crate::waiting::Waiting;

/// Bytes of values and keys that are gathered for a partition before they are sent.
const BATCH_BYTES: usize = 256 << 10;
/// The longest line that is read.
const LINE_BYTES_MAX: usize = 64 << 20;
/// `acks=all`.
const ACKS_ALL: i16 = -1;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Before what a leader refused is sent again.
const RETRY: Duration = Duration::from_millis(100);

/// Write records from standard input to a topic.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The topic.
    topic: String,
    #[command(flatten)]
    bootstrap: Bootstrap,
    /// Each line is a value (text), or a record as `klamm consume --format json` prints it.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// The partition; by the key if not given, in turns without a key.
    #[arg(long, short)]
    partition: Option<i32>,
    /// What stands between key and value of a line; without it a line is a value.
    #[arg(long, short = 'k')]
    key_separator: Option<String>,
    /// A header for every record, as key=value; may be given several times.
    #[arg(long = "header", short = 'H', value_name = "KEY=VALUE")]
    headers: Vec<String>,
    /// A value or key that stands for null.
    #[arg(long)]
    null_marker: Option<String>,
    /// 0, 1 or all.
    #[arg(long, default_value = "all", value_parser = parse_acks)]
    acks: i16,
    /// How batches are compressed.
    #[arg(long, value_enum, default_value = "none")]
    compression_type: Compression,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Compression {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Compression {
    fn codec(self) -> Codec {
        match self {
            Compression::None => Codec::None,
            Compression::Gzip => Codec::Gzip,
            Compression::Snappy => Codec::Snappy,
            Compression::Lz4 => Codec::Lz4,
            Compression::Zstd => Codec::Zstd,
        }
    }
}

fn parse_acks(text: &str) -> Result<i16, String> {
    match text {
        "all" | "-1" => Ok(ACKS_ALL),
        "1" => Ok(1),
        "0" => Ok(0),
        _ => Err("0, 1 or all".to_owned()),
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Record {
    partition: Option<i32>,
    timestamp: Option<i64>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

#[derive(Serialize)]
struct Summary<'a> {
    topic: &'a str,
    records: u64,
    /// The last offset of each partition, where the broker said it.
    last_offsets: BTreeMap<i32, i64>,
}

impl Summary<'_> {
    /// `base_offset` is that of the first sending if there were several; -1 if the broker does not say.
    fn count(&mut self, batch: &Unsent, base_offset: i64) {
        self.records += batch.records as u64;
        if base_offset >= 0 {
            let last = base_offset + batch.records - 1;
            self.last_offsets.insert(batch.partition, last);
        } else {
            self.last_offsets.remove(&batch.partition);
        }
    }
}

/// Runs `klamm produce`.
///
/// # Errors
/// The broker cannot be reached or refuses a record, or a line cannot be read; what was acknowledged before stays.
pub fn run(arguments: &Arguments) -> Result<()> {
    let mut producer = Producer::begin(arguments)?;
    let headers = arguments
        .headers
        .iter()
        .map(|header| parse_header(header))
        .collect::<Result<Vec<_>>>()?;
    let progress = output::progress("records", false);
    let mut input = io::BufReader::with_capacity(1 << 20, io::stdin().lock());
    let mut line = Vec::new();
    let mut number = 0u64;
    while read_line(&mut input, &mut line)? {
        number += 1;
        if arguments.format == Format::Json && line.trim_ascii().is_empty() {
            continue;
        }
        let record = match arguments.format {
            Format::Json => parse_json(&line),
            Format::Text => parse_text(
                &line,
                arguments.key_separator.as_deref(),
                arguments.null_marker.as_deref(),
            ),
        };
        let mut record = record.with_context(|| format!("line {number}"))?;
        record.headers.extend(headers.iter().cloned());
        producer.add(record)?;
        progress.inc(1);
        // What has been read so far goes out before we wait for more.
        if input.buffer().is_empty() {
            producer.flush()?;
        }
    }
    producer.flush()?;
    progress.finish_and_clear();
    match arguments.format {
        Format::Json => output::json(&producer.summary),
        Format::Text => {
            output::tell(&format!(
                "{}: {} record(s) written",
                arguments.topic, producer.summary.records
            ));
            Ok(())
        }
    }
}

/// Reads up to the next line feed, which is dropped together with a carriage return before it.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> Result<bool> {
    use std::io::Read;
    line.clear();
    let read = input
        .by_ref()
        .take(LINE_BYTES_MAX as u64 + 1)
        .read_until(b'\n', line)?;
    ensure!(
        read <= LINE_BYTES_MAX,
        "a line is longer than {LINE_BYTES_MAX} bytes"
    );
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    Ok(read > 0)
}

fn parse_header(header: &str) -> Result<(Vec<u8>, Option<Vec<u8>>)> {
    match header.split_once('=') {
        Some((key, value)) => Ok((key.as_bytes().to_vec(), Some(value.as_bytes().to_vec()))),
        None => bail!("--header {header}: key=value is wanted"),
    }
}

fn parse_text(line: &[u8], key_separator: Option<&str>, null_marker: Option<&str>) -> Result<Record> {
    let or_null = |bytes: &[u8]| (null_marker.map(str::as_bytes) != Some(bytes)).then(|| bytes.to_vec());
    let Some(separator) = key_separator else {
        return Ok(Record {
            value: or_null(line),
            ..Default::default()
        });
    };
    ensure!(!separator.is_empty(), "--key-separator is empty");
    let at = line
        .windows(separator.len())
        .position(|window| window == separator.as_bytes());
    let Some(at) = at else {
        bail!("there is no {separator:?} between key and value")
    };
    Ok(Record {
        key: or_null(&line[..at]),
        value: or_null(&line[at + separator.len()..]),
        ..Default::default()
    })
}

fn parse_json(line: &[u8]) -> Result<Record> {
    let text: RecordText = serde_json::from_slice(line)?;
    let header = |header: &crate::record_text::HeaderText| {
        let value = from_fields("value", header.value.as_deref(), header.value_base64.as_deref())?;
        Ok((header.key.as_bytes().to_vec(), value))
    };
    Ok(Record {
        partition: text.partition,
        timestamp: text.timestamp,
        key: from_fields("key", text.key.as_deref(), text.key_base64.as_deref())?,
        value: from_fields("value", text.value.as_deref(), text.value_base64.as_deref())?,
        headers: text.headers.iter().map(header).collect::<Result<Vec<_>>>()?,
    })
}

struct Producer<'a> {
    arguments: &'a Arguments,
    client: Client,
    cluster: Cluster,
    topic: Topic,
    /// With acks=all, from the first batch on.
    sequences: Option<Sequences>,
    pending: BTreeMap<i32, BatchBuilder>,
    /// Whose turn it is among the partitions, for records without a key: changes from batch to batch.
    turn: usize,
    summary: Summary<'a>,
}

impl<'a> Producer<'a> {
    fn begin(arguments: &'a Arguments) -> Result<Producer<'a>> {
        let mut client = Client::connect(&arguments.bootstrap)?;
        let (cluster, topic) = Cluster::await_topic(
            &mut client,
            &arguments.topic,
            Absent::Create,
            &mut Waiting::default(),
        )?;
        Ok(Producer {
            arguments,
            client,
            cluster,
            topic,
            sequences: None,
            pending: BTreeMap::new(),
            turn: 0,
            summary: Summary {
                topic: &arguments.topic,
                records: 0,
                last_offsets: BTreeMap::new(),
            },
        })
    }

    fn add(&mut self, record: Record) -> Result<()> {
        let partition = self.partition_of(&record)?;
        if self.arguments.acks == ACKS_ALL && self.sequences.is_none() {
            self.sequences = Some(Sequences::begin(&mut self.client)?);
        }
        let batch = self.pending.entry(partition).or_insert_with(|| {
            let fields = HeaderFields {
                codec: self.arguments.compression_type.codec(),
                ..Default::default()
            };
            BatchBuilder::new(match &self.sequences {
                Some(sequences) => sequences.mark(partition, fields),
                None => fields,
            })
        });
        let headers: Vec<_> = record
            .headers
            .iter()
            .map(|(key, value)| (&key[..], value.as_deref()))
            .collect();
        let timestamp = record.timestamp.unwrap_or_else(now_ms);
        batch.append(
            timestamp,
            record.key.as_deref(),
            record.value.as_deref(),
            &headers,
        )?;
        if batch.bytes_uncompressed() >= BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn partition_of(&self, record: &Record) -> Result<i32> {
        let partitions = self.topic.partitions.len();
        let wanted = self.arguments.partition.or(record.partition);
        let at = match (wanted, &record.key) {
            (Some(wanted), _) => usize::try_from(wanted).unwrap_or(usize::MAX),
            (None, Some(key)) => partition_of(key, partitions),
            (None, None) => self.turn % partitions,
        };
        match self.topic.partitions.get(at) {
            Some(partition) => Ok(partition.index),
            None => bail!(
                "{}: there is no partition {}",
                self.arguments.topic,
                wanted.unwrap_or(-1)
            ),
        }
    }

    /// Sends all that is pending, one request to each leader, and waits for the answers.
    fn flush(&mut self) -> Result<()> {
        self.turn = self.turn.wrapping_add(1);
        let mut unsent = Vec::new();
        for (partition, batch) in std::mem::take(&mut self.pending) {
            if let Some(sequences) = &mut self.sequences {
                sequences.close(partition, batch.count());
            }
            unsent.push(Unsent {
                partition,
                records: i64::from(batch.count()),
                bytes: batch.build()?,
            });
        }
        let mut waiting = Waiting::default();
        loop {
            let mut again = Vec::new();
            let mut first_why = None;
            for (leader, batches) in self.by_leader(unsent)? {
                for (batch, why) in self.send(&leader, batches)? {
                    first_why.get_or_insert(why);
                    again.push(batch);
                }
            }
            let Some(why) = first_why else { return Ok(()) };
            waiting.on(why)?;
            std::thread::sleep(RETRY);
            let (client, topic) = (&mut self.client, &self.arguments.topic);
            (self.cluster, self.topic) = Cluster::await_topic(client, topic, Absent::Create, &mut waiting)?;
            unsent = again;
        }
    }

    fn by_leader(&self, unsent: Vec<Unsent>) -> Result<BTreeMap<String, Vec<Unsent>>> {
        let mut by_leader: BTreeMap<String, Vec<Unsent>> = BTreeMap::new();
        for batch in unsent {
            let topic = &self.arguments.topic;
            let mut partitions = self.topic.partitions.iter();
            let Some(partition) = partitions.find(|partition| partition.index == batch.partition) else {
                bail!("{topic}-{}: is gone", batch.partition)
            };
            let leader = self.cluster.leader(topic, partition)?.to_owned();
            by_leader.entry(leader).or_default().push(batch);
        }
        Ok(by_leader)
    }

    /// Sends one request; gives back what is to be sent again, and why.
    fn send(&mut self, leader: &str, batches: Vec<Unsent>) -> Result<Vec<(Unsent, anyhow::Error)>> {
        let data = batches.iter().map(|batch| PartitionProduceData {
            index: batch.partition,
            records: Some(&batch.bytes),
        });
        let request = ProduceRequest {
            acks: self.arguments.acks,
            timeout_ms: REQUEST_TIMEOUT.as_millis() as i32,
            topic_data: vec![TopicProduceData {
                name: &self.arguments.topic,
                topic_id: self.topic.id,
                partition_data: data.collect(),
            }],
            ..Default::default()
        };
        if self.arguments.acks == 0 {
            self.client.send(leader, ApiKey::Produce, 13, |out, version| {
                request.encode(out, version)
            })?;
            self.summary.records += batches.iter().map(|batch| batch.records as u64).sum::<u64>();
            return Ok(Vec::new());
        }
        let answers = self.client.call(
            Some(leader),
            ApiKey::Produce,
            13,
            |out, version| request.encode(out, version),
            |reader, version| ProduceResponse::decode(reader, version).map(|response| answers(&response)),
        )?;
        let mut again = Vec::new();
        for batch in batches {
            let subject = format!("{}-{}", self.arguments.topic, batch.partition);
            let Some(answer) = answers.get(&batch.partition) else {
                bail!("{subject}: the broker does not say what became of it")
            };
            let why = || kafka_error(&subject, answer.code, answer.message.as_deref());
            match Fate::of(answer.code, self.sequences.is_some()) {
                Fate::Written => self.summary.count(&batch, answer.base_offset),
                Fate::Again => again.push((batch, why())),
                Fate::Failed => return Err(why()),
            }
        }
        Ok(again)
    }
}

/// A batch on its way.
struct Unsent {
    partition: i32,
    records: i64,
    bytes: Vec<u8>,
}

/// What a leader says of a batch.
struct Answer {
    code: i16,
    message: Option<String>,
    base_offset: i64,
}

fn answers(response: &ProduceResponse<'_>) -> BTreeMap<i32, Answer> {
    let partitions = response
        .responses
        .iter()
        .flat_map(|topic| &topic.partition_responses);
    let answer = |partition: &PartitionProduceResponse<'_>| {
        let record = partition
            .record_errors
            .first()
            .and_then(|error| error.batch_index_error_message);
        Answer {
            code: partition.error_code,
            message: record.or(partition.error_message).map(str::to_owned),
            base_offset: partition.base_offset,
        }
    };
    partitions
        .map(|partition| (partition.index, answer(partition)))
        .collect()
}

/// What becomes of a batch by the answer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Written,
    Again,
    Failed,
}

impl Fate {
    /// `is_idempotent`: the batch bears a producer id, so that sending it again doubles nothing.
    fn of(code: i16, is_idempotent: bool) -> Fate {
        match ErrorCode::from_code(code) {
            ErrorCode::None => Fate::Written,
            // By an earlier sending, longer ago than the leader remembers its offset.
            ErrorCode::DuplicateSequenceNumber if is_idempotent => Fate::Written,
            code if is_idempotent && code.is_retriable() => Fate::Again,
            // With acks=1 these are answered before a leader writes, and only then. NOT_LEADER_OR_FOLLOWER is not one
            // of them: a node that stops answers so too, whatever it has written.
            ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId => Fate::Again,
            _ => Fate::Failed,
        }
    }
}

fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64)
}

#[cfg(test)]
mod scripted;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_records() {
        let check = |line: &str,
                     separator: Option<&str>,
                     null: Option<&str>,
                     expected: Option<(Option<&str>, Option<&str>)>| {
            let record = parse_text(line.as_bytes(), separator, null).ok();
            let expected = expected.map(|(key, value)| Record {
                key: key.map(|k| k.as_bytes().to_vec()),
                value: value.map(|v| v.as_bytes().to_vec()),
                ..Default::default()
            });
            assert_eq!(record, expected, "{line}");
        };
        check("plain", None, None, Some((None, Some("plain"))));
        check("", None, None, Some((None, Some(""))));
        check("k:v", Some(":"), None, Some((Some("k"), Some("v"))));
        check("k:v:w", Some(":"), None, Some((Some("k"), Some("v:w"))));
        check("k=>NULL", Some("=>"), Some("NULL"), Some((Some("k"), None)));
        check("NULL:v", Some(":"), Some("NULL"), Some((None, Some("v"))));
        check("kv", Some(":"), None, None);
    }

    #[test]
    fn json_lines_become_records() {
        let record =
            parse_json(br#"{"partition":2,"key":"k","value_base64":"/w==","headers":[{"key":"h"}]}"#)
                .unwrap();
        assert_eq!(record.partition, Some(2));
        assert_eq!(record.key.as_deref(), Some(&b"k"[..]));
        assert_eq!(record.value.as_deref(), Some(&[0xff][..]));
        assert_eq!(record.headers, vec![(b"h".to_vec(), None)]);
        assert!(parse_json(b"{").is_err());
    }

    #[test]
    fn what_may_have_been_written_is_sent_again_with_a_producer_id_only() {
        use Fate::{Again, Failed, Written};
        let check = |code: ErrorCode, idempotent: Fate, plain: Fate| {
            let found = [true, false].map(|is_idempotent| Fate::of(code.code(), is_idempotent));
            assert_eq!(found, [idempotent, plain], "{code}");
        };
        check(ErrorCode::None, Written, Written);
        check(ErrorCode::DuplicateSequenceNumber, Written, Failed);
        check(ErrorCode::NotLeaderOrFollower, Again, Failed);
        check(ErrorCode::RequestTimedOut, Again, Failed);
        check(ErrorCode::NotEnoughReplicas, Again, Failed);
        check(ErrorCode::NotEnoughReplicasAfterAppend, Again, Failed);
        check(ErrorCode::KafkaStorageError, Again, Failed);
        check(ErrorCode::UnknownTopicOrPartition, Again, Again);
        check(ErrorCode::UnknownTopicId, Again, Again);
        check(ErrorCode::OutOfOrderSequenceNumber, Failed, Failed);
        check(ErrorCode::InvalidProducerEpoch, Failed, Failed);
        check(ErrorCode::MessageTooLarge, Failed, Failed);
        check(ErrorCode::TopicAuthorizationFailed, Failed, Failed);
        check(ErrorCode::UnknownServerError, Failed, Failed);
    }

    #[test]
    fn the_last_offset_is_told_where_the_broker_said_it() {
        let mut summary = Summary {
            topic: "t",
            records: 0,
            last_offsets: BTreeMap::new(),
        };
        let mut check = |partition: i32, records: i64, base_offset: i64, expected: (u64, &[(i32, i64)])| {
            let batch = Unsent {
                partition,
                records,
                bytes: Vec::new(),
            };
            summary.count(&batch, base_offset);
            let last_offsets: Vec<_> = summary.last_offsets.clone().into_iter().collect();
            assert_eq!((summary.records, &last_offsets[..]), expected);
        };
        check(0, 3, 10, (3, &[(0, 12)]));
        check(2, 1, 0, (4, &[(0, 12), (2, 0)]));
        check(0, 2, -1, (6, &[(2, 0)]));
        check(0, 1, 15, (7, &[(0, 15), (2, 0)]));
    }

    #[test]
    fn line_ends_are_dropped() {
        let mut input = io::Cursor::new(b"one\r\n\ntwo".to_vec());
        let mut line = Vec::new();
        let mut lines = Vec::new();
        while read_line(&mut input, &mut line).unwrap() {
            lines.push(String::from_utf8(line.clone()).unwrap());
        }
        assert_eq!(lines, ["one", "", "two"]);
    }
}
