//! `extract`: what comes back, what is refused, and that nothing lands outside.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::Path;

use rootlet_sim::image::{Content, FileLayout, Inodes, Kind, Options, Tree};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::run::{Outcome, World};

fn extended() -> Options {
    Options { inodes: Inodes::Extended, ..Options::default() }
}

/// Returns whether a line of standard error begins with `words`.
fn has_line(outcome: &Outcome, words: &str) -> bool {
    outcome.stderr.lines().any(|line| line.starts_with(words))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Everything that a tree can hold but devices, which need root.
fn tree() -> Tree {
    let mut tree = Tree::new();
    tree.file("/dir/file", Content::seeded(1, 300_000)).mtime_ns = 123_456_789;
    tree.file("/dir/empty", Content::bytes(""));
    tree.file("/dir/sub/tool", Content::seeded(2, 5)).mode = 0o751;
    tree.hard_link("/dir/sub/also", "/dir/file");
    tree.symlink("/dir/link", "sub/../nowhere");
    tree.add("/fifo", Kind::Fifo, 0o640);
    tree.add("/socket", Kind::Socket, 0o600);
    for (seconds, path) in (1_000_000_000..).zip(["/", "/dir", "/dir/sub", "/dir/link", "/fifo"]) {
        tree.meta_mut(path).unwrap().mtime_s = seconds;
    }
    tree.dir("/dir/sub").mode = 0o500;
    let xattrs = &mut tree.meta_mut("/dir/empty").unwrap().xattrs;
    xattrs.push(("user.note".into(), b"kept".to_vec()));
    let user = rustix::process::geteuid().as_raw();
    let group = rustix::process::getegid().as_raw();
    for (path, _) in tree.walk() {
        let meta = tree.meta_mut(&path).unwrap();
        (meta.uid, meta.gid) = if is_root() { (12, 70_000) } else { (user, group) };
    }
    tree
}

fn host_path(out: &Path, path: &[u8]) -> std::path::PathBuf {
    out.join(std::ffi::OsStr::from_bytes(&path[1..]))
}

/// Compares everything below `out` with the tree.
fn assert_restored(tree: &Tree, out: &Path) {
    let links = tree.link_counts();
    for (path, node) in tree.walk() {
        let at = host_path(out, &path);
        let name = path.escape_ascii();
        let stat = fs::symlink_metadata(&at).unwrap_or_else(|error| panic!("{name}: {error}"));
        let node_of = &tree.nodes()[node];
        let meta = &node_of.meta;
        assert_eq!(stat.mode(), u32::from(node_of.st_mode()), "{name}");
        assert_eq!((stat.uid(), stat.gid()), (meta.uid, meta.gid), "{name}");
        let mtime = (stat.mtime(), stat.mtime_nsec());
        assert_eq!(mtime, (meta.mtime_s, i64::from(meta.mtime_ns)), "{name}");
        match &node_of.kind {
            Kind::File(content) => {
                assert_eq!(fs::read(&at).unwrap(), content.to_vec(), "{name}");
                assert_eq!(stat.nlink(), u64::from(links[node]), "{name}");
            }
            Kind::Symlink(target) => {
                assert_eq!(fs::read_link(&at).unwrap().as_os_str().as_bytes(), target, "{name}");
            }
            _ => {}
        }
    }
}

#[test]
fn nanoseconds_of_a_second_and_more_become_seconds_of_the_same_time() {
    let mut world = World::new(&tree(), &extended());
    let image = &mut world.built.image;
    // Between them, the host's call takes two numbers as a word of its own.
    for (path, nanoseconds) in [("/dir", 1_500_000_000), ("/dir/empty", 1_073_741_823_u32)] {
        image.patch(image.inode_at(path) + 40, &nanoseconds.to_le_bytes());
    }
    image.patch(image.inode_at("/dir/empty") + 32, &(-5_i64).to_le_bytes());
    let outcome = world.extract(&[]);
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    let time = |path: &str| {
        let stat = fs::metadata(world.path("out").join(path)).unwrap();
        (stat.mtime(), stat.mtime_nsec())
    };
    assert_eq!(time("dir"), (1_000_000_002, 500_000_000));
    assert_eq!(time("dir/empty"), (-4, 73_741_823));
    // Linux shows the numbers as they are stored.
    let rows = world.run(&["stat", "/dir"]).stdout;
    assert!(rows.iter().any(|row| row == "mtime  1000000001.1500000000"), "{rows:?}");
    assert_eq!(world.run(&["check"]).status, 0);
}

#[test]
fn tree_comes_back_as_it_was() {
    let tree = tree();
    for layout in [FileLayout::Inline, FileLayout::Plain, FileLayout::ChunkIndexes] {
        let world = World::new(&tree, &Options { layout, ..extended() });
        let outcome = world.extract(&[]);
        assert_eq!(outcome.status, 0, "{}", outcome.stderr);
        assert_restored(&tree, &world.path("out"));
        let mut value = [0; 8];
        let noted = rustix::fs::getxattr(world.path("out/dir/empty"), "user.note", &mut value);
        if outcome.stderr.contains("without 1 xattrs") {
            assert!(noted.is_err());
        } else {
            assert_eq!(&value[..noted.unwrap()], b"kept");
        }
    }
}

#[test]
fn devices_come_back_where_they_may() {
    let mut tree = Tree::new();
    tree.add("/null", Kind::CharDevice(1, 3), 0o666);
    let world = World::new(&tree, &extended());
    let outcome = world.extract(&[]);
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    match fs::symlink_metadata(world.path("out/null")) {
        Ok(stat) => assert!(stat.file_type().is_char_device() && stat.rdev() == 0x103),
        Err(_) => assert!(outcome.stderr.contains("without 1 devices"), "{}", outcome.stderr),
    }
}

#[test]
fn holes_stay_holes() {
    let mut content = Content::hole(1 << 40);
    content.put(1 << 30, vec![7; 65_536]).put((1 << 40) - 4096, vec![9; 4096]);
    let mut tree = Tree::new();
    tree.file("/sparse", content);
    // Chunks of 16 MiB, else the map is longer than the data.
    let world = World::new(&tree, &Options { chunk_bits: 24, ..extended() });
    let outcome = world.extract(&[]);
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    let stat = fs::metadata(world.path("out/sparse")).unwrap();
    assert_eq!(stat.size(), 1 << 40);
    assert!(stat.blocks() * 512 <= 33 << 20, "{} blocks", stat.blocks());
}

#[test]
fn subdirectory_or_file_alone_is_restored_under_its_own_name() {
    let tree = tree();
    let world = World::new(&tree, &extended());
    assert_eq!(world.extract(&["/dir/sub"]).status, 0);
    assert_eq!(
        fs::read(world.path("out/tool")).unwrap(),
        tree.content("/dir/sub/tool").unwrap().to_vec()
    );
    assert_eq!(fs::metadata(world.path("out")).unwrap().mode() & 0o7777, 0o500);

    let world = World::new(&tree, &extended());
    assert_eq!(world.extract(&["/dir/empty"]).status, 0);
    assert_eq!(fs::metadata(world.path("out/empty")).unwrap().len(), 0);

    let outcome = World::new(&tree, &extended()).extract(&["/gone"]);
    assert_eq!(outcome.status, 1);
    assert!(outcome.stderr.contains("/gone: no such file or directory"), "{}", outcome.stderr);
}

#[test]
fn directory_that_holds_something_is_refused_without_force() {
    let tree = tree();
    let world = World::new(&tree, &extended());
    fs::create_dir(world.path("out")).unwrap();
    fs::write(world.path("out/mine"), "mine").unwrap();
    let outcome = world.extract(&[]);
    assert_eq!(outcome.status, 1);
    assert!(outcome.stderr.contains("is not empty; --force replaces"), "{}", outcome.stderr);
    assert_eq!(fs::read_dir(world.path("out")).unwrap().count(), 1);

    for _ in 0..2 {
        let outcome = world.extract(&["--force"]);
        assert_eq!(outcome.status, 0, "{}", outcome.stderr);
        assert_restored(&tree, &world.path("out"));
        assert_eq!(fs::read(world.path("out/mine")).unwrap(), b"mine");
    }
}

#[test]
fn symlinks_lead_nobody_out_of_the_directory() {
    let tree = tree();
    let world = World::new(&tree, &extended());
    let (out, outside) = (world.path("out"), world.path("outside"));
    fs::create_dir_all(out.join("dir")).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "theirs").unwrap();
    // Where a directory and a file have to come, symlinks lie that lead out.
    symlink(&outside, out.join("dir/sub")).unwrap();
    symlink(outside.join("file"), out.join("dir/file")).unwrap();
    let outcome = world.extract(&["--force"]);
    assert_eq!(outcome.status, 1, "{}", outcome.stderr);
    assert!(has_line(&outcome, "/dir/sub: "), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("1 entry could not be restored"), "{}", outcome.stderr);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(fs::read(outside.join("file")).unwrap(), b"theirs");
    assert!(fs::symlink_metadata(out.join("dir/file")).unwrap().is_file());
}

#[test]
fn names_that_lead_out_are_refused_and_the_rest_goes_on() {
    let mut tree = Tree::new();
    tree.file("/d/aaaa", Content::bytes("a"));
    tree.file("/e/b", Content::bytes("b"));
    let mut world = World::new(&tree, &extended());
    let bytes = world.built.image.bytes();
    let at = bytes.windows(4).position(|window| window == b"aaaa").unwrap() as u64;
    world.built.image.patch(at, b"../x");
    let outcome = world.extract(&[]);
    assert_eq!(outcome.status, 1);
    assert!(has_line(&outcome, "/d: corrupt image: directory nid"), "{}", outcome.stderr);
    assert!(!world.path("out/x").exists() && !world.path("x").exists());
    assert_eq!(fs::read(world.path("out/e/b")).unwrap(), b"b");
}

#[test]
fn file_that_cannot_be_read_is_told_and_is_not_there() {
    let mut tree = Tree::new();
    tree.file("/a", Content::seeded(1, 200_000));
    tree.file("/b", Content::seeded(2, 10));
    let mut world = World::new(&tree, &extended());
    // The second chunk begins beyond the end of the image.
    let at = world.built.image.chunk_entry_at("/a", 1);
    world.built.image.patch(at + 4, &0x7000_u32.to_le_bytes());
    let outcome = world.extract(&[]);
    assert_eq!(outcome.status, 1);
    assert!(has_line(&outcome, "/a: corrupt image: "), "{}", outcome.stderr);
    assert!(!world.path("out/a").exists());
    assert_eq!(fs::read(world.path("out/b")).unwrap(), tree.content("/b").unwrap().to_vec());
}

/// A file system that has room for some of the files.
#[test]
fn full_disk_ends_the_run_with_one_line_and_leaves_whole_files() {
    let mut tree = Tree::new();
    for number in 0..100 {
        tree.file(format!("/{number:02}"), Content::seeded(number, 30_000));
    }
    let world = World::new(&tree, &extended());
    let out = world.path("out");
    fs::create_dir(&out).unwrap();
    let size = Some(c"size=1M");
    if let Err(error) = mount("tmpfs", &out, "tmpfs", MountFlags::empty(), size) {
        println!("skipped: this user may not mount: {error}");
        return;
    }
    let runs = ["1", "4"].map(|jobs| {
        let outcome = world.extract(&["--force", "--jobs", jobs]);
        let paths = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path());
        let left: Vec<_> = paths.map(|path| (fs::read(&path).unwrap(), path)).collect();
        left.iter().for_each(|(_, path)| fs::remove_file(path).unwrap());
        (outcome, left)
    });
    unmount(&out, UnmountFlags::empty()).unwrap();
    for (outcome, left) in runs {
        assert_eq!((outcome.status, outcome.stderr.lines().count()), (1, 1), "{outcome:?}");
        let said = "No space left on device (os error 28); nothing more is restored";
        assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
        assert!((10..40).contains(&left.len()), "{} files", left.len());
        for (bytes, path) in left {
            let name = format!("/{}", path.file_name().unwrap().to_str().unwrap());
            assert!(bytes == tree.content(&name).unwrap().to_vec(), "{name}");
        }
    }
}

#[test]
fn directory_with_two_names_is_entered_once() {
    let mut tree = Tree::new();
    tree.file("/a/f", Content::bytes("f"));
    tree.dir("/b");
    tree.dir("/a/up");
    let mut world = World::new(&tree, &extended());
    let image = &mut world.built.image;
    let (a, root) = (image.nid("/a"), image.nid("/"));
    image.patch(image.dirent_at("/b"), &a.to_le_bytes());
    image.patch(image.dirent_at("/a/up"), &root.to_le_bytes());
    let outcome = world.extract(&[]);
    assert_eq!(outcome.status, 1);
    for line in [
        format!("/a/up: directory nid {root} has another name already"),
        format!("/b: directory nid {a} has another name already"),
    ] {
        assert!(has_line(&outcome, &line), "{line}: {}", outcome.stderr);
    }
    assert_eq!(fs::read(world.path("out/a/f")).unwrap(), b"f");
}

#[test]
fn graph_of_as_many_paths_as_no_walk_can_take_is_restored_once() {
    let world = World::doubling(&extended());
    let outcome = world.extract(&[]);
    assert_eq!(outcome.status, 1, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("has another name already"), "{}", outcome.stderr);
    let deepest = world.path(&format!("out/0{}", "/a".repeat(40)));
    assert!(deepest.is_dir(), "{}", outcome.stderr);
}

#[test]
fn trees_deeper_than_open_files_come_back() {
    let mut tree = Tree::new();
    let deep: String = (0..200).map(|level| format!("/{level}")).collect();
    tree.file(format!("{deep}/z"), Content::bytes("deep"));
    tree.file("/0/1/after", Content::bytes("shallow"));
    let world = World::new(&tree, &extended());
    assert_eq!(world.extract(&[]).status, 0);
    assert_eq!(fs::read(world.path(&format!("out{deep}/z"))).unwrap(), b"deep");
    assert_eq!(fs::read(world.path("out/0/1/after")).unwrap(), b"shallow");
}

#[test]
fn several_paths_share_one_directory_and_each_fault_has_a_line() {
    let mut tree = tree();
    tree.file("/other/name", Content::seeded(3, 70));
    tree.hard_link("/other/linked", "/dir/file");
    tree.dir("/other").mode = 0o711;
    let world = World::new(&tree, &extended());
    // Nobody may write into the first one, so it gets its mode at the end.
    let outcome = world.extract(&["/gone", "/dir/sub", "/lost", "/other", "/dir/empty"]);
    assert_eq!(outcome.status, 1, "{}", outcome.stderr);
    for path in ["/gone", "/lost"] {
        let line = format!("rootlet: {path}: no such file or directory");
        assert!(has_line(&outcome, &line), "{}", outcome.stderr);
    }
    let summary: Vec<_> =
        outcome.stderr.lines().filter(|line| line.starts_with("extract ")).collect();
    assert_eq!(summary.len(), 1, "{}", outcome.stderr);
    assert!(summary[0].contains("4 files") && summary[0].contains(" 1 hard link,"), "{summary:?}");
    let out = world.path("out");
    let mut names: Vec<_> =
        fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["also", "empty", "linked", "name", "tool"]);
    assert_eq!(fs::metadata(&out).unwrap().mode() & 0o7777, 0o500);
    let inode = |name: &str| fs::metadata(out.join(name)).unwrap().ino();
    assert_eq!(inode("also"), inode("linked"), "hard links across paths are one file");

    // What was not empty is refused once, and nothing is made where no path is there.
    let outcome = world.extract(&["/dir", "/other"]);
    assert_eq!(outcome.stderr.matches("is not empty").count(), 1, "{}", outcome.stderr);
    let world = World::new(&tree, &extended());
    assert_eq!(world.extract(&["/gone", "/lost"]).status, 1);
    assert!(!world.path("out").exists());
}
