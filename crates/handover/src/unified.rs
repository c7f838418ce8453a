//! Unified kernel images (UAPI.5): a program for EFI whose sections are a kernel, an initrd, and a
//! command line.
//!
//! Always: a section is told with the bytes of the file that it has; whether the file has them, who
//! reads finds out.
//!
//! Source: Microsoft PE format, "COFF File Header", "Section Table".

use rootlet_base::units::ByteRange;

use crate::bytes::{array, le16, le32};

const DOS: &[u8] = b"MZ";
const PE: [u8; 4] = *b"PE\0\0";
/// Where a program for DOS says where its other header is.
const OTHER_HEADER: usize = 0x3c;
const SECTIONS: usize = 6;
const OPTIONAL_BYTES: usize = 20;
const HEADER_BYTES: usize = 24;
const SECTION_BYTES: usize = 40;
/// The most sections that are looked at.
const SECTIONS_MAX: u16 = 96;

/// A part of the file.
pub type Section = ByteRange;

/// A unified kernel image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unified {
    /// The kernel.
    pub linux: Section,
    /// The initrd.
    pub initrd: Option<Section>,
    /// The command line.
    pub cmdline: Option<Section>,
    /// The text of os-release.
    pub osrel: Option<Section>,
    /// The version of the kernel.
    pub uname: Option<Section>,
}

impl Unified {
    /// Returns the image whose file begins with `head`; `None` for any other file.
    pub fn parse(head: &[u8]) -> Option<Self> {
        if !head.starts_with(DOS) {
            return None;
        }
        let header = usize::try_from(le32(head, OTHER_HEADER)?).ok()?;
        if array(head, header)? != PE {
            return None;
        }
        let field = |at: usize| le16(head, header.checked_add(at)?);
        let count = field(SECTIONS)?.min(SECTIONS_MAX);
        let table = header.checked_add(HEADER_BYTES)?.checked_add(field(OPTIONAL_BYTES)?.into())?;
        let section = |name: &[u8; 8]| {
            let mut places = (0..usize::from(count))
                .filter_map(|number| table.checked_add(number.checked_mul(SECTION_BYTES)?));
            let at = places.find(|at| array(head, *at) == Some(*name))?;
            let number = |offset: usize| le32(head, at.checked_add(offset)?).map(u64::from);
            // What is loaded may end before what the file has of it, which is padded.
            let len = number(8)?.min(number(16)?);
            ByteRange::sized(number(20)?, len)
        };
        Some(Self {
            linux: section(b".linux\0\0")?,
            initrd: section(b".initrd\0"),
            cmdline: section(b".cmdline"),
            osrel: section(b".osrel\0\0"),
            uname: section(b".uname\0\0"),
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::arithmetic_side_effects, reason = "a test that fails panics")]
mod tests {
    use super::*;
    use crate::bytes::put;
    use std::vec;
    use std::vec::Vec;

    /// Returns the head of a program with these sections: name, bytes in memory, bytes in the file,
    /// place.
    fn head(sections: &[(&[u8], u32, u32, u32)]) -> Vec<u8> {
        let mut head = vec![0; 4096];
        let mut set = |at: usize, value: &[u8]| put(&mut head, at, value).unwrap();
        set(0, DOS);
        set(OTHER_HEADER, &0x80_u32.to_le_bytes());
        set(0x80, &PE);
        set(0x86, &u16::try_from(sections.len()).unwrap().to_le_bytes());
        set(0x94, &240_u16.to_le_bytes());
        for (number, (name, memory, bytes, place)) in sections.iter().enumerate() {
            let at = 0x80 + 24 + 240 + number * 40;
            set(at, name);
            for (offset, value) in [(8, memory), (16, bytes), (20, place)] {
                set(at + offset, &value.to_le_bytes());
            }
        }
        head
    }

    #[test]
    fn sections_are_found_by_name_without_their_padding() {
        let head = head(&[
            (b".text", 1, 2, 3),
            (b".cmdline", 10, 512, 0x1000),
            (b".linux", 5000, 5120, 0x2000),
            (b".initrd", 9000, 8192, 0x4000),
        ]);
        let found = Unified::parse(&head).unwrap();
        assert_eq!(found.linux, ByteRange::sized(0x2000, 5000).unwrap());
        assert_eq!(found.initrd, ByteRange::sized(0x4000, 8192));
        assert_eq!(found.cmdline, ByteRange::sized(0x1000, 10));
        assert_eq!((found.osrel, found.uname), (None, None));
    }

    #[test]
    fn program_without_a_kernel_is_none() {
        assert_eq!(Unified::parse(&head(&[(b".text", 1, 2, 3)])), None);
        assert_eq!(Unified::parse(b"MZ"), None);
        let mut beyond = head(&[]);
        put(&mut beyond, OTHER_HEADER, &u32::MAX.to_le_bytes()).unwrap();
        assert_eq!(Unified::parse(&beyond), None);
    }
}
