//! The index of a region: what its slots hold, as far as this mount knows.
//!
//! Always: nothing here does I/O, and nothing outside changes a slot, an entry of the blob table or
//! a descriptor but by a method of the index. So a slot with a fill under way is busy and its page
//! stays in memory, both until the fill is released; a bit is set for no other block than a fill's;
//! a slot that is given up is found no longer, and is free again only after its tombstone was
//! written and flushed (O1).

mod checks;
mod claims;
mod fills;
mod places;
mod seen;
mod writes;

pub use checks::fold_in;
use claims::Claims;

use super::blobs::{BlobEntry, BlobTable};
use super::format::Page;
use super::geometry::Geometry;
use super::pages::Pages;
use super::slots::{Marks, SlotState, SlotTable};
use super::superblock::Superblock;
use super::{BLOCK_BYTES, BlobIdentity, BlobIndex};
use crate::num;
use crate::units::RegionSlot;

/// The most that is kept because boots begin with it, beside a quarter of the region.
const BOOT_SET_BYTES: u64 = 256 << 20;

/// What the slots of a region hold.
#[derive(Debug)]
pub struct Index {
    geometry: Geometry,
    blobs: BlobTable,
    slots: SlotTable,
    pages: Pages,
    /// Descriptor pages that were not taken in.
    unseen: u32,
    /// What a hint says of such pages.
    claims: Claims,
    /// The slot that was used last.
    touched: Option<RegionSlot>,
}

impl Index {
    /// Returns the index of this region, of which nothing is known; there is room for `frames`
    /// descriptor pages in memory.
    pub fn new(superblock: &Superblock, frames: usize) -> Self {
        let Superblock { uuid, geometry, .. } = *superblock;
        let mut slots = SlotTable::new(geometry.slots());
        slots.limit_boot_set(num::low32(BOOT_SET_BYTES >> geometry.slot_size().shift()));
        Self {
            geometry,
            blobs: BlobTable::new(uuid),
            slots,
            pages: Pages::new(uuid, geometry.pages(), frames),
            unseen: geometry.pages(),
            claims: Claims::new(),
            touched: None,
        }
    }

    /// Returns how many bytes of memory the tables of a region take.
    #[expect(clippy::arithmetic_side_effects, reason = "both are far below 64 bits")]
    pub fn table_bytes(geometry: &Geometry) -> u64 {
        <SlotTable>::bytes(geometry.slots()) + Pages::table_bytes(geometry.pages())
    }

    /// Returns the layout of the region.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Returns the number of slots in a state.
    pub fn count(&self, state: SlotState) -> u32 {
        self.slots.count(state)
    }

    /// Returns when slots are given up, and when none is taken.
    pub fn marks(&self) -> Marks {
        self.slots.marks()
    }

    /// Returns whether fewer slots are free than there should be.
    pub fn is_short(&self) -> bool {
        self.count(SlotState::Free) < self.marks().cull
    }

    /// Returns the number of slots of the boot set, which are not given up.
    pub fn pinned(&self) -> u32 {
        self.slots.pinned()
    }

    /// Takes in a page of the blob table, of which both copies were read.
    pub fn load_blobs(&mut self, number: u32, a: &mut Page, b: &mut Page) {
        self.blobs.load(number, a, b);
    }

    /// Returns the entry of `blob`, if it names one.
    pub fn blob(&self, blob: BlobIndex) -> Option<&BlobEntry> {
        self.blobs.get(blob)
    }

    /// Returns all blobs that the region knows.
    pub fn blobs(&self) -> impl Iterator<Item = (BlobIndex, &BlobEntry)> + Clone {
        self.blobs.iter()
    }

    /// Returns whether this mount reads a blob.
    pub fn is_attached(&self, blob: BlobIndex) -> bool {
        self.blobs.is_attached(blob)
    }

    /// Returns the blob of this identity and length, which this mount reads from now on; `None` if
    /// the region does not know it.
    pub fn attach(&mut self, identity: &BlobIdentity, bytes: u64) -> Option<BlobIndex> {
        let blob = self.blobs.find(identity, bytes)?;
        self.blobs.attach(blob);
        Some(blob)
    }

    /// Adds a blob that this mount reads. In a full table the entry of another is given up: of a
    /// blob that no slot holds, or else of one that this mount does not read, with all its slots.
    /// Returns `None` if this mount reads all.
    pub fn add_blob(&mut self, identity: &BlobIdentity, bytes: u64) -> Option<BlobIndex> {
        self.blobs.add(identity, bytes).or_else(|| {
            let spare = self.blobs.spare(|blob| !self.slots.holds(blob))?;
            if self.slots.holds(spare) {
                self.slots.evict_all(spare);
            }
            self.remove_blob(spare);
            self.blobs.add(identity, bytes)
        })
    }

    /// Frees the entry of a blob that no slot holds any more.
    pub fn remove_blob(&mut self, blob: BlobIndex) {
        self.claims.remove(blob);
        self.blobs.remove(blob);
    }

    /// Returns how many blocks of `blob` are resident, those in pages that were not taken in as a
    /// hint says.
    #[expect(clippy::arithmetic_side_effects, reason = "a region has fewer blocks than 2^40")]
    pub fn residents(&self, blob: BlobIndex) -> u64 {
        let unseen = if self.is_unseen() { self.claims.of(blob) } else { 0 };
        self.slots.residents(blob) + unseen
    }

    /// Returns identity and length in bytes of a blob that is resident, at least in part, and is this
    /// one: in its version or, where that is 0, in any; of `bytes` bytes or, where that is `None`, of
    /// any number. Of several, one that is wholly resident comes first, then the entry that was made
    /// last.
    pub fn held(&self, identity: BlobIdentity, bytes: Option<u64>) -> Option<(BlobIdentity, u64)> {
        let any = identity.version() == 0;
        let is_it = |held: BlobIdentity| match any {
            true => held.of_any_version() == identity,
            false => held == identity,
        };
        let held = self.blobs.iter().filter(|(index, entry)| {
            let fits = bytes.is_none_or(|bytes| bytes == entry.bytes);
            fits && is_it(entry.identity) && self.residents(*index) > 0
        });
        let best = held.max_by_key(|(index, entry)| {
            let blocks = entry.bytes.div_ceil(num::wide(BLOCK_BYTES));
            (self.residents(*index) == blocks, entry.generation)
        });
        best.map(|(_, entry)| (entry.identity, entry.bytes))
    }
}
