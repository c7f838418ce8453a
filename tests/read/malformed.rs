//! Malformed images through the whole path: the exact words, or the right bytes of the rest.
//!
//! Each case patches one place of a sound image and puts the superblock's checksum right.

use rootlet_sim::image::{
    Built, Content, FileLayout, Image, Inodes, Options, SUPERBLOCK_AT, Tree, XattrPlace, build,
};

use crate::guest::Guest;
use crate::mount;

const BLOCK: u64 = 4096;

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
fn image_shorter_than_it_says_is_refused_with_both_lengths() {
    let says = sound().image.bytes().len() as u64;
    for has in [says - 512, says - BLOCK, BLOCK] {
        let got = mount_error(|image| {
            image.resize(has);
        });
        let wanted = format!("it should have {says} bytes, its device has {has}");
        assert_message(got, "", &wanted);
    }
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
        (
            32,
            &[0, 0xca, 0x9a, 0x3b],
            "1000000000 nanoseconds in the superblock, at byte 0x420".to_string(),
        ),
        (
            88,
            &[0xff, 0xff],
            format!(
                "the device table, 256 bytes at byte {:#x}, ends beyond the image of \
                 {image_bytes:#x}",
                65_535 * 128
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
        image.patch(SUPERBLOCK_AT + 86, &[65, 0]).fix_checksum();
    });
    assert_eq!(got, "unsupported image: 65 device slots, at most 64");
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
    let wanted = format!("the root, nid {nid}, has mode 0o100644 and is no directory");
    assert_message(got, "", &wanted);
}

#[test]
fn slots_that_overlap_or_reach_too_far_are_refused() {
    let primary = sound().image.bytes().len() as u64 / BLOCK;
    let place_of_1 = |image: &Image| image.device_slot_at(1) + 68;
    let got = mount_error(|image| {
        let at = place_of_1(image) + 128;
        image.patch(at, &(primary as u32 + 1).to_le_bytes()).fix_checksum();
    });
    let wanted = format!("device slots 1 and 2 both hold block {}", primary + 1);
    assert_message(got, "", &wanted);
    let got = mount_error(|image| {
        image.patch(place_of_1(image), &1_u32.to_le_bytes()).fix_checksum();
    });
    assert_message(got, "", "device slots 0 and 1 both hold block 1");
    let mut tree = Tree::new();
    tree.file("/file", Content::seeded(1, 100));
    let mut far = build(&tree, &Options { bits48: true, ..options() }).unwrap();
    // blocks_hi and uniaddr_hi.
    let at = far.image.device_slot_at(1) + 72;
    far.image.patch(at, &[0xff, 0xff, 0, 0, 0xff, 0xff]).fix_checksum();
    let got = mount::built(&far).err().unwrap();
    assert!(got.starts_with("corrupt image: device slot 1: "), "{got}");
    assert!(got.ends_with(" pass 2^48"), "{got}");
}

#[test]
fn directory_that_contains_itself_ends_the_walk_with_an_error() {
    for (entry, inside) in [("/dir/sub", "/dir"), ("/dir/sub", "/"), ("/dir/sub/x", "/dir")] {
        let mut built = sound();
        let (at, nid) = (built.image.dirent_at(entry), built.image.nid(inside));
        built.image.patch(at, &nid.to_le_bytes());
        let mut mount = mount::built(&built).unwrap();
        for command in ["manifest", "sum"] {
            let error = mount.guest.run(&[command, "/"]).unwrap_err();
            // The walk names what it was asked for; the nid says where it went wrong.
            let wanted = format!("corrupt image: directory nid {nid} lies inside itself");
            assert!(error.ends_with(&wanted), "{entry} is {inside}: {error}");
        }
        let reads = mount.world.counters(mount.devices[0]).reads;
        assert!(reads < 100, "{reads} reads");
        assert_eq!(mount.guest.run(&["cat", "/good"]), Ok(b"good".to_vec()));
        // One path through it is a path like any other, up to its length.
        let root = &mount.guest.root;
        let path = [entry.as_bytes(), &b"/.".repeat(300)].concat();
        assert_eq!(root.metadata(&path).unwrap().nid.0, nid);
        assert!(root.metadata(&entry.as_bytes().repeat(4097 / entry.len() + 1)).is_err());
    }
}

#[test]
fn directory_entries_that_lie_are_refused_with_their_place() {
    let image = sound().image;
    let nid = image.nid("/dir");
    let first = image.dirent_at("/dir/.");
    let size = image.locate("/dir").body_bytes;
    // Names behind six and one entries of 12 bytes.
    let names = 7 * 12;
    let entry = |number: u64| first + number * 12;
    let name_at = |path: &str| {
        let at = image.dirent_at(path) as usize;
        first + u64::from(u16::from_le_bytes(image.bytes()[at + 8..at + 10].try_into().unwrap()))
    };
    let here = format!("directory nid {nid} block 0");
    for (at, bytes, wanted) in [
        (entry(0) + 8, &[0, 0][..], format!("{here}: first nameoff 0 in {size} bytes")),
        (entry(0) + 8, &[85, 0], format!("{here}: first nameoff 85 in {size} bytes")),
        (entry(0) + 8, &[0xf0, 0x0f], format!("{here}: first nameoff 4080 in {size} bytes")),
        (
            entry(2) + 8,
            &[names as u8, 0],
            format!("{here} entry 2: nameoff {names}, not {} to {size}", names + 1),
        ),
        (
            entry(2) + 8,
            &[0xff, 0xff],
            format!("{here} entry 2: nameoff 65535, not {} to {size}", names + 1),
        ),
        (entry(2) + 10, &[9], format!("{here} entry 2: file type 9")),
        (name_at("/dir/chunked"), b"/", format!("{here} entry 2: the name holds a slash")),
        (name_at("/dir/chunked"), b"z", format!("{here} entry 3: the name is out of order")),
        (name_at("/dir/inline") + 2, b"\0", format!("{here} entry 3: the name holds a NUL")),
    ] {
        let got = error_of(["ls", "/dir"], |image| {
            image.patch(at, bytes);
        });
        assert_message(got, "/dir: ", &wanted);
    }
}

#[test]
fn inodes_that_lie_are_refused_with_their_number() {
    let image = sound().image;
    let image_bytes = image.bytes().len() as u64;
    let start = image.inode_at("/dir/plain") as usize + 16;
    let start = u32::from_le_bytes(image.bytes()[start..start + 4].try_into().unwrap());
    let nid = |path: &str| image.nid(path);
    let map_at = image.chunk_entry_at("/dir/chunked", 0);
    for (path, field, bytes, wanted) in [
        (
            "/dir/inline",
            4,
            &0o070_644_u16.to_le_bytes()[..],
            format!("mode 0o70644 of nid {} has no file type", nid("/dir/inline")),
        ),
        (
            "/dir/inline",
            8,
            &(1_u64 << 63).to_le_bytes(),
            format!("size 0x8000000000000000 of nid {} is negative", nid("/dir/inline")),
        ),
        (
            "/dir/link",
            8,
            &5000_u64.to_le_bytes(),
            format!("symlink of nid {} has a target of 5000 bytes", nid("/dir/link")),
        ),
        (
            "/dir/chunked",
            8,
            &(1_u64 << 40).to_le_bytes(),
            format!(
                "the chunk map of nid {}, {} bytes at byte {map_at:#x}, ends beyond the image of \
                 {image_bytes:#x}",
                nid("/dir/chunked"),
                8_u64 << 24
            ),
        ),
        (
            "/dir/plain",
            8,
            &(1_u64 << 62).to_le_bytes(),
            format!(
                "nid {}: {} blocks from block {start}, the image has {}",
                nid("/dir/plain"),
                1_u64 << 50,
                // With extra devices all 48 bits of a block number are good.
                1_u64 << 48
            ),
        ),
        (
            "/dir/inline",
            40,
            &1_000_000_000_u32.to_le_bytes(),
            format!("1000000000 nanoseconds in the mtime of nid {}", nid("/dir/inline")),
        ),
    ] {
        let got = error_of(["stat", path], |image| {
            image.patch(image.inode_at(path) + field, bytes);
        });
        assert_message(got, &format!("{path}: "), &wanted);
    }
    for (bits, wanted) in
        [(0x8000_u16, "unknown bits in the format 0x8009 of nid"), (5 << 1, "data layout 5 of nid")]
    {
        let got = error_of(["stat", "/dir/chunked"], |image| {
            let at = image.inode_at("/dir/chunked");
            // Extended, chunk-based; or an unknown layout in its place.
            let format = if bits == 0x8000 { bits | 9 } else { bits | 1 };
            image.patch(at, &format.to_le_bytes());
        });
        let nid = nid("/dir/chunked");
        assert_eq!(got, format!("/dir/chunked: unsupported image: {wanted} {nid}"));
    }
}

#[test]
fn inline_tail_that_crosses_a_block_is_refused() {
    let image = sound().image;
    let found = image.locate("/dir/inline").clone();
    let (at, nid) = (found.body_at.unwrap(), found.nid);
    let got = error_of(["stat", "/dir/inline"], |image| {
        image.patch(image.inode_at("/dir/inline") + 8, &8191_u64.to_le_bytes());
    });
    let wanted =
        format!("inline tail of nid {nid}, 4095 bytes at byte {at:#x}, crosses a block of 4096");
    assert_message(got, "/dir/inline: ", &wanted);
}

#[test]
fn chunks_that_lead_nowhere_are_refused_with_their_number() {
    let built = sound();
    let (image, nid) = (&built.image, built.image.nid("/dir/chunked"));
    let entry = image.chunk_entry_at("/dir/chunked", 3);
    let got = error_of(["cat", "/dir/chunked"], |image| {
        image.patch(entry + 2, &[3, 0]);
    });
    let wanted = format!("chunk 3 of nid {nid} names device slot 3, the table has 2");
    assert_message(got, "/dir/chunked: ", &wanted);

    let got = error_of(["cat", "/dir/chunked"], |image| {
        image.patch(entry + 2, &[1, 0, 0xf0, 0xff, 0xff, 0x7f]);
    });
    let blocks = built.blobs[0].bytes() / BLOCK;
    let wanted = format!("block 2147483632 of device slot 1, which has {blocks}");
    assert_message(got, "/dir/chunked: ", &wanted);

    let got = error_of(["stat", "/dir/chunked"], |image| {
        image.patch(image.inode_at("/dir/chunked") + 16, &[0x84]);
    });
    assert_eq!(
        got,
        format!(
            "/dir/chunked: unsupported image: unknown bits in the chunk format 0x0084 of nid {nid}"
        )
    );
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

#[test]
fn xattrs_that_overrun_are_refused_and_the_file_still_reads() {
    let image = sound().image;
    let nid = image.nid("/dir/chunked");
    let at = image.locate("/dir/chunked").xattr_at.unwrap();
    for (offset, bytes, wanted) in [
        (4, &[200][..], format!("nid {nid} has 200 shared xattrs in a body of 28 bytes")),
        (
            12,
            &[200],
            format!("the xattrs of nid {nid}: the entry at byte 12 needs 209 bytes of 16"),
        ),
        (
            14,
            &[0xff, 0xff],
            format!("the xattrs of nid {nid}: the entry at byte 12 needs 65543 bytes of 16"),
        ),
    ] {
        let mut built = sound();
        built.image.patch(at + offset, bytes);
        let mut guest = mount::built(&built).unwrap().guest;
        let error = guest.run(&["manifest", "/dir/chunked"]).unwrap_err();
        assert_message(error, "/dir/chunked: ", &wanted);
        assert_eq!(guest.run(&["cat", "/dir/chunked"]).map(|bytes| bytes.len()), Ok(300_000));
    }
    let mut built = sound();
    built.image.patch(at + 13, &[0x83]);
    let error = mount::built(&built).unwrap().guest.run(&["manifest", "/dir"]).unwrap_err();
    assert_eq!(error, "/dir/chunked: corrupt image: long xattr prefix 3 is named, the table has 0");
}

#[test]
fn shared_xattr_beyond_the_image_is_refused() {
    let mut tree = Tree::new();
    let meta = tree.file("/file", Content::hole(0));
    meta.xattrs.push(("user.shared".into(), b"value".to_vec()));
    let options = Options { xattrs: XattrPlace::Shared, ..Options::default() };
    let mut image = build(&tree, &options).unwrap().image;
    let at = image.locate("/file").xattr_at.unwrap();
    image.patch(at + 12, &[0xff, 0xff, 0xff, 0]);
    let error = mount::image(&image).unwrap().guest.run(&["manifest", "/"]).unwrap_err();
    let start = "/file: corrupt image: shared xattr 16777215, 4 bytes at byte ";
    assert!(error.starts_with(start), "{error}");
}
