//! Everything that reads bytes, one target each.

mod batches;
mod examples;
mod files;
mod frames;
mod journal;
mod messages;
mod metadata;
mod produce;
mod settings;

use crate::Target;

/// All targets.
pub const ALL: &[Target] = &[
    frames::FRAMES,
    messages::MESSAGES,
    batches::BATCHES,
    batches::CODECS,
    produce::PRODUCE,
    metadata::RECORDS,
    metadata::SNAPSHOTS,
    journal::JOURNAL,
    files::FILES,
    settings::SETTINGS,
];

/// For bytes without a checksum.
fn nothing_to_mend(_: &mut [u8]) {}

/// Bytes that any reader may hold beside what its input explains: text of errors, small vectors.
const SLACK: usize = 16 << 10;
