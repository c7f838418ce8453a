//! Any bytes as an image: mounted, walked and read.
//!
//! Always: every call ends in bounded work; two reads of one byte agree.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use rootlet::Error;
use rootlet::blob::{Image, SourceName};
use rootlet::cache::NoRegion;
use rootlet::erofs::{FileKind, Inode, Unsupported};
use rootlet::read::{Root, XATTR_BYTES_MAX};

use crate::memory::{Asked, Device, Devices};

/// Inodes that are looked at.
const INODES_MAX: usize = 40;
/// Entries of a directory that are listed.
const ENTRIES_MAX: usize = 200;
/// Bytes of one read.
const READ_BYTES: usize = 64 << 10;
/// The most bytes that a call reads, beside the bytes that it decodes: some paths and names by binary
/// search, or a long map, and one pcluster that then turns out to be wrong.
const CALL_BYTES: u64 = 6 << 20;
/// Bytes read for one pcluster that decodes, or for one batch of them.
const DECODE_BYTES: u64 = 3 << 20;

/// A mounted image, and the bytes that its devices were asked for.
pub struct Mount {
    pub root: Root<Devices, NoRegion>,
    asked: Rc<Asked>,
    calls: u64,
}

/// The target: the bytes are an image without blobs.
pub fn run(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    let mut image = Device::new(Arc::new(bytes));
    image.fix_checksum();
    let Some(mut mount) = Mount::new(vec![image]) else { return };
    let mut ahead = vec![mount.root.metadata(b"/").unwrap()];
    let mut seen = 0;
    while let Some(inode) = ahead.pop() {
        seen += 1;
        if seen > INODES_MAX {
            break;
        }
        mount.look(&inode, &mut ahead);
    }
    mount.check_work();
}

impl Mount {
    /// Mounts the first device with the others as blobs; `None` if that fails.
    pub fn new(devices: Vec<Device>) -> Option<Self> {
        let asked = Rc::new(Asked::default());
        let blobs = devices.len() as u16;
        let mut storage = Devices { devices, asked: asked.clone() };
        let image = Image::read(&storage, rootlet::storage::DeviceId(0)).ok()?;
        let names: Vec<String> = (1..blobs).map(|number| format!("blob{number}")).collect();
        let sources: Vec<_> =
            (1..).zip(&names).map(|(slot, name)| (slot, SourceName::Disk(name.as_str()))).collect();
        let known = sources.len().min(usize::from(image.devices().len()));
        let parts = image.bind(&mut storage, &sources[..known]).ok()?;
        let root = Root::new(storage, NoRegion, &image, &parts).ok()?;
        Some(Self { root, asked, calls: 2 })
    }

    /// Looks at everything that an inode has; adds what a directory names to `ahead`.
    pub fn look(&mut self, inode: &Inode, ahead: &mut Vec<Inode>) {
        self.xattrs(inode);
        match inode.kind() {
            FileKind::Regular => self.read(inode),
            FileKind::Symlink => {
                let mut target = [0; 4096];
                let _ = self.root.read_link_inode(inode, &mut target);
                self.calls += 1;
            }
            FileKind::Directory => self.list(inode, ahead),
            _ => {}
        }
    }

    fn xattrs(&mut self, inode: &Inode) {
        let mut buffer = vec![0; XATTR_BYTES_MAX];
        let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let listed = self.root.xattrs(inode, &mut buffer, |name, value| {
            found.push((name.parts().concat(), value.to_vec()));
            Ok(())
        });
        self.calls += 1 + found.len() as u64;
        for (name, _) in &found[..found.len().min(8)] {
            self.calls += 4;
            let got = self.root.xattr(inode, name, &mut buffer);
            if let (Ok(()), Ok(Some(value))) = (&listed, got) {
                let known = found.iter().any(|(other, known)| other == name && known == value);
                assert!(known, "a value that the list does not have");
            }
        }
        let _ = self.root.xattr(inode, b"user.no such name", &mut buffer);
        self.calls += 4;
    }

    fn read(&mut self, inode: &Inode) {
        // It looks at the names of the xattrs.
        self.calls += 4;
        let file = match self.root.open_inode(*inode) {
            Ok(file) => file,
            Err(
                Error::Corrupt(_)
                | Error::Unsupported(Unsupported::Elsewhere { .. } | Unsupported::Rafs { .. }),
            ) => return,
            Err(error) => panic!("{error}"),
        };
        let mut whole = vec![0xcc; READ_BYTES];
        let middle = inode.size() / 2;
        let behind = inode.size().saturating_sub(READ_BYTES as u64);
        // The file, its ends, or what there is of them.
        for at in BTreeSet::from([0, middle, behind]) {
            self.calls += 1;
            let _ = self.root.source_of(inode, at);
            let Ok(len) = file.read_at(at, &mut whole) else { continue };
            assert_eq!(len as u64, (inode.size() - at).min(READ_BYTES as u64));
            // Parts of what could be read can be read, and are the same.
            for (skip, want) in [(0, 100), (len / 3, 5000), (len / 2, 1), (4095, 4098)] {
                self.calls += 1;
                let want = want.min(len.saturating_sub(skip));
                let mut part = vec![0x33; want];
                let got = file.read_at(at + skip as u64, &mut part);
                // Wherever a read begins, and whatever was read before; a map that contradicts
                // itself may be noticed by one read alone.
                let same =
                    matches!(got, Ok(got) if got == want) && part == whole[skip..skip + want];
                let told = same || is_corrupt(&got);
                assert!(told, "{want} bytes at {at}+{skip}: {got:?}, or other bytes");
            }
        }
    }

    fn list(&mut self, inode: &Inode, ahead: &mut Vec<Inode>) {
        let mut cursor = self.root.read_dir_inode(*inode).unwrap();
        let mut last = Vec::new();
        for number in 0..ENTRIES_MAX {
            self.calls += 2;
            let Ok(Some(entry)) = cursor.next(&self.root) else { break };
            let bad = entry.name.iter().any(|byte| [b'/', 0].contains(byte));
            assert!(!bad && !entry.name.is_empty(), "a name that no path can hold");
            assert!(number == 0 || *entry.name > *last, "out of order");
            last = entry.name.to_vec();
            if let Ok(inode) = self.root.inode(entry.nid) {
                ahead.push(inode);
            }
        }
    }

    /// Walks a path.
    pub fn walk(&mut self, path: &[u8]) {
        let _ = self.root.metadata(path);
        let _ = self.root.symlink_metadata(path);
        // Each name is a binary search.
        self.calls += 2 + 2 * path.len() as u64;
    }

    /// All of it cost no more than it may.
    pub fn check_work(&self) {
        let (stats, calls) = (self.root.stats(), self.calls);
        let bytes = self.asked.bytes.get();
        let most = calls * CALL_BYTES + stats.decodes * DECODE_BYTES;
        assert!(bytes <= most, "{bytes} bytes read in {calls} calls: {stats:?}");
        let transfers = self.asked.transfers.get();
        let most = (calls + stats.decodes) * 2000;
        assert!(transfers <= most, "{transfers} transfers in {calls} calls: {stats:?}");
    }
}

fn is_corrupt(got: &Result<usize, Error>) -> bool {
    matches!(got, Err(Error::Corrupt(_)))
}
