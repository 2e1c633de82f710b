//! Which CPUs there are for us: cpu lists such as `0-7,16`, the affinity mask, the cgroup's quota.
//!
//! A quota is not a set of CPUs: with a quota of 2 on a machine of 64 we may run on any 2 at a time, so such
//! shards are few and not pinned (pinned ones would be throttled together).

#![allow(unsafe_code, reason = "affinity calls of the kernel; each use has its proof")]
#![allow(
    clippy::disallowed_methods,
    reason = "reads the kernel's files before any shard runs"
)]

use std::io;
use std::path::{Path, PathBuf};

/// CPUs numbered up to this.
const CPUS_MAX: usize = 4096;

/// Parses a cpu list: numbers and ranges (`first-last`, both included), separated by commas; sorted, each once.
///
/// # Errors
/// One line that says what is wrong.
pub fn parse(list: &str) -> Result<Vec<usize>, String> {
    let number = |text: &str| match text.trim().parse::<usize>() {
        Ok(cpu) if cpu < CPUS_MAX => Ok(cpu),
        _ => Err(format!(
            "`{}` in cpu list `{list}` is not a CPU number below {CPUS_MAX}",
            text.trim()
        )),
    };
    let mut cpus = Vec::new();
    for part in list.split(',') {
        match part.split_once('-') {
            None => cpus.push(number(part)?),
            Some((first, last)) => {
                let (first, last) = (number(first)?, number(last)?);
                if first > last {
                    return Err(format!("range `{}` in cpu list `{list}` is empty", part.trim()));
                }
                cpus.extend(first..=last);
            }
        }
    }
    cpus.sort_unstable();
    cpus.dedup();
    Ok(cpus)
}

/// The CPUs that the calling thread may run on, sorted.
///
/// # Errors
/// Of sched_getaffinity(2).
pub fn allowed() -> io::Result<Vec<usize>> {
    let mut mask = [0u64; CPUS_MAX / 64];
    // SAFETY: writes at most the given size into `mask`; pid 0 is the calling thread.
    let result = unsafe { libc::sched_getaffinity(0, size_of_val(&mask), mask.as_mut_ptr().cast()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((0..CPUS_MAX)
        .filter(|cpu| mask[cpu / 64] >> (cpu % 64) & 1 == 1)
        .collect())
}

/// Pins the calling thread, and threads that it starts later, to one CPU.
///
/// # Errors
/// Of sched_setaffinity(2): InvalidInput when the CPU is not there or not allowed.
pub fn pin(cpu: usize) -> io::Result<()> {
    if cpu >= CPUS_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut mask = [0u64; CPUS_MAX / 64];
    mask[cpu / 64] = 1 << (cpu % 64);
    // SAFETY: reads the given size of `mask`; pid 0 is the calling thread.
    let result = unsafe { libc::sched_setaffinity(0, size_of_val(&mask), mask.as_ptr().cast()) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// The cgroup's CPU quota in whole or part CPUs, the least of all levels above us (v2 and v1); `None` without one.
pub fn quota() -> Option<f64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let v2 = groups.lines().find_map(|line| line.strip_prefix("0::"));
    let v1 = groups.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        controllers
            .split(',')
            .any(|controller| controller == "cpu")
            .then_some(path)
    });
    let v2 = levels("/sys/fs/cgroup", v2).filter_map(|dir| read_v2(&read(dir.join("cpu.max"))?));
    let v1 = levels("/sys/fs/cgroup/cpu", v1).filter_map(|dir| {
        read_v1(
            &read(dir.join("cpu.cfs_quota_us"))?,
            &read(dir.join("cpu.cfs_period_us"))?,
        )
    });
    v2.chain(v1).reduce(f64::min)
}

/// The memory limit of the cgroup in bytes, the least of all levels above us (v2 and v1); `None` without one.
pub fn memory_limit() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let v2 = groups.lines().find_map(|line| line.strip_prefix("0::"));
    let v1 = groups
        .lines()
        .find_map(|line| line.split_once(":memory:").map(|(_, path)| path));
    let v2 = levels("/sys/fs/cgroup", v2).filter_map(|dir| read(dir.join("memory.max"))?.trim().parse().ok());
    let v1 = levels("/sys/fs/cgroup/memory", v1)
        .filter_map(|dir| read(dir.join("memory.limit_in_bytes"))?.trim().parse().ok());
    // v1 says "no limit" with a number near 2^63.
    v2.chain(v1).filter(|limit: &u64| *limit < 1 << 60).min()
}

/// The memory of the host in bytes.
pub fn memory_total() -> u64 {
    // SAFETY: asks for two numbers; touches no memory.
    let (pages, size) = unsafe {
        (
            libc::sysconf(libc::_SC_PHYS_PAGES),
            libc::sysconf(libc::_SC_PAGESIZE),
        )
    };
    u64::try_from(pages)
        .unwrap_or(0)
        .saturating_mul(u64::try_from(size).unwrap_or(0))
}

/// What a set of shards runs on: one entry per shard, the CPU to pin it to or `None`.
///
/// `list` (a parsed cpu list) names the CPUs; without it all that the affinity mask allows, but no more than the
/// quota, rounded up. `shards` asks for fewer, or for more; then, and under a quota below the number of
/// CPUs, none is pinned.
///
/// # Errors
/// One line when a listed CPU is not allowed or nothing is left.
pub fn plan(
    list: Option<&[usize]>,
    shards: Option<usize>,
    allowed: &[usize],
    quota: Option<f64>,
) -> Result<Vec<Option<usize>>, String> {
    let cpus = match list {
        Some(list) => {
            if let Some(cpu) = list.iter().find(|cpu| !allowed.contains(cpu)) {
                return Err(format!(
                    "klamm.cpus names CPU {cpu}, which this process may not use (allowed: {allowed:?})"
                ));
            }
            list
        }
        None => allowed,
    };
    if cpus.is_empty() || shards == Some(0) {
        return Err("no CPU is left to run a shard on".to_owned());
    }
    let at_once = quota.map_or(cpus.len(), |quota| (quota.ceil() as usize).clamp(1, cpus.len()));
    let count = shards.unwrap_or(if list.is_some() { cpus.len() } else { at_once });
    if count > cpus.len() || at_once < cpus.len() && list.is_none() {
        return Ok(vec![None; count]);
    }
    Ok(cpus.iter().take(count).copied().map(Some).collect())
}

fn read(path: PathBuf) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// The directory of the group and all above it. In a container the path may name what is not mounted; the root
/// of the mount is then the group itself.
fn levels(mount: &str, group: Option<&str>) -> impl Iterator<Item = PathBuf> {
    let mount = PathBuf::from(mount);
    let group = group.map(|group| Path::new(group.trim_start_matches('/')).to_path_buf());
    let paths: Vec<PathBuf> = match group {
        Some(group) => group.ancestors().map(|level| mount.join(level)).collect(),
        None => Vec::new(),
    };
    paths.into_iter()
}

fn read_v2(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    ratio(quota, period)
}

fn read_v1(quota: &str, period: &str) -> Option<f64> {
    ratio(quota.trim(), period.trim())
}

fn ratio(quota: &str, period: &str) -> Option<f64> {
    let (quota, period) = (quota.parse::<f64>().ok()?, period.parse::<f64>().ok()?);
    (quota > 0.0 && period > 0.0).then_some(quota / period)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let check = |list: &str, expected: Result<&[usize], &str>| {
            assert_eq!(
                parse(list),
                expected.map(<[_]>::to_vec).map_err(str::to_owned),
                "{list}"
            );
        };
        check("0", Ok(&[0]));
        check("0-3", Ok(&[0, 1, 2, 3]));
        check("16, 0-1", Ok(&[0, 1, 16]));
        check("2,1,2-3", Ok(&[1, 2, 3]));
        check("", Err("`` in cpu list `` is not a CPU number below 4096"));
        check("1,x", Err("`x` in cpu list `1,x` is not a CPU number below 4096"));
        check("3-1", Err("range `3-1` in cpu list `3-1` is empty"));
        check(
            "0-9999",
            Err("`9999` in cpu list `0-9999` is not a CPU number below 4096"),
        );
    }

    #[test]
    fn quotas() {
        for (text, expected) in [
            ("max 100000", None),
            ("250000 100000", Some(2.5)),
            ("", None),
            ("x y", None),
        ] {
            assert_eq!(read_v2(text), expected, "{text}");
        }
        assert_eq!(read_v1("-1\n", "100000\n"), None);
        assert_eq!(read_v1("50000\n", "100000\n"), Some(0.5));
    }

    #[test]
    fn plans() {
        let all = [0, 1, 2, 3];
        let check = |list: Option<&[usize]>, shards, quota, expected: Result<&[Option<usize>], ()>| {
            let plan = plan(list, shards, &all, quota).map_err(drop);
            assert_eq!(plan, expected.map(<[_]>::to_vec), "{list:?} {shards:?} {quota:?}");
        };
        check(None, None, None, Ok(&[Some(0), Some(1), Some(2), Some(3)]));
        check(None, Some(2), None, Ok(&[Some(0), Some(1)]));
        check(None, Some(5), None, Ok(&[None; 5]));
        check(None, None, Some(1.5), Ok(&[None; 2]));
        check(None, None, Some(0.1), Ok(&[None; 1]));
        check(None, None, Some(64.0), Ok(&[Some(0), Some(1), Some(2), Some(3)]));
        check(Some(&[1, 3]), None, Some(1.0), Ok(&[Some(1), Some(3)]));
        check(Some(&[1, 3]), Some(1), None, Ok(&[Some(1)]));
        check(Some(&[1, 4]), None, None, Err(()));
        check(None, Some(0), None, Err(()));
    }

    #[test]
    fn this_thread_may_run_somewhere() {
        let cpus = allowed().unwrap();
        assert!(!cpus.is_empty());
        let pinned = std::thread::spawn(move || pin(cpus[0]).map(|()| (allowed().unwrap(), cpus[0]))).join();
        let (now, cpu) = pinned.unwrap().unwrap();
        assert_eq!(now, [cpu]);
    }
}
