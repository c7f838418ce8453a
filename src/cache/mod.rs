//! The reserved region: a cache of blob blocks on a disk that may be lost, garbled or stale.
//!
//! Always: what [`Cache::check`] accepts is exactly what was fetched for that blob and block; a
//! fault of the region is counted and logged, and is no error of a read. DESIGN.md and FORMAT.md
//! stand beside this file.

use crate::storage::{Background, DeviceId, Storage, Transfer};
use crate::trace;
use alloc::boxed::Box;

mod blobs;
mod bytes;
mod checksum;
mod descriptor;
mod foreign;
mod geometry;
mod hydrate;
mod open;
mod page;
mod pages;
mod slots;
mod superblock;

pub use blobs::{BlobEntry, BlobIdentity, BlobIndex, IDENTITY_BYTES};
pub use checksum::BlobKey;
pub use geometry::{BLOCK_BYTES, Copy2, Geometry, SlotSize};
pub use open::{CacheOptions, FormatPolicy, Refused};
pub use slots::SlotState;
pub use superblock::{Refusal, Superblock};

use blobs::BlobTable;
use hydrate::Hydrator;
use pages::Pages;
use slots::{SlotKey, SlotTable};

/// Failed checks in one mount after which the region is not asked any more.
const MISMATCHES_MAX: u64 = 8;
/// Failed writes in one mount after which the region is not written any more.
const FAULTS_MAX: u64 = 8;

/// How far the region is used in this mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Hits and hydration.
    ReadWrite,
    /// Hits only, and why.
    ReadOnly(&'static str),
    /// Not at all any more, and why.
    Bypass(&'static str),
}

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
    /// Blocks whose checksum was wrong.
    pub check_failures: u64,
    /// Slots given up to make room.
    pub culled_slots: u64,
}

/// Where a block of a blob is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Residence {
    /// Not in the region.
    Absent,
    /// In this block of this slot.
    Resident {
        /// The slot.
        slot: u32,
        /// The block in it.
        block: usize,
    },
    /// On its way into the region; its bytes are still in a buffer.
    Staged {
        /// The slot.
        slot: u32,
        /// The block in it.
        block: usize,
    },
}

/// The region of one mount.
#[derive(Debug)]
pub struct Cache {
    device: DeviceId,
    /// Byte offset of the region on its device.
    start: u64,
    superblock: Superblock,
    superblock_in: Copy2,
    /// Drawn for this mount; announced before the first write.
    nonce: u64,
    geometry: Geometry,
    mode: Mode,
    blobs: BlobTable,
    slots: SlotTable,
    pages: Pages,
    hydrator: Box<Hydrator>,
    stats: CacheStats,
}

impl Cache {
    /// What the region did so far.
    pub fn stats(&self) -> CacheStats {
        self.stats
    }

    /// How far the region is used.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The superblock as last read or written.
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// Number of slots in a state.
    pub fn slots(&self, state: SlotState) -> u32 {
        self.slots.count(state)
    }

    /// The blobs that the region knows.
    pub fn blobs(&self) -> impl Iterator<Item = (BlobIndex, &BlobEntry)> {
        self.blobs.iter()
    }

    /// Whether more than half of the buffers for hydration are in use: a reader that has time
    /// lets the region catch up.
    pub fn pressed(&self) -> bool {
        let (free, all) = self.hydrator.pool_room();
        self.mode == Mode::ReadWrite && free.saturating_mul(2) < all
    }

    /// The place of a blob in this region; makes one if it is new. `None` if the table is full
    /// or nothing may be written.
    pub(crate) fn attach(&mut self, identity: &BlobIdentity, bytes: u64) -> Option<BlobIndex> {
        match self.blobs.find(identity, bytes) {
            Some(index) => Some(index),
            None if self.mode == Mode::ReadWrite => self.blobs.add(identity, bytes),
            None => None,
        }
    }

    /// The window and the block in it of block `number` of a blob; `None` beyond what a window
    /// number can count.
    fn window(&self, blob: BlobIndex, number: u64) -> Option<(SlotKey, usize)> {
        let shift = self.geometry.slot_size.shift().checked_sub(12)?;
        let window = u32::try_from(number >> shift).ok()?;
        let blocks = u64::try_from(self.geometry.slot_size.blocks()).ok()?;
        let block = usize::try_from(number & blocks.checked_sub(1)?).ok()?;
        Some((SlotKey { blob, window }, block))
    }

    /// Brings the descriptors of these blocks into memory, so that [`Cache::locate`] can tell.
    pub(crate) fn prepare<S: Background>(&mut self, storage: &mut S, blob: BlobIndex, blocks: core::ops::Range<u64>) {
        if matches!(self.mode, Mode::Bypass(_)) {
            return;
        }
        let step = u64::try_from(self.geometry.slot_size.blocks()).unwrap_or(u64::MAX);
        let mut number = blocks.start & !step.wrapping_sub(1);
        while number < blocks.end {
            if let Some((key, _)) = self.window(blob, number)
                && let Some(slot) = self.slots.find(key)
            {
                self.slots.touch(slot);
                let (page, _) = self.geometry.place(slot);
                self.load_page(storage, page);
            }
            number = number.saturating_add(step);
        }
    }

    /// Where block `number` of `blob` is, and how many blocks from there on, at least one and
    /// all in the same slot-sized window, are in the same state side by side.
    pub(crate) fn locate(&self, blob: BlobIndex, number: u64) -> (Residence, usize) {
        let all = self.geometry.slot_size.blocks();
        let Some((key, first)) = self.window(blob, number) else { return (Residence::Absent, 1) };
        let rest = all.saturating_sub(first).max(1);
        if matches!(self.mode, Mode::Bypass(_)) {
            return (Residence::Absent, rest);
        }
        let Some(slot) = self.slots.find(key) else { return (Residence::Absent, rest) };
        let (page, index) = self.geometry.place(slot);
        let Some(raw) = self.pages.get(page) else { return (Residence::Absent, rest) };
        let size = self.geometry.slot_size;
        let (written, writing) = self.hydrator.under_way(slot);
        let state = |block: usize| {
            if descriptor::resident(raw, size, index, block) || written.contains(block) {
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
            1 => (Residence::Resident { slot, block: first }, run),
            2 => (Residence::Staged { slot, block: first }, run),
            _ => (Residence::Absent, run),
        }
    }

    /// Device and byte offset of a block of a slot.
    pub(crate) fn place(&self, slot: u32, block: usize) -> (DeviceId, u64) {
        (self.device, self.start.saturating_add(self.geometry.block_at(slot, block)))
    }

    /// The bytes of a staged block, to the end of what is staged side by side with it.
    pub(crate) fn staged(&self, slot: u32, block: usize) -> Option<&[u8]> {
        self.hydrator.staged(slot, block)
    }

    /// Whether `data`, read from `block` of `slot` on, is what was fetched for `blob` from block
    /// `number` on.
    pub(crate) fn check(&self, blob: BlobIndex, number: u64, slot: u32, block: usize, data: &[u8]) -> bool {
        let (page, index) = self.geometry.place(slot);
        let Some(raw) = self.pages.get(page) else { return false };
        let Some(entry) = self.blobs.get(blob) else { return false };
        let size = self.geometry.slot_size;
        let places = (number..).zip(block..size.blocks());
        data.len().div_ceil(BLOCK_BYTES) <= size.blocks().saturating_sub(block)
            && data.chunks(BLOCK_BYTES).zip(places).all(|(data, (number, block))| {
                entry.key.checksum(number, data) == descriptor::sum(raw, size, index, block)
            })
    }

    /// A read of the slot failed its check: what it holds is given up.
    pub(crate) fn reject(&mut self, slot: u32) {
        self.stats.check_failures = self.stats.check_failures.saturating_add(1);
        trace::warn!("region: slot {} failed its check", slot);
        self.give_up(slot);
    }

    /// A read of the slot failed: what it holds is given up.
    pub(crate) fn fault(&mut self, slot: u32) {
        self.stats.region_faults = self.stats.region_faults.saturating_add(1);
        trace::warn!("region: slot {} could not be read", slot);
        self.give_up(slot);
    }

    fn give_up(&mut self, slot: u32) {
        self.slots.evict(slot);
        if self.stats.check_failures.saturating_add(self.stats.region_faults) >= MISMATCHES_MAX {
            trace::warn!("region: bypassed for this mount after {} failed reads", MISMATCHES_MAX);
            self.mode = Mode::Bypass("too many reads of it failed");
        }
    }

    fn read_region<S: Storage>(&self, storage: &mut S, at: u64, out: &mut [u8]) -> bool {
        let mut batch = [Transfer::read(self.device, self.start.saturating_add(at), out)];
        storage.run(&mut batch, &mut |_, _| {});
        batch.iter().all(|transfer| transfer.outcome().is_ok())
    }

    /// The superblock that announces this mount.
    fn next_superblock(&self) -> Superblock {
        Superblock { generation: self.superblock.generation.saturating_add(1), nonce: self.nonce, ..self.superblock }
    }

    /// Blocks resident or on their way for `blob`: a walk over all slots.
    pub fn resident_bytes<S: Background>(&mut self, storage: &mut S, blob: BlobIndex) -> u64 {
        let mut blocks: u64 = 0;
        for slot in 0..self.geometry.slots {
            if self.slots.key(slot).is_none_or(|key| key.blob != blob) {
                continue;
            }
            let (page, index) = self.geometry.place(slot);
            if self.load_page(storage, page)
                && let Some(raw) = self.pages.get(page)
            {
                blocks = blocks
                    .saturating_add(u64::from(descriptor::resident_count(raw, self.geometry.slot_size, index)));
            }
        }
        blocks << 12
    }
}
