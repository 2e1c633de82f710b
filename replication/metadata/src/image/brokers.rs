//! The registered brokers and controllers.
//!
//! What a newcomer would get wrong: a broker's epoch is the offset of the record that registered it, and
//! records about a broker name the epoch they mean; one that names another is a contradiction in the log.

use protocol::messages::{
    BrokerRegistrationChangeRecord, RegisterBrokerRecord, RegisterControllerRecord, register_broker_record,
    register_controller_record,
};
use protocol::types::{BrokerId, Uuid};

use super::ApplyError;

/// An address that clients or other nodes connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name.
    pub name: String,
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The security protocol's code: 0 is PLAINTEXT.
    pub security_protocol: i16,
}

/// A feature and the levels of it that a node understands, bounds included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Supported {
    /// The feature's name.
    pub name: String,
    /// The least level.
    pub min: i16,
    /// The greatest level.
    pub max: i16,
}

/// A broker as it registered and what became of it since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its id.
    pub id: BrokerId,
    /// Another one with every start of the process.
    pub incarnation_id: Uuid,
    /// The offset of its registration.
    pub epoch: i64,
    /// Where clients reach it.
    pub listeners: Vec<Endpoint>,
    /// What it understands.
    pub features: Vec<Supported>,
    /// Its rack.
    pub rack: Option<String>,
    /// Whether it is kept from leading anything.
    pub is_fenced: bool,
    /// Whether it is handing over before it stops.
    pub is_shutting_down: bool,
    /// Its log directories.
    pub directories: Vec<Uuid>,
    /// Those of them that get no new partitions; none if it never said.
    pub cordoned: Option<Vec<Uuid>>,
}

/// A controller as it registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerNode {
    /// Its id.
    pub id: BrokerId,
    /// Another one with every start of the process.
    pub incarnation_id: Uuid,
    /// Where other nodes reach it.
    pub listeners: Vec<Endpoint>,
    /// What it understands.
    pub features: Vec<Supported>,
}

impl Broker {
    /// Whether it may lead and hold replicas in sync.
    pub fn is_active(&self) -> bool {
        !self.is_fenced && !self.is_shutting_down
    }

    pub(super) fn of(record: &RegisterBrokerRecord<'_>) -> Broker {
        let listeners = record.end_points.iter().map(|one| Endpoint {
            name: one.name.to_owned(),
            host: one.host.to_owned(),
            port: one.port,
            security_protocol: one.security_protocol,
        });
        let features = record.features.iter().map(|one| Supported {
            name: one.name.to_owned(),
            min: one.min_supported_version,
            max: one.max_supported_version,
        });
        Broker {
            id: BrokerId(record.broker_id),
            incarnation_id: record.incarnation_id,
            epoch: record.broker_epoch,
            listeners: listeners.collect(),
            features: features.collect(),
            rack: record.rack.map(str::to_owned),
            is_fenced: record.fenced,
            is_shutting_down: record.in_controlled_shutdown,
            directories: record.log_dirs.clone(),
            cordoned: record.cordoned_log_dirs.clone(),
        }
    }

    /// The record that registers it as it is.
    pub(crate) fn record(&self) -> RegisterBrokerRecord<'_> {
        let end_points = self
            .listeners
            .iter()
            .map(|one| register_broker_record::BrokerEndpoint {
                name: &one.name,
                host: &one.host,
                port: one.port,
                security_protocol: one.security_protocol,
            });
        let features = self
            .features
            .iter()
            .map(|one| register_broker_record::BrokerFeature {
                name: &one.name,
                min_supported_version: one.min,
                max_supported_version: one.max,
            });
        RegisterBrokerRecord {
            broker_id: self.id.0,
            is_migrating_zk_broker: false,
            incarnation_id: self.incarnation_id,
            broker_epoch: self.epoch,
            end_points: end_points.collect(),
            features: features.collect(),
            rack: self.rack.as_deref(),
            fenced: self.is_fenced,
            in_controlled_shutdown: self.is_shutting_down,
            log_dirs: self.directories.clone(),
            cordoned_log_dirs: self.cordoned.clone(),
        }
    }

    pub(super) fn change(&mut self, record: &BrokerRegistrationChangeRecord) -> Result<(), ApplyError> {
        self.check_epoch(record.broker_epoch)?;
        match record.fenced {
            1 => self.is_fenced = true,
            -1 => self.is_fenced = false,
            _ => {}
        }
        if record.in_controlled_shutdown == 1 {
            self.is_shutting_down = true;
        }
        if !record.log_dirs.is_empty() {
            self.directories = record.log_dirs.clone();
        }
        if let Some(cordoned) = &record.cordoned_log_dirs {
            self.cordoned = Some(cordoned.clone());
        }
        Ok(())
    }

    pub(super) fn check_epoch(&self, epoch: i64) -> Result<(), ApplyError> {
        if self.epoch == epoch {
            Ok(())
        } else {
            Err(ApplyError::BrokerEpoch(self.id, epoch))
        }
    }
}

impl ControllerNode {
    pub(super) fn of(record: &RegisterControllerRecord<'_>) -> ControllerNode {
        let listeners = record.end_points.iter().map(|one| Endpoint {
            name: one.name.to_owned(),
            host: one.host.to_owned(),
            port: one.port,
            security_protocol: one.security_protocol,
        });
        let features = record.features.iter().map(|one| Supported {
            name: one.name.to_owned(),
            min: one.min_supported_version,
            max: one.max_supported_version,
        });
        ControllerNode {
            id: BrokerId(record.controller_id),
            incarnation_id: record.incarnation_id,
            listeners: listeners.collect(),
            features: features.collect(),
        }
    }

    /// The record that registers it.
    pub(crate) fn record(&self) -> RegisterControllerRecord<'_> {
        let end_points = self
            .listeners
            .iter()
            .map(|one| register_controller_record::ControllerEndpoint {
                name: &one.name,
                host: &one.host,
                port: one.port,
                security_protocol: one.security_protocol,
            });
        let features = self
            .features
            .iter()
            .map(|one| register_controller_record::ControllerFeature {
                name: &one.name,
                min_supported_version: one.min,
                max_supported_version: one.max,
            });
        RegisterControllerRecord {
            controller_id: self.id.0,
            incarnation_id: self.incarnation_id,
            zk_migration_ready: false,
            end_points: end_points.collect(),
            features: features.collect(),
        }
    }
}
