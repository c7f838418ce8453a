//! What a loader takes of an ELF.
//!
//! Always: program headers and the bytes of segments stay where they are in the file.

use anyhow::{Context, Result, ensure};
use object::LittleEndian;
use object::elf::{FileHeader64, ProgramHeader64};
use object::read::elf::{FileHeader, ProgramHeader};

/// Where the ELF header has the place of the section headers (ELF-64 object file format, e_shoff).
const SECTIONS_AT: std::ops::Range<usize> = 0x28..0x30;
/// e_shentsize, e_shnum and e_shstrndx.
const SECTIONS_OF: std::ops::Range<usize> = 0x3a..0x40;

/// Returns the ELF without sections, which no loader reads: symbols and debug information go.
pub fn elf(bytes: &[u8]) -> Result<Vec<u8>> {
    let header = FileHeader64::<LittleEndian>::parse(bytes).context("no ELF of 64 bits")?;
    ensure!(header.is_little_endian(), "not little-endian");
    let all: &[ProgramHeader64<LittleEndian>] = header.program_headers(LittleEndian, bytes)?;
    let ends = all.iter().map(|segment| {
        segment.p_offset(LittleEndian).saturating_add(segment.p_filesz(LittleEndian))
    });
    let end = usize::try_from(ends.max().context("it has no segments")?)?;
    let mut elf = bytes.get(..end).context("a segment ends behind the file")?.to_vec();
    for range in [SECTIONS_AT, SECTIONS_OF] {
        elf.get_mut(range).context("it has no header")?.fill(0);
    }
    Ok(elf)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns an ELF with two loaded segments, 0x100 bytes apart in memory, then sections.
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
}
