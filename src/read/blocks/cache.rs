//! The cache of blocks in memory: blocks that were read lately and may be read again.
//!
//! Always: the number of frames is bounded; a frame is allocated at its first use, the tables with
//! the first frame; the bytes of a block are returned as they were put in.

use crate::cache::BLOCK_BYTES;
use crate::evict::{Hold, Links, Policy, S3Fifo};
use crate::num;
use crate::units::DeviceSlot;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// The end of a chain.
const NONE: u32 = u32::MAX;
/// The most frames: 8 TiB.
const FRAMES_MAX: u64 = 1 << 31;
/// The fewest frames that are worth a search.
const FRAMES_MIN: usize = 8;

/// A block of a device slot; the number counts blocks of 4 KiB from the slot's start.
pub type BlockId = (DeviceSlot, u64);

#[derive(Debug)]
struct Frame {
    id: BlockId,
    /// Whether the block was read ahead and not asked for yet: the first `get` is then its first
    /// use, not its second.
    ahead: bool,
    /// The next frame with the same hash.
    next: u32,
    bytes: Box<[u8; BLOCK_BYTES]>,
}

/// The frames, and the tables that find a block's frame.
#[derive(Debug)]
pub struct BlockCache {
    frames_max: u32,
    frames: Vec<Frame>,
    /// `None` until the first block is put in.
    tables: Option<Tables>,
}

/// The hash table and the eviction policy over all frames.
#[derive(Debug)]
struct Tables {
    /// The first frame of each chain; their number is a power of two.
    heads: Box<[u32]>,
    links: Links,
    policy: S3Fifo,
}

impl Tables {
    fn new(frames: u32) -> Self {
        let heads = alloc::vec![NONE; num::index(frames.next_power_of_two())];
        Self {
            heads: heads.into_boxed_slice(),
            links: Links::new(frames),
            policy: S3Fifo::new(frames),
        }
    }

    /// Returns the bytes of the tables for `frames` frames, without the frames themselves.
    #[expect(clippy::arithmetic_side_effects, reason = "less than the blocks, which are counted")]
    const fn bytes(frames: u32) -> usize {
        let heads = num::index(frames).next_power_of_two() * size_of::<u32>();
        num::index(frames) * (Links::BYTES + S3Fifo::BYTES) + heads
    }

    #[expect(clippy::indexing_slicing, reason = "the mask leaves a number below theirs")]
    fn head(&mut self, hash: u64) -> &mut u32 {
        let mask = num::wide(self.heads.len()).wrapping_sub(1);
        &mut self.heads[num::clip(hash & mask, usize::MAX)]
    }
}

impl BlockCache {
    /// Returns a cache for `bytes` bytes of blocks; one that keeps nothing if `bytes` is less than
    /// eight blocks. Allocates nothing.
    pub fn new(bytes: usize) -> Self {
        let frames = num::wide(if Self::keeps(bytes) { bytes / BLOCK_BYTES } else { 0 });
        let frames_max = num::low32(frames.min(FRAMES_MAX));
        Self { frames_max, frames: Vec::new(), tables: None }
    }

    /// Returns whether a budget of `bytes` is enough to keep anything: eight blocks.
    pub fn keeps(bytes: usize) -> bool {
        bytes / BLOCK_BYTES >= FRAMES_MIN
    }

    /// Returns the bytes that the cache may still allocate.
    #[expect(clippy::arithmetic_side_effects, reason = "`new` was given the bytes of all blocks")]
    pub fn reserve_bytes(&self) -> usize {
        let frames_max = num::index(self.frames_max);
        let left = (frames_max - self.frames.len()) * BLOCK_BYTES;
        if !self.is_on() || self.tables.is_some() {
            return left;
        }
        left + frames_max * size_of::<Frame>() + Tables::bytes(self.frames_max)
    }

    /// Returns the most bytes of blocks to read ahead: further unused blocks would push each other
    /// out.
    #[expect(clippy::arithmetic_side_effects, reason = "a part of what `new` was given")]
    pub fn small_bytes(&self) -> usize {
        num::index(S3Fifo::small_max(self.frames_max)) * BLOCK_BYTES
    }

    /// Returns the bytes of all blocks that the cache can keep.
    pub fn bytes(&self) -> u64 {
        u64::from(self.frames_max) << BLOCK_BYTES.trailing_zeros()
    }

    /// Returns whether the cache keeps anything at all.
    pub fn is_on(&self) -> bool {
        self.frames_max > 0
    }

    /// Returns the bytes of a block if the cache has it, and counts a use of the block.
    pub fn get(&mut self, id: BlockId) -> Option<&[u8]> {
        let at = self.find(id)?;
        let frame = self.frames.get_mut(num::index(at))?;
        if !core::mem::take(&mut frame.ahead) {
            let tables = self.tables.as_mut()?;
            tables.policy.touch(&mut tables.links, at);
        }
        Some(&*frame.bytes)
    }

    /// Returns whether the cache has a block. Counts no use.
    pub fn has(&self, id: BlockId) -> bool {
        self.find(id).is_some()
    }

    /// Keeps a block that the cache does not have, in place of a less used one. `ahead` says that
    /// nobody has asked for the block yet. Ignores `bytes` that are not a whole block.
    pub fn put(&mut self, id: BlockId, bytes: &[u8], ahead: bool) {
        let Ok(bytes) = bytes.try_into() else { return };
        if self.is_on() && !self.has(id) {
            self.keep(id, bytes, ahead);
        }
    }

    fn keep(&mut self, id: BlockId, bytes: &[u8; BLOCK_BYTES], ahead: bool) {
        let frames_max = self.frames_max;
        let tables = self.tables.get_or_insert_with(|| {
            self.frames.reserve_exact(num::index(frames_max));
            Tables::new(frames_max)
        });
        let hash = hash(id);
        let at = match num::low32(num::wide(self.frames.len())) {
            at if at < frames_max => {
                self.frames.push(Frame { id, ahead, next: NONE, bytes: Box::new(*bytes) });
                at
            }
            _ => {
                let Some(at) = tables.policy.victim(&mut tables.links, |_| Hold::None) else {
                    return;
                };
                let old = tables.unchain(&mut self.frames, at);
                tables.policy.evict(&mut tables.links, at, old);
                let frame = frame_mut(&mut self.frames, at);
                frame.bytes.copy_from_slice(bytes);
                (frame.id, frame.ahead) = (id, ahead);
                at
            }
        };
        frame_mut(&mut self.frames, at).next = core::mem::replace(tables.head(hash), at);
        tables.policy.admit(&mut tables.links, at, hash);
    }

    fn find(&self, id: BlockId) -> Option<u32> {
        let heads = &self.tables.as_ref()?.heads;
        let mask = num::wide(heads.len()).wrapping_sub(1);
        let mut at = *heads.get(num::clip(hash(id) & mask, usize::MAX))?;
        // NONE, the end of a chain, is never a frame's index.
        while let Some(frame) = self.frames.get(num::index(at)) {
            if frame.id == id {
                return Some(at);
            }
            at = frame.next;
        }
        None
    }
}

impl Tables {
    /// Removes frame `at` from its chain, and returns the hash of its block.
    fn unchain(&mut self, frames: &mut [Frame], at: u32) -> u64 {
        let Frame { id, next: after, .. } = *frame_mut(frames, at);
        let hash = hash(id);
        let head = self.head(hash);
        if *head == at {
            *head = after;
            return hash;
        }
        let mut before = *head;
        while frame_mut(frames, before).next != at {
            before = frame_mut(frames, before).next;
        }
        frame_mut(frames, before).next = after;
        hash
    }
}

#[expect(clippy::indexing_slicing, reason = "an index without a frame is our own bug")]
fn frame_mut(frames: &mut [Frame], at: u32) -> &mut Frame {
    &mut frames[num::index(at)]
}

/// Returns the hash of a block: its lower bits choose the chain, its upper bits tell the blocks of
/// a chain apart.
fn hash((slot, block): BlockId) -> u64 {
    let mixed = (block ^ (u64::from(slot.get()) << 48)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 32)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::arithmetic_side_effects, reason = "test code")]
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn block(id: BlockId) -> [u8; BLOCK_BYTES] {
        core::array::from_fn(|at| (hash(id) >> (at % 8 * 8)).to_le_bytes()[0])
    }

    fn at(number: u64) -> BlockId {
        (DeviceSlot::new(1), number)
    }

    fn count(cache: &BlockCache, ids: impl Iterator<Item = u64>) -> usize {
        ids.filter(|id| cache.has(at(*id))).count()
    }

    #[test]
    fn what_is_used_again_outlives_a_long_scan() {
        let mut cache = BlockCache::new(100 * BLOCK_BYTES);
        for id in 0..50 {
            cache.put(at(id), &block(at(id)), false);
            assert!(cache.get(at(id)).is_some());
        }
        for id in 1000..3000 {
            cache.put(at(id), &block(at(id)), false);
        }
        assert_eq!(count(&cache, 0..50), 50);
        // Nor is a block used twice that was read ahead, and then once.
        for id in 3000..5000 {
            cache.put(at(id), &block(at(id)), true);
            assert!(cache.get(at(id)).is_some());
        }
        assert_eq!(count(&cache, 0..50), 50);
    }

    #[test]
    fn what_comes_back_soon_after_it_left_stays() {
        let mut cache = BlockCache::new(100 * BLOCK_BYTES);
        for id in 0..110 {
            cache.put(at(id), &block(at(id)), false);
        }
        let gone: Vec<u64> = (0..110).filter(|id| !cache.has(at(*id))).collect();
        assert!(!gone.is_empty());
        for id in &gone {
            cache.put(at(*id), &block(at(*id)), false);
        }
        for id in 1000..1500 {
            cache.put(at(id), &block(at(id)), false);
        }
        assert!(count(&cache, gone.iter().copied()) * 2 > gone.len());
    }

    #[test]
    fn too_little_memory_is_none_and_a_part_of_a_block_is_not_kept() {
        let mut none = BlockCache::new(7 * BLOCK_BYTES);
        none.put(at(0), &[0; BLOCK_BYTES], false);
        assert!(!none.is_on() && !none.has(at(0)) && none.reserve_bytes() == 0);
        let mut some = BlockCache::new(8 * BLOCK_BYTES);
        some.put(at(0), &[0; BLOCK_BYTES - 1], false);
        assert!(some.is_on() && !some.has(at(0)));
    }

    proptest! {
        /// Any sequence of reads: what is here are the bytes that were put in, at most as many
        /// as there is room for, and each of them is found.
        #[test]
        fn keeps_what_was_put_in(
            frames in 8_usize..40,
            reads in prop::collection::vec((0_u16..3, 0_u64..90), 1..600),
        ) {
            let mut cache = BlockCache::new(frames * BLOCK_BYTES);
            let all = cache.reserve_bytes();
            let mut put = HashMap::new();
            for (slot, number) in reads {
                let id = (DeviceSlot::new(slot), number);
                match cache.get(id) {
                    Some(bytes) => prop_assert!(put.get(&id).is_some_and(|want| bytes == want)),
                    None => {
                        put.insert(id, block(id));
                        cache.put(id, &block(id), false);
                        prop_assert!(cache.has(id));
                    }
                }
                let here = put.keys().filter(|id| cache.has(**id)).count();
                prop_assert!(here <= frames);
                let kept = cache.tables.as_ref().map_or(0, |tables| tables.policy.count());
                prop_assert_eq!(here, num::index(kept));
                prop_assert!(cache.reserve_bytes() <= all);
            }
        }
    }
}
