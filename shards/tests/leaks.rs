//! Tasks leave no memory behind. Alone in its process, because it looks at the memory of the whole of it.

#![allow(clippy::disallowed_methods, reason = "reads /proc on a plain call")]

use std::time::Duration;

use shards::{Config, Priority, spawn, time, yield_now};

/// Memory of the process that is in use, by the allocator's own account.
fn allocated() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn a_hundred_thousand_cancelled_tasks_leak_nothing() {
    shards::run(Config::default(), |_| async {
        let round = || async {
            let tasks: Vec<_> = (0..5_000)
                .map(|_| {
                    spawn(Priority::Clients, async {
                        let large = [1u8; 1500];
                        std::future::pending::<()>().await;
                        std::hint::black_box(&large);
                    })
                })
                .collect();
            yield_now().await;
            tasks.into_iter().for_each(|task| task.cancel());
            yield_now().await;
            time::sleep(Duration::from_millis(1)).await;
        };
        round().await;
        let before = allocated();
        for _ in 0..20 {
            round().await;
        }
        // 100,000 times 1.5 KiB would be 150 MB.
        let grown = allocated().saturating_sub(before);
        assert!(grown < 30 << 20, "{grown} bytes more than before");
    })
    .unwrap();
}
