//! Streams that are decoded piece by piece, and the window through which a beginning that nobody
//! asked for is decoded.
//!
//! Always: a stream sees behind it all that it decoded, or at least as much as it may reach back;
//! every byte is decoded once; what is before the window is never kept.

use super::{End, Fault};

/// A stream being decoded.
pub(super) trait Stream {
    /// Decodes on into `out` from byte `at`, until `out` is full or the stream ends, and says
    /// where it stopped. Before `at` lies what was decoded last. Faults count bytes of `out`.
    fn fill(&mut self, out: &mut [u8], at: usize) -> Result<usize, Fault>;

    /// Whether the stream ends here; [`Fault::InputEnds`] if that cannot be said.
    fn ends(&mut self) -> Result<bool, Fault>;
}

/// Fills `out` with the bytes of `stream` from `skip` on. `window` has more than `history` bytes,
/// and `history` is how far back the stream may reach.
pub(super) fn decode(
    stream: &mut impl Stream,
    window: &mut [u8],
    history: usize,
    skip: u64,
    out: &mut [u8],
    end: End,
) -> Result<(), Fault> {
    let asked = skip.saturating_add(bytes(out.len()));
    if skip == 0 {
        let at = stream.fill(out, 0)?;
        short(0, at, asked)?;
    } else {
        slide(stream, window, history, skip, out)?;
    }
    if end == End::Exact && !stream.ends().map_err(|fault| fault.behind(asked))? {
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
    let asked = skip.saturating_add(bytes(out.len()));
    // Decoded bytes before the window's first, and how much of the window is decoded.
    let (mut base, mut at) = (0_u64, 0_usize);
    loop {
        let room = usize::try_from(asked.saturating_sub(base)).unwrap_or(usize::MAX);
        let to = room.min(window.len());
        let Some(part) = window.get_mut(..to) else { return Ok(()) };
        let stopped = stream.fill(part, at).map_err(|fault| fault.behind(base))?;
        give(part.get(at..stopped).unwrap_or_default(), base.saturating_add(bytes(at)), skip, out);
        if stopped < to {
            return short(base, stopped, asked);
        }
        if room <= to {
            return Ok(());
        }
        // The window is full: its end becomes the history of what follows.
        let gone = to.saturating_sub(history);
        window.copy_within(gone..to, 0);
        base = base.saturating_add(bytes(gone));
        at = to.saturating_sub(gone);
    }
}

/// Copies the bytes of `part`, decoded bytes from `base` on, that belong into `out`.
fn give(part: &[u8], base: u64, skip: u64, out: &mut [u8]) {
    let from = usize::try_from(skip.saturating_sub(base)).unwrap_or(usize::MAX);
    let to = usize::try_from(base.saturating_sub(skip)).unwrap_or(usize::MAX);
    let (from, to) = (part.get(from..).unwrap_or_default(), out.get_mut(to..).unwrap_or_default());
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

fn short(base: u64, at: usize, asked: u64) -> Result<(), Fault> {
    let decoded = base.saturating_add(bytes(at));
    if decoded < asked { Err(Fault::Short { decoded, asked }) } else { Ok(()) }
}

/// A length in 64 bits; no machine has more.
pub(super) fn bytes(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// Repeats at `at` the `len` bytes that lie `distance` before it, which may overlap.
/// Needs 1 <= `distance` <= `at` and `at + len` within `out`, and does nothing else.
pub(super) fn repeat(out: &mut [u8], at: usize, distance: usize, len: usize) {
    let (Some(from), Some(to)) = (at.checked_sub(distance), at.checked_add(len)) else { return };
    if to > out.len() || distance == 0 {
        return;
    }
    if distance >= len {
        out.copy_within(from..from.saturating_add(len), at);
        return;
    }
    // What lies between `from` and `from + ready` has the period: it doubles with each round.
    let (mut at, mut ready) = (at, distance);
    while at < to {
        let len = ready.min(to.saturating_sub(at));
        out.copy_within(from..from.saturating_add(len), at);
        at = at.saturating_add(len);
        ready = ready.saturating_add(len);
    }
}
