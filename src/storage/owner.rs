//! Who a background job belongs to.
//!
//! Always: what is started by one mount and ends in another, over the same storage, is told from
//! the other's own: its buffer holds other bytes.

use core::sync::atomic::{AtomicU32, Ordering};

/// The bits of a tag that name the owner.
const SHIFT: u32 = 48;

/// A user of background jobs; of the last 65,535 to come each has another number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner(u16);

impl Owner {
    /// The next one.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed).to_le_bytes();
        let [low, high, ..] = number;
        Self(u16::from_le_bytes([low, high]))
    }

    /// The tag of a job of its, from 48 bits of its own.
    pub fn tag(self, bits: u64) -> u64 {
        (u64::from(self.0) << SHIFT) | bits & ((1 << SHIFT) - 1)
    }

    /// The bits of a tag, if it is one of its.
    pub fn bits(self, tag: u64) -> Option<u64> {
        (tag >> SHIFT == u64::from(self.0)).then_some(tag & ((1 << SHIFT) - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_know_their_own_tags_alone() {
        let (one, other) = (Owner::new(), Owner::new());
        let tag = one.tag(0x0005_0000_0007);
        assert_eq!(one.bits(tag), Some(0x0005_0000_0007));
        assert_eq!(other.bits(tag), None);
    }
}
