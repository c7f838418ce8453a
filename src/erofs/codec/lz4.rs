//! LZ4 blocks.
//!
//! Always: reaches back as far as the image says, at most 64 KiB, the largest distance of two
//! bytes; each round of a loop takes a byte of the input or gives one of the output.
//!
//! Source of the format: `doc/lz4_Block_format.md` of LZ4.

mod copy;
#[cfg(test)]
mod tests;

use super::Fault;
use super::window::{Stream, bytes, repeat};
use copy::{SHORT_MATCH, WIDE};

/// The largest distance of a match, in bytes.
pub(super) const HISTORY: usize = 65_535;

/// Longer literals and matches are worth a call.
const COPIES_MAX: usize = 128;

/// Input that a [`short_sequence`] looks at, and room that it wants for its output: both more
/// than the longest has.
const SHORT_INPUT: usize = 1 + WIDE + 2;
const SHORT_ROOM: usize = 48;

/// Output at most that is decoded so.
const SHORT_OUT_MAX: usize = 1 << 31;

/// A length in a token that goes on in the bytes behind it.
const GOES_ON: usize = 15;

/// The shortest match.
const MATCH_MIN: usize = 4;
const MATCH_MIN_32: u32 = 4;

/// What follows in the input, or is left of a part whose rest found no room.
#[derive(Clone, Copy)]
enum Next {
    Token,
    /// Literals, then a match whose length is `matched` in the token, or the end.
    Literals {
        len: usize,
        matched: usize,
    },
    Match {
        distance: usize,
        len: usize,
    },
    End,
}

/// A block being decoded.
pub(super) struct Lz4<'a> {
    input: &'a [u8],
    next: Next,
    /// The farthest that a match may reach back.
    distance_max: usize,
}

impl<'a> Lz4<'a> {
    /// `distance_max` is at most [`HISTORY`].
    pub(super) fn new(input: &'a [u8], distance_max: usize) -> Self {
        Self { input, next: Next::Token, distance_max: distance_max.min(HISTORY) }
    }

    fn byte(&mut self, at: usize) -> Result<usize, Fault> {
        let (&byte, input) =
            self.input.split_first().ok_or(Fault::InputEnds { decoded: bytes(at) })?;
        self.input = input;
        Ok(usize::from(byte))
    }

    /// A length whose first part is in the token.
    fn length(&mut self, at: usize, first: usize) -> Result<usize, Fault> {
        let mut len = first;
        if first == GOES_ON {
            loop {
                let more = self.byte(at)?;
                len = len.saturating_add(more);
                if more != 255 {
                    break;
                }
            }
        }
        Ok(len)
    }

    /// Whole sequences, as long as both sides have room for them: where they end. What is wrong or
    /// does not fit is left for [`Stream::fill`] to find.
    fn whole_sequences(&mut self, out: &mut [u8], mut at: usize) -> usize {
        let (mut input, max) = (self.input, self.distance_max);
        loop {
            (at, input) = if max < HISTORY {
                short_sequences::<true>(input, out, at, max)
            } else {
                short_sequences::<false>(input, out, at, max)
            };
            let Some((end, behind)) = whole_sequence(input, out, at, max) else { break };
            (at, input) = (end, behind);
        }
        self.input = input;
        at
    }

    /// Literals, or as many as there is room for: where they end.
    fn literals(
        &mut self,
        out: &mut [u8],
        at: usize,
        len: usize,
        matched: usize,
    ) -> Result<usize, Fault> {
        let room = out.get_mut(at..).unwrap_or_default();
        let now = len.min(room.len());
        let Some((literals, input)) = self.input.split_at_checked(now) else {
            return Err(Fault::InputEnds { decoded: bytes(at) });
        };
        if let Some(room) = room.get_mut(..now) {
            room.copy_from_slice(literals);
        }
        self.input = input;
        self.next = Next::Literals { len: len.saturating_sub(now), matched };
        Ok(at.saturating_add(now))
    }

    /// What follows literals: a match, or the end of the input.
    fn behind_literals(&mut self, at: usize, matched: usize) -> Result<Next, Fault> {
        if self.input.is_empty() {
            return Ok(Next::End);
        }
        let (low, high) = (self.byte(at)?, self.byte(at)?);
        let distance = low | high << 8;
        if distance == 0 || distance > at.min(self.distance_max) {
            let (decoded, distance) = (bytes(at), bytes(distance));
            let max = decoded.min(bytes(self.distance_max));
            return Err(Fault::Distance { decoded, distance, max });
        }
        let len = self.length(at, matched)?.saturating_add(MATCH_MIN);
        Ok(Next::Match { distance, len })
    }
}

/// As many short sequences as there are: where they end, and the input behind them.
#[inline(always)]
fn short_sequences<'a, const LIMITED: bool>(
    mut input: &'a [u8],
    out: &mut [u8],
    at: usize,
    distance_max: usize,
) -> (usize, &'a [u8]) {
    let (short, _) = out.split_at_mut(out.len().min(SHORT_OUT_MAX));
    let Ok(mut next) = u32::try_from(at) else { return (at, input) };
    while let Some((end, behind)) = short_sequence::<LIMITED>(input, short, next, distance_max) {
        (next, input) = (end, behind);
    }
    (usize::try_from(next).unwrap_or(at), input)
}

/// Decodes one sequence to `at` whose lengths are in its token alone: where it ends, and the input
/// behind it. Copies the most that there may be, so that as little as possible is decided: what
/// it costs under an emulator are mostly its branches, four of them.
///
/// Places are numbers of 32 bits: on a processor of 64 bits a few more are no less, and a slice
/// takes one comparison.
#[inline(always)]
fn short_sequence<'a, const LIMITED: bool>(
    input: &'a [u8],
    out: &mut [u8],
    at: u32,
    distance_max: usize,
) -> Option<(u32, &'a [u8])> {
    let head = input.first_chunk::<SHORT_INPUT>()?;
    let start = place(at)?;
    let room = start..start.wrapping_add(SHORT_ROOM);
    let window = out.get_mut(room.clone())?;
    let [token, literals @ ..] = head;
    let (len, matched) = (token >> 4, token & 15);
    // Whether either of them goes on, at once.
    if (len.wrapping_add(1) | matched.wrapping_add(1)) & 16 != 0 {
        return None;
    }
    *window.first_chunk_mut::<WIDE>()? = *literals.first_chunk()?;
    let behind = usize::from(len);
    let distance = u16::from_le_bytes(*literals.get(behind..)?.first_chunk()?);
    if LIMITED && usize::from(distance) > distance_max {
        return None;
    }
    let to = at.wrapping_add(u32::from(len));
    let from = place(to.wrapping_sub(u32::from(distance)))?;
    // What is copied at once has to be there whole. A match that would begin before the first
    // byte lies far behind `upto`.
    let upto = start.wrapping_add(behind);
    let known = out.get(..upto.min(out.len()))?;
    let copied = *known.get(from..from.wrapping_add(SHORT_MATCH))?.first_chunk::<SHORT_MATCH>()?;
    *out.get_mut(room)?.get_mut(behind..)?.first_chunk_mut()? = copied;
    let end = to.wrapping_add(u32::from(matched)).wrapping_add(MATCH_MIN_32);
    Some((end, input.get(behind.wrapping_add(3)..)?))
}

#[inline(always)]
fn place(at: u32) -> Option<usize> {
    usize::try_from(at).ok()
}

/// Decodes one sequence to `at`: where it ends, and the input behind it.
#[inline(never)]
fn whole_sequence<'a>(
    input: &'a [u8],
    out: &mut [u8],
    at: usize,
    distance_max: usize,
) -> Option<(usize, &'a [u8])> {
    let (&token, mut input) = input.split_first()?;
    let mut literals = usize::from(token >> 4);
    if literals == GOES_ON {
        (literals, input) = long(literals, input)?;
    }
    let behind = input.get(literals..)?;
    if literals > COPIES_MAX || copy::literals(input, out, at, literals).is_none() {
        out.get_mut(at..)?.get_mut(..literals)?.copy_from_slice(input.get(..literals)?);
    }
    let at = at.wrapping_add(literals);
    let (&distance, mut input) = behind.split_first_chunk()?;
    let distance = usize::from(u16::from_le_bytes(distance));
    let mut len = usize::from(token & 15);
    if len == GOES_ON {
        (len, input) = long(len, input)?;
    }
    let len = len.checked_add(MATCH_MIN)?;
    let to = at.checked_add(len).filter(|to| *to <= out.len())?;
    if distance == 0 || distance > distance_max.min(at) {
        return None;
    }
    if len > COPIES_MAX || copy::repeated(out, at, distance, len).is_none() {
        repeat(out, at, distance, len);
    }
    Some((to, input))
}

/// A length that goes on in the input, and the input behind it.
#[inline]
fn long(mut len: usize, mut input: &[u8]) -> Option<(usize, &[u8])> {
    loop {
        let (&more, behind) = input.split_first()?;
        input = behind;
        len = len.checked_add(usize::from(more))?;
        if more != 255 {
            return Some((len, input));
        }
    }
}

impl Stream for Lz4<'_> {
    fn fill(&mut self, out: &mut [u8], mut at: usize) -> Result<usize, Fault> {
        loop {
            if matches!(self.next, Next::Token) {
                at = self.whole_sequences(out, at);
            }
            let full = at >= out.len();
            match self.next {
                Next::End => return Ok(at),
                Next::Literals { len: 0, .. } if full && self.input.is_empty() => {
                    self.next = Next::End;
                }
                _ if full => return Ok(at),
                Next::Token => {
                    let token = self.byte(at)?;
                    let len = self.length(at, token >> 4)?;
                    self.next = Next::Literals { len, matched: token & 15 };
                }
                Next::Literals { len: 0, matched } => {
                    self.next = self.behind_literals(at, matched)?
                }
                Next::Literals { len, matched } => at = self.literals(out, at, len, matched)?,
                Next::Match { distance, len } => {
                    let now = len.min(out.len().saturating_sub(at));
                    repeat(out, at, distance, now);
                    at = at.saturating_add(now);
                    self.next = match len.saturating_sub(now) {
                        0 => Next::Token,
                        len => Next::Match { distance, len },
                    };
                }
            }
        }
    }

    fn ends(&mut self) -> Result<bool, Fault> {
        match (self.next, self.input) {
            // The last sequence may have no literals, but has to be there.
            (Next::Token, []) => Err(Fault::InputEnds { decoded: 0 }),
            (Next::Token, [token]) => Ok(token >> 4 == 0),
            (Next::End | Next::Literals { len: 0, .. }, []) => Ok(true),
            _ => Ok(false),
        }
    }
}
