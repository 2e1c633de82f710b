//! A log against a plain vector: random appends, reads, rolls, truncations, starts moved, crashes, closes and
//! deletions, under many seeds.

mod support;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use protocol::types::{LeaderEpoch, Offset};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use shards::sim::Crash;
use shards::time;
use support::*;

/// What the log should be: records from `start` on. Those from `durable` on are not acknowledged.
#[derive(Clone, Debug, Default)]
struct Model {
    exists: bool,
    start: usize,
    records: Vec<Vec<u8>>,
    durable: usize,
    /// An order was given and not answered: the log may be as before or as after it.
    pending: Option<Pending>,
}

#[derive(Clone, Debug)]
enum Pending {
    Create,
    Delete,
    Truncate(usize),
    Start(usize),
}

impl Model {
    fn end(&self) -> usize {
        self.start + self.records.len()
    }

    fn record(&self, offset: usize) -> &Vec<u8> {
        &self.records[offset - self.start]
    }

    fn cut(&mut self, offset: usize) {
        self.records.truncate(offset - self.start);
        self.durable = self.durable.min(offset);
    }

    fn drop_below(&mut self, start: usize) {
        self.records.drain(..start - self.start);
        self.start = start;
    }
}

type Shared = Rc<RefCell<Model>>;

/// Opens the log, settles what the crash left open, compares everything, then makes random calls until there
/// is an end of them; `true` when it has closed cleanly.
async fn live(model: Shared, seed: u64) -> bool {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let (dir, store) = open().await;
    assert_eq!(dir.report().damaged, vec![]);
    assert_eq!(dir.report().set_aside, Vec::<String>::new());
    let found = store.open_partition(&id(0), "t", log_config()).await.unwrap();
    let pending = model.borrow_mut().pending.take();
    match pending {
        Some(Pending::Create) => model.borrow_mut().exists = found.is_some(),
        Some(Pending::Delete) if found.is_none() => *model.borrow_mut() = Model::default(),
        Some(Pending::Truncate(to)) => {
            let end = found.as_ref().unwrap().log_end_offset().0 as usize;
            if end == to {
                model.borrow_mut().cut(to);
            }
        }
        Some(Pending::Start(to)) => {
            let start = found.as_ref().unwrap().log_start_offset().0 as usize;
            if start == to {
                model.borrow_mut().drop_below(to);
            }
        }
        _ => {}
    }
    assert_eq!(found.is_some(), model.borrow().exists);
    let mut log = match found {
        Some(log) => log,
        None => {
            model.borrow_mut().pending = Some(Pending::Create);
            let log = log(&store, 0).await;
            let mut model = model.borrow_mut();
            model.pending = None;
            model.exists = true;
            log
        }
    };
    let end = log.log_end_offset().0 as usize;
    {
        let mut model = model.borrow_mut();
        assert_eq!(log.log_start_offset().0 as usize, model.start);
        assert!(
            end >= model.durable && end <= model.end(),
            "{} <= {end} <= {}",
            model.durable,
            model.end()
        );
        model.cut(end);
        model.durable = end;
    }
    compare(&log, &model, Offset(0).max(log.log_start_offset())).await;
    for _ in 0..random.random_range(5..60) {
        match random.random_range(0..100) {
            0..50 => {
                let count = random.random_range(1..12);
                let mut last = None;
                for _ in 0..count {
                    let length = [20, 300, 3_000, 12_000, 90_000][random.random_range(0..5)];
                    let number = model.borrow().end() + 1_000 * random.random_range(0..1_000);
                    let value = value(number, length);
                    // Before the call: it may be durable as soon as it is staged.
                    let appended = log.append(batch(&value, 5), LeaderEpoch(0), 5).unwrap();
                    assert_eq!(appended.base_offset.0 as usize, model.borrow().end());
                    model.borrow_mut().records.push(value);
                    last = Some(appended.last_offset.0 + 1);
                }
                if random.random_bool(0.7) {
                    let up_to = last.unwrap();
                    log.durable(Offset(up_to)).await.unwrap();
                    let mut model = model.borrow_mut();
                    model.durable = model.durable.max(up_to as usize);
                }
            }
            50..75 => {
                let (start, end) = (model.borrow().start, model.borrow().durable);
                let from = random.random_range(start..=end);
                compare(&log, &model, Offset(from as i64)).await;
            }
            75..80 => time::sleep(Duration::from_millis(random.random_range(1..900))).await,
            80..84 => {
                let (start, end) = (model.borrow().start, model.borrow().end());
                let to = random.random_range(start..=end);
                // Everything staged before it is committed first.
                if to > start {
                    model.borrow_mut().pending = Some(Pending::Truncate(to));
                    let durable = model.borrow().durable.min(to);
                    model.borrow_mut().durable = durable;
                    log.truncate_to(Offset(to as i64)).await.unwrap();
                    let mut model = model.borrow_mut();
                    model.pending = None;
                    model.cut(to);
                }
            }
            84..88 => {
                let (start, end) = (model.borrow().start, model.borrow().durable);
                let to = random.random_range(start..=end);
                model.borrow_mut().pending = Some(Pending::Start(to));
                log.advance_start(Offset(to as i64)).await.unwrap();
                let mut model = model.borrow_mut();
                model.pending = None;
                model.drop_below(to);
            }
            88..90 => {
                model.borrow_mut().pending = Some(Pending::Delete);
                let start = model.borrow().start;
                model.borrow_mut().durable = start;
                store.delete_partition(&id(0)).await.unwrap();
                *model.borrow_mut() = Model {
                    pending: Some(Pending::Create),
                    ..Model::default()
                };
                log = support::log(&store, 0).await;
                *model.borrow_mut() = Model {
                    exists: true,
                    ..Model::default()
                };
            }
            _ => {
                let (durable, known) = (log.durable_end().0 as usize, model.borrow().durable);
                assert!(durable >= known);
            }
        }
    }
    if random.random_bool(0.4) {
        let end = model.borrow().end();
        let closed = store.close().await.unwrap();
        model.borrow_mut().durable = end;
        dir.close(vec![closed], 1).await.unwrap();
        return true;
    }
    std::future::pending::<()>().await;
    false
}

async fn compare(log: &Rc<storage::Log>, model: &Shared, from: Offset) {
    let found = all(log, from).await;
    let model = model.borrow();
    assert!(found.len() + from.0 as usize >= model.durable);
    for (place, (offset, value)) in found.iter().enumerate() {
        assert_eq!(offset.0 as usize, from.0 as usize + place);
        assert!(value == model.record(offset.0 as usize), "offset {offset}");
    }
}

#[test]
fn a_log_is_a_vector_of_records() {
    for seed in 0..60 {
        let (mut world, node) = world(9_000 + seed);
        let model: Shared = shared();
        for round in 0..8 {
            let (told, lived) = (model.clone(), seed * 100 + round);
            start(&mut world, node, move || {
                let model = told.clone();
                async move {
                    live(model, lived).await;
                }
            });
            let patience = Duration::from_millis(world.random().between(1, 4_000));
            world.run_for(patience);
            let crash = if world.random().chance(500_000) {
                Crash::Kill
            } else {
                Crash::PowerCut
            };
            world.crash(node, crash);
        }
    }
}
