//! Zstandard frames, decoded by ruzstd.
//!
//! Always: a frame whose window is larger than the image's, or that wants a dictionary, is refused
//! before memory is taken; memory is bounded by the window, not by what is decoded.
//!
//! ruzstd gives a byte out once a window of bytes lies behind it, or the frame ends. Where only a
//! beginning is wanted, an empty last block of our own ends the frame behind it.

use ruzstd::decoding::errors::{FrameDecoderError, FrameHeaderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use ruzstd::io::Read;

use super::window::bytes;
use super::{End, Fault};

/// Decoded bytes between two looks at what can be given out.
const STEP: usize = 128 << 10;

/// An empty last block, and room for a checksum that nobody looks at.
const LAST_BLOCK: [u8; 7] = [1, 0, 0, 0, 0, 0, 0];

/// What a block may add to the bytes that wait to be given out: literals of 20 bits, a match that
/// ends beyond the block, and what a step decodes.
const BLOCK_BYTES: usize = (1 << 20) + 4 * STEP;

/// Literals and sequences of a block in vectors that double (98,047 sequences of 12 bytes), its
/// content, and tables.
const SCRATCH_BYTES: usize = (2 << 20) + 2 * 98_047 * 12 + 2 * STEP;

/// What decoding frames with this window allocates at most. ruzstd's ring has a power of two and
/// two blocks, and the one before it while it grows.
pub(super) fn bytes_max(window: u32) -> usize {
    let window = usize::try_from(window.min(super::ZSTD_WINDOW_MAX)).unwrap_or(usize::MAX);
    let ring = window.saturating_add(BLOCK_BYTES).next_power_of_two().saturating_add(2 * STEP);
    ring.saturating_add(ring / 2).saturating_add(SCRATCH_BYTES)
}

/// A decoder, and the memory that it took for the frames so far.
pub(super) struct Zstd {
    frame: FrameDecoder,
}

impl Zstd {
    pub(super) fn new(window: u32) -> Self {
        let mut frame = FrameDecoder::new();
        frame.set_max_window_size(window.into());
        Self { frame }
    }

    /// Fills `out` with the decoded bytes from `skip` on.
    pub(super) fn decode(
        &mut self,
        mut input: &[u8],
        skip: u64,
        out: &mut [u8],
        end: End,
    ) -> Result<(), Fault> {
        self.frame
            .reset(&mut input)
            .map_err(|error| fault(input, 0, self.frame.max_window_size(), &error))?;
        let asked = skip.saturating_add(bytes(out.len()));
        let mut given = Given { skip, out, at: 0 };
        // At least so many bytes are decoded.
        let mut decoded = 0_u64;
        let mut ended = false;
        while decoded < asked && !ended {
            let step = usize::try_from(asked.saturating_sub(decoded)).unwrap_or(STEP).min(STEP);
            ended = self.blocks(&mut input, step, decoded)?;
            decoded = decoded.saturating_add(bytes(step));
            given.take(&mut self.frame);
        }
        if !ended && end == End::Exact {
            ended = self.blocks(&mut input, 1, decoded)?;
            if !ended {
                return Err(Fault::Long { asked });
            }
        }
        if !ended {
            self.blocks(&mut &LAST_BLOCK[..], 1, decoded)?;
        }
        given.take(&mut self.frame);
        if given.at < asked {
            return Err(Fault::Short { decoded: given.at, asked });
        }
        if end == End::Exact && self.frame.can_collect() > 0 {
            return Err(Fault::Long { asked });
        }
        Ok(())
    }

    /// Decodes blocks until there are `step` bytes more, or the last one, and says if it was.
    fn blocks(&mut self, input: &mut &[u8], step: usize, decoded: u64) -> Result<bool, Fault> {
        let step = BlockDecodingStrategy::UptoBytes(step);
        let ended = self.frame.decode_blocks(&mut *input, step);
        ended.map_err(|error| fault(input, decoded, 0, &error))
    }
}

/// What a stream decodes to, on its way to `out`.
struct Given<'a> {
    skip: u64,
    out: &'a mut [u8],
    /// Decoded bytes so far.
    at: u64,
}

impl Given<'_> {
    /// Takes what the decoder can spare, up to the end of `out`.
    fn take(&mut self, frame: &mut FrameDecoder) {
        let mut waste = [0; 1024];
        loop {
            let room = match self.skip.checked_sub(self.at) {
                Some(1..) => {
                    let left = usize::try_from(self.skip.saturating_sub(self.at));
                    waste.get_mut(..left.unwrap_or(1024).min(1024)).unwrap_or_default()
                }
                _ => {
                    let at = usize::try_from(self.at.saturating_sub(self.skip));
                    self.out.get_mut(at.unwrap_or(usize::MAX)..).unwrap_or_default()
                }
            };
            match frame.read(room) {
                Ok(taken @ 1..) => self.at = self.at.saturating_add(bytes(taken)),
                _ => return,
            }
        }
    }
}

/// What the decoder's error is, with the input that was left then.
fn fault(input: &[u8], decoded: u64, max: u64, error: &FrameDecoderError) -> Fault {
    use FrameDecoderError as E;
    use ReadFrameHeaderError as H;
    match error {
        E::ReadFrameHeaderError(H::BadMagicNumber(magic)) => Fault::Magic(*magic),
        E::ReadFrameHeaderError(H::SkipFrame { magic_number, .. }) => Fault::Magic(*magic_number),
        E::WindowSizeTooBig { requested, max } => Fault::Window { bytes: *requested, max: *max },
        E::FrameHeaderError(FrameHeaderError::WindowTooBig { got }) => {
            Fault::Window { bytes: *got, max }
        }
        E::DictNotProvided { dict_id } => Fault::Dictionary(*dict_id),
        _ if input.is_empty() => Fault::InputEnds { decoded },
        _ => Fault::Code { decoded },
    }
}
