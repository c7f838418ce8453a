//! The area of a region before it is one: which superblock counts, whether it may be formatted,
//! and formatting it.
//!
//! Always: an area that is neither ours nor blank is written only if the options force it.

use super::BLOCK_BYTES;
use super::foreign::{self, TAIL_BYTES};
use super::geometry::{BLOB_PAGES, BLOCK, Copy2, Geometry, SlotSize};
use super::hint;
use super::open::{CacheOptions, fits};
use super::page::{self, PageKind};
use super::refused::{Refused, Vacant};
use super::superblock::{Refusal, Superblock, VERSION};
use crate::num;
use crate::storage::{DeviceId, IoErrorKind, Storage, Transfer};
use crate::trace;
use alloc::vec;
use alloc::vec::Vec;
use zerocopy::IntoBytes;

/// The bits of a length that count whole blocks.
const WHOLE_BLOCKS: usize = !(BLOCK_BYTES - 1);

/// Where a region is or should be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Area {
    pub device: DeviceId,
    pub start: u64,
    pub bytes: u64,
    /// Length of the disk in bytes.
    pub disk_bytes: u64,
    /// The longest transfer of the device, in whole blocks.
    pub transfer_max: usize,
}

/// What stands where the superblocks should be.
pub(super) enum Found {
    Valid(Superblock, Copy2),
    /// Superblocks of ours that cannot be used.
    Broken(Refusal),
    Nothing,
}

impl Area {
    /// Returns the area of `bytes` bytes from byte `start` of `device` on; `None` is the rest of the
    /// disk.
    pub fn at<S: Storage>(
        storage: &S,
        device: DeviceId,
        start: u64,
        bytes: Option<u64>,
    ) -> Result<Self, Refused> {
        let info = storage.info(device).ok_or(Refused::NoDevice)?;
        info.check().map_err(Refused::Unfit)?;
        let range = Refused::Range { disk: info.bytes };
        let whole = !BLOCK.wrapping_sub(1);
        let bytes = match (info.bytes.checked_sub(start), bytes) {
            _ if start & !whole != 0 => return Err(range),
            (None, _) => return Err(range),
            (Some(rest), None) => rest & whole,
            (Some(rest), Some(bytes)) if bytes <= rest => bytes & whole,
            (Some(_), Some(_)) => return Err(range),
        };
        if info.transfer_bytes_max < 4096 {
            return Err(Refused::Transfer { max: info.transfer_bytes_max });
        }
        let transfer_max = num::index(info.transfer_bytes_max) & !4095;
        Ok(Self { device, start, bytes, disk_bytes: info.bytes, transfer_max })
    }

    /// Checks that a slot fits in the area. One that is too small may be the rest of a region whose
    /// disk has shrunk.
    pub fn check_room<S: Storage>(&self, storage: &S) -> Result<(), Refused> {
        if Geometry::for_region(self.bytes, SlotSize::K64).is_some() {
            return Ok(());
        }
        for at in Copy2::BOTH.map(Geometry::superblock_at) {
            if at.checked_add(BLOCK).is_some_and(|end| end <= self.bytes)
                && let Ok(found) =
                    Superblock::from_bytes(&self.part(storage, at, BLOCK_BYTES)?, self.start)
            {
                return Err(Refused::Shrunk { says: found.bytes, bytes: self.bytes });
            }
        }
        // A small area may still be a file of another kind.
        let head = num::clip(self.bytes, Geometry::HEAD_BYTES) & WHOLE_BLOCKS;
        match foreign::name(&self.part(storage, 0, head)?) {
            Some(what) => Err(Refused::foreign(what)),
            None => Err(Refused::TooSmall { bytes: self.bytes }),
        }
    }

    /// Reads both superblocks. Returns the one that counts, or why there is none.
    pub fn superblocks<S: Storage>(&self, storage: &S) -> Result<Found, Refused> {
        self.check_room(storage)?;
        let (mut a, mut b) = (vec![0; BLOCK_BYTES], vec![0; BLOCK_BYTES]);
        let at = |copy| self.byte(Geometry::superblock_at(copy));
        let mut batch = [
            Transfer::read(self.device, at(Copy2::A), &mut a),
            Transfer::read(self.device, at(Copy2::B), &mut b),
        ];
        storage.run(&mut batch, &mut |_, _| {});
        let [in_a, in_b] = batch.each_ref().map(|transfer| transfer.outcome());
        let copies = [in_a.map(|()| &*a), in_b.map(|()| &*b)];
        self.judge(storage, copies.map(|copy| copy.map_err(|error| error.kind)))
    }

    /// Returns which of the two superblocks counts, or why neither does; of each there are the bytes
    /// or why they could not be read.
    pub fn judge<S: Storage>(
        &self,
        storage: &S,
        copies: [Result<&[u8], IoErrorKind>; 2],
    ) -> Result<Found, Refused> {
        let unread = copies.iter().find_map(|copy| copy.err());
        let [a, b] = copies.map(|copy| match copy {
            Ok(raw) => Superblock::from_bytes(raw, self.start),
            Err(_) => Err(Refusal::NoMagic),
        });
        let later = [&a, &b].into_iter().find_map(|copy| copy.err().filter(is_later));
        // The newest of the two may be one that cannot be judged here.
        if let Some(refusal) = later {
            return Ok(Found::Broken(refusal));
        }
        if let (Err(Refusal::NoMagic), Ok(b)) = (&a, &b)
            && let Some(start) = self.is_shifted(storage, b)
        {
            return Err(Refused::Elsewhere { start });
        }
        Ok(match (a, b, unread) {
            (Ok(a), Ok(b), _) if page::is_later(b.generation, a.generation) => {
                Found::Valid(b, Copy2::B)
            }
            (Ok(a), ..) => Found::Valid(a, Copy2::A),
            (_, Ok(b), _) => Found::Valid(b, Copy2::B),
            // What could not be read may be valid.
            (_, _, Some(kind)) => return Err(Refused::Io(kind)),
            (Err(Refusal::NoMagic), Err(Refusal::NoMagic), _) => Found::Nothing,
            // Damage is the only reason that lets the area be formatted: any other comes first.
            (Err(Refusal::NoMagic | Refusal::BadCheck), Err(refusal), _)
                if refusal != Refusal::NoMagic =>
            {
                Found::Broken(refusal)
            }
            (Err(refusal), ..) => Found::Broken(refusal),
        })
    }

    /// Returns what makes the area free to be formatted without the user's word, or why it is not.
    /// `found` is what stands where the superblocks should be.
    pub fn vacant<S: Storage>(&self, storage: &S, found: &Found) -> Result<Vacant, Refused> {
        let broken = match found {
            Found::Valid(superblock, _) if superblock.condemned && !superblock.read_only => {
                return Ok(Vacant::Condemned);
            }
            Found::Valid(..) => return Err(Refused::Condemned),
            // Both copies lost: what they described is lost with them. Or ours, of a version that
            // nobody reads any more.
            Found::Broken(broken @ (Refusal::BadCheck | Refusal::Version(..VERSION))) => {
                Some(*broken)
            }
            Found::Broken(refusal) => return Err(Refused::Superblock(*refusal)),
            Found::Nothing => None,
        };
        let head = self.part(storage, 0, Geometry::HEAD_BYTES)?;
        if let (None, Some(what)) = (broken, foreign::name(&head)) {
            return Err(Refused::foreign(what));
        }
        if let Some(start) = self.other_region(storage, &head)? {
            return Err(Refused::Elsewhere { start });
        }
        if let Some(refusal) = broken {
            return Ok(Vacant::Broken(refusal));
        }
        let blank = head.iter().all(|byte| *byte == 0);
        if !blank && self.was_ours(storage, &head)? {
            return Ok(Vacant::Lost);
        }
        let tail = self.bytes.checked_sub(num::wide(TAIL_BYTES));
        let tail = tail.ok_or(Refused::TooSmall { bytes: self.bytes })?;
        let tail = self.part(storage, tail, TAIL_BYTES)?;
        match foreign::name_at_end(&tail, self.bytes) {
            _ if !blank => Err(Refused::Unknown),
            Some(what) => Err(Refused::Foreign(what)),
            None => Ok(Vacant::Blank),
        }
    }

    /// Returns whether the area was a region that lost both superblocks: beside the places of the
    /// superblocks its `head` holds nothing but pages of ours, each in its place, and there is at
    /// least one such page in the head or in the blob table after it.
    fn was_ours<S: Storage>(&self, storage: &S, head: &[u8]) -> Result<bool, Refused> {
        let once = [(Geometry::BOOT_TRACE_AT, PageKind::Boot), (Geometry::MARK_AT, PageKind::Mark)];
        let mut found = false;
        for (at, block) in (0_u64..).step_by(BLOCK_BYTES).zip(head.chunks_exact(BLOCK_BYTES)) {
            let lost = Copy2::BOTH.map(Geometry::superblock_at).contains(&at);
            let page =
                once.iter().any(|(place, kind)| *place == at && page::is_of(*kind, 0, block));
            found |= page;
            if !lost && !page && block.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
        }
        let copies = Copy2::BOTH.map(|copy| Geometry::blob_page_at(copy, 0));
        for (number, at) in
            copies.into_iter().flat_map(|first| (0..BLOB_PAGES).zip((first..).step_by(BLOCK_BYTES)))
        {
            let block = self.part(storage, at, BLOCK_BYTES)?;
            found |= page::is_of(PageKind::Blobs, number, &block);
        }
        Ok(found)
    }

    /// Reads the `len` bytes at byte `at` of the area.
    fn part<S: Storage>(&self, storage: &S, at: u64, len: usize) -> Result<Vec<u8>, Refused> {
        self.of_disk(storage, self.byte(at), len)
    }

    /// Reads the `len` bytes at byte `at` of the disk.
    pub fn of_disk<S: Storage>(
        &self,
        storage: &S,
        at: u64,
        len: usize,
    ) -> Result<Vec<u8>, Refused> {
        let mut part = vec![0; len];
        let step = self.transfer_max.max(BLOCK_BYTES);
        let places = (at..).step_by(step);
        let pieces = part.chunks_mut(step).zip(places);
        let mut batch: Vec<_> =
            pieces.map(|(piece, at)| Transfer::read(self.device, at, piece)).collect();
        storage.run(&mut batch, &mut |_, _| {});
        match batch.iter().find_map(|transfer| transfer.outcome().err()) {
            Some(error) => Err(Refused::Io(error.kind)),
            None => Ok(part),
        }
    }

    /// Returns the layout of a new region: with slots of the wanted size, or else of the smallest
    /// whose tables fit in memory.
    fn choose(&self, options: &CacheOptions) -> Result<Geometry, Refused> {
        let sizes = match &options.slot_size {
            Some(size) => core::slice::from_ref(size),
            None => &[SlotSize::K64, SlotSize::K256, SlotSize::M1],
        };
        let mut refused = Refused::TooSmall { bytes: self.bytes };
        for size in sizes {
            if let Some(geometry) = Geometry::for_region(self.bytes, *size) {
                match fits(&geometry, options) {
                    Ok(()) => return Ok(geometry),
                    Err(too_large) => refused = too_large,
                }
            }
        }
        Err(refused)
    }

    /// Writes both superblocks of a new region and, if the region is long enough to have one, a hint
    /// that it holds nothing. Nothing else needs to be written: pages and blocks of an
    /// earlier format are keyed with another UUID.
    pub fn format<S: Storage>(
        &self,
        storage: &S,
        options: &CacheOptions,
        highest: u64,
    ) -> Result<Superblock, Refused> {
        let geometry = self.choose(options)?;
        let superblock = Superblock {
            uuid: options.entropy,
            start: self.start,
            bytes: self.bytes,
            generation: highest.wrapping_add(1),
            nonce: 0,
            geometry,
            condemned: false,
            read_only: false,
        };
        let raw = superblock.to_bytes();
        let at = |copy| self.byte(Geometry::superblock_at(copy));
        let mut batch = [
            Transfer::write(self.device, at(Copy2::A), &raw),
            Transfer::write(self.device, at(Copy2::B), &raw),
        ];
        storage.run(&mut batch, &mut |_, _| {});
        let mut flush = [Transfer::flush(self.device)];
        storage.run(&mut flush, &mut |_, _| {});
        match batch.iter().chain(&flush).find_map(|transfer| transfer.outcome().err()) {
            Some(error) => Err(Refused::Io(error.kind)),
            None => {
                self.write_hint(storage, &superblock);
                trace::info!("region: formatted, {} slots", geometry.slots());
                Ok(superblock)
            }
        }
    }

    /// Writes the hint that a new region holds nothing. If that fails the first mount reads all
    /// descriptor pages.
    fn write_hint<S: Storage>(&self, storage: &S, superblock: &Superblock) {
        if superblock.geometry.hint_pages() > 0 {
            let head = hint::of_nothing(superblock);
            let at = self.byte(superblock.geometry.hint_at(0));
            let mut batch = [Transfer::write(self.device, at, head.as_bytes())];
            storage.run(&mut batch, &mut |_, _| {});
        }
    }

    /// Returns the byte of the disk that lies `offset` bytes after the area's start.
    #[expect(clippy::arithmetic_side_effects, reason = "a region, and its area, end on a disk")]
    pub(super) fn byte(&self, offset: u64) -> u64 {
        self.start + offset
    }
}

/// Returns whether a superblock checks out and is of a format that this code does not know yet.
fn is_later(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Version(VERSION..) | Refusal::Incompat(_) | Refusal::Checksum(_))
}
