//! The descriptions against those that Apache Kafka publishes as JSON inside its own jars: names, types,
//! versions, nullable, tags, defaults, keys, flexible versions, listeners.
//!
//! `KLAMM_KAFKA_JARS` names a folder with the jars of Kafka 4.4.0 listed in `JARS`; `tests/kafka-jars` fills
//! one. Without it nothing is compared, which is an error where `CI` is set.
//!
//! What a newcomer would get wrong: Kafka writes `0+` for a field inside a struct that itself exists from
//! version 3; compared is in which versions a field is really there.

#![allow(clippy::disallowed_methods, reason = "tests run on ordinary threads")]

#[path = "../build/schema.rs"]
#[allow(dead_code)] // the build script uses all of it, a test only what it compares
mod schema;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use schema::{Field, Message, Type, Versions};
use serde_json::Value;

const VERSION: &str = "4.4.0";
const JARS: [&str; 6] = [
    "kafka-clients",
    "kafka-metadata",
    "kafka-group-coordinator",
    "kafka-transaction-coordinator",
    "kafka-share-coordinator",
    "kafka-storage",
];
/// Headers are written by hand in `frame.rs`, where two of their fields decide how the rest is read.
const BY_HAND: [&str; 2] = ["RequestHeader", "ResponseHeader"];

/// A message as lines of text, by struct; the message's own line is under "".
type Lines = BTreeMap<String, Vec<String>>;

#[test]
fn the_descriptions_are_those_that_kafka_publishes() {
    let Some(folder) = std::env::var_os("KLAMM_KAFKA_JARS") else {
        assert!(
            std::env::var_os("CI").is_none(),
            "KLAMM_KAFKA_JARS must name the jars of Kafka {VERSION}"
        );
        eprintln!("not compared: KLAMM_KAFKA_JARS names no folder (tests/kafka-jars DIR fills one)");
        return;
    };
    let published = published(Path::new(&folder));
    let described = described(&Path::new(env!("CARGO_MANIFEST_DIR")).join("schema"));
    let names = |all: &BTreeMap<String, Lines>| all.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&described), names(&published));
    for (name, lines) in &described {
        assert_eq!(lines, &published[name], "{name}");
    }
    assert!(described.len() > 260, "{}", described.len());
}

fn described(folder: &Path) -> BTreeMap<String, Lines> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("schema is there") {
        let path = entry.expect("schema is readable").path();
        if path.is_dir() {
            all.extend(described(&path));
            continue;
        }
        let text = fs::read_to_string(&path).expect("schema is text");
        let messages =
            schema::parse(&path.display().to_string(), &text).unwrap_or_else(|error| panic!("{error}"));
        all.extend(
            messages
                .iter()
                .map(|message| (message.name.clone(), describe(message))),
        );
    }
    all
}

fn describe(message: &Message) -> Lines {
    let mut lines = Lines::new();
    let (key, flexible) = (message.key, message.flexible);
    let head = head(
        &message.kind,
        key.map(i64::from),
        message.versions,
        flexible,
        &message.listeners,
    );
    lines.insert(String::new(), vec![head]);
    for known in &message.structs {
        lines.insert(known.name.clone(), known.fields.iter().map(line).collect());
    }
    lines
}

fn head(kind: &str, key: Option<i64>, versions: Versions, flexible: Option<i16>, listeners: &str) -> String {
    format!("{kind} {key:?} {versions:?} flexible {flexible:?} [{listeners}]")
}

fn line(field: &Field) -> String {
    let default = match (field.default.as_deref(), &field.kind) {
        (Some("null"), _) => "null".to_string(),
        (None, Type::Bool) if !field.is_array => "false".to_string(),
        (None, kind) if is_number(kind) && !field.is_array => "0".to_string(),
        (Some(number), kind) if is_number(kind) => whole(number).to_string(),
        (Some(other), _) => other.to_string(),
        (None, _) => String::new(),
    };
    format!(
        "{}: {}{:?} {:?} nullable {:?} default {default} tag {:?} key {}",
        field.name,
        if field.is_array { "[]" } else { "" },
        field.kind,
        field.versions,
        field.nullable,
        field.tag,
        field.is_map_key,
    )
}

fn is_number(kind: &Type) -> bool {
    matches!(
        kind,
        Type::I8 | Type::I16 | Type::U16 | Type::I32 | Type::U32 | Type::I64
    )
}

fn whole(text: &str) -> i64 {
    match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).expect("a number"),
        None => text.parse().expect("a number"),
    }
}

fn published(folder: &Path) -> BTreeMap<String, Lines> {
    let mut all = BTreeMap::new();
    for jar in JARS {
        let path = folder.join(format!("{jar}-{VERSION}.jar"));
        let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut archive = zip::ZipArchive::new(file).expect("a jar");
        for index in 0..archive.len() {
            let mut entry = archive.by_index(index).expect("an entry of a jar");
            if !entry.name().expect("a name").ends_with(".json") {
                continue;
            }
            let mut text = String::new();
            entry.read_to_string(&mut text).expect("a description is text");
            let json: Value = serde_json::from_str(&without_comments(&text)).expect("a description");
            let name = json["name"].as_str().expect("a name").to_string();
            // APIs that are gone are still published, without a valid version.
            if json["validVersions"] != "none" && !BY_HAND.contains(&name.as_str()) {
                all.insert(name, Published::lines(jar, &json));
            }
        }
    }
    all
}

/// JSON has no comments; Kafka's has, from `//` to the end of the line.
fn without_comments(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let (mut in_text, mut last) = (false, ' ');
        for letter in line.chars() {
            if letter == '"' {
                in_text = !in_text;
            }
            if !in_text && last == '/' && letter == '/' {
                out.pop();
                break;
            }
            out.push(letter);
            last = letter;
        }
        out.push('\n');
    }
    out
}

/// One published description on its way to [`Lines`].
struct Published {
    lines: Lines,
}

impl Published {
    fn lines(jar: &str, json: &Value) -> Lines {
        let name = json["name"].as_str().expect("a name");
        let versions = range(&json["validVersions"]).expect("valid versions");
        let flexible = range(&json["flexibleVersions"]).map(|versions| versions.from);
        let mut listeners: Vec<char> = json["listeners"].as_array().map_or(Vec::new(), |names| {
            names
                .iter()
                .filter_map(|name| name.as_str()?.chars().next())
                .collect()
        });
        listeners.sort();
        let listeners: String = listeners.into_iter().collect();
        let key = json["apiKey"].as_i64();
        let log = jar.trim_start_matches("kafka-").trim_end_matches("-coordinator");
        let kind = match (json["type"].as_str().expect("a type"), log, key) {
            ("coordinator-key", log, _) => format!("{log}-key"),
            ("coordinator-value", log, _) => format!("{log}-value"),
            ("data" | "metadata", "storage", Some(_)) => "remote".to_string(),
            (other, _, _) => other.to_string(),
        };
        let mut all = Published { lines: Lines::new() };
        all.lines.insert(
            String::new(),
            vec![head(&kind, key, versions, flexible, &listeners)],
        );
        all.fields(name, &json["fields"], versions);
        for common in json["commonStructs"].as_array().into_iter().flatten() {
            let within = range(&common["versions"])
                .and_then(|range| range.and(versions))
                .expect("versions");
            all.fields(
                common["name"].as_str().expect("a name"),
                &common["fields"],
                within,
            );
        }
        all.lines
    }

    fn fields(&mut self, name: &str, fields: &Value, parent: Versions) {
        let mut lines = Vec::new();
        for json in fields.as_array().expect("fields") {
            // A field without versions is there in those in which it is tagged.
            let own = range(&json["versions"])
                .or(range(&json["taggedVersions"]))
                .expect("versions");
            let Some(versions) = own.and(parent) else { continue };
            let kind = json["type"].as_str().expect("a type");
            let (is_array, kind) = match kind.strip_prefix("[]") {
                Some(element) => (true, element),
                None => (false, kind),
            };
            let kind = match kind {
                "bool" => Type::Bool,
                "int8" => Type::I8,
                "int16" => Type::I16,
                "uint16" => Type::U16,
                "int32" => Type::I32,
                "uint32" => Type::U32,
                "int64" => Type::I64,
                "float64" => Type::F64,
                "uuid" => Type::Uuid,
                "string" => Type::Str,
                "bytes" => Type::Bytes,
                "records" => Type::Records,
                name => Type::Struct(name.to_string()),
            };
            if let Type::Struct(name) = &kind
                && !json["fields"].is_null()
            {
                self.fields(name, &json["fields"], versions);
            }
            let tagged = range(&json["taggedVersions"]).and_then(|tagged| tagged.and(versions));
            assert!(
                tagged.is_none_or(|tagged| tagged == versions),
                "tagged in some versions only: {json}"
            );
            assert!(
                json["flexibleVersions"].is_null(),
                "an encoding of its own: {json}"
            );
            lines.push(line(&Field {
                name: json["name"].as_str().expect("a name").to_string(),
                kind,
                is_array,
                versions,
                nullable: range(&json["nullableVersions"]).and_then(|null| null.and(versions)),
                default: default(json),
                tag: json["tag"].as_u64().map(|tag| tag as u32),
                is_map_key: json["mapKey"] == true,
                line: 0,
            }));
        }
        self.lines.insert(name.to_string(), lines);
    }
}

fn default(json: &Value) -> Option<String> {
    match json.get("default")? {
        Value::Null => Some("null".to_string()),
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// `none`, `3`, `3-5` or `3+`; nothing is none.
fn range(json: &Value) -> Option<Versions> {
    let text = json.as_str().filter(|text| *text != "none")?;
    let number = |text: &str| text.parse::<i16>().expect("a version");
    Some(match (text.strip_suffix('+'), text.split_once('-')) {
        (Some(from), _) => Versions {
            from: number(from),
            to: i16::MAX,
        },
        (None, Some((from, to))) => Versions {
            from: number(from),
            to: number(to),
        },
        (None, None) => Versions {
            from: number(text),
            to: number(text),
        },
    })
}
