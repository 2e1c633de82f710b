//! Dynamic settings of topics, brokers, client metrics and groups.
//!
//! What a newcomer would get wrong: the broker resource with the empty name holds the settings of all
//! brokers; values are kept as they were sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::map::Map;

/// What kind of thing a setting belongs to (`ConfigResource.Type`).
pub const TOPIC: i8 = 2;
/// See [`TOPIC`].
pub const BROKER: i8 = 4;

/// The settings of one resource, by name.
pub type Settings = BTreeMap<String, String>;

/// All dynamic settings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Configs {
    resources: Map<(i8, Arc<str>), Arc<Settings>>,
}

impl Configs {
    /// The settings of a topic.
    pub fn topic(&self, name: &str) -> Arc<Settings> {
        self.of(TOPIC, name)
    }

    /// The settings of one broker.
    pub fn broker(&self, id: protocol::types::BrokerId) -> Arc<Settings> {
        self.of(BROKER, &id.0.to_string())
    }

    /// The settings of all brokers.
    pub fn cluster(&self) -> Arc<Settings> {
        self.of(BROKER, "")
    }

    /// The settings of a resource; empty if it has none.
    pub fn of(&self, kind: i8, name: &str) -> Arc<Settings> {
        self.resources
            .get(&(kind, Arc::from(name)))
            .cloned()
            .unwrap_or_default()
    }

    /// All resources with settings, in the order of kind and name.
    pub fn iter(&self) -> impl Iterator<Item = (i8, &str, &Settings)> {
        self.resources
            .iter()
            .map(|((kind, name), settings)| (*kind, &**name, &**settings))
    }

    /// Sets or, without a value, removes one.
    pub(super) fn set(&mut self, kind: i8, resource: &str, name: &str, value: Option<&str>) {
        let key = (kind, Arc::from(resource));
        let mut settings = self.resources.get(&key).cloned().unwrap_or_default();
        let changed = Arc::make_mut(&mut settings);
        match value {
            Some(value) => drop(changed.insert(name.to_owned(), value.to_owned())),
            None => drop(changed.remove(name)),
        }
        match changed.is_empty() {
            true => drop(self.resources.remove(&key)),
            false => drop(self.resources.insert(key, settings)),
        }
    }

    pub(super) fn remove(&mut self, kind: i8, resource: &str) {
        self.resources.remove(&(kind, Arc::from(resource)));
    }
}
