//! Time: a monotonic clock, the wall clock, sleeping and deadlines.
//!
//! [`Instant`] counts nanoseconds of the engine's monotonic clock: two instants of one process compare, an
//! instant of another process or of before a restart means nothing. Timers may fire late, never early.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::ops::{Add, AddAssign, Sub};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
pub use std::time::Duration;

use crate::shard;
use crate::sync::{Either, select2};
use crate::task::keep_waker;

/// A point of the monotonic clock, in nanoseconds. Arithmetic saturates.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub u64);

impl Instant {
    /// Further away than any deadline.
    pub const FAR: Instant = Instant(u64::MAX);

    /// Time from `earlier` to `self`; zero when `earlier` is later.
    pub fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Time from `self` until now.
    pub fn elapsed(self) -> Duration {
        now().since(self)
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;
    fn add(self, duration: Duration) -> Instant {
        Instant(
            self.0
                .saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;
    fn sub(self, duration: Duration) -> Instant {
        Instant(
            self.0
                .saturating_sub(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

impl Sub<Instant> for Instant {
    type Output = Duration;
    fn sub(self, earlier: Instant) -> Duration {
        self.since(earlier)
    }
}

/// The monotonic clock of the current shard.
pub fn now() -> Instant {
    shard::with(|core| Instant(core.engine.now()))
}

/// The wall clock: milliseconds since 1970 UTC, as Kafka's timestamps. May jump either way.
pub fn wall_ms() -> i64 {
    shard::with(|core| core.engine.wall_ms())
}

/// Waits for at least `duration`.
pub fn sleep(duration: Duration) -> Sleep {
    sleep_until(now() + duration)
}

/// Waits until the clock shows at least `deadline`; at once when it does already.
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep {
        deadline,
        timer: None,
    }
}

/// The future of [`sleep`]; dropping it forgets the timer.
#[must_use = "futures do nothing unless awaited"]
#[derive(Debug)]
pub struct Sleep {
    deadline: Instant,
    timer: Option<TimerId>,
}

impl Sleep {
    /// When it ends.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        shard::with(|core| {
            if core.engine.now() >= self.deadline.0 {
                if let Some(timer) = self.timer.take() {
                    core.timers.remove(timer);
                }
                return Poll::Ready(());
            }
            let timer = self.timer.unwrap_or_else(|| core.timers.reserve(self.deadline));
            self.timer = Some(timer);
            core.timers.arm(timer, cx);
            Poll::Pending
        })
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take()
            && let Some(core) = shard::try_current()
        {
            core.timers.remove(timer);
        }
    }
}

/// The time given to [`timeout`] was over first.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("time is over")
    }
}

impl std::error::Error for Elapsed {}

/// Awaits `future` for at most `duration`, then drops it (which cancels no operation in the kernel).
/// The future is looked at first: what is ready is never reported as late.
///
/// # Errors
/// [`Elapsed`] when the time was over first.
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Result<F::Output, Elapsed> {
    match select2(future, sleep(duration)).await {
        Either::First(output) => Ok(output),
        Either::Second(()) => Err(Elapsed),
    }
}

/// Identifies a timer within its shard; ordered by deadline, then by age.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimerId {
    deadline: Instant,
    number: u64,
}

/// The timers of one shard. The engine asks for [`Timers::next`] before it waits and calls [`Timers::fire`] after.
#[derive(Default)]
pub(crate) struct Timers {
    numbers: Cell<u64>,
    armed: RefCell<BTreeMap<TimerId, Option<Waker>>>,
}

impl Timers {
    fn reserve(&self, deadline: Instant) -> TimerId {
        let number = self.numbers.get();
        self.numbers.set(number + 1);
        TimerId { deadline, number }
    }

    fn arm(&self, timer: TimerId, cx: &Context<'_>) {
        keep_waker(self.armed.borrow_mut().entry(timer).or_default(), cx);
    }

    fn remove(&self, timer: TimerId) {
        let waker = self.armed.borrow_mut().remove(&timer);
        drop(waker);
    }

    /// The earliest deadline of all armed timers.
    pub fn next(&self) -> Option<Instant> {
        self.armed
            .borrow()
            .first_key_value()
            .map(|(timer, _)| timer.deadline)
    }

    /// Wakes whoever waits for a deadline up to and including `now`; gives how many those were.
    pub fn fire(&self, now: Instant) -> usize {
        let mut fired = 0;
        loop {
            let waker = {
                let mut armed = self.armed.borrow_mut();
                match armed.first_entry() {
                    Some(entry) if entry.key().deadline <= now => entry.remove(),
                    _ => return fired,
                }
            };
            fired += 1;
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}
