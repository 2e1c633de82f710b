//! Whose a data directory is: reads `meta.properties`, or formats an empty directory.
//!
//! What a newcomer would get wrong: only an empty directory is formatted. One with partitions and without
//! `meta.properties` has lost it, and guessing its cluster would let records of two clusters meet.

use std::path::Path;

use metadata::controller::features;
use metadata::image::Image;
use metadata::snapshot;
use protocol::messages::{FeatureLevelRecord, MetadataRecord};
use protocol::types::{LeaderEpoch, Offset, Uuid};
use shards::{fs, random};
use storage::Dir;
use storage::kafka_files::{FILE_BYTES_MAX, META_PROPERTIES, MetaProperties, parse_directory_name};

use crate::config::Settings;

/// What a new controller of Apache Kafka begins an empty log with.
const BOOTSTRAP: &str = "bootstrap.checkpoint";

/// What a directory says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Formatted {
    /// The cluster.
    pub cluster_id: String,
    /// The directory.
    pub directory_id: Uuid,
}

/// Checks that the directory belongs to this node, and formats it if it is empty. It must be there, and locked: two that
/// format at once would each believe in another cluster.
///
/// # Errors
/// One line: it belongs to somebody else, or the disk fails.
pub async fn open(dir: &Path, settings: &Settings) -> Result<Formatted, String> {
    let path = dir.join(META_PROPERTIES);
    let is_there = fs::exists(&path)
        .await
        .map_err(|error| format!("cannot look at {}: {error}", path.display()))?;
    if !is_there {
        return format(dir, settings).await;
    }
    let bytes = fs::read(&path, FILE_BYTES_MAX).await;
    let bytes = bytes.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let mut found = MetaProperties::decode(&bytes).map_err(|error| format!("{}: {error}", path.display()))?;
    if found.node_id != settings.node_id {
        return Err(format!(
            "{} belongs to node {}, not to node.id={}",
            dir.display(),
            found.node_id,
            settings.node_id
        ));
    }
    if let Some(cluster_id) = settings.cluster_id.as_ref().filter(|id| **id != found.cluster_id) {
        return Err(format!(
            "{} belongs to cluster {}, not to CLUSTER_ID={cluster_id}",
            dir.display(),
            found.cluster_id
        ));
    }
    let directory_id = match found.directory_id {
        Some(id) => id,
        None => {
            let id = new_id();
            found.directory_id = Some(id);
            write(dir, META_PROPERTIES, found.encode()).await?;
            id
        }
    };
    Ok(Formatted {
        cluster_id: found.cluster_id,
        directory_id,
    })
}

async fn format(dir: &Path, settings: &Settings) -> Result<Formatted, String> {
    let entries = fs::read_dir(dir)
        .await
        .map_err(|error| format!("cannot list {}: {error}", dir.display()))?;
    let is_partition = |name: &str| parse_directory_name(name).is_some();
    if let Some(entry) = entries
        .iter()
        .find(|entry| entry.is_dir && is_partition(&entry.name))
    {
        return Err(format!(
            "{} holds {} and has no {META_PROPERTIES}",
            dir.display(),
            entry.name
        ));
    }
    let directory_id = new_id();
    let cluster_id = settings
        .cluster_id
        .clone()
        .unwrap_or_else(|| new_id().to_string());
    let properties = MetaProperties {
        cluster_id: cluster_id.clone(),
        node_id: settings.node_id,
        directory_id: Some(directory_id),
    };
    write(dir, BOOTSTRAP, bootstrap()?).await?;
    // Last: a directory with it is formatted.
    let formatted = Dir::format(dir, &properties).await;
    formatted.map_err(|error| error.to_string())?;
    Ok(Formatted {
        cluster_id,
        directory_id,
    })
}

/// The levels of features that a cluster begins with, as a snapshot.
fn bootstrap() -> Result<Vec<u8>, String> {
    let mut image = Image::default();
    for (name, feature_level) in features::INITIAL {
        let record = FeatureLevelRecord {
            name,
            feature_level: *feature_level,
        };
        let mut value = Vec::new();
        MetadataRecord::FeatureLevel(record).encode(&mut value, 0);
        image.apply(&value).map_err(|error| error.to_string())?;
    }
    let id = snapshot::Id {
        end_offset: Offset(0),
        epoch: LeaderEpoch(0),
    };
    snapshot::encode(&image, id, 0, shards::time::wall_ms()).map_err(|error| error.to_string())
}

/// An id that is neither reserved nor looks like an option to tools.
fn new_id() -> Uuid {
    loop {
        let id = Uuid(random::uuid_bytes());
        if u128::from_be_bytes(id.0) >= 100 && !id.to_string().starts_with('-') {
            return id;
        }
    }
}

/// Writes a small file so that it is there whole or not at all, and durable.
pub async fn write(dir: &Path, name: &str, bytes: Vec<u8>) -> Result<(), String> {
    let (path, aside) = (dir.join(name), dir.join(format!("{name}.tmp")));
    let written = async {
        fs::write(&aside, bytes).await?;
        fs::sync_file(&aside).await?;
        fs::rename(&aside, &path).await?;
        fs::sync_dir(dir).await
    };
    written
        .await
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}
