//! Kafka's error codes: what a response says instead of, or beside, its answer.
//!
//! What a newcomer would get wrong: whether a code is retriable is a statement about clients (the Java client
//! retries it by itself), so the wrong code makes a client give up, or never give up.

use std::fmt;

/// What the Java client does with a code.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Retry {
    Never,
    Again,
    /// Again, once it has asked for the metadata anew (`InvalidMetadataException`).
    AgainWithNewMetadata,
}

macro_rules! codes {
    ($($variant:ident = $code:literal, $name:literal, $retry:ident;)*) => {
        /// An error as Kafka numbers and names it (class `Errors`, Kafka 4.4).
        #[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(i16)]
        pub enum ErrorCode {
            $(#[doc = concat!("`", $name, "`")] $variant = $code,)*
        }

        impl ErrorCode {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$variant,)*];

            /// The code of that number; what is not known is [`ErrorCode::UnknownServerError`], as for clients.
            pub fn from_code(code: i16) -> ErrorCode {
                match code {
                    $($code => ErrorCode::$variant,)*
                    _ => ErrorCode::UnknownServerError,
                }
            }

            /// Kafka's name, such as `OFFSET_OUT_OF_RANGE`.
            pub fn name(self) -> &'static str {
                match self {
                    $(ErrorCode::$variant => $name,)*
                }
            }

            fn retry(self) -> Retry {
                match self {
                    $(ErrorCode::$variant => Retry::$retry,)*
                }
            }
        }
    };
}

impl ErrorCode {
    /// The number on the wire.
    pub fn code(self) -> i16 {
        self as i16
    }

    /// Whether the Java client tries again by itself.
    pub fn is_retriable(self) -> bool {
        self.retry() != Retry::Never
    }

    /// Whether the Java client asks for the metadata anew before it tries again.
    pub fn invalidates_metadata(self) -> bool {
        self.retry() == Retry::AgainWithNewMetadata
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

codes! {
    UnknownServerError = -1, "UNKNOWN_SERVER_ERROR", Never;
    None = 0, "NONE", Never;
    OffsetOutOfRange = 1, "OFFSET_OUT_OF_RANGE", Never;
    CorruptMessage = 2, "CORRUPT_MESSAGE", Again;
    UnknownTopicOrPartition = 3, "UNKNOWN_TOPIC_OR_PARTITION", AgainWithNewMetadata;
    InvalidFetchSize = 4, "INVALID_FETCH_SIZE", Never;
    LeaderNotAvailable = 5, "LEADER_NOT_AVAILABLE", AgainWithNewMetadata;
    NotLeaderOrFollower = 6, "NOT_LEADER_OR_FOLLOWER", AgainWithNewMetadata;
    RequestTimedOut = 7, "REQUEST_TIMED_OUT", Again;
    BrokerNotAvailable = 8, "BROKER_NOT_AVAILABLE", Never;
    ReplicaNotAvailable = 9, "REPLICA_NOT_AVAILABLE", AgainWithNewMetadata;
    MessageTooLarge = 10, "MESSAGE_TOO_LARGE", Never;
    StaleControllerEpoch = 11, "STALE_CONTROLLER_EPOCH", Never;
    OffsetMetadataTooLarge = 12, "OFFSET_METADATA_TOO_LARGE", Never;
    NetworkException = 13, "NETWORK_EXCEPTION", AgainWithNewMetadata;
    CoordinatorLoadInProgress = 14, "COORDINATOR_LOAD_IN_PROGRESS", Again;
    CoordinatorNotAvailable = 15, "COORDINATOR_NOT_AVAILABLE", Again;
    NotCoordinator = 16, "NOT_COORDINATOR", Again;
    InvalidTopicException = 17, "INVALID_TOPIC_EXCEPTION", Never;
    RecordListTooLarge = 18, "RECORD_LIST_TOO_LARGE", Never;
    NotEnoughReplicas = 19, "NOT_ENOUGH_REPLICAS", Again;
    NotEnoughReplicasAfterAppend = 20, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", Again;
    InvalidRequiredAcks = 21, "INVALID_REQUIRED_ACKS", Never;
    IllegalGeneration = 22, "ILLEGAL_GENERATION", Never;
    InconsistentGroupProtocol = 23, "INCONSISTENT_GROUP_PROTOCOL", Never;
    InvalidGroupId = 24, "INVALID_GROUP_ID", Never;
    UnknownMemberId = 25, "UNKNOWN_MEMBER_ID", Never;
    InvalidSessionTimeout = 26, "INVALID_SESSION_TIMEOUT", Never;
    RebalanceInProgress = 27, "REBALANCE_IN_PROGRESS", Never;
    InvalidCommitOffsetSize = 28, "INVALID_COMMIT_OFFSET_SIZE", Never;
    TopicAuthorizationFailed = 29, "TOPIC_AUTHORIZATION_FAILED", Never;
    GroupAuthorizationFailed = 30, "GROUP_AUTHORIZATION_FAILED", Never;
    ClusterAuthorizationFailed = 31, "CLUSTER_AUTHORIZATION_FAILED", Never;
    InvalidTimestamp = 32, "INVALID_TIMESTAMP", Never;
    UnsupportedSaslMechanism = 33, "UNSUPPORTED_SASL_MECHANISM", Never;
    IllegalSaslState = 34, "ILLEGAL_SASL_STATE", Never;
    UnsupportedVersion = 35, "UNSUPPORTED_VERSION", Never;
    TopicAlreadyExists = 36, "TOPIC_ALREADY_EXISTS", Never;
    InvalidPartitions = 37, "INVALID_PARTITIONS", Never;
    InvalidReplicationFactor = 38, "INVALID_REPLICATION_FACTOR", Never;
    InvalidReplicaAssignment = 39, "INVALID_REPLICA_ASSIGNMENT", Never;
    InvalidConfig = 40, "INVALID_CONFIG", Never;
    NotController = 41, "NOT_CONTROLLER", Again;
    InvalidRequest = 42, "INVALID_REQUEST", Never;
    UnsupportedForMessageFormat = 43, "UNSUPPORTED_FOR_MESSAGE_FORMAT", Never;
    PolicyViolation = 44, "POLICY_VIOLATION", Never;
    OutOfOrderSequenceNumber = 45, "OUT_OF_ORDER_SEQUENCE_NUMBER", Never;
    DuplicateSequenceNumber = 46, "DUPLICATE_SEQUENCE_NUMBER", Never;
    InvalidProducerEpoch = 47, "INVALID_PRODUCER_EPOCH", Never;
    InvalidTxnState = 48, "INVALID_TXN_STATE", Never;
    InvalidProducerIdMapping = 49, "INVALID_PRODUCER_ID_MAPPING", Never;
    InvalidTransactionTimeout = 50, "INVALID_TRANSACTION_TIMEOUT", Never;
    ConcurrentTransactions = 51, "CONCURRENT_TRANSACTIONS", Again;
    TransactionCoordinatorFenced = 52, "TRANSACTION_COORDINATOR_FENCED", Never;
    TransactionalIdAuthorizationFailed = 53, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", Never;
    SecurityDisabled = 54, "SECURITY_DISABLED", Never;
    OperationNotAttempted = 55, "OPERATION_NOT_ATTEMPTED", Never;
    KafkaStorageError = 56, "KAFKA_STORAGE_ERROR", AgainWithNewMetadata;
    LogDirNotFound = 57, "LOG_DIR_NOT_FOUND", Never;
    SaslAuthenticationFailed = 58, "SASL_AUTHENTICATION_FAILED", Never;
    UnknownProducerId = 59, "UNKNOWN_PRODUCER_ID", Never;
    ReassignmentInProgress = 60, "REASSIGNMENT_IN_PROGRESS", Never;
    DelegationTokenAuthDisabled = 61, "DELEGATION_TOKEN_AUTH_DISABLED", Never;
    DelegationTokenNotFound = 62, "DELEGATION_TOKEN_NOT_FOUND", Never;
    DelegationTokenOwnerMismatch = 63, "DELEGATION_TOKEN_OWNER_MISMATCH", Never;
    DelegationTokenRequestNotAllowed = 64, "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED", Never;
    DelegationTokenAuthorizationFailed = 65, "DELEGATION_TOKEN_AUTHORIZATION_FAILED", Never;
    DelegationTokenExpired = 66, "DELEGATION_TOKEN_EXPIRED", Never;
    InvalidPrincipalType = 67, "INVALID_PRINCIPAL_TYPE", Never;
    NonEmptyGroup = 68, "NON_EMPTY_GROUP", Never;
    GroupIdNotFound = 69, "GROUP_ID_NOT_FOUND", Never;
    FetchSessionIdNotFound = 70, "FETCH_SESSION_ID_NOT_FOUND", Again;
    InvalidFetchSessionEpoch = 71, "INVALID_FETCH_SESSION_EPOCH", Again;
    ListenerNotFound = 72, "LISTENER_NOT_FOUND", AgainWithNewMetadata;
    TopicDeletionDisabled = 73, "TOPIC_DELETION_DISABLED", Never;
    FencedLeaderEpoch = 74, "FENCED_LEADER_EPOCH", AgainWithNewMetadata;
    UnknownLeaderEpoch = 75, "UNKNOWN_LEADER_EPOCH", Again;
    UnsupportedCompressionType = 76, "UNSUPPORTED_COMPRESSION_TYPE", Never;
    StaleBrokerEpoch = 77, "STALE_BROKER_EPOCH", Never;
    OffsetNotAvailable = 78, "OFFSET_NOT_AVAILABLE", Again;
    MemberIdRequired = 79, "MEMBER_ID_REQUIRED", Never;
    PreferredLeaderNotAvailable = 80, "PREFERRED_LEADER_NOT_AVAILABLE", AgainWithNewMetadata;
    GroupMaxSizeReached = 81, "GROUP_MAX_SIZE_REACHED", Never;
    FencedInstanceId = 82, "FENCED_INSTANCE_ID", Never;
    EligibleLeadersNotAvailable = 83, "ELIGIBLE_LEADERS_NOT_AVAILABLE", AgainWithNewMetadata;
    ElectionNotNeeded = 84, "ELECTION_NOT_NEEDED", AgainWithNewMetadata;
    NoReassignmentInProgress = 85, "NO_REASSIGNMENT_IN_PROGRESS", Never;
    GroupSubscribedToTopic = 86, "GROUP_SUBSCRIBED_TO_TOPIC", Never;
    InvalidRecord = 87, "INVALID_RECORD", Never;
    UnstableOffsetCommit = 88, "UNSTABLE_OFFSET_COMMIT", Again;
    ThrottlingQuotaExceeded = 89, "THROTTLING_QUOTA_EXCEEDED", Again;
    ProducerFenced = 90, "PRODUCER_FENCED", Never;
    ResourceNotFound = 91, "RESOURCE_NOT_FOUND", Never;
    DuplicateResource = 92, "DUPLICATE_RESOURCE", Never;
    UnacceptableCredential = 93, "UNACCEPTABLE_CREDENTIAL", Never;
    InconsistentVoterSet = 94, "INCONSISTENT_VOTER_SET", Never;
    InvalidUpdateVersion = 95, "INVALID_UPDATE_VERSION", Never;
    FeatureUpdateFailed = 96, "FEATURE_UPDATE_FAILED", Never;
    PrincipalDeserializationFailure = 97, "PRINCIPAL_DESERIALIZATION_FAILURE", Never;
    SnapshotNotFound = 98, "SNAPSHOT_NOT_FOUND", Never;
    PositionOutOfRange = 99, "POSITION_OUT_OF_RANGE", Never;
    UnknownTopicId = 100, "UNKNOWN_TOPIC_ID", AgainWithNewMetadata;
    DuplicateBrokerRegistration = 101, "DUPLICATE_BROKER_REGISTRATION", Never;
    BrokerIdNotRegistered = 102, "BROKER_ID_NOT_REGISTERED", Never;
    InconsistentTopicId = 103, "INCONSISTENT_TOPIC_ID", AgainWithNewMetadata;
    InconsistentClusterId = 104, "INCONSISTENT_CLUSTER_ID", Never;
    TransactionalIdNotFound = 105, "TRANSACTIONAL_ID_NOT_FOUND", Never;
    FetchSessionTopicIdError = 106, "FETCH_SESSION_TOPIC_ID_ERROR", Again;
    IneligibleReplica = 107, "INELIGIBLE_REPLICA", Never;
    NewLeaderElected = 108, "NEW_LEADER_ELECTED", Never;
    OffsetMovedToTieredStorage = 109, "OFFSET_MOVED_TO_TIERED_STORAGE", Never;
    FencedMemberEpoch = 110, "FENCED_MEMBER_EPOCH", Never;
    UnreleasedInstanceId = 111, "UNRELEASED_INSTANCE_ID", Never;
    UnsupportedAssignor = 112, "UNSUPPORTED_ASSIGNOR", Never;
    StaleMemberEpoch = 113, "STALE_MEMBER_EPOCH", Never;
    MismatchedEndpointType = 114, "MISMATCHED_ENDPOINT_TYPE", Never;
    UnsupportedEndpointType = 115, "UNSUPPORTED_ENDPOINT_TYPE", Never;
    UnknownControllerId = 116, "UNKNOWN_CONTROLLER_ID", Never;
    UnknownSubscriptionId = 117, "UNKNOWN_SUBSCRIPTION_ID", Never;
    TelemetryTooLarge = 118, "TELEMETRY_TOO_LARGE", Never;
    InvalidRegistration = 119, "INVALID_REGISTRATION", Never;
    TransactionAbortable = 120, "TRANSACTION_ABORTABLE", Never;
    InvalidRecordState = 121, "INVALID_RECORD_STATE", Never;
    ShareSessionNotFound = 122, "SHARE_SESSION_NOT_FOUND", Again;
    InvalidShareSessionEpoch = 123, "INVALID_SHARE_SESSION_EPOCH", Again;
    FencedStateEpoch = 124, "FENCED_STATE_EPOCH", Never;
    InvalidVoterKey = 125, "INVALID_VOTER_KEY", Never;
    DuplicateVoter = 126, "DUPLICATE_VOTER", Never;
    VoterNotFound = 127, "VOTER_NOT_FOUND", Never;
    InvalidRegularExpression = 128, "INVALID_REGULAR_EXPRESSION", Never;
    RebootstrapRequired = 129, "REBOOTSTRAP_REQUIRED", Never;
    StreamsInvalidTopology = 130, "STREAMS_INVALID_TOPOLOGY", Never;
    StreamsInvalidTopologyEpoch = 131, "STREAMS_INVALID_TOPOLOGY_EPOCH", Never;
    StreamsTopologyFenced = 132, "STREAMS_TOPOLOGY_FENCED", Never;
    ShareSessionLimitReached = 133, "SHARE_SESSION_LIMIT_REACHED", Again;
    GroupDeletionFailed = 134, "GROUP_DELETION_FAILED", Never;
    StreamsTopologyDescriptionUpdateFailed = 135, "STREAMS_TOPOLOGY_DESCRIPTION_UPDATE_FAILED", Never;
    ControllerIdNotRegistered = 136, "CONTROLLER_ID_NOT_REGISTERED", Never;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_names_and_retries_are_those_of_kafka() {
        let check = |code: i16, name: &str, retriable: bool, metadata: bool| {
            let error = ErrorCode::from_code(code);
            let found = (
                error.code(),
                error.name(),
                error.is_retriable(),
                error.invalidates_metadata(),
            );
            assert_eq!(found, (code, name, retriable, metadata));
        };
        check(-1, "UNKNOWN_SERVER_ERROR", false, false);
        check(0, "NONE", false, false);
        check(3, "UNKNOWN_TOPIC_OR_PARTITION", true, true);
        check(7, "REQUEST_TIMED_OUT", true, false);
        check(45, "OUT_OF_ORDER_SEQUENCE_NUMBER", false, false);
        check(136, "CONTROLLER_ID_NOT_REGISTERED", false, false);
        assert_eq!(ErrorCode::from_code(137), ErrorCode::UnknownServerError);
        assert_eq!(ErrorCode::from_code(i16::MIN), ErrorCode::UnknownServerError);
    }

    #[test]
    fn no_number_is_left_out_and_names_are_the_variants() {
        for (error, code) in ErrorCode::ALL.iter().zip(-1..) {
            assert_eq!(error.code(), code);
            assert_eq!(
                error.name().replace('_', "").to_lowercase(),
                format!("{error:?}").to_lowercase()
            );
        }
        assert_eq!(ErrorCode::ALL.len(), 138);
    }
}
