//! Cloud Hypervisor's command line for a machine.
//!
//! Always: pure; a name with commas, brackets or quotes reaches it as it is.
//!
//! Sources: Cloud Hypervisor 53: `DiskConfig`, `FsConfig` and `MemoryConfig` of vmm/src/config.rs,
//! the quotes of option_parser, and the types of devices that it has on PCI besides.

use std::ffi::OsString;
use std::path::Path;

use anyhow::Result;

use super::machine::{Launch, Machine};
use super::{Facts, Monitor, Room};
use crate::boot::board::{Board, Bus};
use crate::exit::usage;
use crate::size::Size;

/// What the tool knows of Cloud Hypervisor.
pub const FACTS: Facts = Facts {
    name: "Cloud Hypervisor",
    program: Some("cloud-hypervisor"),
    variable: Some("ROOTLET_CLOUD_HYPERVISOR"),
    emulates: false,
    has_shares: true,
    // It has a port for one that does not answer when a guest asks who is there.
    has_log: false,
    has_statuses: false,
    names_disks: false,
    apart: &[],
};

/// Bytes of a page, of which its memory is made.
const PAGE_BYTES: u64 = 4096;

/// PCI has 32 places: the host bridge has one, and the entropy device that is always there.
const DEVICES_MAX: usize = 30;

/// Where devices go: PCI.
pub fn room(board: Board, wanted: Option<Bus>) -> Result<Room> {
    if wanted == Some(Bus::Mmio) {
        return Err(usage("Cloud Hypervisor has no --bus mmio: it has pci"));
    }
    let bus = board.socket(Some(Bus::Pci))?.bus;
    Ok(Room { bus, devices_max: DEVICES_MAX })
}

/// Refuses memory that is not whole pages.
pub fn check_memory(mem: Size) -> Result<()> {
    match mem.0 % PAGE_BYTES {
        0 => Ok(()),
        _ => Err(usage("--mem: Cloud Hypervisor takes whole pages of 4 KiB")),
    }
}

/// Plans `machine`.
pub fn launch(machine: &Machine) -> Result<Launch> {
    room(machine.board, machine.bus)?;
    check_memory(machine.mem)?;
    // The daemons of shares map the guest's memory (vhost-user).
    let shared = if machine.shares.is_empty() { "" } else { ",shared=on" };
    let mut arguments: Vec<OsString> = vec!["--kernel".into(), machine.kernel.clone().into()];
    arguments.extend(["--cmdline".into(), machine.append.clone().into()]);
    arguments.extend(["--cpus".into(), format!("boot={}", machine.cpus).into()]);
    arguments.extend(["--memory".into(), format!("size={}{shared}", machine.mem.0).into()]);
    arguments.extend(["--serial", "tty", "--console", "off"].map(Into::into));
    if !machine.disks.is_empty() {
        arguments.push("--disk".into());
    }
    for disk in &machine.disks {
        let file = value(Monitor::CloudHypervisor.file_of(disk)?)?;
        let serial = value(Path::new(&disk.serial))?;
        let mode = if disk.read_only { "readonly=on," } else { "" };
        // Of a disk whose type it has to guess nobody may write the first sector.
        arguments.push(format!("path={file},{mode}image_type=raw,serial={serial}").into());
    }
    if !machine.shares.is_empty() {
        arguments.push("--fs".into());
    }
    for share in &machine.shares {
        let (tag, socket) = (value(Path::new(&share.tag))?, value(&share.socket)?);
        // One queue for requests, as the daemons are known to serve.
        arguments.push(format!("tag={tag},socket={socket},num_queues=1").into());
    }
    Ok(Launch { monitor: Monitor::CloudHypervisor, arguments, config: None, log_socket: None })
}

/// A value of an option, in quotes where it has what would end it; a quote in quotes is doubled.
fn value(text: &Path) -> Result<String> {
    let text = text.to_str().ok_or_else(|| {
        let name = text.display();
        usage(format!("{name}: Cloud Hypervisor takes only names in UTF-8"))
    })?;
    Ok(match text.contains([',', '[', ']', '"']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.into(),
    })
}
