//! The flat image in an ELF: its segments one behind the other, as a loader of Linux images
//! wants it.
//!
//! Always: the first byte is that of the lowest segment, where the image's header is.

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSegment};

/// The longest image that is believed.
const BYTES_MAX: u64 = 64 << 20;
/// Offset and bytes of the magic of each architecture (Linux Documentation/arch/arm64/booting.rst,
/// Documentation/arch/riscv/boot-image-header.rst).
const MAGICS: [(usize, &[u8]); 2] = [(56, b"ARM\x64"), (48, b"RISCV\0\0\0")];

/// Makes the flat image of `elf`.
///
/// # Errors
/// It is no ELF, is too large, or does not begin with the header of a Linux image.
pub fn image(elf: &[u8]) -> Result<Vec<u8>> {
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
    let has = |(at, magic): &(usize, &[u8])| image.get(*at..at + magic.len()) == Some(magic);
    if !MAGICS.iter().any(has) {
        bail!("the ELF does not begin with the header of a Linux image");
    }
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tiny::{self, End};

    #[test]
    fn what_is_no_linux_image_is_refused() {
        assert!(image(b"\x7fELF").unwrap_err().to_string().contains("no ELF"));
        let pvh = tiny::elf(b"", b"", End::Exit(0));
        assert!(image(&pvh).unwrap_err().to_string().contains("header of a Linux image"));
    }
}
