//! What DescribeConfigs says of a broker or a topic.
//!
//! What a newcomer would get wrong: the synonyms of an entry are all values that could have been in force,
//! the one in force first; a secret is described without its value everywhere.

use super::setting::{Change, Role, Setting};
use super::topics::{in_units, synonyms};
use super::{Config, Overrides, broker_settings, find, topic_settings};

/// Where a value comes from (`DescribeConfigsResponse.ConfigSource`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The topic's own setting.
    Topic,
    /// A dynamic setting of this broker.
    Broker,
    /// A dynamic setting of all brokers.
    Cluster,
    /// The file, the environment or the command line.
    Static,
    /// The list.
    Default,
    /// The level of a logger.
    Logger,
    /// A setting of a subscription to clients' metrics.
    ClientMetrics,
    /// A dynamic one of the group.
    Group,
}

impl Source {
    /// Its code on the wire.
    pub fn code(self) -> i8 {
        match self {
            Source::Topic => 1,
            Source::Broker => 2,
            Source::Cluster => 3,
            Source::Static => 4,
            Source::Default => 5,
            Source::Logger => 6,
            Source::ClientMetrics => 7,
            Source::Group => 8,
        }
    }
}

/// One setting as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// The value in force; none if not set or secret.
    pub value: Option<String>,
    /// Where that comes from.
    pub source: Source,
    /// Whether it cannot change while the broker runs.
    pub is_read_only: bool,
    /// Whether it is a secret.
    pub is_sensitive: bool,
    /// The code of its type.
    pub kind: i8,
    /// All values that could have been in force.
    pub synonyms: Vec<Synonym>,
    /// What the setting does.
    pub documentation: &'static str,
}

/// A value that is in force, or would be without those before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synonym {
    /// The name of the setting it belongs to.
    pub name: String,
    /// The value; none for a secret.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: Source,
}

/// The code of a setting whose type nobody knows.
const UNKNOWN: i8 = 0;

/// What a subscription to clients' metrics has, with the codes of the types and the defaults (`ClientMetricsConfigs`).
const CLIENT_METRICS: [(&str, i8, &str, &str); 3] = [
    (
        "interval.ms",
        3,
        "300000",
        "How often clients send their metrics.",
    ),
    (
        "match",
        7,
        "",
        "Which clients, as selectors of the form NAME=PATTERN; all if empty.",
    ),
    (
        "metrics",
        7,
        "",
        "Prefixes of the metrics that are wanted; none if empty.",
    ),
];

/// A subscription to clients' metrics; one that nobody has made has the defaults.
pub fn describe_client_metrics(subscription: &Overrides) -> Vec<Entry> {
    let described = CLIENT_METRICS
        .into_iter()
        .map(|(name, kind, default, documentation)| {
            let given = subscription.get(name);
            let synonyms = given.map(|value| Synonym {
                name: name.to_owned(),
                value: Some(value.clone()),
                source: Source::ClientMetrics,
            });
            Entry {
                name: name.to_owned(),
                value: Some(given.map_or(default, String::as_str).to_owned()),
                source: given.map_or(Source::Default, |_| Source::ClientMetrics),
                is_read_only: false,
                is_sensitive: false,
                kind,
                synonyms: synonyms.into_iter().collect(),
                documentation,
            }
        });
    described.collect()
}

impl Config {
    /// The levels of this broker's loggers: one is told of, the root.
    pub fn describe_loggers(&self) -> Vec<Entry> {
        vec![Entry {
            name: "root".to_owned(),
            value: Some(self.log.root.to_string().to_uppercase()),
            source: Source::Logger,
            is_read_only: false,
            is_sensitive: false,
            kind: UNKNOWN,
            synonyms: Vec::new(),
            documentation: "",
        }]
    }

    /// This broker's settings in the order of their names, with its own dynamic ones and those of all
    /// brokers. Keys that nobody knows are among them, as secrets, as Kafka does.
    pub fn describe_broker(&self, broker: &Overrides, cluster: &Overrides) -> Vec<Entry> {
        let known = broker_settings().filter(|setting| setting.role != Role::Hidden);
        let mut entries: Vec<Entry> = known
            .map(|setting| entry(setting, self.synonyms_of(setting, broker, cluster)))
            .collect();
        let unknown = self.given.keys().filter(|name| find(name).is_none());
        entries.extend(unknown.map(|name| unknown_entry(name)));
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        entries
    }

    /// A topic's settings in the order of their names.
    pub fn describe_topic(&self, topic: &Overrides, broker: &Overrides, cluster: &Overrides) -> Vec<Entry> {
        let known = topic_settings().filter(|setting| setting.role != Role::Hidden);
        known
            .map(|setting| {
                let mut found = Vec::new();
                found.extend(
                    topic
                        .get(setting.name)
                        .map(|value| synonym(setting, value, Source::Topic)),
                );
                for (name, unit) in synonyms(setting.name) {
                    let Some(inherited) = find(name) else { continue };
                    let from_broker = self.synonyms_of(inherited, broker, cluster);
                    let value = |one: &Synonym| one.value.as_ref().map(|value| in_units(value, *unit));
                    found.extend(from_broker.into_iter().map(|one| Synonym {
                        value: value(&one),
                        ..one
                    }));
                }
                if synonyms(setting.name).is_empty() {
                    found.extend(
                        setting
                            .default
                            .map(|value| synonym(setting, value, Source::Default)),
                    );
                }
                entry(setting, found)
            })
            .collect()
    }

    pub(super) fn synonyms_of(
        &self,
        setting: &Setting,
        broker: &Overrides,
        cluster: &Overrides,
    ) -> Vec<Synonym> {
        let name = setting.name;
        let sources = [
            (broker.get(name).map(String::as_str), Source::Broker),
            (cluster.get(name).map(String::as_str), Source::Cluster),
            (self.given_or_older(name), Source::Static),
            (self.default(name), Source::Default),
        ];
        let found = sources
            .into_iter()
            .filter_map(|(value, source)| value.map(|value| (value, source)));
        found
            .map(|(value, source)| synonym(setting, value, source))
            .collect()
    }

    /// `node.id` and `broker.id` stand for each other.
    fn given_or_older(&self, name: &str) -> Option<&str> {
        let other = match name {
            "broker.id" => "node.id",
            "node.id" => "broker.id",
            _ => name,
        };
        self.given
            .get(name)
            .or_else(|| self.given.get(other))
            .map(String::as_str)
    }
}

fn entry(setting: &Setting, synonyms: Vec<Synonym>) -> Entry {
    Entry {
        name: setting.name.to_owned(),
        value: synonyms.first().and_then(|first| first.value.clone()),
        source: synonyms.first().map_or(Source::Default, |first| first.source),
        is_read_only: setting.change == Change::Restart,
        is_sensitive: setting.is_sensitive(),
        kind: setting.kind.code(),
        synonyms,
        documentation: setting.help,
    }
}

fn unknown_entry(name: &str) -> Entry {
    let synonyms = vec![Synonym {
        name: name.to_owned(),
        value: None,
        source: Source::Static,
    }];
    Entry {
        name: name.to_owned(),
        value: None,
        source: Source::Static,
        is_read_only: true,
        is_sensitive: true,
        kind: UNKNOWN,
        synonyms,
        documentation: "",
    }
}

fn synonym(setting: &Setting, value: &str, source: Source) -> Synonym {
    let value = (!setting.is_sensitive()).then(|| value.to_owned());
    Synonym {
        name: setting.name.to_owned(),
        value,
        source,
    }
}
