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

use crate::config::{Entry, Synonym};
use crate::context::{Context, Request};
use crate::images::View;
use crate::pipeline::Started;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

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
    let described: Vec<Described> = resources
        .iter()
        .map(|resource| describe(context, &view, resource))
        .collect();
    let results = resources
        .iter()
        .zip(&described)
        .map(|(resource, described)| match described {
            Ok(entries) => DescribeConfigsResult {
                resource_type: resource.resource_type,
                resource_name: resource.resource_name,
                configs: entries
                    .iter()
                    .filter(|entry| is_wanted(resource, entry))
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
        BROKER => Err((
            ErrorCode::InvalidRequest,
            format!(
                "Unexpected broker id, expected {} or empty string, but received {name}",
                settings.node_id
            ),
        )),
        other => Err((
            ErrorCode::InvalidRequest,
            format!("Unsupported resource type: {other}"),
        )),
    }
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
