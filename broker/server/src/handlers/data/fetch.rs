//! Fetch 4-18: reads record batches of the partitions named, waiting for them a while if there are too few.
//!
//! 5 adds log start offsets; 7 sessions; 9 the leader epoch a client believes in; 11 the rack; 12 is flexible, with the
//! last fetched epoch and the point of divergence; 13 names topics by id; 14 tiered storage; 15 moves the replica
//! id into a tag; 16 adds leader hints; 17 and 18 concern followers.
//!
//! What a newcomer would get wrong: a request for a session is answered with session id 0, which means "no session",
//! and the client then sends full requests; partitions live on several shards, so a long poll first reads them all
//! and only then waits on each of them for a share of what is missing; and nothing is read before the earlier requests of
//! the connection are answered (see `dispatch`).

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use protocol::error_code::ErrorCode;
use protocol::fetch;
use protocol::messages::fetch_response::{EpochEndOffset, PartitionData};
use protocol::messages::{FetchRequest, FetchResponse};
use protocol::types::{LeaderEpoch, Offset, Partition, TopicId};
use protocol::wire::DecodeError;
use shards::ShardId;
use shards::mesh::{self, Call};
use shards::time::{Duration, Instant, now, sleep_until};
use shards::{Either, select2};

use crate::context::{Context, ReplyTo, Request};
use crate::partition::read::{self, Limits, Read, Seen, Wanted};
use crate::partition::waiters::Interest;
use crate::pipeline::{Answer, Started};
use crate::shard::Node;

/// Versions below name topics by name.
const IDS_SINCE: i16 = 13;
/// From here on the replica id is in a tagged struct.
const REPLICA_STATE_SINCE: i16 = 15;
const READ_COMMITTED: i8 = 1;

/// One topic of the request as it is repeated in the response.
struct Topic {
    name: String,
    id: TopicId,
    partitions: Vec<i32>,
}

/// The partitions that one shard owns, with their places in the answer.
struct Share {
    owner: ShardId,
    slots: Vec<usize>,
    wanted: Vec<Wanted>,
}

/// A fetch under way.
struct Fetch {
    node: Rc<Node>,
    reply_to: ReplyTo,
    topics: Vec<Topic>,
    results: Vec<Read>,
    shares: Vec<Share>,
    max_bytes: usize,
    min_bytes: usize,
    deadline: Instant,
    is_read_committed: bool,
    interest: Interest,
}

/// When its turn to be answered has come, reads from the owners; the answer waits for enough bytes or for the time given.
pub fn start(request: &Request, context: &Rc<Context>) -> Result<Started, DecodeError> {
    let asked = request.decode(FetchRequest::decode)?;
    if asked.session_epoch > 0 {
        // No session was ever given out: the client means one of another broker, or of an earlier start.
        let error_code = ErrorCode::FetchSessionIdNotFound.code();
        let response = FetchResponse {
            error_code,
            ..FetchResponse::default()
        };
        return Ok(request.reply_to.now(|out, version| response.encode(out, version)));
    }
    let max_wait = Duration::from_millis(u64::try_from(asked.max_wait_ms).unwrap_or(0));
    let mut fetch = Fetch::new(request, context, &asked);
    Ok(Started::later(async move {
        fetch.deadline = now() + max_wait;
        let first = fetch.read_all(fetch.shares.len() == 1);
        fetch.collect(first).await
    }))
}

impl Fetch {
    fn new(request: &Request, context: &Rc<Context>, asked: &FetchRequest<'_>) -> Fetch {
        let reply_to = request.reply_to;
        let view = context.node.view();
        let is_follower = 0
            <= match reply_to.version >= REPLICA_STATE_SINCE {
                true => asked.replica_state.replica_id,
                false => asked.replica_id,
            };
        let mut topics = Vec::with_capacity(asked.topics.len());
        let mut results = Vec::new();
        let mut owners: BTreeMap<ShardId, (Vec<usize>, Vec<Wanted>)> = BTreeMap::new();
        for topic in &asked.topics {
            let topic_id = match reply_to.version >= IDS_SINCE {
                true => view.topic_by_id(topic.topic_id).map(|topic| topic.id),
                false => view.topic_by_name(topic.topic).map(|topic| topic.id),
            };
            for part in &topic.partitions {
                let owner = topic_id.and_then(|id| Ok((id, view.owner(id, Partition(part.partition))?)));
                match owner {
                    Ok(_) if is_follower => {
                        results.push(Read::failed(unknown_replica(part.current_leader_epoch)))
                    }
                    Ok((topic_id, owner)) => {
                        let (slots, wanted) = owners.entry(owner).or_default();
                        slots.push(results.len());
                        wanted.push(Wanted {
                            topic_id,
                            partition: Partition(part.partition),
                            offset: Offset(part.fetch_offset),
                            current_leader_epoch: LeaderEpoch(part.current_leader_epoch),
                            last_fetched_epoch: LeaderEpoch(part.last_fetched_epoch),
                            max_bytes: usize::try_from(part.partition_max_bytes).unwrap_or(0),
                        });
                        // Stands if the owner stops before it replies.
                        results.push(Read::failed(ErrorCode::NotLeaderOrFollower));
                    }
                    Err(error) => results.push(Read::failed(error)),
                }
            }
            topics.push(Topic {
                name: topic.topic.to_owned(),
                id: topic.topic_id,
                partitions: topic.partitions.iter().map(|part| part.partition).collect(),
            });
        }
        let bound = context.node.settings().fetch_max_bytes;
        // An error is told at once: nothing is waited for when not every partition is asked of its owner.
        let asked_of_owners: usize = owners.values().map(|(slots, _)| slots.len()).sum();
        let min_bytes = if asked_of_owners == results.len() {
            asked.min_bytes
        } else {
            0
        };
        Fetch {
            node: context.node.clone(),
            reply_to,
            topics,
            results,
            shares: owners
                .into_iter()
                .map(|(owner, (slots, wanted))| Share { owner, slots, wanted })
                .collect(),
            max_bytes: usize::try_from(asked.max_bytes.min(bound)).unwrap_or(0),
            // As in Kafka: more than it may have no client waits for.
            min_bytes: usize::try_from(min_bytes.min(asked.max_bytes).min(bound)).unwrap_or(0),
            deadline: now(),
            is_read_committed: asked.isolation_level == READ_COMMITTED,
            interest: Interest::new(),
        }
    }

    /// Queues a read to every owner, each for its part of the bytes; `waiting`: the owner itself waits for more.
    fn read_all(&self, waiting: bool) -> Vec<Call<Vec<Read>>> {
        let limits = Limits {
            max_bytes: self.max_bytes.div_ceil(self.shares.len().max(1)),
            min_bytes: if waiting { self.min_bytes } else { 0 },
            deadline: self.deadline,
            may_wait: self.shares.len() == 1,
        };
        self.shares.iter().map(|share| self.read(share, limits)).collect()
    }

    fn read(&self, share: &Share, limits: Limits) -> Call<Vec<Read>> {
        let (wanted, interest) = (share.wanted.clone(), self.interest.share());
        mesh::call(share.owner, move || read::read_here(wanted, limits, interest))
    }

    /// Reads from the owners that had no memory, one by one, until one has given something or has waited in vain: nothing
    /// is held while one of them waits for it.
    async fn read_one_by_one(&mut self) {
        let limits = Limits {
            max_bytes: self.max_bytes,
            min_bytes: 0,
            deadline: self.deadline,
            may_wait: true,
        };
        for place in 0..self.shares.len() {
            let share = &self.shares[place];
            let is_short = |slot: &usize| self.results.get(*slot).is_some_and(|read| read.is_short);
            if !share.slots.iter().any(is_short) {
                continue;
            }
            let reads = self.read(share, limits).await;
            let has_waited = reads.iter().flatten().any(|read| read.is_short);
            self.take(place, reads.unwrap_or_default());
            if has_waited || self.bytes() > 0 {
                return;
            }
        }
    }

    fn take(&mut self, place: usize, reads: Vec<Read>) {
        for (slot, read) in self.shares[place].slots.iter().zip(reads) {
            if let Some(result) = self.results.get_mut(*slot) {
                *result = read;
            }
        }
    }

    fn bytes(&self) -> usize {
        self.results.iter().map(|read| read.bytes).sum()
    }

    async fn collect(mut self, mut reads: Vec<Call<Vec<Read>>>) -> Answer {
        loop {
            for (place, call) in reads.into_iter().enumerate() {
                let reads = call.await.unwrap_or_default();
                self.take(place, reads);
            }
            let is_urgent = self.results.iter().any(Read::is_urgent);
            let is_short = self.results.iter().any(|read| read.is_short);
            if is_short && !is_urgent && self.bytes() == 0 {
                self.read_one_by_one().await;
            }
            let bytes = self.bytes();
            let is_over = now() >= self.deadline || self.node.is_stopping();
            // With one owner, the owner has waited.
            if bytes >= self.min_bytes || is_urgent || is_short || is_over || self.shares.len() < 2 {
                return self.answer();
            }
            self.wait_for(self.min_bytes - bytes).await;
            reads = self.read_all(false);
        }
    }

    /// Waits until one of the owners has seen its part of `missing` bytes since the last read, or for the deadline.
    async fn wait_for(&self, missing: usize) {
        let part = missing.div_ceil(self.shares.len());
        // Of this wait: it ends with it, and the watches on the other shards with it.
        let interest = Interest::new();
        let mut watches = Vec::with_capacity(self.shares.len());
        for share in &self.shares {
            let seen = share.wanted.iter().zip(&share.slots).map(|(wanted, slot)| {
                let high_watermark = self
                    .results
                    .get(*slot)
                    .map_or(Offset(-1), |read| read.high_watermark);
                Seen {
                    topic_id: wanted.topic_id,
                    partition: wanted.partition,
                    high_watermark,
                }
            });
            let (seen, interest, deadline) = (seen.collect(), interest.share(), self.deadline);
            watches.push(mesh::call(share.owner, move || {
                read::watch_here(seen, part, deadline, interest)
            }));
        }
        match select2(first_of(watches), sleep_until(self.deadline)).await {
            Either::First(()) | Either::Second(()) => {}
        }
    }

    fn answer(mut self) -> Answer {
        self.keep_within_max_bytes();
        let mut results = self.results.into_iter();
        let mut topics = Vec::with_capacity(self.topics.len());
        for topic in &self.topics {
            let partitions = topic.partitions.iter().zip(results.by_ref());
            topics.push(fetch::Topic {
                name: &topic.name,
                id: topic.id,
                partitions: partitions
                    .map(|(index, read)| partition(*index, read, self.is_read_committed))
                    .collect(),
            });
        }
        let response = fetch::Response {
            topics,
            ..fetch::Response::default()
        };
        let frame = response.encode(self.reply_to.begin(1024), self.reply_to.version);
        self.reply_to.send(frame)
    }

    /// Takes records out again where the shards together read more than one fetch may have; the first partition that
    /// has any keeps them.
    fn keep_within_max_bytes(&mut self) {
        let mut total = 0;
        for read in &mut self.results {
            if total > 0 && total + read.bytes > self.max_bytes {
                read.records.clear();
                read.bytes = 0;
            }
            total += read.bytes;
        }
    }
}

/// A replica that is not assigned: as a leader of Apache Kafka answers while it and the follower disagree.
fn unknown_replica(current_leader_epoch: i32) -> ErrorCode {
    match current_leader_epoch < 0 {
        true => ErrorCode::NotLeaderOrFollower,
        false => ErrorCode::UnknownLeaderEpoch,
    }
}

fn partition(index: i32, read: Read, is_read_committed: bool) -> fetch::Partition {
    let is_ok = read.error == ErrorCode::None;
    let data = PartitionData {
        partition_index: index,
        error_code: read.error.code(),
        high_watermark: read.high_watermark.0,
        // Without transactions nothing is undecided below the high watermark.
        last_stable_offset: read.high_watermark.0,
        log_start_offset: read.log_start_offset.0,
        diverging_epoch: read
            .diverging
            .map_or_else(EpochEndOffset::default, |(epoch, end_offset)| EpochEndOffset {
                epoch: epoch.0,
                end_offset: end_offset.0,
            }),
        aborted_transactions: (is_ok && is_read_committed).then(Vec::new),
        ..PartitionData::default()
    };
    fetch::Partition {
        data,
        records: read.records,
    }
}

/// Resolves with the first of `calls`; the others are abandoned.
async fn first_of<R>(mut calls: Vec<Call<R>>) {
    poll_fn(|context| {
        let is_ready = |call: &mut Call<R>| Pin::new(call).poll(context).is_ready();
        match calls.iter_mut().any(is_ready) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
}
