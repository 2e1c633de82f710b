//! One partition as the journals tell it: which bytes stand where, what was cut, what is sealed.
//!
//! Records of one generation make, per segment, one run without holes that begins at the start of a block. A
//! fence cuts the runs gathered so far, so that what it covers is never applied; the outline is moved on at the
//! end, over what is left, from where the checkpoint stands.

use std::collections::BTreeMap;

use protocol::batch::{Batch, Error};
use protocol::types::Offset;
use shards::time;

use crate::LogConfig;
use crate::checkpoint::Entry;
use crate::journal::records::{Cut, Fence, Placed, Record, Seal};
use crate::outline::Outline;
use crate::planted::{self, Planted};

/// Bytes of one segment's file.
#[derive(Debug)]
pub(super) struct Run {
    /// Position of the first byte, at the start of a block.
    pub start: u32,
    pub bytes: Vec<u8>,
}

impl Run {
    pub fn end(&self) -> u32 {
        self.start + self.bytes.len() as u32
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Replayed {
    pub outline: Outline,
    pub config: LogConfig,
    /// No checkpoint knows the partition.
    pub is_new: bool,
    pub runs: BTreeMap<Offset, Run>,
    pub is_deleted: bool,
    /// What fences ordered to be cut from the files, which may not have been done.
    pub cuts: Vec<Cut>,
    /// Producers, or more, must be found by reading the segments.
    pub must_rescan: bool,
    pub start: Option<Offset>,
    pub damage: Option<String>,
    pub sealed: BTreeMap<Offset, Seal>,
    /// The last bytes come from a journal that an earlier recovery kept.
    has_kept_bytes: bool,
}

impl Replayed {
    pub fn new(known: Option<&Entry>) -> Self {
        Self {
            outline: known.map_or_else(
                || Outline::new(Offset(0), time::wall_ms()),
                |entry| entry.outline.clone(),
            ),
            config: known.map_or_else(LogConfig::default, |entry| entry.config),
            is_new: known.is_none(),
            runs: BTreeMap::new(),
            is_deleted: false,
            cuts: Vec::new(),
            must_rescan: false,
            start: None,
            damage: known.and_then(|entry| entry.outline.damage.clone()),
            sealed: BTreeMap::new(),
            has_kept_bytes: false,
        }
    }

    pub fn damage(&mut self, reason: String) {
        self.damage.get_or_insert(reason);
    }

    /// Takes in a record; they come in the order they were committed, those of kept journals first.
    pub fn take(&mut self, record: &Record<'_>, is_kept: bool) {
        match record {
            Record::Bytes(placed) => self.take_bytes(placed, is_kept),
            Record::Fence(fence) => self.take_fence(fence),
            Record::Seal(seal) => {
                if seal.incarnation >= self.outline.incarnation {
                    self.sealed.insert(seal.segment, *seal);
                }
            }
        }
    }

    fn take_bytes(&mut self, placed: &Placed<'_>, is_kept: bool) {
        if self.is_deleted || placed.incarnation < self.outline.incarnation {
            return;
        }
        if self.has_kept_bytes && !is_kept {
            // The start in between left out a batch that never became whole; others stand in its place.
            self.cut_runs(placed.segment, placed.position);
        }
        self.has_kept_bytes = is_kept;
        let Some(run) = self.runs.get_mut(&placed.segment) else {
            self.runs.insert(
                placed.segment,
                Run {
                    start: placed.position,
                    bytes: placed.bytes.to_vec(),
                },
            );
            return;
        };
        // A new generation repeats the head of the block that the old one ended in.
        let overlap = run.end().checked_sub(placed.position);
        match overlap.and_then(|overlap| placed.bytes.get(overlap as usize..)) {
            Some(fresh) if placed.position >= run.start => run.bytes.extend_from_slice(fresh),
            _ => {
                let reason = format!(
                    "segment {}: the journal goes from byte {} to {}",
                    placed.segment,
                    run.end(),
                    placed.position
                );
                self.damage(reason);
            }
        }
    }

    fn take_fence(&mut self, fence: &Fence) {
        if fence.incarnation < self.outline.incarnation {
            return;
        }
        if self.is_deleted && fence.incarnation > self.outline.incarnation {
            // The partition came back.
            *self = Self::new(None);
        }
        let is_counted = fence.incarnation == self.outline.incarnation && !self.is_new;
        self.outline.incarnation = fence.incarnation;
        match fence.cut {
            Cut::Delete if planted::is(Planted::DeletedTopicReplayed) => {}
            Cut::Delete => {
                self.is_deleted = true;
                self.runs.clear();
            }
            Cut::Restart(start) => {
                self.runs.clear();
                self.sealed.clear();
                self.cuts.push(fence.cut);
                if !is_counted {
                    self.outline.restart(start, time::wall_ms());
                }
            }
            Cut::Start(start) => self.start = self.start.max(Some(start)),
            Cut::Truncate {
                segment,
                position,
                end,
            } => {
                self.sealed.retain(|&base, _| base < segment);
                self.cut_runs(segment, position);
                self.cuts.push(fence.cut);
                if !is_counted && self.outline.end > end {
                    self.outline.truncate(segment, position, end);
                    self.must_rescan = true;
                }
            }
        }
    }

    /// Whether the journals hold the whole log, from its first byte: one that was made after the checkpoint.
    fn is_all_here(&self) -> bool {
        let first = self.runs.first_key_value();
        let begins = first.is_some_and(|(&base, run)| base == Offset(0) && run.start == 0);
        begins && self.cuts.is_empty() && self.start.is_none()
    }

    /// Drops the bytes from that position of that segment on.
    fn cut_runs(&mut self, segment: Offset, position: u32) {
        self.runs.retain(|&base, _| base <= segment);
        if let Some(run) = self.runs.get_mut(&segment) {
            let keep = position.saturating_sub(run.start);
            run.bytes.truncate(keep as usize);
            if position <= run.start {
                self.runs.remove(&segment);
            }
        }
    }

    /// The last step of a replay, when all journals are through: the outline is moved on.
    pub fn advance(&mut self) {
        self.is_new &= !self.is_all_here();
        if self.damage.is_none() && !self.is_new {
            self.apply();
        }
    }

    /// Whether the files lack nothing but bytes at their ends: all else about the log is known.
    pub fn is_only_bytes(&self) -> bool {
        self.damage.is_none()
            && !self.is_new
            && !self.must_rescan
            && self.cuts.is_empty()
            && self.start.is_none()
    }

    /// Moves the outline on over the runs. A batch that is not whole at the very end was never acknowledged
    /// and is left out; any other gap is damage.
    fn apply(&mut self) {
        let runs = std::mem::take(&mut self.runs);
        let last = runs.keys().next_back().copied();
        let mut kept = BTreeMap::new();
        for (base, mut run) in runs {
            if self.damage.is_some() || self.must_rescan {
                kept.insert(base, run);
                continue;
            }
            match self.apply_run(base, &run, Some(base) == last) {
                Ok(Some(length)) => run.bytes.truncate(length.saturating_sub(run.start) as usize),
                Ok(None) => {}
                Err(reason) => self.damage(format!("segment {base}: {reason}")),
            }
            kept.insert(base, run);
        }
        self.runs = kept;
        for (&base, seal) in &self.sealed {
            let count = self.outline.segments.len();
            let place = self
                .outline
                .segments
                .iter()
                .position(|segment| segment.base == base);
            let has_next = place.is_some_and(|place| place + 1 < count);
            if let Some(segment) = self.outline.segment_mut(base)
                && has_next
                && segment.length == seal.length
                && !segment.is_sealed
            {
                segment.finish_times();
                segment.indexes_are_on_disk(segment.offsets.len(), segment.times.len());
                segment.is_sealed = true;
            }
        }
    }

    /// Moves the outline on over one run; gives the segment's length if that is not beyond the run already.
    fn apply_run(&mut self, base: Offset, run: &Run, is_last: bool) -> Result<Option<u32>, String> {
        let active = self.outline.active().base;
        if base < active {
            return Ok(None);
        }
        if base > active {
            if base != self.outline.end || run.start != 0 {
                // The checkpoint is older than what the journal relies on: the files know.
                self.must_rescan = true;
                return Ok(None);
            }
            self.outline.roll(time::wall_ms());
        }
        let from = self.outline.active().length;
        if from < run.start {
            self.must_rescan = true;
            return Ok(None);
        }
        if from > run.end() {
            return Err(format!(
                "the journal ends at byte {}, the checkpoint at {from}",
                run.end()
            ));
        }
        let mut rest = run.bytes.get((from - run.start) as usize..).unwrap_or_default();
        while !rest.is_empty() {
            match Batch::parse(rest) {
                Ok(batch) if batch.base_offset() >= self.outline.end => {
                    self.outline.append(&batch.header(), &self.config);
                    rest = rest.get(batch.length()..).unwrap_or_default();
                }
                Ok(batch) => {
                    return Err(format!(
                        "offset {} comes after {}",
                        batch.base_offset(),
                        self.outline.end
                    ));
                }
                Err(Error::Truncated { .. }) if is_last => break,
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(Some(self.outline.active().length))
    }
}
