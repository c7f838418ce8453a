//! Malformed images through the whole path, in the words that a user reads: the head of an image,
//! what is of no kind that there is, and walks. The classes of the format are in `tests/hostile`.
//!
//! Always: each case patches one place of a sound image; what has nothing to do with it reads.

use rootlet_sim::image::{
    Built, Content, FileLayout, Image, Inodes, Options, SUPERBLOCK_AT, Tree, XattrPlace, build,
};

use crate::guest::Guest;
use crate::mount;

fn options() -> Options {
    Options { inodes: Inodes::Extended, xattrs: XattrPlace::Inline, blobs: 2, ..Options::default() }
}

/// Inline and chunked files, two directories, a symlink, xattrs; everything extended.
fn sound() -> Built {
    let mut tree = Tree::new();
    let meta = tree.file("/dir/chunked", Content::seeded(1, 300_000));
    meta.xattrs.push(("user.name".into(), b"value".to_vec()));
    tree.file("/dir/inline", Content::seeded(2, 5_000));
    tree.file("/dir/plain", Content::seeded(3, 10_000));
    tree.symlink("/dir/link", "inline");
    tree.file("/dir/sub/x", Content::bytes(*b"x"));
    tree.file("/good", Content::bytes(*b"good"));
    let layouts = [
        (b"/dir/inline".to_vec(), FileLayout::Inline),
        (b"/dir/plain".to_vec(), FileLayout::Plain),
        (b"/good".to_vec(), FileLayout::Inline),
    ];
    build(&tree, &Options { layouts: layouts.into(), ..options() }).unwrap()
}

/// The message of mounting the image after `patch`.
fn mount_error(patch: impl FnOnce(&mut Image)) -> String {
    let mut built = sound();
    patch(&mut built.image);
    mount::built(&built).err().expect("it mounts")
}

/// The message of `command` after `patch`; what has nothing to do with it still reads.
fn error_of(command: [&str; 2], patch: impl FnOnce(&mut Image)) -> String {
    let mut built = sound();
    patch(&mut built.image);
    built.image.fix_checksum();
    let mut guest: Guest<_> = mount::built(&built).unwrap().guest;
    let error = guest.run(&command).expect_err("it reads");
    assert_eq!(guest.run(&["cat", "/good"]), Ok(b"good".to_vec()), "{error}");
    error
}

#[track_caller]
fn assert_message(got: String, place: &str, wanted: &str) {
    assert_eq!(got, format!("{place}corrupt image: {wanted}"));
}

#[test]
fn bytes_that_are_no_image_are_told_from_damaged_ones() {
    let empty = |image: &mut Image| {
        image.resize(0);
    };
    assert_message(mount_error(empty), "", "the superblock needs 1536 bytes, has 0");
    let short = |image: &mut Image| {
        image.resize(1024);
    };
    assert_message(mount_error(short), "", "the superblock needs 1536 bytes, has 1024");
    let zeros = |image: &mut Image| {
        image.patch(SUPERBLOCK_AT, &[0; 128]);
    };
    assert_message(mount_error(zeros), "", "magic 0x00000000 at byte 0x400, not 0xe0f5e1e2");
}

#[test]
fn superblock_with_a_wrong_checksum_is_refused_with_both_sums() {
    let stored = u32::from_le_bytes(sound().image.bytes()[1028..1032].try_into().unwrap());
    let mut right = sound().image;
    let right = right.patch(SUPERBLOCK_AT + 64, b"renamed").fix_checksum().bytes();
    let computed = u32::from_le_bytes(right[1028..1032].try_into().unwrap());
    let got = mount_error(|image| {
        image.patch(SUPERBLOCK_AT + 64, b"renamed");
    });
    let wanted =
        format!("superblock checksum {stored:#010x} at byte 0x404, computed {computed:#010x}");
    assert_message(got, "", &wanted);
}

#[test]
fn every_field_of_the_superblock_that_matters_is_checked() {
    let image_bytes = sound().image.bytes().len() as u64;
    for (at, bytes, wanted) in [
        (12, &[8][..], "block size 2^8 at byte 0x40c, not 2^9 to 2^16".to_string()),
        (12, &[17], "block size 2^17 at byte 0x40c, not 2^9 to 2^16".to_string()),
        (13, &[200], "200 superblock extension slots at byte 0x40d, beyond 4 KiB".to_string()),
        (
            14,
            &[0xff, 0xff],
            format!(
                "the inode of nid 65535, 32 bytes at byte {:#x}, ends beyond the image of \
                 {image_bytes:#x}",
                65_535 * 32
            ),
        ),
    ] {
        let got = mount_error(|image| {
            image.patch(SUPERBLOCK_AT + at, bytes).fix_checksum();
        });
        // Another block size moves what the checksum covers.
        if !got.contains("checksum") {
            assert_message(got, "", &wanted);
        } else {
            panic!("{wanted}: {got}");
        }
    }
    let got = mount_error(|image| {
        image.patch(SUPERBLOCK_AT + 90, &[1]).fix_checksum();
    });
    assert_eq!(got, "unsupported image: directory blocks of 2^1 blocks");
}

#[test]
fn root_that_is_no_directory_is_refused() {
    let nid = sound().image.nid("/");
    let got = mount_error(|image| {
        image.patch(image.inode_at("/") + 4, &0o100_644_u16.to_le_bytes());
    });
    let wanted = format!("the root, nid {nid}, has mode 0o100644 and is not a directory");
    assert_message(got, "", &wanted);
}

#[test]
fn root_is_its_own_parent_whatever_the_image_says() {
    let mut built = sound();
    let (at, nid) = (built.image.dirent_at("/.."), built.image.nid("/dir"));
    built.image.patch(at, &nid.to_le_bytes());
    let root = &mount::built(&built).unwrap().guest.root;
    let good = built.image.nid("/good");
    for path in ["/../good", "/dir/../../good", "/dir/sub/../../../good"] {
        assert_eq!(root.metadata(path.as_bytes()).map(|inode| inode.nid().0), Ok(good), "{path}");
    }
}

#[test]
fn inodes_of_no_kind_are_refused_with_their_number() {
    let image = sound().image;
    let nid = |path: &str| image.nid(path);
    let got = error_of(["stat", "/dir/inline"], |image| {
        image.patch(image.inode_at("/dir/inline") + 4, &0o070_644_u16.to_le_bytes());
    });
    let wanted = format!("mode 0o70644 of nid {} has no file type", nid("/dir/inline"));
    assert_message(got, "/dir/inline: ", &wanted);
    let nid = nid("/dir/chunked");
    for (field, bytes, wanted) in [
        (0, [9, 0x80], "unknown bits in the format 0x8009 of nid"),
        (0, [11, 0], "data layout 5 of nid"),
        (16, [0x84, 0], "unknown bits in the chunk format 0x0084 of nid"),
    ] {
        let got = error_of(["stat", "/dir/chunked"], |image| {
            image.patch(image.inode_at("/dir/chunked") + field, &bytes);
        });
        assert_eq!(got, format!("/dir/chunked: unsupported image: {wanted} {nid}"));
    }
}

#[test]
fn every_walk_ends_at_a_directory_that_comes_again() {
    for (entry, to, wanted) in [
        ("/dir/sub/x", "/dir", "lies inside itself"),
        ("/dir/sub", "/", "lies inside itself"),
        ("/good", "/dir/sub", "has another name"),
    ] {
        let mut built = sound();
        let (at, nid) = (built.image.dirent_at(entry), built.image.nid(to));
        built.image.patch(at, &nid.to_le_bytes());
        let mut mount = mount::built(&built).unwrap();
        for command in ["manifest", "sum"] {
            let error = mount.guest.run(&[command, "/"]).unwrap_err();
            // The walk names where it was; the nid says what is wrong there.
            assert_message(error, &format!("{entry}: "), &format!("directory nid {nid} {wanted}"));
        }
        // One path through it is a path like any other, up to its length.
        let root = &mount.guest.root;
        let path = [entry.as_bytes(), &b"/.".repeat(300)].concat();
        assert_eq!(root.metadata(&path).unwrap().nid().0, nid);
        assert!(root.metadata(&entry.as_bytes().repeat(4097 / entry.len() + 1)).is_err());
    }
}

#[test]
fn last_chunk_may_not_reach_beyond_its_device_by_a_byte() {
    let mut tree = Tree::new();
    tree.file("/file", Content::seeded(1, 65_536));
    let built = build(&tree, &Options { blobs: 1, ..Options::default() }).unwrap();
    let mut mount = mount::built(&built).unwrap();
    assert!(mount.guest.run(&["cat", "/file"]).is_ok());
    let mut later = built.clone();
    let entry = later.image.chunk_entry_at("/file", 0);
    later.image.patch(entry + 4, &1_u32.to_le_bytes());
    let error = mount::built(&later).unwrap().guest.run(&["cat", "/file"]).unwrap_err();
    assert!(error.starts_with("/file: "), "{error}");
}
