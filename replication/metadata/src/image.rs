//! The metadata image: all that the records of `__cluster_metadata` say, up to one offset.
//!
//! What a newcomer would get wrong: an image is a value. Cloning costs a few reference counts and applying a
//! record to the clone copies only what the record touches, so the next image is made as `let mut next =
//! (*image).clone()`, and readers of the old one never notice. Only the committed log is applied to the image
//! that a broker serves from; the controller applies what it decides to one of its own.

pub mod brokers;
pub mod configs;
pub mod kept;
pub mod topics;

use protocol::messages::{ConfigRecord, FeatureLevelRecord, MetadataRecord, ProducerIdsRecord, TopicRecord};
use protocol::types::{BrokerId, ProducerId, TopicId};
use protocol::wire::{DecodeError, Reader};

use crate::map::Map;
use crate::records::Records;

use brokers::{Broker, ControllerNode};
use configs::Configs;
use kept::Kept;
use topics::Topics;

/// The feature that says which records may be written.
pub const METADATA_VERSION: &str = "metadata.version";
/// Decoding one record may allocate this much. The largest batch of the log is 8 MiB, and what is decoded
/// from one is larger than its bytes at most by the size of the structs.
const DECODE_BUDGET: usize = 64 << 20;

/// Everything the metadata log says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image {
    topics: Topics,
    brokers: Map<BrokerId, Broker>,
    controllers: Map<BrokerId, ControllerNode>,
    configs: Configs,
    features: Map<String, i16>,
    producer_ids: Option<ProducerIds>,
    kept: Kept,
}

/// How far producer ids have been handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIds {
    /// The broker that got the last block.
    pub broker_id: BrokerId,
    /// That broker's epoch.
    pub broker_epoch: i64,
    /// The first id that nobody has.
    pub next: ProducerId,
}

/// A record that cannot be applied: the log contradicts itself, or was written by a newer version. Kafka
/// gives up then, and so must a broker: an image without the record would be wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyError {
    /// The value is no metadata record that is known.
    Decode(DecodeError),
    /// A topic of this id or its name is already there.
    TopicExists(TopicId),
    /// No topic has this id.
    UnknownTopic(TopicId),
    /// No topic has this name.
    UnknownTopicName(String),
    /// The topic has no such partition, or could not have.
    UnknownPartition(TopicId, i32),
    /// No such broker is registered.
    UnknownBroker(BrokerId),
    /// The record means another registration of the broker.
    BrokerEpoch(BrokerId, i64),
    /// No such controller is registered.
    UnknownController(BrokerId),
    /// A metadata transaction begins within another, or ends without having begun.
    Transaction,
}

impl std::fmt::Display for ApplyError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ApplyError::Decode(error) => write!(out, "a metadata record cannot be read: {error}"),
            ApplyError::TopicExists(id) => write!(out, "topic {id} is created twice"),
            ApplyError::UnknownTopic(id) => write!(out, "topic {id} is changed and does not exist"),
            ApplyError::UnknownTopicName(name) => write!(out, "topic {name} is changed and does not exist"),
            ApplyError::UnknownPartition(id, index) => write!(out, "topic {id} has no partition {index}"),
            ApplyError::UnknownBroker(id) => write!(out, "broker {id} is changed and not registered"),
            ApplyError::BrokerEpoch(id, epoch) => write!(out, "broker {id} has another epoch than {epoch}"),
            ApplyError::UnknownController(id) => write!(out, "controller {id} is removed and not registered"),
            ApplyError::Transaction => out.write_str("metadata transactions overlap"),
        }
    }
}

impl std::error::Error for ApplyError {}

impl From<DecodeError> for ApplyError {
    fn from(error: DecodeError) -> Self {
        ApplyError::Decode(error)
    }
}

impl Image {
    /// The topics.
    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    /// The brokers, in the order of their ids.
    pub fn brokers(&self) -> impl Iterator<Item = &Broker> {
        self.brokers.iter().map(|(_, broker)| broker)
    }

    /// The broker of this id.
    pub fn broker(&self, id: BrokerId) -> Option<&Broker> {
        self.brokers.get(&id)
    }

    /// The controllers, in the order of their ids.
    pub fn controllers(&self) -> impl Iterator<Item = &ControllerNode> {
        self.controllers.iter().map(|(_, controller)| controller)
    }

    /// The dynamic settings.
    pub fn configs(&self) -> &Configs {
        &self.configs
    }

    /// The features that are switched on with their levels, by name; never level 0.
    pub fn features(&self) -> impl Iterator<Item = (&str, i16)> {
        self.features.iter().map(|(name, level)| (name.as_str(), *level))
    }

    /// The level of a feature; 0 is off.
    pub fn feature(&self, name: &str) -> i16 {
        self.features.get(name).copied().unwrap_or(0)
    }

    /// How far producer ids have been handed out; none if never.
    pub fn producer_ids(&self) -> Option<ProducerIds> {
        self.producer_ids
    }

    /// What is kept without being understood.
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Applies one record, as it stands in the log. Transactions are the business of the
    /// [`Loader`](crate::loader::Loader); their records do nothing here. After an error the image is
    /// unchanged.
    pub fn apply(&mut self, value: &[u8]) -> Result<(), ApplyError> {
        let (record, _) = MetadataRecord::decode(&mut Reader::new(value, DECODE_BUDGET))?;
        self.apply_record(&record, value)
    }

    pub(crate) fn apply_record(
        &mut self,
        record: &MetadataRecord<'_>,
        value: &[u8],
    ) -> Result<(), ApplyError> {
        match record {
            MetadataRecord::RegisterBroker(one) => {
                drop(self.brokers.insert(BrokerId(one.broker_id), Broker::of(one)))
            }
            MetadataRecord::UnregisterBroker(one) => {
                self.broker_mut(one.broker_id)?.check_epoch(one.broker_epoch)?;
                self.brokers.remove(&BrokerId(one.broker_id));
            }
            MetadataRecord::BrokerRegistrationChange(one) => self.broker_mut(one.broker_id)?.change(one)?,
            MetadataRecord::FenceBroker(one) => self.fence(one.id, one.epoch, true)?,
            MetadataRecord::UnfenceBroker(one) => self.fence(one.id, one.epoch, false)?,
            MetadataRecord::RegisterController(one) => {
                self.controllers
                    .insert(BrokerId(one.controller_id), ControllerNode::of(one));
            }
            MetadataRecord::UnregisterController(one) => {
                let id = BrokerId(one.controller_id);
                self.controllers
                    .remove(&id)
                    .ok_or(ApplyError::UnknownController(id))?;
            }
            MetadataRecord::Topic(one) => self.topics.add(one.name, one.topic_id)?,
            MetadataRecord::Partition(one) => self.topics.put_partition(one)?,
            MetadataRecord::PartitionChange(one) => self.topics.change_partition(one)?,
            MetadataRecord::ClearElr(one) => self.topics.clear_eligible(one.topic_name)?,
            MetadataRecord::RemoveTopic(one) => {
                let name = self.topics.remove(one.topic_id)?;
                self.configs.remove(configs::TOPIC, &name);
            }
            MetadataRecord::Config(one) => {
                self.configs
                    .set(one.resource_type, one.resource_name, one.name, one.value)
            }
            MetadataRecord::FeatureLevel(one) => self.set_feature(one.name, one.feature_level),
            MetadataRecord::ProducerIds(one) => self.producer_ids = Some(ProducerIds::of(one)),
            MetadataRecord::NoOp(_)
            | MetadataRecord::ZkMigrationState(_)
            | MetadataRecord::BeginTransaction(_)
            | MetadataRecord::EndTransaction(_)
            | MetadataRecord::AbortTransaction(_) => {}
            MetadataRecord::ClientQuota(_)
            | MetadataRecord::UserScramCredential(_)
            | MetadataRecord::RemoveUserScramCredential(_)
            | MetadataRecord::AccessControlEntry(_)
            | MetadataRecord::RemoveAccessControlEntry(_)
            | MetadataRecord::DelegationToken(_)
            | MetadataRecord::RemoveDelegationToken(_) => {
                let is_kept = self.kept.apply(record, value);
                debug_assert!(is_kept, "every record named here is kept");
            }
        }
        Ok(())
    }

    /// The records that make this image out of an empty one, in the order that Kafka writes them
    /// (`ImageWriter`).
    pub fn records(&self) -> Records {
        let mut records = Records::default();
        self.write_features(&mut records);
        for (_, controller) in self.controllers.iter() {
            records.push(&MetadataRecord::RegisterController(controller.record()));
        }
        for (_, broker) in self.brokers.iter() {
            records.push(&MetadataRecord::RegisterBroker(broker.record()));
        }
        for topic in self.topics.iter() {
            records.push(&MetadataRecord::Topic(TopicRecord {
                name: &topic.name,
                topic_id: topic.id,
            }));
            for (index, partition) in topic.partitions() {
                records.push(&MetadataRecord::Partition(partition.record(topic.id, index)));
            }
        }
        for (resource_type, resource_name, settings) in self.configs.iter() {
            for (name, value) in settings {
                let value = Some(value.as_str());
                let record = ConfigRecord {
                    resource_type,
                    resource_name,
                    name,
                    value,
                };
                records.push(&MetadataRecord::Config(record));
            }
        }
        if let Some(ids) = &self.producer_ids {
            records.push(&MetadataRecord::ProducerIds(ids.record()));
        }
        self.kept.write(&mut records);
        records
    }

    /// metadata.version comes first: it decides how all that follows is read.
    fn write_features(&self, records: &mut Records) {
        let (first, rest): (Vec<_>, Vec<_>) =
            self.features().partition(|(name, _)| *name == METADATA_VERSION);
        for (name, feature_level) in first.into_iter().chain(rest) {
            records.push(&MetadataRecord::FeatureLevel(FeatureLevelRecord {
                name,
                feature_level,
            }));
        }
    }

    fn broker_mut(&mut self, id: i32) -> Result<&mut Broker, ApplyError> {
        self.brokers
            .get_mut(&BrokerId(id))
            .ok_or(ApplyError::UnknownBroker(BrokerId(id)))
    }

    fn fence(&mut self, id: i32, epoch: i64, is_fenced: bool) -> Result<(), ApplyError> {
        let broker = self.broker_mut(id)?;
        broker.check_epoch(epoch)?;
        broker.is_fenced = is_fenced;
        Ok(())
    }

    fn set_feature(&mut self, name: &str, level: i16) {
        match level {
            0 => drop(self.features.remove(name)),
            _ => drop(self.features.insert(name.to_owned(), level)),
        }
    }
}

impl ProducerIds {
    fn of(record: &ProducerIdsRecord) -> ProducerIds {
        ProducerIds {
            broker_id: BrokerId(record.broker_id),
            broker_epoch: record.broker_epoch,
            next: ProducerId(record.next_producer_id),
        }
    }

    fn record(&self) -> ProducerIdsRecord {
        ProducerIdsRecord {
            broker_id: self.broker_id.0,
            broker_epoch: self.broker_epoch,
            next_producer_id: self.next.0,
        }
    }
}
