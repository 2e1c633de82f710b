//! A log on the engine that is shipped and a real file system: closed, and left as a crash leaves it.

mod support;

use std::path::PathBuf;
use std::rc::Rc;

use protocol::types::{LeaderEpoch, Offset};
use shards::{Config, time};
use storage::{DirConfig, Log, Options, Store};
use support::*;

const PARTITIONS: i32 = 200;

fn on_uring<F, Fut>(path: PathBuf, main: F)
where
    F: Fn(DirConfig) -> Fut + Send + Clone + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let config = Config {
        memory_bytes: 256 << 20,
        ..Config::default()
    };
    shards::run(config, move |_| {
        main(DirConfig {
            path: path.clone(),
            shards: 1,
            journal_bytes: 128 << 20,
            expected: None,
            may_owe: false,
            options: Options::default(),
        })
    })
    .unwrap();
}

/// Appends one record to each log and waits for all; gives the milliseconds.
async fn round(logs: &[Rc<Log>], number: usize) -> f64 {
    let began = time::now();
    let mut waiting = Vec::new();
    for log in logs {
        log.append(batch(&value(number, 1_000), 1_000), LeaderEpoch(0), 1_000)
            .unwrap();
        waiting.push(log.durable(Offset(number as i64 + 1)));
    }
    for durable in waiting {
        durable.await.unwrap();
    }
    began.elapsed().as_secs_f64() * 1e3
}

async fn logs(store: &Rc<Store>) -> Vec<Rc<Log>> {
    let mut logs = Vec::new();
    for number in 0..PARTITIONS {
        logs.push(log(store, number).await);
    }
    logs
}

#[test]
fn many_partitions_come_back() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = dir.path().join("data");
    on_uring(path.clone(), |config| async {
        let began = time::now();
        let (_dir, store) = open_with(config).await;
        println!("first open: {:.1} ms", began.elapsed().as_secs_f64() * 1e3);
        let began = time::now();
        let logs = logs(&store).await;
        println!("{PARTITIONS} made: {:.1} ms", began.elapsed().as_secs_f64() * 1e3);
        for number in 0..20 {
            let before = store.stats();
            let elapsed = round(&logs, number).await;
            let commits = store.stats().commits - before.commits;
            println!("round {number}: {elapsed:.1} ms in {commits} commits");
        }
        // Ends here, as a crash would, with everything in the journal.
    });
    on_uring(path.clone(), |config| async {
        let began = time::now();
        let (dir, store) = open_with(config).await;
        println!(
            "open after it: {:.1} ms, {:?}",
            began.elapsed().as_secs_f64() * 1e3,
            dir.report()
        );
        let logs = logs(&store).await;
        println!(
            "and {PARTITIONS} opened: {:.1} ms",
            began.elapsed().as_secs_f64() * 1e3
        );
        round(&logs, 20).await;
        println!("and appended to: {:.1} ms", began.elapsed().as_secs_f64() * 1e3);
        for log in logs.iter().step_by(97) {
            assert_eq!(all(log, Offset(0)).await.len(), 21);
        }
        let began = time::now();
        close(dir, store).await;
        println!("closed: {:.1} ms", began.elapsed().as_secs_f64() * 1e3);
    });
    on_uring(path, |config| async {
        let began = time::now();
        let (dir, store) = open_with(config).await;
        println!(
            "open after a close: {:.1} ms",
            began.elapsed().as_secs_f64() * 1e3
        );
        for log in logs(&store).await.iter().step_by(97) {
            let records = all(log, Offset(0)).await;
            assert!(
                records
                    .iter()
                    .enumerate()
                    .all(|(number, record)| record.1 == value(number, 1_000))
            );
            assert_eq!(records.len(), 21);
        }
        close(dir, store).await;
    });
}
