//! The cluster as Metadata describes it, in types of our own.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use protocol::Uuid;
use protocol::api::ApiKey;
use protocol::error_code::ErrorCode;
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::{MetadataRequest, MetadataResponse};

use crate::client::{Client, kafka_error};
use crate::waiting::Waiting;

/// Pause between two looks at a topic that has no leader yet.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// What becomes of a topic that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// The broker creates it if it is set to.
    Create,
    /// It is an error: who reads means a topic that is there.
    Refuse,
}

/// What Metadata said.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// `host:port` of every broker.
    pub brokers: BTreeMap<i32, String>,
    /// Topics by name.
    pub topics: BTreeMap<String, Topic>,
}

/// One topic.
#[derive(Clone, Debug)]
pub struct Topic {
    /// Its id.
    pub id: Uuid,
    /// The error code that stands for the whole topic; 0 is none.
    pub error: i16,
    /// Whether Kafka keeps it for itself.
    pub is_internal: bool,
    /// Its partitions in order.
    pub partitions: Vec<Partition>,
}

/// One partition.
#[derive(Clone, Debug)]
pub struct Partition {
    /// Its number.
    pub index: i32,
    /// The broker that leads it, or -1.
    pub leader: i32,
    /// The epoch of that leadership.
    pub leader_epoch: i32,
    /// Brokers that hold it.
    pub replicas: Vec<i32>,
    /// Brokers in sync.
    pub isr: Vec<i32>,
}

impl Cluster {
    /// Asks for these topics, or for all.
    ///
    /// # Errors
    /// The broker cannot be reached or answers what cannot be read. A topic's own error is kept with it.
    pub fn fetch(client: &mut Client, topics: Option<&[&str]>, may_create: bool) -> Result<Cluster> {
        let request = MetadataRequest {
            topics: topics.map(|names| {
                let topic = |name| MetadataRequestTopic {
                    name: Some(name),
                    ..Default::default()
                };
                names.iter().map(|&name| topic(name)).collect()
            }),
            allow_auto_topic_creation: may_create,
            ..Default::default()
        };
        client.call(
            None,
            ApiKey::Metadata,
            12,
            |out, version| request.encode(out, version),
            |reader, version| {
                MetadataResponse::decode(reader, version).map(|response| Cluster::from(&response))
            },
        )
    }

    /// The topic once every partition of it has a leader.
    ///
    /// # Errors
    /// The topic's error, or that it has no leaders and was waited for long enough.
    pub fn await_topic(
        client: &mut Client,
        name: &str,
        absent: Absent,
        waiting: &mut Waiting,
    ) -> Result<(Cluster, Topic)> {
        loop {
            let cluster = Cluster::fetch(client, Some(&[name]), absent == Absent::Create)?;
            let Some(topic) = cluster.topics.get(name).cloned() else {
                bail!("{name}: the broker does not name it")
            };
            let mut leaderless = topic.partitions.iter().filter(|partition| partition.leader < 0);
            let why = match (topic.error, leaderless.next()) {
                (0, None) if !topic.partitions.is_empty() => return Ok((cluster, topic)),
                (0, None) => anyhow!("{name}: has no partitions"),
                (0, Some(partition)) => anyhow!("{name}-{}: has no leader", partition.index),
                (error, _) => kafka_error(name, error, None),
            };
            let is_absent = topic.error == ErrorCode::UnknownTopicOrPartition as i16;
            let may_pass = topic.error == 0 || ErrorCode::from_code(topic.error).is_retriable();
            if !may_pass || is_absent && absent == Absent::Refuse {
                return Err(why);
            }
            waiting.on(why)?;
            sleep(RETRY_PAUSE);
        }
    }

    /// Where the leader of a partition listens.
    ///
    /// # Errors
    /// There is no leader, or nothing is known of it.
    pub fn leader(&self, topic: &str, partition: &Partition) -> Result<&str> {
        match self.brokers.get(&partition.leader) {
            Some(address) => Ok(address),
            None => bail!("{topic}-{}: has no leader", partition.index),
        }
    }
}

impl From<&MetadataResponse<'_>> for Cluster {
    fn from(response: &MetadataResponse<'_>) -> Cluster {
        let brokers = response
            .brokers
            .iter()
            .map(|b| (b.node_id, format!("{}:{}", b.host, b.port)))
            .collect();
        let topics = response.topics.iter().filter_map(|topic| {
            let mut partitions: Vec<Partition> = topic
                .partitions
                .iter()
                .map(|partition| Partition {
                    index: partition.partition_index,
                    leader: partition.leader_id,
                    leader_epoch: partition.leader_epoch,
                    replicas: partition.replica_nodes.clone(),
                    isr: partition.isr_nodes.clone(),
                })
                .collect();
            partitions.sort_by_key(|partition| partition.index);
            let is_internal = topic.is_internal;
            let described = Topic {
                id: topic.topic_id,
                error: topic.error_code,
                is_internal,
                partitions,
            };
            topic.name.map(|name| (name.to_owned(), described))
        });
        Cluster {
            brokers,
            topics: topics.collect(),
        }
    }
}
