//! A user of rootlet with a heap: a region, a stream, and beside it the crate without a heap.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;

pub use embedder_bare as bare;
use rootlet::Error;
use rootlet::cache::{Cache, CacheOptions};
use rootlet::read::{MountError, Root, Stream};
use rootlet::storage::{DeviceInfo, Disk, IoErrorKind, Simple};

/// A disk in memory.
#[derive(Clone, Debug)]
pub struct Ram(pub Vec<u8>);

impl Disk for Ram {
    fn info(&self) -> DeviceInfo {
        DeviceInfo::new(self.0.len() as u64, 512)
    }

    fn read(&mut self, at: u64, out: &mut [u8]) -> Result<usize, IoErrorKind> {
        out.copy_from_slice(&self.0[at as usize..][..out.len()]);
        Ok(out.len())
    }

    fn write(&mut self, at: u64, data: &[u8]) -> Result<usize, IoErrorKind> {
        self.0[at as usize..][..data.len()].copy_from_slice(data);
        Ok(data.len())
    }
}

/// Two disks: the image, and the region.
pub type Disks = Simple<Ram, 2>;
/// A mount over a region, or without one where it cannot be opened.
pub type Mounted = Root<Disks, Option<Cache>>;

/// Mounts `image` over the region on `region`; `boot` differs in every boot.
pub fn mount(
    image: Ram,
    region: Ram,
    boot: u8,
) -> Result<Mounted, MountError<Disks, Option<Cache>>> {
    let mut storage = Disks::with_room(|| 0);
    let image = storage.add(image).expect("there is room for two");
    let region = storage.add(region).expect("there is room for two");
    let cache = Cache::open(&mut storage, &CacheOptions::new(region, [boot; 16])).ok();
    Root::open_image(storage, cache, image)
}

/// Returns all bytes of a file, read from front to back.
pub fn stream(root: &Mounted, path: &[u8]) -> Result<Vec<u8>, Error> {
    let mut stream: Stream<'_, _, _> = root.stream(path)?;
    let mut all = Vec::new();
    loop {
        let bytes = stream.lend()?;
        let len = bytes.len();
        all.extend_from_slice(bytes);
        if len == 0 {
            return Ok(all);
        }
        stream.advance(len);
    }
}

/// Unmounts, and returns the region's disk and the bytes that were fetched.
pub fn leave(root: Mounted) -> (Ram, u64) {
    root.leave(core::time::Duration::from_secs(1));
    let fetched = root.stats().fetched_bytes;
    let (storage, _) = root.into_parts();
    let disk = |(device, _)| storage.with(device, |disk: &mut Ram| disk.clone());
    (storage.iter().last().and_then(disk).expect("two disks"), fetched)
}
