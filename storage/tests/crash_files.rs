//! The rules of durability of files, starts and ends (D9 to D24), one test each, on a disk that loses, tears and lies as
//! far as the rule allows.
//!
//! Each test says how the rule was broken on purpose when it was seen to fail.

mod support;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use protocol::types::{LeaderEpoch, Offset, Uuid};
use shards::sim::{self, Crash, Effect, Fault, Operation};
use shards::{Priority, time};
use storage::{AppendError, Log, LogConfig, PartitionId, ReadAt, Stats};
use support::crash::*;
use support::*;

/// Broken by: a truncation without its fence.
#[test]
fn d09_fence_of_a_truncation() {
    let steps = crash_at_each_step(
        &Operation::CHANGES,
        Crash::PowerCut,
        |known: Known| async move {
            let (_dir, store) = open().await;
            let log = log(&store, 0).await;
            let first: Known = shared();
            fill(log.clone(), 0, 0, vec![1_000; 12], first.clone()).await;
            if log.truncate_to(Offset(5)).await.is_err() {
                return;
            }
            // What was cut may be gone or there until the truncation returns; from then on it is gone.
            for (offset, value) in first.borrow().get(&0).unwrap().range(..Offset(5)) {
                note(&known, 0, *offset, value);
            }
            // Batches of the same size in a new epoch, so that old ones behind them would be valid.
            for number in 100..103 {
                let value = value(number, 1_000);
                let appended = log.append(batch(&value, 1_000), LeaderEpoch(1), 1_000).unwrap();
                log.durable(Offset(appended.last_offset.0 + 1)).await.unwrap();
                note(&known, 0, appended.base_offset, &value);
            }
        },
        |known: Known| async move {
            let (_dir, store) = open().await;
            let Some(log) = store.open_partition(&id(0), "t", log_config()).await.unwrap() else {
                return;
            };
            let found: BTreeMap<Offset, Vec<u8>> = all(&log, Offset(0)).await.into_iter().collect();
            let known = known.borrow().get(&0).cloned().unwrap_or_default();
            for (offset, value) in &known {
                assert_eq!(found.get(offset), Some(value), "{offset}");
            }
            if known.len() >= 5 {
                // Nothing of the old epoch behind the cut; one batch may be there that was not acknowledged.
                let cut = found.range(Offset(5)..);
                assert!(
                    cut.clone()
                        .all(|(offset, found)| { *found == value(100 + offset.0 as usize - 5, 1_000) })
                );
                assert!(cut.count() <= known.len() - 5 + 1);
            }
        },
    );
    assert!(steps > 20, "{steps}");
}

/// Broken by: a deletion without its fence (the directory's bytes are set aside, as if they had been lost).
#[test]
fn d09_fence_of_a_deletion() {
    let steps = crash_at_each_step(
        &Operation::CHANGES,
        Crash::PowerCut,
        |known: Known| async move {
            let (_dir, store) = open().await;
            let log = log(&store, 0).await;
            fill(log, 0, 0, vec![3_000; 4], shared()).await;
            if store.delete_partition(&id(0)).await.is_ok() {
                note(&known, 0, Offset(0), b"deleted");
            }
        },
        |known: Known| async move {
            let (dir, store) = open().await;
            assert_eq!(dir.report().set_aside, Vec::<String>::new());
            if !known.borrow().is_empty() {
                assert!(
                    store
                        .open_partition(&id(0), "t", log_config())
                        .await
                        .unwrap()
                        .is_none()
                );
            }
        },
    );
    assert!(steps > 20, "{steps}");
}

/// Broken by: a start that moves without a record of it, so that replay makes removed segments anew.
#[test]
fn d10_seal() {
    let steps = crash_at_each_step(
        &Operation::CHANGES,
        Crash::PowerCut,
        |known: Known| async move {
            let (_dir, store) = open().await;
            let log = log(&store, 0).await;
            fill(log.clone(), 0, 0, vec![60_000; 14], known.clone()).await;
            if log.advance_start(Offset(9)).await.is_ok() {
                known.borrow_mut().get_mut(&0).unwrap().insert(Offset(-1), vec![]);
            }
            fill(log, 0, 14, vec![60_000; 6], known).await;
        },
        |known: Known| async move {
            let (dir, store) = open().await;
            assert_eq!(dir.report().damaged, vec![]);
            assert_eq!(dir.report().set_aside, Vec::<String>::new());
            let moved = known
                .borrow_mut()
                .get_mut(&0)
                .is_some_and(|records| records.remove(&Offset(-1)).is_some());
            if moved {
                let log = store
                    .open_partition(&id(0), "t", log_config())
                    .await
                    .unwrap()
                    .unwrap();
                assert_eq!(log.log_start_offset(), Offset(9));
                let names = shards::fs::read_dir(log.path()).await.unwrap();
                assert!(
                    names.iter().all(|entry| entry.name != format!("{:020}.log", 0)),
                    "{names:?}"
                );
            }
            check_in(&store, &known).await;
            close(dir, store).await;
        },
    );
    assert!(steps > 40, "{steps}");
}

/// Broken by: bytes of a topic id without a directory that are dropped.
#[test]
fn d11_identity() {
    let other = PartitionId {
        topic_id: Uuid([6; 16]),
        partition: id(0).partition,
    };
    // Made again under its name while the journal still has the old one's bytes.
    let steps = crash_at_each_step(
        &[Operation::Sync, Operation::SyncDir, Operation::Rename],
        Crash::PowerCut,
        move |known: Known| async move {
            let (_dir, store) = open().await;
            fill(log(&store, 0).await, 0, 0, vec![3_000; 4], shared()).await;
            store.delete_partition(&id(0)).await.unwrap();
            let again = store.create_partition(&other, "t", log_config()).await.unwrap();
            fill(again, 0, 50, vec![3_000; 3], known).await;
        },
        move |known: Known| async move {
            let (_dir, store) = open().await;
            let Some(again) = store.open_partition(&other, "t", log_config()).await.unwrap() else {
                assert!(known.borrow().is_empty());
                return;
            };
            for (offset, found) in all(&again, Offset(0)).await {
                assert_eq!(found, value(50 + offset.0 as usize, 3_000));
            }
            assert!(
                again.durable_end().0 >= known.borrow().get(&0).map_or(0, |records| records.len() as i64)
            );
        },
    );
    assert!(steps > 20, "{steps}");
    // A directory that is gone though nobody deleted it: what the journal has of it is kept and reported.
    let (mut world, node) = world(1_100);
    start(&mut world, node, || async {
        let (_dir, store) = open().await;
        put(&log(&store, 0).await, &value(3, 5_000)).await;
        std::future::pending::<()>().await;
    });
    world.run_for(Duration::from_millis(200));
    world.crash(node, Crash::PowerCut);
    run(&mut world, node, || async {
        shards::fs::rename(format!("{DIR}/t-0"), "/elsewhere")
            .await
            .unwrap();
        shards::fs::sync_dir(DIR).await.unwrap();
        let (dir, _store) = open().await;
        let [aside] = dir.report().set_aside.as_slice() else {
            panic!("{:?}", dir.report())
        };
        let bytes = shards::fs::read(format!("{DIR}/{aside}"), 1 << 20).await.unwrap();
        assert!(bytes.windows(5_000).any(|window| window == value(3, 5_000)));
    });
}

/// Broken by: a directory that is not synced into its parent.
#[test]
fn d12_birth() {
    let steps = crash_at_each_step(
        &Operation::CHANGES,
        Crash::PowerCut,
        |known: Known| async move {
            let (_dir, store) = open().await;
            for partition in 0..2 {
                fill(
                    log(&store, partition).await,
                    partition,
                    0,
                    vec![100],
                    known.clone(),
                )
                .await;
            }
        },
        |known: Known| async move {
            let (dir, store) = open().await;
            assert_eq!(dir.report().set_aside, Vec::<String>::new());
            check_in(&store, &known).await;
            close(dir, store).await;
        },
    );
    assert!(steps > 20, "{steps}");
}

/// Broken by: appends that are committed before their place is allocated, so that recovery finds none.
#[test]
fn d13_place_first() {
    // Much may be unwritten, and the reserve would not hold it.
    let tight = || {
        let mut config = config();
        config.options.chunk_bytes = 256 << 10;
        config.options.reserve_bytes = 64 << 10;
        config
    };
    for room in (3_000..6_000).step_by(300) {
        let (mut world, node) = world(1_300 + room);
        let known: Known = shared();
        world.disk(node).set_capacity(room << 10);
        let told = known.clone();
        start(&mut world, node, move || {
            let known = told.clone();
            async move {
                let (_dir, store) = open_with(tight()).await;
                for partition in 0..3 {
                    // A disk that is full may refuse; what it accepts it keeps.
                    let Ok(log) = store.create_partition(&id(partition), "t", log_config()).await else {
                        break;
                    };
                    let filling = fill(log, partition, 0, vec![9_000; 200], known.clone());
                    shards::spawn(Priority::Clients, filling).detach();
                }
                std::future::pending::<()>().await;
            }
        });
        world.run_for(Duration::from_secs(3));
        world.crash(node, Crash::PowerCut);
        // Recovery works on the full disk, and what was acknowledged is there.
        let told = known.clone();
        run(&mut world, node, move || {
            let known = told.clone();
            async move {
                let (dir, store) = open_with(tight()).await;
                assert_eq!(dir.report().damaged, vec![]);
                let known = known.borrow().clone();
                for (partition, records) in known {
                    let log = store
                        .open_partition(&id(partition), "t", log_config())
                        .await
                        .unwrap()
                        .unwrap();
                    let found: BTreeMap<Offset, Vec<u8>> = all(&log, Offset(0)).await.into_iter().collect();
                    assert!(
                        records
                            .iter()
                            .all(|(offset, value)| found.get(offset) == Some(value))
                    );
                }
            }
        });
    }
}

/// Broken by: a sync of the journal that is tried again after it failed.
#[test]
fn d14_failure_is_final() {
    for skip in 0..8 {
        let (mut world, node) = world(1_400 + skip);
        let known: Known = shared();
        let ends: Rc<RefCell<Vec<(Stats, bool)>>> = shared();
        world.disk(node).inject(
            Fault::new(Effect::Error(5))
                .on(&[Operation::Sync])
                .path("klamm-journal")
                .skip(4 + 3 * skip),
        );
        let (told, seen) = (known.clone(), ends.clone());
        start(&mut world, node, move || {
            let (known, seen) = (told.clone(), seen.clone());
            async move {
                let (_dir, store) = open().await;
                let log = log(&store, 0).await;
                fill(log.clone(), 0, 0, vec![500; 100], known.clone()).await;
                assert!(store.failure().is_some());
                let before = store.stats();
                let refused = log.append(batch(b"x", 0), LeaderEpoch(0), 0);
                assert!(matches!(refused, Err(AppendError::Offline(_))), "{refused:?}");
                assert!(log.durable(log.log_end_offset()).await.is_err());
                assert!(store.close().await.is_err());
                seen.borrow_mut().push((before, before == store.stats()));
            }
        });
        world.run_to_end(LIMIT, &[node]).unwrap();
        let syncs = world.disk(node).count(&[Operation::Sync]);
        world.run_for(Duration::from_secs(5));
        assert_eq!(world.disk(node).count(&[Operation::Sync]), syncs);
        assert!(ends.borrow().iter().all(|end| end.1), "{ends:?}");
        assert_eq!(ends.borrow().len(), 1);
        check_after(&mut world, node, &known);
    }
}

/// Broken by: a short write that counts as done.
#[test]
fn d14_short_writes_are_repeated() {
    for seed in 0..6 {
        let mut options = sim::Options::default();
        options.disk.short_write_ppm = 400_000;
        let (mut world, node) = world_of(1_450 + seed, options);
        let known: Known = shared();
        fill_and_crash(
            &mut world,
            node,
            &known,
            Crash::PowerCut,
            Duration::from_millis(200 + 100 * seed),
        );
        check_after(&mut world, node, &known);
        assert!(!known.borrow().is_empty());
    }
}

/// What was read after a kill must outlive a power cut that follows (T27). Broken by: a recovery that syncs
/// nothing that it has written.
#[test]
fn d15_open_sign() {
    for seed in 0..8 {
        let (mut world, node) = world(1_500 + seed);
        let known: Known = shared();
        fill_and_crash(
            &mut world,
            node,
            &known,
            Crash::Kill,
            Duration::from_millis(60 + 30 * seed),
        );
        let names = world.disk(node).list(DIR).unwrap();
        assert!(
            names.iter().any(|name| name.starts_with(storage::guard::GUARD)),
            "{names:?}"
        );
        assert!(!names.contains(&storage::kafka_files::CLEAN_SHUTDOWN.to_owned()));
        let told = known.clone();
        start(&mut world, node, move || {
            let known = told.clone();
            async move {
                let (_dir, store) = open().await;
                for partition in 0..4 {
                    let log = store
                        .open_partition(&id(partition), "t", log_config())
                        .await
                        .unwrap();
                    let Some(log) = log else { continue };
                    for (offset, value) in all(&log, Offset(0)).await {
                        note(&known, partition, offset, &value);
                    }
                }
                note(&known, 99, Offset(0), b"");
                std::future::pending::<()>().await;
            }
        });
        let told = known.clone();
        world
            .run_until(LIMIT, |_| told.borrow().contains_key(&99))
            .unwrap();
        world.crash(node, Crash::PowerCut);
        known.borrow_mut().remove(&99);
        check_after(&mut world, node, &known);
    }
}

/// Broken by: kept journals that go at the start; a half used again while they are there; a partition that is used
/// before it has got what it is owed; kept journals that are emptied like the others.
#[test]
fn d06_kept_journals() {
    for step in 0.. {
        let (mut world, node) = world(1_650 + step);
        let known: Known = shared();
        let before = Duration::from_millis(20 + 9 * (step % 7));
        fill_and_crash(&mut world, node, &known, Crash::Kill, before);
        let crash = if step % 3 == 0 {
            Crash::Kill
        } else {
            Crash::PowerCut
        };
        world.disk(node).inject(
            Fault::new(Effect::Crash(crash))
                .on(&Operation::CHANGES)
                .path(DIR)
                .skip(step * 5),
        );
        let (told, is_done): (Known, Rc<RefCell<bool>>) = (known.clone(), shared());
        let done = is_done.clone();
        run(&mut world, node, move || {
            let (known, done) = (told.clone(), done.clone());
            async move {
                let config = storage::DirConfig {
                    may_owe: true,
                    ..config()
                };
                let (dir, store) = open_with(config).await;
                // More than both halves of the journal hold, beside partitions that are owed and not used.
                let filled = [1, 3].map(|partition| {
                    let (store, known) = (store.clone(), known.clone());
                    shards::spawn(Priority::Clients, async move {
                        let log = log(&store, partition).await;
                        let from = log.log_end_offset().0 as usize;
                        fill(log, partition, from, vec![60_000; 30], known).await;
                    })
                });
                for filled in filled {
                    filled.await;
                }
                close(dir, store).await;
                *done.borrow_mut() = true;
            }
        });
        world.disk(node).clear_faults();
        check_after(&mut world, node, &known);
        let names = world.disk(node).list(DIR).unwrap();
        assert!(
            !names.iter().any(|name| name.starts_with("klamm-kept")),
            "{names:?}"
        );
        if *is_done.borrow() {
            assert!(step > 20, "it is crashed at many places");
            return;
        }
    }
}

/// Broken by: a rebuild that goes on in the next segment wherever it begins.
#[test]
fn d16_a_segment_that_is_gone_without_any_checkpoint() {
    for (crash, is_compacted) in [(false, false), (true, false), (false, true), (true, true)] {
        let what = format!("crash: {crash}, compacted: {is_compacted}");
        let (mut world, node) = world(1_650);
        let known: Known = shared();
        let told = known.clone();
        let config = LogConfig {
            is_compacted,
            ..log_config()
        };
        run(&mut world, node, move || {
            let known = told.clone();
            async move {
                let (dir, store) = open().await;
                let log = store.create_partition(&id(0), "t", config).await.unwrap();
                fill(log, 0, 0, vec![50_000; 13], known.clone()).await;
                close(dir, store).await;
            }
        });
        if crash {
            start(&mut world, node, move || async move {
                let (_dir, _store) = open().await;
                std::future::pending::<()>().await;
            });
            world.run_for(Duration::from_secs(1));
            world.crash(node, Crash::PowerCut);
        }
        let disk = world.disk(node);
        let files = disk.files(&format!("{DIR}/t-0")).unwrap();
        let segments: Vec<&String> = files.iter().filter(|name| name.ends_with(".log")).collect();
        let [_, second, third, ..] = segments[..] else {
            panic!("{files:?}");
        };
        let third = third.clone();
        disk.remove(second).unwrap();
        for name in disk.files(DIR).unwrap() {
            if name.contains("klamm-checkpoint") {
                disk.remove(&name).unwrap();
            }
        }
        run(&mut world, node, move || {
            let (what, third) = (what.clone(), third.clone());
            async move {
                let (dir, store) = open().await;
                let log = store.open_partition(&id(0), "t", config).await.unwrap().unwrap();
                match log.is_usable() {
                    Ok(()) => assert!(is_compacted, "{what}: nothing is missed"),
                    Err(damage) => {
                        let damage = damage.to_string();
                        assert!(!is_compacted, "{what}: {damage}");
                        assert!(
                            damage.contains(third.rsplit('/').next().unwrap()),
                            "{what}: {damage}"
                        );
                    }
                }
                close(dir, store).await;
            }
        });
    }
}

/// Broken by: files that are used without being compared with what is known of them.
#[test]
fn d16_no_bridge() {
    #[derive(Copy, Clone, Debug, PartialEq)]
    enum Harm {
        RemoveFirst,
        RemoveLast,
        ShortenFirst,
        ShortenLast,
        Swap,
    }
    use Harm::*;
    for harm in [RemoveFirst, RemoveLast, ShortenFirst, ShortenLast, Swap] {
        for crash in [false, true] {
            let (mut world, node) = world(1_600);
            let known: Known = shared();
            let told = known.clone();
            start(&mut world, node, move || {
                let known = told.clone();
                async move {
                    let (dir, store) = open().await;
                    let log = log(&store, 0).await;
                    fill(log, 0, 0, vec![50_000; 13], known.clone()).await;
                    time::sleep(Duration::from_secs(2)).await;
                    if crash {
                        std::future::pending::<()>().await;
                    }
                    close(dir, store).await;
                }
            });
            world.run_for(Duration::from_secs(30));
            world.crash(node, Crash::PowerCut);
            let disk = world.disk(node);
            let files: Vec<String> = disk.files(&format!("{DIR}/t-0")).unwrap();
            let segments: Vec<String> = files.into_iter().filter(|name| name.ends_with(".log")).collect();
            let (first, last) = (segments.first().unwrap(), segments.last().unwrap());
            assert!(segments.len() >= 3);
            match harm {
                RemoveFirst => disk.remove(first).unwrap(),
                RemoveLast => disk.remove(last).unwrap(),
                ShortenFirst | ShortenLast => {
                    let name = if harm == ShortenFirst { first } else { last };
                    let bytes = disk.read(name).unwrap();
                    disk.write(name, &bytes[..20_000]).unwrap();
                }
                Swap => {
                    let (a, b) = (disk.read(first).unwrap(), disk.read(&segments[1]).unwrap());
                    disk.write(first, &b).unwrap();
                    disk.write(&segments[1], &a).unwrap();
                }
            }
            let before: Vec<Vec<u8>> = segments
                .iter()
                .map(|name| disk.read(name).unwrap_or_default())
                .collect();
            let told = known.clone();
            run(&mut world, node, move || {
                let known = told.clone();
                async move {
                    let (_dir, store) = open().await;
                    let log = store
                        .open_partition(&id(0), "t", log_config())
                        .await
                        .unwrap()
                        .unwrap();
                    let at = ReadAt {
                        from: Offset(0),
                        bytes_max: 1 << 20,
                        at_least_one: true,
                        upper_bound: Offset(i64::MAX),
                        may_wait: true,
                    };
                    // A journal that still has all bytes of the last segment may make it whole again.
                    if log.read(at).await.is_ok() {
                        assert!(crash, "{harm:?}");
                        let found: BTreeMap<Offset, Vec<u8>> =
                            all(&log, Offset(0)).await.into_iter().collect();
                        assert_eq!(&found, known.borrow().get(&0).unwrap(), "{harm:?}");
                        return;
                    }
                    let refused = log.append(batch(b"x", 0), LeaderEpoch(0), 0);
                    assert!(
                        matches!(refused, Err(AppendError::Offline(_))),
                        "{harm:?} {refused:?}"
                    );
                }
            });
            if !crash {
                let after: Vec<Vec<u8>> = segments
                    .iter()
                    .map(|name| world.disk(node).read(name).unwrap_or_default())
                    .collect();
                assert!(before == after, "{harm:?}: nothing is cut to fit");
            }
        }
    }
}

/// Broken by: a checkpoint of the dir that is believed when the shard's newer one is gone.
#[test]
fn d17_checkpoint() {
    #[derive(Copy, Clone, Debug, PartialEq)]
    enum Harm {
        LoseDirs,
        LoseShards,
        LoseAll,
        CorruptDirs,
        CorruptShards,
    }
    use Harm::*;
    for harm in [LoseDirs, LoseShards, LoseAll, CorruptDirs, CorruptShards] {
        let (mut world, node) = world(1_700);
        let known: Known = shared();
        for _ in 0..2 {
            fill_and_crash(
                &mut world,
                node,
                &known,
                Crash::PowerCut,
                Duration::from_millis(1_500),
            );
        }
        let disk = world.disk(node);
        let dirs = format!("{DIR}/klamm-checkpoint");
        let shards = format!("{DIR}/klamm-checkpoint-0");
        assert!(disk.read(&shards).is_ok());
        match harm {
            LoseDirs => disk.remove(&dirs).unwrap(),
            LoseShards => disk.remove(&shards).unwrap(),
            LoseAll => {
                disk.remove(&dirs).unwrap();
                disk.remove(&shards).unwrap();
            }
            CorruptDirs => disk.flip(&dirs, 60, 4).unwrap(),
            CorruptShards => disk.flip(&shards, 60, 4).unwrap(),
        }
        check_after(&mut world, node, &known);
    }
}

/// Broken by: a checkpoint without producers, and a replay that does not look at them.
#[test]
fn d19_producers() {
    let (mut world, node) = world(1_900);
    /// Sends the last five again and one more; all that was sent stays where it was.
    async fn resend(log: &Rc<Log>, sent: i32) {
        for sequence in (sent - 5).max(0)..sent {
            let again = log.append(
                batch_of(7, sequence, &value(sequence as usize, 800)),
                LeaderEpoch(0),
                1_000,
            );
            let again = again.unwrap();
            assert!(again.is_duplicate, "sequence {sequence} of {sent}");
            assert_eq!(again.base_offset, Offset(i64::from(sequence)));
        }
        let gap = log.append(batch_of(7, sent + 1, b"x"), LeaderEpoch(0), 1_000);
        assert_eq!(gap, Err(AppendError::OutOfOrderSequence));
    }
    async fn send(log: &Rc<Log>, from: i32, to: i32) {
        for sequence in from..to {
            let appended = log.append(
                batch_of(7, sequence, &value(sequence as usize, 800)),
                LeaderEpoch(0),
                1_000,
            );
            log.durable(Offset(appended.unwrap().last_offset.0 + 1))
                .await
                .unwrap();
        }
    }
    // Close, crash with all in the journal, crash after many switches, close again.
    let mut sent = 0;
    for (round, count) in [20, 3, 4_000, 6].into_iter().enumerate() {
        let from = sent;
        sent += count;
        start(&mut world, node, move || async move {
            let (dir, store) = open().await;
            let log = log(&store, 0).await;
            if from > 0 {
                resend(&log, from).await;
            }
            send(&log, from, from + count).await;
            resend(&log, from + count).await;
            if round % 3 == 0 {
                close(dir, store).await;
            }
            std::future::pending::<()>().await;
        });
        world.run_for(Duration::from_secs(60));
        world.crash(node, Crash::PowerCut);
    }
    let bytes = world
        .disk(node)
        .read(&format!("{DIR}/t-0/{sent:020}.snapshot"))
        .unwrap();
    let producers = storage::producers::Producers::decode_snapshot(&bytes).unwrap();
    assert_eq!(producers.len(), 1);
    run(&mut world, node, move || async move {
        let (dir, store) = open().await;
        let log = log(&store, 0).await;
        assert_eq!(log.durable_end(), Offset(i64::from(sent)));
        resend(&log, sent).await;
        close(dir, store).await;
    });
}

/// Broken by: a guard that is removed before the files have their exact lengths; a last checkpoint of the same run
/// as the shards'.
#[test]
fn d21_close() {
    for step in 0.. {
        let (mut world, node) = world(2_100 + step);
        let known: Known = shared();
        let is_filled: Rc<RefCell<bool>> = shared();
        let is_done: Rc<RefCell<bool>> = shared();
        let (told, filled, done) = (known.clone(), is_filled.clone(), is_done.clone());
        start(&mut world, node, move || {
            let (known, filled, done) = (told.clone(), filled.clone(), done.clone());
            async move {
                let (dir, store) = open().await;
                for partition in 0..3 {
                    let log = log(&store, partition).await;
                    let lengths = vec![700, 9_000, 100_000, 100_000, 100_000, 10];
                    fill(log, partition, 0, lengths, known.clone()).await;
                }
                // The halves are switched at least once, so that the shard has a checkpoint that is older than
                // what follows it.
                fill(log(&store, 0).await, 0, 6, vec![100_000; 6], known.clone()).await;
                time::sleep(Duration::from_secs(1)).await;
                assert!(store.stats().switches > 0);
                for partition in 0..3 {
                    let log = log(&store, partition).await;
                    let from = log.log_end_offset().0 as usize;
                    fill(log, partition, from, vec![40, 5_000], known.clone()).await;
                }
                *filled.borrow_mut() = true;
                close(dir, store).await;
                *done.borrow_mut() = true;
            }
        });
        let filled = is_filled.clone();
        world.run_until(LIMIT, |_| *filled.borrow()).unwrap();
        world.disk(node).inject(
            Fault::new(Effect::Crash(Crash::PowerCut))
                .on(&Operation::CHANGES)
                .path(DIR)
                .skip(step),
        );
        world.run_to_end(LIMIT, &[node]).unwrap();
        world.disk(node).clear_faults();
        let names = world.disk(node).list(DIR).unwrap();
        if !names.iter().any(|name| name.starts_with(storage::guard::GUARD)) {
            // Kafka may open it now: exact files, a clean sign, its checkpoints.
            for name in [
                ".kafka_cleanshutdown",
                "recovery-point-offset-checkpoint",
                "replication-offset-checkpoint",
            ] {
                assert!(names.contains(&name.to_owned()), "{name} {names:?}");
            }
            for file in world.disk(node).files(DIR).unwrap() {
                if !file.ends_with(".log") {
                    continue;
                }
                let bytes = world.disk(node).read(&file).unwrap();
                let batches: Result<Vec<_>, _> = protocol::batch::batches(&bytes).collect();
                assert!(batches.is_ok_and(|batches| !batches.is_empty()), "{file}");
                assert_eq!(world.disk(node).read_durable(&file).unwrap().len(), bytes.len());
            }
        }
        check_after(&mut world, node, &known);
        if *is_done.borrow() {
            assert!(step > 30, "{step}");
            return;
        }
    }
}

/// Broken by: idle partitions that keep their chunks, so that others wait for ever.
#[test]
fn d24_memory() {
    let options = sim::Options {
        memory_bytes: 4 << 20,
        ..sim::Options::default()
    };
    let (mut world, node) = world_of(2_400, options);
    run(&mut world, node, || async {
        let mut config = config();
        config.options.chunk_bytes = 64 << 10;
        config.options.idle = Duration::from_secs(3);
        let (dir, store) = open_with(config).await;
        let mut logs = Vec::new();
        for partition in 0..150 {
            logs.push(log(&store, partition).await);
        }
        // Far more tails than chunks, all at once, some larger than all memory for them.
        for round in 0..3 {
            let mut waiting = Vec::new();
            for (place, log) in logs.iter().enumerate() {
                let length = if place % 50 == 0 { 200_000 } else { 900 };
                log.append(batch(&value(round, length), 5), LeaderEpoch(0), 5)
                    .unwrap();
                waiting.push(log.durable(Offset(round as i64 + 1)));
            }
            for durable in waiting {
                durable.await.unwrap();
            }
        }
        time::sleep(Duration::from_secs(10)).await;
        assert_eq!(shards::budget::used(shards::buffers::Purpose::Tails), 0);
        for log in &logs {
            assert_eq!(all(log, Offset(0)).await.len(), 3);
        }
        close(dir, store).await;
    });
}
