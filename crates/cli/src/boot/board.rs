//! The machines that a rootlet boots on.
//!
//! Always: everything that differs between boards on the host's side is said here, in one place
//! for each board.

use anyhow::Result;
use clap::ValueEnum;

use crate::exit::usage;

/// A board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Board {
    /// QEMU's microvm: x86_64, PVH, virtio-mmio (virtio-pci with --bus pci)
    Microvm,
    /// QEMU's q35: x86_64, PVH, virtio-pci
    Q35,
    /// QEMU's virt: aarch64, Linux image, virtio-mmio (virtio-pci with --bus pci)
    #[value(name = "virt-aarch64")]
    VirtAarch64,
    /// QEMU's virt: riscv64, OpenSBI, virtio-mmio (virtio-pci with --bus pci)
    #[value(name = "virt-riscv64")]
    VirtRiscv64,
}

/// What devices are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Bus {
    /// virtio-mmio
    Mmio,
    /// virtio-pci
    Pci,
}

impl Bus {
    /// The name, as it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mmio => "mmio",
            Self::Pci => "pci",
        }
    }

    /// QEMU's name for a disk on it.
    pub fn disk(self) -> &'static str {
        match self {
            Self::Mmio => "virtio-blk-device",
            Self::Pci => "virtio-blk-pci",
        }
    }

    /// QEMU's name for a disk of a daemon on it.
    pub fn daemon_disk(self) -> &'static str {
        match self {
            Self::Mmio => "vhost-user-blk",
            Self::Pci => "vhost-user-blk-pci",
        }
    }

    /// QEMU's name for a share on it.
    pub fn share(self) -> &'static str {
        match self {
            Self::Mmio => "vhost-user-fs-device",
            Self::Pci => "vhost-user-fs-pci",
        }
    }
}

/// How a board's log leaves the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    /// By isa-debugcon.
    Debugcon,
    /// By semihosting.
    Semihosting,
}

/// A bus of a board.
#[derive(Clone, Copy, Debug)]
pub struct Socket {
    /// Which.
    pub bus: Bus,
    /// QEMU's machine with it.
    pub machine: &'static str,
    /// The most virtio devices that QEMU finds room for.
    pub devices_max: usize,
}

/// What the tool knows of a board.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The cargo package, whose binary has the same name.
    pub package: &'static str,
    /// The Rust target.
    pub target: &'static str,
    /// The architecture, as Rust names it.
    pub arch: &'static str,
    /// The emulator.
    pub qemu: &'static str,
    /// Arguments of QEMU that the board wants.
    pub arguments: &'static [&'static str],
    /// The log channel.
    pub log: Log,
    /// The buses, the usual one first.
    pub sockets: &'static [Socket],
}

const PC: Facts = Facts {
    package: "",
    target: "x86_64-unknown-none",
    arch: "x86_64",
    qemu: "qemu-system-x86_64",
    arguments: &["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"],
    log: Log::Debugcon,
    sockets: &[],
};

const MICROVM: Facts = Facts {
    package: "microvm",
    sockets: &[
        // With ACPI off there are 8 slots; that there are 24 with ACPI on costs 30 ms a boot.
        Socket { bus: Bus::Mmio, machine: "microvm,acpi=off", devices_max: 8 },
        // Without ACPI QEMU makes no PCI here.
        Socket { bus: Bus::Pci, machine: "microvm,pcie=on", devices_max: 31 },
    ],
    ..PC
};

const Q35: Facts = Facts {
    package: "q35",
    // The host bridge and the chipset have two of 32 places.
    sockets: &[Socket { bus: Bus::Pci, machine: "q35", devices_max: 30 }],
    ..PC
};

const VIRT_AARCH64: Facts = Facts {
    package: "virt-aarch64",
    target: "aarch64-unknown-none",
    arch: "aarch64",
    qemu: "qemu-system-aarch64",
    // The machine's own choice is a processor of 32 bits.
    arguments: &["-cpu", "max"],
    log: Log::Semihosting,
    sockets: &[
        Socket { bus: Bus::Mmio, machine: "virt", devices_max: 32 },
        Socket { bus: Bus::Pci, machine: "virt", devices_max: 31 },
    ],
};

const VIRT_RISCV64: Facts = Facts {
    package: "virt-riscv64",
    target: "riscv64gc-unknown-none-elf",
    arch: "riscv64",
    qemu: "qemu-system-riscv64",
    arguments: &[],
    log: Log::Semihosting,
    sockets: &[
        Socket { bus: Bus::Mmio, machine: "virt", devices_max: 8 },
        Socket { bus: Bus::Pci, machine: "virt", devices_max: 31 },
    ],
};

impl Board {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Microvm, Self::Q35, Self::VirtAarch64, Self::VirtRiscv64];

    /// What the tool knows of it.
    pub fn facts(self) -> &'static Facts {
        match self {
            Self::Microvm => &MICROVM,
            Self::Q35 => &Q35,
            Self::VirtAarch64 => &VIRT_AARCH64,
            Self::VirtRiscv64 => &VIRT_RISCV64,
        }
    }

    /// The cargo package, whose binary has the same name.
    pub fn package(self) -> &'static str {
        self.facts().package
    }

    /// The Rust target.
    pub fn target(self) -> &'static str {
        self.facts().target
    }

    /// The architecture, as Rust names it.
    pub fn arch(self) -> &'static str {
        self.facts().arch
    }

    /// The emulator.
    pub fn qemu(self) -> &'static str {
        self.facts().qemu
    }

    /// The bus that is asked for, or the usual one.
    pub fn socket(self, wanted: Option<Bus>) -> Result<&'static Socket> {
        let sockets = self.facts().sockets;
        let mut fitting =
            sockets.iter().filter(|socket| wanted.is_none_or(|bus| bus == socket.bus));
        fitting.next().ok_or_else(|| {
            let has: Vec<&str> = sockets.iter().map(|socket| socket.bus.name()).collect();
            let bus = wanted.map_or("", Bus::name);
            usage(format!("{} has no --bus {bus}: it has {}", self.package(), has.join(", ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_board_is_called_as_its_package() {
        for board in Board::ALL {
            let name = board.to_possible_value().unwrap();
            assert_eq!(name.get_name(), board.package());
        }
    }

    #[test]
    fn bus_that_a_board_does_not_have_is_refused_with_those_that_it_has() {
        assert_eq!(Board::Microvm.socket(None).unwrap().bus, Bus::Mmio);
        assert_eq!(Board::Microvm.socket(Some(Bus::Pci)).unwrap().machine, "microvm,pcie=on");
        let error = Board::Q35.socket(Some(Bus::Mmio)).unwrap_err().to_string();
        assert_eq!(error, "q35 has no --bus mmio: it has pci");
    }
}
