//! S3-FIFO (Yang et al., SOSP 2023): what is used once passes through a small queue; what is used
//! again while it is there, or comes back soon after, gets into the main one.
//!
//! Always: each thing that is kept is in one of the two queues; there are as many ghosts as things.

use super::{Hold, Links, List, Policy};
use crate::num;
use alloc::boxed::Box;
use alloc::vec;

/// The most uses that are counted.
const USES_MAX: u8 = 3;
/// Bits of a class: the uses, and the queue. The region keeps them on disk, see FORMAT.md.
const USES: u8 = 0x0f;
const MAIN: u8 = 0x10;
/// The small queue is too long with more than one in ten of all things, or more than one of fewer.
const SMALL_SHARE: u32 = 10;

/// The queues of S3-FIFO.
#[derive(Debug)]
pub struct S3Fifo {
    small: List,
    main: List,
    /// Uses and queue of each thing that is kept.
    classes: Box<[u8]>,
    /// Fingerprints of what was evicted lately, in a table where a newer one takes the place of an
    /// older one with the same hash: bounded, and forgetting is its queue.
    ghosts: Box<[u16]>,
}

impl S3Fifo {
    /// Returns how long the small queue of `len` things is: more that nobody has used yet would
    /// push each other out.
    pub const fn small_max(len: u32) -> u32 {
        if len < 2 * SMALL_SHARE { 1 } else { len / SMALL_SHARE }
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "a thing that was not counted is a bug, not a state"
    )]
    fn class_mut(&mut self, id: u32) -> &mut u8 {
        &mut self.classes[num::index(id)]
    }

    fn queue_of(&mut self, class: u8) -> &mut List {
        if class & MAIN == 0 { &mut self.small } else { &mut self.main }
    }

    /// Moves `id` after all others of the queue that `class` names.
    fn requeue(&mut self, links: &mut Links, id: u32, class: u8) {
        self.remove(links, id);
        self.restore(links, id, class);
    }

    /// Returns the ghost's place of a key with this hash, and its fingerprint, which is never 0.
    fn ghost(&mut self, hash: u64) -> Option<(&mut u16, u16)> {
        let place = (hash >> 8).checked_rem(num::wide(self.ghosts.len()))?;
        let place = self.ghosts.get_mut(num::clip(place, usize::MAX))?;
        Some((place, num::low16(num::low32(hash >> 48)) | 1))
    }

    /// Returns whether a thing with this hash was evicted lately, and forgets it.
    fn forget(&mut self, hash: u64) -> bool {
        let Some((place, fingerprint)) = self.ghost(hash) else { return false };
        let known = *place == fingerprint;
        if known {
            *place = 0;
        }
        known
    }
}

impl Policy for S3Fifo {
    const BYTES: usize = size_of::<u8>() + size_of::<u16>();

    fn new(len: u32) -> Self {
        let len = num::index(len);
        Self {
            small: List::EMPTY,
            main: List::EMPTY,
            classes: vec![0; len].into_boxed_slice(),
            ghosts: vec![0; len].into_boxed_slice(),
        }
    }

    #[expect(clippy::arithmetic_side_effects, reason = "each thing is in one of them")]
    fn count(&self) -> u32 {
        self.small.count() + self.main.count()
    }

    fn admit(&mut self, links: &mut Links, id: u32, hash: u64) {
        let class = if self.forget(hash) { MAIN } else { 0 };
        self.restore(links, id, class);
    }

    fn restore(&mut self, links: &mut Links, id: u32, class: u8) {
        let class = class & MAIN | (class & USES).min(USES_MAX);
        *self.class_mut(id) = class;
        self.queue_of(class).push(links, id);
    }

    fn touch(&mut self, _: &mut Links, id: u32) {
        let class = self.class_mut(id);
        if *class & USES < USES_MAX {
            *class = class.wrapping_add(1);
        }
    }

    #[expect(clippy::indexing_slicing, reason = "as in `class_mut`")]
    fn class(&self, id: u32) -> u8 {
        self.classes[num::index(id)]
    }

    /// Takes at most as many steps as there are things, times the most uses.
    fn victim(&mut self, links: &mut Links, hold: impl Fn(u32) -> Hold) -> Option<u32> {
        // How many things of each queue that cannot go were met, one after the other.
        let (mut small_held, mut main_held) = (0_u32, 0_u32);
        let rounds = u64::from(USES_MAX).wrapping_add(2);
        for _ in 0..num::wide(self.classes.len()).checked_mul(rounds)? {
            let small_max = Self::small_max(num::low32(num::wide(self.classes.len())));
            let (small, main) = (self.small.count(), self.main.count());
            let too_long = small > small_max && small > small_held;
            let from_small = too_long || main <= main_held;
            let id = if from_small { self.small.first() } else { self.main.first() }?;
            let class = self.class(id);
            match hold(id) {
                Hold::None if class & USES == 0 => return Some(id),
                Hold::None => {
                    (small_held, main_held) = (0, 0);
                    let uses = if from_small { 0 } else { (class & USES).wrapping_sub(1) };
                    self.requeue(links, id, MAIN | uses);
                }
                Hold::Pinned if from_small => self.requeue(links, id, MAIN | class),
                Hold::Pinned | Hold::Busy => {
                    let held = if from_small { &mut small_held } else { &mut main_held };
                    *held = held.wrapping_add(1);
                    self.requeue(links, id, class);
                }
            }
        }
        None
    }

    fn evict(&mut self, links: &mut Links, id: u32, hash: u64) {
        if let Some((place, fingerprint)) = self.ghost(hash) {
            *place = fingerprint;
        }
        self.remove(links, id);
    }

    fn remove(&mut self, links: &mut Links, id: u32) {
        let class = self.class(id);
        self.queue_of(class).remove(links, id);
    }
}
