//! The first and only program of a Linux that rootlet has started: prints command line, memory and
//! devices, and ends the machine.
//!
//! Always: each line begins with `LOOK`; the last one is `LOOK end`.

use std::error::Error;
use std::fs;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, reboot};
use sha2::{Digest, Sha256};

/// A file of the initramfs, by which it is known to be whole.
const PAYLOAD: &str = "/payload";

fn main() -> ExitCode {
    if std::process::id() != 1 {
        eprintln!("this is the first program of a Linux: see docs/boot.md");
        return ExitCode::FAILURE;
    }
    if let Err(error) = look() {
        println!("LOOK error {error}");
    }
    println!("LOOK end");
    // Without ACPI a PC has no other end; `-no-reboot` makes it the last one.
    let failed = reboot(RebootCommand::Restart);
    println!("the machine does not end: {failed:?}");
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

fn look() -> Result<(), Box<dyn Error>> {
    for (kind, at) in [("sysfs", "/sys"), ("proc", "/proc")] {
        fs::create_dir_all(at)?;
        mount(kind, at, kind, MountFlags::empty(), None)?;
    }
    println!("LOOK cmdline {}", fs::read_to_string("/proc/cmdline")?.trim());
    let payload = fs::read(PAYLOAD)?;
    let digest: String =
        Sha256::digest(&payload).iter().map(|byte| format!("{byte:02x}")).collect();
    println!("LOOK initrd {} bytes {digest}", payload.len());
    for line in
        fs::read_to_string("/proc/iomem")?.lines().filter(|line| line.contains("System RAM"))
    {
        println!("LOOK ram {}", line.trim());
    }
    let mut devices = Vec::new();
    // A kernel without virtio built in has no such folder.
    for entry in fs::read_dir("/sys/bus/virtio/devices").into_iter().flatten() {
        devices.push(entry?.file_name().to_string_lossy().into_owned());
    }
    devices.sort();
    println!("LOOK virtio {}", devices.join(" "));
    Ok(())
}
