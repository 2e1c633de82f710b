//! The one binary, `klamm`: reads arguments, environment and what there is of a host, and starts what was asked for.
//!
//! What a newcomer would get wrong: everything that the library may not look at by itself (environment, files of
//! settings, CPUs, names of hosts) is looked at here, before the first shard runs.

#![allow(
    clippy::disallowed_methods,
    reason = "the plain thread that starts the shards looks at the host; no shard runs yet"
)]

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use broker::config::{self, Config, Host, Listener, Machine, Sources};
use broker::{Broker, Ended, Setup};
use clap::{Args, Parser, Subcommand};
use shards::log::{Flush, Levels, Log};
use shards::{checks, cpus, side};
use tracing::level_filters::LevelFilter;

/// Every shard allocates and frees on its own thread: a heap per thread costs it half of what the C library's does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A drop-in replacement for an Apache Kafka broker.
#[derive(Parser)]
#[command(name = "klamm", version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Run a node; also without any command. Without settings it is a working single node with its data in ./data.
    Broker(BrokerArguments),
    #[command(flatten)]
    Client(cli::Command),
}

#[derive(Args, Default)]
struct BrokerArguments {
    /// The file of settings, such as server.properties.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A setting that goes before file and environment; may be given more than once.
    #[arg(long = "override", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments
        .command
        .unwrap_or(Command::Broker(BrokerArguments::default()))
    {
        Command::Broker(arguments) => run_broker(&arguments),
        Command::Client(command) => return cli::run(&command, data_dir),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cli::output::tell(&format!("klamm: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs a node until it is told to stop. The error is one line.
fn run_broker(arguments: &BrokerArguments) -> Result<(), String> {
    side::hold_signals().map_err(|error| format!("signals cannot be held back: {error}"))?;
    let config = load(arguments)?;
    let plan = plan(&config)?;
    let addresses = addresses(&config)?;
    let engine = checks::engine(plan.len())?;
    let open_files = check(&config)?;
    let machine = Machine {
        memory_bytes: memory(),
        disk_bytes: disk(&config.settings.data_dir)?,
        shards: plan.len(),
    };
    let too_small = config.fit(&machine).map_err(|problem| problem.to_string())?;
    let flush = start_log(&config)?;
    for warning in config.warning.iter().chain(&too_small) {
        tracing::warn!("{warning}");
    }
    let memory_bytes = usize::try_from(config.settings.memory_bytes).unwrap_or(usize::MAX);
    let host = describe(engine, &plan, memory_bytes);
    let broker = Broker::new(Setup {
        config: Arc::new(config),
        addresses,
        host,
        connections_most: usize::try_from(open_files / 2).unwrap_or(usize::MAX),
    });
    let shards = shards::Config {
        shards: plan,
        memory_bytes,
        ..shards::Config::default()
    };
    let node = broker.clone();
    let ran = shards::run(shards, move |shard| node.clone().run(shard));
    flush.wait(Duration::from_secs(1));
    ran.map_err(|error| error.to_string())?;
    match broker.ended() {
        Some(Ended::Stopped | Ended::Abandoned) => Ok(()),
        Some(Ended::Interrupted) => {
            Err("stopped at once, without closing; the next start recovers".to_owned())
        }
        Some(Ended::Failed(error)) => Err(error.clone()),
        None => Err("the node ended without a word".to_owned()),
    }
}

/// Where a broker with the same settings has its data.
fn data_dir(arguments: &cli::recover::Arguments) -> Result<PathBuf, String> {
    let arguments = BrokerArguments {
        config: arguments.config.clone(),
        overrides: arguments.overrides.clone(),
    };
    Ok(load(&arguments)?.settings.data_dir.clone())
}

fn load(arguments: &BrokerArguments) -> Result<Config, String> {
    let read = |path: &PathBuf| {
        std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
    };
    let file = arguments.config.as_ref().map(read).transpose()?;
    let environment: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let sources = Sources {
        file: file.as_deref(),
        environment: &environment,
        overrides: &arguments.overrides,
        host: Host {
            name: host_name(),
            memory_bytes: memory(),
        },
    };
    config::load(&sources).map_err(|problem| problem.to_string())
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() {
        "localhost".to_owned()
    } else {
        name.to_owned()
    }
}

fn memory() -> u64 {
    cpus::memory_limit().map_or_else(cpus::memory_total, |limit| limit.min(cpus::memory_total()))
}

/// The CPU of each shard.
fn plan(config: &Config) -> Result<Vec<Option<usize>>, String> {
    let list = config.settings.cpus.as_deref().map(cpus::parse).transpose();
    let list = list.map_err(|error| format!("klamm.cpus: {error}"))?;
    let allowed =
        cpus::allowed().map_err(|error| format!("the CPUs allowed cannot be asked for: {error}"))?;
    cpus::plan(
        list.as_deref(),
        config.settings.shards.map(usize::from),
        &allowed,
        cpus::quota(),
    )
}

/// The address of each listener for clients.
fn addresses(config: &Config) -> Result<Vec<SocketAddr>, String> {
    config.settings.listeners.broker.iter().map(address).collect()
}

fn address(listener: &Listener) -> Result<SocketAddr, String> {
    // Every interface is both families, as with Java: a socket of IPv6 serves IPv4 too, where the host has IPv6.
    let host = match listener.host.as_str() {
        "" if TcpListener::bind("[::]:0").is_ok() => "::",
        "" => "0.0.0.0",
        host => host,
    };
    let mut found = (host, listener.port)
        .to_socket_addrs()
        .map_err(|error| format!("cannot find the address of listener {listener}: {error}"))?;
    found
        .next()
        .ok_or_else(|| format!("listener {listener} has no address"))
}

/// Everything worth a person's attention goes to the standard output, as with Apache Kafka.
fn start_log(config: &Config) -> Result<Flush, String> {
    let node = config.settings.node_id.to_string();
    let levels = Levels {
        default: config.log.root,
        targets: config.log.own.map(own).into_iter().flatten().collect(),
    };
    let (log, flush) = Log::to(std::io::stdout(), node, levels)
        .map_err(|error| format!("the log has no thread: {error}"))?;
    tracing::subscriber::set_global_default(log).map_err(|error| error.to_string())?;
    Ok(flush)
}

/// A level for every crate of ours.
fn own(level: LevelFilter) -> impl Iterator<Item = (String, LevelFilter)> {
    let crates = [
        "broker", "klamm", "metadata", "quorum", "replica", "shards", "storage",
    ];
    crates.into_iter().map(move |name| (name.to_owned(), level))
}

/// Bytes of disk that journals may take: what is free, and what those that are there have.
fn disk(dir: &Path) -> Result<u64, String> {
    let cannot = |error: &dyn std::fmt::Display| format!("cannot look at {}: {error}", dir.display());
    let disk = rustix::fs::statvfs(dir).map_err(|error| cannot(&error))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let entries = std::fs::read_dir(dir).map_err(|error| cannot(&error))?;
    let journals = entries.flatten().filter(|entry| {
        let name = entry.file_name();
        name.to_str()
            .is_some_and(|name| name.starts_with(storage::journal::FILE))
    });
    let bytes = journals
        .filter_map(|journal| journal.metadata().ok())
        .map(|journal| journal.len());
    Ok(free.saturating_add(bytes.sum()))
}

/// What the host must allow; gives how many files may be open, of which connections may have half: the other half is for
/// the files of partitions. The data directory is made here, since one of the checks writes to it.
fn check(config: &Config) -> Result<u64, String> {
    let dir = &config.settings.data_dir;
    std::fs::create_dir_all(dir).map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
    let open_files = checks::open_files(OPEN_FILES)?;
    checks::direct_io(dir)?;
    Ok(open_files)
}

/// Files that a node with some thousand partitions and connections has open.
const OPEN_FILES: u64 = 4096;

fn describe(engine: &str, plan: &[Option<usize>], memory_bytes: usize) -> String {
    let cpus: Vec<String> = plan.iter().flatten().map(usize::to_string).collect();
    let cores = match cpus.is_empty() {
        true => "unpinned".to_owned(),
        false => format!("on CPUs {}", cpus.join(",")),
    };
    format!(
        "engine {engine}, {} shards {cores}, {} MiB of memory",
        plan.len(),
        memory_bytes >> 20
    )
}
