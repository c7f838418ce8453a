//! Unpacking a kernel by gzip, piece by piece.
//!
//! Always: no byte is written outside `out`; what is packed has to fill the length that the file
//! says, and nothing is taken for whole that is not.
//!
//! Source: RFC 1952.

use alloc::boxed::Box;
use core::fmt;

use miniz_oxide::inflate::TINFLStatus as Status;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

const MAGIC: &[u8] = &[0x1f, 0x8b];
const HEADER_BYTES: usize = 10;
const METHOD: usize = 2;
const DEFLATE: u8 = 8;
const FLAGS: usize = 3;
/// Parts of the header that may be there, in this order.
const FLAG_CHECK: u8 = 1 << 1;
const FLAG_EXTRA: u8 = 1 << 2;
const FLAG_NAME: u8 = 1 << 3;
const FLAG_COMMENT: u8 = 1 << 4;

/// Returns whether a file that begins so is packed by gzip.
pub(crate) fn is_one(head: &[u8]) -> bool {
    head.starts_with(MAGIC)
}

/// Why something cannot be unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GzipError {
    /// The header is none, or longer than a kernel's.
    Header,
    /// The packed bytes are wrong; so many were unpacked before that.
    Packed {
        /// Bytes before the fault.
        unpacked: usize,
    },
    /// The file unpacks to more or fewer bytes than its last four say.
    Length {
        /// Bytes that were unpacked.
        unpacked: usize,
    },
}

impl fmt::Display for GzipError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str("gzip: no header of a packed kernel"),
            Self::Packed { unpacked } => {
                write!(f, "gzip: what is packed is wrong, {unpacked} bytes from the start")
            }
            Self::Length { unpacked } => {
                write!(f, "gzip: {unpacked} bytes were unpacked, and the file says another number")
            }
        }
    }
}

impl core::error::Error for GzipError {}

/// A file that is being unpacked.
#[derive(Default)]
pub struct Gunzip {
    state: Box<DecompressorOxide>,
    /// Whether the header was passed over.
    has_begun: bool,
    has_ended: bool,
    /// Bytes that were unpacked.
    unpacked: usize,
}

impl fmt::Debug for Gunzip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gunzip").field("unpacked", &self.unpacked).finish_non_exhaustive()
    }
}

impl Gunzip {
    /// Takes the next bytes of the file, of which the first piece has the whole header, and unpacks
    /// them into `out`, the same at each call. What follows the packed bytes is passed over.
    ///
    /// # Errors
    /// [`GzipError`].
    pub fn feed(&mut self, input: &[u8], out: &mut [u8]) -> Result<(), GzipError> {
        let mut input = input;
        if !self.has_begun {
            input = after_header(input).ok_or(GzipError::Header)?;
            self.has_begun = true;
        }
        // Ends: a call that takes nothing of the input has filled `out`, or is a fault.
        while !self.has_ended && !input.is_empty() {
            let flags = TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF | TINFL_FLAG_HAS_MORE_INPUT;
            let (status, taken, given) =
                decompress(&mut self.state, input, out, self.unpacked, flags);
            let fault = GzipError::Packed { unpacked: self.unpacked };
            self.unpacked = self.unpacked.checked_add(given).ok_or(fault)?;
            input = input.get(taken..).ok_or(fault)?;
            match status {
                Status::Done => self.has_ended = true,
                Status::NeedsMoreInput => {}
                Status::HasMoreOutput => {
                    return Err(GzipError::Length { unpacked: self.unpacked });
                }
                _ => return Err(GzipError::Packed { unpacked: self.unpacked }),
            }
        }
        Ok(())
    }

    /// Returns the number of bytes that were unpacked so far.
    pub const fn unpacked(&self) -> usize {
        self.unpacked
    }

    /// Ends the file, which has said that it unpacks to `bytes` bytes.
    ///
    /// # Errors
    /// [`GzipError::Length`].
    pub fn finish(self, bytes: usize) -> Result<(), GzipError> {
        if self.has_ended && self.unpacked == bytes {
            return Ok(());
        }
        Err(GzipError::Length { unpacked: self.unpacked })
    }

    /// Returns how many of the first bytes of a packed kernel `head` unpacks to, in `out`.
    ///
    /// # Errors
    /// [`GzipError`]. That there are more is none.
    pub fn first(head: &[u8], out: &mut [u8]) -> Result<usize, GzipError> {
        let mut first = Self::default();
        match first.feed(head, out) {
            Ok(()) | Err(GzipError::Length { .. }) => Ok(first.unpacked),
            Err(error) => Err(error),
        }
    }
}

/// Returns what follows the header.
fn after_header(bytes: &[u8]) -> Option<&[u8]> {
    let (header, mut rest) = bytes.split_at_checked(HEADER_BYTES)?;
    if !is_one(header) || header.get(METHOD) != Some(&DEFLATE) {
        return None;
    }
    let flags = *header.get(FLAGS)?;
    if flags & FLAG_EXTRA != 0 {
        let (len, after) = rest.split_first_chunk()?;
        rest = after.get(usize::from(u16::from_le_bytes(*len))..)?;
    }
    for text in [FLAG_NAME, FLAG_COMMENT] {
        if flags & text != 0 {
            let end = rest.iter().position(|byte| *byte == 0)?;
            rest = rest.get(end.checked_add(1)?..)?;
        }
    }
    if flags & FLAG_CHECK != 0 { rest.get(2..) } else { Some(rest) }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails panics")]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut file = vec![0x1f, 0x8b, 8, FLAG_NAME, 0, 0, 0, 0, 0, 3];
        file.extend_from_slice(b"Image\0");
        file.extend(miniz_oxide::deflate::compress_to_vec(bytes, 6));
        file.extend_from_slice(&[0; 4]);
        file.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_le_bytes());
        file
    }

    #[test]
    fn kernel_is_unpacked_however_it_is_cut() {
        let bytes: Vec<u8> =
            (0..100_000_u32).map(|n| n.wrapping_mul(n >> 3).to_le_bytes()[1]).collect();
        let file = packed(&bytes);
        for step in [20, 21, 4096, file.len()] {
            let (mut out, mut gunzip) = (vec![0; bytes.len()], Gunzip::default());
            file.chunks(step).for_each(|piece| gunzip.feed(piece, &mut out).unwrap());
            gunzip.finish(bytes.len()).unwrap();
            assert!(out == bytes, "{step}");
        }
    }

    #[test]
    fn first_bytes_are_had_without_the_rest() {
        let bytes: Vec<u8> =
            (0..100_000_u32).map(|n| n.wrapping_mul(n >> 3).to_le_bytes()[1]).collect();
        let mut out = [0; 64];
        assert_eq!(Gunzip::first(&packed(&bytes)[..4096], &mut out), Ok(64));
        assert_eq!(out, bytes[..64]);
    }

    #[test]
    fn file_that_is_cut_or_too_long_is_no_kernel() {
        let bytes = vec![7; 5000];
        let file = packed(&bytes);
        let run = |file: &[u8], room: usize, says: usize| {
            let (mut out, mut gunzip) = (vec![0; room], Gunzip::default());
            gunzip.feed(file, &mut out).and_then(|()| gunzip.finish(says))
        };
        assert_eq!(run(&file, 5000, 5000), Ok(()));
        assert!(matches!(run(&file, 4999, 4999), Err(GzipError::Length { .. })));
        assert!(matches!(run(&file, 5000, 4999), Err(GzipError::Length { unpacked: 5000 })));
        assert!(matches!(run(&file[..file.len() - 10], 5000, 5000), Err(GzipError::Length { .. })));
        assert_eq!(run(b"no gzip at all", 1, 1), Err(GzipError::Header));
    }
}
