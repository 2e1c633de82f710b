//! Cuts of a log while something else goes on: a checkpoint is taken, or the log is still owed bytes (D9 to D11, D17).
//!
//! Each test says how the rule was broken on purpose when it was seen to fail.

mod support;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use protocol::batch;
use protocol::types::Offset;
use shards::sim::{Crash, Effect, Fault, NodeId, Operation, World};
use shards::{Priority, time};
use storage::{Dir, Log, Store};
use support::crash::*;
use support::*;

/// Every way in which a log loses records by order.
#[derive(Copy, Clone, Debug, PartialEq)]
enum Cut {
    Truncate,
    Restart,
    Start,
    Delete,
    SetAside,
}

impl Cut {
    const ALL: [Cut; 5] = [
        Cut::Truncate,
        Cut::Restart,
        Cut::Start,
        Cut::Delete,
        Cut::SetAside,
    ];

    async fn carry_out(self, store: &Rc<Store>, log: &Rc<Log>) {
        match self {
            Cut::Truncate => log.truncate_to(Offset(7)).await.unwrap(),
            Cut::Restart => log.restart_at(Offset(100)).await.unwrap(),
            Cut::Start => log.advance_start(Offset(11)).await.unwrap(),
            Cut::Delete => store.delete_partition(&id(0)).await.unwrap(),
            Cut::SetAside => {
                store.set_partition_aside(&id(0)).await.unwrap();
            }
        }
    }

    /// Which offsets there are afterwards; `None`: the partition is gone.
    fn leaves(self) -> Option<std::ops::Range<i64>> {
        match self {
            Cut::Truncate => Some(0..7),
            Cut::Restart => Some(100..100),
            Cut::Start => Some(11..RECORDS as i64),
            Cut::Delete | Cut::SetAside => None,
        }
    }
}

/// In three segments, those at the end in the journal alone.
const RECORDS: usize = 16;

fn lengths() -> Vec<usize> {
    let mut lengths = vec![50_000; RECORDS];
    lengths[13..].fill(700);
    lengths
}

/// What goes on beside the cut.
#[derive(Copy, Clone, Debug, PartialEq)]
enum Meanwhile {
    /// Checkpoints are taken while the fence is on its way.
    Checkpoints,
    /// The journal's halves are used again while the files are being cut.
    Switches,
}

impl Meanwhile {
    /// Until each step of the cut has come in its way.
    fn slow_down(self, world: &World, node: NodeId) {
        let slow = |path, operations: &[Operation], ms| {
            let fault = Fault::new(Effect::Delay(Duration::from_millis(ms))).path(path);
            world.disk(node).inject(fault.on(operations).times(u64::MAX));
        };
        match self {
            Meanwhile::Checkpoints => slow("klamm-journal", &[Operation::Write], 20),
            Meanwhile::Switches => slow(
                "/t-0",
                &[
                    Operation::SetLen,
                    Operation::SyncDir,
                    Operation::ReadDir,
                    Operation::RemoveFile,
                    Operation::Rename,
                ],
                200,
            ),
        }
    }

    /// Times of the crash, counted from the beginning of the cut.
    fn crashes(self) -> impl Iterator<Item = Duration> {
        let (count, step_ms) = match self {
            Meanwhile::Checkpoints => (14, 3),
            Meanwhile::Switches => (14, 110),
        };
        (0..count).map(move |place| Duration::from_millis(place * step_ms))
    }

    async fn go_on(self, store: Rc<Store>, known: Known) {
        match self {
            Meanwhile::Checkpoints => {
                while store.settle_owed().await.is_ok() {
                    time::sleep(Duration::from_micros(100)).await;
                }
            }
            Meanwhile::Switches => {
                let other = log(&store, 1).await;
                fill(other, 1, 0, vec![60_000; 1_000], known).await;
            }
        }
    }
}

/// The records of a log, by offset.
type Records = Vec<(Offset, Vec<u8>)>;

/// How far a cut has come.
#[derive(Default)]
struct Progress {
    is_filled: bool,
    is_cut: bool,
}

fn check_cut(cut: Cut, meanwhile: Meanwhile, crash_after: Duration) {
    let (mut world, node) = world(900);
    let (known, progress): (Known, Rc<RefCell<Progress>>) = (shared(), shared());
    let (told, seen) = (known.clone(), progress.clone());
    start(&mut world, node, move || {
        let (known, progress) = (told.clone(), seen.clone());
        async move {
            let (_dir, store) = open().await;
            let cut_log = log(&store, 0).await;
            log(&store, 1).await;
            fill(cut_log.clone(), 0, 0, lengths(), shared()).await;
            if meanwhile == Meanwhile::Switches {
                // Until it is at rest, so that who releases a half has nothing to wait for but the cut.
                time::sleep(Duration::from_secs(1)).await;
            }
            progress.borrow_mut().is_filled = true;
            time::sleep(Duration::from_millis(1)).await;
            shards::spawn(Priority::Clients, meanwhile.go_on(store.clone(), known)).detach();
            cut.carry_out(&store, &cut_log).await;
            progress.borrow_mut().is_cut = true;
            std::future::pending::<()>().await;
        }
    });
    world.run_until(LIMIT, |_| progress.borrow().is_filled).unwrap();
    meanwhile.slow_down(&world, node);
    world.run_for(Duration::from_millis(1) + crash_after);
    world.crash(node, Crash::PowerCut);
    world.disk(node).clear_faults();
    let is_cut = progress.borrow().is_cut;
    let what = format!("{cut:?}, {meanwhile:?}, {crash_after:?}, returned: {is_cut}");
    let found: Rc<RefCell<Option<Records>>> = shared();
    let (told, seen) = (known.clone(), found.clone());
    run(&mut world, node, move || {
        let (known, found, what) = (told.clone(), seen.clone(), what.clone());
        async move {
            let (dir, store) = open().await;
            assert_eq!(dir.report().damaged, vec![], "{what}");
            assert_eq!(dir.report().set_aside, Vec::<String>::new(), "{what}");
            let mut log = store.open_partition(&id(0), "t", log_config()).await.unwrap();
            if cut == Cut::SetAside && log.is_some() {
                // Who did not see it return does it again; its directory may have the other name already.
                assert!(!is_cut, "{what}");
                store.set_partition_aside(&id(0)).await.unwrap();
                log = None;
            }
            let offsets = match &log {
                None => None,
                Some(log) => {
                    let records = all(log, log.log_start_offset()).await;
                    for (offset, found) in &records {
                        let number = offset.0 as usize;
                        assert!(*found == value(number, lengths()[number]), "{what}: {offset}");
                    }
                    put(log, b"more").await;
                    *found.borrow_mut() = Some(all(log, log.log_start_offset()).await);
                    Some(records.iter().map(|record| record.0.0).collect::<Vec<_>>())
                }
            };
            // Until the cut returns it may be done or not, but never by half.
            let after = cut.leaves().map(|range| range.collect::<Vec<_>>());
            let before = Some((0..RECORDS as i64).collect::<Vec<_>>());
            assert!(
                offsets == after || !is_cut && offsets == before,
                "{what}: {offsets:?}"
            );
            check_in(&store, &known).await;
            close(dir, store).await;
        }
    });
    if cut == Cut::SetAside {
        check_stray(&world, node);
    }
    // The files say the same: nothing of what was cut stands in them.
    world
        .disk(node)
        .remove(&format!("{DIR}/klamm-checkpoint"))
        .unwrap();
    run(&mut world, node, move || {
        let found = found.clone();
        async move {
            let (dir, store) = open().await;
            let log = store.open_partition(&id(0), "t", log_config()).await.unwrap();
            let again = match log {
                Some(log) => Some(all(&log, log.log_start_offset()).await),
                None => None,
            };
            assert!(again == *found.borrow());
            close(dir, store).await;
        }
    });
}

/// What is set aside is whole.
fn check_stray(world: &World, node: NodeId) {
    let disk = world.disk(node);
    let names = disk.list(DIR).unwrap();
    let strays: Vec<_> = names.iter().filter(|name| name.ends_with("-stray/")).collect();
    let [stray] = strays[..] else {
        panic!("{names:?}");
    };
    let mut found = Vec::new();
    for file in disk
        .files(&format!("{DIR}/{}", stray.trim_end_matches('/')))
        .unwrap()
    {
        if file.ends_with(".log") {
            let bytes = disk.read(&file).unwrap();
            for batch in batch::batches(&bytes) {
                let batch = batch.unwrap();
                assert!(batch.crc_is_valid());
                for record in batch.records(1 << 20).unwrap().iter() {
                    found.push(record.unwrap().value.unwrap().to_vec());
                }
            }
        }
    }
    let lengths = lengths().into_iter().enumerate();
    let expected: Vec<_> = lengths.map(|(number, length)| value(number, length)).collect();
    assert!(found == expected, "{} records", found.len());
}

/// Broken by: a checkpoint that shows the log as it will be before the fence is durable.
#[test]
fn d17_a_checkpoint_before_the_fence_of_a_cut() {
    for cut in Cut::ALL {
        for crash_after in Meanwhile::Checkpoints.crashes() {
            check_cut(cut, Meanwhile::Checkpoints, crash_after);
        }
    }
}

/// Broken by: a checkpoint that counts the fence while the files are not yet what it orders.
#[test]
fn d17_a_checkpoint_while_a_cut_is_carried_out() {
    for cut in Cut::ALL {
        for crash_after in Meanwhile::Switches.crashes() {
            check_cut(cut, Meanwhile::Switches, crash_after);
        }
    }
}

/// Broken by: a start that removes a segment that is not sealed, which gets its owed bytes, and so its file, afterwards.
#[test]
fn d10_a_start_that_moves_while_the_log_is_owed_bytes() {
    /// The last one begins a segment, and the one before it is not sealed yet.
    const COUNT: usize = 11;
    let (mut world, node) = world(950);
    let known: Known = shared();
    let is_filled: Rc<RefCell<bool>> = shared();
    let (told, filled) = (known.clone(), is_filled.clone());
    // Known to a checkpoint, or nothing could be owed.
    run(&mut world, node, || async {
        let (dir, store) = open().await;
        log(&store, 0).await;
        close(dir, store).await;
    });
    start(&mut world, node, move || {
        let (known, filled) = (told.clone(), filled.clone());
        async move {
            let (_dir, store) = open().await;
            fill(log(&store, 0).await, 0, 0, vec![50_000; COUNT], known).await;
            *filled.borrow_mut() = true;
            std::future::pending::<()>().await;
        }
    });
    world.run_until(LIMIT, |_| *is_filled.borrow()).unwrap();
    world.crash(node, Crash::PowerCut);
    let snapshot = world.disk(node).snapshot();
    // Into the first segment, into the second, to the start of the last one, to the very end.
    for offset in [1, 6, 10, COUNT as i64] {
        for step in 0.. {
            world.disk(node).restore(&snapshot);
            let crash = Fault::new(Effect::Crash(Crash::PowerCut)).on(&Operation::CHANGES);
            world.disk(node).inject(crash.path(DIR).skip(step));
            let progress: Rc<RefCell<Progress>> = shared();
            let is_done: Rc<RefCell<bool>> = shared();
            let (told, done) = (progress.clone(), is_done.clone());
            run(&mut world, node, move || {
                let (progress, done) = (told.clone(), done.clone());
                async move {
                    let config = storage::DirConfig {
                        may_owe: true,
                        ..config()
                    };
                    let dir = Dir::open(config).await.unwrap();
                    assert!(dir.is_owing(), "this is about a log that is owed something");
                    let store = Store::open(dir.share()).await.unwrap();
                    let log = log(&store, 0).await;
                    log.advance_start(Offset(offset)).await.unwrap();
                    progress.borrow_mut().is_cut = true;
                    let found = all(&log, Offset(offset)).await;
                    assert_eq!(found.len(), COUNT - offset as usize);
                    store.settle_owed().await.unwrap();
                    dir.share().finish_recovery().await.unwrap();
                    store.recovery_has_finished();
                    let closed = store.close().await.unwrap();
                    dir.close(vec![closed], 7).await.unwrap();
                    *done.borrow_mut() = true;
                }
            });
            world.disk(node).clear_faults();
            let told = known.clone();
            let is_cut = progress.borrow().is_cut;
            run(&mut world, node, move || {
                let known = told.clone();
                async move {
                    let (dir, store) = open().await;
                    assert_eq!(dir.report().damaged, vec![], "{offset}, step {step}");
                    let log = log(&store, 0).await;
                    let start = log.log_start_offset();
                    assert!(
                        start == Offset(offset) || !is_cut && start == Offset(0),
                        "{offset}, step {step}: {start}"
                    );
                    check_in(&store, &known).await;
                    close(dir, store).await;
                }
            });
            if *is_done.borrow() {
                assert!(step > 20, "{step}");
                break;
            }
        }
    }
}
