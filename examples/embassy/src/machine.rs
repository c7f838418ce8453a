//! The heap of the machine, its timer, and how a program ends.
//!
//! Always: `unsafe` is here alone, one operation a block, with its proof.

use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use cortex_m::peripheral::syst::SystClkSource;
use embedded_alloc::LlffHeap;
use semihosting::process;

/// Cycles between two interrupts of the timer: a millisecond at 25 MHz.
const CYCLES: u32 = 25_000;

const HEAP_BYTES: usize = 2 << 20;
static mut HEAP_MEMORY: [u8; HEAP_BYTES] = [0; HEAP_BYTES];

#[global_allocator]
static HEAP: LlffHeap = LlffHeap::empty();

/// Gives the heap its memory.
///
/// # Panics
/// If it is called twice.
pub fn start_heap() {
    static IS_STARTED: AtomicBool = AtomicBool::new(false);
    assert!(!IS_STARTED.swap(true, Ordering::Relaxed), "one heap");
    let memory = &raw mut HEAP_MEMORY;
    // SAFETY: the swap lets one call get here, and nobody else names the memory.
    unsafe { HEAP.init(memory.addr(), HEAP_BYTES) };
}

/// Starts the timer, whose interrupt is the exception SysTick.
pub fn start_timer(mut core: cortex_m::Peripherals) {
    core.SYST.set_clock_source(SystClkSource::Core);
    core.SYST.set_reload(CYCLES - 1);
    core.SYST.clear_current();
    core.SYST.enable_counter();
    core.SYST.enable_interrupt();
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    semihosting::println!("{info}");
    process::exit(101)
}

#[cortex_m_rt::exception]
unsafe fn HardFault(_: &cortex_m_rt::ExceptionFrame) -> ! {
    process::exit(102)
}
