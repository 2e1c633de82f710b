//! What is going to happen, by virtual time; of two things at one time the one planned first.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::network::Side;

/// Something that happens outside of any task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A shard looks at its timers.
    Timers { shard: usize },
    /// A shard's long turn is over.
    Free { shard: usize },
    /// `to` looks into what `from` queued for it.
    Mesh { from: usize, to: usize },
    /// An operation of a disk is done.
    Disk { node: usize, operation: u64 },
    /// The next packet of a connection reaches that side.
    Packet { connection: u64, to: Side },
    /// A side of a connection is given up unless it heard from the other since `since`.
    GiveUp { connection: u64, side: Side, since: u64 },
    /// A connection is asked for (or asked for once more).
    Connect { attempt: u64 },
}

#[derive(Debug, Default)]
pub(crate) struct Events {
    heap: BinaryHeap<Planned>,
    number: u64,
}

#[derive(Debug, PartialEq, Eq)]
struct Planned {
    at: u64,
    number: u64,
    event: Event,
}

impl Ord for Planned {
    fn cmp(&self, other: &Planned) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number)) // the heap gives the greatest first
    }
}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Planned) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Events {
    pub(crate) fn plan(&mut self, at: u64, event: Event) {
        self.heap.push(Planned {
            at,
            number: self.number,
            event,
        });
        self.number += 1;
    }

    /// When the next thing happens.
    pub(crate) fn next_at(&self) -> Option<u64> {
        self.heap.peek().map(|planned| planned.at)
    }

    /// What happens next, if it is due at `now`.
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<Event> {
        match self.heap.peek() {
            Some(planned) if planned.at <= now => self.heap.pop().map(|planned| planned.event),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_then_by_age() {
        let mut events = Events::default();
        for (at, shard) in [(5, 1), (3, 2), (5, 3), (4, 4)] {
            events.plan(at, Event::Free { shard });
        }
        assert_eq!(events.next_at(), Some(3));
        assert_eq!(events.pop_due(2), None);
        let order: Vec<Event> = std::iter::from_fn(|| events.pop_due(9)).collect();
        assert_eq!(order, [2, 4, 1, 3].map(|shard| Event::Free { shard }));
    }
}
