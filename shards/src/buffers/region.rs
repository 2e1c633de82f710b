//! Where the memory of a shard comes from: one mapping cut into spans by halving, or the heap.
//!
//! Spans of 4 KiB to 2 MiB come from pages of 2 MiB, lowest address first, so that pages which are not
//! needed are never touched. Larger ones, and any when the mapping is used up by fragments, are mappings
//! of their own. The budget bounds all of them alike.

#![allow(unsafe_code, reason = "maps and unmaps memory; each use has its proof")]

use std::collections::BTreeSet;
use std::ptr::NonNull;

use super::BLOCK;

/// The size of a page of the mapping, and of the largest span that is cut from one.
pub(crate) const PAGE: usize = 2 << 20;

const ORDERS: usize = 10; // 4 KiB << 9 = 2 MiB
const _: () = assert!(BLOCK << (ORDERS - 1) == PAGE);

/// A piece of memory: aligned to 4096, at least.
#[derive(Copy, Clone)]
pub(crate) struct Span {
    pub address: NonNull<u8>,
    pub size: usize,
    /// Not from the mapping: to be given back to the kernel or to the heap.
    pub own: bool,
}

/// The source of spans. Never moves; spans are valid until they are given back.
pub(crate) struct Region {
    base: Option<NonNull<u8>>,
    size: usize,
    from_heap: bool,
    hugepages: bool,
}

// SAFETY: addresses only; the mapping belongs to nobody's thread and is unmapped once, in Drop.
unsafe impl Send for Region {}
// SAFETY: all methods through `&self` only read the fields; the free lists are guarded by their owner's RefCell.
unsafe impl Sync for Region {}

/// The free spans of a region, by order of size; used on the owning shard only.
pub(crate) struct Free {
    orders: [BTreeSet<usize>; ORDERS],
    /// Given back lately and not yet put together again, so that a request after a request of one size halves nothing.
    recent: [Vec<usize>; ORDERS],
}

/// Spans of one size that are kept whole.
const RECENT_MAX: usize = 16;

/// The size that a request for `capacity` bytes gets: 4 KiB times a power of two up to 2 MiB, whole 2 MiB above.
pub(crate) fn round_up(capacity: usize) -> usize {
    if capacity > PAGE {
        capacity
            .checked_next_multiple_of(PAGE)
            .expect("a buffer of nearly all address space")
    } else {
        capacity.max(BLOCK).next_power_of_two()
    }
}

fn order(size: usize) -> usize {
    (size / BLOCK).trailing_zeros() as usize
}

impl Region {
    /// Reserves `size` bytes (rounded up to 2 MiB); nothing is touched yet.
    pub fn map(size: usize, hugepages: bool) -> std::io::Result<Region> {
        let size = size.max(PAGE).next_multiple_of(PAGE);
        let base = map_aligned(size, hugepages)?;
        Ok(Region {
            base: Some(base),
            size,
            from_heap: false,
            hugepages,
        })
    }

    /// Every span is a zeroed allocation of its own.
    #[cfg(feature = "simulation")]
    pub fn heap() -> Region {
        Region {
            base: None,
            size: 0,
            from_heap: true,
            hugepages: false,
        }
    }

    /// Free lists with the whole mapping in them.
    pub fn free(&self) -> Free {
        let mut free = Free {
            orders: Default::default(),
            recent: Default::default(),
        };
        free.orders[ORDERS - 1].extend((0..self.size / PAGE).map(|page| page * PAGE));
        free
    }

    /// How many pages the mapping has.
    pub fn pages(&self) -> usize {
        self.size / PAGE
    }

    /// The address of a page.
    pub fn page(&self, index: usize) -> Option<NonNull<u8>> {
        let base = self.base?;
        assert!(index < self.pages());
        // SAFETY: `index * PAGE` is inside the mapping of `size` bytes.
        Some(unsafe { base.add(index * PAGE) })
    }

    /// The page that holds all of `address .. address + len`, if one does.
    pub fn page_of(&self, address: *const u8, len: usize) -> Option<usize> {
        let base = self.base?.as_ptr() as usize;
        let offset = (address as usize).checked_sub(base)?;
        let end = offset.checked_add(len)?;
        (end <= self.size && offset / PAGE == end.saturating_sub(1).max(offset) / PAGE)
            .then_some(offset / PAGE)
    }

    /// A span of `size` bytes, which [`round_up`] gave.
    pub fn take(&self, free: &mut Free, size: usize) -> Span {
        if size <= PAGE
            && let Some(base) = self.base
            && let Some(offset) = free.take(order(size))
        {
            // SAFETY: free offsets lie inside the mapping.
            return Span {
                address: unsafe { base.add(offset) },
                size,
                own: false,
            };
        }
        let address = if self.from_heap {
            allocate(size)
        } else {
            map_aligned(size, self.hugepages).ok()
        };
        let Some(address) = address else {
            std::alloc::handle_alloc_error(layout(size))
        };
        Span {
            address,
            size,
            own: true,
        }
    }

    /// Takes a span back on the owning shard.
    pub fn give_back(&self, free: &mut Free, span: Span) {
        match self.base {
            Some(base) if !span.own => {
                free.give_back(
                    span.address.as_ptr() as usize - base.as_ptr() as usize,
                    order(span.size),
                );
            }
            _ => self.release(span),
        }
    }

    /// Gives a span of its own back to the system; a part of the mapping goes with the mapping.
    pub fn release(&self, span: Span) {
        if !span.own {
            return;
        }
        if self.from_heap {
            // SAFETY: `own` spans of a heap region come from `allocate` with this size, and are released once.
            unsafe { std::alloc::dealloc(span.address.as_ptr(), layout(span.size)) };
        } else {
            // SAFETY: `own` spans of a mapped region are whole mappings of this size, released once.
            unsafe { libc::munmap(span.address.as_ptr().cast(), span.size) };
        }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if let Some(base) = self.base {
            // SAFETY: mapped in `map` with this size; every block holds its home, so none is left.
            unsafe { libc::munmap(base.as_ptr().cast(), self.size) };
        }
    }
}

impl Free {
    fn take(&mut self, order: usize) -> Option<usize> {
        if let Some(offset) = self.recent[order].pop() {
            return Some(offset);
        }
        self.split(order).or_else(|| {
            self.join();
            self.split(order)
        })
    }

    fn give_back(&mut self, offset: usize, order: usize) {
        if self.recent[order].len() < RECENT_MAX {
            self.recent[order].push(offset);
        } else {
            self.merge(offset, order);
        }
    }

    /// Puts the recent spans together as far as they fit.
    fn join(&mut self) {
        for order in 0..ORDERS {
            for offset in std::mem::take(&mut self.recent[order]) {
                self.merge(offset, order);
            }
        }
    }

    fn split(&mut self, order: usize) -> Option<usize> {
        let from = (order..ORDERS).find(|order| !self.orders[*order].is_empty())?;
        let offset = self.orders[from].pop_first()?;
        for smaller in (order..from).rev() {
            self.orders[smaller].insert(offset + (BLOCK << smaller));
        }
        Some(offset)
    }

    fn merge(&mut self, mut offset: usize, mut order: usize) {
        while order + 1 < ORDERS && self.orders[order].remove(&(offset ^ (BLOCK << order))) {
            offset &= !(BLOCK << order);
            order += 1;
        }
        let new = self.orders[order].insert(offset);
        debug_assert!(new, "a span was given back twice");
    }
}

fn layout(size: usize) -> std::alloc::Layout {
    std::alloc::Layout::from_size_align(size, BLOCK).expect("a size that round_up gave")
}

fn allocate(size: usize) -> Option<NonNull<u8>> {
    // SAFETY: the size is not zero: `round_up` gives at least a block.
    NonNull::new(unsafe { std::alloc::alloc_zeroed(layout(size)) })
}

/// Maps `size` bytes (a multiple of 4096) at a multiple of 2 MiB, or of 4096 when smaller.
fn map_aligned(size: usize, hugepages: bool) -> std::io::Result<NonNull<u8>> {
    let align = if size >= PAGE { PAGE } else { BLOCK };
    let spare = align - BLOCK;
    // SAFETY: a fresh anonymous mapping touches no memory of ours.
    let raw = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            size + spare,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if raw == libc::MAP_FAILED {
        return Err(std::io::Error::last_os_error());
    }
    let start = raw as usize;
    let aligned = start.next_multiple_of(align);
    let (before, after) = (aligned - start, start + spare - aligned);
    // SAFETY: both pieces lie inside the mapping just made, outside of the part that is kept.
    unsafe {
        if before > 0 {
            libc::munmap(raw, before);
        }
        if after > 0 {
            libc::munmap((aligned + size) as *mut libc::c_void, after);
        }
        if hugepages && size >= PAGE {
            // Advice: where huge pages are switched off, small ones do.
            libc::madvise(aligned as *mut libc::c_void, size, libc::MADV_HUGEPAGE);
        }
    }
    NonNull::new(aligned as *mut u8).ok_or_else(|| std::io::Error::other("mapped at address 0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_up() {
        for (asked, given) in [
            (0, 4096),
            (1, 4096),
            (4096, 4096),
            (4097, 8192),
            (100_000, 131_072),
            (PAGE, PAGE),
            (PAGE + 1, 2 * PAGE),
        ] {
            assert_eq!(round_up(asked), given, "{asked}");
        }
    }

    #[test]
    fn halves_come_together_again() {
        let region = Region::map(3 * PAGE, false).unwrap();
        let mut free = region.free();
        let mut spans = Vec::new();
        let mut seed = 7u64;
        for _ in 0..5_000 {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            if seed >> 63 == 0 || spans.is_empty() {
                spans.push(region.take(&mut free, BLOCK << ((seed >> 40) % 10)));
            } else {
                let span: Span = spans.swap_remove((seed >> 33) as usize % spans.len());
                region.give_back(&mut free, span);
            }
            let mut ends: Vec<_> = spans
                .iter()
                .map(|span| (span.address.as_ptr() as usize, span.size))
                .collect();
            ends.sort_unstable();
            assert!(
                ends.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0),
                "spans overlap"
            );
        }
        for span in spans {
            region.give_back(&mut free, span);
        }
        free.join();
        assert_eq!(free.orders[ORDERS - 1].len(), 3);
    }

    #[test]
    fn a_page_is_found_only_for_what_lies_in_one() {
        let region = Region::map(2 * PAGE, false).unwrap();
        let base = region.page(0).unwrap().as_ptr().cast_const();
        for (offset, len, page) in [
            (0, PAGE, Some(0)),
            (4096, PAGE, None),
            (PAGE, 4096, Some(1)),
            (2 * PAGE, 4096, None),
            (2 * PAGE - 4096, 4096, Some(1)),
        ] {
            assert_eq!(
                region.page_of(base.wrapping_add(offset), len),
                page,
                "{offset}+{len}"
            );
        }
        assert_eq!(region.page_of(std::ptr::null(), 1), None);
    }
}
