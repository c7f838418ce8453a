//! Machines that other monitors make: how they name devices, where they place them, and what they
//! leave out.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::time::Instant;

use crate::boot::passes;
use crate::emulator::{Ended, disk, run};
use crate::sample::Sample;

/// Returns the machine's words for the disks of a sample, all of them on `device`.
fn disks(sample: &Sample, device: &str) -> Vec<String> {
    let names = ["image", "blob1", "blob2"];
    names.iter().flat_map(|name| disk(device, name, &sample.path(name))).collect()
}

/// The line that reads all of a sample.
const MANIFEST: &str = "image=image blob1=blob1 blob2=blob2 -- manifest /";

/// Checks that the guest passed, and printed the right manifest.
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
    let ended = run("microvm", devices, format!("{named} {MANIFEST}"));
    assert_manifest(&sample, &ended);
}

/// The 64-bit window of a PC begins beyond 4 GiB. SeaBIOS uses it when the other has no room left,
/// and a device below a port cannot be moved out of the window of that port.
#[test]
fn disk_whose_registers_lie_beyond_4_gib_behind_a_port_is_found() {
    let sample = Sample::new();
    let memory = "memory-backend-memfd,id=large,size=4G,share=on,reserve=off";
    let machine = ["-M", "q35", "-object", memory, "-device", "ivshmem-plain,memdev=large"];
    let mut words: Vec<String> = machine.map(String::from).into();
    for (number, name) in ["image", "blob1", "blob2"].iter().enumerate() {
        let port = format!("pcie-root-port,id=port{number},chassis={number},slot={number}");
        let device = format!("virtio-blk-pci,bus=port{number}");
        words.extend(["-device".into(), port]);
        words.extend(disk(&device, name, &sample.path(name)));
    }
    assert_manifest(&sample, &run("q35", words, MANIFEST));
}

/// All memory is the heap's but for the image, the firmware, and what lies below the image.
#[test]
fn memory_beyond_4_gib_is_used() {
    const GIB: u64 = 1 << 30;
    for (board, more) in [
        ("q35", &[][..]),
        ("q35", &["--qemu-arg", "-cpu", "--qemu-arg", "max"]),
        ("microvm", &[]),
        ("virt-aarch64", &[]),
        ("virt-riscv64", &[]),
    ] {
        let sample = Sample::new();
        let words =
            [&["--board", board, "--log", "info", "--mem", "8G"], more, &["--", "manifest", "/"]]
                .concat();
        let outcome = passes(sample.args(&words));
        assert!(outcome.stdout == sample.manifest(), "{board}: {}", outcome.stderr);
        let (_, heap) = outcome.stderr.split_once(" bytes of heap in use").unwrap_or_default();
        let said = outcome.stderr.len() - heap.len() - " bytes of heap in use".len();
        let total = outcome.stderr[..said].rsplit(' ').next().unwrap().parse::<u64>().unwrap();
        assert!((8 * GIB - (8 << 20)..8 * GIB).contains(&total), "{board}: {total}");
    }
}

/// An emulator that does not name itself: only a timer of ACPI has a known rate.
#[test]
fn clock_is_measured_where_nobody_tells_its_rate() {
    let sample = Sample::new();
    for processor in ["qemu64,tcg-cpuid=off", "qemu64,tcg-cpuid=off,-apic"] {
        let machine = ["-M", "q35", "-cpu", processor].map(String::from);
        let words = machine.into_iter().chain(disks(&sample, "virtio-blk-pci"));
        let begin = Instant::now();
        let ended = run("q35", words, MANIFEST);
        assert_manifest(&sample, &ended);
        let (_, counters) = ended.verdicts()[0].split_once("first_byte_us=").unwrap();
        let first_byte: u128 = counters.split(' ').next().unwrap().parse().unwrap();
        assert!((1000..begin.elapsed().as_micros()).contains(&first_byte), "{ended:?}");
    }
}

#[test]
fn machine_with_no_clock_is_refused_in_words() {
    let machine = ["-M", "microvm,acpi=off", "-no-reboot", "-cpu", "qemu64,tcg-cpuid=off"];
    let ended = run("microvm", machine, "-- ls /");
    ended.assert_verdict("FAIL clock: nothing tells the rate of the processor's counter");
}

/// The last 2 MiB page of this memory is only half memory: registers in its other half would be
/// cached. A port there is refused, and the usual port says so.
#[test]
fn registers_within_2_mib_of_memory_are_not_reached() {
    let debug_exit = "isa-debug-exit,iobase=0xf4,iosize=0x04";
    let semihosting = "enable=on,target=native";
    for (board, machine, port) in [
        ("q35", &["-M", "q35", "-device", debug_exit][..], "uart8250,mmio,0x4100000"),
        (
            "virt-aarch64",
            &["-M", "virt", "-cpu", "max", "-semihosting-config", semihosting],
            "pl011,mmio,0x44100000",
        ),
    ] {
        let words = machine.iter().chain(&["-m", "65M"]);
        let ended =
            run(board, words.map(|word| (*word).to_string()), format!("console={port} -- ls /"));
        let (_, at) = port.rsplit_once(',').unwrap();
        let said = format!("console: no port answers at {at}, this is the usual one\n");
        assert!(ended.console.starts_with(&said), "{board}: {ended:?}");
        assert_eq!(ended.status, Some(35), "{board}: {ended:?}");
    }
}

/// Words that name no device are reported, and the devices of the other words are found.
#[test]
fn words_that_name_no_device_are_told_by_their_text() {
    let sample = Sample::new();
    let machine = ["-M", "microvm,acpi=off", "-no-reboot", "-m", "64M"].map(String::from);
    let devices = machine.into_iter().chain(disks(&sample, "virtio-blk-device"));
    // No number, memory, no address of words, and one where nobody is and all reads as ones.
    let named = ["0xzz:1", "0x1000000:5", "0xfeb00001:6", "0xfea00000:7"]
        .map(|place| format!("virtio_mmio.device=4K@{place}"))
        .join(" ");
    let ended = run("microvm", devices, format!("{named} {MANIFEST}"));
    assert_manifest(&sample, &ended);
    for told in [
        "command line: \"virtio_mmio.device=4K@0xzz:1\" names no virtio device: it is not \
         SIZE@ADDRESS:IRQ",
        "virtio device at 0x1000000: its registers cannot be reached, or lie in memory",
        "virtio device at 0xfeb00001: nothing there answers as one",
        "virtio device at 0xfea00000: nothing there answers as one",
    ] {
        assert!(ended.console.lines().any(|line| line == told), "{ended:?}");
    }
}

/// A tree whose list of reserved memory has an entry that ends beyond all addresses.
#[test]
fn broken_device_tree_is_refused_by_its_byte() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tree");
    for (board, processor) in [("virt-aarch64", "max"), ("virt-riscv64", "rv64")] {
        let dump = format!("virt,dumpdtb={}", file.display());
        run(board, ["-M", &dump, "-cpu", processor, "-m", "64M"], "");
        let mut tree = fs::read(&file).unwrap();
        let word = |tree: &[u8], at: usize| {
            u32::from_be_bytes(tree[at..at + 4].try_into().unwrap()) as usize
        };
        // The list, the structure, the names: what follows the first moves by an entry.
        let list = word(&tree, 16);
        for field in [8, 12] {
            let moved = word(&tree, field) as u32 + 16;
            tree[field..field + 4].copy_from_slice(&moved.to_be_bytes());
        }
        tree.splice(list..list, [0xff; 16]);
        tree.truncate(word(&tree, 12) + word(&tree, 32));
        let bytes = tree.len() as u32;
        tree[4..8].copy_from_slice(&bytes.to_be_bytes());
        fs::write(&file, tree).unwrap();
        let tree = file.display().to_string();
        let host = "enable=on,target=native";
        let machine = ["-M", "virt", "-cpu", processor, "-m", "64M", "-dtb", &tree];
        let machine = machine.into_iter().chain(["-semihosting-config", host]);
        let ended = run(board, machine, "-- ls /");
        ended.assert_verdict("FAIL device tree at 0x");
        let why = format!(": byte {list}: no entry of the list of reserved memory");
        assert!(ended.console.contains(&why), "{ended:?}");
        if board == "virt-aarch64" {
            assert_eq!(ended.status, Some(35), "{ended:?}");
        }
    }
}

/// The line that Firecracker's examples and Cloud Hypervisor's have, as long as the first takes it.
#[test]
fn long_line_with_a_kernels_words_is_understood() {
    let sample = Sample::new();
    let mut line = "console=ttyS0 reboot=k panic=1 pci=off root=/dev/vda rw nomodule \
                    8250.nr_uarts=0 i8042.noaux"
        .to_string();
    while line.len() + MANIFEST.len() < 2040 {
        line.push_str(" quiet");
    }
    let words = ["-M", "q35"].map(String::from).into_iter();
    let ended =
        run("q35", words.chain(disks(&sample, "virtio-blk-pci")), format!("{line} {MANIFEST}"));
    assert_manifest(&sample, &ended);
}

#[test]
fn line_that_is_no_text_is_refused_by_its_byte() {
    let line = OsString::from_vec(b"image=a\xff -- ls /".to_vec());
    let ended = run("q35", ["-M", "q35"], &line);
    ended.assert_verdict("FAIL command line: not UTF-8 at byte 7");
}

/// As long as Firecracker's may be: within a setting, the sign before the command, the command, and
/// at both ends.
#[test]
fn long_line_is_refused_by_the_byte_that_is_no_text_wherever_it_stands() {
    let text = "quiet image=image -- manifest / ";
    let mut line = text.as_bytes().to_vec();
    line.resize(2048, b'x');
    for at in [0, 7, 12, 18, 20, 24, 1024, 2047] {
        let mut line = line.clone();
        line[at] = 0xff;
        let ended = run("q35", ["-M", "q35"], OsString::from_vec(line));
        ended.assert_verdict(&format!("FAIL command line: not UTF-8 at byte {at}"));
    }
}

/// A word that fills the verdict with characters of two bytes each.
#[test]
fn verdict_that_is_cut_ends_with_a_whole_character() {
    for start in ["", "-"] {
        let ended = run("q35", ["-M", "q35"], format!("{start}{}", "\u{e9}".repeat(600)));
        ended.assert_verdict(&format!("FAIL command line: unknown word \"{start}\u{e9}"));
        assert!(!ended.console.contains('\u{fffd}'), "{ended:?}");
    }
}
