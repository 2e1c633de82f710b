//! The syntax of `server.properties`.

// By path, since the crate around it is the whole broker.
#[path = "../../../../broker/server/src/config/properties.rs"]
mod properties;

use super::{SLACK, nothing_to_mend};
use crate::Target;
use crate::runner::Answer;

/// See the module.
pub const SETTINGS: Target = Target {
    name: "settings",
    corpus,
    mend: nothing_to_mend,
    read,
    // Text again, line by line, key by key, and what stands around short ones.
    memory_max: |length| 128 * length + SLACK,
};

fn corpus() -> Vec<Vec<u8>> {
    let examples = [
        "process.roles=broker,controller\nnode.id=1\nlisteners=PLAINTEXT://:9092,CONTROLLER://:9093\n",
        "# a comment\n! another\r\n\tlog.dirs : /a,\\\n   /b\\\\\n\nkey\\=with\\:signs = \\u00e9\\t\\q\\u12\n",
        "a\nb=\n=c\n \\\n\\",
    ];
    examples.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn read(input: &[u8]) -> Answer {
    let found = properties::parse(input);
    let ends = input.iter().filter(|byte| matches!(byte, b'\n' | b'\r'));
    let lines = ends.count() + 1;
    assert!(found.iter().all(|(_, _, line)| (1..=lines).contains(line)));
    Answer::of((
        found.len().min(8),
        found
            .iter()
            .map(|(key, value, _)| key.len() + value.len())
            .sum::<usize>()
            / 8,
    ))
}
