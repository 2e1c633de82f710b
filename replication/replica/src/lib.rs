//! The two roles of a partition: a leader that moves the high watermark, a follower that catches up. Pure.
