//! The header of a kernel for aarch64 and riscv64, which begins its Image.
//!
//! Always: the image is loaded at a multiple of 2 MiB, with its offset after that where the
//! architecture has one, and entered at its first byte.
//!
//! Sources: Linux Documentation/arch/arm64/booting.rst, Documentation/arch/riscv/boot-image-header.rst.

use crate::bytes::le64;
use crate::error::Refused;
use crate::kernel::Arch;

/// Where the fields are, the same for both architectures.
mod at {
    pub const OFFSET: usize = 8;
    pub const BYTES: usize = 16;
    pub const FLAGS: usize = 24;
    pub const MAGIC: usize = 56;
}

const ARM: &[u8] = b"ARM\x64";
const RISCV: &[u8] = b"RSC\x05";
const BIG_ENDIAN: u64 = 1;
const MIB_2: u64 = 2 << 20;
/// The most memory that a kernel is believed to ask for.
const BYTES_MAX: u64 = 1 << 30;

/// A kernel for aarch64 or riscv64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    /// The distance of the kernel from a multiple of 2 MiB.
    pub offset: u64,
    /// The memory that the kernel takes from its first byte on.
    pub bytes: u64,
}

impl Image {
    /// Bytes of the header.
    pub const HEADER_BYTES: usize = 64;

    /// Returns the architecture of a kernel that begins so; `None` for another file.
    pub(crate) fn arch(head: &[u8]) -> Option<Arch> {
        let magic = head.get(at::MAGIC..)?;
        match magic {
            _ if magic.starts_with(ARM) => Some(Arch::Aarch64),
            _ if magic.starts_with(RISCV) => Some(Arch::Riscv64),
            _ => None,
        }
    }

    /// Parses the header.
    ///
    /// # Errors
    /// [`Refused`].
    pub(crate) fn parse(head: &[u8]) -> Result<Self, Refused> {
        let field = |at| le64(head, at).ok_or(Refused::Short("its header"));
        let bytes = field(at::BYTES)?;
        if !(1..=BYTES_MAX).contains(&bytes) {
            // 0 had kernels before 3.17, which do not say how much memory they take.
            return Err(Refused::Field {
                name: "image_size",
                value: bytes,
                wanted: "at most 2^30",
            });
        }
        if field(at::FLAGS)? & BIG_ENDIAN != 0 {
            return Err(Refused::BigEndian);
        }
        let offset = match Self::arch(head) {
            Some(Arch::Aarch64) => field(at::OFFSET)?,
            // From the first byte of RAM, where nobody insists on it: the firmware is there.
            _ => 0,
        };
        if offset >= MIB_2 {
            return Err(Refused::Field {
                name: "text_offset",
                value: offset,
                wanted: "below 2^21",
            });
        }
        Ok(Self { offset, bytes })
    }

    /// Parses the header of a kernel that was packed.
    ///
    /// # Errors
    /// [`Refused`]: it is no kernel of this architecture.
    pub fn unpacked(arch: Arch, head: &[u8]) -> Result<Self, Refused> {
        match Self::arch(head) {
            Some(of) if of == arch => Self::parse(head),
            Some(of) => Err(Refused::Other { arch, of }),
            None => {
                let first = crate::bytes::array(head, 0).map_or([0; 4], |first| first);
                Err(Refused::NoKernel { arch, first })
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;
    use crate::bytes::put;
    use std::string::ToString;

    fn head(magic: &[u8], fields: [u64; 3]) -> [u8; 64] {
        let mut head = [0; 64];
        for (at, value) in [8, 16, 24].into_iter().zip(fields) {
            put(&mut head, at, &value.to_le_bytes()).unwrap();
        }
        put(&mut head, 56, magic).unwrap();
        head
    }

    #[test]
    fn both_architectures_have_the_same_header_and_one_offset_counts() {
        let arm = Image::parse(&head(ARM, [0x8_0000, 0x213_0000, 0xa])).unwrap();
        assert_eq!(arm, Image { offset: 0x8_0000, bytes: 0x213_0000 });
        let riscv = Image::parse(&head(RISCV, [0x20_0000, 0x213_0000, 0])).unwrap();
        assert_eq!(riscv, Image { offset: 0, bytes: 0x213_0000 });
    }

    #[test]
    fn header_that_nothing_can_be_done_with_is_refused_with_its_field() {
        let said = |fields| Image::parse(&head(ARM, fields)).unwrap_err().to_string();
        assert_eq!(said([0, 0, 0]), "image_size is 0x0; it may be at most 2^30");
        assert_eq!(said([1 << 21, 1, 0]), "text_offset is 0x200000; it may be below 2^21");
        assert_eq!(said([0, 1, 1]), "a kernel for a big-endian processor");
    }
}
