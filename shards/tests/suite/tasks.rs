//! Tasks, waiting, time.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use shards::sync::{Notify, Queue, Semaphore, Signal, TryPushError, oneshot};
use shards::time::{self, Elapsed, Instant};
use shards::{Either, Gate, Priority, ShardId, select2, spawn, yield_now};

use crate::{At, go, until};

pub async fn spawn_only_queues(_: ShardId, _: At) {
    let ran = Rc::new(Cell::new(false));
    let seen = ran.clone();
    let task = spawn(Priority::Clients, async move { seen.set(true) });
    assert!(!ran.get(), "the task ran inside spawn");
    task.await;
    assert!(ran.get());
}

pub async fn a_thousand_tasks(_: ShardId, _: At) {
    let mut tasks = Vec::new();
    for number in 0..1_000u64 {
        let priority = Priority::ALL[number as usize % 3];
        tasks.push(spawn(priority, async move {
            for _ in 0..number % 7 {
                yield_now().await;
            }
            number
        }));
    }
    let mut sum = 0;
    for task in tasks {
        sum += task.await;
    }
    assert_eq!(sum, 499_500);
}

/// The last wake of a task by itself goes nowhere; the shard must notice that nothing is left to run and wait for its
/// timers, not for a task that has ended.
pub async fn a_task_may_wake_itself_as_it_ends(_: ShardId, _: At) {
    struct WakeOnDrop(Option<std::task::Waker>);
    impl Drop for WakeOnDrop {
        fn drop(&mut self) {
            if let Some(waker) = self.0.take() {
                waker.wake();
            }
        }
    }
    for _ in 0..10 {
        let mut held = WakeOnDrop(None);
        spawn(
            Priority::Clients,
            std::future::poll_fn(move |cx| {
                held.0.get_or_insert_with(|| cx.waker().clone());
                std::task::Poll::Ready(())
            }),
        )
        .detach();
        time::sleep(Duration::from_millis(1)).await;
    }
}

pub async fn cancelled_tasks_leak_nothing(_: ShardId, _: At) {
    struct Held(Rc<Cell<usize>>);
    impl Drop for Held {
        fn drop(&mut self) {
            self.0.set(self.0.get() - 1);
        }
    }
    let held = Rc::new(Cell::new(0));
    for round in 0..100 {
        let tasks: Vec<_> = (0..1_000)
            .map(|_| {
                held.set(held.get() + 1);
                let holding = Held(held.clone());
                spawn(Priority::Clients, async move {
                    let _holding = holding;
                    std::future::pending::<()>().await;
                })
            })
            .collect();
        if round % 2 == 0 {
            yield_now().await; // half of them are cancelled before they have ever run
        }
        tasks.into_iter().for_each(|task| task.cancel());
        let held = held.clone();
        until(move || held.get() == 0).await;
    }
    assert_eq!(Rc::strong_count(&held), 1);
}

pub async fn timers(_: ShardId, _: At) {
    let start = time::now();
    let order = Rc::new(RefCell::new(Vec::new()));
    let mut tasks = Vec::new();
    for millis in [30, 10, 20, 0, 10] {
        let order = order.clone();
        tasks.push(spawn(Priority::Clients, async move {
            time::sleep(Duration::from_millis(millis)).await;
            assert!(
                start.elapsed() >= Duration::from_millis(millis),
                "a timer fired early"
            );
            order.borrow_mut().push(millis);
        }));
    }
    for task in tasks {
        task.await;
    }
    assert_eq!(order.borrow().len(), 5);
    assert_eq!(order.borrow()[0], 0);

    assert_eq!(
        time::timeout(Duration::from_millis(5), std::future::pending::<()>()).await,
        Err(Elapsed)
    );
    assert_eq!(time::timeout(Duration::from_secs(3600), async { 7 }).await, Ok(7));
    assert_eq!(
        time::timeout(Duration::ZERO, async { 7 }).await,
        Ok(7),
        "what is ready is not late"
    );
    time::sleep_until(start).await;
    assert_eq!(Instant::FAR + Duration::from_secs(1), Instant::FAR);
}

pub async fn yields_are_fair(_: ShardId, _: At) {
    // Two that never wait otherwise: neither may starve the other, nor a timer.
    let stop = Rc::new(Signal::new());
    let counts = Rc::new([Cell::new(0u64), Cell::new(0u64)]);
    let mut tasks = Vec::new();
    for me in 0..2 {
        let (stop, counts) = (stop.clone(), counts.clone());
        tasks.push(spawn(Priority::Clients, async move {
            while !stop.is_set() {
                counts[me].set(counts[me].get() + 1);
                yield_now().await;
            }
        }));
    }
    time::sleep(Duration::from_millis(20)).await;
    stop.set();
    for task in tasks {
        task.await;
    }
    let [a, b] = [counts[0].get(), counts[1].get()];
    assert!(
        a > 10 && b > 10 && a < 2 * b + 10 && b < 2 * a + 10,
        "{a} and {b} turns"
    );
}

pub async fn background_gets_its_share(_: ShardId, _: At) {
    let done = Rc::new(Cell::new(0));
    let stop = Rc::new(Signal::new());
    for priority in [Priority::Background, Priority::Clients] {
        let (done, stop) = (done.clone(), stop.clone());
        go(async move {
            spawn(priority, async move {
                while !stop.is_set() {
                    done.set(done.get() + usize::from(priority == Priority::Background));
                    yield_now().await;
                }
            })
            .await;
        });
    }
    let background = done.clone();
    until(move || background.get() > 20).await;
    stop.set();
}

pub async fn gates(_: ShardId, _: At) {
    let gate = Gate::new();
    let (ended, release) = (Rc::new(Cell::new(0)), Rc::new(Signal::new()));
    for _ in 0..3 {
        let (ended, release) = (ended.clone(), release.clone());
        gate.spawn(Priority::Clients, async move {
            release.wait().await;
            ended.set(ended.get() + 1);
        })
        .unwrap();
    }
    assert_eq!(gate.inside(), 3);
    let closing = gate.close();
    assert!(gate.is_closed());
    assert!(gate.spawn(Priority::Clients, async {}).is_err());
    go(async move {
        yield_now().await;
        release.set();
    });
    closing.await;
    assert_eq!(ended.get(), 3);
    gate.close().await; // a second time is no different
}

pub async fn waiting(_: ShardId, _: At) {
    // Notify: a permit is kept, and a waiter that goes away passes its turn on.
    let notify = Rc::new(Notify::new());
    notify.notify_one();
    notify.notified().await;
    let woken = Rc::new(Cell::new(0));
    for _ in 0..2 {
        let (notify, woken) = (notify.clone(), woken.clone());
        go(async move {
            notify.notified().await;
            woken.set(woken.get() + 1);
        });
    }
    let gone = time::timeout(Duration::from_millis(1), notify.notified()).await;
    assert_eq!(gone, Err(Elapsed));
    notify.notify_all();
    let count = woken.clone();
    until(move || count.get() == 2).await;

    // oneshot
    let (send, receive) = oneshot::channel();
    go(async move { send.send(5).unwrap() });
    assert_eq!(receive.await, Ok(5));
    let (send, receive) = oneshot::channel::<()>();
    drop(send);
    assert_eq!(receive.await, Err(oneshot::Closed));

    // Queue: bounded, in order, and closed.
    let queue = Queue::bounded(2);
    let pushing = queue.clone();
    go(async move {
        for number in 0..100 {
            pushing.push(number).await.unwrap();
            assert!(pushing.len() <= 2);
        }
        pushing.close();
        assert_eq!(pushing.try_push(0), Err(TryPushError::Closed(0)));
    });
    for number in 0..100 {
        assert_eq!(queue.pop().await, Some(number));
    }
    assert_eq!(queue.pop().await, None);

    // Semaphore: a large request is not overtaken.
    let semaphore = Semaphore::new(3);
    let order = Rc::new(RefCell::new(Vec::new()));
    let first = semaphore.acquire(2).await;
    let mut tasks = Vec::new();
    for count in [3, 1] {
        let (semaphore, order) = (semaphore.clone(), order.clone());
        let is_waiting = Rc::new(Cell::new(false));
        let waits = is_waiting.clone();
        tasks.push(spawn(Priority::Clients, async move {
            waits.set(true);
            let _permit = semaphore.acquire(count).await;
            order.borrow_mut().push(count);
        }));
        crate::until(|| is_waiting.get()).await;
    }
    time::sleep(Duration::from_millis(1)).await;
    assert!(semaphore.try_acquire(1).is_none(), "someone waits");
    assert!(order.borrow().is_empty());
    drop(first);
    for task in tasks {
        task.await;
    }
    assert_eq!(*order.borrow(), [3, 1]);

    assert_eq!(select2(async { 1 }, async { 2 }).await, Either::First(1));
    assert_eq!(
        select2(std::future::pending::<()>(), async { 2 }).await,
        Either::Second(2)
    );
}

pub async fn state_lives_in_the_shard(me: ShardId, _: At) {
    struct Name(String);
    let shard = shards::current();
    assert_eq!((shard.id(), shard.count()), (me, 2));
    assert!(shard.try_state::<Name>().is_none());
    shard.set_state(Rc::new(Name(format!("shard {me}"))));
    yield_now().await;
    assert_eq!(shards::current().state::<Name>().0, format!("shard {me}"));
}

pub async fn random_and_clock(_: ShardId, _: At) {
    assert_ne!(shards::random::u64(), shards::random::u64());
    assert!((0..1_000).all(|_| shards::random::below(10) < 10));
    let uuid = shards::random::uuid_bytes();
    assert_eq!((uuid[6] >> 4, uuid[8] >> 6), (4, 2));
    let earlier = time::now();
    assert!(time::now() >= earlier);
    assert!(time::wall_ms() > 0);
    let mut map = shards::collections::hash_map();
    map.insert(1, 2);
    assert_eq!(map.get(&1), Some(&2));
}
