//! The rules of durability of the journal (D1 to D8), one test each, on a disk that loses, tears and lies as far as the
//! rule allows.
//!
//! Each test says how the rule was broken on purpose when it was seen to fail.

mod support;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use protocol::types::{LeaderEpoch, Offset};
use shards::sim::{self, Crash, Effect, Fault, NodeId, Operation, World};
use shards::{Priority, time};
use storage::journal::replay;
use storage::{AppendError, PartitionId, Stats, StorageError};
use support::crash::*;
use support::*;

/// Broken by: a durable end that moves when bytes are placed into a commit, not when it is synced.
#[test]
fn d01_prefix() {
    for seed in 0..12 {
        let (mut world, node) = world(100 + seed);
        let known: Known = shared();
        world.disk(node).inject(
            Fault::new(Effect::Delay(Duration::from_millis(30)))
                .on(&[Operation::Sync])
                .path("/t-1/")
                .times(u64::MAX),
        );
        let told = known.clone();
        start(&mut world, node, move || {
            let known = told.clone();
            async move {
                let (_dir, store) = open().await;
                for partition in 0..3 {
                    let log = log(&store, partition).await;
                    let lengths = (0..400).map(|place| [60, 70_000, 1_000][place % 3]).collect();
                    shards::spawn(
                        Priority::Clients,
                        fill(log.clone(), partition, 0, lengths, known.clone()),
                    )
                    .detach();
                    // A reader who sees what is not acknowledged yet must find it again after the crash.
                    let known = known.clone();
                    shards::spawn(Priority::Clients, async move {
                        let mut next = Offset(0);
                        loop {
                            for (offset, value) in all(&log, next).await {
                                note(&known, partition, offset, &value);
                                next = Offset(offset.0 + 1);
                            }
                            time::sleep(Duration::from_micros(300)).await;
                        }
                    })
                    .detach();
                }
                std::future::pending::<()>().await;
            }
        });
        let told = known.clone();
        world.run_until(LIMIT, |_| !told.borrow().is_empty()).unwrap();
        world.run_for(Duration::from_millis(10 + 17 * seed));
        world.crash(node, Crash::PowerCut);
        world.disk(node).clear_faults();
        check_after(&mut world, node, &known);
    }
}

/// Broken by: a recovery that looks at every directory instead of at those that a journal names.
#[test]
fn d03_no_silent_append() {
    let opens = |partitions: i32| {
        let (mut world, node) = world(300);
        run(&mut world, node, move || async move {
            let (dir, store) = open().await;
            for partition in 0..partitions {
                put(&log(&store, partition).await, &value(1, 5_000)).await;
            }
            close(dir, store).await;
        });
        let known: Known = shared();
        let told = known.clone();
        start(&mut world, node, move || {
            let known = told.clone();
            async move {
                let (_dir, store) = open().await;
                for partition in 0..2 {
                    let log = log(&store, partition).await;
                    fill(log, partition, 1, vec![300, 9_000, 20_000], known.clone()).await;
                }
                std::future::pending::<()>().await;
            }
        });
        world.run_for(Duration::from_secs(3));
        world.crash(node, Crash::PowerCut);
        let kinds = [Operation::Open, Operation::Metadata, Operation::Len];
        let before = world.disk(node).count(&kinds);
        run(&mut world, node, || async {
            let (dir, _store) = open().await;
            assert_eq!(dir.report().partitions, 2);
            assert_eq!(dir.report().damaged, vec![]);
        });
        let opens = world.disk(node).count(&kinds) - before;
        check_after(&mut world, node, &known);
        opens
    };
    assert_eq!(opens(3), opens(40));
}

/// With headers it takes a commit's block but for the last few bytes.
const LENGTH: usize = 3_850;

/// The bytes of a journal with `commits` commits of one record each to partition 0, 1, 2 ..., and the disk they
/// lie on.
fn journal_of(commits: i32, seed: u64) -> (World, NodeId, Vec<u8>) {
    let (mut world, node) = world(seed);
    start(&mut world, node, move || async move {
        let (_dir, store) = open().await;
        let mut logs = Vec::new();
        for partition in 0..commits {
            logs.push(log(&store, partition).await);
        }
        for (place, log) in logs.iter().enumerate() {
            put(log, &value(place, LENGTH)).await;
        }
        std::future::pending::<()>().await;
    });
    world.run_for(Duration::from_millis(250));
    world.crash(node, Crash::PowerCut);
    let bytes = world.disk(node).read(&journal_path()).unwrap();
    (world, node, bytes)
}

fn journal_path() -> String {
    format!("{DIR}/{}", storage::journal::file_name(0))
}

fn commit_positions(bytes: &[u8]) -> Vec<usize> {
    let mut positions = Vec::new();
    replay::walk(bytes, &mut |position, _| positions.push(position as usize));
    positions.dedup();
    positions
}

/// Broken by: a commit that is believed without its CRC.
#[test]
fn d04_commit_every_prefix() {
    let (mut world, node, bytes) = journal_of(3, 400);
    let positions = commit_positions(&bytes);
    assert_eq!(positions.len(), 3);
    let snapshot = world.disk(node).snapshot();
    for (last, &from) in positions.iter().enumerate() {
        for length in (0..=4096).step_by(512) {
            world.disk(node).restore(&snapshot);
            let mut torn = bytes.clone();
            torn[from + length..].fill(0);
            world.disk(node).write(&journal_path(), &torn).unwrap();
            // The records take most of the block: only a whole commit counts.
            let expected = if length == 4096 { last + 1 } else { last };
            run(&mut world, node, move || async move {
                let (_dir, store) = open().await;
                for place in 0..3 {
                    let log = store
                        .open_partition(&id(place as i32), "t", log_config())
                        .await
                        .unwrap()
                        .unwrap();
                    let records = all(&log, Offset(0)).await;
                    if place < expected {
                        assert_eq!(
                            records,
                            [(Offset(0), value(place, LENGTH))],
                            "{last} {length} {place}"
                        );
                    } else {
                        assert_eq!(records, [], "{last} {length} {place}");
                    }
                    put(&log, b"more").await;
                }
            });
        }
    }
}

/// Broken by: a bad commit that is always taken for the torn end.
#[test]
fn d05_torn_or_rotten() {
    let (mut world, node, bytes) = journal_of(3, 500);
    let positions = commit_positions(&bytes);
    let named = |place: usize| -> Vec<PartitionId> { (place as i32..3).map(id).collect() };
    for (place, &from) in positions.iter().enumerate() {
        for at in from..from + 4096 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            let mut records = 0;
            let found = replay::walk(&flipped, &mut |_, _| records += 1);
            match found.rot {
                // The padding of a block is nobody's.
                None => assert!(records == 3 || place == 2 && records == 2, "byte {at}"),
                Some(rot) => {
                    assert!(place < 2, "byte {at}");
                    assert_eq!(rot.position, from as u64);
                    let is_all = named(place).iter().all(|id| rot.named.contains(id));
                    assert!(is_all || !rot.names_are_complete, "byte {at}: {rot:?}");
                }
            }
        }
    }
    // Rot in the record of partition 1: it and what comes later are offline, partition 0 lives.
    world
        .disk(node)
        .flip(&journal_path(), (positions[1] + 500) as u64, 0x10)
        .unwrap();
    run(&mut world, node, || async {
        let (dir, store) = open().await;
        let damaged: Vec<PartitionId> = dir.report().damaged.iter().map(|entry| entry.0).collect();
        assert_eq!(damaged, [id(1), id(2)]);
        assert_eq!(dir.report().rotten.len(), 1);
        let log = store
            .open_partition(&id(0), "t", log_config())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(all(&log, Offset(0)).await, [(Offset(0), value(0, LENGTH))]);
        put(&log, b"more").await;
        let bad = store
            .open_partition(&id(1), "t", log_config())
            .await
            .unwrap()
            .unwrap();
        let refused = bad.append(batch(b"x", 0), LeaderEpoch(0), 0);
        assert!(
            matches!(refused, Err(AppendError::Offline(StorageError::Damaged { .. }))),
            "{refused:?}"
        );
        close(dir, store).await;
    });
    // Neither a close nor another start makes it whole, and the journal is kept.
    let names = world.disk(node).list(DIR).unwrap();
    assert!(names.iter().any(|name| name.contains(".rotten-")), "{names:?}");
    assert!(
        names.iter().any(|name| name.starts_with("klamm-open-run")),
        "{names:?}"
    );
    run(&mut world, node, || async {
        let (dir, _store) = open().await;
        assert_eq!(dir.report().damaged.len(), 2);
    });
}

/// Broken by: a half that is free as soon as the other one is in use.
#[test]
fn d06_reuse() {
    let mut switches = 0;
    for seed in 0..10 {
        let (mut world, node) = world(600 + seed);
        let known: Known = shared();
        world.disk(node).inject(
            Fault::new(Effect::Delay(Duration::from_millis(60)))
                .on(&[Operation::Sync, Operation::Write])
                .path(".log")
                .chance(300_000)
                .times(u64::MAX),
        );
        let counted: Rc<RefCell<Stats>> = shared();
        let (told, stats) = (known.clone(), counted.clone());
        start(&mut world, node, move || {
            let (known, stats) = (told.clone(), stats.clone());
            async move {
                let (_dir, store) = open().await;
                for partition in 0..6 {
                    let log = log(&store, partition).await;
                    let lengths = (0..900)
                        .map(|place| [50, 4_000, 30_000][(place + partition as usize) % 3])
                        .collect();
                    shards::spawn(Priority::Clients, fill(log, partition, 0, lengths, known.clone()))
                        .detach();
                }
                loop {
                    *stats.borrow_mut() = store.stats();
                    time::sleep(Duration::from_millis(1)).await;
                }
            }
        });
        world.run_for(Duration::from_millis(300 + 90 * seed));
        world.crash(node, Crash::PowerCut);
        world.disk(node).clear_faults();
        switches += counted.borrow().switches;
        check_after(&mut world, node, &known);
    }
    assert!(switches > 10, "{switches}");
}

/// Broken by: a failed sync of a segment that releases the half all the same.
#[test]
fn d06_reuse_after_a_failed_sync() {
    for skip in 0..6 {
        let (mut world, node) = world(650 + skip);
        let known: Known = shared();
        world.disk(node).inject(
            Fault::new(Effect::Error(5))
                .on(&[Operation::Sync])
                .path("/t-2/0")
                .skip(skip),
        );
        fill_and_crash(
            &mut world,
            node,
            &known,
            Crash::PowerCut,
            Duration::from_millis(900),
        );
        world.disk(node).clear_faults();
        check_after(&mut world, node, &known);
    }
}

/// Broken by: a generation whose first record of a log does not begin with its partial block.
#[test]
fn d07_partial_blocks() {
    for seed in 0..10 {
        let (mut world, node) = world(700 + seed);
        let known: Known = shared();
        let told = known.clone();
        start(&mut world, node, move || {
            let known = told.clone();
            async move {
                let (_dir, store) = open().await;
                let quiet = log(&store, 0).await;
                let busy = log(&store, 1).await;
                for round in 0..40 {
                    fill(quiet.clone(), 0, round, vec![200], known.clone()).await;
                    // Enough for a switch now and then, and time to come to rest.
                    fill(busy.clone(), 1, round * 10, vec![30_000; 10], known.clone()).await;
                    if round % 3 == 0 {
                        time::sleep(Duration::from_millis(700)).await;
                    }
                }
                std::future::pending::<()>().await;
            }
        });
        world.run_for(Duration::from_millis(900 + 700 * seed));
        world.crash(node, Crash::PowerCut);
        // Garbage in the block that the log ends in: what a tear of its last write may leave, unless it was
        // at rest, when no write was on its way.
        let path = format!("{DIR}/t-0/{:020}.log", 0);
        let end: usize = known.borrow().get(&0).map_or(0, |records| {
            records.values().map(|value| batch(value, 1_000).len()).sum()
        });
        let mut bytes = world.disk(node).read(&path).unwrap();
        let journal = world.disk(node).read(&journal_path()).unwrap();
        let mut is_protected = false;
        replay::walk(&journal, &mut |_, record| {
            is_protected |= record.id() == id(0) && is_of_block(&record, end - end % 4096);
        });
        if is_protected && bytes.len() >= end - end % 4096 + 4096 {
            let from = end - end % 4096;
            bytes[from..from + 4096].fill(0xee);
            world.disk(node).write(&path, &bytes).unwrap();
        }
        check_after(&mut world, node, &known);
    }
}

fn is_of_block(record: &storage::journal::records::Record<'_>, block: usize) -> bool {
    match record {
        storage::journal::records::Record::Bytes(placed) => {
            placed.position as usize + placed.bytes.len() > block && (placed.position as usize) < block + 4096
        }
        _ => false,
    }
}

/// The simulated disk ends the test when a block is written while another operation on it is on its way, or
/// when a buffer changes in flight. Broken by: settling without the permit that makes it one at a time.
#[test]
fn d08_still_water() {
    for seed in 0..6 {
        let mut options = sim::Options::default();
        options.disk.slow_ppm = 200_000;
        let (mut world, node) = world_of(800 + seed, options);
        let known: Known = shared();
        let told = known.clone();
        run(&mut world, node, move || {
            let known = told.clone();
            async move {
                let (dir, store) = open().await;
                let mut fillings = Vec::new();
                for partition in 0..3 {
                    let log = log(&store, partition).await;
                    for task in 0..4 {
                        let lengths = (0..60)
                            .map(|place| [30, 700, 5_000][(place + task) % 3])
                            .collect();
                        let filling = fill(log.clone(), partition, task * 1_000, lengths, known.clone());
                        fillings.push(shards::spawn(Priority::Clients, filling));
                    }
                }
                let reader = log(&store, 0).await;
                for _ in 0..40 {
                    all(&reader, Offset(0)).await;
                    time::sleep(Duration::from_millis(20)).await;
                }
                for filling in fillings {
                    filling.await;
                }
                close(dir, store).await;
            }
        });
        check_after(&mut world, node, &known);
    }
}
