//! Which brokers hold the partitions of a new topic.

use protocol::ErrorCode;
use protocol::types::BrokerId;

use super::Refusal;
use crate::image::Image;

/// The replicas of each of `partitions` partitions: over the active brokers in turn, so that leaders are
/// spread.
pub(super) fn place(image: &Image, partitions: i32, replicas: i16) -> Result<Vec<Vec<BrokerId>>, Refusal> {
    let wanted = usize::try_from(replicas).unwrap_or_default();
    let active: Vec<BrokerId> = image
        .brokers()
        .filter(|one| one.is_active())
        .map(|one| one.id)
        .collect();
    let registered = image.brokers().count();
    let reason = if wanted > registered {
        format!("only {registered} broker(s) are registered")
    } else if active.is_empty() {
        "all brokers are fenced".to_owned()
    } else if wanted > active.len() {
        format!("only {} broker(s) are active", active.len())
    } else {
        let of = |at: usize| {
            let turned = active.iter().copied().cycle().skip(at % active.len());
            turned.take(wanted).collect()
        };
        return Ok((0..usize::try_from(partitions).unwrap_or_default())
            .map(of)
            .collect());
    };
    let message = format!(
        "Unable to replicate the partition {replicas} time(s): The target replication factor of {replicas} cannot be \
         reached because {reason}."
    );
    Err(Refusal::new(ErrorCode::InvalidReplicationFactor, message))
}
