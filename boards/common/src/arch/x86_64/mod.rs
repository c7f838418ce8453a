//! x86-64 after a PVH boot: identity-mapped, one processor, interrupts off.
//!
//! Always: every port and register that is touched belongs to the platform of every board with
//! this boot protocol (16550, isa-debugcon, isa-debug-exit, local APIC); nothing else drives it.

mod clock;
mod entry;
mod exception;
mod exit;
mod paging;
mod port;
mod segments;
mod start_info;

pub(crate) use clock::{Calibration, ticks};
pub(crate) use exit::exit;
pub(crate) use port::{interrupts_off, interrupts_restore, log_bytes, send, serial_init};
