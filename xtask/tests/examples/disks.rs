//! Firmware and a kernel over disks: each boots twice, and the second boot fetches nothing.

use std::fs;
use std::path::{Path, PathBuf};

use rootlet_sim::image::{Content, Options, Tree, build as build_image};

use crate::boot::{Outcome, build, has_program, run, sum};

const DATA: usize = 300_000;
const REGION_BYTES: u64 = 16 << 20;
/// Where systems have a firmware that is one file.
const FIRMWARE: [&str; 4] = [
    "/usr/share/ovmf/OVMF.fd",
    "/usr/share/qemu/OVMF.fd",
    "/usr/share/edk2/x64/OVMF.4m.fd",
    "/usr/share/edk2/ovmf/OVMF.fd",
];

/// Makes an image with two files and an empty disk for a region in `dir`.
fn make_disks(dir: &Path) {
    let mut tree = Tree::new();
    tree.file("/hello", Content::bytes(*b"hello"));
    tree.file("/data", Content::seeded(9, DATA));
    let image = build_image(&tree, &Options::default()).unwrap().image;
    let mut bytes = image.into_bytes();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    fs::write(dir.join("image.erofs"), bytes).unwrap();
    fs::File::create(dir.join("region.img")).unwrap().set_len(REGION_BYTES).unwrap();
}

/// Boots twice, and compares what is read.
fn boot_twice(boot: impl Fn() -> Outcome) {
    let data = Content::seeded(9, DATA).to_vec();
    for number in 1..=2 {
        let Outcome { status, console } = boot();
        assert_eq!(status, Some(0), "boot {number}: {console}");
        for (path, bytes) in [("/hello", b"hello".as_slice()), ("/data", &data)] {
            let line = format!("{path} {} {}", bytes.len(), sum(bytes));
            assert!(console.contains(&line), "boot {number}: no {line:?} in {console}");
        }
        let is_warm = console.contains("fetched 0 bytes, ");
        assert_eq!(is_warm, number == 2, "boot {number}: {console}");
        assert!(console.contains("durable: true"), "boot {number}: {console}");
    }
}

/// Returns the words of a command line, and the file at its end.
fn words(line: &str, file: &Path) -> Vec<String> {
    let words = line.split_whitespace().map(String::from);
    words.chain([file.to_string_lossy().into_owned()]).collect()
}

#[test]
fn kernel_over_virtio_drivers_fetches_nothing_at_its_second_boot() {
    const QEMU: &str = "qemu-system-riscv64";
    const LINE: &str = "-machine virt -m 128 -display none -monitor none -serial stdio
        -global virtio-mmio.force-legacy=false
        -drive if=none,id=a,format=raw,readonly=on,file=image.erofs
        -device virtio-blk-device,drive=a,serial=image
        -drive if=none,id=b,format=raw,file=region.img
        -device virtio-blk-device,drive=b,serial=cache
        -kernel";
    let target = "riscv64gc-unknown-none-elf";
    let built = has_program(QEMU)
        .then(|| build("virtio-drivers", target, "dev", "rootlet-virtio-drivers-example"));
    let Some(Some(elf)) = built else { return };
    let dir = tempfile::tempdir().unwrap();
    make_disks(dir.path());
    boot_twice(|| run(QEMU, &words(LINE, &elf), dir.path()));
}

#[test]
fn uefi_application_fetches_nothing_at_its_second_boot() {
    const QEMU: &str = "qemu-system-x86_64";
    const LINE: &str = "-machine q35 -m 256 -display none -monitor none -serial stdio
        -net none -no-reboot
        -drive if=virtio,format=raw,readonly=on,file=fat:esp
        -drive if=virtio,format=raw,readonly=on,file=image.erofs
        -drive if=virtio,format=raw,file=region.img
        -bios";
    let Some(firmware) = FIRMWARE.iter().map(PathBuf::from).find(|file| file.is_file()) else {
        println!("skipped: no OVMF ({})", FIRMWARE.join(", "));
        return;
    };
    let target = "x86_64-unknown-uefi";
    let built = has_program(QEMU).then(|| build("uefi", target, "dev", "rootlet-uefi-example.efi"));
    let Some(Some(application)) = built else { return };
    let dir = tempfile::tempdir().unwrap();
    make_disks(dir.path());
    let boot = dir.path().join("esp/EFI/BOOT");
    fs::create_dir_all(&boot).unwrap();
    fs::copy(application, boot.join("BOOTX64.EFI")).unwrap();
    boot_twice(|| run(QEMU, &words(LINE, &firmware), dir.path()));
}
