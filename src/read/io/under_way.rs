//! The demand reads of sources that are under way, so that a reader that misses the same bytes waits
//! for them.
//!
//! Always: bounded; a read that finds no place here is under way all the same, and nobody waits for it.
//! Nobody waits for a read while a read of its own is under way.

use crate::units::{ByteRange, DeviceSlot};

/// The most pieces of reads that are known.
const PIECES_MAX: usize = 64;

/// A piece of a source that a reader waits for.
#[derive(Debug)]
struct Piece {
    batch: u64,
    slot: DeviceSlot,
    cover: ByteRange,
}

/// The pieces that readers wait for, each with the number of its batch.
#[derive(Debug, Default)]
pub struct UnderWay {
    pieces: heapless::Vec<Piece, PIECES_MAX>,
    /// The batches that were begun.
    batches: u64,
}

impl UnderWay {
    /// Begins a batch of these pieces, and returns its number.
    pub fn begin(&mut self, pieces: impl Iterator<Item = (DeviceSlot, ByteRange)>) -> u64 {
        // No mount begins 2^64 batches.
        self.batches = self.batches.wrapping_add(1);
        let batch = self.batches;
        for (slot, cover) in pieces {
            if self.pieces.push(Piece { batch, slot, cover }).is_err() {
                break;
            }
        }
        batch
    }

    /// Ends a batch, whose bytes were offered to the layer.
    pub fn end(&mut self, batch: u64) {
        self.pieces.retain(|piece| piece.batch != batch);
    }

    /// Returns the number of the batch that was begun last.
    pub fn last(&self) -> u64 {
        self.batches
    }

    /// Returns whether a batch with at most the number `last` brings some of the bytes `range` of a
    /// device slot.
    pub fn overlaps(&self, slot: DeviceSlot, range: ByteRange, last: u64) -> bool {
        let brings = |piece: &Piece| {
            piece.slot == slot && piece.batch <= last && piece.cover.overlaps(range)
        };
        self.pieces.iter().any(brings)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that panics has failed")]
    use super::*;

    fn bytes(start: u64) -> ByteRange {
        ByteRange::sized(start, 4096).unwrap()
    }

    #[test]
    fn reader_waits_for_earlier_batches_that_overlap_and_for_no_other() {
        let (slot, mut all) = (DeviceSlot::new(1), UnderWay::default());
        let first = all.begin([(slot, bytes(0)), (slot, bytes(8192))].into_iter());
        let last = all.last();
        let second = all.begin([(slot, bytes(4096))].into_iter());
        assert!(all.overlaps(slot, bytes(100), last) && all.overlaps(slot, bytes(8000), last));
        assert!(!all.overlaps(slot, bytes(4096), last), "begun later");
        assert!(all.overlaps(slot, bytes(4096), all.last()));
        assert!(!all.overlaps(DeviceSlot::new(2), bytes(0), all.last()), "another slot");
        all.end(first);
        assert!(!all.overlaps(slot, bytes(0), all.last()));
        all.end(second);
        assert!(!all.overlaps(slot, bytes(4096), all.last()));
    }

    #[test]
    fn pieces_without_a_place_are_left_out() {
        let (slot, mut all) = (DeviceSlot::new(1), UnderWay::default());
        let many = (0..100_u64).map(|number| (slot, bytes(number << 12)));
        let batch = all.begin(many);
        assert!(all.overlaps(slot, bytes(63 << 12), batch));
        assert!(!all.overlaps(slot, bytes(64 << 12), batch));
        all.end(batch);
        assert_eq!(all.pieces.len(), 0);
    }
}
