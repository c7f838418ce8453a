//! Device registers in memory: the only place from which a processor reaches them.
//!
//! Always: an access has exactly the width of its type, is aligned, and lies in the block; memory
//! that was written before a register is seen before it, and memory that is read after one was not
//! read before it.
//!
//! Each access is one plain load or store, which every hypervisor can emulate; a test reads the
//! images (`instructions`). On aarch64 safe-mmio writes the instruction, because of a volatile access
//! a compiler may make one that also moves its base (Arm ARM, ESR_ELx.ISS.ISV). On x86-64, where it
//! may make one that also computes, each stands in a function of its own. RISC-V has no others.

use core::ptr::{NonNull, with_exposed_provenance_mut};

use safe_mmio::UniqueMmioPointer;
use safe_mmio::fields::ReadWrite;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A block of registers that belongs to one owner.
#[derive(Debug)]
pub(crate) struct Registers {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the registers belong to this value alone and may be accessed from any thread.
unsafe impl Send for Registers {}

/// Makes a processor send earlier writes to memory before its next write to a device.
fn memory_first() {
    #[cfg(target_arch = "riscv64")]
    // SAFETY: a barrier has no effect but the order of accesses.
    unsafe {
        core::arch::asm!("fence w, o", options(nostack, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above. A device may be outside of the inner shareable domain.
    unsafe {
        core::arch::asm!("dmb oshst", options(nostack, preserves_flags));
    }
    // x86-64 keeps its stores in order, also those that are not cached (Intel SDM volume 3, 9.2.2).
    #[cfg(target_arch = "x86_64")]
    core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::Release);
}

/// Makes a processor read memory, and devices, only after its last read of a device.
fn register_first() {
    #[cfg(target_arch = "riscv64")]
    // SAFETY: as in `memory_first`.
    unsafe {
        core::arch::asm!("fence i, ir", options(nostack, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as in `memory_first`.
    unsafe {
        core::arch::asm!("dmb oshld", options(nostack, preserves_flags));
    }
    #[cfg(target_arch = "x86_64")]
    core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::Acquire);
}

/// Reads a register: no more than one instruction, and nothing around it in the same.
#[cfg_attr(target_arch = "x86_64", inline(never))]
fn load_register<W: FromBytes + IntoBytes>(mut register: UniqueMmioPointer<'_, ReadWrite<W>>) -> W {
    register.read()
}

/// Writes a register, as [`load_register`] reads it.
#[cfg_attr(target_arch = "x86_64", inline(never))]
fn store_register<W: Immutable + IntoBytes>(
    mut register: UniqueMmioPointer<'_, ReadWrite<W>>,
    value: W,
) {
    register.write(value);
}

/// Reads and writes of one width.
macro_rules! width {
    ($read:ident, $write:ident, $width:ty) => {
        /// Reads the register at byte `at`.
        pub(crate) fn $read(&self, at: usize) -> $width {
            let value = <$width>::from_le(load_register(self.register::<$width>(at)));
            register_first();
            value
        }

        /// Writes the register at byte `at`. A write may make the device use memory: the code that
        /// set the device's queues answers for that.
        pub(crate) fn $write(&mut self, at: usize, value: $width) {
            memory_first();
            store_register(self.register::<$width>(at), value.to_le());
        }
    };
}

impl Registers {
    /// Returns the block of `len` bytes at address `base`; `None` if it is not aligned to 4 bytes,
    /// ends beyond all addresses, or lies at address 0.
    ///
    /// # Safety
    ///
    /// The block is mapped, and nobody else uses it. It is uncached and no RAM, unless only the
    /// monitor writes it.
    pub(crate) unsafe fn new(base: usize, len: usize) -> Option<Self> {
        base.checked_add(len)?;
        let at = NonNull::new(with_exposed_provenance_mut::<u8>(base))?;
        base.is_multiple_of(4).then_some(Self { base: at, len })
    }

    /// Bytes of the block.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    fn register<W>(&self, at: usize) -> UniqueMmioPointer<'_, ReadWrite<W>> {
        let width = size_of::<W>();
        let end = at.checked_add(width).expect("an offset is below a block's length");
        assert!(end <= self.len && at.is_multiple_of(width), "register {at:#x} of {:#x}", self.len);
        let place = NonNull::new(self.base.as_ptr().wrapping_add(at).cast());
        let place = place.expect("a block ends before the last address");
        // SAFETY: `new`'s caller promised the block, in which the register lies, aligned to its
        // width; the pointer lives for one access of the block's only owner.
        unsafe { UniqueMmioPointer::new(place) }
    }

    width!(read8, write8, u8);
    width!(read16, write16, u16);
    width!(read32, write32, u32);

    /// Reads the field at byte `at` in accesses of its own width, and one of 64 bits as two
    /// (virtio 1.2, 4.1.3.1 and 4.2.2.2). Several fields are read by the width of the smallest.
    pub(crate) fn read_field<V: FromBytes + IntoBytes>(&self, at: usize) -> V {
        let mut value = V::new_zeroed();
        for (index, part) in value.as_mut_bytes().chunks_mut(width_of::<V>()).enumerate() {
            let at = at + index * width_of::<V>();
            match part.len() {
                4 => part.copy_from_slice(&self.read32(at).to_le_bytes()),
                2 => part.copy_from_slice(&self.read16(at).to_le_bytes()),
                _ => part.copy_from_slice(&[self.read8(at)]),
            }
        }
        value
    }

    /// Writes the field at byte `at`, as [`Registers::read_field`] reads it.
    pub(crate) fn write_field<V: IntoBytes + Immutable>(&mut self, at: usize, value: &V) {
        for (index, part) in value.as_bytes().chunks(width_of::<V>()).enumerate() {
            let at = at + index * width_of::<V>();
            match *part {
                [a, b, c, d] => self.write32(at, u32::from_le_bytes([a, b, c, d])),
                [a, b] => self.write16(at, u16::from_le_bytes([a, b])),
                _ => part.iter().for_each(|byte| self.write8(at, *byte)),
            }
        }
    }
}

/// Bytes of one access of a field.
const fn width_of<V>() -> usize {
    match align_of::<V>() {
        8.. => 4,
        align => align,
    }
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
    fn fields_of_every_width_are_read_as_they_were_written() {
        let mut memory = [0_u64; 6];
        let base = (&raw mut memory).expose_provenance();
        // SAFETY: the memory is this test's.
        let mut block = unsafe { Registers::new(base, 48) }.unwrap();
        block.write_field(4, &0x1122_3344_5566_7788_u64);
        block.write_field(12, &0xabcd_u16);
        block.write_field(16, b"a tag of 5");
        assert_eq!(block.read_field::<u64>(4), 0x1122_3344_5566_7788);
        assert_eq!(block.read_field::<u16>(12), 0xabcd);
        assert_eq!(&block.read_field::<[u8; 10]>(16), b"a tag of 5");
        assert_eq!([width_of::<[u8; 36]>(), width_of::<u16>(), width_of::<u64>()], [1, 2, 4]);
    }

    #[test]
    #[should_panic(expected = "register 0x2 of 0x10")]
    fn field_that_is_not_aligned_to_its_width_is_a_bug() {
        let mut memory = [0_u32; 4];
        let base = (&raw mut memory).expose_provenance();
        // SAFETY: as above.
        unsafe { Registers::new(base, 16) }.unwrap().read_field::<u32>(2);
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
