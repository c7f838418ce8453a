//! Linux itself as a reader: an image is mounted, and every row compared with ours.
//!
//! Always: where this user may not mount, or the kernel does not read EROFS out of files, the test
//! says that it was skipped.
//!
//! `ROOTLET_TREE=SEED cargo test --test differential kernel -- --nocapture` makes the images of one
//! seed again, `ROOTLET_RUNS=10` ten times as many.

use std::cell::Cell;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

use rootlet::storage::file::FileStorage;
use rootlet_rows::linux::{Mounted, unable};
use rootlet_rows::{Rows, differences as differ};
use rootlet_sim::Rng;
use rootlet_sim::image::random as made;
use rootlet_sim::image::{
    Content, FileLayout, Inodes, Options, SUPERBLOCK_AT, Tree, XattrPlace, build,
};
use rustix::io::Errno;

use crate::guest::Guest;
use crate::tree::{Entry, Kind};
use crate::{asked, exceptions, mkfs, options, readers, seeds, tree, version};
use rootlet_golden::Set;

/// Seeds of one run: each is a tree for mkfs.erofs, and one for our own builder.
const SEEDS: u64 = 25;
/// Differences that are shown.
const SHOWN_MAX: usize = 5;

/// An image on the disk, and its blobs from slot 1 on.
struct Files {
    image: PathBuf,
    blobs: Vec<PathBuf>,
}

/// What we say.
fn ours(files: &Files, flattened: bool) -> Result<Rows, String> {
    let mut storage = FileStorage::new();
    storage.add_disk("image", &files.image, true).unwrap();
    let mut line = "image=image".to_owned();
    for (slot, blob) in (1..).zip(&files.blobs).filter(|_| !flattened) {
        storage.add_disk(&format!("blob{slot}"), blob, true).unwrap();
        line += &format!(" blob{slot}=blob{slot}");
    }
    readers::rows(Guest::mount(storage, &line, 1)?)
}

/// Whether to compare; says so if not.
fn is_able() -> bool {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let sound = dir.path().join("image");
    fs::write(&sound, include_bytes!("../data/tiny.erofs")).unwrap();
    let why = unable(&sound);
    if let Some(why) = &why {
        say(&format!("skipped: not compared with Linux: {why}"));
    }
    why.is_none()
}

/// Past the harness, which shows no words of a test that passes.
fn say(words: &str) {
    let stderr = &mut std::io::stderr();
    writeln!(stderr, "{words}").unwrap();
}

/// How our rows differ from those of Linux.
fn differences(files: &Files, flattened: bool) -> Vec<String> {
    differences_but(files, flattened, |_, _| {})
}

/// The same, after what is known to be wrong in Linux was cut from ours.
fn differences_but(
    files: &Files,
    flattened: bool,
    cut: impl FnOnce(&mut Rows, &Rows),
) -> Vec<String> {
    let devices: &[PathBuf] = if flattened { &[] } else { &files.blobs };
    let theirs =
        Mounted::new(&files.image, devices).map_err(|error| format!("it does not mount: {error}"));
    let theirs = theirs.and_then(|mounted| mounted.rows());
    match (ours(files, flattened), theirs) {
        (Ok(mut ours), Ok(theirs)) => {
            cut(&mut ours, &theirs);
            differ("rootlet", &ours, "Linux", &theirs)
        }
        (Err(error), _) => vec![format!("rootlet: {error}")],
        (_, Err(error)) => vec![format!("Linux: {error}")],
    }
}

#[test]
fn kernel_reads_golden_images_as_we_do() {
    if !is_able() {
        return;
    }
    let images = Set::built_in(env!("CARGO_TARGET_TMPDIR")).images;
    assert_eq!(images.len(), 45);
    let faults: Vec<String> = images
        .into_iter()
        .flat_map(|golden| {
            let files = Files { image: golden.image, blobs: golden.devices };
            let found = differences(&files, false);
            found.into_iter().map(move |fault| format!("{}: {fault}", golden.name))
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn kernel_reads_random_images_of_ours_as_we_do() {
    if !is_able() {
        return;
    }
    let faults = each_seed(|seed| {
        let rng = &mut Rng::new(seed);
        let mut tree = made::tree(rng);
        // What belongs to nobody, nobody may read, and root neither.
        for (path, _) in tree.walk() {
            let meta = tree.meta_mut(&path).unwrap();
            meta.uid = meta.uid.min(u32::MAX - 1);
        }
        // Linux has pages of 4 KiB on most machines, and takes no longer blocks.
        let suits = |options: &Options| options.block_bits <= 12 && !exceptions::kernel(options);
        let (options, built) = loop {
            let made = made::some_image(rng, &tree);
            if suits(&made.0) {
                break made;
            }
        };
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let image = dir.path().join("image");
        fs::write(&image, built.image.bytes()).unwrap();
        let mut blobs = Vec::new();
        for (number, blob) in built.blobs.iter().enumerate() {
            blobs.push(dir.path().join(format!("blob{number}")));
            blob.write_to(&blobs[number]).unwrap();
        }
        let mut faults = differences(&Files { image, blobs }, options.flattened);
        if !faults.is_empty() {
            faults.push(format!("{options:?}"));
        }
        faults
    });
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What no builder of today writes on purpose, and what is left of what others wrote.
#[test]
fn kernel_takes_odd_fields_as_we_do() {
    if !is_able() {
        return;
    }
    let mut tree = Tree::new();
    let meta = tree.file("/file", Content::bytes(*b"file"));
    meta.xattrs.push(("user.one".into(), b"1".to_vec()));
    meta.xattrs.push(("user.two".into(), b"22".to_vec()));
    tree.dir("/dir");
    let options = Options {
        inodes: Inodes::Extended,
        layout: FileLayout::Inline,
        xattrs: XattrPlace::Inline,
        ..Options::default()
    };
    let sound = build(&tree, &options).unwrap();
    let xattr = sound.image.locate("/file").xattr_at.unwrap() + 12;
    let entry = sound.image.dirent_at("/file");
    let mtime = sound.image.inode_at("/file") + 32;
    let times = [(5_i64, 1_500_000_000_u32), (-5, u32::MAX), (1 << 33, 1 << 31)];
    let times = times.map(|(s, ns)| (mtime, [&s.to_le_bytes()[..], &ns.to_le_bytes()].concat()));
    let indexes = [0, 5, 7, 0x7f, 0x80, 0xff].map(|index| (xattr + 1, vec![index]));
    let types = [0, 2, 8, 255].map(|file_type| (entry + 10, vec![file_type]));
    let padding = [(xattr, vec![0; 24])];
    let epoch = [(SUPERBLOCK_AT + 32, u32::MAX.to_le_bytes().to_vec())];
    for (at, bytes) in indexes.into_iter().chain(types).chain(times).chain(padding).chain(epoch) {
        let mut built = sound.clone();
        built.image.patch(at, &bytes).fix_checksum();
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let image = dir.path().join("image");
        fs::write(&image, built.image.bytes()).unwrap();
        let faults = differences(&Files { image, blobs: Vec::new() }, false);
        assert!(faults.is_empty(), "{bytes:?} at {at}: {}", faults.join("\n"));
    }
}

#[test]
fn kernel_reads_images_of_mkfs_as_we_do() {
    if !is_able() {
        return;
    }
    if version().is_none() {
        say("skipped: no mkfs.erofs to make images for Linux");
        return;
    }
    let faults = each_seed(|seed| {
        let mut rng = Rng::new(seed);
        let mut entries = tree::generate(rng.fork(), true);
        let options = options::choose(&mut rng, &entries);
        make_odd(&mut rng, &mut entries);
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        tree::write(&entries, &dir.path().join("tree"), true);
        if let Err(error) = mkfs(dir.path(), &options) {
            return vec![error];
        }
        let blobs = if options.blobdev { vec![dir.path().join("blob")] } else { Vec::new() };
        let mut faults = differences(&Files { image: dir.path().join("image"), blobs }, false);
        if !faults.is_empty() {
            faults.push(format!("mkfs.erofs {}", options.words.join(" ")));
        }
        faults
    });
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What versions of mkfs.erofs have, more with each: tar archives, layers, smaller blocks.
#[test]
fn kernel_reads_whatever_mkfs_makes_as_we_do() {
    if !is_able() {
        return;
    }
    let Some(version) = version() else {
        return say("skipped: no mkfs.erofs to make images for Linux");
    };
    let dir = || tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let tool = asked::Tool::ask(dir().path());
    let (compared, refused) = (Cell::new(0), Cell::new(0));
    let faults = each_seed(|seed| {
        let dir = dir();
        let made = match tool.make(&mut Rng::new(seed), dir.path(), make_odd) {
            Ok(made) => made,
            Err(error) => return vec![error],
        };
        let files = Files { image: made.image, blobs: made.blobs };
        if let Err(Errno::OPNOTSUPP | Errno::INVAL) = Mounted::new(&files.image, &files.blobs) {
            refused.update(|count| count + 1);
            return Vec::new();
        }
        compared.update(|count| count + 1);
        let mut faults = differences_but(&files, false, |ours, theirs| {
            if made.metabox {
                exceptions::kernel_metabox(ours, theirs);
            }
        });
        if !faults.is_empty() {
            faults.push(made.words);
        }
        faults
    });
    let (compared, refused) = (compared.get(), refused.get());
    println!("{compared} images compared, {refused} refused by Linux: {version}, {tool}");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(compared > refused, "Linux took {compared} images, and refused {refused}");
}

/// What only Linux and we are asked about: times before 1970, xattrs that root alone may set.
fn make_odd(rng: &mut Rng, entries: &mut [Entry]) {
    for (number, entry) in entries.iter_mut().enumerate() {
        if rng.chance(200_000) {
            entry.mtime.0 = -1 - rng.below(1 << 31) as i64;
        }
        let may = matches!(entry.kind, Kind::Directory | Kind::File(_) | Kind::Node(..));
        for prefix in ["trusted", "security"] {
            if may && rng.chance(150_000) {
                let value = vec![rng.below(4) as u8; rng.index(60)];
                entry.xattrs.push((format!("{prefix}.odd{}", number % 3), value));
            }
        }
    }
}

/// Calls `compare` with each seed. Returns the differences, each with the line that makes it again.
fn each_seed(compare: impl Fn(u64) -> Vec<String>) -> Vec<String> {
    let mut faults = Vec::new();
    for seed in seeds(SEEDS) {
        let found = compare(seed);
        if found.is_empty() {
            continue;
        }
        faults.push(format!(
            "ROOTLET_TREE={seed} cargo test --test differential kernel -- --nocapture"
        ));
        faults.extend(found);
        if faults.len() > SHOWN_MAX {
            break;
        }
    }
    faults
}
