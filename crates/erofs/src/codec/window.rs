//! Streams that are decoded piece by piece, and the window that takes the bytes before those asked
//! for.
//!
//! Always: before its position a stream finds all that it has decoded, or at least its history;
//! each byte is decoded once.

use super::{End, Fault};
use rootlet_base::num::{Bug, OrBug, clip, wide};
use rootlet_base::units::Fill;

/// A stream being decoded.
pub(super) trait Stream {
    /// Decodes into `out` from byte `at` until `out` is full or the stream ends. Returns the byte
    /// after the last decoded one. The bytes before `at` are those decoded last. Faults count bytes
    /// of `out`.
    fn fill(&mut self, out: &mut [u8], at: usize) -> Result<usize, Fault>;

    /// Returns whether the stream ends here; [`Fault::InputEnds`] if the input does not tell.
    fn ends(&mut self) -> Result<bool, Fault>;
}

/// Returns the number of decoded bytes up to the end of `out`, which begins at byte `skip`.
pub(super) fn asked(skip: u64, out: &[u8]) -> Result<u64, Bug> {
    skip.checked_add(wide(out.len())).or_bug()
}

/// Fills `out` with the decoded bytes of `stream` from byte `skip` on. The stream reaches back at
/// most `history` bytes; `window` is longer than that.
pub(super) fn decode(
    stream: &mut impl Stream,
    window: &mut [u8],
    history: usize,
    skip: u64,
    out: &mut [u8],
    end: End,
) -> Result<(), Fault> {
    let asked = asked(skip, out)?;
    if skip == 0 {
        let decoded = wide(stream.fill(out, 0)?);
        if decoded < asked {
            return Err(Fault::Short { decoded, asked });
        }
    } else {
        slide(stream, window, history, skip, out)?;
    }
    if end == End::Exact && !stream.ends().map_err(|fault| fault.after(asked))? {
        return Err(Fault::Long { asked });
    }
    Ok(())
}

/// Decodes through `window` up to the last byte of `out`.
fn slide(
    stream: &mut impl Stream,
    window: &mut [u8],
    history: usize,
    skip: u64,
    out: &mut [u8],
) -> Result<(), Fault> {
    let asked = asked(skip, out)?;
    let (mut skip, mut out) = (skip, Fill::new(out));
    // The number of decoded bytes before the window, and of decoded bytes in the window.
    let (mut base, mut at) = (0_u64, 0_usize);
    loop {
        let to = clip(asked.checked_sub(base).or_bug()?, window.len());
        let part = window.get_mut(..to).or_bug()?;
        let stopped = stream.fill(part, at).map_err(|fault| fault.after(base))?;
        let decoded = part.get(at..stopped).or_bug()?;
        let (skipped, wanted) = decoded.split_at(clip(skip, decoded.len()));
        skip = skip.checked_sub(wide(skipped.len())).or_bug()?;
        out.next(wide(wanted.len()))?.copy_from_slice(wanted);
        if stopped < to {
            return Err(Fault::Short { decoded: wide(stopped), asked }.after(base));
        }
        if skip == 0 && out.left() == 0 {
            return Ok(());
        }
        // The window is full: its end becomes the history of the next bytes.
        let gone = to.checked_sub(history).or_bug()?;
        window.copy_within(gone..to, 0);
        base = base.checked_add(wide(gone)).or_bug()?;
        at = history;
    }
}

/// Copies to `at` the `len` bytes that begin `distance` before `at`; the two may overlap. Returns
/// `at + len`. Needs 1 <= `distance` <= `at`, and `at + len` within `out`.
pub(super) fn repeat(out: &mut [u8], at: usize, distance: usize, len: usize) -> Result<usize, Bug> {
    let from = at.checked_sub(distance).filter(|from| *from != at).or_bug()?;
    let end = at.checked_add(len).or_bug()?;
    let part = out.get_mut(from..end).or_bug()?;
    // The first `known` bytes of `part` are complete: they double with each round.
    let mut known = distance;
    loop {
        let (pattern, room) = part.split_at_mut_checked(known).or_bug()?;
        match room.split_at_mut_checked(known) {
            Some((next, _)) => next.copy_from_slice(pattern),
            None => {
                room.copy_from_slice(pattern.get(..room.len()).or_bug()?);
                return Ok(end);
            }
        }
        known = known.checked_mul(2).or_bug()?;
    }
}
