//! Messages between shards.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use shards::{Priority, ShardId, mesh, spawn, yield_now};

use crate::{At, Latch, go};

#[derive(Default)]
struct Seen(RefCell<Vec<u32>>);

pub async fn calls_keep_their_order(me: ShardId, _: At) {
    if me != ShardId(0) {
        return;
    }
    let to = ShardId(1);
    mesh::call(to, || {
        shards::current().set_state(Rc::new(Seen::default()));
        async {}
    })
    .await
    .unwrap();
    let calls: Vec<_> = (0..2_000)
        .map(|number| {
            mesh::call(to, move || {
                shards::current().state::<Seen>().0.borrow_mut().push(number);
                async move {
                    if number % 3 == 0 {
                        yield_now().await;
                    }
                    number * 2
                }
            })
        })
        .collect();
    // Awaited backwards: the order is that of the calls, not of the awaiting.
    for (number, call) in calls.into_iter().enumerate().rev() {
        assert_eq!(call.await, Ok(number as u32 * 2));
    }
    // A call whose answer nobody wants is made all the same.
    drop(mesh::call(to, || {
        shards::current().state::<Seen>().0.borrow_mut().push(2_000);
        async {}
    }));
    let seen = mesh::call(to, || {
        let seen = shards::current().state::<Seen>().0.borrow().clone();
        async move { seen }
    });
    assert_eq!(seen.await.unwrap(), (0..=2_000).collect::<Vec<_>>());
}

pub async fn calls_to_oneself(me: ShardId, _: At) {
    let seen = Rc::new(Cell::new(0));
    shards::current().set_state(seen.clone());
    let call = mesh::call(me, || {
        shards::current().state::<Cell<i32>>().set(1);
        async { 7 }
    });
    assert_eq!(seen.get(), 1, "the call is made at once");
    assert_eq!(call.await, Ok(7));
    mesh::ready(me).await;
}

pub async fn full_queues_drop_nothing(me: ShardId, _: At) {
    // Both directions at once, far beyond the capacity, with and without waiting for room.
    let to = ShardId(1 - me.0);
    let mut tasks = Vec::new();
    for polite in [true, false] {
        tasks.push(spawn(Priority::Clients, async move {
            let mut calls = Vec::new();
            for number in 0..10 * mesh::CAPACITY as u64 {
                if polite {
                    mesh::ready(to).await;
                }
                calls.push(mesh::call(to, move || async move { number }));
            }
            let mut sum = 0;
            for call in calls {
                sum += call.await.unwrap();
            }
            sum
        }));
    }
    let count = 10 * mesh::CAPACITY as u64;
    for task in tasks {
        assert_eq!(task.await, count * (count - 1) / 2);
    }
}

pub async fn many_pairs(me: ShardId, _: At) {
    let shard = shards::current();
    let latch = Latch::new(usize::from(shard.count()) - 1);
    for to in shard.all().filter(|to| *to != me) {
        let latch = latch.clone();
        go(async move {
            for number in 0..300u32 {
                // There and, from there, back again.
                let back = mesh::call(to, move || async move {
                    mesh::call(me, move || async move { number + 1 }).await.unwrap()
                });
                assert_eq!(back.await, Ok(number + 1));
            }
            latch.count_down();
        });
    }
    latch.wait().await;
}
