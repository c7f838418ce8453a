//! The metadata cache: pages of 4 KiB of the image and of the metabox in memory.
//!
//! Always: bounded; a page holds the bytes of its space, and zeros after the space's end.

use crate::erofs::Space;
use crate::num::{Bug, OrBug, clip, wide};
use crate::units::count;

/// Bytes of a page.
pub const PAGE_BYTES: usize = 4096;
/// The pages of a set: a lookup compares at most as many numbers. Without `alloc` there is one set:
/// a page is filled while its reader looks into the other one.
const WAYS: usize = if cfg!(feature = "alloc") { 4 } else { 2 };

/// The memory of all pages.
#[cfg(not(feature = "alloc"))]
pub type Pages = [[u8; PAGE_BYTES]; WAYS];
/// Memory that holds no page.
#[cfg(not(feature = "alloc"))]
pub const NO_PAGES: Pages = [[0; PAGE_BYTES]; WAYS];

#[cfg(feature = "alloc")]
type Memory = alloc::boxed::Box<[u8]>;
#[cfg(not(feature = "alloc"))]
type Memory = &'static mut [u8];

#[cfg(feature = "alloc")]
type Sets = alloc::vec::Vec<Set>;
#[cfg(not(feature = "alloc"))]
type Sets = heapless::Vec<Set, 1>;

#[cfg(feature = "alloc")]
fn memory() -> Memory {
    alloc::vec![0; PAGE_BYTES].into_boxed_slice()
}

/// A space, and the number of a page in it.
pub type PageNumber = (Space, u64);

#[derive(Debug)]
struct Page {
    /// The number of the page whose bytes these are; `None` if there is none.
    number: Option<PageNumber>,
    /// The cache's count of uses at the last use of this page.
    used: u64,
    bytes: Memory,
}

/// The pages that may hold a page number.
type Set = [Page; WAYS];

/// The pages, in a power of two of sets. Each set replaces its least recently used page.
#[derive(Debug)]
pub struct MetaCache {
    sets: Sets,
    uses: u64,
}

/// The position of a page in the cache.
#[derive(Clone, Copy, Debug)]
pub struct PagePlace {
    set: usize,
    way: usize,
}

/// The memory of a page that was taken out to be filled.
#[derive(Debug)]
pub struct Taken {
    place: PagePlace,
    pub bytes: Memory,
}

impl MetaCache {
    /// Returns a cache for at least `bytes` bytes of pages, and at least one set. Each page is
    /// allocated at its first use.
    #[cfg(feature = "alloc")]
    pub fn new(bytes: usize) -> Self {
        let sets = bytes.div_ceil(PAGE_BYTES * WAYS).max(1).next_power_of_two();
        let page = |_| Page { number: None, used: 0, bytes: empty() };
        let sets = (0..sets).map(|_| core::array::from_fn(page)).collect();
        Self { sets, uses: 0 }
    }

    /// Returns a cache of one set, in `pages`.
    #[cfg(not(feature = "alloc"))]
    pub fn over(pages: &'static mut Pages) -> Self {
        let page = |bytes: &'static mut [u8; PAGE_BYTES]| Page { number: None, used: 0, bytes };
        Self { sets: core::iter::once(pages.each_mut().map(page)).collect(), uses: 0 }
    }

    /// Returns the number of pages in the cache, allocated or not.
    pub fn len(&self) -> usize {
        self.sets.as_flattened().len()
    }

    /// Returns the bytes of all pages, allocated or not.
    #[cfg(feature = "alloc")]
    #[expect(clippy::arithmetic_side_effects, reason = "at most twice the budget")]
    pub fn bytes(&self) -> usize {
        self.len() * PAGE_BYTES
    }

    /// Returns the index of the set for a page number.
    fn set(&self, (space, page): PageNumber) -> Result<usize, Bug> {
        // Adjoining pages are in adjoining sets; the two spaces begin at opposite ends.
        let spread = match space {
            Space::Image => page,
            Space::Metabox => !page,
        };
        let mask = self.sets.len().checked_sub(1).or_bug()?;
        Ok(clip(spread & wide(mask), mask))
    }

    /// Returns the position of a page if the cache has it. Counts no use.
    pub fn peek(&self, number: PageNumber) -> Result<Option<PagePlace>, Bug> {
        let set = self.set(number)?;
        let pages = self.sets.get(set).or_bug()?;
        let way = pages.iter().position(|page| page.number == Some(number));
        Ok(way.map(|way| PagePlace { set, way }))
    }

    /// Returns the position of a page if the cache has it, and counts a use.
    pub fn find(&mut self, number: PageNumber) -> Result<Option<PagePlace>, Bug> {
        count(&mut self.uses, 1);
        let set = self.set(number)?;
        let pages = self.sets.get_mut(set).or_bug()?;
        let found = pages.iter_mut().enumerate().find(|(_, page)| page.number == Some(number));
        Ok(found.map(|(way, page)| {
            page.used = self.uses;
            PagePlace { set, way }
        }))
    }

    /// Returns the bytes of the page at a position that [`MetaCache::find`] or
    /// [`MetaCache::put`] returned.
    pub fn bytes_of(&self, place: PagePlace) -> Result<&[u8], Bug> {
        let page = self.sets.get(place.set).and_then(|set| set.get(place.way)).or_bug()?;
        let bytes: &Memory = &page.bytes;
        Ok(bytes)
    }

    /// Takes out the memory of the page that page `number` replaces. The memory holds no page until
    /// [`MetaCache::put`] gives it back.
    pub fn take(&mut self, number: PageNumber) -> Result<Taken, Bug> {
        let set = self.set(number)?;
        let pages = self.sets.get_mut(set).or_bug()?;
        let least = pages.iter_mut().enumerate().min_by_key(|(_, page)| page.used);
        let (way, page) = least.or_bug()?;
        page.number = None;
        // Last in line while it is out: filling it may replace other pages of the set.
        page.used = u64::MAX;
        let bytes = core::mem::replace(&mut page.bytes, empty());
        #[cfg(feature = "alloc")]
        let bytes = if bytes.is_empty() { memory() } else { bytes };
        Ok(Taken { place: PagePlace { set, way }, bytes })
    }

    /// Puts memory back, as page `number` or as no page. Returns its position.
    pub fn put(&mut self, taken: Taken, number: Option<PageNumber>) -> Result<PagePlace, Bug> {
        let Taken { place, bytes } = taken;
        count(&mut self.uses, 1);
        let set = self.sets.get_mut(place.set);
        let page = set.and_then(|set| set.get_mut(place.way)).or_bug()?;
        let used = if number.is_some() { self.uses } else { 0 };
        *page = Page { number, used, bytes };
        Ok(place)
    }
}

/// Returns the bytes of memory.
pub fn bytes_of(memory: &mut Memory) -> &mut [u8] {
    memory
}

/// Returns what stands in for memory that was taken.
pub fn empty() -> Memory {
    Memory::default()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use super::*;

    fn get(cache: &mut MetaCache, number: PageNumber) -> Option<u8> {
        let place = cache.find(number).unwrap()?;
        cache.bytes_of(place).unwrap().first().copied()
    }

    fn fill(cache: &mut MetaCache, number: PageNumber, byte: u8) {
        let mut taken = cache.take(number).unwrap();
        taken.bytes.fill(byte);
        cache.put(taken, Some(number)).unwrap();
    }

    #[test]
    fn page_stays_until_its_set_is_full_of_younger_ones() {
        let mut cache = MetaCache::new(PAGE_BYTES);
        for page in 0..4 {
            fill(&mut cache, (Space::Image, page), 1);
        }
        assert!(get(&mut cache, (Space::Image, 0)).is_some());
        fill(&mut cache, (Space::Image, 4), 2);
        assert!(get(&mut cache, (Space::Image, 0)).is_some());
        assert!(get(&mut cache, (Space::Image, 1)).is_none());
        assert_eq!(get(&mut cache, (Space::Image, 4)), Some(2));
    }

    #[test]
    fn same_page_of_another_space_is_another_page() {
        let mut cache = MetaCache::new(1 << 20);
        fill(&mut cache, (Space::Image, 7), 1);
        assert!(get(&mut cache, (Space::Metabox, 7)).is_none());
        fill(&mut cache, (Space::Metabox, 7), 2);
        assert_eq!(get(&mut cache, (Space::Image, 7)), Some(1));
    }

    #[test]
    fn page_that_is_away_is_neither_found_nor_taken_twice() {
        let mut cache = MetaCache::new(PAGE_BYTES);
        let away = cache.take((Space::Image, 1)).unwrap();
        for page in 2..9 {
            fill(&mut cache, (Space::Image, page), 3);
        }
        assert!(get(&mut cache, (Space::Image, 1)).is_none());
        cache.put(away, None).unwrap();
        assert!(get(&mut cache, (Space::Image, 1)).is_none());
        assert!(get(&mut cache, (Space::Image, 8)).is_some());
    }
}
