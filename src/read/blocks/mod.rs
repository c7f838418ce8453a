//! Small reads: served from a bounded cache of blocks in memory, and read ahead for sequences.
//!
//! Always: large reads bypass the cache and land where the reader wants them; a small read that
//! the cache cannot serve in full is read in whole blocks, which are kept. Reading ahead in vain
//! costs time, never an error, and never passes the end of the file's last block.

mod cache;
mod runs;

use super::guard::Guard;
use super::io::Extent;
use super::plan::Plan;
use super::room::Room;
use super::shelf::Shelf;
use super::stop::Stop;
use crate::cache::{BLOCK_BYTES, Layer};
use crate::erofs::{Inode, Nid};
use crate::num::{Bug, OrBug, clip, narrow, wide};
use crate::storage::Storage;
use crate::units::{BLOCK, ByteRange, DeviceSlot, Fill, count};
use alloc::boxed::Box;
use cache::BlockCache;
use runs::Runs;

/// The longest small read.
const SMALL_BYTES: usize = 16 << 10;
/// The most extents of a read and what is read ahead with it.
const EXTENTS: usize = 8;

type Extents = heapless::Vec<Extent, EXTENTS>;

/// The state of small reads, allocated at the first of them.
#[derive(Debug)]
pub struct Blocks {
    /// The budget for blocks.
    bytes: usize,
    kept: Option<Box<Kept>>,
}

impl Blocks {
    /// Returns the state for `bytes` bytes of blocks. Allocates nothing.
    pub fn new(bytes: usize) -> Self {
        Self { bytes, kept: None }
    }

    fn kept(&mut self) -> &mut Kept {
        self.kept.get_or_insert_with(|| Box::new(Kept::new(self.bytes)))
    }

    /// Returns the bytes that small reads may still allocate.
    #[expect(clippy::arithmetic_side_effects, reason = "within the budget")]
    pub fn reserve_bytes(&self) -> usize {
        match &self.kept {
            Some(kept) => kept.reserve_bytes(),
            None if !BlockCache::keeps(self.bytes) => 0,
            None => size_of::<Kept>() + Kept::new(self.bytes).reserve_bytes(),
        }
    }

    /// Returns the bytes of all blocks that can be kept.
    pub fn bytes(&self) -> u64 {
        BlockCache::new(self.bytes).bytes()
    }

    /// Keeps the whole blocks among `bytes`, which begin at byte `start` of a device slot and were
    /// read before anybody asked for them.
    pub fn keep_ahead(&mut self, slot: DeviceSlot, start: u64, bytes: &[u8]) -> Result<(), Bug> {
        if !BlockCache::keeps(self.bytes) {
            return Ok(());
        }
        let range = ByteRange::sized(start, wide(bytes.len())).or_bug()?;
        self.kept().keep(&[Extent::Blob { slot, range }], bytes, 0)
    }
}

/// The blocks, and a buffer for the blocks around a small read.
#[derive(Debug)]
struct Kept {
    cache: BlockCache,
    runs: Runs,
    /// The most bytes of a small read and what is read ahead with it.
    together: u64,
    room: Shelf<Room, 1>,
}

impl Kept {
    #[expect(clippy::arithmetic_side_effects, reason = "at most 128 KiB are read together")]
    fn new(bytes: usize) -> Self {
        let cache = BlockCache::new(bytes);
        let runs = Runs::new(cache.small_bytes());
        let together = runs.most().max(SMALL_BYTES);
        // A read is rounded to blocks at both ends.
        let room_bytes = if cache.is_on() { together + 2 * BLOCK_BYTES } else { 0 };
        let room = Shelf::of([Room::new(room_bytes)]);
        Self { cache, runs, together: wide(together), room }
    }

    /// Records a small read of a file. Returns the number of bytes to read ahead after it.
    fn ahead(&mut self, file: Nid, read: ByteRange) -> Result<u64, Bug> {
        let room = self.together.checked_sub(read.len()).or_bug()?;
        Ok(self.runs.next(file, read).min(room))
    }

    #[expect(clippy::arithmetic_side_effects, reason = "within the budget")]
    fn reserve_bytes(&self) -> usize {
        self.cache.reserve_bytes() + self.room.last().map_or(0, Room::reserve_bytes)
    }

    /// Fills `out` with the first bytes of `extents` if the cache has all of them. Else returns
    /// false, and leaves any bytes in `out`.
    fn serve(&mut self, extents: &[Extent], out: &mut [u8]) -> Result<bool, Bug> {
        let mut out = Fill::new(out);
        for extent in extents {
            let mut rest = match *extent {
                Extent::Hole(len) => ByteRange::first(len),
                Extent::Blob { range, .. } => range,
            };
            rest = rest.take(out.left());
            while let Some(here) = rest.non_empty() {
                let part = BLOCK.front(here);
                let to = out.next(part.len())?;
                rest = here.skip(part.len());
                let Extent::Blob { slot, .. } = *extent else {
                    to.fill(0);
                    continue;
                };
                let Some(block) = self.cache.get((slot, BLOCK.whole(part.start()))) else {
                    return Ok(false);
                };
                let from = block.get(clip(BLOCK.offset(part.start()), BLOCK_BYTES)..).or_bug()?;
                to.copy_from_slice(from.get(..to.len()).or_bug()?);
            }
        }
        Ok(out.finish().is_ok())
    }

    /// Keeps the whole blocks among `bytes`, the bytes of `extents`. Only the first `asked` of
    /// these bytes were asked for.
    fn keep(&mut self, extents: &[Extent], bytes: &[u8], asked: u64) -> Result<(), Bug> {
        let (mut rest, mut left) = (bytes, asked);
        for extent in extents {
            let (bytes, later) = rest.split_at_checked(narrow(extent.len())?).or_bug()?;
            rest = later;
            let asked = left.min(extent.len());
            left = left.checked_sub(asked).or_bug()?;
            let Extent::Blob { slot, range } = *extent else { continue };
            let is_whole = BLOCK.offset(range.start()) == 0;
            let part = if is_whole { 0 } else { BLOCK.front(range).len() };
            let blocks = bytes.get(narrow(part)?..).or_bug()?.chunks_exact(BLOCK_BYTES);
            let ahead = BLOCK.cover(range.skip(asked).start());
            for (number, block) in (BLOCK.cover(range.start())..).zip(blocks) {
                self.cache.put((slot, number), block, number >= ahead);
            }
        }
        Ok(())
    }

    /// Ends the part of `extents` that is read ahead, after their first `asked` bytes, before the
    /// first block that the cache has.
    fn trim(&self, extents: &mut Extents, asked: u64) -> Result<(), Bug> {
        let mut left = asked;
        for index in 0..extents.len() {
            let extent = extents.get_mut(index).or_bug()?;
            let asked = left.min(extent.len());
            left = left.checked_sub(asked).or_bug()?;
            let Extent::Blob { slot, range } = extent else { continue };
            let ahead = range.skip(asked);
            let blocks = BLOCK.cover(ahead.start())..BLOCK.cover(ahead.end());
            let Some(here) = blocks.into_iter().find(|block| self.cache.has((*slot, *block)))
            else {
                continue;
            };
            let end = BLOCK.times(here).or_bug()?;
            *range = ByteRange::new(range.start(), end).or_bug()?;
            let kept = if range.is_empty() { index } else { index.checked_add(1).or_bug()? };
            extents.truncate(kept);
            break;
        }
        Ok(())
    }
}

impl<S: Storage, L: Layer<S>> Guard<'_, S, L> {
    /// Returns whether a read of `want` is one for [`Guard::read_small`].
    pub fn reads_small(&self, want: ByteRange) -> bool {
        // Pages of the metabox are kept in the metadata cache already.
        want.len() <= wide(SMALL_BYTES) && BlockCache::keeps(self.blocks.bytes) && !self.in_metabox
    }

    /// Reads the first bytes of `want`, at least one, into the next bytes of `out`: from blocks in
    /// memory, or from the devices together with bytes to read ahead. `want` counts uncompressed
    /// bytes of a file, and is short. Returns the rest of `want`.
    // Not inlined: larger reads do not need this code.
    #[inline(never)]
    pub fn read_small(
        &mut self,
        inode: &Inode,
        want: ByteRange,
        out: &mut Fill<'_>,
    ) -> Result<ByteRange, Stop> {
        let ahead = self.blocks.kept().ahead(inode.nid(), want)?;
        let file = ByteRange::first(inode.size()).skip(want.start());
        let more = file.take(want.len().checked_add(ahead).or_bug()?);
        let mut plan = Plan::new();
        if more.len() <= want.len() || self.plan(inode, more, &mut plan).is_err() {
            plan = Plan::new();
            self.plan(inode, want, &mut plan)?;
        }
        let (want, rest) = want.split(plan.bytes());
        let out = out.next(want.len())?;
        self.note_use(plan.extents(), want.len());
        if self.serve_small(&plan, out)? {
            return Ok(rest);
        }
        if !self.read_around(&plan, out)? {
            // The fault may lie in a block around the wanted bytes: read these alone.
            let mut plan = Plan::new();
            self.plan(inode, want, &mut plan)?;
            self.fetch_around(plan.extents(), out)?;
        }
        Ok(rest)
    }

    /// Fills `out` with the first bytes of `plan` if blocks in memory have all of them. Else returns
    /// false, and leaves any bytes in `out`.
    pub fn serve_small(&mut self, plan: &Plan, out: &mut [u8]) -> Result<bool, Bug> {
        let is_served = self.blocks.kept().serve(plan.extents(), out)?;
        if is_served {
            count(&mut self.io.stats.block_hits, 1);
            self.io.stats.copied(out.len());
            self.used(plan.extents(), wide(out.len()))?;
        }
        Ok(is_served)
    }

    /// Reports to the layer a use of the first `len` bytes of `extents`, which were served without
    /// the layer.
    fn used(&mut self, extents: &[Extent], len: u64) -> Result<(), Bug> {
        let mut left = len;
        for extent in extents {
            let used = extent.len().min(left);
            left = left.checked_sub(used).or_bug()?;
            let Extent::Blob { slot, range } = *extent else { continue };
            let blob = self.source(slot).or_bug()?.blob;
            if let (Some(blob), Some(used)) = (blob, range.take(used).non_empty()) {
                self.io.layer.used(blob, BLOCK.numbers(used));
            }
        }
        Ok(())
    }

    /// Reads the plan's extents, rounded to whole blocks, fills `out` with their first bytes, and
    /// keeps the blocks. Returns false if a device fails, or if there is no buffer for now.
    fn read_around(&mut self, plan: &Plan, out: &mut [u8]) -> Result<bool, Stop> {
        let mut extents: Extents = plan.extents().iter().copied().take(EXTENTS).collect();
        let asked = wide(out.len());
        if bytes_of(&extents)? < asked {
            return Ok(false);
        }
        self.blocks.kept().trim(&mut extents, asked)?;
        let skip = self.round(&mut extents)?;
        if skip == 0 && bytes_of(&extents)? == asked {
            let read = self.fetch_around(&extents, out).is_ok();
            if read {
                self.blocks.kept().keep(&extents, out, asked)?;
            }
            return Ok(read);
        }
        // Another small read has the buffer: this one is read alone.
        let Some(mut room) = self.blocks.kept().room.take(Room::default) else { return Ok(false) };
        let read = self.read_into(&mut room, &extents, skip, out);
        self.blocks.kept().room.put(room);
        read
    }

    /// Reads `extents` into `room`, keeps their blocks, and fills `out` with their bytes from byte
    /// `skip` on. Returns false if a device fails.
    fn read_into(
        &mut self,
        room: &mut Room,
        extents: &[Extent],
        skip: u64,
        out: &mut [u8],
    ) -> Result<bool, Stop> {
        let room = room.first(narrow(bytes_of(extents)?)?)?;
        if self.fetch_around(extents, room).is_err() {
            return Ok(false);
        }
        let asked = skip.checked_add(wide(out.len())).or_bug()?;
        self.blocks.kept().keep(extents, room, asked)?;
        let wanted = room.get(narrow(skip)?..).and_then(|room| room.get(..out.len()));
        out.copy_from_slice(wanted.or_bug()?);
        self.io.stats.copied(out.len());
        Ok(true)
    }

    /// Rounds the start of the first extent down to a block, and the end of the last extent up, but
    /// not past its device slot. Returns the bytes that the first extent grew by.
    fn round(&self, extents: &mut Extents) -> Result<u64, Bug> {
        let mut skip = 0;
        if let Some(Extent::Blob { range, .. }) = extents.first_mut() {
            skip = BLOCK.offset(range.start());
            *range = ByteRange::new(BLOCK.floor(range.start()), range.end()).or_bug()?;
        }
        if let Some(Extent::Blob { slot, range }) = extents.last_mut() {
            // A range that ends after its slot stays as it is: the read of it returns the error.
            if let Some(source) = self.source(*slot)
                && let Some(end) = BLOCK.ceil(range.end()).map(|end| end.min(source.bytes))
                && end > range.end()
            {
                *range = ByteRange::new(range.start(), end).or_bug()?;
            }
        }
        Ok(skip)
    }
}

/// Returns the sum of the lengths of `extents`.
fn bytes_of(extents: &[Extent]) -> Result<u64, Bug> {
    extents.iter().map(Extent::len).try_fold(0_u64, u64::checked_add).or_bug()
}
