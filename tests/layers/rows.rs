//! The rows of a mounted stack, through the library alone.
//!
//! Always: a row for each entry, in the order of the walk, which is checked.

use rootlet::cache::NoRegion;
use rootlet::erofs::{FileKind, Inode};
use rootlet::read::{PATH_BYTES_MAX, Root, Tree, XATTR_BYTES_MAX};
use rootlet::storage::Storage;
use rootlet_rows::{Row, Rows, hex, sum, text_of};

/// Returns the rows of everything in a root.
///
/// # Errors
/// The first fault, in words.
pub fn rows<S: Storage>(root: &Root<S, NoRegion>) -> Result<Rows, String> {
    let (mut tree, mut rows) = (Tree::new(), Rows::new());
    tree.begin(root, b"/").map_err(|error| error.to_string())?;
    loop {
        let next = tree.next(root);
        let path = text_of(tree.path())[1..].to_owned();
        let failed = |error: rootlet::Error| format!("{path:?}: {error:#}");
        let Some(inode) = next.map_err(failed)? else { return Ok(rows) };
        let row = row(root, &inode).map_err(failed)?;
        // By path too, and by its name in its directory.
        assert_eq!(root.symlink_metadata(tree.path()).map_err(failed)?, inode, "{path:?}");
        let before = rows.insert(path.clone(), row);
        assert!(before.is_none(), "{path:?} comes twice");
    }
}

/// Returns the row of an inode.
pub fn row<S: Storage>(root: &Root<S, NoRegion>, inode: &Inode) -> Result<Row, rootlet::Error> {
    let mut row = Row {
        mode: inode.mode().into(),
        owner: (inode.uid(), inode.gid()),
        mtime_ns: inode.mtime().total_ns(),
        rdev: inode.rdev().map(|rdev| (rdev.major, rdev.minor)),
        ..Row::default()
    };
    match inode.kind() {
        FileKind::Regular => {
            let mut bytes = vec![0; inode.size() as usize];
            assert_eq!(root.open_inode(*inode)?.read_at(0, &mut bytes)?, bytes.len());
            row.sha256 = Some(sum(&bytes));
            (row.size, row.nlink) = (Some(inode.size()), Some(inode.nlink()));
        }
        FileKind::Symlink => {
            let mut target = [0; PATH_BYTES_MAX];
            row.target = Some(text_of(root.read_link_inode(inode, &mut target)?));
        }
        _ => {}
    }
    let mut buffer = vec![0; XATTR_BYTES_MAX];
    root.xattrs(inode, &mut buffer, |name, value| {
        let name = name.parts().concat();
        row.xattrs.insert(text_of(&name), hex(value));
        Ok(())
    })?;
    for (name, value) in &row.xattrs {
        let found = root.xattr(inode, &rootlet_rows::bytes_of(name), &mut buffer)?;
        assert_eq!(found.map(hex).as_ref(), Some(value), "{name}");
    }
    Ok(row)
}
