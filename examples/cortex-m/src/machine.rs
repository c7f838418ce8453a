//! What the machine knows of its stack, and how a program ends.
//!
//! Always: `unsafe` is here alone, one operation a block, with its proof.

use core::panic::PanicInfo;

use cortex_m_rt::STACK_PAINT_VALUE;
use semihosting::process;

unsafe extern "C" {
    static _stack_start: u32;
    static _stack_end: u32;
}

/// Returns the most bytes of stack that were in use at any time: all but the paint that is left.
pub fn stack_bytes_max() -> usize {
    let (mut at, end) = (&raw const _stack_end, &raw const _stack_start);
    while at < end {
        // SAFETY: `at` is a word between the two ends of the stack, which the startup code has
        // painted; whatever the stack holds there by now, a word may be read.
        if unsafe { at.read_volatile() } != STACK_PAINT_VALUE {
            break;
        }
        at = at.wrapping_add(1);
    }
    end.addr() - at.addr()
}

unsafe extern "C" {
    fn DefaultHandler();
}

/// The table of the machine's 32 interrupts, of which none is enabled. Without it the startup code
/// keeps room for 240.
// SAFETY: the section is where the startup code's script wants this name.
#[unsafe(link_section = ".vector_table.interrupts")]
#[unsafe(no_mangle)]
static __INTERRUPTS: [unsafe extern "C" fn(); 32] = [DefaultHandler; 32];

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    process::exit(101)
}

#[cortex_m_rt::exception]
unsafe fn HardFault(_: &cortex_m_rt::ExceptionFrame) -> ! {
    process::exit(102)
}
