//! What a mount works with, behind its lock: storage, layer, metadata, buffers.
//!
//! Always: a read fills its whole buffer with the file's bytes or fails; every loop over disk
//! data is bounded by the sizes that the inode was checked for.

use super::ahead::Ahead;
#[cfg(feature = "alloc")]
use super::blocks::Blocks;
use super::bounce::Bounce;
use super::budget::Budget;
#[cfg(feature = "alloc")]
use super::decoded::Decoding;
use super::fetch::Fetch;
use super::meta::MetaCache;
use super::pieces::{BLOCK, Extent, Source};
use super::plan::Plan;
use super::stats::Stats;
#[cfg(feature = "alloc")]
use super::stream::{Pool, Prefetch};
use crate::blob::{Image, SOURCES_MAX, SourcePart};
#[cfg(feature = "alloc")]
use crate::cache::Ended;
use crate::cache::Layer;
use crate::erofs::{ChunkMap, Devices, Inode, Layout, Nid, Space, Superblock};
use crate::error::Error;
use crate::num::{OrBug, wide};
use crate::storage::{DeviceId, Storage};
use crate::units::{ByteRange, Fill, Pow2};

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
    /// Waits for what streams have on its way, once there was one.
    #[cfg(feature = "alloc")]
    pub join: Option<fn(&mut Self, &[Extent])>,
    /// What an earlier boot read.
    #[cfg(feature = "alloc")]
    pub prefetch: Prefetch,
    /// Goes on with it, while there is more.
    #[cfg(feature = "alloc")]
    pub prefetch_on: Option<fn(&mut Self)>,
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
        let blob = if transfer_max < BLOCK { None } else { layer.attach(identity, part.bytes) };
        let (device, base, bytes) = (part.device, part.base, part.bytes);
        Ok(Source { device, base, bytes, sector, transfer_max, blob })
    });
    sources.collect()
}

impl<S: Storage, L: Layer<S>> Inner<S, L> {
    pub fn new(storage: S, layer: L, sources: Sources, image: &Image, budget: &Budget) -> Self {
        Self {
            storage,
            layer,
            superblock: image.superblock,
            devices: image.devices.clone(),
            stats: Stats { mount_bytes: image.read_bytes, ..Stats::default() },
            sources,
            meta: MetaCache::new(budget.metadata_bytes),
            bounce: Bounce::new(),
            ahead: Ahead::new(),
            dir: super::meta::empty(),
            dir_is: None,
            root: None,
            metabox: None,
            in_metabox: false,
            #[cfg(feature = "alloc")]
            blocks: Blocks::new(budget.block_bytes),
            #[cfg(feature = "alloc")]
            decoding: Decoding::new(budget),
            #[cfg(feature = "alloc")]
            pool: Pool::new(budget.stream_bytes),
            #[cfg(feature = "alloc")]
            foreign: alloc::collections::VecDeque::new(),
            #[cfg(feature = "alloc")]
            join: None,
            #[cfg(feature = "alloc")]
            prefetch: Prefetch::default(),
            #[cfg(feature = "alloc")]
            prefetch_on: None,
        }
    }

    /// Fills `out` with the bytes of `extents`, whose lengths sum up to `out.len()`.
    pub fn fetch(&mut self, extents: &[Extent], out: &mut [u8]) -> Result<(), Error> {
        if self.copy_viewed(extents, out) {
            return Ok(());
        }
        #[cfg(feature = "alloc")]
        if let Some(join) = self.join {
            join(self, extents);
        }
        let mut fetch = Fetch {
            storage: &mut self.storage,
            layer: &mut self.layer,
            stats: &mut self.stats,
            bounce: &mut self.bounce,
            sources: &self.sources,
        };
        let result = fetch.run(extents, out);
        // Behind the reader: what it wanted is here.
        #[cfg(feature = "alloc")]
        if let Some(prefetch_on) = self.prefetch_on {
            prefetch_on(self);
        }
        result
    }

    /// Bytes of a slot that lie in memory.
    pub fn view(&self, slot: u16, at: u64, len: usize) -> Option<&[u8]> {
        let source = self.sources.get(usize::from(slot))?;
        let all = ByteRange::sized(at, wide(len))?;
        if all.end() > source.bytes {
            return None;
        }
        self.storage.view(source.device, source.base.checked_add(at)?, len)
    }

    /// As [`Inner::fetch`] if all the extents lie in memory; false, and `out` is anything, if not.
    fn copy_viewed(&mut self, extents: &[Extent], out: &mut [u8]) -> bool {
        let (mut out, mut copied, mut transfers) = (Fill::new(out), 0_usize, 0_u64);
        for extent in extents {
            let Ok(front) = out.next(extent.len()) else { return false };
            match *extent {
                Extent::Hole(_) => front.fill(0),
                Extent::Blob { slot, at, .. } => {
                    let Some(bytes) = self.view(slot, at, front.len()) else { return false };
                    front.copy_from_slice(bytes);
                    copied = copied.saturating_add(front.len());
                    transfers = transfers.saturating_add(1);
                }
            }
        }
        if out.finish().is_err() {
            return false;
        }
        self.viewed(copied, transfers);
        true
    }

    /// Counts bytes that were taken from memory.
    pub fn viewed(&mut self, bytes: usize, transfers: u64) {
        self.stats.copied(bytes);
        self.stats.fetches = self.stats.fetches.saturating_add(transfers);
        self.stats.fetched_bytes = self.stats.fetched_bytes.saturating_add(wide(bytes));
    }

    /// Reads bytes of an inode's data; `offset + out.len()` is at most its size.
    pub fn data(&mut self, inode: &Inode, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let mut offset = offset;
        let mut rest = out;
        while !rest.is_empty() {
            let len = self.data_here(inode, offset, rest)?;
            if len == 0 {
                return Err(Error::bug());
            }
            rest = rest.get_mut(len..).or_bug()?;
            offset = offset.checked_add(wide(len)).or_bug()?;
        }
        Ok(())
    }

    /// Reads the next bytes of an inode's data, at least one and at most `out.len()`. Returns how
    /// many.
    fn data_here(&mut self, inode: &Inode, offset: u64, out: &mut [u8]) -> Result<usize, Error> {
        let all = out.len();
        match inode.layout {
            Layout::Compressed(_) => return self.decoded(inode, offset, out).map(|()| all),
            Layout::Inline { tail, .. } => {
                let body = inode.size.saturating_sub(tail.len);
                if let Some(into) = offset.checked_sub(body) {
                    let at = tail.at.checked_add(into).or_bug()?;
                    return self.meta(inode.nid.space(), at, out).map(|()| all);
                }
            }
            _ => {}
        }
        #[cfg(feature = "alloc")]
        if self.reads_small(all) {
            return self.read_small(inode, offset, out);
        }
        let mut plan = Plan::new();
        self.plan(inode, offset, wide(all), &mut plan)?;
        let front = Fill::new(out).next(plan.bytes())?;
        self.fetch(plan.extents(), front)?;
        Ok(front.len())
    }

    /// Plans at least a byte and at most `want` bytes of uncompressed data from `offset` on.
    pub fn plan(
        &mut self,
        inode: &Inode,
        offset: u64,
        want: u64,
        plan: &mut Plan,
    ) -> Result<(), Error> {
        match inode.layout {
            Layout::None | Layout::Compressed(_) | Layout::Plain { start: None } => {
                plan.push_hole(want);
            }
            Layout::Plain { start: Some(start) } => {
                plan.push_blocks(&self.superblock, &self.devices, 0, start, offset, want)?;
            }
            Layout::Inline { start, tail } => {
                let body = inode.size.saturating_sub(tail.len);
                let want = want.min(body.saturating_sub(offset));
                plan.push_blocks(&self.superblock, &self.devices, 0, start, offset, want)?;
            }
            Layout::Chunked(map) => {
                self.plan_chunks(inode.nid.space(), &map, offset, want, plan)?;
            }
        }
        if plan.bytes() == 0 || plan.bytes() > want { Err(Error::bug()) } else { Ok(()) }
    }

    fn plan_chunks(
        &mut self,
        space: Space,
        map: &ChunkMap,
        offset: u64,
        want: u64,
        plan: &mut Plan,
    ) -> Result<(), Error> {
        let chunk_bytes = 1u64.checked_shl(map.chunk_bits).or_bug()?;
        let mut raw = [0; MAP_BYTES];
        let per_read = wide(MAP_BYTES.checked_div(map.entry.bytes_usize()).or_bug()?);
        let mut chunk = map.chunk_of(offset);
        let mut skip = offset & chunk_bytes.wrapping_sub(1);
        let last = map.chunk_of(offset.saturating_add(want).saturating_sub(1));
        while chunk <= last {
            let count = per_read.min(last.saturating_sub(chunk).saturating_add(1));
            let first = map.entry_at(chunk)?;
            let len = count.checked_mul(first.len).or_bug()?;
            let entries = Fill::new(&mut raw).next(len)?;
            self.meta(space, first.at, entries)?;
            for entry in entries.chunks_exact(map.entry.bytes_usize()) {
                let target = map.parse(chunk, entry)?;
                let len = chunk_bytes.saturating_sub(skip).min(want.saturating_sub(plan.bytes()));
                let added = plan.push_chunk(&self.superblock, &self.devices, target, skip, len)?;
                if added < len {
                    return Ok(());
                }
                skip = 0;
                chunk = chunk.saturating_add(1);
            }
        }
        Ok(())
    }

    /// Device and byte offset of the source of byte `offset` of a file; of encoded bytes, where
    /// they begin.
    pub fn source_of(
        &mut self,
        inode: &Inode,
        offset: u64,
    ) -> Result<Option<(DeviceId, u64)>, Error> {
        if offset >= inode.size {
            return Ok(None);
        }
        let mut plan = Plan::new();
        match inode.layout {
            Layout::Compressed(_) => return self.encoded_source(inode, offset),
            Layout::Inline { tail, .. } if offset >= inode.size.saturating_sub(tail.len) => {
                let body = inode.size.saturating_sub(tail.len);
                let at = offset.checked_sub(body).and_then(|into| tail.at.checked_add(into));
                return self.meta_source(inode.nid.space(), at.or_bug()?);
            }
            _ => self.plan(inode, offset, 1, &mut plan)?,
        }
        Ok(self.place(plan.extents()))
    }

    /// The source of a byte of metadata.
    pub fn meta_source(&mut self, space: Space, at: u64) -> Result<Option<(DeviceId, u64)>, Error> {
        match space {
            Space::Image => Ok(self.place(&[Extent::Blob { slot: 0, at, len: 1 }])),
            Space::Metabox => {
                let metabox = self.metabox()?;
                self.source_of(&metabox, at)
            }
        }
    }

    /// Where the first of the extents lies; `None` for a hole.
    pub fn place(&self, extents: &[Extent]) -> Option<(DeviceId, u64)> {
        let Some(Extent::Blob { slot, at, .. }) = extents.first() else { return None };
        let source = self.sources.get(usize::from(*slot))?;
        source.at(*at).ok()
    }
}

/// Without memory to decode in, compressed files are refused.
#[cfg(not(feature = "alloc"))]
impl<S: Storage, L: Layer<S>> Inner<S, L> {
    pub fn decoding_bytes(&self) -> Result<usize, Error> {
        Ok(0)
    }

    fn decoded(&mut self, inode: &Inode, _: u64, _: &mut [u8]) -> Result<(), Error> {
        Err(crate::erofs::Unsupported::Compressed { nid: inode.nid }.into())
    }

    fn encoded_source(&mut self, inode: &Inode, _: u64) -> Result<Option<(DeviceId, u64)>, Error> {
        Err(crate::erofs::Unsupported::Compressed { nid: inode.nid }.into())
    }
}
