//! The settings that this version acts on, as values of their own types.
//!
//! What a newcomer would get wrong: this is read once at the start; the values of topics are in
//! [`TopicSettings`](super::TopicSettings), since each topic may have its own.

use std::collections::BTreeMap;
use std::path::PathBuf;

use protocol::types::BrokerId;

use super::listeners::{Listener, Texts};
use super::setting::list;
use super::{Config, Host, Listeners, Problem, Sources};

/// What the broker acts on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// This node's id, 0 or more.
    pub node_id: BrokerId,
    /// The cluster an empty directory is formatted for; a new id when not set.
    pub cluster_id: Option<String>,
    /// How the one voter was named, which decides how an empty directory is formatted.
    pub quorum: Quorum,
    /// The rack told to clients.
    pub rack: Option<String>,
    /// The one log directory.
    pub data_dir: PathBuf,
    /// Where to listen and what to tell clients.
    pub listeners: Listeners,
    /// The cpu list, as it was written.
    pub cpus: Option<String>,
    /// The number of shards, 1 or more; one per cpu when not set.
    pub shards: Option<u16>,
    /// Memory of all shards together, in bytes.
    pub memory_bytes: u64,
    /// All journals together, in bytes.
    pub journal_bytes: u64,
    /// What an acknowledgement promises.
    pub durability: Durability,
    /// Topics that are created without saying more.
    pub topics: Topics,
    /// A connection without a request for this long is closed; 0 or less never.
    pub connections_max_idle_ms: i64,
    /// The largest request, in bytes, 1 or more.
    pub socket_request_max_bytes: i32,
    /// The largest answer to a fetch, in bytes, 1,024 or more.
    pub fetch_max_bytes: i32,
    /// Most partitions in one answer to DescribeTopicPartitions, 1 or more.
    pub max_request_partition_size: i32,
}

/// What an acknowledged record has survived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// A power cut.
    #[default]
    Sync,
}

/// How the quorum's one voter was named. Apache Kafka finds the voter of a `Dynamic` one in the log only, so
/// a directory formatted for it has the voter's record (KIP-853, kraft.version 1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quorum {
    /// By `controller.quorum.voters`, or not at all.
    #[default]
    Static,
    /// By `controller.quorum.bootstrap.servers`.
    Dynamic,
}

/// How topics come and go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topics {
    /// Whether a topic asked for by name is created.
    pub auto_create: bool,
    /// Whether topics may be deleted.
    pub delete: bool,
    /// Partitions of a topic created without saying how many, 1 or more.
    pub num_partitions: i32,
    /// Replicas of a topic created without saying how many, 1 or more.
    pub default_replication_factor: i16,
}

const MIB: u64 = 1 << 20;

/// Defaults that depend on the machine, or on whether anything was set at all.
pub(super) fn computed(given: &BTreeMap<String, String>, host: &Host) -> BTreeMap<&'static str, String> {
    let alone = given.is_empty();
    // The bound below keeps the default allowed on the smallest machines.
    let memory = if alone {
        512 * MIB
    } else {
        (host.memory_bytes / 4).max(64 * MIB)
    };
    // What a start after a crash reads: with twice as much, one shard alone takes more than half a second.
    let journal = if alone { 128 * MIB } else { 256 * MIB };
    BTreeMap::from([
        ("klamm.memory.bytes", memory.to_string()),
        ("klamm.journal.bytes", journal.to_string()),
    ])
}

pub(super) fn read(config: &Config, sources: &Sources<'_>) -> Result<Settings, Problem> {
    let roles: Vec<&str> = list(config.value("process.roles").unwrap_or_default()).collect();
    if !(roles.contains(&"broker") && roles.contains(&"controller")) {
        return Err(wrong(
            config,
            "process.roles",
            "must be broker,controller: other nodes come later",
        ));
    }
    let node_id = node_id(config)?;
    let listeners = listeners(config, &sources.host)?;
    Ok(Settings {
        node_id: BrokerId(node_id),
        cluster_id: cluster_id(sources)?,
        quorum: quorum(config, node_id, &listeners)?,
        rack: config
            .value("broker.rack")
            .filter(|rack| !rack.is_empty())
            .map(str::to_owned),
        data_dir: data_dir(config)?,
        listeners,
        cpus: config.value("klamm.cpus").map(str::to_owned),
        shards: config
            .value("klamm.shards")
            .map(|_| number(config, "klamm.shards"))
            .transpose()?,
        memory_bytes: number(config, "klamm.memory.bytes")?,
        journal_bytes: number(config, "klamm.journal.bytes")?,
        durability: Durability::Sync,
        topics: Topics {
            auto_create: flag(config, "auto.create.topics.enable"),
            delete: flag(config, "delete.topic.enable"),
            num_partitions: number(config, "num.partitions")?,
            default_replication_factor: number(config, "default.replication.factor")?,
        },
        connections_max_idle_ms: number(config, "connections.max.idle.ms")?,
        socket_request_max_bytes: number(config, "socket.request.max.bytes")?,
        fetch_max_bytes: number(config, "fetch.max.bytes")?,
        max_request_partition_size: number(config, "max.request.partition.size.limit")?,
    })
}

fn wrong(config: &Config, name: &str, must: &str) -> Problem {
    Problem::value(name, config.value(name).unwrap_or_default(), must)
}

pub(super) fn number<T: std::str::FromStr>(config: &Config, name: &str) -> Result<T, Problem> {
    let value = config.value(name).unwrap_or_default();
    value
        .parse()
        .map_err(|_| Problem::value(name, value, "must be a smaller number, not below 0"))
}

fn flag(config: &Config, name: &str) -> bool {
    config
        .value(name)
        .is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

fn node_id(config: &Config) -> Result<i32, Problem> {
    let older: i32 = number(config, "broker.id")?;
    if !config.is_given("node.id") && older >= 0 {
        return Ok(older);
    }
    let id = number(config, "node.id")?;
    if older >= 0 && older != id {
        return Err(wrong(
            config,
            "broker.id",
            &format!("must be the same as node.id={id}"),
        ));
    }
    Ok(id)
}

fn cluster_id(sources: &Sources<'_>) -> Result<Option<String>, Problem> {
    let given = sources
        .environment
        .iter()
        .rev()
        .find(|(name, _)| name == "CLUSTER_ID");
    match given.map(|(_, value)| value.trim()) {
        None => Ok(None),
        Some("") => Err(Problem::value(
            "CLUSTER_ID",
            "",
            "must be the id of a cluster, 22 characters as a rule",
        )),
        Some(id) if id.chars().all(|c| c.is_ascii_graphic() && c != '\\') => Ok(Some(id.to_owned())),
        Some(id) => Err(Problem::value(
            "CLUSTER_ID",
            &id.escape_debug().to_string(),
            "must be visible ASCII characters without backslashes, 22 as a rule",
        )),
    }
}

fn quorum(config: &Config, node_id: i32, listeners: &Listeners) -> Result<Quorum, Problem> {
    let voters = "controller.quorum.voters";
    let servers = "controller.quorum.bootstrap.servers";
    let named: Vec<&str> = list(config.value(voters).unwrap_or_default()).collect();
    let seeds: Vec<&str> = list(config.value(servers).unwrap_or_default()).collect();
    match named.as_slice() {
        [] => {}
        [voter] => {
            let id = voter
                .split_once('@')
                .filter(|(_, place)| place_fits(place))
                .map(|(id, _)| id.trim());
            let Some(id) = id.and_then(|id| id.parse::<i32>().ok()) else {
                return Err(wrong(config, voters, "must be ID@HOST:PORT"));
            };
            if id != node_id {
                return Err(wrong(config, voters, &format!("must name this node, {node_id}")));
            }
        }
        _ => {
            return Err(wrong(
                config,
                voters,
                "must name one voter: clusters of several nodes come later",
            ));
        }
    }
    match seeds.as_slice() {
        [] => Ok(Quorum::Static),
        [seed] if place_fits(seed) && !named.is_empty() => Ok(Quorum::Static),
        [seed] if place_fits(seed) && listeners.is_controller_here(seed) => Ok(Quorum::Dynamic),
        [seed] if place_fits(seed) => {
            let all: Vec<String> = listeners.controller.iter().map(Listener::to_string).collect();
            let must = match all.is_empty() {
                true => "must name a listener of this node's controller, and listeners has none".to_owned(),
                false => format!("must name this node's controller, {}", all.join(" or ")),
            };
            Err(wrong(config, servers, &must))
        }
        [_] => Err(wrong(config, servers, "must be HOST:PORT")),
        _ => Err(wrong(
            config,
            servers,
            "must name one controller: clusters of several nodes come later",
        )),
    }
}

fn place_fits(place: &str) -> bool {
    place
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

fn data_dir(config: &Config) -> Result<PathBuf, Problem> {
    let name = if config.is_given("log.dirs") {
        "log.dirs"
    } else {
        "log.dir"
    };
    match list(config.value(name).unwrap_or_default())
        .collect::<Vec<_>>()
        .as_slice()
    {
        [one] if !one.is_empty() => Ok(PathBuf::from(one)),
        _ => Err(wrong(config, name, "must be one directory: several come later")),
    }
}

fn listeners(config: &Config, host: &Host) -> Result<Listeners, Problem> {
    let text = |name: &str| config.value(name).unwrap_or_default();
    if config.is_given("inter.broker.listener.name") && config.is_given("security.inter.broker.protocol") {
        let must = "must not be set together with inter.broker.listener.name";
        return Err(wrong(config, "security.inter.broker.protocol", must));
    }
    let texts = Texts {
        listeners: text("listeners"),
        advertised: config.value("advertised.listeners"),
        controller_names: text("controller.listener.names"),
        controller_names_given: config.is_given("controller.listener.names"),
        protocol_map: text("listener.security.protocol.map"),
        protocol_map_given: config.is_given("listener.security.protocol.map"),
        inter_broker: config.value("inter.broker.listener.name"),
        host_name: &host.name,
    };
    Listeners::parse(&texts).map_err(|(name, must)| wrong(config, name, &must))
}
