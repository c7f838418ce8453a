//! Raw DEFLATE streams (RFC 1951).
//!
//! Always: a match before the first byte is a fault, and never copies bytes of an earlier stream:
//! the window slides instead of wrapping, so that miniz_oxide knows the number of bytes before it.

use miniz_oxide::inflate::TINFLStatus as Status;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF as SLIDING;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use super::Fault;
use super::window::Stream;
use rootlet_base::num::{Bug, OrBug, wide};

/// The largest distance of a match, in bytes.
pub(super) const HISTORY: usize = 32_768;

/// A stream being decoded.
pub(super) struct Deflate<'a> {
    state: &'a mut DecompressorOxide,
    input: &'a [u8],
    ended: bool,
}

impl<'a> Deflate<'a> {
    pub(super) fn new(state: &'a mut DecompressorOxide, input: &'a [u8]) -> Self {
        state.init();
        Self { state, input, ended: false }
    }

    /// Decodes into `out` from byte `at`. Returns the status, and the byte after the last decoded
    /// one.
    fn run(&mut self, out: &mut [u8], at: usize) -> Result<(Status, usize), Bug> {
        if self.ended {
            return Ok((Status::Done, at));
        }
        let (status, taken, given) = decompress(self.state, self.input, out, at, SLIDING);
        self.input = self.input.get(taken..).or_bug()?;
        self.ended = status == Status::Done;
        Ok((status, at.checked_add(given).or_bug()?))
    }
}

impl Stream for Deflate<'_> {
    fn fill(&mut self, out: &mut [u8], at: usize) -> Result<usize, Fault> {
        if at >= out.len() {
            return Ok(at);
        }
        let (status, at) = self.run(out, at)?;
        match status {
            Status::Done | Status::HasMoreOutput => Ok(at),
            Status::FailedCannotMakeProgress | Status::NeedsMoreInput => {
                Err(Fault::InputEnds { decoded: wide(at) })
            }
            _ => Err(Fault::Code { decoded: wide(at) }),
        }
    }

    fn ends(&mut self) -> Result<bool, Fault> {
        match self.run(&mut [], 0)?.0 {
            Status::Done => Ok(true),
            Status::FailedCannotMakeProgress | Status::NeedsMoreInput => {
                Err(Fault::InputEnds { decoded: 0 })
            }
            _ => Ok(false),
        }
    }
}
