//! Ends the machine with a status that its host sees, where there is a way to one.
//!
//! Always: does not return, whatever the machine has; each way to end it is tried once, whatever
//! goes wrong in one; the status of QEMU means the same on every board.

use core::sync::atomic::{AtomicUsize, Ordering};

use spin::Once;

use crate::arch;
use crate::verdict::Ending;

/// Returns the status of QEMU: odd, because isa-debug-exit gives no other, and never 0 or 1, which
/// QEMU itself ends with.
fn status(ending: Ending) -> u8 {
    match ending {
        Ending::Passed => 33,
        Ending::Failed => 35,
        Ending::Panicked => 37,
        Ending::Exception => 39,
    }
}

static ENDING: Once<Ending> = Once::new();
/// The next of the ways to end the machine.
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// Returns whether the machine is being ended: faults from then on are not reported.
pub(crate) fn has_begun() -> bool {
    ENDING.is_completed()
}

/// Ends the machine by the first of the ways in `arch::WAYS_OUT` that works. A fault in one way
/// leads back here, and to the next way.
pub(crate) fn exit(ending: Ending) -> ! {
    let ending = *ENDING.call_once(|| ending);
    while let Some(way) = arch::WAYS_OUT.get(NEXT.fetch_add(1, Ordering::Relaxed)) {
        way(ending, status(ending));
    }
    arch::halt()
}
