//! Hardware in the loop, with QEMU in the place of the hardware: behind a terminal that stands for
//! the serial line, or as the runner itself.
//!
//! Always: what is compared is the tool's exit status, its output, and the report as an XML parser
//! of others reads it.

#[expect(dead_code, reason = "boots under the tool's own QEMU are tested elsewhere")]
#[path = "../board/boot.rs"]
mod boot;
mod junit;
mod rig;
#[expect(dead_code, reason = "boots under the tool's own QEMU are tested elsewhere")]
#[path = "../board/sample.rs"]
mod sample;
mod wire;
