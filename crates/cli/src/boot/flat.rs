//! The flat image in an ELF: its segments one after the other, in the form that loaders of Linux
//! images take.
//!
//! Always: the first byte is that of the lowest segment, where the image's header is.

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSegment};

/// The longest image that is believed.
const BYTES_MAX: u64 = 64 << 20;
/// Offset and bytes of the magic of each architecture, and its name in Rust (Linux
/// Documentation/arch/arm64/booting.rst, Documentation/arch/riscv/boot-image-header.rst).
const MAGICS: [(usize, &[u8], &str); 2] =
    [(56, b"ARM\x64", "aarch64"), (48, b"RISCV\0\0\0", "riscv64")];

/// Returns the architecture of a flat image, as Rust names it; `None` if the bytes are not one.
pub fn arch(image: &[u8]) -> Option<&'static str> {
    let has = |(at, magic, _): &&(usize, &[u8], &str)| {
        image.get(*at..at + magic.len()).is_some_and(|found| found == *magic)
    };
    MAGICS.iter().find(has).map(|(_, _, arch)| *arch)
}

/// Makes the flat image of `elf`; `None` if it does not begin with the header of a Linux image.
///
/// # Errors
/// The bytes are not an ELF, or the image is too large.
pub fn image(elf: &[u8]) -> Result<Option<Vec<u8>>> {
    let file = object::File::parse(elf).context("no ELF")?;
    let loaded = || file.segments().filter(|part| part.file_range().1 > 0);
    let start = loaded().map(|part| part.address()).min().context("an ELF without segments")?;
    let mut image = Vec::new();
    for part in loaded() {
        let at = part.address().saturating_sub(start);
        let bytes = part.data().context("a segment outside of the ELF")?;
        if at > BYTES_MAX || bytes.len() as u64 > BYTES_MAX {
            bail!("a segment at {:#x} of {} bytes: too large for an image", at, bytes.len());
        }
        let end = at as usize + bytes.len();
        image.resize(image.len().max(end), 0);
        image[at as usize..end].copy_from_slice(bytes);
    }
    Ok(arch(&image).is_some().then_some(image))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program header of 64 bits: a loaded segment.
    fn program_header(offset: u64, address: u64, bytes: u64) -> [u8; 56] {
        let mut header = [0; 56];
        header[..4].copy_from_slice(&1_u32.to_le_bytes());
        for (at, value) in [(8, offset), (16, address), (24, address), (32, bytes), (40, bytes)] {
            header[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        header
    }

    /// An ELF of 64 bits with two segments, 0x100 bytes apart in memory.
    fn sample() -> Vec<u8> {
        let mut elf = vec![0; 0x120];
        elf[..16].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
        elf[0x14] = 1;
        elf[0x20] = 0x40;
        elf[0x34..0x40].copy_from_slice(&[64, 0, 56, 0, 2, 0, 64, 0, 0, 0, 0, 0]);
        elf[0x40..0x78].copy_from_slice(&program_header(0xb0, 0x8000, 0x50));
        elf[0x78..0xb0].copy_from_slice(&program_header(0x100, 0x8100, 0x20));
        elf[0xb0..0xb5].copy_from_slice(b"first");
        elf[0x100..0x106].copy_from_slice(b"second");
        elf
    }

    #[test]
    fn only_an_image_with_the_header_is_flattened() {
        let mut elf = sample();
        assert_eq!(image(&elf).unwrap(), None);
        for (at, magic, name) in MAGICS {
            elf[0xb0 + at..0xb0 + at + magic.len()].copy_from_slice(magic);
            let image = image(&elf).unwrap().unwrap();
            assert_eq!((image.len(), arch(&image)), (0x120, Some(name)));
            assert!(image.starts_with(b"first") && image[0x100..].starts_with(b"second"));
            elf[0xb0 + at..0xb0 + at + magic.len()].fill(0);
        }
    }

    #[test]
    fn what_is_no_linux_image_is_refused() {
        assert!(image(b"\x7fELF").unwrap_err().to_string().contains("no ELF"));
        assert_eq!((arch(b"\x7fELF"), arch(&[0; 4096]), arch(b"")), (None, None, None));
    }
}
