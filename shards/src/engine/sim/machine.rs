//! What all nodes of a world share: the clock, the scheduler, the random streams and the trace.
//!
//! One step is one choice: an event that is due, or a turn of one task of one shard. While anything can run
//! the clock moves by what turns take; when nothing can, it jumps to the next event. What a newcomer would get
//! wrong: everything here is borrowed for moments only and never while foreign code runs, because a
//! future, or its `Drop`, may call back into the machine at any point.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use super::disk::Device;
use super::events::{Event, Events};
use super::network::Net;
use super::options::Options;
use super::random::{Purpose, Stream};
use super::tasks::{TaskId, Tasks};
use super::trace::{Trace, What};
use super::{Crash, Engine, Kick};
use crate::budget::Budget;
use crate::buffers::Memory;
use crate::engine::{self, Body};
use crate::mesh::{self, Lanes, Port};
use crate::random::Random;
use crate::shard::{self, Core, ShardId};
use crate::side::Signal;

/// The wall clock of every node at the start of the world, before its own deviation: 2026-11-01.
const WALL_MS: i64 = 1_793_491_200_000;
/// How far a node's wall clock may be off, in milliseconds.
const WALL_OFF_MS: u64 = 500;

pub(crate) struct Machine {
    clock: Cell<u64>,
    pub(crate) options: Options,
    seed: u64,
    trace: RefCell<Trace>,
    pub(crate) schedule: RefCell<Stream>,
    pub(crate) disk_random: RefCell<Stream>,
    pub(crate) network_random: RefCell<Stream>,
    events: RefCell<Events>,
    tasks: RefCell<Tasks>,
    shards: RefCell<Vec<Seat>>,
    /// Shards that have something to run and are not busy.
    active: RefCell<Vec<usize>>,
    woken: RefCell<Vec<(usize, TaskId)>>,
    pub(crate) nodes: RefCell<Vec<Node>>,
    pub(crate) network: RefCell<Net>,
    kicks: Arc<Kicks>,
    processes: Cell<u64>,
}

/// One shard of one process; its place is never used again.
struct Seat {
    node: usize,
    /// `None` when the process is gone.
    core: Option<Rc<Core>>,
    /// The seat of shard 0 of the process.
    first: usize,
    ready: Vec<TaskId>,
    is_active: bool,
    busy_until: u64,
    timers_at: u64,
    /// By the sender's shard number: whether a look into that queue is planned.
    mesh_planned: Vec<bool>,
}

/// A machine with a disk, an address and perhaps a process.
pub(crate) struct Node {
    pub address: IpAddr,
    pub device: Device,
    pub process: Option<Process>,
    /// A node that crashed without its operating system's knowledge answers no packet.
    pub is_powered: bool,
    wall_off_ms: i64,
}

/// A started set of shards.
pub(crate) struct Process {
    pub number: u64,
    first: usize,
    count: usize,
    mains_left: usize,
    signals: VecDeque<Signal>,
    signal_waker: Option<Waker>,
}

/// Who was kicked since the last look.
#[derive(Default)]
pub(crate) struct Kicks(Mutex<Vec<usize>>);

impl Kicks {
    pub(crate) fn push(&self, seat: usize) {
        self.with(|kicked| kicked.push(seat));
    }

    fn with<R>(&self, f: impl FnOnce(&mut Vec<usize>) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }
}

impl Machine {
    pub(crate) fn new(seed: u64, options: Options) -> Rc<Machine> {
        Rc::new(Machine {
            clock: Cell::new(1_000_000),
            seed,
            trace: RefCell::new(Trace::new(options.trace_kept)),
            schedule: RefCell::new(Stream::new(seed, Purpose::Schedule)),
            disk_random: RefCell::new(Stream::new(seed, Purpose::Disk)),
            network_random: RefCell::new(Stream::new(seed, Purpose::Network)),
            events: RefCell::default(),
            tasks: RefCell::default(),
            shards: RefCell::default(),
            active: RefCell::default(),
            woken: RefCell::default(),
            nodes: RefCell::default(),
            network: RefCell::default(),
            kicks: Arc::default(),
            processes: Cell::new(0),
            options,
        })
    }

    pub(crate) fn now(&self) -> u64 {
        self.clock.get()
    }

    pub(crate) fn wall_ms(&self, node: usize) -> i64 {
        WALL_MS + self.nodes.borrow()[node].wall_off_ms + (self.now() / 1_000_000) as i64
    }

    pub(crate) fn note(&self, what: What, node: usize, a: u64, b: u64) {
        self.trace.borrow_mut().note(self.now(), what, node as u64, a, b);
    }

    pub(crate) fn note_named(&self, what: What, node: usize, a: u64, b: u64, text: &Rc<str>) {
        self.trace
            .borrow_mut()
            .note_named(self.now(), what, node as u64, a, b, text);
    }

    pub(crate) fn trace_hash(&self) -> u64 {
        self.trace.borrow().hash()
    }

    pub(crate) fn trace_tail(&self) -> Vec<String> {
        self.trace.borrow().tail()
    }

    pub(crate) fn plan(&self, at: u64, event: Event) {
        self.events.borrow_mut().plan(at, event);
    }

    // --- nodes and processes -----------------------------------------------------------------------

    pub(crate) fn add_node(&self, address: IpAddr) -> usize {
        let mut nodes = self.nodes.borrow_mut();
        let mut random = Stream::keyed(self.seed, 1000 + nodes.len() as u64);
        let wall_off_ms = random.below(2 * WALL_OFF_MS) as i64 - WALL_OFF_MS as i64;
        let device = Device::new(&self.options.disk);
        nodes.push(Node {
            address,
            device,
            process: None,
            is_powered: true,
            wall_off_ms,
        });
        nodes.len() - 1
    }

    pub(crate) fn is_running(&self, node: usize) -> bool {
        self.nodes.borrow()[node].process.is_some()
    }

    /// The number of the process that runs on the node.
    pub(crate) fn process(&self, node: usize) -> Option<u64> {
        self.nodes.borrow()[node]
            .process
            .as_ref()
            .map(|process| process.number)
    }

    pub(crate) fn start<F, Fut>(self: &Rc<Machine>, node: usize, count: u16, main: F)
    where
        F: Fn(ShardId) -> Fut + Clone + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        assert!(!self.is_running(node), "node {node} runs already");
        assert!(count > 0, "a process without shards");
        let number = self.processes.get();
        self.processes.set(number + 1);
        self.note(What::Start, node, number, u64::from(count));
        let first = self.shards.borrow().len();
        let total = usize::from(count);
        {
            let mut nodes = self.nodes.borrow_mut();
            nodes[node].is_powered = true;
            nodes[node].process = Some(Process {
                number,
                first,
                count: total,
                mains_left: total,
                signals: VecDeque::new(),
                signal_waker: None,
            });
        }
        let lanes = Lanes::new(count);
        let kick = |seat| {
            engine::Kick::Sim(Kick {
                seat,
                kicks: self.kicks.clone(),
            })
        };
        for id in (0..count).map(ShardId) {
            let seat = first + usize::from(id.0);
            let kicks = (first..first + total).map(kick).collect();
            let random = Stream::keyed(self.seed, 1_000_000 + seat as u64).next_u64();
            let core = Core::new(
                id,
                count,
                engine::Engine::Sim(Engine {
                    machine: self.clone(),
                    seat,
                    node,
                    process: number,
                }),
                Port::new(id, lanes.clone(), kicks),
                Budget::new(self.options.memory_bytes / total),
                Memory::from_heap(kick(seat)),
                Random::from_seed(random),
            );
            self.shards.borrow_mut().push(Seat {
                node,
                core: Some(core),
                first,
                ready: Vec::new(),
                is_active: false,
                busy_until: 0,
                timers_at: u64::MAX,
                mesh_planned: vec![false; total],
            });
        }
        for id in (0..count).map(ShardId) {
            let (main, machine) = (main.clone(), self.clone());
            let body = async move {
                main(id).await;
                machine.main_done(node, number);
            };
            self.spawn(first + usize::from(id.0), Box::pin(body));
        }
    }

    fn main_done(&self, node: usize, number: u64) {
        if let Some(process) = &mut self.nodes.borrow_mut()[node].process
            && process.number == number
        {
            process.mains_left -= 1;
        }
    }

    pub(crate) fn signal(&self, node: usize, signal: Signal) {
        self.note(What::Signal, node, signal as u64, 0);
        let waker = self.nodes.borrow_mut()[node]
            .process
            .as_mut()
            .and_then(|process| {
                process.signals.push_back(signal);
                process.signal_waker.take()
            });
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The next signal of the process, or a promise to wake for it.
    pub(crate) fn poll_signal(&self, node: usize, number: u64, cx: &Context<'_>) -> Poll<Signal> {
        let mut nodes = self.nodes.borrow_mut();
        match &mut nodes[node].process {
            Some(process) if process.number == number => match process.signals.pop_front() {
                Some(signal) => Poll::Ready(signal),
                None => {
                    process.signal_waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            },
            _ => Poll::Pending,
        }
    }

    /// Ends the process on the node at once: its tasks are dropped without being run.
    pub(crate) fn crash(&self, node: usize, crash: Crash) {
        let Some(process) = self.nodes.borrow_mut()[node].process.take() else {
            if crash == Crash::PowerCut {
                self.note(What::Crash, node, u64::MAX, crash as u64);
                let mut nodes = self.nodes.borrow_mut();
                nodes[node].is_powered = false;
                nodes[node]
                    .device
                    .crash(crash, &mut self.disk_random.borrow_mut());
            }
            return;
        };
        self.note(What::Crash, node, process.number, crash as u64);
        self.nodes.borrow_mut()[node].is_powered = crash == Crash::Kill;
        let seats = process.first..process.first + process.count;
        self.active.borrow_mut().retain(|seat| !seats.contains(seat));
        for seat in seats {
            let core = {
                let mut shards = self.shards.borrow_mut();
                shards[seat].ready.clear();
                shards[seat].core.take()
            };
            let Some(core) = core else { continue };
            let tasks = self.tasks.borrow_mut().take_all(seat);
            let entered = shard::enter(core.clone());
            drop(tasks);
            core.clear();
            drop(entered);
        }
        self.end_connections(node, process.number, crash);
        let mut nodes = self.nodes.borrow_mut();
        let mut random = self.disk_random.borrow_mut();
        nodes[node].device.crash(crash, &mut random);
    }

    /// Ends every process, so that nothing of the world holds the machine any more; and empties the disks, in
    /// case a cycle in what a process left behind (which a real process would not survive) holds it all the same.
    pub(crate) fn end(&self) {
        let count = self.nodes.borrow().len();
        (0..count).for_each(|node| self.crash(node, Crash::Kill));
        for node in self.nodes.borrow_mut().iter_mut() {
            node.device = Device::new(&self.options.disk);
        }
    }

    // --- tasks -------------------------------------------------------------------------------------

    pub(crate) fn spawn(&self, seat: usize, body: Body) {
        let task = self.tasks.borrow_mut().add(seat, body);
        let node = self.shards.borrow()[seat].node;
        self.note(What::Spawn, node, seat as u64, task.number);
    }

    /// Makes one choice and acts on it. False when nothing will ever happen again.
    pub(crate) fn step(&self) -> bool {
        let event = self.events.borrow_mut().pop_due(self.now());
        if let Some(event) = event {
            self.on_event(event);
            return true;
        }
        self.take_woken();
        if let Some((seat, task)) = self.choose() {
            self.turn(seat, task);
            return true;
        }
        let next = self.events.borrow().next_at();
        match next {
            Some(at) => {
                self.clock.set(at.max(self.now()));
                true
            }
            None => false,
        }
    }

    fn take_woken(&self) {
        // Kicks from outside of any turn: memory that an operation gave back when it was done.
        let kicked = self.kicks.with(std::mem::take);
        for to in kicked {
            self.plan_mesh(&mut self.shards.borrow_mut(), to, to);
        }
        let mut woken = self.woken.borrow_mut();
        self.tasks.borrow_mut().take_woken(&mut woken);
        let mut shards = self.shards.borrow_mut();
        for (seat, task) in woken.drain(..) {
            shards[seat].ready.push(task);
            self.activate(&mut shards[seat], seat);
        }
    }

    fn activate(&self, shard: &mut Seat, seat: usize) {
        if !shard.is_active && !shard.ready.is_empty() && shard.busy_until <= self.now() {
            shard.is_active = true;
            self.active.borrow_mut().push(seat);
        }
    }

    /// Some task of some shard.
    fn choose(&self) -> Option<(usize, TaskId)> {
        let mut active = self.active.borrow_mut();
        let mut shards = self.shards.borrow_mut();
        let mut random = self.schedule.borrow_mut();
        while !active.is_empty() {
            let index = random.index(active.len());
            let seat = active[index];
            let shard = &mut shards[seat];
            if !shard.ready.is_empty() {
                let task = random.index(shard.ready.len());
                return Some((seat, shard.ready.swap_remove(task)));
            }
            shard.is_active = false;
            active.swap_remove(index);
        }
        None
    }

    fn turn(&self, seat: usize, task: TaskId) {
        let (core, node) = {
            let shards = self.shards.borrow();
            (shards[seat].core.clone(), shards[seat].node)
        };
        let taken = self.tasks.borrow_mut().take(task);
        let (Some(core), Some((mut body, waker))) = (core, taken) else {
            return;
        };
        self.note(What::Turn, node, seat as u64, task.number);
        let entered = shard::enter(core.clone());
        core.memory.reclaim(&core.budget);
        match body.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(()) => {
                drop(body);
                self.tasks.borrow_mut().remove(task);
            }
            Poll::Pending => {
                let gone = self.tasks.borrow_mut().put_back(task, body);
                drop(gone);
            }
        }
        self.after(seat, &core);
        drop(entered);
        drop(waker);
        self.pass_time(seat);
        self.wake_for_nothing();
        self.end_if_done(node);
    }

    /// Looks after what code of the shard `seat` may have left: kicks, timers.
    fn after(&self, seat: usize, core: &Core) {
        let next = core.timers.next().map(|deadline| deadline.0);
        let mut shards = self.shards.borrow_mut();
        if let Some(next) = next
            && next < shards[seat].timers_at
        {
            shards[seat].timers_at = next;
            let at = next.max(self.now()) + self.lateness();
            self.plan(at, Event::Timers { shard: seat });
        }
        let kicked = self.kicks.with(std::mem::take);
        for to in kicked {
            let same = shards[to].first == shards[seat].first;
            let from = if same { seat } else { to };
            self.plan_mesh(&mut shards, from, to);
        }
    }

    fn plan_mesh(&self, shards: &mut [Seat], from: usize, to: usize) {
        let index = from - shards[to].first;
        if !std::mem::replace(&mut shards[to].mesh_planned[index], true) {
            let options = &self.options.schedule;
            let delay = self.draw(options.slow_mesh_ppm, &options.mesh_ns, &options.slow_mesh_ns);
            self.plan(self.now() + delay, Event::Mesh { from, to });
        }
    }

    fn lateness(&self) -> u64 {
        let options = &self.options.schedule;
        self.draw(
            options.late_timer_ppm,
            &options.timer_late_ns,
            &options.late_timer_ns,
        )
    }

    /// An ordinary time, or with a chance of `ppm` a special one.
    fn draw(&self, ppm: u32, ordinary: &RangeInclusive<u64>, special: &RangeInclusive<u64>) -> u64 {
        let mut random = self.schedule.borrow_mut();
        let range = if random.chance(ppm) { special } else { ordinary };
        random.between(*range.start(), *range.end())
    }

    fn pass_time(&self, seat: usize) {
        let options = &self.options.schedule;
        let mut random = self.schedule.borrow_mut();
        self.clock
            .set(self.now() + random.between(*options.turn_ns.start(), *options.turn_ns.end()));
        if random.chance(options.long_turn_ppm) {
            let long = random.between(*options.long_turn_ns.start(), *options.long_turn_ns.end());
            let until = self.now() + long;
            let mut shards = self.shards.borrow_mut();
            shards[seat].busy_until = until;
            shards[seat].is_active = false;
            self.active.borrow_mut().retain(|active| *active != seat);
            self.plan(until, Event::Free { shard: seat });
        }
    }

    fn wake_for_nothing(&self) {
        let mut random = self.schedule.borrow_mut();
        if random.chance(self.options.schedule.spurious_wake_ppm)
            && let Some(number) = self.tasks.borrow().wake_slot(|slots| random.index(slots))
        {
            self.note(What::Wake, 0, number, 0);
        }
    }

    fn end_if_done(&self, node: usize) {
        let done = self.nodes.borrow()[node]
            .process
            .as_ref()
            .is_some_and(|process| process.mains_left == 0);
        if done {
            self.crash(node, Crash::Kill);
        }
    }

    fn on_event(&self, event: Event) {
        match event {
            Event::Timers { shard } => self.on_timers(shard),
            Event::Free { shard } => {
                let mut shards = self.shards.borrow_mut();
                self.activate(&mut shards[shard], shard);
            }
            Event::Mesh { from, to } => self.on_mesh(from, to),
            Event::Disk { node, operation } => self.disk_done(node, operation),
            Event::Packet { connection, to } => self.on_packet(connection, to),
            Event::GiveUp {
                connection,
                side,
                since,
            } => self.on_give_up(connection, side, since),
            Event::Connect { attempt } => self.on_connect(attempt),
        }
    }

    /// The shard, if its process lives and it is not in a long turn; then the event comes back after it.
    fn seated(&self, seat: usize, event: Event) -> Option<Rc<Core>> {
        let shards = self.shards.borrow();
        let core = shards[seat].core.clone()?;
        if shards[seat].busy_until > self.now() {
            self.plan(shards[seat].busy_until, event);
            return None;
        }
        Some(core)
    }

    fn on_timers(&self, seat: usize) {
        let Some(core) = self.seated(seat, Event::Timers { shard: seat }) else {
            return;
        };
        self.shards.borrow_mut()[seat].timers_at = u64::MAX;
        let entered = shard::enter(core.clone());
        let fired = core.timers.fire(crate::time::Instant(self.now()));
        self.after(seat, &core);
        drop(entered);
        self.note(
            What::Timer,
            self.shards.borrow()[seat].node,
            seat as u64,
            fired as u64,
        );
    }

    fn on_mesh(&self, from: usize, to: usize) {
        let Some(core) = self.seated(to, Event::Mesh { from, to }) else {
            return;
        };
        let index = {
            let mut shards = self.shards.borrow_mut();
            let index = from - shards[to].first;
            shards[to].mesh_planned[index] = false;
            index
        };
        let limit = match self.schedule.borrow_mut().below(4) {
            0 => 1,
            1 => 3,
            _ => mesh::CAPACITY,
        };
        let entered = shard::enter(core.clone());
        core.memory.reclaim(&core.budget);
        let done = match from == to {
            true => 0,
            false => mesh::drain_from(&core, ShardId(index as u16), limit),
        };
        self.after(to, &core);
        drop(entered);
        if done > 0 && core.mesh.has_work() {
            self.plan_mesh(&mut self.shards.borrow_mut(), from, to);
        }
        self.note(
            What::Mesh,
            self.shards.borrow()[to].node,
            from as u64,
            (to as u64) << 32 | done as u64,
        );
    }
}
