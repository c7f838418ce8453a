//! What cannot be mounted, and what cannot be read of a mount: a line that says why.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use rootlet_sim::image::{Content, FileLayout, Options, Tree};
use rustix::io::Errno;

use crate::mounted::{Files, Mount, folder, is_able, is_mounted, rootlet, say};

fn mount(image: &Path, dir: &Path) -> (Option<i32>, String) {
    let words = ["mount".into(), OsString::from(image), dir.into()];
    let (status, stdout, stderr) = rootlet(words);
    assert_eq!(stdout, "");
    assert!(!is_mounted(dir));
    (status.code(), stderr)
}

#[test]
fn what_is_no_image_is_refused_in_the_words_of_other_commands() {
    if !is_able() {
        return;
    }
    let dir = folder();
    let place = dir.path().join("place");
    fs::create_dir(&place).unwrap();
    let file = dir.path().join("file");
    for bytes in [vec![0; 4096], b"#!/bin/sh\nexit".repeat(512), vec![]] {
        fs::write(&file, bytes).unwrap();
        let (status, _, stderr) = rootlet(["ls".into(), OsString::from(&file)]);
        assert_eq!(mount(&file, &place), (status.code(), stderr));
    }
    let missing = dir.path().join("missing");
    let (status, _, stderr) = rootlet(["ls".into(), OsString::from(&missing)]);
    assert_eq!(mount(&missing, &place), (status.code(), stderr));
}

#[test]
fn place_that_is_no_directory_is_named() {
    if !is_able() {
        return;
    }
    let mut tree = Tree::new();
    tree.file("/file", Content::bytes(*b"file"));
    let files = Files::of(&tree, &Options::default());
    for (place, why) in [
        (files.image.clone(), "not a directory"),
        (files.image.with_file_name("missing"), "No such file or directory"),
    ] {
        let (status, stderr) = mount(&files.image, &place);
        assert_eq!(status, Some(2), "{stderr}");
        let line = format!("rootlet: {}: {why}", place.display());
        assert!(stderr.starts_with(&line) && stderr.lines().count() == 1, "{stderr}");
    }
}

#[test]
fn directory_that_holds_something_is_mounted_on_and_shows_it_again() {
    if !is_able() {
        return;
    }
    let mut tree = Tree::new();
    tree.file("/of-the-image", Content::bytes(*b"file"));
    let (files, dir) = (Files::of(&tree, &Options::default()), folder());
    let own = dir.path().join("own");
    fs::write(&own, b"own").unwrap();
    let mount = Mount::on(dir.path(), &files, &[]);
    assert!(!own.exists() && mount.at("of-the-image").exists());
    mount.end();
    assert!(own.exists());
}

/// A chunk that lies nowhere: its file fails, which is said once, and others are read.
#[test]
fn fault_of_a_source_is_an_error_and_said_once() {
    if !is_able() {
        return;
    }
    let mut tree = Tree::new();
    tree.file("/sound", Content::bytes(*b"sound"));
    tree.file("/wrong", Content::bytes(*b"wrong"));
    tree.symlink("/link", "sound");
    let options = Options { layout: FileLayout::ChunkIndexes, ..Options::default() };
    let built = rootlet_sim::image::build(&tree, &options).unwrap();
    let mut broken = built.clone();
    let entry = broken.image.chunk_entry_at("/wrong", 0);
    broken.image.patch(entry + 4, &0xff_ffff_u32.to_le_bytes()).fix_checksum();
    let mut mount = Mount::new(&Files::built(&broken, &options));
    assert_eq!(fs::read(mount.at("sound")).unwrap(), b"sound");
    let file = File::open(mount.at("wrong")).unwrap();
    for _ in 0..3 {
        let error = file.read_at(&mut [0; 5], 0).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::IO.raw_os_error()));
    }
    let nid = format!("nid {}", built.image.nid("/wrong"));
    mount.wait_for(&nid);
    assert_eq!(fs::read(mount.at("link")).unwrap(), b"sound");
    drop(file);
    // Not a second time.
    mount.end();
}

/// Runs the program where `hide` was run before, in a mount namespace of its own.
fn without(hide: &str, image: &Path, dir: &Path) -> Option<(Option<i32>, String)> {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", hide]).arg(dir);
    command.arg(env!("CARGO_BIN_EXE_rootlet")).arg("mount").arg(image).arg(dir);
    match command.output() {
        Ok(ran) => Some((ran.status.code(), String::from_utf8_lossy(&ran.stderr).into_owned())),
        Err(error) => {
            say(&format!("skipped: unshare: {error}"));
            None
        }
    }
}

#[test]
fn machine_without_fuse_and_user_without_rights_are_named() {
    if !is_able() {
        return;
    }
    let mut tree = Tree::new();
    tree.file("/file", Content::bytes(*b"file"));
    let (files, dir) = (Files::of(&tree, &Options::default()), folder());
    let no_device = "mount --bind \"$0\" /dev && exec \"$@\"";
    let Some((status, stderr)) = without(no_device, &files.image, dir.path()) else { return };
    assert_eq!(status, Some(3), "{stderr}");
    assert!(stderr.starts_with("rootlet: there is no /dev/fuse: `modprobe fuse`"), "{stderr}");
    // Root's capabilities are gone, and so is the device of a machine that lets nobody else in.
    let no_rights = "exec setpriv --bounding-set -all --inh-caps -all --no-new-privs \
                     --reuid 65534 --clear-groups \"$@\"";
    let Some((status, stderr)) = without(no_rights, &files.image, dir.path()) else { return };
    assert_eq!(status, Some(3), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(!is_mounted(dir.path()));
}
