//! The metadata cache: some 4 KiB pages of the image and of the metabox in memory.
//!
//! Always: bounded; a page holds the bytes of its space, zero-filled after the space's end.

use crate::erofs::Space;
use crate::num::{Bug, OrBug, clip, wide};
use crate::units::count;

/// Bytes of a page.
pub const PAGE_BYTES: usize = 4096;
/// Pages that one page number may be in: a lookup compares this many numbers.
const WAYS: usize = 4;

#[cfg(feature = "alloc")]
type Memory = alloc::boxed::Box<[u8]>;
#[cfg(not(feature = "alloc"))]
type Memory = [u8; PAGE_BYTES];

#[cfg(feature = "alloc")]
type Sets = alloc::vec::Vec<Set>;
#[cfg(not(feature = "alloc"))]
type Sets = heapless::Vec<Set, 1>;

#[cfg(feature = "alloc")]
fn memory() -> Memory {
    alloc::vec![0; PAGE_BYTES].into_boxed_slice()
}
#[cfg(not(feature = "alloc"))]
fn memory() -> Memory {
    [0; PAGE_BYTES]
}

/// A space, and the number of a page in it.
pub type PageNumber = (Space, u64);

#[derive(Debug)]
struct Page {
    /// `None` while it holds none.
    number: Option<PageNumber>,
    /// The count of uses when it was used last.
    used: u64,
    bytes: Memory,
}

/// The pages that a page number may be in.
type Set = [Page; WAYS];

/// The pages, in a power of two of sets, each with its least recently used page as the next to go.
#[derive(Debug)]
pub struct MetaCache {
    sets: Sets,
    uses: u64,
}

/// The place of a page in the cache.
#[derive(Clone, Copy, Debug)]
pub struct PagePlace {
    set: usize,
    way: usize,
}

/// A page that was taken out to be filled.
#[derive(Debug)]
pub struct Taken {
    place: PagePlace,
    pub bytes: Memory,
}

impl MetaCache {
    /// Returns a cache for pages of at least `bytes` bytes together, at least one set. Each page is
    /// allocated when it is used first.
    pub fn new(bytes: usize) -> Self {
        let sets = if cfg!(feature = "alloc") {
            bytes.div_ceil(PAGE_BYTES * WAYS).max(1).next_power_of_two()
        } else {
            1
        };
        let page = |_| Page { number: None, used: 0, bytes: empty() };
        let sets = (0..sets).map(|_| core::array::from_fn(page)).collect();
        Self { sets, uses: 0 }
    }

    /// Returns the number of pages that it keeps.
    pub fn len(&self) -> usize {
        self.sets.as_flattened().len()
    }

    /// Returns the bytes of all pages, each allocated when it is used first.
    #[cfg(feature = "alloc")]
    #[expect(clippy::arithmetic_side_effects, reason = "at most twice the budget")]
    pub fn bytes(&self) -> usize {
        self.len() * PAGE_BYTES
    }

    /// Returns the set of a page.
    fn set(&self, (space, page): PageNumber) -> Result<usize, Bug> {
        // Pages side by side are in sets side by side; the two spaces begin apart.
        let spread = match space {
            Space::Image => page,
            Space::Metabox => !page,
        };
        let mask = self.sets.len().checked_sub(1).or_bug()?;
        Ok(clip(spread & wide(mask), mask))
    }

    /// Returns the place of a page if it is here. That is no use of the page.
    pub fn peek(&self, number: PageNumber) -> Result<Option<PagePlace>, Bug> {
        let set = self.set(number)?;
        let pages = self.sets.get(set).or_bug()?;
        let way = pages.iter().position(|page| page.number == Some(number));
        Ok(way.map(|way| PagePlace { set, way }))
    }

    /// Returns the place of a page if it is here.
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

    /// Returns the bytes of the page at a place that [`MetaCache::find`] or [`MetaCache::put`]
    /// returned.
    pub fn bytes_of(&self, place: PagePlace) -> Result<&[u8], Bug> {
        let page = self.sets.get(place.set).and_then(|set| set.get(place.way)).or_bug()?;
        Ok(&page.bytes)
    }

    /// Takes the memory of the page that has to go for page `number`. It is no page's until
    /// [`MetaCache::put`].
    pub fn take(&mut self, number: PageNumber) -> Result<Taken, Bug> {
        let set = self.set(number)?;
        let pages = self.sets.get_mut(set).or_bug()?;
        let least = pages.iter_mut().enumerate().min_by_key(|(_, page)| page.used);
        let (way, page) = least.or_bug()?;
        page.number = None;
        // Not the next to go while it is away: filling it may need other pages.
        page.used = u64::MAX;
        let bytes = core::mem::replace(&mut page.bytes, empty());
        let bytes = if bytes.is_empty() { memory() } else { bytes };
        Ok(Taken { place: PagePlace { set, way }, bytes })
    }

    /// Gives a page back: as page `number`, or as none. Returns its place.
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

/// Returns what stands in for memory that was taken.
#[cfg(feature = "alloc")]
pub fn empty() -> Memory {
    alloc::boxed::Box::default()
}
#[cfg(not(feature = "alloc"))]
pub fn empty() -> Memory {
    memory()
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
