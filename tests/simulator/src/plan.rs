//! What happens in the run of a seed: the broker's size, the clients, the crashes, all drawn in advance.
//!
//! Drawn from a stream of its own, so that a change in the broker changes what comes of a plan, not the plan.

use std::time::Duration;

use protocol::compression::Codec;
use shards::sim::{Crash, Operation, Options, Stream};

use crate::trouble::Trouble;

/// The stream that plans are drawn from, apart from all those of the world.
const STREAM: u64 = 0x706c_616e;

/// All that is decided about a run before it begins.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How hostile the world is.
    pub options: Options,
    /// Shards of the broker.
    pub shards: u16,
    /// Bytes of all its journals together.
    pub journal_bytes: u64,
    /// How much longer many writes and syncs of segment files take, in some runs.
    pub slow_segments: Option<Duration>,
    /// Partitions of each topic that is created at the beginning.
    pub topics: Vec<i32>,
    /// The topics that are deleted after a while and created again under the same name.
    pub recreated: Vec<usize>,
    /// How long after the start that is.
    pub recreate_after: Duration,
    /// Producers.
    pub producers: Vec<ProducerPlan>,
    /// How many readers follow everything.
    pub readers: u32,
    /// The crashes, in order.
    pub crashes: Vec<CrashPlan>,
    /// What else goes wrong.
    pub trouble: Trouble,
}

/// One producer.
#[derive(Clone, Debug)]
pub struct ProducerPlan {
    /// Which topic, by its number.
    pub topic: usize,
    /// Which partition of it.
    pub partition: i32,
    /// See [`crate::producer::Job`].
    pub is_idempotent: bool,
    /// See [`crate::producer::Job`].
    pub acks: i16,
    /// See [`crate::producer::Job`].
    pub batches: u32,
    /// See [`crate::producer::Job`].
    pub under_way: usize,
    /// See [`crate::producer::Job`].
    pub records_max: u64,
    /// See [`crate::producer::Job`].
    pub value_bytes_max: u64,
    /// See [`crate::producer::Job`].
    pub pause_us_max: u64,
    /// See [`crate::producer::Job`].
    pub codec: Codec,
}

/// One crash and the start after it.
#[derive(Clone, Debug)]
pub struct CrashPlan {
    /// How long after the last start the crash comes, or is looked for.
    pub after: Duration,
    /// Kill or power cut.
    pub crash: Crash,
    /// While which operation of the disk, and how many of its kind are let pass first; at any moment if none.
    pub during: Option<(Operation, u64)>,
    /// How long the node stays down.
    pub down: Duration,
}

impl Plan {
    /// The plan of a seed.
    pub fn new(seed: u64) -> Plan {
        let mut random = Stream::keyed(seed, STREAM);
        let random = &mut random;
        let topics: Vec<i32> = (0..random.between(1, 3))
            .map(|_| random.between(1, 4) as i32)
            .collect();
        let recreated = (0..topics.len()).filter(|_| random.chance(300_000)).collect();
        let producers = (0..random.between(1, 6))
            .map(|_| producer(random, &topics))
            .collect();
        let crashes = (0..random.below(5)).map(|_| crash(random)).collect();
        let shards = random.between(1, 4) as u16;
        let half_bytes = [1 << 20, 8 << 20][usize::from(random.chance(200_000))];
        let slow_ms = random.between(20, 400);
        let trouble = Trouble::new(seed);
        let mut options = options(random);
        if let Trouble::ShortWrites(ppm) = trouble {
            options.disk.short_write_ppm = ppm;
        }
        Plan {
            options,
            shards,
            journal_bytes: u64::from(shards) * 2 * half_bytes,
            slow_segments: random.chance(250_000).then(|| Duration::from_millis(slow_ms)),
            topics,
            recreated,
            recreate_after: Duration::from_micros(random.between(50_000, 1_500_000)),
            producers,
            readers: random.between(1, 2) as u32,
            crashes,
            trouble,
        }
    }
}

/// A world of the usual hostility, or one in which one thing or another is out of the ordinary.
fn options(random: &mut Stream) -> Options {
    const MS: u64 = 1_000_000;
    let mut options = Options::default();
    match random.below(6) {
        0 => options.disk.sync_ns = MS..=20 * MS,
        1 => options.disk.slow_ppm = 50_000,
        2 => options.network.reset_ppm = 2_000,
        3 => options.schedule.long_turn_ppm = 2_000,
        4 => options.disk.short_write_ppm = 0,
        _ => {}
    }
    options
}

fn producer(random: &mut Stream, topics: &[i32]) -> ProducerPlan {
    let topic = random.index(topics.len());
    let partitions = topics.get(topic).copied().unwrap_or(1);
    let is_idempotent = random.chance(600_000);
    let acks = match random.below(10) {
        0 if !is_idempotent => 0,
        1 if !is_idempotent => 1,
        _ => -1,
    };
    let (records_max, value_bytes_max) = match random.below(4) {
        0 => (1, 100),
        1 => (20, 200),
        2 => (4, 4_000),
        _ => (8, 20_000),
    };
    let codec = match random.below(6) {
        0 => Codec::Lz4,
        1 => Codec::Snappy,
        _ => Codec::None,
    };
    ProducerPlan {
        topic,
        partition: random.below(partitions as u64) as i32,
        is_idempotent,
        acks,
        batches: random.between(10, 200) as u32,
        under_way: random.between(1, 5) as usize,
        records_max,
        value_bytes_max,
        pause_us_max: [0, 1_000, 20_000][random.index(3)],
        codec,
    }
}

fn crash(random: &mut Stream) -> CrashPlan {
    let during = match random.below(10) {
        0..=2 => Some((Operation::Write, random.below(60))),
        3 => Some((Operation::Sync, random.below(10))),
        4 => Some((Operation::Open, random.below(20))),
        5 => Some((Operation::SyncDir, random.below(5))),
        _ => None,
    };
    CrashPlan {
        // Some come while the broker is still starting.
        after: Duration::from_micros(match random.below(4) {
            0 => random.below(30_000),
            _ => random.between(30_000, 1_000_000),
        }),
        crash: if random.chance(600_000) {
            Crash::PowerCut
        } else {
            Crash::Kill
        },
        during,
        down: Duration::from_micros(random.between(100, 300_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_has_one_plan_and_plans_differ() {
        let text = |seed| format!("{:?}", Plan::new(seed));
        assert_eq!(text(5), text(5));
        assert_ne!(text(5), text(6));
    }

    #[test]
    fn producers_send_to_partitions_that_are_there() {
        for seed in 0..200 {
            let plan = Plan::new(seed);
            for producer in &plan.producers {
                assert!(producer.partition < plan.topics[producer.topic], "seed {seed}");
                assert!((1..=5).contains(&producer.under_way));
            }
        }
    }
}
