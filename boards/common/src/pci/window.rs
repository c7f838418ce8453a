//! Addresses for devices that have none.
//!
//! Always: what is given out lies in the window, is aligned to its size, and is given out once.

use core::ops::Range;

/// A range of addresses that a bus decodes, of which the first part is in use.
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

    /// Takes addresses out that are in use, with everything before them.
    pub(super) fn keep(&mut self, used: Range<u64>) {
        if used.start >= self.start && used.start < self.end {
            self.start = used.end;
        }
    }

    /// `bytes` of addresses, a power of two.
    pub(super) fn take(&mut self, bytes: u64) -> Option<u64> {
        if !bytes.is_power_of_two() {
            return None;
        }
        let start = self.start.checked_next_multiple_of(bytes)?;
        let end = start.checked_add(bytes)?;
        (end <= self.end).then(|| {
            self.start = end;
            start
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_aligned_and_end_with_the_window() {
        let mut window = Window::new(0x1000_1000, 0x1004_0000);
        assert_eq!(window.take(0x4000), Some(0x1000_4000));
        assert_eq!(window.take(0x1000), Some(0x1000_8000));
        assert_eq!(window.take(0x1_0000), Some(0x1001_0000));
        assert_eq!(window.take(0x4_0000), None);
        assert_eq!(window.take(0x2_0000), Some(0x1002_0000));
        assert_eq!((window.take(16), window.take(0), window.take(24)), (None, None, None));
    }

    #[test]
    fn what_firmware_placed_in_the_window_is_not_given_out() {
        let mut window = Window::new(0x1000, 0x9000);
        window.keep(0x0..0x800);
        window.keep(0x4000..0x5000);
        window.keep(0x2000..0x3000);
        window.keep(0xf000..0x1_0000);
        assert_eq!(window.take(0x1000), Some(0x5000));
    }
}
