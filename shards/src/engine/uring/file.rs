//! Files and names, through the ring; a few calls that it lacks through the pool.

#![allow(
    unsafe_code,
    reason = "operations that point to buffers and paths; each use has its proof"
)]
#![allow(clippy::disallowed_methods, reason = "std::fs inside the pool's threads")]

use std::ffi::CString;
use std::io::{self, Read, Write};
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
use io_uring::squeue::Entry as Sqe;
use io_uring::types::{self, Fd, FsyncFlags};
use io_uring::{opcode, squeue};

use super::Engine;
use super::ring::{Keep, Pending, outcome};
use crate::buffers::Buffer;
use crate::fs::{Commit, Entry, OpenOptions, Space};
use crate::shard;

/// The kernel moves less than 2 GiB in one operation.
const LENGTH_MAX: usize = 1 << 30;

/// An owned descriptor; closed through the ring when the last holder (a file, or an operation in flight) is gone.
pub(super) struct Descriptor {
    fd: RawFd,
    engine: Rc<Engine>,
}

impl Descriptor {
    /// Takes ownership of `fd`.
    pub fn new(engine: &Rc<Engine>, fd: RawFd) -> Rc<Descriptor> {
        Rc::new(Descriptor {
            fd,
            engine: engine.clone(),
        })
    }

    pub fn fd(&self) -> RawFd {
        self.fd
    }

    pub fn engine(&self) -> &Rc<Engine> {
        &self.engine
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        self.engine.ring.close_fd(self.fd);
    }
}

/// An open file.
pub(crate) struct File {
    descriptor: Rc<Descriptor>,
}

impl File {
    pub async fn open(engine: &Rc<Engine>, path: &Path, options: OpenOptions) -> io::Result<File> {
        let mut flags = match (options.read, options.write) {
            (true, true) => libc::O_RDWR,
            (false, true) => libc::O_WRONLY,
            (true, false) => libc::O_RDONLY,
            (false, false) => return Err(io::ErrorKind::InvalidInput.into()),
        };
        for (wanted, flag) in [
            (options.create, libc::O_CREAT),
            (options.create_new, libc::O_CREAT | libc::O_EXCL),
            (options.truncate, libc::O_TRUNC),
            (options.direct, libc::O_DIRECT),
        ] {
            flags |= if wanted { flag } else { 0 };
        }
        Ok(File {
            descriptor: open(engine, path, flags).await?,
        })
    }

    fn fd(&self) -> Fd {
        Fd(self.descriptor.fd)
    }

    /// An operation that points to no memory.
    fn submit(&self, entry: Sqe) -> Pending {
        // SAFETY: callers pass entries without addresses; the descriptor is kept.
        unsafe {
            self.descriptor
                .engine
                .ring
                .submit(entry, Keep::Descriptor(self.descriptor.clone()))
        }
    }

    /// The fixed buffer that holds all of these bytes, if one does.
    fn page(&self, address: *const u8, len: usize) -> Option<u16> {
        let page = shard::with(|core| core.memory.region().page_of(address, len))?;
        self.descriptor
            .engine
            .ring
            .is_registered(page)
            .then_some(page as u16)
    }

    pub async fn read_at(&self, position: u64, mut buffer: Buffer) -> (io::Result<usize>, Buffer) {
        loop {
            let (address, len) = (buffer.address(), buffer.capacity().min(LENGTH_MAX));
            let entry = match self.page(address, len) {
                Some(page) => opcode::ReadFixed::new(self.fd(), address, len as u32, page)
                    .offset(position)
                    .build(),
                None => opcode::Read::new(self.fd(), address, len as u32)
                    .offset(position)
                    .build(),
            };
            let keep = Keep::Buffer(buffer, self.descriptor.clone());
            // SAFETY: the entry points to the buffer's memory, `len` bytes of its capacity, which `keep` owns and
            // which does not move with it; nobody else can reach an exclusively owned buffer.
            let (result, keep) = unsafe { self.descriptor.engine.ring.submit(entry, keep) }.await;
            let Keep::Buffer(returned, _) = keep else {
                unreachable!("the ring gives back what it was given")
            };
            buffer = returned;
            if is_transient(result) {
                continue;
            }
            let result = outcome(result);
            buffer.set_len(*result.as_ref().unwrap_or(&0));
            return (result, buffer);
        }
    }

    fn write_entry(&self, position: u64, bytes: &Bytes) -> Sqe {
        let (address, len) = (bytes.as_ptr(), bytes.len().min(LENGTH_MAX));
        match self.page(address, len) {
            Some(page) => opcode::WriteFixed::new(self.fd(), address, len as u32, page)
                .offset(position)
                .build(),
            None => opcode::Write::new(self.fd(), address, len as u32)
                .offset(position)
                .build(),
        }
    }

    pub async fn write_at(&self, position: u64, bytes: Bytes) -> io::Result<usize> {
        loop {
            let entry = self.write_entry(position, &bytes);
            let keep = Keep::Bytes(bytes.clone(), self.descriptor.clone());
            // SAFETY: the entry points to the bytes, which `keep` holds, do not move and never change.
            let (result, _) = unsafe { self.descriptor.engine.ring.submit(entry, keep) }.await;
            if !is_transient(result) {
                return outcome(result);
            }
        }
    }

    pub async fn write_and_sync_at(&self, position: u64, bytes: Bytes) -> Commit {
        loop {
            let write = self.write_entry(position, &bytes);
            let sync = opcode::Fsync::new(self.fd()).flags(FsyncFlags::DATASYNC).build();
            let first = (write, Keep::Bytes(bytes.clone(), self.descriptor.clone()));
            let second = (sync, Keep::Descriptor(self.descriptor.clone()));
            // SAFETY: as in `write_at`; the sync points to nothing.
            let (written, synced) = unsafe { self.descriptor.engine.ring.submit_linked(first, second) };
            let (written, _) = written.await;
            let (synced, _) = synced.await;
            if is_transient(written) {
                continue;
            }
            let written = outcome(written);
            // The kernel breaks the link on a short write by itself; this holds also where bytes.len() was capped.
            let all = written.as_ref().is_ok_and(|count| *count == bytes.len());
            let synced = match outcome(synced) {
                Ok(_) if !all => Err(io::Error::from_raw_os_error(libc::ECANCELED)),
                synced => synced.map(drop),
            };
            return Commit { written, synced };
        }
    }

    pub async fn sync(&self, data_only: bool) -> io::Result<()> {
        let flags = if data_only {
            FsyncFlags::DATASYNC
        } else {
            FsyncFlags::empty()
        };
        let entry = opcode::Fsync::new(self.fd()).flags(flags).build();
        // Not repeated on an error: a second fsync would report success for data that the first has lost.
        outcome(self.submit(entry).await.0).map(drop)
    }

    pub async fn allocate(&self, position: u64, length: u64) -> io::Result<()> {
        loop {
            let entry = opcode::Fallocate::new(self.fd(), length).offset(position).build();
            let (result, _) = self.submit(entry).await;
            if !is_transient(result) {
                return outcome(result).map(drop);
            }
        }
    }

    pub async fn set_len(&self, length: u64) -> io::Result<()> {
        let engine = &self.descriptor.engine;
        if engine.ring.has_ftruncate() {
            let entry = opcode::Ftruncate::new(self.fd(), length).build();
            return outcome(self.submit(entry).await.0).map(drop);
        }
        let fd = self.descriptor.fd;
        let length = i64::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
        // A duplicate, so that a file closed meanwhile does not lend its number to another.
        // SAFETY: duplicates a descriptor that is open while `self` is borrowed; touches no memory.
        let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) };
        if copy < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just made, owned by nobody else.
        let copy = unsafe { std::fs::File::from_raw_fd(copy) };
        // SAFETY: the descriptor is open while `copy` lives; touches no memory.
        engine
            .pool
            .run(move || check(unsafe { libc::ftruncate(copy.as_raw_fd(), length) }))
            .await
    }

    pub async fn len(&self) -> io::Result<u64> {
        let statx = statx(
            &self.descriptor.engine,
            self.descriptor.fd,
            CString::default(),
            Some(&self.descriptor),
        );
        Ok(statx.await?.stx_size)
    }

    pub async fn close(self) -> io::Result<()> {
        let Ok(descriptor) = Rc::try_unwrap(self.descriptor) else {
            // An operation is in flight whose future was dropped: the file is closed when it completes.
            return Ok(());
        };
        let descriptor = ManuallyDrop::new(descriptor);
        // SAFETY: read out once, from a value that is never dropped.
        let engine = unsafe { std::ptr::read(&descriptor.engine) };
        let entry = opcode::Close::new(Fd(descriptor.fd)).build();
        // SAFETY: points to no memory, and the descriptor's only owner has given it up.
        let closing = unsafe { engine.ring.submit(entry, Keep::None) };
        outcome(closing.await.0).map(drop)
    }
}

/// Whether the kernel asks to try again; nothing was done then.
fn is_transient(result: i32) -> bool {
    result == -libc::EINTR || result == -libc::EAGAIN
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}

const HERE: Fd = Fd(libc::AT_FDCWD);

async fn open(engine: &Rc<Engine>, path: &Path, flags: i32) -> io::Result<Rc<Descriptor>> {
    let path = c_path(path)?;
    let build = |paths: &[CString; 2]| {
        opcode::OpenAt::new(HERE, paths[0].as_ptr())
            .flags(flags | libc::O_CLOEXEC)
            .mode(0o666)
            .build()
    };
    let fd = with_paths(engine, [path, CString::default()], build).await?;
    Ok(Descriptor::new(engine, fd as RawFd))
}

/// Submits an operation on one or two paths.
async fn with_paths(
    engine: &Engine,
    paths: [CString; 2],
    build: impl Fn(&[CString; 2]) -> squeue::Entry,
) -> io::Result<usize> {
    let mut paths = paths;
    loop {
        let entry = build(&paths);
        // SAFETY: the entry points to the strings' heap memory, which `Keep::Paths` owns and which stays in place.
        let (result, keep) = unsafe { engine.ring.submit(entry, Keep::Paths(paths)) }.await;
        if !is_transient(result) {
            return outcome(result);
        }
        let Keep::Paths(returned) = keep else {
            unreachable!("the ring gives back what it was given")
        };
        paths = returned;
    }
}

pub(super) async fn create_dir(engine: &Engine, path: &Path) -> io::Result<()> {
    let build = |paths: &[CString; 2]| opcode::MkDirAt::new(HERE, paths[0].as_ptr()).mode(0o777).build();
    with_paths(engine, [c_path(path)?, CString::default()], build)
        .await
        .map(drop)
}

pub(super) async fn rename(engine: &Engine, from: &Path, to: &Path) -> io::Result<()> {
    let build = |paths: &[CString; 2]| {
        opcode::RenameAt::new(HERE, paths[0].as_ptr(), HERE, paths[1].as_ptr()).build()
    };
    with_paths(engine, [c_path(from)?, c_path(to)?], build)
        .await
        .map(drop)
}

pub(super) async fn unlink(engine: &Engine, path: &Path, flags: i32) -> io::Result<()> {
    let build = |paths: &[CString; 2]| {
        opcode::UnlinkAt::new(HERE, paths[0].as_ptr())
            .flags(flags)
            .build()
    };
    with_paths(engine, [c_path(path)?, CString::default()], build)
        .await
        .map(drop)
}

pub(super) async fn sync_dir(engine: &Rc<Engine>, path: &Path) -> io::Result<()> {
    let directory = File {
        descriptor: open(engine, path, libc::O_RDONLY | libc::O_DIRECTORY).await?,
    };
    let result = directory.sync(false).await;
    directory.close().await?;
    result
}

async fn statx(
    engine: &Engine,
    dir: RawFd,
    path: CString,
    descriptor: Option<&Rc<Descriptor>>,
) -> io::Result<libc::statx> {
    // SAFETY: statx is plain numbers, for which zero is a value.
    let mut target: Box<libc::statx> = Box::new(unsafe { std::mem::zeroed() });
    let address: *mut libc::statx = &mut *target;
    let flags = if path.is_empty() { libc::AT_EMPTY_PATH } else { 0 };
    let entry = opcode::Statx::new(Fd(dir), path.as_ptr(), address.cast::<types::statx>())
        .flags(flags)
        .mask(libc::STATX_SIZE | libc::STATX_TYPE)
        .build();
    let keep = Keep::Statx(target, path, descriptor.cloned());
    // SAFETY: the entry points to the box and to the string's heap memory, both owned by `keep` and not moved by it;
    // the box is read only after completion.
    let (result, keep) = unsafe { engine.ring.submit(entry, keep) }.await;
    outcome(result)?;
    let Keep::Statx(target, ..) = keep else {
        unreachable!("the ring gives back what it was given")
    };
    Ok(*target)
}

pub(super) async fn metadata(engine: &Engine, path: &Path) -> io::Result<Entry> {
    let statx = statx(engine, libc::AT_FDCWD, c_path(path)?, None).await?;
    let is_dir = u32::from(statx.stx_mode) & libc::S_IFMT == libc::S_IFDIR;
    Ok(Entry {
        name: String::new(),
        is_dir,
        len: statx.stx_size,
    })
}

pub(super) async fn read_dir(engine: &Engine, path: &Path) -> io::Result<Vec<Entry>> {
    let path = path.to_path_buf();
    let list = move || {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            // A name that goes away while we look is as if it had never been there.
            let metadata = match entry.metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                metadata => metadata?,
            };
            entries.push(Entry {
                name,
                is_dir: metadata.is_dir(),
                len: metadata.len(),
            });
        }
        Ok(entries)
    };
    engine.pool.run(list).await
}

pub(super) async fn space(engine: &Engine, path: &Path) -> io::Result<Space> {
    let path = c_path(path)?;
    let ask = move || {
        // SAFETY: statvfs is plain numbers, for which zero is a value.
        let mut space: libc::statvfs = unsafe { std::mem::zeroed() };
        // SAFETY: reads a terminated string and writes one statvfs.
        check(unsafe { libc::statvfs(path.as_ptr(), &mut space) })?;
        let unit = space.f_frsize;
        Ok(Space {
            total: space.f_blocks.saturating_mul(unit),
            free: space.f_bavail.saturating_mul(unit),
        })
    };
    engine.pool.run(ask).await
}

/// A held lock: the kernel lets go of it when the descriptor is closed.
pub(crate) struct Lock(#[allow(dead_code, reason = "held for its Drop")] std::fs::File);

pub(super) async fn lock(engine: &Engine, path: &Path) -> io::Result<Lock> {
    let path = path.to_path_buf();
    let take = move || {
        let mut file = std::fs::File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        // SAFETY: flock is plain numbers, for which zero is a value (start 0, length 0: the whole file).
        let mut range: libc::flock = unsafe { std::mem::zeroed() };
        range.l_type = libc::F_WRLCK as libc::c_short;
        range.l_whence = libc::SEEK_SET as libc::c_short;
        // Of the open file, not of the process: it excludes our own process too, and closing another descriptor
        // of the file does not undo it. It conflicts with the record locks that Java takes.
        // SAFETY: reads one flock; the descriptor is open.
        match check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &range) }) {
            Ok(()) => {}
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => {
                let mut holder = String::new();
                let _ = (&mut file).take(32).read_to_string(&mut holder); // Apache Kafka writes nothing into it
                return Err(io::Error::new(
                    io::ErrorKind::WouldBlock,
                    holder.trim().to_owned(),
                ));
            }
            Err(error) => return Err(error),
        }
        file.set_len(0)?;
        file.write_all(format!("{}\n", std::process::id()).as_bytes())?;
        Ok(Lock(file))
    };
    engine.pool.run(take).await
}
