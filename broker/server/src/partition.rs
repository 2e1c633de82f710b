//! A partition that this shard owns: its log, its role, and who waits for it.
//!
//! What a newcomer would get wrong: an append only *stages*. One task per partition with something staged follows the
//! journal's commits and moves the high watermark, whether or not the producer that appended is still there; all
//! waiting is for the high watermark, which never runs ahead of what is durable (D1).

pub mod append;
pub mod offsets;
pub mod read;
pub mod roles;
pub mod waiters;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use protocol::error_code::ErrorCode;
use protocol::types::{LeaderEpoch, Offset};
use protocol::validation::ProduceRules;
use replica::{Epoch, Leader};
use shards::sync::oneshot;
use shards::time::{Duration, Instant, now};
use storage::{Log, PartitionId, StorageError};

use crate::errors;
use crate::shard::Node;
use waiters::{Thirst, Waiters};

/// How often the log is told of batches that cannot be read.
const TOLD_FOR: Duration = Duration::from_secs(60);

/// One partition, as its leader. Lives on its owner shard for as long as the topic exists.
pub struct Partition {
    /// Topic id and number.
    pub id: PartitionId,
    /// The topic's name.
    pub topic: String,
    log: Rc<Log>,
    leader: RefCell<Leader>,
    rules: RefCell<ProduceRules>,
    waiters: Waiters,
    /// What was staged and is not committed: the offset behind each batch, and its bytes.
    staged: RefCell<VecDeque<(Offset, i64)>>,
    is_followed: Cell<bool>,
    /// When the log was last told of a batch that cannot be read.
    too_large_told: Cell<Option<Instant>>,
    /// The log has failed, or the partition was given up: nothing more is appended or waited for.
    has_left: Cell<bool>,
}

impl Partition {
    /// The leader of `log`, from what is durable in it on.
    pub fn new(
        id: PartitionId,
        topic: String,
        log: Rc<Log>,
        leader_epoch: LeaderEpoch,
        rules: ProduceRules,
    ) -> Rc<Partition> {
        let leader = Leader::new(leader_epoch, log.log_start_offset(), log.durable_end());
        Rc::new(Partition {
            id,
            topic,
            log,
            leader: RefCell::new(leader),
            rules: RefCell::new(rules),
            waiters: Waiters::default(),
            staged: RefCell::new(VecDeque::new()),
            is_followed: Cell::new(false),
            too_large_told: Cell::new(None),
            has_left: Cell::new(false),
        })
    }

    /// The offset behind the last record that consumers may see.
    pub fn high_watermark(&self) -> Offset {
        self.leader.borrow().high_watermark()
    }

    /// The epoch it leads in.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader.borrow().epoch()
    }

    /// Leads in a later epoch from the end of the log on, as when the controller counts up at a start. An epoch that
    /// is not later changes nothing.
    pub fn lead_from(&self, epoch: LeaderEpoch) {
        if epoch > self.leader_epoch() {
            self.log.assign_epoch(epoch);
            self.leader
                .borrow_mut()
                .on_epoch(epoch, self.log.log_end_offset());
        }
    }

    /// Its log.
    pub fn log(&self) -> &Rc<Log> {
        &self.log
    }

    /// Changed topic settings hold from the next append on.
    pub fn set_rules(&self, rules: ProduceRules) {
        *self.rules.borrow_mut() = rules;
    }

    /// Compares the epoch that a client believes in with ours; -1 is "any".
    ///
    /// # Errors
    /// FENCED_LEADER_EPOCH when the client's is older, UNKNOWN_LEADER_EPOCH when it is newer.
    pub fn check_epoch(&self, current: LeaderEpoch) -> Result<(), ErrorCode> {
        match self.leader.borrow().check_epoch(current) {
            Epoch::Current => Ok(()),
            Epoch::Fenced => Err(ErrorCode::FencedLeaderEpoch),
            Epoch::Unknown => Err(ErrorCode::UnknownLeaderEpoch),
        }
    }

    /// Resolves when `until` is committed; with an error when it never will be.
    fn committed(&self, until: Offset) -> oneshot::Receiver<()> {
        self.waiters.until(until)
    }

    /// Notes a batch that was staged up to `end`, and makes sure that its commit is followed.
    fn note_staged(self: &Rc<Self>, node: &Node, end: Offset, bytes: usize) {
        self.staged
            .borrow_mut()
            .push_back((end, i64::try_from(bytes).unwrap_or(i64::MAX)));
        if !self.is_followed.replace(true) {
            let follow = self.clone().follow_commits();
            // A closed gate: the node stops, and nobody is answered any more.
            node.tasks.spawn(shards::Priority::Clients, follow).ok();
        }
    }

    /// Moves the high watermark after every commit until nothing is staged.
    async fn follow_commits(self: Rc<Self>) {
        while let Some(next) = self.next_staged() {
            match self.log.durable(next).await {
                Ok(()) => self.advance(self.log.durable_end()),
                Err(error) => {
                    if !self.has_left.get() {
                        tracing::error!(topic = %self.topic, partition = %self.id.partition, "partition is offline: {error}");
                    }
                    self.leave();
                    break;
                }
            }
        }
        self.is_followed.set(false);
    }

    /// What a client is told of a read that failed; an operator is told of a batch that is too large for every read.
    fn failed_read(&self, error: &StorageError) -> ErrorCode {
        if let StorageError::TooLarge {
            offset,
            bytes,
            allowed,
        } = *error
        {
            self.tell_too_large(offset, bytes, allowed);
        }
        errors::of_storage(error)
    }

    /// Says that the batch at `offset` cannot be read for want of memory, and what would help: once in a while,
    /// since clients ask for it again and again.
    fn tell_too_large(&self, offset: Offset, bytes: usize, allowed: usize) {
        let now = now();
        let is_told = |at: Instant| now.since(at) < TOLD_FOR;
        if !self.too_large_told.get().is_some_and(is_told) {
            self.too_large_told.set(Some(now));
            tracing::error!(
                topic = %self.topic,
                partition = %self.id.partition,
                %offset,
                "a batch of {bytes} bytes cannot be read: {allowed} is what one shard can hold of klamm.memory.bytes, \
                 which has to be raised"
            );
        }
    }

    fn next_staged(&self) -> Option<Offset> {
        self.staged.borrow().front().map(|(end, _)| *end)
    }

    fn advance(&self, durable_end: Offset) {
        let mut bytes = 0;
        {
            let mut staged = self.staged.borrow_mut();
            while let Some((end, count)) = staged.front().copied()
                && end <= durable_end
            {
                bytes += count;
                staged.pop_front();
            }
        }
        let moved = self.leader.borrow_mut().on_durable(durable_end);
        if let Some(high_watermark) = moved {
            self.log.set_high_watermark(high_watermark);
            self.waiters.moved(high_watermark, bytes);
        }
    }

    /// Nothing is waited for any longer: the log failed, or the partition is deleted.
    pub fn leave(&self) {
        self.has_left.set(true);
        self.staged.borrow_mut().clear();
        self.waiters.abandon();
    }

    /// Has every consumer that waits answered with what there is: the node stops.
    pub fn wake_consumers(&self) {
        self.waiters.wake_consumers();
    }

    /// Counts what becomes visible from now on towards `thirst`.
    fn add_consumer(&self, thirst: &Rc<Thirst>) {
        self.waiters.add_consumer(thirst);
    }
}
