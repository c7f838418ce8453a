//! Devices of every kind that a bus may have: old registers, few features, large blocks, large
//! disks, many of them.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use rootlet_sim::image::{Content, Options, Tree, build};

use crate::boot::{host, passes};
use crate::emulator::{disk, run};
use crate::sample::Sample;

/// Board, bus, and QEMU's name for a disk there.
pub const MACHINES: [(&str, &str, &str); 6] = [
    ("microvm", "mmio", "virtio-blk-device"),
    ("q35", "pci", "virtio-blk-pci"),
    ("virt-aarch64", "mmio", "virtio-blk-device"),
    ("virt-aarch64", "pci", "virtio-blk-pci"),
    ("virt-riscv64", "mmio", "virtio-blk-device"),
    ("virt-riscv64", "pci", "virtio-blk-pci"),
];

/// Reads everything cold and warm with these properties for all devices of a kind.
#[track_caller]
pub fn reads_twice(board: &str, bus: &str, globals: &[String]) {
    let sample = Sample::new();
    let manifest = sample.manifest();
    let qemu: Vec<&str> = globals
        .iter()
        .flat_map(|property| ["--qemu-arg", "-global", "--qemu-arg", property])
        .collect();
    let words = [&["--board", board, "--bus", bus], &qemu[..], &["--", "manifest", "/"]].concat();
    let cold = passes(sample.cached(&words));
    assert!(cold.stdout == manifest, "{board} {bus} {globals:?}: {}", cold.stderr);
    let warm = passes(sample.cached(&words));
    assert!(warm.stdout == manifest, "{board} {bus} {globals:?}: {}", warm.stderr);
    warm.assert_counter("fetched 0 bytes");
    warm.assert_counter("check failures 0");
}

/// Returns these properties for all devices of a kind.
pub fn of(device: &str, properties: &[&str]) -> Vec<String> {
    properties.iter().map(|property| format!("{device}.{property}")).collect()
}

#[test]
fn registers_from_before_virtio_1_serve_disks() {
    for (board, bus, _) in MACHINES.into_iter().filter(|(_, bus, _)| *bus == "mmio") {
        reads_twice(board, bus, &["virtio-mmio.force-legacy=true".into()]);
    }
}

#[test]
fn device_that_can_do_little_is_enough() {
    for (board, bus, device) in MACHINES {
        let few = ["event_idx=off", "indirect_desc=off", "write-cache=off", "config-wce=off"];
        reads_twice(board, bus, &of(device, &few));
    }
}

#[test]
fn disks_with_blocks_of_4_kib_are_read_and_written() {
    let blocks = ["logical_block_size=4096", "physical_block_size=4096"];
    for (board, bus, device) in MACHINES {
        reads_twice(board, bus, &of(device, &blocks));
    }
}

/// A region keeps checks of 4 KiB, and no read is cut finer than a disk's blocks.
#[test]
fn disk_with_blocks_of_8_kib_is_told_by_its_place_and_passed_over() {
    for (machine, place, device) in [
        ("microvm,acpi=off", "0xfeb00e00", "virtio-blk-device"),
        ("q35", "PCI 00:01.0", "virtio-blk-pci"),
    ] {
        let board = machine.split(',').next().unwrap();
        let device = format!("{device},logical_block_size=8192,physical_block_size=8192");
        let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/tiny.erofs");
        let words = ["-M", machine, "-no-reboot"].map(String::from);
        let words = words.into_iter().chain(disk(&device, "image", &tiny));
        let ended = run(board, words, "image=image -- cat /hello");
        let told = "its configuration has blk_size 8192; it may be a power of two from 512 to 4096";
        let told = format!("virtio device 2 at {place}: {told}");
        assert!(ended.console.contains(&told), "{ended:?}");
        ended.assert_verdict("FAIL");
    }
}

/// A device that has to be told whether its addresses are translated, with an IOMMU and without.
#[test]
fn disk_that_reaches_memory_as_its_platform_does_is_used() {
    for (board, bus, device) in MACHINES {
        let modern = if bus == "pci" { &["disable-legacy=on"][..] } else { &[] };
        let platform = of(device, &[modern, &["iommu_platform=on"]].concat());
        reads_twice(board, bus, &platform);
    }
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/tiny.erofs");
    for iommu in ["intel-iommu", "virtio-iommu-pci"] {
        let words = ["-M", "q35", "-device", iommu].map(String::from);
        let device = "virtio-blk-pci,disable-legacy=on,iommu_platform=on";
        let words = words.into_iter().chain(disk(device, "image", &tiny));
        run("q35", words, "image=image -- cat /hello").assert_verdict("PASS");
    }
}

/// A region that begins above 2 TiB: reads and writes with sectors of more than 32 bits.
#[test]
fn disk_above_2_tib_is_read_and_written_at_its_end() {
    const TIB: u64 = 1 << 40;
    for (board, bus, _) in MACHINES {
        let sample = Sample::new();
        let disk = fs::File::create(sample.path("large")).unwrap();
        disk.set_len(3 * TIB).unwrap();
        let sector = (3 * TIB - (16 << 20)) / 512;
        let place = format!("{}@{sector}+{}", sample.path("large").display(), (16 << 20) / 512);
        let words = ["--board", board, "--bus", bus, "--region", &place, "--", "manifest", "/"];
        for counter in ["region yes", "fetched 0 bytes"] {
            let outcome = passes(sample.args(&words));
            assert!(outcome.stdout == sample.manifest(), "{board} {bus}: {}", outcome.stderr);
            outcome.assert_counter(counter);
        }
    }
}

#[test]
fn blobs_on_several_shares_make_one_image() {
    for (board, bus, _) in MACHINES {
        let sample = Sample::new();
        let manifest = sample.manifest();
        let mut args: Vec<OsString> = ["--board", board, "--bus", bus].map(OsString::from).into();
        args.extend(["--image".into(), sample.path("image").into()]);
        for (slot, tag) in [(1, "share"), (2, "share2")] {
            let (name, dir) = (format!("blob{slot}"), sample.path(tag));
            fs::create_dir(&dir).unwrap();
            fs::rename(sample.path(&name), dir.join(&name)).unwrap();
            args.extend(["--blob".into(), format!("{slot}=share:{tag}:{name}").into()]);
            args.extend(["--share".into(), dir.into()]);
        }
        args.extend(["--", "manifest", "/"].map(OsString::from));
        let outcome = passes(args);
        assert!(outcome.stdout == manifest, "{board} {bus}: {}", outcome.stderr);
    }
}

/// One file of which each of twenty disks has a part, so that one read goes to all of them.
#[test]
fn twenty_disks_serve_one_read() {
    const BLOBS: u32 = 20;
    let mut tree = Tree::new();
    tree.file("/wide", Content::seeded(5, 4 << 20));
    let options =
        Options { blobs: BLOBS as u16, chunk_bits: 16, uuid: [20; 16], ..Options::default() };
    let built = build(&tree, &options).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    built.image.write_to(&image).unwrap();
    let mut args: Vec<OsString> = vec!["--image".into(), image.into()];
    for (number, blob) in built.blobs.iter().enumerate() {
        let file = dir.path().join(format!("blob{number}"));
        blob.write_to(&file).unwrap();
        args.extend(["--blob".into(), format!("{}={}", number + 1, file.display()).into()]);
    }
    args.extend(["--", "sum", "/"].map(OsString::from));
    let sums = host(args.clone());
    // The mmio of microvm and riscv64's virt have eight places.
    let machines =
        MACHINES.into_iter().filter(|(board, bus, _)| *bus == "pci" || *board == "virt-aarch64");
    for (board, bus, _) in machines {
        let machine = ["--board", board, "--bus", bus].map(OsString::from);
        let outcome = passes(machine.into_iter().chain(args.clone()));
        assert!(outcome.stdout == sums, "{board} {bus}: {}", outcome.stderr);
    }
}

/// A disk below a port of PCI Express, whose bus the firmware has numbered.
#[test]
fn disk_behind_a_bridge_is_found() {
    let sample = Sample::new();
    let drive =
        format!("if=none,id=behind,file={},format=raw,readonly=on", sample.path("blob2").display());
    let machine = [
        "-device",
        "pcie-root-port,id=rp,chassis=1",
        "-drive",
        &drive,
        "-device",
        "virtio-blk-pci,drive=behind,serial=behind,bus=rp",
    ];
    let mut args: Vec<OsString> = vec!["--board".into(), "q35".into()];
    args.extend(["--image".into(), sample.path("image").into()]);
    args.extend(["--blob".into(), format!("1={}", sample.path("blob1").display()).into()]);
    args.extend(["--guest-option", "blob2=behind"].map(OsString::from));
    args.extend(machine.iter().flat_map(|word| ["--qemu-arg", word]).map(OsString::from));
    args.extend(["--", "manifest", "/"].map(OsString::from));
    let outcome = passes(args);
    assert!(outcome.stdout == sample.manifest(), "{}", outcome.stderr);
}
