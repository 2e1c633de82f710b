//! Memory for bytes on their way: aligned, charged to a purpose, reused.
//!
//! A [`Buffer`] has one owner, who fills it and may freeze it into [`Bytes`]. A [`Chunk`] is appended to
//! while readers and writes in flight hold views of what is filled already. Both may travel to other shards as
//! `Bytes`; when the last holder drops them, on whatever shard, the memory goes back to the shard that owns it.
//!
//! What a newcomer would get wrong: capacities are rounded up ([`Buffer::capacity`] says to what), and it is the
//! rounded capacity that the budget is charged with, for as long as any `Bytes` made from it lives.

#![allow(
    unsafe_code,
    reason = "views of shared memory that is appended to; each use has its proof"
)]

use std::cell::RefCell;
use std::fmt;
use std::ops::{Deref, DerefMut, Range};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use crossbeam_queue::SegQueue;

use crate::budget::Budget;
pub use crate::budget::Purpose;
use crate::engine::Kick;
use crate::shard;
pub(crate) use region::PAGE;
use region::{Region, Span};

mod region;

/// What every address and capacity is a multiple of: the block that O_DIRECT wants on any device.
pub const BLOCK: usize = 4096;

/// Makes the kernel give the shard all of its memory, so that no client waits for a page later, and registers it with
/// the ring as far as the memlock limit allows. Without it pages are touched when first used.
///
/// Takes seconds a GiB, since it is idle nine tenths of the time: begin it when the shard serves, in
/// [`crate::Priority::Housekeeping`], and drop it when the shard stops.
pub async fn touch() {
    let core = shard::try_current().expect("buffers::touch is only possible inside a shard's task");
    core.engine.touch_memory(&core).await;
}

/// Exclusively owned memory; derefs to the bytes up to its length.
pub struct Buffer {
    block: Block,
    len: usize,
}

impl Buffer {
    /// An empty buffer of at least `capacity` bytes, if the budget allows it now and nobody waits for it.
    pub fn try_take(purpose: Purpose, capacity: usize) -> Option<Buffer> {
        let core = shard::try_current().expect("Buffer::try_take is only possible inside a shard's task");
        let capacity = region::round_up(capacity);
        if !core.budget.try_charge(purpose, capacity) {
            core.memory.reclaim(&core.budget);
            if !core.budget.try_charge(purpose, capacity) {
                return None;
            }
        }
        Some(Buffer {
            block: core.memory.take(purpose, capacity),
            len: 0,
        })
    }

    /// An empty buffer of at least `capacity` bytes; waits for the budget, FIFO per purpose.
    pub async fn take(purpose: Purpose, capacity: usize) -> Buffer {
        if let Some(buffer) = Buffer::try_take(purpose, capacity) {
            return buffer;
        }
        let core = shard::try_current().expect("Buffer::take is only possible inside a shard's task");
        let capacity = region::round_up(capacity);
        core.memory.home.wanted.store(true, Ordering::SeqCst);
        core.memory.reclaim(&core.budget);
        core.budget.charge(purpose, capacity).await;
        Buffer {
            block: core.memory.take(purpose, capacity),
            len: 0,
        }
    }

    /// How many bytes fit: a multiple of [`BLOCK`].
    pub fn capacity(&self) -> usize {
        self.block.span.size
    }

    /// How many bytes are in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Cuts or extends to `len` bytes; what is uncovered is whatever the memory held (initialised, never secret of another process).
    ///
    /// # Panics
    /// When `len` is more than the capacity.
    pub fn set_len(&mut self, len: usize) {
        assert!(
            len <= self.capacity(),
            "set_len({len}) of a buffer of {}",
            self.capacity()
        );
        self.len = len;
    }

    /// Makes it empty.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Appends all of `bytes`.
    ///
    /// # Panics
    /// When they do not fit.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        assert!(
            end <= self.capacity(),
            "{end} bytes into a buffer of {}",
            self.capacity()
        );
        self.spare_mut()[..bytes.len()].copy_from_slice(bytes);
        self.len = end;
    }

    /// What is left between length and capacity; follow it with [`Buffer::set_len`].
    pub fn spare_mut(&mut self) -> &mut [u8] {
        let len = self.len;
        &mut self.whole_mut()[len..]
    }

    /// The bytes as shared, immutable ones; nothing is copied.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }

    fn whole_mut(&mut self) -> &mut [u8] {
        // SAFETY: the span is valid for `size` bytes and initialised (regions hand out zeroed or reused
        // memory), and `self` owns it exclusively, so for the life of `&mut self` nobody else touches it.
        unsafe { std::slice::from_raw_parts_mut(self.block.span.address.as_ptr(), self.block.span.size) }
    }

    /// Address for an operation of the kernel. The buffer must stay alive and untouched until it completes.
    pub(crate) fn address(&self) -> *mut u8 {
        self.block.span.address.as_ptr()
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: valid and initialised as in `whole_mut`; `len <= size` is kept by `set_len`; shared for `&self`.
        unsafe { std::slice::from_raw_parts(self.block.span.address.as_ptr(), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        let len = self.len;
        &mut self.whole_mut()[..len]
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} of {})", self.len, self.capacity())
    }
}

/// Memory that one owner appends to while others hold views: what is filled never changes.
pub struct Chunk {
    block: Arc<Block>,
    filled: usize,
}

impl Chunk {
    /// An empty chunk of at least `capacity` bytes, if the budget allows it now and nobody waits for it.
    pub fn try_take(purpose: Purpose, capacity: usize) -> Option<Chunk> {
        Buffer::try_take(purpose, capacity).map(Chunk::from)
    }

    /// An empty chunk of at least `capacity` bytes; waits for the budget, FIFO per purpose.
    pub async fn take(purpose: Purpose, capacity: usize) -> Chunk {
        Buffer::take(purpose, capacity).await.into()
    }

    /// How many bytes fit: a multiple of [`BLOCK`].
    pub fn capacity(&self) -> usize {
        self.block.span.size
    }

    /// How many bytes are filled.
    pub fn filled(&self) -> usize {
        self.filled
    }

    /// Appends as much of `bytes` as fits; gives how many that were.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.capacity() - self.filled);
        // SAFETY: `filled + count <= size`, so the target is inside the span. Views reach up to the `filled` of
        // their time and no further, and `&mut self` is the only appender (a Chunk is not Clone), so nobody reads
        // or writes the target now. `bytes` cannot overlap it, because no slice of that part exists.
        unsafe {
            std::ptr::copy_nonoverlapping(
                bytes.as_ptr(),
                self.block.span.address.as_ptr().add(self.filled),
                count,
            );
        }
        self.filled += count;
        count
    }

    /// The filled bytes of `range`, shared; nothing is copied. Address of byte 0 is a multiple of [`BLOCK`].
    ///
    /// # Panics
    /// When the range is not within what is filled.
    pub fn view(&self, range: Range<usize>) -> Bytes {
        assert!(
            range.start <= range.end && range.end <= self.filled,
            "view {range:?} of {} filled",
            self.filled
        );
        Bytes::from_owner(View {
            block: self.block.clone(),
            range,
        })
    }
}

impl From<Buffer> for Chunk {
    /// What is in the buffer is filled.
    fn from(buffer: Buffer) -> Chunk {
        Chunk {
            block: Arc::new(buffer.block),
            filled: buffer.len,
        }
    }
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: as in `View::as_ref`, for the range 0..filled.
        unsafe { std::slice::from_raw_parts(self.block.span.address.as_ptr(), self.filled) }
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunk({} of {})", self.filled, self.capacity())
    }
}

struct View {
    block: Arc<Block>,
    range: Range<usize>,
}

impl AsRef<[u8]> for View {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the range was filled when the view was made, filled bytes are never written again, and the
        // block lives as long as the view.
        unsafe {
            std::slice::from_raw_parts(
                self.block.span.address.as_ptr().add(self.range.start),
                self.range.len(),
            )
        }
    }
}

/// A span on loan from its home.
struct Block {
    span: Span,
    purpose: Purpose,
    home: Arc<Home>,
}

const _: () = {
    const fn is_shared<T: Send + Sync>() {}
    is_shared::<Kick>();
    is_shared::<Region>();
};

// SAFETY: a block is plain memory; the span's address is valid until the span is given back, which happens once,
// in Drop, and nothing in it is tied to a thread (giving it back goes through the home's lock-free queue
// unless the thread is the home's own).
unsafe impl Send for Block {}
// SAFETY: a shared block only gives its address and size; reads through it are of bytes that are not written any
// more (see `Chunk::append` and `View`).
unsafe impl Sync for Block {}

impl Drop for Block {
    fn drop(&mut self) {
        let returned = Returned {
            span: self.span,
            purpose: self.purpose,
        };
        match shard::try_current() {
            Some(core) if Arc::ptr_eq(&core.memory.home, &self.home) => {
                core.memory.give_back(returned, &core.budget);
            }
            _ => {
                self.home.returned.push(returned);
                if self.home.wanted.load(Ordering::SeqCst) {
                    self.home.kick.kick();
                }
            }
        }
    }
}

struct Returned {
    span: Span,
    purpose: Purpose,
}

// SAFETY: as for `Block`: an address of plain memory that is nobody's until the home takes it back.
unsafe impl Send for Returned {}

/// Where blocks of one shard go back to; outlives the shard while any of its bytes live.
struct Home {
    region: Region,
    returned: SegQueue<Returned>,
    /// A task of the shard waits for memory: whoever returns some kicks it.
    wanted: AtomicBool,
    kick: Kick,
}

impl Drop for Home {
    fn drop(&mut self) {
        while let Some(returned) = self.returned.pop() {
            self.region.release(returned.span);
        }
    }
}

/// The memory of one shard.
pub(crate) struct Memory {
    home: Arc<Home>,
    free: Rc<RefCell<region::Free>>,
}

impl Memory {
    /// `region` is what it gives out; `kick` reaches the shard.
    fn new(region: Region, kick: Kick) -> Memory {
        let free = Rc::new(RefCell::new(region.free()));
        let home = Arc::new(Home {
            region,
            returned: SegQueue::new(),
            wanted: AtomicBool::new(false),
            kick,
        });
        Memory { home, free }
    }

    /// Reserves `total` bytes of address space, in pages of 2 MiB.
    pub fn map(total: usize, hugepages: bool, kick: Kick) -> std::io::Result<Memory> {
        Ok(Memory::new(Region::map(total, hugepages)?, kick))
    }

    /// For the simulator: every block is an allocation of its own, zeroed.
    #[cfg(feature = "simulation")]
    pub fn from_heap(kick: Kick) -> Memory {
        Memory::new(Region::heap(), kick)
    }

    /// The memory that can be registered with a ring, as pages of 2 MiB.
    pub(crate) fn region(&self) -> &Region {
        &self.home.region
    }

    fn take(&self, purpose: Purpose, capacity: usize) -> Block {
        let span = self.home.region.take(&mut self.free.borrow_mut(), capacity);
        Block {
            span,
            purpose,
            home: self.home.clone(),
        }
    }

    fn give_back(&self, returned: Returned, budget: &Budget) {
        let size = returned.span.size;
        self.home
            .region
            .give_back(&mut self.free.borrow_mut(), returned.span);
        budget.release(returned.purpose, size);
    }

    /// Takes back what other shards have dropped; the engine calls it every turn. Gives whether there was any.
    pub fn reclaim(&self, budget: &Budget) -> bool {
        let mut any = false;
        while let Some(returned) = self.home.returned.pop() {
            any = true;
            self.give_back(returned, budget);
        }
        if any && !budget.is_wanted() {
            self.home.wanted.store(false, Ordering::SeqCst);
        }
        any
    }

    /// Whether [`Memory::reclaim`] would wake somebody.
    pub fn has_work(&self) -> bool {
        self.home.wanted.load(Ordering::SeqCst) && !self.home.returned.is_empty()
    }
}
