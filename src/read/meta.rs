//! The metadata cache: some 4 KiB pages of the image and of the metabox in memory.
//!
//! Always: bounded; a page holds the bytes of its space, zero-filled behind the space's end.

use crate::erofs::Space;

/// Bytes of a page.
pub const PAGE_BYTES: usize = 4096;
/// Pages that one page number may be in: a lookup compares so many numbers.
const WAYS: usize = 4;

#[cfg(feature = "alloc")]
type Memory = alloc::boxed::Box<[u8]>;
#[cfg(not(feature = "alloc"))]
type Memory = [u8; PAGE_BYTES];

#[cfg(feature = "alloc")]
type Pages = alloc::vec::Vec<Page>;
#[cfg(not(feature = "alloc"))]
type Pages = heapless::Vec<Page, WAYS>;

#[cfg(feature = "alloc")]
fn memory() -> Memory {
    alloc::vec![0; PAGE_BYTES].into_boxed_slice()
}
#[cfg(not(feature = "alloc"))]
fn memory() -> Memory {
    [0; PAGE_BYTES]
}

/// Which page of which space.
pub type PageNumber = (Space, u64);

#[derive(Debug)]
struct Page {
    /// `None` while it holds none.
    number: Option<PageNumber>,
    /// When it was used last, in uses of the cache.
    used: u64,
    bytes: Memory,
}

/// The pages, in sets of [`WAYS`], each with its least recently used page as the next to go.
#[derive(Debug)]
pub struct MetaCache {
    pages: Pages,
    uses: u64,
}

/// A page that was taken out to be filled.
#[derive(Debug)]
pub struct Taken {
    at: usize,
    pub bytes: Memory,
}

impl MetaCache {
    /// For pages of at least `bytes` bytes together, at least one set. Each is allocated when it is
    /// used first.
    pub fn new(bytes: usize) -> Self {
        let sets = if cfg!(feature = "alloc") {
            bytes.div_ceil(PAGE_BYTES * WAYS).max(1).next_power_of_two()
        } else {
            1
        };
        let pages = (0..sets.saturating_mul(WAYS))
            .map(|_| Page { number: None, used: 0, bytes: empty() })
            .collect();
        Self { pages, uses: 0 }
    }

    /// How many pages it keeps.
    pub fn len(&self) -> usize {
        self.pages.len()
    }

    /// What all pages take, in bytes.
    pub fn bytes(&self) -> usize {
        if cfg!(feature = "alloc") { self.pages.len().saturating_mul(PAGE_BYTES) } else { 0 }
    }

    /// Where the set of a page begins.
    fn set(&self, (space, page): PageNumber) -> usize {
        // Pages side by side are in sets side by side; the two spaces begin apart.
        let spread = match space {
            Space::Image => page,
            Space::Metabox => !page,
        };
        let sets = self.pages.len() / WAYS;
        let mask = u64::try_from(sets).unwrap_or(1).saturating_sub(1);
        usize::try_from(spread & mask).unwrap_or(0).saturating_mul(WAYS)
    }

    fn ways(&mut self, number: PageNumber) -> &mut [Page] {
        let start = self.set(number);
        self.pages.get_mut(start..start.saturating_add(WAYS)).unwrap_or_default()
    }

    /// As [`MetaCache::find`], but no use of the page.
    pub fn peek(&self, number: PageNumber) -> Option<usize> {
        let start = self.set(number);
        let ways = self.pages.get(start..start.saturating_add(WAYS))?;
        ways.iter().position(|page| page.number == Some(number))
    }

    /// Where a page is kept, if it is here.
    pub fn find(&mut self, number: PageNumber) -> Option<usize> {
        self.uses = self.uses.saturating_add(1);
        let (uses, start) = (self.uses, self.set(number));
        let ways = self.ways(number);
        let way = ways.iter().position(|page| page.number == Some(number))?;
        if let Some(page) = ways.get_mut(way) {
            page.used = uses;
        }
        Some(start.saturating_add(way))
    }

    /// The bytes of the page that is kept there.
    pub fn bytes_of(&self, index: usize) -> Option<&[u8]> {
        self.pages.get(index).map(|page| page.bytes.as_ref())
    }

    /// The memory of the page that has to go for page `number`, which is nobody's until
    /// [`MetaCache::put`].
    pub fn take(&mut self, number: PageNumber) -> Taken {
        let start = self.set(number);
        let ways = self.ways(number);
        let least = (0..).zip(ways.iter()).min_by_key(|(_, page)| page.used);
        let way: usize = least.map_or(0, |(way, _)| way);
        let bytes = match ways.get_mut(way) {
            Some(page) => {
                page.number = None;
                // Not the next to go while it is away: filling it may need other pages.
                page.used = u64::MAX;
                core::mem::replace(&mut page.bytes, empty())
            }
            None => empty(),
        };
        let bytes = if bytes.is_empty() { memory() } else { bytes };
        Taken { at: start.saturating_add(way), bytes }
    }

    /// Gives a page back: as page `number`, or as none. Returns where it is kept.
    pub fn put(&mut self, taken: Taken, number: Option<PageNumber>) -> usize {
        let at = taken.at;
        self.uses = self.uses.saturating_add(1);
        if let Some(page) = self.pages.get_mut(taken.at) {
            *page = Page {
                number,
                used: if number.is_some() { self.uses } else { 0 },
                bytes: taken.bytes,
            };
        }
        at
    }
}

/// What stands in for memory that was taken.
#[cfg(feature = "alloc")]
pub fn empty() -> Memory {
    alloc::boxed::Box::default()
}
#[cfg(not(feature = "alloc"))]
pub fn empty() -> Memory {
    memory()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(cache: &mut MetaCache, number: PageNumber) -> Option<u8> {
        let index = cache.find(number)?;
        cache.bytes_of(index)?.first().copied()
    }

    fn fill(cache: &mut MetaCache, number: PageNumber, byte: u8) {
        let mut taken = cache.take(number);
        taken.bytes.fill(byte);
        cache.put(taken, Some(number));
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
        let away = cache.take((Space::Image, 1));
        for page in 2..9 {
            fill(&mut cache, (Space::Image, page), 3);
        }
        assert!(get(&mut cache, (Space::Image, 1)).is_none());
        cache.put(away, None);
        assert!(get(&mut cache, (Space::Image, 1)).is_none());
        assert!(get(&mut cache, (Space::Image, 8)).is_some());
    }
}
