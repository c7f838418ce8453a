//! Taking in what was fetched: copied into buffers, checksummed, and noted as fills.
//!
//! Always: no I/O; what finds no buffer, slot or page in memory is dropped and counted.

use super::stage::DataWrite;
use super::{FILLS_MAX, Fill, FillState, offset};
use crate::cache::region::{Cache, Mode};
use crate::cache::slots::{SlotKey, SlotState};
use crate::cache::{BLOCK_BYTES, BlobIndex, Residence, descriptor};

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

    /// Puts a run of blocks that lie side by side in the region into one buffer, ready to be
    /// written: behind a write that waits already, if the run adjoins it, else a new one.
    /// Returns how many blocks of `data` are dealt with; `None` if there is no room.
    fn fill_run(&mut self, blob: BlobIndex, first: u64, data: &[u8]) -> Option<usize> {
        let known = self.known_blocks(blob, first, data.len().div_ceil(BLOCK_BYTES));
        if known > 0 {
            return Some(known);
        }
        let (key, block) = self.window(blob, first)?;
        let slot = self.slots.find(key).or_else(|| self.slots.first(SlotState::Free))?;
        let write = self.hydrator.stages.open(self.geometry.block_at(slot, block))?;
        let mut blocks: usize = 0;
        while let Some(part) = self.next_part(blob, first, data, write, blocks) {
            self.take_part(blob, first, data, &part, write);
            blocks = blocks.saturating_add(part.blocks);
        }
        let empty = self.hydrator.stages.get(write).is_some_and(|write| write.bytes == 0);
        if empty {
            self.hydrator.stages.close(write);
        }
        let added = blocks.saturating_mul(BLOCK_BYTES);
        self.hydrator.group_bytes = self.hydrator.group_bytes.saturating_add(offset(added));
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

    /// The next blocks that can follow in `write`, which holds `done` of `data`; `None` ends it.
    fn next_part(
        &mut self,
        blob: BlobIndex,
        first: u64,
        data: &[u8],
        write: usize,
        done: usize,
    ) -> Option<Part> {
        let left = data.len().checked_sub(done.checked_mul(BLOCK_BYTES)?)?;
        let space = self.hydrator.stages.room(write)?.len() / BLOCK_BYTES;
        let end = self.hydrator.stages.get(write)?.end();
        if left == 0 || space == 0 || self.hydrator.fills.len() >= FILLS_MAX {
            return None;
        }
        let number = first.checked_add(u64::try_from(done).ok()?)?;
        let (residence, absent) = self.find_block(blob, number);
        if residence != Residence::Absent {
            return None;
        }
        let (key, block) = self.window(blob, number)?;
        let held = self.slots.find(key);
        let slot = held.or_else(|| self.slots.first(SlotState::Free))?;
        let (page, _) = self.geometry.place(slot);
        let at = self.geometry.block_at(slot, block);
        // A write goes on only where the next slot lies behind it.
        if at != end || self.pages.get(page).is_none() {
            return None;
        }
        if held.is_none() {
            self.open_slot(key)?;
        }
        let blocks = absent.min(space).min(left.div_ceil(BLOCK_BYTES));
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

    /// Copies the blocks of `part` into the buffer, notes their checksums, and records the fill.
    fn take_part(&mut self, blob: BlobIndex, first: u64, data: &[u8], part: &Part, write: usize) {
        let Some(key) = self.blobs.get(blob).map(|entry| entry.key) else { return };
        let (page, index) = self.geometry.place(part.slot);
        let size = self.geometry.slot_size;
        let from = usize::try_from(part.number.saturating_sub(first)).unwrap_or(usize::MAX);
        let source = data.get(from.saturating_mul(BLOCK_BYTES)..).unwrap_or_default();
        let Some(DataWrite { buffer, offset, bytes, .. }) =
            self.hydrator.stages.get(write).copied()
        else {
            return;
        };
        let Some(target) = self.hydrator.stages.room(write) else { return };
        let Some(descriptors) = self.pages.get_mut(page) else { return };
        let numbered = (part.number..).zip(part.block..);
        let (blocks, _) = target.as_chunks_mut();
        let copied = source.chunks(BLOCK_BYTES).zip(blocks).take(part.blocks);
        for ((from, to), (number, block)) in copied.zip(numbered) {
            descriptor::set_sum(descriptors, size, index, block, key.copy(number, from, to));
        }
        self.slots.hold(part.slot);
        self.pages.pin(page);
        self.hydrator.fills.push(Fill {
            slot: part.slot,
            first: part.block,
            blocks: part.blocks,
            write,
            buffer,
            offset: offset.saturating_add(bytes),
            group: self.hydrator.group,
            state: FillState::Writing,
        });
        self.hydrator.stages.grow(write, part.blocks.saturating_mul(BLOCK_BYTES));
    }
}

/// Blocks of one slot that go into a write.
struct Part {
    slot: u32,
    block: usize,
    blocks: usize,
    /// Block number of the first in the blob.
    number: u64,
}
