//! ListOffsets 1-11: the offset of the first or last record, or of the first at or after a time.
//!
//! 2 adds the isolation level and the throttle time; 4 leader epochs; 5 tells "not yet known" from other errors; 6 is
//! flexible; 7 asks for the record with the largest timestamp; 8 for the start of the local log; 9 to 11 concern tiered
//! storage and a timeout.
//!
//! What a newcomer would get wrong: no record at or after the time asked for is no error, the answer is offset -1.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use protocol::error_code::ErrorCode;
use protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use protocol::types::{LeaderEpoch, Partition};
use protocol::wire::DecodeError;
use shards::{ShardId, mesh};

use crate::context::{Context, Request};
use crate::partition::offsets::{self, Found, Looked, Sought};
use crate::pipeline::Started;

/// When its turn to be answered has come, asks the owners, and answers when all have replied.
pub fn start(request: &Request, context: &Rc<Context>) -> Result<Started, DecodeError> {
    let asked = request.decode(ListOffsetsRequest::decode)?;
    let reply_to = request.reply_to;
    let view = context.node.view();
    let mut topics: Vec<(String, Vec<i32>)> = Vec::with_capacity(asked.topics.len());
    let mut results: Vec<Found> = Vec::new();
    let mut owners: BTreeMap<ShardId, (Vec<usize>, Vec<Looked>)> = BTreeMap::new();
    let doubled = doubled(&asked);
    for topic in &asked.topics {
        let topic_id = view.topic_by_name(topic.name).map(|topic| topic.id);
        for part in &topic.partitions {
            let partition = Partition(part.partition_index);
            let looked = match doubled.contains(&(topic.name, part.partition_index)) {
                true => Err(ErrorCode::InvalidRequest),
                false => topic_id.and_then(|topic_id| {
                    let sought = Sought::from_timestamp(part.timestamp, reply_to.version)?;
                    let current_leader_epoch = LeaderEpoch(part.current_leader_epoch);
                    let looked = Looked {
                        topic_id,
                        partition,
                        current_leader_epoch,
                        sought,
                    };
                    Ok((view.owner(topic_id, partition)?, looked))
                }),
            };
            match looked {
                Ok((owner, looked)) => {
                    let (slots, all) = owners.entry(owner).or_default();
                    slots.push(results.len());
                    all.push(looked);
                    // Stands if the owner stops before it replies.
                    results.push(Found::failed(ErrorCode::NotLeaderOrFollower));
                }
                Err(error) => results.push(Found::failed(error)),
            }
        }
        let partitions = topic.partitions.iter().map(|part| part.partition_index);
        topics.push((topic.name.to_owned(), partitions.collect()));
    }
    Ok(Started::later(async move {
        let calls: Vec<_> = owners
            .into_iter()
            .map(|(owner, (slots, looked))| (slots, mesh::call(owner, move || offsets::look_up_here(looked))))
            .collect();
        for (slots, call) in calls {
            for (slot, found) in slots.into_iter().zip(call.await.unwrap_or_default()) {
                if let Some(result) = results.get_mut(slot) {
                    *result = found;
                }
            }
        }
        let mut results = results.iter();
        let topics = topics.iter().map(|(name, partitions)| ListOffsetsTopicResponse {
            name,
            partitions: partitions
                .iter()
                .zip(results.by_ref())
                .map(|(index, found)| answer(*index, found))
                .collect(),
        });
        let response = ListOffsetsResponse {
            topics: topics.collect(),
            ..ListOffsetsResponse::default()
        };
        reply_to.answer(|out, version| response.encode(out, version))
    }))
}

/// The partitions that stand more than once in the request.
fn doubled<'a>(asked: &ListOffsetsRequest<'a>) -> BTreeSet<(&'a str, i32)> {
    let mut once = BTreeSet::new();
    let mut doubled = BTreeSet::new();
    for topic in &asked.topics {
        for part in &topic.partitions {
            let partition = (topic.name, part.partition_index);
            if !once.insert(partition) {
                doubled.insert(partition);
            }
        }
    }
    doubled
}

fn answer(index: i32, found: &Found) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse {
        partition_index: index,
        error_code: found.error.code(),
        timestamp: found.timestamp,
        offset: found.offset.0,
        leader_epoch: found.leader_epoch.0,
    }
}
