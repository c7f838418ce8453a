//! Metadata of a mount: inodes, directory blocks and the metabox, read through the metadata cache.
//!
//! Always: the metabox's own data comes from the image, so that finding metadata ends; reading
//! after the end of the metabox, or of the image's device, is an error, whatever the image says.

mod ahead;
mod pages;

pub use ahead::{ENTRIES, Nids};

use super::guard::Guard;
use super::io::Extent;
use super::plan::{Plan, in_tail};
use super::shelf::Shelf;
use super::stop::Stop;
use crate::cache::Layer;
use crate::erofs::{Corrupt, FileKind, FormatError, Inode, Layout, Nid, Part, Space, Unsupported};
use crate::num::{Bug, OrBug, clip, narrow, wide};
use crate::storage::{Spin, Storage};
use crate::units::{BLOCK, ByteRange, Fill, count};
#[cfg(feature = "alloc")]
use ahead::Ahead;
pub use pages::PAGE_BYTES;
pub use pages::PageNumber;
#[cfg(feature = "alloc")]
pub use pages::PagePlace;
#[cfg(not(feature = "alloc"))]
use pages::PagePlace;
#[cfg(feature = "alloc")]
pub use pages::page_of;
use pages::{Found, MetaCache};
#[cfg(not(feature = "alloc"))]
pub use pages::{NO_PAGES, Pages};

const _: () = assert!(BLOCK.get() == 4096 && PAGE_BYTES == 4096, "pages of metadata are blocks");

#[cfg(feature = "alloc")]
type DirMemory = alloc::boxed::Box<[u8]>;
#[cfg(not(feature = "alloc"))]
type DirMemory = &'static mut [u8];

/// The metadata of a mount that is in memory.
#[derive(Debug)]
pub struct Metadata {
    pages: MetaCache,
    /// A directory block that did not lie in one page.
    dir: Shelf<DirMemory, 1>,
    /// The directory and the number of the block in `dir`.
    dir_of: Option<(Nid, u64)>,
    /// The root directory, from its first use on.
    root: Option<Inode>,
    /// The inode of the metabox, from its first use on.
    metabox: Option<Inode>,
    /// Whether a reader reads data of the metabox, while it has the memory of a page. There is one at
    /// a time: of several, each could wait for the memory that the others have.
    metabox_is_read: bool,
    #[cfg(feature = "alloc")]
    ahead: Ahead,
}

impl Metadata {
    /// Returns the state before the first read, with a cache for `bytes` bytes of pages.
    #[cfg(feature = "alloc")]
    pub fn new(bytes: usize) -> Self {
        Self::of(MetaCache::new(bytes), Shelf::empty(1))
    }

    /// Returns the state before the first read, in this memory.
    #[cfg(not(feature = "alloc"))]
    pub fn over(pages: &'static mut Pages, dir: &'static mut [u8; PAGE_BYTES]) -> Self {
        Self::of(MetaCache::over(pages), Shelf::of([dir.as_mut_slice()]))
    }

    fn of(pages: MetaCache, dir: Shelf<DirMemory, 1>) -> Self {
        Self {
            pages,
            dir,
            dir_of: None,
            root: None,
            metabox: None,
            metabox_is_read: false,
            #[cfg(feature = "alloc")]
            ahead: Ahead::new(),
        }
    }

    /// Puts a page into the metadata cache, and returns its place; `None` if there is no memory for now.
    #[cfg(feature = "alloc")]
    pub fn put_page(
        &mut self,
        number: PageNumber,
        bytes: &[u8; PAGE_BYTES],
    ) -> Result<Option<PagePlace>, Bug> {
        let Some(mut taken) = self.pages.take(number)? else { return Ok(None) };
        taken.bytes.copy_from_slice(bytes);
        self.pages.put(taken, true).map(Some)
    }

    /// Returns the bytes of a page in the metadata cache.
    #[cfg(feature = "alloc")]
    pub fn page_bytes(&self, place: PagePlace) -> Result<&[u8; PAGE_BYTES], Bug> {
        self.pages.bytes_of(place)?.try_into().ok().or_bug()
    }

    /// Returns the bytes of all pages, plus the bytes that a directory block of `block_bytes` bytes
    /// and reading ahead may still allocate.
    #[cfg(feature = "alloc")]
    #[expect(clippy::arithmetic_side_effects, reason = "within the budget, and 128 KiB")]
    pub fn reserve_bytes(&self, block_bytes: usize) -> usize {
        let dir = self.dir.unmade() * block_bytes;
        self.pages.bytes() + dir + self.ahead.reserve_bytes()
    }
}

impl<S: Storage, L: Layer<S>> Guard<'_, S, L> {
    /// Fills `out` with the bytes of the metadata space `space` from byte `at` on.
    pub fn meta(&mut self, space: Space, at: u64, out: &mut [u8]) -> Result<(), Stop> {
        let mut rest = self.inside(space, at, out.len())?;
        let mut out = Fill::new(out);
        while let Some(here) = rest.non_empty() {
            let part = BLOCK.front(here);
            let front = out.next(part.len())?;
            // A short page is a bug: zeros in place of its bytes would be wrong bytes.
            front.copy_from_slice(part_of(self.page(space, part)?, part)?);
            self.io.stats.copied(front.len());
            rest = here.skip(part.len());
        }
        Ok(())
    }

    /// Returns the page that holds the bytes `part` of `space`, loaded if it was not in memory.
    fn page(&mut self, space: Space, part: ByteRange) -> Result<&[u8], Stop> {
        let page = self.load_page(space, BLOCK.whole(part.start()))?;
        self.page_at(page)
    }

    /// Finds page `page` of a space in memory, or loads it. Returns where it is.
    fn load_page(&mut self, space: Space, page: u64) -> Result<LoadedPage, Stop> {
        let number = self.number_of(space, page);
        let bytes = page_bytes(page)?;
        if space == Space::Image && self.view(self.mount().primary(), bytes).is_some() {
            return Ok(LoadedPage::Viewed(bytes));
        }
        let mut spin = Spin::default();
        loop {
            match self.metadata.pages.find(number)? {
                Found::Here(place) => {
                    count(&mut self.io.stats.meta_hits, 1);
                    return Ok(LoadedPage::Kept(place));
                }
                // This reader may be the one that brings the page: it would wait for itself.
                Found::Absent | Found::Coming if space == Space::Metabox && self.in_metabox => {
                    let nid = self.mount().superblock().metabox().ok_or(Corrupt::NoMetabox)?;
                    return Err(Corrupt::MetaboxInItself { nid }.into());
                }
                #[cfg(feature = "alloc")]
                Found::Absent if self.has_brought(number) => {
                    if let Some(place) = self.bring_back(number)? {
                        return Ok(LoadedPage::Kept(place));
                    }
                }
                Found::Absent if space == Space::Image || self.begins_metabox() => {
                    let loaded = self.bring_page(number, bytes);
                    if space == Space::Metabox {
                        (self.in_metabox, self.metadata.metabox_is_read) = (false, false);
                    }
                    if let Some(place) = loaded? {
                        #[cfg(feature = "alloc")]
                        self.keep_brought(number, place)?;
                        return Ok(LoadedPage::Kept(place));
                    }
                }
                Found::Absent | Found::Coming => {}
            }
            // Another reader brings the page, or has the memory that this reader needs to bring it.
            self.pause(&mut spin)?;
        }
    }

    /// Returns the number that a page of the image has in the cache.
    fn number_of(&self, space: Space, page: u64) -> PageNumber {
        pages::number(self.mount().superblock().layer(), space, page)
    }

    /// Begins to read data of the metabox. Returns false if another reader does.
    fn begins_metabox(&mut self) -> bool {
        self.in_metabox = !core::mem::replace(&mut self.metadata.metabox_is_read, true);
        self.in_metabox
    }

    /// Brings a page into memory. Returns where it is; `None` if there is no memory for now.
    fn bring_page(
        &mut self,
        number: PageNumber,
        bytes: ByteRange,
    ) -> Result<Option<PagePlace>, Stop> {
        let Some(mut taken) = self.metadata.pages.take(number)? else { return Ok(None) };
        let loaded = self.load(number.0, bytes, pages::bytes_of(&mut taken.bytes));
        let place = self.metadata.pages.put(taken, loaded.is_ok())?;
        loaded.map(|()| Some(place))
    }

    /// Returns the bytes of a page that [`Guard::load_page`] found.
    fn page_at(&self, page: LoadedPage) -> Result<&[u8], Stop> {
        match page {
            LoadedPage::Viewed(bytes) => Ok(self.view(self.mount().primary(), bytes).or_bug()?),
            LoadedPage::Kept(place) => Ok(self.metadata.pages.bytes_of(place)?),
        }
    }

    fn load(&mut self, space: Space, bytes: ByteRange, page: &mut [u8]) -> Result<(), Stop> {
        let len = match space {
            Space::Image => self.image_bytes()?,
            Space::Metabox => self.metabox()?.size(),
        };
        let left = ByteRange::first(len).skip(bytes.start()).take(bytes.len());
        let (here, beyond) = page.split_at_mut_checked(narrow(left.len())?).or_bug()?;
        beyond.fill(0);
        let slot = self.mount().primary();
        match space {
            // After the end of the device: the read returns the error.
            Space::Image if here.is_empty() => {
                self.fetch(&[Extent::Blob { slot, range: bytes }], beyond)
            }
            Space::Image => self.fetch(&[Extent::Blob { slot, range: left }], here),
            Space::Metabox => {
                let metabox = self.metabox()?;
                self.data(&metabox, bytes.start(), here)
            }
        }
    }

    /// Returns the inode of the root directory. Reads it once.
    pub fn root(&mut self) -> Result<Inode, Stop> {
        if let Some(root) = self.metadata.root {
            return Ok(root);
        }
        self.turn_to_top();
        let found = self.inode(self.mount().superblock().root());
        if let Ok(root) = &found {
            if root.kind() != FileKind::Directory {
                return Err(Corrupt::RootKind { nid: root.nid(), mode: root.mode() }.into());
            }
            self.metadata.root = Some(*root);
        }
        found
    }

    /// Returns the inode of the metabox. Reads it once.
    pub fn metabox(&mut self) -> Result<Inode, Stop> {
        let nid = self.mount().superblock().metabox().ok_or(Corrupt::NoMetabox)?;
        if let Some(inode) = self.metadata.metabox.filter(|inode| inode.nid() == nid) {
            return Ok(inode);
        }
        let inode = self.inode(nid)?;
        self.metadata.metabox = Some(inode);
        Ok(inode)
    }

    /// Returns the range of `len` bytes from byte `at` of `space` on.
    ///
    /// # Errors
    /// Corrupt if the range ends after the space, where a page would have zeros.
    fn inside(&mut self, space: Space, at: u64, len: usize) -> Result<ByteRange, Stop> {
        let len = wide(len);
        let (end, beyond) = match space {
            Space::Image => {
                let blob = self.image_bytes()?;
                (blob, Corrupt::BeyondBlob { slot: 0, at, len, blob })
            }
            Space::Metabox => {
                let metabox = self.metabox()?.size();
                (metabox, Corrupt::BeyondMetabox { at, len, metabox })
            }
        };
        let range = ByteRange::sized(at, len).filter(|range| range.end() <= end);
        Ok(range.ok_or(beyond)?)
    }

    /// Returns the length of the primary device in bytes.
    fn image_bytes(&self) -> Result<u64, Stop> {
        Ok(self.source(self.mount().primary()).or_bug()?.bytes)
    }

    /// Reads and validates an inode: in place if it lies in one page, else from a copy.
    pub fn inode(&mut self, nid: Nid) -> Result<Inode, Stop> {
        self.turn_to(nid);
        let at = self.mount().superblock().inode_at(nid)?;
        let (space, half) = (nid.space(), Inode::BYTES_MIN);
        let inside = self.inside(space, at, half)?;
        let page = self.load_page(space, BLOCK.whole(at))?;
        let here = self.page_at(page)?.get(clip(BLOCK.offset(at), PAGE_BYTES)..).or_bug()?;
        if let Some(format) = here.first_chunk()
            && Inode::bytes_needed(*format) <= here.len()
            && (space == Space::Image || Inode::bytes_needed(*format) == half)
        {
            let found = Inode::from_bytes(self.mount().superblock(), nid, here);
            self.inside(space, at, Inode::bytes_needed(*format))?;
            return in_place(&found);
        }
        let mut raw = [0; Inode::BYTES_MAX];
        let (first, second) = raw.split_at_mut(half);
        self.meta(space, at, first)?;
        self.meta(space, inside.end(), second)?;
        in_place(&Inode::from_bytes(self.mount().superblock(), nid, &raw))
    }

    /// Returns block `block` of a directory, cut to the directory's size: in place if it lies in
    /// one page of metadata, else from a copy.
    pub fn dir_block(&mut self, inode: &Inode, block: u64) -> Result<&[u8], Stop> {
        self.turn_to(inode.nid());
        let size = self.mount().superblock().block_size();
        let at = size.at(block).ok_or(Corrupt::Overflow(Part::Inode(inode.nid())))?;
        let want = ByteRange::first(inode.size()).skip(at).take(size.bytes());
        let len = narrow(want.len())?;
        if let Some((space, at)) = self.dir_place(inode, block, at)? {
            let place = ByteRange::sized(at, want.len());
            if place.is_some_and(|place| BLOCK.front(place) == place) {
                let inside = self.inside(space, at, len)?;
                return Ok(part_of(self.page(space, inside)?, inside)?);
            }
        }
        if self.metadata.dir_of != Some((inode.nid(), block)) {
            let mut memory = self.wait_for_one(|state| {
                state.metadata.dir_of = None;
                state.metadata.dir.take(|| dir_memory(size.bytes_usize()))
            })?;
            let result = match pages::bytes_of(&mut memory).get_mut(..len) {
                Some(place) => self.data_by_meta(inode, want, place),
                None => Err(Unsupported::LargeBlocks { bytes: size.bytes() }.into()),
            };
            self.metadata.dir.put(memory);
            result?;
            self.metadata.dir_of = Some((inode.nid(), block));
        }
        Ok(self.metadata.dir.last().and_then(|dir| dir.get(..len)).or_bug()?)
    }

    /// Returns the space and offset of block `block` of a directory, which begins at its byte `at`,
    /// if the block is metadata: in the inode's tail, or on the primary device.
    fn dir_place(&self, inode: &Inode, block: u64, at: u64) -> Result<Option<(Space, u64)>, Stop> {
        if let Some(at) = in_tail(inode, at)? {
            return Ok(Some((inode.nid().space(), at)));
        }
        let start = match inode.layout() {
            Layout::Inline { start, .. } | Layout::Plain { start: Some(start) } => start,
            _ => return Ok(None),
        };
        let place = self.mount().devices().resolve(0, start.checked_add(block).or_bug()?)?;
        let at = self.mount().superblock().block_size().at(place.block);
        Ok(at.filter(|_| place.slot == 0).map(|at| (Space::Image, at)))
    }

    /// Fills `out` as [`Guard::data`] does, but reads bytes on the primary device through the
    /// metadata cache.
    fn data_by_meta(&mut self, inode: &Inode, want: ByteRange, out: &mut [u8]) -> Result<(), Stop> {
        let mut plan = Plan::new();
        if matches!(inode.layout(), Layout::Plain { .. } | Layout::Chunked(_)) {
            self.plan(inode, want, &mut plan)?;
        }
        match plan.extents() {
            [Extent::Blob { slot, range }]
                if *slot == self.mount().primary() && range.len() == want.len() =>
            {
                self.meta(Space::Image, range.start(), out)
            }
            _ => self.data(inode, want.start(), out),
        }
    }
}

/// Returns memory for a directory block; none where there is no heap, and the memory was lent.
fn dir_memory(bytes: usize) -> DirMemory {
    #[cfg(feature = "alloc")]
    {
        alloc::vec![0; bytes].into_boxed_slice()
    }
    #[cfg(not(feature = "alloc"))]
    {
        let _ = bytes;
        pages::empty()
    }
}

/// Returns the bytes of page `page` of a space; the last page that 64 bits can count is short.
fn page_bytes(page: u64) -> Result<ByteRange, Bug> {
    let start = BLOCK.times(page).or_bug()?;
    Ok(ByteRange::first(u64::MAX).skip(start).take(BLOCK.get()))
}

/// Returns the bytes `part` of a space from `page`, which holds them.
fn part_of(page: &[u8], part: ByteRange) -> Result<&[u8], Bug> {
    let page = page.get(clip(BLOCK.offset(part.start()), PAGE_BYTES)..);
    page.and_then(|page| page.get(..usize::try_from(part.len()).ok()?)).or_bug()
}

/// A page of metadata in memory.
#[derive(Clone, Copy)]
enum LoadedPage {
    /// A range of the image, which lies in memory itself.
    Viewed(ByteRange),
    /// A page in the metadata cache.
    Kept(PagePlace),
}

/// Returns a copy of the inode, or the converted error. `?` would move the inode out field by
/// field, in ten times the code.
fn in_place(found: &Result<Inode, FormatError>) -> Result<Inode, Stop> {
    match found {
        Ok(inode) => Ok(*inode),
        Err(error) => Err((*error).into()),
    }
}
