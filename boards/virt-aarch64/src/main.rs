//! rootlet on QEMU's virt machine for aarch64, and on monitors with the same boot protocol.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this is a bare-metal image: build it with --target aarch64-unknown-none");
}

#[cfg(target_os = "none")]
use platform::board::{Board, Bus, Log, Serial};

#[cfg(target_os = "none")]
platform::board!(
    Board {
        name: "virt-aarch64",
        // Until the device tree names another.
        console: Serial::Pl011(0x0900_0000),
        log: Log::Semihosting,
        buses: &[Bus::Tree],
        tree: 0x4000_0000,
    },
    platform::guest::run
);
