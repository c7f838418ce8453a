//! The device slots of an image, sorted by a key.
//!
//! Always: one question for each of *n* slots takes *n* log *n* steps in all: an image may have
//! 65,535 slots.

#[cfg(not(feature = "alloc"))]
use crate::erofs::DEVICES_MAX;
use crate::erofs::sort_numbers;

#[cfg(feature = "alloc")]
type Numbers = alloc::vec::Vec<u16>;
#[cfg(not(feature = "alloc"))]
type Numbers = heapless::Vec<u16, DEVICES_MAX>;

/// The numbers of slots, sorted by a key.
#[derive(Debug)]
pub(super) struct Order(Numbers);

impl Order {
    /// Returns `numbers`, sorted by the key of each slot. A table has at most
    /// [`crate::erofs::DEVICES_MAX`] slots, so there is room for all.
    pub(super) fn new<K: Ord>(numbers: impl Iterator<Item = u16>, key: impl Fn(u16) -> K) -> Self {
        let mut sorted: Numbers = numbers.collect();
        sort_numbers(&mut sorted, &mut |a, b| key(*a).cmp(&key(*b)));
        Self(sorted)
    }

    /// Returns the slots whose key is `wanted`, and the slots after these.
    pub(super) fn at<K: Ord>(&self, wanted: &K, key: impl Fn(u16) -> K) -> (&[u16], &[u16]) {
        let start = self.0.partition_point(|number| key(*number) < *wanted);
        let end = self.0.partition_point(|number| key(*number) <= *wanted);
        let (until_end, after) = self.0.split_at(end);
        (until_end.split_at(start).1, after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;

    #[test]
    fn slots_of_one_key_stand_together_before_those_of_greater_keys() {
        let keys = [0, 7, 3, 7, 1, 3, 9];
        let key = |number: u16| keys.get(usize::from(number)).copied().unwrap_or(0);
        let order = Order::new(1..=6, key);
        let (same, after) = order.at(&7, key);
        assert!(matches!(same, [1, 3] | [3, 1]), "{same:?}");
        assert_eq!(after, [6]);
        assert_eq!(order.at(&4, key).0, [0_u16; 0]);
        assert_eq!(order.at(&4, key).1.len(), 3);
        assert_eq!(order.at(&10, key), (&[][..], &[][..]));
    }

    #[test]
    #[cfg(feature = "alloc")]
    fn asking_for_each_of_many_slots_takes_n_log_n_steps() {
        let steps = Cell::new(0_u64);
        let key = |number: u16| {
            steps.set(steps.get().wrapping_add(1));
            number.wrapping_mul(40_503)
        };
        let order = Order::new(1..=u16::MAX, key);
        for number in 1..=u16::MAX {
            assert_eq!(order.at(&number.wrapping_mul(40_503), key).0, [number]);
        }
        // 65,535 slots, 16 halvings, two bounds and a sort.
        assert!(steps.get() < 65_535 * 16 * 6, "{}", steps.get());
    }
}
