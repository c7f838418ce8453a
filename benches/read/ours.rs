//! rootlet over an image in memory, through its public interface.
//!
//! Always: the image is used where it lies; decoded bytes are kept within the budget of a host.

use std::hash::{DefaultHasher, Hasher};

use rootlet::Error;
use rootlet::blob::Image;
use rootlet::cache::NoRegion;
use rootlet::erofs::{FileKind, Inode};
use rootlet::read::{Budget, DirCursor, DirEntry, Root};
use rootlet::storage::memory::MemoryStorage;

use crate::{RANDOM_BYTES, Reader};

/// A mounted image.
pub struct Ours<'i>(Root<MemoryStorage<'i>, NoRegion>);

impl<'i> Ours<'i> {
    /// Mounts it, and reads a file, so that an image with data that is not read is known at once.
    pub fn mount(bytes: &'i [u8]) -> Result<Self, Error> {
        let mut storage = MemoryStorage::new();
        let device = storage.add_disk("image", bytes).unwrap();
        let image = Image::read(&storage, device)?;
        let sources = image.alone(&storage)?;
        let root = Root::with_budget(storage, NoRegion, &image, &sources, &Budget::LARGE)?;
        let ours = Self(root);
        let mut result = Ok(());
        ours.each(|inode, _| {
            if inode.kind() == FileKind::Regular && inode.size() > 0 && result.is_ok() {
                let file = ours.0.open_inode(*inode).unwrap();
                result = file.read_at(0, &mut [0]).map(|_| ());
            }
        });
        result.map(|()| ours)
    }

    /// Everything below the root, with its name.
    fn each(&self, mut visit: impl FnMut(&Inode, &[u8])) {
        let mut open: Vec<DirCursor> = vec![self.0.read_dir(b"/").unwrap()];
        let mut entry = DirEntry::default();
        while let Some(cursor) = open.last_mut() {
            let Some(inode) = cursor.next_inode(&self.0, &mut entry).unwrap() else {
                open.pop();
                continue;
            };
            visit(&inode, &entry.name);
            if inode.kind() == FileKind::Directory {
                open.push(self.0.read_dir_inode(inode).unwrap());
            }
        }
    }
}

impl Reader for Ours<'_> {
    fn sum(&self) -> u64 {
        let mut buffer = vec![0; 1 << 20];
        let mut sum = 0_u64;
        self.each(|inode, name| {
            let mut hash = DefaultHasher::new();
            hash.write(name);
            hash.write_u64(inode.nid().0);
            hash.write_u32(u32::from(inode.permissions()));
            hash.write_u32(inode.uid());
            hash.write_u32(inode.nlink());
            hash.write_u64(inode.size());
            if inode.kind() == FileKind::Regular {
                let file = self.0.open_inode(*inode).unwrap();
                let mut at = 0;
                while at < inode.size() {
                    let got = file.read_at(at, &mut buffer).unwrap();
                    hash.write(&buffer[..got]);
                    at += got as u64;
                }
            }
            sum = sum.wrapping_add(hash.finish());
        });
        sum
    }

    fn read_all(&self) -> u64 {
        let mut buffer = vec![0; 1 << 20];
        let mut bytes = 0;
        self.each(|inode, _| {
            if inode.kind() == FileKind::Regular {
                let file = self.0.open_inode(*inode).unwrap();
                let mut at = 0;
                while at < inode.size() {
                    at += file.read_at(at, &mut buffer).unwrap() as u64;
                }
                bytes += at;
            }
        });
        bytes
    }

    fn open(&self, paths: &[Vec<u8>]) -> u64 {
        paths.iter().map(|path| self.0.open(path).unwrap().size()).sum()
    }

    fn random(&self, path: &[u8], places: &[u64]) -> u64 {
        let file = self.0.open(path).unwrap();
        let mut buffer = [0; RANDOM_BYTES];
        let mut sum = 0;
        for place in places {
            assert_eq!(file.read_at(*place, &mut buffer).unwrap(), RANDOM_BYTES);
            sum += u64::from(buffer[0]);
        }
        sum
    }

    fn walk(&self) -> u64 {
        let mut sum = 0;
        self.each(|inode, _| sum += inode.size());
        sum
    }
}
