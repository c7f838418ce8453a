//! Which kind of kernel a file is.
//!
//! Always: the first [`HEAD_BYTES`] decide, and the machine's architecture.

use core::fmt;

use crate::bytes::array;
use crate::bzimage::BzImage;
use crate::error::Refused;
use crate::gzip;
use crate::image::Image;
use crate::zboot::Zboot;

/// How many bytes of a file decide what it is.
pub const HEAD_BYTES: usize = 4096;

const ELF: &[u8] = b"\x7fELF";

/// An architecture of machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// x86 in 64 bits.
    X86_64,
    /// Arm in 64 bits.
    Aarch64,
    /// RISC-V in 64 bits.
    Riscv64,
}

impl Arch {
    /// Returns the forms of kernels that this architecture starts, for messages.
    pub(crate) const fn wanted(self) -> &'static str {
        match self {
            Self::X86_64 => "a bzImage has \"HdrS\" at byte 0x202",
            Self::Aarch64 => "an Image has \"ARM\\x64\" at byte 56, plain, gzip or EFI zboot",
            Self::Riscv64 => "an Image has \"RSC\\x05\" at byte 56, plain, gzip or EFI zboot",
        }
    }

    /// Returns the name, as boot entries have it (UAPI.1, `architecture`).
    pub const fn entry_name(self) -> &'static str {
        match self {
            Self::X86_64 => "x64",
            Self::Aarch64 => "aa64",
            Self::Riscv64 => "riscv64",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
            Self::Riscv64 => "riscv64",
        })
    }
}

/// A kernel, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// A bzImage.
    BzImage(BzImage),
    /// An Image.
    Image(Image),
    /// An Image, packed by gzip.
    Gzip,
    /// An Image, packed in a program for EFI.
    Zboot(Zboot),
}

impl Kernel {
    /// Returns the kernel whose file begins with `head`: all of it, or [`HEAD_BYTES`].
    ///
    /// # Errors
    /// [`Refused`].
    pub fn of(arch: Arch, head: &[u8]) -> Result<Self, Refused> {
        if BzImage::is_one(head) {
            return match arch {
                Arch::X86_64 => BzImage::parse(head).map(Self::BzImage),
                _ => Err(Refused::Other { arch, of: Arch::X86_64 }),
            };
        }
        if let Some(of) = Image::arch(head) {
            if of != arch {
                return Err(Refused::Other { arch, of });
            }
            return Image::parse(head).map(Self::Image);
        }
        if arch != Arch::X86_64 {
            if gzip::is_one(head) {
                return Ok(Self::Gzip);
            }
            if Zboot::is_one(head) {
                return Zboot::parse(head).map(Self::Zboot);
            }
        }
        if head.starts_with(ELF) {
            return Err(Refused::Elf);
        }
        Err(Refused::NoKernel { arch, first: array(head, 0).map_or([0; 4], |first| first) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn file_that_is_no_kernel_is_named_with_its_first_bytes() {
        let said = |arch, head: &[u8]| Kernel::of(arch, head).map_err(|error| error.to_string());
        assert_eq!(
            said(Arch::X86_64, b"#!/bin/sh"),
            Err(
                "no kernel for x86_64: it begins with 23 21 2f 62; a bzImage has \"HdrS\" at byte \
                 0x202"
                    .into()
            )
        );
        assert!(said(Arch::Aarch64, b"").is_err_and(|said| said.contains("00 00 00 00")));
        let elf = said(Arch::X86_64, b"\x7fELF and more");
        assert!(elf.is_err_and(|said| said.starts_with("an ELF, which is not started")));
    }

    #[test]
    fn kernel_of_another_architecture_is_named() {
        let mut head = [0; 64];
        head[56..60].copy_from_slice(b"RSC\x05");
        let error = Kernel::of(Arch::Aarch64, &head).err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some("a kernel for riscv64, and this machine is aarch64"));
    }
}
