//! The response to Fetch, without copying record bytes: a chain of chunks, of which some are pieces of the
//! message and others the records where they lie, to be sent in a row. Requests are read as
//! [`crate::messages::FetchRequest`].
//!
//! Versions 4 to 18: 5 brings the log start offset, 7 sessions, 11 the preferred replica, 12 is flexible and tells of
//! diverging epochs, 13 names topics by id, 16 names the nodes of current leaders.
//!
//! What a newcomer would get wrong: the length of a partition's records stands before them, so that the whole
//! chain must be known before its first byte is sent; and no records means empty bytes, never null, since some
//! clients do not expect null.

use bytes::Bytes;

use crate::frame::{self, FrameError};
use crate::messages::FetchResponse;
use crate::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, LeaderIdAndEpoch, NodeEndpoint, PartitionData, SnapshotId,
};
use crate::types::TopicId;
use crate::wire::Writer;

/// A response to Fetch.
#[derive(Clone, Debug, Default)]
pub struct Response<'a> {
    /// How long the client was held back, in ms.
    pub throttle_time_ms: i32,
    /// Of the request as a whole (version 7 and above).
    pub error_code: i16,
    /// 0 when there is no session.
    pub session_id: i32,
    /// What was asked for.
    pub topics: Vec<Topic<'a>>,
    /// Where the leaders named in the partitions are to be found (version 16 and above).
    pub node_endpoints: Vec<NodeEndpoint<'a>>,
}

/// The partitions of one topic.
#[derive(Clone, Debug, Default)]
pub struct Topic<'a> {
    /// Sent up to version 12.
    pub name: &'a str,
    /// Sent from version 13 on.
    pub id: TopicId,
    /// Those that have something to say.
    pub partitions: Vec<Partition>,
}

/// One partition.
#[derive(Clone, Debug, Default)]
pub struct Partition {
    /// All but the records, which are not looked at here.
    pub data: PartitionData<'static>,
    /// The records, whole batches, in as many chunks as they lie in.
    pub records: Vec<Bytes>,
}

impl Partition {
    /// Bytes of its records.
    pub fn records_bytes(&self) -> usize {
        self.records.iter().map(Bytes::len).sum()
    }
}

impl Response<'_> {
    /// Bytes of the records of all partitions.
    pub fn records_bytes(&self) -> usize {
        self.topics
            .iter()
            .flat_map(|topic| &topic.partitions)
            .map(Partition::records_bytes)
            .sum()
    }

    /// Writes the message into the frame that `head` begins with (see [`frame::begin`]; the header of the response
    /// stands in it already), and returns what to send, in order. The frame's length is filled in.
    ///
    /// All pieces of the message share one allocation.
    ///
    /// # Errors
    /// [`FrameError::TooLong`], as of [`frame::end`].
    pub fn encode(self, mut head: Vec<u8>, version: i16) -> Result<Vec<Bytes>, FrameError> {
        debug_assert!(FetchResponse::VERSIONS.contains(&version));
        // Where records are to be put in between, and which.
        let mut insertions: Vec<(usize, Vec<Bytes>)> = Vec::new();
        let bytes_after = self.records_bytes();
        let is_flexible = version >= FetchResponse::FLEXIBLE_SINCE;

        let mut writer = Writer::new(&mut head, is_flexible);
        writer.i32(self.throttle_time_ms);
        if version >= 7 {
            writer.i16(self.error_code);
            writer.i32(self.session_id);
        }
        writer.count(Some(self.topics.len()));
        for topic in self.topics {
            let mut writer = Writer::new(&mut head, is_flexible);
            if version <= 12 {
                writer.str(topic.name);
            } else {
                writer.uuid(topic.id);
            }
            writer.count(Some(topic.partitions.len()));
            for partition in topic.partitions {
                let mut writer = Writer::new(&mut head, is_flexible);
                encode_before_records(&partition.data, &mut writer, version);
                writer.count(Some(partition.records_bytes()));
                if !partition.records.is_empty() {
                    insertions.push((head.len(), partition.records));
                }
                encode_tags(&partition.data, &mut Writer::new(&mut head, is_flexible), version);
            }
            Writer::new(&mut head, is_flexible).tags(0);
        }
        let mut writer = Writer::new(&mut head, is_flexible);
        let has_endpoints = version >= 16 && !self.node_endpoints.is_empty();
        writer.tags(u32::from(has_endpoints));
        if has_endpoints {
            writer.tag(0, |writer| {
                writer.array(&self.node_endpoints, version, NodeEndpoint::encode)
            });
        }
        frame::end(&mut head, bytes_after)?;
        Ok(chained(head.into(), insertions))
    }
}

fn encode_before_records(data: &PartitionData<'_>, writer: &mut Writer<'_>, version: i16) {
    writer.i32(data.partition_index);
    writer.i16(data.error_code);
    writer.i64(data.high_watermark);
    writer.i64(data.last_stable_offset);
    if version >= 5 {
        writer.i64(data.log_start_offset);
    }
    writer.nullable_array(
        data.aborted_transactions.as_deref(),
        version,
        AbortedTransaction::encode,
    );
    if version >= 11 {
        writer.i32(data.preferred_read_replica);
    }
}

fn encode_tags(data: &PartitionData<'_>, writer: &mut Writer<'_>, version: i16) {
    let has_diverging = version >= 12 && data.diverging_epoch != EpochEndOffset::default();
    let has_leader = version >= 12 && data.current_leader != LeaderIdAndEpoch::default();
    let has_snapshot = version >= 12 && data.snapshot_id != SnapshotId::default();
    writer.tags(u32::from(has_diverging) + u32::from(has_leader) + u32::from(has_snapshot));
    if has_diverging {
        writer.tag(0, |writer| data.diverging_epoch.encode(writer, version));
    }
    if has_leader {
        writer.tag(1, |writer| data.current_leader.encode(writer, version));
    }
    if has_snapshot {
        writer.tag(2, |writer| data.snapshot_id.encode(writer, version));
    }
}

/// `head`, cut where something goes in between.
fn chained(mut head: Bytes, insertions: Vec<(usize, Vec<Bytes>)>) -> Vec<Bytes> {
    let mut chain = Vec::with_capacity(
        1 + insertions
            .iter()
            .map(|(_, chunks)| 1 + chunks.len())
            .sum::<usize>(),
    );
    let mut done = 0;
    for (at, chunks) in insertions {
        chain.push(head.split_to(at - done));
        done = at;
        chain.extend(chunks.into_iter().filter(|chunk| !chunk.is_empty()));
    }
    if !head.is_empty() {
        chain.push(head);
    }
    chain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::fetch_response::FetchableTopicResponse;
    use crate::types::Uuid;
    use crate::wire::Reader;
    use rand::{RngExt, SeedableRng};

    fn random_partition(random: &mut impl RngExt) -> Partition {
        let data = PartitionData {
            partition_index: random.random(),
            error_code: random.random_range(-1..120),
            high_watermark: random.random(),
            last_stable_offset: random.random(),
            log_start_offset: random.random(),
            preferred_read_replica: random.random_range(-1..5),
            aborted_transactions: match random.random_range(0..3) {
                0 => None,
                n => Some(vec![
                    AbortedTransaction {
                        producer_id: n,
                        first_offset: random.random()
                    };
                    n as usize
                ]),
            },
            diverging_epoch: match random.random() {
                true => EpochEndOffset::default(),
                false => EpochEndOffset {
                    epoch: 3,
                    end_offset: random.random(),
                },
            },
            current_leader: match random.random() {
                true => LeaderIdAndEpoch::default(),
                false => LeaderIdAndEpoch {
                    leader_id: random.random(),
                    leader_epoch: 9,
                },
            },
            snapshot_id: match random.random() {
                true => SnapshotId::default(),
                false => SnapshotId {
                    end_offset: random.random(),
                    epoch: 1,
                },
            },
            ..PartitionData::default()
        };
        let chunks = random.random_range(0..4);
        let records = (0..chunks)
            .map(|_| Bytes::from(vec![random.random(); random.random_range(0..300)]))
            .collect();
        Partition { data, records }
    }

    fn random_response<R: RngExt>(random: &mut R) -> Response<'static> {
        let topic = |random: &mut R| Topic {
            name: ["first", "second", ""][random.random_range(0..3)],
            id: Uuid(random.random()),
            partitions: (0..random.random_range(0..4))
                .map(|_| random_partition(random))
                .collect(),
        };
        let endpoint = NodeEndpoint {
            node_id: 4,
            host: "host",
            port: 9092,
            rack: None,
        };
        Response {
            throttle_time_ms: random.random(),
            error_code: random.random(),
            session_id: random.random(),
            topics: (0..random.random_range(0..4)).map(|_| topic(random)).collect(),
            node_endpoints: vec![endpoint; random.random_range(0..3)],
        }
    }

    /// The same response as the generated type has it, with the records copied.
    fn generated(response: &Response<'static>, out: &mut Vec<u8>, version: i16) {
        let records: Vec<Vec<u8>> = response
            .topics
            .iter()
            .flat_map(|t| &t.partitions)
            .map(|p| p.records.concat())
            .collect();
        let mut records = records.iter();
        let responses = response.topics.iter().map(|topic| FetchableTopicResponse {
            topic: topic.name,
            topic_id: topic.id,
            partitions: topic
                .partitions
                .iter()
                .map(|p| PartitionData {
                    records: records.next().map(Vec::as_slice),
                    ..p.data.clone()
                })
                .collect(),
        });
        let message = FetchResponse {
            throttle_time_ms: response.throttle_time_ms,
            error_code: response.error_code,
            session_id: response.session_id,
            responses: responses.collect(),
            node_endpoints: response.node_endpoints.clone(),
        };
        message.encode(out, version);
    }

    #[test]
    fn the_chain_is_the_message_in_every_version() {
        let mut random = rand_pcg::Pcg64Mcg::seed_from_u64(17);
        for version in FetchResponse::VERSIONS {
            for _ in 0..100 {
                let response = random_response(&mut random);
                let mut expected = Vec::new();
                frame::begin(&mut expected);
                expected.extend_from_slice(b"header");
                let head = expected.clone();
                generated(&response, &mut expected, version);
                frame::end(&mut expected, 0).unwrap();

                let chain = response.encode(head, version).unwrap();
                assert!(chain.iter().all(|chunk| !chunk.is_empty()));
                assert_eq!(chain.concat(), expected, "version {version}");
                let mut reader = Reader::new(&expected[10..], 1 << 20);
                FetchResponse::decode(&mut reader, version).unwrap();
                reader.finish().unwrap();
            }
        }
    }

    #[test]
    fn records_are_not_copied() {
        let records = Bytes::from(vec![1; 1000]);
        let partition = Partition {
            records: vec![records.clone(), records.slice(10..)],
            ..Partition::default()
        };
        let topics = vec![Topic {
            name: "t",
            partitions: vec![partition],
            ..Topic::default()
        }];
        let mut head = Vec::new();
        frame::begin(&mut head);
        let chain = Response {
            topics,
            ..Response::default()
        }
        .encode(head, 12)
        .unwrap();
        let is_ours = |chunk: &Bytes, at: usize| chunk.as_ptr() == records[at..].as_ptr();
        assert_eq!(chain.len(), 4);
        assert!(is_ours(&chain[1], 0) && is_ours(&chain[2], 10));
    }
}
