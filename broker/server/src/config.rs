//! The one list of settings, and how a broker's settings are read from file, environment and command line.
//!
//! What a newcomer would get wrong: every value stays text here, known or not, because DescribeConfigs
//! answers all of them; what the broker acts on is the typed [`Settings`]. A key that Kafka does not know is
//! kept and named in one warning, one that begins with `klamm.` and is not in the list is an error.

mod broker;
mod cluster;
mod describe;
mod environment;
mod group;
mod groups;
mod klamm;
mod limits;
mod listeners;
mod manual;
mod properties;
mod security;
mod setting;
mod settings;
mod suggest;
mod tiered;
mod topic;
mod topics;

use std::collections::BTreeMap;
use std::fmt;

pub use describe::{Entry, Source, Synonym, describe_client_metrics};
pub use environment::LogLevels;
pub use limits::{Machine, batch_bytes_max, check_batches};
pub use listeners::{Listener, Listeners, SecurityProtocol};
pub use manual::manual;
pub use setting::{Change, Kind, Role, Setting};
pub use settings::{Durability, Quorum, Settings, Topics};
pub use topics::{TimestampType, TopicSettings, check_topic};

/// Where settings come from, the weakest first: the list's defaults, the file, the environment, the command
/// line.
#[derive(Debug, Default)]
pub struct Sources<'a> {
    /// The bytes of `server.properties`.
    pub file: Option<&'a [u8]>,
    /// All environment variables; those that are no settings are passed over.
    pub environment: &'a [(String, String)],
    /// `key=value` from the command line, in order.
    pub overrides: &'a [String],
    /// What is true of the machine.
    pub host: Host,
}

/// What the settings need to know of the machine.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// Its name, as other machines know it.
    pub name: String,
    /// Bytes of memory that host and cgroup allow this process.
    pub memory_bytes: u64,
}

/// Dynamic settings, by name, as the metadata image holds them for one resource.
pub type Overrides = BTreeMap<String, String>;

/// A broker's settings: every text that was given, and the typed values of what it acts on.
#[derive(Debug)]
pub struct Config {
    /// What was given, checked and trimmed; nothing that came from a default.
    given: BTreeMap<String, String>,
    /// Defaults that depend on the machine.
    computed: BTreeMap<&'static str, String>,
    /// What the broker acts on.
    pub settings: Settings,
    /// How much is logged.
    pub log: LogLevels,
    /// One sentence that names all that does nothing here, for the log.
    pub warning: Option<String>,
}

/// One thing that is wrong with the settings: a line that names the key, its value and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem(String);

impl Problem {
    fn value(name: &str, value: &str, must: &str) -> Problem {
        let secret = find(name).is_some_and(Setting::is_sensitive);
        Problem(format!(
            "{name}={}: {must}",
            if secret { "[hidden]" } else { value }
        ))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Problem {}

/// Reads all settings of a broker.
///
/// Without a single setting this is a working node of its own: see the defaults in the list. The error is
/// the first thing that is wrong, one line for people.
pub fn load(sources: &Sources<'_>) -> Result<Config, Problem> {
    let gathered = gather(sources)?;
    let mut given = BTreeMap::new();
    for (name, value) in gathered {
        let value = match find(&name) {
            Some(setting) => setting
                .check(&value)
                .map_err(|allowed| Problem::value(&name, &value, &format!("must be {allowed}")))?,
            None if name.starts_with("klamm.") => return Err(unknown_of_ours(&name, &value)),
            None => value,
        };
        given.insert(name, value);
    }
    let (log, loggers) = environment::log_levels(sources.environment)?;
    let warning = warning(&given, &loggers);
    let mut config = Config {
        computed: settings::computed(&given, &sources.host),
        given,
        settings: Settings::default(),
        log,
        warning,
    };
    config.settings = settings::read(&config, sources)?;
    Ok(config)
}

impl Config {
    /// The value of a setting of the list: what was given, else its default.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.given
            .get(name)
            .map(String::as_str)
            .or_else(|| self.default(name))
    }

    /// Whether somebody set `name`.
    pub fn is_given(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    fn default(&self, name: &str) -> Option<&str> {
        self.computed
            .get(name)
            .map(String::as_str)
            .or_else(|| find(name).and_then(|setting| setting.default))
    }
}

/// All settings of a broker, by name.
pub fn broker_settings() -> impl Iterator<Item = &'static Setting> {
    let mut all: Vec<&'static Setting> = broker::SETTINGS
        .iter()
        .chain(cluster::SETTINGS)
        .chain(groups::SETTINGS)
        .chain(klamm::SETTINGS)
        .chain(security::SETTINGS)
        .chain(tiered::SETTINGS)
        .collect();
    all.sort_by_key(|setting| setting.name);
    all.into_iter()
}

/// All settings of a topic, by name.
pub fn topic_settings() -> impl Iterator<Item = &'static Setting> {
    topic::SETTINGS.iter()
}

/// The broker setting of this name.
pub fn find(name: &str) -> Option<&'static Setting> {
    [
        broker::SETTINGS,
        cluster::SETTINGS,
        groups::SETTINGS,
        klamm::SETTINGS,
        security::SETTINGS,
        tiered::SETTINGS,
    ]
    .into_iter()
    .find_map(|table| find_in(table, name))
}

/// The topic setting of this name.
pub fn find_topic(name: &str) -> Option<&'static Setting> {
    find_in(topic::SETTINGS, name)
}

/// Tables are sorted by name; a test holds them to it.
fn find_in(table: &'static [Setting], name: &str) -> Option<&'static Setting> {
    table
        .binary_search_by(|setting| setting.name.cmp(name))
        .ok()
        .and_then(|at| table.get(at))
}

fn gather(sources: &Sources<'_>) -> Result<BTreeMap<String, String>, Problem> {
    let file = properties::parse(sources.file.unwrap_or_default());
    let mut all: BTreeMap<String, String> = file.into_iter().map(|(key, value, _)| (key, value)).collect();
    for (variable, value) in sources.environment {
        if let Some(name) = environment::setting_name(variable) {
            all.insert(name, value.clone());
        }
    }
    for text in sources.overrides {
        let (name, value) = text
            .split_once('=')
            .filter(|(name, _)| !name.trim().is_empty())
            .ok_or_else(|| Problem(format!("--override {text}: must be KEY=VALUE")))?;
        all.insert(name.trim().to_owned(), value.to_owned());
    }
    Ok(all)
}

fn unknown_of_ours(name: &str, value: &str) -> Problem {
    let ours: Vec<&str> = klamm::SETTINGS.iter().map(|setting| setting.name).collect();
    let allowed = match suggest::nearest(name, ours.iter().copied()) {
        Some(near) => format!("there is no such setting, did you mean {near}?"),
        None => format!("there is no such setting, there are {}", ours.join(", ")),
    };
    Problem::value(name, value, &allowed)
}

fn warning(given: &BTreeMap<String, String>, loggers: &[String]) -> Option<String> {
    let mut idle = Vec::new();
    let mut unknown = Vec::new();
    for name in given.keys() {
        match find(
            name.rsplit_once("listener.name.")
                .map_or(name, |_| "ssl.protocol"),
        ) {
            Some(setting) if setting.role == Role::Acted => {}
            Some(_) => idle.push(name.clone()),
            None => match suggest::nearest(name, broker_settings().map(|setting| setting.name)) {
                Some(near) => unknown.push(format!("{name} (did you mean {near}?)")),
                None => unknown.push(name.clone()),
            },
        }
    }
    let idle = (!idle.is_empty()).then(|| format!("settings that do nothing here yet: {}", idle.join(", ")));
    let unknown =
        (!unknown.is_empty()).then(|| format!("settings that nobody knows: {}", unknown.join(", ")));
    let loggers =
        (!loggers.is_empty()).then(|| format!("loggers that do not exist here: {}", loggers.join(", ")));
    let parts: Vec<String> = idle.into_iter().chain(unknown).chain(loggers).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

#[cfg(test)]
mod tests;
