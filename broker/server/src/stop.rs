//! The way down: nothing new is taken, what was taken is answered, and the logs are closed (D21).
//!
//! What a newcomer would get wrong: the order. Clients go first, since their answers need the journal; then the
//! controller, whose last decision somebody may wait for; then the stores, when nobody can append any more; and the
//! directory last, which says that it is closed only if every store was.

use storage::Closed;

use crate::images::every;
use crate::shard::Node;
use crate::start::Running;

/// Closes a running node.
///
/// # Errors
/// One line: a store could not be closed. The next start recovers it.
pub(crate) async fn stop(running: Running) -> Result<(), String> {
    running.sockets.iter().for_each(|socket| socket.close());
    running.accepting.close().await;
    every(|| async { Node::current().drain().await }).await?;
    running.controller.stop();
    running.publishing.close().await;
    // Before the stores: a full journal waits for it.
    running.recovering.close().await;
    let mut closed: Vec<Closed> = Vec::new();
    for store in every(|| async { Node::current().store.close().await }).await? {
        closed.push(store.map_err(|error| format!("not closed cleanly: {error}"))?);
    }
    every(|| async { Node::current().tasks.close().await }).await?;
    let path = running.shared.config.settings.data_dir.clone();
    let dir = running.dir.close(closed, running.broker_epoch).await;
    dir.map_err(|error| format!("not closed cleanly: {error}"))?;
    tracing::info!("stopped; {} is closed", path.display());
    Ok(())
}
