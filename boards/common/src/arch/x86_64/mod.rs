//! x86-64 after a PVH boot: identity-mapped, interrupts off but for naps, one processor but while a
//! second one is lent some work.
//!
//! Always: every port and register that is touched belongs to the platform of every board with
//! this boot protocol (local APIC, PCI's ports), or is the board's; nothing else drives it.

mod apic;
mod clock;
mod entry;
mod exception;
mod halt;
mod handover;
mod paging;
mod port;
mod random;
mod second;
mod segments;
mod start_info;

pub(crate) use ::x86_64::instructions::tlb::flush_all as forget_translations;
pub(crate) use apic::nap;
pub(crate) use clock::{Calibration, is_emulated, ticks, ticks_per_second_at_most};
pub(crate) use halt::{WAYS_OUT, by_acpi, halt, has_way_out};
pub(crate) use handover::{facts, hand_over};
pub(crate) use paging::map;
pub(crate) use port::{
    interrupts_off, interrupts_restore, pci_read, pci_write, read_port8, write_port8,
};
pub(crate) use random::random;
pub(crate) use second::Start;

/// Returns whether a byte of a register can be read: always, as a register without a device
/// reads as some value.
pub(crate) fn answers8(_: usize) -> bool {
    true
}

/// Returns what [`answers8`] does, for 32 bits.
pub(crate) fn answers32(_: usize) -> bool {
    true
}
