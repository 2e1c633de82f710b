//! The simulated world through the façade: what the broker's code sees of it, and what a crash does to it.

#![allow(clippy::disallowed_methods, reason = "tests run on ordinary threads")]

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use shards::buffers::{Buffer, Purpose};
use shards::fs::{self, File, OpenOptions};
use shards::net::{Shutdown, TcpListener, TcpStream};
use shards::side::Signal;
use shards::sim::{Crash, Effect, Fault, NodeId, Operation, Options, World};
use shards::time::{now, sleep, timeout};
use shards::{Bytes, Priority, ShardId, mesh, spawn, yield_now};

const MINUTE: Duration = Duration::from_secs(60);
const PORT: u16 = 9999;

/// A place for what a task inside the world found out.
fn cell<T>(value: T) -> Rc<RefCell<T>> {
    Rc::new(RefCell::new(value))
}

/// Runs `future` as the only shard of a node to its end; gives its output.
fn run<T: 'static, Fut: Future<Output = T> + 'static>(
    world: &mut World,
    node: NodeId,
    main: impl Fn() -> Fut + Clone + 'static,
) -> T {
    let output = cell(None);
    let place = output.clone();
    world.start(node, 1, move |_| {
        let (main, place) = (main.clone(), place.clone());
        async move {
            let output = main().await;
            *place.borrow_mut() = Some(output);
        }
    });
    world.run_to_end(MINUTE, &[node]).unwrap();
    let output = output.borrow_mut().take();
    output.unwrap()
}

fn writable() -> OpenOptions {
    OpenOptions {
        read: true,
        write: true,
        create: true,
        ..OpenOptions::default()
    }
}

fn direct() -> OpenOptions {
    OpenOptions {
        direct: true,
        ..writable()
    }
}

fn block(byte: u8) -> Bytes {
    let mut buffer = Buffer::try_take(Purpose::Tails, 4096).unwrap();
    buffer.extend_from_slice(&[byte; 4096]);
    buffer.freeze()
}

async fn read_some(stream: &TcpStream, capacity: usize) -> io::Result<Vec<u8>> {
    let (count, buffer) = stream.read(Buffer::take(Purpose::Receive, capacity).await).await;
    count.map(|count| buffer[..count].to_vec())
}

async fn read_all(stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let some = read_some(stream, 4096).await?;
        if some.is_empty() {
            return Ok(all);
        }
        all.extend(some);
    }
}

/// A node with four shards that passes numbers around, writes them to its disk and serves them to a client,
/// crashes once in between, and starts again.
fn busy_world(seed: u64, options: Options) -> World {
    let mut world = World::new(seed, options);
    let node = world.add_node();
    let address = SocketAddr::new(world.address(node), PORT);
    let serve = |id: ShardId| async move {
        let file = File::open(format!("f{id}"), writable()).await.unwrap();
        for round in 0..20_u64 {
            let to = ShardId((shards::random::below(4)) as u16);
            let sum = mesh::call(to, move || async move {
                yield_now().await;
                round + u64::from(shards::current().id().0)
            });
            let sum = sum.await.unwrap();
            file.write_all_at(round * 8, sum.to_le_bytes().to_vec().into())
                .await
                .unwrap();
        }
        file.sync_data().await.unwrap();
        if id == ShardId(0) {
            let listener = TcpListener::bind(SocketAddr::new([0, 0, 0, 0].into(), PORT)).unwrap();
            loop {
                let stream = TcpStream::from_accepted(listener.accept().await.unwrap()).unwrap();
                let sent = stream.write_all(vec![vec![7; 100_000].into()]).await;
                drop(sent); // the client may be gone
            }
        }
    };
    world.start(node, 4, serve);
    for _ in 0..3 {
        world.add_client(async move {
            for _ in 0..5 {
                sleep(Duration::from_millis(20)).await;
                if let Ok(Ok(stream)) = timeout(Duration::from_secs(2), TcpStream::connect(address)).await {
                    drop(timeout(Duration::from_secs(2), read_all(&stream)).await);
                }
            }
        });
    }
    world.run_for(Duration::from_millis(50));
    world.crash(node, Crash::PowerCut);
    world.start(node, 4, serve);
    world.run_for(Duration::from_secs(2));
    world
}

#[test]
fn one_seed_has_one_trace() {
    let mut hashes = BTreeSet::new();
    for seed in 0..10 {
        let hash = busy_world(seed, Options::default()).trace_hash();
        let kept = Options {
            trace_kept: 100,
            ..Options::default()
        };
        assert_eq!(hash, busy_world(seed, kept).trace_hash(), "seed {seed}");
        hashes.insert(hash);
    }
    assert_eq!(hashes.len(), 10, "every seed has its own");
}

/// The other half of `two_processes_have_one_trace`: prints what this process sees.
#[test]
fn print_trace_hash() {
    println!(
        "trace hash {:016x}",
        busy_world(42, Options::default()).trace_hash()
    );
}

#[test]
fn two_processes_have_one_trace() {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    let output = command
        .args(["--exact", "print_trace_hash", "--nocapture"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let expected = format!(
        "trace hash {:016x}",
        busy_world(42, Options::default()).trace_hash()
    );
    assert!(text.contains(&expected), "{expected} is not in {text}");
}

#[test]
fn the_tail_of_the_trace_can_be_read() {
    let world = busy_world(
        1,
        Options {
            trace_kept: 50,
            ..Options::default()
        },
    );
    let tail = world.trace_tail();
    assert_eq!(tail.len(), 50);
    assert!(tail.iter().any(|line| line.contains("Turn")), "{tail:?}");
}

#[test]
fn spawn_only_queues_and_time_passes_by_itself() {
    let mut world = World::new(1, Options::default());
    let node = world.add_node();
    run(&mut world, node, || async {
        let ran = Rc::new(Cell::new(false));
        let seen = ran.clone();
        let task = spawn(Priority::Clients, async move { seen.set(true) });
        assert!(!ran.get());
        task.await;
        assert!(ran.get());
        let start = now();
        sleep(Duration::from_secs(5)).await;
        assert!(start.elapsed() >= Duration::from_secs(5));
        assert!(start.elapsed() < Duration::from_secs(6));
    });
}

#[test]
fn tasks_run_in_any_order() {
    let mut orders = BTreeSet::new();
    for seed in 0..50 {
        let mut world = World::new(seed, Options::default());
        let node = world.add_node();
        let order = run(&mut world, node, || async {
            let order = cell(Vec::new());
            let tasks: Vec<_> = (0..3)
                .map(|n| {
                    let order = order.clone();
                    spawn(Priority::Clients, async move { order.borrow_mut().push(n) })
                })
                .collect();
            for task in tasks {
                task.await;
            }
            order.take()
        });
        orders.insert(order);
    }
    assert_eq!(orders.len(), 6, "{orders:?}");
}

#[test]
fn messages_of_one_pair_keep_their_order_and_of_two_pairs_do_not() {
    let mut swapped = 0;
    for seed in 0..60 {
        let mut world = World::new(seed, Options::default());
        let node = world.add_node();
        let seen = cell(Vec::new());
        let log = seen.clone();
        world.start(node, 3, move |id| {
            let log = log.clone();
            async move {
                if id == ShardId(2) {
                    shards::current().set_state(Rc::new(Seen(log)));
                    return sleep(Duration::from_secs(1)).await;
                }
                sleep(Duration::from_millis(50)).await;
                let calls: Vec<_> = (0..30_u16)
                    .map(|n| {
                        mesh::call(ShardId(2), move || {
                            shards::current().state::<Seen>().0.borrow_mut().push((id.0, n));
                            async {}
                        })
                    })
                    .collect();
                for call in calls {
                    call.await.unwrap();
                }
            }
        });
        world.run_to_end(MINUTE, &[node]).unwrap();
        let seen = seen.borrow();
        for from in 0..2 {
            let of_pair: Vec<u16> = seen
                .iter()
                .filter(|(id, _)| *id == from)
                .map(|(_, n)| *n)
                .collect();
            assert_eq!(of_pair, (0..30).collect::<Vec<_>>());
        }
        swapped += u32::from(seen.first() == Some(&(1, 0)));
    }
    assert!((5..55).contains(&swapped), "{swapped}");
}

struct Seen(Rc<RefCell<Vec<(u16, u16)>>>);

#[test]
fn a_crash_drops_tasks_without_running_them_and_does_what_was_in_flight() {
    let (mut done, mut lost) = (0, 0);
    for seed in 0..40 {
        let mut world = World::new(seed, Options::calm());
        let node = world.add_node();
        let dropped = Rc::new(Cell::new(false));
        let ran_on = Rc::new(Cell::new(false));
        let (flag, on) = (dropped.clone(), ran_on.clone());
        world
            .disk(node)
            .inject(Fault::new(Effect::Delay(MINUTE)).on(&[Operation::Write]));
        world.start(node, 1, move |_| {
            let (guard, on) = (SetOnDrop(flag.clone()), on.clone());
            async move {
                let file = File::open("f", writable()).await.unwrap();
                file.write_at(0, Bytes::from_static(&[1; 512])).await.unwrap();
                on.set(true);
                drop(guard);
            }
        });
        world.run_for(Duration::from_secs(1));
        world.crash(node, Crash::Kill);
        assert!(!world.is_running(node));
        assert!(dropped.get() && !ran_on.get());
        match world.disk(node).read("f").unwrap().len() {
            0 => lost += 1,
            512 => done += 1,
            other => panic!("{other}"),
        }
    }
    assert!(done > 5 && lost > 5, "{done} done, {lost} lost");
}

struct SetOnDrop(Rc<Cell<bool>>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

#[test]
fn operations_of_dropped_futures_are_done() {
    let mut world = World::new(3, Options::calm());
    let node = world.add_node();
    run(&mut world, node, || async {
        let file = File::open("f", writable()).await.unwrap();
        let write = timeout(
            Duration::from_nanos(1),
            file.write_at(0, Bytes::from_static(b"late")),
        );
        assert!(write.await.is_err());
        sleep(Duration::from_secs(1)).await;
        assert_eq!(fs::read("f", 100).await.unwrap(), b"late");
    });
}

#[test]
fn a_kill_keeps_what_completed_and_a_power_cut_what_was_synced() {
    // A power cut takes what was not synced whether the process that wrote it still runs or not.
    let main = |rest| async move {
        fs::create_dir_all("d/e").await.unwrap();
        fs::write("d/e/synced", b"one".to_vec()).await.unwrap();
        fs::sync_file("d/e/synced").await.unwrap();
        for dir in ["d/e", "d", "/"] {
            fs::sync_dir(dir).await.unwrap();
        }
        fs::write("d/e/volatile", b"two".to_vec()).await.unwrap();
        sleep(rest).await;
    };
    let mut kept = 0;
    for seed in 0..40 {
        let rest = [MINUTE * 60, Duration::ZERO][seed as usize % 2];
        for crash in [Crash::Kill, Crash::PowerCut] {
            let mut world = World::new(seed, Options::calm());
            let node = world.add_node();
            world.start(node, 1, move |_| main(rest));
            world.run_for(MINUTE);
            assert_eq!(world.is_running(node), !rest.is_zero());
            world.crash(node, crash);
            let disk = world.disk(node);
            assert_eq!(disk.read("d/e/synced").unwrap(), b"one");
            let volatile = disk.read("d/e/volatile").is_ok_and(|bytes| bytes == b"two");
            match crash {
                Crash::Kill => assert!(volatile),
                Crash::PowerCut => kept += u32::from(volatile),
            }
        }
    }
    assert!((2..38).contains(&kept), "{kept}");
}

#[test]
fn a_linked_sync_is_one_operation_and_is_cancelled_by_a_short_write() {
    let mut world = World::new(1, Options::calm());
    let node = world.add_node();
    world
        .disk(node)
        .inject(Fault::new(Effect::Short).on(&[Operation::Write]).skip(1));
    run(&mut world, node, || async {
        let file = File::open("f", direct()).await.unwrap();
        let commit = file.write_and_sync_at(0, block(1)).await;
        assert_eq!((commit.written.unwrap(), commit.synced.is_ok()), (4096, true));
        let commit = file.write_and_sync_at(4096, block(2)).await;
        assert!(commit.written.unwrap() < 4096);
        assert_eq!(commit.synced.unwrap_err().raw_os_error(), Some(libc::ECANCELED));
    });
    assert_eq!(world.disk(node).read_durable("f").unwrap()[..4096], [1; 4096]);
}

#[test]
fn direct_files_want_aligned_operations() {
    let mut world = World::new(1, Options::calm());
    let node = world.add_node();
    run(&mut world, node, || async {
        let file = File::open("f", direct()).await.unwrap();
        let code = |result: io::Result<usize>| result.unwrap_err().raw_os_error();
        assert_eq!(code(file.write_at(512, block(1)).await), Some(libc::EINVAL));
        assert_eq!(
            code(file.write_at(0, block(1).slice(..512)).await),
            Some(libc::EINVAL)
        );
        assert_eq!(file.write_at(8192, block(1)).await.unwrap(), 4096);
        assert_eq!(file.len().await.unwrap(), 12288);
        let buffer = Buffer::take(Purpose::Reads, 16384).await;
        let (count, buffer) = file.read_at(4096, buffer).await;
        assert_eq!(count.unwrap(), 8192);
        assert_eq!((buffer[0], buffer[4096]), (0, 1));
        let (count, _) = file.read_at(512, buffer).await;
        assert_eq!(code(count), Some(libc::EINVAL));
    });
}

/// Whether a world of this program panics, and with what.
fn panic_of<Fut: Future<Output = ()> + 'static>(main: impl Fn() -> Fut + Clone + 'static) -> String {
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut world = World::new(1, Options::calm());
        let node = world.add_node();
        run(&mut world, node, main);
    }));
    match result {
        Ok(()) => String::new(),
        Err(panic) => panic.downcast_ref::<String>().cloned().unwrap_or_default(),
    }
}

#[test]
fn overlapping_direct_operations_are_found() {
    let two_writes = panic_of(|| async {
        let file = Rc::new(File::open("dir-file", direct()).await.unwrap());
        let other = file.clone();
        let task = spawn(Priority::Clients, async move {
            drop(other.write_at(4096, block(1)).await)
        });
        drop(file.write_at(4096, block(2)).await);
        task.await;
    });
    assert!(
        two_writes.contains("still water") && two_writes.contains("dir-file"),
        "{two_writes}"
    );
    let apart = panic_of(|| async {
        let file = Rc::new(File::open("f", direct()).await.unwrap());
        let other = file.clone();
        let task = spawn(Priority::Clients, async move {
            drop(other.write_at(4096, block(1)).await)
        });
        drop(file.write_at(0, block(2)).await);
        task.await;
    });
    assert_eq!(apart, "");
}

#[test]
fn errors_come_where_they_are_asked_for() {
    let mut world = World::new(1, Options::calm());
    let node = world.add_node();
    let disk = world.disk(node);
    disk.inject(
        Fault::new(Effect::Error(libc::EIO))
            .on(&[Operation::Sync])
            .path("bad"),
    );
    disk.inject(
        Fault::new(Effect::Error(libc::ENOSPC))
            .on(&[Operation::Write])
            .path("full")
            .times(2),
    );
    run(&mut world, node, || async {
        let good = File::open("good", writable()).await.unwrap();
        good.sync_all().await.unwrap();
        let bad = File::open("bad", writable()).await.unwrap();
        bad.write_at(0, Bytes::from_static(b"x")).await.unwrap();
        assert_eq!(bad.sync_data().await.unwrap_err().raw_os_error(), Some(libc::EIO));
        bad.sync_data().await.unwrap(); // as on Linux: the second one knows of nothing
        let full = File::open("full", writable()).await.unwrap();
        for _ in 0..2 {
            let error = full.write_at(0, Bytes::from_static(b"x")).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        }
        full.write_at(0, Bytes::from_static(b"x")).await.unwrap();
    });
    disk.set_capacity(8192);
    run(&mut world, node, || async {
        let file = File::open("big", writable()).await.unwrap();
        assert_eq!(
            file.allocate(0, 1 << 20).await.unwrap_err().kind(),
            io::ErrorKind::StorageFull
        );
        assert_eq!(fs::space("/").await.unwrap().total, 8192);
    });
}

#[test]
fn what_is_stopped_goes_on_when_told() {
    let mut world = World::new(1, Options::calm());
    let node = world.add_node();
    world
        .disk(node)
        .inject(Fault::new(Effect::Stop).on(&[Operation::Sync]));
    world.start(node, 1, |_| async {
        let file = File::open("f", writable()).await.unwrap();
        file.sync_all().await.unwrap();
    });
    world.run_for(MINUTE);
    assert!(world.is_running(node));
    world.disk(node).go_on();
    world.run_to_end(MINUTE, &[node]).unwrap();
}

#[test]
fn a_crash_can_be_asked_for_at_an_operation() {
    let mut worlds = 0;
    for nth in 0..20 {
        let mut world = World::new(nth, Options::calm());
        let node = world.add_node();
        world
            .disk(node)
            .inject(Fault::new(Effect::Crash(Crash::PowerCut)).skip(nth));
        world.start(node, 1, |_| async {
            fs::write("a", vec![1; 100]).await.unwrap();
            fs::rename("a", "b").await.unwrap();
            fs::sync_dir("/").await.unwrap();
            shards::current().set_state(Rc::new(()));
        });
        world.run_to_end(MINUTE, &[node]).unwrap();
        worlds += u32::from(world.disk(node).count(&[]) == nth + 1);
    }
    assert_eq!(worlds, 4, "open, write, rename, sync");
}

#[test]
fn a_lock_is_held_by_the_process_and_ends_with_it() {
    let mut world = World::new(1, Options::calm());
    let node = world.add_node();
    for _ in 0..2 {
        run(&mut world, node, || async {
            let _lock = fs::lock(".lock").await.unwrap();
            assert!(!fs::read(".lock", 100).await.unwrap().is_empty());
        });
    }
    world.start(node, 1, |_| async {
        let lock = fs::lock(".lock").await.unwrap();
        sleep(MINUTE).await;
        drop(lock);
    });
    world.run_for(Duration::from_secs(1));
    world.crash(node, Crash::Kill);
    run(&mut world, node, || async {
        drop(fs::lock(".lock").await.unwrap())
    });
}

#[test]
fn signals_arrive_in_order() {
    let mut world = World::new(1, Options::default());
    let node = world.add_node();
    let seen = cell(Vec::new());
    let log = seen.clone();
    world.start(node, 1, move |_| {
        let log = log.clone();
        async move {
            let signals = shards::side::signals().unwrap();
            for _ in 0..2 {
                let signal = signals.next().await;
                log.borrow_mut().push(signal);
            }
        }
    });
    world.run_for(Duration::from_millis(10));
    world.signal(node, Signal::Terminate);
    world.signal(node, Signal::Interrupt);
    world.run_to_end(MINUTE, &[node]).unwrap();
    assert_eq!(*seen.borrow(), [Signal::Terminate, Signal::Interrupt]);
}

/// A node that answers every connection with what it got, and the address it does so at.
fn echo(world: &mut World) -> (NodeId, SocketAddr) {
    let node = world.add_node();
    world.start(node, 2, |id| async move {
        if id != ShardId(0) {
            return sleep(MINUTE * 600).await;
        }
        let listener = TcpListener::bind(SocketAddr::new([0, 0, 0, 0].into(), PORT)).unwrap();
        loop {
            let accepted = listener.accept().await.unwrap();
            let serve = mesh::call(ShardId(1), move || async move {
                let stream = TcpStream::from_accepted(accepted).unwrap();
                let mut failed = false;
                while !failed {
                    match read_some(&stream, 8192).await {
                        Ok(some) if some.is_empty() => break,
                        Ok(some) => failed = stream.write_all(vec![some.into()]).await.is_err(),
                        Err(_) => break,
                    }
                }
            });
            drop(serve);
        }
    });
    (node, SocketAddr::new(world.address(node), PORT))
}

#[test]
fn bytes_come_in_order_whatever_the_pieces() {
    for seed in 0..20 {
        let mut options = Options::default();
        options.network.reset_ppm = 0;
        let mut world = World::new(seed, options);
        let (_, address) = echo(&mut world);
        let client = world.add_client(async move {
            let stream = Rc::new(TcpStream::connect(address).await.unwrap());
            let sent: Vec<u8> = (0..200_000_u32).map(|n| (n * 7 / 3) as u8).collect();
            let (writer, pieces) = (stream.clone(), sent.clone());
            let write = spawn(Priority::Clients, async move {
                let pieces = pieces.chunks(9_999).map(Bytes::copy_from_slice).collect();
                writer.write_all(pieces).await.unwrap();
                writer.shutdown(Shutdown::Write).unwrap();
            });
            assert_eq!(read_all(&stream).await.unwrap(), sent);
            write.await;
        });
        world.run_to_end(MINUTE, &[client]).unwrap();
        world.run_for(Duration::from_secs(1));
        assert_eq!(world.network().connections(), 0);
    }
}

/// What a client's read ends with when something happens to its connection.
fn fate(happens: impl FnOnce(&mut World, NodeId, NodeId)) -> Result<Vec<u8>, i32> {
    let mut world = World::new(5, Options::calm());
    let (node, address) = echo(&mut world);
    let end = cell(None);
    let place = end.clone();
    let client = world.add_client(async move {
        let stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(vec![Bytes::from_static(b"hello")])
            .await
            .unwrap();
        sleep(Duration::from_secs(1)).await;
        let end = match stream.write_all(vec![Bytes::from_static(b" you")]).await {
            Ok(()) => read_all(&stream).await,
            Err(error) => Err(error),
        };
        *place.borrow_mut() = Some(end.map_err(|error| error.raw_os_error().unwrap()));
    });
    world.run_for(Duration::from_millis(500));
    happens(&mut world, node, client);
    world.run_to_end(MINUTE * 10, &[client]).unwrap();
    end.take().unwrap()
}

#[test]
fn connections_end_in_every_way() {
    let restart = |world: &mut World, node: NodeId| world.start(node, 1, |_| sleep(MINUTE * 600));
    assert_eq!(
        fate(|world, node, client| assert_eq!(world.network().reset(node, client), 1)),
        Err(libc::ECONNRESET)
    );
    assert_eq!(
        fate(|world, node, client| {
            world.network().half_open(node, client);
        }),
        Err(libc::ETIMEDOUT)
    );
    assert_eq!(
        fate(|world, node, client| world.network().cut(node, client)),
        Err(libc::ETIMEDOUT)
    );
    let killed = fate(|world, node, _| world.crash(node, Crash::Kill));
    assert_eq!(
        killed.as_deref(),
        Ok(&b"hello"[..]),
        "what it sent, and then the end"
    );
    assert_eq!(
        fate(|world, node, _| world.crash(node, Crash::PowerCut)),
        Err(libc::ETIMEDOUT)
    );
    assert_eq!(
        fate(|world, node, _| {
            world.crash(node, Crash::PowerCut);
            restart(world, node);
        }),
        Err(libc::ECONNRESET)
    );
}

#[test]
fn a_cut_that_heals_in_time_loses_nothing() {
    let mut world = World::new(5, Options::calm());
    let (node, address) = echo(&mut world);
    let client = world.add_client(async move {
        let stream = TcpStream::connect(address).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        stream
            .write_all(vec![Bytes::from_static(b"hello")])
            .await
            .unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&stream).await.unwrap(), b"hello");
    });
    world.run_for(Duration::from_millis(500));
    world.network().cut(node, client);
    world.run_for(Duration::from_secs(5));
    assert!(world.is_running(client));
    world.network().heal(node, client);
    world.run_to_end(MINUTE, &[client]).unwrap();
}

#[test]
fn connecting_finds_nobody_or_nothing() {
    let mut world = World::new(5, Options::calm());
    let up = world.add_node();
    world.start(up, 1, |_| sleep(MINUTE * 600));
    let down = world.add_node();
    world.start(down, 1, |_| sleep(MINUTE * 600));
    world.crash(down, Crash::PowerCut);
    let addresses = [up, down].map(|node| SocketAddr::new(world.address(node), PORT));
    let client = world.add_client(async move {
        let code = |result: io::Result<TcpStream>| result.err().and_then(|error| error.raw_os_error());
        assert_eq!(
            code(TcpStream::connect(addresses[0]).await),
            Some(libc::ECONNREFUSED)
        );
        assert_eq!(
            code(TcpStream::connect(addresses[1]).await),
            Some(libc::ETIMEDOUT)
        );
    });
    world.run_to_end(MINUTE * 5, &[client]).unwrap();
}

#[test]
fn a_slow_reader_stops_the_writer() {
    let mut options = Options::calm();
    options.network.window = 1000..=1000;
    let mut world = World::new(5, options);
    let node = world.add_node();
    let address = SocketAddr::new(world.address(node), PORT);
    let written = Rc::new(Cell::new(false));
    let flag = written.clone();
    world.start(node, 1, move |_| {
        let flag = flag.clone();
        async move {
            let listener = TcpListener::bind(SocketAddr::new([0, 0, 0, 0].into(), PORT)).unwrap();
            let stream = TcpStream::from_accepted(listener.accept().await.unwrap()).unwrap();
            stream.write_all(vec![vec![1; 2000].into()]).await.unwrap();
            flag.set(true);
        }
    });
    let client = world.add_client(async move {
        let stream = TcpStream::connect(address).await.unwrap();
        sleep(Duration::from_secs(5)).await;
        assert_eq!(read_all(&stream).await.unwrap(), vec![1; 2000]);
    });
    world.run_for(Duration::from_secs(2));
    assert!(!written.get());
    world.run_to_end(MINUTE, &[client]).unwrap();
    assert!(written.get());
}

#[test]
fn a_world_in_which_nothing_can_happen_says_so() {
    let mut world = World::new(1, Options::default());
    let node = world.add_node();
    world.start(node, 1, |_| std::future::pending());
    let stuck = world.run_to_end(MINUTE, &[node]).unwrap_err();
    assert!(stuck.is_dead);
}
