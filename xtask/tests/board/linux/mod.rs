//! The command `boot`: Linux out of the image, on every board; what is refused, by its text; kills
//! while it loads.
//!
//! Always: the kernels are Debian's, and a test that has none says so. A refusal needs none: it is
//! made before the jump.

#[path = "../../../src/measure/peer/initramfs.rs"]
mod initramfs;
mod kernels;
mod monitors;
mod table;

use std::fs;
use std::thread;
use std::time::Duration;

use clap::Parser;
use rootlet_cli::interrupt::Interrupt;
use rootlet_cli::seal::{self, SealArgs};
use rootlet_sim::image::{Content, Tree};
use sha2::{Digest, Sha256};

use crate::boot::{Boot, Outcome, fails};
use crate::sample::Sample;
use kernels::{AARCH64, Kernel, PAYLOAD, RISCV64, X86_64};

/// The words of `seal`.
#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    args: SealArgs,
}

/// The boards, each with its kernel.
static BOARDS: [(&str, &Kernel, Way); 4] = [
    ("microvm", &X86_64, Way::Unified),
    ("q35", &X86_64, Way::Entry),
    ("virt-aarch64", &AARCH64, Way::Path),
    ("virt-riscv64", &RISCV64, Way::Path),
];

/// How a kernel is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// By its path.
    Path,
    /// By the first boot entry of the image.
    Entry,
    /// As a unified kernel image.
    Unified,
}

/// How long a boot may take, Linux included.
const SECONDS: u64 = 240;
/// How many kills there are, by this variable.
const KILLS: &str = "LINUX_KILLS";

/// Returns an image with a kernel.
fn image(kernel: &[u8]) -> Sample {
    let mut tree = Tree::new();
    tree.file("/boot/vmlinuz", Content::bytes(kernel));
    Sample::from_tree(tree, 1)
}

/// Returns an image with a kernel and an initramfs, if there is one, and the words that start it
/// with the command line `line`.
fn image_with(way: Way, kernel: &[u8], initrd: Option<&[u8]>, line: &str) -> (Sample, Vec<String>) {
    let mut tree = Tree::new();
    let initrd_bytes = initrd.unwrap_or_default();
    let mut words = vec!["boot".to_string()];
    match way {
        Way::Path => {
            tree.file("/boot/vmlinuz", Content::bytes(kernel));
            words.extend(["/boot/vmlinuz", "--append", line].map(Into::into));
            if initrd.is_some() {
                words.extend(["--initrd", "/boot/initrd"].map(Into::into));
                tree.file("/boot/initrd", Content::bytes(initrd_bytes));
            }
        }
        Way::Entry => {
            let entry = |version: &str, kernel: &str| {
                format!(
                    "title Debian\nsort-key debian\nversion {version}\nlinux {kernel}\n\
                     initrd /initrd\noptions {line}\n"
                )
            };
            tree.file("/boot/vmlinuz", Content::bytes(kernel));
            tree.file("/boot/initrd", Content::bytes(initrd_bytes));
            let entries = "/boot/loader/entries";
            tree.file(format!("{entries}/new+2-1.conf"), Content::bytes(entry("6.10", "/vmlinuz")));
            tree.file(format!("{entries}/bad+0-3.conf"), Content::bytes(entry("6.11", "/gone")));
            tree.file(format!("{entries}/old.conf"), Content::bytes(entry("6.9", "/gone")));
        }
        Way::Unified => {
            let image = unified(&[
                (b".cmdline", line.as_bytes()),
                (b".linux", kernel),
                (b".initrd", initrd_bytes),
            ]);
            tree.file("/EFI/Linux/debian.efi", Content::bytes(image));
            words.push("/EFI/Linux/debian.efi".into());
        }
    }
    (Sample::from_tree(tree, 1), words)
}

/// Returns a program for EFI with these sections, of which nothing can be run.
fn unified(sections: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut file = vec![0; 4096];
    let mut set = |at: usize, value: &[u8]| file[at..at + value.len()].copy_from_slice(value);
    set(0, b"MZ");
    set(0x3c, &[0x80]);
    set(0x80, b"PE\0\0");
    set(0x86, &[sections.len() as u8]);
    set(0x94, &[240]);
    let mut place = 4096;
    for (number, (name, bytes)) in sections.iter().enumerate() {
        let at = 0x80 + 24 + 240 + number * 40;
        let padded = bytes.len().next_multiple_of(512);
        set(at, name);
        for (offset, value) in [(8, bytes.len()), (16, padded), (20, place)] {
            set(at + offset, &(value as u32).to_le_bytes());
        }
        place += padded;
    }
    for (_, bytes) in sections {
        file.extend_from_slice(bytes);
        file.resize(file.len().next_multiple_of(512), 0);
    }
    file
}

/// Starts a machine with 512 MiB whose command is `words`.
fn start(sample: &Sample, machine: &[&str], words: &[&str]) -> Outcome {
    let mut args = vec!["--mem", "512M"];
    args.extend(machine);
    args.push("--");
    args.extend(words);
    let region = ["--region-size", "64M"].map(Into::into);
    let args = region.into_iter().chain(
        sample.cached(&args).into_iter().filter(|arg| arg != "--region-size" && arg != "16M"),
    );
    Boot::start_within(SECONDS, args).end()
}

/// Returns the lines that the first program wrote, without their first word.
fn looks(outcome: &Outcome) -> Vec<String> {
    let said = String::from_utf8_lossy(&outcome.stdout);
    said.lines().filter_map(|line| line.trim().strip_prefix("LOOK ").map(Into::into)).collect()
}

#[test]
fn linux_starts_out_of_blobs_sees_what_it_was_given_and_comes_from_the_region_the_second_time() {
    for (board, kernel, way) in BOARDS {
        let Some(file) = kernel.file() else { continue };
        let initrd = kernel.initramfs();
        let line = format!("{} rootlet.test=\"a b\"", kernel.words);
        let kernel = fs::read(file).unwrap();
        let (sample, words) = image_with(way, &kernel, initrd.as_deref(), &line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        for round in ["cold", "warm"] {
            let outcome = start(&sample, &["--board", board, "--accel", "tcg"], &words);
            let said = String::from_utf8_lossy(&outcome.stdout);
            let all = format!("{board}, {round}: {said}{}", outcome.stderr);
            check_handover(&outcome, round, &all);
            assert!(said.contains("Linux version "), "{all}");
            if way == Way::Entry {
                let entries = [
                    "new, Debian, 6.10, 2 tries left, 1 done",
                    "old, Debian, 6.9",
                    "bad, Debian, 6.11, 0",
                ];
                let places =
                    entries.map(|entry| all.find(&format!("entry   {entry}")).expect(&all));
                assert!(places.is_sorted() && all.contains("counters of tries stay as they are"));
            }
            if initrd.is_some() {
                check_looks(&looks(&outcome), &line, &all);
            } else {
                assert!(said.contains(&line), "{all}");
            }
        }
    }
}

/// Checks that a machine was handed over, and that all came from the region if that was warm.
fn check_handover(outcome: &Outcome, round: &str, all: &str) {
    assert_eq!(outcome.status, Some(0), "{all}");
    assert!(outcome.verdict().starts_with("PASS  handover linux"), "{all}");
    let has_fetched = !outcome.verdict().contains(" fetched 0 bytes,");
    assert_eq!(has_fetched, round == "cold", "{all}");
}

/// Checks what the first program saw.
fn check_looks(looks: &[String], line: &str, all: &str) {
    let digest: String = Sha256::digest(PAYLOAD).iter().map(|byte| format!("{byte:02x}")).collect();
    let initrd = format!("initrd {} bytes {digest}", PAYLOAD.len());
    assert!(looks.contains(&initrd), "{all}");
    assert!(looks.iter().any(|look| look.starts_with(&format!("cmdline {line}"))), "{all}");
    assert_eq!(looks.last().map(String::as_str), Some("end"), "{all}");
    // All memory but what firmware keeps, and what the kernel itself takes of the last ranges.
    let ram = looks.iter().filter_map(|look| {
        let (start, end) = look.strip_prefix("ram ")?.split_once(' ')?.0.split_once('-')?;
        let number = |digits| u64::from_str_radix(digits, 16).unwrap();
        Some(number(end) - number(start) + 1)
    });
    let bytes: u64 = ram.sum();
    assert!((510 << 20..=512 << 20).contains(&bytes), "{} KiB of memory: {all}", bytes >> 10);
}

/// Returns the head of a bzImage with 4 KiB after its setup code, in which `change` has changed
/// something.
fn bzimage(change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut kernel = vec![0; 5 * 512 + 4096];
    kernel[0x1f1] = 4;
    kernel[0x201] = 0x6a;
    kernel[0x202..0x206].copy_from_slice(b"HdrS");
    kernel[0x206..0x208].copy_from_slice(&0x20f_u16.to_le_bytes());
    kernel[0x22c..0x230].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
    kernel[0x230..0x234].copy_from_slice(&0x20_0000_u32.to_le_bytes());
    kernel[0x234] = 1;
    kernel[0x236] = 1;
    kernel[0x238..0x23c].copy_from_slice(&2047_u32.to_le_bytes());
    kernel[0x258..0x260].copy_from_slice(&0x100_0000_u64.to_le_bytes());
    kernel[0x260..0x264].copy_from_slice(&0x10_0000_u32.to_le_bytes());
    change(&mut kernel);
    kernel
}

#[test]
fn what_cannot_be_started_is_refused_by_name_before_the_jump() {
    let mut tree = Tree::new();
    tree.file("/kernel", Content::bytes(bzimage(|_| {})));
    tree.file("/text", Content::bytes(b"no kernel at all".to_vec()));
    let old = bzimage(|kernel| kernel[0x206..0x208].copy_from_slice(&0x20b_u16.to_le_bytes()));
    tree.file("/old", Content::bytes(old));
    tree.file("/flags", Content::bytes(bzimage(|kernel| kernel[0x236] = 0)));
    tree.file("/cut", Content::bytes(bzimage(|_| {})[..0x240].to_vec()));
    tree.file("/setup", Content::bytes(bzimage(|_| {})[..2560].to_vec()));
    let large =
        bzimage(|kernel| kernel[0x260..0x264].copy_from_slice(&(128_u32 << 20).to_le_bytes()));
    tree.file("/large", Content::bytes(large));
    let mut arm = vec![0; 4096];
    arm[16..24].copy_from_slice(&4096_u64.to_le_bytes());
    arm[56..60].copy_from_slice(b"ARM\x64");
    tree.file("/arm", Content::bytes(arm));
    tree.file("/initrd", Content::hole(100 << 20));
    let sample = Sample::from_tree(tree, 2);
    let long = "x".repeat(2048);
    for (words, said) in [
        (&["/gone"][..], "/gone: no such file or directory"),
        (&["/kernel", "--initrd", "/gone"], "/gone: no such file or directory"),
        (&["/text"], "boot: /text: no kernel for x86_64: it begins with 6e 6f 20 6b"),
        (&["/arm"], "boot: /arm: a kernel for aarch64, and this machine is x86_64"),
        (&["/old"], "boot: /old: boot protocol 2.11 is too old: an entry in 64 bits has 2.12"),
        (&["/flags"], "boot: /flags: no entry in 64 bits (xloadflags 0x0)"),
        (&["/cut"], "boot: /cut: ends in the middle of its setup header"),
        (&["/setup"], "boot: /setup: ends in the middle of its first part"),
        (&["/large"], "boot: /large: too little memory: the kernel needs 130 MiB in one piece"),
        (
            &["/kernel", "--initrd", "/initrd"],
            "boot: /initrd: initrd too large: no piece of memory has room for 100 MiB up to \
             0x7fffffff",
        ),
        (
            &["/kernel", "--append", &long],
            "boot: /kernel: command line of 2048 bytes: this kernel takes at most 2047",
        ),
        (&[], "boot: no boot entry for this machine in /loader/entries"),
    ] {
        let mut args = vec!["--board", "q35", "--", "boot"];
        args.extend(words);
        fails(sample.args(&args), said);
    }
}

#[test]
fn flipped_byte_of_kernel_initrd_or_command_line_ends_before_the_jump() {
    let initrd = vec![7; 300_000];
    let entry = b"title x\nlinux /kernel\ninitrd /initrd\noptions quiet root=/dev/vda\n";
    let mut kernel = bzimage(|_| {});
    kernel.resize(400_000, 0x90);
    let mut tree = Tree::new();
    tree.file("/kernel", Content::bytes(kernel.clone()));
    tree.file("/initrd", Content::bytes(initrd.clone()));
    tree.file("/loader/entries/x.conf", Content::bytes(entry.to_vec()));
    let sample = Sample::from_tree(tree, 3);
    // Trees are looked for beside the files that they are of.
    let sealed = sample.dir().to_path_buf();
    let blob = |slot: u32| format!("{slot}={}", sample.path(&format!("blob{slot}")).display());
    let mut line = vec!["seal".into(), sample.path("image").display().to_string()];
    [1, 2].iter().for_each(|slot| line.extend(["--blob".into(), blob(*slot)]));
    line.extend(["--out".into(), sealed.display().to_string()]);
    let Line { args } = Line::try_parse_from(line).unwrap();
    seal::task(&args, &Interrupt::default()).unwrap();
    let root = Sha256::digest(fs::read(sealed.join("seal.txt")).unwrap());
    let root: String = root.iter().map(|byte| format!("{byte:02x}")).collect();
    let (text, root) = (sealed.join("seal.txt").display().to_string(), format!("sha256:{root}"));
    let words = ["--seal", &text, "--root", &root, "--board", "q35", "--", "boot"];
    for (what, bytes) in
        [("kernel", &kernel[200_000..]), ("initrd", &initrd[..]), ("words", b"root=/dev/vda")]
    {
        // Where the bytes are, in whichever file.
        let mut found = None;
        for name in ["image", "blob1", "blob2"] {
            let file = fs::read(sample.path(name)).unwrap();
            let needle = &bytes[..bytes.len().min(13)];
            if let Some(at) = file.windows(needle.len()).position(|window| window == needle) {
                found = Some((name, at, file));
                break;
            }
        }
        let (name, at, mut file) = found.unwrap();
        file[at + 5] ^= 1;
        fs::write(sample.path(name), &file).unwrap();
        let said = "the bytes have another digest than the pinned one";
        let outcome = fails(sample.args(&words), said);
        let is_told = outcome.stderr.contains("digest  ") && outcome.stderr.contains(" wants ");
        assert!(is_told && !outcome.stderr.contains("handover"), "{what}: {}", outcome.stderr);
        file[at + 5] ^= 1;
        fs::write(sample.path(name), &file).unwrap();
    }
}

#[test]
fn boot_that_is_killed_while_it_loads_leaves_a_region_that_the_next_one_uses() {
    let Some(file) = X86_64.file() else { return };
    let sample = image(&fs::read(file).unwrap());
    let line = format!("{} rootlet.test=1", X86_64.words);
    let words = ["boot", "/boot/vmlinuz", "--append", &line];
    let kills = std::env::var(KILLS).map_or(3, |kills| kills.parse().unwrap());
    for kill in 0..kills {
        let mut args = vec!["--board", "microvm", "--mem", "256M", "--accel", "tcg", "--"];
        args.extend(words);
        let mut boot = Boot::start_within(SECONDS, sample.cached(&args));
        // Some moment of the 400 ms or so that loading takes, another one each time.
        thread::sleep(Duration::from_millis(120 + 37 * kill % 400));
        boot.kill_if_any("qemu-system");
        boot.has_ended();
        drop(boot);
    }
    let outcome = start(&sample, &["--board", "microvm", "--accel", "tcg"], &words);
    let said = String::from_utf8_lossy(&outcome.stdout);
    assert!(said.contains("Linux version ") && said.contains(&line), "{said}{}", outcome.stderr);
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
}
