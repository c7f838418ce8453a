//! The panic handler.
//!
//! Always: takes no lock and allocates nothing, so a panic inside the console or the allocator
//! is reported like any other; a panic while reporting one ends the machine at once.

use core::fmt::Write;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::exit;
use crate::text::Message;
use crate::verdict::{self, Ending};

static PANICKING: AtomicBool = AtomicBool::new(false);

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    if PANICKING.swap(true, Ordering::Relaxed) {
        exit::exit(Ending::Panicked);
    }
    let mut message = Message::new();
    // A message that is full is cut, which is what is wanted.
    let _ = match info.location() {
        Some(place) => {
            write!(message, "panic at {}:{}: {}", place.file(), place.line(), info.message())
        }
        None => write!(message, "panic: {}", info.message()),
    };
    verdict::emergency(Ending::Panicked, message.as_str())
}
