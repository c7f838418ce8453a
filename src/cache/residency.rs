//! How much of something is resident, how to draw that in a cell, and what slots are noted as.
//!
//! Always: an empty cell holds nothing, a full one everything that can lie there.

use super::region::Cache;
use super::slots::SlotKey;
use super::{BlobIndex, descriptor};
use crate::storage::Storage;
use core::ops::Range;

/// Cells from empty to full.
const SHADES: [char; 5] = ['·', '░', '▒', '▓', '█'];

/// A part of a whole, in blocks of 4 KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Blocks that are resident.
    pub resident: u64,
    /// Blocks that there are.
    pub of: u64,
}

impl Share {
    /// From 0, nothing, over thirds to 4, everything.
    pub fn level(self) -> usize {
        let thirds = self.resident.saturating_mul(3);
        match self {
            Self { resident: 0, .. } => 0,
            Self { resident, of } if resident >= of => 4,
            Self { of, .. } if thirds >= of.saturating_mul(2) => 3,
            Self { of, .. } if thirds >= of => 2,
            _ => 1,
        }
    }

    /// A cell that is as full.
    pub fn shade(self) -> char {
        SHADES.get(self.level()).copied().unwrap_or(' ')
    }
}

/// A blob of `windows` windows, drawn in cells of whole windows.
#[derive(Clone, Copy, Debug)]
pub struct Cells {
    blocks: u64,
    windows: u64,
    per_window: u64,
    cells: u64,
}

impl Cells {
    /// A blob of `bytes` in at most `cells` cells, in slots of `slot_blocks` blocks.
    pub fn new(bytes: u64, slot_blocks: usize, cells: u64) -> Self {
        let per_window = u64::try_from(slot_blocks).unwrap_or(1).max(1);
        let blocks = bytes.div_ceil(4096);
        let windows = blocks.div_ceil(per_window).max(1);
        Self { blocks, windows, per_window, cells: cells.clamp(1, windows) }
    }

    /// How many cells there are.
    pub fn count(&self) -> u64 {
        self.cells
    }

    /// The windows of a cell.
    pub fn windows(&self, cell: u64) -> Range<u64> {
        let first = |cell: u64| {
            let windows = u128::from(cell).saturating_mul(self.windows.into());
            u64::try_from(windows.div_ceil(self.cells.into())).unwrap_or(u64::MAX)
        };
        first(cell)..first(cell.saturating_add(1))
    }

    /// The blocks that can lie in a cell.
    pub fn blocks(&self, cell: u64) -> u64 {
        let Range { start, end } = self.windows(cell);
        let at = |window: u64| window.saturating_mul(self.per_window).min(self.blocks);
        at(end).saturating_sub(at(start))
    }

    /// The cell of a window; `None` behind the blob's end.
    pub fn of(&self, window: u64) -> Option<u64> {
        let cell = u128::from(window).saturating_mul(self.cells.into());
        let cell = cell.checked_div(self.windows.into())?;
        u64::try_from(cell).ok().filter(|cell| *cell < self.cells)
    }
}

impl Cache {
    /// Writes queue, frequency and boot set of all slots into the pages that are to be written for
    /// something else: hits change them too, and cost no write of their own.
    pub(super) fn note_classes(&mut self) {
        let (geometry, slots) = (&self.geometry, &self.slots);
        self.pages.each_dirty(|page, raw| {
            for (slot, index) in geometry.slots_of(page).zip(0u32..) {
                let size = geometry.slot_size;
                if slots.key(slot).is_some() && descriptor::head(raw, size, index).live {
                    descriptor::set_class(raw, size, index, slots.class(slot));
                }
            }
        });
    }

    /// Number of slots of the boot set, which are not given up.
    pub fn pinned(&self) -> u32 {
        self.slots.pinned()
    }

    /// Blocks of these windows of a blob that are resident.
    pub fn resident_in<S: Storage>(
        &mut self,
        storage: &mut S,
        blob: BlobIndex,
        windows: Range<u64>,
    ) -> u64 {
        let size = self.geometry.slot_size;
        let mut blocks: u64 = 0;
        for window in windows {
            let Ok(window) = u32::try_from(window) else { break };
            let Some(slot) = self.slots.find(SlotKey { blob, window }) else { continue };
            let (page, index) = self.geometry.place(slot);
            if self.load_page(storage, page)
                && let Some(raw) = self.pages.get(page)
            {
                let count = descriptor::resident_count(raw, size, index);
                blocks = blocks.saturating_add(count.into());
            }
        }
        blocks
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, reason = "test code")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn empty_and_full_cells_hold_nothing_and_everything() {
        let shade = |resident, of| Share { resident, of }.shade();
        assert_eq!([shade(0, 16), shade(1, 16), shade(6, 16)], ['·', '░', '▒']);
        assert_eq!([shade(11, 16), shade(15, 16), shade(16, 16)], ['▓', '▓', '█']);
    }

    proptest! {
        #[test]
        fn cells_hold_each_window_once_and_all_blocks(bytes in 0u64..1 << 34, wanted in 1u64..300) {
            let cells = Cells::new(bytes, 256, wanted);
            prop_assert!(cells.count() <= wanted);
            let mut next = 0;
            for cell in 0..cells.count() {
                let windows = cells.windows(cell);
                prop_assert!(windows.start == next && windows.end > next);
                prop_assert_eq!(cells.of(windows.start), Some(cell));
                prop_assert_eq!(cells.of(windows.end - 1), Some(cell));
                next = windows.end;
            }
            prop_assert_eq!(cells.of(next), None);
            let blocks: u64 = (0..cells.count()).map(|cell| cells.blocks(cell)).sum();
            prop_assert_eq!(blocks, bytes.div_ceil(4096));
        }
    }
}
