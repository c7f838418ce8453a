//! Hardware in the loop, with QEMU in the place of the hardware: at the far end of a terminal that
//! stands for the serial line, or as the runner itself.
//!
//! Always: what is compared is the tool's exit status, its output, and the report as an XML parser
//! of others reads it.

mod junit;
mod rig;
mod sample;
mod wire;
