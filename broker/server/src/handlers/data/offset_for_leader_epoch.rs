//! OffsetForLeaderEpoch 2-4: where the records of a leader epoch end, for clients that look for lost ones.
//!
//! 3 adds the replica id; 4 is flexible.

use std::collections::BTreeMap;
use std::rc::Rc;

use protocol::error_code::ErrorCode;
use protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
use protocol::types::{LeaderEpoch, Partition};
use protocol::wire::DecodeError;
use shards::{ShardId, mesh};

use crate::context::{Context, Request};
use crate::partition::offsets::{self, EndOfEpoch, EpochLooked};
use crate::pipeline::Started;

/// Queues the questions to the owners, and answers when all have replied.
pub fn start(request: &Request, context: &Rc<Context>) -> Result<Started, DecodeError> {
    let asked = request.decode(OffsetForLeaderEpochRequest::decode)?;
    let reply_to = request.reply_to;
    let view = context.node.view();
    let mut topics: Vec<(String, Vec<i32>)> = Vec::with_capacity(asked.topics.len());
    let mut results: Vec<EndOfEpoch> = Vec::new();
    let mut owners: BTreeMap<ShardId, (Vec<usize>, Vec<EpochLooked>)> = BTreeMap::new();
    for topic in &asked.topics {
        let topic_id = view.topic_by_name(topic.topic).map(|topic| topic.id);
        for part in &topic.partitions {
            let partition = Partition(part.partition);
            match topic_id.and_then(|id| Ok((id, view.owner(id, partition)?))) {
                Ok((topic_id, owner)) => {
                    let (slots, all) = owners.entry(owner).or_default();
                    slots.push(results.len());
                    all.push(EpochLooked {
                        topic_id,
                        partition,
                        current_leader_epoch: LeaderEpoch(part.current_leader_epoch),
                        epoch: LeaderEpoch(part.leader_epoch),
                    });
                    // Stands if the owner stops before it replies.
                    results.push(EndOfEpoch::failed(ErrorCode::NotLeaderOrFollower));
                }
                Err(error) => results.push(EndOfEpoch::failed(error)),
            }
        }
        let partitions = topic.partitions.iter().map(|part| part.partition);
        topics.push((topic.topic.to_owned(), partitions.collect()));
    }
    let calls: Vec<_> = owners
        .into_iter()
        .map(|(owner, (slots, looked))| {
            (
                slots,
                mesh::call(owner, move || offsets::ends_of_epochs_here(looked)),
            )
        })
        .collect();
    Ok(Started::later(async move {
        for (slots, call) in calls {
            for (slot, end) in slots.into_iter().zip(call.await.unwrap_or_default()) {
                if let Some(result) = results.get_mut(slot) {
                    *result = end;
                }
            }
        }
        let mut results = results.iter();
        let topics = topics
            .iter()
            .map(|(topic, partitions)| OffsetForLeaderTopicResult {
                topic,
                partitions: partitions
                    .iter()
                    .zip(results.by_ref())
                    .map(|(index, end)| answer(*index, end))
                    .collect(),
            });
        let response = OffsetForLeaderEpochResponse {
            topics: topics.collect(),
            ..OffsetForLeaderEpochResponse::default()
        };
        reply_to.answer(|out, version| response.encode(out, version))
    }))
}

fn answer(index: i32, end: &EndOfEpoch) -> EpochEndOffset {
    EpochEndOffset {
        error_code: end.error.code(),
        partition: index,
        leader_epoch: end.epoch.0,
        end_offset: end.offset.0,
    }
}
