//! The features of a new cluster: which levels it begins with and which this node understands.
//!
//! What a newcomer would get wrong: the first records of an empty log are one metadata transaction, and among
//! them is a setting: with eligible leader replicas on, min.insync.replicas lives in the log
//! (`ActivationRecordsGenerator`).

use protocol::messages::{
    BeginTransactionRecord, ConfigRecord, EndTransactionRecord, FeatureLevelRecord, MetadataRecord,
};

use super::Draft;
use crate::image::METADATA_VERSION;
use crate::image::brokers::Supported;
use crate::image::configs::BROKER;

/// Levels that a new cluster begins with: those of Apache Kafka 4.4.0, in the order it writes them.
pub const INITIAL: &[(&str, i16)] = &[
    (METADATA_VERSION, 33),
    ("eligible.leader.replicas.version", 1),
    ("group.version", 1),
    ("share.version", 2),
    ("streams.version", 1),
    ("transaction.version", 2),
];

/// Levels that this node understands: feature, least, greatest. `kraft.version` is no feature of the log and
/// stands here because nodes register it too.
pub const SUPPORTED: &[(&str, i16, i16)] = &[
    ("eligible.leader.replicas.version", 0, 1),
    ("group.version", 0, 1),
    ("kraft.version", 0, 1),
    (METADATA_VERSION, 7, 33),
    ("share.version", 0, 2),
    ("streams.version", 0, 1),
    ("transaction.version", 0, 2),
];

/// [`SUPPORTED`], as nodes register it.
pub fn supported() -> Vec<Supported> {
    let of = |(name, min, max): &(&str, i16, i16)| Supported {
        name: (*name).to_owned(),
        min: *min,
        max: *max,
    };
    SUPPORTED.iter().map(of).collect()
}

pub(super) fn bootstrap(draft: &mut Draft) {
    draft.push(&MetadataRecord::BeginTransaction(BeginTransactionRecord {
        name: Some("Bootstrap records"),
    }));
    for (name, feature_level) in INITIAL {
        draft.push(&MetadataRecord::FeatureLevel(FeatureLevelRecord {
            name,
            feature_level: *feature_level,
        }));
    }
    draft.push(&MetadataRecord::Config(ConfigRecord {
        resource_type: BROKER,
        resource_name: "",
        name: "min.insync.replicas",
        value: Some("1"),
    }));
    draft.push(&MetadataRecord::EndTransaction(EndTransactionRecord {}));
}
