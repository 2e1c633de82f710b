//! One log that is cut again and again while its node crashes: what a follower will do, and a single broker
//! never does, so that the log itself is driven here.
//!
//! All batches are equally long, so that one of an old epoch in the place of a new one would be valid: only what
//! the log remembers of the cut tells them apart.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use protocol::batch::{self, HeaderFields};
use protocol::records::BatchBuilder;
use protocol::{BrokerId, LeaderEpoch, Offset, Partition, Uuid};
use shards::sim::{Crash, NodeId, Options, Stream, World};
use shards::time::sleep;
use shards::{Priority, random};
use storage::kafka_files::MetaProperties;
use storage::planted::Planted;
use storage::{Dir, DirConfig, Log, LogConfig, PartitionId, ReadAt, StorageError, Store};

use crate::broker::LOG_DIR;
use crate::message::{message_of, value_of};
use crate::run::Outcome;

/// The stream that crashes are drawn from.
const STREAM: u64 = 0x6375_7473;
const VALUE_BYTES: usize = 900;
const PATIENCE: Duration = Duration::from_secs(60);

/// What the log should hold. Every record has an offset of its own, from 0 on.
#[derive(Debug, Default)]
struct Model {
    /// The messages appended and not cut, durable or not.
    appended: Vec<u64>,
    /// How many of them are known to be durable.
    durable: usize,
    /// A cut that was begun, and down to which length: a crash may find it done or not.
    cut: Option<usize>,
    messages: u64,
    epoch: i32,
    wrong: Vec<String>,
    acked: u64,
}

/// Runs a seed.
pub fn run(seed: u64, planted: Option<Planted>) -> Outcome {
    crate::run::judged(0, |outcome| live(seed, planted, outcome))
}

fn live(seed: u64, planted: Option<Planted>, outcome: &RefCell<Outcome>) {
    let mut random = Stream::keyed(seed, STREAM);
    let mut world = World::new(seed, Options::default());
    let node = world.add_node();
    let model = Rc::new(RefCell::new(Model::default()));
    for _ in 0..random.between(2, 6) {
        start(&mut world, node, &model, planted, None);
        world.run_for(Duration::from_micros(random.between(5_000, 400_000)));
        let crash = if random.chance(500_000) {
            Crash::PowerCut
        } else {
            Crash::Kill
        };
        world.crash(node, crash);
    }
    start(&mut world, node, &model, planted, Some(20));
    let end = world.run_to_end(PATIENCE, &[node]);
    let mut outcome = outcome.borrow_mut();
    outcome
        .wrong
        .extend(end.err().map(|stuck| format!("the last round: {stuck}")));
    let model = model.take();
    outcome.wrong.extend(model.wrong);
    outcome.acked = model.acked;
    outcome.trace_hash = world.trace_hash();
    outcome.took_ms = world.now().0 / 1_000_000;
}

/// Opens the log, looks at what it holds, and works on it: without end, or so many steps.
fn start(
    world: &mut World,
    node: NodeId,
    model: &Rc<RefCell<Model>>,
    planted: Option<Planted>,
    steps: Option<u32>,
) {
    let model = model.clone();
    world.start(node, 1, move |_| {
        let model = model.clone();
        async move {
            if let Some(planted) = planted {
                shards::current().set_state(Rc::new(planted));
            }
            if let Err(error) = work(&model, steps).await {
                model.borrow_mut().wrong.push(error);
            }
        }
    });
}

async fn work(model: &RefCell<Model>, steps: Option<u32>) -> Result<(), String> {
    let failed = |error: StorageError| error.to_string();
    let meta = MetaProperties {
        cluster_id: "simulated".into(),
        node_id: BrokerId(1),
        directory_id: Some(Uuid([9; 16])),
    };
    Dir::format(LOG_DIR, &meta).await.map_err(failed)?;
    let config = DirConfig {
        path: LOG_DIR.into(),
        shards: 1,
        journal_bytes: 2 << 20,
        expected: None,
        may_owe: random::below(2) == 0,
        options: storage::Options::default(),
    };
    let dir = Dir::open(config).await.map_err(failed)?;
    let store = Store::open(dir.share()).await.map_err(failed)?;
    let recovering = dir.is_owing().then(|| {
        let (share, store, wait) = (dir.share(), store.clone(), random::below(20_000));
        shards::spawn(Priority::Background, async move {
            sleep(Duration::from_micros(wait)).await;
            store.settle_owed().await?;
            share.finish_recovery().await?;
            store.recovery_has_finished();
            Ok(())
        })
    });
    let id = PartitionId {
        topic_id: Uuid([5; 16]),
        partition: Partition(0),
    };
    let log_config = LogConfig {
        segment_bytes: 64 << 10,
        ..LogConfig::default()
    };
    let log = store
        .create_partition(&id, "cut", log_config)
        .await
        .map_err(failed)?;
    look(model, &log).await?;
    let mut done = 0;
    while steps.is_none_or(|steps| done < steps) {
        done += 1;
        match random::below(5) {
            0 => cut(model, &log).await.map_err(failed)?,
            1 => sleep(Duration::from_micros(random::below(3_000))).await,
            _ => append(model, &log).await?,
        }
    }
    look(model, &log).await?;
    if let Some(recovering) = recovering {
        recovering.await.map_err(failed)?;
    }
    let closed = store.close().await.map_err(failed)?;
    dir.close(vec![closed], -1).await.map_err(failed)
}

async fn append(model: &RefCell<Model>, log: &Rc<Log>) -> Result<(), String> {
    let mut end = Offset(0);
    for _ in 0..1 + random::below(6) {
        let (message, epoch) = {
            let mut model = model.borrow_mut();
            model.messages += 1;
            let message = model.messages;
            model.appended.push(message);
            (message, model.epoch)
        };
        let batch = batch_of(message).map_err(|error| error.to_string())?;
        let appended = log
            .append(batch, LeaderEpoch(epoch), 0)
            .map_err(|error| format!("append: {error:?}"))?;
        end = Offset(appended.last_offset.0 + 1);
    }
    if random::below(3) > 0 {
        log.durable(end).await.map_err(|error| error.to_string())?;
        let mut model = model.borrow_mut();
        model.acked += (end.0 as usize).saturating_sub(model.durable) as u64;
        model.durable = model.durable.max(end.0 as usize);
    }
    Ok(())
}

fn batch_of(message: u64) -> io::Result<Bytes> {
    let mut builder = BatchBuilder::new(HeaderFields::default());
    let mut value = value_of(message, VALUE_BYTES);
    value.truncate(VALUE_BYTES);
    builder
        .append(0, None, Some(&value), &[])
        .map_err(io::Error::other)?;
    Ok(builder.build().map_err(io::Error::other)?.into())
}

async fn cut(model: &RefCell<Model>, log: &Rc<Log>) -> Result<(), StorageError> {
    let to = {
        let mut model = model.borrow_mut();
        let len = model.appended.len() as u64;
        // Never down to nothing: that is another thing, and has another name.
        if len < 2 {
            return Ok(());
        }
        let to = len - 1 - random::below((len - 1).min(20));
        model.cut = Some(to as usize);
        to
    };
    log.truncate_to(Offset(to as i64)).await?;
    let mut model = model.borrow_mut();
    model.appended.truncate(to as usize);
    model.durable = to as usize;
    model.cut = None;
    model.epoch += 1;
    Ok(())
}

/// Compares the log with the model, and goes on from what it holds.
async fn look(model: &RefCell<Model>, log: &Rc<Log>) -> Result<(), String> {
    let found = read(log).await?;
    let mut model = model.borrow_mut();
    let is_prefix = found.len() <= model.appended.len() && model.appended[..found.len()] == found[..];
    let least = model.cut.map_or(model.durable, |cut| cut.min(model.durable));
    if !is_prefix || found.len() < least {
        let first = found
            .iter()
            .zip(&model.appended)
            .position(|(found, appended)| found != appended);
        let what = format!(
            "the log holds {} records, {} were durable and {} appended, a cut to {:?} was on its way; the first that \
             differs: {first:?}",
            found.len(),
            model.durable,
            model.appended.len(),
            model.cut
        );
        model.wrong.push(what);
    }
    model.durable = found.len();
    model.appended = found;
    model.cut = None;
    model.epoch += 1;
    Ok(())
}

async fn read(log: &Rc<Log>) -> Result<Vec<u64>, String> {
    let mut found = Vec::new();
    loop {
        let at = ReadAt {
            from: Offset(found.len() as i64),
            bytes_max: 100_000,
            at_least_one: true,
            upper_bound: Offset(i64::MAX),
            may_wait: true,
        };
        let data = log.read(at).await.map_err(|error| format!("read: {error:?}"))?;
        let bytes = data.chunks.concat();
        if bytes.is_empty() {
            return Ok(found);
        }
        for batch in batch::batches(&bytes) {
            let batch = batch.map_err(|error| format!("{error:?}"))?;
            for record in batch.records(1 << 20).map_err(|error| error.to_string())?.iter() {
                let record = record.map_err(|error| error.to_string())?;
                if record.offset.0 != found.len() as i64 {
                    return Err(format!(
                        "offset {} comes after {} records",
                        record.offset.0,
                        found.len()
                    ));
                }
                found.push(record.value.and_then(number_of).unwrap_or(0));
            }
        }
    }
}

/// The message of a value that was cut to a common length.
fn number_of(value: &[u8]) -> Option<u64> {
    let text = value.strip_prefix(b"message ")?;
    let end = text.iter().position(|byte| *byte == b' ')?;
    let message: u64 = std::str::from_utf8(text.get(..end)?).ok()?.parse().ok()?;
    let whole = value_of(message, value.len());
    (message_of(&whole) == Some(message) && whole.starts_with(value)).then_some(message)
}
