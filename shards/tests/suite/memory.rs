//! Buffers, chunks, budgets.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use shards::buffers::{BLOCK, Buffer, Chunk, Purpose};
use shards::{Priority, ShardId, budget, mesh, spawn, time, yield_now};

use crate::{At, until};

pub async fn buffers_and_chunks(_: ShardId, _: At) {
    let mut buffer = Buffer::take(Purpose::Receive, 5_000).await;
    assert_eq!((buffer.len(), buffer.capacity()), (0, 8192));
    buffer.extend_from_slice(b"hello");
    assert_eq!(buffer.as_ptr() as usize % BLOCK, 0);
    buffer.spare_mut()[..2].copy_from_slice(b", ");
    buffer.set_len(7);
    buffer.extend_from_slice(b"world");
    let bytes = buffer.freeze();
    assert_eq!(bytes, "hello, world");
    assert_eq!(budget::used(Purpose::Receive), 8192);
    let part = bytes.slice(7..);
    drop(bytes);
    assert_eq!(part, "world");
    assert_eq!(budget::used(Purpose::Receive), 8192, "a part keeps the whole");
    drop(part);
    assert_eq!(budget::used(Purpose::Receive), 0);

    let mut chunk = Chunk::take(Purpose::Tails, BLOCK).await;
    assert_eq!(chunk.append(&[1; 4000]), 4000);
    let early = chunk.view(0..4000);
    assert_eq!(chunk.append(&[2; 4000]), 96, "only what fits");
    assert_eq!((chunk.filled(), chunk.capacity()), (4096, 4096));
    let late = chunk.view(3999..4096);
    drop(chunk);
    assert!(early.iter().all(|byte| *byte == 1));
    assert_eq!((late[0], late[1], late.len()), (1, 2, 97));
    drop((early, late));
    assert_eq!(budget::used(Purpose::Tails), 0);

    let large = Buffer::take(Purpose::Reads, (2 << 20) + 1).await;
    assert_eq!(large.capacity(), 4 << 20);
}

pub async fn floors_hold(_: ShardId, _: At) {
    // One purpose takes all that it can; every other still gets its floor.
    let mut hog = Vec::new();
    while let Some(permit) = budget::try_acquire(Purpose::Receive, 64 << 10) {
        hog.push(permit);
    }
    let held = hog.len() * (64 << 10);
    assert!(held <= budget::most(Purpose::Receive) && held + (64 << 10) > budget::most(Purpose::Receive));
    for purpose in Purpose::ALL {
        let floor = budget::total() / 1000 * purpose.floor_thousandths();
        if purpose != Purpose::Receive && floor > 0 {
            let all = budget::try_acquire(purpose, floor).expect("the floor is free");
            assert!(
                budget::try_acquire(purpose, 64 << 10).is_none(),
                "nothing is above it"
            );
            assert_eq!(budget::used(purpose), floor);
            drop(all);
        }
    }
    drop(hog);
    assert!(Purpose::ALL.into_iter().all(|purpose| budget::used(purpose) == 0));
    // Larger than it can ever be: alone, rather than never.
    let huge = budget::acquire(Purpose::Cache, budget::total() * 2).await;
    assert!(budget::try_acquire(Purpose::Cache, 1).is_none());
    drop(huge);
}

pub async fn waiting_is_fifo(_: ShardId, _: At) {
    let most = budget::most(Purpose::Tails);
    let mut first = budget::acquire(Purpose::Tails, most).await;
    let order = Rc::new(RefCell::new(Vec::new()));
    let mut tasks = Vec::new();
    for (number, bytes) in [(0, most / 2), (1, 10), (2, most / 2)] {
        let order = order.clone();
        let is_waiting = Rc::new(Cell::new(false));
        let waits = is_waiting.clone();
        tasks.push(spawn(Priority::Clients, async move {
            waits.set(true);
            let permit = budget::acquire(Purpose::Tails, bytes).await;
            order.borrow_mut().push(number);
            yield_now().await;
            drop(permit);
        }));
        crate::until(|| is_waiting.get()).await;
    }
    time::sleep(Duration::from_millis(1)).await;
    first.shrink_to(most - 10);
    time::sleep(Duration::from_millis(1)).await;
    assert!(order.borrow().is_empty(), "the small one does not overtake");
    drop(first);
    for task in tasks {
        task.await;
    }
    assert_eq!(*order.borrow(), [0, 1, 2]);
}

pub async fn returned_from_another_shard(me: ShardId, _: At) {
    if me != ShardId(0) {
        return;
    }
    // Everything there is, dropped elsewhere, while somebody waits for it here.
    for _ in 0..3 {
        let mut lent = Vec::new();
        while let Some(mut buffer) = Buffer::try_take(Purpose::Reads, 1 << 20) {
            buffer.extend_from_slice(b"lent");
            lent.push(buffer.freeze());
        }
        assert!(lent.len() > 4);
        let waiter = spawn(Priority::Clients, async {
            Buffer::take(Purpose::Reads, 1 << 20).await.capacity()
        });
        yield_now().await;
        let read = mesh::call(ShardId(1), move || async move {
            let sum: usize = lent.iter().map(|bytes| bytes.len()).sum();
            drop(lent);
            sum
        });
        assert!(read.await.unwrap() > 16);
        assert_eq!(waiter.await, 1 << 20);
        until(|| Buffer::try_take(Purpose::Reads, BLOCK).is_some() && budget::used(Purpose::Reads) == 0)
            .await;
    }
}

pub async fn memory_comes_back(_: ShardId, _: At) {
    // Many times the shard's memory, in all sizes, a few held at a time.
    let mut held = std::collections::VecDeque::new();
    for round in 0..3_000u32 {
        let capacity = BLOCK << (round % 10);
        let mut buffer = Buffer::take(Purpose::Background, capacity).await;
        let mark = round.to_le_bytes();
        buffer.extend_from_slice(&mark);
        held.push_back((round, buffer.freeze()));
        if held.len() > 6 {
            let (round, bytes) = held.pop_front().unwrap();
            assert_eq!(bytes[..], round.to_le_bytes());
        }
    }
    held.clear();
    assert_eq!(budget::used(Purpose::Background), 0);
}
