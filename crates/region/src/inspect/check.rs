//! Checking a region: every table, and every resident block against its check.
//!
//! Always: a fault says which byte of the disk it stands at; what an ordinary run, an earlier
//! format or a blob that was given up has left is not a fault.

use super::super::descriptor::{self, Descriptor};
use super::super::geometry::Copy2;
use super::super::hint;
use super::super::page::PageKind;
use super::super::refused::Refused;
use super::super::superblock::Refusal;
use super::super::{BLOCK_BYTES, BlobIndex};
use super::{CopyState, Hint, Holds, PageState, Region, newest, read};
use crate::num;
use crate::storage::{IoErrorKind, Storage};
use crate::units::RegionSlot;
use core::fmt;

/// Something in a region that is not as it was written. Places are bytes of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The region is longer than its area: its disk has shrunk.
    Shrunk {
        /// Length that its superblock says in bytes.
        says: u64,
        /// Length of the area in bytes.
        bytes: u64,
        /// Slots that end beyond the area, and are not used.
        slots: u32,
    },
    /// A copy of the superblock cannot be used.
    Superblock {
        /// Which.
        copy: Copy2,
        /// Where.
        at: u64,
        /// Why.
        why: Refusal,
    },
    /// A copy of the superblock cannot be read.
    SuperblockUnread {
        /// Which.
        copy: Copy2,
        /// Where.
        at: u64,
        /// Why.
        why: IoErrorKind,
    },
    /// A page is not what was written there, or cannot be read.
    Page {
        /// Of the blob table, else of descriptors.
        blobs: bool,
        /// Its number.
        number: u32,
        /// The copy.
        copy: Copy2,
        /// Where.
        at: u64,
        /// Why it could not be read.
        unread: Option<IoErrorKind>,
        /// Whether the other copy counts in its place.
        twin: bool,
    },
    /// A page of a hint that counts is not what was written there; mounting scans all pages.
    Hint {
        /// Its number.
        number: u32,
        /// Where.
        at: u64,
    },
    /// Two entries of the blob table name the same blob.
    Twice {
        /// The one.
        blob: BlobIndex,
        /// The other.
        other: BlobIndex,
    },
    /// A descriptor has a bit for a block that its slot does not have, or its blob does not.
    Bit {
        /// The slot.
        slot: RegionSlot,
        /// The block in it.
        block: usize,
        /// Where its descriptor's page is.
        at: u64,
    },
    /// A resident block could not be read.
    BlockUnread {
        /// Which.
        block: BlockPlace,
        /// Why.
        why: IoErrorKind,
    },
    /// A resident block is not what was written there.
    Block {
        /// Which.
        block: BlockPlace,
        /// Its check in the descriptor.
        says: u64,
        /// What its bytes give.
        is: u64,
    },
}

/// A block of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockPlace {
    /// The slot.
    pub slot: RegionSlot,
    /// The block in it.
    pub block: usize,
    /// The blob.
    pub blob: BlobIndex,
    /// The block in the blob.
    pub number: u64,
    /// First byte on the disk.
    pub at: u64,
}

impl fmt::Display for BlockPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { slot, block, blob, number, at } = self;
        let blob = blob.get();
        write!(f, "slot {slot} block {block} (block {number} of blob {blob}, byte {at:#x})")
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shrunk { says, bytes, slots } => {
                let shrunk = Refused::Shrunk { says: *says, bytes: *bytes };
                write!(f, "{shrunk}; {slots} slots end beyond it")
            }
            Self::Superblock { copy, at, why } => {
                write!(f, "superblock {copy:?} (byte {at:#x}): {why}")
            }
            Self::SuperblockUnread { copy, at, why } => {
                write!(f, "superblock {copy:?} (byte {at:#x}): cannot be read: {why}")
            }
            Self::Page { blobs, number, copy, at, unread, twin } => {
                let kind = if *blobs { "blob table" } else { "descriptor" };
                write!(f, "{kind} page {number} copy {copy:?} (byte {at:#x}): ")?;
                match unread {
                    Some(why) => write!(f, "cannot be read: {why}")?,
                    None => f.write_str("not what was written there")?,
                }
                f.write_str(if *twin { "; the other copy counts" } else { "; neither copy counts" })
            }
            Self::Hint { number, at } => {
                write!(f, "hint page {number} (byte {at:#x}): not what was written there")
            }
            Self::Twice { blob, other } => {
                write!(
                    f,
                    "blob table: entries {} and {} name the same blob",
                    blob.get(),
                    other.get()
                )
            }
            Self::Bit { slot, block, at } => write!(
                f,
                "slot {slot} (descriptor page at byte {at:#x}): a bit for block {block}, which it cannot hold"
            ),
            Self::BlockUnread { block, why } => write!(f, "{block}: cannot be read: {why}"),
            Self::Block { block, says, is } => {
                write!(f, "{block}: its bytes give {is:016x}, its descriptor says {says:016x}")
            }
        }
    }
}

impl core::error::Error for Fault {}

/// What was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checked {
    /// Blocks whose checks were compared.
    pub blocks: u64,
    /// Slots that others changed between two looks at them.
    pub changed: u64,
}

impl Region {
    /// Checks superblocks, pages and the blob table.
    pub fn check_tables(&self, told: &mut dyn FnMut(Fault)) {
        let (says, bytes) = (self.superblock.bytes, self.area.bytes);
        if says > bytes {
            let beyond = |holds: Holds| u32::from(holds == Holds::Beyond);
            let slots = self.slots.iter().map(|slot| beyond(slot.holds)).sum();
            told(Fault::Shrunk { says, bytes, slots });
        }
        for (copy, found) in Copy2::BOTH.into_iter().zip(&self.superblocks.copies) {
            let at = found.at;
            match (&found.raw, found.judged) {
                (Err(why), _) => told(Fault::SuperblockUnread { copy, at, why: *why }),
                (Ok(_), Err(why)) => told(Fault::Superblock { copy, at, why }),
                (Ok(_), Ok(_)) => {}
            }
        }
        for (number, state) in (0u32..).zip(&self.blob_pages) {
            self.check_page(PageKind::Blobs, number, state, told);
        }
        for (number, state) in (0u32..).zip(&self.pages) {
            self.check_page(PageKind::Descriptors, number, state, told);
        }
        for (at, blob) in self.blobs.iter().enumerate() {
            let same = |other: &&super::Blob| {
                other.entry.identity == blob.entry.identity && other.entry.bytes == blob.entry.bytes
            };
            if let Some(other) = self.blobs.iter().take(at).find(same) {
                told(Fault::Twice { blob: other.index, other: blob.index });
            }
        }
    }

    /// Checks the pages of the hint, if it counts.
    pub fn check_hint<S: Storage>(&self, storage: &S, told: &mut dyn FnMut(Fault)) {
        let geometry = self.superblock.geometry;
        if self.hint != Hint::Counts {
            return;
        }
        let Some(head) = self.hint_page(storage, 0) else {
            return told(Fault::Hint { number: 0, at: self.area.byte(geometry.hint_at(0)) });
        };
        for number in 1..=geometry.hint_pages() {
            if !hint::is_empty(&head, number) && self.hint_page(storage, number).is_none() {
                let at = self.area.byte(geometry.hint_at(number));
                told(Fault::Hint { number, at });
            }
        }
    }

    /// Tells a copy that is not valid if this format has written it: then its twin is there, and of
    /// a later generation than the first, which goes to one copy alone.
    fn check_page(
        &self,
        kind: PageKind,
        number: u32,
        state: &PageState,
        told: &mut dyn FnMut(Fault),
    ) {
        let counts = state.counts();
        for (copy, found) in Copy2::BOTH.into_iter().zip(state.copies) {
            let unread = match found {
                CopyState::Valid(_) => continue,
                CopyState::Unread(why) => Some(why),
                CopyState::Blank | CopyState::Invalid => None,
            };
            let written = counts.is_some_and(|(_, generation)| generation > 1);
            if unread.is_some() || written {
                told(Fault::Page {
                    blobs: kind == PageKind::Blobs,
                    number,
                    copy,
                    at: self.area.byte(self.page_at(kind, copy, number)),
                    unread,
                    twin: counts.is_some(),
                });
            }
        }
    }

    /// Checks the slots that descriptor page `number` describes, block by block.
    #[expect(clippy::arithmetic_side_effects, reason = "no more than a page describes")]
    pub fn check_slots<S: Storage>(
        &self,
        storage: &S,
        number: u32,
        told: &mut dyn FnMut(Fault),
    ) -> Checked {
        let mut checked = Checked::default();
        let (state, copies) = self.page_of(storage, PageKind::Descriptors, number);
        let Some((copy, _)) = state.counts() else { return checked };
        let Some(page) = newest(&state, &copies) else { return checked };
        let geometry = self.superblock.geometry;
        let at = self.page_on_disk(copy, number);
        for (slot, index) in geometry.slots_of(number).zip(0u32..) {
            let known = self.slots.get(num::index(slot.get()));
            let Some(known) = known.filter(|known| known.holds == Holds::Window) else { continue };
            let found = descriptor::of(page, geometry.slot_size(), index);
            if found.head() != known.head {
                checked.changed += 1;
                continue;
            }
            checked.blocks += self.check_slot(storage, &found, slot, at, told);
        }
        checked
    }

    #[expect(clippy::arithmetic_side_effects, reason = "no more than a slot has")]
    fn check_slot<S: Storage>(
        &self,
        storage: &S,
        found: &Descriptor<&[u8]>,
        slot: RegionSlot,
        at: u64,
        told: &mut dyn FnMut(Fault),
    ) -> u64 {
        let geometry = self.superblock.geometry;
        let size = geometry.slot_size();
        let head = found.head();
        let Some(blob) = self.blobs.iter().find(|blob| blob.index.get() == head.blob) else {
            return 0;
        };
        let blob_blocks = blob.entry.bytes.div_ceil(4096);
        // No window is beyond what 32 bits count.
        let Some(first) = size.block_count().times(head.window) else { return 0 };
        let mut checked = 0;
        let mut sums = found.sums();
        for (block, number) in (0..size.bitmap_bits()).zip(first..) {
            let says = sums.next();
            if !found.is_resident(block) {
                continue;
            }
            let Some(says) = says.filter(|_| number < blob_blocks) else {
                told(Fault::Bit { slot, block, at });
                continue;
            };
            let from = geometry.block_at(slot, block);
            let disk = self.area.byte(from);
            let place = BlockPlace { slot, block, blob: blob.index, number, at: disk };
            checked += 1;
            match read(storage, &self.area, from, BLOCK_BYTES) {
                Err(why) => told(Fault::BlockUnread { block: place, why }),
                Ok(data) => {
                    let is = blob.entry.key.checksum(number, &data);
                    if says != is {
                        told(Fault::Block { block: place, says, is });
                    }
                }
            }
        }
        checked
    }
}
