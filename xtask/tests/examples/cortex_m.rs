//! The microcontroller: a golden image, within bars of state, stack and flash.

use std::fs;

use object::{Object, ObjectSection, SectionFlags};
use rootlet::blob::Image;
use rootlet::cache::NoRegion;
use rootlet::read::Root;
use rootlet::storage::file::FileStorage;
use rootlet_golden::{Golden, Set};

use crate::boot::{build, has_program, run, sum};

const STATE_BYTES_MAX: u64 = 20 << 10;
const STACK_BYTES_MAX: u64 = 12 << 10;
const FLASH_BYTES_MAX: u64 = 50 << 10;
/// Where the machine's memory begins; below is flash.
const RAM: u64 = 0x2000_0000;
const QEMU: &str = "qemu-system-arm";
const LINE: &str = "-machine mps2-an386 -display none -serial none -monitor none
    -semihosting-config enable=on,target=native -kernel";

/// Images without compression: plain, in chunks, and with blocks of 512 bytes.
const IMAGES: [&str; 4] = ["plain", "b512", "chunk-4k", "extended"];
/// Files that the example lists, some by way of symlinks.
const FILES: [&str; 7] = [
    "/data/dup-shifted",
    "/data/dup1",
    "/data/sparse",
    "/data/zeros",
    "/links/abs",
    "/links/chain1",
    "/links/rel",
];

/// Returns the lines that the example is to print of an image.
fn expected(golden: &Golden) -> Vec<String> {
    let mut storage = FileStorage::new();
    let device = storage.add_disk("image", &golden.image, true).unwrap();
    assert!(Image::read(&storage, device).is_ok_and(|image| image.devices().is_empty()));
    let root = Root::open_image(storage, NoRegion, device).unwrap();
    let line = |path: &&str| {
        let file = root.open(path.as_bytes()).unwrap();
        let mut bytes = vec![0; file.inode().size() as usize];
        assert_eq!(file.read_at(0, &mut bytes), Ok(bytes.len()));
        format!("{path} {} {}", bytes.len(), sum(&bytes))
    };
    FILES.iter().map(line).collect()
}

/// Returns the number at the end of the line that begins with `words`.
fn last_number(console: &str, words: &str) -> u64 {
    let line = console.lines().find(|line| line.starts_with(words));
    let line = line.unwrap_or_else(|| panic!("no line {words:?}: {console}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn microcontroller_reads_golden_images_within_its_bars() {
    if !has_program(QEMU) {
        return;
    }
    let target = "thumbv7em-none-eabi";
    let Some(elf) = build("cortex-m", target, "release", "rootlet-cortex-m-example") else {
        return;
    };
    let (flash, state) = sizes(&fs::read(&elf).unwrap());
    let mut stack = 0;
    let set = Set::built_in(env!("CARGO_TARGET_TMPDIR"));
    for golden in set.images.iter().filter(|golden| IMAGES.contains(&golden.name.as_str())) {
        let dir = tempfile::tempdir().unwrap();
        fs::copy(&golden.image, dir.path().join("image.erofs")).unwrap();
        let words = LINE.split_whitespace().map(String::from);
        let args: Vec<String> = words.chain([elf.to_string_lossy().into_owned()]).collect();
        let outcome = run(QEMU, &args, dir.path());
        assert_eq!(outcome.status, Some(0), "{}: {}", golden.name, outcome.console);
        for line in expected(golden) {
            let is_there = outcome.console.lines().any(|printed| printed == line);
            assert!(is_there, "{}: no line {line:?} in {}", golden.name, outcome.console);
        }
        stack = stack.max(last_number(&outcome.console, "reads: bytes of stack"));
    }
    println!("flash {flash} bytes, state {state}, stack {stack}");
    assert!(flash <= FLASH_BYTES_MAX, "{flash} bytes of flash");
    assert!(state <= STATE_BYTES_MAX, "{state} bytes of state");
    assert!((1000..=STACK_BYTES_MAX).contains(&stack), "{stack} bytes of stack");
}

/// Returns the bytes of flash and of state that an image takes: what is loaded, and what is written.
fn sizes(elf: &[u8]) -> (u64, u64) {
    let file = object::File::parse(elf).unwrap();
    let (mut flash, mut state) = (0, 0);
    for section in file.sections() {
        let SectionFlags::Elf { sh_flags } = section.flags() else { continue };
        if sh_flags & u64::from(object::elf::SHF_ALLOC) == 0 {
            continue;
        }
        if section.address() >= RAM {
            state += section.size();
        }
        // What is written has its first content in flash.
        flash += section.data().unwrap().len() as u64;
    }
    (flash, state)
}
