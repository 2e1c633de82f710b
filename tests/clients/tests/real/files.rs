//! The directory that a clean stop leaves is Apache Kafka's: its tool reads every file, its broker serves it.

use crate::sent::fill;
use anyhow::{Context, Result, ensure};
use clients::dump::dump_everything;
use clients::librdkafka::Librdkafka;
use clients::record::difference;
use clients::{Acks, Broker, Client, Codec, Consume, From, Produce, Record, Settings, Target};

#[test]
fn kafka_dump_log_reads_a_closed_directory() -> Result<()> {
    let broker = Broker::start(Settings::from_environment()?)?;
    let sent = fill(&broker.bootstrap())?;
    let closed = broker.stop()?;
    let dumped = dump_everything(&closed.data())?;
    println!("{dumped:?}");
    let count: usize = sent.iter().map(Vec::len).sum();
    ensure!(
        dumped.records == count,
        "{count} records sent, {} dumped",
        dumped.records
    );
    // A topic and its partitions, at least.
    ensure!(dumped.metadata_records > sent.len(), "{dumped:?}");
    Ok(())
}

#[test]
fn apache_kafka_goes_on_where_the_broker_stopped() -> Result<()> {
    let broker = Broker::start(Settings::from_environment()?)?;
    let mut sent = fill(&broker.bootstrap())?;
    let closed = broker.stop()?;

    let kafka = Broker::start_on(Settings::new(Target::Kafka), closed)?;
    serves_and_takes(&kafka.bootstrap(), &mut sent).context("Apache Kafka, on what was left to it")?;
    let closed = kafka.stop()?;

    // And back again.
    let broker = Broker::start_on(Settings::from_environment()?, closed)?;
    serves_and_takes(&broker.bootstrap(), &mut sent).context("on what Apache Kafka left")?;
    broker.stop()?;
    Ok(())
}

/// All that was sent is there; one more batch goes to each partition.
pub fn serves_and_takes(bootstrap: &str, sent: &mut [Vec<Record>]) -> Result<()> {
    let mut client = Librdkafka::new(bootstrap);
    for (partition, sent) in sent.iter_mut().enumerate() {
        let partition = partition as i32;
        client.wait_for_end("filled", partition, sent.len() as i64)?;
        let got = client.consume(&Consume {
            topic: "filled",
            partitions: &[partition],
            from: From::Beginning,
        })?;
        if let Some(difference) = difference(sent, 0, &got) {
            anyhow::bail!("partition {partition}: {difference}");
        }
        let more = client.sample(99, 30);
        let told = client.produce(&Produce {
            topic: "filled",
            partition,
            codec: Codec::Zstd,
            acks: Acks::All,
            idempotent: true,
            large: false,
            records: &more,
        })?;
        ensure!(
            told.first() == Some(&Some(sent.len() as i64)),
            "partition {partition}: offsets {told:?}"
        );
        sent.extend(more);
    }
    Ok(())
}
