//! A region as it lies on its disk, for those who look at it: no mount, no queue, no healing.
//!
//! Always: nothing is written; what is reported is what the disk says, and what the disk does not
//! say is named as unknown; the memory is bounded by the slots that fit in the area.

mod check;
mod fields;

pub use self::check::{Checked, Fault};
pub use self::fields::{Field, Value, blob_entry, descriptor, entry_used, page_header, superblock};
pub use super::descriptor::Head;

use super::area::{Area, Found};
use super::blobs::{BlobEntry, BlobTable};
use super::boot::{self, BootRun};
use super::descriptor::Descriptor;
use super::format::{BlobPage, Page};
use super::geometry::{BLOB_PAGES, Copy2, Geometry};
use super::page::{self, PageKind};
use super::refused::Refused;
use super::superblock::{Refusal, Superblock};
use super::{BLOCK_BYTES, BlobIndex};
use crate::num;
use crate::storage::{DeviceId, IoErrorKind, Storage, Transfer};
use crate::units::RegionSlot;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use zerocopy::IntoBytes;

/// Entries of a page of the blob table.
pub const ENTRIES_PER_PAGE: usize = BlobPage::ENTRIES;

/// Where a region is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The disk.
    pub device: DeviceId,
    /// First byte of the region on it; a multiple of 4096.
    pub start: u64,
    /// Length in bytes; `None` is the rest of the disk.
    pub bytes: Option<u64>,
}

/// One copy of the superblock.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SuperblockCopy {
    /// Its first byte on the disk.
    pub at: u64,
    /// The block, or why it could not be read.
    pub raw: Result<Vec<u8>, IoErrorKind>,
    /// The fields of the block, or why it is not a superblock of this region.
    pub judged: Result<Superblock, Refusal>,
}

/// Both copies of the superblock.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Superblocks {
    /// Copy A and copy B.
    pub copies: [SuperblockCopy; 2],
    /// The one that counts, or why there is no region to use.
    pub counts: Result<(Superblock, Copy2), Refused>,
    /// Length of the area in bytes.
    pub area_bytes: u64,
}

/// What one copy of a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyState {
    /// Valid, of this generation.
    Valid(u64),
    /// All zeros: never written.
    Blank,
    /// Not valid: torn, damaged, or left by an earlier format, which clears nothing.
    Invalid,
    /// It could not be read.
    Unread(IoErrorKind),
}

/// Both copies of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PageState {
    /// Copy A and copy B.
    pub copies: [CopyState; 2],
}

impl PageState {
    /// Returns the copy that counts and its generation; `None` if the page is empty or unknown.
    pub fn counts(&self) -> Option<(Copy2, u64)> {
        match self.copies {
            [CopyState::Valid(a), CopyState::Valid(b)] if page::is_later(b, a) => {
                Some((Copy2::B, b))
            }
            [CopyState::Valid(a), _] => Some((Copy2::A, a)),
            [_, CopyState::Valid(b)] => Some((Copy2::B, b)),
            _ => None,
        }
    }

    /// Returns whether neither copy is valid and one could not be read, so that what the page says
    /// is not known.
    pub fn is_unknown(&self) -> bool {
        let unread = |copy: &CopyState| matches!(copy, CopyState::Unread(_));
        self.counts().is_none() && self.copies.iter().any(unread)
    }
}

/// What a slot's descriptor means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Nothing.
    Free,
    /// A window of a blob.
    Window,
    /// Nothing any more: the entry of the blob is free.
    BlobGone,
    /// Nothing any more: the entry of the blob has another generation.
    BlobChanged,
    /// Nothing: no blob has such a window.
    NoWindow,
    /// Nothing: this lower slot holds the same window of the same blob.
    Double(RegionSlot),
    /// The page of its descriptor could not be read.
    Unknown,
    /// The slot ends after the end of the area, which has shrunk.
    Beyond,
}

/// One slot.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Slot {
    /// The fixed part of its descriptor.
    pub head: Head,
    /// What that means.
    pub holds: Holds,
    /// Set bits of its descriptor.
    pub resident_blocks: u32,
}

/// One blob that the region knows.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Blob {
    /// Its number in descriptors.
    pub index: BlobIndex,
    /// Its entry.
    pub entry: BlobEntry,
    /// Slots that hold some of it.
    pub slots: u32,
    /// Blocks of it that are resident.
    pub resident_blocks: u64,
}

impl Blob {
    /// Returns how many bytes of the blob are resident; none of them lies after its end.
    pub fn resident_bytes(&self) -> u64 {
        (self.resident_blocks << 12).min(self.entry.bytes)
    }
}

/// The tables of a region.
#[derive(Debug)]
#[non_exhaustive]
pub struct Region {
    area: Area,
    /// Both superblocks.
    pub superblocks: Superblocks,
    /// The one that counts.
    pub superblock: Superblock,
    /// The pages of the blob table.
    pub blob_pages: Vec<PageState>,
    /// The pages of descriptors.
    pub pages: Vec<PageState>,
    /// What the last mount left to spare the next one a scan.
    pub hint: Hint,
    /// What the start of the last boot read that left a trace.
    pub boot_trace: Vec<BootRun>,
    /// The blobs.
    pub blobs: Vec<Blob>,
    /// The slots.
    pub slots: Vec<Slot>,
}

/// The hint of what the slots hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// A region of this size has none.
    NoRoom,
    /// None was left, or the region was written since.
    Stale,
    /// One counts.
    Counts,
}

/// Reads both superblocks of the region at `place`.
///
/// # Errors
/// When there is no room for a region at all.
pub fn superblocks<S: Storage>(storage: &S, place: &Place) -> Result<Superblocks, Refused> {
    let area = Area::at(storage, place.device, place.start, place.bytes)?;
    area.check_room(storage)?;
    Ok(both(storage, &area))
}

fn both<S: Storage>(storage: &S, area: &Area) -> Superblocks {
    let copies = Copy2::BOTH.map(|copy| {
        let at = area.byte(Geometry::superblock_at(copy));
        let raw = read(storage, area, Geometry::superblock_at(copy), BLOCK_BYTES);
        let judged = match &raw {
            Ok(raw) => Superblock::from_bytes(raw, area.start),
            Err(_) => Err(Refusal::NoMagic),
        };
        SuperblockCopy { at, raw, judged }
    });
    let raw = copies.each_ref().map(|copy| copy.raw.as_deref().map_err(|kind| *kind));
    let counts = match area.judge(storage, raw) {
        Ok(Found::Valid(superblock, _)) if superblock.geometry.slots_at() > area.bytes => {
            Err(Refused::Shrunk { says: superblock.bytes, bytes: area.bytes })
        }
        Ok(Found::Valid(superblock, copy)) => Ok((superblock, copy)),
        Ok(found) => Err(match area.vacant(storage, &found) {
            Ok(vacant) => Refused::Unformatted(vacant),
            Err(refused) => refused,
        }),
        Err(refused) => Err(refused),
    };
    Superblocks { copies, counts, area_bytes: area.bytes }
}

fn read_page<S: Storage>(storage: &S, area: &Area, at: u64) -> Result<Box<Page>, IoErrorKind> {
    let mut page = Page::zeroed();
    read_into(storage, area, at, page.as_mut_bytes())?;
    Ok(page)
}

fn read<S: Storage>(storage: &S, area: &Area, at: u64, len: usize) -> Result<Vec<u8>, IoErrorKind> {
    let mut raw = vec![0; len];
    read_into(storage, area, at, &mut raw)?;
    Ok(raw)
}

fn read_into<S: Storage>(
    storage: &S,
    area: &Area,
    at: u64,
    out: &mut [u8],
) -> Result<(), IoErrorKind> {
    let mut batch = [Transfer::read(area.device, area.byte(at), out)];
    storage.run(&mut batch, &mut |_, _| {});
    batch.iter().try_for_each(|transfer| transfer.outcome().map_err(|error| error.kind))
}

impl Region {
    /// Reads the tables of the region at `place`.
    ///
    /// # Errors
    /// Why there is no region that can be used.
    pub fn read<S: Storage>(storage: &S, place: &Place) -> Result<Self, Refused> {
        let superblocks = superblocks(storage, place)?;
        let (superblock, _) = superblocks.counts?;
        let area = Area::at(storage, place.device, place.start, place.bytes)?;
        let slots = Vec::with_capacity(num::index(superblock.geometry.slots()));
        let mut region = Self {
            area,
            superblocks,
            superblock,
            blob_pages: Vec::new(),
            pages: Vec::new(),
            hint: Hint::NoRoom,
            boot_trace: Vec::new(),
            blobs: Vec::new(),
            slots,
        };
        if superblock.geometry.hint_pages() > 0 {
            let head = region.hint_page(storage, 0);
            region.hint = if head.is_some() { Hint::Counts } else { Hint::Stale };
        }
        region.read_blobs(storage);
        region.read_boot_trace(storage);
        region.read_slots(storage);
        Ok(region)
    }

    /// Returns a page of the hint, if it counts.
    fn hint_page<S: Storage>(&self, storage: &S, number: u32) -> Option<Box<Page>> {
        let at = self.superblock.geometry.hint_at(number);
        let mut page = read_page(storage, &self.area, at).ok()?;
        let generation = page::open(&self.superblock.uuid, PageKind::Hint, number, &mut page)?;
        (generation == self.superblock.generation).then_some(page)
    }

    fn read_boot_trace<S: Storage>(&mut self, storage: &S) {
        let page = read_page(storage, &self.area, Geometry::BOOT_TRACE_AT);
        let blobs = &self.blobs;
        let known = |blob| {
            let found = blobs.iter().find(|entry| entry.index == blob)?;
            Some(found.entry.generation)
        };
        if let Ok(mut page) = page {
            self.boot_trace = boot::parse(&self.superblock.uuid, &mut page, known).collect();
        }
    }

    fn read_blobs<S: Storage>(&mut self, storage: &S) {
        let mut table = BlobTable::new(self.superblock.uuid);
        for number in 0..BLOB_PAGES {
            let (state, copies) = self.page_of(storage, PageKind::Blobs, number);
            let page = newest(&state, &copies);
            if let Some((page, (copy, generation))) = page.zip(state.counts()) {
                table.take_in(number, page, (generation, copy));
            }
            self.blob_pages.push(state);
        }
        let blob = |(index, entry): (BlobIndex, &BlobEntry)| Blob {
            index,
            entry: *entry,
            slots: 0,
            resident_blocks: 0,
        };
        self.blobs = table.iter().map(blob).collect();
    }

    fn read_slots<S: Storage>(&mut self, storage: &S) {
        let geometry = self.superblock.geometry;
        let size = geometry.slot_size();
        let mut held: BTreeMap<(u16, u64), RegionSlot> = BTreeMap::new();
        for number in 0..geometry.pages() {
            let (state, copies) = self.page_of(storage, PageKind::Descriptors, number);
            let page = newest(&state, &copies);
            for (slot, index) in geometry.slots_of(number).zip(0u32..) {
                let found = page.map(|page| super::descriptor::of(page, size, index));
                let head = found.as_ref().map_or_else(Head::default, Descriptor::head);
                let holds = match self.meaning(&head) {
                    _ if state.is_unknown() => Holds::Unknown,
                    _ if geometry.end_of(slot) > self.area.bytes => Holds::Beyond,
                    Holds::Window => match held.get(&(head.blob, head.window)) {
                        Some(other) => Holds::Double(*other),
                        None => Holds::Window,
                    },
                    other => other,
                };
                let in_use = found.filter(|_| holds == Holds::Window);
                let resident_blocks = in_use.map_or(0, |found| found.resident_count().into());
                if holds == Holds::Window {
                    held.insert((head.blob, head.window), slot);
                    self.count(&head, resident_blocks);
                }
                self.slots.push(Slot { head, holds, resident_blocks });
            }
            self.pages.push(state);
        }
    }

    fn meaning(&self, head: &Head) -> Holds {
        let blob = self.blobs.iter().find(|blob| blob.index.get() == head.blob);
        match blob {
            _ if !head.live => Holds::Free,
            None => Holds::BlobGone,
            Some(blob) if blob.entry.generation != head.blob_generation => Holds::BlobChanged,
            Some(_) if u32::try_from(head.window).is_err() => Holds::NoWindow,
            Some(_) => Holds::Window,
        }
    }

    #[expect(clippy::arithmetic_side_effects, reason = "each slot is counted once")]
    fn count(&mut self, head: &Head, blocks: u32) {
        if let Some(blob) = self.blobs.iter_mut().find(|blob| blob.index.get() == head.blob) {
            blob.slots += 1;
            blob.resident_blocks += u64::from(blocks);
        }
    }

    /// Returns both copies of a page as they are now, open where they are valid, and what they are.
    fn page_of<S: Storage>(
        &self,
        storage: &S,
        kind: PageKind,
        number: u32,
    ) -> (PageState, [Option<Box<Page>>; 2]) {
        let mut copies = Copy2::BOTH
            .map(|copy| read_page(storage, &self.area, self.page_at(kind, copy, number)));
        let state = copies.each_mut().map(|copy| match copy {
            Err(kind) => CopyState::Unread(*kind),
            Ok(page) if page.as_bytes().iter().all(|byte| *byte == 0) => CopyState::Blank,
            Ok(page) => match page::open(&self.superblock.uuid, kind, number, page) {
                Some(generation) => CopyState::Valid(generation),
                None => CopyState::Invalid,
            },
        });
        (PageState { copies: state }, copies.map(Result::ok))
    }

    fn page_at(&self, kind: PageKind, copy: Copy2, number: u32) -> u64 {
        match kind {
            PageKind::Blobs => Geometry::blob_page_at(copy, number),
            PageKind::Descriptors => self.superblock.geometry.page_at(copy, number),
            PageKind::Hint => self.superblock.geometry.hint_at(number),
            PageKind::Boot => Geometry::BOOT_TRACE_AT,
            PageKind::Mark => Geometry::MARK_AT,
        }
    }

    /// Returns where on the disk a copy of page `number` of the blob table lies, in bytes.
    pub fn blob_page_on_disk(&self, copy: Copy2, number: u32) -> u64 {
        self.area.byte(self.page_at(PageKind::Blobs, copy, number))
    }

    /// Returns where on the disk a copy of descriptor page `number` lies, in bytes.
    pub fn page_on_disk(&self, copy: Copy2, number: u32) -> u64 {
        self.area.byte(self.page_at(PageKind::Descriptors, copy, number))
    }

    /// Returns the bytes of page `number` of the blob table that count; `None` if none do.
    pub fn blob_page<S: Storage>(&self, storage: &S, number: u32) -> Option<Vec<u8>> {
        let (state, copies) = self.page_of(storage, PageKind::Blobs, number);
        newest(&state, &copies).map(|page| page.as_bytes().to_vec())
    }

    /// Returns the bytes of descriptor page `number` that count; `None` if none do.
    pub fn page<S: Storage>(&self, storage: &S, number: u32) -> Option<Vec<u8>> {
        let (state, copies) = self.page_of(storage, PageKind::Descriptors, number);
        newest(&state, &copies).map(|page| page.as_bytes().to_vec())
    }

    /// Returns the windows of a blob that slots hold, and how many blocks of each are resident.
    pub fn windows(&self, blob: BlobIndex) -> impl Iterator<Item = (u64, u32)> {
        let own = move |slot: &&Slot| slot.holds == Holds::Window && slot.head.blob == blob.get();
        self.slots.iter().filter(own).map(|slot| (slot.head.window, slot.resident_blocks))
    }
}

fn newest<'c>(state: &PageState, copies: &'c [Option<Box<Page>>; 2]) -> Option<&'c Page> {
    let [a, b] = copies;
    match state.counts()? {
        (Copy2::A, _) => a.as_deref(),
        (Copy2::B, _) => b.as_deref(),
    }
}
