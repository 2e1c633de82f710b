//! Good examples that several targets begin with: Kafka's own batches, and messages made from their descriptions.

// The module of `protocol`'s own tests that makes bytes from a description, without the generated code.
#[path = "../../../../protocol/tests/messages/sample.rs"]
#[allow(dead_code)] // the places of counts are for those tests; here they are found by chance
mod sample;

use std::fs;
use std::path::Path;

use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;

pub use crate::schema::Message;
use crate::schema::parse;

/// The descriptions of all messages, by name.
pub fn descriptions() -> Vec<Message> {
    let mut messages = Vec::new();
    list(&protocol_folder("schema"), &mut messages);
    messages.sort_by(|one, other| one.name.cmp(&other.name));
    messages
}

fn list(folder: &Path, messages: &mut Vec<Message>) {
    for entry in fs::read_dir(folder).expect("the descriptions are there") {
        let path = entry.expect("and legible").path();
        if path.is_dir() {
            list(&path, messages);
            continue;
        }
        let text = fs::read_to_string(&path).expect("and text");
        match parse(&path.display().to_string(), &text) {
            Ok(parsed) => messages.extend(parsed),
            Err(error) => panic!("{error}"),
        }
    }
}

/// One good example of a message in a version.
pub fn message(message: &Message, version: i16) -> Vec<u8> {
    let mut random = Pcg64Mcg::seed_from_u64(version as u64 + 1);
    sample::sample(message, version, &mut random).bytes
}

/// Record batches as Apache Kafka's own classes wrote them.
pub fn kafka_batches() -> Vec<Vec<u8>> {
    let mut paths: Vec<_> = fs::read_dir(protocol_folder("tests/golden"))
        .expect("Kafka's batches are there")
        .map(|entry| entry.expect("and legible").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "bin"))
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| fs::read(path).expect("and legible"))
        .collect()
}

/// Record batches that Kafka's `LogValidator` was asked about, good and bad.
pub fn judged_batches() -> Vec<Vec<u8>> {
    let path = protocol_folder("tests/golden/validation.txt");
    let text = fs::read_to_string(path).expect("Kafka's judgements are there");
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split('|').nth(5))
        .map(|hex| from_hex(hex.trim()))
        .collect()
}

fn from_hex(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .filter_map(|two| u8::from_str_radix(str::from_utf8(two).ok()?, 16).ok())
        .collect()
}

fn protocol_folder(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../protocol")
        .join(name)
}
