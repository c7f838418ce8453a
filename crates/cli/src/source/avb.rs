//! The footer that Android Verified Boot puts at the end of a partition that it signs.
//!
//! Always: the footer is recognised and no more: neither its signature nor its hashes are verified.
//!
//! Source: AvbFooter of libavb/avb_footer.h, version 1: 64 bytes, numbers big-endian.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes of a footer.
const FOOTER_BYTES: u64 = 64;
const MAGIC: &[u8] = b"AVBf";
/// The only major version, at byte 4.
const MAJOR: &[u8] = &1_u32.to_be_bytes();

/// Returns whether `image` ends with a footer. An image that cannot be read has none here; an
/// error is reported where the image is opened.
pub fn has_footer(image: &Path) -> bool {
    read_footer(image).is_ok_and(|footer| is_footer(&footer))
}

fn read_footer(image: &Path) -> io::Result<[u8; FOOTER_BYTES as usize]> {
    let file = File::open(image)?;
    // A block device has its length at its end alone.
    let bytes = io::Seek::seek(&mut &file, io::SeekFrom::End(0))?;
    let mut footer = [0; FOOTER_BYTES as usize];
    let at = bytes.checked_sub(FOOTER_BYTES).ok_or(io::ErrorKind::UnexpectedEof)?;
    file.read_exact_at(&mut footer, at)?;
    Ok(footer)
}

fn is_footer(footer: &[u8]) -> bool {
    footer.strip_prefix(MAGIC).is_some_and(|rest| rest.starts_with(MAJOR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn footer_is_the_end_of_the_file_and_no_other_part() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("image");
        let has = |bytes: &[u8]| {
            std::fs::write(&file, bytes).unwrap();
            has_footer(&file)
        };
        let mut footer = [MAGIC, MAJOR, &[0; 56]].concat();
        assert!(has(&footer) && has(&[&[7; 4096], &footer[..]].concat()));
        assert!(!has(&[&footer[..], &[0]].concat()) && !has(&footer[1..]) && !has(b""));
        footer[7] = 2;
        assert!(!has(&footer));
        assert!(!has_footer(&dir.path().join("gone")) && !has_footer(dir.path()));
    }
}
