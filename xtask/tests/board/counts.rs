//! The cost of a boot until the first byte of a file has been read: in figures that no host
//! changes, and beside a guest that does nothing.
//!
//! Always: what firmware did before the entry does not count. A host that was busy makes a guest
//! wait, which costs it instructions and, on x86, registers of the timer; so a board has several
//! boots, and passes with the first that keeps within all of its bounds. One that takes more by
//! itself takes more each time.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, iter};

use crate::boot::guest;
use crate::emulator::{self, disk, run};
use crate::{tiny, tiny_virt};

/// A machine of QEMU's.
struct Machine {
    board: &'static str,
    words: &'static [&'static str],
    /// QEMU's name for a disk.
    disk: &'static str,
    /// What the addresses in the image are counted from.
    image_at: u64,
    /// Where the console sends a byte.
    console_at: &'static str,
    /// A fifth more than was counted on 2026-11-29, at most.
    most: Counts,
}

/// From entry to the first byte of a file.
#[derive(Debug)]
struct Counts {
    /// Thousands of the processor's instructions; a wait counts as if the processor had worked.
    thousands: u64,
    /// Of all devices' registers, each of which leaves a guest under a hypervisor: of the disk, of
    /// PCI's configuration, the timer, the console, with all that was written there, and others.
    accesses: usize,
    /// Requests that the disk was rung for: its name, its superblock, and the file with its
    /// metadata.
    trips: usize,
}

const MACHINES: [Machine; 4] = [
    Machine {
        board: "microvm",
        words: &["-M", "microvm,acpi=off", "-no-reboot"],
        disk: "virtio-blk-device",
        image_at: 0,
        console_at: "addr 0x3f8 ",
        most: Counts { thousands: 880, accesses: 290, trips: 3 },
    },
    Machine {
        board: "q35",
        words: &["-M", "q35"],
        // Its doorbell is a register as others are, and not the host's, who rings it at the start.
        disk: "virtio-blk-pci,ioeventfd=off",
        image_at: 0,
        console_at: "addr 0x3f8 ",
        most: Counts { thousands: 1020, accesses: 430, trips: 3 },
    },
    Machine {
        board: "virt-aarch64",
        words: &["-M", "virt", "-cpu", "max"],
        disk: "virtio-blk-device",
        image_at: 0x4000_0000,
        console_at: "addr 0x9000000 ",
        most: Counts { thousands: 550, accesses: 430, trips: 3 },
    },
    Machine {
        board: "virt-riscv64",
        words: &["-M", "virt"],
        disk: "virtio-blk-device",
        image_at: 0x8000_0000,
        console_at: "addr 0x10000000 ",
        most: Counts { thousands: 460, accesses: 240, trips: 3 },
    },
];
/// Boots of a board before it is said to take too much.
const BOOTS: usize = 20;
/// How often the time of an empty guest a first byte may take.
const EMPTY_GUESTS_MAX: f64 = 2.5;

fn image() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/tiny.erofs")
}

impl Machine {
    /// Returns the address of the first instruction, by the header of the ELF (`e_entry`).
    fn entry(&self) -> u64 {
        let elf = fs::read(guest(self.board)).unwrap();
        self.image_at + u64::from_le_bytes(elf[24..32].try_into().unwrap())
    }

    /// Returns QEMU's words for the machine with the image as its disk.
    fn with_disk(&self) -> impl Iterator<Item = String> {
        let words = self.words.iter().map(|word| (*word).to_string());
        words.chain(disk(self.disk, "image", &image())).chain([
            "-global".into(),
            // Registers of virtio 1.0, as all other machines have.
            "virtio-mmio.force-legacy=false".into(),
        ])
    }

    /// Counts in one boot.
    fn boot(&self, trace: &Path) -> Counts {
        let _ = fs::remove_file(trace);
        // An instruction a nanosecond; a line for each access, and one for the entry.
        let entry = format!("{:#x}+1", self.entry());
        let traced = ["-icount", "shift=0,sleep=on", "-trace", "memory_region_ops_*", "-trace"];
        let traced = traced.into_iter().chain(["virtio_queue_notify", "-d", "exec,nochain"]);
        let traced = traced.chain(["-dfilter", &entry, "-D"]).map(String::from);
        let words = self.with_disk().chain(traced).chain([trace.display().to_string()]);
        let ended = run(self.board, words, "image=image -- cat /hello");
        ended.assert_verdict("PASS files=1 ");
        let (_, first) = ended.verdicts()[0].split_once("first_byte_us=").unwrap();
        let thousands = first.split(' ').next().unwrap().parse().unwrap();
        let trace = fs::read_to_string(trace).unwrap();
        let (_, entered) = trace.split_once("\nTrace 0:").or(trace.split_once("Trace 0:")).unwrap();
        let lines = entered.lines().skip(1).collect::<Vec<_>>();
        let until = self.first_byte(&lines);
        let count =
            |what: &str| lines[..until].iter().filter(|line| line.starts_with(what)).count();
        Counts {
            thousands,
            accesses: count("memory_region_ops_"),
            trips: count("virtio_queue_notify"),
        }
    }

    /// Returns the line with which the file's first byte goes to the console.
    fn first_byte(&self, lines: &[&str]) -> usize {
        let sent = |(at, line): (usize, &&str)| {
            let line = line.strip_prefix("memory_region_ops_write ")?;
            let (_, rest) = line.split_once(self.console_at)?;
            let value = rest.strip_prefix("value 0x")?.split(' ').next()?;
            Some((at, u8::from_str_radix(value, 16).unwrap()))
        };
        let (at, bytes): (Vec<_>, Vec<_>) = lines.iter().enumerate().filter_map(sent).unzip();
        at[bytes.windows(7).position(|bytes| bytes == b"\nhello\n").unwrap() + 1]
    }
}

#[test]
fn first_byte_takes_few_instructions_few_accesses_and_few_round_trips() {
    let dir = tempfile::tempdir().unwrap();
    for machine in MACHINES {
        let Machine { board, most, .. } = &machine;
        let boots = iter::repeat_with(|| machine.boot(&dir.path().join("trace"))).take(BOOTS);
        let mut seen = Vec::new();
        let good =
            boots.map(|counts| (counts.is_within(most), counts)).find_map(|(good, counts)| {
                println!("{board}: {counts:?}");
                seen.push(format!("{counts:?}"));
                good.then_some(counts)
            });
        assert!(good.is_some(), "{board}: more than {most:?}: {seen:#?}");
    }
}

impl Counts {
    fn is_within(&self, most: &Self) -> bool {
        let Self { thousands, accesses, trips } = self;
        assert!(*thousands > 0 && *accesses > 0 && *trips > 0, "nothing was counted: {self:?}");
        *thousands <= most.thousands && *accesses <= most.accesses && *trips <= most.trips
    }
}

/// Returns how long QEMU takes from its start until `text` has come over the serial line.
fn time_to(command: &mut Command, text: &str) -> Duration {
    let started = Instant::now();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let (mut seen, mut bytes) = (Vec::new(), [0; 4096]);
    while !seen.windows(text.len()).any(|part| part == text.as_bytes()) {
        let count = stdout.read(&mut bytes).unwrap();
        assert!(count > 0, "{command:?}: {}", String::from_utf8_lossy(&seen));
        seen.extend(&bytes[..count]);
    }
    let took = started.elapsed();
    child.kill().unwrap();
    child.wait().unwrap();
    took
}

/// By turns, and the least of each: what else the host does is in all of the others.
#[test]
fn first_byte_takes_no_more_than_two_and_a_half_empty_guests() {
    let dir = tempfile::tempdir().unwrap();
    for machine in MACHINES {
        let text = b"an empty guest\n";
        let elf = match machine.board {
            "virt-aarch64" => tiny_virt::aarch64(text),
            "virt-riscv64" => tiny_virt::riscv64(text),
            _ => tiny::elf(text, b"", tiny::End::Exit(0x10)),
        };
        let empty = dir.path().join("empty");
        fs::write(&empty, elf).unwrap();
        let rootlet = guest(machine.board);
        let time = |kernel: &Path, text: &str| {
            let mut command = emulator::command(machine.board, machine.with_disk(), kernel);
            time_to(command.args(["-append", "image=image -- cat /hello"]), text)
        };
        let mut least = [Duration::MAX; 2];
        let ratio = (0..BOOTS).map(|_| {
            least[0] = least[0].min(time(&empty, "an empty guest"));
            least[1] = least[1].min(time(rootlet, "\nhello"));
            least[1].as_secs_f64() / least[0].as_secs_f64()
        });
        let ratio = ratio.skip(2).find(|ratio| *ratio <= EMPTY_GUESTS_MAX);
        println!("{}: {ratio:?} of {least:?}", machine.board);
        assert!(ratio.is_some(), "{}: {least:?}", machine.board);
    }
}
