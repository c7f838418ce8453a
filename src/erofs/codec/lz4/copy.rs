//! Copies that write more than they are asked to.
//!
//! Always: up to [`WIDE`] bytes behind those asked for are overwritten, never one outside of `out`;
//! `None` means that there is no room for that, and that what lies before `at` is as it was.

/// How many bytes are copied at once.
pub(super) const WIDE: usize = 16;
const TWO_WIDE: usize = 2 * WIDE;

/// The longest match whose length is in its token alone: 14 and the least, 4.
pub(super) const SHORT_MATCH: usize = 18;

/// Copies the first `len` bytes of `input` to `at`.
#[inline(always)]
pub(super) fn literals(mut input: &[u8], out: &mut [u8], at: usize, len: usize) -> Option<()> {
    if len <= TWO_WIDE {
        // Each half for itself, or the compiler makes of it the call that copies many.
        let to = chunk::<TWO_WIDE>(out, at)?;
        let (low, high) = input.first_chunk::<TWO_WIDE>()?.split_first_chunk::<WIDE>()?;
        *to.first_chunk_mut()? = *low;
        *to.last_chunk_mut()? = *high.first_chunk::<WIDE>()?;
        return Some(());
    }
    let mut done = 0_usize;
    while done < len {
        *chunk::<WIDE>(out, at.wrapping_add(done))? = *input.first_chunk()?;
        input = input.get(WIDE..)?;
        done = done.wrapping_add(WIDE);
    }
    Some(())
}

/// Copies to `at` the `len` bytes that lie `distance` before it, which may overlap.
#[inline(always)]
pub(super) fn repeated(out: &mut [u8], at: usize, distance: usize, len: usize) -> Option<()> {
    match distance {
        0..8 => pattern(out, at, distance, len),
        8..WIDE => by::<8>(out, at, distance, len),
        SHORT_MATCH.. if len <= SHORT_MATCH => {
            *chunk(out, at)? = *chunk::<SHORT_MATCH>(out, at.checked_sub(distance)?)?;
            Some(())
        }
        _ => by::<WIDE>(out, at, distance, len),
    }
}

/// Copies by `N` bytes; the distance is not less.
#[inline(always)]
fn by<const N: usize>(out: &mut [u8], at: usize, distance: usize, len: usize) -> Option<()> {
    let (mut from, to) = (at.checked_sub(distance)?, at.checked_add(len)?);
    let mut at = at;
    while at < to {
        *chunk(out, at)? = *chunk::<N>(out, from)?;
        (at, from) = (at.wrapping_add(N), from.wrapping_add(N));
    }
    Some(())
}

/// Repeats fewer than eight bytes, as often as they fit in a word at a time.
#[inline(always)]
fn pattern(out: &mut [u8], at: usize, distance: usize, len: usize) -> Option<()> {
    let bits = distance.checked_mul(8)?;
    let first = u64::from_le_bytes(*chunk(out, at.checked_sub(distance)?)?);
    let mut word = first & !u64::MAX.checked_shl(u32::try_from(bits).ok()?)?;
    let mut filled = bits;
    while filled < 64 {
        word |= word << filled;
        filled = filled.wrapping_mul(2);
    }
    let step = 8_usize.wrapping_sub(8_usize.checked_rem(distance)?);
    let (mut at, to) = (at, at.checked_add(len)?);
    while at < to {
        *chunk(out, at)? = word.to_le_bytes();
        at = at.wrapping_add(step);
    }
    Some(())
}

/// The bytes from `at` on, if there are so many.
#[inline(always)]
pub(super) fn chunk<const N: usize>(bytes: &mut [u8], at: usize) -> Option<&mut [u8; N]> {
    bytes.get_mut(at..)?.first_chunk_mut()
}
