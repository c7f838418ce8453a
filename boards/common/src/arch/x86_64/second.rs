//! The second processor: woken by the local APIC in real mode, and led to 64-bit mode.
//!
//! Always: of all processors that wake, the first works, once; every other one halts, and touches
//! nothing but the counter of those that came. What the second processor needs is in its place
//! before it is woken.
//!
//! Sources: Intel SDM volume 3, 9.4 (waking processors), 10.8.5 (switching to IA-32e mode, here from
//! real mode in one step), 11.6.1 (commands). A processor of this century needs no pause between the
//! commands (Linux, `arch/x86/kernel/smpboot.c`, `smp_set_init_udelay`).

use core::arch::global_asm;
use core::ptr::{copy_nonoverlapping, with_exposed_provenance_mut};
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::clock::ticks;
use super::paging::{self, PML4};
use super::{apic, exception, halt, segments};
use crate::arch::stack::Stacks;
use crate::second::{self, Absent};

/// Where the code for real mode is copied: conventional memory, of which every PC has more. All that
/// a loader may have left there has been read.
const REAL_MODE: usize = 0x8000;

/// Commands of the local APIC: to begin anew, and to begin at a page (Intel SDM volume 3, 11.6.1).
const INIT: u32 = 0x4500;
const STARTUP: u32 = 0x4600 | (REAL_MODE >> 12) as u32;
/// Ticks in which a processor comes before the second command, which the SDM asks for: some
/// hundreds of microseconds.
const COMES_TICKS: u64 = 1 << 20;

/// How many processors have come.
static CAME: AtomicU32 = AtomicU32::new(0);
/// The end of the second processor's stack, and that of its stack of faults.
static STACK_TOP: AtomicUsize = AtomicUsize::new(0);
static FAULT_STACK_TOP: AtomicUsize = AtomicUsize::new(0);

// In the syntax of AT&T, which alone has far jumps between modes.
global_asm!(
    ".global real_mode_begin, real_mode_end",
    ".code16",
    "real_mode_begin:",
    "cli",
    "movw %cs, %ax",
    "movw %ax, %ds",
    "movl $0x220, %eax", // PAE, OSFXSR
    "movl %eax, %cr4",
    "movl ${pml4}, %eax",
    "movl %eax, %cr3",
    "movl $0xc0000080, %ecx", // EFER.LME
    "rdmsr",
    "orl $0x100, %eax",
    "wrmsr",
    "lgdtl (real_mode_table - real_mode_begin)",
    "movl %cr0, %eax",
    "andl $0x9ffffff3, %eax", // as in `entry`, and PE
    "orl $0x80010023, %eax",
    "movl %eax, %cr0",
    "ljmpl ${code}, $second_begin",
    "real_mode_table:",
    ".word {limit}",
    ".long {table}",
    "real_mode_end:",
    ".code64",
    "second_begin:",
    "movl ${data}, %eax",
    "movl %eax, %ss",
    "movl %eax, %ds",
    "movl %eax, %es",
    "xorl %eax, %eax",
    "movl %eax, %fs",
    "movl %eax, %gs",
    "movl $1, %eax",
    "lock xaddl %eax, {came}(%rip)",
    "testl %eax, %eax",
    "jnz 2f",
    "movq {stack_top}(%rip), %rsp",
    "xorl %ebp, %ebp",
    "call {rust}",
    "2:",
    "cli",
    "hlt",
    "jmp 2b",
    pml4 = sym PML4,
    limit = const size_of::<segments::Table>() - 1,
    table = sym segments::TABLE,
    code = const segments::CODE,
    data = const segments::DATA,
    came = sym CAME,
    stack_top = sym STACK_TOP,
    rust = sym second_start,
    options(att_syntax),
);

unsafe extern "C" {
    /// The code for real mode, and its end; never called from Rust.
    safe static real_mode_begin: u8;
    safe static real_mode_end: u8;
}

/// What starts a second processor.
pub(crate) struct Start(());

impl Start {
    /// Readies the stacks of a second processor.
    ///
    /// # Errors
    ///
    /// [`Absent`].
    pub(crate) fn prepare() -> Result<Self, Absent> {
        if !apic::is_there() {
            return Err(Absent::NoWay);
        }
        let stacks = Stacks::allocate().ok_or(Absent::Memory)?;
        paging::unmap(stacks.guard()).ok_or(Absent::Memory)?;
        STACK_TOP.store(stacks.top(), Ordering::Relaxed);
        FAULT_STACK_TOP.store(stacks.fault_top(), Ordering::Relaxed);
        let (begin, end) = (&raw const real_mode_begin, (&raw const real_mode_end).addr());
        let to = with_exposed_provenance_mut(REAL_MODE);
        // SAFETY: the code is in the image, and below 1 MiB no memory is ours but the page that it
        // is copied to.
        unsafe { copy_nonoverlapping(begin, to, end - begin.addr()) };
        Ok(Self(()))
    }

    /// Wakes all other processors, and does not wait for them longer than a moment.
    pub(crate) fn start(self) {
        apic::send_to_others(INIT);
        apic::send_to_others(STARTUP);
        let begin = ticks();
        while CAME.load(Ordering::Relaxed) == 0 {
            if ticks().wrapping_sub(begin) > COMES_TICKS {
                return apic::send_to_others(STARTUP);
            }
            core::hint::spin_loop();
        }
    }
}

/// Runs the first Rust code of the second processor.
extern "C" fn second_start() -> ! {
    segments::load_second(FAULT_STACK_TOP.load(Ordering::Relaxed));
    exception::load();
    apic::begin();
    second::take();
    halt()
}
