//! One suite of tests, run on every engine: what all of the house may rely on.
//!
//! A test is an `async fn` that runs as `main` on each shard; most do their work on shard 0 and let the
//! others serve. What only a real machine has (plain threads, CPUs) is in `uring.rs`.

#![allow(
    clippy::disallowed_methods,
    reason = "tests start threads and make directories"
)]

mod suite {
    pub mod files;
    pub mod memory;
    pub mod mesh;
    pub mod sockets;
    pub mod tasks;
}

use std::future::Future;
use std::net::IpAddr;
use std::path::PathBuf;
use std::rc::Rc;

use shards::sync::Notify;
use shards::{Priority, ShardId};

/// Where a test runs.
#[derive(Clone, Debug)]
pub struct At {
    /// An empty directory of the test's own.
    pub dir: PathBuf,
    /// The address of the machine.
    pub ip: IpAddr,
}

/// Spawns a task that nobody waits for.
pub fn go(future: impl Future<Output = ()> + 'static) {
    shards::spawn(Priority::Clients, future).detach();
}

/// Waits until `condition` holds, yielding in between.
pub async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        shards::time::sleep(std::time::Duration::from_micros(200)).await;
    }
}

/// Counts down to zero and tells.
#[derive(Clone)]
pub struct Latch(Rc<(std::cell::Cell<usize>, Notify)>);

impl Latch {
    pub(crate) fn new(count: usize) -> Latch {
        Latch(Rc::new((std::cell::Cell::new(count), Notify::new())))
    }

    pub(crate) fn count_down(&self) {
        self.0.0.set(self.0.0.get() - 1);
        if self.0.0.get() == 0 {
            self.0.1.notify_one();
        }
    }

    pub(crate) async fn wait(&self) {
        self.0.1.notified().await;
    }
}

mod on_uring {
    use super::*;

    pub fn run<F, Fut>(count: usize, test: F)
    where
        F: Fn(ShardId, At) -> Fut + Send + Clone + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let at = At {
            dir: dir.path().to_path_buf(),
            ip: IpAddr::from([127, 0, 0, 1]),
        };
        let config = shards::Config {
            shards: vec![None; count],
            ..shards::Config::default()
        };
        shards::run(config, move |id| {
            let test = test(id, at.clone());
            async move {
                test.await;
                assert_eq!(shards::current().missed_wakes(), 0, "a wake-up went missing");
            }
        })
        .unwrap();
    }
}

#[cfg(feature = "simulation")]
mod on_sim {
    use super::*;
    use shards::sim::{Options, World};

    /// Enough for most unlucky orders to come up.
    const SEEDS: u64 = 20;

    pub fn run<F, Fut>(count: u16, test: F)
    where
        F: Fn(ShardId, At) -> Fut + Send + Clone + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        for seed in 0..SEEDS {
            let mut options = Options::default();
            options.disk.short_write_ppm = 20_000;
            // The tests make their own resets and overlaps, or count on there being none.
            options.network.reset_ppm = 0;
            options.disk.still_water = false;
            let mut world = World::new(seed, options);
            let node = world.add_node();
            let at = At {
                dir: PathBuf::from("/"),
                ip: world.address(node),
            };
            let test = test.clone();
            world.start(node, count, move |id| test(id, at.clone()));
            let end = world.run_to_end(std::time::Duration::from_secs(600), &[node]);
            end.unwrap_or_else(|stuck| panic!("seed {seed}: {stuck}"));
        }
    }
}

macro_rules! tests {
    ($($module:ident: $($name:ident($shards:expr)),* $(,)?;)*) => {
        mod uring {
            $($(
                #[test]
                fn $name() {
                    crate::on_uring::run($shards, crate::suite::$module::$name);
                }
            )*)*
        }

        #[cfg(feature = "simulation")]
        mod sim {
            $($(
                #[test]
                fn $name() {
                    crate::on_sim::run($shards, crate::suite::$module::$name);
                }
            )*)*
        }
    };
}

tests! {
    tasks: spawn_only_queues(1), a_thousand_tasks(1), cancelled_tasks_leak_nothing(1), a_task_may_wake_itself_as_it_ends(1),
        timers(1), yields_are_fair(1),
        gates(1), waiting(1), background_gets_its_share(1), state_lives_in_the_shard(2), random_and_clock(1);
    mesh: calls_keep_their_order(2), calls_to_oneself(1), full_queues_drop_nothing(2), many_pairs(4);
    memory: buffers_and_chunks(1), floors_hold(1), returned_from_another_shard(2), waiting_is_fifo(1),
        memory_comes_back(1);
    files: written_and_read(1), direct_and_linked(1), names(1), allocated(1), many_at_once(1), dropped_futures(1),
        locks(1), errors(1), nameless(1);
    sockets: echo(1), half_close(1), reset(1), slow_reader(1), many_connections(1), refused(1), closing(1),
        handed_over(2), spread_evenly(3);
}
