//! The machines that a rootlet boots on.
//!
//! Always: everything that differs between boards on the host's side is said here.

use clap::ValueEnum;

/// A board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Board {
    /// QEMU's microvm: x86_64, PVH entry, virtio-mmio
    Microvm,
}

impl Board {
    /// The cargo package, whose binary has the same name.
    pub fn package(self) -> &'static str {
        match self {
            Self::Microvm => "microvm",
        }
    }

    /// The Rust target.
    pub fn target(self) -> &'static str {
        match self {
            Self::Microvm => "x86_64-unknown-none",
        }
    }

    /// The architecture, as Rust names it.
    pub fn arch(self) -> &'static str {
        match self {
            Self::Microvm => "x86_64",
        }
    }

    /// The emulator.
    pub fn qemu(self) -> &'static str {
        match self {
            Self::Microvm => "qemu-system-x86_64",
        }
    }

    /// The most virtio devices that QEMU finds room for. With ACPI off, as here, microvm has 8
    /// slots; that it has 24 with ACPI on costs 30 ms of every boot.
    pub fn devices_max(self) -> usize {
        match self {
            Self::Microvm => 8,
        }
    }
}
