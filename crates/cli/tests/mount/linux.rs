//! The mount beside Linux's own of the same image: every row the same.
//!
//! `ROOTLET_TREE=SEED cargo test -p rootlet-cli --test mount linux -- --nocapture` makes the image
//! of one seed again, `ROOTLET_RUNS=10` ten times as many.

use std::path::Path;

use rootlet_golden::Set;
use rootlet_rows::linux::{Mounted, rows, unable};
use rootlet_rows::{Rows, differences};
use rootlet_sim::Rng;
use rootlet_sim::image::random::{some_image, tree};
use rootlet_sim::image::{Content, FileLayout, Options, Tree};

use crate::mounted::{Files, Mount, folder, is_able, say};

/// Seeds of one run.
const SEEDS: u64 = 12;

/// Whether to compare; says so if not.
fn can_compare() -> bool {
    if !is_able() {
        return false;
    }
    let dir = folder();
    let sound = dir.path().join("image");
    std::fs::write(&sound, include_bytes!("../../../../tests/data/tiny.erofs")).unwrap();
    if let Some(why) = unable(&sound) {
        say(&format!("skipped: not compared with Linux: {why}"));
        return false;
    }
    true
}

/// What the mount shows.
fn ours(files: &Files) -> Result<Rows, String> {
    let mount = Mount::new(files);
    // As Linux's own, with a slash at the end: the root is a row, too.
    let rows = rows(&mount.at(""));
    mount.end();
    rows
}

fn compare(files: &Files) -> Vec<String> {
    let theirs = Mounted::new(&files.image, &files.blobs);
    let theirs = theirs.map_err(|error| format!("Linux does not mount it: {error}"));
    match (ours(files), theirs.and_then(|mounted| mounted.rows())) {
        (Ok(ours), Ok(theirs)) => {
            assert!(ours.len() > 1);
            differences("the mount", &ours, "Linux", &theirs)
        }
        (Err(error), _) => vec![format!("the mount: {error}")],
        (_, Err(error)) => vec![format!("Linux: {error}")],
    }
}

#[test]
fn golden_images_look_as_linux_mounts_them() {
    if !can_compare() {
        return;
    }
    let images = Set::built_in(Path::new(env!("CARGO_TARGET_TMPDIR"))).images;
    assert_eq!(images.len(), 45);
    let mut faults = Vec::new();
    for golden in images {
        let files = Files { image: golden.image, blobs: golden.devices, _own: None };
        let found = compare(&files);
        faults.extend(found.into_iter().map(|fault| format!("{}: {fault}", golden.name)));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn random_images_with_blobs_look_as_linux_mounts_them() {
    if !can_compare() {
        return;
    }
    let mut faults = Vec::new();
    for seed in seeds() {
        let (options, files) = random(seed);
        let found = compare(&files);
        if !found.is_empty() {
            faults.push(format!(
                "ROOTLET_TREE={seed} cargo test -p rootlet-cli --test mount linux\n{options:?}"
            ));
            faults.extend(found);
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// An image that Linux reads right, with blobs.
fn random(seed: u64) -> (Options, Files) {
    let rng = &mut Rng::new(seed);
    let mut tree = tree(rng);
    for (path, _) in tree.walk() {
        let meta = tree.meta_mut(&path).unwrap();
        // What belongs to nobody, nobody may read, and root neither.
        meta.uid = meta.uid.min(u32::MAX - 1);
        // FUSE has no place for a second of nanoseconds.
        meta.mtime_ns = meta.mtime_ns.min(999_999_999);
    }
    loop {
        let (options, built) = some_image(rng, &tree);
        // Linux takes no blocks longer than its pages, and mixes up chunks of several devices.
        let layouts = options.layouts.values().chain([&options.layout]);
        let mixed = layouts.filter(|layout| match layout {
            FileLayout::ChunkMap => true,
            FileLayout::ChunkIndexes | FileLayout::ChunkIndexes48 => options.flattened,
            FileLayout::Plain | FileLayout::Inline => false,
        });
        if options.block_bits <= 12 && options.blobs > 0 && mixed.count() == 0 {
            let files = Files::built(&built, &options);
            return (options, files);
        }
    }
}

/// The seeds of a run: the one that ROOTLET_TREE says, or more.
fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    match number("ROOTLET_TREE") {
        Some(seed) => seed..seed + 1,
        None => 0..SEEDS * number("ROOTLET_RUNS").unwrap_or(1),
    }
}

#[test]
fn hard_links_long_xattrs_and_sizes_look_as_linux_mounts_them() {
    use std::os::unix::fs::MetadataExt;

    if !can_compare() {
        return;
    }
    let mut tree = Tree::new();
    let meta = tree.file("/dir/one", Content::seeded(1, 100_000));
    meta.xattrs.push(("user.long".into(), vec![7; 60_000]));
    for number in 0..20 {
        meta.xattrs.push((format!("user.{}{number:02}", "n".repeat(200)), vec![number; 5]));
    }
    tree.hard_link("/two", "/dir/one");
    tree.file("/other", Content::bytes(*b"other"));
    let files = Files::of(&tree, &Options::default());
    let faults = compare(&files);
    assert!(faults.is_empty(), "{}", faults.join("\n"));

    let mount = Mount::new(&files);
    let ino = |path: &str| std::fs::metadata(mount.at(path)).unwrap().ino();
    assert_eq!(ino(""), 1);
    assert_eq!(ino("dir/one"), ino("two"));
    assert_ne!(ino("other"), ino("two"));
    // In the list of a directory, too.
    for entry in std::fs::read_dir(mount.dir()).unwrap().map(Result::unwrap) {
        use std::os::unix::fs::DirEntryExt;
        assert_eq!(entry.ino(), entry.metadata().unwrap().ino(), "{entry:?}");
    }
    let theirs = Mounted::new(&files.image, &files.blobs).unwrap();
    let room = |path: &Path| {
        let room = rustix::fs::statvfs(path).unwrap();
        (room.f_blocks, room.f_bfree, room.f_frsize, room.f_namemax)
    };
    assert_eq!(room(mount.dir()), room(&theirs.root()));
    mount.end();
}
