//! Standard output that cannot be written, by the tasks that print.
//!
//! Always: the fault is reported and nothing panics; a pipe that its reader closed is not reported.

use std::fs::File;
use std::process::{Command, Stdio};

const LINES: [&[&str]; 3] =
    [&["power-cut", "--cases", "1"], &["power-cut", "--case", "wide/cut:1:1"], &["fuzz", "--list"]];

#[test]
fn full_disk_behind_standard_output_is_told() {
    for line in LINES {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        let ended = command.args(line).stdin(Stdio::null()).stdout(full).output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        let fault = "rootlet: standard output: No space left on device (os error 28)";
        assert!(said.lines().any(|line| line == fault), "{line:?}: {said}");
        assert_eq!(ended.status.code(), Some(1), "{line:?}: {said}");
    }
}

#[test]
fn pipe_that_nobody_reads_any_more_ends_the_tool_without_a_word() {
    for line in LINES {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = command.args(line).stdin(Stdio::null()).stdout(writer).output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(141), "{line:?}: {said}");
        assert!(!said.contains("rootlet:") && !said.contains("panicked"), "{line:?}: {said}");
    }
}
