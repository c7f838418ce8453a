//! Parts whose bytes are enciphered on their way to the device below: a region with a key.
//!
//! Always: the device below gets no byte of such a part as its user has it; each block is
//! enciphered for its place in the part. Memory is bounded: a write takes one of a few buffers that
//! were made with the part, and without a free one it waits, as before a device without room.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use rootlet_base::num::index;
use rootlet_base::units::Pow2;
use spin::mutex::SpinMutex as Mutex;

use crate::{Buffer, DeviceInfo, IoErrorKind};

/// Bytes of a block that is enciphered as a whole.
const BLOCK_BYTES: usize = 4096;
/// As [`BLOCK_BYTES`]: the sector of an enciphered part.
const SECTOR_BYTES: u32 = 4096;
/// As [`BLOCK_BYTES`].
const BLOCK: Pow2 = Pow2::of(4096).unwrap();
/// The longest transfer of an enciphered part, in bytes.
const TRANSFER_BYTES_MAX: u32 = 64 << 10;
/// Background writes of a part that can be under way at once.
const WRITES_MAX: usize = 4;

/// What the blocks of a part become on a device, and back. Made for one part with one key.
pub trait Cipher: fmt::Debug + Send + Sync {
    /// Enciphers block `number` of the part.
    fn encipher(&self, number: u64, block: &mut [u8; BLOCK_BYTES]);

    /// Deciphers block `number` of the part. Any bytes are the cipher text of some block.
    fn decipher(&self, number: u64, block: &mut [u8; BLOCK_BYTES]);
}

/// The cipher of a part, and the buffers for writes.
#[derive(Debug)]
pub(super) struct Enciphered {
    cipher: Box<dyn Cipher>,
    idle: Mutex<Vec<Buffer>>,
}

impl Enciphered {
    /// Allocates the buffers.
    pub fn new(cipher: Box<dyn Cipher>) -> Self {
        let buffer = || Buffer::new(index(TRANSFER_BYTES_MAX));
        let idle = core::iter::repeat_with(buffer).take(WRITES_MAX).collect();
        Self { cipher, idle: Mutex::new(idle) }
    }

    /// Returns the properties of a part on a device with these.
    pub fn info(device: DeviceInfo) -> DeviceInfo {
        let most = device.transfer_bytes_max.min(TRANSFER_BYTES_MAX);
        let whole = most & !SECTOR_BYTES.wrapping_sub(1);
        // A reader of blocks refuses a device that takes less than one.
        let transfer_bytes_max = if whole == 0 { most } else { whole };
        DeviceInfo { sector_bytes: SECTOR_BYTES, transfer_bytes_max, ..device }
    }

    /// Deciphers what was read from byte `at` of the part on.
    pub fn decipher(&self, at: u64, bytes: &mut [u8]) -> Result<(), IoErrorKind> {
        self.each(at, bytes, |number, block| self.cipher.decipher(number, block))
    }

    /// Enciphers what is written from byte `at` of the part on.
    pub fn encipher(&self, at: u64, bytes: &mut [u8]) -> Result<(), IoErrorKind> {
        self.each(at, bytes, |number, block| self.cipher.encipher(number, block))
    }

    /// Returns `plain`, to be written from byte `at` of the part on, enciphered in a buffer of the
    /// part's; `None` if there is none free, or it is too short.
    pub fn enciphered(&self, at: u64, plain: &[u8]) -> Option<Buffer> {
        let mut buffer = self.take()?;
        let fits = buffer.set_len(plain.len());
        if let Some(bytes) = buffer.get_mut().filter(|_| fits) {
            bytes.copy_from_slice(plain);
            if self.encipher(at, bytes).is_ok() {
                return Some(buffer);
            }
        }
        self.take_back(buffer);
        None
    }

    /// Takes a buffer on which nobody else has a handle.
    fn take(&self) -> Option<Buffer> {
        let mut idle = self.idle.lock();
        let free = idle.iter_mut().rposition(|buffer| buffer.get_mut().is_some())?;
        Some(idle.swap_remove(free))
    }

    /// Takes back a buffer of the part's.
    pub fn take_back(&self, buffer: Buffer) {
        let mut idle = self.idle.lock();
        // A device that ends a job twice has given it back before.
        if idle.len() < WRITES_MAX {
            idle.push(buffer);
        }
    }

    fn each(
        &self,
        at: u64,
        bytes: &mut [u8],
        change: impl Fn(u64, &mut [u8; BLOCK_BYTES]),
    ) -> Result<(), IoErrorKind> {
        let (blocks, rest) = bytes.as_chunks_mut();
        if !rest.is_empty() || BLOCK.offset(at) != 0 {
            return Err(IoErrorKind::Unaligned);
        }
        (BLOCK.whole(at)..).zip(blocks).for_each(|(number, block)| change(number, block));
        Ok(())
    }
}
