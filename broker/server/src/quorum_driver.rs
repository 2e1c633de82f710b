//! Drives the metadata quorum: does what its state machine asks for, in order, and tells it what is durable.
//!
//! It lives on shard 0, with the metadata log. What a newcomer would get wrong: also a quorum of one has elections. Each
//! start is one: the vote is durable in `quorum-state` before the record that opens the epoch is appended, and nothing
//! that the log held before is committed until that record is.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use protocol::control::{self, Place};
use protocol::types::{BrokerId, LeaderEpoch, Offset};
use quorum::{ElectionState, Input, Output, Quorum, Role, Voters};
use shards::fs;
use shards::time::wall_ms;
use storage::Log;
use storage::kafka_files::FILE_BYTES_MAX;

use crate::format;

/// The file in the metadata partition's directory that remembers epochs and votes.
const QUORUM_STATE: &str = "quorum-state";

/// The quorum's one voter, as its leader.
pub struct QuorumDriver {
    quorum: RefCell<Quorum>,
    log: Rc<Log>,
}

impl QuorumDriver {
    /// Is elected by itself and opens the next epoch; everything in the log is committed when it resolves.
    ///
    /// # Errors
    /// One line: the node may not vote, a file is damaged, or the disk fails.
    pub async fn lead(log: &Rc<Log>, this: BrokerId) -> Result<QuorumDriver, String> {
        let stored = read_state(log.path()).await?;
        let log_epoch = log.latest_epoch().unwrap_or(LeaderEpoch(-1));
        let quorum = Quorum::new(this, Voters::new([this]), stored, log_epoch)
            .map_err(|refused| refused.to_string())?;
        let driver = QuorumDriver {
            quorum: RefCell::new(quorum),
            log: log.clone(),
        };
        let log_end = log.log_end_offset();
        let outputs = driver.quorum.borrow_mut().on_input(Input::Start { log_end });
        for output in outputs {
            driver.perform(output).await?;
        }
        log.durable(log.log_end_offset())
            .await
            .map_err(|error| format!("the metadata log: {error}"))?;
        assert!(
            driver.committed() == log.durable_end(),
            "one voter commits what it has durably"
        );
        Ok(driver)
    }

    /// The epoch it leads in.
    pub fn epoch(&self) -> LeaderEpoch {
        self.quorum.borrow().epoch()
    }

    /// The end of what is committed, after what has become durable by now.
    pub fn committed(&self) -> Offset {
        let mut quorum = self.quorum.borrow_mut();
        if let Role::Leader { .. } = quorum.role() {
            // What follows from it is the high watermark alone, which is read below.
            quorum.on_input(Input::Durable(self.log.durable_end()));
        }
        quorum.high_watermark().unwrap_or(Offset(0))
    }

    /// Leads no more.
    pub fn resign(&self) {
        self.quorum.borrow_mut().on_input(Input::Resign);
    }

    async fn perform(&self, output: Output) -> Result<(), String> {
        match output {
            Output::Persist(state) => {
                format::write(self.log.path(), QUORUM_STATE, state.encode().into_bytes()).await
            }
            Output::Append {
                offset,
                epoch,
                message,
            } => {
                self.log.assign_epoch(epoch);
                let now = wall_ms();
                let place = Place {
                    base_offset: offset,
                    leader_epoch: epoch,
                    timestamp: now,
                };
                let batch = control::leader_change(place, &message);
                let appended = self.log.append(batch.into(), epoch, now);
                let appended = appended.map_err(|error| format!("the metadata log: {error:?}"))?;
                assert_eq!(
                    appended.base_offset, offset,
                    "the quorum alone appends before it leads"
                );
                Ok(())
            }
            // Looked at by those who ask, in `committed`; nobody waits for this node's votes.
            Output::HighWatermark(_) | Output::Resigned => Ok(()),
        }
    }
}

async fn read_state(dir: &Path) -> Result<Option<ElectionState>, String> {
    let path = dir.join(QUORUM_STATE);
    let failed = |error: &dyn std::fmt::Display| format!("cannot read {}: {error}", path.display());
    if !fs::exists(&path).await.map_err(|error| failed(&error))? {
        return Ok(None);
    }
    let bytes = fs::read(&path, FILE_BYTES_MAX)
        .await
        .map_err(|error| failed(&error))?;
    let text = String::from_utf8(bytes).map_err(|error| failed(&error))?;
    ElectionState::decode(&text)
        .map(Some)
        .map_err(|error| failed(&error))
}
