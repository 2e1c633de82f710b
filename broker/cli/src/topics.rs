//! `klamm topics`: create, list, describe, delete.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::{Args, Subcommand};
use protocol::Uuid;
use protocol::api::ApiKey;
use protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::describe_configs_request::DescribeConfigsResource;
use protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
    DescribeConfigsRequest, DescribeConfigsResponse,
};
use serde::Serialize;

use crate::client::{Bootstrap, Client, kafka_error};
use crate::cluster::{Cluster, Topic};
use crate::output::{self, Format};

const TIMEOUT: Duration = Duration::from_secs(60);
/// `ConfigResource.Type.TOPIC`.
const TOPIC_RESOURCE: i8 = 2;
/// `DescribeConfigsResponse.ConfigSource.DYNAMIC_TOPIC_CONFIG`: what was set on the topic itself.
const SET_ON_THE_TOPIC: i8 = 1;

/// Create, list, describe and delete topics.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    bootstrap: Bootstrap,
    /// Text for people or JSON.
    #[arg(long, value_enum, default_value = "text", global = true)]
    format: Format,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Create a topic.
    Create {
        /// Its name: letters, digits, `.`, `_` and `-`.
        name: String,
        /// How many partitions; the broker's num.partitions if not given.
        #[arg(long)]
        partitions: Option<i32>,
        /// How many replicas; the broker's default.replication.factor if not given.
        #[arg(long)]
        replication_factor: Option<i16>,
        /// Replicas of each partition, as 1:2,2:3 (brokers with colons, partitions with commas).
        #[arg(long, conflicts_with_all = ["partitions", "replication_factor"])]
        replica_assignment: Option<String>,
        /// A setting of the topic, as key=value; may be given several times.
        #[arg(long = "config", value_name = "KEY=VALUE")]
        configs: Vec<String>,
        /// No error if it is there already.
        #[arg(long)]
        if_not_exists: bool,
        /// Only check whether it could be created.
        #[arg(long)]
        validate_only: bool,
    },
    /// Name the topics.
    List {
        /// Leave out those that Kafka keeps for itself.
        #[arg(long)]
        exclude_internal: bool,
    },
    /// Tell partitions, leaders, replicas and settings.
    Describe {
        /// Topics; all if none is named.
        names: Vec<String>,
    },
    /// Delete topics with all their records.
    Delete {
        /// Topics by name.
        names: Vec<String>,
        /// Topics by id.
        #[arg(long = "topic-id")]
        ids: Vec<String>,
        /// No error if one is not there.
        #[arg(long)]
        if_exists: bool,
    },
}

/// Runs `klamm topics`.
///
/// # Errors
/// The broker cannot be reached, or refuses.
pub fn run(arguments: &Arguments) -> Result<()> {
    let mut client = Client::connect(&arguments.bootstrap)?;
    match &arguments.action {
        Action::Create { .. } => create(&mut client, &arguments.action, arguments.format),
        Action::List { exclude_internal } => list(&mut client, *exclude_internal, arguments.format),
        Action::Describe { names } => describe(&mut client, names, arguments.format),
        Action::Delete {
            names,
            ids,
            if_exists,
        } => delete(&mut client, names, ids, *if_exists, arguments.format),
    }
}

#[derive(Serialize)]
struct Created<'a> {
    name: &'a str,
    topic_id: String,
    partitions: i32,
    replication_factor: i16,
    created: bool,
}

fn create(client: &mut Client, action: &Action, format: Format) -> Result<()> {
    let Action::Create {
        name,
        partitions,
        replication_factor,
        replica_assignment,
        configs,
        if_not_exists,
        validate_only,
    } = action
    else {
        bail!("not a creation")
    };
    let assignments = replica_assignment
        .as_deref()
        .map(parse_assignment)
        .transpose()?
        .unwrap_or_default();
    let configs = configs
        .iter()
        .map(|config| parse_config(config))
        .collect::<Result<Vec<_>>>()?;
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name,
            num_partitions: partitions.unwrap_or(-1),
            replication_factor: replication_factor.unwrap_or(-1),
            assignments,
            configs,
        }],
        timeout_ms: TIMEOUT.as_millis() as i32,
        validate_only: *validate_only,
    };
    let (code, message, created) = client.call(
        None,
        ApiKey::CreateTopics,
        7,
        |out, version| request.encode(out, version),
        |reader, version| {
            let response = CreateTopicsResponse::decode(reader, version)?;
            let topic = response.topics.first();
            let created = Created {
                name,
                topic_id: topic.map(|t| t.topic_id).unwrap_or_default().to_string(),
                partitions: topic.map_or(-1, |t| t.num_partitions),
                replication_factor: topic.map_or(-1, |t| t.replication_factor),
                created: !validate_only,
            };
            Ok((
                topic.map_or(-1, |t| t.error_code),
                topic.and_then(|t| t.error_message.map(str::to_owned)),
                created,
            ))
        },
    )?;
    let exists = protocol::error_code::ErrorCode::TopicAlreadyExists as i16;
    if code == exists && *if_not_exists {
        let there = existing(client, name)?;
        return output::say(format, &there, &format!("{name}: is there already"));
    }
    ensure!(code == 0, kafka_error(name, code, message.as_deref()));
    let done = if *validate_only {
        "could be created"
    } else {
        "created"
    };
    let text = format!(
        "{name}: {done}, {} partition(s), id {}",
        created.partitions, created.topic_id
    );
    output::say(format, &created, &text)
}

/// A topic that was not created because it is there: what it is like, which the refusal does not say.
fn existing<'a>(client: &mut Client, name: &'a str) -> Result<Created<'a>> {
    let cluster = Cluster::fetch(client, Some(&[name]), false)?;
    let Some(topic) = cluster.topics.get(name) else {
        bail!("{name}: the broker does not name it")
    };
    ensure!(topic.error == 0, kafka_error(name, topic.error, None));
    let replicas = topic
        .partitions
        .first()
        .map_or(0, |partition| partition.replicas.len());
    Ok(Created {
        name,
        topic_id: topic.id.to_string(),
        partitions: i32::try_from(topic.partitions.len())?,
        replication_factor: i16::try_from(replicas)?,
        created: false,
    })
}

fn parse_config(config: &str) -> Result<CreatableTopicConfig<'_>> {
    match config.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok(CreatableTopicConfig {
            name: name.trim(),
            value: Some(value),
        }),
        _ => bail!("--config {config}: key=value is wanted"),
    }
}

fn parse_assignment(text: &str) -> Result<Vec<CreatableReplicaAssignment>> {
    let partition = |(index, brokers): (usize, &str)| {
        let broker_ids = brokers
            .split(':')
            .map(|id| id.trim().parse())
            .collect::<Result<Vec<i32>, _>>()
            .map_err(|_| anyhow::anyhow!("--replica-assignment {text}: broker ids as 1:2,2:3 are wanted"))?;
        Ok(CreatableReplicaAssignment {
            partition_index: i32::try_from(index)?,
            broker_ids,
        })
    };
    text.split(',').enumerate().map(partition).collect()
}

fn list(client: &mut Client, exclude_internal: bool, format: Format) -> Result<()> {
    let cluster = Cluster::fetch(client, None, false)?;
    let names: Vec<&String> = cluster
        .topics
        .iter()
        .filter(|(_, topic)| !(exclude_internal && topic.is_internal))
        .map(|(name, _)| name)
        .collect();
    match format {
        Format::Json => output::json(&names),
        Format::Text => names.iter().try_for_each(|name| output::line(name)),
    }
}

#[derive(Serialize)]
struct Described<'a> {
    name: &'a str,
    topic_id: String,
    is_internal: bool,
    configs: BTreeMap<String, Option<String>>,
    partitions: Vec<DescribedPartition<'a>>,
}

#[derive(Serialize)]
struct DescribedPartition<'a> {
    partition: i32,
    leader: i32,
    leader_epoch: i32,
    replicas: &'a [i32],
    isr: &'a [i32],
}

fn describe(client: &mut Client, names: &[String], format: Format) -> Result<()> {
    let asked: Vec<&str> = names.iter().map(String::as_str).collect();
    let cluster = Cluster::fetch(client, (!asked.is_empty()).then_some(&asked[..]), false)?;
    let mut described = Vec::new();
    for (name, topic) in &cluster.topics {
        ensure!(topic.error == 0, kafka_error(name, topic.error, None));
        described.push(describe_one(client, name, topic)?);
    }
    if format == Format::Json {
        return output::json(&described);
    }
    for topic in &described {
        describe_text(topic)?;
    }
    Ok(())
}

fn describe_one<'a>(client: &mut Client, name: &'a str, topic: &'a Topic) -> Result<Described<'a>> {
    let partitions = topic.partitions.iter().map(|partition| DescribedPartition {
        partition: partition.index,
        leader: partition.leader,
        leader_epoch: partition.leader_epoch,
        replicas: &partition.replicas,
        isr: &partition.isr,
    });
    Ok(Described {
        name,
        topic_id: topic.id.to_string(),
        is_internal: topic.is_internal,
        configs: configs_of(client, name)?,
        partitions: partitions.collect(),
    })
}

fn configs_of(client: &mut Client, name: &str) -> Result<BTreeMap<String, Option<String>>> {
    let resource = DescribeConfigsResource {
        resource_type: TOPIC_RESOURCE,
        resource_name: name,
        ..Default::default()
    };
    let request = DescribeConfigsRequest {
        resources: vec![resource],
        ..Default::default()
    };
    let (code, message, configs) = client.call(
        None,
        ApiKey::DescribeConfigs,
        4,
        |out, version| request.encode(out, version),
        |reader, version| {
            let response = DescribeConfigsResponse::decode(reader, version)?;
            let result = response.results.first();
            let configs = result.map(|result| {
                let set = result
                    .configs
                    .iter()
                    .filter(|config| config.config_source == SET_ON_THE_TOPIC);
                set.map(|config| (config.name.to_owned(), config.value.map(str::to_owned)))
                    .collect()
            });
            let message = result.and_then(|result| result.error_message.map(str::to_owned));
            Ok((
                result.map_or(-1, |result| result.error_code),
                message,
                configs.unwrap_or_default(),
            ))
        },
    )?;
    ensure!(code == 0, kafka_error(name, code, message.as_deref()));
    Ok(configs)
}

fn describe_text(topic: &Described<'_>) -> Result<()> {
    let configs: Vec<String> = topic
        .configs
        .iter()
        .map(|(name, value)| format!("{name}={}", value.as_deref().unwrap_or("(hidden)")))
        .collect();
    let configs = if configs.is_empty() {
        "none".to_owned()
    } else {
        configs.join(",")
    };
    output::line(&format!(
        "{}: id {}, {} partition(s), configs: {configs}",
        topic.name,
        topic.topic_id,
        topic.partitions.len()
    ))?;
    let ids = |ids: &[i32]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let rows = topic.partitions.iter().map(|partition| {
        vec![
            partition.partition.to_string(),
            if partition.leader < 0 {
                "none".to_owned()
            } else {
                partition.leader.to_string()
            },
            partition.leader_epoch.to_string(),
            ids(partition.replicas),
            ids(partition.isr),
        ]
    });
    output::table(
        &["partition", "leader", "leader epoch", "replicas", "isr"],
        rows.collect(),
    )
}

#[derive(Serialize)]
struct Deleted {
    name: Option<String>,
    topic_id: String,
    deleted: bool,
}

fn delete(
    client: &mut Client,
    names: &[String],
    ids: &[String],
    if_exists: bool,
    format: Format,
) -> Result<()> {
    ensure!(
        !names.is_empty() || !ids.is_empty(),
        "name a topic, or give --topic-id"
    );
    let mut topics: Vec<DeleteTopicState<'_>> = names
        .iter()
        .map(|name| DeleteTopicState {
            name: Some(name),
            ..Default::default()
        })
        .collect();
    for id in ids {
        let topic_id: Uuid = id
            .parse()
            .map_err(|_| anyhow::anyhow!("--topic-id {id}: not an id of 22 characters"))?;
        topics.push(DeleteTopicState { name: None, topic_id });
    }
    let request = DeleteTopicsRequest {
        topics,
        timeout_ms: TIMEOUT.as_millis() as i32,
        ..Default::default()
    };
    let results = client.call(
        None,
        ApiKey::DeleteTopics,
        6,
        |out, version| request.encode(out, version),
        |reader, version| {
            let response = DeleteTopicsResponse::decode(reader, version)?;
            let owned = response.responses.iter().map(|result| {
                let message = result.error_message.map(str::to_owned);
                (
                    result.name.map(str::to_owned),
                    result.topic_id,
                    result.error_code,
                    message,
                )
            });
            Ok(owned.collect::<Vec<_>>())
        },
    )?;
    let missing = [
        protocol::error_code::ErrorCode::UnknownTopicOrPartition as i16,
        protocol::error_code::ErrorCode::UnknownTopicId as i16,
    ];
    let mut deleted = Vec::new();
    let mut refused = None;
    for (name, id, code, message) in results {
        let is_missing = if_exists && missing.contains(&code);
        if code != 0 && !is_missing {
            let subject = name.clone().unwrap_or_else(|| id.to_string());
            refused = refused.or_else(|| Some(kafka_error(&subject, code, message.as_deref())));
        } else {
            deleted.push(Deleted {
                name,
                topic_id: id.to_string(),
                deleted: code == 0,
            });
        }
    }
    match format {
        Format::Json => output::json(&deleted)?,
        Format::Text => {
            for topic in &deleted {
                let subject = topic.name.as_deref().unwrap_or(&topic.topic_id);
                let done = if topic.deleted { "deleted" } else { "is not there" };
                output::say(format, topic, &format!("{subject}: {done}"))?;
            }
        }
    }
    refused.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_and_configs_are_read() {
        let check = |text: &str, expected: Option<Vec<Vec<i32>>>| {
            let brokers = parse_assignment(text)
                .ok()
                .map(|a| a.into_iter().map(|p| p.broker_ids).collect());
            assert_eq!(brokers, expected, "{text}");
        };
        check("1", Some(vec![vec![1]]));
        check("1:2,2:3", Some(vec![vec![1, 2], vec![2, 3]]));
        check("1:x", None);
        check("", None);
        assert!(
            parse_config("retention.ms=5").is_ok_and(|c| c.name == "retention.ms" && c.value == Some("5"))
        );
        assert!(parse_config("a=b=c").is_ok_and(|c| c.value == Some("b=c")));
        assert!(parse_config("retention.ms").is_err());
        assert!(parse_config("=5").is_err());
    }
}
