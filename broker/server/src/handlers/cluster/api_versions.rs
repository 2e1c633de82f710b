//! ApiVersions 0-5: what this broker offers.
//!
//! 1 adds the throttle time; 3 is flexible (its response header never is) and brings the name of the client's software
//! and the features; 4 lists features whose least level is 0; 5 lets a client name the cluster and node it means
//! (KIP-1242). A version beyond is answered in version 0 with UNSUPPORTED_VERSION and the range of ApiVersions.

use std::rc::Rc;

use protocol::api::{ApiKey, SUPPORTED, Supported};
use protocol::error_code::ErrorCode;
use protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use protocol::wire::DecodeError;

use crate::context::{Context, Request};
use crate::images::View;
use crate::pipeline::Started;
use crate::shard::Node;

/// Versions below do not know features whose least level is 0.
const LEVEL_0_SINCE: i16 = 4;
/// From here on clients name their software.
const SOFTWARE_SINCE: i16 = 3;

/// Answers at once.
pub fn start(request: &Request, context: &Rc<Context>) -> Result<Started, DecodeError> {
    let version = request.reply_to.version;
    if !ApiVersionsRequest::VERSIONS.contains(&version) {
        let response = ApiVersionsResponse {
            error_code: ErrorCode::UnsupportedVersion.code(),
            api_keys: SUPPORTED
                .iter()
                .filter(|line| line.key == ApiKey::ApiVersions)
                .map(announced)
                .collect(),
            ..ApiVersionsResponse::default()
        };
        return Ok(Started::Now(
            request
                .reply_to
                .answer_in(0, |out, version| response.encode(out, version)),
        ));
    }
    let asked = request.decode(ApiVersionsRequest::decode)?;
    let view = context.node.view();
    let response = match refused(&asked, version, &context.node) {
        Some(error) => ApiVersionsResponse {
            error_code: error.code(),
            ..ApiVersionsResponse::default()
        },
        None => offered(&view, version),
    };
    Ok(request.reply_to.now(|out, version| response.encode(out, version)))
}

fn refused(asked: &ApiVersionsRequest<'_>, version: i16, node: &Node) -> Option<ErrorCode> {
    let names = [asked.client_software_name, asked.client_software_version];
    if version >= SOFTWARE_SINCE && !names.into_iter().all(is_software_name) {
        return Some(ErrorCode::InvalidRequest);
    }
    let is_other_cluster = asked.cluster_id.is_some_and(|id| id != node.shared.cluster_id);
    let is_other_node = asked.node_id >= 0 && asked.node_id != node.settings().node_id.0;
    (is_other_cluster || is_other_node).then_some(ErrorCode::RebootstrapRequired)
}

/// `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`, as in Kafka's `ApiVersionsRequest`.
fn is_software_name(name: &str) -> bool {
    let ends_well = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let is_legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    ends_well(name.chars().next()) && ends_well(name.chars().next_back()) && name.chars().all(is_legal)
}

fn announced(line: &Supported) -> ApiVersion {
    ApiVersion {
        api_key: line.key as i16,
        min_version: *line.announced.start(),
        max_version: *line.announced.end(),
    }
}

fn offered(view: &View, version: i16) -> ApiVersionsResponse<'_> {
    let this = view.image.broker(view.controller_id());
    let supported = this.into_iter().flat_map(|broker| &broker.features);
    ApiVersionsResponse {
        api_keys: SUPPORTED.iter().map(announced).collect(),
        supported_features: supported
            .filter(|feature| feature.min > 0 || version >= LEVEL_0_SINCE)
            .map(|feature| SupportedFeatureKey {
                name: &feature.name,
                min_version: feature.min,
                max_version: feature.max,
            })
            .collect(),
        finalized_features_epoch: view.offset.0 - 1,
        finalized_features: view
            .image
            .features()
            .map(|(name, level)| FinalizedFeatureKey {
                name,
                max_version_level: level,
                min_version_level: level,
            })
            .collect(),
        ..ApiVersionsResponse::default()
    }
}

#[cfg(test)]
mod tests {
    use super::is_software_name;

    #[test]
    fn software_names() {
        for name in ["a", "librdkafka", "apache-kafka-java", "4.4.0", "2.0.0-rc1"] {
            assert!(is_software_name(name), "{name}");
        }
        for name in ["", "-a", "a-", ".1", "a b", "a_b", "é"] {
            assert!(!is_software_name(name), "{name}");
        }
    }
}
