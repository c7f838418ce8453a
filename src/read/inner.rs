//! What a mount works with, behind its lock: storage, layer, metadata, buffers.
//!
//! Always: a read fills its whole buffer with the file's bytes or fails; every loop over disk
//! data is bounded by the sizes that the inode was checked for.

use super::bounce::Bounce;
use super::fetch::Fetch;
use super::meta::{MetaCache, PAGE_BYTES};
use super::pieces::{Extent, Source};
use super::plan::Plan;
use super::stats::Stats;
use crate::blob::{Image, SourcePart};
use crate::cache::Layer;
use crate::erofs::{ChunkMap, Devices, Inode, Layout, Nid, Superblock, Unsupported};
use crate::error::Error;
use crate::storage::{DeviceId, IoError, IoErrorKind, Storage};

const PAGE: u64 = 4096;
/// Bytes of a chunk map looked at in one go.
const MAP_BYTES: usize = 512;

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
    sources: heapless::Vec<Source, { crate::erofs::DEVICES_MAX + 1 }>,
    meta: MetaCache,
    bounce: Bounce,
    /// One directory block, and which one it is.
    dir: DirMemory,
    dir_is: Option<(Nid, u64)>,
}

impl<S: Storage, L: Layer<S>> Inner<S, L> {
    pub fn new(storage: S, layer: L, image: &Image, parts: &[SourcePart]) -> Self {
        let mut inner = Self {
            storage,
            layer,
            superblock: image.superblock.clone(),
            devices: image.devices.clone(),
            stats: Stats { mount_bytes: image.read_bytes, ..Stats::default() },
            sources: heapless::Vec::new(),
            meta: MetaCache::new(),
            bounce: Bounce::new(),
            #[cfg(feature = "alloc")]
            dir: alloc::vec![0; image.superblock.block_size.bytes_usize()].into_boxed_slice(),
            #[cfg(not(feature = "alloc"))]
            dir: [0; 4096],
            dir_is: None,
        };
        for (slot, part) in (0u16..).zip(parts) {
            let info = inner.storage.info(part.device);
            let version = info.map_or(0, |info| info.version);
            let identity = crate::blob::identity(image, slot, version);
            let blob = inner.layer.attach(&identity, part.bytes);
            let source = Source {
                device: part.device,
                base: part.base,
                bytes: part.bytes,
                sector: info.map_or(512, |info| u64::from(info.sector_bytes)),
                transfer_max: info.map_or(0, |info| u64::from(info.transfer_bytes_max)),
                blob,
            };
            // There are as many parts as slots, which the table has bounded.
            let _ = inner.sources.push(source);
        }
        inner
    }

    fn fetch(&mut self, extents: &[Extent], out: &mut [u8]) -> Result<(), Error> {
        let mut fetch = Fetch {
            storage: &mut self.storage,
            layer: &mut self.layer,
            stats: &mut self.stats,
            bounce: &mut self.bounce,
            sources: &self.sources,
        };
        fetch.run(extents, out)
    }

    /// Reads metadata: bytes of the primary device at byte `at`, by way of the metadata cache.
    pub fn meta(&mut self, at: u64, out: &mut [u8]) -> Result<(), Error> {
        let mut at = at;
        let mut rest = out;
        while !rest.is_empty() {
            let number = at / PAGE;
            let skip = usize::try_from(at & (PAGE.wrapping_sub(1))).unwrap_or(0);
            let len = PAGE_BYTES.saturating_sub(skip).min(rest.len());
            let (front, behind) =
                core::mem::take(&mut rest).split_at_mut_checked(len).unwrap_or_default();
            if self.meta.get(number).is_some() {
                self.stats.meta_hits = self.stats.meta_hits.saturating_add(1);
            } else {
                self.load_meta(number)?;
            }
            let page = self.meta.get(number).unwrap_or_default();
            let found = page.get(skip..).and_then(|page| page.get(..len));
            // The page was loaded just now; zeros would be wrong bytes.
            front.copy_from_slice(found.ok_or(unloaded(at, len))?);
            self.stats.copied(len);
            at = at.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
            rest = behind;
        }
        Ok(())
    }

    fn load_meta(&mut self, number: u64) -> Result<(), Error> {
        let at = number.saturating_mul(PAGE);
        let image = self.sources.first().map_or(0, |source| source.bytes);
        let len = image.saturating_sub(at).min(PAGE);
        let mut fetch = Fetch {
            storage: &mut self.storage,
            layer: &mut self.layer,
            stats: &mut self.stats,
            bounce: &mut self.bounce,
            sources: &self.sources,
        };
        self.meta.replace(number, |page| {
            let (here, beyond) = page.split_at_mut(usize::try_from(len).unwrap_or(0));
            beyond.fill(0);
            if here.is_empty() {
                let end = Extent::Blob { slot: 0, at, len: PAGE };
                return fetch.run(&[end], beyond);
            }
            fetch.run(&[Extent::Blob { slot: 0, at, len }], here)
        })
    }

    /// Reads and validates an inode.
    pub fn inode(&mut self, nid: Nid) -> Result<Inode, Error> {
        let at = self.superblock.inode_at(nid)?;
        let mut raw = [0; Inode::BYTES_MAX];
        let (first, rest) = raw.split_at_mut(32);
        self.meta(at, first)?;
        let format = first.first_chunk().copied().unwrap_or_default();
        if Inode::bytes_needed(format) > first.len() {
            self.meta(at.saturating_add(32), rest)?;
        }
        Ok(Inode::from_bytes(&self.superblock, nid, &raw)?)
    }

    /// Reads bytes of an inode's data; `offset + out.len()` is at most its size.
    pub fn data(&mut self, inode: &Inode, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let layout = readable(inode)?;
        let mut offset = offset;
        let mut rest = out;
        while !rest.is_empty() {
            let want = u64::try_from(rest.len()).unwrap_or(u64::MAX);
            if let Layout::Inline { tail, .. } = layout {
                let body = inode.size.saturating_sub(tail.len);
                if let Some(into) = offset.checked_sub(body) {
                    return self.meta(tail.at.saturating_add(into), rest);
                }
            }
            let mut plan = Plan::default();
            self.plan(inode, layout, offset, want, &mut plan)?;
            let len = usize::try_from(plan.bytes()).unwrap_or(usize::MAX);
            let (front, behind) =
                core::mem::take(&mut rest).split_at_mut_checked(len).unwrap_or_default();
            self.fetch(plan.extents(), front)?;
            offset = offset.saturating_add(plan.bytes());
            rest = behind;
        }
        Ok(())
    }

    /// Plans at least a byte and at most `want` bytes from `offset` on.
    fn plan(
        &mut self,
        inode: &Inode,
        layout: Layout,
        offset: u64,
        want: u64,
        plan: &mut Plan,
    ) -> Result<(), Error> {
        match layout {
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
            Layout::Chunked(map) => self.plan_chunks(&map, offset, want, plan)?,
        }
        Ok(())
    }

    fn plan_chunks(
        &mut self,
        map: &ChunkMap,
        offset: u64,
        want: u64,
        plan: &mut Plan,
    ) -> Result<(), Error> {
        let chunk_bytes = 1u64.checked_shl(map.chunk_bits).unwrap_or(u64::MAX);
        let mut raw = [0; MAP_BYTES];
        let per_read =
            u64::try_from(MAP_BYTES.checked_div(map.entry.bytes_usize()).unwrap_or(1)).unwrap_or(1);
        let mut chunk = map.chunk_of(offset);
        let mut skip = offset & chunk_bytes.wrapping_sub(1);
        let last = map.chunk_of(offset.saturating_add(want).saturating_sub(1));
        while chunk <= last {
            let count = per_read.min(last.saturating_sub(chunk).saturating_add(1));
            let first = map.entry_at(chunk)?;
            let len = usize::try_from(count.saturating_mul(first.len)).unwrap_or(0);
            let entries = raw.get_mut(..len).unwrap_or_default();
            self.meta(first.at, entries)?;
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

    /// Device and byte offset of the source of byte `offset` of a file.
    pub fn source_of(
        &mut self,
        inode: &Inode,
        offset: u64,
    ) -> Result<Option<(DeviceId, u64)>, Error> {
        let layout = readable(inode)?;
        let mut plan = Plan::default();
        match layout {
            _ if offset >= inode.size => return Ok(None),
            Layout::Inline { tail, .. } if offset >= inode.size.saturating_sub(tail.len) => {
                let into = offset.saturating_sub(inode.size.saturating_sub(tail.len));
                let image = self.sources.first().map(|source| {
                    (source.device, source.base.saturating_add(tail.at).saturating_add(into))
                });
                return Ok(image);
            }
            layout => self.plan(inode, layout, offset, 1, &mut plan)?,
        }
        let Some(Extent::Blob { slot, at, .. }) = plan.extents().first() else { return Ok(None) };
        let source = self.sources.get(usize::from(*slot));
        Ok(source.map(|source| (source.device, source.base.saturating_add(*at))))
    }

    /// Block `block` of a directory, whole or what the directory's size leaves of its last one.
    pub fn dir_block(&mut self, inode: &Inode, block: u64) -> Result<&[u8], Error> {
        let size = self.superblock.block_size;
        let at = size.at(block).unwrap_or(u64::MAX);
        let len = usize::try_from(inode.size.saturating_sub(at).min(size.bytes())).unwrap_or(0);
        if self.dir_is != Some((inode.nid, block)) {
            self.dir_is = None;
            let mut memory = core::mem::replace(&mut self.dir, empty());
            let result = match memory.get_mut(..len) {
                Some(place) => self.data_by_meta(inode, at, place),
                None => Err(Error::Unsupported(Unsupported::LargeBlocks { bytes: size.bytes() })),
            };
            self.dir = memory;
            result?;
            self.dir_is = Some((inode.nid, block));
        }
        Ok(self.dir.get(..len).unwrap_or_default())
    }

    /// As [`Inner::data`], but what lies on the primary device comes by way of the metadata
    /// cache.
    fn data_by_meta(&mut self, inode: &Inode, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let layout = readable(inode)?;
        let mut plan = Plan::default();
        let want = u64::try_from(out.len()).unwrap_or(u64::MAX);
        if !matches!(layout, Layout::Inline { .. }) {
            self.plan(inode, layout, offset, want, &mut plan)?;
        }
        match plan.extents() {
            [Extent::Blob { slot: 0, at, len }] if *len == want => self.meta(*at, out),
            _ => self.data(inode, offset, out),
        }
    }
}

/// The layout, if its data can be read.
fn readable(inode: &Inode) -> Result<Layout, Error> {
    match inode.layout {
        Layout::Compressed(compressed) => {
            let layout = compressed.form.number();
            Err(Error::Unsupported(Unsupported::Compressed { nid: inode.nid, layout }))
        }
        layout => Ok(layout),
    }
}

/// The error for metadata that was loaded and is not there: our own bug, but no read may go on.
fn unloaded(at: u64, len: usize) -> Error {
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    Error::Io(IoError { device: DeviceId(u16::MAX), at, len, kind: IoErrorKind::Gone })
}

#[cfg(feature = "alloc")]
fn empty() -> DirMemory {
    alloc::boxed::Box::default()
}
#[cfg(not(feature = "alloc"))]
fn empty() -> DirMemory {
    [0; 4096]
}
