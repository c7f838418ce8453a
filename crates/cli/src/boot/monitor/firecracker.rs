//! Firecracker's command and configuration for a machine.
//!
//! Always: pure, but for the identity of a disk's file; no flush is ignored.
//!
//! Sources: Firecracker 1.17: the structs of `vmm_config` (drive.rs, boot_source.rs,
//! machine_config.rs), `build_device_id` of devices/virtio/block/virtio/device.rs, and
//! arch/x86_64/layout.rs for interrupts.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use super::machine::{Disk, Launch, Machine};
use super::{Facts, Monitor, Room};
use crate::boot::board::{Board, Bus};
use crate::exit::usage;
use crate::size::Size;

/// What the tool knows of Firecracker.
pub const FACTS: Facts = Facts {
    name: "Firecracker",
    program: Some("firecracker"),
    variable: Some("ROOTLET_FIRECRACKER"),
    emulates: false,
    has_shares: false,
    has_log: false,
    has_statuses: false,
    names_disks: true,
    // It opens the file anew and writes from its start.
    apart: &["--log-path", "/dev/stderr"],
};

/// Bytes of a disk's id that Firecracker passes on (VIRTIO_BLK_ID_BYTES).
const ID_BYTES: usize = 20;
/// The longest command line on x86, with the end (CMDLINE_MAX_SIZE).
const LINE_BYTES_MAX: usize = 2048;
/// What Firecracker itself adds to the line for a device on virtio-mmio, at most.
const DEVICE_WORD_BYTES: usize = " virtio_mmio.device=4K@0xc0001000:23".len();
const MIB: u64 = 1 << 20;

/// Where devices go: virtio-mmio, or PCI if that is wanted or the board's only bus.
pub fn room(board: Board, wanted: Option<Bus>) -> Result<Room> {
    match board.socket(wanted)?.bus {
        // Interrupts 5 to 23: one for each device, one for VMGENID, one for the clock of snapshots.
        Bus::Mmio => Ok(Room { bus: Bus::Mmio, devices_max: 17 }),
        Bus::Pci => Ok(Room { bus: Bus::Pci, devices_max: 31 }),
    }
}

/// The option that gives a machine PCI.
const ENABLE_PCI: &str = "--enable-pci";

/// Refuses a program without PCI, as its `help` shows.
pub fn check_pci(program: &Path, help: &str) -> Result<()> {
    if help.contains(ENABLE_PCI) {
        return Ok(());
    }
    Err(usage(format!(
        "{} has no {ENABLE_PCI}, so no PCI: take Firecracker 1.13 or later, or --board microvm with \
         --bus mmio",
        program.display()
    )))
}

/// The id that Firecracker gives the disk of `file`: its device, the device that it is, and its
/// inode, in decimal digits one after the other, cut.
fn disk_name(file: &Path) -> Result<String> {
    let stat = fs::metadata(file).with_context(|| file.display().to_string())?;
    Ok(id(stat.dev(), stat.rdev(), stat.ino()))
}

/// The names of `disks`: serial and name.
pub fn disk_names(disks: &[Disk]) -> Result<BTreeMap<String, String>> {
    let mut names = BTreeMap::new();
    for disk in disks {
        let name = disk_name(Monitor::Firecracker.file_of(disk)?)?;
        let other = names.iter().find(|(_, other)| **other == name);
        if let Some((other, _)) = other {
            return Err(usage(format!(
                "Firecracker names disks by their files, and `{other}` and `{}` are one: give one \
                 of them a copy",
                disk.serial
            )));
        }
        names.insert(disk.serial.clone(), name);
    }
    Ok(names)
}

fn id(device: u64, is_device: u64, inode: u64) -> String {
    let mut id = format!("{device}{is_device}{inode}");
    id.truncate(ID_BYTES);
    id
}

/// Plans `machine`, whose configuration becomes a file of `dir`.
pub fn launch(machine: &Machine, dir: &Path) -> Result<Launch> {
    if !machine.shares.is_empty() {
        Monitor::Firecracker.check_shares()?;
    }
    let room = room(machine.board, machine.bus)?;
    let file = dir.join("firecracker.json");
    let mut arguments = vec!["--no-api".into(), "--config-file".into(), file.clone().into()];
    arguments.extend(["--level", "Error"].map(Into::into));
    if room.bus == Bus::Pci {
        arguments.push(ENABLE_PCI.into());
    }
    let mut text = serde_json::to_string_pretty(&config(machine, room.bus)?)?;
    text.push('\n');
    Ok(Launch {
        monitor: Monitor::Firecracker,
        arguments,
        config: Some((file, text)),
        log_socket: None,
    })
}

/// Refuses memory that is not whole MiB.
pub fn check_memory(mem: Size) -> Result<()> {
    match mem.0 % MIB {
        0 => Ok(()),
        _ => Err(usage("--mem: Firecracker takes whole MiB")),
    }
}

fn config(machine: &Machine, bus: Bus) -> Result<serde_json::Value> {
    check_memory(machine.mem)?;
    let mib = machine.mem.0 / MIB;
    let added = match bus {
        Bus::Mmio => machine.disks.len() * DEVICE_WORD_BYTES,
        Bus::Pci => 0,
    };
    let bytes = machine.append.len() + " pci=off".len() + added + 1;
    if bytes > LINE_BYTES_MAX {
        return Err(usage(format!(
            "the guest's command line has up to {bytes} bytes with what Firecracker adds to it, and \
             Firecracker takes {LINE_BYTES_MAX}: shorten the command, or take --monitor \
             cloud-hypervisor or qemu"
        )));
    }
    let mut drives = Vec::new();
    for (number, disk) in machine.disks.iter().enumerate() {
        drives.push(json!({
            "drive_id": format!("disk{number}"),
            "path_on_host": text(Monitor::Firecracker.file_of(disk)?)?,
            "is_root_device": false,
            "is_read_only": disk.read_only,
            // The other kind says yes to a flush that it does not make.
            "cache_type": "Writeback",
        }));
    }
    Ok(json!({
        "boot-source": {
            "kernel_image_path": text(&machine.kernel)?,
            "boot_args": machine.append,
        },
        "drives": drives,
        "machine-config": { "vcpu_count": machine.cpus, "mem_size_mib": mib },
    }))
}

/// The path as JSON can have it.
fn text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| {
        let name = path.display();
        usage(format!("{name}: Firecracker takes only names in UTF-8"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_device_kind_and_inode_cut_to_twenty_digits() {
        assert_eq!(id(65024, 0, 1234), "6502401234");
        assert_eq!(id(u64::MAX, 0, 7), "18446744073709551615");
    }

    #[test]
    fn a_file_has_the_id_that_stat_prints() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut stat = std::process::Command::new("stat");
        let said = stat.args(["-c", "%d0%i"]).arg(file.path()).output().unwrap().stdout;
        let said = String::from_utf8(said).unwrap();
        let said = said.trim();
        assert_eq!(disk_name(file.path()).unwrap(), said[..said.len().min(ID_BYTES)]);
    }
}
