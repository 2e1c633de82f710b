//! From a frame to the handler of its API: the one `match` on the API key.
//!
//! What a newcomer would get wrong: nothing here may wait. When [`start`] returns, everything that the request
//! appends to a partition is queued to its owner, and that is what keeps the appends of a connection in order. Fetch and
//! ListOffsets, which look at what is committed, ask the owners only when all earlier requests of the connection are
//! answered (the pipeline polls the oldest alone): so they see what was produced before them on the connection, as with
//! Kafka, which handles one request of a connection at a time. What they do *not* promise is to miss what a later
//! request of the connection produces: that may be appended before.

use std::rc::Rc;

use bytes::Bytes;
use protocol::api::{self, ApiKey};
use protocol::frame::RequestHeader;
use protocol::wire::Reader;

use crate::context::{Context, ReplyTo, Request};
use crate::handlers::{cluster, configs, data, groups, topics, transactions};
use crate::pipeline::Started;

/// Starts the request in `frame`.
///
/// # Errors
/// Why the connection is to be closed, as Kafka does: a malformed request, or an API or version that is not
/// offered (ApiVersions alone is answered in any version).
pub fn start(context: &Rc<Context>, frame: Bytes) -> Result<Started, String> {
    let request = read_header(frame)?;
    context.connection.introduce(&request.client_id);
    let ReplyTo { api, version, .. } = request.reply_to;
    let handler = match api {
        ApiKey::ApiVersions => cluster::api_versions::start,
        ApiKey::DescribeCluster => cluster::describe_cluster::start,
        ApiKey::Metadata => topics::metadata::start,
        ApiKey::DescribeTopicPartitions => topics::describe_topic_partitions::start,
        ApiKey::CreateTopics => topics::create_topics::start,
        ApiKey::DeleteTopics => topics::delete_topics::start,
        ApiKey::DescribeConfigs => configs::describe_configs::start,
        ApiKey::Produce => data::produce::start,
        ApiKey::Fetch => data::fetch::start,
        ApiKey::ListOffsets => data::list_offsets::start,
        ApiKey::OffsetForLeaderEpoch => data::offset_for_leader_epoch::start,
        ApiKey::InitProducerId => transactions::init_producer_id::start,
        ApiKey::FindCoordinator => groups::find_coordinator::start,
        _ => return Err(format!("{api} is not offered")),
    };
    handler(&request, context).map_err(|error| format!("malformed {api} version {version}: {error}"))
}

/// Reads the header and holds API and version against what is offered.
fn read_header(frame: Bytes) -> Result<Request, String> {
    let (header, client_id, body) = {
        let mut reader = Reader::new(&frame, 0);
        let header = RequestHeader::decode(&mut reader)
            .map_err(|error| format!("malformed request header: {error}"))?;
        let ids = (header.api_key, header.api_version, header.correlation_id);
        (
            ids,
            header.client_id.unwrap_or_default().to_owned(),
            frame.len() - reader.rest().len(),
        )
    };
    let (key, version, correlation_id) = header;
    let api = ApiKey::try_from(key).map_err(|error| error.to_string())?;
    let Some(supported) = api::supported(api) else {
        return Err(format!("{api} is not offered"));
    };
    if !supported.accepted.contains(&version) && api != ApiKey::ApiVersions {
        return Err(format!("{api} version {version} is not offered"));
    }
    Ok(Request {
        reply_to: ReplyTo {
            api,
            version,
            correlation_id,
        },
        client_id,
        frame,
        body,
    })
}
