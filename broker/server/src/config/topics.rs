//! The settings of topics: checks of what clients ask for, and the values in force.
//!
//! What a newcomer would get wrong: a topic setting that nobody set takes the value of its broker synonym
//! (which may be dynamic, and may count in other units) and only then the list's default. Values are stored
//! as they were sent, spaces included, as Kafka does; they are trimmed when they are read.

use super::setting::list;
use super::{Config, Overrides, find_topic, suggest, topic, topic_settings};

/// The settings in force for one topic, as far as this version acts on them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    /// A segment is closed before it would grow beyond this many bytes.
    pub segment_bytes: u64,
    /// The largest batch, in bytes.
    pub max_message_bytes: usize,
    /// Whose time records carry.
    pub timestamp_type: TimestampType,
    /// How far a record's time may lie behind the broker's clock.
    pub timestamp_before_max_ms: i64,
    /// How far a record's time may lie ahead of the broker's clock.
    pub timestamp_after_max_ms: i64,
    /// Bytes between two entries of an index.
    pub index_interval_bytes: u32,
    /// Replicas that must be in sync for acks=all; never more than there are.
    pub min_insync_replicas: usize,
    /// Whether records must have keys.
    pub is_compacted: bool,
}

/// Whose time records carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// That of the append.
    LogAppendTime,
}

/// Checks the settings that a client wants for a topic. The error is a sentence for the client, to be sent
/// with INVALID_CONFIG (`ControllerConfigurationValidator`, `LogConfig.validate`).
pub fn check_topic(overrides: &Overrides) -> Result<(), String> {
    for (name, value) in overrides {
        let Some(setting) = find_topic(name) else {
            let near = suggest::nearest(name, topic_settings().map(|setting| setting.name));
            let near = near
                .map(|near| format!(", did you mean {near}?"))
                .unwrap_or_default();
            // Kafka Connect and several tools look for this text.
            return Err(format!("Unknown topic config name: {name}{near}"));
        };
        setting.check(value).map_err(|allowed| {
            format!("Invalid value {value} for configuration {name}: Value must be {allowed}")
        })?;
    }
    check_together(overrides)
}

fn check_together(overrides: &Overrides) -> Result<(), String> {
    let number = |name: &str| {
        let value = overrides.get(name).map(String::as_str);
        let default = find_topic(name).and_then(|setting| setting.default);
        value
            .or(default)
            .and_then(|value| value.trim().parse::<i64>().ok())
            .unwrap_or_default()
    };
    let (least, most) = (number("min.compaction.lag.ms"), number("max.compaction.lag.ms"));
    if least > most {
        let names = "conflict topic config setting min.compaction.lag.ms";
        return Err(format!("{names} ({least}) > max.compaction.lag.ms ({most})"));
    }
    let tiered = overrides
        .get("remote.storage.enable")
        .is_some_and(|on| on.trim().eq_ignore_ascii_case("true"));
    if tiered {
        return Err("Tiered Storage functionality is disabled in the broker. \
                    Topic cannot be configured with remote log storage."
            .to_owned());
    }
    Ok(())
}

impl Config {
    /// The settings in force for a topic, from its own (`topic`), those of this broker (`broker`) and those
    /// of all brokers (`cluster`). A value that is not allowed, which only a log written elsewhere could
    /// hold, counts as not set.
    pub fn topic(&self, topic: &Overrides, broker: &Overrides, cluster: &Overrides) -> TopicSettings {
        let text = |name: &str| self.topic_value(name, topic, broker, cluster);
        let number = |name: &str| text(name).parse::<i64>().unwrap_or_default();
        let bytes = |name: &str| number(name).max(0);
        TopicSettings {
            segment_bytes: bytes("segment.bytes") as u64,
            max_message_bytes: usize::try_from(bytes("max.message.bytes")).unwrap_or(usize::MAX),
            timestamp_type: match text("message.timestamp.type").as_str() {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            timestamp_before_max_ms: number("message.timestamp.before.max.ms"),
            timestamp_after_max_ms: number("message.timestamp.after.max.ms"),
            index_interval_bytes: u32::try_from(bytes("index.interval.bytes")).unwrap_or(u32::MAX),
            min_insync_replicas: usize::try_from(bytes("min.insync.replicas")).unwrap_or(usize::MAX),
            is_compacted: list(&text("cleanup.policy")).any(|policy| policy == "compact"),
        }
    }

    fn topic_value(&self, name: &str, topic: &Overrides, broker: &Overrides, cluster: &Overrides) -> String {
        let Some(setting) = find_topic(name) else {
            return String::new();
        };
        let own = topic.get(name).and_then(|value| setting.check(value).ok());
        let inherited = || {
            synonyms(name).iter().find_map(|(synonym, unit)| {
                let value = broker
                    .get(*synonym)
                    .or_else(|| cluster.get(*synonym))
                    .map(String::as_str);
                let value = value.or_else(|| self.given.get(*synonym).map(String::as_str))?;
                setting.check(&in_units(value, *unit)).ok()
            })
        };
        own.or_else(inherited)
            .unwrap_or_else(|| setting.default.unwrap_or_default().to_owned())
    }
}

/// The broker settings that a topic setting takes its value from, with the worth of one unit.
pub(super) fn synonyms(name: &str) -> &'static [(&'static str, i64)] {
    let found = topic::SYNONYMS
        .binary_search_by(|(topic, _)| (*topic).cmp(name))
        .ok();
    found
        .and_then(|at| topic::SYNONYMS.get(at))
        .map_or(&[], |(_, names)| *names)
}

/// `value` in the unit of the topic setting.
pub(super) fn in_units(value: &str, unit: i64) -> String {
    match value.trim().parse::<i64>() {
        // -1 is "for ever" in whatever unit.
        Ok(number) if unit != 1 && number >= 0 => number.saturating_mul(unit).to_string(),
        _ => value.trim().to_owned(),
    }
}
