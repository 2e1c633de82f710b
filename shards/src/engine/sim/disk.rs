//! The disk of one node: operations in flight, and the file system that they change when they complete.
//!
//! An operation is submitted, takes its time, and then acts at once. Operations complete in any order. What
//! a newcomer would get wrong: whoever awaited an operation may be gone, it is done all the same; and a
//! crash finds operations in flight, of which any part (sector by sector) may have been done.
//!
//! Still water (rule D8): the bytes of a write are hashed when it is submitted and once more when it is done,
//! and direct operations in flight must not overlap in a block if one of them is a write. Both are errors
//! of the caller, and panic with the name of the file and the position.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::rc::Rc;

use bytes::Bytes;

use super::machine::Machine;
use super::options::DiskOptions;
use super::random::Stream;
use super::reply::{Reply, Waiting, reply};
use super::trace::{What, hash_bytes};
use super::{Crash, NodeId};
use crate::buffers::{BLOCK, Buffer};
use crate::engine::sim::events::Event;
use crate::fs::Commit;
use body::{Covered, SECTOR};
use tree::{CoveredEntries, error};

pub(crate) mod body;
mod faults;
pub(crate) mod tree;

pub use faults::{Effect, Fault, Operation};
pub(crate) use tree::{Inode, Listed, Opening, Tree};

/// One node's disk, as the machine keeps it.
pub(crate) struct Device {
    pub(crate) tree: Tree,
    flights: BTreeMap<u64, Flight>,
    numbers: u64,
    faults: Vec<Fault>,
    counts: BTreeMap<Operation, u64>,
    /// Who holds the record lock of a file: the number of the process.
    pub(crate) locks: BTreeMap<Inode, u64>,
}

/// An operation in flight.
struct Flight {
    operation: Operation,
    path: Rc<str>,
    direct: bool,
    effect: Option<Effect>,
    work: Work,
}

enum Work {
    Read {
        inode: Inode,
        position: u64,
        buffer: Buffer,
        reply: Reply<(io::Result<usize>, Buffer)>,
    },
    Write {
        inode: Inode,
        position: u64,
        bytes: Bytes,
        sampled: u64,
        linked: bool,
        reply: Reply<Commit>,
    },
    Sync {
        inode: Inode,
        covered: io::Result<Covered>,
        written: usize,
        reply: Reply<Commit>,
    },
    SyncDir {
        covered: io::Result<CoveredEntries>,
        reply: Reply<io::Result<()>>,
    },
    Names(Names),
}

/// A change or a look at names and sizes; it is told if it is to fail.
type Names = Box<dyn FnOnce(&mut Tree, io::Result<()>)>;

/// What has to happen after an operation is done.
enum Next {
    Nothing,
    /// The linked sync of a write begins.
    Sync(Flight),
}

impl Device {
    pub(crate) fn new(options: &DiskOptions) -> Device {
        Device::holding(Tree::new(options.capacity))
    }

    fn holding(tree: Tree) -> Device {
        Device {
            tree,
            flights: BTreeMap::new(),
            numbers: 0,
            faults: Vec::new(),
            counts: BTreeMap::new(),
            locks: BTreeMap::new(),
        }
    }

    fn hit(&mut self, operation: Operation, path: &str, random: &mut Stream) -> Option<Effect> {
        *self.counts.entry(operation).or_default() += 1;
        self.faults
            .iter_mut()
            .find_map(|fault| fault.hit(operation, path, random))
    }

    /// Panics when the blocks are not still.
    fn check_still(&self, path: &str, inode: Inode, blocks: &Range<u64>, writes: bool, direct: bool) {
        for flight in self.flights.values().filter(|flight| flight.direct || direct) {
            let Some((other, range, other_writes)) = flight.work.range() else {
                continue;
            };
            let overlap = range.start < blocks.end && blocks.start < range.end;
            assert!(
                other != inode || !overlap || !(writes || other_writes),
                "still water (D8): {path}: {} of blocks {blocks:?} while {} of blocks {range:?} is in flight",
                if writes { "a write" } else { "a read" },
                if other_writes { "a write" } else { "a read" },
            );
        }
    }

    /// The process is gone; what was in flight is done, half done or not done.
    pub(crate) fn crash(&mut self, crash: Crash, random: &mut Stream) {
        for flight in std::mem::take(&mut self.flights).into_values() {
            match flight.work {
                Work::Write {
                    inode,
                    position,
                    bytes,
                    sampled,
                    ..
                } => {
                    assert_still(&flight.path, position, &bytes, sampled);
                    self.tear(inode, position, &bytes, random);
                }
                Work::Names(names) if random.chance(500_000) => names(&mut self.tree, Ok(())),
                Work::Sync {
                    inode,
                    covered: Ok(covered),
                    ..
                } if random.chance(300_000) => {
                    if let Ok(body) = self.tree.body_mut(inode) {
                        body.settle(covered);
                    }
                }
                Work::SyncDir {
                    covered: Ok(covered), ..
                } if random.chance(300_000) => {
                    self.tree.settle_entries(&covered);
                }
                _ => {}
            }
        }
        self.locks.clear();
        match crash {
            Crash::Kill => self.tree.end_process(),
            Crash::PowerCut => self.tree.cut_power(random),
        }
    }

    /// Does any part of a write, sector by sector.
    fn tear(&mut self, inode: Inode, position: u64, bytes: &[u8], random: &mut Stream) {
        let chance = match random.below(4) {
            0 => 0,
            1 => 1_000_000,
            _ => 500_000,
        };
        let mut at = 0;
        while at < bytes.len() {
            let end = bytes.len().min(at + SECTOR - (position as usize + at) % SECTOR);
            if random.chance(chance) {
                let written = self.tree.write(inode, position + at as u64, &bytes[at..end]);
                drop(written); // a full disk: what does not fit is not there
            }
            at = end;
        }
    }

    /// Does the operation.
    fn complete(&mut self, flight: Flight, options: &DiskOptions, random: &mut Stream) -> Next {
        let failure = match flight.effect {
            Some(Effect::Error(code)) => Err(error(code)),
            _ => Ok(()),
        };
        let lie = flight.effect == Some(Effect::Lie);
        let flip = flight.effect == Some(Effect::Flip);
        match flight.work {
            Work::Read {
                inode,
                position,
                mut buffer,
                reply,
            } => {
                buffer.clear();
                let body = failure.and_then(|()| self.tree.body(inode));
                let count = body.map(|body| body.read(position, buffer.spare_mut()));
                if let Ok(count) = count {
                    buffer.set_len(count);
                    if flip && count > 0 {
                        buffer[random.index(count)] ^= 1 << random.below(8);
                    }
                }
                reply.give((count, buffer));
                Next::Nothing
            }
            Work::Write {
                inode,
                position,
                bytes,
                sampled,
                linked,
                reply,
            } => {
                assert_still(&flight.path, position, &bytes, sampled);
                // By itself a direct write is cut between blocks only, so that its rest is aligned too.
                let may = !flight.direct || bytes.len() > BLOCK;
                let short =
                    flight.effect == Some(Effect::Short) || may && random.chance(options.short_write_ppm);
                let taken = if short {
                    short_of(bytes.len(), random)
                } else {
                    bytes.len()
                };
                let part = bytes.get(..taken).unwrap_or(&bytes);
                let written = match lie {
                    true => Ok(part.len()),
                    false => failure.and_then(|()| self.tree.write(inode, position, part)),
                };
                if let (true, Ok(count @ 1..), Ok(body)) = (flip, &written, self.tree.body_mut(inode)) {
                    body.flip(position + random.below(*count as u64), 1 << random.below(8));
                }
                match written {
                    Ok(written) if linked && written == bytes.len() => {
                        let effect = self.hit(Operation::Sync, &flight.path, random);
                        let covered = self.tree.cover(inode);
                        let work = Work::Sync {
                            inode,
                            covered,
                            written,
                            reply,
                        };
                        return Next::Sync(Flight {
                            operation: Operation::Sync,
                            effect,
                            work,
                            ..flight
                        });
                    }
                    written => reply.give(Commit {
                        written,
                        synced: Err(error(libc::ECANCELED)),
                    }),
                }
                Next::Nothing
            }
            Work::Sync {
                inode,
                covered,
                written,
                reply,
            } => {
                let synced = match (failure, covered, self.tree.body_mut(inode)) {
                    (_, Err(error), _) | (_, _, Err(error)) => Err(error),
                    (Err(error), Ok(covered), Ok(body)) => {
                        body.fail_sync(&covered, random);
                        Err(error)
                    }
                    (Ok(()), Ok(covered), Ok(body)) => {
                        if !lie {
                            body.settle(covered);
                        }
                        Ok(())
                    }
                };
                reply.give(Commit {
                    written: Ok(written),
                    synced,
                });
                Next::Nothing
            }
            Work::SyncDir { covered, reply } => {
                let synced = failure.and(covered).map(|covered| {
                    if !lie {
                        self.tree.settle_entries(&covered);
                    }
                });
                reply.give(synced);
                Next::Nothing
            }
            Work::Names(names) => {
                names(&mut self.tree, failure);
                Next::Nothing
            }
        }
    }
}

impl Work {
    /// File, blocks, and whether they are written.
    fn range(&self) -> Option<(Inode, Range<u64>, bool)> {
        match self {
            Work::Read {
                inode,
                position,
                buffer,
                ..
            } => Some((*inode, blocks(*position, buffer.capacity()), false)),
            Work::Write {
                inode,
                position,
                bytes,
                ..
            } => Some((*inode, blocks(*position, bytes.len()), true)),
            Work::Sync { .. } | Work::SyncDir { .. } | Work::Names(_) => None,
        }
    }
}

/// Fewer bytes than `len`, but some: whole blocks if there are several, else whole sectors, else bytes.
fn short_of(len: usize, random: &mut Stream) -> usize {
    let unit = [BLOCK, SECTOR, 1]
        .into_iter()
        .find(|unit| len > *unit)
        .unwrap_or(1);
    (1 + random.index(len.div_ceil(unit).saturating_sub(1))) * unit
}

fn blocks(position: u64, len: usize) -> Range<u64> {
    let block = BLOCK as u64;
    position / block..(position + len as u64).div_ceil(block)
}

fn assert_still(path: &str, position: u64, bytes: &[u8], sampled: u64) {
    assert!(
        hash_bytes(bytes) == sampled,
        "still water (D8): {path}: the {} bytes at {position} changed while their write was in flight",
        bytes.len(),
    );
}

/// What an operation is done on.
pub(crate) struct Target<'a> {
    pub node: usize,
    pub path: &'a Rc<str>,
    pub inode: Inode,
    pub direct: bool,
}

impl Machine {
    pub(crate) fn read(
        &self,
        on: &Target<'_>,
        position: u64,
        buffer: Buffer,
    ) -> Waiting<(io::Result<usize>, Buffer)> {
        let (reply, waiting) = reply();
        // At the end of a file nobody looks at the alignment.
        let at_end = self.with_tree(on.node, |tree| {
            tree.body(on.inode).is_ok_and(|body| position >= body.len())
        });
        let aligned = at_end
            || position.is_multiple_of(BLOCK as u64) && (buffer.address() as usize).is_multiple_of(BLOCK);
        let range = blocks(position, buffer.capacity());
        let work = Work::Read {
            inode: on.inode,
            position,
            buffer,
            reply,
        };
        self.submit(
            on,
            Operation::Read,
            work,
            (!on.direct || aligned).then_some((range, false)),
            position,
        );
        waiting
    }

    pub(crate) fn write(
        &self,
        on: &Target<'_>,
        position: u64,
        bytes: Bytes,
        linked: bool,
    ) -> Waiting<Commit> {
        let (reply, waiting) = reply();
        let address = bytes.as_ptr() as usize;
        let aligned = [position as usize, bytes.len(), address]
            .iter()
            .all(|value| value.is_multiple_of(BLOCK));
        let range = blocks(position, bytes.len());
        let sampled = hash_bytes(&bytes);
        self.note_named(What::Bytes, on.node, sampled, position, on.path);
        let work = Work::Write {
            inode: on.inode,
            position,
            bytes,
            sampled,
            linked,
            reply,
        };
        self.submit(
            on,
            Operation::Write,
            work,
            (!on.direct || aligned).then_some((range, true)),
            sampled,
        );
        waiting
    }

    pub(crate) fn sync(&self, on: &Target<'_>) -> Waiting<Commit> {
        let (reply, waiting) = reply();
        let covered = self.with_tree(on.node, |tree| tree.cover(on.inode));
        let work = Work::Sync {
            inode: on.inode,
            covered,
            written: 0,
            reply,
        };
        self.submit(on, Operation::Sync, work, Some((0..0, false)), 0);
        waiting
    }

    pub(crate) fn sync_dir(&self, node: usize, path: &Rc<str>) -> Waiting<io::Result<()>> {
        let (reply, waiting) = reply();
        let covered = self.with_tree(node, |tree| tree.cover_entries(path));
        let on = Target {
            node,
            path,
            inode: Inode::NONE,
            direct: false,
        };
        self.submit(
            &on,
            Operation::SyncDir,
            Work::SyncDir { covered, reply },
            Some((0..0, false)),
            0,
        );
        waiting
    }

    /// Looks at or changes names or sizes.
    pub(crate) fn names<T: 'static>(
        &self,
        node: usize,
        path: &Rc<str>,
        operation: Operation,
        act: impl FnOnce(&mut Tree) -> io::Result<T> + 'static,
    ) -> Waiting<io::Result<T>> {
        let (reply, waiting) = reply();
        let names: Names = Box::new(|tree, may| reply.give(may.and_then(|()| act(tree))));
        let on = Target {
            node,
            path,
            inode: Inode::NONE,
            direct: false,
        };
        self.submit(&on, operation, Work::Names(names), Some((0..0, false)), 0);
        waiting
    }

    /// `blocks` are those that it touches, and whether it writes them; `None` if it is not aligned.
    fn submit(
        &self,
        on: &Target<'_>,
        operation: Operation,
        work: Work,
        blocks: Option<(Range<u64>, bool)>,
        detail: u64,
    ) {
        self.note_named(What::Submit, on.node, operation as u64, detail, on.path);
        let at = {
            let mut nodes = self.nodes.borrow_mut();
            let mut random = self.disk_random.borrow_mut();
            let device = &mut nodes[on.node].device;
            let effect = match blocks {
                Some((blocks, writes)) => {
                    if self.options.disk.still_water {
                        device.check_still(on.path, on.inode, &blocks, writes, on.direct);
                    }
                    device.hit(operation, on.path, &mut random)
                }
                None => Some(Effect::Error(libc::EINVAL)),
            };
            let flight = Flight {
                operation,
                path: on.path.clone(),
                direct: on.direct,
                effect,
                work,
            };
            let number = device.numbers;
            device.numbers += 1;
            let delay = delay(&flight, &self.options.disk, &mut random);
            device.flights.insert(number, flight);
            delay.map(|delay| (self.now() + delay, number))
        };
        if let Some((at, operation)) = at {
            self.plan(
                at,
                Event::Disk {
                    node: on.node,
                    operation,
                },
            );
        }
    }

    /// An operation's time is over.
    pub(crate) fn disk_done(&self, node: usize, number: u64) {
        let (flight, crash) = {
            let mut nodes = self.nodes.borrow_mut();
            let device = &mut nodes[node].device;
            match device.flights.get(&number).map(|flight| flight.effect.clone()) {
                None => return, // it was in flight at a crash
                Some(Some(Effect::Crash(crash))) => (None, Some(crash)),
                Some(_) => (device.flights.remove(&number), None),
            }
        };
        if let Some(crash) = crash {
            return self.crash(node, crash);
        }
        let Some(flight) = flight else { return };
        self.note_named(What::Disk, node, number, flight.operation as u64, &flight.path);
        let mut nodes = self.nodes.borrow_mut();
        let mut random = self.disk_random.borrow_mut();
        let device = &mut nodes[node].device;
        if let Next::Sync(flight) = device.complete(flight, &self.options.disk, &mut random) {
            let delay = delay(&flight, &self.options.disk, &mut random);
            device.flights.insert(number, flight);
            drop(nodes);
            if let Some(delay) = delay {
                self.plan(
                    self.now() + delay,
                    Event::Disk {
                        node,
                        operation: number,
                    },
                );
            }
        }
    }

    pub(crate) fn with_tree<T>(&self, node: usize, f: impl FnOnce(&mut Tree) -> T) -> T {
        f(&mut self.nodes.borrow_mut()[node].device.tree)
    }
}

/// What an operation takes; `None` if it is stopped.
fn delay(flight: &Flight, options: &DiskOptions, random: &mut Stream) -> Option<u64> {
    let range = match flight.operation {
        Operation::Sync | Operation::SyncDir => &options.sync_ns,
        _ => &options.delay_ns,
    };
    let mut delay = random.between(*range.start(), *range.end());
    if random.chance(options.slow_ppm) {
        delay += random.between(*options.slow_ns.start(), *options.slow_ns.end());
    }
    match flight.effect {
        Some(Effect::Stop) => None,
        Some(Effect::Delay(more)) => Some(delay + more.as_nanos() as u64),
        _ => Some(delay),
    }
}

/// A test's hand on the disk of one node: faults, and a look at what is there.
///
/// The methods act at once, outside of the node's time.
#[derive(Clone)]
pub struct Disk {
    machine: Rc<Machine>,
    node: NodeId,
}

/// A copy of a whole disk.
#[derive(Clone, Debug)]
pub struct Snapshot(Tree);

impl Disk {
    pub(crate) fn new(machine: Rc<Machine>, node: NodeId) -> Disk {
        Disk { machine, node }
    }

    fn with<T>(&self, f: impl FnOnce(&mut Device) -> T) -> T {
        f(&mut self.machine.nodes.borrow_mut()[self.node.0].device)
    }

    /// Adds a fault; of several that hit one operation the one added first acts.
    pub fn inject(&self, fault: Fault) {
        self.with(|device| device.faults.push(fault));
    }

    /// Removes the faults that would crash the node.
    pub fn remove_crashes(&self) {
        self.with(|device| device.faults.retain(|fault| !fault.is_crash()));
    }

    /// How many more operations the faults that let some fail may hit.
    pub fn errors_left(&self) -> u64 {
        self.with(|device| {
            device
                .faults
                .iter()
                .map(Fault::errors_left)
                .fold(0, u64::saturating_add)
        })
    }

    /// Removes the faults that let operations fail.
    pub fn remove_errors(&self) {
        self.with(|device| device.faults.retain(|fault| !fault.is_error()));
    }

    /// Removes all faults. What was stopped stays so until [`Disk::go_on`].
    pub fn clear_faults(&self) {
        self.with(|device| device.faults.clear());
    }

    /// Lets operations that were stopped go on.
    pub fn go_on(&self) {
        let stopped: Vec<u64> = self.with(|device| {
            let stopped = device
                .flights
                .iter_mut()
                .filter(|(_, flight)| flight.effect == Some(Effect::Stop));
            let started = stopped.map(|(number, flight)| {
                flight.effect = None;
                *number
            });
            started.collect()
        });
        for operation in stopped {
            self.machine.plan(
                self.machine.now(),
                Event::Disk {
                    node: self.node.0,
                    operation,
                },
            );
        }
    }

    /// How many operations of these kinds were begun since the world began; of all kinds if none are named.
    pub fn count(&self, operations: &[Operation]) -> u64 {
        self.with(|device| {
            let counted = device.counts.iter();
            let counted = counted.filter(|(kind, _)| operations.is_empty() || operations.contains(kind));
            counted.map(|(_, count)| count).sum()
        })
    }

    /// Bytes of file content that have a place.
    pub fn used(&self) -> u64 {
        let (free, total) = self.with(|device| device.tree.space());
        total - free
    }

    /// Sets the room for file content.
    pub fn set_capacity(&self, bytes: u64) {
        self.with(|device| device.tree.set_capacity(bytes));
    }

    /// The names in a directory, sorted; those of directories end in `/`.
    ///
    /// # Errors
    /// As the system calls would give.
    pub fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let listed = self.with(|device| device.tree.list(path))?;
        let name = |entry: tree::Listed| {
            if entry.is_dir {
                entry.name + "/"
            } else {
                entry.name
            }
        };
        Ok(listed.into_iter().map(name).collect())
    }

    /// All files below `path`, sorted, as paths from the root.
    ///
    /// # Errors
    /// As the system calls would give.
    pub fn files(&self, path: &str) -> io::Result<Vec<String>> {
        let mut files = Vec::new();
        for name in self.list(path)? {
            let below = format!("{}/{name}", path.trim_end_matches('/'));
            match below.strip_suffix('/') {
                Some(directory) => files.extend(self.files(directory)?),
                None => files.push(below),
            }
        }
        Ok(files)
    }

    /// The bytes of a file as its node would read them.
    ///
    /// # Errors
    /// As the system calls would give.
    pub fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        self.with(|device| {
            let body = device.tree.body(device.tree.find(path)?)?;
            let mut bytes = vec![0; body.len() as usize];
            body.read(0, &mut bytes);
            Ok(bytes)
        })
    }

    /// The bytes of a file that any power cut would leave.
    ///
    /// # Errors
    /// As the system calls would give.
    pub fn read_durable(&self, path: &str) -> io::Result<Vec<u8>> {
        self.with(|device| {
            let body = device.tree.body(device.tree.find(path)?)?;
            let mut bytes = vec![0; body.durable_len() as usize];
            body.read_durable(0, &mut bytes);
            Ok(bytes)
        })
    }

    /// Replaces a file (made if missing), durably.
    ///
    /// # Errors
    /// As the system calls would give.
    pub fn write(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.with(|device| {
            let opening = Opening {
                create: true,
                truncate: true,
                ..Opening::default()
            };
            let inode = device.tree.open(path, opening)?;
            device.tree.write(inode, 0, bytes)?;
            let covered = device.tree.cover(inode)?;
            device.tree.body_mut(inode)?.settle(covered);
            device.tree.close(inode);
            let covered = device.tree.cover_entries(parent_of(path))?;
            device.tree.settle_entries(&covered);
            Ok(())
        })
    }

    /// Makes a directory, as somebody before the node's start who did not sync it.
    ///
    /// # Errors
    /// As the system calls would give.
    pub fn create_dir(&self, path: &str) -> io::Result<()> {
        self.with(|device| device.tree.create_dir(path))
    }

    /// Removes a file, durably.
    ///
    /// # Errors
    /// As the system calls would give.
    pub fn remove(&self, path: &str) -> io::Result<()> {
        self.with(|device| {
            device.tree.remove_file(path)?;
            let covered = device.tree.cover_entries(parent_of(path))?;
            device.tree.settle_entries(&covered);
            Ok(())
        })
    }

    /// Rot: turns the bits of `mask` in one byte of a file, on the disk and for readers.
    ///
    /// # Errors
    /// As the system calls would give.
    pub fn flip(&self, path: &str, position: u64, mask: u8) -> io::Result<()> {
        self.with(|device| {
            let inode = device.tree.find(path)?;
            device.tree.body_mut(inode)?.flip(position, mask);
            Ok(())
        })
    }

    /// A copy of the disk as it is, with all that is volatile.
    pub fn snapshot(&self) -> Snapshot {
        self.with(|device| Snapshot(device.tree.clone()))
    }

    /// Puts a copy in place of what the disk holds.
    ///
    /// # Panics
    /// While the node runs.
    pub fn restore(&self, snapshot: &Snapshot) {
        assert!(
            !self.machine.is_running(self.node.0),
            "a disk is changed while its node runs"
        );
        self.with(|device| device.tree = snapshot.0.clone());
    }
}

/// The directory that a path's last name is in.
fn parent_of(path: &str) -> &str {
    let parts = path.trim_end_matches('/').rsplit_once('/');
    parts.map_or("/", |(parent, _)| parent)
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Disk of {:?}", self.node)
    }
}
