//! When a connection last did what, and whether it is overdue.
//!
//! What a newcomer would get wrong: there are no timers here; the sweep of the shard asks.

use std::cell::Cell;

use shards::time::{Duration, Instant};

use super::Ended;

/// A client has this time, and more for what it has sent of a frame or is to take of an answer, at
/// [`SLOW_BYTES_PER_SECOND`]: memory of ours waits for it meanwhile. Its own `request.timeout.ms` (30 s by default)
/// ends a slower request before.
pub(super) const SLOW_WINDOW: Duration = Duration::from_secs(30);
/// What a client that has closed its side is owed is given up after this long, even if answers still leave.
const DRAIN_WINDOW: Duration = Duration::from_secs(120);
const SLOW_BYTES_PER_SECOND: u64 = 1 << 20;

/// How long a client may take for `bytes`.
fn patience(bytes: u64) -> Duration {
    SLOW_WINDOW + Duration::from_secs(bytes / SLOW_BYTES_PER_SECOND)
}

/// When a connection last did what; read by the sweep.
#[derive(Debug)]
pub struct Activity {
    last: Cell<Instant>,
    /// The reader waits for the client, since then; otherwise it waits for us: for memory, for room.
    reading: Cell<Option<Instant>>,
    /// A frame has begun: how long the client was waited for until its latest bytes, and how many came.
    frame: Cell<Option<(Duration, u64)>>,
    /// An answer is being written: since when, and its bytes.
    sending: Cell<Option<(Instant, u64)>>,
    /// Nothing more is read, and what was asked before is still answered; since when.
    draining: Cell<Option<Instant>>,
    /// Nothing was received yet.
    is_silent: Cell<bool>,
}

impl Activity {
    /// Of a connection that was accepted at `now`.
    pub fn new(now: Instant) -> Activity {
        Activity {
            last: Cell::new(now),
            reading: Cell::new(None),
            frame: Cell::new(None),
            sending: Cell::new(None),
            draining: Cell::new(None),
            is_silent: Cell::new(true),
        }
    }

    /// From now on the client is waited for.
    pub fn reading(&self) {
        self.reading.set(Some(shards::time::now()));
    }

    /// The client has sent something, which is not looked at yet.
    pub fn is_readable(&self) {
        self.reading.set(None);
    }

    /// `count` bytes of a frame came.
    pub fn received(&self, count: usize) {
        let now = shards::time::now();
        self.last.set(now);
        self.is_silent.set(false);
        let since = self.reading.take().unwrap_or(now);
        let frame = match self.frame.get() {
            // The wait for its first byte was idleness.
            None => (Duration::ZERO, count as u64),
            Some((waited, bytes)) => (waited + now.since(since), bytes + count as u64),
        };
        self.frame.set(Some(frame));
    }

    /// A frame is complete; `more` bytes of the next one are there.
    pub fn frame_complete(&self, more: usize) {
        self.frame
            .set((more > 0).then_some((Duration::ZERO, more as u64)));
    }

    /// An answer of `bytes` begins to leave.
    pub fn sending(&self, bytes: u64) {
        self.sending.set(Some((shards::time::now(), bytes)));
    }

    /// It has left.
    pub fn sent(&self) {
        self.sending.set(None);
        self.last.set(shards::time::now());
    }

    /// From now on nothing is read any more.
    pub fn draining(&self) {
        self.reading.set(None);
        self.draining.set(Some(shards::time::now()));
    }

    /// Whether nothing was ever received.
    pub fn is_silent(&self) -> bool {
        self.is_silent.get()
    }

    /// Whether what is owed is given up, since nothing is read any more: nothing has left for long, or all of it takes
    /// too long.
    pub fn has_stalled(&self, now: Instant) -> bool {
        let is_waiting = |since: Instant| {
            now.since(since.max(self.last.get())) > SLOW_WINDOW || now.since(since) > DRAIN_WINDOW
        };
        self.sending.get().is_none() && self.draining.get().is_some_and(is_waiting)
    }

    /// What is wrong with the connection at `now`, if anything. Only the client's own time counts, never that in
    /// which the reader waits for memory or room of ours.
    pub fn overdue(&self, now: Instant, unanswered: usize, max_idle: Duration) -> Option<Ended> {
        if let Some((since, bytes)) = self.sending.get()
            && now.since(since) > patience(bytes)
        {
            return Some(Ended::NotReading);
        }
        let reading = self.reading.get()?;
        if let Some((waited, bytes)) = self.frame.get() {
            return (waited + now.since(reading) > patience(bytes)).then_some(Ended::Slow);
        }
        let is_idle = unanswered == 0 && now.since(self.last.get()) > max_idle;
        is_idle.then_some(Ended::Idle(max_idle))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(activity: &Activity, at_secs: u64, unanswered: usize, expected: &str) {
        let now = Instant(at_secs * 1_000_000_000);
        let found = activity.overdue(now, unanswered, Duration::from_secs(600));
        let found = found.map_or("fine".to_owned(), |ended| format!("{ended:?}"));
        assert_eq!(found, expected, "after {at_secs} s");
    }

    #[test]
    fn idle_is_counted_from_the_last_byte() {
        let activity = Activity::new(Instant(0));
        activity.reading.set(Some(Instant(0)));
        check(&activity, 600, 0, "fine");
        check(&activity, 601, 0, "Idle(600s)");
        check(&activity, 601, 1, "fine");
        activity.last.set(Instant(500_000_000_000));
        check(&activity, 1100, 0, "fine");
        check(&activity, 1101, 0, "Idle(600s)");
    }

    #[test]
    fn a_frame_that_has_begun_must_go_on() {
        let activity = Activity::new(Instant(0));
        activity.frame.set(Some((Duration::ZERO, 3)));
        activity.reading.set(Some(Instant(0)));
        check(&activity, 30, 0, "fine");
        check(&activity, 31, 0, "Slow");
        check(&activity, 31, 1, "Slow");
        activity
            .frame
            .set(Some((Duration::from_secs(20), 10 * SLOW_BYTES_PER_SECOND)));
        activity.reading.set(Some(Instant(100_000_000_000)));
        check(&activity, 120, 0, "fine");
        check(&activity, 121, 0, "Slow");
        activity.frame_complete(0);
        check(&activity, 121, 0, "fine");
    }

    #[test]
    fn waiting_for_our_memory_is_not_the_clients_fault() {
        let activity = Activity::new(Instant(0));
        activity.frame.set(Some((Duration::from_secs(20), 3)));
        activity.reading.set(None);
        check(&activity, 5000, 0, "fine");
        activity.reading.set(Some(Instant(5_000_000_000_000)));
        check(&activity, 5010, 0, "fine");
        check(&activity, 5011, 0, "Slow");
    }

    #[test]
    fn what_is_owed_after_the_end_is_given_up_when_nothing_leaves() {
        let check = |activity: &Activity, at_secs: u64, expected: bool| {
            let now = Instant(at_secs * 1_000_000_000);
            assert_eq!(activity.has_stalled(now), expected, "after {at_secs} s");
        };
        let activity = Activity::new(Instant(0));
        check(&activity, 1000, false);
        activity.draining.set(Some(Instant(100_000_000_000)));
        check(&activity, 130, false);
        check(&activity, 131, true);
        activity.last.set(Instant(120_000_000_000));
        check(&activity, 150, false);
        check(&activity, 151, true);
        activity.sending.set(Some((Instant(140_000_000_000), 1)));
        check(&activity, 151, false);
        activity.sending.set(None);
        activity.last.set(Instant(219_000_000_000));
        check(&activity, 220, false);
        check(&activity, 221, true);
    }

    #[test]
    fn an_answer_must_be_taken() {
        let activity = Activity::new(Instant(0));
        activity
            .sending
            .set(Some((Instant(0), SLOW_BYTES_PER_SECOND * 10)));
        check(&activity, 40, 3, "fine");
        check(&activity, 41, 3, "NotReading");
    }
}
