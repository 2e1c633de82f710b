//! librdkafka, through the crate `rdkafka`.
//!
//! What a newcomer would get wrong: librdkafka wants a `group.id` for every consumer, and looks for that
//! group's coordinator even when partitions are assigned by hand. A broker that has no coordinator must not
//! stop it from reading.

use crate::client::{Acks, Admin, Client, Consume, Failure, From, Produce, TopicSpec, Topics};
use crate::record::{Consumed, Record};
use futures_lite::future::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long one call may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// librdkafka as the crate `rdkafka` builds it.
pub struct Librdkafka {
    bootstrap: String,
}

impl Librdkafka {
    /// Clients for the broker at `bootstrap` (`host:port`).
    pub fn new(bootstrap: &str) -> Self {
        Librdkafka {
            bootstrap: bootstrap.to_string(),
        }
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap)
            .set("allow.auto.create.topics", "false");
        config
    }

    fn consumer(&self) -> Result<BaseConsumer, Failure> {
        let mut config = self.config();
        config
            .set("group.id", "assigned-by-hand")
            .set("enable.auto.commit", "false")
            .set("check.crcs", "true");
        config.create().map_err(failure)
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>, Failure> {
        self.config().create().map_err(failure)
    }

    /// Which offset each partition has at its end.
    pub fn end_offset(&self, topic: &str, partition: i32) -> Result<i64, Failure> {
        let (_, end) = self
            .consumer()?
            .fetch_watermarks(topic, partition, PATIENCE)
            .map_err(failure)?;
        Ok(end)
    }

    /// Waits until a partition holds `count` records: what was sent with acks=0 arrives when it arrives.
    pub fn wait_for_end(&self, topic: &str, partition: i32, count: i64) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let end = self.end_offset(topic, partition);
            match &end {
                Ok(end) if *end == count => return Ok(()),
                // A topic that was just made: UNKNOWN_TOPIC_OR_PARTITION, LEADER_NOT_AVAILABLE, NOT_LEADER_OR_FOLLOWER.
                Err(Failure {
                    code: Some(3 | 5 | 6),
                    ..
                }) => {}
                // The same, said by librdkafka itself.
                Err(failure) if failure.text.contains("Local: Unknown partition") => {}
                Err(failure) => return Err(failure.clone()),
                Ok(_) => {}
            }
            if end.as_ref().is_ok_and(|end| *end > count) || Instant::now() > deadline {
                return Err(Failure::local(format!(
                    "{topic}-{partition} ends at {end:?}, not {count}"
                )));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Client for Librdkafka {
    fn name(&self) -> &'static str {
        "librdkafka"
    }

    fn produce(&mut self, request: &Produce<'_>) -> Result<Vec<Option<i64>>, Failure> {
        let mut config = self.config();
        config
            .set("compression.type", request.codec.name())
            .set("acks", request.acks.name())
            .set("enable.idempotence", request.idempotent.to_string())
            .set("allow.auto.create.topics", "true")
            .set("message.timeout.ms", PATIENCE.as_millis().to_string())
            // How long a topic that does not exist may take to appear.
            .set("topic.metadata.propagation.max.ms", "5000")
            // Several batches in a partition, so that offsets and times are looked up across them.
            .set("batch.num.messages", "20");
        if request.large {
            config.set("message.max.bytes", "16777216");
        }
        let deliveries = Deliveries::new(request.records.len());
        let producer: ThreadedProducer<Deliveries> =
            config.create_with_context(deliveries.clone()).map_err(failure)?;
        for (index, record) in request.records.iter().enumerate() {
            let base = base_record(request, record, index);
            producer.send(base).map_err(|(error, _)| failure(error))?;
        }
        producer.flush(PATIENCE).map_err(failure)?;
        deliveries.into_offsets(request.acks)
    }

    fn consume(&mut self, request: &Consume<'_>) -> Result<Vec<Consumed>, Failure> {
        let consumer = self.consumer()?;
        let starts = starts(&consumer, request)?;
        let mut left: BTreeMap<i32, i64> = BTreeMap::new();
        let mut assignment = TopicPartitionList::new();
        for (&partition, &(first, start)) in &starts {
            let (_, end) = consumer
                .fetch_watermarks(request.topic, partition, PATIENCE)
                .map_err(failure)?;
            if first < end {
                left.insert(partition, end);
                assignment
                    .add_partition_offset(request.topic, partition, start)
                    .map_err(failure)?;
            }
        }
        consumer.assign(&assignment).map_err(failure)?;
        let mut records = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        while !left.is_empty() {
            if Instant::now() > deadline {
                let read = records.len();
                return Err(Failure::local(format!(
                    "time is up after {read} records; not read to {left:?}"
                )));
            }
            let Some(message) = consumer.poll(Duration::from_millis(100)) else {
                continue;
            };
            let record = consumed(&message.map_err(failure)?);
            if left
                .get(&record.partition)
                .is_some_and(|&end| record.offset + 1 >= end)
            {
                left.remove(&record.partition);
            }
            records.push(record);
        }
        Ok(records)
    }

    fn topics(&mut self) -> Result<Topics, Failure> {
        let admin = self.admin()?;
        let metadata = admin.inner().fetch_metadata(None, PATIENCE).map_err(failure)?;
        Ok(metadata
            .topics()
            .iter()
            .map(|topic| (topic.name().to_string(), topic.partitions().len()))
            .collect())
    }

    fn describe(&mut self, topic: &str) -> Result<usize, Failure> {
        let admin = self.admin()?;
        let metadata = admin
            .inner()
            .fetch_metadata(Some(topic), PATIENCE)
            .map_err(failure)?;
        let topic = metadata
            .topics()
            .first()
            .ok_or_else(|| Failure::local("no such topic in the answer"))?;
        match topic.error() {
            Some(code) => Err(code_failure(code.into())),
            None => Ok(topic.partitions().len()),
        }
    }
}

impl Admin for Librdkafka {
    fn create_topic(&mut self, topic: &TopicSpec<'_>) -> Result<(), Failure> {
        let admin = self.admin()?;
        let mut new = NewTopic::new(topic.name, topic.partitions, TopicReplication::Fixed(1));
        for (key, value) in topic.configs {
            new = new.set(key, value);
        }
        let results = block_on(admin.create_topics([&new], &options())).map_err(failure)?;
        results
            .into_iter()
            .try_for_each(|result| result.map(drop).map_err(|(_, code)| code_failure(code)))
    }

    fn delete_topic(&mut self, name: &str) -> Result<(), Failure> {
        let admin = self.admin()?;
        let results = block_on(admin.delete_topics(&[name], &options())).map_err(failure)?;
        results
            .into_iter()
            .try_for_each(|result| result.map(drop).map_err(|(_, code)| code_failure(code)))
    }

    fn topic_configs(&mut self, name: &str) -> Result<BTreeMap<String, String>, Failure> {
        let admin = self.admin()?;
        let resources = [ResourceSpecifier::Topic(name)];
        let results = block_on(admin.describe_configs(&resources, &options())).map_err(failure)?;
        let mut configs = BTreeMap::new();
        for resource in results {
            for entry in resource.map_err(code_failure)?.entries {
                if let Some(value) = entry.value {
                    configs.insert(entry.name, value);
                }
            }
        }
        Ok(configs)
    }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(PATIENCE))
        .operation_timeout(Some(PATIENCE))
}

/// For each partition the first offset it will give, and how librdkafka is told so.
fn starts(consumer: &BaseConsumer, request: &Consume<'_>) -> Result<BTreeMap<i32, (i64, Offset)>, Failure> {
    let mut wanted = TopicPartitionList::new();
    for &partition in request.partitions {
        let offset = match request.from {
            From::Beginning => Offset::Beginning,
            From::Offset(offset) => Offset::Offset(offset),
            From::Timestamp(timestamp) => Offset::Offset(timestamp),
        };
        wanted
            .add_partition_offset(request.topic, partition, offset)
            .map_err(failure)?;
    }
    if let From::Timestamp(_) = request.from {
        wanted = consumer.offsets_for_times(wanted, PATIENCE).map_err(failure)?;
    }
    wanted
        .elements()
        .into_iter()
        .map(|element| {
            element.error().map_err(failure)?;
            let first = match element.offset() {
                Offset::Offset(offset) => offset,
                Offset::Beginning => 0,
                // No record is that young.
                _ => i64::MAX,
            };
            Ok((element.partition(), (first, element.offset())))
        })
        .collect()
}

fn base_record<'a>(
    request: &Produce<'a>,
    record: &'a Record,
    index: usize,
) -> BaseRecord<'a, [u8], [u8], usize> {
    let mut base = BaseRecord::with_opaque_to(request.topic, index).partition(request.partition);
    if let Some(key) = &record.key {
        base = base.key(key.as_slice());
    }
    if let Some(value) = &record.value {
        base = base.payload(value.as_slice());
    }
    if let Some(timestamp) = record.timestamp {
        base = base.timestamp(timestamp);
    }
    if !record.headers.is_empty() {
        let headers = record
            .headers
            .iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| {
                headers.insert(Header {
                    key,
                    value: value.as_deref(),
                })
            });
        base = base.headers(headers);
    }
    base
}

/// A record out of librdkafka's hands.
pub(crate) fn consumed(message: &BorrowedMessage<'_>) -> Consumed {
    let timestamp = message.timestamp().to_millis();
    let headers = message.headers().map(|headers| {
        let each = headers.iter();
        each.map(|header| (header.key.to_string(), header.value.map(<[u8]>::to_vec)))
            .collect()
    });
    Consumed {
        partition: message.partition(),
        offset: message.offset(),
        timestamp: timestamp.unwrap_or(-1),
        record: Record {
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            timestamp,
            headers: headers.unwrap_or_default(),
        },
    }
}

/// What became of each record, filled in on librdkafka's thread.
#[derive(Clone)]
struct Deliveries(Arc<Mutex<Vec<Delivery>>>);

/// None until the answer is there.
type Delivery = Option<Result<i64, Failure>>;

impl Deliveries {
    fn new(count: usize) -> Self {
        Deliveries(Arc::new(Mutex::new(vec![None; count])))
    }

    fn into_offsets(self, acks: Acks) -> Result<Vec<Option<i64>>, Failure> {
        let deliveries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        deliveries
            .iter()
            .map(|delivery| match delivery {
                Some(Ok(offset)) => Ok((acks != Acks::Zero).then_some(*offset)),
                Some(Err(failure)) => Err(failure.clone()),
                None => Err(Failure::local("flushed, yet a record has no answer")),
            })
            .collect()
    }
}

impl rdkafka::ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, index: usize) {
        let outcome = match result {
            Ok(message) => Ok(message.offset()),
            Err((error, _)) => Err(failure(error.clone())),
        };
        let mut deliveries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(delivery) = deliveries.get_mut(index) {
            *delivery = Some(outcome);
        }
    }
}

pub(crate) fn failure(error: KafkaError) -> Failure {
    let code = error.rdkafka_error_code().and_then(broker_code);
    Failure {
        code,
        text: error.to_string(),
    }
}

fn code_failure(code: RDKafkaErrorCode) -> Failure {
    Failure {
        code: broker_code(code),
        text: code.to_string(),
    }
}

/// librdkafka numbers its own errors below zero and keeps Kafka's for the broker's.
fn broker_code(code: RDKafkaErrorCode) -> Option<i16> {
    i16::try_from(code as i32).ok().filter(|code| *code > 0)
}
