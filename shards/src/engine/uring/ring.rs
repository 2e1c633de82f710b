//! One io_uring per shard, and the table of the operations that the kernel has.
//!
//! Whatever memory an operation points to (a buffer, a path, a message header) is moved into the table and
//! stays there until the kernel's last completion for it, whoever has dropped the future meanwhile. The same
//! holds for the descriptor: a linked sync resolves its file only when it starts.

#![allow(
    unsafe_code,
    reason = "submits operations that point to memory; each use has its proof"
)]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ffi::CString;
use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use io_uring::squeue::{Entry, Flags};
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, opcode};

use super::file::Descriptor;
use crate::buffers::Buffer;
use crate::task::keep_waker;

const ENTRIES: u32 = 1024;
const COMPLETIONS: u32 = 4096;

/// The kernel's threads for blocking calls on files, at most: what a checkpoint syncs at once.
const FILE_WORKERS: u32 = 16;
/// The same for all else, which hardly ever blocks: sockets are polled.
const OTHER_WORKERS: u32 = 4;

/// Completions with this user data mean nothing but "look into your inbox".
const IGNORED: u64 = u64::MAX;
/// The poll of the eventfd that plain threads write to.
const BELL: u64 = u64::MAX - 1;

/// What an operation points to, kept until it completes. Boxed parts do not move when this does.
pub(super) enum Keep {
    None,
    Descriptor(#[allow(dead_code, reason = "held so that it stays open")] Rc<Descriptor>),
    Buffer(
        Buffer,
        #[allow(dead_code, reason = "held so that it stays open")] Rc<Descriptor>,
    ),
    Bytes(
        #[allow(dead_code, reason = "the kernel reads them")] Bytes,
        #[allow(dead_code, reason = "held so that it stays open")] Rc<Descriptor>,
    ),
    Paths(#[allow(dead_code, reason = "the kernel reads them")] [CString; 2]),
    Statx(
        Box<libc::statx>,
        #[allow(dead_code, reason = "the kernel reads it")] CString,
        #[allow(dead_code, reason = "held so that it stays open")] Option<Rc<Descriptor>>,
    ),
    Message(
        Box<super::tcp::Message>,
        #[allow(dead_code, reason = "held so that it stays open")] Rc<Descriptor>,
    ),
    Address(
        #[allow(dead_code, reason = "the kernel reads it")] Box<socket2::SockAddr>,
        #[allow(dead_code, reason = "held so that it stays open")] Rc<Descriptor>,
    ),
}

/// Who is told about completions.
enum Listener {
    Once(Rc<Op>),
    Many(Rc<dyn Multishot>),
}

/// Receives every completion of a multishot operation.
pub(super) trait Multishot {
    /// `more` is false with the last one.
    fn on_completion(&self, result: i32, more: bool);
}

/// An operation that completes once.
struct Op {
    state: RefCell<OpState>,
}

struct OpState {
    result: Option<i32>,
    keep: Keep,
    waker: Option<Waker>,
}

/// Waits for one operation; gives the kernel's result (negative: an errno) and what was kept.
/// Dropping it cancels nothing.
#[must_use = "the operation is under way; await it or drop it knowingly"]
pub(super) struct Pending(Rc<Op>);

impl Future for Pending {
    type Output = (i32, Keep);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<(i32, Keep)> {
        let mut state = self.0.state.borrow_mut();
        match state.result.take() {
            Some(result) => Poll::Ready((result, std::mem::replace(&mut state.keep, Keep::None))),
            None => {
                keep_waker(&mut state.waker, cx);
                Poll::Pending
            }
        }
    }
}

/// Names an operation in the table, for cancelling.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct OpId(u64);

pub(super) struct Ring {
    uring: RefCell<IoUring>,
    table: RefCell<Table>,
    /// Entries that found no room; always before newer ones.
    backlog: RefCell<VecDeque<Batch>>,
    completions: RefCell<Vec<(u64, i32, bool)>>,
    bell: RawFd,
    bell_armed: Cell<bool>,
    /// After the shard's end: nothing is submitted any more.
    closed: Cell<bool>,
    registered: RefCell<Vec<bool>>,
    has_ftruncate: bool,
}

enum Batch {
    One(Entry),
    Linked([Entry; 2]),
}

#[derive(Default)]
struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Operations in flight.
    used: usize,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    listener: Option<Listener>,
}

impl Table {
    fn insert(&mut self, listener: Listener) -> OpId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        });
        self.used += 1;
        let slot = &mut self.slots[index as usize];
        slot.listener = Some(listener);
        OpId(u64::from(slot.generation) << 32 | u64::from(index))
    }

    fn slot(&mut self, id: u64) -> Option<&mut Slot> {
        self.slots
            .get_mut(id as u32 as usize)
            .filter(|slot| slot.generation == (id >> 32) as u32)
    }

    fn remove(&mut self, id: u64) -> Option<Listener> {
        let slot = self.slot(id)?;
        let listener = slot.listener.take()?;
        // Half of the generations, so that no id ever equals IGNORED or BELL.
        slot.generation = (slot.generation + 1) & (u32::MAX >> 1);
        self.free.push(id as u32);
        self.used -= 1;
        Some(listener)
    }
}

impl Ring {
    /// Makes the ring of the calling thread, which alone may use it. `bell` is an eventfd that plain threads write;
    /// `cpu` is where the thread is pinned, if it is.
    pub fn new(bell: RawFd, cpu: Option<usize>) -> io::Result<Ring> {
        let uring = IoUring::builder()
            .setup_clamp()
            .setup_cqsize(COMPLETIONS)
            .setup_submit_all()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .dontfork()
            .build(ENTRIES)?;
        let mut probe = io_uring::Probe::new();
        uring.submitter().register_probe(&mut probe)?;
        confine_workers(&uring, cpu);
        Ok(Ring {
            uring: RefCell::new(uring),
            table: RefCell::default(),
            backlog: RefCell::default(),
            completions: RefCell::default(),
            bell,
            bell_armed: Cell::new(false),
            closed: Cell::new(false),
            registered: RefCell::default(),
            has_ftruncate: probe.is_supported(opcode::Ftruncate::CODE),
        })
    }

    pub fn fd(&self) -> RawFd {
        self.uring.borrow().as_raw_fd()
    }

    /// Queues an operation; it is submitted with the next [`Ring::enter`].
    ///
    /// # Safety
    /// Everything that `entry` points to must be owned by `keep`, at an address that moving `keep` does not
    /// change, and must not be touched by others while the kernel may write it.
    pub unsafe fn submit(&self, entry: Entry, keep: Keep) -> Pending {
        let op = Rc::new(Op {
            state: RefCell::new(OpState {
                result: None,
                keep,
                waker: None,
            }),
        });
        let id = self.table.borrow_mut().insert(Listener::Once(op.clone()));
        self.push(Batch::One(entry.user_data(id.0)));
        Pending(op)
    }

    /// Queues two operations, the second of which starts when the first has fully succeeded, and is cancelled otherwise.
    ///
    /// # Safety
    /// As for [`Ring::submit`], for each.
    pub unsafe fn submit_linked(&self, first: (Entry, Keep), second: (Entry, Keep)) -> (Pending, Pending) {
        let mut table = self.table.borrow_mut();
        let [(a, first), (b, second)] = [first, second].map(|(entry, keep)| {
            let op = Rc::new(Op {
                state: RefCell::new(OpState {
                    result: None,
                    keep,
                    waker: None,
                }),
            });
            let id = table.insert(Listener::Once(op.clone()));
            (entry.user_data(id.0), Pending(op))
        });
        drop(table);
        self.push(Batch::Linked([a.flags(Flags::IO_LINK), b]));
        (first, second)
    }

    /// Queues an operation that completes many times.
    ///
    /// # Safety
    /// `entry` must point to nothing, and its descriptor must stay open until it is submitted.
    pub unsafe fn submit_multishot(&self, entry: Entry, listener: Rc<dyn Multishot>) -> OpId {
        let id = self.table.borrow_mut().insert(Listener::Many(listener));
        self.push(Batch::One(entry.user_data(id.0)));
        id
    }

    /// Asks the kernel to end an operation; its completion still comes.
    pub fn cancel(&self, id: OpId) {
        if self
            .table
            .borrow_mut()
            .slot(id.0)
            .is_some_and(|slot| slot.listener.is_some())
        {
            let entry = opcode::AsyncCancel::new(id.0).build().user_data(IGNORED);
            self.push(Batch::One(entry));
        }
    }

    /// Closes a descriptor, behind everything that was queued before.
    pub fn close_fd(&self, fd: RawFd) {
        if self.closed.get() {
            // SAFETY: the caller owns `fd` and does not use it again.
            unsafe { libc::close(fd) };
            return;
        }
        let entry = opcode::Close::new(Fd(fd))
            .build()
            .flags(Flags::SKIP_SUCCESS)
            .user_data(IGNORED);
        self.push(Batch::One(entry));
    }

    /// Makes another shard's ring complete something, which ends its wait.
    pub fn message(&self, ring_fd: RawFd) {
        let entry = opcode::MsgRingData::new(Fd(ring_fd), 0, IGNORED, None)
            .build()
            .flags(Flags::SKIP_SUCCESS)
            .user_data(IGNORED);
        self.push(Batch::One(entry));
    }

    fn push(&self, batch: Batch) {
        if self.closed.get() {
            return;
        }
        let mut backlog = self.backlog.borrow_mut();
        backlog.push_back(batch);
        let mut uring = self.uring.borrow_mut();
        if !fill(&mut uring, &mut backlog) {
            // Make room. On an error (EBUSY, EAGAIN) the entries wait in the backlog for the next `enter`.
            let _ = uring.submitter().submit();
            fill(&mut uring, &mut backlog);
        }
    }

    /// Submits what is queued, runs the kernel's deferred work, and waits for a completion if `wait` says so
    /// (at most for its duration). Gives whether the time ran out.
    pub fn enter(&self, wait: Option<Duration>) -> bool {
        if !self.bell_armed.replace(true) {
            self.arm_bell();
        }
        let mut uring = self.uring.borrow_mut();
        let mut backlog = self.backlog.borrow_mut();
        let result = loop {
            let all = fill(&mut uring, &mut backlog);
            let wait = if all { wait } else { None };
            let timespec = wait.map(Timespec::from);
            let args = match &timespec {
                Some(timespec) => SubmitArgs::new().timespec(timespec),
                None => SubmitArgs::new(),
            };
            let queued = uring.submission().len() as u32;
            // GETEVENTS always: without it a ring with DEFER_TASKRUN runs no deferred work.
            let flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
            // SAFETY: `args` is what EXT_ARG expects and outlives the call, as does the timespec it points to. The
            // entries fulfil the contract of `submit`.
            let result = unsafe {
                uring
                    .submitter()
                    .enter(queued, u32::from(wait.is_some()), flags.bits(), Some(&args))
            };
            if all || result.is_err() {
                break result;
            }
        };
        match result {
            Ok(_) => false,
            Err(error) => match error.raw_os_error() {
                Some(libc::ETIME) => true,
                // A signal; completions to be reaped first; or memory short for a moment: go on either way.
                Some(libc::EINTR | libc::EBUSY | libc::EAGAIN) => false,
                _ => panic!("io_uring_enter failed: {error}"),
            },
        }
    }

    /// Hands every completion to its operation; gives how many there were. Wakes tasks; holds no borrow meanwhile.
    pub fn reap(&self) -> usize {
        let mut found = std::mem::take(&mut *self.completions.borrow_mut());
        {
            let mut uring = self.uring.borrow_mut();
            let entries = uring.completion();
            found.extend(
                entries.map(|entry| (entry.user_data(), entry.result(), cqueue::more(entry.flags()))),
            );
        }
        let completions = found.len();
        for (id, result, more) in found.drain(..) {
            match id {
                IGNORED => {}
                BELL => self.bell_armed.set(self.bell_armed.get() && more),
                _ => self.complete(id, result, more),
            }
        }
        *self.completions.borrow_mut() = found;
        completions
    }

    fn complete(&self, id: u64, result: i32, more: bool) {
        let listener = {
            let mut table = self.table.borrow_mut();
            if more {
                match table.slot(id).and_then(|slot| slot.listener.as_ref()) {
                    Some(Listener::Many(listener)) => Some(Listener::Many(listener.clone())),
                    _ => None,
                }
            } else {
                table.remove(id)
            }
        };
        match listener {
            Some(Listener::Many(listener)) => listener.on_completion(result, more),
            Some(Listener::Once(op)) => {
                let waker = {
                    let mut state = op.state.borrow_mut();
                    state.result = Some(result);
                    state.waker.take()
                };
                if let Some(waker) = waker {
                    waker.wake();
                }
                // A future that is gone leaves what was kept to be dropped here, with no borrow held.
            }
            None => debug_assert!(false, "a completion for no operation: {id:x}"),
        }
    }

    fn arm_bell(&self) {
        let mut count = [0u8; 8];
        // SAFETY: the eventfd is non-blocking and lives as long as the shard; `count` has the 8 bytes it writes.
        unsafe { libc::read(self.bell, count.as_mut_ptr().cast(), count.len()) };
        let entry = opcode::PollAdd::new(Fd(self.bell), libc::POLLIN as u32)
            .multi(true)
            .build();
        self.push(Batch::One(entry.user_data(BELL)));
    }

    /// Operations that the kernel still has.
    pub fn in_flight(&self) -> usize {
        self.table.borrow().used
    }

    /// Asks the kernel to end everything that can be ended; for the shard's stop.
    pub fn cancel_all(&self) {
        let builder = io_uring::types::CancelBuilder::any();
        self.push(Batch::One(
            opcode::AsyncCancel2::new(builder).build().user_data(IGNORED),
        ));
    }

    /// From now nothing is submitted; descriptors are closed directly.
    pub fn close(&self) {
        self.closed.set(true);
    }

    /// Whether [`Ring::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Whether this kernel (6.9 and later) has the operation that sets a file's length.
    pub fn has_ftruncate(&self) -> bool {
        self.has_ftruncate
    }

    /// Makes a table for `pages` fixed buffers, all empty. False where the kernel refuses.
    pub fn prepare_pages(&self, pages: usize) -> bool {
        let Ok(count) = u32::try_from(pages.min(16_384)) else {
            return false;
        };
        let made = self
            .uring
            .borrow()
            .submitter()
            .register_buffers_sparse(count)
            .is_ok();
        if made {
            *self.registered.borrow_mut() = vec![false; count as usize];
        }
        made
    }

    /// Registers one page, which pins it. False where the kernel refuses (memlock).
    ///
    /// # Safety
    /// `address .. address + len` must stay mapped until the ring is gone.
    pub unsafe fn register_page(&self, index: usize, address: *mut u8, len: usize) -> bool {
        let Some(registered) = self.registered.borrow().get(index).copied() else {
            return false;
        };
        if registered {
            return true;
        }
        let page = [libc::iovec {
            iov_base: address.cast(),
            iov_len: len,
        }];
        // SAFETY: the caller's promise.
        let done = unsafe {
            self.uring
                .borrow()
                .submitter()
                .register_buffers_update(index as u32, &page, None)
        };
        if let Some(registered) = self.registered.borrow_mut().get_mut(index) {
            *registered = done.is_ok();
        }
        done.is_ok()
    }

    /// Whether the page is registered.
    pub fn is_registered(&self, page: usize) -> bool {
        self.registered.borrow().get(page).copied().unwrap_or(false)
    }
}

/// Bounds the kernel's threads for calls that block (syncs, opens, renames), and keeps them on the shard's CPU: left to
/// itself the kernel runs them on any, where they take time from other shards. Old kernels (5.13, 5.14) refuse, and it
/// goes on as they like it; so it does where the CPU is not one that the process may use.
fn confine_workers(uring: &IoUring, cpu: Option<usize>) {
    let submitter = uring.submitter();
    let _ = submitter.register_iowq_max_workers(&mut [FILE_WORKERS, OTHER_WORKERS]);
    if let Some(cpu) = cpu.filter(|cpu| *cpu < libc::CPU_SETSIZE as usize) {
        // SAFETY: a set of CPUs is plain bits, all of which may be zero.
        let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        // SAFETY: `cpu` is below the size of the set.
        unsafe { libc::CPU_SET(cpu, &mut set) };
        let _ = submitter.register_iowq_aff(&set);
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let table = std::mem::take(&mut *self.table.borrow_mut());
        if table.used > 0 {
            // Only after a panic: the kernel may still write to what is kept.
            std::mem::forget(table);
        }
    }
}

/// Moves entries into the submission queue as far as they fit, pairs together; true when none is left.
fn fill(uring: &mut IoUring, backlog: &mut VecDeque<Batch>) -> bool {
    let mut queue = uring.submission();
    while let Some(batch) = backlog.front() {
        // SAFETY: the entries fulfil the contract of `submit`: what they point to is in the table.
        let pushed = unsafe {
            match batch {
                Batch::One(entry) => queue.push(entry),
                Batch::Linked(pair) => queue.push_multiple(pair),
            }
        };
        if pushed.is_err() {
            return false;
        }
        backlog.pop_front();
    }
    true
}

/// The kernel's result as an `io::Result`.
pub(super) fn outcome(result: i32) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}
