//! rootlet on QEMU's microvm machine, and on monitors with the same boot protocol.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this is a bare-metal image: build it with --target x86_64-unknown-none");
}

#[cfg(target_os = "none")]
use rootlet_board::board::{Board, USUAL};

#[cfg(target_os = "none")]
rootlet_board::main!(Board { name: "microvm", ..USUAL }, machine: rootlet_board::guest::run);
