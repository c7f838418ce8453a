//! What is seen of a guest whose processor stops: where, why, with which registers; and a status
//! that fails.
//!
//! Always: the guest is an image that is made for it (`boards/common/examples/faults`); it says
//! first where it will fail.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use crate::boot::{BOARDS, Outcome, boot_image, guest};

/// The targets of the boards.
pub const TARGETS: [&str; 3] =
    ["x86_64-unknown-none", "aarch64-unknown-none", "riscv64gc-unknown-none-elf"];

/// Returns where `TARGETS` has the target of a board.
pub fn target(board: &str) -> usize {
    match board {
        "virt-aarch64" => 1,
        "virt-riscv64" => 2,
        _ => 0,
    }
}

/// Returns the image for a board, built once for each target.
pub fn image(board: &str) -> PathBuf {
    static BUILT: [OnceLock<PathBuf>; TARGETS.len()] = [const { OnceLock::new() }; TARGETS.len()];
    let built = BUILT[target(board)].get_or_init(|| {
        // Installs the target, too.
        guest(board);
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--release", "--package", "rootlet-board", "--example", "faults"]);
        cargo.args(["--message-format", "json-render-diagnostics", "--target"]);
        // They would displace the flags of .cargo/config.toml, without which it does not boot.
        cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        // As the tool has it: else defmt, and with it everything, is built anew for each in turn.
        cargo.env("DEFMT_LOG", "info");
        let output = cargo.arg(TARGETS[target(board)]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let messages = String::from_utf8(output.stdout).unwrap();
        let messages = messages.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut programs = messages.filter(|message| message["target"]["name"] == "faults");
        let program = programs.find_map(|message| message["executable"].as_str().map(Into::into));
        program.expect("cargo names the image")
    });
    built.clone()
}

/// Fails in one way; the answer is what the tool said, and where the guest said it would fail.
#[track_caller]
fn fails(board: &str, how: &str) -> (Outcome, Option<u64>) {
    fails_with(board, how, &[])
}

/// Does what [`fails`] does, with more words for QEMU.
#[track_caller]
pub fn fails_with(board: &str, how: &str, more: &[&str]) -> (Outcome, Option<u64>) {
    let words: Vec<&str> = more.iter().flat_map(|word| ["--qemu-arg", word]).collect();
    let outcome = boot_image(board, &image(board), &[&words[..], &["--", how]].concat());
    assert_eq!(outcome.status, Some(1), "{board} {how}: {}", outcome.stderr);
    assert!(outcome.verdict().starts_with("FAIL "), "{board} {how}: {}", outcome.stderr);
    let stdout = String::from_utf8(outcome.stdout.clone()).unwrap();
    let place = number(stdout.strip_prefix("at ").unwrap_or_default());
    (outcome, place)
}

/// Returns the number, of base 16, that these words begin with.
fn number(words: &str) -> Option<u64> {
    let digits = words.strip_prefix("0x")?.split(|c: char| !c.is_ascii_hexdigit()).next()?;
    u64::from_str_radix(digits, 16).ok()
}

/// Returns the number after a name in the verdict.
#[track_caller]
pub fn field(outcome: &Outcome, name: &str) -> u64 {
    let found =
        outcome.verdict().split_once(&format!("{name} ")).and_then(|(_, rest)| number(rest));
    found.unwrap_or_else(|| panic!("{name}: {}", outcome.stderr))
}

/// Checks that the verdict begins so, and its last line but one, the report, says the same.
#[track_caller]
fn says(outcome: &Outcome, board: &str, words: &str) {
    let reports = outcome.stderr.lines().filter(|line| line.starts_with(words)).count();
    let told = outcome.verdict().starts_with(&format!("FAIL {words}"));
    assert!(told && reports == 1, "{board}, {words}: {}", outcome.stderr);
}

/// The program counter, as the report of each target has it.
pub const PC: [&str; 3] = ["rip", "pc", "pc"];
/// The stack's pointer, as above.
pub const SP: [&str; 3] = ["rsp", "sp", "sp"];

#[test]
fn instruction_that_does_not_exist_is_told_with_place_and_registers() {
    let kinds = [
        "exception 6 (invalid opcode) at rip 0x",
        "exception synchronous (unknown instruction) at pc 0x",
        "exception 0x2 (illegal instruction) at pc 0x",
    ];
    for board in BOARDS {
        let (outcome, place) = fails(board, "undefined");
        says(&outcome, board, kinds[target(board)]);
        // After the instruction that fills the register.
        let behind = field(&outcome, PC[target(board)]) - place.unwrap();
        assert!((2..=4).contains(&behind), "{board}: {}", outcome.stderr);
        let register = ["rax", "lr", "ra"][target(board)];
        assert_eq!(field(&outcome, register), 0x1234_5678_9abc_def0, "{board}");
    }
}

#[test]
fn address_that_is_not_mapped_is_told() {
    let kinds = [
        "exception 14 (page fault) at rip 0x",
        "exception synchronous (data abort) at pc 0x",
        "exception 0xd (load page) at pc 0x",
    ];
    let unmapped = [0x1_2345_6008, 0x80_1234_5008, 0x40_1234_5008];
    for board in BOARDS {
        let (outcome, place) = fails(board, "unmapped");
        says(&outcome, board, kinds[target(board)]);
        assert_eq!(Some(field(&outcome, PC[target(board)])), place, "{board}");
        assert_eq!(field(&outcome, "touching address"), unmapped[target(board)], "{board}");
    }
}

#[test]
fn stack_that_overflows_is_told_with_the_address_below_it() {
    let kinds = [
        "exception 14 (page fault) at rip 0x",
        "exception synchronous (data abort) at pc 0x",
        "exception 0xf (store page) at pc 0x",
    ];
    for board in BOARDS {
        let (outcome, _) = fails(board, "overflow");
        says(&outcome, board, kinds[target(board)]);
        let (touched, sp) =
            (field(&outcome, "touching address"), field(&outcome, SP[target(board)]));
        assert!(touched.abs_diff(sp) < 8192, "{board}: {}", outcome.stderr);
    }
}

#[test]
fn division_by_zero_is_told_on_x86() {
    for board in ["microvm", "q35"] {
        let (outcome, place) = fails(board, "divide");
        says(&outcome, board, "exception 0 (divide error) at rip 0x");
        assert_eq!(Some(field(&outcome, "rip")), place, "{board}");
    }
}

#[test]
fn panic_is_told_with_its_place() {
    for board in BOARDS {
        let (outcome, _) = fails(board, "panic");
        says(&outcome, board, "panic at boards/common/examples/faults/main.rs:");
        assert!(outcome.verdict().ends_with(": as it was told"), "{}", outcome.stderr);
    }
}

/// A panic, or a fault, while a panic is reported: there is a verdict, in fewer words.
#[test]
fn fault_while_another_one_is_reported_is_told_in_few_words() {
    for board in BOARDS {
        for how in ["panic-twice", "panic-undefined"] {
            let (outcome, _) = fails(board, how);
            says(&outcome, board, "a fault while another one was reported");
        }
    }
}
