//! Room in an emulator's table of translations for all that a machine reads.
//!
//! QEMU's TCG keeps the translations of pages of 4 KiB in a table that begins with 256, so that
//! memory in use beyond 1 MiB is walked for again and again. It makes the table anew, twice as
//! large if most of it was used, when the guest has all translations forgotten, and never else
//! (accel/tcg/cputlb.c, `tlb_mmu_resize_locked`). An operating system does that whenever it changes
//! from one process to another; here nobody would.
//!
//! Always: done a number of times that grows with the logarithm of the bytes that are moved, so
//! that a processor, which has large pages to find again, does not notice.

/// Bytes that are moved before the first time.
const FIRST_BYTES: u64 = 1 << 20;

/// When translations are forgotten, and how.
#[derive(Debug)]
pub(super) struct Translations {
    forget: fn(),
    moved: u64,
    next: u64,
}

impl Translations {
    pub(super) fn new(forget: fn()) -> Self {
        Self { forget, moved: 0, next: FIRST_BYTES }
    }

    /// Notes that `bytes` more bytes go to or from a device.
    pub(super) fn moved(&mut self, bytes: usize) {
        // No machine runs for the centuries that 2^63 bytes take.
        self.moved += bytes as u64;
        if self.moved >= self.next {
            self.next = self.moved * 2;
            (self.forget)();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn they_are_forgotten_eleven_times_in_a_gib() {
        static TIMES: AtomicU32 = AtomicU32::new(0);
        let mut translations = Translations::new(|| {
            TIMES.fetch_add(1, Ordering::Relaxed);
        });
        (0..1 << 14).for_each(|_| translations.moved(64 << 10));
        assert_eq!(TIMES.load(Ordering::Relaxed), 11);
    }
}
