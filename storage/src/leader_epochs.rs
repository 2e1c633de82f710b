//! Which leader epoch wrote which offsets: for each epoch the offset where it begins.
//!
//! The lookup answers "where does this epoch *end*", and its corner cases are Kafka's, not the obvious
//! ones: an epoch below all known ones ends where the first known one starts, and is answered under the
//! *requested* number. Source: Kafka's `LeaderEpochFileCache.endOffsetFor`, section 13.4 of the formats page.

use protocol::types::{LeaderEpoch, Offset};

/// Epochs and their start offsets, both ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaderEpochs {
    entries: Vec<(LeaderEpoch, Offset)>,
}

impl LeaderEpochs {
    /// Those of a file or a checkpoint; entries that do not ascend make it invalid.
    pub fn from_entries(entries: Vec<(LeaderEpoch, Offset)>) -> Option<Self> {
        let ascends = entries
            .windows(2)
            .all(|pair| matches!(pair, [a, b] if a.0 < b.0 && a.1 <= b.1));
        ascends.then_some(Self { entries })
    }

    /// The entries, ascending.
    pub fn entries(&self) -> &[(LeaderEpoch, Offset)] {
        &self.entries
    }

    /// The newest epoch, if any batch or leader has named one.
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|entry| entry.0)
    }

    /// Notes that `epoch` begins at `start`. An older or equal epoch changes nothing; entries that begin at
    /// or past `start` are of leaders that wrote nothing, and go.
    pub fn assign(&mut self, epoch: LeaderEpoch, start: Offset) {
        if epoch.0 < 0 || self.latest().is_some_and(|latest| latest >= epoch) {
            return;
        }
        let keep = self.entries.partition_point(|entry| entry.1 < start);
        self.entries.truncate(keep);
        self.entries.push((epoch, start));
    }

    /// The epoch that answers for `requested` and the offset where it ends, in a log that ends at
    /// `log_end`; `None` is Kafka's (-1, -1).
    pub fn end_offset_for(&self, requested: LeaderEpoch, log_end: Offset) -> Option<(LeaderEpoch, Offset)> {
        let latest = self.latest()?;
        if requested.0 < 0 || requested > latest {
            return None;
        }
        if requested == latest {
            return Some((requested, log_end));
        }
        let after = self.entries.partition_point(|entry| entry.0 <= requested);
        let end = self.entries.get(after)?.1;
        let epoch = after.checked_sub(1).and_then(|place| self.entries.get(place));
        Some((epoch.map_or(requested, |entry| entry.0), end))
    }

    /// The epoch that wrote `offset`.
    pub fn epoch_for(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|entry| entry.1 <= offset);
        let entry = after.checked_sub(1).and_then(|place| self.entries.get(place))?;
        Some(entry.0)
    }

    /// Forgets what begins at `end` or later: the log now ends there.
    pub fn truncate_from_end(&mut self, end: Offset) {
        let keep = self.entries.partition_point(|entry| entry.1 < end);
        self.entries.truncate(keep);
    }

    /// Forgets what ends at or before `start`: the log now starts there, and so does its first epoch.
    pub fn truncate_from_start(&mut self, start: Offset) {
        let after = self.entries.partition_point(|entry| entry.1 <= start);
        if after > 0 {
            self.entries.drain(..after - 1);
            if let Some(first) = self.entries.first_mut() {
                first.1 = start;
            }
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(entries: &[(i32, i64)]) -> LeaderEpochs {
        let entries = entries
            .iter()
            .map(|&(e, o)| (LeaderEpoch(e), Offset(o)))
            .collect();
        LeaderEpochs::from_entries(entries).expect("ascending")
    }

    #[test]
    fn the_end_of_an_epoch_is_kafkas() {
        let check = |requested: i32, expected: Option<(i32, i64)>| {
            let found =
                epochs(&[(2, 10), (4, 20), (7, 35)]).end_offset_for(LeaderEpoch(requested), Offset(50));
            assert_eq!(found.map(|(e, o)| (e.0, o.0)), expected, "{requested}");
        };
        check(-1, None);
        check(0, Some((0, 10)));
        check(1, Some((1, 10)));
        check(2, Some((2, 20)));
        check(3, Some((2, 20)));
        check(5, Some((4, 35)));
        check(7, Some((7, 50)));
        check(8, None);
        assert_eq!(
            LeaderEpochs::default().end_offset_for(LeaderEpoch(0), Offset(0)),
            None
        );
    }

    #[test]
    fn a_new_epoch_replaces_those_that_wrote_nothing() {
        let check = |epoch: i32, start: i64, expected: &[(i32, i64)]| {
            let mut epochs = epochs(&[(2, 10), (4, 20)]);
            epochs.assign(LeaderEpoch(epoch), Offset(start));
            assert_eq!(epochs, super::tests::epochs(expected), "{epoch} {start}");
        };
        check(5, 30, &[(2, 10), (4, 20), (5, 30)]);
        check(5, 20, &[(2, 10), (5, 20)]);
        check(4, 30, &[(2, 10), (4, 20)]);
        check(3, 30, &[(2, 10), (4, 20)]);
        check(-1, 30, &[(2, 10), (4, 20)]);
    }

    #[test]
    fn truncation_keeps_the_epoch_of_the_edge() {
        let check_end = |end: i64, expected: &[(i32, i64)]| {
            let mut epochs = epochs(&[(2, 10), (4, 20)]);
            epochs.truncate_from_end(Offset(end));
            assert_eq!(epochs, super::tests::epochs(expected), "end {end}");
        };
        check_end(30, &[(2, 10), (4, 20)]);
        check_end(21, &[(2, 10), (4, 20)]);
        check_end(20, &[(2, 10)]);
        check_end(5, &[]);
        let check_start = |start: i64, expected: &[(i32, i64)]| {
            let mut epochs = epochs(&[(2, 10), (4, 20)]);
            epochs.truncate_from_start(Offset(start));
            assert_eq!(epochs, super::tests::epochs(expected), "start {start}");
        };
        check_start(5, &[(2, 10), (4, 20)]);
        check_start(15, &[(2, 15), (4, 20)]);
        check_start(20, &[(4, 20)]);
        check_start(50, &[(4, 50)]);
    }

    #[test]
    fn an_offset_belongs_to_one_epoch() {
        let check = |offset: i64, expected: Option<i32>| {
            let found = epochs(&[(2, 10), (4, 20)]).epoch_for(Offset(offset));
            assert_eq!(found.map(|epoch| epoch.0), expected, "{offset}");
        };
        check(9, None);
        check(10, Some(2));
        check(19, Some(2));
        check(20, Some(4));
        check(99, Some(4));
    }
}
