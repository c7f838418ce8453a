//! The microcontroller with an executor: two files at once, no step of which blocks.

use std::fs;

use rootlet_sim::image::{Content, Options, Tree, build as build_image};

use crate::boot::{build, has_program, run, sum};

const QEMU: &str = "qemu-system-arm";
/// The clock runs with instructions, so that each boot takes the same course.
const LINE: &str = "-machine mps2-an386 -display none -serial none -monitor none
    -icount shift=4,sleep=off -semihosting-config enable=on,target=native -kernel";
const FILES: [(&str, u64, usize); 2] = [("/data", 1, 300_000), ("/more", 2, 250_001)];

#[test]
fn microcontroller_reads_two_files_at_once_by_embassy() {
    if !has_program(QEMU) {
        return;
    }
    let target = "thumbv7em-none-eabi";
    let Some(elf) = build("embassy", target, "dev", "rootlet-embassy-example") else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut tree = Tree::new();
    for (path, seed, len) in FILES {
        tree.file(path, Content::seeded(seed, len));
    }
    let image = build_image(&tree, &Options::default()).unwrap().image;
    let mut bytes = image.into_bytes();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    fs::write(dir.path().join("image.erofs"), bytes).unwrap();
    let words = LINE.split_whitespace().map(String::from);
    let args: Vec<String> = words.chain([elf.to_string_lossy().into_owned()]).collect();
    let outcome = run(QEMU, &args, dir.path());
    assert_eq!(outcome.status, Some(0), "{}", outcome.console);
    let has_line = |line: &str| outcome.console.lines().any(|printed| printed == line);
    for (path, seed, len) in FILES {
        let line = format!("{path} {len} {}", sum(&Content::seeded(seed, len).to_vec()));
        assert!(has_line(&line), "no line {line:?} in {}", outcome.console);
    }
    for line in ["reads at once: 2", "requests at once: 2", "steps that blocked: 0"] {
        assert!(has_line(line), "no line {line:?} in {}", outcome.console);
    }
}
