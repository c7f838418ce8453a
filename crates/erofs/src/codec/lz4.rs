//! LZ4 blocks. The decoder is our own: EROFS reads prefixes of blocks, continues where a read ended,
//! and limits the distance of matches for each image; lz4_flex decodes whole blocks alone.
//!
//! Always: a match reaches back at most as far as the image says, and at most 64 KiB, the largest
//! distance in two bytes; each round of a loop takes a byte of input or makes a byte of output.
//!
//! Source of the format: `doc/lz4_Block_format.md` of LZ4.

mod copy;
#[cfg(test)]
mod tests;

use super::Fault;
use super::window::{Stream, repeat};
use copy::{SHORT_MATCH, WIDE};
use rootlet_base::num::{OrBug, index, wide};

/// The largest distance of a match, in bytes.
pub(super) const HISTORY: usize = 65_535;

/// The longest literals and matches that are copied inline; longer ones are worth a call.
const COPIES_MAX: usize = 128;

/// The bytes of input that a [`short_sequence`] looks at: more than the longest has.
const SHORT_INPUT: usize = 1 + WIDE + 2;
/// The bytes of output that a [`short_sequence`] may overwrite: more than the longest makes.
const SHORT_ROOM: usize = 48;

/// The most bytes of output in which short sequences are decoded.
const SHORT_OUT_MAX: usize = 1 << 31;

/// The length in a token that the bytes after the token continue.
const CONTINUED: usize = 15;

/// The shortest match.
const MATCH_MIN: usize = 4;
/// [`MATCH_MIN`] in 32 bits.
const MATCH_MIN_32: u32 = 4;

/// The next part of the input, or the rest of a part that found no room in the output.
#[derive(Clone, Copy)]
enum Next {
    Token,
    /// `len` literals, then the end, or a match whose length is `matched` in the token.
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
    /// The largest distance of a match.
    distance_max: usize,
}

impl<'a> Lz4<'a> {
    /// Returns the block in `input`. `distance_max` is the largest distance of a match, at most
    /// [`HISTORY`].
    pub(super) fn new(input: &'a [u8], distance_max: usize) -> Self {
        Self { input, next: Next::Token, distance_max: distance_max.min(HISTORY) }
    }

    fn byte(&mut self, at: usize) -> Result<usize, Fault> {
        let (&byte, input) =
            self.input.split_first().ok_or(Fault::InputEnds { decoded: wide(at) })?;
        self.input = input;
        Ok(usize::from(byte))
    }

    /// Returns a length: `first` from the token, its continuation in the input, and `least`.
    fn length(&mut self, at: usize, first: usize, least: usize) -> Result<usize, Fault> {
        let too_long = Fault::Code { decoded: wide(at) };
        let mut len = first.checked_add(least).ok_or(too_long)?;
        if first == CONTINUED {
            loop {
                let more = self.byte(at)?;
                len = len.checked_add(more).ok_or(too_long)?;
                if more != 255 {
                    break;
                }
            }
        }
        Ok(len)
    }

    /// Decodes whole sequences as long as they fit in input and output. Returns the byte after the
    /// last. Leaves a faulty sequence to [`Stream::fill`].
    fn whole_sequences(&mut self, out: &mut [u8], mut at: usize) -> usize {
        let (mut input, max) = (self.input, self.distance_max);
        loop {
            (at, input) = if max < HISTORY {
                short_sequences::<true>(input, out, at, max)
            } else {
                short_sequences::<false>(input, out, at, max)
            };
            let Some((end, rest)) = whole_sequence(input, out, at, max) else { break };
            (at, input) = (end, rest);
        }
        self.input = input;
        at
    }

    /// Copies `len` literals, or as many as fit. Returns the byte after the last.
    fn literals(
        &mut self,
        out: &mut [u8],
        at: usize,
        len: usize,
        matched: usize,
    ) -> Result<usize, Fault> {
        let room = out.get_mut(at..).or_bug()?;
        let now = len.min(room.len());
        let Some((literals, input)) = self.input.split_at_checked(now) else {
            return Err(Fault::InputEnds { decoded: wide(at) });
        };
        room.get_mut(..now).or_bug()?.copy_from_slice(literals);
        self.input = input;
        self.next = Next::Literals { len: len.checked_sub(now).or_bug()?, matched };
        Ok(at.checked_add(now).or_bug()?)
    }

    /// Returns the part after literals: a match, or the end of the input.
    fn after_literals(&mut self, at: usize, matched: usize) -> Result<Next, Fault> {
        if self.input.is_empty() {
            return Ok(Next::End);
        }
        let (low, high) = (self.byte(at)?, self.byte(at)?);
        let distance = low | high << 8;
        if distance == 0 || distance > at.min(self.distance_max) {
            let (decoded, distance) = (wide(at), wide(distance));
            let max = decoded.min(wide(self.distance_max));
            return Err(Fault::Distance { decoded, distance, max });
        }
        let len = self.length(at, matched, MATCH_MIN)?;
        Ok(Next::Match { distance, len })
    }
}

/// Decodes short sequences up to the first sequence that is not short. Returns the byte after the
/// last, and the input after them.
#[inline(always)]
fn short_sequences<'a, const LIMITED: bool>(
    mut input: &'a [u8],
    out: &mut [u8],
    at: usize,
    distance_max: usize,
) -> (usize, &'a [u8]) {
    let (short, _) = out.split_at_mut(out.len().min(SHORT_OUT_MAX));
    let Ok(mut next) = u32::try_from(at) else { return (at, input) };
    while let Some((end, rest)) = short_sequence::<LIMITED>(input, short, next, distance_max) {
        (next, input) = (end, rest);
    }
    (index(next), input)
}

/// Decodes one sequence, whose lengths are in its token alone, to `at`. Returns the byte after the
/// sequence, and the input after it. Copies the longest such sequence whatever the lengths, because
/// under an emulator branches cost the most: there are four.
///
/// Offsets are `u32`, so that adding small constants cannot overflow a `usize` of 64 bits, and each
/// slice needs one bounds check.
#[inline(always)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "`at` is within SHORT_OUT_MAX, 2^31, and what is added is below 100"
)]
fn short_sequence<'a, const LIMITED: bool>(
    input: &'a [u8],
    out: &mut [u8],
    at: u32,
    distance_max: usize,
) -> Option<(u32, &'a [u8])> {
    let head = input.first_chunk::<SHORT_INPUT>()?;
    let start = index(at);
    let room = start..start + SHORT_ROOM;
    let window = out.get_mut(room.clone())?;
    let [token, literals @ ..] = head;
    let (len, matched) = (token >> 4, token & 15);
    // Both lengths are checked for a continuation at once.
    if ((len + 1) | (matched + 1)) & 16 != 0 {
        return None;
    }
    *window.first_chunk_mut::<WIDE>()? = *literals.first_chunk()?;
    let literals_len = usize::from(len);
    let distance = u16::from_le_bytes(*literals.get(literals_len..)?.first_chunk()?);
    if LIMITED && usize::from(distance) > distance_max {
        return None;
    }
    let to = at + u32::from(len);
    let from = index(to.checked_sub(u32::from(distance))?);
    // All bytes of the copy must have been decoded.
    let upto = start + literals_len;
    let known = out.get(..upto.min(out.len()))?;
    let copied = *known.get(from..from + SHORT_MATCH)?.first_chunk::<SHORT_MATCH>()?;
    *out.get_mut(room)?.get_mut(literals_len..)?.first_chunk_mut()? = copied;
    let end = to + u32::from(matched) + MATCH_MIN_32;
    Some((end, input.get(literals_len + 3..)?))
}

/// Decodes one sequence to `at`. Returns the byte after the sequence, and the input after it.
#[inline(never)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "the literals were copied: they end within `out`"
)]
fn whole_sequence<'a>(
    input: &'a [u8],
    out: &mut [u8],
    at: usize,
    distance_max: usize,
) -> Option<(usize, &'a [u8])> {
    let (&token, mut input) = input.split_first()?;
    let mut literals = usize::from(token >> 4);
    if literals == CONTINUED {
        (literals, input) = long(literals, input)?;
    }
    let rest = input.get(literals..)?;
    if literals > COPIES_MAX || copy::literals(input, out, at, literals).is_none() {
        out.get_mut(at..)?.get_mut(..literals)?.copy_from_slice(input.get(..literals)?);
    }
    let at = at + literals;
    let (&distance, mut input) = rest.split_first_chunk()?;
    let distance = usize::from(u16::from_le_bytes(distance));
    let mut len = usize::from(token & 15);
    if len == CONTINUED {
        (len, input) = long(len, input)?;
    }
    let len = len.checked_add(MATCH_MIN)?;
    let to = at.checked_add(len).filter(|to| *to <= out.len())?;
    if distance == 0 || distance > distance_max.min(at) {
        return None;
    }
    if len > COPIES_MAX || copy::repeated(out, at, distance, len).is_none() {
        repeat(out, at, distance, len).ok()?;
    }
    Some((to, input))
}

/// Returns `len` plus its continuation in the input, and the input after that.
#[inline]
fn long(mut len: usize, mut input: &[u8]) -> Option<(usize, &[u8])> {
    loop {
        let (&more, rest) = input.split_first()?;
        input = rest;
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
                    let len = self.length(at, token >> 4, 0)?;
                    self.next = Next::Literals { len, matched: token & 15 };
                }
                Next::Literals { len: 0, matched } => {
                    self.next = self.after_literals(at, matched)?
                }
                Next::Literals { len, matched } => at = self.literals(out, at, len, matched)?,
                Next::Match { distance, len } => {
                    let now = len.min(out.len().checked_sub(at).or_bug()?);
                    at = repeat(out, at, distance, now)?;
                    self.next = match len.checked_sub(now).or_bug()? {
                        0 => Next::Token,
                        len => Next::Match { distance, len },
                    };
                }
            }
        }
    }

    fn ends(&mut self) -> Result<bool, Fault> {
        match (self.next, self.input) {
            // The last sequence may have no literals, but must be there.
            (Next::Token, []) => Err(Fault::InputEnds { decoded: 0 }),
            (Next::Token, [token]) => Ok(token >> 4 == 0),
            (Next::End | Next::Literals { len: 0, .. }, []) => Ok(true),
            _ => Ok(false),
        }
    }
}
