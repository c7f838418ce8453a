//! A stream of zstd frames.
//!
//! Always: frames that are to be skipped are skipped (RFC 8878 3.1.2: tables of chunks are such); a
//! stream that ends within a frame is an error.

use std::io::{self, BufRead, Read};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// Bytes that are decoded at once.
const PIECE_BYTES: usize = 256 << 10;

/// A reader of what is packed.
pub struct Frames<R> {
    source: R,
    decoder: FrameDecoder,
    /// Whether a frame has begun and not ended.
    within: bool,
}

impl<R: BufRead> Frames<R> {
    /// Returns a reader of what the frames of `source` hold.
    pub fn new(source: R) -> Self {
        Self { source, decoder: FrameDecoder::new(), within: false }
    }

    /// Begins the next frame that holds something; returns whether there is one.
    fn begin(&mut self) -> io::Result<bool> {
        loop {
            if self.source.fill_buf()?.is_empty() {
                return Ok(false);
            }
            match self.decoder.reset(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = u64::from(length);
                    let skipped = io::copy(&mut (&mut self.source).take(length), &mut io::sink())?;
                    if skipped < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(wrong(error)),
            }
        }
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.within {
                let len = self.decoder.read(out)?;
                if len > 0 || out.is_empty() {
                    return Ok(len);
                }
                if self.decoder.is_finished() {
                    self.within = false;
                } else {
                    let piece = BlockDecodingStrategy::UptoBytes(PIECE_BYTES);
                    self.decoder.decode_blocks(&mut self.source, piece).map_err(wrong)?;
                }
            } else if self.begin()? {
                self.within = true;
            } else {
                return Ok(0);
            }
        }
    }
}

fn wrong(error: FrameDecoderError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("zstd: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    fn frame(bytes: &[u8]) -> Vec<u8> {
        compress_to_vec(bytes, CompressionLevel::Fastest)
    }

    fn unpacked(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Frames::new(bytes).read_to_end(&mut out).map(|_| out)
    }

    #[test]
    fn frames_follow_each_other_and_some_are_skipped() {
        let long: Vec<u8> = (0..600_000_u32).map(|at| (at / 7) as u8).collect();
        let skipped = [&0x184d_2a5e_u32.to_le_bytes()[..], &3_u32.to_le_bytes(), b"abc"].concat();
        let all = [&frame(&long)[..], &skipped, &frame(b"tail"), &skipped].concat();
        assert!(unpacked(&all).unwrap() == [&long[..], b"tail"].concat());
        assert_eq!(unpacked(b"").unwrap(), b"");
    }

    #[test]
    fn stream_that_is_cut_or_something_else_is_an_error() {
        let whole = frame(&[7; 100_000]);
        assert!(unpacked(&whole[..whole.len() - 1]).is_err());
        assert!(unpacked(b"hello, world").is_err());
        let skipped = [&0x184d_2a5e_u32.to_le_bytes()[..], &9_u32.to_le_bytes(), b"abc"].concat();
        assert!(unpacked(&skipped).is_err());
    }
}
