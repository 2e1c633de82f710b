//! What must be there before the shards start: each check fails with one line that says what is missing and how
//! to allow it.
//!
//! These run on the plain thread that starts the process, before any shard.

#![allow(unsafe_code, reason = "asks the kernel; each use has its proof")]
#![allow(
    clippy::disallowed_methods,
    reason = "runs before any shard, on a plain thread"
)]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use io_uring::{IoUring, Probe, opcode};

/// Locked memory that glommio refuses to start without, per process, in bytes.
const MEMLOCK_MIN: u64 = 512 << 10;

/// Whether the host allows what the engine of [`crate::run`] needs for `shards` shards; gives the engine's name.
///
/// # Errors
/// One line.
pub fn engine(shards: usize) -> Result<&'static str, String> {
    io_uring()?;
    locked_memory(shards)?;
    Ok("uring")
}

/// Whether io_uring may be used, and has every operation that we need.
pub(crate) fn io_uring() -> Result<(), String> {
    // The bare call first, which tells "forbidden" from "not there".
    let mut parameters = [0u8; 120]; // struct io_uring_params
    // SAFETY: the kernel reads and writes one io_uring_params, 120 bytes, at the address.
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()) };
    if fd < 0 {
        return Err(refusal(&io::Error::last_os_error()));
    }
    // SAFETY: just made, owned by nobody else.
    drop(unsafe { OwnedFd::from_raw_fd(fd as i32) });

    let ring: IoUring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .build(8)
        .map_err(|error| match error.raw_os_error() {
            Some(libc::EINVAL) => {
                "this kernel's io_uring is too old: Linux 6.1 or later is needed".to_owned()
            }
            _ => refusal(&error),
        })?;
    let mut probe = Probe::new();
    ring.submitter()
        .register_probe(&mut probe)
        .map_err(|error| format!("io_uring cannot be probed: {error}"))?;
    let missing: Vec<&str> = NEEDED
        .iter()
        .filter(|(code, _)| !probe.is_supported(*code))
        .map(|(_, name)| *name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "this kernel's io_uring lacks {}: Linux 6.1 or later is needed",
        missing.join(", ")
    ))
}

const NEEDED: [(u8, &str); 19] = [
    (opcode::Read::CODE, "READ"),
    (opcode::Write::CODE, "WRITE"),
    (opcode::ReadFixed::CODE, "READ_FIXED"),
    (opcode::WriteFixed::CODE, "WRITE_FIXED"),
    (opcode::Fsync::CODE, "FSYNC"),
    (opcode::PollAdd::CODE, "POLL_ADD"),
    (opcode::SendMsg::CODE, "SENDMSG"),
    (opcode::Accept::CODE, "ACCEPT"),
    (opcode::Connect::CODE, "CONNECT"),
    (opcode::AsyncCancel::CODE, "ASYNC_CANCEL"),
    (opcode::Fallocate::CODE, "FALLOCATE"),
    (opcode::OpenAt::CODE, "OPENAT"),
    (opcode::Close::CODE, "CLOSE"),
    (opcode::Statx::CODE, "STATX"),
    (opcode::RenameAt::CODE, "RENAMEAT"),
    (opcode::UnlinkAt::CODE, "UNLINKAT"),
    (opcode::MkDirAt::CODE, "MKDIRAT"),
    (opcode::MsgRingData::CODE, "MSG_RING"),
    (opcode::Nop::CODE, "NOP"),
];

fn refusal(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EPERM) => {
            "io_uring is forbidden here: allow io_uring_setup, io_uring_enter and io_uring_register \
            in the container's seccomp profile, and set the sysctl kernel.io_uring_disabled to 0"
                .to_owned()
        }
        Some(libc::ENOSYS) => {
            "this kernel has no io_uring (or a seccomp profile hides it): Linux 6.1 or later is \
            needed"
                .to_owned()
        }
        Some(libc::ENOMEM) => format!(
            "io_uring may not lock enough memory (limit {}): raise it with `ulimit -l` or LimitMEMLOCK=",
            limit(libc::RLIMIT_MEMLOCK).map_or("unknown".to_owned(), |(soft, _)| soft.to_string())
        ),
        _ => format!("io_uring cannot be used: {error}"),
    }
}

/// Whether enough memory may be locked for `shards` shards.
fn locked_memory(shards: usize) -> Result<(), String> {
    let (soft, hard) = limit(libc::RLIMIT_MEMLOCK).map_err(|error| format!("RLIMIT_MEMLOCK: {error}"))?;
    // Rings and glommio's least I/O memory; those who may lock without limit only need its fixed minimum.
    let wanted = MEMLOCK_MIN.max(if may_lock() {
        0
    } else {
        shards as u64 * (512 << 10)
    });
    if soft >= wanted {
        return Ok(());
    }
    if hard >= wanted && set_limit(libc::RLIMIT_MEMLOCK, wanted, hard).is_ok() {
        return Ok(());
    }
    Err(format!(
        "{shards} shards need to lock {} KiB of memory, the limit is {}: raise it with `ulimit -l` or LimitMEMLOCK=",
        wanted >> 10,
        soft >> 10
    ))
}

/// Whether locking is not limited for us: the superuser's ring pages are not counted.
fn may_lock() -> bool {
    // SAFETY: asks for a number.
    unsafe { libc::geteuid() == 0 }
}

/// Raises the soft limit of open files to the hard one; gives what it is then.
///
/// # Errors
/// One line when it is below `needed`.
pub fn open_files(needed: u64) -> Result<u64, String> {
    let (soft, hard) = limit(libc::RLIMIT_NOFILE).map_err(|error| format!("RLIMIT_NOFILE: {error}"))?;
    let now = if soft < hard && set_limit(libc::RLIMIT_NOFILE, hard, hard).is_ok() {
        hard
    } else {
        soft
    };
    if now >= needed {
        return Ok(now);
    }
    Err(format!(
        "only {now} files may be open, {needed} are needed: raise it with `ulimit -n` or LimitNOFILE="
    ))
}

/// Whether files in `dir` can be written past the page cache in blocks of 4096 bytes. Leaves nothing behind.
///
/// # Errors
/// One line.
pub fn direct_io(dir: &Path) -> Result<(), String> {
    let path = dir.join(format!(".klamm-check-{}", std::process::id()));
    let result = try_direct(&path);
    let _ = std::fs::remove_file(&path); // it may never have been made
    result.map_err(|error| match error.raw_os_error() {
        Some(libc::EINVAL | libc::EOPNOTSUPP) => format!(
            "the file system of {} does not allow O_DIRECT in blocks of 4096 bytes: use ext4 or XFS",
            dir.display()
        ),
        _ => format!("cannot write to {}: {error}", dir.display()),
    })
}

fn try_direct(path: &Path) -> io::Result<()> {
    #[repr(align(4096))]
    struct Block([u8; 4096]);
    let mut block = Box::new(Block([0x4b; 4096]));
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .custom_flags(libc::O_DIRECT)
        .open(path)?;
    file.write_all_at(&block.0, 0)?;
    file.sync_data()?;
    block.0.fill(0);
    file.read_exact_at(&mut block.0, 0)?;
    if block.0 != [0x4b; 4096] {
        return Err(io::Error::other(
            "what was written past the page cache did not come back",
        ));
    }
    Ok(())
}

#[allow(
    clippy::unnecessary_cast,
    reason = "the type of the limit's name differs between C libraries"
)]
fn limit(which: libc::__rlimit_resource_t) -> io::Result<(u64, u64)> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: writes one rlimit.
    if unsafe { libc::getrlimit(which, &mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((limit.rlim_cur as u64, limit.rlim_max as u64))
}

fn set_limit(which: libc::__rlimit_resource_t, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: reads one rlimit.
    if unsafe { libc::setrlimit(which, &limit) } != 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_fit() {
        assert_eq!(engine(1).unwrap(), "uring");
        assert!(open_files(64).unwrap() >= 64);
        assert!(open_files(u64::MAX).is_err());
    }

    #[test]
    fn direct_io_is_tried_and_cleaned_up() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        direct_io(dir.path()).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(
            direct_io(Path::new("/no/such/place"))
                .unwrap_err()
                .starts_with("cannot write to /no/such/place")
        );
    }

    #[test]
    fn refusals_say_what_to_do() {
        for (errno, hint) in [
            (libc::EPERM, "seccomp"),
            (libc::ENOSYS, "Linux 6.1"),
            (libc::ENOMEM, "LimitMEMLOCK"),
        ] {
            assert!(
                refusal(&io::Error::from_raw_os_error(errno)).contains(hint),
                "{errno}"
            );
        }
    }
}
