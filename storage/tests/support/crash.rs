//! What the tests of crashes share: what was acknowledged, and that it is still there.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::*;
use protocol::types::{LeaderEpoch, Offset};
use shards::Priority;
use shards::sim::{Crash, Effect, Fault, NodeId, Operation, World};
use storage::{Log, Store};

/// What was acknowledged, or seen by a reader, per partition.
pub type Known = Rc<RefCell<BTreeMap<i32, BTreeMap<Offset, Vec<u8>>>>>;

pub fn note(known: &Known, partition: i32, offset: Offset, value: &[u8]) {
    let mut known = known.borrow_mut();
    let old = known.entry(partition).or_default().insert(offset, value.to_vec());
    assert!(
        old.is_none_or(|old| old == value),
        "two values at offset {offset}"
    );
}

/// Appends values of the given lengths, one after the other, and notes each when it is acknowledged. Ends at the
/// first failure.
pub async fn fill(log: Rc<Log>, partition: i32, from: usize, lengths: Vec<usize>, known: Known) {
    for (place, length) in lengths.into_iter().enumerate() {
        let value = value(from + place, length);
        let Ok(appended) = log.append(batch(&value, 1_000), LeaderEpoch(0), 1_000) else {
            return;
        };
        if log.durable(Offset(appended.last_offset.0 + 1)).await.is_err() {
            return;
        }
        note(&known, partition, appended.base_offset, &value);
    }
}

/// Every partition that is known has all that is known, without a gap, and takes more.
pub async fn check(known: &Known) {
    let (dir, store) = open().await;
    check_in(&store, known).await;
    close(dir, store).await;
}

pub async fn check_in(store: &Rc<Store>, known: &Known) {
    let known = known.borrow().clone();
    for (partition, records) in known {
        if records.is_empty() {
            continue;
        }
        let log = store
            .open_partition(&id(partition), "t", log_config())
            .await
            .unwrap();
        let log = log.unwrap_or_else(|| panic!("partition {partition} is gone"));
        let found = all(&log, log.log_start_offset()).await;
        let offsets: Vec<i64> = found.iter().map(|record| record.0.0).collect();
        assert!(
            offsets.windows(2).all(|pair| pair[0] + 1 == pair[1]),
            "{offsets:?}"
        );
        let found: BTreeMap<Offset, Vec<u8>> = found.into_iter().collect();
        for (offset, value) in &records {
            if *offset >= log.log_start_offset() {
                assert!(
                    found.get(offset) == Some(value),
                    "partition {partition} offset {offset}"
                );
            }
        }
        put(&log, b"more").await;
    }
}

/// Runs `body`, with a crash at its n-th step of these kinds, then `check`; for every n until the body is
/// through.
pub fn crash_at_each_step<B, BF, C, CF>(kinds: &[Operation], crash: Crash, body: B, check: C) -> u64
where
    B: Fn(Known) -> BF + Clone + 'static,
    BF: Future<Output = ()> + 'static,
    C: Fn(Known) -> CF + Clone + 'static,
    CF: Future<Output = ()> + 'static,
{
    for step in 0.. {
        let (mut world, node) = world(7_000 + step);
        let known: Known = shared();
        let is_done: Rc<RefCell<bool>> = shared();
        world
            .disk(node)
            .inject(Fault::new(Effect::Crash(crash)).on(kinds).path(DIR).skip(step));
        let (body, told, done) = (body.clone(), known.clone(), is_done.clone());
        run(&mut world, node, move || {
            let (body, told, done) = (body.clone(), told.clone(), done.clone());
            async move {
                body(told).await;
                *done.borrow_mut() = true;
            }
        });
        let is_done = *is_done.borrow();
        world.disk(node).clear_faults();
        let (check, told) = (check.clone(), known.clone());
        run(&mut world, node, move || check(told.clone()));
        if is_done {
            return step;
        }
    }
    0
}

/// Several partitions filled at once, sizes small and large, until the given time; then the crash.
pub fn fill_and_crash(world: &mut World, node: NodeId, known: &Known, crash: Crash, after: Duration) {
    let told = known.clone();
    start(world, node, move || {
        let known = told.clone();
        async move {
            let (_dir, store) = open().await;
            // One that is quiet afterwards, so that the journal soon does not name it any more.
            let quiet = log(&store, 4).await;
            let from = quiet.log_end_offset().0 as usize;
            fill(quiet, 4, from, vec![300, 6_000, 20], known.clone()).await;
            for partition in 0..4 {
                let log = log(&store, partition).await;
                let from = log.log_end_offset().0 as usize;
                let lengths = (0..4_000)
                    .map(|place| [40, 300, 2_500, 9_000, 150_000][(place * 7 + partition as usize) % 5])
                    .collect();
                let filling = fill(log, partition, from, lengths, known.clone());
                shards::spawn(Priority::Clients, filling).detach();
            }
            std::future::pending::<()>().await;
        }
    });
    world.run_for(after);
    world.crash(node, crash);
}

pub fn check_after(world: &mut World, node: NodeId, known: &Known) {
    let told = known.clone();
    run(world, node, move || {
        let known = told.clone();
        async move { check(&known).await }
    });
}
