//! What only the engine `uring` on a real machine has: plain threads, CPUs, a kernel with rings.

#![allow(
    clippy::disallowed_methods,
    reason = "tests start threads, clocks and sockets of their own"
)]

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpStream as PlainStream;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use shards::buffers::{self, Buffer, Purpose};
use shards::fs::{File, OpenOptions};
use shards::net::{TcpListener, TcpStream};
use shards::{Bytes, Config, Priority, ShardId, mesh, spawn, time, yield_now};

fn one_shard(cpu: Option<usize>) -> Config {
    Config {
        shards: vec![cpu],
        ..Config::default()
    }
}

async fn serve(listener: TcpListener) {
    while let Ok(accepted) = listener.accept().await {
        let stream = TcpStream::from_accepted(accepted).unwrap();
        spawn(Priority::Clients, async move {
            while stream.readable().await.is_ok() {
                let (count, buffer) = stream.read(Buffer::take(Purpose::Receive, 4096).await).await;
                if !matches!(count, Ok(1..)) || stream.write_all(vec![buffer.freeze()]).await.is_err() {
                    return;
                }
            }
        })
        .detach();
    }
}

/// Starts an echo server; gives its port and what stops it and waits for it.
fn echo_server(config: Config, beside: impl Fn() + Send + Clone + 'static) -> (u16, impl FnOnce() -> u64) {
    let (tell, port) = mpsc::channel();
    let (stop, stopped) = flume::bounded::<()>(1);
    let missed = Arc::new(AtomicU64::new(0));
    let found = missed.clone();
    let thread = std::thread::spawn(move || {
        shards::run(config, move |_| {
            let (tell, stopped, missed, beside) =
                (tell.clone(), stopped.clone(), missed.clone(), beside.clone());
            async move {
                let listener = TcpListener::bind(([127, 0, 0, 1], 0).into()).unwrap();
                tell.send(listener.local_addr().unwrap().port()).unwrap();
                spawn(Priority::Clients, serve(listener)).detach();
                beside();
                // Also a wake-up from a plain thread.
                stopped.recv_async().await.unwrap();
                missed.store(shards::current().missed_wakes(), Ordering::SeqCst);
            }
        })
        .unwrap();
    });
    let port = port.recv_timeout(Duration::from_secs(30)).unwrap();
    let end = move || {
        stop.send(()).unwrap();
        thread.join().unwrap();
        found.load(Ordering::SeqCst)
    };
    (port, end)
}

fn ping(stream: &mut PlainStream, rounds: u32) -> Duration {
    let start = Instant::now();
    for round in 0..rounds {
        let message = [round as u8; 100];
        stream.write_all(&message).unwrap();
        let mut reply = [0; 100];
        stream.read_exact(&mut reply).unwrap();
        assert_eq!(reply, message);
    }
    start.elapsed()
}

#[test]
fn echo_beside_two_busy_loops() {
    let cpu = shards::cpus::allowed().unwrap()[0];
    let stop = Arc::new(AtomicBool::new(false));
    let loops: Vec<_> = (0..2)
        .map(|_| {
            let stop = stop.clone();
            std::thread::spawn(move || {
                shards::cpus::pin(cpu).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        })
        .collect();
    let (port, end) = echo_server(one_shard(Some(cpu)), || {});
    let mut stream = PlainStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    ping(&mut stream, 200);
    assert_eq!(end(), 0, "a wake-up went missing");
    stop.store(true, Ordering::Relaxed);
    loops.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn echo_beside_busy_tasks_of_the_shard() {
    // Tasks that never wait, in every queue: an echo still takes a few turns, not for ever.
    let (port, end) = echo_server(one_shard(None), || {
        for priority in Priority::ALL {
            spawn(priority, async {
                loop {
                    let start = time::now();
                    while start.elapsed() < Duration::from_micros(50) {}
                    yield_now().await;
                }
            })
            .detach();
        }
    });
    let mut stream = PlainStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    ping(&mut stream, 100);
    assert_eq!(end(), 0);
}

#[test]
fn a_storm_of_foreign_wakes() {
    // More wakes than glommio's waker could count (32,767), while the task is queued, polled, and gone.
    let polls = Arc::new(AtomicU64::new(0));
    let counted = polls.clone();
    shards::run(one_shard(None), move |_| {
        let polls = counted.clone();
        async move {
            let slot: Arc<Mutex<Option<Waker>>> = Arc::default();
            let done = Arc::new(AtomicBool::new(false));
            let (waker, end) = (slot.clone(), done.clone());
            let storm = std::thread::spawn(move || {
                let waker = loop {
                    if let Some(waker) = waker.lock().unwrap().clone() {
                        break waker;
                    }
                };
                let kept: Vec<Waker> = (0..100_000).map(|_| waker.clone()).collect();
                kept.iter().for_each(Waker::wake_by_ref);
                end.store(true, Ordering::SeqCst);
                waker.wake_by_ref();
                kept // outlive the task
            });
            let task = spawn(
                Priority::Clients,
                std::future::poll_fn(move |cx| {
                    polls.fetch_add(1, Ordering::SeqCst);
                    *slot.lock().unwrap() = Some(cx.waker().clone());
                    if done.load(Ordering::SeqCst) {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    }
                }),
            );
            task.await;
            let kept = storm.join().unwrap();
            kept.iter().for_each(Waker::wake_by_ref); // of a task that is gone
            std::thread::spawn(move || kept.into_iter().for_each(Waker::wake))
                .join()
                .unwrap();
            time::sleep(Duration::from_millis(1)).await;
            assert_eq!(shards::current().missed_wakes(), 0);
        }
    })
    .unwrap();
    assert!(polls.load(Ordering::SeqCst) >= 2);
}

#[test]
fn a_panic_on_a_shard_stops_all_and_is_seen() {
    let panicked = std::panic::catch_unwind(AssertUnwindSafe(|| {
        shards::run(
            Config {
                shards: vec![None; 2],
                ..Config::default()
            },
            |id| async move {
                if id == ShardId(1) {
                    time::sleep(Duration::from_millis(2)).await;
                    panic!("on purpose");
                }
                std::future::pending::<()>().await;
            },
        )
    }));
    let payload = panicked.unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"on purpose"));
}

#[test]
fn what_is_left_at_the_end_is_dropped_with_the_shard_current() {
    struct Seen(Arc<AtomicU64>);
    impl Drop for Seen {
        fn drop(&mut self) {
            let id = shards::current().id();
            self.0.fetch_add(1 + u64::from(id.0), Ordering::SeqCst);
        }
    }
    let drops = Arc::new(AtomicU64::new(0));
    let count = drops.clone();
    shards::run(
        Config {
            shards: vec![None; 2],
            ..Config::default()
        },
        move |_| {
            let count = count.clone();
            async move {
                shards::current().set_state(Rc::new(Seen(count.clone())));
                for _ in 0..10 {
                    let seen = Seen(count.clone());
                    spawn(Priority::Background, async move {
                        let _seen = seen;
                        std::future::pending::<()>().await;
                    })
                    .detach();
                }
                yield_now().await;
            }
        },
    )
    .unwrap();
    assert_eq!(drops.load(Ordering::SeqCst), 11 + 22);
}

#[test]
fn bytes_outlive_their_shards() {
    let kept: Arc<Mutex<Option<Bytes>>> = Arc::default();
    let place = kept.clone();
    shards::run(one_shard(None), move |_| {
        let place = place.clone();
        async move {
            let mut buffer = Buffer::take(Purpose::Reads, 4096).await;
            buffer.extend_from_slice(b"still here");
            *place.lock().unwrap() = Some(buffer.freeze());
        }
    })
    .unwrap();
    assert_eq!(kept.lock().unwrap().take().unwrap(), "still here");
}

#[test]
fn registered_memory_is_written_and_read() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = dir.path().join("file");
    let config = Config {
        memory_bytes: 16 << 20,
        ..one_shard(None)
    };
    shards::run(config, move |_| {
        let path = path.clone();
        async move {
            let touching = spawn(Priority::Housekeeping, buffers::touch());
            time::sleep(Duration::from_millis(20)).await; // it goes on meanwhile
            let options = OpenOptions {
                read: true,
                write: true,
                create: true,
                direct: true,
                ..Default::default()
            };
            let file = File::open(path, options).await.unwrap();
            for (round, len) in [4096, 64 << 10, 2 << 20, 4 << 20].into_iter().enumerate() {
                let mut buffer = Buffer::take(Purpose::Tails, len).await;
                buffer.set_len(len);
                buffer.fill(round as u8 + 1);
                let commit = file.write_and_sync_at(0, buffer.freeze()).await;
                assert_eq!(commit.written.unwrap(), len);
                commit.synced.unwrap();
                let (count, buffer) = file.read_at(0, Buffer::take(Purpose::Reads, len).await).await;
                assert_eq!(count.unwrap(), len);
                assert!(buffer.iter().all(|byte| *byte == round as u8 + 1));
            }
            file.close().await.unwrap();
            touching.cancel();
        }
    })
    .unwrap();
}

#[test]
fn blocking_calls_stay_on_the_cpu_of_the_shard_and_are_few() {
    let cpu = *shards::cpus::allowed().unwrap().last().unwrap();
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = dir.path().to_path_buf();
    shards::run(one_shard(Some(cpu)), move |_| {
        let path = path.clone();
        async move {
            let options = OpenOptions {
                write: true,
                create: true,
                ..Default::default()
            };
            let syncs: Vec<_> = (0..100)
                .map(|number| {
                    let path = path.join(number.to_string());
                    spawn(Priority::Clients, async move {
                        let file = File::open(path, options).await.unwrap();
                        file.write_at(0, Bytes::from_static(b"to be synced"))
                            .await
                            .unwrap();
                        file.sync_all().await.unwrap();
                        file
                    })
                })
                .collect();
            let mut files = Vec::new();
            for sync in syncs {
                files.push(sync.await);
            }
            // The kernel's workers are threads of the process, named after the one that they work for.
            let thread = std::fs::read_link("/proc/thread-self").unwrap();
            let name = format!("iou-wrk-{}", thread.file_name().unwrap().to_str().unwrap());
            let workers: Vec<String> = std::fs::read_dir("/proc/self/task")
                .unwrap()
                .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("status")).ok())
                .filter(|status| status.lines().next().is_some_and(|line| line.ends_with(&name)))
                .collect();
            assert!((1..=20).contains(&workers.len()), "{} workers", workers.len());
            for status in workers {
                let allowed = status.lines().find(|line| line.starts_with("Cpus_allowed_list"));
                assert_eq!(allowed, Some(&*format!("Cpus_allowed_list:\t{cpu}")));
            }
            for file in files {
                file.close().await.unwrap();
            }
        }
    })
    .unwrap();
}

#[test]
fn memory_is_touched_in_a_small_part_of_the_time() {
    const MEMORY: usize = 64 << 20;
    let config = Config {
        memory_bytes: MEMORY,
        ..one_shard(None)
    };
    shards::run(config, |_| async {
        let (start, begun) = (resident(), thread_time());
        let began = time::now();
        spawn(Priority::Housekeeping, buffers::touch()).await;
        let (took, worked) = (began.elapsed(), thread_time() - begun);
        let grown = resident() - start;
        assert!(grown * 10 > MEMORY * 9, "{grown} bytes of {MEMORY} are there");
        assert!(worked * 4 < took, "{worked:?} of work in {took:?}");

        // Dropped, it ends at its next rest.
        let touching = spawn(Priority::Housekeeping, buffers::touch());
        yield_now().await;
        touching.cancel();
    })
    .unwrap();
}

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// How long the calling thread has run.
fn thread_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

#[test]
fn a_late_listener_on_a_sleeping_shard() {
    // Both shards sleep; one call wakes the other, many times over: no kick may get lost.
    shards::run(
        Config {
            shards: vec![None; 2],
            ..Config::default()
        },
        |id| async move {
            if id == ShardId(1) {
                return;
            }
            for round in 0..300u64 {
                time::sleep(Duration::from_micros(round % 7 * 30)).await;
                let start = time::now();
                assert_eq!(
                    mesh::call(ShardId(1), move || async move { round }).await,
                    Ok(round)
                );
                assert!(
                    start.elapsed() < Duration::from_millis(900),
                    "the call waited for the cap"
                );
            }
            let missed = mesh::call(ShardId(1), || async { shards::current().missed_wakes() })
                .await
                .unwrap();
            assert_eq!(missed + shards::current().missed_wakes(), 0);
        },
    )
    .unwrap();
}

#[test]
fn background_alone_has_the_core() {
    // The driver must not take turns by its share when only background work is there.
    shards::run(one_shard(None), |_| async {
        let work = |priority| async move {
            let count = Rc::new(Cell::new(0u64));
            let counting = count.clone();
            let task = spawn(priority, async move {
                loop {
                    let start = time::now();
                    while start.elapsed() < Duration::from_micros(20) {}
                    counting.set(counting.get() + 1);
                    yield_now().await;
                }
            });
            time::sleep(Duration::from_millis(100)).await;
            task.cancel();
            count.get()
        };
        let clients = work(Priority::Clients).await;
        let background = work(Priority::Background).await;
        assert!(
            background * 3 > clients,
            "{background} rounds in the background, {clients} in the foreground"
        );
    })
    .unwrap();
}

#[test]
fn bad_configurations_are_refused() {
    for shards in [vec![], vec![None; 1025]] {
        assert!(
            shards::run(
                Config {
                    shards,
                    ..Config::default()
                },
                |_| async {}
            )
            .is_err()
        );
    }
    let error = shards::run(one_shard(Some(4000)), |_| async {}).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("shard 0: cannot be pinned to CPU 4000"),
        "{error}"
    );
}

#[test]
fn signals_arrive_in_order() {
    shards::run(one_shard(None), |_| async {
        let signals = shards::side::signals().unwrap();
        for name in ["TERM", "INT", "TERM"] {
            let pid = std::process::id().to_string();
            std::process::Command::new("kill")
                .args([&format!("-{name}"), &pid])
                .status()
                .unwrap();
            let expected = if name == "TERM" {
                shards::side::Signal::Terminate
            } else {
                shards::side::Signal::Interrupt
            };
            assert_eq!(signals.next().await, expected);
        }
    })
    .unwrap();
}
