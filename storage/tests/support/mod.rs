//! What the tests of this crate share: a node with one log dir in a simulated world, and batches to append.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses a part of it; a failed step ends the test"
)]

pub mod crash;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use protocol::batch::{self, HeaderFields};
use protocol::records::BatchBuilder;
use protocol::types::{BrokerId, LeaderEpoch, Offset, Partition, ProducerEpoch, ProducerId, Sequence, Uuid};
use shards::sim::{self, NodeId, World};
use storage::kafka_files::MetaProperties;
use storage::{Dir, DirConfig, Log, LogConfig, Options, PartitionId, ReadAt, Store};

pub const DIR: &str = "/data";
pub const LIMIT: Duration = Duration::from_secs(600);

/// A world with one node.
pub fn world(seed: u64) -> (World, NodeId) {
    world_of(seed, sim::Options::default())
}

pub fn world_of(seed: u64, options: sim::Options) -> (World, NodeId) {
    let mut world = World::new(seed, options);
    let node = world.add_node();
    (world, node)
}

/// Runs `main` on the node to its end.
pub fn run<F, Fut>(world: &mut World, node: NodeId, main: F)
where
    F: Fn() -> Fut + Clone + 'static,
    Fut: Future<Output = ()> + 'static,
{
    start(world, node, main);
    if let Err(stuck) = world.run_to_end(LIMIT, &[node]) {
        panic!("{stuck}\n{}", world.trace_tail().join("\n"));
    }
}

/// Starts `main` on the node.
pub fn start<F, Fut>(world: &mut World, node: NodeId, main: F)
where
    F: Fn() -> Fut + Clone + 'static,
    Fut: Future<Output = ()> + 'static,
{
    world.start(node, 1, move |_| main());
}

/// Sizes that make everything happen soon.
pub fn options() -> Options {
    Options {
        chunk_bytes: 8 << 10,
        commit_bytes_max: 64 << 10,
        unsynced_bytes_max: 32 << 10,
        kept_bytes: 8 << 10,
        idle: Duration::from_millis(300),
        allocate_bytes: 64 << 10,
        journal_ready_bytes: 64 << 10,
        reserve_bytes: 256 << 10,
        index_entries_kept: 4,
    }
}

pub fn config() -> DirConfig {
    DirConfig {
        path: DIR.into(),
        shards: 1,
        journal_bytes: 2 * storage::journal::HALF_BYTES_MIN,
        expected: None,
        may_owe: shards::random::below(4) > 0,
        options: options(),
    }
}

/// The dir, formatted if need be, and this shard's store.
pub async fn open() -> (Dir, Rc<Store>) {
    open_with(config()).await
}

pub async fn open_with(config: DirConfig) -> (Dir, Rc<Store>) {
    let meta = MetaProperties {
        cluster_id: "c".into(),
        node_id: BrokerId(1),
        directory_id: Some(Uuid([9; 16])),
    };
    Dir::format(&config.path, &meta).await.unwrap();
    let dir = Dir::open(config).await.unwrap();
    let store = Store::open(dir.share()).await.unwrap();
    if dir.is_owing() {
        finish_recovery_some_day(&dir, &store);
    }
    (dir, store)
}

/// The end of a recovery, as in a broker: beside what else goes on.
struct Recovering(RefCell<Option<shards::Task<()>>>);

fn finish_recovery_some_day(dir: &Dir, store: &Rc<Store>) {
    let (share, store) = (dir.share(), store.clone());
    let wait = Duration::from_micros(shards::random::below(20_000));
    let task = shards::spawn(shards::Priority::Background, async move {
        shards::time::sleep(wait).await;
        // A disk that fails is told elsewhere.
        if store.settle_owed().await.is_ok() && share.finish_recovery().await.is_ok() {
            store.recovery_has_finished();
        }
    });
    shards::current().set_state(Rc::new(Recovering(RefCell::new(Some(task)))));
}

/// Waits until the recovery that the last open began has ended.
pub async fn finish_recovery() {
    if let Some(recovering) = shards::current().try_state::<Recovering>() {
        let task = recovering.0.borrow_mut().take();
        if let Some(task) = task {
            task.await;
        }
    }
}

pub async fn close(dir: Dir, store: Rc<Store>) {
    finish_recovery().await;
    let closed = store.close().await.unwrap();
    dir.close(vec![closed], 7).await.unwrap();
}

pub fn id(number: i32) -> PartitionId {
    PartitionId {
        topic_id: Uuid([5; 16]),
        partition: Partition(number),
    }
}

pub fn log_config() -> LogConfig {
    LogConfig {
        segment_bytes: 256 << 10,
        ..LogConfig::default()
    }
}

pub async fn log(store: &Rc<Store>, number: i32) -> Rc<Log> {
    store
        .create_partition(&id(number), "t", log_config())
        .await
        .unwrap()
}

/// A batch of one record with this value.
pub fn batch(value: &[u8], timestamp: i64) -> Bytes {
    build(&[value], timestamp, HeaderFields::default())
}

/// A batch of an idempotent producer.
pub fn batch_of(producer: i64, sequence: i32, value: &[u8]) -> Bytes {
    let fields = HeaderFields {
        producer_id: ProducerId(producer),
        producer_epoch: ProducerEpoch(0),
        base_sequence: Sequence(sequence),
        ..HeaderFields::default()
    };
    build(&[value], 1_000, fields)
}

pub fn build(values: &[&[u8]], timestamp: i64, fields: HeaderFields) -> Bytes {
    let mut builder = BatchBuilder::new(fields);
    for value in values {
        builder.append(timestamp, None, Some(value), &[]).unwrap();
    }
    builder.build().unwrap().into()
}

/// Appends one record and waits until it is durable.
pub async fn put(log: &Rc<Log>, value: &[u8]) -> Offset {
    let appended = log.append(batch(value, 1_000), LeaderEpoch(0), 1_000).unwrap();
    log.durable(Offset(appended.last_offset.0 + 1)).await.unwrap();
    appended.base_offset
}

/// All records from `from` on, by offset.
pub async fn all(log: &Rc<Log>, from: Offset) -> Vec<(Offset, Vec<u8>)> {
    let mut records = Vec::new();
    let mut next = from;
    loop {
        let at = ReadAt {
            from: next,
            bytes_max: 20_000,
            at_least_one: true,
            upper_bound: Offset(i64::MAX),
            may_wait: true,
        };
        let data = log.read(at).await.unwrap();
        let bytes = data.chunks.concat();
        assert_eq!(bytes.len(), data.bytes);
        if bytes.is_empty() {
            assert_eq!(next.max(log.log_start_offset()), log.durable_end());
            return records;
        }
        for batch in batch::batches(&bytes) {
            let batch = batch.unwrap();
            assert!(batch.crc_is_valid());
            for record in batch.records(1 << 20).unwrap().iter() {
                let record = record.unwrap();
                if record.offset >= next {
                    records.push((record.offset, record.value.unwrap().to_vec()));
                }
            }
            next = batch.header().next_offset();
        }
    }
}

/// A value of `length` bytes that says which it is.
pub fn value(number: usize, length: usize) -> Vec<u8> {
    let mut value = format!("value {number} ").into_bytes();
    let mut state = number as u32;
    while value.len() < length {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        value.push((state >> 24) as u8);
    }
    value
}

/// What a test's tasks tell the test.
pub fn shared<T: Default>() -> Rc<RefCell<T>> {
    Rc::default()
}
