//! DescribeCluster 0-2: the brokers, the cluster's id and its controller.
//!
//! 1 asks for brokers or controllers (KIP-919); 2 can include fenced brokers. Controllers are asked at a controller's
//! listener, so here that is a mismatch.

use std::rc::Rc;

use protocol::error_code::ErrorCode;
use protocol::messages::describe_cluster_response::DescribeClusterBroker;
use protocol::messages::{DescribeClusterRequest, DescribeClusterResponse};
use protocol::wire::DecodeError;

use crate::context::{Context, Request};
use crate::handlers::{CLUSTER_OPERATIONS, NOT_ASKED};
use crate::pipeline::Started;

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

/// Answers at once.
pub fn start(request: &Request, context: &Rc<Context>) -> Result<Started, DecodeError> {
    let asked = request.decode(DescribeClusterRequest::decode)?;
    let refused = match asked.endpoint_type {
        BROKERS => None,
        CONTROLLERS => Some((
            ErrorCode::MismatchedEndpointType,
            "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER",
        )),
        _ => Some((ErrorCode::UnsupportedEndpointType, "Unsupported endpoint type")),
    };
    if let Some((error, message)) = refused {
        let response = DescribeClusterResponse {
            error_code: error.code(),
            error_message: Some(message),
            endpoint_type: asked.endpoint_type,
            ..DescribeClusterResponse::default()
        };
        return Ok(request.reply_to.now(|out, version| response.encode(out, version)));
    }
    let view = context.node.view();
    let brokers = view.brokers(context.listener());
    let response = DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: &context.node.shared.cluster_id,
        controller_id: view.controller_id().0,
        brokers: brokers
            .iter()
            .filter(|one| asked.include_fenced_brokers || !one.broker.is_fenced)
            .map(|one| DescribeClusterBroker {
                broker_id: one.broker.id.0,
                host: one.host,
                port: i32::from(one.port),
                rack: one.broker.rack.as_deref(),
                is_fenced: one.broker.is_fenced,
            })
            .collect(),
        cluster_authorized_operations: match asked.include_cluster_authorized_operations {
            true => CLUSTER_OPERATIONS,
            false => NOT_ASKED,
        },
        ..DescribeClusterResponse::default()
    };
    Ok(request.reply_to.now(|out, version| response.encode(out, version)))
}
