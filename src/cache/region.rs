//! The region of one mount: where blocks are, whether they are what they should be.
//!
//! Always: a block is served only if its keyed checksum is right; whatever the region does, the
//! answer to a reader is the right bytes or "ask the source".

use super::area::Area;
use super::blobs::{BlobEntry, BlobTable};
use super::boot::{BootRun, BootTrace};
use super::claim::{Claim, Mode};
use super::geometry::Geometry;
use super::hydrate::{Hydrator, Jobs};
use super::layer::sealed::Sealed;
use super::pages::Pages;
use super::scan::Known;
use super::slots::{SlotKey, SlotState, SlotTable};
use super::superblock::Superblock;
use super::{
    BLOCK_BYTES, BlobIdentity, BlobIndex, Layer, Residence, Ticket, Verdict, Why, descriptor,
};
use crate::num::{self, wide};
use crate::storage::{Buffer, DeviceId, Ended, IoErrorKind, Storage, Transfer};
use crate::units::{Count, count};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

/// Failed writes in one mount after which the region is not written any more.
pub(super) const FAULTS_MAX: u64 = 8;

/// What the region did in this mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Bytes made resident.
    pub kept_bytes: u64,
    /// Bytes offered but not kept, for want of a buffer or a slot.
    pub dropped_bytes: u64,
    /// Bytes written to the region, descriptors and all.
    pub written_bytes: u64,
    /// Flushes of the region.
    pub flushes: u64,
    /// Reads, writes and flushes of the region that failed.
    pub region_faults: u64,
    /// Slots that a read found wrong: the checksum of a block differed.
    pub check_failures: u64,
    /// Reads of the region that cannot be judged any more, because what they read was given up
    /// meanwhile. They were done again from their sources.
    pub stale_reads: u64,
    /// Slots given up to make room.
    pub culled_slots: u64,
    /// Background jobs that came back twice, or that nobody asked for. They were dropped.
    pub stray_jobs: u64,
    /// Superblocks found that another machine had written since this one announced itself.
    pub foreign_writers: u64,
}

impl CacheStats {
    /// Counts a write of `bytes` bytes, and a fault if it failed.
    pub(super) fn wrote(&mut self, bytes: u64, ok: bool) {
        count(&mut self.written_bytes, bytes);
        count(&mut self.region_faults, (!ok).into());
    }

    /// Counts a flush, and a fault if it failed.
    pub(super) fn flushed(&mut self, ok: bool) {
        count(&mut self.flushes, 1);
        count(&mut self.region_faults, (!ok).into());
    }

    /// Counts a read, write or flush that failed.
    pub(super) fn region_fault(&mut self) {
        count(&mut self.region_faults, 1);
    }
}

/// Where a block of a blob is in the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockPlace {
    /// Nowhere.
    Absent,
    /// In a block of a slot.
    Resident {
        /// The slot.
        slot: u32,
        /// The block in it.
        block: usize,
    },
    /// On its way into a block of a slot; its bytes are still in a buffer.
    Staged {
        /// The slot.
        slot: u32,
        /// The block in it.
        block: usize,
    },
}

/// Blocks that are found together at most: no read is longer.
const TOGETHER_MAX: u64 = 64;

/// The region of one mount.
#[derive(Debug)]
pub struct Cache {
    /// Where the region lies.
    pub(super) area: Area,
    pub(super) claim: Claim,
    pub(super) geometry: Geometry,
    pub(super) blobs: BlobTable,
    pub(super) slots: SlotTable,
    pub(super) pages: Pages,
    pub(super) hydrator: Box<Hydrator>,
    pub(super) stats: CacheStats,
    /// The slot that was used last.
    pub(super) touched: Option<u32>,
    pub(super) jobs: Jobs,
    /// What the start of this boot read.
    pub(super) boot: BootTrace,
    pub(super) known: Known,
}

impl Cache {
    /// Returns what the region did so far.
    pub fn stats(&self) -> CacheStats {
        self.stats
    }

    /// Returns how far the region is used.
    pub fn mode(&self) -> Mode {
        self.claim.mode()
    }

    /// Returns the superblock as last read or written.
    pub fn superblock(&self) -> &Superblock {
        self.claim.superblock()
    }

    /// Returns the number of slots in a state.
    pub fn slots(&self, state: SlotState) -> u32 {
        self.slots.count(state)
    }

    /// Returns the blobs that the region knows.
    pub fn blobs(&self) -> impl Iterator<Item = (BlobIndex, &BlobEntry)> {
        self.blobs.iter()
    }

    /// Returns whether hydration is about to run out of buffers or of room in its tables, so that
    /// what is read next may not be kept: a reader that has time lets the region catch up.
    pub fn pressed(&self) -> bool {
        self.claim.writes() && self.hydrator.pressed()
    }

    /// Returns the window and the block in it of block `number` of a blob; `None` beyond what a
    /// window number can count.
    pub(super) fn window(&self, blob: BlobIndex, number: u64) -> Option<(SlotKey, usize)> {
        let blocks = self.geometry.slot_size.block_count();
        let window = u32::try_from(blocks.whole(number)).ok()?;
        Some((SlotKey { blob, window }, num::clip(blocks.offset(number), usize::MAX)))
    }

    /// Returns where block `number` of `blob` is, and how many blocks from there on, at least one
    /// and all in the same slot-sized window, are in the same state side by side.
    #[expect(clippy::arithmetic_side_effects, reason = "a block of the window")]
    pub fn find_block(&self, blob: BlobIndex, number: u64) -> (BlockPlace, usize) {
        let all = self.geometry.slot_size.blocks();
        let Some((key, first)) = self.window(blob, number) else { return (BlockPlace::Absent, 1) };
        let rest = all - first;
        if self.claim.is_bypassed() {
            return (BlockPlace::Absent, rest);
        }
        let Some(slot) = self.slots.find(key) else { return (BlockPlace::Absent, rest) };
        let (page, index) = self.geometry.place(slot);
        let Some(page) = self.pages.get(page) else { return (BlockPlace::Absent, rest) };
        let descriptor = descriptor::of(page, self.geometry.slot_size, index);
        let (written, writing) = match self.slots.busy(slot) {
            true => self.hydrator.under_way(slot),
            false => Default::default(),
        };
        let state = |block: usize| {
            if descriptor.is_resident(block) || written.contains(block) {
                1
            } else if writing.contains(block) {
                2
            } else {
                0
            }
        };
        let kind = state(first);
        let run = (first..all).take_while(|block| state(*block) == kind).count().max(1);
        match kind {
            1 => (BlockPlace::Resident { slot, block: first }, run),
            2 => (BlockPlace::Staged { slot, block: first }, run),
            _ => (BlockPlace::Absent, run),
        }
    }

    /// Returns device and byte offset of a block of a slot.
    pub(super) fn place(&self, slot: u32, block: usize) -> (DeviceId, u64) {
        (self.area.device, self.area.byte(self.geometry.block_at(slot, block)))
    }

    /// Returns where the first of `blocks` is, and the end of those of them that are there with it,
    /// side by side in the region; `None` beyond what can be counted.
    fn find_run(&self, blob: BlobIndex, blocks: Range<u64>) -> Option<(Residence, u64)> {
        let (first, run) = self.find_block(blob, blocks.start);
        let mut end = blocks.start.checked_add(wide(run))?;
        let last = blocks.start.checked_add(TOGETHER_MAX)?.min(blocks.end);
        let residence = match first {
            BlockPlace::Absent => Residence::Absent,
            BlockPlace::Resident { .. } => Residence::Resident,
            BlockPlace::Staged { slot, block } => {
                // Not all of it need be in one buffer.
                let bytes = self.hydrator.staged(slot, block)?;
                let staged = blocks.start.checked_add(wide(bytes.len() / BLOCK_BYTES))?;
                return Some((Residence::Staged, end.min(staged).min(blocks.end)));
            }
        };
        while end < last {
            let (next, run) = self.find_block(blob, end);
            let adjoins = match (first, next) {
                (BlockPlace::Absent, BlockPlace::Absent) => true,
                (
                    BlockPlace::Resident { slot, block },
                    BlockPlace::Resident { slot: to, block: at },
                ) => {
                    let skip = end.checked_sub(blocks.start)? << BLOCK_BYTES.trailing_zeros();
                    self.place(slot, block).1.checked_add(skip) == Some(self.place(to, at).1)
                }
                _ => false,
            };
            if !adjoins {
                break;
            }
            end = end.checked_add(wide(run))?;
        }
        Some((residence, end.min(blocks.end)))
    }

    /// Frees an entry of the blob table: of a blob that no slot holds, or else of one that this
    /// mount does not read, with all its slots.
    fn give_up_blob(&mut self) -> Option<()> {
        let blob = self.blobs.spare(|blob| !self.slots.holds(blob))?;
        if self.slots.holds(blob) {
            self.slots.evict_all(blob);
        }
        self.blobs.remove(blob);
        Some(())
    }

    /// Brings the pages of the next free slots into memory.
    fn prepare_free<S: Storage>(&mut self, storage: &mut S, slots: usize) {
        let mut next = self.slots.first(SlotState::Free);
        for _ in 0..slots {
            let Some(slot) = next else { return };
            let (page, _) = self.geometry.place(slot);
            self.load_page(storage, page);
            next = self.slots.after(slot);
        }
    }

    pub(super) fn read_region<S: Storage>(&self, storage: &mut S, at: u64, out: &mut [u8]) -> bool {
        let mut batch = [Transfer::read(self.area.device, self.area.byte(at), out)];
        storage.run(&mut batch, &mut |_, _| {});
        batch.iter().all(|transfer| transfer.outcome().is_ok())
    }

    /// Returns how many bytes of `blob` are resident.
    pub fn resident_bytes(&self, blob: BlobIndex) -> u64 {
        self.slots.residents(blob) << 12
    }

    /// Returns the identity of a blob of `bytes` bytes that is wholly resident and is this one, in
    /// its version or, where that is 0, in any; of several, that of the entry that was made last.
    pub fn whole(&self, identity: BlobIdentity, bytes: u64) -> Option<BlobIdentity> {
        let any = identity.version() == 0;
        let is_it = |held: BlobIdentity| match any {
            true => held.of_any_version() == identity,
            false => held == identity,
        };
        let blocks = bytes.div_ceil(num::wide(BLOCK_BYTES));
        let whole = self.blobs.iter().filter(|(index, entry)| {
            entry.bytes == bytes && is_it(entry.identity) && self.slots.residents(*index) == blocks
        });
        whole.max_by_key(|(_, entry)| entry.generation).map(|(_, entry)| entry.identity)
    }

    /// Returns the first block of each window that has some of these blocks.
    fn window_starts(&self, blocks: &Range<u64>) -> impl Iterator<Item = u64> + use<> {
        let size = self.geometry.slot_size;
        (size.block_count().floor(blocks.start)..blocks.end).step_by(size.blocks())
    }

    /// Reads side by side in one slot are one use of it, or a scan would look hot.
    fn touch(&mut self, slot: u32) {
        if self.touched.replace(slot) != Some(slot) {
            self.slots.touch(slot);
        }
    }

    /// Returns the number of slots that hold something.
    pub fn used_slots(&self) -> u32 {
        // What the hint says is advice.
        self.slots.count(SlotState::Live).saturating_add(self.known.unseen_live())
    }
}

impl Sealed for Cache {}

impl<S: Storage> Layer<S> for Cache {
    fn attach(&mut self, identity: impl FnOnce() -> BlobIdentity, bytes: u64) -> Option<BlobIndex> {
        let identity = &identity();
        if let Some(index) = self.blobs.find(identity, bytes) {
            self.blobs.attach(index);
            return Some(index);
        }
        if !self.claim.writes() {
            return None;
        }
        self.blobs.add(identity, bytes).or_else(|| {
            self.give_up_blob()?;
            self.blobs.add(identity, bytes)
        })
    }

    fn prepare(&mut self, storage: &mut S, blob: BlobIndex, blocks: Range<u64>, why: Why) {
        if self.claim.is_bypassed() {
            return;
        }
        if why == Why::Read {
            self.boot.note(blob, &blocks);
        }
        let mut absent = Count::ZERO;
        for number in self.window_starts(&blocks) {
            let held = self.window(blob, number).and_then(|(key, _)| self.learn(storage, key));
            if let Some(slot) = held {
                if why == Why::Read {
                    self.touch(slot);
                }
                let (page, _) = self.geometry.place(slot);
                self.load_page(storage, page);
            } else {
                absent.raise();
            }
        }
        let absent = num::index(absent.get());
        if self.claim.writes() && absent > 0 {
            self.learn_free(storage, absent);
            self.prepare_free(storage, absent);
        }
    }

    fn pressed(&self) -> bool {
        Cache::pressed(self)
    }

    fn used(&mut self, blob: BlobIndex, blocks: Range<u64>) {
        self.boot.note(blob, &blocks);
        for number in self.window_starts(&blocks) {
            let key = self.window(blob, number).map(|(key, _)| key);
            if let Some(slot) = key.and_then(|key| self.slots.find(key)) {
                self.touch(slot);
            }
        }
    }

    fn boot_trace(&mut self, storage: &mut S) -> Vec<BootRun> {
        Cache::boot_trace(self, storage)
    }

    fn locate(&self, blob: BlobIndex, blocks: Range<u64>) -> (Residence, u64) {
        let absent = (Residence::Absent, blocks.end);
        self.find_run(blob, blocks).unwrap_or(absent)
    }

    fn transfer_bytes_max(&self) -> u64 {
        num::wide(self.area.transfer_max)
    }

    fn staged(&self, blob: BlobIndex, number: u64) -> Option<&[u8]> {
        match self.find_block(blob, number) {
            (BlockPlace::Staged { slot, block }, _) => self.hydrator.staged(slot, block),
            _ => None,
        }
    }

    fn ticket(&self, blob: BlobIndex, blocks: Range<u64>) -> Option<Ticket> {
        self.issue(blob, blocks)
    }

    fn settle(&mut self, ticket: Ticket, read: Result<&[u8], IoErrorKind>) -> Verdict {
        self.judge(&ticket, read)
    }

    fn fill(&mut self, blob: BlobIndex, first: u64, data: &[u8]) {
        self.take_in(blob, first, data);
    }

    fn fill_from(&mut self, blob: BlobIndex, first: u64, data: &Buffer, lend: bool) {
        match lend {
            true => self.take_over(blob, first, data),
            false => self.take_in(blob, first, data),
        }
    }

    fn progress(&mut self, storage: &mut S) {
        self.move_on(storage);
    }

    fn poll(&mut self, storage: &mut S) -> Option<Ended> {
        self.move_on(storage);
        self.jobs.take_stray()
    }
}
