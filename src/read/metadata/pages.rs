//! The metadata cache: pages of 4 KiB of the image and of the metabox in memory.
//!
//! Always: bounded; a page holds the bytes of its space, and zeros after the space's end. A page that
//! is on its way has one reader that brings it; others find that it comes.

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

/// A space, and the number of a page in it with that of its image in a stack, as [`number`] returns
/// both.
pub type PageNumber = (Space, u64);

/// The bits of a page number that count pages: 64 bits of bytes have fewer pages.
const PAGE_BITS: u32 = 52;

/// Returns the number that page `page` of a space has in the cache, in the image `layer` of a stack.
pub fn number(layer: u8, space: Space, page: u64) -> PageNumber {
    (space, page | u64::from(layer) << PAGE_BITS)
}

/// Returns the number of a page in its space.
#[cfg(feature = "alloc")]
pub const fn page_of((_, number): PageNumber) -> u64 {
    number & ((1 << PAGE_BITS) - 1)
}

#[derive(Debug)]
struct Page {
    /// The number of the page whose bytes these are, or which comes here; `None` if there is none.
    number: Option<PageNumber>,
    /// Whether the memory is out, with a reader that fills it.
    is_out: bool,
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

/// Whether the cache has a page.
#[derive(Clone, Copy, Debug)]
pub enum Found {
    /// It has.
    Here(PagePlace),
    /// A reader is about to bring the page.
    Coming,
    /// It has not.
    Absent,
}

impl MetaCache {
    /// Returns a cache for at least `bytes` bytes of pages, and at least one set. Each page is
    /// allocated at its first use.
    #[cfg(feature = "alloc")]
    pub fn new(bytes: usize) -> Self {
        let sets = bytes.div_ceil(PAGE_BYTES * WAYS).max(1).next_power_of_two();
        let page = |_| Page { number: None, is_out: false, used: 0, bytes: empty() };
        let sets = (0..sets).map(|_| core::array::from_fn(page)).collect();
        Self { sets, uses: 0 }
    }

    /// Returns a cache of one set, in `pages`.
    #[cfg(not(feature = "alloc"))]
    pub fn over(pages: &'static mut Pages) -> Self {
        let page = |bytes: &'static mut [u8; PAGE_BYTES]| Page {
            number: None,
            is_out: false,
            used: 0,
            bytes,
        };
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
        // The images of a stack begin at distances of a prime; that of an image alone is 0.
        let page = page.wrapping_add((page >> PAGE_BITS).wrapping_mul(61));
        // Adjoining pages are in adjoining sets; the two spaces begin at opposite ends.
        let spread = match space {
            Space::Image => page,
            Space::Metabox => !page,
        };
        let mask = self.sets.len().checked_sub(1).or_bug()?;
        Ok(clip(spread & wide(mask), mask))
    }

    /// Returns whether the cache has a page, or soon will. Counts no use.
    pub fn has(&self, number: PageNumber) -> Result<bool, Bug> {
        let pages = self.sets.get(self.set(number)?).or_bug()?;
        Ok(pages.iter().any(|page| page.number == Some(number)))
    }

    /// Returns the position of a page if the cache has it, and counts a use.
    pub fn find(&mut self, number: PageNumber) -> Result<Found, Bug> {
        let set = self.set(number)?;
        let pages = self.sets.get_mut(set).or_bug()?;
        let found = pages.iter_mut().enumerate().find(|(_, page)| page.number == Some(number));
        Ok(match found {
            Some((_, page)) if page.is_out => Found::Coming,
            Some((way, page)) => {
                count(&mut self.uses, 1);
                page.used = self.uses;
                Found::Here(PagePlace { set, way })
            }
            None => Found::Absent,
        })
    }

    /// Returns the bytes of the page at a position that [`MetaCache::find`] or
    /// [`MetaCache::put`] returned.
    pub fn bytes_of(&self, place: PagePlace) -> Result<&[u8], Bug> {
        let page = self.sets.get(place.set).and_then(|set| set.get(place.way)).or_bug()?;
        let bytes: &Memory = &page.bytes;
        Ok(bytes)
    }

    /// Takes out the memory of the page that page `number` replaces: the page is coming until
    /// [`MetaCache::put`] gives the memory back. Returns `None` if readers have all the memory that
    /// the page may lie in.
    pub fn take(&mut self, number: PageNumber) -> Result<Option<Taken>, Bug> {
        let set = self.set(number)?;
        let pages = self.sets.get_mut(set).or_bug()?;
        let inside = pages.iter_mut().enumerate().filter(|(_, page)| !page.is_out);
        let Some((way, page)) = inside.min_by_key(|(_, page)| page.used) else { return Ok(None) };
        (page.number, page.is_out) = (Some(number), true);
        let bytes = core::mem::replace(&mut page.bytes, empty());
        #[cfg(feature = "alloc")]
        let bytes = if bytes.is_empty() { memory() } else { bytes };
        Ok(Some(Taken { place: PagePlace { set, way }, bytes }))
    }

    /// Puts memory back, filled with its page if `is_filled`, else as no page. Returns its position.
    pub fn put(&mut self, taken: Taken, is_filled: bool) -> Result<PagePlace, Bug> {
        let Taken { place, bytes } = taken;
        count(&mut self.uses, 1);
        let set = self.sets.get_mut(place.set);
        let page = set.and_then(|set| set.get_mut(place.way)).or_bug()?;
        let number = page.number.filter(|_| is_filled);
        let used = if is_filled { self.uses } else { 0 };
        *page = Page { number, is_out: false, used, bytes };
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
        let Found::Here(place) = cache.find(number).unwrap() else { return None };
        cache.bytes_of(place).unwrap().first().copied()
    }

    fn fill(cache: &mut MetaCache, number: PageNumber, byte: u8) {
        let mut taken = cache.take(number).unwrap().unwrap();
        taken.bytes.fill(byte);
        cache.put(taken, true).unwrap();
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
        let away = cache.take((Space::Image, 1)).unwrap().unwrap();
        for page in 2..9 {
            fill(&mut cache, (Space::Image, page), 3);
        }
        assert!(matches!(cache.find((Space::Image, 1)), Ok(Found::Coming)));
        cache.put(away, false).unwrap();
        assert!(matches!(cache.find((Space::Image, 1)), Ok(Found::Absent)));
        assert!(get(&mut cache, (Space::Image, 8)).is_some());
    }

    #[test]
    fn set_whose_pages_are_all_on_their_way_has_room_for_no_other() {
        let mut cache = MetaCache::new(PAGE_BYTES);
        let away = [0, 1, 2, 3].map(|page| cache.take((Space::Image, page)).unwrap().unwrap());
        assert!(cache.take((Space::Image, 4)).unwrap().is_none());
        let [first, ..] = away;
        cache.put(first, true).unwrap();
        assert!(cache.take((Space::Image, 4)).unwrap().is_some());
        assert!(matches!(cache.find((Space::Image, 0)), Ok(Found::Absent)), "it went for page 4");
    }
}
