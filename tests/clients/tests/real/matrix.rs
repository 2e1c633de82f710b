//! What one client wrote every other reads: every codec with every kind of acknowledgement, whole, from the
//! middle and from a time.

use anyhow::{Context, Result, ensure};
use clients::kcat::Kcat;
use clients::klamm::Klamm;
use clients::librdkafka::Librdkafka;
use clients::record::{BASE_TIMESTAMP, difference};
use clients::script::Script;
use clients::{
    Acks, Broker, Client, Codec, Consume, Consumed, From, Produce, Record, Settings, TopicSpec, client::Admin,
};
use std::time::Instant;

/// Records in one partition: several batches.
const COUNT: usize = 75;

/// One way to write, and the partition of the writer's topic that is written so.
struct Way {
    partition: i32,
    codec: Codec,
    acks: Acks,
    idempotent: bool,
}

/// Those with a producer id come last.
fn ways() -> Vec<Way> {
    let kinds = Acks::EVERY
        .map(|acks| (acks, false))
        .into_iter()
        .chain([(Acks::All, true)]);
    kinds
        .flat_map(|(acks, idempotent)| Codec::ALL.map(|codec| (codec, acks, idempotent)))
        .enumerate()
        .map(|(index, (codec, acks, idempotent))| Way {
            partition: index as i32,
            codec,
            acks,
            idempotent,
        })
        .collect()
}

#[test]
fn every_client_reads_what_every_client_wrote() -> Result<()> {
    let broker = Broker::start(Settings::from_environment()?)?;
    let bootstrap = broker.bootstrap();
    let mut clients: Vec<Box<dyn Client>> = vec![
        Box::new(Librdkafka::new(&bootstrap)),
        Box::new(Kcat::new(&bootstrap)),
        Box::new(Script::python(&bootstrap)?),
        Box::new(Script::java(&bootstrap)?),
        Box::new(Klamm::new(&bootstrap)),
    ];
    let mut written = Vec::new();
    let start = Instant::now();
    for writer in &mut clients {
        written.push((
            writer.name(),
            write(&bootstrap, writer.as_mut()).context(writer.name())?,
        ));
    }
    for (writer, sent) in &written {
        for reader in &mut clients {
            read(reader.as_mut(), writer, sent)
                .with_context(|| format!("{} reads {writer}", reader.name()))?;
            println!("{:?} {} has read {writer}", start.elapsed(), reader.name());
        }
    }
    drop(clients);
    broker.stop()?;
    Ok(())
}

/// Fills the writer's topic; gives what each partition holds.
fn write(bootstrap: &str, writer: &mut dyn Client) -> Result<Vec<Vec<Record>>> {
    let topic = format!("matrix-{}", writer.name());
    let ways = ways();
    let mut judge = Librdkafka::new(bootstrap);
    judge.create_topic(&TopicSpec {
        name: &topic,
        partitions: ways.len() as i32,
        configs: &[],
    })?;
    // With acks=0 a record for a partition whose leader is not there yet is lost, and rightly so.
    (0..ways.len() as i32).try_for_each(|partition| judge.wait_for_end(&topic, partition, 0))?;
    let mut sent = Vec::new();
    for way in ways {
        let Way {
            partition,
            codec,
            acks,
            idempotent,
        } = way;
        let records = writer.sample(partition as u64, COUNT);
        let request = Produce {
            topic: &topic,
            partition,
            codec,
            acks,
            idempotent,
            large: false,
            records: &records,
        };
        let offsets = writer
            .produce(&request)
            .with_context(|| format!("{codec:?} {acks:?} {idempotent}"))?;
        let are_right = offsets
            .iter()
            .enumerate()
            .all(|(at, told)| told.is_none_or(|told| told == at as i64));
        ensure!(
            are_right && offsets.len() == COUNT,
            "{codec:?} {acks:?}: offsets {offsets:?}"
        );
        judge.wait_for_end(&topic, partition, COUNT as i64)?;
        sent.push(records);
    }
    Ok(sent)
}

fn read(reader: &mut dyn Client, writer: &str, sent: &[Vec<Record>]) -> Result<()> {
    let topic = format!("matrix-{writer}");
    let partitions: Vec<i32> = (0..sent.len() as i32).collect();
    let mut check = |from: From, partitions: &[i32], first: usize| -> Result<()> {
        let got = reader.consume(&Consume {
            topic: &topic,
            partitions,
            from,
        })?;
        for &partition in partitions {
            let got: Vec<Consumed> = got
                .iter()
                .filter(|record| record.partition == partition)
                .cloned()
                .collect();
            let sent = &sent[partition as usize];
            if let Some(difference) = difference(sent, first, &got) {
                anyhow::bail!("partition {partition} from {from:?}: {difference}");
            }
        }
        Ok(())
    };
    check(From::Beginning, &partitions, 0)?;
    // One partition of each codec, in the middle of a batch.
    check(From::Offset(COUNT as i64 - 7), &[10, 11, 12, 13, 14], COUNT - 7)?;
    check(From::Offset(COUNT as i64), &[0], COUNT)?;
    // kcat's records bear the time they were sent at.
    if sent[0][0].timestamp.is_some() {
        // Between the times of records 30 and 31, which share one, and record 32.
        check(From::Timestamp(BASE_TIMESTAMP + 155), &[10, 11, 12, 13, 14], 32)?;
        check(From::Timestamp(BASE_TIMESTAMP + 160), &[10, 11, 12, 13, 14], 32)?;
    }
    check(From::Timestamp(0), &[3], 0)?;
    check(From::Timestamp(4_000_000_000_000), &[3], COUNT)
}
