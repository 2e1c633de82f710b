//! The engine over glommio's scheduler and one io_uring of our own per shard.
//!
//! [`driver`] is where tasks run and where the shard waits, [`ring`] the operations of the kernel; [`file`] and
//! [`tcp`] build on it. What the ring cannot do goes to [`pool`].

#![allow(
    unsafe_code,
    reason = "clocks, affinity and memory advice of the kernel; each use has its proof"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "this engine is where threads and clocks come from"
)]

use std::any::Any;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use crate::budget::Budget;
use crate::buffers::{Memory, PAGE};
use crate::engine::{self, Body};
use crate::fs::{Entry, Space};
use crate::mesh::{Lanes, Port};
use crate::priorities::Priority;
use crate::random::Random;
use crate::shard::{self, Config, Core, ShardId, StartError};
use crate::{cpus, task, time};
use driver::{Inbox, Scheduler};
use pool::Pool;
use ring::Ring;

mod driver;
mod file;
mod pool;
mod ring;
pub(crate) mod signals;
mod tcp;

pub(crate) use file::{File, Lock};
pub(crate) use signals::Signals;
pub(crate) use tcp::{Accepted, TcpListener, TcpStream};

/// Memory that a shard gets at least.
const MEMORY_MIN: usize = 8 << 20;

/// What a shard has from this engine.
pub(crate) struct Engine {
    ring: Ring,
    inbox: Arc<Inbox>,
    scheduler: Scheduler,
    set: Arc<Set>,
    pool: Pool,
}

/// Makes a shard look into its inbox.
#[derive(Clone)]
pub(crate) struct Kick(Arc<Inbox>);

impl Kick {
    pub fn kick(&self) {
        self.0.kick();
    }
}

/// What the shards of one [`run`] share.
struct Set {
    inboxes: Vec<Arc<Inbox>>,
    /// Shards whose `main` has not returned.
    running: AtomicUsize,
    stopping: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Set {
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        for inbox in &self.inboxes {
            inbox.kick();
        }
    }

    fn main_returned(&self) {
        if self.running.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.stop();
        }
    }
}

/// Nanoseconds of CLOCK_MONOTONIC.
fn clock() -> u64 {
    read_clock(libc::CLOCK_MONOTONIC)
}

fn read_clock(id: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes one timespec; both clocks exist on every Linux.
    unsafe { libc::clock_gettime(id, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

impl Engine {
    pub fn spawn(self: &Rc<Self>, priority: Priority, body: Body) {
        driver::spawn(self, priority, body);
    }

    pub fn before_yield(&self) {
        driver::mark_queue();
    }

    pub fn now(&self) -> u64 {
        clock()
    }

    pub fn wall_ms(&self) -> i64 {
        (read_clock(libc::CLOCK_REALTIME) / 1_000_000) as i64
    }

    pub fn missed_wakes(&self) -> u64 {
        self.scheduler.missed_wakes.get()
    }

    /// See [`crate::buffers::touch`].
    pub async fn touch_memory(&self, core: &Core) {
        touch(self, core).await;
    }

    pub async fn create_dir(&self, path: &Path) -> io::Result<()> {
        file::create_dir(self, path).await
    }

    pub async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        file::rename(self, from, to).await
    }

    pub async fn remove_file(&self, path: &Path) -> io::Result<()> {
        file::unlink(self, path, 0).await
    }

    pub async fn remove_dir(&self, path: &Path) -> io::Result<()> {
        file::unlink(self, path, libc::AT_REMOVEDIR).await
    }

    pub async fn sync_dir(self: &Rc<Self>, path: &Path) -> io::Result<()> {
        file::sync_dir(self, path).await
    }

    pub async fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        file::read_dir(self, path).await
    }

    pub async fn metadata(&self, path: &Path) -> io::Result<Entry> {
        file::metadata(self, path).await
    }

    pub async fn space(&self, path: &Path) -> io::Result<Space> {
        file::space(self, path).await
    }

    pub async fn lock(&self, path: &Path) -> io::Result<Lock> {
        file::lock(self, path).await
    }

    pub fn signals(&self) -> io::Result<Signals> {
        signals::signals()
    }
}

/// See [`crate::shard::run`].
pub(crate) fn run<F, Fut>(config: Config, main: F) -> Result<(), StartError>
where
    F: Fn(ShardId) -> Fut + Send + Clone + 'static,
    Fut: Future<Output = ()> + 'static,
{
    // Before glommio, which panics where io_uring is refused.
    crate::checks::io_uring().map_err(StartError::IoUring)?;
    let system = |what: &str, error: &dyn std::fmt::Display| StartError::System(format!("{what}: {error}"));
    let count = config.shards.len();
    let inboxes = (0..count)
        .map(|_| Inbox::new())
        .collect::<io::Result<Vec<_>>>()
        .map_err(|error| system("eventfd", &error))?;
    let lanes = Lanes::new(count as u16);
    let set = Arc::new(Set {
        inboxes,
        running: AtomicUsize::new(count),
        stopping: AtomicBool::new(false),
        panic: Mutex::new(None),
    });
    let pool = Pool::new(2).map_err(|error| system("a thread for file calls", &error))?;

    let (report, reports) = mpsc::channel();
    let mut threads = Vec::new();
    for (index, cpu) in config.shards.iter().copied().enumerate() {
        let id = ShardId(index as u16);
        let (go, may_go) = mpsc::channel::<()>();
        let (config, lanes, set, pool) = (config.clone(), lanes.clone(), set.clone(), pool.clone());
        let (report, main) = (report.clone(), main.clone());
        let body = move || {
            let thread_set = set.clone();
            let ended = catch_unwind(AssertUnwindSafe(move || {
                let seat = match Seat::new(id, cpu, &config, lanes, set, pool) {
                    Ok(seat) => seat,
                    Err(text) => return drop(report.send(Err(format!("shard {id}: {text}")))),
                };
                // The starter waits for every report; when it refuses to go, nothing has run.
                if report.send(Ok(())).is_ok() && may_go.recv().is_ok() {
                    seat.run(main);
                }
            }));
            if let Err(payload) = ended {
                thread_set
                    .panic
                    .lock()
                    .unwrap_or_else(|poisoned| poisoned.into_inner())
                    .get_or_insert(payload);
                thread_set.stop();
            }
        };
        let thread = std::thread::Builder::new()
            .name(format!("shard-{id}"))
            .spawn(body);
        threads.push((thread.map_err(|error| system("a shard's thread", &error))?, go));
    }
    drop(report);

    let mut failed = None;
    for _ in 0..count {
        match reports.recv() {
            Ok(Ok(())) => {}
            Ok(Err(text)) => failed = Some(StartError::System(text)),
            // A thread panicked before it reported; the payload tells more.
            Err(_) => break,
        }
    }
    let panicked = || {
        set.panic
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .take()
    };
    let go = failed.is_none() && !set.is_stopping();
    let mut waiting = Vec::new();
    for (thread, gate) in threads {
        if go {
            let _ = gate.send(()); // a thread that is gone shows below
        }
        drop(gate);
        waiting.push(thread);
    }
    for thread in waiting {
        let _ = thread.join(); // its panic was caught inside
    }
    if let Some(payload) = panicked() {
        resume_unwind(payload);
    }
    failed.map_or(Ok(()), Err)
}

/// A shard that is ready to run, on its thread.
struct Seat {
    executor: driver::Executor,
    engine: Rc<Engine>,
    core: Rc<Core>,
}

impl Seat {
    fn new(
        id: ShardId,
        cpu: Option<usize>,
        config: &Config,
        lanes: Arc<Lanes>,
        set: Arc<Set>,
        pool: Pool,
    ) -> Result<Seat, String> {
        if let Some(cpu) = cpu {
            cpus::pin(cpu).map_err(|error| format!("cannot be pinned to CPU {cpu}: {error}"))?;
        }
        let count = set.inboxes.len();
        let executor = driver::executor(&format!("shard-{id}"))?;
        let inbox = set
            .inboxes
            .get(usize::from(id.0))
            .cloned()
            .ok_or("has no inbox")?;
        let ring = Ring::new(inbox.bell(), cpu).map_err(|error| format!("io_uring: {error}"))?;
        inbox.set_ring(ring.fd());
        let total = (config.memory_bytes / count).max(MEMORY_MIN);
        let memory = Memory::map(total, config.hugepages, engine::Kick::Uring(Kick(inbox.clone())))
            .map_err(|error| format!("{total} bytes of memory: {error}"))?;
        let kicks = set
            .inboxes
            .iter()
            .map(|inbox| engine::Kick::Uring(Kick(inbox.clone())))
            .collect();
        let engine = Rc::new(Engine {
            ring,
            inbox,
            scheduler: Scheduler::new(),
            set,
            pool,
        });
        let core = Core::new(
            id,
            count as u16,
            engine::Engine::Uring(engine.clone()),
            Port::new(id, lanes, kicks),
            Budget::new(total),
            memory,
            Random::from_system()?,
        );
        Ok(Seat {
            executor,
            engine,
            core,
        })
    }

    fn run<F, Fut>(self, main: F)
    where
        F: Fn(ShardId) -> Fut,
        Fut: Future<Output = ()> + 'static,
    {
        let Seat {
            executor,
            engine,
            core,
        } = self;
        let entered = shard::enter(core.clone());
        driver::run(&executor, &engine, &core, || {
            let set = engine.set.clone();
            let main = main(core.id);
            task::spawn(Priority::Clients, async move {
                main.await;
                set.main_returned();
            })
            .detach();
        });
        drop(entered);
    }
}

/// What is populated at a time: where the kernel has no large page to give, its own pages are zeroed one by one, and a
/// client would wait for a whole page of ours.
const STEP: usize = 256 << 10;
const _: () = assert!(PAGE.is_multiple_of(STEP));
/// Rests nine times as long as a step took: a tenth of the core, whatever a page costs on this host.
const REST: u32 = 9;

/// Touches the shard's pages one by one and registers them with the ring, as far as the kernel allows.
async fn touch(engine: &Engine, core: &Core) {
    let region = core.memory.region();
    let mut register = engine.ring.prepare_pages(region.pages());
    for index in 0..region.pages() {
        let Some(page) = region.page(index) else { return };
        for offset in (0..PAGE).step_by(STEP) {
            let began = time::now();
            // SAFETY: a part of a whole page of the mapping; populating changes no byte. Old kernels answer EINVAL:
            // then pages are touched when first used.
            unsafe { libc::madvise(page.as_ptr().add(offset).cast(), STEP, libc::MADV_POPULATE_WRITE) };
            if register && offset + STEP == PAGE {
                // SAFETY: the mapping lives as long as the core's memory, which `Seat::run` holds longer than the
                // ring works.
                register = unsafe { engine.ring.register_page(index, page.as_ptr(), PAGE) };
            }
            time::sleep(began.elapsed() * REST).await;
        }
    }
}
