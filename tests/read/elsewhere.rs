//! Files whose bytes lie outside the image, as overlayfs's marks say: opening one fails and names
//! the object, all else of it reads; and what looking for the marks costs.

use rootlet::Error;
use rootlet::erofs::overlay::{Marks, Object, ObjectPath};
use rootlet::erofs::{Nid, Unsupported};
use rootlet::read::XATTR_BYTES_MAX;
use rootlet_sim::image::{
    Built, Content, FileLayout, Inodes, Options, SUPERBLOCK_AT, Tree, XattrPlace, build,
};

use crate::mount;

const METACOPY: &str = "trusted.overlay.metacopy";
const REDIRECT: &str = "trusted.overlay.redirect";

fn metacopy(digest: [u8; 32]) -> Vec<u8> {
    [&[0, 36, 0, 1][..], &digest].concat()
}

/// Names and values.
type Xattrs<'x> = &'x [(&'x str, &'x [u8])];

/// Files with these xattrs, each of 200 zeros, and sound ones beside them.
fn tree(files: &[(&str, Xattrs<'_>)]) -> Tree {
    let mut tree = Tree::new();
    for (path, xattrs) in files {
        let meta = tree.file(path, Content::hole(200));
        for (name, value) in *xattrs {
            meta.xattrs.push(((*name).into(), value.to_vec()));
        }
    }
    tree.file("/good", Content::bytes(*b"good"));
    tree
}

fn options(xattrs: XattrPlace) -> Options {
    Options {
        inodes: Inodes::Extended,
        layout: FileLayout::Plain,
        flat_holes: true,
        xattrs,
        ..Options::default()
    }
}

/// The nid, and why the file cannot be opened.
fn refused(built: &Built, path: &str) -> (Nid, Unsupported) {
    let guest = mount::built(built).unwrap().guest;
    let nid = guest.root.metadata(path.as_bytes()).unwrap().nid();
    let error = guest.root.open(path.as_bytes()).map(|_| ()).unwrap_err();
    assert_eq!(guest.root.stream(path.as_bytes()).map(|_| ()).unwrap_err(), error);
    match error {
        Error::Unsupported(why) => (nid, why),
        other => panic!("{path}: {other}"),
    }
}

#[test]
fn file_whose_bytes_are_elsewhere_is_not_opened_and_its_object_is_named() {
    let digest = metacopy([0x92; 32]);
    let path = format!("/92/{}", "92".repeat(31));
    let redirect = (REDIRECT, path.as_bytes());
    let at_path = Object::Path(ObjectPath::new(path.as_bytes(), true));
    let long = "/x".repeat(100);
    let cut = Object::Path(ObjectPath::new(&long.as_bytes()[..70], false));
    let user = [("user.overlay.metacopy", &digest[..])];
    let trusted = |object| (Marks::Trusted, object);
    for xattrs in [XattrPlace::Inline, XattrPlace::Shared] {
        for (marks, want) in [
            (&[(METACOPY, &digest[..]), redirect][..], trusted(Object::Sha256([0x92; 32]))),
            (&[redirect, (METACOPY, &digest[..])], trusted(Object::Sha256([0x92; 32]))),
            (&[(METACOPY, b""), redirect], trusted(at_path)),
            (&[(METACOPY, &[7; 300]), redirect], trusted(at_path)),
            (&[(METACOPY, b""), (REDIRECT, long.as_bytes())], trusted(cut)),
            (&[(METACOPY, b"")], trusted(Object::Unnamed)),
            (&[(METACOPY, b""), ("user.overlay.redirect", b"/x")], trusted(Object::Unnamed)),
            (&user, (Marks::User, Object::Sha256([0x92; 32]))),
        ] {
            let built = build(&tree(&[("/etc/motd", marks)]), &options(xattrs)).unwrap();
            let (nid, why) = refused(&built, "/etc/motd");
            let (marks, object) = want;
            assert_eq!(why, Unsupported::Elsewhere { nid, marks, object });
        }
    }
}

#[test]
fn names_that_overlayfs_escaped_and_marks_of_directories_mean_nothing() {
    let digest = metacopy([1; 32]);
    let mut tree = tree(&[(
        "/dir/file",
        &[
            ("trusted.overlay.overlay.metacopy", &digest),
            ("trusted.overlay.redirect", b"/x"),
            ("security.overlay.metacopy", &digest),
            ("user.metacopy", &digest),
        ],
    )]);
    tree.dir("/dir").xattrs.push((METACOPY.into(), digest));
    let mount = mount::tree(&tree, &options(XattrPlace::Inline));
    let mut out = [7; 200];
    assert_eq!(mount.guest.root.open(b"/dir/file").unwrap().read_at(0, &mut out), Ok(200));
    assert_eq!(out, [0; 200]);
}

/// A table with one long prefix, `trusted.` and `overlay.`, and a filter of names that is right.
#[test]
fn mark_under_a_long_prefix_is_found() {
    let digest = metacopy([3; 32]);
    let mut tree = tree(&[("/file", &[("trusted.metacopy", &digest)])]);
    tree.file("/table", Content::bytes(b"\x09\0\x04overlay.".to_vec()));
    let mut built = build(&tree, &options(XattrPlace::Inline)).unwrap();
    let (nid, image) = (Nid(built.image.nid("/file")), &mut built.image);
    let table = image.locate("/table").data_at.unwrap();
    let features = u32::from_le_bytes(image.bytes()[1024 + 80..][..4].try_into().unwrap()) | 0x40;
    image.patch(SUPERBLOCK_AT + 80, &features.to_le_bytes());
    // The table lies in the image itself.
    image.patch(SUPERBLOCK_AT + 8, &[0x10]);
    image.patch(SUPERBLOCK_AT + 91, &[1]);
    image.patch(SUPERBLOCK_AT + 92, &(table as u32 / 4).to_le_bytes());
    let entry = image.locate("/file").xattr_at.unwrap() + 12;
    image.patch(entry + 1, &[0x80]).fix_checksum();
    let object = Object::Sha256([3; 32]);
    let want = Unsupported::Elsewhere { nid, marks: Marks::Trusted, object };
    assert_eq!(refused(&built, "/file"), (nid, want));
}

#[test]
fn all_but_the_bytes_of_such_a_file_is_read_and_its_row_is_the_only_one_absent() {
    let digest = metacopy([0x92; 32]);
    let tree = tree(&[("/etc/motd", &[(METACOPY, &digest[..])]), ("/etc/note", &[])]);
    let mut mount = mount::tree(&tree, &options(XattrPlace::Inline));
    let guest = &mut mount.guest;
    let want = format!(
        "not supported: /etc/motd: its bytes are in the object {}, named by {METACOPY}",
        "92".repeat(32)
    );
    for words in [["cat", "/etc/motd"], ["sum", "/etc/motd"], ["sum", "/"], ["manifest", "/"]] {
        assert_eq!(guest.run(&words), Err(want.clone()), "{words:?}");
    }
    let stat = String::from_utf8(guest.run(&["stat", "/etc/motd"]).unwrap()).unwrap();
    assert!(stat.contains("size   200\n") && stat.contains(METACOPY), "{stat}");
    let list = String::from_utf8(guest.run(&["ls", "/etc"]).unwrap()).unwrap();
    assert!(list.contains(" motd\n") && list.contains(" note\n"), "{list}");
    let inode = guest.root.metadata(b"/etc/motd").unwrap();
    let mut buffer = vec![0; XATTR_BYTES_MAX];
    let value = guest.root.xattr(&inode, METACOPY.as_bytes(), &mut buffer).unwrap();
    assert_eq!(value, Some(&digest[..]));
}

/// Reads and batches of finding and opening each of 200 files, from a mount that read nothing yet.
fn cost_of_opening(xattrs: Option<XattrPlace>, open: bool) -> u64 {
    let mut tree = Tree::new();
    for number in 0..200 {
        let meta = tree.file(format!("/dir/{number:03}"), Content::bytes(vec![1; 20]));
        if xattrs.is_some() {
            let label = format!("system_u:object_r:type_{}_t:s0", number % 20);
            meta.xattrs.push(("security.selinux".into(), label.into()));
        }
    }
    let place = xattrs.unwrap_or(XattrPlace::Inline);
    let options = Options { layout: FileLayout::Inline, ..options(place) };
    let mount = mount::tree(&tree, &options);
    let before = mount.world.counters(mount.devices[0]).reads;
    for number in 0..200 {
        let inode = mount.guest.root.metadata(format!("/dir/{number:03}").as_bytes()).unwrap();
        if open {
            mount.guest.root.open_inode(inode).unwrap();
        }
    }
    mount.world.counters(mount.devices[0]).reads - before
}

#[test]
fn opening_an_ordinary_file_costs_no_read_more_than_finding_it() {
    for xattrs in [None, Some(XattrPlace::Inline)] {
        let (found, opened) = (cost_of_opening(xattrs, false), cost_of_opening(xattrs, true));
        assert!(opened <= found + 1, "{xattrs:?}: {opened} reads, to find them {found}");
    }
    // The names of shared xattrs lie elsewhere, in a page of their own: once for all files.
    let place = Some(XattrPlace::SharedIfRepeated);
    let (found, opened) = (cost_of_opening(place, false), cost_of_opening(place, true));
    assert!(opened <= found + 1, "{opened} reads, to find them {found}");
}
