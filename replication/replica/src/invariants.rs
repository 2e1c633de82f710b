//! What is true of a leader after every input.

use crate::Leader;

impl Leader {
    /// Panics if something that must be true is not.
    pub fn invariants(&self) {
        assert!(
            self.log_start <= self.high_watermark,
            "deleted beyond the high watermark"
        );
        assert!(self.high_watermark <= self.durable_end, "visible and not durable");
    }
}
