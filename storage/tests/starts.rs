//! Starts that find what is rare: a batch that never became whole, rot in a header, a crash in the midst of the
//! recovery, files that somebody else shortened.
//!
//! Each test says how the code was broken on purpose when it was seen to fail.

mod support;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use protocol::types::{LeaderEpoch, Offset, Uuid};
use shards::sim::{self, Crash, Effect, Fault, NodeId, Operation, World};
use shards::time;
use storage::journal::records::Record;
use storage::journal::{self, replay};
use storage::{AppendError, PartitionId, StorageError};
use support::*;

fn journal_path() -> String {
    format!("{DIR}/{}", journal::file_name(0))
}

fn segment_path(partition: i32, base: i64) -> String {
    format!("{DIR}/t-{partition}/{base:020}.log")
}

/// Opens and appends some to each of `partitions` logs, then a power cut.
fn put_and_cut(world: &mut World, node: NodeId, partitions: i32, lengths: &'static [usize]) {
    let is_done: Rc<RefCell<bool>> = shared();
    let done = is_done.clone();
    start(world, node, move || {
        let done = done.clone();
        async move {
            let (_dir, store) = open().await;
            for partition in 0..partitions {
                let log = log(&store, partition).await;
                for &length in lengths {
                    put(&log, &value(partition as usize, length)).await;
                }
            }
            *done.borrow_mut() = true;
            std::future::pending::<()>().await;
        }
    });
    world.run_until(LIMIT, |_| *is_done.borrow()).unwrap();
    world.crash(node, Crash::PowerCut);
}

/// Broken by: space that is allocated for a run without bytes, which Linux refuses.
#[test]
fn a_first_batch_that_is_not_whole_is_left_out() {
    for step in 0.. {
        let (mut world, node) = world(100 + step);
        // Known to a checkpoint: of one that is not, the files are read instead.
        run(&mut world, node, || async {
            let (dir, store) = open().await;
            log(&store, 0).await;
            close(dir, store).await;
        });
        let is_done: Rc<RefCell<bool>> = shared();
        world.disk(node).inject(
            Fault::new(Effect::Crash(Crash::PowerCut))
                .on(&[Operation::Write, Operation::Sync])
                .path("klamm-journal")
                .skip(step),
        );
        let done = is_done.clone();
        run(&mut world, node, move || {
            let done = done.clone();
            async move {
                let (_dir, store) = open().await;
                put(&log(&store, 0).await, &value(0, 200_000)).await;
                *done.borrow_mut() = true;
            }
        });
        world.disk(node).clear_faults();
        run(&mut world, node, || async {
            let (dir, store) = open().await;
            let log = log(&store, 0).await;
            put(&log, b"more").await;
            close(dir, store).await;
        });
        if *is_done.borrow() {
            assert!(step > 5, "{step}");
            return;
        }
    }
}

/// Broken by: a last header that is believed to be the last because no later one can be read.
#[test]
fn a_rotten_header_of_the_last_generation_is_rot() {
    let (mut world, node) = world(300);
    let switched: Rc<RefCell<bool>> = shared();
    let told = switched.clone();
    start(&mut world, node, move || {
        let told = told.clone();
        async move {
            let (_dir, store) = open().await;
            let log = log(&store, 0).await;
            let mut number = 0;
            while store.stats().switches == 0 {
                put(&log, &value(number, 30_000)).await;
                number += 1;
            }
            for number in number..number + 3 {
                put(&log, &value(number, 30_000)).await;
            }
            *told.borrow_mut() = true;
            std::future::pending::<()>().await;
        }
    });
    world.run_until(LIMIT, |_| *switched.borrow()).unwrap();
    world.crash(node, Crash::PowerCut);
    let bytes = world.disk(node).read(&journal_path()).unwrap();
    let found = replay::walk(&bytes, &mut |_, _| {});
    assert!(found.rot.is_none());
    let last = found.last.unwrap();
    assert_eq!(last.generation, 1);
    world
        .disk(node)
        .flip(&journal_path(), last.position() + 20, 4)
        .unwrap();
    let bytes = world.disk(node).read(&journal_path()).unwrap();
    let rot = replay::walk(&bytes, &mut |_, _| {}).rot.unwrap();
    assert!(!rot.names_are_complete && rot.named.contains(&id(0)), "{rot:?}");
    run(&mut world, node, || async {
        let (dir, _store) = open().await;
        let damaged: Vec<PartitionId> = dir.report().damaged.iter().map(|entry| entry.0).collect();
        assert_eq!(damaged, [id(0)]);
        assert_eq!(dir.report().rotten.len(), 1);
    });
}

/// Broken by: a segment that is settled only when its file happens to be open.
#[test]
fn a_segment_that_is_over_at_a_start_is_sealed() {
    let (mut world, node) = world(400);
    run(&mut world, node, || async {
        let (dir, store) = open().await;
        put(&log(&store, 0).await, &value(0, 200_000)).await;
        close(dir, store).await;
    });
    start(&mut world, node, || async {
        let (_dir, store) = open().await;
        put(&log(&store, 0).await, &value(1, 100_000)).await;
        time::sleep(Duration::from_secs(2)).await;
        put(&log(&store, 1).await, b"a commit").await;
        std::future::pending::<()>().await;
    });
    world.run_for(Duration::from_secs(5));
    world.crash(node, Crash::PowerCut);
    let bytes = world.disk(node).read(&journal_path()).unwrap();
    let mut sealed = Vec::new();
    replay::walk(&bytes, &mut |_, record| {
        if let Record::Seal(seal) = record {
            sealed.push(seal.segment);
        }
    });
    assert_eq!(sealed, [Offset(0)]);
    run(&mut world, node, || async {
        let (dir, store) = open().await;
        assert_eq!(all(&log(&store, 0).await, Offset(0)).await.len(), 2);
        close(dir, store).await;
    });
}

/// Broken by: names of directories that are longer than a file system takes.
#[test]
fn a_topic_with_the_longest_name_is_deleted_and_set_apart() {
    let (mut world, node) = world(500);
    run(&mut world, node, || async {
        let topic = "n".repeat(249);
        let (dir, store) = open().await;
        let first = store
            .create_partition(&id(7), &topic, log_config())
            .await
            .unwrap();
        put(&first, b"first").await;
        store.delete_partition(&id(7)).await.unwrap();
        let again = store
            .create_partition(&id(7), &topic, log_config())
            .await
            .unwrap();
        put(&again, b"again").await;
        let other = PartitionId {
            topic_id: Uuid([6; 16]),
            ..id(7)
        };
        let other = store
            .create_partition(&other, &topic, log_config())
            .await
            .unwrap();
        put(&other, b"other").await;
        assert_eq!(store.failure(), None);
        drop(dir);
    });
    let names = world.disk(node).list(DIR).unwrap();
    assert!(names.iter().any(|name| name.ends_with("-stray/")), "{names:?}");
}

/// Broken by: journals that are emptied of what only they have of a damaged partition.
#[test]
fn the_journals_part_of_a_damaged_partition_is_set_aside() {
    let (mut world, node) = world(600);
    run(&mut world, node, || async {
        let (dir, store) = open().await;
        put(&log(&store, 0).await, &value(0, 20_000)).await;
        close(dir, store).await;
    });
    put_and_cut(&mut world, node, 1, &[3_000, 500]);
    let bytes = world.disk(node).read(&segment_path(0, 0)).unwrap();
    world
        .disk(node)
        .write(&segment_path(0, 0), &bytes[..8_192])
        .unwrap();
    run(&mut world, node, || async {
        let (_dir, store) = open().await;
        finish_recovery().await;
        assert!(log(&store, 0).await.is_usable().is_err());
    });
    let names = world.disk(node).list(DIR).unwrap();
    let aside: Vec<_> = names
        .iter()
        .filter(|name| name.starts_with("klamm-set-aside-"))
        .collect();
    let [name] = aside[..] else {
        panic!("{names:?}");
    };
    let kept = world.disk(node).read(&format!("{DIR}/{name}")).unwrap();
    for length in [3_000, 500] {
        let value = value(0, length);
        assert!(kept.windows(length).any(|window| window == value), "{length}");
    }
    assert_eq!(
        world.disk(node).read(&segment_path(0, 0)).unwrap(),
        &bytes[..8_192]
    );
}

/// Broken by: a rotten journal that gets its other name before it is durable which partitions are offline.
#[test]
fn rot_is_not_forgotten_by_a_crash_of_the_recovery() {
    let (mut world, node) = world(700);
    put_and_cut(&mut world, node, 3, &[3_850]);
    let bytes = world.disk(node).read(&journal_path()).unwrap();
    let mut positions = Vec::new();
    replay::walk(&bytes, &mut |position, _| positions.push(position));
    world
        .disk(node)
        .flip(&journal_path(), positions[1] + 500, 0x10)
        .unwrap();
    let snapshot = world.disk(node).snapshot();
    for step in 0.. {
        world.disk(node).restore(&snapshot);
        world.disk(node).inject(
            Fault::new(Effect::Crash(Crash::PowerCut))
                .on(&Operation::CHANGES)
                .path(DIR)
                .skip(step),
        );
        let is_done: Rc<RefCell<bool>> = shared();
        let done = is_done.clone();
        run(&mut world, node, move || {
            let done = done.clone();
            async move {
                let _open = open().await;
                *done.borrow_mut() = true;
            }
        });
        world.disk(node).clear_faults();
        run(&mut world, node, move || async move {
            let (dir, _store) = open().await;
            let damaged: Vec<PartitionId> = dir.report().damaged.iter().map(|entry| entry.0).collect();
            assert_eq!(damaged, [id(1), id(2)], "step {step}");
        });
        let names = world.disk(node).list(DIR).unwrap();
        assert!(names.iter().any(|name| name.contains(".rotten-")), "{names:?}");
        if *is_done.borrow() {
            assert!(step > 5, "{step}");
            return;
        }
    }
}

/// Broken by: a close that brings files to the length that is known without having compared them.
#[test]
fn a_close_does_not_mend_a_file_that_nobody_compared() {
    let (mut world, node) = world(800);
    run(&mut world, node, || async {
        let (dir, store) = open().await;
        put(&log(&store, 0).await, &value(0, 20_000)).await;
        close(dir, store).await;
    });
    // So that the log was not opened as closed.
    run(&mut world, node, || async {
        let _open = open().await;
    });
    let bytes = world.disk(node).read(&segment_path(0, 0)).unwrap();
    world
        .disk(node)
        .write(&segment_path(0, 0), &bytes[..8_192])
        .unwrap();
    run(&mut world, node, || async {
        let (dir, store) = open().await;
        log(&store, 0).await;
        close(dir, store).await;
    });
    assert_eq!(
        world.disk(node).read(&segment_path(0, 0)).unwrap(),
        &bytes[..8_192]
    );
    run(&mut world, node, || async {
        let (dir, store) = open().await;
        assert_eq!(dir.partitions().count(), 1);
        let refused = log(&store, 0).await.append(batch(b"x", 0), LeaderEpoch(0), 0);
        assert!(
            matches!(refused, Err(AppendError::Offline(StorageError::Damaged { .. }))),
            "{refused:?}"
        );
    });
}

/// Broken by: a scan that stops looking at the first zero, and one that takes a batch cut off for a torn one
/// although no journal names the log.
#[test]
fn a_log_that_is_read_anew_has_nothing_but_zeros_behind_its_batches() {
    let check = |change: &dyn Fn(&mut Vec<u8>), is_sound: bool| {
        let (mut world, node) = world(900);
        run(&mut world, node, || async {
            let (dir, store) = open().await;
            put(&log(&store, 0).await, &value(0, 20_000)).await;
            put(&log(&store, 0).await, &value(1, 20_000)).await;
            close(dir, store).await;
        });
        let disk = world.disk(node);
        disk.remove(&format!("{DIR}/klamm-checkpoint")).unwrap();
        let mut bytes = disk.read(&segment_path(0, 0)).unwrap();
        change(&mut bytes);
        disk.write(&segment_path(0, 0), &bytes).unwrap();
        run(&mut world, node, move || async move {
            let (_dir, store) = open().await;
            let log = log(&store, 0).await;
            match log.append(batch(b"x", 0), LeaderEpoch(0), 0) {
                Ok(_) => {
                    assert!(is_sound);
                    assert_eq!(log.durable_end(), Offset(2));
                }
                Err(AppendError::Offline(StorageError::Damaged { .. })) => assert!(!is_sound),
                other => panic!("{other:?}"),
            }
        });
        if !is_sound {
            assert!(world.disk(node).read(&segment_path(0, 0)).unwrap() == bytes);
        }
    };
    check(&|_| {}, true);
    check(&|bytes| bytes.resize(bytes.len() + 600_000, 0), true);
    check(&|bytes| bytes.extend_from_slice(b"rubbish"), false);
    check(
        &|bytes| {
            bytes.resize(bytes.len() + 600_000, 0);
            bytes.extend_from_slice(b"rubbish");
        },
        false,
    );
    check(&|bytes| bytes.truncate(bytes.len() - 10), false);
    check(&|bytes| bytes.truncate(bytes.len() - 20_030), false);
}

/// Broken by: segments found by reading that stay as if they were still being written.
#[test]
fn segments_that_are_read_anew_are_sealed() {
    let (mut world, node) = world(1_000);
    run(&mut world, node, || async {
        let (dir, store) = open().await;
        let log = log(&store, 0).await;
        for number in 0..13 {
            put(&log, &value(number, 50_000)).await;
        }
        close(dir, store).await;
    });
    let checkpoint = format!("{DIR}/klamm-checkpoint");
    world.disk(node).remove(&checkpoint).unwrap();
    run(&mut world, node, || async {
        let (dir, store) = open().await;
        assert_eq!(all(&log(&store, 0).await, Offset(0)).await.len(), 13);
        close(dir, store).await;
    });
    let bytes = world.disk(node).read(&checkpoint).unwrap();
    let checkpoint = storage::checkpoint::Checkpoint::decode(&bytes).unwrap();
    let segments = &checkpoint.logs.get(&id(0)).unwrap().outline.segments;
    let (_, sealed) = segments.split_last().unwrap();
    assert!(sealed.len() >= 2);
    assert!(
        sealed
            .iter()
            .all(|segment| segment.is_sealed && segment.offsets.is_empty())
    );
}

/// Broken by: a limit of open files that is taken for a failure of the disk.
#[test]
fn a_segment_waits_for_a_file_to_be_free() {
    let (mut world, node) = world(1_200);
    let too_many_files = 24;
    world.disk(node).inject(
        Fault::new(Effect::Error(too_many_files))
            .on(&[Operation::Open])
            .path("/t-0/0")
            .times(3),
    );
    run(&mut world, node, || async {
        let (dir, store) = open().await;
        put(&log(&store, 0).await, b"after all").await;
        assert_eq!(store.failure(), None);
        close(dir, store).await;
    });
}

/// Broken by: bytes that are kept for who reads on while another read waits for the memory.
#[test]
fn a_read_gets_the_memory_that_others_only_keep() {
    let options = sim::Options {
        memory_bytes: 4 << 20,
        ..sim::Options::default()
    };
    let (mut world, node) = world_of(1_300, options);
    run(&mut world, node, || async {
        let mut config = config();
        config.options.idle = Duration::from_secs(500);
        let (dir, store) = open_with(config.clone()).await;
        for partition in 0..60 {
            let log = log(&store, partition).await;
            for number in 0..5 {
                put(&log, &value(number, 40_000)).await;
            }
        }
        close(dir, store).await;
        let (dir, store) = open_with(config).await;
        let before = time::now();
        for partition in 0..60 {
            assert_eq!(all(&log(&store, partition).await, Offset(0)).await.len(), 5);
        }
        assert!(
            before.elapsed() < Duration::from_secs(100),
            "{:?}",
            before.elapsed()
        );
        close(dir, store).await;
    });
}
