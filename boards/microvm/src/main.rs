//! rootlet on QEMU's microvm machine.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this is a bare-metal image: build it with --target x86_64-unknown-none");
}

#[cfg(target_os = "none")]
platform::board!(
    platform::Board {
        name: "microvm",
        // Where microvm has its slots; with `acpi=off` it also names the ones in use.
        virtio: platform::board::Bus::Mmio { base: 0xfeb0_0000, stride: 512, count: 24 },
    },
    platform::guest::run
);
