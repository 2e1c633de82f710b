//! A producer: batches to one partition, several under way, through crashes and lost connections.
//!
//! An idempotent producer sends what was not acknowledged again, in order and with the same sequences, until
//! the broker takes it; exactly once each. Any other producer never sends a message twice, because it could not
//! tell a lost request from a lost answer; after an error it goes on with new messages under a new number.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use checkers::Event;
use protocol::batch::HeaderFields;
use protocol::compression::Codec;
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProduceRequest, ProduceResponse};
use protocol::records::BatchBuilder;
use protocol::{ApiKey, ErrorCode, ProducerEpoch, ProducerId, Sequence, Uuid};
use shards::random;
use shards::time::{sleep, wall_ms};

use crate::connection::Connection;
use crate::message::value_of;
use crate::recorder::{Fate, Recorder, log};

const PRODUCE_VERSION: i16 = 13;
const INIT_PRODUCER_ID_VERSION: i16 = 5;
/// Pause before the next try after an error.
const PAUSE: Duration = Duration::from_millis(30);

/// What a producer does.
#[derive(Clone, Debug)]
pub struct Job {
    /// The topic it sends to.
    pub topic: Uuid,
    /// The partition.
    pub partition: i32,
    /// Whether it asks for a producer id.
    pub is_idempotent: bool,
    /// 0, 1 or -1.
    pub acks: i16,
    /// How many batches it sends in all.
    pub batches: u32,
    /// Batches under way at once: 1 to 5.
    pub under_way: usize,
    /// The most records in a batch.
    pub records_max: u64,
    /// The longest value, in bytes.
    pub value_bytes_max: u64,
    /// The longest pause between two batches, in microseconds.
    pub pause_us_max: u64,
    /// How its batches are compressed.
    pub codec: Codec,
}

/// A batch that was encoded and perhaps sent.
struct Batch {
    first: u64,
    sequence: Sequence,
    count: u64,
    bytes: Vec<u8>,
}

struct Producer {
    recorder: Rc<Recorder>,
    job: Job,
    number: u32,
    /// Of an idempotent producer, once it has one.
    id: Option<(ProducerId, ProducerEpoch)>,
    sequence: Sequence,
    /// Not acknowledged, oldest first.
    open: VecDeque<Batch>,
    made: u32,
}

/// Why sending on one connection ended.
enum End {
    /// All is sent and acknowledged, or there is no point in going on.
    Done,
    /// Try again on a new connection.
    Again,
}

/// Runs a producer until its job is done or the run is over.
pub async fn produce(recorder: Rc<Recorder>, job: Job) {
    let number = recorder.next_client();
    let mut producer = Producer {
        recorder,
        job,
        number,
        id: None,
        sequence: Sequence(0),
        open: VecDeque::new(),
        made: 0,
    };
    loop {
        match producer.connect_and_send().await {
            Ok(End::Done) => return,
            Ok(End::Again) => {}
            Err(error) => producer.look_at(&error),
        }
        if !producer.job.is_idempotent && !producer.open.is_empty() {
            producer.open.clear();
            producer.number = producer.recorder.next_client();
        }
        if producer.recorder.is_over() && producer.open.is_empty() {
            return;
        }
        sleep(PAUSE).await;
    }
}

impl Producer {
    /// Connections end in many ways, but answers that are none are the broker's fault.
    fn look_at(&self, error: &io::Error) {
        if error.kind() == io::ErrorKind::InvalidData {
            self.recorder
                .problem(format!("producer {}: {error}", self.number));
        }
    }

    async fn connect_and_send(&mut self) -> io::Result<End> {
        let connection = Connection::open(self.recorder.address).await?;
        if self.job.is_idempotent && self.id.is_none() {
            match self.ask_for_id(&connection).await? {
                Some(id) => self.id = Some(id),
                None => return Ok(End::Again),
            }
        }
        // What an earlier connection left open goes first, in its order.
        for batch in &self.open {
            self.send(&connection, batch).await?;
        }
        loop {
            while self.open.len() < self.job.under_way && self.wants_more() {
                // Open before it is sent: whether a request that failed got through is not known.
                let batch = self.make();
                self.open.push_back(batch);
                if let Some(batch) = self.open.back() {
                    self.send(&connection, batch).await?;
                }
                if self.job.acks == 0 {
                    self.open.clear();
                }
                self.pause().await;
            }
            if self.open.is_empty() {
                return Ok(End::Done);
            }
            if let Some(end) = self.receive(&connection).await? {
                return Ok(end);
            }
        }
    }

    async fn ask_for_id(&self, connection: &Connection) -> io::Result<Option<(ProducerId, ProducerEpoch)>> {
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            producer_id: -1,
            producer_epoch: -1,
            ..InitProducerIdRequest::default()
        };
        let response = connection
            .call(
                ApiKey::InitProducerId,
                INIT_PRODUCER_ID_VERSION,
                |out, version| request.encode(out, version),
            )
            .await?;
        let response = response.decode(InitProducerIdResponse::decode)?;
        match ErrorCode::from_code(response.error_code) {
            ErrorCode::None => Ok(Some((
                ProducerId(response.producer_id),
                ProducerEpoch(response.producer_epoch),
            ))),
            code if code.is_retriable() => Ok(None),
            code => {
                self.recorder.problem(format!("InitProducerId: {}", code.name()));
                Ok(None)
            }
        }
    }

    fn wants_more(&self) -> bool {
        self.made < self.job.batches && !self.recorder.is_over()
    }

    async fn pause(&self) {
        // Half of all batches follow at once, so that commits have something to gather.
        if self.job.pause_us_max > 0 && random::below(2) == 0 {
            sleep(Duration::from_micros(random::below(self.job.pause_us_max))).await;
        }
    }

    /// A new batch of new messages, written down as sent.
    fn make(&mut self) -> Batch {
        self.made += 1;
        let count = 1 + random::below(self.job.records_max);
        let (producer_id, producer_epoch) = self.id.unwrap_or((ProducerId(-1), ProducerEpoch(-1)));
        let base_sequence = if self.id.is_some() {
            self.sequence
        } else {
            Sequence(-1)
        };
        self.sequence = self.sequence.plus(count as i32);
        let fields = HeaderFields {
            codec: self.job.codec,
            producer_id,
            producer_epoch,
            base_sequence,
            ..HeaderFields::default()
        };
        let mut builder = BatchBuilder::new(fields);
        let mut first = None;
        for _ in 0..count {
            let message = self.recorder.next_message();
            first.get_or_insert(message);
            let value = value_of(message, random::below(self.job.value_bytes_max) as usize);
            builder
                .append(wall_ms(), None, Some(&value), &[])
                .expect("a small batch");
            self.recorder.record(Event::Sent {
                producer: self.number,
                message,
                log: log(self.job.topic, self.job.partition),
            });
        }
        let bytes = builder.build().expect("a small batch");
        Batch {
            first: first.unwrap_or_default(),
            sequence: base_sequence,
            count,
            bytes,
        }
    }

    async fn send(&self, connection: &Connection, batch: &Batch) -> io::Result<()> {
        let request = ProduceRequest {
            transactional_id: None,
            acks: self.job.acks,
            timeout_ms: 10_000,
            topic_data: vec![TopicProduceData {
                topic_id: self.job.topic,
                partition_data: vec![PartitionProduceData {
                    index: self.job.partition,
                    records: Some(&batch.bytes),
                }],
                ..TopicProduceData::default()
            }],
        };
        let body = |out: &mut Vec<u8>, version| request.encode(out, version);
        match self.job.acks {
            0 => {
                connection
                    .send_unanswered(ApiKey::Produce, PRODUCE_VERSION, body)
                    .await
            }
            _ => connection.send(ApiKey::Produce, PRODUCE_VERSION, body).await,
        }
    }

    /// Takes the answer to the oldest open batch.
    async fn receive(&mut self, connection: &Connection) -> io::Result<Option<End>> {
        let response = connection.receive().await?;
        let response = response.decode(ProduceResponse::decode)?;
        let part = response
            .responses
            .first()
            .and_then(|topic| topic.partition_responses.first());
        let (Some(part), Some(batch)) = (part, self.open.front()) else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a Produce response without its partition",
            ));
        };
        match ErrorCode::from_code(part.error_code) {
            ErrorCode::None => {
                for n in 0..batch.count {
                    let offset = (part.base_offset >= 0).then_some(part.base_offset + n as i64);
                    self.recorder.record(Event::Acked {
                        message: batch.first + n,
                        offset,
                    });
                }
                self.open.pop_front();
                Ok(None)
            }
            // So old that the broker does not know where it stands any more, but it does stand.
            ErrorCode::DuplicateSequenceNumber => {
                for n in 0..batch.count {
                    self.recorder.record(Event::Acked {
                        message: batch.first + n,
                        offset: None,
                    });
                }
                self.open.pop_front();
                Ok(None)
            }
            ErrorCode::UnknownTopicId | ErrorCode::UnknownTopicOrPartition
                if self.recorder.fate(self.job.topic) != Fate::Lives =>
            {
                self.open.clear();
                Ok(Some(End::Done))
            }
            code if code.is_retriable() => Ok(Some(End::Again)),
            code => {
                // All before it was acknowledged, so nothing excuses the broker.
                self.recorder.problem(format!(
                    "producer {} ({:?}) to {}: message {} (sequence {}, the oldest of {} open) was refused with {}",
                    self.number,
                    self.id,
                    log(self.job.topic, self.job.partition),
                    batch.first,
                    batch.sequence.0,
                    self.open.len(),
                    code.name(),
                ));
                self.open.clear();
                Ok(Some(End::Done))
            }
        }
    }
}
