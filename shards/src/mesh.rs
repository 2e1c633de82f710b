//! Messages between shards: a bounded queue per ordered pair, emptied by the receiver in order.
//!
//! [`call`] queues at once, when it is called and not when its future is first polled; so messages to one
//! shard take effect in the order of the calls. Calls to different shards have no order. A queue that is full
//! drops nothing: what does not fit waits at the sender, and a well-behaved sender awaits [`ready`] before it
//! makes more. Replies travel in a queue of their own that takes every reply there can be, so full queues in
//! both directions cannot block each other.

#![allow(
    unsafe_code,
    reason = "answers cross shards without a lock; each use has its proof"
)]

use std::cell::{Cell, RefCell, UnsafeCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use crossbeam_queue::{ArrayQueue, SegQueue};

use crate::engine::Kick;
use crate::priorities::Priority;
use crate::shard::{self, Core, ShardId};
use crate::sync::{Turn, WaitList, wake_front};
use crate::task::{self, keep_waker};

/// Calls that one ordered pair of shards holds before the sender has to wait.
pub const CAPACITY: usize = 256;

/// The other shard has stopped, or its task for the call ended without an answer.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the shard has stopped")
    }
}

impl std::error::Error for Stopped {}

/// Queues `f` for shard `to`, now. There it is called synchronously, in the order of the calls of this pair;
/// the future that it gives is then run as a task ([`Priority::Clients`]), and its output comes back.
///
/// To oneself nothing is queued: `f` runs inside this call, its future as a task.
/// Dropping the [`Call`] does not undo the call; only the answer is lost.
///
/// # Panics
/// When there is no shard `to`.
pub fn call<F, Fut, R>(to: ShardId, f: F) -> Call<R>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = R> + 'static,
    R: Send + 'static,
{
    let core = shard::try_current().expect("mesh::call is only possible inside a shard's task");
    assert!(to.0 < core.count, "mesh::call to shard {to} of {}", core.count);
    if to == core.id {
        return Call {
            answer: Answer::Here(task::spawn(Priority::Clients, f())),
            here: PhantomData,
        };
    }
    let slot = Arc::new(Slot {
        value: UnsafeCell::new(None),
        asker: UnsafeCell::default(),
    });
    let from = core.id;
    let answer = slot.clone();
    core.mesh.queue(
        to,
        Box::new(move || {
            let future = f();
            task::spawn(Priority::Clients, async move {
                let value = future.await;
                answer.put(value);
                shard::with(|core| core.mesh.reply(from, answer));
            })
            .detach();
        }),
    );
    Call {
        answer: Answer::There(slot),
        here: PhantomData,
    }
}

/// Waits until the queue to `to` has room for at least one call (at once for oneself). FIFO.
pub async fn ready(to: ShardId) {
    let core = shard::try_current().expect("mesh::ready is only possible inside a shard's task");
    if to == core.id {
        return;
    }
    let Some(outgoing) = core.mesh.outgoing.get(usize::from(to.0)) else {
        return;
    };
    let mut turn = Turn {
        list: &outgoing.waiting,
        place: None,
    };
    poll_fn(|cx| {
        let mut waiting = outgoing.waiting.borrow_mut();
        if waiting.is_first(turn.place) && core.mesh.has_room(to) {
            return Poll::Ready(());
        }
        waiting.wait(&mut turn.place, cx);
        Poll::Pending
    })
    .await;
}

/// The answer to a [`call`].
#[must_use = "the call is queued already; await the answer or drop it knowingly"]
pub struct Call<R> {
    answer: Answer<R>,
    /// Stays on the shard that asked.
    here: PhantomData<Rc<()>>,
}

enum Answer<R> {
    Here(task::Task<R>),
    There(Arc<Slot<R>>),
}

impl<R> Future for Call<R> {
    type Output = Result<R, Stopped>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.answer {
            Answer::Here(task) => Pin::new(task).poll(cx).map(Ok),
            Answer::There(slot) => slot.poll(cx),
        }
    }
}

impl<R> fmt::Debug for Call<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("mesh::Call")
    }
}

/// Where one answer travels, without a lock: the two halves are touched by one shard at a time.
struct Slot<R> {
    /// Written by the answering shard before it queues the reply, taken by the asking shard after it drained it.
    value: UnsafeCell<Option<R>>,
    /// Touched on the asking shard only.
    asker: UnsafeCell<Asker>,
}

#[derive(Default)]
struct Asker {
    answered: bool,
    waker: Option<Waker>,
}

// SAFETY: `asker` is only touched in `poll` (by the `Call`, which is not Send, so on the shard that asked) and in
// `deliver` (which that shard's drain calls). `value` is written once, in `put`, before the slot is pushed to the
// reply queue, and read only after `answered` was set by the drain that popped it; the queue orders the two. The value
// crosses threads, hence `R: Send`; a waker may be dropped anywhere.
unsafe impl<R: Send> Sync for Slot<R> {}

impl<R> Slot<R> {
    /// Once, on the answering shard, before the reply is queued.
    fn put(&self, value: R) {
        // SAFETY: nobody reads `value` before the reply is delivered (see the proof of Sync).
        unsafe { *self.value.get() = Some(value) };
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<Result<R, Stopped>> {
        // SAFETY: on the asking shard, and no other reference to the cell lives (`deliver` does not call back).
        let asker = unsafe { &mut *self.asker.get() };
        if !asker.answered {
            keep_waker(&mut asker.waker, cx);
            return Poll::Pending;
        }
        // SAFETY: delivered, so the answering shard is done with it.
        let value = unsafe { (*self.value.get()).take() };
        Poll::Ready(value.ok_or(Stopped))
    }
}

/// A reply on its way: delivered on the asking shard.
pub(crate) trait Reply: Send + Sync {
    /// Wakes whoever waits for it. Only the asking shard calls it, when it takes the reply from its queue.
    fn deliver(&self);
}

impl<R: Send> Reply for Slot<R> {
    fn deliver(&self) {
        // SAFETY: on the asking shard, outside of any poll; the reference ends before the waker is called.
        let waker = unsafe {
            let asker = &mut *self.asker.get();
            asker.answered = true;
            asker.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// The queues of all ordered pairs of one process.
pub(crate) struct Lanes {
    count: usize,
    lanes: Vec<Lane>,
}

struct Lane {
    calls: ArrayQueue<Job>,
    replies: SegQueue<Arc<dyn Reply>>,
    /// The sender waits for room and wants to be kicked when there is some.
    full: AtomicBool,
}

impl Lanes {
    pub fn new(count: u16) -> Arc<Lanes> {
        let count = usize::from(count);
        // A shard does not write to itself, but the square makes the index plain.
        let lanes = (0..count * count)
            .map(|pair| Lane {
                calls: ArrayQueue::new(if pair / count == pair % count { 1 } else { CAPACITY }),
                replies: SegQueue::new(),
                full: AtomicBool::new(false),
            })
            .collect();
        Arc::new(Lanes { count, lanes })
    }

    fn lane(&self, from: ShardId, to: ShardId) -> &Lane {
        &self.lanes[usize::from(from.0) * self.count + usize::from(to.0)]
    }
}

/// One shard's end of the mesh.
pub(crate) struct Port {
    me: ShardId,
    lanes: Arc<Lanes>,
    kicks: Vec<Kick>,
    outgoing: Vec<Outgoing>,
    /// How many lanes have something in `overflow`.
    overflowing: Cell<usize>,
}

#[derive(Default)]
struct Outgoing {
    overflow: RefCell<VecDeque<Job>>,
    waiting: RefCell<WaitList>,
}

impl Port {
    /// `kicks` has one entry per shard, in order.
    pub fn new(me: ShardId, lanes: Arc<Lanes>, kicks: Vec<Kick>) -> Port {
        let outgoing = (0..lanes.count).map(|_| Outgoing::default()).collect();
        Port {
            me,
            lanes,
            kicks,
            outgoing,
            overflowing: Cell::new(0),
        }
    }

    fn has_room(&self, to: ShardId) -> bool {
        let lane = self.lanes.lane(self.me, to);
        if !self.outgoing[usize::from(to.0)].overflow.borrow().is_empty() {
            return false;
        }
        if !lane.calls.is_full() {
            return true;
        }
        // Say that we wait before looking again: the receiver looks at the flag after it made room.
        lane.full.store(true, Ordering::SeqCst);
        !lane.calls.is_full()
    }

    fn queue(&self, to: ShardId, job: Job) {
        let lane = self.lanes.lane(self.me, to);
        let mut overflow = self.outgoing[usize::from(to.0)].overflow.borrow_mut();
        let job = if overflow.is_empty() {
            lane.calls.push(job).err()
        } else {
            Some(job)
        };
        if let Some(job) = job {
            if overflow.is_empty() {
                self.overflowing.set(self.overflowing.get() + 1);
            }
            overflow.push_back(job);
            lane.full.store(true, Ordering::SeqCst);
            if !lane.calls.is_full() {
                // The receiver made room before it could see the flag and will not kick us: look by ourselves.
                drop(overflow);
                self.flush(to);
                return;
            }
        }
        self.kicks[usize::from(to.0)].kick();
    }

    fn reply(&self, to: ShardId, reply: Arc<dyn Reply>) {
        self.lanes.lane(self.me, to).replies.push(reply);
        self.kicks[usize::from(to.0)].kick();
    }

    /// Moves what waits here for `to` into the queue as far as it fits, and wakes who waits for room.
    fn flush(&self, to: ShardId) {
        let lane = self.lanes.lane(self.me, to);
        let outgoing = &self.outgoing[usize::from(to.0)];
        let mut moved = false;
        {
            let mut overflow = outgoing.overflow.borrow_mut();
            while let Some(job) = overflow.pop_front() {
                match lane.calls.push(job) {
                    Ok(()) => moved = true,
                    Err(job) => {
                        overflow.push_front(job);
                        lane.full.store(true, Ordering::SeqCst);
                        if lane.calls.is_full() {
                            break;
                        }
                        continue;
                    }
                }
                if overflow.is_empty() {
                    self.overflowing.set(self.overflowing.get() - 1);
                }
            }
        }
        if moved {
            self.kicks[usize::from(to.0)].kick();
        }
        wake_front(&outgoing.waiting);
    }

    /// Whether a drain would find something: a call, a reply, or room that we waited for.
    pub fn has_work(&self) -> bool {
        self.peers().any(|peer| {
            let incoming = self.lanes.lane(peer, self.me);
            !incoming.calls.is_empty() || !incoming.replies.is_empty() || self.can_flush(peer)
        })
    }

    fn can_flush(&self, to: ShardId) -> bool {
        let outgoing = &self.outgoing[usize::from(to.0)];
        let wants = !outgoing.overflow.borrow().is_empty() || !outgoing.waiting.borrow().is_empty();
        wants && !self.lanes.lane(self.me, to).calls.is_full()
    }

    fn peers(&self) -> impl Iterator<Item = ShardId> {
        let me = self.me;
        (0..self.lanes.count as u16)
            .map(ShardId)
            .filter(move |peer| *peer != me)
    }
}

/// Runs up to `limit` calls and delivers up to `limit` replies from shard `from`, in their order, on the current
/// shard `core`; gives how many those were. The engine calls it outside of any task, with the shard entered.
pub(crate) fn drain_from(core: &Rc<Core>, from: ShardId, limit: usize) -> usize {
    let port = &core.mesh;
    let lane = port.lanes.lane(from, port.me);
    let mut done = 0;
    while done < limit
        && let Some(reply) = lane.replies.pop()
    {
        done += 1;
        reply.deliver();
    }
    let mut calls = 0;
    while calls < limit
        && let Some(job) = lane.calls.pop()
    {
        calls += 1;
        job();
    }
    if calls > 0 && lane.full.swap(false, Ordering::SeqCst) {
        port.kicks[usize::from(from.0)].kick();
    }
    if port.can_flush(from) {
        port.flush(from);
    }
    done + calls
}

/// [`drain_from`] every other shard, in order.
pub(crate) fn drain(core: &Rc<Core>, limit: usize) -> usize {
    core.mesh.peers().map(|from| drain_from(core, from, limit)).sum()
}
