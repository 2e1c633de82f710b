//! `klamm logs dump` and `klamm recover` on data directories that run, were closed, and were left by a crash: what they
//! say is what was sent, and what `klamm recover` closes is Apache Kafka's.

use crate::sent::fill;
use anyhow::{Context, Result, ensure};
use clients::dump::dump_everything;
use clients::klamm::{self, record_from_json};
use clients::{Broker, Record, Settings, Target};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

/// `klamm logs dump` in both formats; gives the objects.
fn dump(data: &Path, options: &[&str]) -> Result<Vec<Value>> {
    let data = data.to_str().context("a name that is text")?;
    let arguments = [&["logs", "dump", data], options].concat();
    let text = klamm::run(&arguments, b"")?;
    let objects = klamm::lines(&klamm::run(
        &[&arguments[..], &["--format", "json"]].concat(),
        b"",
    )?)?;
    // Text has a heading for each file besides.
    let named = objects.iter().all(|object| object["file"].is_string());
    ensure!(
        named && !text.stdout.is_empty() && text.stderr.is_empty(),
        "{options:?}: {text:?}"
    );
    Ok(objects)
}

fn is_of(object: &Value, extension: &str) -> bool {
    object["file"]
        .as_str()
        .is_some_and(|file| file.ends_with(extension))
}

/// A partition's batches as (base offset, last offset, position), and its records, of a dump in which all is well.
fn batches_and_records(objects: &[Value]) -> Result<(Vec<[i64; 3]>, Vec<Record>)> {
    let mut batches = Vec::new();
    let mut records = Vec::new();
    for object in objects.iter().filter(|object| is_of(object, ".log")) {
        if let Some(base) = object["base_offset"].as_i64() {
            let number = |name: &str| {
                object[name]
                    .as_i64()
                    .with_context(|| format!("{name} of {object}"))
            };
            // Of a batch that is being written the rest stands in the journal.
            let is_whole = object["is_begun"].is_null();
            ensure!(object["crc_is_valid"] == is_whole, "{object}");
            batches.push([base, number("last_offset")?, number("position")?]);
        } else if let Some(offset) = object["offset"].as_i64() {
            ensure!(offset == records.len() as i64, "{object} after {}", records.len());
            records.push(record_from_json(object).with_context(|| object.to_string())?);
        } else {
            ensure!(
                object["end"].is_u64() && object["how"].is_string(),
                "what is {object}?"
            );
        }
    }
    Ok((batches, records))
}

/// What the dump of a closed directory says is what was sent, and its indexes point to batches.
fn tells_what_was_sent(data: &Path, sent: &[Vec<Record>]) -> Result<()> {
    for (partition, sent) in sent.iter().enumerate() {
        let name = format!("filled-{partition}");
        let objects = dump(data, &["--partition", &name, "--records"])?;
        let (batches, records) = batches_and_records(&objects)?;
        ensure!(records == *sent, "{name}: {} records", records.len());
        ensure!(
            objects.iter().all(|object| object["is_begun"].is_null()),
            "{name}"
        );
        let entries = objects.iter().filter(|object| is_of(object, ".index"));
        for entry in entries.filter(|entry| entry["position"].is_i64()) {
            // An entry of the index names the last offset of the batch that it points to.
            let is_there = batches
                .iter()
                .any(|[_, last, at]| entry["offset"] == *last && entry["position"] == *at);
            ensure!(is_there, "{name}: {entry}");
        }
        let times = objects.iter().filter(|object| is_of(object, ".timeindex"));
        ensure!(
            times.clone().count() > 0 && times.clone().all(|entry| entry["timestamp"].is_i64()),
            "{name}: {times:?}"
        );
        let producers = objects.iter().filter(|object| is_of(object, ".snapshot"));
        let last = producers.filter(|producer| producer["last_offset"] == sent.len() as i64 - 1);
        ensure!(last.count() > 0, "{name}: no snapshot has the producer");

        let (from, to) = (100, 110);
        let window = dump(data, &["-p", &name, "--records", "--from", "100", "--to", "110"])?;
        let offsets: Vec<i64> = window
            .iter()
            .filter(|object| is_of(object, ".log") && object["base_offset"].is_null())
            .filter_map(|object| object["offset"].as_i64())
            .collect();
        ensure!(offsets == (from..to).collect::<Vec<_>>(), "{name}: {offsets:?}");
    }
    tells_metadata(data)
}

/// Tries until it holds: a log goes to its files when it has been quiet for a while.
fn soon(holds: impl Fn() -> Result<()>) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        match holds() {
            Err(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(100)),
            result => return result,
        }
    }
}

fn tells_metadata(data: &Path) -> Result<()> {
    let objects = dump(data, &["--partition", "__cluster_metadata-0", "--records"])?;
    let types: BTreeSet<&str> = objects
        .iter()
        .filter_map(|object| object["record_type"].as_str())
        .collect();
    for wanted in ["FeatureLevelRecord", "TopicRecord", "PartitionRecord"] {
        ensure!(types.contains(wanted), "no {wanted} among {types:?}");
    }
    let is_known = |name: &&str| !name.contains("nknown");
    ensure!(types.iter().all(is_known), "{types:?}");
    Ok(())
}

#[test]
fn a_dump_says_what_was_sent_while_the_node_runs_and_when_it_is_closed() -> Result<()> {
    let broker = Broker::start(Settings::from_environment()?)?;
    let sent = fill(&broker.bootstrap())?;
    if broker.target() == Target::Klamm {
        for (partition, sent) in sent.iter().enumerate() {
            let name = format!("filled-{partition}");
            soon(|| {
                let objects = dump(&broker.data(), &["--partition", &name, "--records"])?;
                // What was appended last stands in the journal only.
                let (batches, records) = batches_and_records(&objects)?;
                ensure!(
                    !batches.is_empty() && sent.starts_with(&records),
                    "{name}: {} records, and not those that were sent",
                    records.len()
                );
                Ok(())
            })?;
        }
        soon(|| tells_metadata(&broker.data()))?;
        let journals = dump(&broker.data(), &[])?;
        ensure!(
            journals.iter().any(|object| object["journal"].is_string()),
            "{journals:?}"
        );
    }
    let closed = broker.stop()?;
    tells_what_was_sent(&closed.data(), &sent)
}

#[test]
fn what_is_recovered_after_a_crash_is_apache_kafkas() -> Result<()> {
    if Target::from_environment()? == Target::Kafka {
        return Ok(()); // It has no journals.
    }
    let broker = Broker::start(Settings::from_environment()?)?;
    let mut sent = fill(&broker.bootstrap())?;
    let closed = broker.abandon()?;
    let data = closed.data();

    let journals = dump(&data, &[])?;
    let commits: Vec<&Value> = journals
        .iter()
        .filter_map(|object| object["records"].as_array())
        .flatten()
        .collect();
    let names: BTreeSet<&str> = commits
        .iter()
        .filter_map(|record| record["partition"].as_str())
        .collect();
    for partition in 0..sent.len() {
        let name = format!("filled-{partition}");
        ensure!(names.contains(name.as_str()), "{name} is not among {names:?}");
    }

    let name = data.to_str().context("a name that is text")?;
    let recover = || -> Result<Value> {
        let output = klamm::run(&["recover", name, "--format", "json"], b"")?;
        Ok(serde_json::from_slice(&output.stdout)?)
    };
    let told = recover()?;
    ensure!(
        told["closed_cleanly"] == true
            && told["commits"].as_u64() > Some(0)
            && told["damaged"] == Value::Array(vec![]),
        "{told}"
    );
    let again = recover()?;
    ensure!(
        again["closed_cleanly"] == true && again["commits"] == 0,
        "{again}"
    );

    let dumped = dump_everything(&data)?;
    let count: usize = sent.iter().map(Vec::len).sum();
    ensure!(
        dumped.records == count,
        "{count} records sent, {} dumped",
        dumped.records
    );
    tells_what_was_sent(&data, &sent)?;

    let kafka = Broker::start_on(Settings::new(Target::Kafka), closed)?;
    crate::files::serves_and_takes(&kafka.bootstrap(), &mut sent)
        .context("Apache Kafka, after klamm recover")?;
    let closed = kafka.stop()?;
    tells_what_was_sent(&closed.data(), &sent)
}
