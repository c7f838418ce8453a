//! The stacks of a processor: one for the program, one for what ends it.
//!
//! Always: the lowest page of a program's stack is a guard, which `paging` unmaps, so that an
//! overflow is a fault with an address; faults are reported on the other one. Nothing relies on
//! what is in them at first, and the linker scripts place those of the first processor where no
//! entry code zeroes them.

/// Bytes of the stack that can be used; its guard page lies below.
const STACK_BYTES: usize = 256 * 1024;
/// Bytes of the stack of faults.
pub(crate) const FAULT_STACK_BYTES: usize = 16 * 1024;

/// The stack with its guard page, which is the lowest.
#[repr(C, align(4096))]
pub(crate) struct Stack {
    guard: [u8; 4096],
    bytes: [u8; STACK_BYTES],
}

/// The stack of faults.
#[repr(C, align(16))]
pub(crate) struct FaultStack([u8; FAULT_STACK_BYTES]);

#[cfg_attr(target_os = "none", unsafe(link_section = ".bss.stack"))]
pub(crate) static mut STACK: Stack = Stack { guard: [0; 4096], bytes: [0; STACK_BYTES] };
#[cfg_attr(target_os = "none", unsafe(link_section = ".bss.stack"))]
pub(crate) static mut FAULT_STACK: FaultStack = FaultStack([0; FAULT_STACK_BYTES]);

/// Both stacks of a processor in one piece.
#[repr(C)]
struct Both {
    stack: Stack,
    faults: FaultStack,
}

/// The stacks of another processor, which has them for ever.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stacks {
    first: usize,
}

impl Stacks {
    /// Allocates stacks; `None` if there is no memory for them. The guard is mapped.
    pub(crate) fn allocate() -> Option<Self> {
        let layout = core::alloc::Layout::new::<Both>();
        // SAFETY: the layout is not empty.
        let first = core::ptr::NonNull::new(unsafe { alloc::alloc::alloc(layout) })?;
        Some(Self { first: first.expose_provenance().get() })
    }

    /// Returns the address of the guard page.
    pub(crate) fn guard(self) -> u64 {
        self.first as u64
    }

    /// Returns the address after the program's stack.
    pub(crate) fn top(self) -> usize {
        self.first + core::mem::offset_of!(Both, faults)
    }

    /// Returns the address after the stack of faults.
    pub(crate) fn fault_top(self) -> usize {
        self.first + size_of::<Both>()
    }
}
