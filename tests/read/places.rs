//! Places in a directory: a list continues where another stopped, and a name is found without a path.

use rootlet::read::DirEntry;
use rootlet::{Error, PathError};
use rootlet_sim::image::{Content, Options, Tree};

use crate::mount::{self, Mount};

const FILES: u64 = 300;

/// A directory of several blocks of 512 bytes.
fn mounted() -> Mount {
    let mut tree = Tree::new();
    for number in 0..FILES {
        tree.file(format!("/dir/{number:03}"), Content::bytes(*b"content"));
    }
    mount::tree(&tree, &Options { block_bits: 9, ..Options::default() })
}

/// The entries from a place on, each with the place after it.
fn from(mount: &Mount, place: u64) -> Result<Vec<(DirEntry, u64)>, Error> {
    let root = &mount.guest.root;
    let mut cursor = root.read_dir_at(root.metadata(b"/dir")?, place)?;
    let mut entries = Vec::new();
    while let Some(entry) = cursor.next(root)? {
        entries.push((entry, cursor.position()?));
    }
    Ok(entries)
}

#[test]
fn list_goes_on_where_another_stopped() {
    let mount = mounted();
    let all = from(&mount, 0).unwrap();
    assert_eq!(all.len() as u64, FILES);
    assert!(all.is_sorted_by(|one, other| one.1 < other.1));
    for (number, (_, place)) in all.iter().enumerate() {
        assert_eq!(from(&mount, *place).unwrap(), all[number + 1..]);
    }
}

#[test]
fn any_number_is_a_place_in_a_directory() {
    let mount = mounted();
    let (all, size) =
        (from(&mount, 0).unwrap(), mount.guest.root.metadata(b"/dir").unwrap().size());
    assert!(size > 3 * 512);
    let mut left = all.len();
    for place in (0..size + 1024).chain([u64::MAX - 511, u64::MAX]) {
        let rest = from(&mount, place).unwrap();
        assert_eq!(rest, all[all.len() - rest.len()..], "at {place}");
        assert!(rest.len() <= left, "at {place}");
        left = rest.len();
    }
    assert_eq!(left, 0);
}

#[test]
fn names_of_a_directory_are_found_without_a_path() {
    let mount = mounted();
    let root = &mount.guest.root;
    let (top, dir) = (root.metadata(b"/").unwrap(), root.metadata(b"/dir").unwrap());
    let file = root.metadata(b"/dir/007").unwrap();
    assert_eq!(root.find(&dir, b"007"), Ok(Some(file)));
    assert_eq!(root.find(&dir, b".."), Ok(Some(top)));
    assert_eq!(root.find(&dir, b"."), Ok(Some(dir)));
    for absent in [&b"7"[..], b"", b"/", b"dir/007", &[b'n'; 255]] {
        assert_eq!(root.find(&dir, absent), Ok(None));
    }
    assert_eq!(root.find(&dir, &[b'n'; 256]), Err(Error::Path(PathError::TooLong)));
    assert_eq!(root.find(&file, b"007"), Err(Error::Path(PathError::NotADirectory)));
}
