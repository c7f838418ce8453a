//! How a board's image is given to monitors.
//!
//! Always: the commands are made by the code that the tool boots with; what no test runs is said to
//! be so, and where a board cannot serve, the reason is said.

use std::path::Path;

use anyhow::{Context, Result};

use rootlet_cli::boot::accel::Accel;
use rootlet_cli::boot::board::{Board, Bus};
use rootlet_cli::boot::monitor::{Disk, Machine, Monitor};
use rootlet_cli::size::Size;

/// The image in the examples.
pub const IMAGE: &str = "root.erofs";
/// Memory of a guest in the examples.
const MEM: Size = Size(64 << 20);

/// Makes the sections of a board on all monitors: Markdown. `files` are the board's images.
pub fn sections(board: Board, files: &[&str]) -> Result<String> {
    let mut text = String::from("\n### QEMU\n");
    for kernel in files {
        text.push_str(&block("Run by the project's tests:\n", board, Monitor::Qemu, None, kernel)?);
    }
    let flat = files.iter().find(|name| name.ends_with(".Image")).or(files.first());
    let kernel = flat.copied().context("a board has an image")?;
    for monitor in [Monitor::Firecracker, Monitor::CloudHypervisor] {
        text.push_str(&format!("\n### {}\n", monitor.name()));
        for (state, bus) in states(board, monitor) {
            match bus {
                Some(bus) => text.push_str(&block(state, board, monitor, Some(bus), kernel)?),
                None => text.push_str(state),
            }
        }
    }
    Ok(text)
}

const FIRECRACKER: &str = "Version 1.12 or later, which enters an image by its PVH note. Run by the \
    project's tests on machines that have it and KVM:\n";
const FIRECRACKER_PCI: &str = "With PCI, version 1.13 or later; run by the tests as well:\n";
const CLOUD_HYPERVISOR: &str = "Version 51 or later, which knows `image_type`. Run by the project's \
    tests on machines that have it and KVM:\n";
const NOT_RUN: &str = "**Not run**: the tests had no KVM of this architecture yet.\n";

/// Returns what is known of a board on a monitor: words, and the bus of a command.
fn states(board: Board, monitor: Monitor) -> Vec<(&'static str, Option<Bus>)> {
    match (monitor, board) {
        (Monitor::Firecracker, Board::Microvm) => {
            vec![(FIRECRACKER, Some(Bus::Mmio)), (FIRECRACKER_PCI, Some(Bus::Pci))]
        }
        (Monitor::Firecracker, Board::Q35) => vec![(FIRECRACKER_PCI, Some(Bus::Pci))],
        (Monitor::Firecracker, Board::VirtRiscv64) => {
            vec![("Firecracker has no guests of this architecture.\n", None)]
        }
        (_, Board::Microvm | Board::Q35) => vec![(CLOUD_HYPERVISOR, Some(Bus::Pci))],
        (_, Board::VirtAarch64 | Board::VirtRiscv64) => vec![(NOT_RUN, Some(Bus::Pci))],
    }
}

fn block(
    words: &str,
    board: Board,
    monitor: Monitor,
    bus: Option<Bus>,
    kernel: &str,
) -> Result<String> {
    let disk = Disk {
        serial: "image".into(),
        source: Path::new(IMAGE).to_path_buf().into(),
        read_only: true,
        blkdebug: None,
        options: None,
    };
    // Firecracker names the disk by its file, which is known where the command is typed.
    let (before, name) = match monitor {
        Monitor::Firecracker => {
            (format!("ID=$(stat -c '%d0%i' {IMAGE} | cut -c 1-20)\n"), "$ID".to_string())
        }
        _ => (String::new(), disk.serial.clone()),
    };
    let machine = Machine {
        board,
        bus,
        accel: if monitor.facts().emulates { Accel::Tcg } else { Accel::Kvm },
        mem: MEM,
        cpus: 1,
        kernel: kernel.into(),
        append: format!("image={name} -- manifest /"),
        disks: vec![disk],
        shares: Vec::new(),
        log_socket: None,
        extra: Vec::new(),
    };
    let launch = monitor.launch(&machine, Path::new(""))?;
    let script = launch.script(Path::new(monitor.program(board)), !before.is_empty());
    Ok(format!("{words}```sh\n{before}{script}\n```\n"))
}
