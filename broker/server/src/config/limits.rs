//! Settings against the machine: what is too large for it is refused before anything is taken.
//!
//! What a newcomer would get wrong: a bound that only the default passes is no error. Nobody asked for it, so the node
//! starts and says what it cannot do.

use shards::budget;
use shards::buffers::Purpose;

use super::{Config, Overrides, Problem};

const WHAT: &str = "what one shard can hold of klamm.memory.bytes";

/// What the node has to live with.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Bytes of memory that host and cgroup allow; 0 if nobody can tell.
    pub memory_bytes: u64,
    /// Bytes of disk that the journals may take, those of the journals that are there included.
    pub disk_bytes: u64,
    /// Shards that share the memory, 1 or more.
    pub shards: usize,
}

impl Config {
    /// Whether the machine has what the settings ask for; a warning if it has less than a default asks for.
    ///
    /// # Errors
    /// A setting asks for more than there is.
    pub fn fit(&self, machine: &Machine) -> Result<Option<String>, Problem> {
        let settings = &self.settings;
        let too_large = |name: &str, value: u64, allowed: u64, what: &str| {
            Problem::value(
                name,
                &value.to_string(),
                &format!("must be at most {allowed}, {what}"),
            )
        };
        if machine.memory_bytes > 0 && settings.memory_bytes > machine.memory_bytes {
            let (name, what) = ("klamm.memory.bytes", "the memory that host and cgroup allow");
            return Err(too_large(name, settings.memory_bytes, machine.memory_bytes, what));
        }
        if settings.journal_bytes > machine.disk_bytes {
            let what = format!("what the disk of {} has free", settings.data_dir.display());
            let name = "klamm.journal.bytes";
            return Err(too_large(name, settings.journal_bytes, machine.disk_bytes, &what));
        }
        let name = "message.max.bytes";
        let wanted: u64 = super::settings::number(self, name)?;
        let shard_bytes = settings.memory_bytes / machine.shards.max(1) as u64;
        let allowed = batch_bytes_max(usize::try_from(shard_bytes).unwrap_or(usize::MAX)) as u64;
        if wanted <= allowed {
            return Ok(None);
        }
        match self.is_given(name) {
            true => Err(too_large(name, wanted, allowed, WHAT)),
            false => Ok(Some(format!("{name}={wanted} is more than {allowed}, {WHAT}"))),
        }
    }
}

/// The largest batch that a shard with so much memory is sure to receive, to keep and to read again: above the floors of
/// other purposes.
pub fn batch_bytes_max(shard_bytes: usize) -> usize {
    let most = |purpose| budget::most_of(shard_bytes, purpose);
    most(Purpose::Receive)
        .min(most(Purpose::Tails))
        .min(storage::readable_bytes_max(most(Purpose::Reads)))
}

/// What a topic may ask for on shards with so much memory: its batches could not be kept otherwise. The error is a sentence
/// for the client.
pub fn check_batches(topic: &Overrides, shard_bytes: usize) -> Result<(), String> {
    let name = "max.message.bytes";
    let allowed = batch_bytes_max(shard_bytes);
    let wanted = topic
        .get(name)
        .and_then(|value| Some((value, value.trim().parse::<usize>().ok()?)));
    match wanted {
        Some((value, wanted)) if wanted > allowed => Err(format!(
            "Invalid value {value} for configuration {name}: Value must be at most {allowed}, {WHAT}"
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Host, Sources, load};
    use super::*;

    #[test]
    fn what_the_machine_does_not_have_is_refused() {
        const MACHINE: Machine = Machine {
            memory_bytes: 1 << 30,
            disk_bytes: 1 << 30,
            shards: 1,
        };
        let check = |overrides: &[&str], machine: Machine, expected: Result<Option<&str>, &str>| {
            let overrides: Vec<String> = overrides.iter().map(|text| String::from(*text)).collect();
            let sources = Sources {
                overrides: &overrides,
                host: Host {
                    name: String::new(),
                    memory_bytes: machine.memory_bytes,
                },
                ..Sources::default()
            };
            let found = load(&sources).and_then(|config| config.fit(&machine));
            let found = found.map_err(|problem| problem.to_string());
            assert_eq!(
                found.as_ref().map(Option::as_deref).map_err(String::as_str),
                expected,
                "{overrides:?}"
            );
        };
        check(&[], MACHINE, Ok(None));
        check(&["klamm.memory.bytes=1073741824"], MACHINE, Ok(None));
        check(
            &["klamm.memory.bytes=1073741825"],
            MACHINE,
            Err(
                "klamm.memory.bytes=1073741825: must be at most 1073741824, the memory that host and cgroup allow",
            ),
        );
        check(
            &["klamm.journal.bytes=9000000000000000000", "log.dirs=/data"],
            MACHINE,
            Err(
                "klamm.journal.bytes=9000000000000000000: must be at most 1073741824, what the disk of /data has free",
            ),
        );
        let memory = "klamm.memory.bytes=100000000";
        check(&[memory, "message.max.bytes=43951424"], MACHINE, Ok(None));
        check(
            &[memory, "message.max.bytes=43951425"],
            MACHINE,
            Err(
                "message.max.bytes=43951425: must be at most 43951424, what one shard can hold of klamm.memory.bytes",
            ),
        );
        let shards = Machine {
            shards: 100,
            ..MACHINE
        };
        check(
            &[memory],
            shards,
            Ok(Some(
                "message.max.bytes=1048588 is more than 384464, what one shard can hold of klamm.memory.bytes",
            )),
        );
    }

    #[test]
    fn a_topic_gets_no_larger_batches_than_a_shard_can_hold() {
        let check = |value: Option<&str>, expected: Option<&str>| {
            let topic = value.map(|value| ("max.message.bytes".to_owned(), value.to_owned()));
            let found = check_batches(&topic.into_iter().collect(), 100_000_000);
            assert_eq!(found.as_ref().err().map(String::as_str), expected, "{value:?}");
        };
        check(None, None);
        check(Some(" 43951424 "), None);
        check(
            Some("43951425"),
            Some(
                "Invalid value 43951425 for configuration max.message.bytes: Value must be at most 43951424, what one \
                 shard can hold of klamm.memory.bytes",
            ),
        );
    }
}
