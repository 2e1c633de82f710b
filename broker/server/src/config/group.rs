//! Settings of one group, as they are described (`GroupConfig`).
//!
//! What a newcomer would get wrong: nothing acts on them yet. Most take their value from a broker setting of another name,
//! which is then what stands behind them.

use super::describe::{Entry, Source, Synonym};
use super::{Config, Overrides, find};

const BOOLEAN: i8 = 1;
const TEXT: i8 = 2;
const INT: i8 = 3;
const LIST: i8 = 7;

/// Name, code of the type, and the broker setting that it takes its value from.
const INHERITED: [(&str, i8, &str); 16] = [
    (
        "consumer.assignment.interval.ms",
        INT,
        "group.consumer.assignment.interval.ms",
    ),
    (
        "consumer.heartbeat.interval.ms",
        INT,
        "group.consumer.heartbeat.interval.ms",
    ),
    (
        "consumer.session.timeout.ms",
        INT,
        "group.consumer.session.timeout.ms",
    ),
    (
        "share.assignment.interval.ms",
        INT,
        "group.share.assignment.interval.ms",
    ),
    (
        "share.delivery.count.limit",
        INT,
        "group.share.delivery.count.limit",
    ),
    (
        "share.heartbeat.interval.ms",
        INT,
        "group.share.heartbeat.interval.ms",
    ),
    (
        "share.partition.max.record.locks",
        INT,
        "group.share.partition.max.record.locks",
    ),
    (
        "share.record.lock.duration.ms",
        INT,
        "group.share.record.lock.duration.ms",
    ),
    ("share.session.timeout.ms", INT, "group.share.session.timeout.ms"),
    (
        "streams.assignment.interval.ms",
        INT,
        "group.streams.assignment.interval.ms",
    ),
    ("streams.assignor.name", TEXT, "group.streams.assignors"),
    (
        "streams.heartbeat.interval.ms",
        INT,
        "group.streams.heartbeat.interval.ms",
    ),
    (
        "streams.initial.rebalance.delay.ms",
        INT,
        "group.streams.initial.rebalance.delay.ms",
    ),
    (
        "streams.num.standby.replicas",
        INT,
        "group.streams.num.standby.replicas",
    ),
    (
        "streams.rack.aware.assignment.tags",
        LIST,
        "group.streams.rack.aware.assignment.tags",
    ),
    (
        "streams.session.timeout.ms",
        INT,
        "group.streams.session.timeout.ms",
    ),
];

/// Name, code of the type, default and help of those that no broker setting stands behind.
const OWN: [(&str, i8, &str, &str); 5] = [
    (
        "errors.deadletterqueue.copy.record.enable",
        BOOLEAN,
        "false",
        "Whether a record that goes to the dead-letter topic is copied there in full.",
    ),
    (
        "errors.deadletterqueue.topic.name",
        TEXT,
        "",
        "The dead-letter topic of a share group; none if empty.",
    ),
    (
        "share.auto.offset.reset",
        TEXT,
        "latest",
        "Where a share group begins to read a partition.",
    ),
    (
        "share.isolation.level",
        TEXT,
        "read_uncommitted",
        "Which records of transactions a share group reads.",
    ),
    (
        "share.renew.acknowledge.enable",
        BOOLEAN,
        "true",
        "Whether members of a share group may renew the lock of a record.",
    ),
];

impl Config {
    /// A group's settings in the order of their names, whether or not there is such a group.
    pub fn describe_group(&self, group: &Overrides, broker: &Overrides, cluster: &Overrides) -> Vec<Entry> {
        let inherited = INHERITED.iter().filter_map(|(name, kind, of_broker)| {
            let setting = find(of_broker)?;
            let from_broker = self.synonyms_of(setting, broker, cluster);
            Some(entry(name, *kind, group, from_broker, setting.help))
        });
        let own = OWN.iter().map(|(name, kind, default, help)| {
            let default = Synonym {
                name: (*name).to_owned(),
                value: Some((*default).to_owned()),
                source: Source::Default,
            };
            entry(name, *kind, group, vec![default], help)
        });
        let mut entries: Vec<Entry> = inherited.chain(own).collect();
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        entries
    }
}

fn entry(name: &str, kind: i8, group: &Overrides, behind: Vec<Synonym>, help: &'static str) -> Entry {
    let of_group = group.get(name).map(|value| Synonym {
        name: name.to_owned(),
        value: Some(value.clone()),
        source: Source::Group,
    });
    let synonyms: Vec<Synonym> = of_group.into_iter().chain(behind).collect();
    Entry {
        name: name.to_owned(),
        value: synonyms.first().and_then(|first| first.value.clone()),
        source: synonyms.first().map_or(Source::Default, |first| first.source),
        is_read_only: false,
        is_sensitive: false,
        kind,
        synonyms,
        documentation: help,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Sources, load};
    use super::*;

    #[test]
    fn a_group_has_what_apache_kafka_says() {
        let overrides = ["group.consumer.session.timeout.ms=50000".to_owned()];
        let config = load(&Sources {
            overrides: &overrides,
            ..Sources::default()
        });
        let config = config.expect("good settings");
        let none = Overrides::new();
        let group = Overrides::from([("share.isolation.level".to_owned(), "read_committed".to_owned())]);
        let entries = config.describe_group(&group, &none, &none);
        assert_eq!(
            entries.len(),
            INHERITED.len() + OWN.len(),
            "every broker setting is known"
        );
        let check = |name: &str, value: &str, source: Source, synonyms: &[&str]| {
            let found = entries.iter().find(|entry| entry.name == name).expect(name);
            let names: Vec<&str> = found.synonyms.iter().map(|one| one.name.as_str()).collect();
            assert_eq!(
                (found.value.as_deref(), found.source),
                (Some(value), source),
                "{name}"
            );
            assert_eq!(names, synonyms, "{name}");
        };
        let session = "group.consumer.session.timeout.ms";
        check(
            "consumer.session.timeout.ms",
            "50000",
            Source::Static,
            &[session, session],
        );
        let heartbeat = "group.consumer.heartbeat.interval.ms";
        check(
            "consumer.heartbeat.interval.ms",
            "5000",
            Source::Default,
            &[heartbeat],
        );
        check(
            "streams.assignor.name",
            "sticky",
            Source::Default,
            &["group.streams.assignors"],
        );
        let isolation = "share.isolation.level";
        check(
            isolation,
            "read_committed",
            Source::Group,
            &[isolation, isolation],
        );
    }
}
