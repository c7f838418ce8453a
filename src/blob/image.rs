//! The head of an image: its superblock and device table, read from its device.
//!
//! Always: these bytes are never cached, because they decide which cache entries are the image's.

use super::domain::Domain;
use super::fit::fit;
use crate::cache::signature::{self, Signature};
use crate::erofs::{Corrupt, Devices, Superblock, Unsupported};
#[cfg(not(feature = "alloc"))]
use crate::erofs::{DEVICES_MAX, DeviceSlot};
use crate::error::Error;
use crate::num::{OrBug, clip, index, wide};
use crate::origin::fresh;
use crate::storage::{DeviceId, DeviceInfo, IoError, IoErrorKind, Storage, Transfer};
#[cfg(feature = "alloc")]
use twox_hash::XxHash3_64;

/// The bytes that are read first: enough for images with blocks of at most 4 KiB.
const FIRST_BYTES: usize = 4096;

/// The bytes of a large superblock or of a device table, read in whole blocks of 4 KiB.
#[cfg(feature = "alloc")]
type Bytes = alloc::vec::Vec<u8>;
#[cfg(not(feature = "alloc"))]
type Bytes = heapless::Vec<u8, { DEVICES_MAX * DeviceSlot::BYTES + 2 * FIRST_BYTES }>;

/// The head of an image.
///
/// ```
/// use rootlet::blob::{Image, SourceName};
/// use rootlet::storage::memory::MemoryStorage;
/// # let tiny = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tiny.erofs"));
/// let mut storage = MemoryStorage::new();
/// let device = storage.add_disk("root", tiny).ok_or("too many disks")?;
/// let image = Image::read(&storage, device)?;
/// assert_eq!(image.superblock().block_size().bytes(), 4096);
/// // Slot 0 is the image itself. A slot after it is found by its tag, or by the name given here.
/// assert_eq!(image.bind(&mut storage, &[])?.len(), 1);
/// // This image has no slot 1.
/// assert!(image.bind(&mut storage, &[(1, SourceName::Disk("root"))]).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Image {
    /// The primary device.
    device: DeviceId,
    /// The superblock.
    superblock: Superblock,
    /// The device table.
    devices: Devices,
    /// The length of the primary device in bytes.
    bytes: u64,
    /// The bytes that were read to learn all this.
    read_bytes: u64,
    /// The images that this image shares its blobs with in a region; none unless the caller sets a
    /// domain.
    domain: Domain,
    /// The bytes that the identity digests: those under the superblock's checksum, and the table.
    #[cfg_attr(not(feature = "alloc"), expect(dead_code, reason = "there is no region"))]
    head: Head,
}

impl Image {
    /// Reads the head of the image on `device`.
    // Not inlined: so it writes its result in the caller's place, without a copy.
    #[inline(never)]
    pub fn read<S: Storage>(storage: &S, device: DeviceId) -> Result<Self, Error> {
        let gone = IoError::new(device, 0, 0, IoErrorKind::Gone);
        let info = fit(storage, 0, device)?.ok_or(gone)?;
        let bytes = info.bytes;
        let mut reader = Reader { storage, device, info, read_bytes: 0 };
        let mut head = Head::new();
        let mut first = [0; FIRST_BYTES];
        let got = reader.read(0, &mut first)?;
        let first = first.get(..got).or_bug()?;
        let need = match Superblock::peek(first) {
            Ok(need) => need,
            Err(error) => return Err(reader.foreign(first).map_or(error.into(), Error::from)),
        };
        let large;
        let first = match first.get(..need) {
            Some(checked) => {
                head.keep(checked);
                // All that was read: the settings of the compression may pass a short block's end.
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
        let devices = match superblock.device_table_at() {
            None => table_of(superblock, &[], &mut head),
            Some(span) => {
                let (at, len) = (usize::try_from(span.at).ok(), usize::try_from(span.len).ok());
                let (at, len) = (at.or_bug()?, len.or_bug()?);
                // Mostly the table lies right after the superblock.
                match first.get(at..).and_then(|rest| rest.get(..len)) {
                    Some(table) => table_of(superblock, table, &mut head),
                    None => reader.far_table(superblock, (span.at, len), &mut head),
                }
            }
        };
        // A match, so that the table is moved once.
        match devices {
            Ok(devices) => Ok(Self {
                device,
                superblock: superblock.with_origin(fresh()?),
                devices,
                bytes,
                read_bytes: reader.read_bytes,
                domain: Domain::default(),
                head,
            }),
            Err(error) => Err(error),
        }
    }

    /// Returns the digest of the bytes under the superblock's checksum and of the device table.
    #[cfg(feature = "alloc")]
    pub fn digest(&self) -> u64 {
        self.head.digest()
    }

    /// Returns the primary device.
    pub const fn device(&self) -> DeviceId {
        self.device
    }

    /// Returns the superblock.
    pub const fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// Returns the device table.
    pub const fn devices(&self) -> &Devices {
        &self.devices
    }

    /// Returns the length of the primary device in bytes.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the bytes that were read to learn all this.
    pub const fn read_bytes(&self) -> u64 {
        self.read_bytes
    }

    /// Returns the images that this image shares its blobs with in a region; none unless the caller
    /// has set a domain.
    pub const fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Sets the images that this image shares its blobs with in a region.
    pub fn set_domain(&mut self, domain: Domain) {
        self.domain = domain;
    }
}

/// Returns the slots of a device table, which `head` keeps.
fn table_of(superblock: &Superblock, table: &[u8], head: &mut Head) -> Result<Devices, Error> {
    head.keep(table);
    Ok(Devices::from_bytes(superblock, table)?)
}

struct Reader<'s, S> {
    storage: &'s S,
    device: DeviceId,
    info: DeviceInfo,
    read_bytes: u64,
}

impl<S: Storage> Reader<'_, S> {
    /// Reads the bytes at byte `at`, a multiple of 4096, into `out`. Returns the number of bytes
    /// read: less than `out.len()` at the end of the device.
    fn read(&mut self, at: u64, out: &mut [u8]) -> Result<usize, Error> {
        let Some(left) = self.info.bytes.checked_sub(at) else { return Ok(0) };
        let len = clip(left, out.len());
        let place = out.get_mut(..len).or_bug()?;
        if place.is_empty() {
            return Ok(0);
        }
        let mut batch = [Transfer::read(self.device, at, place)];
        self.storage.run(&mut batch, &mut |_, _| {});
        for transfer in &batch {
            transfer.outcome()?;
        }
        self.read_bytes = self.read_bytes.checked_add(wide(len)).or_bug()?;
        Ok(len)
    }

    /// Returns the error that names the format of a device without an EROFS superblock, if a
    /// signature tells it; `first` is the first block.
    #[cfg(feature = "alloc")]
    #[cold]
    #[inline(never)]
    fn foreign(&mut self, first: &[u8]) -> Option<Unsupported> {
        if first.starts_with(&signature::REGION_MAGIC) {
            return as_error(&signature::REGION);
        }
        let mut best = Signature::find(first, 0);
        let mut block = [0; FIRST_BYTES];
        for at in Signature::blocks() {
            // A block that cannot be read has no signature.
            let Ok(got) = self.read(wide(at), &mut block) else { continue };
            let found = block.get(..got).and_then(|block| Signature::find(block, at));
            best = match (best, found) {
                (Some(best), Some(found)) if best.0 < found.0 => Some(best),
                (best, found) => found.or(best),
            };
        }
        best.and_then(|(_, sign)| as_error(sign))
    }

    /// Returns `None`: without `alloc` no format is named, because the signatures and the advice
    /// take 6 KiB of flash.
    #[cfg(not(feature = "alloc"))]
    fn foreign(&mut self, _: &[u8]) -> Option<Unsupported> {
        None
    }

    /// Returns the slots of the device table of `len` bytes at byte `at`.
    // Not inlined: without `alloc` the table lies on the stack.
    #[inline(never)]
    fn far_table(
        &mut self,
        superblock: &Superblock,
        (at, len): (u64, usize),
        head: &mut Head,
    ) -> Result<Devices, Error> {
        let mut table = Bytes::new();
        let table = self.span(at, len, &mut table)?;
        let says = at.checked_add(wide(len)).or_bug()?;
        let truncated = Corrupt::ImageTruncated { says, has: self.info.bytes };
        table_of(superblock, table.get(..len).ok_or(truncated)?, head)
    }

    /// Reads the blocks of the `len` bytes at byte `at`, any byte, into `bytes`, and returns the
    /// `len` bytes; fewer at the end of the device.
    fn span<'b>(&mut self, at: u64, len: usize, bytes: &'b mut Bytes) -> Result<&'b [u8], Error> {
        let skip = clip(at & 4095, FIRST_BYTES);
        let end = skip.checked_add(len).or_bug()?;
        zero(bytes, end.checked_next_multiple_of(FIRST_BYTES).or_bug()?)?;
        let piece = index(self.info.transfer_bytes_max) & !4095;
        let mut next = at & !4095;
        let mut got = 0_usize;
        for piece in bytes.chunks_mut(piece.max(FIRST_BYTES)) {
            let here = self.read(next, piece)?;
            got = got.checked_add(here).or_bug()?;
            next = next.checked_add(wide(here)).or_bug()?;
        }
        let end = end.min(got);
        Ok(bytes.get(skip.min(end)..end).or_bug()?)
    }

    /// Returns the first `need` bytes of the device, or fewer if it is shorter: for a superblock in
    /// a block larger than the bytes read first.
    #[cfg(feature = "alloc")]
    fn large_superblock(&mut self, need: usize) -> Result<Bytes, Error> {
        let mut bytes = Bytes::new();
        let got = self.span(0, need, &mut bytes)?.len();
        bytes.truncate(got);
        Ok(bytes)
    }

    /// Refuses the image: without `alloc` there is no buffer for blocks over 4 KiB.
    #[cfg(not(feature = "alloc"))]
    fn large_superblock(&mut self, need: usize) -> Result<[u8; 0], Error> {
        Err(Error::Unsupported(Unsupported::LargeBlocks { bytes: wide(need) }))
    }
}

/// Returns the error that names the format of a file that is not an image, if a signature in `head`
/// tells it. `head` is the start of the file: signatures lie in the first 128 KiB.
pub fn foreign(head: &[u8]) -> Option<Unsupported> {
    if head.starts_with(&signature::REGION_MAGIC) {
        return as_error(&signature::REGION);
    }
    Signature::find(head, 0).and_then(|(_, sign)| as_error(sign))
}

/// Returns the error for another format; `None` for EROFS.
fn as_error(sign: &Signature) -> Option<Unsupported> {
    let Signature { name, next, .. } = *sign;
    (!next.is_empty()).then_some(Unsupported::Foreign { name, next })
}

/// Makes `bytes` be `len` zeros.
fn zero(bytes: &mut Bytes, len: usize) -> Result<(), Unsupported> {
    #[cfg(feature = "alloc")]
    let room = bytes.try_reserve_exact(len).map(|()| bytes.resize(len, 0));
    #[cfg(not(feature = "alloc"))]
    let room = bytes.resize(len, 0);
    room.map_err(|_| Unsupported::HeadMemory(len))
}

/// Bytes to digest if a region is used. The digest is computed late: without a region it is wasted,
/// and an emulator spends most of its time on translating the code of the digest.
#[cfg(feature = "alloc")]
#[derive(Clone, Debug)]
struct Head {
    bytes: alloc::vec::Vec<u8>,
    /// The start of the last piece in `bytes`.
    last: usize,
}

#[cfg(feature = "alloc")]
impl Head {
    fn new() -> Self {
        Self { bytes: alloc::vec::Vec::with_capacity(2 * FIRST_BYTES), last: 0 }
    }

    fn keep(&mut self, piece: &[u8]) {
        self.last = self.bytes.len();
        self.bytes.extend_from_slice(piece);
    }

    fn digest(&self) -> u64 {
        let (first, last) = self.bytes.split_at(self.last);
        [first, last].into_iter().fold(0, and_digest)
    }
}

/// Nothing: without `alloc` there is no region that would ask for the digest.
#[cfg(not(feature = "alloc"))]
#[derive(Clone, Debug)]
struct Head;

#[cfg(not(feature = "alloc"))]
impl Head {
    fn new() -> Self {
        Self
    }

    fn keep(&mut self, _: &[u8]) {}
}

/// Returns the digest of earlier pieces, `before`, extended by the XXH3-64 of `piece`.
#[cfg(feature = "alloc")]
fn and_digest(before: u64, piece: &[u8]) -> u64 {
    before.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(XxHash3_64::oneshot(piece))
}
