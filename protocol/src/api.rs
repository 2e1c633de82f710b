//! The APIs: their keys, and the one table of what this broker announces and accepts.
//!
//! What a newcomer would get wrong: [`SUPPORTED`] is a promise. ApiVersions answers from it and dispatch
//! accepts by it, so an API stands there only once it works in every version named. What is described
//! ([`ApiKey::versions`]) is more than what is supported.

use std::fmt;
use std::ops::RangeInclusive;

include!(concat!(env!("OUT_DIR"), "/api_key.rs"));

impl ApiKey {
    /// Whether requests of this version have a header with tagged fields (header version 2 instead of 1).
    pub fn has_flexible_header(self, version: i16) -> bool {
        version >= self.flexible_since()
    }

    /// Whether responses of this version have a header with tagged fields (header version 1 instead of 0).
    /// Those of ApiVersions never have: their reader does not know yet which versions the other side speaks.
    pub fn has_flexible_response_header(self, version: i16) -> bool {
        self != ApiKey::ApiVersions && self.has_flexible_header(version)
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

/// A key that no API of Kafka has, or one of an API that is gone.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct UnknownApi(pub i16);

impl fmt::Display for UnknownApi {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "there is no API with key {}", self.0)
    }
}

impl std::error::Error for UnknownApi {}

/// One line of [`SUPPORTED`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Supported {
    /// The API.
    pub key: ApiKey,
    /// What ApiVersions says, both ends included.
    pub announced: RangeInclusive<i16>,
    /// What dispatch takes, both ends included.
    pub accepted: RangeInclusive<i16>,
}

const fn api(key: ApiKey, from: i16, to: i16) -> Supported {
    Supported {
        key,
        announced: from..=to,
        accepted: from..=to,
    }
}

/// What a listener for clients announces and accepts, by key, in the versions of Apache Kafka 4.4.
pub const SUPPORTED: &[Supported] = &[
    // Old librdkafka takes a broker that does not announce Produce from 0 for too old to talk to; versions
    // below 3 are refused all the same, as in Kafka (KAFKA-18659).
    Supported {
        key: ApiKey::Produce,
        announced: 0..=13,
        accepted: 3..=13,
    },
    api(ApiKey::Fetch, 4, 18),
    api(ApiKey::ListOffsets, 1, 11),
    api(ApiKey::Metadata, 0, 13),
    api(ApiKey::FindCoordinator, 0, 6),
    api(ApiKey::ApiVersions, 0, 5),
    api(ApiKey::CreateTopics, 2, 7),
    api(ApiKey::DeleteTopics, 1, 6),
    // Version 6 is described and not yet stable, and Apache Kafka 4.4 does not announce it.
    api(ApiKey::InitProducerId, 0, 5),
    api(ApiKey::OffsetForLeaderEpoch, 2, 4),
    api(ApiKey::DescribeConfigs, 1, 4),
    api(ApiKey::DescribeCluster, 0, 2),
    api(ApiKey::DescribeTopicPartitions, 0, 0),
];

/// The line of [`SUPPORTED`] for an API, if it has one.
pub fn supported(key: ApiKey) -> Option<&'static Supported> {
    SUPPORTED.iter().find(|line| line.key == key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_accepted_is_described() {
        for line in SUPPORTED {
            let described = line.key.versions();
            assert!(line.accepted.start() >= described.start(), "{}", line.key);
            assert!(line.accepted.end() <= described.end(), "{}", line.key);
            assert!(line.announced.contains(line.accepted.start()), "{}", line.key);
            assert_eq!(line.announced.end(), line.accepted.end(), "{}", line.key);
        }
        assert!(SUPPORTED.is_sorted_by_key(|line| line.key));
    }

    #[test]
    fn keys_are_those_of_kafka() {
        let check = |key: i16, name: &str, flexible_since: i16| {
            let api = ApiKey::try_from(key).unwrap();
            assert_eq!(
                (api as i16, api.name(), api.flexible_since()),
                (key, name, flexible_since)
            );
        };
        check(0, "Produce", 9);
        check(17, "SaslHandshake", i16::MAX);
        check(18, "ApiVersions", 3);
        check(94, "UnregisterController", 0);
        for gone in [-1, 4, 5, 6, 7, 95, i16::MAX] {
            assert_eq!(ApiKey::try_from(gone), Err(UnknownApi(gone)));
        }
        assert!(ApiKey::ALL.is_sorted());
        assert!(!ApiKey::ApiVersions.has_flexible_response_header(5));
        assert!(ApiKey::ApiVersions.has_flexible_header(3));
    }
}
