//! Metadata read ahead: the pages with the inodes of a directory's next entries, in one batch.
//!
//! Always: no fault of a device or an image fails anything here or changes a later read: a page
//! that could not be read ahead is read again, and fails, when it is asked for. At most
//! [`ENTRIES`] inodes, and one page for each, at a time.

#[cfg(feature = "alloc")]
use super::pages::PAGE_BYTES;
use crate::cache::Layer;
use crate::erofs::{Nid, Space};
use crate::num::{Bug, OrBug};
use crate::read::guard::Guard;
#[cfg(feature = "alloc")]
use crate::read::io::Extent;
#[cfg(feature = "alloc")]
use crate::read::room::Room;
#[cfg(feature = "alloc")]
use crate::read::shelf::Shelf;
use crate::storage::Storage;
use crate::units::{BLOCK, ByteRange};

/// The number of directory entries whose inodes are read ahead together.
pub const ENTRIES: usize = 16;
const PAGES: usize = 16;

/// The numbers of inodes that will be asked for soon.
pub type Nids = heapless::Vec<Nid, PAGES>;

/// The buffer that pages land in on their way to the metadata cache.
#[cfg(feature = "alloc")]
#[derive(Debug)]
pub struct Ahead {
    memory: Shelf<Room, 1>,
}

#[cfg(feature = "alloc")]
impl Ahead {
    /// Returns the buffer. Allocates nothing.
    pub fn new() -> Self {
        Self { memory: Shelf::of([Room::new(PAGES * PAGE_BYTES)]) }
    }

    /// Returns the bytes that the buffer may still allocate.
    pub fn reserve_bytes(&self) -> usize {
        self.memory.last().map_or(0, Room::reserve_bytes)
    }
}

impl<S: Storage, L: Layer<S>> Guard<'_, S, L> {
    /// Reads these inodes ahead: into the processor's cache if the image lies in memory, else their
    /// pages into the metadata cache, in one batch.
    pub fn bring(&mut self, nids: &Nids) -> Result<(), Bug> {
        // More pages would push each other out of the cache, and be read again.
        let most = PAGES.min(self.metadata.pages.len() / 2);
        let primary = self.mount().primary();
        let image = ByteRange::first(self.source(primary).or_bug()?.bytes);
        let mut pages: heapless::Vec<u64, PAGES> = heapless::Vec::new();
        for nid in nids.iter().filter(|nid| nid.space() == Space::Image) {
            let Ok(at) = self.mount().superblock().inode_at(*nid) else { continue };
            let Some(first) = ByteRange::sized(at, 1) else { continue };
            if let Some(bytes) = self.view(primary, first) {
                // `black_box` keeps the compiler from dropping the load. These loads run side by
                // side; those of inodes read one after another would wait for each other.
                core::hint::black_box(bytes.first());
                continue;
            }
            let page = BLOCK.whole(at);
            let whole = BLOCK.times(page).and_then(|at| ByteRange::sized(at, BLOCK.get()));
            let is_whole = whole.is_some_and(|whole| whole.within(image));
            let is_here = self.metadata.pages.has(self.number_of(Space::Image, page))?;
            if is_whole && !is_here && !pages.contains(&page) && pages.len() < most {
                // Few enough to be kept in order: a sort of `core` is 5 KiB of code. `PAGES` holds
                // one page for each inode.
                let place = pages.iter().take_while(|known| **known < page).count();
                pages.insert(place, page).ok().or_bug()?;
            }
        }
        // Without `alloc` there is no buffer: pages are read one by one.
        #[cfg(feature = "alloc")]
        self.bring_pages(&pages)?;
        Ok(())
    }

    /// Loads the pages `pages` of the image, which ascend and lie within its source.
    #[cfg(feature = "alloc")]
    fn bring_pages(&mut self, pages: &[u64]) -> Result<(), Bug> {
        // A single page costs the same when it is asked for.
        if pages.len() < 2 {
            return Ok(());
        }
        let slot = self.mount().primary();
        let mut extents: heapless::Vec<Extent, PAGES> = heapless::Vec::new();
        for page in pages {
            let at = BLOCK.times(*page).or_bug()?;
            let page = ByteRange::sized(at, BLOCK.get()).or_bug()?;
            match extents.last_mut() {
                Some(Extent::Blob { range, .. }) if range.end() == at => {
                    *range = ByteRange::new(range.start(), page.end()).or_bug()?;
                }
                _ => extents.push(Extent::Blob { slot, range: page }).ok().or_bug()?,
            }
        }
        let taken = self.metadata.ahead.memory.take(|| Room::new(PAGES * PAGE_BYTES));
        // Another reader reads ahead.
        let Some(mut memory) = taken else { return Ok(()) };
        let brought = self.bring_extents(pages, &extents, &mut memory);
        self.metadata.ahead.memory.put(memory);
        brought
    }

    #[cfg(feature = "alloc")]
    fn bring_extents(
        &mut self,
        pages: &[u64],
        extents: &[Extent],
        memory: &mut Room,
    ) -> Result<(), Bug> {
        let out = memory.first(pages.len().checked_mul(PAGE_BYTES).or_bug()?)?;
        if self.fetch(extents, out).is_err() {
            return Ok(());
        }
        for (&page, bytes) in pages.iter().zip(out.chunks_exact(PAGE_BYTES)) {
            let number = self.number_of(Space::Image, page);
            // Another reader may have brought the page meanwhile, or have the memory for it.
            let is_here = self.metadata.pages.has(number)?;
            let taken = if is_here { None } else { self.metadata.pages.take(number)? };
            if let Some(mut taken) = taken {
                taken.bytes.copy_from_slice(bytes);
                self.metadata.pages.put(taken, true)?;
                self.io.stats.copied(PAGE_BYTES);
            }
        }
        Ok(())
    }
}
