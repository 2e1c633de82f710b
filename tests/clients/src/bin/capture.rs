//! Captures golden frames: real clients talk to Apache Kafka 4.4.0 through a proxy that keeps what is said.
//!
//!     cargo run -p clients --bin capture -- protocol/tests/golden/frames
//!
//! Writes one text per API, replacing what is there. Needs what `tests/run install` installs.

#![allow(
    clippy::disallowed_methods,
    reason = "a program of its own, on ordinary threads, that writes files"
)]

use anyhow::{Context, Result};
use clients::broker::free_port;
use clients::capture::{Proxy, texts};
use clients::client::Admin;
use clients::kcat::Kcat;
use clients::librdkafka::Librdkafka;
use clients::script::Script;
use clients::{Acks, Broker, Client, Codec, Consume, From, Produce, Settings, Target, TopicSpec};
use std::path::PathBuf;

/// The longest exchange that is kept, in bytes: short ones show a format as well as long ones.
const BYTES_MAX: usize = 3000;

fn main() -> Result<()> {
    let folder = std::env::args().nth(1).context("which folder?")?;
    let folder = PathBuf::from(folder);
    let advertised = free_port();
    let settings = Settings {
        advertised_port: Some(advertised),
        ..Settings::new(Target::Kafka)
    };
    let broker = Broker::start(settings)?;
    let proxy = Proxy::start(advertised, broker.port())?;
    let bootstrap = format!("127.0.0.1:{advertised}");

    proxy.label("librdkafka");
    administer(&mut Librdkafka::new(&bootstrap)).context("librdkafka")?;
    talk(&mut Librdkafka::new(&bootstrap)).context("librdkafka")?;
    proxy.label("kcat");
    talk(&mut Kcat::new(&bootstrap)).context("kcat")?;
    proxy.label("python");
    let mut python = Script::python(&bootstrap)?;
    administer(&mut python).context("kafka-python")?;
    talk(&mut python).context("kafka-python")?;
    proxy.label("java");
    let mut java = Script::java(&bootstrap)?;
    administer(&mut java).context("java")?;
    talk(&mut java).context("java")?;

    for (name, text) in texts(&proxy.exchanges(), BYTES_MAX) {
        println!("{name}: {} exchanges, {} bytes", text.lines().count(), text.len());
        std::fs::write(folder.join(name), text)?;
    }
    drop((python, java));
    broker.stop()?;
    Ok(())
}

fn administer(client: &mut dyn Admin) -> Result<()> {
    let name = format!("made-by-{}", client.name());
    let configs = [("max.message.bytes", "2000000")];
    let spec = TopicSpec {
        name: &name,
        partitions: 2,
        configs: &configs,
    };
    client.create_topic(&spec)?;
    // Made already: the answer with an error belongs to the capture.
    client.create_topic(&spec).err().context("made twice")?;
    client.topic_configs(&name)?;
    client.delete_topic(&name)?;
    client
        .delete_topic("nowhere")
        .err()
        .context("removed what is not there")?;
    Ok(())
}

fn talk(client: &mut dyn Client) -> Result<()> {
    let topic = format!("written-by-{}", client.name());
    let records = client.sample(1, 4);
    for (codec, acks, idempotent) in [
        (Codec::None, Acks::One, false),
        (Codec::Gzip, Acks::All, true),
        (Codec::Lz4, Acks::All, false),
        (Codec::Zstd, Acks::Zero, false),
    ] {
        let produce = Produce {
            topic: &topic,
            partition: 0,
            codec,
            acks,
            idempotent,
            large: false,
            records: &records,
        };
        client.produce(&produce)?;
    }
    for from in [From::Beginning, From::Offset(2), From::Timestamp(0)] {
        client.consume(&Consume {
            topic: &topic,
            partitions: &[0],
            from,
        })?;
    }
    client.topics()?;
    client.describe(&topic)?;
    client
        .describe("nowhere")
        .err()
        .context("described what is not there")?;
    Ok(())
}
