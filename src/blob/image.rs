//! The head of an image: superblock and device table, read straight from its device.
//!
//! Always: these bytes are never cached, because they say which cache entries are the image's.

use super::bind::fit;
use super::identity::Domain;
use crate::erofs::{Corrupt, Devices, Superblock};
use crate::error::Error;
use crate::storage::{DeviceId, IoError, IoErrorKind, Storage, Transfer};
use twox_hash::XxHash3_64;

/// Bytes read first; enough for images with blocks of up to 4 KiB.
const FIRST_BYTES: usize = 4096;
/// The device table is read in pieces of this many slots.
const TABLE_BYTES: usize = crate::erofs::DEVICES_MAX * crate::erofs::DeviceSlot::BYTES;

/// What an image says about itself.
#[derive(Clone, Debug)]
pub struct Image {
    /// The primary device.
    pub device: DeviceId,
    /// The superblock.
    pub superblock: Superblock,
    /// The device table.
    pub devices: Devices,
    /// Length of the primary device in bytes.
    pub bytes: u64,
    /// Bytes that were read to learn this.
    pub read_bytes: u64,
    /// The images that it shares its blobs with in a region; none, unless whoever mounts it says
    /// otherwise.
    pub domain: Domain,
    /// What was read of it: what the superblock's checksum is of, and the device table.
    head: Head,
}

impl Image {
    /// Reads the head of the image on `device`.
    // Not inlined: it writes its result where the caller wants it.
    #[inline(never)]
    pub fn read<S: Storage>(storage: &mut S, device: DeviceId) -> Result<Self, Error> {
        let gone = IoError { device, at: 0, len: 0, kind: IoErrorKind::Gone };
        let bytes = fit(storage, 0, device)?.ok_or(gone)?.bytes;
        let mut reader = Reader { storage, device, bytes, read_bytes: 0 };
        let mut head = Head::with_capacity(FIRST_BYTES.saturating_add(TABLE_BYTES));
        let mut first = [0; FIRST_BYTES];
        let got = reader.read(0, &mut first)?;
        let need = Superblock::peek(first.get(..got).unwrap_or_default())?;
        let first = first.get(..got).unwrap_or_default();
        let large;
        let first = match first.get(..need) {
            Some(checked) => {
                head.keep(checked);
                // All that was read: compression settings may reach beyond a short block.
                first
            }
            None => {
                large = reader.large_superblock(need)?;
                head.keep(&large);
                &large
            }
        };
        let parsed = Superblock::from_bytes(first);
        let superblock = match &parsed {
            Ok(superblock) => superblock,
            Err(error) => return Err((*error).into()),
        };
        let mut table;
        let mut devices: &[u8] = &[];
        if let Some(span) = superblock.device_table_at() {
            let at = usize::try_from(span.at).unwrap_or(usize::MAX);
            let len = usize::try_from(span.len).unwrap_or(usize::MAX);
            // Mostly right behind the superblock.
            devices = match first.get(at..at.saturating_add(len)) {
                Some(devices) => devices,
                None => {
                    table = [0; TABLE_BYTES];
                    let place = table.get_mut(..len).unwrap_or_default();
                    reader.read_exact(span.at, place)?;
                    place
                }
            };
        }
        head.keep(devices);
        // Matched, so that it is moved once.
        match Devices::from_bytes(superblock, devices) {
            Ok(devices) => Ok(Self {
                device,
                superblock: *superblock,
                devices,
                bytes,
                read_bytes: reader.read_bytes,
                domain: Domain::default(),
                head,
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// Digest of what the superblock's checksum is of, and of the device table.
    pub fn digest(&self) -> u64 {
        self.head.digest()
    }
}

struct Reader<'s, S> {
    storage: &'s mut S,
    device: DeviceId,
    bytes: u64,
    read_bytes: u64,
}

impl<S: Storage> Reader<'_, S> {
    /// Reads at most `out.len()` bytes at byte `at`, which is a multiple of 4096; returns how many
    /// the device has.
    fn read(&mut self, at: u64, out: &mut [u8]) -> Result<usize, Error> {
        let left = usize::try_from(self.bytes.saturating_sub(at)).unwrap_or(usize::MAX);
        let len = left.min(out.len());
        let (place, _) = out.split_at_mut_checked(len).unwrap_or_default();
        if place.is_empty() {
            return Ok(0);
        }
        let mut batch = [Transfer::read(self.device, at, place)];
        self.storage.run(&mut batch, &mut |_, _| {});
        for transfer in &batch {
            transfer.outcome()?;
        }
        self.read_bytes = self.read_bytes.saturating_add(u64::try_from(len).unwrap_or(0));
        Ok(len)
    }

    /// Reads `out.len()` bytes at any byte.
    fn read_exact(&mut self, at: u64, out: &mut [u8]) -> Result<(), Error> {
        let mut block = [0; FIRST_BYTES];
        let mut at = at;
        let mut rest = out;
        while !rest.is_empty() {
            let start = at & !4095;
            let skip = usize::try_from(at & 4095).unwrap_or(0);
            let got = self.read(start, &mut block)?;
            let found = block.get(skip..got).unwrap_or_default();
            let len = found.len().min(rest.len());
            if len == 0 {
                return Err(Error::Corrupt(Corrupt::ImageTruncated {
                    says: at.saturating_add(1),
                    has: self.bytes,
                }));
            }
            let (front, behind) =
                core::mem::take(&mut rest).split_at_mut_checked(len).unwrap_or_default();
            front.copy_from_slice(found.get(..len).unwrap_or_default());
            at = at.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
            rest = behind;
        }
        Ok(())
    }

    /// Reads `need` bytes, or as many as there are, for a superblock with a larger block than what
    /// was read first.
    #[cfg(feature = "alloc")]
    fn large_superblock(&mut self, need: usize) -> Result<alloc::vec::Vec<u8>, Error> {
        let mut head = alloc::vec![0; need.next_multiple_of(FIRST_BYTES)];
        let mut got: usize = 0;
        // Piece by piece: blocks of 64 KiB are more than some devices transfer at once.
        for piece in head.chunks_exact_mut(FIRST_BYTES) {
            got = got.saturating_add(self.read(u64::try_from(got).unwrap_or(u64::MAX), piece)?);
        }
        head.truncate(need.min(got));
        Ok(head)
    }

    /// Without `alloc` blocks have at most 4 KiB, because larger ones find no buffer.
    #[cfg(not(feature = "alloc"))]
    fn large_superblock(&mut self, need: usize) -> Result<[u8; 0], Error> {
        let bytes = u64::try_from(need).unwrap_or(u64::MAX);
        Err(Error::Unsupported(crate::erofs::Unsupported::LargeBlocks { bytes }))
    }
}

/// Pieces of which a digest may be wanted: only a region asks, and most of what an emulator spends
/// on the digest is its code.
#[cfg(feature = "alloc")]
#[derive(Clone, Debug)]
struct Head {
    bytes: alloc::vec::Vec<u8>,
    /// Where the last piece begins.
    last: usize,
}

#[cfg(feature = "alloc")]
impl Head {
    fn with_capacity(bytes: usize) -> Self {
        Self { bytes: alloc::vec::Vec::with_capacity(bytes), last: 0 }
    }

    fn keep(&mut self, piece: &[u8]) {
        self.last = self.bytes.len();
        self.bytes.extend_from_slice(piece);
    }

    fn digest(&self) -> u64 {
        let (first, last) = self.bytes.split_at_checked(self.last).unwrap_or_default();
        [first, last].into_iter().fold(0, and_digest)
    }
}

/// Without memory for the pieces, the digest so far.
#[cfg(not(feature = "alloc"))]
#[derive(Clone, Debug)]
struct Head(u64);

#[cfg(not(feature = "alloc"))]
impl Head {
    fn with_capacity(_: usize) -> Self {
        Self(0)
    }

    fn keep(&mut self, piece: &[u8]) {
        self.0 = and_digest(self.0, piece);
    }

    fn digest(&self) -> u64 {
        self.0
    }
}

/// The digest (XXH3-64) of one more piece.
fn and_digest(before: u64, piece: &[u8]) -> u64 {
    before.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(XxHash3_64::oneshot(piece))
}
