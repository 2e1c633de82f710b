//! Waiting between the tasks of one shard: no atomics, no locks, all FIFO.
//!
//! None of these is `Send`: what crosses shards goes through [`crate::mesh`]. A dropped waiter gives its turn
//! to the next one, so every future here may be dropped at any time.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::task::keep_waker;

/// Waiters in the order they came; each is woken once and then has its turn until it leaves.
#[derive(Default)]
pub(crate) struct WaitList {
    next: u64,
    waiting: BTreeMap<u64, Waiter>,
}

struct Waiter {
    waker: Option<Waker>,
    turn: bool,
}

impl WaitList {
    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Enters (when `place` is none) or stays, with the waker of `cx`.
    pub fn wait(&mut self, place: &mut Option<u64>, cx: &Context<'_>) {
        let number = *place.get_or_insert_with(|| {
            self.next += 1;
            self.next
        });
        let waiter = self.waiting.entry(number).or_insert(Waiter {
            waker: None,
            turn: false,
        });
        keep_waker(&mut waiter.waker, cx);
    }

    /// Whether it is this waiter's turn.
    pub fn has_turn(&self, place: Option<u64>) -> bool {
        place
            .and_then(|number| self.waiting.get(&number))
            .is_some_and(|waiter| waiter.turn)
    }

    /// Whether nobody came before.
    pub fn is_first(&self, place: Option<u64>) -> bool {
        match (self.waiting.first_key_value(), place) {
            (None, _) => true,
            (Some((first, _)), Some(place)) => *first == place,
            (Some(_), None) => false,
        }
    }

    /// Leaves the list; true when the waiter had its turn.
    pub fn leave(&mut self, place: &mut Option<u64>) -> bool {
        place
            .take()
            .and_then(|number| self.waiting.remove(&number))
            .is_some_and(|waiter| waiter.turn)
    }

    /// Gives the turn to the first who has not got it yet; the caller wakes the waker with no borrow held.
    pub fn next(&mut self) -> Option<Option<Waker>> {
        let waiter = self.waiting.values_mut().find(|waiter| !waiter.turn)?;
        waiter.turn = true;
        Some(waiter.waker.take())
    }

    /// Gives all their turn; the caller wakes them.
    pub fn all(&mut self) -> Vec<Waker> {
        self.waiting
            .values_mut()
            .filter(|waiter| !waiter.turn)
            .filter_map(|waiter| {
                waiter.turn = true;
                waiter.waker.take()
            })
            .collect()
    }
}

impl fmt::Debug for WaitList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} waiting", self.waiting.len())
    }
}

fn wake_first(list: &RefCell<WaitList>) -> bool {
    let next = list.borrow_mut().next();
    let woken = next.is_some();
    if let Some(Some(waker)) = next {
        waker.wake();
    }
    woken
}

fn wake_all(list: &RefCell<WaitList>) {
    let wakers = list.borrow_mut().all();
    for waker in wakers {
        waker.wake();
    }
}

/// A bell: [`Notify::notify_one`] wakes one waiter, or the next one that comes.
#[derive(Debug, Default)]
pub struct Notify {
    permit: Cell<bool>,
    list: RefCell<WaitList>,
}

impl Notify {
    /// Nobody waits, no permit is stored.
    pub fn new() -> Notify {
        Notify::default()
    }

    /// Wakes the first waiter; with none, the next [`Notify::notified`] returns at once (one such permit is kept).
    pub fn notify_one(&self) {
        if !wake_first(&self.list) {
            self.permit.set(true);
        }
    }

    /// Wakes all who wait now; keeps no permit.
    pub fn notify_all(&self) {
        wake_all(&self.list);
    }

    /// Waits to be notified.
    pub fn notified(&self) -> Notified<'_> {
        Notified {
            notify: self,
            place: None,
        }
    }
}

/// The future of [`Notify::notified`].
#[must_use = "futures do nothing unless awaited"]
#[derive(Debug)]
pub struct Notified<'a> {
    notify: &'a Notify,
    place: Option<u64>,
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let notify = self.notify;
        let mut list = notify.list.borrow_mut();
        if list.has_turn(self.place) {
            list.leave(&mut self.place);
            return Poll::Ready(());
        }
        if self.place.is_none() && notify.permit.take() {
            return Poll::Ready(());
        }
        list.wait(&mut self.place, cx);
        Poll::Pending
    }
}

impl Drop for Notified<'_> {
    fn drop(&mut self) {
        let notify = self.notify;
        let had_turn = notify.list.borrow_mut().leave(&mut self.place);
        if had_turn {
            notify.notify_one();
        }
    }
}

/// A latch: unset, then set for ever; any number may wait.
#[derive(Debug, Default)]
pub struct Signal {
    set: Cell<bool>,
    list: RefCell<WaitList>,
}

impl Signal {
    /// Not set.
    pub fn new() -> Signal {
        Signal::default()
    }

    /// Sets it and wakes all who wait; again without effect.
    pub fn set(&self) {
        self.set.set(true);
        wake_all(&self.list);
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        self.set.get()
    }

    /// Waits until it is set.
    pub async fn wait(&self) {
        let mut place = Leave {
            list: &self.list,
            place: None,
        };
        poll_fn(|cx| {
            if self.set.get() {
                return Poll::Ready(());
            }
            self.list.borrow_mut().wait(&mut place.place, cx);
            Poll::Pending
        })
        .await;
    }
}

/// Leaves a list when dropped; for lists that are only woken all at once.
struct Leave<'a> {
    list: &'a RefCell<WaitList>,
    place: Option<u64>,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.list.borrow_mut().leave(&mut self.place);
    }
}

/// One value from one task to another.
pub mod oneshot {
    use super::*;

    /// Makes the two ends.
    pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
        let shared = Rc::new(RefCell::new(Shared {
            value: None,
            sender: true,
            receiver: true,
            waker: None,
        }));
        (
            Sender {
                shared: shared.clone(),
            },
            Receiver { shared },
        )
    }

    /// The sender was dropped without sending.
    #[derive(Copy, Clone, Debug, PartialEq, Eq)]
    pub struct Closed;

    struct Shared<T> {
        value: Option<T>,
        sender: bool,
        receiver: bool,
        waker: Option<Waker>,
    }

    /// The end that sends.
    pub struct Sender<T> {
        shared: Rc<RefCell<Shared<T>>>,
    }

    /// The end that waits: a future.
    #[must_use = "futures do nothing unless awaited"]
    pub struct Receiver<T> {
        shared: Rc<RefCell<Shared<T>>>,
    }

    impl<T> Sender<T> {
        /// Hands over the value.
        ///
        /// # Errors
        /// Gives the value back when the receiver is gone.
        pub fn send(self, value: T) -> Result<(), T> {
            let mut shared = self.shared.borrow_mut();
            if !shared.receiver {
                return Err(value);
            }
            shared.value = Some(value);
            Ok(()) // dropping self wakes the receiver
        }

        /// Whether the receiver is gone, so that nobody wants the value any more.
        pub fn is_closed(&self) -> bool {
            !self.shared.borrow().receiver
        }
    }

    impl<T> Drop for Sender<T> {
        fn drop(&mut self) {
            let waker = {
                let mut shared = self.shared.borrow_mut();
                shared.sender = false;
                shared.waker.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    impl<T> Future for Receiver<T> {
        type Output = Result<T, Closed>;

        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
            let mut shared = self.shared.borrow_mut();
            match shared.value.take() {
                Some(value) => Poll::Ready(Ok(value)),
                None if !shared.sender => Poll::Ready(Err(Closed)),
                None => {
                    keep_waker(&mut shared.waker, cx);
                    Poll::Pending
                }
            }
        }
    }

    impl<T> Drop for Receiver<T> {
        fn drop(&mut self) {
            let value = {
                let mut shared = self.shared.borrow_mut();
                shared.receiver = false;
                shared.value.take()
            };
            drop(value);
        }
    }

    impl<T> fmt::Debug for Sender<T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("oneshot::Sender")
        }
    }

    impl<T> fmt::Debug for Receiver<T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("oneshot::Receiver")
        }
    }
}

/// A bounded FIFO between tasks of one shard; clones are ends of the same queue.
pub struct Queue<T> {
    inner: Rc<QueueInner<T>>,
}

struct QueueInner<T> {
    items: RefCell<VecDeque<T>>,
    capacity: usize,
    closed: Cell<bool>,
    space: Notify,
    filled: Notify,
}

/// Why [`Queue::try_push`] did not; holds the item.
#[derive(Debug, PartialEq, Eq)]
pub enum TryPushError<T> {
    /// There is no room now.
    Full(T),
    /// [`Queue::close`] was called.
    Closed(T),
}

impl<T> Queue<T> {
    /// An empty queue for at most `capacity` items (at least one).
    pub fn bounded(capacity: usize) -> Queue<T> {
        Queue {
            inner: Rc::new(QueueInner {
                items: RefCell::default(),
                capacity: capacity.max(1),
                closed: Cell::new(false),
                space: Notify::new(),
                filled: Notify::new(),
            }),
        }
    }

    /// Appends when there is room, and waits for room otherwise. Waiters push in the order they came, but
    /// a `try_push` may slip in between.
    ///
    /// # Errors
    /// Gives the item back when the queue is closed. A dropped future has not pushed.
    pub async fn push(&self, item: T) -> Result<(), T> {
        let mut item = item;
        loop {
            match self.try_push(item) {
                Ok(()) => return Ok(()),
                Err(TryPushError::Closed(item)) => return Err(item),
                Err(TryPushError::Full(back)) => item = back,
            }
            self.inner.space.notified().await;
        }
    }

    /// Appends when there is room.
    ///
    /// # Errors
    /// Full or closed, with the item.
    pub fn try_push(&self, item: T) -> Result<(), TryPushError<T>> {
        let inner = &*self.inner;
        if inner.closed.get() {
            return Err(TryPushError::Closed(item));
        }
        if inner.items.borrow().len() >= inner.capacity {
            return Err(TryPushError::Full(item));
        }
        inner.items.borrow_mut().push_back(item);
        inner.filled.notify_one();
        Ok(())
    }

    /// Takes the oldest item, waiting for one; `None` once the queue is closed and empty. Dropping the
    /// future loses no item.
    pub async fn pop(&self) -> Option<T> {
        loop {
            if let Some(item) = self.try_pop() {
                return Some(item);
            }
            if self.inner.closed.get() {
                return None;
            }
            self.inner.filled.notified().await;
        }
    }

    /// Takes the oldest item if there is one.
    pub fn try_pop(&self) -> Option<T> {
        let (item, more) = {
            let mut items = self.inner.items.borrow_mut();
            (items.pop_front(), !items.is_empty())
        };
        if item.is_some() {
            self.inner.space.notify_one();
            if more {
                // A permit holds only one wake-up; pass it on while there is something to take.
                self.inner.filled.notify_one();
            }
        }
        item
    }

    /// Refuses pushes from now; what is inside can still be popped.
    pub fn close(&self) {
        self.inner.closed.set(true);
        self.inner.space.notify_all();
        self.inner.filled.notify_all();
    }

    /// Whether [`Queue::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.inner.closed.get()
    }

    /// How many items are inside.
    pub fn len(&self) -> usize {
        self.inner.items.borrow().len()
    }

    /// Whether nothing is inside.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Queue<T> {
        Queue {
            inner: self.inner.clone(),
        }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Queue({} of {})", self.len(), self.inner.capacity)
    }
}

/// Counted permits, given out in the order they were asked for: a large request is not overtaken by small ones.
#[derive(Clone, Debug)]
pub struct Semaphore {
    inner: Rc<SemaphoreInner>,
}

#[derive(Debug)]
struct SemaphoreInner {
    free: Cell<usize>,
    list: RefCell<WaitList>,
}

impl Semaphore {
    /// With `permits` to give out.
    pub fn new(permits: usize) -> Semaphore {
        Semaphore {
            inner: Rc::new(SemaphoreInner {
                free: Cell::new(permits),
                list: RefCell::default(),
            }),
        }
    }

    /// How many permits are free now.
    pub fn available(&self) -> usize {
        self.inner.free.get()
    }

    /// Takes `count` permits if they are free and nobody waits.
    pub fn try_acquire(&self, count: usize) -> Option<SemaphorePermit> {
        let inner = &self.inner;
        if !inner.list.borrow().is_empty() || inner.free.get() < count {
            return None;
        }
        inner.free.set(inner.free.get() - count);
        Some(SemaphorePermit {
            inner: inner.clone(),
            count,
        })
    }

    /// Waits for `count` permits. Waits for ever when there never are so many.
    pub async fn acquire(&self, count: usize) -> SemaphorePermit {
        let inner = &self.inner;
        let mut turn = Turn {
            list: &inner.list,
            place: None,
        };
        poll_fn(|cx| {
            let mut list = inner.list.borrow_mut();
            if !list.is_first(turn.place) || inner.free.get() < count {
                list.wait(&mut turn.place, cx);
                return Poll::Pending;
            }
            inner.free.set(inner.free.get() - count);
            Poll::Ready(())
        })
        .await;
        drop(turn);
        SemaphorePermit {
            inner: inner.clone(),
            count,
        }
    }
}

/// A place in a list whose first waiter decides by itself whether it can go; wakes the next when it leaves.
pub(crate) struct Turn<'a> {
    pub list: &'a RefCell<WaitList>,
    pub place: Option<u64>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.place.is_some() {
            self.list.borrow_mut().leave(&mut self.place);
            wake_front(self.list);
        }
    }
}

/// Wakes the first waiter of a list of [`Turn`]s, without giving a turn away: it looks again by itself.
pub(crate) fn wake_front(list: &RefCell<WaitList>) {
    let waker = list
        .borrow_mut()
        .waiting
        .values_mut()
        .next()
        .and_then(|waiter| waiter.waker.take());
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Permits of a [`Semaphore`]; given back when dropped.
#[must_use = "dropping the permit gives it back"]
#[derive(Debug)]
pub struct SemaphorePermit {
    inner: Rc<SemaphoreInner>,
    count: usize,
}

impl Drop for SemaphorePermit {
    fn drop(&mut self) {
        self.inner.free.set(self.inner.free.get() + self.count);
        wake_front(&self.inner.list);
    }
}

/// What [`select2`] found ready.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Either<A, B> {
    /// The first future was ready (perhaps the second as well).
    First(A),
    /// Only the second was ready.
    Second(B),
}

/// Waits for the first of two futures, looking at them in the order written; the other one is dropped.
pub async fn select2<A: Future, B: Future>(first: A, second: B) -> Either<A::Output, B::Output> {
    let mut first = pin!(first);
    let mut second = pin!(second);
    poll_fn(|cx| {
        if let Poll::Ready(output) = first.as_mut().poll(cx) {
            return Poll::Ready(Either::First(output));
        }
        second.as_mut().poll(cx).map(Either::Second)
    })
    .await
}
