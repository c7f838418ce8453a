//! What a mount works with, behind its lock: storage, layer, metadata, buffers.
//!
//! Always: a read fills its whole buffer with the file's bytes or fails; every loop over disk
//! data is bounded by the sizes that the inode was checked for.

#[cfg(feature = "alloc")]
use super::ahead::Ahead;
#[cfg(feature = "alloc")]
use super::blocks::Blocks;
use super::bounce::Bounce;
use super::budget::Budget;
#[cfg(feature = "alloc")]
use super::decoded::Decoding;
use super::fetch::Fetch;
use super::meta::MetaCache;
use super::pieces::{Extent, Source};
use super::plan::{Plan, in_tail};
use super::stats::Stats;
#[cfg(feature = "alloc")]
use super::stream::{Pool, Prefetch};
use crate::blob::{Image, SOURCES_MAX, SourcePart};
use crate::cache::Layer;
use crate::erofs::{ChunkMap, Devices, Inode, Layout, Nid, Space, Superblock};
use crate::error::Error;
use crate::num::{Bug, OrBug, wide};
#[cfg(feature = "alloc")]
use crate::storage::Ended;
use crate::storage::{DeviceId, Storage};
use crate::units::{BLOCK, ByteRange, Fill, Pow2, count};

/// Bytes of a chunk map looked at in one go.
const MAP_BYTES: usize = 512;
/// Ended jobs of an embedder that wait for it at most.
#[cfg(feature = "alloc")]
pub const FOREIGN_MAX: usize = 64;
/// Sector and longest transfer of a source that is not there: what is read at once from the region.
const ABSENT: (Pow2, u64) = match Pow2::of(512) {
    Some(sector) => (sector, 1 << 20),
    None => panic!("512 is a power of two"),
};

#[cfg(feature = "alloc")]
pub type Sources = alloc::vec::Vec<Source>;
#[cfg(not(feature = "alloc"))]
pub type Sources = heapless::Vec<Source, SOURCES_MAX>;

#[cfg(feature = "alloc")]
type DirMemory = alloc::boxed::Box<[u8]>;
#[cfg(not(feature = "alloc"))]
type DirMemory = [u8; 4096];

/// The state of a mount.
#[derive(Debug)]
pub struct Inner<S, L> {
    pub storage: S,
    pub layer: L,
    pub superblock: Superblock,
    pub devices: Devices,
    pub stats: Stats,
    pub sources: Sources,
    pub meta: MetaCache,
    pub bounce: Bounce,
    #[cfg(feature = "alloc")]
    pub ahead: Ahead,
    /// One directory block, once one did not lie in a page, and which one it is.
    pub dir: DirMemory,
    pub dir_is: Option<(Nid, u64)>,
    /// The root directory, once it was needed.
    pub root: Option<Inode>,
    /// The inode of the metabox, once it was needed.
    pub metabox: Option<Inode>,
    /// Whether data of the metabox is being read, which needs no metadata from it.
    pub in_metabox: bool,
    /// Blocks for small reads.
    #[cfg(feature = "alloc")]
    pub blocks: Blocks,
    /// What compressed files take.
    #[cfg(feature = "alloc")]
    pub decoding: Decoding,
    /// What streams read ahead into.
    #[cfg(feature = "alloc")]
    pub pool: Pool,
    /// Ended jobs of an embedder, until it asks for them.
    #[cfg(feature = "alloc")]
    pub foreign: alloc::collections::VecDeque<Ended>,
    /// What an earlier boot read.
    #[cfg(feature = "alloc")]
    pub prefetch: Prefetch,
}

/// Returns the sources of all slots, attached to `layer`.
///
/// # Errors
/// [`BindError::Unfit`](crate::blob::BindError::Unfit).
pub fn sources<S: Storage, L: Layer<S>>(
    storage: &S,
    layer: &mut L,
    image: &Image,
    parts: &[SourcePart],
) -> Result<Sources, Error> {
    // There are as many parts as slots, which the table has bounded.
    let identities = crate::blob::Identities::new(image);
    let sources = (0..=u16::MAX).zip(parts).take(SOURCES_MAX).map(|(slot, part)| {
        let (sector, transfer_max) = match crate::blob::fit(storage, slot, part.device)? {
            Some(info) => {
                (Pow2::of(info.sector_bytes.into()).or_bug()?, info.transfer_bytes_max.into())
            }
            None => ABSENT,
        };
        let identity = || identities.of(slot, part.version);
        // A layer takes whole blocks.
        let blob =
            if transfer_max < BLOCK.get() { None } else { layer.attach(identity, part.bytes) };
        let (device, base, bytes) = (part.device, part.base, part.bytes);
        Ok(Source { device, base, bytes, sector, transfer_max, blob })
    });
    sources.collect()
}

impl<S: Storage, L: Layer<S>> Inner<S, L> {
    /// Returns the state of a mount before the first read.
    ///
    /// # Errors
    /// Unsupported when decoding the image's algorithms needs more memory than the budget has.
    pub fn new(
        storage: S,
        layer: L,
        sources: Sources,
        image: &Image,
        budget: &Budget,
    ) -> Result<Self, Error> {
        Ok(Self {
            storage,
            layer,
            superblock: image.superblock,
            devices: image.devices.clone(),
            stats: Stats { mount_bytes: image.read_bytes, ..Stats::default() },
            sources,
            meta: MetaCache::new(budget.metadata_bytes),
            bounce: Bounce::new(),
            #[cfg(feature = "alloc")]
            ahead: Ahead::new(),
            dir: super::meta::empty(),
            dir_is: None,
            root: None,
            metabox: None,
            in_metabox: false,
            #[cfg(feature = "alloc")]
            blocks: Blocks::new(budget.block_bytes),
            #[cfg(feature = "alloc")]
            decoding: Decoding::new(budget, &image.superblock)?,
            #[cfg(feature = "alloc")]
            pool: Pool::new(budget.stream_bytes),
            #[cfg(feature = "alloc")]
            foreign: alloc::collections::VecDeque::new(),
            #[cfg(feature = "alloc")]
            prefetch: Prefetch::default(),
        })
    }

    /// Returns the most bytes that reads may still allocate; for metadata and decoding, may allocate
    /// at all.
    pub fn reserve_bytes(&self) -> usize {
        #[cfg(feature = "alloc")]
        let parts = [
            self.meta.bytes(),
            if self.dir.is_empty() { self.superblock.block_size.bytes_usize() } else { 0 },
            self.decoding.bytes(),
            self.blocks.reserve_bytes(),
            self.pool.reserve_bytes(),
            self.bounce.reserve_bytes(),
            self.ahead.reserve_bytes(),
        ];
        #[cfg(not(feature = "alloc"))]
        let parts: [usize; 0] = [];
        // Each is within its part of the budget.
        parts.into_iter().sum()
    }

    /// Fills `out` with the bytes of `extents`, whose lengths sum up to `out.len()`.
    pub fn fetch(&mut self, extents: &[Extent], out: &mut [u8]) -> Result<(), Error> {
        if self.copy_viewed(extents, out)? {
            return Ok(());
        }
        #[cfg(feature = "alloc")]
        self.join(extents);
        let mut fetch = Fetch {
            storage: &mut self.storage,
            layer: &mut self.layer,
            stats: &mut self.stats,
            bounce: &mut self.bounce,
            sources: &self.sources,
        };
        let result = fetch.run(extents, out);
        // After the read: what its reader wanted is here.
        #[cfg(feature = "alloc")]
        self.go_on_prefetching();
        result
    }

    /// Returns the bytes of a slot if they lie in memory.
    pub fn view(&self, slot: u16, range: ByteRange) -> Option<&[u8]> {
        let source = self.sources.get(usize::from(slot))?;
        if range.end() > source.bytes {
            return None;
        }
        let (device, at) = source.at(range.start()).ok()?;
        self.storage.view(device, at, usize::try_from(range.len()).ok()?)
    }

    /// As [`Inner::fetch`] if all the extents lie in memory. Returns false, and leaves anything in
    /// `out`, if not.
    fn copy_viewed(&mut self, extents: &[Extent], out: &mut [u8]) -> Result<bool, Bug> {
        let mut out = Fill::new(out);
        let (mut transfers, mut copied) = (0, 0_usize);
        for extent in extents {
            let front = out.next(extent.len())?;
            match *extent {
                Extent::Hole(_) => front.fill(0),
                Extent::Blob { slot, range } => {
                    let Some(bytes) = self.view(slot, range) else { return Ok(false) };
                    front.copy_from_slice(bytes);
                    copied = copied.checked_add(front.len()).or_bug()?;
                    count(&mut transfers, 1);
                }
            }
        }
        out.finish()?;
        self.viewed(transfers, copied);
        Ok(true)
    }

    /// Counts bytes that were taken from memory.
    pub fn viewed(&mut self, transfers: u64, bytes: usize) {
        self.stats.copied(bytes);
        self.stats.fetched(transfers, bytes);
    }

    /// Fills `out` with the bytes of an inode's data from `offset` on; `offset + out.len()` is at
    /// most its size.
    pub fn data(&mut self, inode: &Inode, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let mut rest = ByteRange::sized(offset, wide(out.len())).or_bug()?;
        let mut out = Fill::new(out);
        while let Some(want) = rest.non_empty() {
            rest = self.data_here(inode, want, &mut out)?;
            if rest == want {
                return Err(Error::bug());
            }
        }
        Ok(out.finish()?)
    }

    /// Reads the first bytes of `want`, at least one, of an inode's data to the next bytes of `out`.
    /// Returns the rest of `want`.
    fn data_here(
        &mut self,
        inode: &Inode,
        want: ByteRange,
        out: &mut Fill<'_>,
    ) -> Result<ByteRange, Error> {
        let none = want.skip(want.len());
        if let Layout::Compressed(_) = inode.layout {
            self.decoded(inode, want, out.next(want.len())?)?;
            return Ok(none);
        }
        if let Some(at) = in_tail(inode, want.start())? {
            self.meta(inode.nid.space(), at, out.next(want.len())?)?;
            return Ok(none);
        }
        #[cfg(feature = "alloc")]
        if self.reads_small(want) {
            return self.read_small(inode, want, out);
        }
        let mut plan = Plan::new();
        self.plan(inode, want, &mut plan)?;
        self.fetch(plan.extents(), out.next(plan.bytes())?)?;
        Ok(want.skip(plan.bytes()))
    }

    /// Plans the first bytes of `want`, at least one, of an inode's uncompressed data.
    pub fn plan(&mut self, inode: &Inode, want: ByteRange, plan: &mut Plan) -> Result<(), Error> {
        let (superblock, devices) = (&self.superblock, &self.devices);
        match inode.layout {
            Layout::None | Layout::Compressed(_) | Layout::Plain { start: None } => {
                plan.push_hole(want)?;
            }
            Layout::Plain { start: Some(start) } => {
                plan.push_blocks(superblock, devices, (0, start), want)?;
            }
            Layout::Inline { start, tail } => {
                let body = inode.size.checked_sub(tail.len).or_bug()?;
                let want = want.take(body.checked_sub(want.start()).or_bug()?);
                plan.push_blocks(superblock, devices, (0, start), want)?;
            }
            Layout::Chunked(map) => self.plan_chunks(inode.nid.space(), &map, want, plan)?,
        }
        if plan.bytes() == 0 || plan.bytes() > want.len() { Err(Error::bug()) } else { Ok(()) }
    }

    fn plan_chunks(
        &mut self,
        space: Space,
        map: &ChunkMap,
        want: ByteRange,
        plan: &mut Plan,
    ) -> Result<(), Error> {
        let chunk_size = Pow2::from_bits(map.chunk_bits).or_bug()?;
        let mut raw = [0; MAP_BYTES];
        let mut rest = want;
        // Each round takes at least a chunk.
        while let Some(here) = rest.non_empty() {
            let chunks = chunk_size.numbers(here);
            let span = map.entries(chunks.clone(), wide(MAP_BYTES))?;
            let entries = Fill::new(&mut raw).next(span.len)?;
            self.meta(space, span.at, entries)?;
            for (chunk, entry) in chunks.zip(entries.chunks_exact(map.entry.bytes_usize())) {
                let part = chunk_size.front(rest);
                let skip = chunk_size.offset(part.start());
                let inside = ByteRange::sized(skip, part.len()).or_bug()?;
                let target = map.parse(chunk, entry)?;
                let left = plan.push_chunk(&self.superblock, &self.devices, target, inside)?;
                if !left.is_empty() {
                    return Ok(());
                }
                rest = rest.skip(part.len());
            }
        }
        Ok(())
    }

    /// Returns device and byte offset of the source of byte `offset` of a file; of encoded bytes,
    /// where they begin.
    pub fn source_of(
        &mut self,
        inode: &Inode,
        offset: u64,
    ) -> Result<Option<(DeviceId, u64)>, Error> {
        if offset >= inode.size {
            return Ok(None);
        }
        if let Layout::Compressed(_) = inode.layout {
            return self.encoded_source(inode, offset);
        }
        if let Some(at) = in_tail(inode, offset)? {
            return self.meta_source(inode.nid.space(), at);
        }
        let mut plan = Plan::new();
        self.plan(inode, ByteRange::sized(offset, 1).or_bug()?, &mut plan)?;
        Ok(self.place(plan.extents()))
    }

    /// Returns device and byte offset of the source of a byte of metadata.
    pub fn meta_source(&mut self, space: Space, at: u64) -> Result<Option<(DeviceId, u64)>, Error> {
        match space {
            Space::Image => {
                let range = ByteRange::sized(at, 1).or_bug()?;
                Ok(self.place(&[Extent::Blob { slot: 0, range }]))
            }
            Space::Metabox => {
                let metabox = self.metabox()?;
                self.source_of(&metabox, at)
            }
        }
    }

    /// Returns device and byte offset of the first of the extents; `None` for a hole.
    pub fn place(&self, extents: &[Extent]) -> Option<(DeviceId, u64)> {
        let Some(Extent::Blob { slot, range }) = extents.first() else { return None };
        let source = self.sources.get(usize::from(*slot))?;
        source.at(range.start()).ok()
    }
}

/// Without memory to decode in, compressed files are refused.
#[cfg(not(feature = "alloc"))]
impl<S: Storage, L: Layer<S>> Inner<S, L> {
    fn decoded(&mut self, inode: &Inode, _: ByteRange, _: &mut [u8]) -> Result<(), Error> {
        Err(crate::erofs::Unsupported::Compressed { nid: inode.nid }.into())
    }

    fn encoded_source(&mut self, inode: &Inode, _: u64) -> Result<Option<(DeviceId, u64)>, Error> {
        Err(crate::erofs::Unsupported::Compressed { nid: inode.nid }.into())
    }
}
