//! erofs-rs over the same image in memory, by the calls that suit it best.
//!
//! Always: files are read through its sequential reader, which keeps a decoded extent; random
//! places through its positioned one.

use std::hash::{DefaultHasher, Hasher};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;

use erofs_rs::EroFS;
use erofs_rs::backend::SliceImage;
use erofs_rs::types::Inode;

use crate::{RANDOM_BYTES, Reader};

/// A mounted image.
pub struct Other<'i>(EroFS<SliceImage<'i>>);

impl<'i> Other<'i> {
    /// Mounts it.
    pub fn mount(bytes: &'i [u8]) -> Self {
        Self(EroFS::new(SliceImage::new(bytes)).unwrap())
    }

    /// The bytes of a file, piece by piece.
    fn pieces(&self, inode: Inode, buffer: &mut [u8], mut each: impl FnMut(&[u8])) {
        let mut file = self.0.open_inode_file(inode).unwrap();
        loop {
            let got = file.read(buffer).unwrap();
            if got == 0 {
                return;
            }
            each(&buffer[..got]);
        }
    }
}

impl Reader for Other<'_> {
    fn sum(&self) -> u64 {
        let mut buffer = vec![0; 1 << 20];
        let mut sum = 0_u64;
        for entry in self.0.walk_dir("/").unwrap() {
            let entry = entry.unwrap();
            let inode = entry.inode;
            let mut hash = DefaultHasher::new();
            hash.write(entry.dir_entry.file_name());
            hash.write_u64(inode.id());
            hash.write_u32(inode.permissions().mode());
            hash.write_u32(inode.uid());
            hash.write_u32(inode.nlink());
            hash.write_u64(inode.data_size());
            if inode.is_file() {
                self.pieces(inode, &mut buffer, |bytes| hash.write(bytes));
            }
            sum = sum.wrapping_add(hash.finish());
        }
        sum
    }

    fn read_all(&self) -> u64 {
        let mut buffer = vec![0; 1 << 20];
        let mut bytes = 0;
        for entry in self.0.walk_dir("/").unwrap() {
            let inode = entry.unwrap().inode;
            if inode.is_file() {
                self.pieces(inode, &mut buffer, |piece| bytes += piece.len() as u64);
            }
        }
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
            let mut done = 0;
            while done < RANDOM_BYTES {
                let got = file.read_at(&mut buffer[done..], place + done as u64).unwrap();
                assert!(got > 0);
                done += got;
            }
            sum += u64::from(buffer[0]);
        }
        sum
    }

    fn walk(&self) -> u64 {
        self.0.walk_dir("/").unwrap().map(|entry| entry.unwrap().inode.data_size()).sum()
    }
}
