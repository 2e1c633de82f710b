//! `klamm` as people use it: lines of text in, lines of text out, and keys in the partitions where other clients put
//! them. Its lines of JSON stand in the matrix beside the other clients.

use anyhow::{Context, Result, ensure};
use clients::client::Admin;
use clients::klamm::{Klamm, lines};
use clients::librdkafka::Librdkafka;
use clients::{Broker, Client, Consume, From, Record, Settings, TopicSpec, process};
use std::process::Command;

/// A topic that can be written to.
fn make(bootstrap: &str, name: &str, partitions: i32) -> Result<()> {
    let mut judge = Librdkafka::new(bootstrap);
    judge.create_topic(&TopicSpec {
        name,
        partitions,
        configs: &[],
    })?;
    (0..partitions).try_for_each(|partition| judge.wait_for_end(name, partition, 0))?;
    Ok(())
}

/// All of partition 0, as librdkafka reads it; times are left out.
fn read(bootstrap: &str, topic: &str) -> Result<Vec<Record>> {
    let got = Librdkafka::new(bootstrap).consume(&Consume {
        topic,
        partitions: &[0],
        from: From::Beginning,
    })?;
    let without_time = |record| Record {
        timestamp: None,
        ..record
    };
    Ok(got.into_iter().map(|got| without_time(got.record)).collect())
}

fn record(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[(&str, &str)]) -> Record {
    let header = |(name, value): &(&str, &str)| (name.to_string(), Some(value.as_bytes().to_vec()));
    Record {
        key: key.map(<[u8]>::to_vec),
        value: value.map(<[u8]>::to_vec),
        timestamp: None,
        headers: headers.iter().map(header).collect(),
    }
}

#[test]
fn lines_of_text_become_the_records_that_they_say() -> Result<()> {
    let broker = Broker::start(Settings::from_environment()?)?;
    let bootstrap = broker.bootstrap();
    let klamm = Klamm::new(&bootstrap);
    let check = |topic: &str, options: &[&str], input: &[u8], expected: &[Record]| -> Result<()> {
        make(&bootstrap, topic, 1)?;
        let written = klamm.run(&[&["produce", topic], options].concat(), input)?;
        ensure!(written.stdout.is_empty(), "{topic}: {written:?}");
        let got = read(&bootstrap, topic)?;
        ensure!(got == expected, "{topic}: {got:?} is read, not {expected:?}");
        Ok(())
    };
    let value = |bytes: &'static [u8]| record(None, Some(bytes), &[]);
    check(
        "values",
        &[],
        b"one\n\r\n\xff\x00\xfe\nlast, and no line end",
        &[
            value(b"one"),
            value(b""),
            value(b"\xff\x00\xfe"),
            value(b"last, and no line end"),
        ],
    )?;
    check("nothing", &[], b"", &[])?;
    check(
        "keys",
        &["--key-separator", ":", "--null-marker", "NULL"],
        b"k:v\nNULL:v\nk:NULL\nNULL:NULL\n:\nk:a:b\n\xff:\xfe\n",
        &[
            record(Some(b"k"), Some(b"v"), &[]),
            record(None, Some(b"v"), &[]),
            record(Some(b"k"), None, &[]),
            record(None, None, &[]),
            record(Some(b""), Some(b""), &[]),
            record(Some(b"k"), Some(b"a:b"), &[]),
            record(Some(b"\xff"), Some(b"\xfe"), &[]),
        ],
    )?;
    let trace = [("trace", "a=b"), ("trace", ""), ("größe", "3")];
    check(
        "headers",
        &["-H", "trace=a=b", "-H", "trace=", "-H", "größe=3"],
        b"one\ntwo\n",
        &[
            record(None, Some(b"one"), &trace),
            record(None, Some(b"two"), &trace),
        ],
    )?;
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = format!("codec-{codec}");
        let options = ["--compression-type", codec, "--acks", "1", "--partition", "0"];
        check(&topic, &options, b"packed\n", &[value(b"packed")])?;
    }
    broker.stop()?;
    Ok(())
}

#[test]
fn records_become_the_lines_of_text_that_are_asked_for() -> Result<()> {
    let broker = Broker::start(Settings::from_environment()?)?;
    let bootstrap = broker.bootstrap();
    let klamm = Klamm::new(&bootstrap);
    make(&bootstrap, "shown", 2)?;
    let written = concat!(
        r#"{"partition":1,"timestamp":1000,"key":"k","value":"v","headers":[{"key":"h","value":"x"},{"key":"n"}]}"#,
        "\n\n",
        r#"{"partition":1,"timestamp":2000,"key":"k"}"#,
        "\n",
        r#"{"partition":1,"timestamp":3000,"value_base64":"/wD+"}"#,
        "\n",
    );
    let told = klamm.ask(&["produce", "shown"], written.as_bytes())?;
    ensure!(
        told == serde_json::json!({"topic": "shown", "records": 3, "last_offsets": {"1": 2}}),
        "{told}"
    );
    let check = |options: &[&str], expected: &[u8]| -> Result<()> {
        let all = ["consume", "shown", "--exit"];
        let shown = klamm.run(&[&all, options].concat(), b"")?.stdout;
        ensure!(
            shown == expected,
            "{options:?}: {}",
            String::from_utf8_lossy(&shown)
        );
        Ok(())
    };
    check(&["--from-beginning"], b"v\nnull\n\xff\x00\xfe\n")?;
    check(
        &["--from-beginning", "--partition", "1"],
        b"v\nnull\n\xff\x00\xfe\n",
    )?;
    check(&["--from-beginning", "--partition", "0"], b"")?;
    check(&["--from-beginning", "-n", "1"], b"v\n")?;
    check(&["-p", "1", "--offset", "1", "-n", "1"], b"null\n")?;
    check(&["-p", "1", "--offset", "2"], b"\xff\x00\xfe\n")?;
    check(&["-p", "1", "--offset", "3"], b"")?;
    check(&["--offset", "@2000"], b"null\n\xff\x00\xfe\n")?;
    check(&["--offset", "@2001"], b"\xff\x00\xfe\n")?;
    check(&["--offset", "latest"], b"")?;
    check(
        &["--from-beginning", "--print-key"],
        b"k\tv\nk\tnull\nnull\t\xff\x00\xfe\n",
    )?;
    check(
        &[
            "--from-beginning",
            "--print-key",
            "--print-headers",
            "--print-offset",
            "--separator",
            "|",
        ],
        b"1|0|1000|h=x,n=null|k|v\n1|1|2000||k|null\n1|2|3000||null|\xff\x00\xfe\n",
    )?;
    broker.stop()?;
    Ok(())
}

#[test]
fn a_key_goes_to_the_partition_where_other_clients_put_it() -> Result<()> {
    const PARTITIONS: i32 = 7;
    let broker = Broker::start(Settings::from_environment()?)?;
    let bootstrap = broker.bootstrap();
    let klamm = Klamm::new(&bootstrap);
    let input: String = (0..100)
        .map(|number| format!("key {number}:{number}\n"))
        .collect();
    make(&bootstrap, "by-klamm", PARTITIONS)?;
    klamm.run(&["produce", "by-klamm", "--key-separator", ":"], input.as_bytes())?;
    make(&bootstrap, "by-kcat", PARTITIONS)?;
    let mut kcat = Command::new("kcat");
    kcat.args(["-P", "-b", &bootstrap, "-t", "by-kcat", "-K", ":"]);
    kcat.args(["-X", "topic.partitioner=murmur2_random"]);
    let ended = process::run(kcat, input.as_bytes())?;
    ensure!(ended.status.success(), "{ended:?}");
    let placed = |topic: &str| -> Result<Vec<(String, i64)>> {
        let output = klamm.run(
            &["consume", topic, "--from-beginning", "--exit", "--format", "json"],
            b"",
        )?;
        let mut placed = Vec::new();
        for line in lines(&output)? {
            let key = line["key"].as_str().context("no key")?.to_string();
            placed.push((key, line["partition"].as_i64().context("no partition")?));
        }
        placed.sort();
        Ok(placed)
    };
    let (ours, theirs) = (placed("by-klamm")?, placed("by-kcat")?);
    ensure!(ours == theirs && ours.len() == 100, "{ours:?} is not {theirs:?}");
    broker.stop()?;
    Ok(())
}
