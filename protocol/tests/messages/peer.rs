//! The same bytes through the crate `kafka-protocol`, an implementation that is not ours, where it knows the
//! message: it stops at Kafka 4.1 and has no log records but those in control batches. Of these it takes the
//! field `Version` of LeaderChangeMessage and VotersRecord for the version of what follows, so both are left
//! out; the other messages that only we know are held against Kafka's own descriptions in `published.rs`.

use kafka_protocol::protocol::{Decodable, Encodable, Message};

use crate::for_all;

/// One message as the peer knows it.
struct Peer {
    name: &'static str,
    from: i16,
    to: i16,
    /// Decodes and encodes again; an error is a text.
    recode: fn(&[u8], i16) -> Result<Vec<u8>, String>,
}

fn recode<M: Decodable + Encodable>(bytes: &[u8], version: i16) -> Result<Vec<u8>, String> {
    let mut rest = bytes::Bytes::copy_from_slice(bytes);
    let message = M::decode(&mut rest, version).map_err(|error| error.to_string())?;
    if !rest.is_empty() {
        return Err(format!("{} bytes are left over", rest.len()));
    }
    let mut out = Vec::new();
    message
        .encode(&mut out, version)
        .map_err(|error| error.to_string())?;
    Ok(out)
}

macro_rules! peers {
    ($($name:ident)*) => {
        const PEERS: &[Peer] = &[$(Peer {
            name: stringify!($name),
            from: <kafka_protocol::messages::$name as Message>::VERSIONS.min,
            to: <kafka_protocol::messages::$name as Message>::VERSIONS.max,
            recode: recode::<kafka_protocol::messages::$name>,
        },)*];
    };
}

peers! {
    AddOffsetsToTxnRequest AddOffsetsToTxnResponse AddPartitionsToTxnRequest AddPartitionsToTxnResponse
    AddRaftVoterRequest AddRaftVoterResponse AllocateProducerIdsRequest AllocateProducerIdsResponse
    AlterClientQuotasRequest AlterClientQuotasResponse AlterConfigsRequest AlterConfigsResponse
    AlterPartitionReassignmentsRequest AlterPartitionReassignmentsResponse AlterPartitionRequest
    AlterPartitionResponse AlterReplicaLogDirsRequest AlterReplicaLogDirsResponse
    AlterShareGroupOffsetsRequest AlterShareGroupOffsetsResponse AlterUserScramCredentialsRequest
    AlterUserScramCredentialsResponse ApiVersionsRequest ApiVersionsResponse AssignReplicasToDirsRequest
    AssignReplicasToDirsResponse BeginQuorumEpochRequest BeginQuorumEpochResponse BrokerHeartbeatRequest
    BrokerHeartbeatResponse BrokerRegistrationRequest BrokerRegistrationResponse
    ConsumerGroupDescribeRequest ConsumerGroupDescribeResponse ConsumerGroupHeartbeatRequest
    ConsumerGroupHeartbeatResponse ConsumerProtocolAssignment ConsumerProtocolSubscription
    ControllerRegistrationRequest ControllerRegistrationResponse CreateAclsRequest CreateAclsResponse
    CreateDelegationTokenRequest CreateDelegationTokenResponse CreatePartitionsRequest
    CreatePartitionsResponse CreateTopicsRequest CreateTopicsResponse DefaultPrincipalData DeleteAclsRequest
    DeleteAclsResponse DeleteGroupsRequest DeleteGroupsResponse DeleteRecordsRequest DeleteRecordsResponse
    DeleteShareGroupOffsetsRequest DeleteShareGroupOffsetsResponse DeleteShareGroupStateRequest
    DeleteShareGroupStateResponse DeleteTopicsRequest DeleteTopicsResponse DescribeAclsRequest
    DescribeAclsResponse DescribeClientQuotasRequest DescribeClientQuotasResponse DescribeClusterRequest
    DescribeClusterResponse DescribeConfigsRequest DescribeConfigsResponse DescribeDelegationTokenRequest
    DescribeDelegationTokenResponse DescribeGroupsRequest DescribeGroupsResponse DescribeLogDirsRequest
    DescribeLogDirsResponse DescribeProducersRequest DescribeProducersResponse DescribeQuorumRequest
    DescribeQuorumResponse DescribeShareGroupOffsetsRequest DescribeShareGroupOffsetsResponse
    DescribeTopicPartitionsRequest DescribeTopicPartitionsResponse DescribeTransactionsRequest
    DescribeTransactionsResponse DescribeUserScramCredentialsRequest DescribeUserScramCredentialsResponse
    ElectLeadersRequest ElectLeadersResponse EndQuorumEpochRequest EndQuorumEpochResponse EndTxnMarker
    EndTxnRequest EndTxnResponse EnvelopeRequest EnvelopeResponse ExpireDelegationTokenRequest
    ExpireDelegationTokenResponse FetchRequest FetchResponse FetchSnapshotRequest FetchSnapshotResponse
    FindCoordinatorRequest FindCoordinatorResponse GetTelemetrySubscriptionsRequest
    GetTelemetrySubscriptionsResponse HeartbeatRequest HeartbeatResponse IncrementalAlterConfigsRequest
    IncrementalAlterConfigsResponse InitProducerIdRequest InitProducerIdResponse
    InitializeShareGroupStateRequest InitializeShareGroupStateResponse JoinGroupRequest JoinGroupResponse
    KRaftVersionRecord LeaveGroupRequest LeaveGroupResponse ListConfigResourcesRequest
    ListConfigResourcesResponse ListGroupsRequest ListGroupsResponse ListOffsetsRequest ListOffsetsResponse
    ListPartitionReassignmentsRequest ListPartitionReassignmentsResponse ListTransactionsRequest
    ListTransactionsResponse MetadataRequest MetadataResponse OffsetCommitRequest OffsetCommitResponse
    OffsetDeleteRequest OffsetDeleteResponse OffsetFetchRequest OffsetFetchResponse
    OffsetForLeaderEpochRequest OffsetForLeaderEpochResponse ProduceRequest ProduceResponse
    PushTelemetryRequest PushTelemetryResponse ReadShareGroupStateRequest ReadShareGroupStateResponse
    ReadShareGroupStateSummaryRequest ReadShareGroupStateSummaryResponse RemoveRaftVoterRequest
    RemoveRaftVoterResponse RenewDelegationTokenRequest RenewDelegationTokenResponse SaslAuthenticateRequest
    SaslAuthenticateResponse SaslHandshakeRequest SaslHandshakeResponse ShareAcknowledgeRequest
    ShareAcknowledgeResponse ShareFetchRequest ShareFetchResponse ShareGroupDescribeRequest
    ShareGroupDescribeResponse ShareGroupHeartbeatRequest ShareGroupHeartbeatResponse SnapshotFooterRecord
    SnapshotHeaderRecord SyncGroupRequest SyncGroupResponse TxnOffsetCommitRequest TxnOffsetCommitResponse
    UnregisterBrokerRequest UnregisterBrokerResponse UpdateFeaturesRequest UpdateFeaturesResponse
    UpdateRaftVoterRequest UpdateRaftVoterResponse VoteRequest VoteResponse
    WriteShareGroupStateRequest WriteShareGroupStateResponse WriteTxnMarkersRequest WriteTxnMarkersResponse
}

#[test]
fn the_peer_reads_and_writes_the_same_bytes() {
    let (mut compared, mut different) = (0, Vec::new());
    for_all(7, |_, message, version, sample| {
        let Some(peer) = PEERS.iter().find(|peer| peer.name == message.name) else {
            return;
        };
        if version < peer.from || version > peer.to {
            return;
        }
        compared += 1;
        let found = (peer.recode)(&sample.bytes, version);
        if found.as_ref() != Ok(&sample.bytes) {
            different.push(format!(
                "{} v{version}: {:02x?} became {found:02x?}",
                message.name, sample.bytes
            ));
        }
    });
    assert!(different.is_empty(), "{}", different.join("\n"));
    assert!(compared > 5_000, "{compared}");
}
