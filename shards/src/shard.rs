//! One core: its id, its state, and how a set of shards is started and stopped.
//!
//! [`current`] is set by the engine around every poll of a task. There is no other way to reach a shard's
//! state, which is what lets the simulator run fifteen shards of three brokers in one thread.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::rc::Rc;

use crate::budget::Budget;
use crate::buffers::Memory;
use crate::engine::{self, Engine};
use crate::mesh::Port;
use crate::random::Random;
use crate::time::Timers;

/// Which shard of a process, counted from 0. Shard 0 always exists.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a set of shards is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// One entry per shard: the CPU to pin it to, or `None` to leave it to the kernel. 1 to 1024 entries.
    pub shards: Vec<Option<usize>>,
    /// Memory for buffers, for all shards together, in bytes. Each shard gets an equal part, at least 8 MiB.
    pub memory_bytes: usize,
    /// Ask for 2 MiB pages (advice only: without them everything works, at more CPU per O_DIRECT byte).
    pub hugepages: bool,
}

impl Default for Config {
    /// One unpinned shard with 64 MiB: what a test wants.
    fn default() -> Config {
        Config {
            shards: vec![None],
            memory_bytes: 64 << 20,
            hugepages: true,
        }
    }
}

/// Why the shards did not start. The text is one line, fit for an operator.
#[derive(Debug)]
pub enum StartError {
    /// The configuration cannot be right.
    Config(String),
    /// io_uring is not there or not allowed; says what to change.
    IoUring(String),
    /// The kernel refused something else, such as a thread, the CPU or the memory of a shard.
    System(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Config(text) | StartError::IoUring(text) | StartError::System(text) => {
                f.write_str(text)
            }
        }
    }
}

impl std::error::Error for StartError {}

/// Starts the shards and runs `main` as a task (priority Clients) on each; blocks the calling thread and
/// returns when every `main` has returned. Until then a shard whose own `main` is done goes on serving its
/// tasks and messages; after that the tasks that are left are dropped without being run.
///
/// A panic in any task stops the process in release builds (`panic = "abort"`); otherwise it stops all
/// shards and is resumed in the calling thread.
///
/// # Errors
/// [`StartError`] when nothing was run.
pub fn run<F, Fut>(config: Config, main: F) -> Result<(), StartError>
where
    F: Fn(ShardId) -> Fut + Send + Clone + 'static,
    Fut: Future<Output = ()> + 'static,
{
    if config.shards.is_empty() || config.shards.len() > 1024 {
        return Err(StartError::Config(format!(
            "{} shards: must be 1 to 1024",
            config.shards.len()
        )));
    }
    engine::run(config, main)
}

/// The shard that the running task belongs to.
///
/// # Panics
/// Outside of a task of a shard.
pub fn current() -> Shard {
    match try_current() {
        Some(core) => Shard(core),
        None => panic!("shards::current() outside of a shard's task"),
    }
}

/// A handle to the shard that the holder runs on.
#[derive(Clone)]
pub struct Shard(pub(crate) Rc<Core>);

impl Shard {
    /// Which one this is.
    pub fn id(&self) -> ShardId {
        self.0.id
    }

    /// How many shards this process has.
    pub fn count(&self) -> u16 {
        self.0.count
    }

    /// All ids, in order.
    pub fn all(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.0.count).map(ShardId)
    }

    /// The state of type `T` that [`Shard::set_state`] put here.
    ///
    /// # Panics
    /// When there is none: the order of start-up is wrong.
    pub fn state<T: 'static>(&self) -> Rc<T> {
        match self.try_state() {
            Some(state) => state,
            None => panic!("shard {} has no {}", self.0.id, std::any::type_name::<T>()),
        }
    }

    /// The state of type `T`, if it was set.
    pub fn try_state<T: 'static>(&self) -> Option<Rc<T>> {
        let state = self.0.states.borrow().get(&TypeId::of::<T>()).cloned();
        state.and_then(|state| state.downcast().ok())
    }

    /// Keeps `state` in the shard, in place of an earlier one of the same type.
    pub fn set_state<T: 'static>(&self, state: Rc<T>) {
        let earlier = self.0.states.borrow_mut().insert(TypeId::of::<T>(), state);
        drop(earlier); // only now: its Drop may look at the states
    }

    /// Times the engine waited out its cap (1 s) and then found runnable tasks: a wake-up went missing.
    /// Always 0; tests assert it.
    pub fn missed_wakes(&self) -> u64 {
        self.0.engine.missed_wakes()
    }
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shard({} of {})", self.0.id, self.0.count)
    }
}

/// What every shard has, whichever engine it runs on.
pub(crate) struct Core {
    pub id: ShardId,
    pub count: u16,
    pub engine: Engine,
    pub timers: Timers,
    pub mesh: Port,
    pub budget: Rc<Budget>,
    pub memory: Memory,
    pub random: Random,
    states: RefCell<BTreeMap<TypeId, Rc<dyn Any>>>,
}

impl Core {
    pub fn new(
        id: ShardId,
        count: u16,
        engine: Engine,
        mesh: Port,
        budget: Rc<Budget>,
        memory: Memory,
        random: Random,
    ) -> Rc<Core> {
        Rc::new(Core {
            id,
            count,
            engine,
            timers: Timers::default(),
            mesh,
            budget,
            memory,
            random,
            states: RefCell::default(),
        })
    }

    /// Drops all state; the engine calls it with the shard entered, after the last task is gone.
    pub fn clear(&self) {
        let states = std::mem::take(&mut *self.states.borrow_mut());
        drop(states);
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
}

/// The current shard, or `None` on a plain thread (also while a thread's locals are being torn down).
pub(crate) fn try_current() -> Option<Rc<Core>> {
    CURRENT
        .try_with(|current| current.borrow().clone())
        .ok()
        .flatten()
}

/// Calls `f` with the current shard without counting a reference.
///
/// # Panics
/// Outside of a shard.
pub(crate) fn with<R>(f: impl FnOnce(&Rc<Core>) -> R) -> R {
    CURRENT.with(|current| match &*current.borrow() {
        Some(core) => f(core),
        None => panic!("this call of `shards` is only possible inside a shard's task"),
    })
}

/// Makes `core` the current shard until the guard is dropped; the engine does so around every poll.
pub(crate) fn enter(core: Rc<Core>) -> Entered {
    Entered(CURRENT.with(|current| current.replace(Some(core))))
}

/// Puts the shard that was current before back.
pub(crate) struct Entered(Option<Rc<Core>>);

impl Drop for Entered {
    fn drop(&mut self) {
        let earlier = self.0.take();
        let left = CURRENT.try_with(|current| current.replace(earlier));
        drop(left);
    }
}
