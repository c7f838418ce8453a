//! An application: the template, built outside the checkout, answers on every board.
//!
//! Always: the table is larger than the memory of the machine; a second boot fetches nothing of it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use rootlet_sim::image::{Content, Tree};

use crate::boot::{BOARDS, boot_app, guest};
use crate::faults::{TARGETS, target};
use crate::sample::Sample;

const LINES: u64 = 1_600_000;
/// A key of ten digits, a tab, its square, and spaces to 64 bytes.
const LINE_BYTES: usize = 64;
/// Between two keys.
const STEP: u64 = 7;

/// Returns the line of a key, without its end.
fn line(key: u64) -> String {
    format!("{key:010}\t{:<52}", key * key)
}

/// Returns the table.
fn table() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(LINES as usize * LINE_BYTES);
    for number in 0..LINES {
        bytes.extend_from_slice(line(number * STEP).as_bytes());
        bytes.push(b'\n');
    }
    bytes
}

/// Makes the template in `dir` and builds it, for all boards by one command. Returns the images.
fn build(dir: &Path) -> [PathBuf; TARGETS.len()] {
    for board in BOARDS {
        guest(board);
    }
    let folder = dir.join("lookup");
    let made = Command::new(env!("CARGO_BIN_EXE_xtask")).arg("new").arg(&folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    // Beside the boards: what an application shares with them is built already.
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--release", "--locked"]).current_dir(&folder);
    cargo.env("CARGO_TARGET_DIR", out).env("DEFMT_LOG", "info");
    // They would displace the flags of the folder's own configuration.
    cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    let built = cargo.output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    TARGETS.map(|target| out.join(target).join("release/lookup"))
}

#[test]
fn template_answers_from_a_table_larger_than_memory_and_its_second_boot_fetches_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let images = build(dir.path());
    let mut tree = Tree::new();
    tree.file("/table", Content::bytes(table()));
    let sample = Sample::from_tree(tree, 26);
    let last = (LINES - 1) * STEP;
    let keys = [0, 1, 7, 3_500_000, 5_600_007, last, last + 1, 11_111_114];
    let typed: String = keys.iter().map(|key| format!("{key:010}\n")).collect();
    let answer = |key: u64| match key <= last && key.is_multiple_of(STEP) {
        true => format!("{}\n", line(key)),
        false => format!("{key:010}: not there\n"),
    };
    let answers: String = keys.map(answer).concat();
    for board in BOARDS {
        let region = format!("--region={}", sample.path(&format!("region-{board}")).display());
        let words = ["--mem", "32M", "--region-size", "16M", &region].map(OsString::from);
        for boot in ["first", "second"] {
            let more = words.iter().cloned().chain(sample.args(&["--", "/table"])).collect();
            let outcome = boot_app(board, &images[target(board)], typed.as_bytes(), more);
            let said = &outcome.stderr;
            assert_eq!(outcome.status, Some(0), "{board}: {said}");
            assert_eq!(String::from_utf8_lossy(&outcome.stdout), answers, "{board}: {said}");
            let is_warm = said.contains(", fetched 0 bytes,");
            assert_eq!(is_warm, boot == "second", "{board}, {boot}: {said}");
        }
    }
    // What an application returns is the verdict.
    let outcome = boot_app("microvm", &images[0], b"", sample.args(&[]));
    assert_eq!(outcome.status, Some(1), "{}", outcome.stderr);
    assert!(
        outcome.verdict().starts_with("FAIL give the path of one table  "),
        "{}",
        outcome.stderr
    );
    let long = [b'x'; 300];
    let outcome = boot_app("q35", &images[0], &long, sample.args(&["--", "/table"]));
    assert!(outcome.verdict().contains("a line of more than 256 bytes"), "{}", outcome.stderr);
}

#[test]
fn folder_that_is_there_or_names_no_package_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("there")).unwrap();
    for (name, words) in [("there", "exists"), ("2nd", "letters, digits")] {
        let folder = dir.path().join(name);
        let made = Command::new(env!("CARGO_BIN_EXE_xtask")).arg("new").arg(folder).output();
        let made = made.unwrap();
        let said = String::from_utf8_lossy(&made.stderr).into_owned();
        assert!(!made.status.success() && said.contains(words), "{said}");
    }
}
