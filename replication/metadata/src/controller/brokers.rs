//! Registration of controllers and brokers, and when a broker may lead.
//!
//! What a newcomer would get wrong: a broker registers anew with every start, under another incarnation and
//! fenced; its epoch is the offset of the record, so the decision must know where that goes. What it leads
//! stays with it: with one broker nobody else could take over, and all that was acknowledged is durable on
//! it.

use protocol::ErrorCode;
use protocol::messages::{BrokerRegistrationChangeRecord, MetadataRecord};
use protocol::types::{BrokerId, Uuid};

use super::{Controller, Decision, Refusal, elections};
use crate::image::brokers::{Broker, ControllerNode, Endpoint, Supported};

/// A broker that wants to be part of the cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Registration {
    /// Its id.
    pub broker_id: BrokerId,
    /// Another one with every start of the process.
    pub incarnation_id: Uuid,
    /// Where clients reach it; not empty.
    pub listeners: Vec<Endpoint>,
    /// What it understands.
    pub features: Vec<Supported>,
    /// Its rack.
    pub rack: Option<String>,
    /// Its log directories.
    pub directories: Vec<Uuid>,
}

/// Directory ids below this are reserved (`DirectoryId`).
const RESERVED_DIRECTORIES: u128 = 100;

impl Controller {
    /// Writes down where this controller is reached. Nothing if the image says so already.
    pub fn decide_register_controller(&mut self, node: &ControllerNode) -> Decision<()> {
        if self.image.controllers().any(|known| known == node) {
            return self.refuse(());
        }
        let mut draft = self.draft();
        draft.push(&MetadataRecord::RegisterController(node.record()));
        self.adopt(draft, ())
    }

    /// Registers a broker, fenced. The answer is its epoch (`ClusterControlManager.registerBroker`). The same
    /// incarnation keeps what it has.
    pub fn decide_register_broker(&mut self, broker: &Registration) -> Decision<Result<i64, Refusal>> {
        if let Err(refusal) = self.check_registration(broker) {
            return self.refuse(Err(refusal));
        }
        let known = self.image.broker(broker.broker_id);
        if let Some(known) = known.filter(|known| known.incarnation_id == broker.incarnation_id) {
            return self.refuse(Ok(known.epoch));
        }
        let mut draft = self.draft();
        let epoch = draft.next_offset().0;
        let registered = Broker {
            id: broker.broker_id,
            incarnation_id: broker.incarnation_id,
            epoch,
            listeners: broker.listeners.clone(),
            features: broker.features.clone(),
            rack: broker.rack.clone(),
            is_fenced: true,
            is_shutting_down: false,
            directories: broker.directories.clone(),
            cordoned: None,
        };
        draft.push(&MetadataRecord::RegisterBroker(registered.record()));
        self.adopt(draft, Ok(epoch))
    }

    /// Lets a broker lead, and elects leaders where there was none. Nothing if it may lead already.
    pub fn decide_unfence(&mut self, id: BrokerId, epoch: i64) -> Decision<Result<(), Refusal>> {
        let is_fenced = match self.check_broker(id, epoch) {
            Ok(known) => known.is_fenced,
            Err(refusal) => return self.refuse(Err(refusal)),
        };
        if !is_fenced {
            return self.refuse(Ok(()));
        }
        let mut draft = self.draft();
        draft.push(&MetadataRecord::BrokerRegistrationChange(
            BrokerRegistrationChangeRecord {
                broker_id: id.0,
                broker_epoch: epoch,
                fenced: -1,
                in_controlled_shutdown: 0,
                log_dirs: Vec::new(),
                cordoned_log_dirs: None,
            },
        ));
        elections::elect_leaderless(&mut draft, id);
        self.adopt(draft, Ok(()))
    }

    /// The broker, if it is registered with this epoch.
    pub(super) fn check_broker(&self, id: BrokerId, epoch: i64) -> Result<&Broker, Refusal> {
        let known = self.image.broker(id).ok_or_else(|| {
            let message = format!("Broker ID {id} is not currently registered");
            Refusal::new(ErrorCode::BrokerIdNotRegistered, message)
        })?;
        if known.epoch != epoch {
            let message = format!(
                "Expected broker epoch {}, but got broker epoch {epoch}",
                known.epoch
            );
            return Err(Refusal::new(ErrorCode::StaleBrokerEpoch, message));
        }
        Ok(known)
    }

    fn check_registration(&self, broker: &Registration) -> Result<(), Refusal> {
        let invalid = |message: &str| Err(Refusal::new(ErrorCode::InvalidRegistration, message));
        if broker.listeners.is_empty() {
            return invalid("a broker must have a listener");
        }
        let mut directories = broker.directories.clone();
        directories.sort();
        directories.dedup();
        if directories.is_empty() {
            return invalid("a broker must have a log directory");
        }
        if directories.len() != broker.directories.len() {
            return invalid("a log directory is named twice");
        }
        if directories
            .iter()
            .any(|one| u128::from_be_bytes(one.0) < RESERVED_DIRECTORIES)
        {
            return invalid("a log directory has a reserved id");
        }
        let others = self.image.brokers().filter(|other| other.id != broker.broker_id);
        if others
            .flat_map(|other| &other.directories)
            .any(|one| directories.contains(one))
        {
            return invalid("a log directory belongs to another broker");
        }
        for (name, level) in self.image.features() {
            let range = broker.features.iter().find(|one| one.name == name);
            if !range.is_some_and(|one| (one.min..=one.max).contains(&level)) {
                let message = format!("the broker does not support {name} at level {level}");
                return Err(Refusal::new(ErrorCode::UnsupportedVersion, message));
            }
        }
        Ok(())
    }
}
