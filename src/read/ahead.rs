//! Looking ahead in a directory: the inodes of the next entries are brought near together.
//!
//! Always: nothing here fails or changes what is read; what could not be brought is read, and its
//! fault told, when it is asked for. At most [`ENTRIES`] inodes, and as many pages, at a time.

use super::inner::Inner;
use super::meta::PAGE_BYTES;
#[cfg(feature = "alloc")]
use super::pieces::Extent;
use crate::cache::Layer;
use crate::erofs::{Nid, Space};
use crate::storage::Storage;

/// Entries of a directory that are looked at together.
pub const ENTRIES: u16 = 16;
const PAGES: usize = 16;
const PAGE: u64 = 4096;

const _: () = assert!(PAGE_BYTES == 4096);

/// Inodes that are asked for soon.
pub type Nids = heapless::Vec<Nid, PAGES>;

/// Where pages land on their way into the metadata cache.
#[derive(Debug)]
pub struct Ahead {
    #[cfg(feature = "alloc")]
    memory: super::room::Room,
    /// Depends on every inode that was touched, so that no touch is left out.
    touched: u8,
}

impl Ahead {
    /// Allocates nothing.
    pub fn new() -> Self {
        Self {
            #[cfg(feature = "alloc")]
            memory: super::room::Room::new(PAGES.saturating_mul(PAGE_BYTES)),
            touched: 0,
        }
    }

    /// Bytes that it may still allocate.
    #[cfg(feature = "alloc")]
    pub fn reserve_bytes(&self) -> usize {
        self.memory.reserve_bytes()
    }
}

impl<S: Storage, L: Layer<S>> Inner<S, L> {
    /// Brings these inodes near: into the processor's cache if the image lies in memory, else
    /// their pages into the metadata cache, by one batch.
    pub fn bring(&mut self, nids: &Nids) {
        // More would push out of the cache what it brings, and be read again.
        let most = PAGES.min(self.meta.len() / 2);
        let bytes = self.sources.first().map_or(0, |source| source.bytes);
        let mut pages: heapless::Vec<u64, PAGES> = heapless::Vec::new();
        for nid in nids.iter().filter(|nid| nid.space() == Space::Image) {
            let Ok(at) = self.superblock.inode_at(*nid) else { continue };
            if let Some(bytes) = self.view(0, at, 1) {
                // These loads do not wait for each other, as those of one inode after another do.
                self.ahead.touched ^= bytes.first().copied().unwrap_or(0);
                continue;
            }
            let page = at / PAGE;
            let whole = page.saturating_add(1).saturating_mul(PAGE) <= bytes;
            let here = self.meta.peek((Space::Image, page)).is_some();
            if whole && !here && !pages.contains(&page) && pages.len() < most {
                // There is room for a page of each inode.
                let _ = pages.push(page);
            }
        }
        pages.sort_unstable();
        // Without memory for them they come one by one.
        #[cfg(feature = "alloc")]
        self.bring_pages(&pages);
    }

    /// Loads pages of the image; `pages` ascend, and lie in its source.
    #[cfg(feature = "alloc")]
    fn bring_pages(&mut self, pages: &[u64]) {
        // One page is read as well when it is asked for.
        if pages.len() < 2 {
            return;
        }
        let mut extents: heapless::Vec<Extent, PAGES> = heapless::Vec::new();
        for page in pages {
            let at = page.saturating_mul(PAGE);
            match extents.last_mut() {
                Some(Extent::Blob { at: before, len, .. }) if before.saturating_add(*len) == at => {
                    *len = len.saturating_add(PAGE);
                }
                _ => {
                    let _ = extents.push(Extent::Blob { slot: 0, at, len: PAGE });
                }
            }
        }
        let mut memory = core::mem::take(&mut self.ahead.memory);
        let len = pages.len().saturating_mul(PAGE_BYTES);
        if let Ok(out) = memory.first(len)
            && self.fetch(&extents, out).is_ok()
        {
            for (&page, bytes) in pages.iter().zip(out.chunks_exact(PAGE_BYTES)) {
                let mut taken = self.meta.take((Space::Image, page));
                taken.bytes.copy_from_slice(bytes);
                self.meta.put(taken, Some((Space::Image, page)));
                self.stats.copied(PAGE_BYTES);
            }
        }
        self.ahead.memory = memory;
    }
}
