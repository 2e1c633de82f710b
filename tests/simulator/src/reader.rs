//! Readers: consumers that follow all partitions while the broker crashes, and the whole reading at the end.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use checkers::Event;
use protocol::batch::batches;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::fetch_response::PartitionData;
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::{FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse};
use protocol::{ApiKey, ErrorCode, Uuid};
use shards::random;
use shards::time::sleep;

use crate::connection::Connection;
use crate::message::message_of;
use crate::recorder::{Fate, Recorder, Topic, log};

const FETCH_VERSION: i16 = 17;
const LIST_OFFSETS_VERSION: i16 = 9;
const PAUSE: Duration = Duration::from_millis(40);
/// What the records of one batch may take, not compressed.
const BATCH_BYTES_MAX: usize = 16 << 20;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

struct Reader {
    recorder: Rc<Recorder>,
    number: u32,
    /// The next offset wanted of each log.
    positions: BTreeMap<(Uuid, i32), i64>,
    /// The last error that is no fault of the broker if it passes.
    last_error: ErrorCode,
    /// A bit was turned: batches that show it by their CRC, as clients look at, are no fault of the broker.
    expects_rot: bool,
}

/// How fetching is done.
#[derive(Clone, Copy, Debug)]
struct Way {
    wait_ms: i32,
    bytes_max: i32,
}

/// Follows every partition of every topic from its start until the run is over.
pub async fn follow(recorder: Rc<Recorder>) {
    let mut reader = Reader::new(recorder);
    while !reader.recorder.is_over() {
        if let Err(error) = reader.follow_on_one_connection().await {
            reader.look_at(&error);
        }
        sleep(PAUSE).await;
    }
}

/// Reads every topic that must be there from start to end, once; writes down that these were whole readings.
///
/// # Errors
/// Of the connection, or an error that the broker answered: try again.
pub async fn read_all(recorder: Rc<Recorder>) -> io::Result<()> {
    let connection = Connection::open(recorder.address).await?;
    let topics: Vec<Topic> = recorder
        .topics()
        .into_iter()
        .filter(|topic| topic.fate == Fate::Lives)
        .collect();
    let mut reader = Reader::new(recorder);
    for topic in topics {
        for partition in 0..topic.partitions {
            reader.read_one(&connection, &topic, partition).await?;
        }
    }
    Ok(())
}

/// A partition that cannot be read to its end.
#[derive(Clone, Debug)]
pub struct Rotten {
    /// Of which topic.
    pub topic: Topic,
    /// Which partition.
    pub partition: i32,
    /// The broker says so. Otherwise it gives batches that are rotten, as Apache Kafka does: it does not look into
    /// what it read from a segment, clients do.
    pub is_offline: bool,
}

impl Rotten {
    /// As its directory is called.
    pub fn directory(&self) -> String {
        format!("{}-{}", self.topic.name, self.partition)
    }
}

/// An error that the broker answered.
#[derive(Debug)]
struct Refused {
    what: String,
    code: ErrorCode,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.code.name())
    }
}

impl std::error::Error for Refused {}

/// Reads as [`read_all`] does, and gives the partitions that are rotten: those that answer that their storage has
/// failed, and those whose batches a client refuses.
///
/// # Errors
/// Any other error: try again.
pub async fn read_what_is_there(recorder: Rc<Recorder>) -> io::Result<Vec<Rotten>> {
    let connection = Connection::open(recorder.address).await?;
    let topics = recorder.topics();
    let mut reader = Reader::new(recorder);
    reader.expects_rot = true;
    let mut rotten = Vec::new();
    for topic in topics.iter().filter(|topic| topic.fate == Fate::Lives) {
        for partition in 0..topic.partitions {
            let read = reader.read_one(&connection, topic, partition).await;
            let refused = read.as_ref().err().and_then(|error| error.get_ref());
            let refused = refused.and_then(|error| error.downcast_ref::<Refused>());
            match refused.map(|refused| refused.code) {
                Some(code @ (ErrorCode::KafkaStorageError | ErrorCode::CorruptMessage)) => {
                    rotten.push(Rotten {
                        topic: topic.clone(),
                        partition,
                        is_offline: code == ErrorCode::KafkaStorageError,
                    });
                }
                _ => read?,
            }
        }
    }
    Ok(rotten)
}

impl Reader {
    fn new(recorder: Rc<Recorder>) -> Reader {
        let number = recorder.next_client();
        Reader {
            recorder,
            number,
            positions: BTreeMap::new(),
            last_error: ErrorCode::None,
            expects_rot: false,
        }
    }

    fn look_at(&self, error: &io::Error) {
        if error.kind() == io::ErrorKind::InvalidData {
            self.recorder.problem(format!("reader {}: {error}", self.number));
        }
    }

    fn seek(&mut self, topic: Uuid, partition: i32, offset: i64) {
        self.positions.insert((topic, partition), offset);
        self.recorder.record(Event::Sought {
            reader: self.number,
            log: log(topic, partition),
            offset,
        });
    }

    async fn follow_on_one_connection(&mut self) -> io::Result<()> {
        let connection = Connection::open(self.recorder.address).await?;
        while !self.recorder.is_over() {
            self.look_for_topics();
            if self.positions.is_empty() {
                sleep(PAUSE).await;
                continue;
            }
            let way = Way {
                wait_ms: random::below(200) as i32,
                bytes_max: 1 << (8 + random::below(13)),
            };
            let logs: Vec<(Uuid, i32)> = self.positions.keys().copied().collect();
            let unlucky = self.fetch(&connection, &logs, way).await?;
            if unlucky {
                sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    /// Begins to follow topics that are new and leaves those that are deleted.
    fn look_for_topics(&mut self) {
        for topic in self.recorder.topics() {
            for partition in 0..topic.partitions {
                let known = self.positions.contains_key(&(topic.id, partition));
                match topic.fate {
                    Fate::Lives if !known => self.seek(topic.id, partition, 0),
                    Fate::Deleted => {
                        self.positions.remove(&(topic.id, partition));
                    }
                    Fate::Lives | Fate::Unknown => {}
                }
            }
        }
    }

    /// Fetches once; true when some partition was not to be had.
    async fn fetch(&mut self, connection: &Connection, logs: &[(Uuid, i32)], way: Way) -> io::Result<bool> {
        let mut topics: Vec<FetchTopic<'_>> = Vec::new();
        for (topic_id, partition) in logs {
            let part = FetchPartition {
                partition: *partition,
                current_leader_epoch: -1,
                fetch_offset: self.positions.get(&(*topic_id, *partition)).copied().unwrap_or(0),
                last_fetched_epoch: -1,
                log_start_offset: -1,
                partition_max_bytes: way.bytes_max,
                ..FetchPartition::default()
            };
            match topics.last_mut().filter(|topic| topic.topic_id == *topic_id) {
                Some(topic) => topic.partitions.push(part),
                None => {
                    topics.push(FetchTopic {
                        topic_id: *topic_id,
                        partitions: vec![part],
                        ..FetchTopic::default()
                    });
                }
            }
        }
        let request = FetchRequest {
            max_wait_ms: way.wait_ms,
            min_bytes: 1,
            max_bytes: way.bytes_max.saturating_mul(2),
            session_id: 0,
            session_epoch: -1,
            topics,
            ..FetchRequest::default()
        };
        let response = connection
            .call(ApiKey::Fetch, FETCH_VERSION, |out, version| {
                request.encode(out, version)
            })
            .await?;
        let response = response.decode(FetchResponse::decode)?;
        if response.error_code != 0 {
            let code = ErrorCode::from_code(response.error_code);
            return Err(io::Error::other(format!("Fetch: {}", code.name())));
        }
        let mut unlucky = false;
        for topic in &response.responses {
            for part in &topic.partitions {
                unlucky |= self.take(topic.topic_id, part);
            }
        }
        Ok(unlucky)
    }

    /// Takes what came of one partition; true when it was not to be had.
    fn take(&mut self, topic: Uuid, part: &PartitionData<'_>) -> bool {
        let key = (topic, part.partition_index);
        let Some(position) = self.positions.get(&key).copied() else {
            return false;
        };
        let place = || format!("reader {}: {}", self.number, log(topic, part.partition_index));
        match ErrorCode::from_code(part.error_code) {
            ErrorCode::None => {}
            ErrorCode::UnknownTopicId | ErrorCode::UnknownTopicOrPartition
                if self.recorder.fate(topic) != Fate::Lives =>
            {
                self.positions.remove(&key);
                return true;
            }
            ErrorCode::OffsetOutOfRange => {
                self.recorder
                    .problem(format!("{}: what was read up to {position} is gone", place()));
                self.positions.remove(&key);
                return true;
            }
            code if code.is_retriable() => {
                self.last_error = code;
                return true;
            }
            code => {
                self.recorder
                    .problem(format!("{} at {position}: {}", place(), code.name()));
                self.positions.remove(&key);
                return true;
            }
        }
        let mut next = position;
        for batch in batches(part.records.unwrap_or_default()) {
            // The last one may be cut off.
            let Ok(batch) = batch else { break };
            if !batch.crc_is_valid() && self.expects_rot {
                self.last_error = ErrorCode::CorruptMessage;
                break;
            }
            if !batch.crc_is_valid() {
                self.recorder
                    .problem(format!("{}: a rotten batch at {next}", place()));
                break;
            }
            let records = match batch.records(BATCH_BYTES_MAX) {
                Ok(records) => records,
                Err(error) => {
                    self.recorder
                        .problem(format!("{}: records at {next}: {error:?}", place()));
                    break;
                }
            };
            for record in records.iter() {
                let Ok(record) = record else {
                    self.recorder
                        .problem(format!("{}: a bad record at {next}", place()));
                    break;
                };
                if record.offset.0 < next {
                    continue; // the front of a batch that reaches over the position
                }
                self.recorder.record(Event::Read {
                    reader: self.number,
                    log: log(topic, part.partition_index),
                    offset: record.offset.0,
                    message: record.value.and_then(message_of),
                });
                next = record.offset.0 + 1;
            }
        }
        if next > part.high_watermark && next > position {
            self.recorder.problem(format!(
                "{}: was given {next} with a high watermark of {}",
                place(),
                part.high_watermark
            ));
        }
        self.positions.insert(key, next);
        false
    }

    async fn read_one(&mut self, connection: &Connection, topic: &Topic, partition: i32) -> io::Result<()> {
        self.last_error = ErrorCode::None;
        let start = list_offset(connection, topic, partition, EARLIEST).await?;
        let end = list_offset(connection, topic, partition, LATEST).await?;
        self.seek(topic.id, partition, start);
        let key = (topic.id, partition);
        let way = Way {
            wait_ms: 0,
            bytes_max: 1 << 20,
        };
        while let Some(position) = self.positions.get(&key).copied()
            && position < end
        {
            let unlucky = self.fetch(connection, &[key], way).await?;
            if unlucky || self.positions.get(&key) == Some(&position) {
                return Err(io::Error::other(Refused {
                    what: format!("{}: nothing at {position} of {end}", log(topic.id, partition)),
                    code: self.last_error,
                }));
            }
        }
        self.recorder.record(Event::ReadAll {
            reader: self.number,
            log: log(topic.id, partition),
            start,
            end,
        });
        self.positions.remove(&key);
        Ok(())
    }
}

async fn list_offset(
    connection: &Connection,
    topic: &Topic,
    partition: i32,
    timestamp: i64,
) -> io::Result<i64> {
    let request = ListOffsetsRequest {
        replica_id: -1,
        isolation_level: 0,
        topics: vec![ListOffsetsTopic {
            name: &topic.name,
            partitions: vec![ListOffsetsPartition {
                partition_index: partition,
                current_leader_epoch: -1,
                timestamp,
            }],
        }],
        ..ListOffsetsRequest::default()
    };
    let response = connection
        .call(ApiKey::ListOffsets, LIST_OFFSETS_VERSION, |out, version| {
            request.encode(out, version)
        })
        .await?;
    let response = response.decode(ListOffsetsResponse::decode)?;
    let part = response.topics.first().and_then(|topic| topic.partitions.first());
    match part {
        Some(part) if part.error_code == 0 => Ok(part.offset),
        Some(part) => Err(io::Error::other(Refused {
            what: format!("ListOffsets of {}-{partition}", topic.name),
            code: ErrorCode::from_code(part.error_code),
        })),
        None => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a ListOffsets response without its partition",
        )),
    }
}
