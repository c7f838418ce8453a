//! Addresses for devices that have none.
//!
//! Always: what is given out lies in the window, is aligned to its size, lies beside what is in use,
//! and is given out once.

use core::ops::Range;

use heapless::Vec;

/// Most ranges in use; in a window with more nothing is given out.
const USED_MAX: usize = 128;

/// A range of addresses that a bus decodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    start: u64,
    end: u64,
}

impl Window {
    /// Addresses from `start` to `end`, below 4 GiB, because a device may know only those.
    pub const fn new(start: u64, end: u64) -> Self {
        assert!(end <= 1 << 32, "a window of devices lies below 4 GiB");
        Self { start, end }
    }
}

/// A window with what of it is in use.
#[derive(Clone, Debug)]
pub(super) struct Free {
    window: Window,
    used: Vec<Range<u64>, USED_MAX>,
    /// Whether there was no room for one in use.
    is_cut: bool,
}

impl Free {
    pub(super) fn new(window: Window) -> Self {
        Self { window, used: Vec::new(), is_cut: false }
    }

    /// Takes addresses out that are in use.
    pub(super) fn keep(&mut self, used: Range<u64>) {
        if used.start < self.window.end && used.end > self.window.start {
            self.is_cut |= self.used.push(used).is_err();
        }
    }

    /// Takes `bytes` of addresses, a power of two.
    pub(super) fn take(&mut self, bytes: u64) -> Option<u64> {
        if self.is_cut || !bytes.is_power_of_two() {
            return None;
        }
        let mut start = self.window.start;
        // Ends: each step begins after another one of those in use.
        loop {
            start = start.checked_next_multiple_of(bytes)?;
            let end = start.checked_add(bytes).filter(|end| *end <= self.window.end)?;
            match self.used.iter().find(|used| used.start < end && start < used.end) {
                Some(used) => start = used.end,
                None => break self.keep(start..end),
            }
        }
        (!self.is_cut).then_some(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_aligned_and_end_with_the_window() {
        let mut free = Free::new(Window::new(0x1000_1000, 0x1004_0000));
        assert_eq!(free.take(0x4000), Some(0x1000_4000));
        assert_eq!(free.take(0x1000), Some(0x1000_1000), "in what alignment left");
        assert_eq!(free.take(0x1_0000), Some(0x1001_0000));
        assert_eq!(free.take(0x4_0000), None);
        assert_eq!(free.take(0x2_0000), Some(0x1002_0000));
        assert_eq!((free.take(0), free.take(24)), (None, None));
    }

    #[test]
    fn what_is_placed_in_the_window_is_not_given_out_and_leaves_the_rest() {
        let mut free = Free::new(Window::new(0x1000, 0x9000));
        // One at the top, as firmware does that fills its window downward.
        for used in [0x0..0x1800, 0x8000..0x9000, 0x2000..0x3000, 0xf000..0x1_0000] {
            free.keep(used);
        }
        assert_eq!(free.take(0x1000), Some(0x3000));
        assert_eq!(free.take(0x4000), Some(0x4000));
        assert_eq!(free.take(0x1000), None);
    }

    #[test]
    fn window_with_more_in_use_than_there_is_room_for_gives_nothing() {
        let mut free = Free::new(Window::new(0, 1 << 30));
        (0..129).for_each(|number| free.keep(number << 13..(number << 13) + 0x1000));
        assert_eq!(free.take(0x1000), None);
    }
}
