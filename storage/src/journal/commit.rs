//! The loop that commits: it builds a commit from all that is staged on the shard, writes and syncs it at
//! once, and wakes everybody whose bytes it held.
//!
//! One commit is on its way at a time and the next collects what comes meanwhile, so the pace is the device's
//! own and there is no timer (D4). A write that was cut short is repeated together with its sync; any other
//! failure takes the dir offline, and nobody who waited is answered well (D14).

use std::rc::Rc;

use protocol::types::Offset;
use shards::buffers::{Buffer, Purpose};
use shards::sync::oneshot;

use super::Journal;
use super::frames::{BLOCK, COMMIT_HEADER_BYTES};
use super::records::{Placed, RECORD_BYTES, Record};
use crate::PartitionId;
use crate::core::{Core, Order};
use crate::error::StorageError;
use crate::log::{Log, Placing, Touched};
use crate::planted::{self, Planted};

/// A commit being filled.
pub(crate) struct Building {
    buffer: Buffer,
    limit: usize,
    generation: u64,
    touched: Vec<Touched>,
    /// Logs that a fence in it cuts.
    fenced: Vec<Rc<Log>>,
    done: Vec<oneshot::Sender<()>>,
}

/// A BYTES record being filled; nothing of it counts before [`finish`](Self::finish).
pub(crate) struct Filling<'a> {
    commit: &'a mut Building,
    header_at: usize,
    id: PartitionId,
    incarnation: u32,
    segment: Offset,
    position: u32,
    old: u32,
}

impl Building {
    fn new(buffer: Buffer, limit: usize, generation: u64) -> Self {
        let mut commit = Self {
            limit: limit.min(buffer.capacity()),
            buffer,
            generation,
            touched: Vec::new(),
            fenced: Vec::new(),
            done: Vec::new(),
        };
        commit.buffer.extend_from_slice(&[0; COMMIT_HEADER_BYTES]);
        commit
    }

    /// The generation that the commit will belong to.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Bytes of records that still fit.
    fn room(&self) -> usize {
        self.limit - self.buffer.len()
    }

    fn is_empty(&self) -> bool {
        self.buffer.len() == COMMIT_HEADER_BYTES
    }

    /// Begins a BYTES record, if it fits with `old` bytes and one more.
    pub fn begin(
        &mut self,
        id: PartitionId,
        incarnation: u32,
        segment: Offset,
        position: u32,
        old: u32,
    ) -> Option<Filling<'_>> {
        if self.room() <= RECORD_BYTES + old as usize {
            return None;
        }
        let header_at = self.buffer.len();
        self.buffer.extend_from_slice(&[0; RECORD_BYTES]);
        Some(Filling {
            commit: self,
            header_at,
            id,
            incarnation,
            segment,
            position,
            old,
        })
    }

    /// Notes whom to tell when the commit is durable.
    pub fn touch(&mut self, touched: Touched) {
        self.touched.push(touched);
    }

    /// Adds an order, if it fits.
    fn take_order(&mut self, order: &Order) -> bool {
        let (record, log, has_head) = match order {
            Order::Fence { fence, log, has_head } => (Record::Fence(*fence), Some(log), *has_head),
            Order::Seal(seal) => (Record::Seal(*seal), None, false),
        };
        let head = if has_head { RECORD_BYTES + BLOCK } else { 0 };
        if self.room() < RECORD_BYTES + head {
            return false;
        }
        self.buffer.extend_from_slice(&record.encode_header());
        if let Some(log) = log {
            self.fenced.push(log.clone());
            if has_head {
                log.place_head(self);
            }
        }
        true
    }
}

impl Filling<'_> {
    /// Bytes that still fit.
    pub fn room(&self) -> usize {
        self.commit.room()
    }

    /// Adds bytes, which must fit.
    pub fn push(&mut self, bytes: &[u8]) {
        self.commit.buffer.extend_from_slice(bytes);
    }

    /// Writes the record's header, now that its length is known.
    pub fn finish(self) {
        let is_first = self.header_at == COMMIT_HEADER_BYTES;
        if planted::is(Planted::HoleInPrefix) && !is_first && shards::random::below(20) == 0 {
            self.commit.buffer.set_len(self.header_at);
            return;
        }
        let bytes_at = self.header_at + RECORD_BYTES;
        let record = Record::Bytes(Placed {
            id: self.id,
            incarnation: self.incarnation,
            segment: self.segment,
            position: self.position,
            old: self.old,
            bytes: self.commit.buffer.get(bytes_at..).unwrap_or_default(),
        });
        let header = record.encode_header();
        if let Some(place) = self.commit.buffer.get_mut(self.header_at..bytes_at) {
            place.copy_from_slice(&header);
        }
    }
}

/// Commits until the store closes and nothing is left, or the dir fails.
pub(crate) async fn run(core: Rc<Core>, mut journal: Journal) -> Result<Journal, StorageError> {
    loop {
        core.alive()?;
        if core.ready.borrow().is_empty() && core.orders.borrow().is_empty() {
            if core.is_closing.get() && core.is_drained() {
                return Ok(journal);
            }
            core.work.notified().await;
            continue;
        }
        let result = commit_once(&core, &mut journal).await;
        core.check(result)?;
    }
}

async fn commit_once(core: &Rc<Core>, journal: &mut Journal) -> Result<(), StorageError> {
    let limit = journal.room(core).await?;
    let buffer = Buffer::take(Purpose::Background, wanted(core).min(limit)).await;
    let mut commit = Building::new(buffer, limit, journal.generation());
    fill(core, &mut commit);
    if commit.is_empty() {
        return Ok(());
    }
    let Building {
        buffer,
        touched,
        fenced,
        done,
        ..
    } = commit;
    let bytes = buffer.len() as u64;
    journal.write(buffer).await?;
    core.count(|stats| {
        stats.commits += 1;
        stats.commit_bytes += bytes;
    });
    for touched in &touched {
        touched.log.committed(touched);
    }
    for log in &fenced {
        log.fence_is_durable();
    }
    for done in done {
        let _ = done.send(());
    }
    Ok(())
}

/// About how many bytes the next commit has.
fn wanted(core: &Core) -> usize {
    let heads = core.ready.borrow().len() + core.orders.borrow().len();
    let wanted = COMMIT_HEADER_BYTES + core.staged_bytes.get() + heads * (RECORD_BYTES + BLOCK);
    wanted.clamp(4 * BLOCK, core.options.commit_bytes_max.max(4 * BLOCK))
}

/// Orders first: fences and seals are small, and many wait for them.
fn fill(core: &Rc<Core>, commit: &mut Building) {
    loop {
        let next = core.orders.borrow_mut().pop_front();
        let Some((order, done)) = next else { break };
        if !commit.take_order(&order) {
            core.orders.borrow_mut().push_front((order, done));
            return;
        }
        commit.done.push(done);
    }
    loop {
        let next = core.ready.borrow_mut().pop_front();
        let Some(log) = next else { return };
        log.is_ready.set(false);
        match log.place(commit) {
            Placing::Done => {}
            Placing::Unprepared => log.prepare_soon(),
            Placing::CommitFull => {
                // It goes to the back: a log with much to say must not keep the others waiting.
                core.make_ready(&log);
                return;
            }
        }
    }
}
