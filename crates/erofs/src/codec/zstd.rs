//! Zstandard frames, decoded by ruzstd.
//!
//! Always: a frame with a larger window than the image's, or that needs a dictionary, is refused
//! before memory is allocated; memory is bounded by the window, not by the decoded bytes.
//!
//! ruzstd gives a byte out once it has decoded a window of bytes after it, or the frame has ended.
//! If only a prefix is wanted, an empty last block of our own ends the frame after the prefix.

use core::mem;

use ruzstd::decoding::errors::{FrameDecoderError, FrameHeaderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use ruzstd::io::Read;

use super::window::asked;
use super::{End, Fault};
use rootlet_base::num::{OrBug, clip, index, wide};

/// The decoded bytes between two attempts to take bytes out.
const STEP: usize = 128 << 10;

/// An empty last block, and bytes for a checksum that is not verified.
const LAST_BLOCK: [u8; 7] = [1, 0, 0, 0, 0, 0, 0];

/// The most bytes that a block adds to those not taken out: literals of 20 bits, a match that ends
/// after the block, and the bytes of a step.
const BLOCK_BYTES: usize = (1 << 20) + 4 * STEP;

/// The most bytes of ruzstd's scratch memory: literals and sequences of a block, in vectors that
/// double (98,047 sequences of 12 bytes), the content of a block, and tables.
const SCRATCH_BYTES: usize = (2 << 20) + 2 * 98_047 * 12 + 2 * STEP;

/// Returns the most bytes that decoding frames with this window allocates. ruzstd's ring has a
/// power of two and two blocks; while it grows, the smaller ring before it exists too.
#[expect(clippy::arithmetic_side_effects, reason = "a window of at most ZSTD_WINDOW_MAX, 1 MiB")]
pub(super) fn bytes_max(window: u32) -> usize {
    let window = index(window.min(super::ZSTD_WINDOW_MAX));
    let ring = (window + BLOCK_BYTES).next_power_of_two() + 2 * STEP;
    ring + ring / 2 + SCRATCH_BYTES
}

/// A decoder, with the memory that earlier frames took.
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
        // A lower bound of the decoded bytes.
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

    /// Decodes blocks until `step` further bytes are decoded. Returns whether the last block was
    /// among them.
    fn blocks(&mut self, input: &mut &[u8], step: usize, decoded: u64) -> Result<bool, Fault> {
        let step = BlockDecodingStrategy::UptoBytes(step);
        let ended = self.frame.decode_blocks(&mut *input, step);
        ended.map_err(|error| fault(input, decoded, 0, &error))
    }
}

/// The decoded bytes on their way to the caller.
struct Given<'a> {
    /// The bytes still to be dropped.
    skip: u64,
    /// The rest of the caller's buffer, to be filled after these.
    out: &'a mut [u8],
    /// The number of bytes taken so far, dropped ones included.
    at: u64,
}

impl Given<'_> {
    /// Takes all bytes that the decoder gives out, up to the end of `out`.
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

/// Returns the fault for `error` of the decoder; `input` is the rest of the input.
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
