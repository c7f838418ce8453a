//! The panic handler.
//!
//! Always: takes no lock and allocates nothing, so a panic inside the console or the allocator
//! is reported like any other; a panic while one is reported ends the machine, too (`verdict`).

use core::fmt::Write;
use core::panic::PanicInfo;

use crate::verdict::{self, Ending};

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    verdict::emergency(Ending::Panicked, |message| match info.location() {
        Some(place) => {
            write!(message, "panic at {}:{}: {}", place.file(), place.line(), info.message())
        }
        None => write!(message, "panic: {}", info.message()),
    })
}
