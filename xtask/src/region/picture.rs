//! What is resident, in few cells: bars of blobs and a map of slots.
//!
//! Always: an empty cell holds nothing, a full one everything that can lie there.

use rootlet::cache::inspect::{self, Blob, Holds, Region};

/// Cells from empty to full.
const SHADES: [char; 5] = ['·', '░', '▒', '▓', '█'];

/// How much of something is resident, in blocks of 4 KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    pub resident: u64,
    pub of: u64,
}

impl Share {
    /// From 0, nothing, to 4, everything.
    pub fn level(self) -> usize {
        match self {
            Self { resident: 0, .. } => 0,
            Self { resident, of } if resident >= of => 4,
            Self { resident, of } if resident * 3 >= of * 2 => 3,
            Self { resident, of } if resident * 3 >= of => 2,
            _ => 1,
        }
    }

    /// The cell of a bar.
    pub fn shade(self) -> char {
        SHADES[self.level()]
    }
}

/// The blob from its start to its end in at most `cells` cells of whole windows.
pub fn bar(region: &Region, blob: &Blob, cells: u64) -> Vec<Share> {
    let per_window = region.superblock.geometry.slot_size.blocks() as u64;
    let blocks = blob.entry.bytes.div_ceil(4096);
    let windows = blocks.div_ceil(per_window).max(1);
    let cells = cells.min(windows);
    let cell_of =
        |window: u64| (u128::from(window) * u128::from(cells) / u128::from(windows)) as usize;
    let mut bar = vec![Share::default(); cells as usize];
    for (cell, share) in (0u64..).zip(&mut bar) {
        // The cell holds the windows that `cell_of` gives to it.
        let first = (u128::from(cell) * u128::from(windows)).div_ceil(u128::from(cells)) as u64;
        let end = (u128::from(cell + 1) * u128::from(windows)).div_ceil(u128::from(cells)) as u64;
        share.of = (end * per_window).min(blocks) - (first * per_window).min(blocks);
    }
    for (window, resident) in region.windows(blob.index) {
        if let Some(share) = bar.get_mut(cell_of(window)).filter(|_| window < windows) {
            share.resident += u64::from(resident);
        }
    }
    bar
}

/// What lies in a cell of the map of slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    Free,
    /// Most of what is resident here is of this blob (its place in the region's list).
    Blob(usize, Share),
    /// Given up, but its tombstone is not written.
    Orphan,
    /// Not readable, or behind the end of the area.
    Lost,
}

/// All slots in order, in at most `cells` cells.
pub fn map(region: &Region, cells: usize) -> (usize, Vec<Cell>) {
    let per_cell = region.slots.len().div_ceil(cells.max(1)).max(1);
    let cell = |slots: &[inspect::Slot]| {
        let mut held = vec![0_u64; region.blobs.len()];
        for slot in slots.iter().filter(|slot| slot.holds == Holds::Window) {
            let blob = region.blobs.iter().position(|blob| blob.index.0 == slot.head.blob);
            if let Some(held) = blob.and_then(|blob| held.get_mut(blob)) {
                *held += u64::from(slot.resident_blocks).max(1);
            }
        }
        let of = (slots.len() * region.superblock.geometry.slot_size.blocks()) as u64;
        let resident = held.iter().sum();
        let most = (0..held.len()).max_by_key(|blob| (held[*blob], std::cmp::Reverse(*blob)));
        match most.filter(|blob| held[*blob] > 0) {
            Some(blob) => Cell::Blob(blob, Share { resident, of }),
            None if slots.iter().all(|slot| slot.holds == Holds::Free) => Cell::Free,
            None if slots
                .iter()
                .any(|slot| matches!(slot.holds, Holds::Unknown | Holds::Beyond)) =>
            {
                Cell::Lost
            }
            None => Cell::Orphan,
        }
    };
    (per_cell, region.slots.chunks(per_cell).map(cell).collect())
}

/// The sign of a blob in the map: its number in base 36, `+` above.
pub fn sign(blob: &Blob) -> char {
    char::from_digit(blob.index.0.into(), 36).unwrap_or('+')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_and_full_cells_hold_nothing_and_everything() {
        let shade = |resident, of| Share { resident, of }.shade();
        assert_eq!([shade(0, 16), shade(1, 16), shade(6, 16)], ['·', '░', '▒']);
        assert_eq!([shade(11, 16), shade(15, 16), shade(16, 16)], ['▓', '▓', '█']);
    }
}
