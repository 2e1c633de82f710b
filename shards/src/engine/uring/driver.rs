//! glommio's place: its scheduler runs the tasks, and one task of it, the driver, does all I/O and all waiting.
//!
//! Nothing else in the house names glommio. glommio itself never parks, because the driver blocks inside our
//! ring; so glommio's timers, files, sockets and foreign wakers never complete and must not be used.
//! That rests on one invariant: *while the driver is not runnable, at least one task of ours is*. Every task
//! runs inside [`Counted`], which counts what is runnable and hands over to the driver when nothing is left or
//! the turn is over. (A driver that yielded while others run would take turns by its share of the core and
//! spin beside background work.)

#![allow(
    unsafe_code,
    reason = "the cell of a node that only its home thread touches; each use has its proof"
)]
#![allow(
    clippy::disallowed_macros,
    reason = "one shard per thread is what this engine is"
)]

use std::cell::{Cell, RefCell, UnsafeCell};
use std::future::{Future, poll_fn};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering, fence};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use crossbeam_queue::SegQueue;
use glommio::{Latency, LocalExecutor, LocalExecutorBuilder, Placement, Shares, TaskQueueHandle};

use super::{Engine, clock};
use crate::engine::Body;
use crate::mesh;
use crate::priorities::Priority;
use crate::shard::{self, Core};
use crate::time::Instant;

/// Polls between two looks at the ring while tasks stay runnable.
const TURN_POLLS: u32 = 64;
/// Nanoseconds between two looks at the ring while tasks stay runnable.
const TURN_NANOS: u64 = 300_000;
/// The longest wait; whatever becomes runnable only by its end was not counted.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// Messages taken from one other shard in a turn.
const MESSAGES: usize = 256;

/// What wakes a shard from other threads, and what they leave for it. Outlives the shard.
pub(crate) struct Inbox {
    /// The driver is about to wait, or waits, and must be kicked.
    sleeping: AtomicBool,
    woken: SegQueue<Arc<Node>>,
    bell: OwnedFd,
    /// The shard's ring, or -1 before it has one.
    ring: AtomicI32,
}

impl Inbox {
    pub fn new() -> std::io::Result<Arc<Inbox>> {
        // SAFETY: makes a new descriptor and touches no memory.
        let bell = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if bell < 0 {
            return Err(std::io::Error::last_os_error());
        }
        Ok(Arc::new(Inbox {
            sleeping: AtomicBool::new(false),
            woken: SegQueue::new(),
            // SAFETY: just made, owned by nobody else.
            bell: unsafe { OwnedFd::from_raw_fd(bell) },
            ring: AtomicI32::new(-1),
        }))
    }

    pub fn bell(&self) -> RawFd {
        self.bell.as_raw_fd()
    }

    pub fn set_ring(&self, fd: RawFd) {
        self.ring.store(fd, Ordering::SeqCst);
    }

    /// Ends the shard's wait, if it waits. What the caller has left for it must be visible before.
    pub fn kick(&self) {
        // Pairs with the fence in `drive`: either we see that it sleeps, or it sees what we left.
        fence(Ordering::SeqCst);
        if !self.sleeping.load(Ordering::Relaxed) || !self.sleeping.swap(false, Ordering::SeqCst) {
            return;
        }
        let ours = shard::try_current();
        match ours.as_ref().map(|core| &core.engine) {
            // Rides on the `enter` that this shard makes at the end of its turn anyway.
            Some(crate::engine::Engine::Uring(engine)) if !engine.ring.is_closed() => {
                engine.ring.message(self.ring.load(Ordering::SeqCst));
            }
            _ => {
                let one = 1u64.to_ne_bytes();
                // SAFETY: writes 8 bytes from `one`; the eventfd is open while `self` lives. It cannot fail: the
                // counter would have to be within one of 2^64.
                unsafe { libc::write(self.bell.as_raw_fd(), one.as_ptr().cast(), one.len()) };
            }
        }
    }
}

thread_local! {
    /// The inbox of the shard that this thread runs, for telling home from foreign.
    static HOME: Cell<*const Inbox> = const { Cell::new(std::ptr::null()) };
    /// Tasks that glommio has queued.
    static RUNNABLE: Cell<usize> = const { Cell::new(0) };
}

/// One task's waker: counts its wake-ups on the home thread, and travels through the inbox from others.
struct Node {
    /// glommio's waker while the task lives. Touched on the home thread only.
    inner: UnsafeCell<Option<Waker>>,
    /// Counted in RUNNABLE. Written on the home thread only.
    queued: AtomicBool,
    /// On its way through the inbox, so that a storm of wakes is one entry.
    travelling: AtomicBool,
    home: Arc<Inbox>,
    /// Place in the engine's list of live tasks.
    place: usize,
}

// SAFETY: `inner` is only touched when HOME shows that the thread is the node's own (`wake_home`, `Counted`), and is
// emptied when the task ends, also on that thread, so that a node whose last reference goes elsewhere drops
// nothing of glommio's. Everything else is atomic or shared.
unsafe impl Send for Node {}
// SAFETY: as above.
unsafe impl Sync for Node {}

impl Node {
    fn is_home(&self) -> bool {
        HOME.try_with(|home| std::ptr::eq(home.get(), Arc::as_ptr(&self.home)))
            .unwrap_or(false)
    }

    /// Only on the home thread.
    fn wake_home(&self) {
        if self.queued.swap(true, Ordering::Relaxed) {
            return;
        }
        // SAFETY: the home thread, and glommio's wake only queues, so nothing re-enters while the reference lives.
        if let Some(waker) = unsafe { &*self.inner.get() } {
            RUNNABLE.set(RUNNABLE.get() + 1);
            waker.wake_by_ref();
        }
    }
}

impl Wake for Node {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_home() {
            self.wake_home();
        } else if !self.travelling.swap(true, Ordering::AcqRel) {
            self.home.woken.push(self.clone());
            self.home.kick();
        }
    }
}

/// The future that glommio sees: one task of ours, counted.
struct Counted {
    engine: Rc<Engine>,
    node: Arc<Node>,
    waker: Waker,
    body: Option<Body>,
}

impl Counted {
    fn unqueue(&self) {
        if self.node.queued.swap(false, Ordering::Relaxed) {
            RUNNABLE.set(RUNNABLE.get() - 1);
        }
    }
}

impl Future for Counted {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.unqueue();
        // SAFETY: glommio polls on the home thread; no other reference to the cell lives here.
        let inner = unsafe { &mut *self.node.inner.get() };
        match inner {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *inner = Some(cx.waker().clone()),
        }
        let this = &mut *self;
        let mut polled = Poll::Ready(());
        if !this.engine.scheduler.stopping.get()
            && let Some(body) = &mut this.body
        {
            polled = body.as_mut().poll(&mut Context::from_waker(&this.waker));
        }
        if polled.is_ready() {
            // Dropped here and not by glommio later, so that it happens inside the turn and is counted.
            this.body = None;
            this.engine.scheduler.forget(&this.node);
            // What the body held may have woken this very task; it will not run again, so it must not count as
            // runnable when it is decided below whether the driver takes over.
            this.unqueue();
        }
        this.engine.scheduler.after_poll();
        polled
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.unqueue();
        // SAFETY: glommio drops its tasks on the home thread; the waker goes with it (see the proof of Send).
        drop(unsafe { (*self.node.inner.get()).take() });
    }
}

/// The part of a shard's engine that schedules.
pub(super) struct Scheduler {
    queues: RefCell<Vec<TaskQueueHandle>>,
    driver: RefCell<Option<Waker>>,
    /// The driver has been woken since it last waited.
    handed_over: Cell<bool>,
    polls: Cell<u32>,
    turn: Cell<u64>,
    stopping: Cell<bool>,
    live: RefCell<Live>,
    pub missed_wakes: Cell<u64>,
}

/// All tasks that have not ended, so that a stop reaches those that nobody wakes.
#[derive(Default)]
struct Live {
    nodes: Vec<Option<Arc<Node>>>,
    free: Vec<usize>,
}

impl Scheduler {
    pub fn new() -> Scheduler {
        Scheduler {
            queues: RefCell::default(),
            driver: RefCell::default(),
            handed_over: Cell::new(false),
            polls: Cell::new(0),
            turn: Cell::new(0),
            stopping: Cell::new(false),
            live: RefCell::default(),
            missed_wakes: Cell::new(0),
        }
    }

    fn forget(&self, node: &Node) {
        let mut live = self.live.borrow_mut();
        let gone = live.nodes.get_mut(node.place).and_then(Option::take);
        live.free.push(node.place);
        drop(live);
        drop(gone);
    }

    fn after_poll(&self) {
        let polls = self.polls.get() + 1;
        self.polls.set(polls);
        if RUNNABLE.get() > 0 && polls < TURN_POLLS && clock() < self.turn.get() + TURN_NANOS {
            return;
        }
        if !self.handed_over.replace(true) {
            let waker = self.driver.borrow_mut().take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
        mark_queue();
    }

    /// Waits until the tasks hand over. Only while one is runnable, or nothing would.
    async fn run_tasks(&self) {
        self.polls.set(0);
        self.turn.set(clock());
        self.handed_over.set(false);
        poll_fn(|cx| {
            if self.handed_over.get() {
                return Poll::Ready(());
            }
            *self.driver.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// Tells glommio to look at the other queues after the running task.
pub(super) fn mark_queue() {
    let executor = glommio::executor();
    let mut marking = pin!(executor.yield_task_queue_now());
    // The first poll marks the queue and wakes this waker; that is all that is wanted.
    let _ = marking.as_mut().poll(&mut Context::from_waker(Waker::noop()));
}

/// Queues a task of the calling shard.
pub(super) fn spawn(engine: &Rc<Engine>, priority: Priority, body: Body) {
    let scheduler = &engine.scheduler;
    let place = {
        let mut live = scheduler.live.borrow_mut();
        live.free.pop().unwrap_or_else(|| {
            live.nodes.push(None);
            live.nodes.len() - 1
        })
    };
    let node = Arc::new(Node {
        inner: UnsafeCell::new(None),
        queued: AtomicBool::new(true),
        travelling: AtomicBool::new(false),
        home: engine.inbox.clone(),
        place,
    });
    scheduler.live.borrow_mut().nodes[place] = Some(node.clone());
    RUNNABLE.set(RUNNABLE.get() + 1);
    let counted = Counted {
        engine: engine.clone(),
        waker: Waker::from(node.clone()),
        node,
        body: Some(body),
    };
    let queue = scheduler.queues.borrow()[priority as usize];
    // Into a queue, which only queues; the plain `spawn_local` would run the task at once.
    match glommio::spawn_local_into(counted, queue) {
        Ok(task) => drop(task.detach()),
        Err(error) => panic!("glommio lost its queue: {error}"),
    }
}

/// What the engine keeps of it, by the name that the rest may use.
pub(super) type Executor = LocalExecutor;

/// glommio's executor for the calling thread.
pub(super) fn executor(name: &str) -> Result<LocalExecutor, String> {
    LocalExecutorBuilder::new(Placement::Unbound)
        .name(name)
        .ring_depth(128)
        .io_memory(64 << 10)
        .preempt_timer(Duration::from_secs(3600))
        .make()
        .map_err(|error| error.to_string())
}

/// The main task of `executor`: drives the shard until it is told to stop and has ended its tasks and operations.
pub(super) fn run(executor: &LocalExecutor, engine: &Rc<Engine>, core: &Rc<Core>, start: impl FnOnce()) {
    HOME.set(Arc::as_ptr(&engine.inbox));
    RUNNABLE.set(0);
    executor.run(async {
        *engine.scheduler.queues.borrow_mut() = Priority::ALL
            .into_iter()
            .map(|priority| {
                let name = format!("{priority:?}");
                glommio::executor().create_task_queue(
                    Shares::Static(priority.shares()),
                    Latency::NotImportant,
                    &name,
                )
            })
            .collect();
        start();
        drive(engine, core).await;
        end(engine, core).await;
    });
    HOME.set(std::ptr::null());
}

async fn drive(engine: &Rc<Engine>, core: &Rc<Core>) {
    let inbox = &engine.inbox;
    while !engine.set.is_stopping() {
        if RUNNABLE.get() > 0 {
            engine.scheduler.run_tasks().await;
        }
        let mut wait = None;
        let mut capped = false;
        if RUNNABLE.get() == 0 {
            inbox.sleeping.store(true, Ordering::SeqCst);
            // Pairs with the fence in `Inbox::kick`.
            fence(Ordering::SeqCst);
            if !has_work(engine, core) {
                let now = Instant(clock());
                let until = core.timers.next().map_or(WAIT_MAX, |next| next - now);
                capped = until >= WAIT_MAX;
                wait = Some(until.min(WAIT_MAX));
            }
        }
        let timed_out = engine.ring.enter(wait);
        inbox.sleeping.store(false, Ordering::SeqCst);
        let completions = engine.ring.reap();
        if timed_out && capped && completions == 0 && has_work(engine, core) {
            engine
                .scheduler
                .missed_wakes
                .set(engine.scheduler.missed_wakes.get() + 1);
        }
        core.timers.fire(Instant(clock()));
        take_in(engine, core);
    }
}

fn has_work(engine: &Engine, core: &Core) -> bool {
    !engine.inbox.woken.is_empty()
        || core.memory.has_work()
        || core.mesh.has_work()
        || engine.set.is_stopping()
}

/// Takes in what other threads have left.
fn take_in(engine: &Engine, core: &Rc<Core>) {
    // What comes while we take is left for the next turn, so that this ends.
    for _ in 0..engine.inbox.woken.len() {
        let Some(node) = engine.inbox.woken.pop() else {
            break;
        };
        // A read-modify-write, so that what the wakers wrote before is visible to the task.
        node.travelling.swap(false, Ordering::AcqRel);
        node.wake_home();
    }
    core.memory.reclaim(&core.budget);
    mesh::drain(core, MESSAGES);
}

/// Ends every task without running it, then every operation of the ring.
async fn end(engine: &Rc<Engine>, core: &Rc<Core>) {
    let scheduler = &engine.scheduler;
    scheduler.stopping.set(true);
    loop {
        let nodes: Vec<_> = scheduler.live.borrow().nodes.iter().flatten().cloned().collect();
        if nodes.is_empty() {
            break;
        }
        for node in nodes {
            node.wake_home();
        }
        while RUNNABLE.get() > 0 {
            scheduler.run_tasks().await;
        }
    }
    core.clear();
    while RUNNABLE.get() > 0 {
        scheduler.run_tasks().await;
    }
    engine.ring.cancel_all();
    let deadline = clock() + 10_000_000_000;
    while engine.ring.in_flight() > 0 && clock() < deadline {
        engine.ring.enter(Some(Duration::from_millis(100)));
        engine.ring.reap();
        while RUNNABLE.get() > 0 {
            scheduler.run_tasks().await;
        }
    }
    engine.ring.enter(None);
    engine.ring.reap();
    engine.ring.close();
}
