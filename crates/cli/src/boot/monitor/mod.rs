//! The monitors that run guests, and what each can give them.
//!
//! Always: a planner is pure: it makes a command, and files to be written, out of a machine;
//! whatever a monitor lacks is refused by name, with the way round, before anything is built.

pub mod args;
mod cloud_hypervisor;
mod firecracker;
mod machine;
pub mod qemu;

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::boot::board::{Board, Bus};
use crate::exit::{self, usage};
use crate::programs::find_in_path;
use crate::size::Size;

pub use args::MachineArgs;
pub use machine::{Disk, Launch, Machine, ShareDevice, pasteable};

/// A virtual machine monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Monitor {
    /// QEMU, which also emulates
    Qemu,
    /// Firecracker: KVM, disks on virtio-mmio or PCI, no shares
    Firecracker,
    /// Cloud Hypervisor: KVM, disks and shares on PCI
    CloudHypervisor,
}

/// Where a monitor has room for a board's devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// What they are on.
    pub bus: Bus,
    /// How many there may be.
    pub devices_max: usize,
}

/// What the tool knows of a monitor.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Its name, for a person.
    pub name: &'static str,
    /// Its program; `None` where each board has one of its own.
    program: Option<&'static str>,
    /// The variable that may name another file than PATH has.
    variable: Option<&'static str>,
    /// Whether it can run a guest without KVM.
    pub emulates: bool,
    /// Whether it has virtio-fs.
    pub has_shares: bool,
    /// Whether the guest's log can leave it.
    pub has_log: bool,
    /// Whether its exit status says how the guest ended.
    pub has_statuses: bool,
    /// Whether it names disks by their files, and not by the serials that the user gives them.
    pub names_disks: bool,
    /// Arguments that send its own messages to standard error, which has to be a pipe, and not
    /// between those of the guest.
    pub apart: &'static [&'static str],
}

impl Monitor {
    /// What the tool knows of it.
    pub fn facts(self) -> &'static Facts {
        match self {
            Self::Qemu => &qemu::FACTS,
            Self::Firecracker => &firecracker::FACTS,
            Self::CloudHypervisor => &cloud_hypervisor::FACTS,
        }
    }

    /// Its name, for a person.
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// Its program.
    pub fn program(self, board: Board) -> &'static str {
        self.facts().program.unwrap_or(board.qemu())
    }

    /// Finds its program.
    ///
    /// # Errors
    /// It is neither where its variable says nor in PATH; the tool does not install it.
    pub fn find(self, board: Board) -> Result<PathBuf> {
        let (program, variable) = (self.program(board), self.facts().variable);
        match variable.and_then(|name| Some((name, env::var_os(name)?))) {
            Some((name, file)) => match Path::new(&file).is_file() {
                true => Ok(file.into()),
                false => {
                    let file = file.display();
                    Err(exit::stop(exit::SETUP, format!("{name} names {file}, which is no file")))
                }
            },
            None => find_in_path(program).ok_or_else(|| {
                let or = variable.map_or(String::new(), |name| format!(", and {name} is not set"));
                exit::stop(
                    exit::SETUP,
                    format!(
                        "missing: {program} is not in PATH{or}; {} is not installed by this \
                             tool (see docs/monitors.md)",
                        self.name()
                    ),
                )
            }),
        }
    }

    /// The board that it boots where the user names none.
    pub fn board(self) -> Board {
        match (self, env::consts::ARCH) {
            (Self::Qemu, _) => Board::Microvm,
            (_, "aarch64") => Board::VirtAarch64,
            (_, "riscv64") => Board::VirtRiscv64,
            (Self::Firecracker, _) => Board::Microvm,
            (Self::CloudHypervisor, _) => Board::Q35,
        }
    }

    /// Whether it takes the flat Linux image of a board that has one, and no ELF.
    pub fn wants_flat(self, board: Board) -> bool {
        self != Self::Qemu && board.arch() != "x86_64"
    }

    /// Returns the bus that is asked for, or the usual one, and how many devices it has room for.
    ///
    /// # Errors
    /// The monitor or the board does not have the bus.
    pub fn room(self, board: Board, wanted: Option<Bus>) -> Result<Room> {
        match self {
            Self::Qemu => {
                let socket = board.socket(wanted)?;
                Ok(Room { bus: socket.bus, devices_max: socket.devices_max })
            }
            Self::Firecracker => firecracker::room(board, wanted),
            Self::CloudHypervisor => cloud_hypervisor::room(board, wanted),
        }
    }

    /// Refuses a monitor that is not there or lacks the bus, as an older version may; QEMU is a
    /// thing to install.
    ///
    /// # Errors
    /// The program is neither where its variable says nor in PATH, or has no such bus.
    pub fn check_program(self, board: Board, bus: Bus) -> Result<()> {
        if self == Self::Qemu {
            return Ok(());
        }
        let program = self.find(board)?;
        if (self, bus) == (Self::Firecracker, Bus::Pci) {
            let output = Command::new(&program).arg("--help").output();
            let output = output.with_context(|| format!("{} --help", program.display()))?;
            firecracker::check_pci(&program, &String::from_utf8_lossy(&output.stdout))?;
        }
        Ok(())
    }

    /// Returns the launch of `machine`, whose files lie in `dir`.
    ///
    /// # Errors
    /// The machine has what this monitor lacks.
    pub fn launch(self, machine: &Machine, dir: &Path) -> Result<Launch> {
        match self {
            Self::Qemu => qemu::launch(machine),
            Self::Firecracker => firecracker::launch(machine, dir),
            Self::CloudHypervisor => cloud_hypervisor::launch(machine),
        }
    }

    /// The names of those of `disks`, whose files have to be there, that do not go by their
    /// serials: serial and name. They are on `bus`, and as many `shares` after them.
    ///
    /// # Errors
    /// A file cannot be looked at, or two disks have one name.
    pub fn disk_names(
        self,
        disks: &[Disk],
        shares: usize,
        bus: Bus,
    ) -> Result<BTreeMap<String, String>> {
        match self {
            Self::Qemu => Ok(qemu::disk_names(disks, shares, bus)),
            Self::Firecracker => firecracker::disk_names(disks),
            Self::CloudHypervisor => Ok(BTreeMap::new()),
        }
    }

    /// Refuses a source that the monitor cannot open.
    pub fn check_source(self, disk: &Disk) -> Result<()> {
        if self == Self::Qemu { Ok(()) } else { self.file_of(disk).map(drop) }
    }

    /// Returns the raw file of a disk, for a monitor that opens nothing else.
    fn file_of(self, disk: &Disk) -> Result<&Path> {
        disk.source.file().ok_or_else(|| {
            usage(format!(
                "{} opens files and block devices alone, and {} is `{}`: take --monitor qemu, or \
                 make it a block device of this machine",
                self.name(),
                disk.source,
                disk.serial
            ))
        })
    }

    /// Refuses a size of memory that the monitor cannot give.
    pub fn check_memory(self, mem: Size) -> Result<()> {
        match self {
            Self::Qemu => Ok(()),
            Self::Firecracker => firecracker::check_memory(mem),
            Self::CloudHypervisor => cloud_hypervisor::check_memory(mem),
        }
    }

    /// Refuses shares where the monitor has no virtio-fs.
    pub fn check_shares(self) -> Result<()> {
        match self.facts().has_shares {
            true => Ok(()),
            false => Err(usage(format!(
                "{} has no virtio-fs, so no --share: give each blob as a disk (--blob N=FILE), or \
                 take --monitor cloud-hypervisor or qemu",
                self.name()
            ))),
        }
    }
}

#[cfg(test)]
mod tests;
