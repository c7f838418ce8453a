//! Copies that may write past their end.
//!
//! Always: at most [`WIDE`] bytes after the copy are overwritten, and no byte outside `out`. `None`
//! means that there is no room for these; then the bytes before `at` are unchanged.

/// The number of bytes that are copied at once.
pub(super) const WIDE: usize = 16;
const TWO_WIDE: usize = 2 * WIDE;

/// The longest match whose length is in its token alone: 14 + 4.
pub(super) const SHORT_MATCH: usize = 18;

/// Copies the first `len` bytes of `input` to `at`.
#[inline(always)]
#[expect(clippy::arithmetic_side_effects, reason = "at most WIDE beyond a chunk that is in `out`")]
pub(super) fn literals(mut input: &[u8], out: &mut [u8], at: usize, len: usize) -> Option<()> {
    if len <= TWO_WIDE {
        // In two halves: else the compiler turns the copy into a call.
        let to = chunk::<TWO_WIDE>(out, at)?;
        let (low, high) = input.first_chunk::<TWO_WIDE>()?.split_first_chunk::<WIDE>()?;
        *to.first_chunk_mut()? = *low;
        *to.last_chunk_mut()? = *high.first_chunk::<WIDE>()?;
        return Some(());
    }
    let mut done = 0_usize;
    while done < len {
        *chunk::<WIDE>(out, at + done)? = *input.first_chunk()?;
        input = input.get(WIDE..)?;
        done += WIDE;
    }
    Some(())
}

/// Copies to `at` the `len` bytes that begin `distance` before `at`; the two may overlap.
#[inline(always)]
pub(super) fn repeated(out: &mut [u8], at: usize, distance: usize, len: usize) -> Option<()> {
    match distance {
        0 => None,
        1..8 => pattern(out, at, distance, len),
        8..WIDE => by::<8>(out, at, distance, len),
        SHORT_MATCH.. if len <= SHORT_MATCH => {
            *chunk(out, at)? = *chunk::<SHORT_MATCH>(out, at.checked_sub(distance)?)?;
            Some(())
        }
        _ => by::<WIDE>(out, at, distance, len),
    }
}

/// Copies in steps of `N` bytes; the distance is at least `N`.
#[inline(always)]
#[expect(clippy::arithmetic_side_effects, reason = "the end of a chunk that is in `out`")]
fn by<const N: usize>(out: &mut [u8], at: usize, distance: usize, len: usize) -> Option<()> {
    let (mut from, to) = (at.checked_sub(distance)?, at.checked_add(len)?);
    let mut at = at;
    while at < to {
        *chunk(out, at)? = *chunk::<N>(out, from)?;
        (at, from) = (at + N, from + N);
    }
    Some(())
}

/// Repeats the 1 to 7 bytes before `at`, in words that hold as many whole repeats as fit.
#[inline(always)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "1 to 7 bytes have at most 56 bits, of which doubling makes at most 112; `at` is the \
              end of something in `out`"
)]
fn pattern(out: &mut [u8], at: usize, distance: usize, len: usize) -> Option<()> {
    let bits = distance * 8;
    let first = u64::from_le_bytes(*chunk(out, at.checked_sub(distance)?)?);
    let mut word = first & !(u64::MAX << bits);
    let mut filled = bits;
    while filled < 64 {
        word |= word << filled;
        filled *= 2;
    }
    let step = 8 - 8_usize.checked_rem(distance)?;
    let (mut at, to) = (at, at.checked_add(len)?);
    while at < to {
        *chunk(out, at)? = word.to_le_bytes();
        at += step;
    }
    Some(())
}

/// Returns the `N` bytes from `at` on; `None` if `bytes` ends before.
#[inline(always)]
pub(super) fn chunk<const N: usize>(bytes: &mut [u8], at: usize) -> Option<&mut [u8; N]> {
    bytes.get_mut(at..)?.first_chunk_mut()
}
