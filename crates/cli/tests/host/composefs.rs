//! composefs images with their objects: each file is its object, byte for byte, or an error that
//! says why.
//!
//! The set has an image that mkcomposefs made, its objects, and the rows of Linux's own mount of both.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::pin::pin;
use std::process::{Command, Stdio};
use std::task::{Context, Poll, Waker};

use rootlet_cli::rows::parse_rows;
use rootlet_cli::source::{SourceArgs, open};
use rootlet_sim::image::{Options, Tree, build};
use tempfile::TempDir;

const DIGEST: &str = "2b6c7f466e20a2f925a3f7c0310f49bb75f048be41eb35e048831c42ecb5215a";
const APP: &str = "objects/7e/2050d96347acf907be77f6371a5f31752226d476c1e52e40e8e67e6db0008f";

struct Set(TempDir);

struct Outcome {
    status: i32,
    stdout: String,
    stderr: String,
}

impl Set {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        rootlet_golden::composefs(dir.path());
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs `rootlet WORDS` in the folder of the set.
    fn run(&self, line: &str) -> Outcome {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rootlet"));
        command.args(line.split(' ')).current_dir(self.0.path()).stdin(Stdio::null());
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Outcome {
            status: output.status.code().unwrap(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Asserts that reading the large file fails, and how, and that other files are read.
    fn app_fails(&self, why: &str) {
        for image in ["image.cfs", "image-v0.cfs"] {
            let failed = self.run(&format!("cat {image} --objects objects /usr/bin/app"));
            assert_eq!(failed.status, 1, "{image}");
            assert!(failed.stderr.contains(why), "{image}: {}", failed.stderr);
            assert_eq!(failed.stdout, "", "{image}");
            let other = self.run(&format!("cat {image} --objects objects /etc/motd"));
            assert_eq!((other.status, other.stdout.len()), (0, 200), "{}", other.stderr);
        }
    }
}

#[test]
fn files_are_their_objects_with_a_digest_of_the_image_and_without() {
    let set = Set::new();
    let rows = parse_rows(&fs::read(set.path("overlay.jsonl")).unwrap()).unwrap();
    let files: Vec<_> = rows.iter().filter(|row| row["sha256"].is_string()).collect();
    assert_eq!(files.len(), 9);
    for verity in ["", &format!(" --verity sha256-12:{DIGEST}")] {
        let line = format!("manifest image.cfs --objects objects{verity} /");
        let shown = set.run(&line);
        assert_eq!(shown.status, 0, "{line}: {}", shown.stderr);
        assert!(parse_rows(shown.stdout.as_bytes()).unwrap() == rows, "{line}: {}", shown.stdout);
        for jobs in [1, 4] {
            let line = format!("sum image.cfs --objects objects{verity} --jobs {jobs} /");
            let sums = set.run(&line);
            assert_eq!(sums.status, 0, "{line}: {}", sums.stderr);
            for file in &files {
                let (sum, path) =
                    (file["sha256"].as_str().unwrap(), file["path"].as_str().unwrap());
                assert!(sums.stdout.contains(&format!("{sum}  {path}\n")), "{line}: {path}");
            }
        }
        let checked = set.run(&format!("check image.cfs --objects objects{verity}"));
        assert!(checked.stdout.contains(" 0 faults"), "{}{}", checked.stdout, checked.stderr);
        let out = set.run(&format!("extract image.cfs --force out --objects objects{verity} /usr"));
        assert_eq!(out.status, 0, "{}", out.stderr);
        assert!(fs::read(set.path("out/bin/app")).unwrap() == fs::read(set.path(APP)).unwrap());
    }
    let other = format!("sum image.cfs --objects objects --verity sha256-12:{}", "0a".repeat(32));
    let refused = set.run(&other);
    assert!(
        refused.stderr.contains("image: size and root hash: sha256 2b6c7f46"),
        "{}",
        refused.stderr
    );
    let gone = set.run("sum image.cfs --objects gone /usr");
    let told = gone.stderr.starts_with("rootlet: --objects gone: No such file");
    assert!(told && gone.status == 2, "{}", gone.stderr);
    let mut wrong = fs::read(set.path(APP)).unwrap();
    wrong[9] ^= 1;
    fs::write(set.path(APP), wrong).unwrap();
    let sums = set.run("sum image.cfs --objects objects /usr/bin/app");
    assert!(sums.stderr.contains(" of nid 331 of layer 1: its bytes have"), "{}", sums.stderr);
}

#[test]
fn future_gives_the_bytes_of_an_object_or_its_fault() {
    let set = Set::new();
    let source = SourceArgs { objects: Some(set.path("objects")), ..SourceArgs::default() };
    let read = || {
        let opened = open(Some(&set.path("image.cfs")), &source, false).unwrap();
        let inode = opened.root.metadata(b"/usr/bin/app").unwrap();
        let mut out = vec![0; 70_000];
        let read = {
            let mut read = pin!(opened.root.read(&inode, 0, &mut out));
            let mut context = Context::from_waker(Waker::noop());
            loop {
                match read.as_mut().poll(&mut context) {
                    Poll::Ready(read) => break read,
                    Poll::Pending => opened.root.drive(),
                };
            }
        };
        read.map(|len| out[..len].to_vec()).map_err(|error| format!("{error:#}"))
    };
    let right = fs::read(set.path(APP)).unwrap();
    assert!(read().unwrap() == right);
    fs::write(set.path(APP), [&right[..9], &[right[9] ^ 1], &right[10..]].concat()).unwrap();
    assert!(read().unwrap_err().contains("its bytes have another digest"));
}

#[test]
fn objects_of_a_folder_and_of_an_image_are_one_in_a_region() {
    let set = Set::new();
    let objects = Tree::from_host(&set.path("objects")).unwrap();
    let objects = build(&objects, &Options::default()).unwrap();
    fs::write(set.path("objects.img"), objects.image.bytes()).unwrap();
    let rows = set.run("manifest image.cfs --objects objects /");
    let on_disk = set.run("manifest image.cfs --objects objects.img /");
    assert_eq!((on_disk.status, &on_disk.stdout), (0, &rows.stdout), "{}", on_disk.stderr);
    let checked = set.run("check image.cfs --objects objects.img");
    assert!(checked.status == 0 && checked.stdout.contains(" 0 faults"), "{}", checked.stdout);
    let fetched = |objects: &str| {
        let more = "--region region --region-size 16M";
        let kept = set.run(&format!("manifest -v image.cfs --objects {objects} {more} /"));
        assert_eq!((kept.status, &kept.stdout), (0, &rows.stdout), "{}", kept.stderr);
        assert!(!kept.stderr.contains("not kept"), "{}", kept.stderr);
        let told = kept.stderr.split_once("fetched ").unwrap().1;
        told.split_once(',').unwrap().0.to_owned()
    };
    assert_ne!(fetched("objects"), "0 bytes");
    // Names and places of the image are new; no object is.
    assert!(fetched("objects.img").ends_with(" KiB") && fetched("objects.img") == "0 bytes");
    assert_eq!(fetched("objects"), "0 bytes");
    let shown = set.run("region region show");
    let told = "objects, each at the place that its digest chooses";
    assert!(shown.stdout.contains(told), "{}", shown.stdout);
    fs::remove_file(set.path(APP)).unwrap();
    let app = set.run("sum image.cfs --objects objects --region region /usr/bin/app");
    assert_eq!(app.status, 0, "the folder is not asked: {}", app.stderr);
}

#[test]
fn object_that_is_absent_or_has_other_bytes_fails_its_file_alone() {
    let set = Set::new();
    let app = set.path(APP);
    let right = fs::read(&app).unwrap();
    let change = |at: u64| {
        let file = fs::OpenOptions::new().write(true).open(&app).unwrap();
        file.write_all_at(&[right[at as usize] ^ 1], at).unwrap();
    };
    change(0);
    set.app_fails("object 7e2050d9");
    set.app_fails("its bytes have another digest");
    fs::write(&app, &right).unwrap();
    change(60_000);
    set.app_fails("its bytes have another digest");
    fs::write(&app, &right[1..]).unwrap();
    set.app_fails("it has 60000 bytes");
    fs::remove_file(&app).unwrap();
    set.app_fails("it is not among the objects");
    fs::create_dir(&app).unwrap();
    set.app_fails("wanted is a regular file");
    let faults = set.run("check image.cfs --objects objects");
    assert!(faults.stdout.contains(" 2 faults"), "{}", faults.stdout);
}

#[test]
fn image_without_objects_and_objects_that_are_not_there_are_told() {
    let set = Set::new();
    let bare = set.run("cat image.cfs /usr/bin/app");
    assert_eq!(bare.status, 1);
    assert!(bare.stderr.contains("its bytes are in the object 7e2050d9"), "{}", bare.stderr);
    let none = set.run("ls image.cfs --objects none");
    assert_eq!(none.status, 2, "{}", none.stderr);
    assert!(none.stderr.contains("none: No such file"), "{}", none.stderr);
}

/// Changes a byte of the image after the first place of `near`, `skip` bytes on.
fn patched(set: &Set, near: &[u8], skip: usize, byte: u8) {
    let path = set.path("image.cfs");
    let mut image = fs::read(&path).unwrap();
    let at = image.windows(near.len()).position(|window| window == near).unwrap();
    image[at + skip] = byte;
    fs::write(&path, image).unwrap();
}

#[test]
fn redirect_that_leads_elsewhere_and_wrong_metacopy_are_refused() {
    let redirect = b"/7e/2050d96347acf907be77f6371a5f31752226d476c1e52e40e8e67e6db0008f";
    for (skip, byte) in [(0, b'.'), (1, b'.'), (3, b'x'), (10, b'/'), (65, b'0')] {
        let set = Set::new();
        patched(&set, redirect, skip, byte);
        let failed = set.run("cat image.cfs --objects objects /usr/bin/app");
        assert_eq!(failed.status, 1);
        assert!(failed.stderr.contains("its redirect leads to another file"), "{}", failed.stderr);
    }
    let mut metacopy = vec![0, 36, 0, 1];
    metacopy.extend((0..32).map(|at| {
        let digits = &APP.replace('/', "")["objects".len()..];
        u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap()
    }));
    for (skip, byte) in [(0, 1), (1, 35), (2, 1), (3, 3)] {
        let set = Set::new();
        patched(&set, &metacopy, skip, byte);
        let failed = set.run("cat image.cfs --objects objects /usr/bin/app");
        assert_eq!(failed.status, 1);
        assert!(failed.stderr.contains("named by trusted.overlay.redirect"), "{}", failed.stderr);
    }
}
