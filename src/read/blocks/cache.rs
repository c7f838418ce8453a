//! Blocks in memory, under S3-FIFO (Yang et al., SOSP 2023): a block that is read once passes
//! through a small queue; one that is read again while it is there, or soon after, gets into the
//! large one.
//!
//! Always: at most the frames that it was made for, each allocated when it is used first, and the
//! tables with the first of them; what is kept for a block are its bytes as they were put in.

use crate::cache::BLOCK_BYTES;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Uses that are counted.
const USES_MAX: u8 = 3;
/// The small queue has at most one in so many frames.
const SMALL: usize = 10;
const NONE: u32 = u32::MAX;
/// Fewer are not worth the search.
const FRAMES_MIN: usize = 8;

/// A block of a device slot; the number counts blocks of 4 KiB from the slot's start.
pub type BlockId = (u16, u64);

#[derive(Debug)]
struct Frame {
    id: BlockId,
    uses: u8,
    /// Nobody has asked for it yet: the first use is no second one.
    ahead: bool,
    /// The next frame with the same hash.
    next: u32,
    bytes: Box<[u8]>,
}

/// The frames, and which block is in which.
#[derive(Debug)]
pub struct BlockCache {
    frames: Vec<Frame>,
    frames_max: usize,
    /// For each hash its first frame.
    heads: Box<[u32]>,
    /// Hashes of blocks that left the small queue unused.
    ghosts: Box<[u32]>,
    small: VecDeque<u32>,
    large: VecDeque<u32>,
}

impl BlockCache {
    /// For so many bytes of blocks; fewer than eight blocks are none. Allocates nothing.
    pub fn new(bytes: usize) -> Self {
        let most = usize::try_from(NONE >> 1).unwrap_or(usize::MAX);
        let frames_max = if Self::keeps(bytes) { bytes / BLOCK_BYTES } else { 0 };
        Self {
            frames: Vec::new(),
            frames_max: frames_max.min(most),
            heads: Box::default(),
            ghosts: Box::default(),
            small: VecDeque::new(),
            large: VecDeque::new(),
        }
    }

    /// Whether so many bytes of blocks are any.
    pub fn keeps(bytes: usize) -> bool {
        bytes / BLOCK_BYTES >= FRAMES_MIN
    }

    /// Buckets of a table, for frames at all.
    fn buckets(&self) -> usize {
        self.frames_max.next_power_of_two()
    }

    fn allocate_tables(&mut self) {
        let filled = |with| alloc::vec![with; self.buckets()].into_boxed_slice();
        (self.heads, self.ghosts) = (filled(NONE), filled(0));
        self.frames = Vec::with_capacity(self.frames_max);
        self.small = VecDeque::with_capacity(self.frames_max);
        self.large = VecDeque::with_capacity(self.frames_max);
    }

    /// Bytes that it may still allocate.
    pub fn reserve_bytes(&self) -> usize {
        let left = self.frames_max.saturating_sub(self.frames.len()).saturating_mul(BLOCK_BYTES);
        if !self.is_on() || !self.heads.is_empty() {
            return left;
        }
        // A frame and its places in the two queues; a head and a ghost.
        const FRAME: usize = size_of::<Frame>() + 2 * size_of::<u32>();
        const BUCKET: usize = 2 * size_of::<u32>();
        left.saturating_add(self.frames_max.saturating_mul(FRAME))
            .saturating_add(self.buckets().saturating_mul(BUCKET))
    }

    /// Returns how many bytes of blocks the small queue has: more that nobody has used yet would
    /// push each other out.
    pub fn small_bytes(&self) -> usize {
        (self.frames_max / SMALL).saturating_mul(BLOCK_BYTES)
    }

    /// Bytes of all blocks that it can keep.
    pub fn bytes(&self) -> u64 {
        u64::try_from(self.frames_max.saturating_mul(BLOCK_BYTES)).unwrap_or(u64::MAX)
    }

    /// Whether it keeps anything at all.
    pub fn is_on(&self) -> bool {
        self.frames_max > 0
    }

    /// The bytes of a block, if they are here.
    pub fn get(&mut self, id: BlockId) -> Option<&[u8]> {
        let at = self.find(id)?;
        let frame = self.frames.get_mut(at)?;
        if !core::mem::take(&mut frame.ahead) {
            frame.uses = frame.uses.saturating_add(1).min(USES_MAX);
        }
        Some(&frame.bytes)
    }

    /// Whether a block is here; no use of it.
    pub fn has(&self, id: BlockId) -> bool {
        self.find(id).is_some()
    }

    /// Keeps a block, all [`BLOCK_BYTES`] of it, in place of one that is used less. `ahead` says
    /// that nobody has asked for it yet.
    pub fn put(&mut self, id: BlockId, bytes: &[u8], ahead: bool) {
        if bytes.len() != BLOCK_BYTES || !self.is_on() || self.has(id) {
            return;
        }
        if self.heads.is_empty() {
            self.allocate_tables();
        }
        let Some(at) = self.free_frame(bytes) else { return };
        let hash = hash(id);
        let bucket = self.bucket(hash);
        let known = self.ghosts.get(bucket).is_some_and(|ghost| *ghost == ghost_of(hash));
        let index = u32::try_from(at).unwrap_or(NONE);
        let head = self.heads.get_mut(bucket);
        if let (Some(frame), Some(head)) = (self.frames.get_mut(at), head) {
            (frame.id, frame.uses, frame.ahead) = (id, 0, ahead);
            frame.next = core::mem::replace(head, index);
        }
        if known { self.large.push_back(index) } else { self.small.push_back(index) }
    }

    fn bucket(&self, hash: u64) -> usize {
        let mask = u64::try_from(self.heads.len()).unwrap_or(1).saturating_sub(1);
        usize::try_from(hash & mask).unwrap_or(0)
    }

    fn find(&self, id: BlockId) -> Option<usize> {
        let mut at = *self.heads.get(self.bucket(hash(id)))?;
        while let Some(frame) = self.frames.get(index(at)) {
            if frame.id == id {
                return Some(index(at));
            }
            at = frame.next;
        }
        None
    }

    /// A frame with these bytes, which is no block's: a new one, or one whose block goes.
    fn free_frame(&mut self, bytes: &[u8]) -> Option<usize> {
        if self.frames.len() < self.frames_max {
            let bytes = Box::from(bytes);
            self.frames.push(Frame { id: (0, 0), uses: 0, ahead: false, next: NONE, bytes });
            return self.frames.len().checked_sub(1);
        }
        // Each round takes a block out of the small queue or a use off one in the large queue.
        loop {
            let is_small = self.large.is_empty() || self.small.len() > self.frames_max / SMALL;
            let queue = if is_small { &mut self.small } else { &mut self.large };
            let at = queue.pop_front()?;
            let frame = self.frames.get_mut(index(at))?;
            match (is_small, frame.uses) {
                (_, 0) => {
                    frame.bytes.copy_from_slice(bytes);
                    let id = frame.id;
                    self.unlink(at, id, is_small);
                    return Some(index(at));
                }
                (true, _) => {
                    frame.uses = 0;
                    self.large.push_back(at);
                }
                (false, uses) => {
                    frame.uses = uses.saturating_sub(1);
                    self.large.push_back(at);
                }
            }
        }
    }

    /// Takes the block of a frame out of the table.
    fn unlink(&mut self, at: u32, id: BlockId, remember: bool) {
        let hash = hash(id);
        let bucket = self.bucket(hash);
        let next = self.frames.get(index(at)).map_or(NONE, |frame| frame.next);
        let mut link = self.heads.get(bucket).copied().unwrap_or(NONE);
        if link == at {
            if let Some(head) = self.heads.get_mut(bucket) {
                *head = next;
            }
        } else {
            while let Some(frame) = self.frames.get_mut(index(link)) {
                if frame.next == at {
                    frame.next = next;
                    break;
                }
                link = frame.next;
            }
        }
        if let Some(ghost) = self.ghosts.get_mut(bucket).filter(|_| remember) {
            *ghost = ghost_of(hash);
        }
    }
}

fn index(at: u32) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

/// Its lower bits choose the bucket, the upper ones tell blocks in it apart.
fn hash((slot, block): BlockId) -> u64 {
    let mixed = (block ^ (u64::from(slot) << 48)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 32)
}

/// Never 0, which stands for no ghost.
fn ghost_of(hash: u64) -> u32 {
    u32::try_from(hash >> 32).unwrap_or(0) | 1
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

    fn count(cache: &BlockCache, ids: impl Iterator<Item = u64>) -> usize {
        ids.filter(|id| cache.has((1, *id))).count()
    }

    #[test]
    fn what_is_used_again_outlives_a_long_scan() {
        let mut cache = BlockCache::new(100 * BLOCK_BYTES);
        for id in 0..50 {
            cache.put((1, id), &block((1, id)), false);
            assert!(cache.get((1, id)).is_some());
        }
        for id in 1000..3000 {
            cache.put((1, id), &block((1, id)), false);
        }
        assert_eq!(count(&cache, 0..50), 50);
        // Nor is a block used twice that was read ahead, and then once.
        for id in 3000..5000 {
            cache.put((1, id), &block((1, id)), true);
            assert!(cache.get((1, id)).is_some());
        }
        assert_eq!(count(&cache, 0..50), 50);
    }

    #[test]
    fn what_comes_back_soon_after_it_left_stays() {
        let mut cache = BlockCache::new(100 * BLOCK_BYTES);
        for id in 0..110 {
            cache.put((1, id), &block((1, id)), false);
        }
        let gone: Vec<u64> = (0..110).filter(|id| !cache.has((1, *id))).collect();
        assert!(!gone.is_empty());
        for id in &gone {
            cache.put((1, *id), &block((1, *id)), false);
        }
        for id in 1000..1500 {
            cache.put((1, id), &block((1, id)), false);
        }
        assert!(count(&cache, gone.iter().copied()) * 2 > gone.len());
    }

    #[test]
    fn too_little_memory_is_none_and_a_part_of_a_block_is_not_kept() {
        let mut none = BlockCache::new(7 * BLOCK_BYTES);
        none.put((0, 0), &[0; BLOCK_BYTES], false);
        assert!(!none.is_on() && !none.has((0, 0)) && none.reserve_bytes() == 0);
        let mut some = BlockCache::new(8 * BLOCK_BYTES);
        some.put((0, 0), &[0; BLOCK_BYTES - 1], false);
        assert!(some.is_on() && !some.has((0, 0)));
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
            for id in reads {
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
                prop_assert_eq!(here, cache.small.len() + cache.large.len());
                prop_assert!(cache.reserve_bytes() <= all);
            }
        }
    }
}
