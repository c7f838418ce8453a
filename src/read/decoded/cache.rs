//! The cache of decoded bytes that small reads may want again: a ring of memory with an index.
//!
//! Always: bounded; entries lie in the ring in the order of their insertion, and a new entry
//! overwrites the oldest ones.

use crate::num::{Bug, OrBug};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::ops::Range;

/// The most entries, so that a lookup stays cheap.
const ENTRIES_MAX: usize = 256;
/// The fewest bytes of a ring.
const BYTES_MIN: usize = 128 << 10;

/// Some decoded bytes of one pcluster.
#[derive(Debug)]
struct Entry<K> {
    key: K,
    /// The offset of the first byte in the decoded pcluster.
    from: u64,
    /// The bytes of the ring that hold the entry.
    place: Range<usize>,
}

/// The ring; `K` names a pcluster.
#[derive(Debug)]
pub struct DecodedCache<K> {
    ring: Vec<u8>,
    /// The entries, oldest first.
    entries: VecDeque<Entry<K>>,
    /// The byte of the ring where the next entry begins.
    next: usize,
}

impl<K: Copy + PartialEq> DecodedCache<K> {
    /// Returns an empty ring of `bytes` bytes, at least [`BYTES_MIN`].
    pub fn new(bytes: usize) -> Self {
        Self {
            ring: alloc::vec![0; bytes.max(BYTES_MIN)],
            entries: VecDeque::with_capacity(ENTRIES_MAX),
            next: 0,
        }
    }

    /// The bytes of the index.
    const INDEX_BYTES: usize = size_of::<Entry<K>>() * ENTRIES_MAX;

    /// Returns the bytes that [`DecodedCache::new`] allocates for a ring of `bytes` bytes; `None`
    /// if no address space has that many.
    pub fn bytes(bytes: usize) -> Option<usize> {
        bytes.max(BYTES_MIN).checked_add(Self::INDEX_BYTES)
    }

    /// Returns the [`DecodedCache::entry_max`] of a ring of `bytes` bytes.
    pub fn entry_max_of(bytes: usize) -> usize {
        bytes.max(BYTES_MIN) / 2
    }

    /// Returns the most bytes of one entry: half the ring.
    pub fn entry_max(&self) -> usize {
        self.ring.len() / 2
    }

    /// Returns whether the cache has any bytes of a pcluster.
    pub fn knows(&self, key: K) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// Returns `len` decoded bytes of a pcluster from byte `from` on, if one entry has all of them.
    pub fn get(&self, key: K, from: u64, len: usize) -> Option<&[u8]> {
        self.entries.iter().rev().filter(|entry| entry.key == key).find_map(|entry| {
            let skip = usize::try_from(from.checked_sub(entry.from)?).ok()?;
            let kept = self.ring.get(entry.place.clone())?;
            kept.get(skip..)?.get(..len)
        })
    }

    /// Makes room for an entry of `len` bytes, at most [`DecodedCache::entry_max`], calls `fill` to
    /// write its bytes, and returns them. Keeps the entry if `fill` succeeds.
    pub fn insert<E: From<Bug>>(
        &mut self,
        key: K,
        from: u64,
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<&[u8], E> {
        if len > self.ring.len() {
            return Err(Bug::here().into());
        }
        let end = self.next.checked_add(len).filter(|end| *end <= self.ring.len());
        let place = match end {
            Some(end) => self.next..end,
            None => {
                // The entries from `next` to the end of the ring are the oldest ones.
                let next = self.next;
                self.drop_while(|entry| entry.place.start >= next);
                0..len
            }
        };
        self.drop_while(|entry| entry.place.start < place.end && place.start < entry.place.end);
        if self.entries.len() >= ENTRIES_MAX {
            self.entries.pop_front();
        }
        self.next = place.start;
        let bytes = self.ring.get_mut(place.clone()).or_bug()?;
        fill(bytes)?;
        self.next = place.end;
        self.entries.push_back(Entry { key, from, place });
        Ok(bytes)
    }

    fn drop_while(&mut self, condition: impl Fn(&Entry<K>) -> bool) {
        while self.entries.front().is_some_and(&condition) {
            self.entries.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::indexing_slicing, reason = "a test that panics has failed")]
    use super::*;
    use proptest::prelude::*;

    fn insert(cache: &mut DecodedCache<u32>, key: u32, from: u64, len: usize, byte: u8) {
        let filled: Result<_, Bug> = cache.insert(key, from, len, |out| {
            out.fill(byte);
            Ok(())
        });
        assert_eq!(filled.map(|bytes| bytes.len()), Ok(len));
    }

    #[test]
    fn part_of_an_entry_is_found_and_a_byte_beyond_is_not() {
        let mut cache = DecodedCache::new(0);
        insert(&mut cache, 1, 1000, 500, 7);
        assert_eq!(cache.get(1, 1100, 400), Some([7; 400].as_slice()));
        assert_eq!(cache.get(1, 1100, 401), None);
        assert_eq!(cache.get(1, 999, 1), None);
        assert_eq!(cache.get(2, 1000, 1), None);
    }

    #[test]
    fn entry_that_could_not_be_filled_is_none() {
        let mut cache = DecodedCache::new(0);
        let no = Bug::here();
        assert_eq!(cache.insert(1, 0, 10, |_| Err(no)).err(), Some(no));
        assert!(!cache.knows(1));
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_was_put_last_and_the_youngest_stays(
            puts in prop::collection::vec((0u32..20, 1usize..=65_536), 1..400)
        ) {
            let mut cache = DecodedCache::new(BYTES_MIN);
            let mut last = [0u8; 20];
            for (round, (key, len)) in (0u32..).zip(puts) {
                let byte = round.to_le_bytes()[0];
                insert(&mut cache, key, 0, len, byte);
                last[usize::try_from(key).unwrap_or(0)] = byte;
                prop_assert!(cache.get(key, 0, len).is_some());
                for (key, byte) in (0u32..).zip(last) {
                    if let Some(found) = cache.get(key, 0, 1) {
                        // A longer, older entry of the key may serve what the younger is too
                        // short for, and no other key's bytes ever do.
                        prop_assert_eq!(found, &[byte]);
                    }
                }
                let used: usize = cache.entries.iter().map(|entry| entry.place.len()).sum();
                prop_assert!(used <= cache.ring.len() && cache.entries.len() <= ENTRIES_MAX);
            }
        }
    }
}
