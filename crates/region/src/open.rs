//! Opening a region: finding its superblock, formatting a blank area, learning what the slots hold.
//!
//! Always: an area that is neither ours nor blank is written only if the options force it; whatever
//! the area holds, opening ends, in time bounded by the number of descriptor pages.

use super::BLOCK_BYTES;
use super::area::{Area, Found};
use super::boot::BootTrace;
use super::claim::{Claim, Mode};
use super::format::Page;
use super::geometry::{BLOB_PAGES, Copy2, Geometry, SlotSize};
use super::hint::Hints;
use super::hydrate::Hydrator;
use super::index::Index;
use super::refused::{Refused, Vacant};
use super::region::Cache;
use super::scan::Scan;
use super::stats::CacheStats;
use crate::num;
use crate::storage::events::Recorder;
use crate::storage::{DeviceId, Storage};
use crate::trace;
use alloc::boxed::Box;
use zerocopy::{FromZeros, IntoBytes};

/// When a region is formatted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum FormatPolicy {
    /// If the area is blank, or was a region whose superblocks are lost.
    #[default]
    Auto,
    /// Always, whatever is there.
    Force,
    /// Never.
    Never,
    /// As [`FormatPolicy::Auto`], and if there is no superblock at all: nobody but a region has
    /// written the area.
    Owned,
}

/// How to use a region.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CacheOptions {
    /// The disk that holds the region.
    pub device: DeviceId,
    /// First byte of the region on it; a multiple of 4096.
    pub start: u64,
    /// Length in bytes; `None` is the rest of the disk.
    pub bytes: Option<u64>,
    /// When to format.
    pub format: FormatPolicy,
    /// Size of slots when formatting; `None` is the smallest whose tables fit in memory.
    pub slot_size: Option<SlotSize>,
    /// Random bytes, never the same twice: identity of a new region, and nonce of this mount.
    pub entropy: [u8; 16],
    /// Memory for ranges on their way to the region, in bytes.
    pub pool_bytes: usize,
    /// Memory for descriptor pages, in bytes.
    pub pages_bytes: usize,
    /// Memory for the tables of slots and pages, in bytes. They grow with the region.
    pub tables_bytes: usize,
}

impl CacheOptions {
    /// Returns options for a region that is the whole of `device`, with defaults for a small guest.
    pub fn new(device: DeviceId, entropy: [u8; 16]) -> Self {
        Self {
            device,
            start: 0,
            bytes: None,
            format: FormatPolicy::Auto,
            slot_size: None,
            entropy,
            pool_bytes: 2 << 20,
            pages_bytes: 1 << 20,
            tables_bytes: 16 << 20,
        }
    }

    /// Returns the same options with another [`CacheOptions::start`].
    #[must_use]
    pub const fn with_start(self, start: u64) -> Self {
        Self { start, ..self }
    }

    /// Returns the same options with another [`CacheOptions::bytes`].
    #[must_use]
    pub const fn with_bytes(self, bytes: Option<u64>) -> Self {
        Self { bytes, ..self }
    }

    /// Returns the same options with another [`CacheOptions::format`].
    #[must_use]
    pub const fn with_format(self, format: FormatPolicy) -> Self {
        Self { format, ..self }
    }

    /// Returns the same options with another [`CacheOptions::slot_size`].
    #[must_use]
    pub const fn with_slot_size(self, slot_size: Option<SlotSize>) -> Self {
        Self { slot_size, ..self }
    }

    /// Returns the same options with another [`CacheOptions::entropy`].
    #[must_use]
    pub const fn with_entropy(self, entropy: [u8; 16]) -> Self {
        Self { entropy, ..self }
    }

    /// Returns the same options with another [`CacheOptions::pool_bytes`].
    #[must_use]
    pub const fn with_pool_bytes(self, pool_bytes: usize) -> Self {
        Self { pool_bytes, ..self }
    }

    /// Returns the same options with another [`CacheOptions::pages_bytes`].
    #[must_use]
    pub const fn with_pages_bytes(self, pages_bytes: usize) -> Self {
        Self { pages_bytes, ..self }
    }

    /// Returns the same options with another [`CacheOptions::tables_bytes`].
    #[must_use]
    pub const fn with_tables_bytes(self, tables_bytes: usize) -> Self {
        Self { tables_bytes, ..self }
    }
}

/// Bytes of one hydration buffer, and so of the longest write to the region.
const POOL_BUFFER_BYTES: usize = 256 << 10;

impl Cache {
    /// Opens the region, formatting it where `options` allow.
    pub fn open<S: Storage>(storage: &S, options: &CacheOptions) -> Result<Self, Refused> {
        let area = Area::at(storage, options.device, options.start, options.bytes)?;
        let read_only = storage.info(options.device).is_none_or(|info| info.read_only);
        let bytes = area.bytes;
        let (superblock, copy) = match area.superblocks(storage)? {
            Found::Valid(superblock, copy)
                if options.format != FormatPolicy::Force && !superblock.condemned =>
            {
                (superblock, copy)
            }
            found => {
                let highest = match found {
                    Found::Valid(superblock, _) => superblock.generation,
                    _ => 0,
                };
                let is_lost = matches!(found, Found::Nothing);
                let owned = options.format == FormatPolicy::Owned && is_lost;
                if options.format != FormatPolicy::Force && !owned {
                    let vacant = area.vacant(storage, &found)?;
                    if options.format == FormatPolicy::Never {
                        return Err(Refused::Unformatted(vacant));
                    }
                }
                if read_only {
                    return Err(Refused::ReadOnly);
                }
                (area.format(storage, options, highest)?, Copy2::B)
            }
        };
        // Tables in memory grow with the area, whatever the superblock says of sizes.
        if superblock.geometry.slots_at() > bytes {
            return Err(Refused::Shrunk { says: superblock.bytes, bytes });
        }
        let mode = if read_only {
            Mode::ReadOnly("its disk is read-only")
        } else if superblock.read_only {
            Mode::ReadOnly("a feature of it is not known")
        } else if superblock.bytes > bytes {
            Mode::ReadOnly("it is longer than its area: its disk has shrunk")
        } else {
            Mode::ReadWrite
        };
        fits(&superblock.geometry, options)?;
        let claim = Claim::new(superblock, copy, mode, &options.entropy);
        let mut cache = Self::with_tables(options, claim, area);
        cache.load_blobs(storage);
        cache.look_up_hint(storage);
        trace::info!(
            "region: {} slots of {} bytes",
            superblock.geometry.slots(),
            superblock.geometry.slot_size().bytes()
        );
        Ok(cache)
    }

    /// Returns the length in bytes of the area that `options` name.
    ///
    /// # Errors
    /// Why no region can lie there, whatever it holds.
    pub fn room<S: Storage>(storage: &S, options: &CacheOptions) -> Result<u64, Refused> {
        let area = Area::at(storage, options.device, options.start, options.bytes)?;
        Ok(area.bytes)
    }

    /// Returns what lets the area that `options` name be formatted without the user's word, as an
    /// encrypted region.
    ///
    /// # Errors
    /// Why it may not be: [`Refused::NotEncrypted`] if it is a region, else as [`Cache::open`].
    pub fn vacancy<S: Storage>(storage: &S, options: &CacheOptions) -> Result<Vacant, Refused> {
        let area = Area::at(storage, options.device, options.start, options.bytes)?;
        match area.superblocks(storage)? {
            Found::Valid(superblock, _) if !superblock.condemned => Err(Refused::NotEncrypted),
            found => area.vacant(storage, &found),
        }
    }

    fn with_tables(options: &CacheOptions, claim: Claim, area: Area) -> Self {
        let transfer_max = area.transfer_max;
        let superblock = claim.superblock();
        let geometry = superblock.geometry;
        // A fill may need the page of its slot while others are pinned: never fewer than four.
        let frames = (options.pages_bytes / BLOCK_BYTES).max(4).min(num::index(geometry.pages()));
        let buffer = POOL_BUFFER_BYTES.min(transfer_max);
        let buffers = options.pool_bytes.checked_div(buffer).map_or(2, |buffers| buffers.max(2));
        let index = Index::new(superblock, frames);
        let hydrator = Box::new(Hydrator::new(buffers, buffer, frames, geometry.slot_size()));
        Self {
            number: hydrator.user(),
            area,
            claim,
            index,
            hydrator,
            scan: Scan::new(geometry.pages(), transfer_max),
            hints: Hints::new(&geometry),
            boot: BootTrace::new(),
            stats: CacheStats::default(),
            recorder: Recorder::default(),
        }
    }

    fn load_blobs<S: Storage>(&mut self, storage: &S) {
        let [mut a, mut b] = [Page::zeroed(), Page::zeroed()];
        for page in 0..BLOB_PAGES {
            let places = Copy2::BOTH.map(|copy| self.area.byte(Geometry::blob_page_at(copy, page)));
            let read = self.read_twins(storage, places, a.as_mut_bytes(), b.as_mut_bytes());
            if read != [true; 2] {
                // What could not be read may be newer, and would be written over.
                self.claim.stop_writing("a page of its blob table cannot be read");
            }
            self.index.load_blobs(page, &mut a, &mut b);
            a.zero();
            b.zero();
        }
    }
}

/// Refuses a region whose tables do not fit in memory: no read may fail for it.
pub(super) fn fits(geometry: &Geometry, options: &CacheOptions) -> Result<(), Refused> {
    let need = Index::table_bytes(geometry);
    let have = num::wide(options.tables_bytes);
    if need > have { Err(Refused::TooLarge { need, have }) } else { Ok(()) }
}
