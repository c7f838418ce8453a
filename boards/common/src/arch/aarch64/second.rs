//! The second processor: started by PSCI, in the state that the first one was started in.
//!
//! Always: the second processor reads nothing that the first one wrote before its own caches are on.
//!
//! Source: Arm DEN 0022, 5.6 (CPU_ON).

use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicUsize, Ordering};

use super::{halt, paging, psci};
use crate::arch::stack::Stacks;
use crate::device_tree::{self, Conduit};
use crate::second::{self, Absent};

const CPU_ON: u64 = 0xc400_0003;
/// What of MPIDR_EL1 tells processors apart.
const AFFINITY: u64 = 0xff_00ff_ffff;

/// The end of the second processor's stack of faults, and that of its stack.
static STACK_TOPS: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

global_asm!(
    ".global second_begin",
    "second_begin:",
    "msr daifset, #0xf",
    "bl enter_el1",
    "mov x9, #1",
    "msr tpidr_el1, x9",
    "bl mmu_on",
    "adrp x9, {tops}",
    "add x9, x9, :lo12:{tops}",
    "ldp x9, x10, [x9]",
    "msr spsel, #1",
    "mov sp, x9",
    "msr spsel, #0",
    "mov sp, x10",
    "mov x29, xzr",
    "mov x30, xzr",
    "bl {rust}",
    "b .",
    tops = sym STACK_TOPS,
    rust = sym second_start,
);

unsafe extern "C" {
    /// Where the second processor begins; never called from Rust.
    safe static second_begin: u8;
}

/// What starts a second processor.
pub(crate) struct Start {
    conduit: Conduit,
    affinity: u64,
}

impl Start {
    /// Readies the stacks of a second processor.
    ///
    /// # Errors
    ///
    /// [`Absent`].
    pub(crate) fn prepare() -> Result<Self, Absent> {
        let tree = device_tree::get().ok_or(Absent::NoWay)?;
        let conduit = tree.psci.ok_or(Absent::NoWay)?;
        let own = own_affinity();
        let mut others = tree.processors.iter().filter(|affinity| **affinity != own);
        let affinity = *others.next().ok_or(Absent::Alone)?;
        let stacks = Stacks::allocate().ok_or(Absent::Memory)?;
        paging::unmap(stacks.guard()).ok_or(Absent::Memory)?;
        STACK_TOPS[0].store(stacks.fault_top(), Ordering::Relaxed);
        STACK_TOPS[1].store(stacks.top(), Ordering::Relaxed);
        Ok(Self { conduit, affinity })
    }

    /// Asks firmware to start the processor. One that firmware does not start does not come.
    pub(crate) fn start(self) {
        let (target, begin) = (self.affinity, (&raw const second_begin).addr());
        // SAFETY: the device tree names the way to firmware; the other processor begins with code of
        // ours that uses stacks of its own.
        unsafe { psci::call(self.conduit, CPU_ON, [target, begin as u64, 0]) };
    }
}

/// Returns whether the second processor runs this.
pub(super) fn is_second() -> bool {
    let number: u64;
    // SAFETY: the register is ours, and the entry code of each processor sets it.
    unsafe { asm!("mrs {}, tpidr_el1", out(reg) number, options(nomem, nostack, preserves_flags)) };
    number != 0
}

fn own_affinity() -> u64 {
    let own: u64;
    // SAFETY: EL1 may always read it.
    unsafe { asm!("mrs {}, mpidr_el1", out(reg) own, options(nomem, nostack, preserves_flags)) };
    own & AFFINITY
}

/// Runs the first Rust code of the second processor.
extern "C" fn second_start() -> ! {
    second::take();
    halt()
}
