//! What a loader takes of an ELF.
//!
//! Always: program headers and the bytes of segments stay where they are in the file.

use anyhow::{Context, Result, ensure};
use object::LittleEndian;
use object::elf::{FileHeader64, PT_LOAD, ProgramHeader64};
use object::read::elf::{FileHeader, ProgramHeader};

/// Where the ELF header has the place of the section headers (ELF-64 object file format, e_shoff).
const SECTIONS_AT: std::ops::Range<usize> = 0x28..0x30;
/// e_shentsize, e_shnum and e_shstrndx.
const SECTIONS_OF: std::ops::Range<usize> = 0x3a..0x40;
/// Where a Linux Image has its magic (Linux, arch/arm64/kernel/head.S, Documentation/riscv/boot-image-header).
const MAGIC_AT: std::ops::Range<usize> = 0x38..0x3c;
const MAGICS: [&[u8]; 2] = [b"ARM\x64", b"RSC\x05"];
/// The most bytes that a flat image may have: holes between segments are in it.
const IMAGE_BYTES_MAX: u64 = 64 << 20;

/// The ELF without sections, which no loader reads: symbols and debug information go.
pub fn elf(bytes: &[u8]) -> Result<Vec<u8>> {
    let ends = segments(bytes)?.into_iter().map(|segment| segment.file + segment.bytes);
    let end = usize::try_from(ends.max().context("it has no segments")?)?;
    let mut elf = bytes.get(..end).context("a segment ends behind the file")?.to_vec();
    for range in [SECTIONS_AT, SECTIONS_OF] {
        elf.get_mut(range).context("it has no header")?.fill(0);
    }
    Ok(elf)
}

/// The flat image of an ELF whose first bytes are the header of a Linux Image.
pub fn linux_image(bytes: &[u8]) -> Result<Option<Vec<u8>>> {
    let loaded: Vec<Segment> =
        segments(bytes)?.into_iter().filter(|segment| segment.load).collect();
    let Some(start) = loaded.iter().map(|segment| segment.address).min() else { return Ok(None) };
    let mut image = Vec::new();
    for Segment { address, file, bytes: len, .. } in loaded {
        let at = address - start;
        ensure!(at + len <= IMAGE_BYTES_MAX, "segments lie {at:#x} bytes apart");
        let (at, file, len) = (usize::try_from(at)?, usize::try_from(file)?, usize::try_from(len)?);
        let part = bytes.get(file..file + len).context("a segment ends behind the file")?;
        image.resize(image.len().max(at + len), 0);
        image[at..at + len].copy_from_slice(part);
    }
    let is_linux = image.get(MAGIC_AT).is_some_and(|magic| MAGICS.contains(&magic));
    Ok(is_linux.then_some(image))
}

struct Segment {
    load: bool,
    address: u64,
    file: u64,
    bytes: u64,
}

fn segments(bytes: &[u8]) -> Result<Vec<Segment>> {
    let header = FileHeader64::<LittleEndian>::parse(bytes).context("no ELF of 64 bits")?;
    ensure!(header.is_little_endian(), "not little-endian");
    let all: &[ProgramHeader64<LittleEndian>] = header.program_headers(LittleEndian, bytes)?;
    let segment = |header: &ProgramHeader64<LittleEndian>| Segment {
        load: header.p_type(LittleEndian) == PT_LOAD && header.p_filesz(LittleEndian) > 0,
        address: header.p_paddr(LittleEndian),
        file: header.p_offset(LittleEndian),
        bytes: header.p_filesz(LittleEndian),
    };
    Ok(all.iter().map(segment).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF with two loaded segments, 0x100 bytes apart in memory, and sections behind them.
    fn sample() -> Vec<u8> {
        let mut elf = vec![0; 0x300];
        elf[..16].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
        let mut set = |at: usize, bytes: &[u8]| elf[at..at + bytes.len()].copy_from_slice(bytes);
        set(0x14, &1_u32.to_le_bytes());
        set(0x20, &0x40_u64.to_le_bytes());
        set(SECTIONS_AT.start, &0x200_u64.to_le_bytes());
        set(0x34, &[64, 0, 56, 0, 2, 0, 64, 0, 3, 0, 2, 0]);
        for (number, (file, address, len)) in
            [(0xb0_u64, 0x8000_u64, 0x50_u64), (0x100, 0x8100, 0x20)].into_iter().enumerate()
        {
            let at = 0x40 + number * 56;
            set(at, &1_u32.to_le_bytes());
            for (field, value) in [(8, file), (24, address), (32, len), (40, len)] {
                set(at + field, &value.to_le_bytes());
            }
        }
        set(0xb0, b"first");
        set(0x100, b"second");
        elf
    }

    #[test]
    fn stripped_elf_ends_with_its_last_segment_and_names_no_sections() {
        let whole = sample();
        let stripped = elf(&whole).unwrap();
        assert_eq!(stripped.len(), 0x120);
        assert!(stripped[SECTIONS_AT].iter().chain(&stripped[SECTIONS_OF]).all(|byte| *byte == 0));
        assert_eq!(stripped[0x40..], whole[0x40..0x120]);
        assert_eq!(stripped[..0x28], whole[..0x28]);
        assert!(elf(b"\x7fELF").is_err());
        assert!(elf(&whole[..0x110]).is_err(), "cut in the second segment");
    }

    #[test]
    fn only_an_image_with_the_header_is_flattened() {
        let mut elf = sample();
        assert_eq!(linux_image(&elf).unwrap(), None);
        for magic in MAGICS {
            elf[0xb0 + MAGIC_AT.start..0xb0 + MAGIC_AT.end].copy_from_slice(magic);
            let image = linux_image(&elf).unwrap().unwrap();
            assert_eq!(image.len(), 0x120);
            assert!(image.starts_with(b"first") && image[0x100..].starts_with(b"second"));
            assert_eq!(&image[MAGIC_AT], magic);
        }
    }
}
