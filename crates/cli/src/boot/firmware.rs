//! A guest's image: what is booted, and what its log is read with.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use object::{Object, ObjectSegment};

use super::flat;

/// The highest end of a segment in memory: no machine has more.
const MEMORY_END_MAX: u64 = 1 << 48;

/// A guest's image.
#[derive(Clone, Debug)]
pub struct Firmware {
    /// The ELF.
    pub elf: PathBuf,
    /// Its bytes, for the log decoder.
    pub bytes: Vec<u8>,
    /// What is booted of it: the same without symbols, which QEMU would read and sort, where there
    /// is such a file, else the ELF.
    pub kernel: PathBuf,
    memory_end: u64,
    loaded_bytes: u64,
}

impl Firmware {
    /// Reads the ELF or flat image at `elf`.
    ///
    /// # Errors
    /// Those of the host; an ELF that cannot be parsed, or with a segment that lies beyond the end of
    /// the file or of any memory.
    pub fn read(elf: PathBuf) -> Result<Self> {
        let place = || elf.display().to_string();
        let bytes = std::fs::read(&elf).with_context(place)?;
        let (memory_end, loaded_bytes) = extent(&bytes).with_context(place)?;
        Ok(Self { kernel: elf.clone(), elf, bytes, memory_end, loaded_bytes })
    }

    /// Returns the byte of memory at which the image ends, with what the loader zeroes after it; 0
    /// for a flat image, which does not say.
    pub fn memory_end(&self) -> u64 {
        self.memory_end
    }

    /// Returns the architecture that the image is for, as Rust names it; `None` for one that is not
    /// known, and for a file that is neither an ELF nor a flat Linux image.
    pub fn arch(&self) -> Option<&'static str> {
        if !self.is_elf() {
            return flat::arch(&self.bytes);
        }
        match object::File::parse(self.bytes.as_slice()).ok()?.architecture() {
            object::Architecture::X86_64 | object::Architecture::I386 => Some("x86_64"),
            object::Architecture::Aarch64 => Some("aarch64"),
            object::Architecture::Riscv64 => Some("riscv64"),
            _ => None,
        }
    }

    /// Returns whether the image is an ELF, not a flat image.
    pub fn is_elf(&self) -> bool {
        is_elf(&self.bytes)
    }

    /// Returns the bytes of the file that are loaded: the size of the image without its symbols.
    pub fn loaded_bytes(&self) -> u64 {
        self.loaded_bytes
    }
}

fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF")
}

/// Returns where an image ends in memory, and how many bytes of it are loaded.
fn extent(bytes: &[u8]) -> Result<(u64, u64)> {
    let file_bytes = bytes.len() as u64;
    if !is_elf(bytes) {
        return Ok((0, file_bytes));
    }
    let file = object::File::parse(bytes).context("damaged ELF")?;
    let (mut memory_end, mut loaded_bytes) = (0, 0_u64);
    for part in file.segments() {
        let (at, len) = part.file_range();
        let file_end = at.checked_add(len).filter(|end| *end <= file_bytes);
        ensure!(file_end.is_some(), "damaged ELF: a segment lies beyond the end of the file");
        let end = part.address().checked_add(part.size()).filter(|end| *end <= MEMORY_END_MAX);
        let end = end.context("damaged ELF: a segment lies beyond the end of memory")?;
        memory_end = end.max(memory_end);
        loaded_bytes = loaded_bytes.checked_add(len).context("damaged ELF: too many segments")?;
    }
    Ok((memory_end, loaded_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF of 64 bits for x86_64 with one segment, whose four fields are given.
    fn elf(offset: u64, address: u64, file_bytes: u64, memory_bytes: u64) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56];
        bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        // Type, machine, version; the program headers' place, size and number.
        for (at, value) in [(16, 2_u16), (18, 62), (20, 1), (32, 64), (52, 64), (54, 56), (56, 1)] {
            bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
        }
        bytes[64] = 1;
        let fields =
            [(8, offset), (16, address), (24, address), (32, file_bytes), (40, memory_bytes)];
        for (at, value) in fields {
            bytes[64 + at..64 + at + 8].copy_from_slice(&value.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn segments_say_where_an_image_ends_and_flat_images_do_not() {
        assert_eq!(extent(&elf(64, 1 << 20, 56, 4096)).unwrap(), ((1 << 20) + 4096, 56));
        assert_eq!(extent(b"flat").unwrap(), (0, 4));
    }

    #[test]
    fn elf_with_a_segment_beyond_its_file_or_all_memory_is_refused() {
        let refused = |bytes: &[u8]| extent(bytes).unwrap_err().to_string();
        let beyond_file = "damaged ELF: a segment lies beyond the end of the file";
        assert_eq!(refused(&elf(64, 0, 57, 57)), beyond_file);
        assert_eq!(refused(&elf(u64::MAX, 0, 2, 2)), beyond_file);
        let beyond_memory = "damaged ELF: a segment lies beyond the end of memory";
        assert_eq!(refused(&elf(64, u64::MAX, 1, 1)), beyond_memory);
        assert_eq!(refused(&elf(64, 1 << 48, 1, 1)), beyond_memory);
        assert_eq!(refused(&elf(64, 0, 1, 1)[..40]), "damaged ELF");
    }
}
