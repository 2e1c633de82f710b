//! Every message and every log record in every version.
//!
//! An input is the number of the message (two bytes, in order of names), the version (one byte) and the message.

use protocol::{DecodeError, Reader};

use super::{SLACK, examples, nothing_to_mend};
use crate::Target;
use crate::runner::Answer;

/// Bytes that decoding may allocate.
const BUDGET: usize = 64 << 10;

/// See the module.
pub const MESSAGES: Target = Target {
    name: "messages",
    corpus,
    mend: nothing_to_mend,
    read,
    // What was decoded, and it encoded twice into vectors that double as they grow.
    memory_max: |length| BUDGET + 6 * length + SLACK,
};

struct Known {
    name: &'static str,
    /// Decodes bytes of a version, all of them, and encodes what came of it.
    recode: fn(&[u8], i16) -> Result<Vec<u8>, DecodeError>,
}

macro_rules! messages {
    ($($name:ident),*) => {
        const KNOWN: &[Known] = &[$(Known {
            name: stringify!($name),
            recode: |bytes, version| {
                let mut reader = Reader::new(bytes, BUDGET);
                let message = protocol::messages::$name::decode(&mut reader, version)?;
                reader.finish()?;
                let mut out = Vec::new();
                message.encode(&mut out, version);
                Ok(out)
            },
        },)*];
    };
}

include!(concat!(env!("OUT_DIR"), "/table.rs"));

fn corpus() -> Vec<Vec<u8>> {
    let descriptions = examples::descriptions();
    assert_eq!(descriptions.len(), KNOWN.len());
    let mut corpus = Vec::new();
    for (number, (message, known)) in descriptions.iter().zip(KNOWN).enumerate() {
        assert_eq!(message.name, known.name);
        for version in message.versions.from..=message.versions.to {
            let mut input = (number as u16).to_be_bytes().to_vec();
            input.push(version as u8);
            input.extend(examples::message(message, version));
            corpus.push(input);
        }
    }
    corpus
}

fn read(input: &[u8]) -> Answer {
    let [high, low, version, bytes @ ..] = input else {
        return Answer::default();
    };
    let number = usize::from(u16::from_be_bytes([*high, *low]));
    let Some(known) = KNOWN.get(number) else {
        return Answer::default();
    };
    let version = i16::from(*version);
    let decoded = (known.recode)(bytes, version);
    if let Ok(once) = &decoded {
        // What was read is written as what reads as the same again.
        let twice = (known.recode)(once, version);
        assert_eq!(twice.as_ref(), Ok(once), "{} v{version}", known.name);
    }
    Answer::of((
        number,
        version,
        format!("{:?}", decoded.map(|out| out.len().checked_ilog2())),
    ))
}
