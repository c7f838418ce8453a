//! Stacks that nobody makes on purpose: hostile images beneath sound ones, loops, directories asked
//! for by their inodes and positions.
//!
//! Always: the right bytes or an error that names the image.

use rootlet::cache::NoRegion;
use rootlet::erofs::Nid;
use rootlet::read::{DirEntry, Root};
use rootlet::storage::Storage;
use rootlet::{Error, PathError};
use rootlet_sim::image::{Built, Content, Kind, Options, Tree, build};

use crate::made::stack;
use crate::rows;

fn built(tree: &Tree) -> Built {
    build(tree, &Options::default()).unwrap()
}

fn bytes(built: &Built) -> Vec<u8> {
    built.image.bytes().to_vec()
}

fn top() -> Tree {
    let mut tree = Tree::new();
    tree.file("/d/sound", Content::bytes(*b"sound"));
    tree
}

fn names<S: Storage>(root: &Root<S, NoRegion>, path: &[u8]) -> Vec<String> {
    let mut cursor = root.read_dir(path).unwrap();
    let mut names = Vec::new();
    while let Some(entry) = cursor.next(root).unwrap() {
        names.push(String::from_utf8(entry.name.to_vec()).unwrap());
    }
    names
}

#[test]
fn entry_of_a_hostile_image_names_no_inode_of_another() {
    let mut lower = Tree::new();
    lower.file("/d/evil", Content::bytes(*b"evil"));
    let upper = bytes(&built(&top()));
    let sound = {
        let images = [bytes(&built(&lower)), upper.clone()];
        stack(&images).unwrap().metadata(b"/d/sound").unwrap().nid()
    };
    assert_eq!(sound.layer(), 2);
    // The number of the sound file, and numbers in other places that no image has.
    for nid in [sound.0, 1 << 55, 3 << 55, 1 << 62, 1 << 54] {
        let mut hostile = built(&lower);
        let at = hostile.image.dirent_at("/d/evil");
        hostile.image.patch(at, &nid.to_le_bytes());
        let images = [bytes(&hostile), upper.clone()];
        let root = stack(&images).unwrap();
        let error = root.metadata(b"/d/evil").unwrap_err();
        assert!(matches!(error, Error::Corrupt(_)), "{error}");
        // The sound one is there all the same, and the fault is that of an entry.
        let mut out = [0; 5];
        assert_eq!(root.open(b"/d/sound").unwrap().read_at(0, &mut out), Ok(5));
        assert_eq!(&out, b"sound");
        assert!(rows::rows(&root).is_err());
    }
}

#[test]
fn directory_that_lies_in_itself_through_a_lower_image_ends_the_walk() {
    let mut lower = Tree::new();
    lower.file("/d/e/file", Content::bytes(*b"x"));
    lower.dir("/d/e/f");
    for to in ["/", "/d", "/d/e"] {
        let mut hostile = built(&lower);
        let (nid, at) = (hostile.image.nid(to), hostile.image.dirent_at("/d/e/f"));
        hostile.image.patch(at, &nid.to_le_bytes());
        let images = [bytes(&hostile), bytes(&built(&top()))];
        let error = rows::rows(&stack(&images).unwrap()).unwrap_err();
        assert!(error.contains("layer 1"), "{to}: {error}");
    }
}

#[test]
fn whiteout_with_nothing_below_hides_nothing_and_is_not_seen() {
    let mut upper = top();
    upper.add("/d/gone", Kind::CharDevice(0, 0), 0);
    let meta = upper.file("/d/gone too", Content::default());
    meta.xattrs.push(("trusted.overlay.whiteout".into(), Vec::new()));
    upper.add("/d/null", Kind::CharDevice(1, 3), 0o666);
    let images = [bytes(&built(&Tree::new())), bytes(&built(&upper))];
    let root = stack(&images).unwrap();
    assert_eq!(names(&root, b"/d"), ["null", "sound"]);
    for path in [&b"/d/gone"[..], b"/d/gone too"] {
        assert_eq!(root.metadata(path), Err(PathError::NotFound.into()));
    }
}

#[test]
fn hidden_directory_is_not_found_by_its_inode() {
    let mut lower = Tree::new();
    lower.file("/d/below", Content::bytes(*b"x"));
    let mut upper = Tree::new();
    upper.file("/d", Content::bytes(*b"a file over a directory"));
    let (lower, upper) = (built(&lower), built(&upper));
    let nid = Nid(lower.image.nid("/d")).in_layer(1).unwrap();
    let images = [bytes(&lower), bytes(&upper)];
    let root = stack(&images).unwrap();
    let hidden = root.inode(nid).unwrap();
    assert_eq!(root.read_dir_inode(hidden).unwrap_err(), PathError::NotFound.into());
    assert_eq!(root.find(&hidden, b"below"), Err(PathError::NotFound.into()));
}

#[test]
fn directories_are_found_again_by_inode_position_and_parent() {
    let mut trees = [Tree::new(), Tree::new(), Tree::new()];
    for (number, tree) in trees.iter_mut().enumerate() {
        for file in 0..200 {
            tree.file(format!("/a/b/{:03}", file * 3 + number), Content::bytes([number as u8]));
        }
    }
    trees[0].file("/a/b/c/deep", Content::bytes(*b"deep"));
    let images: Vec<_> = trees.iter().map(|tree| bytes(&built(tree))).collect();
    let first = stack(&images).unwrap();
    let (dir, deep) = (first.metadata(b"/a/b").unwrap(), first.metadata(b"/a/b/c").unwrap());
    // A mount that has seen no path yet.
    let root = stack(&images).unwrap();
    let (dir, deep) = (root.inode(dir.nid()).unwrap(), root.inode(deep.nid()).unwrap());
    let above = root.find(&deep, b"..").unwrap().unwrap();
    assert_eq!(above.nid(), dir.nid(), "the topmost part, not that of the same image");
    let again = root.find(&above, b"..").unwrap().unwrap();
    assert_eq!(again.nid(), root.metadata(b"/a").unwrap().nid());
    assert_eq!(root.find(&dir, b"c").unwrap().unwrap().nid(), deep.nid());
    let all = names(&root, b"/a/b");
    assert_eq!(all.len(), 601);
    let mut cursor = root.read_dir_inode(dir).unwrap();
    assert_eq!(cursor.position(), Ok(0));
    for name in &all {
        let position = cursor.position().unwrap();
        assert!(position < 1 << 63);
        let mut entry = DirEntry::default();
        let mut other = root.read_dir_at(dir, position).unwrap();
        other.next_inode(&root, &mut entry).unwrap();
        assert_eq!(entry.name, name.as_bytes());
        cursor.next(&root).unwrap();
    }
    let end = cursor.position().unwrap();
    assert_eq!(root.read_dir_at(dir, end).unwrap().next(&root), Ok(None));
    // Nobody gave these.
    for wrong in [1, 77, 9 << 55 | 1, u64::MAX] {
        let _ = root.read_dir_at(dir, wrong).map(|mut cursor| cursor.next(&root));
    }
}

#[test]
fn paths_go_through_symlinks_and_parents_of_the_merged_tree() {
    let (mut lower, mut upper) = (Tree::new(), Tree::new());
    lower.file("/usr/lib/one", Content::bytes(*b"1"));
    lower.symlink("/lib", "usr/lib");
    lower.symlink("/usr/lib/up", "../share/two");
    upper.file("/usr/share/two", Content::bytes(*b"2"));
    upper.symlink("/usr/share/abs", "/lib/../lib/one");
    upper.symlink("/loop", "loop");
    let images = [bytes(&built(&lower)), bytes(&built(&upper))];
    let root = stack(&images).unwrap();
    let read = |path: &[u8]| {
        let mut out = [0; 4];
        root.open(path).and_then(|file| file.read_at(0, &mut out)).map(|len| out[..len].to_vec())
    };
    for (path, want) in [
        (&b"lib/one"[..], b"1"),
        (b"//lib/./up", b"2"),
        (b"/usr/share/abs", b"1"),
        (b"/usr/share/../../../lib/one", b"1"),
        (b"/lib/../share/two", b"2"),
    ] {
        assert_eq!(read(path), Ok(want.to_vec()), "{}", path.escape_ascii());
    }
    let failed = |path: &[u8]| read(path).unwrap_err();
    assert_eq!(failed(b"/loop"), PathError::TooManySymlinks.into());
    assert_eq!(failed(b"/lib/one/"), PathError::NotADirectory.into());
    assert_eq!(failed(b"/lib/one/x"), PathError::NotADirectory.into());
    assert_eq!(failed(b"/lib/"), PathError::IsADirectory.into());
    assert_eq!(failed(b"/lib/none"), PathError::NotFound.into());
    assert_eq!(failed(&[b'x'; 300]), PathError::TooLong.into());
    assert_eq!(root.symlink_metadata(b"/lib").unwrap().nid().layer(), 1);
}
