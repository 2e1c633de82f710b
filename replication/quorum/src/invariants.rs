//! What is true of a quorum after every input.

use crate::Quorum;
use crate::quorum::State;

impl Quorum {
    /// Panics if something that must be true is not.
    pub fn invariants(&self) {
        assert!(self.voters.contains(self.node), "only voters take part");
        assert!(self.epoch().0 >= -1);
        match &self.state {
            State::Unattached(_) => assert_eq!(self.high_watermark, None, "nobody committed anything"),
            State::Leader(leader) => {
                assert!(leader.epoch.0 >= 1, "epochs of leaders begin with 1");
                if let Some(committed) = self.high_watermark {
                    assert!(
                        committed > leader.epoch_start,
                        "the epoch's first record is committed first"
                    );
                    assert!(committed <= leader.durable, "only what is durable is committed");
                }
            }
            State::Resigned(_) => {}
        }
    }
}
