//! Whole requests and responses between real clients and Apache Kafka 4.4.0: decoded, and encoded back unchanged.
//!
//! The texts in `golden/frames/` say how they were captured.

#![allow(
    clippy::disallowed_methods,
    reason = "reads golden files, on an ordinary thread"
)]

use std::fs;
use std::path::Path;

use protocol::frame::{RequestHeader, ResponseHeader};
use protocol::{ApiKey, DecodeError, Reader};

/// Memory that no frame needs.
const BUDGET: usize = 1 << 20;

/// Decodes the body of a message of a version, and encodes what came of it.
type Recode = fn(&mut Reader<'_>, i16) -> Result<Vec<u8>, DecodeError>;

macro_rules! messages {
    ($($name:ident),*) => {
        const KNOWN: &[(&str, Recode)] = &[$((stringify!($name), |reader, version| {
            let message = protocol::messages::$name::decode(reader, version)?;
            reader.finish()?;
            let mut out = Vec::new();
            message.encode(&mut out, version);
            Ok(out)
        }),)*];
    };
}

include!(concat!(env!("OUT_DIR"), "/table.rs"));

fn recode(name: &str) -> Recode {
    let (_, recode) = KNOWN.iter().find(|(known, _)| *known == name).expect("described");
    *recode
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .chars()
        .map(|digit| digit.to_digit(16).expect("hex") as u8)
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn check(api: ApiKey, version: i16, request: &[u8], response: &[u8]) -> Result<(), DecodeError> {
    let mut reader = Reader::new(request, BUDGET);
    let header = RequestHeader::decode(&mut reader)?;
    assert_eq!((header.api_key, header.api_version), (api as i16, version));
    let mut again = Vec::new();
    header.encode(&mut again);
    again.extend(recode(&format!("{api}Request"))(&mut reader, version)?);
    assert_eq!(again, request, "{api} request version {version}");

    let mut reader = Reader::new(response, BUDGET);
    let answered = ResponseHeader::decode(&mut reader, api, version)?;
    assert_eq!(answered.correlation_id, header.correlation_id);
    let mut again = Vec::new();
    answered.encode(&mut again, api, version);
    again.extend(recode(&format!("{api}Response"))(&mut reader, version)?);
    assert_eq!(again, response, "{api} response version {version}");
    Ok(())
}

#[test]
fn frames_of_real_clients_come_back_unchanged() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/frames");
    let mut count = 0;
    for file in fs::read_dir(folder).expect("golden frames are there") {
        let path = file.expect("the folder is readable").path();
        let Some((key, _)) = path
            .file_stem()
            .and_then(|name| name.to_str())
            .and_then(|name| name.split_once('-'))
        else {
            continue;
        };
        let api = ApiKey::try_from(key.parse::<i16>().expect("a key")).expect("a known API");
        for line in fs::read_to_string(&path).expect("text").lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let [version, client, request, response] = words[..] else {
                panic!("{}: {line}", path.display());
            };
            let version = version.parse().expect("a version");
            check(api, version, &bytes(request), &bytes(response))
                .unwrap_or_else(|error| panic!("{api} version {version} by {client}: {error}"));
            count += 1;
        }
    }
    assert!(count > 50, "only {count} frames were found");
}
