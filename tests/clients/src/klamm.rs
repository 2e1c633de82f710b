//! `klamm` itself as a client: one process per call, records as lines of JSON.
//!
//! What a newcomer would get wrong: the command line comes from the binary under test even where the broker under
//! test is Apache Kafka. That is the point: what our own client says must be right to Kafka's broker too.

use crate::client::{Admin, Client, Consume, Failure, From, Produce, TopicSpec, Topics};
use crate::record::{Consumed, Record};
use crate::{paths, process};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::process::{Command, Output};

/// Seconds that one call may take.
const PATIENCE: &str = "60";

/// The command line.
pub struct Klamm {
    bootstrap: String,
}

impl Klamm {
    /// For the broker at `bootstrap` (`host:port`).
    pub fn new(bootstrap: &str) -> Self {
        Klamm {
            bootstrap: bootstrap.to_string(),
        }
    }

    /// Runs a command that talks to the broker, with this standard input.
    pub fn run(&self, arguments: &[&str], input: &[u8]) -> Result<Output, Failure> {
        let with_bootstrap = [arguments, &["--bootstrap-server", &self.bootstrap]].concat();
        run(&with_bootstrap, input)
    }

    /// Runs a command that talks to the broker and answers with one JSON value.
    pub fn ask(&self, arguments: &[&str], input: &[u8]) -> Result<Value, Failure> {
        let output = self.run(&[arguments, &["--format", "json"]].concat(), input)?;
        serde_json::from_slice(&output.stdout).map_err(Failure::local)
    }
}

/// Runs `klamm` with these arguments and this standard input; anything but exit code 0 is a failure in its own words,
/// with the code of Kafka's error that it names.
pub fn run(arguments: &[&str], input: &[u8]) -> Result<Output, Failure> {
    let mut command = Command::new("timeout");
    command.arg(PATIENCE).arg(paths::klamm()).args(arguments);
    let output = process::run(command, input).map_err(Failure::local)?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Failure {
        code: code_of(&said).filter(|_| output.status.code() == Some(1)),
        text: said,
    })
}

/// The number behind the name of an error: `orders-0: MESSAGE_TOO_LARGE (10): …`.
fn code_of(said: &str) -> Option<i16> {
    said.match_indices('(').find_map(|(at, _)| {
        let (digits, _) = said.get(at + 1..)?.split_once(')')?;
        digits.parse().ok()
    })
}

/// The objects of an output that has one a line.
pub fn lines(output: &Output) -> Result<Vec<Value>, Failure> {
    let parse = |line: &[u8]| serde_json::from_slice(line).map_err(Failure::local);
    let lines = output.stdout.split(|byte| *byte == b'\n');
    lines.filter(|line| !line.is_empty()).map(parse).collect()
}

impl Client for Klamm {
    fn name(&self) -> &'static str {
        "klamm"
    }

    /// With acks=all it always has a producer id, wanted or not.
    fn produce(&mut self, request: &Produce<'_>) -> Result<Vec<Option<i64>>, Failure> {
        let partition = request.partition.to_string();
        let input: Vec<String> = request
            .records
            .iter()
            .map(|record| record_to_json(record).to_string() + "\n")
            .collect();
        let told = self.ask(
            &[
                "produce",
                request.topic,
                "--partition",
                &partition,
                "--compression-type",
                request.codec.name(),
                "--acks",
                request.acks.name(),
            ],
            input.concat().as_bytes(),
        )?;
        let count = request.records.len();
        if told["records"].as_u64() != Some(count as u64) {
            return Err(Failure::local(format!("{count} records sent, {told} told")));
        }
        // Only the last offset of a partition is told.
        let mut offsets = vec![None; count];
        if let Some(last) = offsets.last_mut() {
            *last = told["last_offsets"][&partition].as_i64();
        }
        Ok(offsets)
    }

    fn consume(&mut self, request: &Consume<'_>) -> Result<Vec<Consumed>, Failure> {
        let from = match request.from {
            From::Beginning => "earliest".to_string(),
            From::Offset(offset) => offset.to_string(),
            From::Timestamp(timestamp) => format!("@{timestamp}"),
        };
        let partitions: Vec<String> = request.partitions.iter().map(i32::to_string).collect();
        let mut arguments = vec!["consume", request.topic, "--exit", "--format", "json"];
        arguments.extend(["--offset", &from]);
        for partition in &partitions {
            arguments.extend(["--partition", partition]);
        }
        let lines = lines(&self.run(&arguments, b"")?)?;
        let records = lines.iter().map(|line| {
            consumed_from_json(line)
                .filter(|_| line["topic"] == request.topic)
                .ok_or_else(|| Failure::local(format!("not understood: {line}")))
        });
        records.collect()
    }

    fn topics(&mut self) -> Result<Topics, Failure> {
        let described = self.ask(&["topics", "describe"], b"")?;
        let topics = described.as_array().into_iter().flatten();
        let named = topics.filter_map(|topic| Some((topic["name"].as_str()?.to_string(), partitions(topic))));
        Ok(named.collect())
    }

    fn describe(&mut self, topic: &str) -> Result<usize, Failure> {
        let described = self.ask(&["topics", "describe", topic], b"")?;
        Ok(partitions(&described[0]))
    }
}

impl Admin for Klamm {
    fn create_topic(&mut self, topic: &TopicSpec<'_>) -> Result<(), Failure> {
        let partitions = topic.partitions.to_string();
        let configs: Vec<String> = topic
            .configs
            .iter()
            .map(|(key, value)| format!("--config={key}={value}"))
            .collect();
        let mut arguments = vec!["topics", "create", topic.name, "--partitions", &partitions];
        arguments.extend(configs.iter().map(String::as_str));
        let created = self.ask(&arguments, b"")?;
        let expected = json!({
            "name": topic.name,
            "topic_id": created["topic_id"],
            "partitions": topic.partitions,
            "replication_factor": 1,
            "created": true,
        });
        match created == expected {
            true => Ok(()),
            false => Err(Failure::local(format!("{created} is told, not {expected}"))),
        }
    }

    fn delete_topic(&mut self, name: &str) -> Result<(), Failure> {
        self.ask(&["topics", "delete", name], b"").map(drop)
    }

    /// Those that were set on the topic itself; it does not tell the others.
    fn topic_configs(&mut self, name: &str) -> Result<BTreeMap<String, String>, Failure> {
        let described = self.ask(&["topics", "describe", name], b"")?;
        let configs = described[0]["configs"].as_object().into_iter().flatten();
        let set = configs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_string())));
        Ok(set.collect())
    }
}

fn partitions(described: &Value) -> usize {
    described["partitions"].as_array().map_or(0, Vec::len)
}

/// Bytes that are text stand as text, others as base64 in a field with `_base64` behind its name.
fn put(fields: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    let Some(bytes) = bytes else { return };
    let (name, text) = match std::str::from_utf8(bytes) {
        Ok(text) => (name.to_string(), text.to_string()),
        Err(_) => (format!("{name}_base64"), STANDARD.encode(bytes)),
    };
    fields.insert(name, Value::String(text));
}

fn take(fields: &Value, name: &str) -> Option<Option<Vec<u8>>> {
    match (&fields[name], &fields[format!("{name}_base64")]) {
        (Value::Null, Value::Null) => Some(None),
        (Value::String(text), Value::Null) => Some(Some(text.clone().into_bytes())),
        (Value::Null, Value::String(text)) => STANDARD.decode(text).ok().map(Some),
        _ => None,
    }
}

fn record_to_json(record: &Record) -> Value {
    let mut fields = Map::new();
    if let Some(timestamp) = record.timestamp {
        fields.insert("timestamp".into(), timestamp.into());
    }
    put(&mut fields, "key", record.key.as_deref());
    put(&mut fields, "value", record.value.as_deref());
    let header = |(name, value): &(String, Option<Vec<u8>>)| {
        let mut header = Map::from_iter([("key".into(), name.as_str().into())]);
        put(&mut header, "value", value.as_deref());
        Value::Object(header)
    };
    let headers: Vec<Value> = record.headers.iter().map(header).collect();
    fields.insert("headers".into(), Value::Array(headers));
    Value::Object(fields)
}

/// The record that an object of `klamm consume` or `klamm logs dump` stands for; none if it stands for none.
pub fn record_from_json(line: &Value) -> Option<Record> {
    let headers = line["headers"].as_array().into_iter().flatten();
    let headers = headers.map(|header| Some((header["key"].as_str()?.to_string(), take(header, "value")?)));
    Some(Record {
        key: take(line, "key")?,
        value: take(line, "value")?,
        timestamp: Some(line["timestamp"].as_i64()?),
        headers: headers.collect::<Option<Vec<_>>>()?,
    })
}

fn consumed_from_json(line: &Value) -> Option<Consumed> {
    let record = record_from_json(line)?;
    Some(Consumed {
        partition: i32::try_from(line["partition"].as_i64()?).ok()?,
        offset: line["offset"].as_i64()?,
        timestamp: record.timestamp?,
        record,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_from_json_as_they_went() {
        for record in crate::record::every_shape(3, 60) {
            let mut line = record_to_json(&record);
            line["partition"] = 2.into();
            line["offset"] = 17.into();
            let consumed = consumed_from_json(&line).unwrap();
            assert_eq!((consumed.partition, consumed.offset), (2, 17));
            assert_eq!(consumed.record, record);
        }
        assert!(
            consumed_from_json(&json!({"partition": 0, "offset": 0, "timestamp": 0, "key": 5})).is_none()
        );
    }

    #[test]
    fn codes_stand_behind_names() {
        let check = |said: &str, expected: Option<i16>| assert_eq!(code_of(said), expected, "{said}");
        check(
            "klamm: a-0: MESSAGE_TOO_LARGE (10): larger than 5 (in bytes)",
            Some(10),
        );
        check(
            "klamm: 127.0.0.1:1: no broker can be reached there (refused)",
            None,
        );
        check("", None);
    }
}
