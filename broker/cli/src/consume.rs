//! `klamm consume`: records of a topic become lines of standard output.
//!
//! Partitions are read without a group: from where the arguments say, to the end or on and on.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use protocol::api::ApiKey;
use protocol::batch::{self, Batch, batches};
use protocol::error_code::ErrorCode;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::{FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse};

use crate::client::{Bootstrap, Client, kafka_error};
use crate::cluster::{Absent, Cluster, Topic};
use crate::output::{self, Format};
use crate::record_text::{HeaderText, RecordText, to_fields};
use crate::waiting::Waiting;

/// Between two tries of a partition whose leader answers with an error that may pass.
const RETRY: Duration = Duration::from_millis(200);
const MAX_WAIT: Duration = Duration::from_millis(500);
const RESPONSE_BYTES: i32 = 16 << 20;
const PARTITION_BYTES: i32 = 1 << 20;
/// The most that one batch may unpack to.
const BATCH_BYTES_MAX: usize = 256 << 20;
/// `ListOffsetsRequest.LATEST_TIMESTAMP` and `EARLIEST_TIMESTAMP`.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

/// Read records of a topic to standard output.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The topic.
    topic: String,
    #[command(flatten)]
    bootstrap: Bootstrap,
    /// Lines of values (text), or of whole records (JSON).
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Partitions to read; all if none is given.
    #[arg(long, short)]
    partition: Vec<i32>,
    /// Where to begin: earliest, latest, an offset, or @MILLISECONDS for the first record of that time or later.
    #[arg(long, short, default_value = "latest", value_parser = parse_start, allow_hyphen_values = true)]
    offset: Start,
    /// The same as --offset earliest.
    #[arg(long, conflicts_with = "offset")]
    from_beginning: bool,
    /// Stop after so many records.
    #[arg(long, short = 'n')]
    max_messages: Option<u64>,
    /// Stop where the partitions ended when reading began.
    #[arg(long, short)]
    exit: bool,
    /// Stop when nothing came for so many milliseconds.
    #[arg(long)]
    timeout_ms: Option<u64>,
    /// Print the key before the value.
    #[arg(long)]
    print_key: bool,
    /// Print the headers before the key.
    #[arg(long)]
    print_headers: bool,
    /// Print partition, offset and timestamp before everything.
    #[arg(long)]
    print_offset: bool,
    /// What stands between the printed parts.
    #[arg(long, default_value = "\t")]
    separator: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    Earliest,
    Latest,
    Offset(i64),
    Timestamp(i64),
}

fn parse_start(text: &str) -> Result<Start, String> {
    let number = |digits: &str| digits.parse::<i64>().ok().filter(|number| *number >= 0);
    match (text, text.strip_prefix('@')) {
        ("earliest" | "beginning", _) => Ok(Start::Earliest),
        ("latest" | "end", _) => Ok(Start::Latest),
        (_, Some(time)) => number(time)
            .map(Start::Timestamp)
            .ok_or("milliseconds since 1970 after @".to_owned()),
        (_, None) => number(text)
            .map(Start::Offset)
            .ok_or("earliest, latest, an offset or @MILLISECONDS".to_owned()),
    }
}

/// Runs `klamm consume`.
///
/// # Errors
/// The broker cannot be reached or refuses, an offset is out of range, or stdout cannot be written.
pub fn run(arguments: &Arguments) -> Result<()> {
    let mut client = Client::connect(&arguments.bootstrap)?;
    let mut waiting = Waiting::default();
    let (cluster, topic) = Cluster::await_topic(&mut client, &arguments.topic, Absent::Refuse, &mut waiting)?;
    let mut consumer = Consumer {
        arguments,
        client,
        cluster,
        topic,
        next: BTreeMap::new(),
        ends: BTreeMap::new(),
        waiting,
        failing: BTreeMap::new(),
    };
    consumer.waiting.over();
    consumer.begin()?;
    consumer.read()
}

struct Consumer<'a> {
    arguments: &'a Arguments,
    client: Client,
    cluster: Cluster,
    topic: Topic,
    /// Next offset of every partition that is read.
    next: BTreeMap<i32, i64>,
    /// Where to stop, with `--exit`.
    ends: BTreeMap<i32, i64>,
    /// For the leaders of the topic.
    waiting: Waiting,
    /// For partitions that have had nothing but errors that may pass.
    failing: BTreeMap<i32, Waiting>,
}

impl Consumer<'_> {
    fn begin(&mut self) -> Result<()> {
        for &wanted in &self.arguments.partition {
            ensure!(
                self.topic
                    .partitions
                    .iter()
                    .any(|partition| partition.index == wanted),
                "{}: there is no partition {wanted}",
                self.arguments.topic
            );
        }
        let wanted =
            |index: i32| self.arguments.partition.is_empty() || self.arguments.partition.contains(&index);
        let indexes: Vec<i32> = self
            .topic
            .partitions
            .iter()
            .map(|p| p.index)
            .filter(|&index| wanted(index))
            .collect();
        let start = if self.arguments.from_beginning {
            Start::Earliest
        } else {
            self.arguments.offset
        };
        for index in indexes {
            let next = match start {
                Start::Earliest => self.list_offset(index, EARLIEST)?,
                Start::Latest => self.list_offset(index, LATEST)?,
                Start::Offset(offset) => offset,
                Start::Timestamp(time) => match self.list_offset(index, time)? {
                    -1 => self.list_offset(index, LATEST)?,
                    found => found,
                },
            };
            self.next.insert(index, next);
            if self.arguments.exit {
                let end = self.list_offset(index, LATEST)?;
                ensure!(
                    next <= end,
                    "{}-{index}: offset {next} lies beyond the end, which is {end}",
                    self.arguments.topic
                );
                self.ends.insert(index, end);
            }
        }
        Ok(())
    }

    fn leader(&self, index: i32) -> Result<String> {
        let partition = self
            .topic
            .partitions
            .iter()
            .find(|partition| partition.index == index);
        let partition = partition.ok_or_else(|| anyhow!("{}-{index}: is gone", self.arguments.topic))?;
        Ok(self.cluster.leader(&self.arguments.topic, partition)?.to_owned())
    }

    fn list_offset(&mut self, index: i32, timestamp: i64) -> Result<i64> {
        loop {
            match self.ask_offset(index, timestamp)? {
                (0, offset) => {
                    self.failing.remove(&index);
                    return Ok(offset);
                }
                (code, _) => self.wait_for(index, code)?,
            }
        }
    }

    /// Waits a moment for a partition whose leader answered with an error, and looks who leads it then.
    fn wait_for(&mut self, index: i32, code: i16) -> Result<()> {
        let why = kafka_error(&format!("{}-{index}", self.arguments.topic), code, None);
        if !ErrorCode::from_code(code).is_retriable() {
            return Err(why);
        }
        self.failing.entry(index).or_default().on(why)?;
        std::thread::sleep(RETRY);
        let (client, topic) = (&mut self.client, &self.arguments.topic);
        (self.cluster, self.topic) = Cluster::await_topic(client, topic, Absent::Refuse, &mut self.waiting)?;
        self.waiting.over();
        Ok(())
    }

    /// The error code and the offset that the leader answers.
    fn ask_offset(&mut self, index: i32, timestamp: i64) -> Result<(i16, i64)> {
        let leader = self.leader(index)?;
        let partition = ListOffsetsPartition {
            partition_index: index,
            timestamp,
            ..Default::default()
        };
        let request = ListOffsetsRequest {
            topics: vec![ListOffsetsTopic {
                name: &self.arguments.topic,
                partitions: vec![partition],
            }],
            ..Default::default()
        };
        self.client.call(
            Some(&leader),
            ApiKey::ListOffsets,
            7,
            |out, version| request.encode(out, version),
            |reader, version| {
                let response = ListOffsetsResponse::decode(reader, version)?;
                let partition = response.topics.first().and_then(|topic| topic.partitions.first());
                Ok(partition.map_or((-1, -1), |partition| (partition.error_code, partition.offset)))
            },
        )
    }

    fn is_at_end(&self) -> bool {
        self.arguments.exit
            && self
                .ends
                .iter()
                .all(|(index, end)| self.next.get(index).is_none_or(|next| next >= end))
    }

    fn read(&mut self) -> Result<()> {
        let progress = output::progress("records", true);
        let idle_max = self.arguments.timeout_ms.map(Duration::from_millis);
        let left = |printed: u64| self.arguments.max_messages.is_none_or(|max| printed < max);
        let mut printed = 0;
        let mut last = Instant::now();
        while left(printed) && !self.is_at_end() {
            output::check_reader()?;
            let found = self.fetch(printed)?;
            printed += found;
            progress.inc(found);
            if found > 0 {
                last = Instant::now();
            } else if idle_max.is_some_and(|max| last.elapsed() >= max) {
                break;
            }
        }
        progress.finish_and_clear();
        Ok(())
    }

    /// One round over all leaders; how many records were printed.
    fn fetch(&mut self, printed: u64) -> Result<u64> {
        let mut by_leader: BTreeMap<String, Vec<i32>> = BTreeMap::new();
        for &index in self.next.keys() {
            by_leader.entry(self.leader(index)?).or_default().push(index);
        }
        let max_wait = if by_leader.len() > 1 {
            MAX_WAIT / by_leader.len() as u32
        } else {
            MAX_WAIT
        };
        let mut found = 0;
        for (leader, indexes) in by_leader {
            let answer = self.fetch_from(&leader, &indexes, max_wait)?;
            for (index, code, records) in answer {
                if code != 0 {
                    self.wait_for(index, code)?;
                    continue;
                }
                self.failing.remove(&index);
                found += self.print(index, &records, printed + found)?;
            }
        }
        Ok(found)
    }

    fn fetch_from(
        &mut self,
        leader: &str,
        indexes: &[i32],
        max_wait: Duration,
    ) -> Result<Vec<(i32, i16, Vec<u8>)>> {
        let partitions = indexes.iter().map(|index| FetchPartition {
            partition: *index,
            fetch_offset: self.next.get(index).copied().unwrap_or(0),
            partition_max_bytes: PARTITION_BYTES,
            ..Default::default()
        });
        let request = FetchRequest {
            max_wait_ms: max_wait.as_millis() as i32,
            min_bytes: 1,
            max_bytes: RESPONSE_BYTES,
            topics: vec![FetchTopic {
                topic: &self.arguments.topic,
                topic_id: self.topic.id,
                partitions: partitions.collect(),
            }],
            ..Default::default()
        };
        let (code, answer) = self.client.call(
            Some(leader),
            ApiKey::Fetch,
            16,
            |out, version| request.encode(out, version),
            |reader, version| {
                let response = FetchResponse::decode(reader, version)?;
                let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
                let owned = partitions.map(|partition| {
                    let records = partition.records.unwrap_or_default().to_vec();
                    (partition.partition_index, partition.error_code, records)
                });
                Ok((response.error_code, owned.collect()))
            },
        )?;
        ensure!(code == 0, kafka_error(&self.arguments.topic, code, None));
        Ok(answer)
    }

    fn print(&mut self, index: i32, records: &[u8], before: u64) -> Result<u64> {
        let mut out = io::BufWriter::with_capacity(1 << 16, io::stdout().lock());
        let mut printed = 0;
        let next = self.next.entry(index).or_default();
        let end = self.ends.get(&index).copied().unwrap_or(i64::MAX);
        for batch in whole_batches(records) {
            let batch = batch.map_err(|error| anyhow!("{}-{index}: {error}", self.arguments.topic))?;
            ensure!(
                batch.crc_is_valid(),
                "{}-{index}: a batch with a wrong checksum",
                self.arguments.topic
            );
            if !batch.is_control() {
                for record in batch.records(BATCH_BYTES_MAX)?.iter() {
                    let record = record?;
                    if record.offset.0 < *next || record.offset.0 >= end {
                        continue;
                    }
                    if self
                        .arguments
                        .max_messages
                        .is_some_and(|max| before + printed >= max)
                    {
                        out.flush().context(output::STDOUT)?;
                        return Ok(printed);
                    }
                    write_record(&mut out, self.arguments, index, &record).context(output::STDOUT)?;
                    printed += 1;
                }
            }
            *next = (*next).max(batch.next_offset().0);
        }
        out.flush().context(output::STDOUT)?;
        Ok(printed)
    }
}

/// The batches of an answer but for one that is cut off at its end: Apache Kafka cuts where it was asked to, and its next
/// answer begins with that batch. The first one it sends whole however large it is (KIP-74), so that one which is cut off
/// stays an error: asked for again, it would be no longer.
fn whole_batches(records: &[u8]) -> impl Iterator<Item = Result<Batch<'_>, batch::Error>> {
    let is_cut_off = |batch: &Result<_, _>| matches!(batch, Err(batch::Error::Truncated { .. }));
    batches(records)
        .enumerate()
        .take_while(move |(at, batch)| *at == 0 || !is_cut_off(batch))
        .map(|(_, batch)| batch)
}

fn write_record(
    out: &mut impl Write,
    arguments: &Arguments,
    partition: i32,
    record: &protocol::records::Record<'_>,
) -> io::Result<()> {
    if arguments.format == Format::Json {
        let (key, key_base64) = to_fields(record.key);
        let (value, value_base64) = to_fields(record.value);
        let header = |(key, value): (&[u8], Option<&[u8]>)| {
            let (text, value_base64) = to_fields(value);
            HeaderText {
                key: String::from_utf8_lossy(key).into_owned(),
                value: text,
                value_base64,
            }
        };
        let text = RecordText {
            topic: Some(arguments.topic.clone()),
            partition: Some(partition),
            offset: Some(record.offset.0),
            timestamp: (record.timestamp >= 0).then_some(record.timestamp),
            key,
            key_base64,
            value,
            value_base64,
            headers: record.headers.iter().map(header).collect(),
        };
        serde_json::to_writer(&mut *out, &text)?;
    } else {
        let separator = arguments.separator.as_bytes();
        if arguments.print_offset {
            write!(
                out,
                "{partition}{0}{1}{0}{2}{0}",
                arguments.separator, record.offset.0, record.timestamp
            )?;
        }
        if arguments.print_headers {
            for (at, (key, value)) in record.headers.iter().enumerate() {
                out.write_all(if at == 0 { b"" } else { b"," })?;
                out.write_all(key)?;
                out.write_all(b"=")?;
                out.write_all(value.unwrap_or(b"null"))?;
            }
            out.write_all(separator)?;
        }
        if arguments.print_key {
            out.write_all(record.key.unwrap_or(b"null"))?;
            out.write_all(separator)?;
        }
        out.write_all(record.value.unwrap_or(b"null"))?;
    }
    out.write_all(b"\n")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::batch::HeaderFields;
    use protocol::records::BatchBuilder;

    #[test]
    fn a_batch_that_is_cut_off_ends_an_answer_behind_a_whole_one_only() {
        let mut builder = BatchBuilder::new(HeaderFields::default());
        builder.append(1, None, Some(b"value"), &[]).unwrap();
        let one = builder.build().unwrap();
        let needed = one.len();
        let mut garbled = one.clone();
        garbled[8..12].copy_from_slice(&(-1i32).to_be_bytes());
        let truncated = |needed: usize| Some(batch::Error::Truncated { needed });
        let check = |parts: &[&[u8]], whole: usize, error: Option<batch::Error>| {
            let records = parts.concat();
            let read: Vec<_> = whole_batches(&records).collect();
            let found = read.iter().filter(|batch| batch.is_ok()).count();
            let failed = read.into_iter().find_map(Result::err);
            assert_eq!((found, failed), (whole, error), "{} bytes", records.len());
        };
        check(&[], 0, None);
        check(&[&one], 1, None);
        check(&[&one, &one, &one[..needed - 1]], 2, None);
        check(&[&one, &one[..3]], 1, None);
        check(&[&one[..needed - 1]], 0, truncated(needed));
        check(&[&one[..20]], 0, truncated(needed));
        check(&[&garbled], 0, Some(batch::Error::Length(-1)));
        check(&[&one, &garbled], 1, Some(batch::Error::Length(-1)));
    }

    #[test]
    fn where_to_begin() {
        let check =
            |text: &str, expected: Option<Start>| assert_eq!(parse_start(text).ok(), expected, "{text}");
        check("earliest", Some(Start::Earliest));
        check("beginning", Some(Start::Earliest));
        check("latest", Some(Start::Latest));
        check("42", Some(Start::Offset(42)));
        check("@1700000000000", Some(Start::Timestamp(1_700_000_000_000)));
        check("-5", None);
        check("@", None);
        check("soon", None);
    }
}
