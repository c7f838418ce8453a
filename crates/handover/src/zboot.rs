//! A kernel that is packed in a program for EFI, as distributions ship it for aarch64 and riscv64.
//!
//! Always: the packed kernel lies in the file as it was parsed, or it is refused.
//!
//! Source: Linux drivers/firmware/efi/libstub/zboot-header.S.

use crate::bytes::{array, le32};
use crate::error::Refused;

mod at {
    pub const MAGIC: usize = 4;
    pub const PAYLOAD: usize = 8;
    pub const PAYLOAD_BYTES: usize = 12;
    pub const PACKER: usize = 24;
}

const DOS: &[u8] = b"MZ";
const MAGIC: &[u8] = b"zimg";
const GZIP: [u8; 8] = *b"gzip\0\0\0\0";

/// A packed kernel in a program for EFI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zboot {
    /// Where the packed kernel begins in the file.
    pub start: u32,
    /// The bytes of the packed kernel.
    pub bytes: u32,
}

impl Zboot {
    /// Returns whether a file that begins so is one.
    pub(crate) fn is_one(head: &[u8]) -> bool {
        head.starts_with(DOS) && head.get(at::MAGIC..).is_some_and(|head| head.starts_with(MAGIC))
    }

    /// Parses the header.
    pub(crate) fn parse(head: &[u8]) -> Result<Self, Refused> {
        let short = || Refused::Short("its header");
        let packer: [u8; 8] = array(head, at::PACKER).ok_or_else(short)?;
        if packer != GZIP {
            return Err(Refused::Packed(packer));
        }
        Ok(Self {
            start: le32(head, at::PAYLOAD).ok_or_else(short)?,
            bytes: le32(head, at::PAYLOAD_BYTES).ok_or_else(short)?,
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;
    use crate::bytes::put;
    use std::string::ToString;

    fn head(packer: &[u8]) -> [u8; 64] {
        let mut head = [0; 64];
        put(&mut head, 0, b"MZ\0\0zimg").unwrap();
        put(&mut head, 8, &0x1_0000_u32.to_le_bytes()).unwrap();
        put(&mut head, 12, &0x123_u32.to_le_bytes()).unwrap();
        put(&mut head, 24, packer).unwrap();
        head
    }

    #[test]
    fn packed_kernel_is_found_and_another_packer_is_named() {
        assert!(Zboot::is_one(&head(b"gzip")));
        let found = Zboot::parse(&head(b"gzip")).unwrap();
        assert_eq!(found, Zboot { start: 0x1_0000, bytes: 0x123 });
        let said = Zboot::parse(&head(b"zstd22")).unwrap_err().to_string();
        assert!(said.starts_with("packed with zstd22, which is not unpacked here"), "{said}");
    }
}
