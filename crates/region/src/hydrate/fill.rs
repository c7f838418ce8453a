//! Taking in what was fetched: copied into buffers, checksummed, and noted as fills.
//!
//! Always: no I/O; what finds no buffer, slot or page in memory is dropped and counted.

use super::block::Fill;
use super::stage::DataWrite;
use crate::num;
use crate::region::{BlockPlace, Cache};
use crate::storage::Buffer;
use crate::units::RegionSlot;
use crate::{BLOCK_BYTES, BlobIndex};

impl Cache {
    /// Offers fetched bytes of `blob` to the region: `data` begins at block `first` and is whole
    /// blocks, but for the last block of a blob. What finds no buffer or slot is dropped and
    /// counted.
    #[expect(clippy::arithmetic_side_effects, reason = "blocks of a blob that was fetched")]
    pub(crate) fn take_in(&mut self, blob: BlobIndex, first: u64, data: &[u8]) {
        if !self.claim.writes() || self.index.blob(blob).is_none() {
            return;
        }
        self.hydrator.starved |= self.index.is_short();
        let mut first = first;
        let mut rest = data;
        while !rest.is_empty() {
            let Some(blocks) = self.fill_run(blob, first, rest) else {
                return self.stats.dropped(rest.len());
            };
            first += num::wide(blocks);
            rest = after(rest, blocks);
        }
    }

    /// As [`Cache::take_in`], without a copy of whole blocks where there is a place for the buffer:
    /// they are written from where they are.
    #[expect(clippy::arithmetic_side_effects, reason = "blocks of a blob that was fetched")]
    pub(crate) fn take_over(&mut self, blob: BlobIndex, first: u64, data: &Buffer) {
        let whole = data.len() / BLOCK_BYTES;
        let writable = self.claim.writes() && whole > 0 && self.index.blob(blob).is_some();
        let adopted = if writable { self.hydrator.stages.adopt(data.clone()) } else { None };
        let Some(buffer) = adopted else { return self.take_in(blob, first, data) };
        self.hydrator.starved |= self.index.is_short();
        let mut done: usize = 0;
        let (blocks, _) = data.as_chunks::<BLOCK_BYTES>();
        while let Some(rest) = blocks.get(done..).filter(|rest| !rest.is_empty()) {
            let number = first + num::wide(done);
            let taken = match self.known_blocks(blob, number, rest.len()) {
                0 => self.adopt_run(blob, number, rest, (buffer, done)),
                known => Some(known),
            };
            let Some(taken) = taken else { break };
            done += taken;
        }
        self.hydrator.stages.release(buffer);
        // The last block of a blob, or blocks for which there was no place without a copy.
        let rest = after(data, done);
        if !rest.is_empty() {
            self.take_in(blob, first + num::wide(done), rest);
        }
    }

    /// Begins one write of an adopted buffer, from its block `from` on. Returns how many blocks
    /// the write has.
    fn adopt_run(
        &mut self,
        blob: BlobIndex,
        first: u64,
        data: &[[u8; BLOCK_BYTES]],
        (buffer, from): (usize, usize),
    ) -> Option<usize> {
        let (at, fill) = self.fill_at(blob, first)?;
        let write = self.hydrator.stages.open_adopted((buffer, from), at, fill)?;
        let data = data.as_flattened();
        let most = data.len().min(self.area.transfer_max);
        self.fill_write(blob, first, data, write, most)
    }

    /// Puts a run of blocks that lie side by side in the region into one buffer, ready to be
    /// written: with a write that waits already, if the run follows it, or else with a new one.
    /// Returns how many blocks of `data` need nothing more; `None` if there is no room.
    fn fill_run(&mut self, blob: BlobIndex, first: u64, data: &[u8]) -> Option<usize> {
        let known = self.known_blocks(blob, first, data.len().div_ceil(BLOCK_BYTES));
        if known > 0 {
            return Some(known);
        }
        let (at, fill) = self.fill_at(blob, first)?;
        let write = self.hydrator.stages.open(at, fill)?;
        let room = self.hydrator.stages.room(write).map_or(0, |room| room.len());
        self.fill_write(blob, first, data, write, room)
    }

    /// Returns where in the region a block that is not there will lie, and a fill that begins
    /// there.
    fn fill_at(&self, blob: BlobIndex, number: u64) -> Option<(u64, Fill)> {
        let (key, block) = self.index.window(blob, number)?;
        let slot = self.index.slot_for(key)?;
        let first = self.hydrator.block(slot, block);
        let fill = Fill { first, blocks: 0, group: self.hydrator.group };
        Some((self.index.geometry().block_at(slot, block), fill))
    }

    /// Grows `write` by blocks of `data`, at most `room` bytes. Returns how many blocks; `None` if no
    /// block fits, and then no write is left.
    #[expect(clippy::arithmetic_side_effects, reason = "a part has no more than there is space")]
    fn fill_write(
        &mut self,
        blob: BlobIndex,
        first: u64,
        data: &[u8],
        write: usize,
        room: usize,
    ) -> Option<usize> {
        let (mut blocks, mut rest) = (0, data);
        let mut space = room / BLOCK_BYTES;
        loop {
            let number = first + num::wide(blocks);
            let Some(part) = self.next_part(blob, number, rest, write, space) else { break };
            if !self.take_part(blob, rest, &part, write) {
                break;
            }
            blocks += part.blocks;
            space -= part.blocks;
            rest = after(rest, part.blocks);
        }
        if self.hydrator.stages.get(write).is_some_and(|write| write.fill.blocks == 0) {
            self.hydrator.stages.close(write);
        }
        self.hydrator.group_bytes += num::wide(blocks) << 12;
        (blocks > 0).then_some(blocks)
    }

    /// Returns how many blocks from `first` on need no fill, being resident or under way.
    #[expect(clippy::arithmetic_side_effects, reason = "blocks of a blob that was fetched")]
    fn known_blocks(&self, blob: BlobIndex, first: u64, blocks: usize) -> usize {
        let mut known: usize = 0;
        while known < blocks {
            let (place, run) = self.find_block(blob, first + num::wide(known));
            if place == BlockPlace::Absent {
                break;
            }
            known += run;
        }
        known.min(blocks)
    }

    /// Returns the next blocks of `data`, which begins with block `number`, that can follow in
    /// `write`, which has `space` blocks left; `None` if the write ends here.
    fn next_part(
        &mut self,
        blob: BlobIndex,
        number: u64,
        data: &[u8],
        write: usize,
        space: usize,
    ) -> Option<Part> {
        let (fills, room) = self.hydrator.filled();
        if data.is_empty() || space == 0 || fills > room {
            return None;
        }
        let end = self.hydrator.stages.get(write)?.end();
        let (residence, absent) = self.find_block(blob, number);
        if residence != BlockPlace::Absent {
            return None;
        }
        let (key, block) = self.index.window(blob, number)?;
        let slot = self.index.slot_for(key)?;
        // A write continues only where the next slot lies after the last.
        if self.index.geometry().block_at(slot, block) != end || !self.index.is_described(slot) {
            return None;
        }
        self.index.open(key)?;
        let blocks = absent.min(space).min(data.len().div_ceil(BLOCK_BYTES));
        Some(Part { slot, block, blocks, number })
    }

    /// Takes the blocks of `part`, the first of `data`, into the write: sums them up and, unless they
    /// lie in its buffer, copies them there. Returns false if that cannot be.
    fn take_part(&mut self, blob: BlobIndex, data: &[u8], part: &Part, write: usize) -> bool {
        let Some(key) = self.index.blob(blob).map(|entry| entry.key) else { return false };
        let stages = &mut self.hydrator.stages;
        let Some(DataWrite { buffer, fill, .. }) = stages.get(write).copied() else {
            return false;
        };
        let Some(mut sums) = self.index.sums(part.slot) else { return false };
        let places = (part.number..).zip(part.block..).take(part.blocks);
        let blocks = data.chunks(BLOCK_BYTES).zip(places);
        if stages.is_adopted(buffer) {
            for (from, (number, block)) in blocks {
                sums.set(block, key.checksum(number, from));
            }
        } else {
            let Some(target) = stages.room(write) else { return false };
            let (targets, _) = target.as_chunks_mut();
            for ((from, (number, block)), to) in blocks.zip(targets) {
                sums.set(block, key.copy(number, from, to));
            }
        }
        // Blocks that follow others of the same slot are held with those.
        if fill.blocks == 0 || part.block == 0 {
            self.hydrator.parts.raise();
            self.index.hold(part.slot);
        }
        self.hydrator.stages.grow(write, part.blocks);
        true
    }
}

/// Returns what follows the first `blocks` blocks of `data`, the last of which may be short.
#[expect(clippy::arithmetic_side_effects, reason = "no more blocks than data has")]
fn after(data: &[u8], blocks: usize) -> &[u8] {
    let (_, rest) = data.split_at((blocks * BLOCK_BYTES).min(data.len()));
    rest
}

/// Blocks of one slot that go into a write.
struct Part {
    slot: RegionSlot,
    block: usize,
    blocks: usize,
    /// The number of the first block in the blob.
    number: u64,
}
