//! Device registers in memory.
//!
//! Always: an access has exactly the width of its type, is aligned, and lies in the block.
//!
//! On aarch64 each access is an instruction of its own choice: what a compiler may make of a
//! volatile access (a load that also moves its base) cannot be emulated by a hypervisor, because
//! the processor does not say which register it wanted (Arm ARM, ESR_ELx.ISS.ISV).

use core::ptr::{NonNull, with_exposed_provenance_mut};

/// A block of registers that belongs to one owner.
#[derive(Debug)]
pub(crate) struct Registers {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the registers belong to this value alone and may be accessed from any thread.
unsafe impl Send for Registers {}

/// Reads and writes of one width.
macro_rules! width {
    ($read:ident, $write:ident, $width:ty, $load:literal, $store:literal) => {
        /// Reads the register at byte `at`.
        pub(crate) fn $read(&self, at: usize) -> $width {
            let place = self.place(at, size_of::<$width>()).cast::<$width>();
            #[cfg(target_arch = "aarch64")]
            {
                let value: u32;
                // SAFETY: `new`'s caller promised the block, and `place` checked that the
                // register is aligned and in it.
                unsafe {
                    core::arch::asm!($load, value = out(reg) value, place = in(reg) place,
                        options(nostack, preserves_flags));
                }
                <$width>::from_le(value as $width)
            }
            #[cfg(not(target_arch = "aarch64"))]
            // SAFETY: as above.
            <$width>::from_le(unsafe { place.read_volatile() })
        }

        /// Writes the register at byte `at`. What a write makes the device do with memory is the
        /// concern of whoever set its queues.
        pub(crate) fn $write(&mut self, at: usize, value: $width) {
            let place = self.place(at, size_of::<$width>()).cast::<$width>();
            #[cfg(target_arch = "aarch64")]
            // SAFETY: as in the read.
            unsafe {
                core::arch::asm!($store, value = in(reg) u32::from(value.to_le()),
                    place = in(reg) place, options(nostack, preserves_flags));
            }
            #[cfg(not(target_arch = "aarch64"))]
            // SAFETY: as in the read.
            unsafe { place.write_volatile(value.to_le()) }
        }
    };
}

impl Registers {
    /// The block of `len` bytes at address `base`; `None` if it is not aligned to 4 bytes, or
    /// lies at address 0.
    ///
    /// # Safety
    ///
    /// The block is mapped, uncached, is no RAM, and nobody else uses it.
    pub(crate) unsafe fn new(base: usize, len: usize) -> Option<Self> {
        base.checked_add(len)?;
        let at = NonNull::new(with_exposed_provenance_mut::<u8>(base))?;
        base.is_multiple_of(4).then_some(Self { base: at, len })
    }

    /// Bytes of the block.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    fn place(&self, at: usize, width: usize) -> *mut u8 {
        let end = at.checked_add(width).expect("an offset is below a block's length");
        assert!(end <= self.len && at.is_multiple_of(width), "register {at:#x} of {:#x}", self.len);
        self.base.as_ptr().wrapping_add(at)
    }

    width!(read8, write8, u8, "ldrb {value:w}, [{place}]", "strb {value:w}, [{place}]");
    width!(read16, write16, u16, "ldrh {value:w}, [{place}]", "strh {value:w}, [{place}]");
    width!(read32, write32, u32, "ldr {value:w}, [{place}]", "str {value:w}, [{place}]");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_read_and_written_at_their_width_and_nowhere_else() {
        let mut memory = [0x1122_3344_u32.to_le(), 0];
        let base = (&raw mut memory).expose_provenance();
        // SAFETY: the memory is this test's.
        let mut block = unsafe { Registers::new(base, 8) }.unwrap();
        assert_eq!((block.read8(1), block.read16(2), block.read32(0)), (0x33, 0x1122, 0x1122_3344));
        block.write16(4, 0xabcd);
        block.write8(7, 0x7f);
        assert_eq!(block.read32(4), 0x7f00_abcd);
    }

    #[test]
    #[should_panic(expected = "register 0x8 of 0x8")]
    fn register_behind_the_block_is_a_bug() {
        let mut memory = [0_u32; 4];
        let base = (&raw mut memory).expose_provenance();
        // SAFETY: as above.
        unsafe { Registers::new(base, 8) }.unwrap().read8(8);
    }
}
