//! One folder per architecture, each with the same names in it.
//!
//! Always: nothing outside this folder knows an instruction or a register of a processor. What
//! every architecture offers: `ticks` and `Calibration` (clock), `interrupts_off` and
//! `interrupts_restore` (critical section), `map` and `forget_translations` (paging),
//! `is_emulated`, `nap` (waiting), `random` (a random number, where the processor has one),
//! `answers8` and `answers32` (whether a register is there), `WAYS_OUT`, `has_way_out` and `halt`
//! (the end of the machine), `Start` (a second processor), `facts` and `hand_over` (another program
//! gets the machine), and an entry that ends in `start::run`. What a kind of device needs of
//! one alone (ports, the trap of semihosting) stands there, too. What more than one has in the same
//! form stands beside the folders.

mod stack;

/// What lies at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Memory.
    Ram,
    /// Registers of a device.
    Registers,
}

#[cfg(not(target_arch = "x86_64"))]
mod ask;
#[cfg(not(target_arch = "x86_64"))]
mod counter;

#[cfg(not(target_arch = "x86_64"))]
pub(crate) use ask::{answers8, answers32, semihosting_call};
#[cfg(not(target_arch = "x86_64"))]
pub(crate) use counter::Calibration;

#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::*;

#[cfg(target_arch = "aarch64")]
mod aarch64;

#[cfg(target_arch = "aarch64")]
pub(crate) use aarch64::*;

#[cfg(target_arch = "riscv64")]
mod riscv64;

#[cfg(target_arch = "riscv64")]
pub(crate) use riscv64::*;
