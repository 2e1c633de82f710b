//! Every message and record in every version, as random bytes made straight from the descriptions: decoded
//! and encoded back by the generated code and by the crate `kafka-protocol`, and made hostile.
//!
//! What a newcomer would get wrong: the bytes do not come from the generated code. `sample.rs` reads the same
//! descriptions at run time and knows nothing of `wire.rs`, so that a mistake in one is a difference here.

#![allow(clippy::disallowed_methods, reason = "tests run on ordinary threads")]

#[path = "../../build/schema.rs"]
#[allow(dead_code)] // the build script uses all of it, a test only what it compares
mod schema;

mod descriptions;
mod hostile;
mod peer;
mod sample;

use std::fs;
use std::path::Path;

use protocol::{DecodeError, Reader};
use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;
use sample::{Sample, sample};
use schema::Message;

/// Memory that no sample needs.
const BUDGET: usize = 1 << 20;
/// Samples of each message in each version.
const SAMPLES: usize = 12;

/// One message as the generated code knows it.
struct Known {
    name: &'static str,
    /// Decodes bytes of a version within a budget, and encodes what came of it.
    recode: fn(&[u8], i16, usize) -> Recoded,
}

/// The message encoded again, and how much of the budget decoding took.
type Recoded = Result<(Vec<u8>, usize), DecodeError>;

macro_rules! messages {
    ($($name:ident),*) => {
        const KNOWN: &[Known] = &[$(Known {
            name: stringify!($name),
            recode: |bytes, version, budget| {
                let mut reader = Reader::new(bytes, budget);
                let message = protocol::messages::$name::decode(&mut reader, version)?;
                reader.finish()?;
                let mut out = Vec::new();
                message.encode(&mut out, version);
                Ok((out, budget - reader.budget()))
            },
        },)*];
    };
}

include!(concat!(env!("OUT_DIR"), "/table.rs"));

fn descriptions() -> Vec<Message> {
    fn read(folder: &Path, messages: &mut Vec<Message>) {
        for entry in fs::read_dir(folder).expect("schema is there") {
            let path = entry.expect("schema is readable").path();
            if path.is_dir() {
                read(&path, messages);
                continue;
            }
            let text = fs::read_to_string(&path).expect("schema is text");
            match schema::parse(&path.display().to_string(), &text) {
                Ok(parsed) => messages.extend(parsed),
                Err(error) => panic!("{error}"),
            }
        }
    }
    let mut messages = Vec::new();
    read(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("schema"),
        &mut messages,
    );
    messages.sort_by(|one, other| one.name.cmp(&other.name));
    messages
}

/// Runs `check` on samples of every message in every version.
fn for_all(seed: u64, mut check: impl FnMut(&Known, &Message, i16, &Sample)) {
    let messages = descriptions();
    assert_eq!(messages.len(), KNOWN.len());
    for message in &messages {
        let known = KNOWN
            .iter()
            .find(|known| known.name == message.name)
            .expect("generated");
        for version in message.versions.from..=message.versions.to {
            let mut random = Pcg64Mcg::seed_from_u64(seed ^ (version as u64) << 32);
            for _ in 0..SAMPLES {
                check(known, message, version, &sample(message, version, &mut random));
            }
        }
    }
}

#[test]
fn every_message_comes_back_byte_for_byte() {
    let mut compared = 0;
    for_all(1, |known, message, version, sample| {
        let found = (known.recode)(&sample.bytes, version, BUDGET);
        let bytes = found.map(|(bytes, _)| bytes);
        assert_eq!(bytes.as_ref(), Ok(&sample.bytes), "{} v{version}", message.name);
        compared += 1;
    });
    assert!(compared > 8_000, "{compared}");
}

#[test]
fn unknown_tagged_fields_are_skipped() {
    for_all(2, |known, message, version, sample| {
        let Some(place) = sample.last_tags else { return };
        let (before, after) = sample.bytes.split_at(place);
        let (&count, fields) = after.split_first().expect("a count of tagged fields");
        let more = [before, &[count + 1], fields, &[0x63, 2, 0xaa, 0xbb]].concat();
        let bytes = (known.recode)(&more, version, BUDGET).map(|(bytes, _)| bytes);
        assert_eq!(bytes.as_ref(), Ok(&sample.bytes), "{} v{version}", message.name);
    });
}

#[test]
fn versions_that_are_not_described_are_refused() {
    for known in KNOWN {
        for version in [-1, 100, i16::MAX] {
            assert_eq!(
                (known.recode)(&[], version, 0).err(),
                Some(DecodeError::Version(version))
            );
        }
    }
}
