//! The shard's journal: one write and one sync commit all that was staged since the last.
//!
//! What a newcomer would get wrong: the journal's sync vouches for the journal alone, never for a segment
//! file (D2), and a half is used again only when all it protects is safe elsewhere (D6).

pub mod frames;
pub mod records;
