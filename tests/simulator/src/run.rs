//! The run of one seed: a broker, its clients and its crashes, the whole reading at the end, and the judgement.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use broker::{Broker, Ended};
use checkers::Rules;
use shards::log::{Levels, Log};
use shards::side::Signal;
use shards::sim::{Crash, Effect, Fault, NodeId, Operation, Stuck, World};
use shards::time::{Instant, sleep};
use storage::planted::Planted;
use tracing::level_filters::LevelFilter;

use crate::plan::Plan;
use crate::recorder::{Fate, Recorder, Topic};
use crate::trouble::Trouble;
use crate::{admin, closed, producer, reader};
use troubled::NetworkEvent;

mod troubled;

/// Virtual time that anything may take that must come to an end.
const PATIENCE: Duration = Duration::from_secs(180);
/// Virtual time after the last crash for producers to finish their jobs.
const WORK: Duration = Duration::from_secs(5);
/// How many wrong things are told of; after the first few they repeat themselves.
const WRONG_MAX: usize = 12;
const PAUSE: Duration = Duration::from_millis(50);

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What must not be. Empty: the run is right.
    pub wrong: Vec<String>,
    /// Of everything that happened; the same in every run of one seed with one broker.
    pub trace_hash: u64,
    /// The last entries of the trace, if they were asked for.
    pub trace: Vec<String>,
    /// What the broker and the clients logged: warnings and errors, with a trace also what is less.
    pub log: Vec<String>,
    /// Messages that were acknowledged.
    pub acked: u64,
    /// Times that the broker was started.
    pub starts: u32,
    /// Virtual milliseconds.
    pub took_ms: u64,
    /// Where a bit was turned.
    pub rot: Option<String>,
    /// What of the trouble has shown.
    pub shown: Shown,
    /// Partitions that answered that they were offline, as the log must name them.
    pub(crate) offline: BTreeSet<String>,
    /// What errors in the log may be about: they were provoked.
    pub(crate) excuses: &'static [&'static str],
}

/// What of a run's trouble has shown: a fault that hits nothing proves nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shown {
    /// Lives of the broker that its disk ended.
    pub failures: u64,
    /// Partitions that were found rotten.
    pub rotten: u64,
    /// Events of the network.
    pub events: u64,
}

/// How a seed is run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Way {
    /// Entries of the trace to keep.
    pub trace: usize,
    /// A mistake that storage makes on purpose.
    pub planted: Option<Planted>,
}

/// Runs a seed.
pub fn run(seed: u64, way: Way) -> Outcome {
    judged(way.trace, |outcome| Run::new(seed, way, outcome).go())
}

/// What comes of `live`. A panic, be it the broker's or the world's, is one of the things that are wrong, and so
/// is an error in the log, unless what was done to the broker excuses it.
pub(crate) fn judged(trace: usize, live: impl FnOnce(&RefCell<Outcome>)) -> Outcome {
    let outcome = RefCell::new(Outcome::default());
    let level = if trace > 0 {
        LevelFilter::INFO
    } else {
        LevelFilter::WARN
    };
    let (log, lines) = Log::buffer(Levels::all(level));
    let logged = || tracing::subscriber::with_default(log, || live(&outcome));
    let panicked = catch_unwind(AssertUnwindSafe(logged)).err();
    let mut outcome = outcome.take();
    outcome.log = lines.take();
    let errors = outcome.log.iter().filter(|line| line.contains(" ERROR "));
    let (excused, errors): (Vec<_>, Vec<_>) = errors
        .cloned()
        .partition(|line| outcome.excuses.iter().any(|excuse| line.contains(excuse)));
    outcome.wrong.extend(errors);
    for name in &outcome.offline {
        if !excused.iter().any(|line| line.contains(name)) {
            outcome
                .wrong
                .push(format!("{name} is offline, and no error in the log names it"));
        }
    }
    if let Some(panic) = panicked {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        outcome.wrong.push(format!("panic: {}", text.unwrap_or_default()));
    }
    let more = outcome.wrong.len().saturating_sub(WRONG_MAX);
    if more > 0 {
        outcome.wrong.truncate(WRONG_MAX);
        outcome.wrong.push(format!("and {more} more"));
    }
    outcome
}

struct Run<'a> {
    world: World,
    node: NodeId,
    plan: Plan,
    way: Way,
    recorder: Rc<Recorder>,
    /// The one that was started last.
    broker: Option<Broker>,
    /// Something was done to this life of the broker that may end it.
    is_provoked: bool,
    /// What happens to the network, in order.
    events: VecDeque<(Instant, NetworkEvent)>,
    outcome: &'a RefCell<Outcome>,
}

/// Something took too long: what, and when it was given up.
struct Late(String);

impl<'a> Run<'a> {
    fn new(seed: u64, way: Way, outcome: &'a RefCell<Outcome>) -> Run<'a> {
        let mut plan = Plan::new(seed);
        plan.options.trace_kept = way.trace;
        let mut world = World::new(seed, plan.options.clone());
        let node = world.add_node();
        // The binary makes the directory before the first shard runs.
        world
            .disk(node)
            .create_dir(crate::broker::LOG_DIR)
            .expect("the disk is empty");
        if let Some(delay) = plan.slow_segments {
            // What is lazy becomes so lazy that the journal fills up meanwhile.
            let slow = Fault::new(Effect::Delay(delay))
                .path(".log")
                .times(u64::MAX)
                .chance(300_000);
            world
                .disk(node)
                .inject(slow.on(&[Operation::Write, Operation::Sync]));
        }
        let recorder = Rc::new(Recorder::new(SocketAddr::new(
            world.address(node),
            crate::broker::PORT,
        )));
        outcome.borrow_mut().excuses = plan.trouble.excuses();
        Run {
            world,
            node,
            plan,
            way,
            recorder,
            broker: None,
            is_provoked: false,
            events: VecDeque::new(),
            outcome,
        }
    }

    fn go(mut self) {
        let end = self.live();
        self.look_at_end();
        let mut outcome = self.outcome.borrow_mut();
        outcome.wrong.extend(self.recorder.problems());
        match end {
            Ok(()) => {
                let anomalies = checkers::check(&self.recorder.history(), &Rules::STRICT);
                outcome.wrong.extend(anomalies.iter().map(ToString::to_string));
            }
            Err(Late(what)) => outcome.wrong.push(what),
        }
        outcome.trace_hash = self.world.trace_hash();
        outcome.trace = self.world.trace_tail();
        outcome.acked = self.recorder.acked();
        outcome.took_ms = self.world.now().0 / 1_000_000;
    }

    fn live(&mut self) -> Result<(), Late> {
        self.start();
        let clients = self.add_clients();
        match self.plan.trouble.clone() {
            Trouble::Errors(errors) => {
                for error in &errors {
                    self.live_with_errors(error);
                }
            }
            Trouble::Full(lives) => lives.iter().for_each(|full| self.live_on_a_full_disk(full)),
            Trouble::Usual | Trouble::ShortWrites(_) | Trouble::Rot(_) | Trouble::Network(_) => {}
        }
        for crash in self.plan.crashes.clone() {
            self.pass(crash.after);
            match crash.during {
                None => self.world.crash(self.node, crash.crash),
                Some((operation, skip)) => self.crash_during(crash.crash, operation, skip),
            }
            self.pass(crash.down);
            self.start();
        }
        self.pass_events();
        let done = |world: &World| clients.iter().all(|client| !world.is_running(*client));
        let in_time = self.world.run_until(WORK, done);
        self.recorder.end();
        if in_time.is_err() {
            self.wait_for("the clients to end", done)?;
        }
        if let Trouble::Rot(rot) = self.plan.trouble.clone() {
            return self.rot(&rot);
        }
        self.read_all()?;
        self.stop()?;
        self.recorder
            .topics()
            .iter()
            .for_each(|topic| self.look_at_closed(topic));
        closed::check_directory(&self.world.disk(self.node), &self.recorder);
        self.start();
        self.read_all()?;
        self.stop()
    }

    fn start(&mut self) {
        self.outcome.borrow_mut().starts += 1;
        self.look_at_end();
        self.is_provoked = false;
        let broker = crate::broker::start(&mut self.world, self.node, &self.plan, self.way.planted);
        self.broker = Some(broker);
    }

    /// A broker ends when it is told to, by a crash of which it never knows, or when its disk has failed.
    fn look_at_end(&self) {
        if let Some(Ended::Failed(error)) = self.broker.as_ref().and_then(Broker::ended) {
            // What failed stands in the log.
            let is_failure = ["os error", "the log directory has failed", "KAFKA_STORAGE_ERROR"];
            let is_failure = is_failure.iter().any(|text| error.contains(text));
            if self.is_provoked && is_failure {
                self.outcome.borrow_mut().shown.failures += 1;
                return;
            }
            self.recorder
                .problem(format!("the broker ended by itself: {error}"));
        }
    }

    fn crash_during(&mut self, crash: Crash, operation: Operation, skip: u64) {
        let disk = self.world.disk(self.node);
        disk.inject(Fault::new(Effect::Crash(crash)).on(&[operation]).skip(skip));
        let node = self.node;
        let found = self
            .world
            .run_until(Duration::from_secs(1), |world| !world.is_running(node));
        disk.remove_crashes();
        if found.is_err() {
            self.world.crash(node, crash); // there were not as many
        }
    }

    fn stop(&mut self) -> Result<(), Late> {
        self.world.signal(self.node, Signal::Terminate);
        let node = self.node;
        self.wait_for("the broker to stop", |world| !world.is_running(node))
    }

    fn wait_for(&mut self, what: &str, condition: impl FnMut(&World) -> bool) -> Result<(), Late> {
        let node = self.node;
        self.world.run_until(PATIENCE, condition).map_err(|stuck: Stuck| {
            let up = if self.world.is_running(node) { "up" } else { "down" };
            Late(format!("waiting for {what}, with the broker {up}: {stuck}"))
        })
    }

    /// Producers, readers and the operator, each on a machine of its own.
    fn add_clients(&mut self) -> Vec<NodeId> {
        let mut clients = Vec::new();
        let (recorder, plan) = (self.recorder.clone(), self.plan.clone());
        clients.push(
            self.world
                .add_client(async move { operate(&recorder, &plan).await }),
        );
        for producer in self.plan.producers.clone() {
            let recorder = self.recorder.clone();
            clients.push(self.world.add_client(async move {
                let name = name_of(producer.topic);
                let Some(topic) = wait_for_topic(&recorder, &name).await else {
                    return;
                };
                let job = producer::Job {
                    topic: topic.id,
                    partition: producer.partition,
                    is_idempotent: producer.is_idempotent,
                    acks: producer.acks,
                    batches: producer.batches,
                    under_way: producer.under_way,
                    records_max: producer.records_max,
                    value_bytes_max: producer.value_bytes_max,
                    pause_us_max: producer.pause_us_max,
                    codec: producer.codec,
                };
                producer::produce(recorder.clone(), job.clone()).await;
                // Once more into the topic that has taken the name over, if one has.
                if let Some(next) = newest(&recorder, &name).filter(|next| next.id != topic.id) {
                    producer::produce(
                        recorder,
                        producer::Job {
                            topic: next.id,
                            ..job
                        },
                    )
                    .await;
                }
            }));
        }
        let mut machines = clients.clone();
        for _ in 0..self.plan.readers {
            let recorder = self.recorder.clone();
            machines.push(
                self.world
                    .add_client(async move { reader::follow(recorder).await }),
            );
        }
        self.plan_events(&machines);
        clients
    }

    /// Reads everything, trying until it works.
    fn read_all(&mut self) -> Result<(), Late> {
        let recorder = self.recorder.clone();
        let last = Rc::new(RefCell::new(String::new()));
        let seen = last.clone();
        let client = self.world.add_client(async move {
            while let Err(error) = read_and_check(&recorder).await {
                *seen.borrow_mut() = error.to_string();
                sleep(PAUSE).await;
            }
        });
        let end = self.wait_for("the whole reading", |world| !world.is_running(client));
        end.map_err(|Late(what)| Late(format!("{what} (last error: {})", last.borrow())))
    }

    fn look_at_closed(&self, topic: &Topic) {
        if topic.fate == Fate::Lives {
            closed::check_topic(&self.world.disk(self.node), &self.recorder, topic);
        }
    }
}

async fn read_and_check(recorder: &Rc<Recorder>) -> io::Result<()> {
    admin::check_topics(recorder).await?;
    reader::read_all(recorder.clone()).await
}

fn name_of(topic: usize) -> String {
    format!("topic-{topic}")
}

/// Creates the topics, and creates some of them anew after a while.
async fn operate(recorder: &Rc<Recorder>, plan: &Plan) {
    for (number, partitions) in plan.topics.iter().enumerate() {
        admin::create(recorder, &name_of(number), *partitions).await;
    }
    sleep(plan.recreate_after).await;
    for number in &plan.recreated {
        let name = name_of(*number);
        let Some(topic) = newest(recorder, &name) else {
            continue;
        };
        admin::delete(recorder, topic.id).await;
        admin::create(recorder, &name, topic.partitions).await;
    }
}

fn newest(recorder: &Recorder, name: &str) -> Option<Topic> {
    recorder
        .topics()
        .into_iter()
        .rfind(|topic| topic.name == name && topic.fate == Fate::Lives)
}

async fn wait_for_topic(recorder: &Recorder, name: &str) -> Option<Topic> {
    while !recorder.is_over() {
        if let Some(topic) = recorder.topics().into_iter().find(|topic| topic.name == name) {
            return Some(topic);
        }
        sleep(PAUSE).await;
    }
    None
}
