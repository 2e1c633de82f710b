//! The voters of a quorum.

use std::collections::BTreeSet;

use protocol::types::BrokerId;

/// The ids of the voters (kraft.version 0: they come from the settings and do not change).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Voters(BTreeSet<BrokerId>);

impl Voters {
    /// These voters.
    pub fn new(ids: impl IntoIterator<Item = BrokerId>) -> Voters {
        Voters(ids.into_iter().collect())
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = BrokerId> {
        self.0.iter().copied()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this node is one of them.
    pub fn contains(&self, id: BrokerId) -> bool {
        self.0.contains(&id)
    }

    /// How many make a majority.
    pub fn majority(&self) -> usize {
        self.0.len() / 2 + 1
    }
}
