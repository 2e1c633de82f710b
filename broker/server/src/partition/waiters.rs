//! Who waits for the high watermark of one partition: producers for an offset, consumers for bytes.
//!
//! Both are woken from the one place that moves the high watermark. What a newcomer would get wrong: a waiter may
//! be dropped at any time (its client has gone), so waking one that left is normal; and a consumer waits on many
//! partitions of the shard at once, so its [`Thirst`] is shared by all of them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use protocol::types::Offset;
use shards::sync::{Notify, oneshot};

/// Whether the client of a fetch still waits for it: held by the fetch, looked at by the shards that wait on its
/// behalf. Dropping it tells them, without a message, that nobody wants to know any more.
#[derive(Debug)]
pub struct Interest(Arc<AtomicBool>);

/// The look of one shard at an [`Interest`].
#[derive(Clone, Debug)]
pub struct Interested(Arc<AtomicBool>);

impl Interest {
    /// Of a client that waits.
    #[allow(clippy::new_without_default, reason = "there is no default client")]
    pub fn new() -> Interest {
        Interest(Arc::new(AtomicBool::new(true)))
    }

    /// What to give to a shard.
    pub fn share(&self) -> Interested {
        Interested(self.0.clone())
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Interested {
    /// Whether somebody still waits.
    pub fn is_there(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a consumer still wants before it is answered, over all its partitions of this shard.
#[derive(Debug)]
pub struct Thirst {
    missing: Cell<i64>,
    quenched: Notify,
    interested: Interested,
}

impl Thirst {
    /// A consumer that wants `bytes` more.
    pub fn new(bytes: usize, interested: Interested) -> Rc<Thirst> {
        let missing = i64::try_from(bytes).unwrap_or(i64::MAX).max(1);
        Rc::new(Thirst {
            missing: Cell::new(missing),
            quenched: Notify::new(),
            interested,
        })
    }

    /// `bytes` have become visible in one of its partitions.
    fn pour(&self, bytes: i64) {
        self.missing.set(self.missing.get().saturating_sub(bytes));
        if self.is_quenched() {
            self.quenched.notify_one();
        }
    }

    fn is_quenched(&self) -> bool {
        self.missing.get() <= 0 || !self.interested.is_there()
    }

    /// Resolves when there is enough, when something happened that must be told at once, or when bytes came and the
    /// client has gone.
    pub async fn quenched(&self) {
        while !self.is_quenched() {
            self.quenched.notified().await;
        }
    }
}

/// Producers and consumers of one partition. Lives with the partition, on its owner shard.
#[derive(Debug, Default)]
pub struct Waiters {
    producers: RefCell<BTreeMap<Offset, Vec<oneshot::Sender<()>>>>,
    consumers: RefCell<Vec<Weak<Thirst>>>,
    /// So many consumers were there after the last sweep.
    swept: Cell<usize>,
}

/// Fewer consumers than this are not looked through for those that left.
const SWEEP_LEAST: usize = 16;

impl Waiters {
    /// Resolves when the high watermark has reached `until`; with an error when the partition has left this shard or
    /// failed.
    pub fn until(&self, until: Offset) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.producers.borrow_mut().entry(until).or_default().push(sender);
        receiver
    }

    /// Counts what becomes visible from now on towards `thirst`, for as long as somebody holds it.
    pub fn add_consumer(&self, thirst: &Rc<Thirst>) {
        let mut consumers = self.consumers.borrow_mut();
        // A fetch may name a partition any number of times.
        if consumers
            .iter()
            .rev()
            .take(SWEEP_LEAST)
            .any(|one| std::ptr::eq(one.as_ptr(), Rc::as_ptr(thirst)))
        {
            return;
        }
        // Those that left are swept out here, so that a partition nobody writes to does not collect them: there are
        // never more than twice as many as wait. Whoever still waits for a client that has gone is told.
        if consumers.len() >= SWEEP_LEAST.max(2 * self.swept.get()) {
            consumers.retain(|consumer| {
                let thirst = consumer.upgrade();
                let waits = thirst.as_ref().is_some_and(|thirst| thirst.interested.is_there());
                if !waits && let Some(thirst) = thirst {
                    thirst.quenched.notify_one();
                }
                waits
            });
            self.swept.set(consumers.len());
        }
        consumers.push(Rc::downgrade(thirst));
    }

    /// The high watermark has moved to `offset`, over `bytes`.
    pub fn moved(&self, offset: Offset, bytes: i64) {
        let reached = {
            let mut producers = self.producers.borrow_mut();
            let later = producers.split_off(&Offset(offset.0.saturating_add(1)));
            std::mem::replace(&mut *producers, later)
        };
        for sender in reached.into_values().flatten() {
            // An error says that the producer has gone.
            sender.send(()).ok();
        }
        if bytes > 0 {
            self.consumers
                .borrow_mut()
                .retain(|consumer| match consumer.upgrade() {
                    Some(thirst) => {
                        thirst.pour(bytes);
                        true
                    }
                    None => false,
                });
        }
    }

    /// The partition leaves this shard or has failed: nobody waits any longer.
    pub fn abandon(&self) {
        let producers = std::mem::take(&mut *self.producers.borrow_mut());
        drop(producers);
        self.wake_consumers();
    }

    /// Has every consumer answered with what there is.
    pub fn wake_consumers(&self) {
        let consumers = std::mem::take(&mut *self.consumers.borrow_mut());
        for thirst in consumers.iter().filter_map(Weak::upgrade) {
            thirst.pour(i64::MAX);
        }
    }

    /// How many producers wait.
    pub fn producers(&self) -> usize {
        self.producers.borrow().values().map(Vec::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::task::{Context, Poll, Waker};

    fn is_ready(future: impl Future) -> bool {
        let future = std::pin::pin!(future);
        matches!(
            future.poll(&mut Context::from_waker(Waker::noop())),
            Poll::Ready(_)
        )
    }

    #[test]
    fn producers_wait_for_their_offset() {
        let waiters = Waiters::default();
        let mut first = waiters.until(Offset(3));
        let mut second = waiters.until(Offset(5));
        waiters.moved(Offset(2), 10);
        assert!(!is_ready(&mut first));
        waiters.moved(Offset(4), 10);
        assert!(is_ready(&mut first) && !is_ready(&mut second));
        assert_eq!(waiters.producers(), 1);
        waiters.abandon();
        assert!(is_ready(&mut second));
    }

    #[test]
    fn consumers_that_left_are_not_collected() {
        let waiters = Waiters::default();
        let stays = Interest::new();
        let waits: Vec<Rc<Thirst>> = (0..20).map(|_| Thirst::new(1, stays.share())).collect();
        for thirst in &waits {
            waiters.add_consumer(thirst);
            waiters.add_consumer(thirst);
        }
        assert_eq!(waiters.consumers.borrow().len(), 20);
        let mut left = Vec::new();
        for _ in 0..1000 {
            let interest = Interest::new();
            let thirst = Thirst::new(1, interest.share());
            waiters.add_consumer(&thirst);
            // Nobody has told the wait itself, as when the client of another shard has gone.
            left.push(thirst);
        }
        assert!(waiters.consumers.borrow().len() <= 41);
        assert!(left.iter().all(|thirst| is_ready(thirst.quenched())));
        waiters.moved(Offset(1), 1);
        assert!(waits.iter().all(|thirst| is_ready(thirst.quenched())));
    }

    #[test]
    fn consumers_wait_for_bytes_over_all_their_partitions() {
        let (one, other) = (Waiters::default(), Waiters::default());
        let interest = Interest::new();
        let thirst = Thirst::new(100, interest.share());
        one.add_consumer(&thirst);
        other.add_consumer(&thirst);
        one.moved(Offset(1), 60);
        assert!(!is_ready(thirst.quenched()));
        other.moved(Offset(1), 40);
        assert!(is_ready(thirst.quenched()));
        drop(thirst);
        one.moved(Offset(2), 1);
        assert!(one.consumers.borrow().is_empty());
        let thirst = Thirst::new(1 << 40, interest.share());
        one.add_consumer(&thirst);
        one.abandon();
        assert!(is_ready(thirst.quenched()));
        let thirst = Thirst::new(1 << 40, interest.share());
        one.add_consumer(&thirst);
        drop(interest);
        one.moved(Offset(3), 1);
        assert!(is_ready(thirst.quenched()), "nobody waits for this any more");
    }
}
