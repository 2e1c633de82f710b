//! The outline of a log: all that is known of it without its bytes.
//!
//! The same outline is moved on by an append, by replay after a crash and by a scan of foreign files, from
//! batch headers alone, and the checkpoint is nothing but outlines. It runs ahead of the disk: it counts what
//! is *staged*.

use protocol::batch::Header;
use protocol::types::{LeaderEpoch, Offset};

use crate::LogConfig;
use crate::leader_epochs::LeaderEpochs;
use crate::producers::{ProducerBatch, Producers};
use crate::segment::Segment;

/// Offsets, segments, epochs and producers of one log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// Grows with each fence: which life of the log journal records belong to.
    pub incarnation: u32,
    /// First offset that may be read.
    pub log_start: Offset,
    /// As last told by the broker; kept for the next start.
    pub high_watermark: Offset,
    /// Offset of the next record.
    pub end: Offset,
    /// Ascending and never empty; appends go to the last.
    pub segments: Vec<Segment>,
    /// Start offsets of leader epochs.
    pub epochs: LeaderEpochs,
    /// Idempotent producers.
    pub producers: Producers,
    /// Why the log cannot be used, if so.
    pub damage: Option<String>,
}

/// What of a header concerns its producer, if it has one that sends data.
pub fn producer_batch(header: &Header<'_>) -> Option<ProducerBatch> {
    (header.has_producer_id() && !header.is_control() && header.base_sequence().0 >= 0).then(|| {
        ProducerBatch {
            producer_id: header.producer_id(),
            epoch: header.producer_epoch(),
            first_sequence: header.base_sequence(),
            offset_delta: header.last_offset_delta(),
            timestamp: header.max_timestamp(),
        }
    })
}

impl Outline {
    /// An empty log that begins at `start`.
    pub fn new(start: Offset, now_ms: i64) -> Self {
        Self {
            incarnation: 0,
            log_start: start,
            high_watermark: start,
            end: start,
            segments: vec![Segment::new(start, now_ms)],
            epochs: LeaderEpochs::default(),
            producers: Producers::default(),
            damage: None,
        }
    }

    /// The segment that appends go to.
    pub fn active(&mut self) -> &mut Segment {
        if self.segments.is_empty() {
            self.segments.push(Segment::new(self.end, 0));
        }
        let last = self.segments.len() - 1;
        &mut self.segments[last]
    }

    /// Takes in the header of a batch, which has its final offsets and epoch, at the end of the log. The
    /// caller has rolled if that was due.
    pub fn append(&mut self, header: &Header<'_>, config: &LogConfig) {
        debug_assert!(header.base_offset() >= self.end, "offsets ascend");
        self.epochs.assign(header.leader_epoch(), header.base_offset());
        if let Some(batch) = producer_batch(header) {
            self.producers.apply(&batch, header.last_offset());
        }
        self.active().append(header, config);
        self.end = header.next_offset();
    }

    /// Begins a new segment at the end of the log.
    pub fn roll(&mut self, now_ms: i64) {
        let end = self.end;
        self.active().finish_times();
        self.segments.push(Segment::new(end, now_ms));
    }

    /// Forgets what lies at `position` of the segment with base `segment` and beyond; the log then ends at
    /// `end`. Producers are cleared where they may know of what is cut: the caller rebuilds them.
    pub fn truncate(&mut self, segment: Offset, position: u32, end: Offset) {
        self.segments.retain(|kept| kept.base <= segment);
        if self.segments.is_empty() {
            self.segments.push(Segment::new(segment, 0));
        }
        let active = self.active();
        active.is_sealed = false;
        active.length = active.length.min(position);
        active.offsets.truncate_to_position(position);
        active.times.truncate_to(end);
        if let Some((last, _)) = active.times.last() {
            active.last_time = last;
        } else if active.times_on_disk == 0 {
            active.last_time = -1;
        }
        self.end = end;
        self.high_watermark = self.high_watermark.min(end);
        self.log_start = self.log_start.min(end);
        self.epochs.truncate_from_end(end);
        self.producers.clear();
    }

    /// Takes back batches that were staged and are not committed: as [`truncate`](Self::truncate), but
    /// producers keep what they sent before. Their window may be short of batches that the ones taken back had
    /// pushed out; those were acknowledged before the newest were sent, so nobody sends them again.
    pub fn take_back(&mut self, segment: Offset, position: u32, end: Offset) {
        let mut producers = std::mem::take(&mut self.producers);
        self.truncate(segment, position, end);
        producers.take_back(end);
        self.producers = producers;
    }

    /// Forgets everything; the log begins anew at `start`.
    pub fn restart(&mut self, start: Offset, now_ms: i64) {
        let incarnation = self.incarnation;
        *self = Outline::new(start, now_ms);
        self.incarnation = incarnation;
    }

    /// The log now starts at `start`; segments wholly below it are given back, for their files to be removed.
    pub fn advance_start(&mut self, start: Offset) -> Vec<Segment> {
        self.log_start = self.log_start.max(start.min(self.end));
        let start = self.log_start;
        self.epochs.truncate_from_start(start);
        let below = self
            .segments
            .windows(2)
            .take_while(|pair| matches!(pair, [first, next] if first.is_sealed && next.base <= start))
            .count();
        self.segments.drain(..below).collect()
    }

    /// The segment that holds `offset`: the last that begins at or before it.
    pub fn segment_for(&self, offset: Offset) -> Option<&Segment> {
        let after = self.segments.partition_point(|segment| segment.base <= offset);
        self.segments.get(after.saturating_sub(1))
    }

    /// The segment with this base.
    pub fn segment(&self, base: Offset) -> Option<&Segment> {
        let place = self
            .segments
            .binary_search_by_key(&base, |segment| segment.base)
            .ok()?;
        self.segments.get(place)
    }

    /// The same, to be changed.
    pub fn segment_mut(&mut self, base: Offset) -> Option<&mut Segment> {
        let place = self
            .segments
            .binary_search_by_key(&base, |segment| segment.base)
            .ok()?;
        self.segments.get_mut(place)
    }

    /// All bytes of it.
    pub fn bytes(&self) -> u64 {
        self.segments
            .iter()
            .map(|segment| u64::from(segment.length))
            .sum()
    }

    /// The newest leader epoch.
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.latest()
    }

    /// What must be true of it at any time.
    pub fn invariants(&self) {
        debug_assert!(self.log_start <= self.end, "{self:?}");
        debug_assert!(
            self.segments.windows(2).all(|pair| pair[0].base < pair[1].base),
            "{self:?}"
        );
        debug_assert!(self.segments.last().is_some_and(|last| last.base <= self.end));
    }
}
