//! The guest's commands over files of the host, where their input is odd, and how they end.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rootlet_sim::image::{Content, Options, Spread, Tree};

use crate::run::{Outcome, World};

fn world() -> World {
    let mut tree = Tree::new();
    tree.file("/d/one", Content::seeded(1, 9000));
    tree.file("/d/e/two", Content::seeded(2, 5));
    tree.symlink("/to-dir", "d");
    tree.symlink("/to-file", "d/one");
    tree.symlink("/nowhere", "gone");
    World::new(&tree, &Options { blobs: 1, ..Options::default() })
}

#[test]
fn sums_below_a_symlink_are_those_below_its_directory() {
    let world = world();
    let sums = |path: &str| world.run(&["sum", path]).stdout;
    let direct = sums("/d");
    assert_eq!(direct.len(), 2);
    let through: Vec<_> = direct.iter().map(|line| line.replace("  /d/", "  /to-dir/")).collect();
    assert_eq!(sums("/to-dir"), through);
    assert_eq!(sums("/to-dir/"), through);
    let rows = world.run(&["manifest", "/to-dir"]).stdout;
    assert_eq!(rows.len(), 1, "a manifest has the symlink itself: {rows:?}");
    assert!(rows[0].contains("\"target\": \"d\""), "{rows:?}");
    assert_eq!(world.run(&["sum", "/nowhere"]).status, 1);
}

#[test]
fn fault_of_a_row_is_told_once_and_the_end_counts_the_rows() {
    let mut world = world();
    let image = &mut world.built.image;
    let mut faults = Vec::new();
    for path in ["/d/e/two", "/d/one"] {
        image.patch(image.inode_at(path) + 4, &0_u16.to_le_bytes());
        let nid = image.nid(path);
        faults.push(format!("{path}: corrupt image: mode 0o0 of nid {nid} has no file type\n"));
    }
    let told = |ran: Outcome, faults: &[String], end: &str| {
        assert_eq!(ran.status, 1, "{}", ran.stderr);
        let end = format!("{}{end}", faults.concat());
        assert!(ran.stderr.ends_with(&end), "{}", ran.stderr);
        for fault in faults {
            assert_eq!(ran.stderr.matches(fault.as_str()).count(), 1, "{}", ran.stderr);
        }
    };
    told(world.run(&["manifest", "/"]), &faults, "rootlet: 2 rows are absent\n");
    told(world.run(&["ls", "/d"]), &faults[1..], "rootlet: 1 row is absent\n");
    let entry = world.built.image.dirent_at("/d/one");
    world.built.image.patch(entry + 8, &1_u16.to_le_bytes());
    let ran = world.run(&["ls", "/d"]);
    assert_eq!(
        ran.stderr.matches("/d: corrupt image: directory nid ").count(),
        1,
        "{}",
        ran.stderr
    );
}

fn rootlet(args: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rootlet"));
    let output = command.args(args).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.stdout, b"");
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// Runs `ls /` with these files, and expects a usage error with these words.
#[track_caller]
fn refused(image: &Path, blob: &Path, words: &str) {
    let blob = format!("1={}", blob.display());
    let image = image.to_str().unwrap();
    let (status, said) = rootlet(&["ls", image, "--blob", &blob, "/"]);
    assert!(said.contains(words), "{said}");
    assert_eq!(status, 2, "{said}");
}

#[test]
fn packed_image_of_any_length_is_told_as_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("root.erofs.gz");
    for bytes in [1001, 2048] {
        let mut packed = vec![0x1f, 0x8b, 0x08];
        packed.resize(bytes, 7);
        fs::write(&image, packed).unwrap();
        let (status, said) = rootlet(&["ls", image.to_str().unwrap(), "/"]);
        let wanted = "this is a gzip file, not an EROFS image; unpack it: gunzip FILE";
        assert!(said.contains(wanted), "{said}");
        assert_eq!(status, 2);
    }
}

#[test]
fn files_that_are_no_disks_are_told_by_name() {
    let world = world();
    world.run(&["ls", "/"]);
    let (image, blob) = (world.path("image"), world.path("blob0"));
    let dir = image.parent().unwrap();
    refused(dir, &blob, "(image): a directory; make an image of its files");
    refused(&image, dir, "(blob1): neither a file nor a block device");
    refused(&image, Path::new("/dev/null"), "/dev/null (blob1): neither a file nor");
    refused(&image, &world.path("gone"), "(blob1): No such file");
    let image = image.to_str().unwrap();
    let (status, said) = rootlet(&["ls", image, "--share", image, "/"]);
    assert!(status == 2 && said.contains(&format!("--share {image}: not a directory")), "{said}");
}

#[test]
fn file_that_lacks_one_byte_is_not_padded_with_a_zero() {
    let world = world();
    world.run(&["ls", "/"]);
    let (image, blob) = (world.path("image"), world.path("blob0"));
    let cut = |file: &Path| {
        let short = world.path("short");
        fs::copy(file, &short).unwrap();
        let bytes = fs::metadata(&short).unwrap().len();
        fs::File::options().write(true).open(&short).unwrap().set_len(bytes - 1).unwrap();
        short
    };
    refused(&image, &cut(&blob), "511 more than whole sectors of 512: it is cut short");
    refused(&cut(&image), &blob, "511 more than whole sectors of 512: it is cut short");
}

#[test]
fn request_to_end_ends_a_command_that_would_go_on() {
    let mut tree = Tree::new();
    tree.file("/large", Content::seeded(1, 8 << 20));
    let world = World::new(&tree, &Options::default());
    world.run(&["ls", "/"]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_rootlet"));
    command.args(["cat", world.path("image").to_str().unwrap(), "/large"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    // It has begun, and waits for a reader of the rest.
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let id = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status.code(),
            None if Instant::now() > until => break None,
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let _ = child.kill();
    let _ = child.wait();
    assert_eq!(status, Some(130));
}

#[test]
fn one_file_under_two_names_is_one_source() {
    let mut tree = Tree::new();
    tree.file("/one", Content::seeded(1, 9000));
    tree.file("/two", Content::seeded(1, 9000));
    let options = Options { blobs: 2, spread: Spread::ByFile, dedupe: false, ..Options::default() };
    let world = World::new(&tree, &options);
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("image"), world.built.image.bytes()).unwrap();
    world.built.blobs[0].write_to(&path("blob")).unwrap();
    fs::hard_link(path("blob"), path("hard")).unwrap();
    std::os::unix::fs::symlink("blob", path("soft")).unwrap();
    let image = path("image").display().to_string();
    let share = dir.path().display().to_string();
    let blob = format!("1={}", path("blob").display());
    for other in ["hard", "soft"].map(|name| path(name).display().to_string()).into_iter().chain([
        "share:blob".into(),
        "share:hard".into(),
        "share:soft".into(),
    ]) {
        let second = format!("2={other}");
        let words = ["sum", &image, "--blob", &blob, "--blob", &second, "--share", &share, "/"];
        let (status, said) = rootlet(&words);
        assert_eq!(status, 1, "{other}: {said}");
        assert!(said.contains("slots 1 and 2 would both be "), "{other}: {said}");
    }
}

/// What the region writes changes the times of the file that the image lies in, too.
#[test]
fn image_and_region_in_one_file_are_warm_the_second_time() {
    let mut tree = Tree::new();
    tree.file("/f", Content::seeded(1, 300_000));
    let world = World::new(&tree, &Options { blobs: 1, ..Options::default() });
    let image = &world.built.image;
    let sectors = image.bytes().len().div_ceil(512);
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    fs::write(path("disk"), [image.bytes(), &vec![0; 8 << 20]].concat()).unwrap();
    world.built.blobs[0].write_to(Path::new(&path("blob"))).unwrap();
    let (blob, cache) =
        (format!("1={}", path("blob")), format!("{}@{sectors}+16000", path("disk")));
    let run = || {
        let words = ["sum", "-v", &path("disk"), "/", "--blob", &blob, "--region", &cache];
        let mut command = Command::new(env!("CARGO_BIN_EXE_rootlet"));
        let output = command.args(words).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let (first, second) = (run(), run());
    assert!(!first.contains("fetched 0 bytes"), "{first}");
    assert!(second.contains("fetched 0 bytes"), "{second}");
}
