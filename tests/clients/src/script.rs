//! Clients in other languages, driven by JSON lines over standard input and output: kafka-python and Java.
//!
//! One question per line, one answer per line: `{"op":"produce",...}` is answered by `{"offsets":[...]}`,
//! or by `{"error":"in words","code":10}`. Bytes are base64. One process answers many questions, since a JVM
//! takes more than a second to start.

use crate::client::{Admin, Client, Consume, Failure, From, Produce, TopicSpec, Topics};
use crate::paths;
use crate::record::{Consumed, Record};
use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const PYTHON: &str = "kafka-python";
const JAVA: &str = "java";

/// A driver process.
pub struct Script {
    name: &'static str,
    bootstrap: String,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Script {
    /// kafka-python.
    pub fn python(bootstrap: &str) -> Result<Script> {
        let mut command = Command::new(paths::installed("python/bin/python")?);
        command.arg(paths::root().join("tests/clients/python/driver.py"));
        Script::start(PYTHON, bootstrap, command)
    }

    /// The Java client.
    pub fn java(bootstrap: &str) -> Result<Script> {
        let mut command = Command::new("java");
        command
            .args([
                "-Xmx256m",
                "-XX:TieredStopAtLevel=1",
                "-XX:+UseSerialGC",
                "-Dklamm.tests.level=error",
            ])
            .args(["-cp", &paths::driver_class_path()?, "Driver"]);
        Script::start(JAVA, bootstrap, command)
    }

    fn start(name: &'static str, bootstrap: &str, mut command: Command) -> Result<Script> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{name} cannot be started"))?;
        let input = child.stdin.take().context("no standard input")?;
        let output = BufReader::new(child.stdout.take().context("no standard output")?);
        Ok(Script {
            name,
            bootstrap: bootstrap.to_string(),
            child,
            input,
            output,
        })
    }

    /// Asks one question and waits for its answer.
    pub fn ask(&mut self, mut question: Value) -> Result<Value, Failure> {
        question["bootstrap"] = json!(self.bootstrap);
        let broken = |error: std::io::Error| Failure::local(format!("the driver is gone: {error}"));
        writeln!(self.input, "{question}")
            .and_then(|()| self.input.flush())
            .map_err(broken)?;
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(broken)?;
        let answer: Value = serde_json::from_str(&line)
            .map_err(|error| Failure::local(format!("the driver said {line:?}: {error}")))?;
        match answer["error"].as_str() {
            Some(text) => {
                let code = answer["code"].as_i64().and_then(|code| i16::try_from(code).ok());
                Err(Failure {
                    code: code.filter(|code| *code > 0),
                    text: text.to_string(),
                })
            }
            None => Ok(answer),
        }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // Nothing it holds is worth waiting for; an error means that it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Client for Script {
    fn name(&self) -> &'static str {
        self.name
    }

    fn sample(&self, seed: u64, count: usize) -> Vec<Record> {
        let mut records = crate::record::every_shape(seed, count);
        if self.name == PYTHON {
            // It refuses to send null headers, and records that have neither key nor value.
            for record in &mut records {
                record
                    .headers
                    .iter_mut()
                    .for_each(|(_, value)| *value = Some(value.take().unwrap_or_default()));
                if record.key.is_none() && record.value.is_none() {
                    record.value = Some(Vec::new());
                }
            }
        }
        records
    }

    fn produce(&mut self, request: &Produce<'_>) -> Result<Vec<Option<i64>>, Failure> {
        let records: Vec<Value> = request.records.iter().map(record_to_json).collect();
        let answer = self.ask(json!({
            "op": "produce",
            "topic": request.topic,
            "partition": request.partition,
            "codec": request.codec.name(),
            "acks": request.acks.name(),
            "idempotent": request.idempotent,
            "large": request.large,
            "records": records,
        }))?;
        let offsets = answer["offsets"]
            .as_array()
            .ok_or_else(|| not_understood(&answer))?;
        Ok(offsets.iter().map(Value::as_i64).collect())
    }

    fn consume(&mut self, request: &Consume<'_>) -> Result<Vec<Consumed>, Failure> {
        let from = match request.from {
            From::Beginning => json!({"beginning": true}),
            From::Offset(offset) => json!({"offset": offset}),
            From::Timestamp(timestamp) => json!({"timestamp": timestamp}),
        };
        let answer = self.ask(json!({
            "op": "consume",
            "topic": request.topic,
            "partitions": request.partitions,
            "from": from,
        }))?;
        let records = answer["records"]
            .as_array()
            .ok_or_else(|| not_understood(&answer))?;
        records
            .iter()
            .map(|record| consumed_from_json(record).ok_or_else(|| not_understood(record)))
            .collect()
    }

    fn topics(&mut self) -> Result<Topics, Failure> {
        let answer = self.ask(json!({"op": "topics"}))?;
        serde_json::from_value(answer["topics"].clone()).map_err(Failure::local)
    }

    fn describe(&mut self, topic: &str) -> Result<usize, Failure> {
        let answer = self.ask(json!({"op": "describe", "topic": topic}))?;
        serde_json::from_value(answer["partitions"].clone()).map_err(Failure::local)
    }
}

impl Admin for Script {
    fn create_topic(&mut self, topic: &TopicSpec<'_>) -> Result<(), Failure> {
        let configs: BTreeMap<&str, &str> = topic.configs.iter().copied().collect();
        self.ask(json!({
            "op": "create_topic",
            "topic": topic.name,
            "partitions": topic.partitions,
            "configs": configs,
        }))
        .map(drop)
    }

    fn delete_topic(&mut self, name: &str) -> Result<(), Failure> {
        self.ask(json!({"op": "delete_topic", "topic": name})).map(drop)
    }

    fn topic_configs(&mut self, name: &str) -> Result<BTreeMap<String, String>, Failure> {
        let answer = self.ask(json!({"op": "configs", "topic": name}))?;
        serde_json::from_value(answer["configs"].clone()).map_err(Failure::local)
    }
}

fn not_understood(answer: &Value) -> Failure {
    Failure::local(format!("the driver's answer is not understood: {answer}"))
}

fn bytes_to_json(bytes: &Option<Vec<u8>>) -> Value {
    bytes
        .as_ref()
        .map_or(Value::Null, |bytes| Value::String(STANDARD.encode(bytes)))
}

fn bytes_from_json(value: &Value) -> Option<Option<Vec<u8>>> {
    match value {
        Value::Null => Some(None),
        Value::String(text) => STANDARD.decode(text).ok().map(Some),
        _ => None,
    }
}

fn record_to_json(record: &Record) -> Value {
    let headers: Vec<Value> = record
        .headers
        .iter()
        .map(|(name, value)| json!([name, bytes_to_json(value)]))
        .collect();
    json!({
        "key": bytes_to_json(&record.key),
        "value": bytes_to_json(&record.value),
        "timestamp": record.timestamp,
        "headers": headers,
    })
}

fn consumed_from_json(json: &Value) -> Option<Consumed> {
    let timestamp = json["timestamp"].as_i64()?;
    let headers = json["headers"].as_array()?.iter();
    let headers = headers
        .map(|header| Some((header[0].as_str()?.to_string(), bytes_from_json(&header[1])?)))
        .collect::<Option<Vec<_>>>()?;
    Some(Consumed {
        partition: i32::try_from(json["partition"].as_i64()?).ok()?,
        offset: json["offset"].as_i64()?,
        timestamp,
        record: Record {
            key: bytes_from_json(&json["key"])?,
            value: bytes_from_json(&json["value"])?,
            timestamp: Some(timestamp),
            headers,
        },
    })
}
