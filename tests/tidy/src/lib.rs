//! The rules of the house, read off the tree itself: what a compiler does not guard and a reviewer would forget.
//!
//! Each rule is a function over the [`Tree`] that returns what breaks it, one line a finding; `tests/house.rs` runs
//! them on this checkout, and the tests beside each rule show that it finds a planted breach.

#![allow(
    clippy::disallowed_methods,
    reason = "reads the checkout with std::fs; it is not part of the broker"
)]

pub mod arrows;
pub mod tree;
pub mod words;

pub use tree::{Source, Tree};
