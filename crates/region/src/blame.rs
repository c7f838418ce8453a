//! Whether what was read of the region is right, and if not, whose fault that is.
//!
//! Always: a block is served only if its keyed checksum is right. A block is blamed only if its
//! bytes were compared with a check that has not changed since their read began, and differ; each
//! block once. What cannot be compared any more is nobody's fault, and read from its source.

use super::BlobIndex;
use super::region::Cache;
use super::ticket::{Spot, Ticket, Verdict};
use crate::storage::IoErrorKind;
use crate::trace;
use crate::units::RegionSlot;
use core::ops::Range;

impl Cache {
    /// Returns the ticket for a read of `blocks`, which lie side by side in the region from `first`
    /// on; `None` unless all of them are there.
    pub(super) fn issue(&self, first: Spot, blocks: Range<u64>) -> Option<Ticket> {
        if first.number != blocks.start {
            return None;
        }
        let blocks = usize::try_from(blocks.end.checked_sub(blocks.start)?).ok()?;
        let expected = self.index.expected(first, blocks)?;
        let (device, at) = self.place(first.slot, first.block);
        let (region, key) = (self.number, self.index.blob(first.blob)?.key);
        Some(Ticket { region, device, at, first, blocks, expected, key })
    }

    /// Judges what a read of the region brought, and gives up what is wrong or cannot be read. A
    /// ticket of another region is stale here.
    pub(super) fn judge(&mut self, ticket: &Ticket, read: Result<&[u8], IoErrorKind>) -> Verdict {
        match read {
            _ if ticket.region != self.number => {
                self.stats.stale_read();
                Verdict::Stale
            }
            Ok(data) if ticket.is_right(data) => Verdict::Right,
            Ok(data) => self.blame(ticket, data),
            Err(_) => self.unread(ticket),
        }
    }

    /// Returns whether the descriptors still say what they said when the ticket was issued.
    fn is_unchanged(&self, ticket: &Ticket) -> bool {
        self.index.expected(ticket.first, ticket.blocks) == Some(ticket.expected)
    }

    /// Gives up the slots whose bytes in `data`, which is not right, differ from their checks.
    fn blame(&mut self, ticket: &Ticket, data: &[u8]) -> Verdict {
        let Spot { blob, slot, .. } = ticket.first;
        let key = self.index.blob(blob).map(|entry| entry.key);
        let Some(key) = key.filter(|_| self.is_unchanged(ticket)) else {
            self.stats.stale_read();
            trace::debug!("region: a read of slot {} was overtaken", slot.get());
            return Verdict::Stale;
        };
        let mut rest = data;
        for part in self.index.parts(ticket.first, ticket.blocks) {
            let (here, after) = rest.split_at(part.bytes().min(rest.len()));
            if let Some(number) = self.index.first_wrong(&part, &key, here) {
                self.find_wrong(part.slot, (blob, number));
            }
            rest = after;
        }
        Verdict::Wrong
    }

    /// Notes that a block of a slot is wrong.
    fn find_wrong(&mut self, slot: RegionSlot, (blob, number): (BlobIndex, u64)) {
        self.stats.check_failed();
        trace::warn!("region: slot {}: block {} of its blob failed its check", slot.get(), number);
        self.claim.blame((blob, number));
        self.give_up(slot);
    }

    /// Gives up the slot of a read that failed.
    fn unread(&mut self, ticket: &Ticket) -> Verdict {
        self.stats.region_fault();
        trace::warn!("region: slot {} could not be read", ticket.first.slot.get());
        if self.is_unchanged(ticket) {
            self.give_up(ticket.first.slot);
        }
        Verdict::Unread
    }

    /// Gives up a slot, and the region if that is too often.
    fn give_up(&mut self, slot: RegionSlot) {
        self.index.evict(slot);
        self.claim.judge(self.stats.region_faults);
    }
}
