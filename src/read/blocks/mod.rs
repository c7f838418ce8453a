//! Small reads by way of a bounded cache of blocks in memory.
//!
//! Always: large reads pass it by, and land where the reader wants them; a small one that it
//! cannot serve whole is read in whole blocks, which are kept. Reads that it serves cost no device
//! read; all others cost what they cost without it, rounded to 4 KiB.

mod cache;

pub use cache::BlockCache;

use super::inner::Inner;
use super::pieces::Extent;
use crate::cache::Layer;
use crate::error::Error;
use crate::storage::Storage;
use cache::BLOCK_BYTES;

/// The longest read that is small.
const SMALL_BYTES: usize = 16 << 10;
const BLOCK: u64 = 4096;
/// Blocks that such a read touches at most, if it is one range.
const ROUNDED_BYTES: usize = SMALL_BYTES + BLOCK_BYTES;

/// The blocks, and room for what is read around a small read.
#[derive(Debug)]
pub struct Blocks {
    cache: BlockCache,
    room: alloc::boxed::Box<[u8]>,
}

impl Blocks {
    /// For so many bytes of blocks.
    pub fn new(bytes: usize) -> Self {
        let cache = BlockCache::new(bytes);
        let room = if cache.is_on() { ROUNDED_BYTES } else { 0 };
        Self { cache, room: alloc::vec![0; room].into_boxed_slice() }
    }

    /// Bytes that it may still allocate.
    pub fn reserve_bytes(&self) -> usize {
        self.cache.reserve_bytes()
    }

    /// Whether reads of this length go through it.
    pub fn takes(&self, len: usize) -> bool {
        self.cache.is_on() && len <= SMALL_BYTES
    }

    /// Fills `out` if all of its bytes are here; false, and `out` is anything, if not.
    fn serve(&mut self, extents: &[Extent], out: &mut [u8]) -> bool {
        let mut rest = out;
        for extent in extents {
            let len = usize::try_from(extent.len()).unwrap_or(usize::MAX);
            let Some((mut front, behind)) = core::mem::take(&mut rest).split_at_mut_checked(len)
            else {
                return false;
            };
            rest = behind;
            let Extent::Blob { slot, at, .. } = *extent else {
                front.fill(0);
                continue;
            };
            let mut at = at;
            while !front.is_empty() {
                let skip = usize::try_from(at & BLOCK.wrapping_sub(1)).unwrap_or(0);
                let len = BLOCK_BYTES.saturating_sub(skip).min(front.len());
                let Some(block) = self.cache.get((slot, at / BLOCK)) else { return false };
                let part = block.get(skip..).and_then(|block| block.get(..len));
                let (Some(part), Some((to, behind))) = (part, front.split_at_mut_checked(len))
                else {
                    return false;
                };
                to.copy_from_slice(part);
                front = behind;
                at = at.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
            }
        }
        true
    }

    /// Keeps the whole blocks among bytes of a slot from byte `at`, the start of a block, on.
    fn keep(&mut self, slot: u16, at: u64, bytes: &[u8]) {
        for (block, bytes) in (at / BLOCK..).zip(bytes.chunks_exact(BLOCK_BYTES)) {
            self.cache.put((slot, block), bytes);
        }
    }
}

impl<S: Storage, L: Layer<S>> Inner<S, L> {
    /// As [`Inner::fetch`], for a small read.
    pub fn fetch_small(&mut self, extents: &[Extent], out: &mut [u8]) -> Result<(), Error> {
        if self.blocks.serve(extents, out) {
            self.stats.block_hits = self.stats.block_hits.saturating_add(1);
            self.stats.copied(out.len());
            return Ok(());
        }
        if let [Extent::Blob { slot, at, len }] = *extents
            && (at | len) & BLOCK.wrapping_sub(1) != 0
            && let Some((start, bytes)) = self.rounded(slot, at, len)
        {
            let mut room = core::mem::take(&mut self.blocks.room);
            let result = match room.get_mut(..bytes) {
                Some(room) => self.fetch_around(slot, (start, at), room, out),
                None => self.fetch(extents, out),
            };
            self.blocks.room = room;
            return result;
        }
        self.fetch(extents, out)?;
        let mut rest = &*out;
        for extent in extents {
            let len = usize::try_from(extent.len()).unwrap_or(usize::MAX);
            let (front, behind) = rest.split_at_checked(len).unwrap_or_default();
            if let Extent::Blob { slot, at, .. } = *extent {
                let start = at.next_multiple_of(BLOCK);
                let skip = usize::try_from(start.saturating_sub(at)).unwrap_or(usize::MAX);
                self.blocks.keep(slot, start, front.get(skip..).unwrap_or_default());
            }
            rest = behind;
        }
        Ok(())
    }

    /// Reads the blocks from byte `start` of a slot on into `room`, and gives what follows byte
    /// `at`.
    fn fetch_around(
        &mut self,
        slot: u16,
        (start, at): (u64, u64),
        room: &mut [u8],
        out: &mut [u8],
    ) -> Result<(), Error> {
        let len = u64::try_from(room.len()).unwrap_or(0);
        self.fetch(&[Extent::Blob { slot, at: start, len }], room)?;
        self.blocks.keep(slot, start, room);
        let skip = usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX);
        let Some(wanted) = room.get(skip..).and_then(|room| room.get(..out.len())) else {
            let len = u64::try_from(out.len()).unwrap_or(0);
            return self.fetch(&[Extent::Blob { slot, at, len }], out);
        };
        out.copy_from_slice(wanted);
        self.stats.copied(out.len());
        Ok(())
    }

    /// The whole blocks around a range of a slot, as far as the slot goes: where they begin, and
    /// their bytes. `None` if the range is not in the slot, for which its own read has the error.
    fn rounded(&self, slot: u16, at: u64, len: u64) -> Option<(u64, usize)> {
        let source = self.sources.get(usize::from(slot))?;
        let end = at.checked_add(len).filter(|end| *end <= source.bytes)?;
        let start = at & !BLOCK.wrapping_sub(1);
        let end = end.checked_next_multiple_of(BLOCK)?.min(source.bytes);
        usize::try_from(end.checked_sub(start)?).ok().map(|bytes| (start, bytes))
    }
}
