//! The bytes of one file: what a read sees now, what a power cut would leave, and all that lies between.
//!
//! A write is volatile sector by sector (512 bytes) until a sync of this file that *began* after the write
//! completed. What a newcomer would get wrong: a truncation is one step. After a power cut the file may be
//! as it was before the truncation or as it is after, but not half of each; so every unsynced truncation
//! keeps the body that stood before it, and a crash picks one of them first and its sectors second.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::engine::sim::random::Stream;

/// The unit in which memory is kept and shared.
pub(crate) const PAGE: usize = 4096;
/// The unit that a power cut keeps or loses whole.
pub(crate) const SECTOR: usize = 512;

const SECTORS: usize = PAGE / SECTOR;
/// Versions of a page that a power cut may bring back, besides the durable and the newest one.
const OLDER_MAX: usize = 2;
const SIZES_MAX: usize = 8;
const TRUNCATIONS_MAX: usize = 8;

type Page = Rc<[u8; PAGE]>;

#[derive(Clone, Debug, Default)]
pub(crate) struct Body {
    pages: BTreeMap<u64, Page>,
    size: u64,
    durable: BTreeMap<u64, Page>,
    durable_size: u64,
    dirty: BTreeMap<u64, Dirty>,
    /// Sizes the file had since `durable_size`; the newest is `size`.
    sizes: Vec<u64>,
    /// Truncations that no sync covers yet, oldest first.
    truncations: Vec<Truncation>,
    /// Pages that have a place on the disk, as ranges `start..end` of page numbers.
    placed: BTreeMap<u64, u64>,
}

/// A page with sectors that no sync covers yet.
#[derive(Clone, Debug, Default)]
struct Dirty {
    sectors: u8,
    older: Vec<(Page, u8)>,
}

#[derive(Clone, Debug)]
struct Truncation {
    size: u64,
    before: Box<Body>,
}

/// What a sync will have made durable once it is complete: the state in which it found the file.
#[derive(Debug)]
pub(crate) struct Covered {
    pages: Vec<(u64, Page, u8)>,
    size: u64,
    truncations: usize,
}

/// How a power cut treats what no sync covers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Keep {
    /// Nothing of it stays.
    Nothing,
    /// All of it stays.
    All,
    /// Each sector by its own throw, `ppm` in a million stay.
    Sectors { ppm: u32 },
    /// Each page by its own throw.
    Pages { ppm: u32 },
}

impl Keep {
    pub(crate) fn any(random: &mut Stream) -> Keep {
        match random.below(7) {
            0 => Keep::Nothing,
            1 => Keep::All,
            2 => Keep::Sectors { ppm: 500_000 },
            3 => Keep::Sectors { ppm: 900_000 },
            4 => Keep::Sectors { ppm: 100_000 },
            5 => Keep::Pages { ppm: 500_000 },
            _ => Keep::Pages { ppm: 850_000 },
        }
    }

    /// The sectors of a page that stay, as bits.
    fn sectors(self, random: &mut Stream) -> u8 {
        match self {
            Keep::Nothing => 0,
            Keep::All => u8::MAX,
            Keep::Sectors { ppm } => (0..SECTORS).fold(0, |kept, n| kept | u8::from(random.chance(ppm)) << n),
            Keep::Pages { ppm } if random.chance(ppm) => u8::MAX,
            Keep::Pages { .. } => 0,
        }
    }
}

impl Body {
    pub(crate) fn len(&self) -> u64 {
        self.size
    }

    /// Copies what stands at `position` into `into`; how many bytes there were before the end of the file.
    pub(crate) fn read(&self, position: u64, into: &mut [u8]) -> usize {
        read_pages(&self.pages, self.size, position, into)
    }

    /// The same of what a power cut would certainly leave.
    pub(crate) fn read_durable(&self, position: u64, into: &mut [u8]) -> usize {
        read_pages(&self.durable, self.durable_size, position, into)
    }

    pub(crate) fn durable_len(&self) -> u64 {
        self.durable_size
    }

    pub(crate) fn write(&mut self, position: u64, bytes: &[u8]) {
        for (number, start, part) in pages_of(position, bytes) {
            self.write_page(number, start, part);
        }
        if !bytes.is_empty() {
            self.grow(position + bytes.len() as u64);
        }
    }

    fn write_page(&mut self, number: u64, start: usize, part: &[u8]) {
        let sectors = sectors_of(start, part.len());
        let dirty = self.dirty.entry(number).or_default();
        if dirty.sectors & sectors != 0
            && dirty.older.len() < OLDER_MAX
            && let Some(page) = self.pages.get(&number)
        {
            dirty.older.push((page.clone(), dirty.sectors));
        }
        dirty.sectors |= sectors;
        match <&[u8; PAGE]>::try_from(part) {
            Ok(whole) => {
                self.pages.insert(number, Rc::new(*whole));
            }
            Err(_) => {
                let page = self.pages.entry(number).or_insert_with(zero_page);
                Rc::make_mut(page)[start..start + part.len()].copy_from_slice(part);
            }
        }
    }

    /// Makes the file at least `size` long; what is new reads as zeros.
    pub(crate) fn grow(&mut self, size: u64) {
        if size > self.size {
            self.size = size;
            self.note_size();
        }
    }

    fn note_size(&mut self) {
        if self.sizes.len() == SIZES_MAX {
            self.sizes.pop();
        }
        self.sizes.push(self.size);
    }

    pub(crate) fn set_len(&mut self, size: u64) {
        if size >= self.size {
            return self.grow(size);
        }
        let mut before = self.clone();
        before.truncations.clear();
        if self.truncations.len() == TRUNCATIONS_MAX {
            self.truncations.remove(TRUNCATIONS_MAX / 2);
        }
        self.truncations.push(Truncation {
            size,
            before: Box::new(before),
        });
        self.cut(size);
        self.note_size();
    }

    fn cut(&mut self, size: u64) {
        let first = size.div_ceil(PAGE as u64);
        for pages in [&mut self.pages, &mut self.durable] {
            cut_pages(pages, size);
        }
        drop(self.dirty.split_off(&first));
        if let Some(dirty) = self.dirty.get_mut(&(size / PAGE as u64)) {
            dirty.older.clear();
        }
        self.durable_size = self.durable_size.min(size);
        self.sizes.iter_mut().for_each(|old| *old = (*old).min(size));
        self.size = size;
        let tail = self.placed.split_off(&first);
        drop(tail);
        if let Some(mut last) = self.placed.last_entry() {
            let end = last.get_mut();
            *end = (*end).min(first);
        }
    }

    /// Begins a sync: it will cover all writes that completed before now, and none after.
    pub(crate) fn cover(&self) -> Covered {
        let page = |(number, dirty): (&u64, &Dirty)| {
            let page = self.pages.get(number).cloned().unwrap_or_else(zero_page);
            (*number, page, dirty.sectors)
        };
        Covered {
            pages: self.dirty.iter().map(page).collect(),
            size: self.size,
            truncations: self.truncations.len(),
        }
    }

    /// Completes a sync.
    pub(crate) fn settle(&mut self, covered: Covered) {
        let later = self
            .truncations
            .split_off(covered.truncations.min(self.truncations.len()));
        self.truncations.clear();
        let cut = later
            .iter()
            .map(|truncation| truncation.size)
            .min()
            .unwrap_or(u64::MAX);
        for (number, page, sectors) in &covered.pages {
            self.settle_page(*number, page, *sectors, cut);
        }
        self.durable_size = covered.size.min(cut);
        self.sizes = vec![self.size];
        self.truncations = later;
        if let Some(first) = self.truncations.first_mut() {
            first.before.settle(Covered {
                truncations: 0,
                ..covered
            });
        }
    }

    fn settle_page(&mut self, number: u64, page: &Page, sectors: u8, cut: u64) {
        let start = number * PAGE as u64;
        if start >= cut {
            return;
        }
        let mut page = page.clone();
        if cut - start < PAGE as u64 {
            Rc::make_mut(&mut page)[(cut - start) as usize..].fill(0);
        }
        match self.dirty.get_mut(&number) {
            Some(_) if self.pages.get(&number).is_some_and(|now| Rc::ptr_eq(now, &page)) => {
                self.dirty.remove(&number);
            }
            Some(dirty) => dirty.older.clear(),
            None => {}
        }
        put_sectors(&mut self.durable, number, &page, sectors);
    }

    /// A sync failed: as on Linux its pages count as clean from now on, whether the disk has them or not.
    /// Reads go on showing the new bytes; no later sync writes them again.
    pub(crate) fn fail_sync(&mut self, covered: &Covered, random: &mut Stream) {
        let keep = Keep::any(random);
        for (number, page, sectors) in &covered.pages {
            put_sectors(&mut self.durable, *number, page, *sectors & keep.sectors(random));
            self.dirty.remove(number);
        }
    }

    /// Gives the page numbers `pages` a place; how many of them had none.
    pub(crate) fn place(&mut self, pages: std::ops::Range<u64>) {
        let (mut start, mut end) = (pages.start, pages.end);
        if start >= end {
            return;
        }
        if let Some((&before, &last)) = self.placed.range(..=start).next_back()
            && last >= start
        {
            if last >= end {
                return;
            }
            start = before;
        }
        while let Some((&next, &last)) = self.placed.range(start..=end).next() {
            self.placed.remove(&next);
            end = end.max(last);
        }
        self.placed.insert(start, end);
    }

    /// How many of the page numbers have no place yet.
    pub(crate) fn unplaced(&self, pages: std::ops::Range<u64>) -> u64 {
        let before = self.placed.range(..pages.start).next_back();
        let inside = self.placed.range(pages.clone());
        let overlap =
            |(&start, &end): (&u64, &u64)| end.min(pages.end).saturating_sub(start.max(pages.start));
        let placed: u64 = before.into_iter().chain(inside).map(overlap).sum();
        (pages.end - pages.start).saturating_sub(placed)
    }

    /// Pages that have a place.
    pub(crate) fn placed(&self) -> u64 {
        self.placed.iter().map(|(start, end)| end - start).sum()
    }

    /// The power is cut: what no sync covers is kept or lost as `keep` and the stream say.
    pub(crate) fn cut_power(&mut self, keep: Keep, random: &mut Stream) {
        let mut truncations = std::mem::take(&mut self.truncations);
        let which = random.index(truncations.len() + 1);
        let which = match keep {
            Keep::Nothing => 0,
            Keep::All => truncations.len(),
            Keep::Sectors { .. } | Keep::Pages { .. } => which,
        };
        if which < truncations.len() {
            *self = *truncations.swap_remove(which).before;
        }
        let mut pages = std::mem::take(&mut self.durable);
        for (number, dirty) in &self.dirty {
            let kept = dirty.sectors & keep.sectors(random);
            if kept != 0 {
                let now = self.pages.get(number).cloned().unwrap_or_else(zero_page);
                put_sectors(&mut pages, *number, &now, kept);
            }
            if let Keep::Sectors { .. } | Keep::Pages { .. } = keep {
                for (page, sectors) in &dirty.older {
                    let back = sectors & keep.sectors(random) & keep.sectors(random) & keep.sectors(random);
                    put_sectors(&mut pages, *number, page, back);
                }
            }
        }
        let size = match keep {
            Keep::Nothing => self.durable_size,
            Keep::All => self.size,
            Keep::Sectors { .. } | Keep::Pages { .. } => match random.index(self.sizes.len() + 2) {
                0 => self.durable_size,
                1 => self.size,
                n => self.sizes.get(n - 2).copied().unwrap_or(self.size),
            },
        };
        cut_pages(&mut pages, size);
        self.settled(pages, size);
    }

    fn settled(&mut self, pages: BTreeMap<u64, Page>, size: u64) {
        let placed = std::mem::take(&mut self.placed);
        *self = Body {
            durable: pages.clone(),
            pages,
            size,
            durable_size: size,
            sizes: Vec::new(),
            dirty: BTreeMap::new(),
            truncations: Vec::new(),
            placed,
        };
    }

    /// Turns the bits of `mask` at `position`, in what reads see and on the disk.
    pub(crate) fn flip(&mut self, position: u64, mask: u8) {
        let (number, start) = (position / PAGE as u64, (position % PAGE as u64) as usize);
        for pages in [&mut self.pages, &mut self.durable] {
            let page = pages.entry(number).or_insert_with(zero_page);
            Rc::make_mut(page)[start] ^= mask;
        }
    }
}

fn read_pages(pages: &BTreeMap<u64, Page>, size: u64, position: u64, into: &mut [u8]) -> usize {
    let len = size.saturating_sub(position).min(into.len() as u64) as usize;
    let mut done = 0;
    while done < len {
        let at = position + done as u64;
        let (number, start) = (at / PAGE as u64, (at % PAGE as u64) as usize);
        let part = (PAGE - start).min(len - done);
        let target = &mut into[done..done + part];
        match pages.get(&number) {
            Some(page) => target.copy_from_slice(&page[start..start + part]),
            None => target.fill(0),
        }
        done += part;
    }
    len
}

/// Cuts `bytes` at page bounds: page number, first byte in the page, the part.
fn pages_of(position: u64, bytes: &[u8]) -> impl Iterator<Item = (u64, usize, &[u8])> {
    let mut at = position;
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (number, start) = (at / PAGE as u64, (at % PAGE as u64) as usize);
        let (part, after) = rest.split_at((PAGE - start).min(rest.len()));
        at += part.len() as u64;
        rest = after;
        Some((number, start, part))
    })
}

/// The sectors that `len` bytes from `start` on touch, as bits.
fn sectors_of(start: usize, len: usize) -> u8 {
    let (first, end) = (start / SECTOR, (start + len).div_ceil(SECTOR));
    (((1_u32 << end) - 1) & !((1_u32 << first) - 1)) as u8
}

fn put_sectors(pages: &mut BTreeMap<u64, Page>, number: u64, from: &Page, sectors: u8) {
    if sectors == u8::MAX {
        pages.insert(number, from.clone());
    } else if sectors != 0 {
        let page = Rc::make_mut(pages.entry(number).or_insert_with(zero_page));
        for sector in (0..SECTORS).filter(|sector| sectors & (1 << sector) != 0) {
            let range = sector * SECTOR..(sector + 1) * SECTOR;
            page[range.clone()].copy_from_slice(&from[range]);
        }
    }
}

fn cut_pages(pages: &mut BTreeMap<u64, Page>, size: u64) {
    drop(pages.split_off(&size.div_ceil(PAGE as u64)));
    let within = (size % PAGE as u64) as usize;
    if within > 0
        && let Some(page) = pages.get_mut(&(size / PAGE as u64))
    {
        Rc::make_mut(page)[within..].fill(0);
    }
}

fn zero_page() -> Page {
    Rc::new([0; PAGE])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(body: &Body) -> Vec<u8> {
        let mut bytes = vec![0xEE; body.len() as usize];
        assert_eq!(body.read(0, &mut bytes), bytes.len());
        bytes
    }

    fn sync(body: &mut Body) {
        let covered = body.cover();
        body.settle(covered);
    }

    /// Every outcome that a power cut has in some of 200 seeds.
    fn outcomes(body: &Body) -> Vec<Vec<u8>> {
        let mut seen: Vec<Vec<u8>> = (0..200)
            .map(|seed| {
                let mut random = Stream::keyed(seed, 0);
                let mut body = body.clone();
                body.cut_power(Keep::any(&mut random), &mut random);
                all(&body)
            })
            .collect();
        seen.sort();
        seen.dedup();
        seen
    }

    fn sector(byte: u8) -> Vec<u8> {
        vec![byte; SECTOR]
    }

    #[test]
    fn reads_see_writes_at_any_position() {
        let mut body = Body::default();
        let mut model = vec![0; 20_000];
        let mut random = Stream::keyed(3, 0);
        for round in 0..300_u32 {
            let start = random.index(15_000);
            let bytes = vec![round as u8; random.index(5000)];
            body.write(start as u64, &bytes);
            model[start..start + bytes.len()].copy_from_slice(&bytes);
        }
        let len = body.len() as usize;
        assert_eq!(all(&body), model[..len]);
    }

    #[test]
    fn what_was_synced_stays() {
        let mut body = Body::default();
        body.write(0, &[1; 10_000]);
        sync(&mut body);
        assert_eq!(outcomes(&body), [vec![1; 10_000]]);
    }

    #[test]
    fn unsynced_sectors_stay_or_go_each_for_itself() {
        let mut body = Body::default();
        body.write(0, &[sector(1), sector(1)].concat());
        sync(&mut body);
        body.write(0, &[sector(2), sector(2)].concat());
        let expected = [(1, 1), (1, 2), (2, 1), (2, 2)].map(|(a, b)| [sector(a), sector(b)].concat());
        assert_eq!(outcomes(&body), expected);
    }

    #[test]
    fn an_older_unsynced_version_may_come_back() {
        let mut body = Body::default();
        for version in 1..=3 {
            body.write(0, &sector(version));
            if version == 1 {
                sync(&mut body);
            }
        }
        assert_eq!(outcomes(&body), [sector(1), sector(2), sector(3)]);
    }

    #[test]
    fn a_sync_covers_only_what_completed_before_it_began() {
        let mut body = Body::default();
        body.write(0, &sector(1));
        let covered = body.cover();
        body.write(0, &sector(2));
        body.settle(covered);
        assert_eq!(outcomes(&body), [sector(1), sector(2)]);
    }

    #[test]
    fn unwritten_ranges_are_zeros_after_a_crash() {
        let mut body = Body::default();
        body.grow(2 * SECTOR as u64);
        sync(&mut body);
        body.write(0, &sector(1));
        assert_eq!(
            outcomes(&body),
            [[sector(0), sector(0)].concat(), [sector(1), sector(0)].concat()],
            "another file's sync is no sync of this one"
        );
    }

    #[test]
    fn a_size_is_volatile_until_the_sync() {
        let mut body = Body::default();
        body.write(0, &[1; 10]);
        sync(&mut body);
        body.grow(12);
        assert_eq!(outcomes(&body), [vec![1; 10], [vec![1; 10], vec![0; 2]].concat()]);
    }

    #[test]
    fn a_truncation_is_one_step() {
        let mut body = Body::default();
        body.write(0, &vec![1; 3 * PAGE]);
        sync(&mut body);
        body.set_len(100);
        body.grow(3 * PAGE as u64);
        let seen = outcomes(&body);
        assert!(seen.contains(&vec![1; 3 * PAGE]), "undone");
        assert!(
            seen.contains(&[vec![1; 100], vec![0; 3 * PAGE - 100]].concat()),
            "done and grown again"
        );
        assert!(seen.contains(&vec![1; 100]), "done");
        assert_eq!(seen.len(), 3);
    }

    #[test]
    fn a_synced_truncation_is_never_undone() {
        let mut body = Body::default();
        body.write(0, &vec![1; 2 * PAGE]);
        sync(&mut body);
        body.set_len(700);
        sync(&mut body);
        body.grow(2 * PAGE as u64);
        sync(&mut body);
        assert_eq!(
            outcomes(&body),
            [[vec![1; 700], vec![0; 2 * PAGE - 700]].concat()]
        );
    }

    #[test]
    fn a_sync_that_began_before_a_truncation_settles_what_stays() {
        let mut body = Body::default();
        body.write(0, &[1; PAGE]);
        let covered = body.cover();
        body.set_len(600);
        body.settle(covered);
        assert_eq!(outcomes(&body), [vec![1; 600], vec![1; PAGE]]);
    }

    #[test]
    fn a_failed_sync_leaves_pages_clean_but_not_durable() {
        let mut lost = false;
        for seed in 0..50 {
            let mut random = Stream::keyed(seed, 1);
            let mut body = Body::default();
            body.write(0, &sector(1));
            sync(&mut body);
            body.write(0, &sector(2));
            let covered = body.cover();
            body.fail_sync(&covered, &mut random);
            assert_eq!(all(&body), sector(2), "reads go on seeing it");
            sync(&mut body);
            let seen = outcomes(&body);
            assert_eq!(seen.len(), 1, "the later sync does not write it again");
            lost |= seen == [sector(1)];
        }
        assert!(lost);
    }

    #[test]
    fn places_are_counted_once() {
        let mut body = Body::default();
        let cases = [
            (0..4, 4),
            (2..6, 2),
            (8..10, 2),
            (5..9, 2),
            (0..20, 10),
            (3..4, 0),
        ];
        for (pages, new) in cases {
            assert_eq!(body.unplaced(pages.clone()), new, "{pages:?}");
            body.place(pages);
        }
        assert_eq!(body.placed(), 20);
        body.grow(20 * PAGE as u64);
        body.set_len(5 * PAGE as u64 - 1);
        assert_eq!(body.placed(), 5);
    }

    #[test]
    fn a_flipped_bit_is_seen_and_stays() {
        let mut body = Body::default();
        body.write(0, &[0; 8]);
        sync(&mut body);
        body.flip(3, 0x10);
        assert_eq!(outcomes(&body), [vec![0, 0, 0, 0x10, 0, 0, 0, 0]]);
    }
}
