//! Paths: symlinks, dots, slashes, long names, and what each mistake is called.

use rootlet::erofs::FileKind;
use rootlet::read::{PATH_BYTES_MAX, SYMLINK_HOPS_MAX};
use rootlet::{Error, PathError};
use rootlet_sim::image::{Content, Kind, Options, Tree};

use crate::mount::{self, Mount};

fn mounted() -> Mount {
    let mut tree = Tree::new();
    tree.file("/dir/sub/file", Content::bytes(*b"content"));
    tree.file([&b"/dir/"[..], &[b'n'; 255]].concat(), Content::bytes(*b"long"));
    tree.add("/fifo", Kind::Fifo, 0o644);
    for (link, target) in [
        ("/to-file", "dir/sub/file"),
        ("/to-dir", "/dir"),
        ("/dir/up", "../dir/./sub//"),
        ("/above", "../../../../dir/sub/file"),
        ("/self", "self"),
        ("/ping", "pong"),
        ("/pong", "/ping"),
        ("/nowhere", "gone/for/good"),
        ("/through-file", "dir/sub/file/x"),
        ("/slashed", "dir/sub/file/"),
        ("/grow", "/grow/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
    ] {
        tree.symlink(link, target);
    }
    for hop in 1..=SYMLINK_HOPS_MAX {
        tree.symlink(format!("/hop/{}", hop + 1), hop.to_string());
    }
    tree.symlink("/hop/1", "../dir/sub/file");
    mount::tree(&tree, &Options::default())
}

fn error(mount: &Mount, path: impl AsRef<[u8]>) -> PathError {
    match mount.guest.root.metadata(path.as_ref()) {
        Err(Error::Path(error)) => error,
        other => panic!("{}: {other:?}", path.as_ref().escape_ascii()),
    }
}

#[test]
fn every_spelling_of_a_path_leads_to_the_file() {
    let mount = mounted();
    let root = &mount.guest.root;
    let nid = root.metadata(b"/dir/sub/file").unwrap().nid();
    for path in [
        "dir/sub/file",
        "//dir///sub/file",
        "/./dir/./sub/./file",
        "/dir/../dir/sub/../sub/file",
        "/../../dir/sub/file",
        "/to-file",
        "/to-dir/sub/file",
        "/dir/up/file",
        "/dir/up/../sub/file",
        "/above",
        "/hop/40",
    ] {
        assert_eq!(root.metadata(path.as_bytes()).unwrap().nid(), nid, "{path}");
        assert_eq!(root.open(path.as_bytes()).unwrap().size(), 7, "{path}");
    }
    for path in ["", "/", ".", "..", "/..", "/../..", "/dir/..", "/dir/sub/../../.."] {
        assert_eq!(
            root.metadata(path.as_bytes()).unwrap().nid(),
            root.superblock().root(),
            "{path}"
        );
    }
    for path in ["/dir", "/dir/", "/dir//", "/dir/.", "/to-dir", "/to-dir/", "/dir/sub/.."] {
        assert!(root.read_dir(path.as_bytes()).is_ok(), "{path}");
    }
}

#[test]
fn mistakes_have_their_own_names() {
    let mount = mounted();
    for (path, wanted) in [
        ("/missing", PathError::NotFound),
        ("/dir/sub/missing/file", PathError::NotFound),
        ("/nowhere", PathError::NotFound),
        ("/dir/sub/file/", PathError::NotADirectory),
        ("/to-file/", PathError::NotADirectory),
        ("/slashed", PathError::NotADirectory),
        ("/dir/sub/file/x", PathError::NotADirectory),
        ("/dir/sub/file/..", PathError::NotADirectory),
        ("/through-file", PathError::NotADirectory),
        ("/self", PathError::TooManySymlinks),
        ("/ping", PathError::TooManySymlinks),
        ("/ping/x", PathError::TooManySymlinks),
        ("/hop/41", PathError::TooManySymlinks),
    ] {
        assert_eq!(error(&mount, path), wanted, "{path}");
    }
    assert!(matches!(error(&mount, "/grow"), PathError::TooLong | PathError::TooManySymlinks));

    let root = &mount.guest.root;
    let kind = |result: Result<(), Error>| result.unwrap_err();
    assert_eq!(kind(root.open(b"/dir").map(drop)), Error::Path(PathError::IsADirectory));
    assert_eq!(kind(root.open(b"/fifo").map(drop)), Error::Path(PathError::NotAFile));
    assert_eq!(kind(root.read_dir(b"/to-file").map(drop)), Error::Path(PathError::NotADirectory));
    let mut out = [0; 64];
    for path in ["/dir", "/dir/sub/file", "/fifo"] {
        let error = root.read_link(path.as_bytes(), &mut out).unwrap_err();
        assert_eq!(error, Error::Path(PathError::NotASymlink), "{path}");
    }
}

#[test]
fn symlink_itself_is_named_without_following_it() {
    let mount = mounted();
    let root = &mount.guest.root;
    for path in ["/self", "/nowhere", "/to-dir"] {
        let inode = root.symlink_metadata(path.as_bytes()).unwrap();
        assert_eq!(inode.kind(), FileKind::Symlink, "{path}");
    }
    // A slash asks for the link's target.
    assert_eq!(root.symlink_metadata(b"/to-dir/").unwrap().kind(), FileKind::Directory);
    let mut out = [0; 12];
    assert_eq!(root.read_link(b"/to-file", &mut out), Ok(&b"dir/sub/file"[..]));
    let error = root.read_link(b"/above", &mut out).unwrap_err();
    assert_eq!(error, Error::Path(PathError::BufferTooSmall(24)));
}

#[test]
fn names_and_paths_may_be_as_long_as_on_linux_and_no_longer() {
    let mount = mounted();
    let root = &mount.guest.root;
    let long = [&b"/dir/"[..], &[b'n'; 255]].concat();
    assert_eq!(root.metadata(&long).unwrap().size(), 4);
    assert_eq!(error(&mount, [&b"/dir/"[..], &[b'n'; 256]].concat()), PathError::TooLong);
    let padded = |len: usize| [&b"/".repeat(len - 12)[..], b"dir/sub/file"].concat();
    assert_eq!(root.metadata(&padded(PATH_BYTES_MAX)).unwrap().size(), 7);
    assert_eq!(error(&mount, padded(PATH_BYTES_MAX + 1)), PathError::TooLong);
    assert_eq!(error(&mount, vec![b'x'; 1 << 20]), PathError::TooLong);
}

#[test]
fn names_are_found_at_every_place_of_large_directories() {
    for block_bits in [9, 12] {
        let mut tree = Tree::new();
        for number in 0..600 {
            tree.file(format!("/many/{:03}", number * 2 + 1), Content::hole(number));
        }
        for len in 1..=255 {
            tree.file([&b"/lengths/"[..], &vec![b'l'; len]].concat(), Content::hole(len as u64));
        }
        let mount = mount::tree(&tree, &Options { block_bits, ..Options::default() });
        let root = &mount.guest.root;
        for number in 0..600 {
            let size = |name: u64| root.metadata(format!("/many/{name:03}").as_bytes());
            assert_eq!(size(number * 2 + 1).unwrap().size(), number);
            assert_eq!(size(number * 2).unwrap_err(), Error::Path(PathError::NotFound));
        }
        for len in 1..=255 {
            let path = [&b"/lengths/"[..], &vec![b'l'; len]].concat();
            assert_eq!(root.metadata(&path).unwrap().size(), len as u64);
        }
    }
}
