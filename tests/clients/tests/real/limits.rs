//! Records that are large, too large, or of an impossible time; and times that the broker gives.

use anyhow::{Context, Result, ensure};
use clients::client::Admin;
use clients::kcat::Kcat;
use clients::klamm::Klamm;
use clients::librdkafka::Librdkafka;
use clients::record::{BASE_TIMESTAMP, difference};
use clients::script::Script;
use clients::{
    Acks, Broker, Client, Codec, Consume, Failure, From, Produce, Record, Settings, Target, TopicSpec,
};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use std::time::{SystemTime, UNIX_EPOCH};

const MESSAGE_TOO_LARGE: i16 = 10;
const INVALID_TIMESTAMP: i16 = 32;

fn all_clients(bootstrap: &str) -> Result<[Box<dyn Client>; 5]> {
    Ok([
        Box::new(Librdkafka::new(bootstrap)),
        Box::new(Kcat::new(bootstrap)),
        Box::new(Script::python(bootstrap)?),
        Box::new(Script::java(bootstrap)?),
        Box::new(Klamm::new(bootstrap)),
    ])
}

fn request<'a>(topic: &'a str, partition: usize, records: &'a [Record]) -> Produce<'a> {
    Produce {
        topic,
        partition: partition as i32,
        codec: Codec::None,
        acks: Acks::All,
        idempotent: false,
        large: true,
        records,
    }
}

/// Printable, since kcat sends nothing else, and hard to compress.
fn large_record(length: usize) -> Record {
    let mut random = Pcg64::seed_from_u64(length as u64);
    let value = (0..length).map(|_| random.random_range(b' '..=b'~')).collect();
    Record {
        value: Some(value),
        ..Record::default()
    }
}

#[test]
fn large_records_pass_where_the_topic_allows_them() -> Result<()> {
    let broker = Broker::start(Settings::from_environment()?)?;
    let bootstrap = broker.bootstrap();
    let configs = [("max.message.bytes", "12000000")];
    let mut clients = all_clients(&bootstrap)?;
    let partitions = clients.len() as i32;
    Librdkafka::new(&bootstrap).create_topic(&TopicSpec {
        name: "large",
        partitions,
        configs: &configs,
    })?;
    // More than a consumer asks for at once, between small ones.
    let records = [
        large_record(10),
        large_record(9_000_000),
        large_record(20),
        large_record(2_000_000),
    ];
    for (partition, writer) in clients.iter_mut().enumerate() {
        writer
            .produce(&request("large", partition, &records))
            .context(writer.name())?;
    }
    for reader in &mut clients {
        for partition in 0..partitions {
            let consume = Consume {
                topic: "large",
                partitions: &[partition],
                from: From::Beginning,
            };
            let got = reader.consume(&consume).context(reader.name())?;
            let is_right = difference(&records, 0, &got).is_none();
            ensure!(
                is_right,
                "{} reads something else from partition {partition}",
                reader.name()
            );
        }
    }
    broker.stop()?;
    Ok(())
}

#[test]
fn records_that_are_too_large_are_refused_by_name() -> Result<()> {
    let broker = Broker::start(Settings::from_environment()?)?;
    let bootstrap = broker.bootstrap();
    let mut admin = Librdkafka::new(&bootstrap);
    admin.create_topic(&TopicSpec {
        name: "default",
        partitions: 1,
        configs: &[],
    })?;
    let configs = [("max.message.bytes", "1000")];
    admin.create_topic(&TopicSpec {
        name: "narrow",
        partitions: 1,
        configs: &configs,
    })?;
    admin.wait_for_end("default", 0, 0)?;
    admin.wait_for_end("narrow", 0, 0)?;
    for mut client in all_clients(&bootstrap)? {
        for (topic, length) in [("default", 1_100_000), ("narrow", 1_000)] {
            let records = [large_record(length)];
            let failure = match client.produce(&request(topic, 0, &records)) {
                Err(failure) => failure,
                Ok(told) => anyhow::bail!("{} was not refused: {told:?}", client.name()),
            };
            // kcat tells no codes.
            let is_named = failure.code == Some(MESSAGE_TOO_LARGE)
                || (client.name() == "kcat" && failure.text.contains("Message size too large"));
            ensure!(is_named, "{}: {failure}", client.name());
            admin.wait_for_end(topic, 0, 0)?;
        }
    }
    broker.stop()?;
    Ok(())
}

#[test]
fn records_from_the_far_future_are_refused() -> Result<()> {
    let settings = Settings::from_environment()?
        .allow_from(Target::Kafka, "Error processing append operation on partition");
    let broker = Broker::start(settings)?;
    let bootstrap = broker.bootstrap();
    let mut admin = Librdkafka::new(&bootstrap);
    admin.create_topic(&TopicSpec {
        name: "times",
        partitions: 1,
        configs: &[],
    })?;
    admin.wait_for_end("times", 0, 0)?;
    for mut client in all_clients(&bootstrap)? {
        if client.name() == "kcat" {
            continue; // It cannot choose times.
        }
        let records = [Record {
            timestamp: Some(4_000_000_000_000),
            ..large_record(10)
        }];
        match client.produce(&request("times", 0, &records)) {
            Err(Failure {
                code: Some(INVALID_TIMESTAMP),
                ..
            }) => {}
            other => anyhow::bail!("{}: {other:?}", client.name()),
        }
        admin.wait_for_end("times", 0, 0)?;
    }
    broker.stop()?;
    Ok(())
}

#[test]
fn the_broker_gives_the_time_where_the_topic_says_so() -> Result<()> {
    let broker = Broker::start(Settings::from_environment()?)?;
    let bootstrap = broker.bootstrap();
    let configs = [("message.timestamp.type", "LogAppendTime")];
    let mut clients = all_clients(&bootstrap)?;
    let partitions = clients.len() as i32;
    let mut admin = Librdkafka::new(&bootstrap);
    admin.create_topic(&TopicSpec {
        name: "append-time",
        partitions,
        configs: &configs,
    })?;
    (0..partitions).try_for_each(|partition| admin.wait_for_end("append-time", partition, 0))?;
    let before = now_ms()?;
    for (partition, writer) in clients.iter_mut().enumerate() {
        let mut records = vec![large_record(10), large_record(100)];
        // Whatever the client says counts for nothing.
        let is_kcat = writer.name() == "kcat";
        records
            .iter_mut()
            .for_each(|record| record.timestamp = (!is_kcat).then_some(BASE_TIMESTAMP));
        let compressed = Produce {
            codec: Codec::Lz4,
            ..request("append-time", partition, &records)
        };
        writer.produce(&compressed).context(writer.name())?;
    }
    let after = now_ms()?;
    for reader in &mut clients {
        let all: Vec<i32> = (0..partitions).collect();
        let consume = |from| Consume {
            topic: "append-time",
            partitions: &all,
            from,
        };
        let got = reader.consume(&consume(From::Beginning)).context(reader.name())?;
        ensure!(got.len() == 2 * all.len(), "{}: {got:?}", reader.name());
        for record in &got {
            let is_now = (before..=after).contains(&record.timestamp);
            ensure!(
                is_now,
                "{}: {} is not in {before} to {after}",
                reader.name(),
                record.timestamp
            );
        }
        ensure!(
            reader.consume(&consume(From::Timestamp(before)))?.len() == got.len(),
            "{}",
            reader.name()
        );
        ensure!(
            reader.consume(&consume(From::Timestamp(after + 1)))?.is_empty(),
            "{}",
            reader.name()
        );
    }
    broker.stop()?;
    Ok(())
}

fn now_ms() -> Result<i64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64)
}
