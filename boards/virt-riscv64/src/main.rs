//! rootlet on QEMU's virt machine for riscv64, and on monitors with the same boot protocol.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this is a bare-metal image: build it with --target riscv64gc-unknown-none-elf");
}

#[cfg(target_os = "none")]
use rootlet_board::board::{Board, USUAL};

#[cfg(target_os = "none")]
rootlet_board::main!(Board { name: "virt-riscv64", ..USUAL }, machine: rootlet_board::guest::run);
