//! DescribeConfigs 1-4: the settings of topics and brokers, with where each value comes from.
//!
//! 1 adds the source of a value and its synonyms; 2 changes throttling only; 3 adds type and documentation; 4 is
//! flexible. A null list of keys asks for all settings. Secrets have no value.

use std::collections::BTreeSet;
use std::rc::Rc;

use protocol::error_code::ErrorCode;
use protocol::messages::describe_configs_request::DescribeConfigsResource;
use protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use protocol::wire::DecodeError;

use crate::config::{Entry, Synonym, describe_client_metrics};
use crate::context::{Context, Request};
use crate::images::View;
use crate::pipeline::{Answer, Started};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;
/// An answer that would be longer ends the connection. Nobody who asks for some ten thousand topics comes near it.
const ANSWER_BYTES_MOST: usize = 256 << 20;
/// What an entry has beside its texts, at most.
const ENTRY_BYTES: usize = 32;

/// The settings of one resource, or why there are none.
type Described = Result<Vec<Entry>, (ErrorCode, String)>;

/// Answers at once.
pub fn start(request: &Request, context: &Rc<Context>) -> Result<Started, DecodeError> {
    let asked = request.decode(DescribeConfigsRequest::decode)?;
    let view = context.node.view();
    // Each resource once: a small request cannot make a huge answer.
    let mut resources: Vec<&DescribeConfigsResource<'_>> = Vec::with_capacity(asked.resources.len());
    let mut seen = BTreeSet::new();
    for resource in &asked.resources {
        if seen.insert((resource.resource_type, resource.resource_name)) {
            resources.push(resource);
        }
    }
    let mut described: Vec<Described> = Vec::with_capacity(resources.len());
    let mut bytes = 0;
    for resource in &resources {
        let mut one = describe(context, &view, resource);
        if let Ok(entries) = &mut one {
            entries.retain(|entry| is_wanted(resource, entry));
            let of_entry =
                |entry: &Entry| bytes_of(entry, asked.include_synonyms, asked.include_documentation);
            bytes += entries.iter().map(of_entry).sum::<usize>();
        }
        if bytes > ANSWER_BYTES_MOST {
            let reason = "the answer to DescribeConfigs would be too long: ask for fewer topics at a time";
            return Ok(Started::Now(Answer::Close(reason.to_owned())));
        }
        described.push(one);
    }
    let results = resources
        .iter()
        .zip(&described)
        .map(|(resource, described)| match described {
            Ok(entries) => DescribeConfigsResult {
                resource_type: resource.resource_type,
                resource_name: resource.resource_name,
                configs: entries
                    .iter()
                    .map(|entry| setting(entry, asked.include_synonyms, asked.include_documentation))
                    .collect(),
                ..DescribeConfigsResult::default()
            },
            Err((error, message)) => DescribeConfigsResult {
                error_code: error.code(),
                error_message: Some(message),
                resource_type: resource.resource_type,
                resource_name: resource.resource_name,
                ..DescribeConfigsResult::default()
            },
        });
    let response = DescribeConfigsResponse {
        results: results.collect(),
        ..DescribeConfigsResponse::default()
    };
    Ok(request.reply_to.now(|out, version| response.encode(out, version)))
}

fn describe(context: &Context, view: &View, resource: &DescribeConfigsResource<'_>) -> Described {
    let settings = context.node.settings();
    let config = &context.node.shared.config;
    let configs = view.image.configs();
    let (broker, cluster) = (configs.broker(settings.node_id), configs.cluster());
    let name = resource.resource_name;
    match resource.resource_type {
        TOPIC if !View::is_valid_name(name) => Err((
            ErrorCode::InvalidTopicException,
            format!("{name} is no name of a topic"),
        )),
        TOPIC => match view.topic_by_name(name) {
            Ok(_) => Ok(config.describe_topic(&configs.topic(name), &broker, &cluster)),
            Err(error) => Err((
                error,
                "This server does not host this topic-partition.".to_owned(),
            )),
        },
        // What holds for all brokers: their dynamic settings alone.
        BROKER if name.is_empty() => {
            let entries = config.describe_broker(&crate::config::Overrides::new(), &cluster);
            Ok(entries
                .into_iter()
                .filter(|entry| entry.source == crate::config::Source::Cluster)
                .collect())
        }
        BROKER if name.parse() == Ok(settings.node_id.0) => Ok(config.describe_broker(&broker, &cluster)),
        BROKER => Err(invalid(format!(
            "Unexpected broker id, expected {} or empty string, but received {name}",
            settings.node_id
        ))),
        BROKER_LOGGER if name.is_empty() => Err(invalid("Broker id must not be empty".to_owned())),
        BROKER_LOGGER if name.parse() == Ok(settings.node_id.0) => Ok(config.describe_loggers()),
        BROKER_LOGGER => Err(invalid(format!(
            "Unexpected broker id, expected {} but received {name}",
            settings.node_id
        ))),
        CLIENT_METRICS if name.is_empty() => Err(invalid(
            "Client metrics subscription name must not be empty".to_owned(),
        )),
        CLIENT_METRICS => Ok(describe_client_metrics(&configs.of(CLIENT_METRICS, name))),
        GROUP if name.is_empty() => Err(invalid("Group name must not be empty".to_owned())),
        GROUP => Ok(config.describe_group(&configs.of(GROUP, name), &broker, &cluster)),
        other => Err(invalid(format!("Unsupported resource type: {other}"))),
    }
}

fn invalid(message: String) -> (ErrorCode, String) {
    (ErrorCode::InvalidRequest, message)
}

/// How long an entry of an answer may be.
fn bytes_of(entry: &Entry, with_synonyms: bool, with_documentation: bool) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let of_synonym = |one: &Synonym| ENTRY_BYTES + one.name.len() + text(&one.value);
    let synonyms = match with_synonyms {
        true => entry.synonyms.iter().map(of_synonym).sum(),
        false => 0,
    };
    let documentation = if with_documentation {
        entry.documentation.len()
    } else {
        0
    };
    ENTRY_BYTES + entry.name.len() + text(&entry.value) + synonyms + documentation
}

fn is_wanted(resource: &DescribeConfigsResource<'_>, entry: &Entry) -> bool {
    // The empty list also means all: clients of all versions send either.
    let keys = resource.configuration_keys.as_deref().unwrap_or_default();
    keys.is_empty() || keys.contains(&entry.name.as_str())
}

fn setting(
    entry: &Entry,
    with_synonyms: bool,
    with_documentation: bool,
) -> DescribeConfigsResourceResult<'_> {
    let synonyms = if with_synonyms {
        entry.synonyms.as_slice()
    } else {
        &[]
    };
    DescribeConfigsResourceResult {
        name: &entry.name,
        value: entry.value.as_deref(),
        read_only: entry.is_read_only,
        config_source: entry.source.code(),
        is_sensitive: entry.is_sensitive,
        synonyms: synonyms.iter().map(synonym).collect(),
        config_type: entry.kind,
        documentation: with_documentation.then_some(entry.documentation),
    }
}

fn synonym(one: &Synonym) -> DescribeConfigsSynonym<'_> {
    DescribeConfigsSynonym {
        name: &one.name,
        value: one.value.as_deref(),
        source: one.source.code(),
    }
}
