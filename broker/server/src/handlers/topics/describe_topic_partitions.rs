//! DescribeTopicPartitions 0: the partitions of topics, page by page.
//!
//! What a newcomer would get wrong: topics are answered in the order of their names whatever the order of the request,
//! because the cursor means "from this name on"; an empty list means every topic, and unknown ones are then not named.

use std::collections::BTreeSet;
use std::rc::Rc;

use metadata::image::topics::{Partition, Topic};
use protocol::error_code::ErrorCode;
use protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use protocol::messages::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};
use protocol::types::Partition as PartitionIndex;
use protocol::wire::DecodeError;

use crate::context::{Context, Request};
use crate::handlers::TOPIC_OPERATIONS;
use crate::images::{View, ids};
use crate::pipeline::Started;

/// Answers at once.
pub fn start(request: &Request, context: &Rc<Context>) -> Result<Started, DecodeError> {
    let asked = request.decode(DescribeTopicPartitionsRequest::decode)?;
    let view = context.node.view();
    let (from_topic, from_partition) = asked
        .cursor
        .as_ref()
        .map_or(("", 0), |cursor| (cursor.topic_name, cursor.partition_index));
    if from_partition < 0 {
        let refused = asked
            .topics
            .iter()
            .map(|topic| failed(topic.name, ErrorCode::InvalidRequest));
        let response = DescribeTopicPartitionsResponse {
            topics: refused.collect(),
            ..DescribeTopicPartitionsResponse::default()
        };
        return Ok(request.reply_to.now(|out, version| response.encode(out, version)));
    }
    let most = context
        .node
        .settings()
        .max_request_partition_size
        .min(asked.response_partition_limit)
        .max(1);
    let mut page = Page {
        view: &view,
        room: usize::try_from(most).unwrap_or(1),
        response: DescribeTopicPartitionsResponse::default(),
    };
    let first_of = |name: &str| if name == from_topic { from_partition } else { 0 };
    if asked.topics.is_empty() {
        for topic in view.image.topics().from(from_topic) {
            if !page.add(topic, first_of(&topic.name)) {
                break;
            }
        }
    } else {
        let names: BTreeSet<&str> = asked.topics.iter().map(|topic| topic.name).collect();
        for name in names.range(from_topic..) {
            let goes_on = match view.topic_by_name(name) {
                Ok(topic) => page.add(topic, first_of(name)),
                Err(error) => page.add_failed(name, error),
            };
            if !goes_on {
                break;
            }
        }
    }
    let response = page.response;
    Ok(request.reply_to.now(|out, version| response.encode(out, version)))
}

/// A response that is filled until it is full.
struct Page<'v> {
    view: &'v View,
    room: usize,
    response: DescribeTopicPartitionsResponse<'v>,
}

impl<'v> Page<'v> {
    /// Adds what there is room for of a topic from a partition on; false when the page is full.
    fn add(&mut self, topic: &'v Topic, first: i32) -> bool {
        if self.is_full(&topic.name) {
            return false;
        }
        let rest = topic.partitions().filter(|(index, _)| index.0 >= first);
        let partitions: Vec<_> = rest
            .take(self.room)
            .map(|(index, one)| partition(self.view, index, one))
            .collect();
        self.room -= partitions.len();
        let next = partitions.last().map_or(first, |last| last.partition_index + 1);
        self.response.topics.push(DescribeTopicPartitionsResponseTopic {
            name: Some(&topic.name),
            topic_id: topic.id,
            is_internal: View::is_internal(&topic.name),
            partitions,
            topic_authorized_operations: TOPIC_OPERATIONS,
            ..DescribeTopicPartitionsResponseTopic::default()
        });
        if topic.partition(PartitionIndex(next)).is_some() {
            self.response.next_cursor = Some(Cursor {
                topic_name: &topic.name,
                partition_index: next,
            });
            return false;
        }
        true
    }

    /// Adds a topic that cannot be described.
    fn add_failed(&mut self, name: &'v str, error: ErrorCode) -> bool {
        if self.is_full(name) {
            return false;
        }
        self.response.topics.push(failed(name, error));
        true
    }

    /// Whether the next page has to begin with this topic.
    fn is_full(&mut self, name: &'v str) -> bool {
        if self.room == 0 {
            self.response.next_cursor = Some(Cursor {
                topic_name: name,
                partition_index: 0,
            });
        }
        self.room == 0
    }
}

fn failed(name: &str, error: ErrorCode) -> DescribeTopicPartitionsResponseTopic<'_> {
    DescribeTopicPartitionsResponseTopic {
        error_code: error.code(),
        name: Some(name),
        is_internal: View::is_internal(name),
        ..DescribeTopicPartitionsResponseTopic::default()
    }
}

fn partition(
    view: &View,
    index: PartitionIndex,
    one: &Partition,
) -> DescribeTopicPartitionsResponsePartition {
    let error = if one.leader.0 < 0 {
        ErrorCode::LeaderNotAvailable
    } else {
        ErrorCode::None
    };
    DescribeTopicPartitionsResponsePartition {
        error_code: error.code(),
        partition_index: index.0,
        leader_id: one.leader.0,
        leader_epoch: one.leader_epoch.0,
        replica_nodes: ids(&one.replicas),
        isr_nodes: ids(&one.isr),
        eligible_leader_replicas: Some(ids(&one.eligible)),
        last_known_elr: Some(ids(&one.last_known)),
        offline_replicas: view.offline(&one.replicas),
    }
}
