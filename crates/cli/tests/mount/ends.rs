//! How a mount ends: nothing stays mounted, with users inside or without.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rootlet_sim::image::{Content, Options, Tree};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::Signal;

use crate::mounted::{Files, Mount, Place, folder, is_able, is_mounted, rootlet};

/// An image with a file of this content.
fn files(content: &[u8]) -> Files {
    let mut tree = Tree::new();
    tree.file("/file", Content::bytes(content));
    tree.file("/large", Content::seeded(7, 4 << 20));
    Files::of(&tree, &Options::default())
}

#[test]
fn requests_to_end_leave_nothing_mounted() {
    if !is_able() {
        return;
    }
    let files = files(b"content");
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mount = Mount::new(&files);
        let dir = mount.dir().to_path_buf();
        assert_eq!(fs::read(mount.at("file")).unwrap(), b"content");
        mount.signal(signal);
        let (status, said) = mount.ended();
        assert!(status.success() && said.is_empty(), "{signal:?}: {status} {said:?}");
        assert!(!is_mounted(&dir), "{signal:?}");
    }
}

#[test]
fn readers_inside_get_errors_and_the_directory_is_free() {
    if !is_able() {
        return;
    }
    let mount = Mount::new(&files(b"content"));
    let dir = mount.dir().to_path_buf();
    let file = File::open(mount.at("large")).unwrap();
    let mut inside = Command::new("sleep");
    let mut inside = inside.arg("1000").current_dir(&dir).stdin(Stdio::null()).spawn().unwrap();
    mount.signal(Signal::INT);
    let (status, said) = mount.ended();
    inside.kill().unwrap();
    inside.wait().unwrap();
    assert!(status.success(), "{status}: {said:?}");
    assert!(said.iter().any(|line| line.contains("was in use")), "{said:?}");
    assert!(!is_mounted(&dir));
    let error = file.read_at(&mut [0; 10], 3 << 20).unwrap_err();
    let errors = [Errno::NOTCONN, Errno::CONNABORTED].map(|errno| Some(errno.raw_os_error()));
    assert!(errors.contains(&error.raw_os_error()), "{error}");
}

#[test]
fn unmounting_from_outside_ends_the_program() {
    if !is_able() {
        return;
    }
    let files = files(b"content");
    for flags in [UnmountFlags::empty(), UnmountFlags::DETACH] {
        let mount = Mount::new(&files);
        let dir = mount.dir().to_path_buf();
        unmount(&dir, flags).unwrap();
        // A second time there is nothing.
        assert_eq!(unmount(&dir, UnmountFlags::empty()), Err(Errno::INVAL));
        let (status, said) = mount.ended();
        assert!(status.success() && said.is_empty(), "{status}: {said:?}");
        assert!(!is_mounted(&dir));
    }
}

#[test]
fn mounts_over_each_other_end_one_after_the_other() {
    if !is_able() {
        return;
    }
    let (below, above) = (files(b"below"), files(b"above"));
    let dir = folder();
    let shows = |content: &[u8]| {
        assert_eq!(fs::read(dir.path().join("file")).unwrap(), content);
    };
    let mut first = Mount::on(dir.path(), &below, &[]);
    shows(b"below");
    let second = Mount::on(dir.path(), &above, &[]);
    shows(b"above");
    // The one below waits, and does not take the other away.
    first.signal(Signal::INT);
    first.wait_for("waiting until");
    shows(b"above");
    second.signal(Signal::INT);
    assert!(second.ended().0.success());
    assert!(first.ended().0.success());
    assert!(!is_mounted(dir.path()));
}

#[test]
fn second_request_to_end_leaves_nothing_mounted() {
    if !is_able() {
        return;
    }
    let mount = Mount::new(&files(b"content"));
    let dir = mount.dir().to_path_buf();
    // The program waits half a second for one who is inside.
    let inside = File::open(mount.at("large")).unwrap();
    for signal in [Signal::INT, Signal::INT, Signal::HUP, Signal::TERM] {
        mount.signal(signal);
        std::thread::sleep(std::time::Duration::from_millis(30));
    }
    let (status, said) = mount.ended();
    assert!(status.success(), "{status}: {said:?}");
    assert!(!is_mounted(&dir));
    drop(inside);
}

#[test]
fn mount_that_came_to_the_directory_later_is_left_alone() {
    if !is_able() {
        return;
    }
    let (first, second) = (files(b"first"), files(b"second"));
    for _ in 0..3 {
        let dir = folder();
        let mut gone = Mount::on(dir.path(), &first, &[]);
        // The number of the mount is free for the next one, before the first program notices.
        gone.signal(Signal::STOP);
        unmount(dir.path(), UnmountFlags::DETACH).unwrap();
        let there = Mount::on(dir.path(), &second, &[]);
        gone.is_replaced = true;
        gone.signal(Signal::INT);
        gone.signal(Signal::CONT);
        assert!(gone.ended().0.success());
        assert_eq!(fs::read(there.at("file")).unwrap(), b"second");
        there.end();
    }
}

#[test]
fn image_that_is_deleted_is_read_on() {
    if !is_able() {
        return;
    }
    let files = files(b"content");
    let mount = Mount::new(&files);
    fs::remove_file(&files.image).unwrap();
    let want = Content::seeded(7, 4 << 20).to_vec();
    assert_eq!(fs::read(mount.at("file")).unwrap(), b"content");
    assert_eq!(fs::read(mount.at("large")).unwrap(), want);
    mount.end();
}

#[test]
fn mount_whose_program_was_killed_is_named_and_can_be_removed() {
    if !is_able() {
        return;
    }
    let (files, dir) = (files(b"content"), folder());
    let mount = Mount::on(dir.path(), &files, &[]);
    mount.signal(Signal::KILL);
    while rustix::fs::statvfs(mount.dir()).is_ok() {
        std::thread::yield_now();
    }
    let words = ["mount".into()].into_iter().chain(files.words(Some(dir.path())));
    let (status, _, stderr) = rootlet(words);
    let dir_words = format!("`umount {}`", dir.path().display());
    assert!(!status.success() && stderr.contains(&dir_words), "{stderr}");
    unmount(dir.path(), UnmountFlags::empty()).unwrap();
    let (status, _) = mount.ended();
    assert_eq!(status.signal(), Some(Signal::KILL.as_raw()));
}

#[test]
fn region_holds_what_was_read_through_the_mount() {
    if !is_able() {
        return;
    }
    let mut tree = Tree::new();
    tree.file("/large", Content::seeded(7, 3 << 20));
    let options = Options {
        layout: rootlet_sim::image::FileLayout::ChunkIndexes,
        chunk_bits: 16,
        blobs: 2,
        ..Options::default()
    };
    let (files, dir) = (Files::of(&tree, &options), folder());
    let region = dir.path().join("region");
    let region = region.to_str().unwrap();
    let mount = Mount::with(&files, &["--region", region]);
    assert_eq!(fs::read(mount.at("large")).unwrap(), Content::seeded(7, 3 << 20).to_vec());
    mount.end();
    let mut words = vec!["sum".into(), "--verbose".into(), "--region".into(), region.into()];
    words.extend(files.words(None));
    let (status, _, stderr) = rootlet(words);
    assert!(status.success() && stderr.contains("fetched 0 bytes"), "{stderr}");
}

#[test]
fn mount_in_the_background_is_there_when_the_program_returns() {
    if !is_able() {
        return;
    }
    let (files, dir) = (files(b"content"), folder());
    let _place = Place(dir.path().to_path_buf());
    let words = |more: &str| {
        let words = ["mount".into()].into_iter().chain(files.words(Some(dir.path())));
        words.chain([more.into()])
    };
    // Its output is at an end, so the one in the background has let go of it.
    let (status, stdout, stderr) = rootlet(words("--background"));
    assert!(status.success() && stdout.is_empty(), "{status}: {stderr}");
    assert!(stderr.contains("is mounted on") && !stderr.contains("Ctrl-C"), "{stderr}");
    assert_eq!(fs::read(dir.path().join("file")).unwrap(), b"content");
    unmount(dir.path(), UnmountFlags::empty()).unwrap();
    // What fails says why, as in the foreground.
    fs::remove_file(&files.image).unwrap();
    let (status, stdout, stderr) = rootlet(words("--background"));
    assert_eq!((status, stdout, stderr), rootlet(words("--foreground")));
    assert!(!is_mounted(dir.path()));
}

/// Whether a process has this as its current folder.
fn is_busy(folder: &Path) -> bool {
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let mut current = processes.filter_map(|process| fs::read_link(process.join("cwd")).ok());
    current.any(|current| current == folder)
}

#[test]
fn mount_in_the_background_keeps_no_folder_busy() {
    if !is_able() {
        return;
    }
    let (files, dir, from) = (files(b"content"), folder(), folder());
    let _place = Place(dir.path().to_path_buf());
    fs::rename(&files.image, from.path().join("image")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rootlet"));
    command.args(["mount", "image", "--background"]).arg(dir.path()).current_dir(from.path());
    let ran = command.output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
    assert!(!is_busy(&from.path().canonicalize().unwrap()));
    assert_eq!(fs::read(dir.path().join("file")).unwrap(), b"content");
    unmount(dir.path(), UnmountFlags::empty()).unwrap();
}

#[test]
fn mount_in_the_background_that_is_killed_is_an_error_with_words() {
    if !is_able() {
        return;
    }
    let (files, dir) = (files(b"content"), folder());
    let _place = Place(dir.path().to_path_buf());
    // The region's file is larger than a file may be, and the kernel kills who makes it.
    let line = format!(
        "ulimit -c 0; ulimit -f 1; exec '{}' mount '{}' '{}' --background --region '{}'",
        env!("CARGO_BIN_EXE_rootlet"),
        files.image.display(),
        dir.path().display(),
        files.image.with_file_name("region").display(),
    );
    let ran = Command::new("sh").args(["-c", &line]).output().unwrap();
    let said = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(1), "{said}");
    assert_eq!(said, "rootlet: the program in the background was ended by signal 25\n");
    assert!(!is_mounted(dir.path()));
}
