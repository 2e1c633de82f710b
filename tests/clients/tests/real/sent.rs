//! A topic with something of everything, for tests about what happens to it afterwards.

use anyhow::Result;
use clients::client::Admin;
use clients::librdkafka::Librdkafka;
use clients::{Acks, Client, Codec, Produce, Record, TopicSpec};

/// Makes the topic `filled` with one partition for each codec, in segments as small as Kafka allows, and fills
/// it; gives what each partition holds.
pub fn fill(bootstrap: &str) -> Result<Vec<Vec<Record>>> {
    let mut client = Librdkafka::new(bootstrap);
    let configs = [("segment.bytes", "1048576")];
    let partitions = Codec::ALL.len() as i32;
    client.create_topic(&TopicSpec {
        name: "filled",
        partitions,
        configs: &configs,
    })?;
    let mut sent = Vec::new();
    for (partition, codec) in Codec::ALL.into_iter().enumerate() {
        // About 1.5 MB before compression: two segments where it does not help.
        let records = client.sample(partition as u64, 2000);
        client.produce(&Produce {
            topic: "filled",
            partition: partition as i32,
            codec,
            acks: Acks::All,
            idempotent: true,
            large: false,
            records: &records,
        })?;
        sent.push(records);
    }
    Ok(sent)
}
