//! `check`: every kind of fault by its place, and the work that it takes.

use std::fs;
use std::process::{Command, Stdio};

use rootlet_sim::image::{Content, FileLayout, Inodes, Kind, Options, SUPERBLOCK_AT, Tree};

use crate::run::World;
use rootlet_golden::Set;

fn options() -> Options {
    Options { inodes: Inodes::Extended, ..Options::default() }
}

fn tree() -> Tree {
    let mut tree = Tree::new();
    tree.file("/a/file", Content::seeded(1, 200_000));
    tree.hard_link("/a/twin", "/a/file");
    tree.file("/b/small", Content::seeded(2, 9)).xattrs.push(("user.x".into(), b"1".to_vec()));
    tree.symlink("/b/link", "small");
    tree.add("/b/pipe", Kind::Fifo, 0o644);
    tree.dir("/c/d");
    tree
}

/// Runs `check`, and expects exactly these faults, in any order.
#[track_caller]
fn assert_faults(world: &World, faults: &[String]) {
    let outcome = world.run(&["check"]);
    let (last, mut found) = outcome.stdout.split_last().map(|(l, f)| (l, f.to_vec())).unwrap();
    let mut faults = faults.to_vec();
    found.sort();
    faults.sort();
    assert_eq!(found, faults, "{}", outcome.stderr);
    let count = match faults.len() {
        1 => ", 1 fault".to_string(),
        count => format!(", {count} faults"),
    };
    assert!(last.ends_with(&count), "{last}");
    assert_eq!(outcome.status, i32::from(!faults.is_empty()));
}

#[test]
fn sound_images_have_no_faults() {
    let layouts = [FileLayout::Inline, FileLayout::Plain, FileLayout::ChunkMap];
    for layout in layouts.into_iter().chain([FileLayout::ChunkIndexes48]) {
        for blobs in [0, 2] {
            let layout = if blobs == 2 { FileLayout::ChunkIndexes } else { layout };
            for dot_omitted in [false, true] {
                let options = Options { layout, blobs, dot_omitted, ..options() };
                assert_faults(&World::new(&tree(), &options), &[]);
            }
        }
    }
}

#[test]
fn all_faults_of_an_image_are_told() {
    let mut world = World::new(&tree(), &options());
    let image = &mut world.built.image;
    let nid = |path: &str| image.nid(path);
    let (a, c, file, small) = (nid("/a"), nid("/c"), nid("/a/file"), nid("/b/small"));
    let (d, link) = (nid("/c/d"), nid("/b/link"));
    // A link count, an entry's type, a parent, a chunk's block, a target, an xattr's length.
    image.patch(image.inode_at("/a") + 44, &9_u32.to_le_bytes());
    image.patch(image.dirent_at("/b/pipe") + 10, &[1]);
    image.patch(image.dirent_at("/c/d/.."), &a.to_le_bytes());
    image.patch(image.dirent_at("/c/d/."), &c.to_le_bytes());
    image.patch(image.chunk_entry_at("/a/file", 1) + 4, &0x7000_u32.to_le_bytes());
    image.patch(image.locate("/b/link").body_at.unwrap(), b"s\0");
    image.patch(image.locate("/b/small").xattr_at.unwrap() + 12 + 2, &999_u16.to_le_bytes());
    let pipe = image.nid("/b/pipe");
    image.patch(SUPERBLOCK_AT + 16, &77_u64.to_le_bytes()).fix_checksum();
    let blocks = image.bytes().len() / 4096;
    let chunk = format!("block 28672 of device slot 0, which has {blocks}");
    assert_faults(
        &world,
        &[
            format!("/a (nid {a}): link count 9, with 0 subdirectories 2"),
            format!("/b/pipe (nid {pipe}): the entry says regular file, the inode is a fifo"),
            format!("/c/d (nid {d}): `.` is nid {c}, should be nid {d}"),
            format!("/c/d (nid {d}): `..` is nid {a}, should be nid {c}"),
            format!("/a/file (nid {file}): corrupt image: {chunk}"),
            format!("/b/link (nid {link}): the target of the symlink holds a NUL"),
            format!(
                "/b/small (nid {small}): xattrs: corrupt image: the xattrs of nid {small}: the entry at byte 12 needs 1004 bytes of 8"
            ),
            "/: the superblock counts 77 inodes, 9 are reachable".into(),
        ],
    );
}

#[test]
fn names_out_of_order_are_told_and_those_behind_are_read() {
    let mut tree = Tree::new();
    for name in ["/m", "/n", "/o"] {
        tree.file(name, Content::bytes(""));
    }
    let mut world = World::new(&tree, &options());
    let bytes = world.built.image.bytes();
    let names = bytes.windows(3).position(|window| window == b"mno").unwrap() as u64;
    world.built.image.patch(names + 1, b"a").patch(names + 2, b"/");
    let image = &world.built.image;
    let (root, n, fault) = (image.nid("/"), image.nid("/n"), "the name holds a slash");
    assert_faults(
        &world,
        &[
            format!("/a (nid {n}): block 0 entry 3: the name is not above the one before it"),
            format!("/ (nid {root}): corrupt image: directory nid {root} block 0 entry 4: {fault}"),
            "/: the superblock counts 4 inodes, 3 are reachable".into(),
        ],
    );
}

#[test]
fn directory_with_two_parents_or_inside_itself_is_entered_once() {
    let mut world = World::new(&tree(), &options());
    let image = &mut world.built.image;
    let (root, a) = (image.nid("/"), image.nid("/a"));
    image.patch(image.dirent_at("/c"), &a.to_le_bytes());
    image.patch(image.dirent_at("/b/pipe"), &root.to_le_bytes());
    image.patch(image.dirent_at("/b/pipe") + 10, &[2]);
    let b = image.nid("/b");
    assert_faults(
        &world,
        &[
            format!("/c (nid {a}): the directory has another name, /a"),
            format!("/b/pipe (nid {root}): the directory has another name, /"),
            format!("/b (nid {b}): link count 2, with 1 subdirectories 3"),
            "/: the superblock counts 9 inodes, 6 are reachable".into(),
        ],
    );
}

#[test]
fn graph_of_as_many_paths_as_no_walk_can_take_is_checked_at_once() {
    let world = World::doubling(&options());
    let outcome = world.run(&["check"]);
    assert_eq!(outcome.status, 1, "{}", outcome.stderr);
    let told = |line: &String| line.contains("(nid ") && line.ends_with("has another name, /9");
    assert!(outcome.stdout.iter().any(told), "{:?}", outcome.stdout);
    assert!(outcome.stdout.last().unwrap().ends_with(", 79 faults"), "{:?}", outcome.stdout);
}

#[test]
fn link_counts_are_those_of_the_names() {
    let mut world = World::new(&tree(), &options());
    let image = &mut world.built.image;
    let file = image.nid("/a/file");
    image.patch(image.inode_at("/a/file") + 44, &3_u32.to_le_bytes());
    assert_faults(&world, &[format!("/a/file (nid {file}): link count 3, 2 names lead there")]);
}

#[test]
fn shared_bytes_are_read_once() {
    let mut tree = Tree::new();
    for number in 0..50 {
        tree.file(format!("/{number:02}"), Content::bytes(vec![5; 1 << 16].repeat(20)));
    }
    let world = World::new(&tree, &options());
    let outcome = world.run(&["check"]);
    let last = outcome.stdout.last().unwrap();
    assert!(
        last.starts_with("51 inodes, 64.0 KiB of data read, superblock checksum right"),
        "{last}"
    );
}

#[test]
fn directories_that_share_their_blocks_end_the_check_of_directories() {
    let mut tree = Tree::new();
    for number in 0..40 {
        tree.dir(format!("/d{number:02}"));
    }
    for number in 0..200 {
        tree.dir(format!("/d00/{number:0200}"));
    }
    let options = Options { inline_dirs: false, ..options() };
    let mut world = World::new(&tree, &options);
    let image = &mut world.built.image;
    // All the others become copies of the first one's inode, ten blocks for 64 bytes.
    let first = image.inode_at("/d00") as usize;
    let inode = image.bytes()[first..first + 64].to_vec();
    for number in 1..40 {
        let at = image.inode_at(format!("/d{number:02}"));
        image.patch(at, &inode);
    }
    let outcome = world.run(&["check"]);
    assert_eq!(outcome.status, 1);
    let ends = "more bytes of directories than the devices can hold; no more are verified";
    assert_eq!(outcome.stdout.iter().filter(|line| line.ends_with(ends)).count(), 1);
}

#[test]
fn directories_behind_their_inodes_count_by_the_bytes_that_they_have() {
    let mut tree = Tree::new();
    tree.dir("/in".repeat(200));
    for number in 0..300 {
        tree.dir(format!("/flat/{number}"));
    }
    // Inodes and names together have a fraction of the blocks that a block each would take.
    let world = World::new(&tree, &options());
    assert!(world.built.image.bytes().len() < 100 << 10);
    assert_faults(&world, &[]);
}

#[test]
fn xattr_entries_without_a_known_prefix_are_no_fault() {
    let mut tree = tree();
    tree.file("/pad", Content::bytes("p")).xattrs.push(("user.pad".into(), b"1234".to_vec()));
    for index in [0, 5, 0x7f, 0x80, 0xff] {
        let mut world = World::new(&tree, &options());
        let body = world.built.image.locate("/pad").xattr_at.unwrap();
        world.built.image.patch(body + 12 + 1, &[index]);
        assert_faults(&world, &[]);
        let outcome = world.run(&["stat", "/pad"]);
        assert_eq!(outcome.status, 0, "{}", outcome.stderr);
        assert!(!outcome.stdout.iter().any(|line| line.starts_with("xattr")), "{outcome:?}");
    }
    // What mkfs leaves of xattrs that it took away: zeros to the end of the body.
    let mut world = World::new(&tree, &options());
    let body = world.built.image.locate("/pad").xattr_at.unwrap();
    world.built.image.patch(body + 12, &[0; 12]);
    assert_faults(&world, &[]);
}

#[test]
fn type_that_an_entry_alone_tells_is_a_fault_and_the_inode_counts() {
    let mut world = World::new(&tree(), &options());
    let image = &mut world.built.image;
    let (file, pipe) = (image.nid("/a/file"), image.nid("/b/pipe"));
    image.patch(image.dirent_at("/a/file") + 10, &[2]);
    image.patch(image.dirent_at("/b/pipe") + 10, &[9]);
    image.patch(image.dirent_at("/c") + 10, &[0]);
    assert_faults(
        &world,
        &[
            format!("/a/file (nid {file}): the entry says directory, the inode is a regular file"),
            format!("/b/pipe (nid {pipe}): the entry says type 9, the inode is a fifo"),
        ],
    );
    let rows = |world: &World| {
        let outcome = world.run(&["manifest", "/"]);
        assert_eq!(outcome.status, 0, "{}", outcome.stderr);
        outcome.stdout
    };
    assert_eq!(rows(&world), rows(&World::new(&tree(), &options())));
    assert_eq!(world.extract(&[]).status, 0);
}

#[test]
fn file_whose_bytes_are_elsewhere_is_one_fault() {
    let mut tree = tree();
    let mark = [&[0, 36, 0, 1][..], &[0x92; 32]].concat();
    let name = "trusted.overlay.metacopy";
    tree.file("/b/motd", Content::hole(200)).xattrs.push((name.into(), mark.clone()));
    // Of a directory it says nothing.
    tree.dir("/c").xattrs.push((name.into(), mark));
    let world = World::new(&tree, &options());
    let nid = world.built.image.nid("/b/motd");
    let digest = "92".repeat(32);
    let why = format!("its bytes are in the object {digest}, named by {name}");
    assert_faults(&world, &[format!("/b/motd (nid {nid}): not supported: {why}")]);
    for command in ["manifest", "sum"] {
        let outcome = world.run(&[command, "/b"]);
        assert_eq!(outcome.status, 1);
        let told = format!("not supported: /b/motd: {why}");
        assert!(outcome.stderr.lines().any(|line| line == told), "{}", outcome.stderr);
        assert!(outcome.stdout.iter().any(|row| row.contains("/b/small")), "{outcome:?}");
        assert!(!outcome.stdout.iter().any(|row| row.contains("motd")), "{outcome:?}");
    }
    let outcome = world.extract(&["/b"]);
    assert_eq!(outcome.status, 1);
    assert!(outcome.stderr.contains(&format!("/motd: not supported: {why}")), "{}", outcome.stderr);
    assert!(world.path("out").join("small").is_file() && !world.path("out").join("motd").exists());
}

#[test]
fn image_that_cannot_be_mounted_is_a_fault_on_standard_output() {
    let mut world = World::new(&tree(), &options());
    world.built.image.patch(SUPERBLOCK_AT + 64, b"renamed");
    let outcome = world.run(&["check"]);
    assert_eq!(outcome.status, 1);
    assert!(
        outcome.stdout[0].starts_with("/: corrupt image: superblock checksum 0x"),
        "{outcome:?}"
    );
}

#[test]
fn words_behind_check_are_a_usage_error() {
    assert_eq!(World::new(&tree(), &options()).run(&["check", "/"]).status, 2);
}

#[test]
fn every_golden_image_is_sound() {
    for golden in Set::built_in(env!("CARGO_TARGET_TMPDIR")).images {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rootlet"));
        command.arg("check").arg(&golden.image);
        for (number, blob) in golden.devices.iter().enumerate() {
            command.arg("--blob").arg(format!("{}={}", number + 1, blob.display()));
        }
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success() && text.ends_with(", 0 faults\n"),
            "{}: {text}",
            golden.name
        );
    }
}

/// Returns a copy of a golden image whose files have fingerprints, with a byte changed in each place
/// that `places` finds, and what `check` says of it.
fn check_digest_image(places: impl Fn(&[u8]) -> Vec<usize>) -> (i32, String) {
    let golden = Set::built_in(env!("CARGO_TARGET_TMPDIR")).images;
    let golden = golden.iter().find(|golden| golden.name == "xattr-digest").unwrap();
    let mut bytes = fs::read(&golden.image).unwrap();
    for at in places(&bytes) {
        bytes[at] ^= 1;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    fs::write(&image, bytes).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rootlet"));
    let output = command.arg("check").arg(&image).stdin(Stdio::null()).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn fingerprints_of_files_are_compared_with_their_data() {
    let (status, text) = check_digest_image(|_| Vec::new());
    assert_eq!(status, 0, "{text}");
    assert!(text.contains(" fingerprints compared, "), "{text}");
    // The first byte of a digest, where no checksum covers it; and another kind of fingerprint.
    let values = |bytes: &[u8]| -> Vec<usize> {
        let found = bytes.windows(7).enumerate().filter(|(_, window)| *window == b"sha256:");
        found.map(|(at, _)| at).filter(|at| *at >= 4096).collect()
    };
    let (status, text) = check_digest_image(|bytes| vec![values(bytes)[0] + 7]);
    assert_eq!(status, 1, "{text}");
    assert_eq!(text.matches(": its data is sha256 ").count(), 1, "{text}");
    assert!(text.contains(", its fingerprint says "), "{text}");
    let (status, text) = check_digest_image(|bytes| vec![values(bytes)[0]]);
    assert_eq!(status, 0, "{text}");
    assert!(text.contains(", 1 fingerprint not known, "), "{text}");
}
