//! Zstandard frames, decoded by ruzstd.
//!
//! Always: a frame whose window is larger than the image's, or that wants a dictionary, is refused
//! before memory is taken; memory is bounded by the window, not by what is decoded.
//!
//! ruzstd gives a byte out once a window of bytes follows it, or the frame ends. Where only a
//! beginning is wanted, an empty last block of our own ends the frame after it.

use core::mem;

use ruzstd::decoding::errors::{FrameDecoderError, FrameHeaderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use ruzstd::io::Read;

use super::window::asked;
use super::{End, Fault};
use rootlet_base::num::{OrBug, clip, index, wide};

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

/// Returns what decoding frames with this window allocates at most. ruzstd's ring has a power of
/// two and two blocks, and the one before it while it grows.
#[expect(clippy::arithmetic_side_effects, reason = "a window of at most ZSTD_WINDOW_MAX, 1 MiB")]
pub(super) fn bytes_max(window: u32) -> usize {
    let window = index(window.min(super::ZSTD_WINDOW_MAX));
    let ring = (window + BLOCK_BYTES).next_power_of_two() + 2 * STEP;
    ring + ring / 2 + SCRATCH_BYTES
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
        let asked = asked(skip, out)?;
        let mut given = Given { skip, out, at: 0 };
        // At least this many bytes are decoded.
        let mut decoded = 0_u64;
        let mut ended = false;
        while decoded < asked && !ended {
            let step = clip(asked.checked_sub(decoded).or_bug()?, STEP);
            ended = self.blocks(&mut input, step, decoded)?;
            decoded = decoded.checked_add(wide(step)).or_bug()?;
            given.take(&mut self.frame)?;
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
        given.take(&mut self.frame)?;
        if given.at < asked {
            return Err(Fault::Short { decoded: given.at, asked });
        }
        if end == End::Exact && self.frame.can_collect() > 0 {
            return Err(Fault::Long { asked });
        }
        Ok(())
    }

    /// Decodes blocks until there are `step` bytes more, or the last one, and returns whether it
    /// was.
    fn blocks(&mut self, input: &mut &[u8], step: usize, decoded: u64) -> Result<bool, Fault> {
        let step = BlockDecodingStrategy::UptoBytes(step);
        let ended = self.frame.decode_blocks(&mut *input, step);
        ended.map_err(|error| fault(input, decoded, 0, &error))
    }
}

/// What a stream decodes to, on its way to the caller.
struct Given<'a> {
    /// Bytes that are still to be thrown away.
    skip: u64,
    /// What is still to be filled after them.
    out: &'a mut [u8],
    /// Decoded bytes so far.
    at: u64,
}

impl Given<'_> {
    /// Takes what the decoder can spare, up to the end of `out`.
    fn take(&mut self, frame: &mut FrameDecoder) -> Result<(), Fault> {
        let mut waste = [0; 1024];
        loop {
            let waste = waste.get_mut(..clip(self.skip, 1024)).or_bug()?;
            let to_waste = !waste.is_empty();
            let room = if to_waste { waste } else { &mut *self.out };
            let taken = frame.read(room).map_err(|_| Fault::Code { decoded: self.at })?;
            if taken == 0 {
                return Ok(());
            }
            self.at = self.at.checked_add(wide(taken)).or_bug()?;
            if to_waste {
                self.skip = self.skip.checked_sub(wide(taken)).or_bug()?;
            } else {
                let (_, rest) = mem::take(&mut self.out).split_at_mut_checked(taken).or_bug()?;
                self.out = rest;
            }
        }
    }
}

/// Returns the fault for the decoder's error, with the input that was left then.
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
