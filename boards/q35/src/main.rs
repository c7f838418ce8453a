//! rootlet on QEMU's q35 machine.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this is a bare-metal image: build it with --target x86_64-unknown-none");
}

#[cfg(target_os = "none")]
use rootlet_board::board::{Board, Bus, Log, Serial};
#[cfg(target_os = "none")]
use rootlet_board::pci::{Access, Window};

#[cfg(target_os = "none")]
rootlet_board::main!(
    Board {
        name: "q35",
        console: Serial::Port(0x3f8),
        log: Log::Port(0xe9),
        // Above RAM and below the interrupt controller. SeaBIOS has placed everything there already;
        // other firmware need not.
        buses: &[Bus::Pci { access: Access::Ports, window: Window::new(0xc000_0000, 0xfe00_0000) }],
    },
    machine: rootlet_board::guest::run
);
