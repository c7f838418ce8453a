//! Whether what was read of the region is right, and if not, whose fault that is.
//!
//! Always: a block is served only if its keyed checksum is right. A block is blamed only if its
//! bytes were compared with a check that has not changed since their read began, and differ; each
//! block once. What cannot be compared any more is nobody's fault, and read from its source.

use super::region::{BlockPlace, Cache};
use super::slots::SlotKey;
use super::ticket::{Expected, Ticket, Verdict};
use super::{BLOCK_BYTES, BlobIndex, descriptor};
use crate::num;
use crate::storage::IoErrorKind;
use crate::trace;
use crate::units::count;
use core::ops::Range;

/// Blocks of one slot.
struct Part {
    slot: u32,
    /// The first block in the slot and in the blob, and how many.
    block: usize,
    number: u64,
    blocks: usize,
}

impl Cache {
    /// Returns the ticket for a read of `blocks` of `blob`, which lie side by side in the region;
    /// `None` unless all of them are there.
    pub(super) fn issue(&self, blob: BlobIndex, blocks: Range<u64>) -> Option<Ticket> {
        let number = blocks.start;
        let (BlockPlace::Resident { slot, block }, _) = self.find_block(blob, number) else {
            return None;
        };
        let (device, at) = self.place(slot, block);
        let blocks = usize::try_from(blocks.end.checked_sub(number)?).ok()?;
        let none = Expected { sums: 0, generations: 0 };
        let ticket = Ticket { device, at, blob, number, blocks, slot, block, expected: none };
        Some(Ticket { expected: self.expected(&ticket)?, ..ticket })
    }

    /// Judges what a read of the region brought, and gives up what is wrong or cannot be read.
    pub(super) fn judge(&mut self, ticket: &Ticket, read: Result<&[u8], IoErrorKind>) -> Verdict {
        match read {
            Ok(data) if self.is_right(ticket, data) => Verdict::Right,
            Ok(data) => self.blame(ticket, data),
            Err(_) => self.unread(ticket),
        }
    }

    /// Returns the blocks of a ticket, slot by slot.
    fn parts(&self, ticket: &Ticket) -> impl Iterator<Item = Part> + use<> {
        let all = self.geometry.slot_size.blocks();
        let Ticket { mut slot, mut block, mut number, blocks: mut left, .. } = *ticket;
        core::iter::from_fn(move || {
            let blocks = all.checked_sub(block)?.min(left);
            let part = Part { slot, block, number, blocks };
            left = left.checked_sub(blocks)?;
            slot = slot.checked_add(1)?;
            number = number.checked_add(num::wide(blocks))?;
            block = 0;
            (blocks > 0).then_some(part)
        })
    }

    /// Returns what the descriptors of these blocks say now; `None` if one of them is not there any
    /// more, or its page is not in memory.
    fn expected(&self, ticket: &Ticket) -> Option<Expected> {
        let size = self.geometry.slot_size;
        let mut expected = Expected { sums: 0, generations: 0 };
        for part in self.parts(ticket) {
            let (key, block) = self.window(ticket.blob, part.number)?;
            let held: Option<SlotKey> = self.slots.key(part.slot);
            if held != Some(key) || block != part.block {
                return None;
            }
            let (page, index) = self.geometry.place(part.slot);
            let page = self.pages.get(page)?;
            let descriptor = descriptor::of(page, size, index);
            let generation = descriptor.head().slot_generation;
            expected.generations = fold_in(expected.generations, generation.into());
            let sums = descriptor.sums().skip(part.block).take(part.blocks);
            expected.sums = sums.fold(expected.sums, fold_in);
        }
        Some(expected)
    }

    /// Returns whether `data` is what the ticket was issued for.
    fn is_right(&self, ticket: &Ticket, data: &[u8]) -> bool {
        let Some(entry) = self.blobs.get(ticket.blob) else { return false };
        let blocks = data.chunks(BLOCK_BYTES);
        let sums = blocks.len() == ticket.blocks;
        let sum = |(number, data)| entry.key.checksum(number, data);
        sums && (ticket.number..).zip(blocks).map(sum).fold(0, fold_in) == ticket.expected.sums
    }

    /// Gives up the slots whose bytes in `data`, which is not right, differ from their checks.
    fn blame(&mut self, ticket: &Ticket, data: &[u8]) -> Verdict {
        let key = self.blobs.get(ticket.blob).map(|entry| entry.key);
        let unchanged = self.expected(ticket) == Some(ticket.expected);
        let Some(key) = key.filter(|_| unchanged) else {
            count(&mut self.stats.stale_reads, 1);
            trace::debug!("region: a read of slot {} was overtaken", ticket.slot);
            return Verdict::Stale;
        };
        let size = self.geometry.slot_size;
        let mut data = data.chunks(BLOCK_BYTES);
        for part in self.parts(ticket) {
            let (page, index) = self.geometry.place(part.slot);
            let Some(page) = self.pages.get(page) else { return Verdict::Wrong };
            let descriptor = descriptor::of(page, size, index);
            let sums = descriptor.sums().skip(part.block);
            let blocks = (part.number..).zip(sums).zip(data.by_ref().take(part.blocks));
            let mut wrong =
                blocks.filter(|((number, sum), data)| key.checksum(*number, data) != *sum);
            if let Some(((number, _), _)) = wrong.next() {
                wrong.for_each(drop);
                self.find_wrong(part.slot, (ticket.blob, number));
            }
        }
        Verdict::Wrong
    }

    /// Notes that a block of a slot is wrong.
    fn find_wrong(&mut self, slot: u32, (blob, number): (BlobIndex, u64)) {
        count(&mut self.stats.check_failures, 1);
        trace::warn!("region: slot {}: block {} of its blob failed its check", slot, number);
        self.claim.blame((blob, number));
        self.give_up(slot);
    }

    /// Gives up the slot of a read that failed.
    fn unread(&mut self, ticket: &Ticket) -> Verdict {
        self.stats.region_fault();
        trace::warn!("region: slot {} could not be read", ticket.slot);
        if self.expected(ticket) == Some(ticket.expected) {
            self.give_up(ticket.slot);
        }
        Verdict::Unread
    }

    fn give_up(&mut self, slot: u32) {
        self.slots.evict(slot);
        self.claim.judge(self.stats.region_faults);
    }
}

/// Folds the next of a row of checks in. Rows that differ in one check never end alike, and any
/// others do in one of 2^64.
fn fold_in(folded: u64, next: u64) -> u64 {
    (folded.rotate_left(23) ^ next).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::fold_in;

    #[test]
    fn rows_that_differ_in_one_check_or_in_order_end_differently() {
        let end = |row: [u64; 4]| row.into_iter().fold(0, fold_in);
        let row = [1, 2, 3, 4];
        for bit in 0..64 {
            for at in 0..4 {
                let mut other = row;
                if let Some(sum) = other.get_mut(at) {
                    *sum ^= 1 << bit;
                }
                assert_ne!(end(other), end(row), "bit {bit} of {at}");
            }
        }
        assert_ne!(end([2, 1, 3, 4]), end(row));
        assert_ne!(end([1, 2, 4, 3]), end(row));
    }
}
