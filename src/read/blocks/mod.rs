//! Small reads by way of a bounded cache of blocks in memory, ahead of those who read in sequence.
//!
//! Always: large reads pass it by, and land where the reader wants them; a small one that it
//! cannot serve whole is read in whole blocks, which are kept. What is read ahead in vain costs
//! time, never an error, and no byte behind the end of the file's last block.

mod cache;
mod runs;

use super::inner::Inner;
use super::pieces::{BLOCK, Extent};
use super::plan::Plan;
use super::room::Room;
use crate::cache::{BLOCK_BYTES, Layer};
use crate::erofs::{Inode, Nid};
use crate::error::Error;
use crate::num::{Bug, OrBug, wide};
use crate::storage::Storage;
use crate::units::{ByteRange, Fill};
use alloc::boxed::Box;
use cache::BlockCache;
use runs::Runs;

/// The longest read that is small.
const SMALL_BYTES: usize = 16 << 10;
/// Parts of blobs that are read ahead together at most.
const EXTENTS: usize = 8;

type Extents = heapless::Vec<Extent, EXTENTS>;

/// What small reads keep, from the first of them on.
#[derive(Debug)]
pub struct Blocks {
    /// Bytes of blocks.
    bytes: usize,
    kept: Option<Box<Kept>>,
}

impl Blocks {
    /// For so many bytes of blocks. Allocates nothing.
    pub fn new(bytes: usize) -> Self {
        Self { bytes, kept: None }
    }

    fn kept(&mut self) -> &mut Kept {
        self.kept.get_or_insert_with(|| Box::new(Kept::new(self.bytes)))
    }

    /// Bytes that it may still allocate.
    pub fn reserve_bytes(&self) -> usize {
        match &self.kept {
            Some(kept) => kept.reserve_bytes(),
            None if !BlockCache::keeps(self.bytes) => 0,
            None => size_of::<Kept>().saturating_add(Kept::new(self.bytes).reserve_bytes()),
        }
    }

    /// Bytes of all blocks that it can keep.
    pub fn bytes(&self) -> u64 {
        BlockCache::new(self.bytes).bytes()
    }

    /// Keeps the whole blocks among `bytes`, from byte `start` of a slot on, which somebody may
    /// ask for.
    pub fn keep_ahead(&mut self, slot: u16, start: u64, bytes: &[u8]) {
        if BlockCache::keeps(self.bytes) {
            let len = wide(bytes.len());
            self.kept().keep(&[Extent::Blob { slot, at: start, len }], bytes, 0);
        }
    }
}

/// The blocks, and room for what is read around a small read.
#[derive(Debug)]
struct Kept {
    cache: BlockCache,
    runs: Runs,
    /// The most bytes that are read together, for a read and ahead of it.
    together: u64,
    room: Room,
}

impl Kept {
    fn new(bytes: usize) -> Self {
        let cache = BlockCache::new(bytes);
        let runs = Runs::new(cache.small_bytes());
        let together = runs.most().max(SMALL_BYTES);
        // What is read is rounded at both ends.
        let room_bytes = together.saturating_add(2 * BLOCK_BYTES);
        let room_bytes = if cache.is_on() { room_bytes } else { 0 };
        Self { cache, runs, together: wide(together), room: Room::new(room_bytes) }
    }

    /// A small read of `len` bytes: how many bytes to read ahead of it.
    fn ahead(&mut self, file: Nid, offset: u64, len: u64) -> Result<u64, Bug> {
        let room = self.together.checked_sub(len).or_bug()?;
        Ok(self.runs.next(file, offset, len).min(room))
    }

    fn reserve_bytes(&self) -> usize {
        self.cache.reserve_bytes().saturating_add(self.room.reserve_bytes())
    }

    /// Fills `out` with the first bytes of `extents` if all of them are here; false, and `out` is
    /// anything, if not.
    fn serve(&mut self, extents: &[Extent], out: &mut [u8]) -> bool {
        let mut out = Fill::new(out);
        for extent in extents {
            let mut range = match *extent {
                Extent::Hole(len) => ByteRange::first(len),
                Extent::Blob { at, len, .. } => match ByteRange::sized(at, len) {
                    Some(range) => range,
                    None => return false,
                },
            };
            range = range.take(out.left());
            while let Some(here) = range.non_empty() {
                let skip = here.start() & BLOCK.wrapping_sub(1);
                let part = here.take(BLOCK.saturating_sub(skip));
                let Ok(to) = out.next(part.len()) else { return false };
                range = here.skip(part.len());
                let Extent::Blob { slot, .. } = *extent else {
                    to.fill(0);
                    continue;
                };
                let block = self.cache.get((slot, here.start() / BLOCK));
                let from = block.and_then(|block| block.get(usize::try_from(skip).ok()?..));
                let Some(from) = from.and_then(|from| from.get(..to.len())) else { return false };
                to.copy_from_slice(from);
            }
        }
        out.finish().is_ok()
    }

    /// Keeps the whole blocks among the bytes of `extents`, of which the first `asked` were asked
    /// for.
    fn keep(&mut self, extents: &[Extent], bytes: &[u8], asked: usize) {
        let mut done: usize = 0;
        for extent in extents {
            let len = usize::try_from(extent.len()).unwrap_or(usize::MAX);
            let front = bytes.get(done..).unwrap_or_default();
            let front = front.get(..len.min(front.len())).unwrap_or_default();
            if let Extent::Blob { slot, at, .. } = *extent {
                let start = at.next_multiple_of(BLOCK);
                let skip = usize::try_from(start.saturating_sub(at)).unwrap_or(usize::MAX);
                let blocks = front.get(skip..).unwrap_or_default().chunks_exact(BLOCK_BYTES);
                let places = (done.saturating_add(skip)..).step_by(BLOCK_BYTES);
                for ((block, bytes), place) in (start / BLOCK..).zip(blocks).zip(places) {
                    self.cache.put((slot, block), bytes, place >= asked);
                }
            }
            done = done.saturating_add(len);
        }
    }

    /// Cuts what is read ahead, behind the first `asked` bytes, where a block is here already.
    fn trim(&self, extents: &mut Extents, asked: u64) {
        let mut done: u64 = 0;
        for index in 0..extents.len() {
            let Some(extent) = extents.get_mut(index) else { return };
            let before = done;
            done = done.saturating_add(extent.len());
            let Extent::Blob { slot, at, len } = extent else { continue };
            let first = at.saturating_add(asked.saturating_sub(before)).div_ceil(BLOCK);
            let end = at.saturating_add(*len).div_ceil(BLOCK);
            if let Some(here) = (first..end).find(|block| self.cache.has((*slot, *block))) {
                *len = here.saturating_mul(BLOCK).saturating_sub(*at).min(*len);
                let kept = if *len == 0 { index } else { index.saturating_add(1) };
                extents.truncate(kept);
                return;
            }
        }
    }
}

impl<S: Storage, L: Layer<S>> Inner<S, L> {
    /// Whether a read of `len` bytes is one for [`Inner::read_small`].
    pub fn reads_small(&self, len: usize) -> bool {
        // Pages of the metabox are kept as metadata already.
        len <= SMALL_BYTES && BlockCache::keeps(self.blocks.bytes) && !self.in_metabox
    }

    /// Reads `out.len()` bytes at most of uncompressed data, where that is few: from blocks in
    /// memory, or with what follows them. Returns how many, at least one.
    // Not inlined: a larger read has nothing to do with it.
    #[inline(never)]
    pub fn read_small(
        &mut self,
        inode: &Inode,
        offset: u64,
        out: &mut [u8],
    ) -> Result<usize, Error> {
        let asked = wide(out.len());
        let ahead = self.blocks.kept().ahead(inode.nid, offset, asked)?;
        let want = asked.saturating_add(ahead).min(inode.size.saturating_sub(offset));
        let mut plan = Plan::new();
        if want <= asked || self.plan(inode, offset, want, &mut plan).is_err() {
            plan = Plan::new();
            self.plan(inode, offset, asked, &mut plan)?;
        }
        let len = plan.bytes().min(asked);
        let out = Fill::new(out).next(len)?;
        if self.blocks.kept().serve(plan.extents(), out) {
            self.stats.block_hits = self.stats.block_hits.saturating_add(1);
            self.stats.copied(out.len());
            self.used(plan.extents(), out.len());
        } else if !self.read_around(&plan, out)? {
            // What was read around it may have a fault that is not its own.
            let mut plan = Plan::new();
            self.plan(inode, offset, len, &mut plan)?;
            self.fetch(plan.extents(), out)?;
        }
        Ok(out.len())
    }

    /// Tells the layer of the first `len` bytes of `extents`, which it was not asked for.
    fn used(&mut self, extents: &[Extent], len: usize) {
        let mut left = wide(len);
        for extent in extents {
            let len = extent.len().min(left);
            left = left.saturating_sub(len);
            let Extent::Blob { slot, at, .. } = *extent else { continue };
            let blob = self.sources.get(usize::from(slot)).and_then(|source| source.blob);
            if let Some(blob) = blob.filter(|_| len > 0) {
                self.layer.used(blob, at / BLOCK..at.saturating_add(len).div_ceil(BLOCK));
            }
        }
    }

    /// Reads whole blocks, from that of the plan's first byte on, and keeps them. False if a device
    /// fails.
    fn read_around(&mut self, plan: &Plan, out: &mut [u8]) -> Result<bool, Error> {
        let mut extents: Extents = plan.extents().iter().copied().take(EXTENTS).collect();
        let asked = wide(out.len());
        if bytes_of(&extents) < asked {
            return Ok(false);
        }
        self.blocks.kept().trim(&mut extents, asked);
        let (skip, bytes) = self.round(&mut extents)?;
        if (skip, bytes) == (0, out.len()) {
            let read = self.fetch(&extents, out).is_ok();
            if read {
                self.blocks.kept().keep(&extents, out, bytes);
            }
            return Ok(read);
        }
        let mut memory = core::mem::take(&mut self.blocks.kept().room);
        let read = self.read_into(&mut memory, &extents, (skip, bytes), out);
        self.blocks.kept().room = memory;
        read
    }

    /// Reads the `bytes` bytes of the extents by way of `room`, and copies those out that begin
    /// `skip` bytes into them.
    fn read_into(
        &mut self,
        room: &mut Room,
        extents: &[Extent],
        (skip, bytes): (usize, usize),
        out: &mut [u8],
    ) -> Result<bool, Error> {
        let room = room.first(bytes)?;
        if self.fetch(extents, room).is_err() {
            return Ok(false);
        }
        self.blocks.kept().keep(extents, room, skip.saturating_add(out.len()));
        let wanted = room.get(skip..).and_then(|room| room.get(..out.len()));
        out.copy_from_slice(wanted.or_bug()?);
        self.stats.copied(out.len());
        Ok(true)
    }

    /// Rounds the first extent down to a block and the last one up, as far as its slot goes.
    /// Returns by how much the first one grew, and the bytes of all.
    fn round(&self, extents: &mut Extents) -> Result<(usize, usize), Bug> {
        let mut skip: u64 = 0;
        if let Some(Extent::Blob { at, len, .. }) = extents.first_mut() {
            skip = *at & BLOCK.wrapping_sub(1);
            *at = at.saturating_sub(skip);
            *len = len.saturating_add(skip);
        }
        if let Some(Extent::Blob { slot, at, len }) = extents.last_mut()
            && let Some(source) = self.sources.get(usize::from(*slot))
        {
            let end = at.saturating_add(*len);
            // A range behind its slot's end stays as it is, and its read has the error.
            let rounded = end.checked_next_multiple_of(BLOCK).unwrap_or(end).min(source.bytes);
            *len = rounded.max(end).saturating_sub(*at);
        }
        let as_len = |bytes: u64| usize::try_from(bytes).ok().or_bug();
        Ok((as_len(skip)?, as_len(bytes_of(extents))?))
    }
}

fn bytes_of(extents: &[Extent]) -> u64 {
    extents.iter().fold(0, |sum, extent| sum.saturating_add(extent.len()))
}
