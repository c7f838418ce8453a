//! LZ4 blocks.
//!
//! Always: reaches back as far as the image says, at most 64 KiB, the largest distance of two
//! bytes; each round of a loop takes a byte of the input or gives one of the output.
//!
//! Source of the format: `doc/lz4_Block_format.md` of LZ4.

use super::Fault;
use super::window::{Stream, bytes, repeat};

/// The largest distance of a match, in bytes.
pub(super) const HISTORY: usize = 65_535;

/// Short literals and matches are copied by as many bytes, whatever their length.
const WIDE: usize = 16;

/// The longest match that is copied so; a longer one is worth a call.
const COPIES_MAX: usize = 128;

/// A length in a token that goes on in the bytes behind it.
const GOES_ON: usize = 15;

/// The shortest match.
const MATCH_MIN: usize = 4;

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

    /// Whole sequences, as long as both sides have room to copy more than wanted: where they end.
    /// What is wrong or does not fit is left for [`Stream::fill`] to find.
    fn whole_sequences(&mut self, out: &mut [u8], mut at: usize) -> usize {
        let (mut input, max) = (self.input, self.distance_max);
        while let Some((end, behind)) = whole_sequence(input, out, at, max) {
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

/// Decodes one sequence to `at`: where it ends, and the input behind it.
#[inline(always)]
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
        let (from, behind) = input.split_at_checked(literals)?;
        out.get_mut(at..at.wrapping_add(literals))?.copy_from_slice(from);
        input = behind;
    } else {
        *chunk(out, at)? = *input.first_chunk::<WIDE>()?;
        input = input.get(literals..)?;
    }
    let at = at.wrapping_add(literals);
    let (&distance, mut input) = input.split_first_chunk()?;
    let distance = usize::from(u16::from_le_bytes(distance));
    if distance > distance_max {
        return None;
    }
    let from = at.checked_sub(distance)?;
    let mut len = usize::from(token & 15);
    if len != GOES_ON && distance >= WIDE {
        *chunk(out, at)? = *chunk::<WIDE>(out, from)?;
        *chunk(out, at.wrapping_add(WIDE))? = *chunk::<2>(out, from.wrapping_add(WIDE))?;
    } else {
        if len == GOES_ON {
            (len, input) = long(len, input)?;
        }
        copy(out, at, distance, len.saturating_add(MATCH_MIN))?;
    }
    Some((at.wrapping_add(len).wrapping_add(MATCH_MIN), input))
}

/// A match; `None` if it does not fit.
#[inline(always)]
fn copy(out: &mut [u8], at: usize, distance: usize, len: usize) -> Option<()> {
    let to = at.checked_add(len).filter(|to| *to <= out.len() && distance != 0)?;
    let from = at.checked_sub(distance)?;
    if distance < WIDE || len > COPIES_MAX || out.len().wrapping_sub(to) < WIDE {
        repeat(out, at, distance, len);
        return Some(());
    }
    let mut done = 0_usize;
    while done < len {
        *chunk(out, at.wrapping_add(done))? = *chunk::<WIDE>(out, from.wrapping_add(done))?;
        done = done.wrapping_add(WIDE);
    }
    Some(())
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

/// The bytes from `at` on, if there are so many.
#[inline(always)]
fn chunk<const N: usize>(bytes: &mut [u8], at: usize) -> Option<&mut [u8; N]> {
    bytes.get_mut(at..)?.first_chunk_mut()
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
