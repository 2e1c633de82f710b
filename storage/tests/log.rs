//! A log in quiet times: what is appended is read, after a close, after a crash, from memory and from files.

mod support;

use protocol::types::{LeaderEpoch, Offset, Uuid};
use shards::buffers::{Buffer, Purpose};
use shards::sim::{Crash, Effect, Fault, Operation, Options};
use storage::{AppendError, LogConfig, ReadAt, ReadError};
use support::*;

fn expected(count: usize, length: usize) -> Vec<(Offset, Vec<u8>)> {
    (0..count)
        .map(|number| (Offset(number as i64), value(number, length)))
        .collect()
}

#[test]
fn what_is_appended_is_read_from_memory() {
    let (mut world, node) = world(1);
    run(&mut world, node, || async {
        let (dir, store) = open().await;
        let log = log(&store, 0).await;
        for number in 0..20 {
            assert_eq!(put(&log, &value(number, 700)).await, Offset(number as i64));
        }
        assert_eq!(all(&log, Offset(0)).await, expected(20, 700));
        assert_eq!(all(&log, Offset(13)).await, expected(20, 700)[13..]);
        close(dir, store).await;
    });
}

#[test]
fn a_closed_log_is_read_from_its_files() {
    let (mut world, node) = world(2);
    run(&mut world, node, || async {
        let (dir, store) = open().await;
        let log = log(&store, 0).await;
        for number in 0..300 {
            put(&log, &value(number, 3_000)).await;
        }
        assert!(log.segments() > 3);
        assert_eq!(all(&log, Offset(0)).await, expected(300, 3_000));
        close(dir, store).await;
    });
    run(&mut world, node, || async {
        let (dir, store) = open().await;
        let log = store
            .open_partition(&id(0), "t", log_config())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(log.durable_end(), Offset(300));
        assert_eq!(all(&log, Offset(0)).await, expected(300, 3_000));
        assert_eq!(put(&log, &value(300, 3_000)).await, Offset(300));
        assert_eq!(all(&log, Offset(250)).await, expected(301, 3_000)[250..]);
        close(dir, store).await;
    });
}

#[test]
fn what_was_durable_is_there_after_a_crash() {
    for (seed, crash) in [(3, Crash::Kill), (4, Crash::PowerCut)] {
        let (mut world, node) = world(seed);
        start(&mut world, node, || async {
            let (_dir, store) = open().await;
            let log = log(&store, 0).await;
            for number in 0..200 {
                put(&log, &value(number, 2_000)).await;
            }
            std::future::pending::<()>().await;
        });
        world.run_for(std::time::Duration::from_secs(20));
        world.crash(node, crash);
        run(&mut world, node, || async {
            let (dir, store) = open().await;
            let log = store
                .open_partition(&id(0), "t", log_config())
                .await
                .unwrap()
                .unwrap();
            assert_eq!(all(&log, Offset(0)).await, expected(200, 2_000));
            put(&log, &value(200, 2_000)).await;
            close(dir, store).await;
        });
        run(&mut world, node, || async {
            let (dir, store) = open().await;
            let log = store
                .open_partition(&id(0), "t", log_config())
                .await
                .unwrap()
                .unwrap();
            assert_eq!(all(&log, Offset(0)).await, expected(201, 2_000));
            close(dir, store).await;
        });
    }
}

#[test]
fn large_and_small_batches_of_many_partitions_share_the_journal() {
    let (mut world, node) = world(5);
    run(&mut world, node, || async {
        let (dir, store) = open().await;
        let mut logs = Vec::new();
        for number in 0..20 {
            logs.push(log(&store, number).await);
        }
        let mut last = Vec::new();
        for round in 0..30 {
            for (place, log) in logs.iter().enumerate() {
                let length = [10, 900, 5_000, 70_000, 200_000][(round + place) % 5];
                let appended = log
                    .append(batch(&value(round, length), 5), LeaderEpoch(1), 5)
                    .unwrap();
                assert_eq!(appended.base_offset, Offset(round as i64));
                last.push(log.durable(Offset(round as i64 + 1)));
            }
        }
        for durable in last {
            durable.await.unwrap();
        }
        let stats = store.stats();
        assert!(stats.commits < 600, "{stats:?}");
        assert!(stats.switches > 5, "{stats:?}");
        for (place, log) in logs.iter().enumerate() {
            let expected: Vec<_> = (0..30usize)
                .map(|round| {
                    let length = [10, 900, 5_000, 70_000, 200_000][(round + place) % 5];
                    (Offset(round as i64), value(round, length))
                })
                .collect();
            assert_eq!(all(log, Offset(0)).await, expected);
        }
        close(dir, store).await;
    });
}

#[test]
fn bounds_are_kept() {
    let (mut world, node) = world(6);
    run(&mut world, node, || async {
        let (dir, store) = open().await;
        let log = log(&store, 0).await;
        for number in 0..10 {
            put(&log, &value(number, 100)).await;
        }
        let read = |from: i64, bytes_max: usize, at_least_one: bool, upper_bound: i64| {
            let at = ReadAt {
                from: Offset(from),
                bytes_max,
                at_least_one,
                upper_bound: Offset(upper_bound),
                may_wait: true,
            };
            let log = log.clone();
            async move { log.read(at).await.map(|data| data.bytes) }
        };
        let one = batch(&value(0, 100), 0).len();
        assert_eq!(read(0, 1 << 20, true, 100).await, Ok(10 * one));
        assert_eq!(read(0, 1 << 20, true, 4).await, Ok(4 * one));
        assert_eq!(read(3, 2 * one + 1, true, 100).await, Ok(2 * one));
        assert_eq!(read(3, 1, true, 100).await, Ok(one));
        assert_eq!(read(3, 1, false, 100).await, Ok(0));
        assert_eq!(read(10, 1 << 20, true, 100).await, Ok(0));
        assert_eq!(read(11, 1 << 20, true, 100).await, Err(ReadError::OutOfRange));
        assert_eq!(read(-1, 1 << 20, true, 100).await, Err(ReadError::OutOfRange));
        let too_large = log.append(batch(&value(0, 300 << 10), 0), LeaderEpoch(0), 0);
        assert_eq!(too_large, Err(AppendError::TooLarge));
        let two = [batch(b"a", 0), batch(b"b", 0)].concat();
        assert_eq!(
            log.append(two.into(), LeaderEpoch(0), 0),
            Err(AppendError::Malformed)
        );
        close(dir, store).await;
    });
}

#[test]
fn recovery_without_a_broker_leaves_a_clean_dir() {
    let (mut world, node) = world(7);
    start(&mut world, node, || async {
        let (_dir, store) = open().await;
        for partition in 0..3 {
            let log = log(&store, partition).await;
            for number in 0..100 {
                put(&log, &value(number, 4_000)).await;
            }
        }
        std::future::pending::<()>().await;
    });
    world.run_for(std::time::Duration::from_secs(20));
    world.crash(node, Crash::PowerCut);
    run(&mut world, node, || async {
        let report = storage::offline::recover_here(DIR.as_ref()).await.unwrap();
        assert_eq!((report.partitions > 0, report.damaged), (true, vec![]));
    });
    let names = world.disk(node).list(DIR).unwrap();
    assert!(names.contains(&".kafka_cleanshutdown".to_owned()), "{names:?}");
    assert!(
        !names.iter().any(|name| name.starts_with("klamm-open")),
        "{names:?}"
    );
    for file in world.disk(node).files(&format!("{DIR}/t-0")).unwrap() {
        let bytes = world.disk(node).read(&file).unwrap();
        if file.ends_with(".log") {
            let mut segment = storage::offline::Segment::new(bytes.as_slice());
            while segment.next_batch().unwrap().is_some() {}
            assert_eq!(segment.end(), Some(&storage::offline::End::Exact), "{file}");
        }
    }
    let journal = world.disk(node).read(&format!("{DIR}/klamm-journal-0")).unwrap();
    assert!(storage::offline::dump_journal(&journal).commits.is_empty());
    run(&mut world, node, || async {
        let (dir, store) = open().await;
        let log = store
            .open_partition(&id(1), "t", log_config())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(all(&log, Offset(0)).await, expected(100, 4_000));
        close(dir, store).await;
    });
}

#[test]
fn offsets_are_found_by_time() {
    let (mut world, node) = world(8);
    run(&mut world, node, || async {
        let (dir, store) = open().await;
        let log = log(&store, 0).await;
        // Times 10, 20, ... and one that is ahead of them.
        for number in 0..120i64 {
            let timestamp = if number == 30 { 900 } else { 10 * (number + 1) };
            let appended = log
                .append(batch(&value(0, 9_000), timestamp), LeaderEpoch(3), timestamp)
                .unwrap();
            log.durable(Offset(appended.last_offset.0 + 1)).await.unwrap();
        }
        assert!(log.segments() > 3);
        for is_reopened in [false, true] {
            for (timestamp, expected) in [
                (0, Some((0, 10))),
                (10, Some((0, 10))),
                (11, Some((1, 20))),
                (305, Some((30, 900))),
                (901, Some((90, 910))),
                (1_200, Some((119, 1_200))),
                (1_201, None),
            ] {
                let found = log
                    .offset_for_timestamp(timestamp, Offset(i64::MAX))
                    .await
                    .unwrap();
                let found = found.map(|found| (found.offset.0, found.timestamp));
                assert_eq!(found, expected, "{timestamp} {is_reopened}");
            }
            assert_eq!(log.offset_for_timestamp(901, Offset(90)).await, Ok(None));
            let last = log.max_timestamp(Offset(i64::MAX)).await.unwrap().unwrap();
            assert_eq!(
                (last.offset.0, last.timestamp, last.leader_epoch.0),
                (119, 1_200, 3)
            );
            // From files, once all is at rest.
            shards::time::sleep(std::time::Duration::from_secs(3)).await;
        }
        close(dir, store).await;
    });
    run(&mut world, node, || async {
        let (dir, store) = open().await;
        let log = store
            .open_partition(&id(0), "t", log_config())
            .await
            .unwrap()
            .unwrap();
        let found = log
            .offset_for_timestamp(901, Offset(i64::MAX))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((found.offset.0, found.timestamp), (90, 910));
        let found = log
            .offset_for_timestamp(305, Offset(i64::MAX))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((found.offset.0, found.timestamp), (30, 900));
        close(dir, store).await;
    });
}

#[test]
fn a_directory_that_another_topic_has_survives_a_deletion() {
    let (mut world, node) = world(31);
    run(&mut world, node, || async {
        let (dir, store) = open().await;
        put(&log(&store, 0).await, b"old").await;
        close(dir, store).await;
    });
    // As after a deletion that was done and forgotten: the name has gone to another topic.
    let metadata = "/data/t-0/partition.metadata";
    let other = format!("version: 0\ntopic_id: {}", Uuid([6; 16]));
    world.disk(node).write(metadata, other.as_bytes()).unwrap();
    let files = world.disk(node).list("/data/t-0").unwrap();
    run(&mut world, node, || async {
        let (dir, store) = open().await;
        log(&store, 0).await;
        store.delete_partition(&id(0)).await.unwrap();
        assert!(store.failure().is_none());
        close(dir, store).await;
    });
    assert_eq!(world.disk(node).list("/data/t-0").unwrap(), files);
    assert_eq!(world.disk(node).read(metadata).unwrap(), other.as_bytes());
}

#[test]
fn a_partition_set_aside_is_whole_and_forgotten_wherever_a_crash_falls() {
    let mut crashes = 0;
    for step in 0..60 {
        let (mut world, node) = world(step);
        run(&mut world, node, || async {
            let (dir, store) = open().await;
            put(&log(&store, 0).await, b"kept").await;
            put(&log(&store, 1).await, b"other").await;
            close(dir, store).await;
        });
        world.disk(node).inject(
            Fault::new(Effect::Crash(Crash::PowerCut))
                .on(&Operation::CHANGES)
                .skip(step),
        );
        let set_aside = || async {
            let (dir, store) = open().await;
            if store
                .open_partition(&id(0), "t", log_config())
                .await
                .unwrap()
                .is_some()
            {
                store.set_partition_aside(&id(0)).await.unwrap();
            }
            close(dir, store).await;
        };
        start(&mut world, node, set_aside);
        world.run_until(LIMIT, |world| !world.is_running(node)).unwrap();
        crashes += u64::from(
            world
                .disk(node)
                .list("/data")
                .unwrap()
                .contains(&"t-0/".to_owned()),
        );
        world.disk(node).clear_faults();
        run(&mut world, node, set_aside);
        run(&mut world, node, || async {
            let (dir, store) = open().await;
            assert!(dir.report().set_aside.is_empty());
            assert!(dir.partitions().all(|(known, _)| known == id(1)));
            assert_eq!(
                all(&log(&store, 1).await, Offset(0)).await,
                [(Offset(0), b"other".to_vec())]
            );
            close(dir, store).await;
        });
        let disk = world.disk(node);
        let names = disk.list("/data").unwrap();
        let strays: Vec<_> = names.iter().filter(|name| name.starts_with("t-0")).collect();
        assert!(
            strays.len() == 1 && strays[0].ends_with("-stray/"),
            "step {step}: {strays:?}"
        );
        let kept = disk
            .read(&format!("/data/{}00000000000000000000.log", strays[0]))
            .unwrap();
        assert!(kept.windows(4).any(|window| window == b"kept"), "step {step}");
    }
    assert!(crashes > 10, "{crashes} crashes before the end");
}

/// Takes all memory for reads but `left` bytes.
fn hog(left: usize) -> Vec<Buffer> {
    let mut held: Vec<Buffer> = std::iter::from_fn(|| Buffer::try_take(Purpose::Reads, 64 << 10)).collect();
    held.truncate(held.len() - left / (64 << 10));
    held
}

#[test]
fn reads_that_need_more_memory_than_there_is_come_to_an_end() {
    const COUNT: i64 = 12;
    for seed in 0..10 {
        let (mut world, node) = world(seed);
        let config = LogConfig {
            segment_bytes: 16 << 20,
            ..log_config()
        };
        run(&mut world, node, move || async move {
            let (dir, store) = open().await;
            let log = store.create_partition(&id(0), "t", config).await.unwrap();
            for number in 0..COUNT {
                // Each takes several windows of its file.
                put(&log, &value(number as usize, 200 << 10)).await;
            }
            close(dir, store).await;
        });
        run(&mut world, node, move || async move {
            let (dir, store) = open().await;
            let log = store.create_partition(&id(0), "t", config).await.unwrap();
            let at = |from| ReadAt {
                from: Offset(from),
                bytes_max: 1,
                at_least_one: true,
                upper_bound: Offset(i64::MAX),
                may_wait: true,
            };
            let nothing = hog(0);
            let impatient = ReadAt {
                may_wait: false,
                ..at(0)
            };
            assert_eq!(log.read(impatient).await.unwrap_err(), ReadError::NoMemory);
            // Who waits is told some time that there is none.
            let begun = shards::time::now();
            assert_eq!(log.read(at(0)).await.unwrap_err(), ReadError::NoMemory);
            assert!(
                (4..8).contains(&begun.elapsed().as_secs()),
                "{:?}",
                begun.elapsed()
            );
            drop(nothing);
            let held = hog(1280 << 10);
            let reads: Vec<_> = (0..COUNT)
                .map(|from| {
                    let (log, at) = (log.clone(), at(from));
                    shards::spawn(shards::Priority::Clients, async move {
                        let data = log.read(at).await.unwrap();
                        assert!(data.bytes > 200 << 10);
                        // On its way to a client.
                        shards::time::sleep(std::time::Duration::from_millis(3)).await;
                    })
                })
                .collect();
            for read in reads {
                read.await;
            }
            drop(held);
            // A stop waits for nobody who waits for memory. What was kept for who reads on is given back first.
            let _nothing = hog(0);
            for from in 0..COUNT {
                let impatient = ReadAt {
                    may_wait: false,
                    ..at(from)
                };
                log.read(impatient).await.ok();
            }
            shards::time::sleep(std::time::Duration::from_millis(10)).await;
            let _rest = hog(0);
            let waiting = log.clone();
            let read = shards::spawn(
                shards::Priority::Clients,
                async move { waiting.read(at(0)).await },
            );
            shards::time::sleep(std::time::Duration::from_secs(1)).await;
            let begun = shards::time::now();
            store.give_up_reads();
            assert_eq!(read.await.unwrap_err(), ReadError::NoMemory);
            assert_eq!(log.read(at(0)).await.unwrap_err(), ReadError::NoMemory);
            assert!(begun.elapsed().as_secs() < 1, "{:?}", begun.elapsed());
            close(dir, store).await;
        });
    }
}

#[test]
fn the_largest_batch_that_can_be_read_is_read() {
    for seed in 0..3 {
        let options = Options {
            memory_bytes: 16 << 20,
            ..Options::default()
        };
        let (mut world, node) = world_of(seed, options);
        let config = LogConfig {
            segment_bytes: 32 << 20,
            ..log_config()
        };
        // Of a value that has so many bytes around it in its batch.
        let largest = || storage::readable_bytes_max(shards::budget::most(Purpose::Reads)) - 100;
        run(&mut world, node, move || async move {
            let (dir, store) = open().await;
            let log = store.create_partition(&id(0), "t", config).await.unwrap();
            put(&log, &value(0, 300 << 10)).await;
            put(&log, &value(1, largest())).await;
            put(&log, &value(2, 300 << 10)).await;
            close(dir, store).await;
        });
        run(&mut world, node, move || async move {
            let (dir, store) = open().await;
            let log = store.create_partition(&id(0), "t", config).await.unwrap();
            for (from, least) in [(0, 300 << 10), (1, largest()), (2, 300 << 10), (1, largest())] {
                let at = ReadAt {
                    from: Offset(from),
                    bytes_max: 1,
                    at_least_one: true,
                    upper_bound: Offset(i64::MAX),
                    may_wait: true,
                };
                assert!(log.read(at).await.unwrap().bytes > least);
            }
            close(dir, store).await;
        });
    }
}
