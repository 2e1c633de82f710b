//! CreateTopics 2-7: makes topics, each on its own.
//!
//! 4 lets -1 stand for the broker's defaults; 5 is flexible and answers with partitions, replicas and settings; 6 changes
//! throttling only; 7 adds the topic's id.
//!
//! What a newcomer would get wrong: the answer comes when the topic is committed *and* every shard has its partitions,
//! so that a client may produce at once; its timeout is therefore not looked at.

use std::rc::Rc;

use metadata::Refusal;
use metadata::controller::topics::Created;
use protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};
use protocol::types::{BrokerId, Partition, TopicId};
use protocol::wire::DecodeError;

use crate::config::{Entry, Overrides};
use crate::context::{Context, ReplyTo, Request};
use crate::pipeline::{Answer, Started};
use crate::topic_commands::{self, Answers, Wanted};

/// Queues the command to the controller; the answer waits until it is carried out everywhere.
pub fn start(request: &Request, context: &Rc<Context>) -> Result<Started, DecodeError> {
    let asked = request.decode(CreateTopicsRequest::decode)?;
    let reply_to = request.reply_to;
    let mut wanted: Vec<Wanted> = Vec::with_capacity(asked.topics.len());
    for topic in &asked.topics {
        let assignments = topic.assignments.iter().map(|one| {
            let brokers = one.broker_ids.iter().map(|id| BrokerId(*id));
            (Partition(one.partition_index), brokers.collect())
        });
        let configs = topic
            .configs
            .iter()
            .map(|one| (one.name.to_owned(), one.value.map(str::to_owned)));
        wanted.push(Wanted {
            name: topic.name.to_owned(),
            num_partitions: topic.num_partitions,
            replication_factor: topic.replication_factor,
            assignments: assignments.collect(),
            configs: configs.collect(),
        });
    }
    let names: Vec<String> = wanted.iter().map(|topic| topic.name.clone()).collect();
    let creation = topic_commands::create(context.node.shared.config.clone(), wanted, asked.validate_only);
    let context = context.clone();
    Ok(Started::later(async move {
        answer(reply_to, &context, &names, creation.await)
    }))
}

fn answer(reply_to: ReplyTo, context: &Context, names: &[String], created: Answers<Created>) -> Answer {
    let created = created.unwrap_or_else(|code| {
        let refusal = Refusal {
            code,
            message: "The controller cannot write its log.".to_owned(),
        };
        names.iter().map(|_| Err(refusal.clone())).collect()
    });
    let settings: Vec<Vec<Entry>> = created
        .iter()
        .map(|one| {
            one.as_ref()
                .map(|created| describe(context, &created.configs))
                .unwrap_or_default()
        })
        .collect();
    let topics = names
        .iter()
        .zip(&created)
        .zip(&settings)
        .map(|((name, created), settings)| match created {
            Ok(created) => CreatableTopicResult {
                name,
                topic_id: created.topic_id,
                num_partitions: created.num_partitions,
                replication_factor: created.replication_factor,
                error_message: None,
                configs: Some(settings.iter().map(setting).collect()),
                ..CreatableTopicResult::default()
            },
            Err(refusal) => CreatableTopicResult {
                name,
                topic_id: TopicId::ZERO,
                error_code: refusal.code.code(),
                error_message: Some(&refusal.message),
                configs: Some(Vec::new()),
                ..CreatableTopicResult::default()
            },
        });
    let response = CreateTopicsResponse {
        topics: topics.collect(),
        ..CreateTopicsResponse::default()
    };
    reply_to.answer(|out, version| response.encode(out, version))
}

fn describe(context: &Context, topic: &Overrides) -> Vec<Entry> {
    let view = context.node.view();
    let configs = view.image.configs();
    let broker = configs.broker(context.node.settings().node_id);
    context
        .node
        .shared
        .config
        .describe_topic(topic, &broker, &configs.cluster())
}

fn setting(entry: &Entry) -> CreatableTopicConfigs<'_> {
    CreatableTopicConfigs {
        name: &entry.name,
        value: entry.value.as_deref(),
        read_only: entry.is_read_only,
        config_source: entry.source.code(),
        is_sensitive: entry.is_sensitive,
    }
}
