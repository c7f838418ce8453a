//! The region of one mount: where blocks are, and what a reader may ask of them.
//!
//! Always: whatever the region does, the answer to a reader is the right bytes or "ask the source".
//! Each part keeps its own promises: no part's fields are seen outside its module.

use super::area::Area;
use super::blobs::BlobEntry;
use super::block_set::BlockSet;
use super::boot::{BootRun, BootTrace};
use super::claim::{Claim, Mode};
use super::hint::Hints;
use super::hydrate::Hydrator;
use super::index::Index;
use super::layer::sealed::Sealed;
use super::scan::Scan;
use super::slots::SlotState;
use super::stats::CacheStats;
use super::superblock::Superblock;
use super::{BLOCK_BYTES, BlobIdentity, BlobIndex, Layer, Residence, Spot, Ticket, Verdict, Why};
use crate::num::{self, wide};
use crate::storage::events::{Cause, Departure, Kind, Place, Recorder};
use crate::storage::{Buffer, DeviceId, Ended, IoErrorKind, Storage, Transfer};
use crate::units::{Count, RegionSlot};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

/// Failed reads and writes in one mount after which the region is not written any more.
pub(super) const FAULTS_MAX: u64 = 8;

/// Where a block of a blob is in the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockPlace {
    /// Nowhere.
    Absent,
    /// In a block of a slot.
    Resident {
        /// The slot.
        slot: RegionSlot,
        /// The block in the slot.
        block: usize,
    },
    /// On the way into a block of a slot; the bytes are still in a buffer.
    Staged {
        /// The slot.
        slot: RegionSlot,
        /// The block in the slot.
        block: usize,
    },
}

/// Blocks that are found together at most: no read is longer.
const TOGETHER_MAX: u64 = 64;

/// The region of one mount.
///
/// ```
/// use rootlet_region::{Cache, CacheOptions, Mode};
/// use rootlet_storage::{DeviceInfo, Disk, IoErrorKind, Simple};
///
/// /// A disk in memory.
/// struct Ram(Vec<u8>);
///
/// impl Disk for Ram {
///     // ...
/// #     fn info(&self) -> DeviceInfo {
/// #         DeviceInfo::new(self.0.len() as u64, 512)
/// #     }
/// #     fn read(&mut self, at: u64, out: &mut [u8]) -> Result<usize, IoErrorKind> {
/// #         out.copy_from_slice(&self.0[at as usize..][..out.len()]);
/// #         Ok(out.len())
/// #     }
/// #     fn write(&mut self, at: u64, data: &[u8]) -> Result<usize, IoErrorKind> {
/// #         self.0[at as usize..][..data.len()].copy_from_slice(data);
/// #         Ok(data.len())
/// #     }
/// }
///
/// let mut storage: Simple<Ram> = Simple::new(|| 0);
/// let disk = storage.add(Ram(vec![0; 16 << 20])).map_err(|_| "too many disks")?;
/// // The disk is blank, so it is formatted. The 16 bytes differ at each boot.
/// let opened = Cache::open(&mut storage, &CacheOptions::new(disk, [1; 16]));
/// let cache = opened.map_err(|refused| refused.to_string())?;
/// assert_eq!((cache.mode(), cache.used_slots()), (Mode::ReadWrite, 0));
///
/// // A disk with something else on it is refused; the mount then has `None` as its layer.
/// let other = storage.add(Ram(vec![7; 16 << 20])).map_err(|_| "too many disks")?;
/// assert!(Cache::open(&mut storage, &CacheOptions::new(other, [2; 16])).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Cache {
    /// The number that no other region of this program has.
    pub(super) number: u32,
    /// Where the region lies.
    pub(super) area: Area,
    /// How far the region may be used.
    pub(super) claim: Claim,
    /// What the slots hold.
    pub(super) index: Index,
    /// What is on its way into the slots.
    pub(super) hydrator: Box<Hydrator>,
    /// How far the descriptor pages were read.
    pub(super) scan: Scan,
    /// What an earlier mount left, and what this one will: where slots are, and what boots read.
    pub(super) hints: Hints,
    pub(super) boot: BootTrace,
    pub(super) stats: CacheStats,
    /// What happens to the region, where the mount records it.
    pub(super) recorder: Recorder,
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
        self.index.count(state)
    }

    /// Returns the number of slots of the boot set, which are not given up.
    pub fn pinned(&self) -> u32 {
        self.index.pinned()
    }

    /// Returns the number of slots that hold something.
    #[expect(clippy::arithmetic_side_effects, reason = "at most all slots twice, of 2^31")]
    pub fn used_slots(&self) -> u32 {
        let unseen = if self.index.is_unseen() { self.hints.unseen_live() } else { 0 };
        self.index.count(SlotState::Live) + unseen
    }

    /// Returns the blobs that the region knows.
    pub fn blobs(&self) -> impl Iterator<Item = (BlobIndex, &BlobEntry)> {
        self.index.blobs()
    }

    /// Returns how many bytes of `blob` are resident.
    pub fn resident_bytes(&self, blob: BlobIndex) -> u64 {
        self.index.residents(blob) << 12
    }

    /// Returns identity and length in bytes of a blob that is resident, at least in part, and is this
    /// one: in its version or, where that is 0, in any; of `bytes` bytes or, where that is `None`, of
    /// any number. Of several, one that is wholly resident comes first, then the entry that was made
    /// last.
    pub fn held(&self, identity: BlobIdentity, bytes: Option<u64>) -> Option<(BlobIdentity, u64)> {
        self.index.held(identity, bytes)
    }

    /// Returns whether hydration is about to run out of buffers or of room in its tables, so that
    /// what is read next may not be kept: a reader that has time lets the region catch up.
    pub fn pressed(&self) -> bool {
        self.claim.writes() && self.hydrator.pressed()
    }

    /// Returns where block `number` of `blob` is, and how many blocks from there on, at least one
    /// and all in the same slot-sized window, are in the same state side by side.
    #[expect(clippy::arithmetic_side_effects, reason = "a block of the window")]
    pub fn find_block(&self, blob: BlobIndex, number: u64) -> (BlockPlace, usize) {
        let Some((key, block)) = self.index.window(blob, number) else {
            return (BlockPlace::Absent, 1);
        };
        let rest = self.index.geometry().slot_size().blocks() - block;
        let found = if self.claim.is_bypassed() { None } else { self.index.resident(key) };
        let Some((slot, mut kept)) = found else { return (BlockPlace::Absent, rest) };
        let mut staged = BlockSet::default();
        if self.index.is_busy(slot) {
            let (written, writing) = self.hydrator.under_way(slot);
            kept = kept.or(written);
            staged = writing.without(kept);
        }
        if kept.contains(block) {
            (BlockPlace::Resident { slot, block }, kept.run(block, rest))
        } else if staged.contains(block) {
            (BlockPlace::Staged { slot, block }, staged.run(block, rest))
        } else {
            (BlockPlace::Absent, kept.or(staged).inverse().run(block, rest))
        }
    }

    /// Returns device and byte offset of a block of a slot.
    pub(super) fn place(&self, slot: RegionSlot, block: usize) -> (DeviceId, u64) {
        (self.area.device, self.area.byte(self.index.geometry().block_at(slot, block)))
    }

    /// Returns where the first of `blocks` is, and the end of those of them that are there with it,
    /// side by side in the region; `None` beyond what can be counted.
    fn find_run(&self, blob: BlobIndex, blocks: Range<u64>) -> Option<(Residence, u64)> {
        let (first, run) = self.find_block(blob, blocks.start);
        let mut end = blocks.start.checked_add(wide(run))?;
        let residence = match first {
            BlockPlace::Absent => Residence::Absent,
            BlockPlace::Resident { slot, block } => {
                Residence::Resident(Spot { blob, number: blocks.start, slot, block })
            }
            BlockPlace::Staged { slot, block } => {
                // Not all of the run need be in one buffer.
                let bytes = self.hydrator.staged(slot, block)?;
                let staged = blocks.start.checked_add(wide(bytes.len() / BLOCK_BYTES))?;
                return Some((Residence::Staged, end.min(staged).min(blocks.end)));
            }
        };
        if end >= blocks.end {
            return Some((residence, blocks.end));
        }
        let last = blocks.start.checked_add(TOGETHER_MAX)?.min(blocks.end);
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

    /// Brings the pages of the next `slots` free slots into memory.
    fn prepare_free<S: Storage>(&mut self, storage: &S, slots: usize) {
        let mut last = None;
        for _ in 0..slots {
            let Some(slot) = self.index.next_free(last) else { return };
            let (page, _) = self.index.geometry().place(slot);
            self.load_page(storage, page);
            last = Some(slot);
        }
    }

    /// Reads bytes of the region from byte `at` on. Returns whether they came.
    pub(super) fn read_region<S: Storage>(&self, storage: &S, at: u64, out: &mut [u8]) -> bool {
        let (departure, len) = (self.recorder.depart(storage), wide(out.len()));
        let at = self.area.byte(at);
        let mut batch = [Transfer::read(self.area.device, at, out)];
        storage.run(&mut batch, &mut |_, _| {});
        self.record(storage, departure, Kind::Table, (at, len));
        batch.iter().all(|transfer| transfer.outcome().is_ok())
    }

    /// Records what began with `departure` and ends now: for a reader if it is a read of tables.
    pub(super) fn record<S: Storage>(
        &self,
        storage: &S,
        departure: Departure,
        kind: Kind,
        (at, len): (u64, u64),
    ) {
        let cause = if kind == Kind::Table { Cause::Demand } else { Cause::Keep };
        let place = Place { slot: None, at, len };
        self.recorder.add(|| departure.event(storage.now_ns(), (kind, cause), place));
    }
}

impl Sealed for Cache {}

impl<S: Storage> Layer<S> for Cache {
    fn attach(&mut self, identity: impl FnOnce() -> BlobIdentity, bytes: u64) -> Option<BlobIndex> {
        let identity = &identity();
        let known = self.index.attach(identity, bytes);
        if known.is_some() || !self.claim.writes() {
            return known;
        }
        self.index.add_blob(identity, bytes)
    }

    fn record(&mut self, recorder: &Recorder) {
        self.recorder = recorder.clone();
    }

    fn prepare(&mut self, storage: &S, blob: BlobIndex, blocks: Range<u64>, why: Why) {
        if self.claim.is_bypassed() {
            return;
        }
        if why == Why::Read {
            self.boot.note(blob, &blocks);
        }
        let mut absent = Count::ZERO;
        for number in self.index.window_starts(&blocks) {
            let key = self.index.window(blob, number);
            let Some(slot) = key.and_then(|(key, _)| self.learn(storage, key)) else {
                absent.raise();
                continue;
            };
            if why == Why::Read {
                self.index.touch(slot);
            }
            let (page, _) = self.index.geometry().place(slot);
            self.load_page(storage, page);
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
        for number in self.index.window_starts(&blocks) {
            let key = self.index.window(blob, number).map(|(key, _)| key);
            if let Some(slot) = key.and_then(|key| self.index.find(key)) {
                self.index.touch(slot);
            }
        }
    }

    fn boot_trace(&mut self, storage: &S) -> Vec<BootRun> {
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

    fn ticket(&self, first: Spot, blocks: Range<u64>) -> Option<Ticket> {
        self.issue(first, blocks)
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

    fn progress(&mut self, storage: &S) {
        self.move_on(storage);
    }

    fn poll(&mut self, storage: &S) -> Option<Ended> {
        self.move_on(storage);
        self.hydrator.take_stray()
    }
}
