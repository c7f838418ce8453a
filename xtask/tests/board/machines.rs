//! Machines that other monitors make: how they name devices, where they place them, and what they
//! leave out.

use crate::emulator::{Ended, disk, run};
use crate::sample::Sample;

/// The machine's words for the disks of a sample, all of them on `device`.
fn disks(sample: &Sample, device: &str) -> Vec<String> {
    let names = ["image", "blob1", "blob2"];
    names.iter().flat_map(|name| disk(device, name, &sample.path(name))).collect()
}

/// The line that reads all of a sample.
const MANIFEST: &str = "image=image blob1=blob1 blob2=blob2 -- manifest /";

/// It passed, and printed the right manifest.
#[track_caller]
fn assert_manifest(sample: &Sample, ended: &Ended) {
    ended.assert_verdict("PASS");
    let lines = ended.console.lines().filter(|line| line.starts_with('{'));
    let printed: String = lines.map(|line| format!("{line}\n")).collect();
    assert!(printed.as_bytes() == sample.manifest(), "{ended:?}");
}

/// QEMU names its devices downward; these words stand before its own, and name the same upward, as
/// Firecracker does.
#[test]
fn devices_that_the_line_names_upward_are_all_found_once() {
    let sample = Sample::new();
    let named = ["0xfeb00a00:10", "0xfeb00c00:11", "0xfeb00e00:12"];
    let named = named.map(|place| format!("virtio_mmio.device=512@{place}")).join(" ");
    let modern = ["-M", "microvm,acpi=off", "-no-reboot", "-m", "64M"].map(String::from);
    let devices = modern.into_iter().chain(disks(&sample, "virtio-blk-device"));
    let ended = run("microvm", devices, &format!("{named} {MANIFEST}"));
    assert_manifest(&sample, &ended);
}
