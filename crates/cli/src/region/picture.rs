//! What is resident, in few cells: bars of blobs and a map of slots.
//!
//! Always: an empty cell holds nothing, a full one everything that can lie there.

use rootlet::cache::inspect::{self, Blob, Holds, Region};
use rootlet::cache::{Cells, Share};

/// Returns the blob from its start to its end in at most `cells` cells of whole windows.
pub fn bar(region: &Region, blob: &Blob, cells: u64) -> Vec<Share> {
    let cells =
        Cells::new(blob.entry.bytes, region.superblock.geometry.slot_size().blocks(), cells);
    let mut bar: Vec<_> =
        (0..cells.count()).map(|cell| Share { resident: 0, of: cells.blocks(cell) }).collect();
    for (window, resident) in region.windows(blob.index) {
        if let Some(cell) = cells.of(window) {
            bar[cell as usize].resident += u64::from(resident);
        }
    }
    bar
}

/// What lies in a cell of the map of slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    Free,
    /// This blob (its place in the list of the region) has the most resident blocks of the cell.
    Blob(usize, Share),
    /// Given up, but its tombstone is not written.
    Orphan,
    /// Unreadable, or beyond the end of the area.
    Lost,
}

/// Returns all slots in order, in at most `cells` cells.
pub fn map(region: &Region, cells: usize) -> (usize, Vec<Cell>) {
    let per_cell = region.slots.len().div_ceil(cells.max(1)).max(1);
    let cell = |slots: &[inspect::Slot]| {
        let mut held = vec![0_u64; region.blobs.len()];
        for slot in slots.iter().filter(|slot| slot.holds == Holds::Window) {
            let blob = region.blobs.iter().position(|blob| blob.index.get() == slot.head.blob);
            if let Some(held) = blob.and_then(|blob| held.get_mut(blob)) {
                *held += u64::from(slot.resident_blocks).max(1);
            }
        }
        let of = (slots.len() * region.superblock.geometry.slot_size().blocks()) as u64;
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

/// Returns the sign of a blob in the map: its number in base 36, `+` above.
pub fn sign(blob: &Blob) -> char {
    char::from_digit(blob.index.get().into(), 36).unwrap_or('+')
}
