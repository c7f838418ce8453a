//! The tree that an image was built from, compared with what a reader sees of the image.

use embedded_io::{BufRead, Read, Seek, SeekFrom};
use rootlet::Error;
use rootlet::cache::Layer;
use rootlet::erofs::FileKind;
use rootlet::read::Root;
use rootlet::storage::Storage;
use rootlet_sim::Rng;
use rootlet_sim::image::{Inodes, Kind, Node, Options, Tree};

/// Compares every entry, every inode and every symlink, and a few reads of every file.
pub fn compare<S: Storage, L: Layer<S>>(
    root: &Root<S, L>,
    tree: &Tree,
    options: &Options,
    rng: &mut Rng,
) -> Result<(), Error> {
    let links = tree.link_counts();
    for (path, number) in tree.walk() {
        let node = &tree.nodes()[number];
        let shown = path.escape_ascii().to_string();
        let inode = root.symlink_metadata(&path)?;
        assert_eq!(inode.mode(), node.st_mode(), "{shown}");
        assert_eq!((inode.uid(), inode.gid()), (node.meta.uid, node.meta.gid), "{shown}");
        assert_eq!(u64::from(inode.nlink()), u64::from(links[number]), "{shown}: nlink");
        if options.inodes != Inodes::Compact {
            let mtime = (inode.mtime().seconds, inode.mtime().nanoseconds);
            assert_eq!(mtime, (node.meta.mtime_s, node.meta.mtime_ns), "{shown}: mtime");
        }
        match &node.kind {
            Kind::Dir(entries) => {
                let mut cursor = root.read_dir(&path)?;
                for (name, child) in entries {
                    let entry = cursor.next(root)?.expect("an entry for each name");
                    assert_eq!(&entry.name[..], &name[..], "{shown}");
                    let kind = root.inode(entry.nid)?.kind();
                    assert_eq!(entry.kind, Some(kind), "{shown}");
                    assert_eq!(number_of(kind), tree.nodes()[*child].file_type(), "{shown}");
                }
                assert_eq!(cursor.next(root)?, None, "{shown}");
                assert_eq!(cursor.next(root)?, None, "{shown}: at the end for ever");
            }
            Kind::Symlink(target) => {
                let mut out = [0; 4096];
                assert_eq!(root.read_link(&path, &mut out)?, &target[..], "{shown}");
            }
            Kind::File(_) => {
                for _ in 0..3 {
                    read(root, &path, node, rng)?;
                }
                stream(root, &path, node, rng)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// The number of a kind in a directory entry.
fn number_of(kind: FileKind) -> u8 {
    match kind {
        FileKind::Regular => 1,
        FileKind::Directory => 2,
        FileKind::CharDevice => 3,
        FileKind::BlockDevice => 4,
        FileKind::Fifo => 5,
        FileKind::Socket => 6,
        FileKind::Symlink => 7,
    }
}

/// A few steps of a stream over the file at `path`: bytes copied or lent, or another place.
pub fn stream<S: Storage, L: Layer<S>>(
    root: &Root<S, L>,
    path: &[u8],
    node: &Node,
    rng: &mut Rng,
) -> Result<(), Error> {
    let Kind::File(content) = &node.kind else { return Ok(()) };
    let shown = path.escape_ascii();
    let mut stream = root.stream(path)?;
    let mut position = 0;
    let to_the_end = rng.chance(500_000);
    let mut steps = if to_the_end { u64::MAX } else { 1 + rng.below(6) };
    while steps > 0 {
        steps -= 1;
        if !to_the_end && rng.chance(250_000) {
            position = rng.below(content.size() + 9000);
            assert_eq!(stream.seek(SeekFrom::Start(position))?, position, "{shown}");
        }
        let most = [9, 5000, 100_000][rng.index(3)];
        let mut out = vec![0xa5; 1 + rng.index(most)];
        let got = if rng.chance(500_000) {
            stream.read(&mut out)?
        } else {
            let lent = stream.fill_buf()?;
            let len = lent.len().min(out.len());
            out[..len].copy_from_slice(&lent[..len]);
            stream.consume(len);
            len
        };
        let mut wanted = vec![0xa5; got.max(1)];
        let expected = content.read_at(position, &mut wanted);
        assert!(got == expected || got > 0 && expected > 0, "{shown}: {got} bytes at {position}");
        assert!(out[..got] == wanted[..got], "{shown}: the {got} bytes from {position} on");
        position += got as u64;
        if got == 0 && to_the_end {
            assert!(position >= content.size(), "{shown}: ends at {position}");
            break;
        }
    }
    Ok(())
}

/// One read of any part of the file at `path`, compared with its content.
pub fn read<S: Storage, L: Layer<S>>(
    root: &Root<S, L>,
    path: &[u8],
    node: &Node,
    rng: &mut Rng,
) -> Result<(), Error> {
    let Kind::File(content) = &node.kind else { return Ok(()) };
    let (offset, len) = range(content.size(), rng);
    let mut out = vec![0xa5; len];
    let got = root.open(path)?.read_at(offset, &mut out)?;
    let mut wanted = vec![0xa5; len];
    let expected = content.read_at(offset, &mut wanted);
    let shown = path.escape_ascii();
    assert_eq!(got, expected, "{shown}: {len} bytes at {offset}");
    let differ = out.iter().zip(&wanted).position(|(out, wanted)| out != wanted);
    assert_eq!(differ, None, "{shown}: {len} bytes at {offset} differ from there on");
    Ok(())
}

/// Any range, with a liking for edges, and for what lies beyond the end.
fn range(size: u64, rng: &mut Rng) -> (u64, usize) {
    let units = [1, 512, 4096, 8192, 65_536];
    let unit = units[rng.index(units.len())];
    let aligned = rng.chance(500_000);
    let mut offset = rng.below(size + 3);
    let most = rng.below(200_000);
    let mut len = rng.below(1 + most);
    if aligned {
        (offset, len) = (offset / unit * unit, len.next_multiple_of(unit));
    }
    if rng.chance(100_000) {
        (offset, len) = (0, size + 100);
    }
    if rng.chance(20_000) {
        offset = u64::MAX - rng.below(3);
    }
    (offset, len as usize)
}
