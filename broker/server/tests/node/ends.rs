//! What a node finds again after it was stopped, killed or cut off, and how it ends when its disk does.
//!
//! What a newcomer would get wrong: a crash may carry out, half or whole, what is in flight when it comes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use broker::Ended;
use protocol::api::ApiKey;
use protocol::error_code::ErrorCode;
use protocol::messages::*;
use protocol::types::Uuid;
use shards::side::Signal;
use shards::sim::{Crash, Effect, Fault, Operation, Options, World};
use shards::time::sleep;

use crate::client::*;
use crate::*;

#[test]
fn what_was_acknowledged_is_there_after_any_end() {
    check_over_restart(
        |address| async move {
            let client = Client::connect(address).await;
            client.create(&[("a", 4)]).await.expect("created");
            for number in 0..12 {
                let offset = client.produce("a", number % 4, &format!("{number}")).await;
                assert_eq!(offset, Ok(i64::from(number / 4)));
            }
        },
        |address| async move {
            let client = Client::connect(address).await;
            let fetched = client.fetch("a", &[(0, 0), (1, 0), (2, 0), (3, 0)], 1, 0).await;
            for (partition, (error, values)) in fetched.into_iter().enumerate() {
                let expected: Vec<String> =
                    (0..3).map(|round| format!("{}", round * 4 + partition)).collect();
                assert_eq!(
                    (error, values),
                    (ErrorCode::None, expected),
                    "partition {partition}"
                );
            }
            assert_eq!(client.produce("a", 3, "more").await, Ok(3));
        },
    );
}

#[test]
fn a_topic_made_again_at_once_keeps_its_files() {
    check_over_restart(
        |address| async move {
            let client = Client::connect(address).await;
            client.create(&[("a", 2)]).await.expect("it is created");
            let deletion = DeleteTopicsRequest {
                topic_names: vec!["a"],
                timeout_ms: 10_000,
                ..Default::default()
            };
            let creation = CreateTopicsRequest {
                topics: vec![create_topics_request::CreatableTopic {
                    name: "a",
                    num_partitions: 2,
                    replication_factor: 1,
                    ..Default::default()
                }],
                timeout_ms: 10_000,
                ..Default::default()
            };
            // Both are decided before the first of them is committed.
            client
                .send(ApiKey::DeleteTopics, 4, |out, v| deletion.encode(out, v))
                .await;
            client
                .send(ApiKey::CreateTopics, 7, |out, v| creation.encode(out, v))
                .await;
            client.receive().await.expect("it is deleted");
            let created = client.receive().await.expect("it is created");
            let created = decode(&created, ApiKey::CreateTopics, 7, CreateTopicsResponse::decode);
            assert_eq!(created.topics[0].error_code, 0);
            for partition in 0..2 {
                assert_eq!(client.produce("a", partition, "kept").await, Ok(0));
            }
        },
        |address| async move {
            let client = Client::connect(address).await;
            for partition in 0..2 {
                let found = client.fetch("a", &[(partition, 0)], 1, 0).await;
                assert_eq!(found, [(ErrorCode::None, vec!["kept".to_owned()])]);
            }
        },
    );
}

/// Deletes topic `a` while the disk holds up the removal of its directories, and crashes in between: the deletion is
/// committed, the files are there. With a topic `b` that stays. Gives the world as the crash leaves it.
fn crash_in_a_deletion(seed: u64, crash: Crash) -> (World, shards::sim::NodeId) {
    let mut world = World::new(seed, Options::default());
    let node = world.add_node();
    let (broker, address) = start(&mut world, node);
    run(&mut world, &broker, address, |address| async move {
        let client = Client::connect(address).await;
        client.create(&[("a", 2), ("b", 2)]).await.expect("created");
        for (topic, partition) in [("a", 0), ("a", 1), ("b", 0), ("b", 1)] {
            assert_eq!(client.produce(topic, partition, "x").await, Ok(0));
        }
    });
    let hold = Fault::new(Effect::Stop).times(u64::MAX);
    world.disk(node).inject(hold.path("/a-").on(&[Operation::Rename]));
    run(&mut world, &broker, address, |address| async move {
        let client = Client::connect(address).await;
        let deletion = DeleteTopicsRequest {
            topic_names: vec!["a"],
            timeout_ms: 10_000,
            ..Default::default()
        };
        let body = |out: &mut Vec<u8>, v| deletion.encode(out, v);
        client.send(ApiKey::DeleteTopics, 4, body).await;
        let asked = Client::connect(address).await;
        while asked.metadata(Some("a"), Uuid::ZERO, false).await.0 == ErrorCode::None {
            sleep(Duration::from_millis(1)).await;
        }
    });
    world.crash(node, crash);
    world.disk(node).clear_faults();
    (world, node)
}

/// The directories in the data directory whose names begin so.
fn directories(world: &World, node: shards::sim::NodeId, begin: &str) -> Vec<String> {
    let names = world.disk(node).list("/data").expect("a data directory");
    names.into_iter().filter(|name| name.starts_with(begin)).collect()
}

#[test]
fn a_deletion_that_a_crash_cut_short_is_finished() {
    let mut left = 0;
    for seed in SEEDS {
        for crash in [Crash::Kill, Crash::PowerCut] {
            let (mut world, node) = crash_in_a_deletion(seed, crash);
            // A crash may carry out what is in flight.
            left += directories(&world, node, "a-")
                .iter()
                .filter(|name| name.len() == 4)
                .count();
            let (broker, address) = start(&mut world, node);
            run(&mut world, &broker, address, |address| async move {
                let client = Client::connect(address).await;
                assert_eq!(
                    client.metadata(Some("a"), Uuid::ZERO, false).await.0,
                    ErrorCode::UnknownTopicOrPartition
                );
            });
            assert!(
                directories(&world, node, "a-").is_empty(),
                "seed {seed}, {crash:?}"
            );
            assert_eq!(directories(&world, node, "b-"), ["b-0/", "b-1/"]);
            // Nothing brings it back, and its name is free.
            world.crash(node, crash);
            let (broker, address) = start(&mut world, node);
            assert!(directories(&world, node, "a-").is_empty());
            run(&mut world, &broker, address, |address| async move {
                let client = Client::connect(address).await;
                client.create(&[("a", 2)]).await.expect("created");
                assert_eq!(client.produce("a", 1, "new").await, Ok(0));
                let found = client.fetch("b", &[(0, 0), (1, 0)], 1, 0).await;
                assert!(found.iter().all(|(_, values)| values == &["x"]));
            });
            world.signal(node, Signal::Terminate);
            let stopped = world.run_until(PATIENCE, |world| !world.is_running(node));
            assert!(stopped.is_ok());
            assert_eq!(broker.ended(), Some(&Ended::Stopped));
        }
    }
    assert!(left > 4, "the window is met");
}

#[test]
fn what_the_metadata_does_not_know_is_kept_as_stray() {
    for seed in SEEDS {
        let mut world = World::new(seed, Options::default());
        let node = world.add_node();
        let (broker, address) = start(&mut world, node);
        run(&mut world, &broker, address, |address| async move {
            let client = Client::connect(address).await;
            client.create(&[("a", 1), ("b", 1)]).await.expect("created");
            assert_eq!(client.produce("a", 0, "x").await, Ok(0));
        });
        world.signal(node, Signal::Terminate);
        let stopped = world.run_until(PATIENCE, |world| !world.is_running(node));
        assert!(stopped.is_ok());
        // Another cluster's directory by whatever way, under a name of its own and under one of ours.
        let disk = world.disk(node);
        let log = disk.read("/data/a-0/00000000000000000000.log").expect("a log");
        for name in ["c-0", "b-0"] {
            if name == "c-0" {
                disk.create_dir("/data/c-0").expect("made");
            }
            let path = format!("/data/{name}");
            let foreign = format!("version: 0\ntopic_id: {}", Uuid([9; 16]));
            disk.write(&format!("{path}/partition.metadata"), foreign.as_bytes())
                .expect("written");
            disk.write(&format!("{path}/00000000000000000000.log"), &log)
                .expect("written");
        }
        let (broker, address) = start(&mut world, node);
        run(&mut world, &broker, address, |address| async move {
            let client = Client::connect(address).await;
            let found = client.fetch("a", &[(0, 0)], 1, 0).await;
            assert_eq!(found, [(ErrorCode::None, vec!["x".to_owned()])]);
        });
        let strays = directories(&world, node, "c-0");
        assert!(strays.len() == 1 && strays[0].ends_with("-stray/"), "{strays:?}");
        let kept = format!("/data/{}00000000000000000000.log", strays[0]);
        assert_eq!(disk.read(&kept).expect("kept"), log);
        assert!(broker.ended().is_none());
    }
}

#[test]
fn a_disk_that_fails_takes_the_node_down_and_nothing_that_was_acknowledged() {
    for seed in SEEDS {
        for operation in [Operation::Write, Operation::Sync] {
            let mut world = World::new(seed, Options::default());
            let node = world.add_node();
            let (broker, address) = start(&mut world, node);
            run(&mut world, &broker, address, |address| async move {
                let client = Client::connect(address).await;
                client.create(&[("a", 4)]).await.expect("created");
            });
            let acknowledged: Rc<RefCell<Vec<Vec<String>>>> = Rc::new(RefCell::new(vec![Vec::new(); 4]));
            for partition in 0..4 {
                let acknowledged = acknowledged.clone();
                world.add_client(async move {
                    let client = Client::connect(address).await;
                    for number in 0.. {
                        let value = format!("{partition}-{number}");
                        client
                            .send_produce("a", partition, -1, &batch(&value, None))
                            .await;
                        let Some(answer) = client.receive().await else {
                            return;
                        };
                        let answer = decode(&answer, ApiKey::Produce, 9, ProduceResponse::decode);
                        if answer.responses[0].partition_responses[0].error_code != 0 {
                            return;
                        }
                        acknowledged.borrow_mut()[partition as usize].push(value);
                    }
                });
            }
            let count = |acknowledged: &RefCell<Vec<Vec<String>>>| -> usize {
                acknowledged.borrow().iter().map(Vec::len).sum()
            };
            let some = world.run_until(PATIENCE, |_| count(&acknowledged) > 40);
            assert!(some.is_ok(), "{some:?}");
            let fault = Fault::new(Effect::Error(5))
                .path("klamm-journal")
                .on(&[operation]);
            world.disk(node).inject(fault.skip(seed));
            let ended = world.run_until(PATIENCE, |world| !world.is_running(node));
            assert!(ended.is_ok(), "it goes on: {ended:?}");
            let Some(Ended::Failed(line)) = broker.ended() else {
                panic!("{:?}", broker.ended())
            };
            assert!(
                line.starts_with("the log directory has failed, the next start recovers it: cannot ")
                    && line.contains("/data/klamm-journal")
                    && line.lines().count() == 1,
                "{line}"
            );
            world.disk(node).clear_faults();
            let (broker, address) = start(&mut world, node);
            let expected = acknowledged.borrow().clone();
            let done = Rc::new(Cell::new(false));
            let told = done.clone();
            world.add_client(async move {
                let client = Client::connect(address).await;
                let found = client.fetch("a", &[(0, 0), (1, 0), (2, 0), (3, 0)], 1, 0).await;
                for ((error, found), expected) in found.iter().zip(&expected) {
                    assert_eq!(*error, ErrorCode::None);
                    // What was on its way may be there, too, and only that: one record.
                    assert!(found.starts_with(expected) && found.len() <= expected.len() + 1);
                }
                told.set(true);
            });
            let read = world.run_until(PATIENCE, |_| done.get());
            assert!(read.is_ok(), "{read:?}, {:?}", broker.ended());
        }
    }
}
