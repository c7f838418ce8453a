//! Which source a slot gets: one of its own, by a name that only it has, in its present content.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use rootlet_sim::image::{Content, Options, Spread, Tree, build};

use crate::boot::{Boot, fails, host, passes};
use crate::sample::Sample;

#[test]
fn tags_that_agree_in_a_serial_do_not_share_a_disk() {
    let mut tree = Tree::new();
    tree.file("/one", Content::seeded(1, 9000));
    tree.file("/two", Content::seeded(2, 9000));
    let tags = ["00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"];
    let options = Options {
        blobs: 2,
        spread: Spread::ByFile,
        tags: tags.map(|tag| tag.as_bytes().to_vec()).to_vec(),
        ..Options::default()
    };
    let built = build(&tree, &options).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    built.image.write_to(&image).unwrap();
    built.blobs[0].write_to(&dir.path().join("blob")).unwrap();
    let image = ["--image", image.to_str().unwrap()];
    let disk = format!("{}={},ro", &tags[0][..20], dir.path().join("blob").display());
    let words = [&image[..], &["--disk", &disk, "--", "sum", "/"]].concat();
    fails(words, "slots 1 and 2 would both be disk 00000000-0000-0000-0;");
}

#[test]
fn disk_that_changed_in_place_is_not_served_from_the_region() {
    let sample = Sample::new();
    let cached = sample.cached(&["--", "manifest", "/"]);
    let old = passes(cached.clone());
    assert!(old.stdout == sample.manifest());
    passes(cached.clone()).assert_counter("fetched 0 bytes");
    // Another content of the same length, and the old times as far as they can be set back.
    let blob = sample.path("blob1");
    let modified = fs::metadata(&blob).unwrap().modified().unwrap();
    thread::sleep(Duration::from_millis(20));
    let flipped: Vec<u8> = sample.built.blobs[0].to_vec().iter().map(|byte| !byte).collect();
    fs::write(&blob, &flipped).unwrap();
    File::options().write(true).open(&blob).unwrap().set_modified(modified).unwrap();
    let wanted = sample.manifest();
    assert!(wanted != old.stdout, "the manifest has the sums of the files");
    let new = passes(cached.clone());
    assert!(new.stdout == wanted, "nothing of the old content is served");
    passes(cached).assert_counter("fetched 0 bytes");
}

/// Returns a sample whose second blob is `b.blob` of the directory `shared`.
fn shared(sample: &Sample) -> std::path::PathBuf {
    let share = sample.dir().join("shared");
    fs::create_dir(&share).unwrap();
    fs::rename(sample.path("blob2"), share.join("b.blob")).unwrap();
    share
}

fn args(sample: &Sample, shares: &[&Path], second: &str, more: &[&str]) -> Vec<String> {
    let image = sample.path("image").display().to_string();
    let first = format!("1={}", sample.path("blob1").display());
    let second = format!("2={second}");
    let mut args = vec!["--image".into(), image, "--blob".into(), first, "--blob".into(), second];
    for share in shares {
        args.extend(["--share".to_string(), share.display().to_string()]);
    }
    args.extend(more.iter().map(ToString::to_string));
    args
}

#[test]
fn links_of_a_share_are_followed_within_it_and_refused_by_their_reason_outside() {
    let sample = Sample::new();
    let manifest = sample.manifest();
    let share = shared(&sample);
    fs::create_dir(share.join("refs")).unwrap();
    symlink("../b.blob", share.join("refs/latest")).unwrap();
    symlink("refs", share.join("tags")).unwrap();
    let all = ["--", "manifest", "/"];
    let words = args(&sample, &[&share], "share:tags/latest", &all);
    assert!(passes(words.clone()).stdout == manifest);
    assert!(host(words) == manifest);

    fs::write(sample.dir().join("secret"), [0; 4096]).unwrap();
    symlink("../secret", share.join("above")).unwrap();
    symlink("/etc/hostname", share.join("absolute")).unwrap();
    for name in ["above", "absolute"] {
        let words = args(&sample, &[&share], &format!("share:{name}"), &all);
        let reason = format!(
            "blob of slot 2 (file {name} on share (any)): a symbolic link leads out of the share"
        );
        fails(words, &reason);
    }
}

#[test]
fn file_of_one_name_on_two_shares_is_refused_in_either_order() {
    let sample = Sample::new();
    let manifest = sample.manifest();
    let share = shared(&sample);
    let other = sample.dir().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("b.blob"), vec![0; sample.built.blobs[1].to_vec().len()]).unwrap();
    let all = ["--", "manifest", "/"];
    for (shares, tag) in [([&*share, &*other], "share"), ([&*other, &*share], "share2")] {
        let words = args(&sample, &shares, "share:b.blob", &all);
        fails(words, "blob of slot 2 (file b.blob on share (any)): 2 shares have such a file");
        let words = args(&sample, &shares, &format!("share:{tag}:b.blob"), &all);
        assert!(passes(words).stdout == manifest);
    }
}

#[test]
fn file_that_is_written_while_a_guest_reads_it_fails_the_run() {
    let mut tree = Tree::new();
    tree.file("/large", Content::seeded(1, 2 << 20));
    let sample = Sample::from_tree(tree, 1);
    let mut boot = Boot::start(sample.args(&["--", "cat", "/large"]));
    boot.first_byte();
    let file = File::options().write(true).open(sample.path("blob1")).unwrap();
    file.set_modified(UNIX_EPOCH).unwrap();
    let outcome = boot.end();
    assert_eq!(outcome.status, Some(1), "{}", outcome.stderr);
    let why = format!("{} (blob1) changed while the guest read it", sample.path("blob1").display());
    assert!(outcome.verdict().contains(&why), "{}", outcome.stderr);
}
