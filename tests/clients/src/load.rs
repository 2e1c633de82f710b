//! Producers that go on whatever happens to the broker, a reader that follows them, and the history they
//! leave for the checkers.
//!
//! Each load is an idempotent producer with acks=all that deals numbered messages to the partitions in turn.
//! Every note bears the wall clock in microseconds, so that the notes of several processes can be merged in
//! the order in which they happened.

use crate::client::Failure;
use crate::librdkafka::{consumed, failure};
use crate::script::Script;
use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use checkers::{Event, Log};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a producer holds on to a record while the broker is away.
const ENDURANCE: &str = "240000";

/// What a load does.
#[derive(Clone, Debug)]
pub struct Load {
    /// Its number in the history.
    pub producer: u32,
    /// Where to.
    pub topic: String,
    /// Messages are dealt to partitions 0 to this (exclusive) in turn.
    pub partitions: i32,
    /// Messages per second, at most.
    pub per_second: u32,
}

/// An event and when it was noted, in microseconds since 1970.
pub type Noted = (u64, Event);

/// What a load leaves behind once every message has its answer.
#[derive(Default)]
pub struct Outcome {
    /// In the order of this load.
    pub notes: Vec<Noted>,
    /// Messages that were given up, in the client's words.
    pub failures: Vec<String>,
}

/// Puts the notes of several recorders in the order in which they happened.
pub fn merge(recorders: Vec<Vec<Noted>>) -> Vec<Event> {
    let mut notes: Vec<Noted> = recorders.into_iter().flatten().collect();
    // Within one microsecond what was sent comes first: it cannot have known the answers beside it.
    notes.sort_by_key(|(at, event)| (*at, !matches!(event, Event::Sent { .. })));
    notes.into_iter().map(|(_, event)| event).collect()
}

impl Load {
    fn message(&self, number: u64) -> (u64, i32) {
        let message = u64::from(self.producer) * 1_000_000_000 + number;
        (message, (number % self.partitions as u64) as i32)
    }

    fn sent(&self, message: u64, partition: i32) -> Noted {
        let log = Log::new(self.topic.clone(), partition);
        (
            now(),
            Event::Sent {
                producer: self.producer,
                message,
                log,
            },
        )
    }

    fn pause_before(&self, number: u64, start: Instant) -> Duration {
        let due = Duration::from_secs_f64(number as f64 / f64::from(self.per_second));
        due.saturating_sub(start.elapsed())
    }
}

/// The value of a message: its number and a padding that depends on it.
pub fn value_of(message: u64) -> String {
    format!("{message}:{}", "x".repeat((message % 200) as usize))
}

/// The message that a value names, if it is just as that message's producer made it.
pub fn message_of(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    let message = text.split(':').next()?.parse().ok()?;
    (value_of(message) == text).then_some(message)
}

/// The time of a note.
pub fn now() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since_1970.as_micros() as u64
}

/// A load by librdkafka, on a thread of its own.
pub struct LibrdkafkaLoad {
    answers: Answers,
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<Noted>, Failure>>,
}

impl LibrdkafkaLoad {
    /// Begins to send.
    pub fn start(bootstrap: &str, load: Load) -> Result<Self> {
        let answers = Answers::default();
        let stopping = Arc::new(AtomicBool::new(false));
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", bootstrap)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("compression.type", "lz4")
            .set("message.timeout.ms", ENDURANCE)
            .set("reconnect.backoff.ms", "20")
            .set("reconnect.backoff.max.ms", "200");
        let producer: ThreadedProducer<Answers> = config.create_with_context(answers.clone())?;
        let stop = stopping.clone();
        let thread = std::thread::spawn(move || send_until(&producer, &load, &stop));
        Ok(LibrdkafkaLoad {
            answers,
            stopping,
            thread,
        })
    }

    /// How many messages have been acknowledged so far.
    pub fn acked(&self) -> usize {
        self.answers.acked.load(Ordering::Relaxed)
    }

    /// Waits until this many more messages than now have been acknowledged.
    pub fn wait_for_acked(&self, more: usize) -> Result<()> {
        let wanted = self.acked() + more;
        let deadline = Instant::now() + Duration::from_secs(120);
        while self.acked() < wanted {
            ensure!(
                Instant::now() < deadline,
                "the load does not go on: {} of {wanted}",
                self.acked()
            );
            ensure!(!self.thread.is_finished(), "the load has ended by itself");
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Stops sending, waits for all answers.
    pub fn stop(self) -> Result<Outcome> {
        self.stopping.store(true, Ordering::Relaxed);
        let Ok(sent) = self.thread.join() else {
            bail!("the load panicked")
        };
        let mut notes = sent?;
        let answered = self.answers.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.extend(answered.iter().cloned());
        let failures = self
            .answers
            .failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Ok(Outcome {
            notes,
            failures: failures.clone(),
        })
    }
}

fn send_until(
    producer: &ThreadedProducer<Answers>,
    load: &Load,
    stopping: &AtomicBool,
) -> Result<Vec<Noted>, Failure> {
    let mut notes = Vec::new();
    let start = Instant::now();
    for number in 0.. {
        if stopping.load(Ordering::Relaxed) {
            break;
        }
        let (message, partition) = load.message(number);
        let value = value_of(message);
        notes.push(load.sent(message, partition));
        let mut record: BaseRecord<'_, (), str, usize> =
            BaseRecord::with_opaque_to(&load.topic, message as usize)
                .partition(partition)
                .payload(&value);
        while let Err((error, unsent)) = producer.send(record) {
            if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                return Err(failure(error));
            }
            record = unsent;
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(load.pause_before(number + 1, start));
    }
    producer.flush(Duration::from_secs(120)).map_err(failure)?;
    Ok(notes)
}

/// What librdkafka's thread is told about each message.
#[derive(Clone, Default)]
struct Answers {
    acked: Arc<AtomicUsize>,
    notes: Arc<Mutex<Vec<Noted>>>,
    failures: Arc<Mutex<Vec<String>>>,
}

impl rdkafka::ClientContext for Answers {}

impl ProducerContext for Answers {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, message: usize) {
        let message = message as u64;
        match result {
            Ok(delivered) => {
                let offset = Some(delivered.offset());
                let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
                notes.push((now(), Event::Acked { message, offset }));
                self.acked.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, _)) => {
                let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
                failures.push(format!("{message}: {error}"));
            }
        }
    }
}

/// A load by a driver process, which sends in its background.
pub struct ScriptLoad(Script);

impl ScriptLoad {
    /// Begins to send.
    pub fn start(mut script: Script, load: &Load) -> Result<Self> {
        script.ask(json!({
            "op": "load_start",
            "producer": load.producer,
            "topic": load.topic,
            "partitions": load.partitions,
            "per_second": load.per_second,
        }))?;
        Ok(ScriptLoad(script))
    }

    /// Stops sending, waits for all answers.
    pub fn stop(mut self) -> Result<Outcome> {
        let answer = self.0.ask(json!({"op": "load_stop"}))?;
        let mut outcome = Outcome::default();
        for note in answer["history"].as_array().context("no history")? {
            let at = note["at"].as_u64().context("a note without a time")?;
            outcome.notes.push((at, serde_json::from_value(note.clone())?));
        }
        outcome.failures = serde_json::from_value(answer["failures"].clone())?;
        Ok(outcome)
    }
}

/// A kcat that ends with its owner: `-E` would let it look for ever for a broker that is gone.
struct Kcat(Child);

impl Drop for Kcat {
    fn drop(&mut self) {
        // Nothing it holds is worth waiting for; an error means that it has ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A load by kcat: it tells at its end that every message was acknowledged, and no offsets. All messages go
/// to partition 0.
pub struct KcatLoad {
    kcat: Kcat,
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<std::io::Result<Vec<Noted>>>,
}

impl KcatLoad {
    /// Begins to send.
    pub fn start(bootstrap: &str, load: Load) -> Result<Self> {
        let endurance = format!("message.timeout.ms={ENDURANCE}");
        let child = Command::new("kcat")
            // -E: a broker that is away is no reason to give up.
            .args([
                "-q",
                "-E",
                "-P",
                "-b",
                bootstrap,
                "-t",
                &load.topic,
                "-p",
                "0",
                "-X",
                "acks=all",
            ])
            .args([
                "-X",
                "enable.idempotence=true",
                "-X",
                "reconnect.backoff.max.ms=200",
                "-X",
                &endurance,
            ])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut kcat = Kcat(child);
        let mut stdin = kcat.0.stdin.take().context("no standard input")?;
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = stopping.clone();
        let load = Load {
            partitions: 1,
            ..load
        };
        let thread = std::thread::spawn(move || {
            let mut notes = Vec::new();
            let start = Instant::now();
            for number in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let (message, partition) = load.message(number);
                notes.push(load.sent(message, partition));
                stdin.write_all(format!("{}\n", value_of(message)).as_bytes())?;
                std::thread::sleep(load.pause_before(number + 1, start));
            }
            Ok(notes)
        });
        Ok(KcatLoad {
            kcat,
            stopping,
            thread,
        })
    }

    /// Stops sending, waits for kcat to say that all arrived.
    pub fn stop(mut self) -> Result<Outcome> {
        self.stopping.store(true, Ordering::Relaxed);
        let Ok(sent) = self.thread.join() else {
            bail!("the load panicked")
        };
        let mut notes = sent.context("kcat has ended by itself")?;
        let status = self.kcat.0.wait()?;
        let failures = if status.success() {
            Vec::new()
        } else {
            vec![format!("kcat: {status}")]
        };
        if status.success() {
            let at = now();
            let sent: Vec<u64> = notes
                .iter()
                .filter_map(|(_, event)| sent_message(event))
                .collect();
            notes.extend(sent.into_iter().map(|message| {
                (
                    at,
                    Event::Acked {
                        message,
                        offset: None,
                    },
                )
            }));
        }
        Ok(Outcome { notes, failures })
    }
}

fn sent_message(event: &Event) -> Option<u64> {
    match event {
        Event::Sent { message, .. } => Some(*message),
        _ => None,
    }
}

/// A reader that follows all partitions of a topic from their beginning.
pub struct Follower {
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<Noted>, Failure>>,
}

impl Follower {
    /// Begins to read.
    pub fn start(bootstrap: &str, reader: u32, topic: &str, partitions: i32) -> Result<Self> {
        let consumer = follower(bootstrap, topic, partitions)?;
        let stopping = Arc::new(AtomicBool::new(false));
        let (stop, topic) = (stopping.clone(), topic.to_string());
        let thread = std::thread::spawn(move || {
            let mut notes = sought(reader, &topic, partitions);
            while !stop.load(Ordering::Relaxed) {
                match consumer.poll(Duration::from_millis(50)) {
                    Some(Ok(message)) => notes.push(read(reader, &message)),
                    // A broker that is away; librdkafka goes on by itself.
                    Some(Err(error)) if is_passing(&error) => {}
                    Some(Err(error)) => return Err(failure(error)),
                    None => {}
                }
            }
            Ok(notes)
        });
        Ok(Follower { stopping, thread })
    }

    /// Ends.
    pub fn stop(self) -> Result<Vec<Noted>> {
        self.stopping.store(true, Ordering::Relaxed);
        let Ok(notes) = self.thread.join() else {
            bail!("the reader panicked")
        };
        Ok(notes?)
    }
}

/// A driver process that follows all partitions of a topic from their beginning.
pub struct ScriptFollower {
    script: Script,
    reader: u32,
    topic: String,
    notes: Vec<Noted>,
}

impl ScriptFollower {
    /// Begins to read.
    pub fn start(mut script: Script, reader: u32, topic: &str, partitions: i32) -> Result<Self> {
        let notes = sought(reader, topic, partitions);
        script.ask(json!({"op": "follow_start", "topic": topic, "partitions": partitions}))?;
        let topic = topic.to_string();
        Ok(ScriptFollower {
            script,
            reader,
            topic,
            notes,
        })
    }

    /// Ends.
    pub fn stop(mut self) -> Result<Vec<Noted>> {
        let answer = self.script.ask(json!({"op": "follow_stop"}))?;
        for read in answer["read"].as_array().context("nothing read")? {
            let at = read[0].as_u64().context("a reading without a time")?;
            let partition = i32::try_from(read[1].as_i64().context("no partition")?)?;
            let offset = read[2].as_i64().context("no offset")?;
            let value = STANDARD.decode(read[3].as_str().unwrap_or_default())?;
            let event = Event::Read {
                reader: self.reader,
                log: Log::new(self.topic.clone(), partition),
                offset,
                message: message_of(&value),
            };
            self.notes.push((at, event));
        }
        Ok(self.notes)
    }
}

/// kcat, which follows all partitions of a topic from their beginning.
pub struct KcatFollower {
    kcat: Kcat,
    thread: JoinHandle<Result<Vec<Noted>>>,
}

impl KcatFollower {
    /// Begins to read.
    pub fn start(bootstrap: &str, reader: u32, topic: &str, partitions: i32) -> Result<Self> {
        let mut notes = sought(reader, topic, partitions);
        let child = Command::new("kcat")
            // -E: a broker that is away is no reason to give up.
            .args(["-q", "-E", "-u", "-C", "-b", bootstrap, "-t", topic])
            .args(["-o", "beginning", "-f", "%p %o %s\\n"])
            .args(["-X", "check.crcs=true", "-X", "reconnect.backoff.max.ms=200"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut kcat = Kcat(child);
        let stdout = kcat.0.stdout.take().context("no standard output")?;
        let topic = topic.to_string();
        let thread = std::thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            let mut line = String::new();
            loop {
                line.clear();
                stdout.read_line(&mut line)?;
                // The last one may be cut off by the end.
                let Some(line) = line.strip_suffix('\n') else {
                    return Ok(notes);
                };
                let mut words = line.splitn(3, ' ');
                let mut word = || words.next().with_context(|| format!("kcat printed {line:?}"));
                let event = Event::Read {
                    reader,
                    log: Log::new(topic.clone(), word()?.parse()?),
                    offset: word()?.parse()?,
                    message: message_of(word()?.as_bytes()),
                };
                notes.push((now(), event));
            }
        });
        Ok(KcatFollower { kcat, thread })
    }

    /// Ends.
    pub fn stop(mut self) -> Result<Vec<Noted>> {
        ensure!(self.kcat.0.try_wait()?.is_none(), "kcat has ended by itself");
        drop(self.kcat);
        let Ok(notes) = self.thread.join() else {
            bail!("the reader panicked")
        };
        notes
    }
}

/// Reads all partitions of a topic from beginning to end.
pub fn read_all(bootstrap: &str, reader: u32, topic: &str, partitions: i32) -> Result<Vec<Noted>> {
    let patience = Duration::from_secs(30);
    let consumer = follower(bootstrap, topic, partitions)?;
    let mut notes = sought(reader, topic, partitions);
    let mut left = std::collections::BTreeMap::new();
    let mut closing = Vec::new();
    for partition in 0..partitions {
        let (start, end) = consumer.fetch_watermarks(topic, partition, patience)?;
        if start < end {
            left.insert(partition, end);
        }
        let log = Log::new(topic, partition);
        closing.push(Event::ReadAll {
            reader,
            log,
            start,
            end,
        });
    }
    let deadline = Instant::now() + 2 * patience;
    while !left.is_empty() {
        ensure!(
            Instant::now() < deadline,
            "time is up; not read to the end: {left:?}"
        );
        let Some(message) = consumer.poll(Duration::from_millis(50)) else {
            continue;
        };
        let message = message?;
        if left
            .get(&message.partition())
            .is_some_and(|&end| message.offset() + 1 >= end)
        {
            left.remove(&message.partition());
        }
        notes.push(read(reader, &message));
    }
    notes.extend(closing.into_iter().map(|event| (now(), event)));
    Ok(notes)
}

fn follower(bootstrap: &str, topic: &str, partitions: i32) -> Result<BaseConsumer> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "followers")
        .set("enable.auto.commit", "false")
        // Offsets that vanish must be seen, not passed over.
        .set("auto.offset.reset", "error")
        .set("reconnect.backoff.ms", "20")
        .set("reconnect.backoff.max.ms", "200");
    let consumer: BaseConsumer = config.create()?;
    let mut assignment = TopicPartitionList::new();
    for partition in 0..partitions {
        assignment.add_partition_offset(topic, partition, Offset::Offset(0))?;
    }
    consumer.assign(&assignment)?;
    Ok(consumer)
}

fn sought(reader: u32, topic: &str, partitions: i32) -> Vec<Noted> {
    let at = now();
    let logs = (0..partitions).map(|partition| Log::new(topic, partition));
    logs.map(|log| {
        (
            at,
            Event::Sought {
                reader,
                log,
                offset: 0,
            },
        )
    })
    .collect()
}

fn read(reader: u32, message: &rdkafka::message::BorrowedMessage<'_>) -> Noted {
    let record = consumed(message);
    let log = Log::new(message.topic(), record.partition);
    let message = record.record.value.as_deref().and_then(message_of);
    (
        now(),
        Event::Read {
            reader,
            log,
            offset: record.offset,
            message,
        },
    )
}

fn is_passing(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(Code::BrokerTransportFailure | Code::AllBrokersDown | Code::OperationTimedOut | Code::Resolve)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_name_their_message_or_nothing() {
        for message in [0, 1, 199, 200, 3_000_000_123] {
            assert_eq!(message_of(value_of(message).as_bytes()), Some(message));
        }
        for garbled in ["", "1", "1:xx", "7:xxxxxxxx", "2:xy", "a:"] {
            assert_eq!(message_of(garbled.as_bytes()), None, "{garbled}");
        }
    }

    #[test]
    fn notes_are_merged_by_time_and_sends_come_first() {
        let sent = |message| Event::Sent {
            producer: 1,
            message,
            log: Log::new("t", 0),
        };
        let acked = |message| Event::Acked {
            message,
            offset: None,
        };
        let merged = merge(vec![
            vec![(1, sent(1)), (5, acked(1))],
            vec![(5, sent(2)), (3, sent(3))],
        ]);
        assert_eq!(merged, [sent(1), sent(3), sent(2), acked(1)]);
    }
}
