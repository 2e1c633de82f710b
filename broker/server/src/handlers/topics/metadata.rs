//! Metadata 0-13: which topics there are, who leads their partitions, and where the brokers are.
//!
//! 1 tells null (all topics) from empty (none), and adds rack, controller and the internal flag; 2 the cluster id; 3 the
//! throttle time; 4 lets the client forbid the creation of topics; 5 adds offline replicas; 7 leader epochs; 8
//! authorized operations; 9 is flexible; 10 adds topic ids; 11 takes the cluster's operations away; 12 asks by id; 13
//! adds an error of its own.
//!
//! What a newcomer would get wrong: a topic that is asked for by name and does not exist is created if both
//! `auto.create.topics.enable` and the request allow it. Kafka answers the first such request with an error and creates
//! the topic meanwhile; here the answer waits until it is there.

use std::collections::BTreeSet;
use std::rc::Rc;

use metadata::image::topics::Partition;
use protocol::error_code::ErrorCode;
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use protocol::messages::{MetadataRequest, MetadataResponse};
use protocol::types::{Partition as PartitionIndex, TopicId};
use protocol::wire::DecodeError;

use crate::context::{Context, ReplyTo, Request};
use crate::handlers::{CLUSTER_OPERATIONS, NOT_ASKED, TOPIC_OPERATIONS};
use crate::images::{View, ids};
use crate::pipeline::{Answer, Started};
use crate::topic_commands;

/// What the client asked for, free of the frame.
struct Asked {
    topics: Vec<Wanted>,
    with_topic_operations: bool,
    with_cluster_operations: bool,
}

/// One topic to be answered.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Wanted {
    Id(TopicId),
    Name(String),
    /// It was asked for by name, and could not be created.
    Failed(String, ErrorCode),
}

/// Answers at once, or when the topics that had to be created are there.
pub fn start(request: &Request, context: &Rc<Context>) -> Result<Started, DecodeError> {
    let body = request.decode(MetadataRequest::decode)?;
    let reply_to = request.reply_to;
    let view = context.node.view();
    let mut asked = Asked {
        topics: match &body.topics {
            None => all(&view),
            Some(topics) if topics.is_empty() && reply_to.version == 0 => all(&view),
            // Each once, as Kafka does: a small request cannot make a huge answer.
            Some(topics) => topics
                .iter()
                .map(wanted)
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
        },
        with_topic_operations: body.include_topic_authorized_operations,
        with_cluster_operations: body.include_cluster_authorized_operations,
    };
    let missing = match context.node.settings().topics.auto_create && body.allow_auto_topic_creation {
        true => missing(&view, &asked.topics),
        false => BTreeSet::new(),
    };
    if missing.is_empty() {
        return Ok(Started::Now(answer(reply_to, context, &asked)));
    }
    let creation = topic_commands::create_missing(context.node.shared.config.clone(), missing);
    let context = context.clone();
    Ok(Started::later(async move {
        for (name, error) in creation.await {
            for wanted in &mut asked.topics {
                if matches!(wanted, Wanted::Name(other) if *other == name) {
                    *wanted = Wanted::Failed(name.clone(), error);
                }
            }
        }
        answer(reply_to, &context, &asked)
    }))
}

fn all(view: &View) -> Vec<Wanted> {
    view.image
        .topics()
        .iter()
        .map(|topic| Wanted::Id(topic.id))
        .collect()
}

fn wanted(topic: &MetadataRequestTopic<'_>) -> Wanted {
    match (topic.topic_id, topic.name) {
        (TopicId::ZERO, Some(name)) => Wanted::Name(name.to_owned()),
        // Without either it is an id that nobody has.
        (id, _) => Wanted::Id(id),
    }
}

fn missing(view: &View, topics: &[Wanted]) -> BTreeSet<String> {
    let is_missing = |wanted: &Wanted| match wanted {
        // Internal topics have settings of their own, and are made by the coordinators that need them.
        Wanted::Name(name) if View::is_internal(name) => None,
        Wanted::Name(name) => view.topic_by_name(name).is_err().then(|| name.clone()),
        Wanted::Id(_) | Wanted::Failed(..) => None,
    };
    topics.iter().filter_map(is_missing).collect()
}

fn answer(reply_to: ReplyTo, context: &Context, asked: &Asked) -> Answer {
    let view = context.node.view();
    let brokers = view.brokers(context.listener());
    let response = MetadataResponse {
        brokers: brokers
            .iter()
            .filter(|one| !one.broker.is_fenced)
            .map(|one| MetadataResponseBroker {
                node_id: one.broker.id.0,
                host: one.host,
                port: i32::from(one.port),
                rack: one.broker.rack.as_deref(),
            })
            .collect(),
        cluster_id: Some(&context.node.shared.cluster_id),
        controller_id: view.controller_id().0,
        topics: asked
            .topics
            .iter()
            .map(|wanted| topic(&view, wanted, asked))
            .collect(),
        cluster_authorized_operations: if asked.with_cluster_operations {
            CLUSTER_OPERATIONS
        } else {
            NOT_ASKED
        },
        ..MetadataResponse::default()
    };
    reply_to.answer(|out, version| response.encode(out, version))
}

fn topic<'v>(view: &'v View, wanted: &'v Wanted, asked: &Asked) -> MetadataResponseTopic<'v> {
    let found = match wanted {
        Wanted::Id(id) => view.topic_by_id(*id),
        Wanted::Name(name) if !View::is_valid_name(name) => Err(ErrorCode::InvalidTopicException),
        Wanted::Name(name) => view.topic_by_name(name),
        Wanted::Failed(_, error) => Err(*error),
    };
    match (found, wanted) {
        (Ok(topic), _) => MetadataResponseTopic {
            name: Some(&topic.name),
            topic_id: topic.id,
            is_internal: View::is_internal(&topic.name),
            partitions: topic
                .partitions()
                .map(|(index, one)| partition(view, index, one))
                .collect(),
            topic_authorized_operations: if asked.with_topic_operations {
                TOPIC_OPERATIONS
            } else {
                NOT_ASKED
            },
            ..MetadataResponseTopic::default()
        },
        (Err(error), Wanted::Id(id)) => MetadataResponseTopic {
            error_code: error.code(),
            topic_id: *id,
            ..MetadataResponseTopic::default()
        },
        (Err(error), Wanted::Name(name) | Wanted::Failed(name, _)) => MetadataResponseTopic {
            error_code: error.code(),
            name: Some(name),
            is_internal: View::is_internal(name),
            ..MetadataResponseTopic::default()
        },
    }
}

fn partition(view: &View, index: PartitionIndex, one: &Partition) -> MetadataResponsePartition {
    let error = if one.leader.0 < 0 {
        ErrorCode::LeaderNotAvailable
    } else {
        ErrorCode::None
    };
    MetadataResponsePartition {
        error_code: error.code(),
        partition_index: index.0,
        leader_id: one.leader.0,
        leader_epoch: one.leader_epoch.0,
        replica_nodes: ids(&one.replicas),
        isr_nodes: ids(&one.isr),
        offline_replicas: view.offline(&one.replicas),
    }
}
