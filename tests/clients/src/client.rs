//! What every client can do, in one shape, so that one test runs over all of them.

use crate::record::{Consumed, Record};
use std::collections::BTreeMap;

/// How batches are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Not at all.
    None,
    /// Deflate.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl Codec {
    /// All five.
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    /// As Kafka's settings spell it.
    pub fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }
}

/// Which answer a producer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// No answer at all.
    Zero,
    /// The leader's.
    One,
    /// All replicas' in sync.
    All,
}

impl Acks {
    /// All three.
    pub const EVERY: [Acks; 3] = [Acks::Zero, Acks::One, Acks::All];

    /// As Kafka's settings spell it.
    pub fn name(self) -> &'static str {
        match self {
            Acks::Zero => "0",
            Acks::One => "1",
            Acks::All => "all",
        }
    }
}

/// One producer's life: it is made, sends the records in order, waits for all answers and is closed.
#[derive(Clone, Debug)]
pub struct Produce<'a> {
    /// Where to.
    pub topic: &'a str,
    /// Which partition.
    pub partition: i32,
    /// How compressed.
    pub codec: Codec,
    /// Which answer.
    pub acks: Acks,
    /// With a producer id and sequence numbers.
    pub idempotent: bool,
    /// Allows records of 16 MiB on the client's side, so that it is the broker who refuses.
    pub large: bool,
    /// What.
    pub records: &'a [Record],
}

/// Where a reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// At the log start offset.
    Beginning,
    /// At this offset.
    Offset(i64),
    /// At the first record that is not older, in milliseconds since 1970.
    Timestamp(i64),
}

/// One consumer's life: it is assigned the partitions, reads until the ends that they had when it began, and
/// is closed. No consumer group is involved.
#[derive(Clone, Debug)]
pub struct Consume<'a> {
    /// From where.
    pub topic: &'a str,
    /// Which partitions.
    pub partitions: &'a [i32],
    /// Where each of them begins.
    pub from: From,
}

/// A topic to be made.
#[derive(Clone, Debug)]
pub struct TopicSpec<'a> {
    /// Its name.
    pub name: &'a str,
    /// How many partitions.
    pub partitions: i32,
    /// Topic settings.
    pub configs: &'a [(&'a str, &'a str)],
}

/// What a client said when it could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Kafka's error code, where the client tells one that came from the broker.
    pub code: Option<i16>,
    /// In the client's own words.
    pub text: String,
}

impl Failure {
    /// A failure that has no code of Kafka's.
    pub fn local(text: impl std::fmt::Display) -> Failure {
        Failure {
            code: None,
            text: text.to_string(),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.code {
            Some(code) => write!(f, "error {code}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

impl std::error::Error for Failure {}

/// Topic name to its number of partitions.
pub type Topics = BTreeMap<String, usize>;

/// A client library or program. Every call uses clients of its own and leaves nothing behind.
pub trait Client {
    /// For messages.
    fn name(&self) -> &'static str;

    /// Records that this client can send, `count` of them and always the same for one `seed`.
    fn sample(&self, seed: u64, count: usize) -> Vec<Record> {
        crate::record::every_shape(seed, count)
    }

    /// Sends, in order; gives the offsets that were told (none where the client or `acks` tells none). Fails
    /// with the first record that failed.
    fn produce(&mut self, request: &Produce<'_>) -> Result<Vec<Option<i64>>, Failure>;

    /// Reads, each partition in order.
    fn consume(&mut self, request: &Consume<'_>) -> Result<Vec<Consumed>, Failure>;

    /// All topics, without making any.
    fn topics(&mut self) -> Result<Topics, Failure>;

    /// One topic's number of partitions, without making it.
    fn describe(&mut self, topic: &str) -> Result<usize, Failure>;
}

/// A client that also administers.
pub trait Admin: Client {
    /// Makes a topic.
    fn create_topic(&mut self, topic: &TopicSpec<'_>) -> Result<(), Failure>;

    /// Removes a topic.
    fn delete_topic(&mut self, name: &str) -> Result<(), Failure>;

    /// The settings of a topic, by name; null values are left out.
    fn topic_configs(&mut self, name: &str) -> Result<BTreeMap<String, String>, Failure>;
}
