//! Taking in what was fetched: copied into buffers, checksummed, and noted as fills.
//!
//! Always: no I/O; what finds no buffer, slot or page in memory is dropped and counted.

use super::stage::DataWrite;
use super::{Fill, offset};
use crate::cache::region::{Cache, Mode};
use crate::cache::slots::{SlotKey, SlotState};
use crate::cache::{BLOCK_BYTES, BlobIndex, Residence, descriptor};
use crate::storage::Buffer;

impl Cache {
    /// Offers fetched bytes of `blob` to the region: `data` begins at block `first` and is whole
    /// blocks, but for the last block of a blob. What finds no buffer or slot is dropped and
    /// counted.
    pub(in crate::cache) fn take_in(&mut self, blob: BlobIndex, first: u64, data: &[u8]) {
        if self.mode != Mode::ReadWrite || self.blobs.get(blob).is_none() {
            return;
        }
        self.hydrator.starved |= self.slots.count(SlotState::Free) < self.low_water();
        let mut first = first;
        let mut rest = data;
        while !rest.is_empty() {
            let Some(blocks) = self.fill_run(blob, first, rest) else {
                let dropped = u64::try_from(rest.len()).unwrap_or(0);
                self.stats.dropped_bytes = self.stats.dropped_bytes.saturating_add(dropped);
                return;
            };
            first = first.saturating_add(u64::try_from(blocks).unwrap_or(u64::MAX));
            rest = rest.get(blocks.saturating_mul(BLOCK_BYTES)..).unwrap_or_default();
        }
    }

    /// As [`Cache::take_in`], of whole blocks and without a copy where there is a place for the
    /// buffer: it is written from where it is.
    pub(in crate::cache) fn take_over(&mut self, blob: BlobIndex, first: u64, data: &Buffer) {
        let whole = data.len() & !BLOCK_BYTES.wrapping_sub(1);
        let writable = self.mode == Mode::ReadWrite && whole > 0 && self.blobs.get(blob).is_some();
        let adopted = if writable { self.hydrator.stages.adopt(data.clone()) } else { None };
        let Some(buffer) = adopted else { return self.take_in(blob, first, data) };
        self.hydrator.starved |= self.slots.count(SlotState::Free) < self.low_water();
        let mut done: usize = 0;
        while done < whole {
            let (number, rest) = (advance(first, done), data.get(done..whole).unwrap_or_default());
            let known = self.known_blocks(blob, number, rest.len() / BLOCK_BYTES);
            let blocks = match known {
                0 => self.adopt_run(blob, number, rest, (buffer, done)),
                known => Some(known),
            };
            let Some(blocks) = blocks else { break };
            done = done.saturating_add(blocks.saturating_mul(BLOCK_BYTES));
        }
        self.hydrator.stages.release(buffer);
        // The last block of a blob, or what found no place as it is.
        if let Some(rest) = data.get(done..).filter(|rest| !rest.is_empty()) {
            self.take_in(blob, advance(first, done), rest);
        }
    }

    /// One write of an adopted buffer, from byte `from` of it on. Returns how many blocks it has.
    fn adopt_run(
        &mut self,
        blob: BlobIndex,
        first: u64,
        data: &[u8],
        (buffer, from): (usize, usize),
    ) -> Option<usize> {
        let (at, fill) = self.fill_at(blob, first)?;
        let write = self.hydrator.stages.open_adopted((buffer, from), at, fill)?;
        let most = usize::try_from(self.transfer_bytes_max).unwrap_or(usize::MAX);
        self.fill_write(blob, first, data, write, data.len().min(most))
    }

    /// Puts a run of blocks that lie side by side in the region into one buffer, ready to be
    /// written: behind a write that waits already, if the run adjoins it, else a new one.
    /// Returns how many blocks of `data` are dealt with; `None` if there is no room.
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

    /// Where in the region a block that is not there will lie, and a fill that begins there.
    fn fill_at(&self, blob: BlobIndex, number: u64) -> Option<(u64, Fill)> {
        let (key, block) = self.window(blob, number)?;
        let slot = self.slots.find(key).or_else(|| self.slots.first(SlotState::Free))?;
        let first = self.hydrator.number(slot, block);
        let fill = Fill { first, blocks: 0, group: self.hydrator.group };
        Some((self.geometry.block_at(slot, block), fill))
    }

    /// Grows `write` by blocks of `data`, at most `room` bytes. Returns how many; `None`, and no
    /// write is left, if there are none.
    fn fill_write(
        &mut self,
        blob: BlobIndex,
        first: u64,
        data: &[u8],
        write: usize,
        room: usize,
    ) -> Option<usize> {
        let mut blocks: usize = 0;
        let bytes = |blocks: usize| blocks.saturating_mul(BLOCK_BYTES);
        loop {
            let rest = data.get(bytes(blocks)..).unwrap_or_default();
            let number = advance(first, bytes(blocks));
            let space = room.saturating_sub(bytes(blocks));
            let Some(part) = self.next_part(blob, number, rest, write, space) else { break };
            if !self.take_part(blob, rest, &part, write) {
                break;
            }
            blocks = blocks.saturating_add(part.blocks);
        }
        if self.hydrator.stages.get(write).is_some_and(|write| write.fill.blocks == 0) {
            self.hydrator.stages.close(write);
        }
        let added = offset(bytes(blocks));
        self.hydrator.group_bytes = self.hydrator.group_bytes.saturating_add(added);
        (blocks > 0).then_some(blocks)
    }

    /// How many blocks from `first` on need no fill, being resident or under way.
    fn known_blocks(&self, blob: BlobIndex, first: u64, blocks: usize) -> usize {
        let mut known: usize = 0;
        while known < blocks {
            let at = first.saturating_add(u64::try_from(known).unwrap_or(u64::MAX));
            let (residence, run) = self.find_block(blob, at);
            if residence == Residence::Absent {
                break;
            }
            known = known.saturating_add(run);
        }
        known.min(blocks)
    }

    /// The next blocks, of `data` from block `number` on, that can follow in `write`, which has
    /// `space` bytes left; `None` ends it.
    fn next_part(
        &mut self,
        blob: BlobIndex,
        number: u64,
        data: &[u8],
        write: usize,
        space: usize,
    ) -> Option<Part> {
        let space = space / BLOCK_BYTES;
        let (fills, room) = self.hydrator.filled();
        if data.is_empty() || space == 0 || fills > room {
            return None;
        }
        let end = self.hydrator.stages.get(write)?.end();
        let (residence, absent) = self.find_block(blob, number);
        if residence != Residence::Absent {
            return None;
        }
        let (key, block) = self.window(blob, number)?;
        let held = self.slots.find(key);
        let slot = held.or_else(|| self.slots.first(SlotState::Free))?;
        let (page, _) = self.geometry.place(slot);
        // A write goes on only where the next slot lies behind it.
        if self.geometry.block_at(slot, block) != end || self.pages.get(page).is_none() {
            return None;
        }
        if held.is_none() {
            self.open_slot(key)?;
        }
        let blocks = absent.min(space).min(data.len().div_ceil(BLOCK_BYTES));
        Some(Part { slot, block, blocks, number })
    }

    /// Takes the first free slot for `key` and writes the head of its descriptor, without any
    /// bit. Its page is in memory.
    fn open_slot(&mut self, key: SlotKey) -> Option<()> {
        let slot = self.slots.take(key)?;
        let head = self.head_of(slot)?;
        let (page, index) = self.geometry.place(slot);
        descriptor::set_head(
            self.pages.get_mut(page)?,
            self.geometry.slot_size,
            index,
            &head,
            true,
        );
        Some(())
    }

    /// The head of a live slot's descriptor, with the next generation of the slot.
    pub(super) fn head_of(&self, slot: u32) -> Option<descriptor::Head> {
        let key = self.slots.key(slot)?;
        let (page, index) = self.geometry.place(slot);
        let old = descriptor::head(self.pages.get(page)?, self.geometry.slot_size, index);
        Some(descriptor::Head {
            blob: key.blob.0,
            live: true,
            class: self.slots.class(slot),
            slot_generation: old.slot_generation.wrapping_add(1),
            blob_generation: self.blobs.get(key.blob)?.generation,
            window: u64::from(key.window),
        })
    }

    /// Takes the blocks of `part`, the first of `data`, into the write: copied into its buffer
    /// unless they lie there, and summed up. False if that cannot be.
    fn take_part(&mut self, blob: BlobIndex, data: &[u8], part: &Part, write: usize) -> bool {
        let Some(key) = self.blobs.get(blob).map(|entry| entry.key) else { return false };
        let (page, index) = self.geometry.place(part.slot);
        let size = self.geometry.slot_size;
        let stages = &mut self.hydrator.stages;
        let Some(DataWrite { buffer, fill, .. }) = stages.get(write).copied() else {
            return false;
        };
        let Some(descriptors) = self.pages.get_mut(page) else { return false };
        let places = (part.number..).zip(part.block..).take(part.blocks);
        let blocks = data.chunks(BLOCK_BYTES).zip(places);
        if stages.is_adopted(buffer) {
            for (from, (number, block)) in blocks {
                descriptor::set_sum(descriptors, size, index, block, key.checksum(number, from));
            }
        } else {
            let Some(target) = stages.room(write) else { return false };
            let (targets, _) = target.as_chunks_mut();
            for ((from, (number, block)), to) in blocks.zip(targets) {
                descriptor::set_sum(descriptors, size, index, block, key.copy(number, from, to));
            }
        }
        // What goes on in the slot of the block before is held with it.
        if fill.blocks == 0 || part.block == 0 {
            self.hydrator.parts = self.hydrator.parts.saturating_add(1);
            self.slots.hold(part.slot);
            self.pages.pin(page);
        }
        self.hydrator.stages.grow(write, part.blocks);
        true
    }
}

/// The block `bytes` behind block `first`.
fn advance(first: u64, bytes: usize) -> u64 {
    first.saturating_add(u64::try_from(bytes / BLOCK_BYTES).unwrap_or(u64::MAX))
}

/// Blocks of one slot that go into a write.
struct Part {
    slot: u32,
    block: usize,
    blocks: usize,
    /// Block number of the first in the blob.
    number: u64,
}
