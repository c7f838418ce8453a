//! Reading metadata: inodes, directory blocks, the metabox, by way of the metadata cache.
//!
//! Always: the metabox's own data comes from the image, so that finding metadata ends; bytes
//! beyond the metabox are an error, and bytes beyond the device of the image, whatever that says.

use super::inner::Inner;
use super::meta::{self, PAGE_BYTES, PageNumber};
use super::pieces::Extent;
use super::plan::Plan;
use crate::cache::Layer;
use crate::erofs::{Corrupt, FormatError, Inode, Layout, Nid, Part, Space, Unsupported};
use crate::error::Error;
use crate::num::{OrBug, clip, wide};
use crate::storage::Storage;
use crate::units::Fill;

const PAGE: u64 = 4096;

impl<S: Storage, L: Layer<S>> Inner<S, L> {
    /// Reads bytes of a space from byte `at` on.
    pub fn meta(&mut self, space: Space, at: u64, out: &mut [u8]) -> Result<(), Error> {
        self.check_end(space, at, out.len())?;
        let mut at = at;
        let mut out = Fill::new(out);
        while out.left() > 0 {
            let number = (space, at / PAGE);
            let skip = at & PAGE.wrapping_sub(1);
            let front = out.next(out.left().min(PAGE.saturating_sub(skip)))?;
            let page = self.page(number)?;
            let found = usize::try_from(skip).ok().and_then(|skip| page.get(skip..));
            // The page is there now; zeros would be wrong bytes.
            front.copy_from_slice(found.and_then(|page| page.get(..front.len())).or_bug()?);
            self.stats.copied(front.len());
            at = at.checked_add(wide(front.len())).or_bug()?;
        }
        Ok(())
    }

    /// A page, loaded if it is not here. Behind the end of a space that lies in memory there may
    /// be fewer bytes.
    fn page(&mut self, number: PageNumber) -> Result<&[u8], Error> {
        let place = self.place_of(number)?;
        Ok(self.page_at(place).or_bug()?)
    }

    /// Where a page is, loaded if it is not here.
    fn place_of(&mut self, number: PageNumber) -> Result<PagePlace, Error> {
        let (space, page) = number;
        let at = page.saturating_mul(PAGE);
        if space == Space::Image && self.view(0, at, PAGE_BYTES).is_some() {
            return Ok(PagePlace::Viewed(at));
        }
        if let Some(index) = self.meta.find(number) {
            self.stats.meta_hits = self.stats.meta_hits.saturating_add(1);
            return Ok(PagePlace::Kept(index));
        }
        let mut taken = self.meta.take(number);
        let loaded = self.load(number, &mut taken.bytes);
        let index = self.meta.put(taken, loaded.is_ok().then_some(number));
        loaded.map(|()| PagePlace::Kept(index))
    }

    /// The bytes of a page that is here.
    fn page_at(&self, place: PagePlace) -> Option<&[u8]> {
        match place {
            PagePlace::Viewed(at) => self.view(0, at, PAGE_BYTES),
            PagePlace::Kept(index) => self.meta.bytes_of(index),
        }
    }

    fn load(&mut self, (space, number): PageNumber, page: &mut [u8]) -> Result<(), Error> {
        let at = number.saturating_mul(PAGE);
        let bytes = match space {
            Space::Image => self.image_bytes()?,
            Space::Metabox => self.metabox()?.size,
        };
        let len = bytes.saturating_sub(at).min(PAGE);
        let (here, beyond) = page.split_at_mut_checked(clip(len, PAGE_BYTES)).or_bug()?;
        beyond.fill(0);
        match space {
            Space::Image if here.is_empty() => {
                self.fetch(&[Extent::Blob { slot: 0, at, len: PAGE }], beyond)
            }
            Space::Image => self.fetch(&[Extent::Blob { slot: 0, at, len }], here),
            Space::Metabox => {
                let metabox = self.metabox()?;
                if core::mem::replace(&mut self.in_metabox, true) {
                    return Err(Corrupt::MetaboxInItself { nid: metabox.nid }.into());
                }
                let read = self.data(&metabox, at, here);
                self.in_metabox = false;
                read
            }
        }
    }

    /// The inode of the metabox, read once.
    pub fn metabox(&mut self) -> Result<Inode, Error> {
        if let Some(inode) = self.metabox {
            return Ok(inode);
        }
        let nid = self.superblock.metabox.ok_or(Corrupt::NoMetabox)?;
        let inode = self.inode(nid)?;
        self.metabox = Some(inode);
        Ok(inode)
    }

    /// Refuses metadata that ends beyond its space: a page has zeros there.
    fn check_end(&mut self, space: Space, at: u64, len: usize) -> Result<(), Error> {
        let len = wide(len);
        let is_inside = |bytes| at.checked_add(len).is_some_and(|end| end <= bytes);
        match space {
            Space::Image => {
                let blob = self.image_bytes()?;
                let beyond = Corrupt::BeyondBlob { slot: 0, at, len, blob };
                is_inside(blob).then_some(()).ok_or(beyond.into())
            }
            Space::Metabox => {
                let metabox = self.metabox()?.size;
                let beyond = Corrupt::BeyondMetabox { at, len, metabox };
                is_inside(metabox).then_some(()).ok_or(beyond.into())
            }
        }
    }

    /// Bytes of the primary device.
    fn image_bytes(&self) -> Result<u64, Error> {
        Ok(self.sources.first().or_bug()?.bytes)
    }

    /// Reads and validates an inode, where it lies if that is one page.
    pub fn inode(&mut self, nid: Nid) -> Result<Inode, Error> {
        let at = self.superblock.inode_at(nid)?;
        let (space, half) = (nid.space(), Inode::BYTES_MIN);
        self.check_end(space, at, half)?;
        let place = self.place_of((space, at / PAGE))?;
        let skip = usize::try_from(at & PAGE.wrapping_sub(1)).unwrap_or(0);
        let here = self.page_at(place).and_then(|page| page.get(skip..)).unwrap_or_default();
        if let Some(format) = here.first_chunk()
            && Inode::bytes_needed(*format) <= here.len()
            && (space == Space::Image || Inode::bytes_needed(*format) == half)
        {
            let found = Inode::from_bytes(&self.superblock, nid, here);
            self.check_end(space, at, Inode::bytes_needed(*format))?;
            return in_place(&found);
        }
        let mut raw = [0; Inode::BYTES_MAX];
        let (first, second) = raw.split_at_mut(half);
        self.meta(space, at, first)?;
        self.meta(space, at.saturating_add(32), second)?;
        in_place(&Inode::from_bytes(&self.superblock, nid, &raw))
    }

    /// Block `block` of a directory, whole or what the directory's size leaves of its last one:
    /// where it lies in one page of metadata, else copied together.
    pub fn dir_block(&mut self, inode: &Inode, block: u64) -> Result<&[u8], Error> {
        let size = self.superblock.block_size;
        let at = size.at(block).ok_or(Corrupt::Overflow(Part::Inode(inode.nid)))?;
        let len = clip(inode.size.saturating_sub(at), size.bytes_usize());
        if let Some((space, at)) = self.dir_place(inode, block, at)? {
            let skip = usize::try_from(at & PAGE.wrapping_sub(1)).unwrap_or(0);
            let end = skip.saturating_add(len);
            if end <= PAGE_BYTES {
                self.check_end(space, at, len)?;
                let page = self.page((space, at / PAGE))?;
                return Ok(page.get(skip..end).or_bug()?);
            }
        }
        if self.dir_is != Some((inode.nid, block)) {
            self.dir_is = None;
            let mut memory = core::mem::replace(&mut self.dir, meta::empty());
            #[cfg(feature = "alloc")]
            if memory.is_empty() {
                memory = alloc::vec![0; size.bytes_usize()].into_boxed_slice();
            }
            let result = match memory.get_mut(..len) {
                Some(place) => self.data_by_meta(inode, at, place),
                None => Err(Unsupported::LargeBlocks { bytes: size.bytes() }.into()),
            };
            self.dir = memory;
            result?;
            self.dir_is = Some((inode.nid, block));
        }
        Ok(self.dir.get(..len).or_bug()?)
    }

    /// Where a block of a directory begins, if it is metadata: in the inode's tail, or on the
    /// primary device.
    fn dir_place(&self, inode: &Inode, block: u64, at: u64) -> Result<Option<(Space, u64)>, Error> {
        let start = match inode.layout {
            Layout::Inline { tail, .. } if at >= inode.size.saturating_sub(tail.len) => {
                return Ok(Some((inode.nid.space(), tail.at)));
            }
            Layout::Inline { start, .. } | Layout::Plain { start: Some(start) } => start,
            _ => return Ok(None),
        };
        let place = self.devices.resolve(0, start.saturating_add(block))?;
        let at = self.superblock.block_size.at(place.block);
        Ok(at.filter(|_| place.slot == 0).map(|at| (Space::Image, at)))
    }

    /// As [`Inner::data`], but what lies on the primary device comes by way of the metadata
    /// cache.
    fn data_by_meta(&mut self, inode: &Inode, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let mut plan = Plan::new();
        let want = wide(out.len());
        if matches!(inode.layout, Layout::Plain { .. } | Layout::Chunked(_)) {
            self.plan(inode, offset, want, &mut plan)?;
        }
        match plan.extents() {
            [Extent::Blob { slot: 0, at, len }] if *len == want => {
                self.meta(Space::Image, *at, out)
            }
            _ => self.data(inode, offset, out),
        }
    }
}

/// Where a page of metadata is.
#[derive(Clone, Copy)]
enum PagePlace {
    /// At this byte of the image, which lies in memory.
    Viewed(u64),
    /// In the cache.
    Kept(usize),
}

/// The same with another error. With `?` the inode is moved out field by field, which is ten times
/// the code of a copy.
fn in_place(found: &Result<Inode, FormatError>) -> Result<Inode, Error> {
    match found {
        Ok(inode) => Ok(*inode),
        Err(error) => Err((*error).into()),
    }
}
