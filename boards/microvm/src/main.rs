//! rootlet on QEMU's microvm machine, and on monitors with the same boot protocol.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this is a bare-metal image: build it with --target x86_64-unknown-none");
}

#[cfg(target_os = "none")]
use platform::board::{Board, Bus, Log, Serial};
#[cfg(target_os = "none")]
use platform::pci::{Access, Window};

#[cfg(target_os = "none")]
platform::board!(
    Board {
        name: "microvm",
        console: Serial::Port(0x3f8),
        log: Log::Port(0xe9),
        buses: &[
            // Where microvm has its slots; with `acpi=off` it also names the ones in use.
            Bus::Mmio { base: 0xfeb0_0000, stride: 512, count: 24 },
            // With `pcie=on` (QEMU, hw/i386/microvm.c). Firmware gives no addresses here.
            Bus::Pci {
                access: Access::Memory { base: 0xe000_0000, buses: 256 },
                window: Window::new(0xc000_0000, 0xe000_0000),
            },
        ],
    },
    platform::guest::run
);
