//! The options that choose a machine and its monitor.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Result;
use clap::Args;

use super::Monitor;
use crate::boot::LogLevel;
use crate::boot::accel;
use crate::boot::board::{Board, Bus};
use crate::engine::WebArgs;
use crate::exit::usage;
use crate::size::Size;
use crate::source::Platform;

/// The machine around the guest.
#[derive(Args, Clone, Debug)]
pub struct MachineArgs {
    /// The monitor that runs the machine: on PATH, or where ROOTLET_FIRECRACKER or
    /// ROOTLET_CLOUD_HYPERVISOR says
    #[arg(long, value_enum, default_value = "qemu")]
    pub monitor: Monitor,
    /// The machine to boot [default: microvm; q35 under Cloud Hypervisor]
    #[arg(long, value_enum)]
    pub board: Option<Board>,
    /// What the devices are on, where the board has more than one bus
    #[arg(long, value_enum)]
    pub bus: Option<Bus>,
    /// Boot the flat Linux image that is in the ELF, as most monitors do
    #[arg(long, hide_short_help = true)]
    pub flat: bool,
    /// Memory of the guest
    #[arg(long, value_name = "SIZE", default_value = "64M")]
    pub mem: Size,
    /// Processors; two of them sum files [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub cpus: Option<u8>,
    /// Virtualization or emulation
    #[arg(long, value_enum, default_value = "auto", env = "ROOTLET_ACCEL")]
    pub accel: accel::Wanted,
    /// The least severe log messages to show [default: info]
    #[arg(long, value_enum, value_name = "LEVEL")]
    pub log: Option<LogLevel>,
    /// End the guest after this many seconds
    #[arg(long, value_name = "SECONDS", default_value = "600",
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: u64,
    /// Keep what the run made (the monitor's command, the serial line, the log) in this directory
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Have the guest send its timeline, and draw it as an SVG into this file
    #[arg(long, value_name = "FILE")]
    pub timeline: Option<PathBuf>,
    /// Send standard input to the guest's serial port, for an application that reads there
    #[arg(short, long)]
    pub interactive: bool,
    /// Say more: commands, devices, where a log message comes from
    #[arg(short, long)]
    pub verbose: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a comment here would become help")]
    pub web: WebArgs,
    /// Trust the ssh servers of this file for ssh://, and no others [default: known_hosts of the user and
    /// of the machine]
    #[arg(long, value_name = "FILE", help_heading = "Blobs and region")]
    pub known_hosts: Option<PathBuf>,
    /// Keep what the guest writes to the region in this qcow2 file over it, so that many guests can
    /// share a region; made if missing
    #[arg(long, value_name = "FILE", help_heading = "Blobs and region")]
    pub overlay: Option<PathBuf>,
    /// Another disk for the guest
    #[arg(long, value_name = "SERIAL=FILE[,ro]", hide_short_help = true)]
    pub disk: Vec<Named>,
    /// More options for QEMU's -drive of a disk
    #[arg(long, value_name = "SERIAL=OPTIONS", hide = true)]
    pub drive_opt: Vec<Named>,
    /// A configuration of QEMU's blkdebug for a disk
    #[arg(long, value_name = "SERIAL=FILE", hide = true)]
    pub blkdebug: Vec<Named>,
    /// A word for the guest's command line, before the command
    #[arg(long, value_name = "KEY=VALUE", hide_short_help = true)]
    pub guest_option: Vec<String>,
    /// An argument for QEMU as it is
    #[arg(long, value_name = "ARG", hide = true, allow_hyphen_values = true)]
    pub qemu_arg: Vec<String>,
}

impl MachineArgs {
    /// The board that is asked for, or the monitor's usual one.
    pub fn board(&self) -> Board {
        self.board.unwrap_or(self.monitor.board())
    }

    /// How web servers are asked for what is for this machine.
    pub fn web(&self) -> WebArgs {
        let platform = || Platform::of(self.board().arch());
        let platform = Some(self.web.platform.clone().unwrap_or_else(platform));
        WebArgs { platform, ..self.web.clone() }
    }

    /// How the processor is run.
    pub fn accel(&self) -> Result<accel::Accel> {
        accel::choose(self.accel, self.board().arch(), self.monitor)
    }

    /// Refuses what the monitor lacks, with the way round.
    pub fn check(&self, shares: usize) -> Result<()> {
        let (monitor, name) = (self.monitor, self.monitor.name());
        monitor.check_memory(self.mem)?;
        if shares > 0 {
            monitor.check_shares()?;
        }
        if monitor.facts().names_disks && !self.disk.is_empty() {
            return Err(usage(format!(
                "{name} names disks by their files, so no --disk SERIAL=FILE: give blobs by their \
                 slots (--blob N=FILE), or take --monitor cloud-hypervisor or qemu"
            )));
        }
        let for_qemu = [
            ("--interactive", !self.interactive),
            ("--qemu-arg", self.qemu_arg.is_empty()),
            ("--drive-opt", self.drive_opt.is_empty()),
            ("--blkdebug", self.blkdebug.is_empty()),
        ];
        match for_qemu.iter().find(|(_, empty)| monitor != Monitor::Qemu && !empty) {
            Some((option, _)) => {
                Err(usage(format!("{option} is for QEMU alone, and this is {name}")))
            }
            None => Ok(()),
        }
    }
}

/// `SERIAL=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The serial of a disk.
    pub serial: String,
    /// What is said about it.
    pub value: String,
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((serial, value)) if !serial.is_empty() && !value.is_empty() => {
                Ok(Self { serial: serial.into(), value: value.into() })
            }
            _ => Err("expected SERIAL=VALUE".into()),
        }
    }
}
