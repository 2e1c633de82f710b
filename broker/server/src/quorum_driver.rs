//! Leads the metadata quorum, which has one voter: this node.
//!
//! What a newcomer would get wrong: also a quorum of one has epochs. Each start is an election that the only voter
//! wins: the new epoch is made durable in `quorum-state` first, then a LeaderChange record opens it in the log, as
//! Apache Kafka does; what comes before it is committed with it.

use std::path::Path;
use std::rc::Rc;

use protocol::control::{self, Place};
use protocol::messages::LeaderChangeMessage;
use protocol::messages::leader_change_message::Voter;
use protocol::types::{BrokerId, LeaderEpoch};
use shards::fs;
use shards::time::wall_ms;
use storage::Log;
use storage::kafka_files::FILE_BYTES_MAX;

use crate::format;

/// The file in the metadata partition's directory that remembers epochs and votes.
const QUORUM_STATE: &str = "quorum-state";

/// Begins the next epoch as leader: durable in `quorum-state` and in the log when it resolves.
///
/// # Errors
/// One line: the file is damaged, or the disk fails.
pub async fn lead(log: &Rc<Log>, this: BrokerId) -> Result<LeaderEpoch, String> {
    let known = read_epoch(log.path()).await?.max(log.latest_epoch());
    let epoch = LeaderEpoch(known.map_or(1, |epoch| epoch.0 + 1));
    format::write(log.path(), QUORUM_STATE, state(epoch, this)).await?;
    log.assign_epoch(epoch);
    let now = wall_ms();
    let place = Place {
        base_offset: log.log_end_offset(),
        leader_epoch: epoch,
        timestamp: now,
    };
    let voter = Voter {
        voter_id: this.0,
        ..Voter::default()
    };
    let message = LeaderChangeMessage {
        version: 0,
        leader_id: this.0,
        voters: vec![voter.clone()],
        granting_voters: vec![voter],
    };
    let batch = control::leader_change(place, &message);
    let appended = log
        .append(batch.into(), epoch, now)
        .map_err(|error| format!("the metadata log: {error:?}"))?;
    let end = protocol::types::Offset(appended.last_offset.0 + 1);
    log.durable(end)
        .await
        .map_err(|error| format!("the metadata log: {error}"))?;
    Ok(epoch)
}

async fn read_epoch(dir: &Path) -> Result<Option<LeaderEpoch>, String> {
    let path = dir.join(QUORUM_STATE);
    let failed = |error: &dyn std::fmt::Display| format!("cannot read {}: {error}", path.display());
    if !fs::exists(&path).await.map_err(|error| failed(&error))? {
        return Ok(None);
    }
    let bytes = fs::read(&path, FILE_BYTES_MAX)
        .await
        .map_err(|error| failed(&error))?;
    let state: serde_json::Value = serde_json::from_slice(&bytes).map_err(|error| failed(&error))?;
    let epoch = state.get("leaderEpoch").and_then(serde_json::Value::as_i64);
    let epoch = epoch
        .and_then(|epoch| i32::try_from(epoch).ok())
        .ok_or_else(|| failed(&"it has no leaderEpoch"))?;
    Ok(Some(LeaderEpoch(epoch)))
}

/// The file as Kafka writes it for a quorum whose voters stand in the settings (`QuorumStateData` 0).
fn state(epoch: LeaderEpoch, this: BrokerId) -> Vec<u8> {
    let text = format!(
        concat!(
            r#"{{"clusterId":"","leaderId":{id},"leaderEpoch":{epoch},"votedId":{id},"appliedOffset":0,"#,
            r#""currentVoters":[{{"voterId":{id}}}],"data_version":0}}"#
        ),
        id = this,
        epoch = epoch,
    );
    text.into_bytes()
}
