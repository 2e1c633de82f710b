//! kcat as Debian packages it: an older librdkafka (2.0) behind a command line, one process per call.

use crate::client::{Client, Consume, Failure, From, Produce, Topics};
use crate::process;
use crate::record::{Consumed, Record};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::process::{Command, Output};

/// What separates records, and keys from values, on standard input: bytes no sample holds.
const RECORD_END: u8 = 0x1e;
const KEY_END: u8 = 0x1f;

/// kcat.
pub struct Kcat {
    bootstrap: String,
}

impl Kcat {
    /// For the broker at `bootstrap` (`host:port`).
    pub fn new(bootstrap: &str) -> Self {
        Kcat {
            bootstrap: bootstrap.to_string(),
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new("timeout");
        command.args(["40", "kcat", "-b", &self.bootstrap]);
        command
    }
}

impl Client for Kcat {
    fn name(&self) -> &'static str {
        "kcat"
    }

    fn sample(&self, seed: u64, count: usize) -> Vec<Record> {
        crate::record::every_text_shape(seed, count)
    }

    fn produce(&mut self, request: &Produce<'_>) -> Result<Vec<Option<i64>>, Failure> {
        let mut command = self.command();
        command
            .args([
                "-P",
                "-Z",
                "-t",
                request.topic,
                "-p",
                &request.partition.to_string(),
            ])
            .args(["-z", request.codec.name(), "-D", "\\x1e", "-K", "\\x1f"])
            .arg("-X")
            .arg(format!("acks={}", request.acks.name()))
            .arg("-X")
            .arg(format!("enable.idempotence={}", request.idempotent))
            .args(["-X", "batch.num.messages=20", "-X", "message.timeout.ms=30000"])
            .args(["-X", "topic.metadata.propagation.max.ms=5000"]);
        if request.large {
            command.args(["-X", "message.max.bytes=16777216"]);
        }
        // The first record's headers are everybody's.
        for (name, value) in request
            .records
            .first()
            .map(|record| record.headers.as_slice())
            .unwrap_or_default()
        {
            let mut header = format!("{name}=").into_bytes();
            header.extend(value.as_deref().unwrap_or_default());
            command.arg("-H").arg(OsString::from_vec(header));
        }
        let mut input = Vec::new();
        for record in request.records {
            if let Some(key) = &record.key {
                input.extend(key);
            }
            input.push(KEY_END);
            input.extend(record.value.as_deref().unwrap_or_default());
            input.push(RECORD_END);
        }
        run(command, &input)?;
        Ok(vec![None; request.records.len()])
    }

    fn consume(&mut self, request: &Consume<'_>) -> Result<Vec<Consumed>, Failure> {
        let mut records = Vec::new();
        for partition in request.partitions {
            let mut command = self.command();
            command
                .args([
                    "-q",
                    "-C",
                    "-e",
                    "-t",
                    request.topic,
                    "-p",
                    &partition.to_string(),
                ])
                .args([
                    "-X",
                    "check.crcs=true",
                    "-X",
                    "fetch.wait.max.ms=10",
                    "-f",
                    "%p %o %T %K %S %h\\n%k%s\\n",
                    "-o",
                ])
                .arg(match request.from {
                    From::Beginning => "beginning".to_string(),
                    From::Offset(offset) => offset.to_string(),
                    From::Timestamp(timestamp) => format!("s@{timestamp}"),
                });
            let output = run(command, b"")?;
            let mut rest = output.stdout.as_slice();
            while !rest.is_empty() {
                let record = take_record(&mut rest);
                records.push(record.ok_or_else(|| Failure::local("kcat printed something else"))?);
            }
        }
        Ok(records)
    }

    fn topics(&mut self) -> Result<Topics, Failure> {
        let mut command = self.command();
        command.args(["-L", "-J"]);
        parse_topics(&run(command, b"")?.stdout)
    }

    fn describe(&mut self, topic: &str) -> Result<usize, Failure> {
        let mut command = self.command();
        command.args(["-L", "-J", "-t", topic, "-X", "allow.auto.create.topics=false"]);
        let topics = parse_topics(&run(command, b"")?.stdout)?;
        topics
            .get(topic)
            .copied()
            .ok_or_else(|| Failure::local("no such topic in the answer"))
    }
}

/// Runs to the end; anything but exit code 0 is a failure in kcat's own words.
fn run(command: Command, input: &[u8]) -> Result<Output, Failure> {
    let output = process::run(command, input)
        .map_err(|error| Failure::local(format!("kcat cannot be started: {error}")))?;
    match output.status.success() {
        true => Ok(output),
        false => Err(Failure::local(format!(
            "{}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ))),
    }
}

/// Cuts one record off the output of our format: a line of numbers and headers, then key and value.
fn take_record(rest: &mut &[u8]) -> Option<Consumed> {
    let line_end = rest.iter().position(|byte| *byte == b'\n')?;
    let (line, after) = rest.split_at(line_end);
    let mut words = line.splitn(6, |byte| *byte == b' ');
    let mut number = || std::str::from_utf8(words.next()?).ok()?.parse::<i64>().ok();
    let (partition, offset, timestamp, key, value) = (number()?, number()?, number()?, number()?, number()?);
    let headers = parse_headers(words.next()?)?;
    let mut after = after.get(1..)?;
    let mut take = |length: i64| {
        let Ok(length) = usize::try_from(length) else {
            return Some(None);
        };
        let (bytes, rest) = after.split_at_checked(length)?;
        after = rest;
        Some(Some(bytes.to_vec()))
    };
    let record = Record {
        key: take(key)?,
        value: take(value)?,
        timestamp: Some(timestamp),
        headers,
    };
    *rest = after.strip_prefix(b"\n")?;
    Some(Consumed {
        partition: i32::try_from(partition).ok()?,
        offset,
        timestamp,
        record,
    })
}

fn parse_headers(text: &[u8]) -> Option<Vec<(String, Option<Vec<u8>>)>> {
    text.split(|byte| *byte == b',')
        .filter(|header| !header.is_empty())
        .map(|header| {
            let equals = header.iter().position(|byte| *byte == b'=')?;
            let (name, value) = header.split_at(equals);
            let value = value.get(1..)?;
            let name = String::from_utf8(name.to_vec()).ok()?;
            Some((name, (value != b"NULL").then(|| value.to_vec())))
        })
        .collect()
}

fn parse_topics(json: &[u8]) -> Result<Topics, Failure> {
    let answer: serde_json::Value = serde_json::from_slice(json).map_err(Failure::local)?;
    let mut topics = Topics::new();
    for topic in answer["topics"].as_array().into_iter().flatten() {
        if let Some(error) = topic["error"].as_str() {
            return Err(Failure::local(error));
        }
        let name = topic["topic"].as_str().unwrap_or_default();
        topics.insert(
            name.to_string(),
            topic["partitions"].as_array().map_or(0, Vec::len),
        );
    }
    Ok(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_cut_into_records() {
        let mut output: &[u8] = b"3 17 1000 -1 4 a=\xff,b=NULL,c=\n\n\n\n\n\n3 18 1001 1 -1 \nk\n";
        let first = take_record(&mut output).unwrap();
        assert_eq!((first.partition, first.offset, first.timestamp), (3, 17, 1000));
        assert_eq!(
            (first.record.key, first.record.value),
            (None, Some(b"\n\n\n\n".to_vec()))
        );
        let headers = [("a", Some(vec![0xff])), ("b", None), ("c", Some(vec![]))];
        assert_eq!(
            first.record.headers,
            headers.map(|(name, value)| (name.to_string(), value))
        );
        let second = take_record(&mut output).unwrap();
        assert_eq!(
            (second.record.key, second.record.value),
            (Some(b"k".to_vec()), None)
        );
        assert!(output.is_empty());
        assert_eq!(take_record(&mut b"1 2 3 99 1 \nk".as_slice()), None);
    }
}
