//! Programs that a machine does not have.

use std::process::{Command, Stdio};

#[test]
fn missing_qemu_is_told_with_the_command_that_installs_it() {
    let empty = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    let image = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/tiny.erofs");
    command.args(["--accel", "tcg", "--image", image, "--", "ls", "/"]);
    command.env("PATH", empty.path()).env("ROOTLET_NO_INSTALL", "1");
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    let is_told = said.contains("qemu-system-x86_64") && said.contains("Type this");
    assert!(said.starts_with("rootlet: missing: ") && is_told, "{said}");
}
