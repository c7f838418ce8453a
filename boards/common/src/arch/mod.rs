//! One folder per architecture, each with the same names in it.
//!
//! Always: nothing outside this folder knows an instruction, a port or a register address of a
//! processor. What an architecture offers: `ticks`/`calibrate` (clock), `send` (console),
//! `log_byte` (log channel), `interrupts_off`/`interrupts_restore` (critical section), `exit`.

#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::*;
