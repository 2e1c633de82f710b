//! KRaft: who leads the metadata quorum, and what it has committed. Pure.
//!
//! ```text
//! unattached -- start --> candidate -- majority of votes --> leader -- resign --> resigned
//! ```
//!
//! What a newcomer would get wrong: a single node is no special case but a quorum of one, whose own vote is the
//! majority; so the candidate's state is passed through within one input, and is written down all the same. More
//! voters than one are refused for the time being, in [`Quorum::new`].

mod candidate;
pub mod election_state;
pub mod input;
mod invariants;
mod leader;
pub mod output;
mod quorum;
mod unattached;
pub mod voters;

pub use election_state::ElectionState;
pub use input::Input;
pub use output::Output;
pub use quorum::{Quorum, Refused, Role};
pub use voters::Voters;
