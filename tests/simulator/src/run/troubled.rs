//! How a run bears its trouble: lives of the broker on a failing or full disk, a turned bit, a network with events.
//!
//! What is expected is what `durability.md` calls D5, D13 and D14: after a failed write or sync the node ends with
//! the failure and nothing is acknowledged any more; rot takes the partitions that it concerns offline, by name, and
//! no others; whatever was acknowledged before is there on a healthy disk.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use broker::Ended;
use protocol::compression::Codec;
use shards::sim::{Crash, Effect, Fault, NodeId, Operation, World};
use shards::time::{Instant, sleep};
use storage::offline::dump_journal;

use super::{Late, PAUSE, Run};
use crate::reader::Rotten;
use crate::recorder::Fate;
use crate::trouble::{DiskError, Full, Rot, Trouble, What};
use crate::{admin, broker::LOG_DIR, producer, reader};

/// How long after a failed operation the node may go on.
const END_PATIENCE: Duration = Duration::from_secs(5);
/// How long a life goes on in which the node need not end.
const LIFE: Duration = Duration::from_millis(700);
/// What a slow packet takes longer.
const SLOWER: Duration = Duration::from_millis(300);
/// Places that are looked at for a byte that is not zero.
const TRIES: usize = 200;

impl Run<'_> {
    /// A life in which operations of the disk fail.
    pub(super) fn live_with_errors(&mut self, error: &DiskError) {
        self.pass(error.after);
        let disk = self.world.disk(self.node);
        let fault = Fault::new(Effect::Error(error.errno))
            .on(&[error.operation])
            .path(error.path)
            .skip(error.skip)
            .times(error.times);
        self.is_provoked = true;
        disk.inject(fault);
        let node = self.node;
        // Whether it ends is its own affair, unless what failed is what vouches for durability.
        let ended = self.world.run_until(LIFE, |world| !world.is_running(node));
        let was_hit = disk.errors_left() < error.times;
        if ended.is_err() && was_hit && matches!(error.operation, Operation::Write | Operation::Sync) {
            let ended = self
                .world
                .run_until(END_PATIENCE, |world| !world.is_running(node));
            if ended.is_err() {
                self.recorder.problem(format!(
                    "the broker goes on after a {:?} of {:?} failed",
                    error.operation, error.path
                ));
            }
        }
        disk.remove_errors();
        self.end_life(error.crash);
    }

    /// A life in which the disk fills up.
    pub(super) fn live_on_a_full_disk(&mut self, full: &Full) {
        self.pass(full.after);
        let disk = self.world.disk(self.node);
        self.is_provoked = true;
        disk.set_capacity(disk.used() + full.left);
        let node = self.node;
        let _ = self.world.run_until(LIFE, |world| !world.is_running(node)); // it may go on, answering with errors
        if full.is_started_on {
            self.world.crash(node, full.crash);
            self.pass(PAUSE);
            self.start();
            self.is_provoked = true;
            let _ = self.world.run_until(LIFE, |world| !world.is_running(node)); // as above
        }
        disk.set_capacity(self.plan.options.disk.capacity);
        self.end_life(full.crash);
    }

    /// The end of a life, if it has not come, and the start of the next.
    fn end_life(&mut self, crash: Crash) {
        self.world.crash(self.node, crash);
        self.pass(PAUSE);
        self.start();
    }

    /// Turns a bit while the node is down, and sees what it makes of that. Nothing is left of the run afterwards.
    pub(super) fn rot(&mut self, rot: &Rot) -> Result<(), Late> {
        match rot.crash {
            Some(crash) => self.world.crash(self.node, crash),
            None => self.stop()?,
        }
        let place = self.turn_a_bit(rot);
        self.start();
        if !self.is_started()? {
            return Ok(());
        }
        let rotten = self.read_what_is_there()?;
        self.outcome.borrow_mut().shown.rotten += rotten.len() as u64;
        for one in &rotten {
            let directory = one.directory();
            let path = place.as_deref().unwrap_or_default();
            let is_its_file = path.starts_with(&format!("{LOG_DIR}/{directory}/"));
            // A journal may hold records of all.
            let is_in_journal = path.contains("journal") && one.is_offline;
            if !is_its_file && !is_in_journal {
                self.recorder
                    .problem(format!("a bit of {path} was turned, and {directory} is rotten"));
            }
        }
        self.recorder.begin_again();
        self.produce_to_all_but(&rotten)?;
        self.recorder.end();
        self.read_again(&rotten)?;
        self.stop()?;
        self.start();
        if !self.is_started()? {
            self.recorder
                .problem("a node with a partition offline does not start again");
            return Ok(());
        }
        self.read_again(&rotten)?;
        self.stop()
    }

    /// The file, if there is one to choose.
    fn turn_a_bit(&mut self, rot: &Rot) -> Option<String> {
        let disk = self.world.disk(self.node);
        let mut place = rot.place.clone();
        let files = disk.files(LOG_DIR).unwrap_or_default();
        let files: Vec<&String> = files.iter().filter(|path| path.contains(rot.path)).collect();
        for _ in 0..TRIES {
            if files.is_empty() {
                return None;
            }
            let path = files[place.index(files.len())];
            let bytes = disk.read(path).unwrap_or_default();
            if bytes.is_empty() {
                continue;
            }
            let position = place.index(bytes.len());
            let mask = 1 << place.below(8);
            if bytes[position] == 0 || (path.contains("journal") && looks_torn(bytes, position, mask)) {
                continue;
            }
            let flipped = disk.flip(path, position as u64, mask);
            self.outcome
                .borrow_mut()
                .rot
                .replace(format!("{path} at byte {position}"));
            return flipped.ok().map(|()| path.clone());
        }
        None
    }

    /// Whether the start succeeded; a refusal must name what is wrong.
    fn is_started(&mut self) -> Result<bool, Late> {
        let node = self.node;
        let broker = self.broker.clone();
        let is_up = || broker.as_ref().is_some_and(|broker| broker.addresses().is_some());
        self.wait_for("a start after rot", |world: &World| {
            !world.is_running(node) || is_up()
        })?;
        if self.world.is_running(node) {
            return Ok(true);
        }
        let ended = self.broker.take().and_then(|broker| broker.ended().cloned());
        match ended {
            Some(Ended::Failed(error)) if error.contains(LOG_DIR) || error.contains("metadata log") => {}
            ended => self
                .recorder
                .problem(format!("a start after rot ended without naming it: {ended:?}")),
        }
        Ok(false)
    }

    /// Reads every partition; gives those that are rotten, of which the log must name those that are offline.
    fn read_what_is_there(&mut self) -> Result<Vec<Rotten>, Late> {
        let recorder = self.recorder.clone();
        let found = Rc::new(RefCell::new((Vec::new(), String::new())));
        let told = found.clone();
        let client = self.world.add_client(async move {
            loop {
                let read = async {
                    admin::check_topics(&recorder).await?;
                    reader::read_what_is_there(recorder.clone()).await
                };
                match read.await {
                    Ok(rotten) => return told.borrow_mut().0 = rotten,
                    Err(error) => told.borrow_mut().1 = error.to_string(),
                }
                sleep(PAUSE).await;
            }
        });
        let end = self.wait_for("a reading after rot", |world| !world.is_running(client));
        end.map_err(|Late(what)| Late(format!("{what} (last error: {})", found.borrow().1)))?;
        let rotten = found.take().0;
        let names = rotten
            .iter()
            .filter(|one| one.is_offline)
            .map(|one| format!("topic={} partition={}", one.topic.name, one.partition));
        self.outcome.borrow_mut().offline.extend(names);
        Ok(rotten)
    }

    fn read_again(&mut self, before: &[Rotten]) -> Result<(), Late> {
        let names = |rotten: &[Rotten]| -> Vec<String> { rotten.iter().map(Rotten::directory).collect() };
        let now = self.read_what_is_there()?;
        if names(before) != names(&now) {
            self.recorder.problem(format!(
                "rotten were {:?}, and now are {:?}",
                names(before),
                names(&now)
            ));
        }
        Ok(())
    }

    /// A few batches to every partition that is not rotten.
    fn produce_to_all_but(&mut self, rotten: &[Rotten]) -> Result<(), Late> {
        let mut clients: Vec<NodeId> = Vec::new();
        let topics = self.recorder.topics();
        for topic in topics.iter().filter(|topic| topic.fate == Fate::Lives) {
            for partition in 0..topic.partitions {
                let is_it = |one: &Rotten| one.topic.id == topic.id && one.partition == partition;
                if rotten.iter().any(is_it) {
                    continue;
                }
                let job = producer::Job {
                    topic: topic.id,
                    partition,
                    is_idempotent: true,
                    acks: -1,
                    batches: 3,
                    under_way: 2,
                    records_max: 4,
                    value_bytes_max: 500,
                    pause_us_max: 0,
                    codec: Codec::None,
                };
                let recorder = self.recorder.clone();
                clients.push(self.world.add_client(producer::produce(recorder, job)));
            }
        }
        self.wait_for("producers to partitions that are not rotten", |world| {
            clients.iter().all(|client| !world.is_running(*client))
        })
    }

    /// Chooses the clients of the events of the network, and puts beginnings and ends in order.
    pub(super) fn plan_events(&mut self, clients: &[NodeId]) {
        let Trouble::Network(events) = &self.plan.trouble else {
            return;
        };
        let mut all = Vec::new();
        for event in events {
            let client = clients[event.client % clients.len()];
            let at = self.world.now() + event.at;
            let what = event.what;
            let event_of = |begins| NetworkEvent { client, what, begins };
            all.push((at, event_of(true)));
            if matches!(
                what,
                What::Cut | What::CutToBroker | What::CutFromBroker | What::Slow
            ) {
                all.push((at + event.lasts, event_of(false)));
            }
        }
        all.sort_by_key(|(at, _)| *at);
        self.events = all.into();
    }

    /// Lets time pass, with the events of the network that come in it.
    pub(super) fn pass(&mut self, duration: Duration) {
        let end = self.world.now() + duration;
        while let Some((at, event)) = self.next_event()
            && at <= end
        {
            self.world.run_for(at - self.world.now());
            self.act(event);
        }
        self.world.run_for(end - self.world.now());
    }

    /// Lets the events that are left come, after which the network is whole.
    pub(super) fn pass_events(&mut self) {
        while let Some((at, event)) = self.next_event() {
            self.world.run_for(at - self.world.now());
            self.act(event);
        }
    }

    fn next_event(&self) -> Option<(Instant, NetworkEvent)> {
        self.events.front().copied()
    }

    fn act(&mut self, event: NetworkEvent) {
        self.events.pop_front();
        self.outcome.borrow_mut().shown.events += 1;
        let network = self.world.network();
        let (node, client) = (self.node, event.client);
        match (event.what, event.begins) {
            (What::Cut, true) => network.cut(client, node),
            (What::CutToBroker, true) => network.cut_one_way(client, node),
            (What::CutFromBroker, true) => network.cut_one_way(node, client),
            (What::Slow, begins) => {
                let more = if begins { SLOWER } else { Duration::ZERO };
                network.delay(client, node, more);
            }
            (What::Cut | What::CutToBroker | What::CutFromBroker, false) => network.heal(client, node),
            (What::HalfOpen, _) => {
                network.half_open(client, node);
            }
            (What::Reset, _) => {
                network.reset(client, node);
            }
        }
    }
}

/// Whether the bit lies in the very last commit of the journal: turned, that commit is what a power cut in the middle
/// of its write leaves, and nothing after it tells that it was ever acknowledged (D5). Of any other commit something
/// does, so that a replay which lost one would be found.
fn looks_torn(mut bytes: Vec<u8>, position: usize, mask: u8) -> bool {
    let before = dump_journal(&bytes).commits;
    bytes[position] ^= mask;
    let after = dump_journal(&bytes);
    after.rot.is_none() && before.split_last().is_some_and(|(_, rest)| rest == after.commits)
}

/// An event of the network, with its client chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct NetworkEvent {
    pub client: NodeId,
    pub what: What,
    /// False when it ends.
    pub begins: bool,
}
