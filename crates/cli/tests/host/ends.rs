//! Ends that nobody wishes for: a full disk, Ctrl-C, a narrow terminal, the wrong file.
//!
//! Always: nothing half is left under a name, nothing panics, and the next command is named.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rootlet_sim::image::{Content, Options, Tree};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::run::World;

/// Names in a folder, in order.
fn names(dir: &Path) -> Vec<String> {
    let all = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = all.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn file_for_which_there_is_no_room_is_not_there_at_all() {
    let mut tree = Tree::new();
    tree.file("/large", Content::seeded(1, 400_000));
    tree.file("/small", Content::seeded(2, 10));
    let world = World::new(&tree, &Options::default());
    assert_eq!(world.run(&["ls"]).status, 0);
    for force in ["", "--force"] {
        // A file may have at most 100 blocks; a process that writes more gets an error.
        let line = format!(
            "ulimit -f 100; trap '' XFSZ; exec '{}' extract {force} '{}' '{}'",
            env!("CARGO_BIN_EXE_rootlet"),
            world.path("image").display(),
            world.path("out").display(),
        );
        let output = Command::new("sh").args(["-c", &line]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("/large: File too large"), "{said}");
        assert_eq!(names(&world.path("out")), ["small"], "{said}");
    }
    // What was there stays until something whole can take its place.
    fs::write(world.path("out/large"), "mine").unwrap();
    let line = format!(
        "ulimit -f 100; trap '' XFSZ; exec '{}' extract --force '{}' '{}'",
        env!("CARGO_BIN_EXE_rootlet"),
        world.path("image").display(),
        world.path("out").display(),
    );
    assert!(!Command::new("sh").args(["-c", &line]).output().unwrap().status.success());
    assert_eq!(fs::read(world.path("out/large")).unwrap(), b"mine");
}

#[test]
fn interrupted_extract_leaves_whole_files_alone() {
    let mut tree = Tree::new();
    for number in 0..3000_u64 {
        tree.file(format!("/{number:04}"), Content::seeded(number, 20_000));
    }
    let world = World::new(&tree, &Options::default());
    assert_eq!(world.run(&["ls", "-d"]).status, 0);
    let (image, out) = (world.path("image"), world.path("out"));
    // On a quick machine it may have ended before it is asked to.
    for _ in 0..20 {
        let _ = fs::remove_dir_all(&out);
        let mut command = Command::new(env!("CARGO_BIN_EXE_rootlet"));
        command.arg("extract").args([&image, &out]).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        while fs::read_dir(&out).map_or(0, Iterator::count) < 5 {
            assert!(Instant::now() < until, "nothing is restored");
            std::thread::sleep(Duration::from_millis(1));
        }
        let id = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        let _ = rustix::process::kill_process(id, rustix::process::Signal::INT);
        let status = child.wait().unwrap().code();
        for name in names(&out) {
            let number: u64 = name.parse().unwrap_or_else(|_| panic!("{name} is left"));
            let whole = Content::seeded(number, 20_000).to_vec();
            assert!(fs::read(out.join(&name)).unwrap() == whole, "{name} is not whole");
        }
        if status == Some(130) {
            return;
        }
        assert_eq!(status, Some(0));
    }
    panic!("it was never interrupted");
}

/// Waits until the program looks at signals: it has replaced what the kernel does with SIGINT.
fn wait_until_watching(id: u32) {
    let until = Instant::now() + Duration::from_secs(60);
    let catches = |status: &str| {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
        Some(u64::from_str_radix(mask.trim(), 16).unwrap() & 2 != 0)
    };
    let status = format!("/proc/{id}/status");
    while !fs::read_to_string(&status).ok().and_then(|text| catches(&text)).unwrap_or(false) {
        assert!(Instant::now() < until, "it never watches");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn first_request_ends_a_command_that_waits_for_its_input_or_output() {
    let mut tree = Tree::new();
    for number in 0..2000 {
        tree.file(format!("/{number}"), Content::bytes("x"));
    }
    let world = World::new(&tree, &Options::default());
    assert_eq!(world.run(&["ls", "-d"]).status, 0);
    let image = world.path("image").display().to_string();
    // Nobody writes into the one, nobody reads the rows of the other, which are longer than a pipe.
    for line in ["timeline -", "ls -l IMAGE"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rootlet"));
        command.args(line.split(' ').map(|word| if word == "IMAGE" { &image } else { word }));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        wait_until_watching(child.id());
        let id = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break status.code(),
                None if Instant::now() > until => break None,
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(status, Some(130), "{line}");
    }
}

/// Returns a terminal of 40 columns: our end and the program's.
pub fn terminal() -> (File, OwnedFd) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let theirs = rustix::fs::open(name.as_c_str(), flags, Mode::empty()).unwrap();
    tcsetwinsize(&theirs, Winsize { ws_row: 12, ws_col: 40, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    (ours.into(), theirs)
}

#[test]
fn terminal_of_forty_columns_is_wide_enough() {
    let mut tree = Tree::new();
    for number in 0..50 {
        tree.file(format!("/{}/{number}", "long".repeat(30)), Content::seeded(number, 5000));
    }
    let world = World::new(&tree, &Options::default());
    assert_eq!(world.run(&["ls"]).status, 0);
    let image = world.path("image").display().to_string();
    for line in ["--help", "ls --help", "ls -lR IMAGE", "check IMAGE", "sum IMAGE"] {
        let (mut ours, theirs) = terminal();
        let mut command = Command::new(env!("CARGO_BIN_EXE_rootlet"));
        command.args(line.split(' ').map(|word| if word == "IMAGE" { &image } else { word }));
        command.stdin(Stdio::null()).stdout(theirs.try_clone().unwrap()).stderr(theirs);
        let mut child = command.spawn().unwrap();
        // The command holds the other end of the terminal, too.
        drop(command);
        let mut said = Vec::new();
        // A terminal whose other end is closed gives an error.
        let _ = ours.read_to_end(&mut said);
        let said = String::from_utf8_lossy(&said).into_owned();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{line}: {said}");
        assert!(!said.is_empty() && !said.contains("panicked"), "{line}: {said}");
    }
}

#[test]
fn file_of_another_kind_is_told_with_the_command_for_it() {
    // An image of 8 KiB is known, though no region is as small.
    for bytes in [4 << 20, 0] {
        let mut tree = Tree::new();
        tree.file("/f", Content::seeded(1, bytes));
        kinds_are_told(&World::new(&tree, &Options::default()));
    }
}

fn kinds_are_told(world: &World) {
    assert_eq!(world.run(&["ls"]).status, 0);
    let path = |name: &str| world.path(name).display().to_string();
    let run = |words: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_rootlet")).args(words).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (image, region) = (path("image"), path("region"));
    File::create(&region).unwrap().set_len(4 << 20).unwrap();
    assert_eq!(run(&["region", &region, "format"]).0, Some(0));
    let (status, said) = run(&["ls", &region]);
    assert!(status == Some(2) && said.contains("rootlet region FILE"), "{said}");
    for action in ["show", "check"] {
        let (status, said) = run(&["region", &image, action]);
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains("an EROFS image; `rootlet ls "), "{said}");
    }
    let (status, said) = run(&["region", &image, "drop", "0"]);
    assert!(status == Some(1) && said.contains("an EROFS image; `rootlet ls "), "{said}");
    for (magic, at, words) in [
        (&b"ustar"[..], 257, "mkfs.erofs --tar=f root.erofs FILE"),
        (b"PK\x03\x04", 0, "a zip archive"),
        (b"hsqs", 0, "a squashfs image"),
        (b"QED\0", 0, "qemu-img convert"),
        (b"SIF_MAGIC", 32, "siftool dump"),
        (b"EFI PART", 512, "sfdisk -d FILE lists them"),
    ] {
        let mut bytes = vec![0x11; 8192];
        bytes[at..at + magic.len()].copy_from_slice(magic);
        fs::write(path("other"), bytes).unwrap();
        for command in ["ls", "check", "manifest"] {
            let (status, said) = run(&[command, &path("other")]);
            assert!(status == Some(2) && said.contains(words), "{command}: {said}");
            assert!(said.starts_with(&format!("rootlet: {} (image): ", path("other"))), "{said}");
        }
    }
    let (status, said) = run(&["boot", &path("other"), "ls", "/"]);
    assert!(status == Some(2) && said.contains("sfdisk -d FILE"), "{said}");
    fs::write(path("other"), "#!/bin/sh\n").unwrap();
    let (status, said) = run(&["ls", &path("other")]);
    assert!(status == Some(2) && said.contains("(image): not an EROFS image;"), "{said}");
    fs::write(path("other"), [0; 8192]).unwrap();
    let (status, said) = run(&["ls", &path("other")]);
    let words = format!("rootlet: {}: not an EROFS image: corrupt image: magic", path("other"));
    assert!(status == Some(1) && said.starts_with(&words), "{said}");
    fs::create_dir(path("dir")).unwrap();
    let (status, said) = run(&["ls", &path("dir")]);
    assert!(status == Some(2) && said.contains("a directory; make an image of its"), "{said}");
    let (status, said) = run(&["region", &path("dir")]);
    assert!(status == Some(2) && said.contains("a directory, not a disk"), "{said}");
    fs::remove_dir(path("dir")).unwrap();
    let (status, said) = run(&["boot", "--guest", &image, &image]);
    assert!(status == Some(2) && said.contains("image: neither an ELF for x86_64, "), "{said}");
    // What runs this test is an ELF for this machine.
    let own = std::env::current_exe().unwrap().display().to_string();
    let other = if cfg!(target_arch = "riscv64") { "virt-aarch64" } else { "virt-riscv64" };
    let (status, said) = run(&["boot", "--board", other, "--guest", &own, &image]);
    assert!(status == Some(2) && said.contains(&format!("and the board {other} is ")), "{said}");
    let (status, said) = run(&["boot", &path("gone"), "ls", "/"]);
    assert!(status == Some(2) && said.contains("gone (image): No such file"), "{said}");
    let (status, said) = run(&["boot", &image, "lsd", "/"]);
    assert!(status == Some(2) && said.contains("unknown command"), "{said}");
}

/// What Android signs: an image with a footer at its end, or another file system with one.
#[test]
fn image_with_an_avb_footer_is_read_and_the_signature_is_said_to_be_unverified() {
    let mut tree = Tree::new();
    tree.file("/f", Content::seeded(1, 100_000));
    let world = World::new(&tree, &Options::default());
    let bytes = world.built.image.bytes().len();
    let footer = [&b"AVBf\0\0\0\x01\0\0\0\0"[..], &[0; 52]].concat();
    let signed = [world.built.image.bytes(), &[0; 4096 - 64], &footer].concat();
    let path = |name: &str| world.path(name).display().to_string();
    let run = |words: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_rootlet")).args(words).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(world.run(&["ls"]).status, 0);
    fs::write(path("signed"), &signed).unwrap();
    let said = "image   has an AVB footer: Android's signature and hashes are not verified here\n";
    assert_eq!(run(&["check", &path("signed")]), (Some(0), said.into()));
    assert_eq!(run(&["check", &path("image")]), (Some(0), String::new()));
    assert_eq!(run(&["ls", &path("signed")]), (Some(0), String::new()));
    let (status, verbose) = run(&["ls", "-v", &path("signed")]);
    assert!(status == Some(0) && verbose.contains(said), "{verbose}");
    let mut other = signed.clone();
    other[..bytes].fill(0x11);
    other[1080..1082].copy_from_slice(&[0x53, 0xef]);
    fs::write(path("other"), other).unwrap();
    let (status, said) = run(&["ls", &path("other")]);
    let words = "(image): this is an ext2, ext3 or ext4 file system, not an EROFS image";
    assert!(status == Some(2) && said.contains(words), "{said}");
    let mut other = signed.clone();
    other[..bytes].fill(0x11);
    fs::write(path("other"), other).unwrap();
    for command in ["ls", "check"] {
        let (status, said) = run(&[command, &path("other")]);
        let words =
            "other: not an EROFS image, but a partition with an AVB footer (Android Verified";
        assert!(status == Some(1) && said.contains(words), "{command}: {said}");
    }
    // Nobody formats a region over what is signed.
    let (status, said) = run(&["region", &path("signed"), "format"]);
    assert!(status == Some(1) && said.contains("an EROFS image"), "{said}");
}
