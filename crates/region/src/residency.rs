//! How much of something is resident, and how to draw that in a cell.
//!
//! Always: an empty cell holds nothing, a full one everything that can lie there.

use super::BlobIndex;
use super::region::Cache;
use super::slots::SlotKey;
use crate::num;
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
    /// Returns how full it is, from 0 to 4: empty, in its first, second or third third, or full.
    #[expect(clippy::arithmetic_side_effects, reason = "thrice 64 bits")]
    pub fn level(self) -> usize {
        let (resident, of) = (u128::from(self.resident), u128::from(self.of));
        match 3 * resident {
            0 => 0,
            _ if resident >= of => 4,
            thirds if thirds >= 2 * of => 3,
            thirds if thirds >= of => 2,
            _ => 1,
        }
    }

    /// Returns a cell that is as full.
    #[expect(clippy::indexing_slicing, reason = "a shade for each level")]
    pub fn shade(self) -> char {
        SHADES[self.level()]
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

#[expect(clippy::arithmetic_side_effects, reason = "products of 64 bits in 128")]
impl Cells {
    /// Returns a blob of `bytes` in at most `cells` cells, in slots of `slot_blocks` blocks.
    pub fn new(bytes: u64, slot_blocks: usize, cells: u64) -> Self {
        let per_window = num::wide(slot_blocks).max(1);
        let blocks = bytes.div_ceil(4096);
        let windows = blocks.div_ceil(per_window).max(1);
        Self { blocks, windows, per_window, cells: cells.clamp(1, windows) }
    }

    /// Returns how many cells there are.
    pub fn count(&self) -> u64 {
        self.cells
    }

    /// Returns the windows of a cell.
    pub fn windows(&self, cell: u64) -> Range<u64> {
        let first =
            |cell: u128| num::low64((cell * u128::from(self.windows)).div_ceil(self.cells.into()));
        let cell = u128::from(cell.min(self.cells));
        first(cell)..first((cell + 1).min(self.cells.into()))
    }

    /// Returns the blocks that can lie in a cell.
    pub fn blocks(&self, cell: u64) -> u64 {
        let Range { start, end } = self.windows(cell);
        let at = |window: u64| {
            let block = u128::from(window) * u128::from(self.per_window);
            num::low64(block.min(self.blocks.into()))
        };
        at(end) - at(start)
    }

    /// Returns the cell of a window; `None` after the blob's end.
    pub fn of(&self, window: u64) -> Option<u64> {
        let cell = u128::from(window) * u128::from(self.cells) / u128::from(self.windows);
        (cell < self.cells.into()).then(|| num::low64(cell))
    }
}

impl Cache {
    /// Returns how many blocks of these windows of a blob are resident.
    #[expect(clippy::arithmetic_side_effects, reason = "no more than the region has")]
    pub fn resident_in<S: Storage>(
        &mut self,
        storage: &S,
        blob: BlobIndex,
        windows: Range<u64>,
    ) -> u64 {
        let mut blocks = 0;
        for window in windows {
            let Ok(window) = u32::try_from(window) else { break };
            let key = SlotKey { blob, window };
            let Some(slot) = self.index.find(key) else { continue };
            let (page, _) = self.index.geometry().place(slot);
            if self.load_page(storage, page)
                && let Some((_, resident)) = self.index.resident(key)
            {
                blocks += u64::from(resident.count());
            }
        }
        blocks
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::arithmetic_side_effects, reason = "test code")]
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
