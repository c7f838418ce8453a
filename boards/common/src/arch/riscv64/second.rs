//! The second processor: started by the SBI, in the state that the first one was started in.
//!
//! Always: the second hart has stacks of its own, and the translation of the first.
//!
//! Source: RISC-V SBI 2.0, 9 (hart state management).

use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicUsize, Ordering};

use super::{entry, halt, paging, sbi};
use crate::arch::stack::Stacks;
use crate::device_tree;
use crate::second::{self, Absent};

const HART_STATE: usize = 0x48_534d;
const START: usize = 0;

/// What the second hart takes: the end of its stack of faults, the end of its stack, and satp.
static TAKEN: [AtomicUsize; 3] = [const { AtomicUsize::new(0) }; 3];

/// The hart that runs the program.
static FIRST: AtomicUsize = AtomicUsize::new(0);

global_asm!(
    ".global second_begin",
    ".balign 4",
    "second_begin:",
    "csrw sie, zero",
    "csrci sstatus, {sie}",
    "li t0, {fs}",
    "csrs sstatus, t0",
    "lla t0, exception_vector",
    "csrw stvec, t0",
    "ld t0, 0(a1)",
    "csrw sscratch, t0",
    "ld sp, 8(a1)",
    "ld t0, 16(a1)",
    "sfence.vma",
    "csrw satp, t0",
    "sfence.vma",
    "li tp, 1",
    "mv ra, zero",
    "mv s0, zero",
    "call {rust}",
    "unimp",
    sie = const super::SIE,
    fs = const entry::FS,
    rust = sym second_start,
);

unsafe extern "C" {
    /// Where the second hart begins; never called from Rust.
    safe static second_begin: u8;
}

/// Notes the hart that runs the program; called once at entry.
pub(super) fn note_first(hart: usize) {
    FIRST.store(hart, Ordering::Relaxed);
}

/// Returns the hart that runs the program.
pub(super) fn first() -> usize {
    FIRST.load(Ordering::Relaxed)
}

/// What starts a second processor.
pub(crate) struct Start {
    hart: usize,
}

impl Start {
    /// Readies the stacks of a second processor.
    ///
    /// # Errors
    ///
    /// [`Absent`].
    pub(crate) fn prepare() -> Result<Self, Absent> {
        let tree = device_tree::get().ok_or(Absent::NoWay)?;
        let own = FIRST.load(Ordering::Relaxed) as u64;
        let mut others = tree.processors.iter().filter(|hart| **hart != own);
        let hart = *others.next().ok_or(Absent::Alone)?;
        let stacks = Stacks::allocate().ok_or(Absent::Memory)?;
        paging::unmap(stacks.guard()).ok_or(Absent::Memory)?;
        let satp: usize;
        // SAFETY: the supervisor may always read it.
        unsafe { asm!("csrr {}, satp", out(reg) satp, options(nomem, nostack, preserves_flags)) };
        for (place, word) in TAKEN.iter().zip([stacks.fault_top(), stacks.top(), satp]) {
            place.store(word, Ordering::Relaxed);
        }
        Ok(Self { hart: hart as usize })
    }

    /// Asks firmware to start the hart. One that firmware does not start does not come.
    pub(crate) fn start(self) {
        let (begin, taken) = ((&raw const second_begin).addr(), (&raw const TAKEN).addr());
        // SAFETY: the other hart begins with code of ours that uses stacks of its own.
        unsafe { sbi::call(HART_STATE, START, [self.hart, begin, taken]) };
    }
}

/// Returns whether the second processor runs this.
pub(super) fn is_second() -> bool {
    let number: usize;
    // SAFETY: the register is ours, and the entry code of each hart sets it.
    unsafe { asm!("mv {}, tp", out(reg) number, options(nomem, nostack, preserves_flags)) };
    number != 0
}

/// Runs the first Rust code of the second hart.
extern "C" fn second_start() -> ! {
    second::take();
    halt()
}
