//! `rootlet boot` with a script in the place of the monitor: what a person sees meanwhile.
//!
//! Always: no machine is needed; the script writes what a guest would.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rootlet_guest::frame::{FRAME_BYTES_MAX, Kind, encode};
use rootlet_sim::image::{Content, Options, Tree};

use crate::ends::terminal;
use crate::run::World;

/// The bytes that the guest writes at a time.
const PART: [u8; 1000] = [b'x'; 1000];

/// Makes a monitor in `dir` that starts slowly, writes [`PART`] twice, and ends as one whose guest
/// passed.
fn make_monitor(dir: &Path) {
    let frame =
        |kind, payload: &[u8]| encode(kind, payload, &mut [0; FRAME_BYTES_MAX]).unwrap().to_vec();
    fs::write(dir.join("part"), frame(Kind::Output, &PART)).unwrap();
    fs::write(dir.join("verdict"), frame(Kind::Verdict, b"PASS files=1")).unwrap();
    let script = dir.join("qemu-system-x86_64");
    let text = format!(
        "#!/bin/sh\ncd {}\nsleep 1.5\ncat part\nsleep 0.5\ncat part\nsleep 0.5\ncat verdict\n\
         exit 33\n",
        dir.display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Returns an ELF for x86_64 without a segment.
fn guest() -> Vec<u8> {
    let mut elf = vec![0; 4096];
    elf[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    // Type, machine, version, bytes of this header.
    for (at, value) in [(16, 2_u16), (18, 62), (20, 1), (52, 64)] {
        elf[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }
    elf
}

/// Returns `rootlet boot` over a world, under that monitor.
fn boot(world: &World) -> Command {
    let dir = world.path("monitor");
    fs::create_dir(&dir).unwrap();
    make_monitor(&dir);
    fs::write(world.path("image"), world.built.image.bytes()).unwrap();
    fs::write(world.path("guest"), guest()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rootlet"));
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{}:{path}", dir.display()));
    command.args(["boot", "--board", "microvm", "--accel", "tcg", "--guest"]);
    command.arg(world.path("guest")).arg(world.path("image")).args(["cat", "/file"]);
    command.stdin(Stdio::null()).stdout(File::create(world.path("out")).unwrap());
    command
}

fn world() -> World {
    let mut tree = Tree::new();
    tree.file("/file", Content::seeded(1, 5000));
    World::new(&tree, &Options::default())
}

#[test]
fn terminal_shows_how_long_a_guest_runs_and_how_fast_its_output_comes() {
    let world = world();
    let (mut ours, theirs) = terminal();
    let mut command = boot(&world);
    let mut child = command.stderr(theirs).spawn().unwrap();
    // The command holds the other end of the terminal, too.
    drop(command);
    let mut said = Vec::new();
    // A terminal whose other end is closed gives an error.
    let _ = ours.read_to_end(&mut said);
    let said = String::from_utf8_lossy(&said).into_owned();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{said}");
    assert!(said.contains("1s a guest under QEMU"), "before its first byte: {said}");
    assert!(said.contains("B/s") && said.contains("1000 B "), "after it: {said}");
    assert!(said.contains("PASS  files 1"), "{said}");
    assert_eq!(fs::read(world.path("out")).unwrap(), [PART, PART].concat());
}

#[test]
fn without_a_terminal_nothing_is_drawn() {
    let world = world();
    let output = boot(&world).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.lines().all(|line| line.starts_with("PASS")), "{said}");
    assert_eq!(fs::read(world.path("out")).unwrap(), [PART, PART].concat());
}
