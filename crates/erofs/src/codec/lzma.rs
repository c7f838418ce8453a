//! MicroLZMA: LZMA with the inverted properties byte in place of the first byte, which is always 0.
//! The decoder is our own: it decodes prefixes into the reader's buffer, allocates nothing after
//! `new`, and tells faults apart; lzma-rust2 allocates a dictionary and a buffer for each stream.
//!
//! Always: each round of the loop decodes at least one byte; a match reaches back at most to the
//! start of the dictionary, and of the decoded bytes.
//!
//! Source of the format: the LZMA specification, and `xz_dec_microlzma_run` in Linux `lib/xz`.

use alloc::vec;
use alloc::vec::Vec;

use super::Fault;
use super::range::{EVEN, Probability, Range, entry};
use super::window::{Stream, repeat};
use rootlet_base::num::{Bug, OrBug, index, low8, low32, wide};

/// The values of a position that probabilities may depend on.
const POSITIONS: usize = 16;

/// The states: the kinds of the last symbols. Below 7 the last symbol was a literal. There are 12,
/// in a table of 16.
const STATES: usize = 16;

/// The most bits of context for a literal, as in Linux.
const LITERAL_CONTEXT_BITS_MAX: u8 = 4;

/// The shortest match.
const MATCH_MIN: usize = 2;

/// The probabilities of a literal: without an expected byte, and where the expected byte has bit 0
/// or bit 1.
type Literal = [[Probability; 256]; 3];

/// The probabilities of a length.
struct Length {
    beyond_low: Probability,
    beyond_middle: Probability,
    low: [[Probability; 8]; POSITIONS],
    middle: [[Probability; 8]; POSITIONS],
    high: [Probability; 256],
}

impl Length {
    const NEW: Self = Self {
        beyond_low: EVEN,
        beyond_middle: EVEN,
        low: [[EVEN; 8]; POSITIONS],
        middle: [[EVEN; 8]; POSITIONS],
        high: [EVEN; 256],
    };

    /// Decodes a length, at least [`MATCH_MIN`].
    #[expect(clippy::arithmetic_side_effects, reason = "a tree gives a number below its size, 256")]
    fn decode(&mut self, range: &mut Range<'_>, position: usize) -> usize {
        let len = if !range.bit(&mut self.beyond_low) {
            range.tree(entry(&mut self.low, position))
        } else if !range.bit(&mut self.beyond_middle) {
            range.tree(entry(&mut self.middle, position)) + 8
        } else {
            range.tree(&mut self.high) + 16
        };
        len + MATCH_MIN
    }
}

/// All probabilities except those of literals.
struct Symbols {
    matches: [[Probability; POSITIONS]; STATES],
    repeats: [Probability; STATES],
    not_last: [Probability; STATES],
    last_long: [[Probability; POSITIONS]; STATES],
    not_second: [Probability; STATES],
    not_third: [Probability; STATES],
    slots: [[Probability; 64]; 4],
    near: [Probability; 128],
    align: [Probability; 16],
    len: Length,
    repeat_len: Length,
}

impl Symbols {
    const NEW: Self = Self {
        matches: [[EVEN; POSITIONS]; STATES],
        repeats: [EVEN; STATES],
        not_last: [EVEN; STATES],
        last_long: [[EVEN; POSITIONS]; STATES],
        not_second: [EVEN; STATES],
        not_third: [EVEN; STATES],
        slots: [[EVEN; 64]; 4],
        near: [EVEN; 128],
        align: [EVEN; 16],
        len: Length::NEW,
        repeat_len: Length::NEW,
    };

    /// Decodes the distance of a match of `len` bytes. Returns the distance less 1.
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "a length is at least MATCH_MIN; half a slot is 2 to 31 where bits follow, and \
                  `base` has all slots from 4 to 13 below it"
    )]
    fn distance(&mut self, range: &mut Range<'_>, len: usize) -> u32 {
        let by_len = (len - MATCH_MIN).min(3);
        let slot = range.tree(entry(&mut self.slots, by_len));
        let number = low32(wide(slot));
        if slot < 4 {
            return number;
        }
        let bits = (number >> 1) - 1;
        let base = (2 | number & 1) << bits;
        if slot < 14 {
            return base | range.reverse(&mut self.near, index(base).wrapping_sub(slot), bits);
        }
        let high = range.direct(bits - 4) << 4;
        base.wrapping_add(high) | range.reverse(&mut self.align, 0, 4)
    }
}

/// The probabilities of a decoder, about 29 KiB.
pub(super) struct Model {
    symbols: Symbols,
    literals: Vec<Literal>,
}

impl Model {
    /// The bytes of a model, itself included.
    pub(super) const BYTES: usize =
        size_of::<Self>() + size_of::<Literal>() * (1 << LITERAL_CONTEXT_BITS_MAX);

    pub(super) fn new() -> Self {
        let literals = vec![[[EVEN; 256]; 3]; 1 << LITERAL_CONTEXT_BITS_MAX];
        Self { symbols: Symbols::NEW, literals }
    }
}

/// The properties: the bits that make the context of a literal, and those of a position.
#[derive(Clone, Copy)]
struct Properties {
    previous_shift: u8,
    previous_bits: u8,
    literal_mask: usize,
    position_mask: usize,
}

impl Properties {
    #[expect(clippy::arithmetic_side_effects, reason = "remainders: at most 8 and 4 bits")]
    fn from_byte(byte: u8) -> Result<Self, Fault> {
        let (previous_bits, rest) = (byte % 9, byte / 9);
        let (literal_bits, position_bits) = (rest % 5, rest / 5);
        if position_bits > 4 || previous_bits + literal_bits > LITERAL_CONTEXT_BITS_MAX {
            return Err(Fault::Properties(byte));
        }
        Ok(Self {
            previous_shift: 8 - previous_bits,
            previous_bits,
            literal_mask: mask(literal_bits),
            position_mask: mask(position_bits),
        })
    }

    #[inline(always)]
    fn context(self, position: usize, previous: u8) -> usize {
        (position & self.literal_mask) << self.previous_bits
            | usize::from(previous).wrapping_shr(self.previous_shift.into())
    }
}

/// Returns the lowest `bits` bits, at most 4.
const fn mask(bits: u8) -> usize {
    !(usize::MAX << bits)
}

/// A stream being decoded.
pub(super) struct Lzma<'a> {
    model: &'a mut Model,
    range: Range<'a>,
    properties: Properties,
    dictionary: usize,
    /// The kinds of the last symbols, see [`STATES`].
    state: usize,
    /// The last four distances less 1, the latest first.
    distances: [u32; 4],
    /// The number of decoded bytes; only the lowest bits count.
    position: usize,
    /// The bytes of the last match that found no room yet.
    left: usize,
}

impl<'a> Lzma<'a> {
    pub(super) fn new(
        model: &'a mut Model,
        input: &'a [u8],
        dictionary: usize,
    ) -> Result<Self, Fault> {
        let (&[inverted, a, b, c, d], input) =
            input.split_first_chunk().ok_or(Fault::InputEnds { decoded: 0 })?;
        let properties = Properties::from_byte(!inverted)?;
        model.symbols = Symbols::NEW;
        model.literals.fill([[EVEN; 256]; 3]);
        Ok(Self {
            model,
            range: Range::new([a, b, c, d], input),
            properties,
            dictionary,
            state: 0,
            distances: [0; 4],
            position: 0,
            left: 0,
        })
    }

    /// Copies the rest of a match, as far as there is room. Returns the byte after the copy.
    fn copy(&mut self, out: &mut [u8], at: usize) -> Result<usize, Fault> {
        let max = at.min(self.dictionary);
        let less_one = index(self.distances[0]);
        let Some(back) = less_one.checked_add(1).filter(|back| *back <= max) else {
            let distance = wide(less_one).checked_add(1).or_bug()?;
            return Err(Fault::Distance { decoded: wide(at), distance, max: wide(max) });
        };
        let now = self.left.min(out.len().checked_sub(at).or_bug()?);
        let end = repeat(out, at, back, now)?;
        self.left = self.left.checked_sub(now).or_bug()?;
        self.position = self.position.wrapping_add(now);
        Ok(end)
    }

    /// Decodes the literal after `out[..at]`.
    #[inline(always)]
    fn literal(&mut self, range: &mut Range<'_>, out: &[u8], at: usize) -> Result<u8, Bug> {
        let before = out.get(..at).or_bug()?;
        // The byte before the first counts as 0.
        let previous = before.last().map_or(0, |byte| *byte);
        let context = self.properties.context(self.position, previous);
        let literal = self.model.literals.get_mut(context).or_bug()?;
        let mut node = 1_usize;
        if self.state < 7 {
            node = range.tree(&mut literal[0]);
        } else {
            // There is a byte at the last distance: the match before was copied from there.
            let byte = before.iter().nth_back(index(self.distances[0])).or_bug()?;
            let mut expected = usize::from(*byte);
            let mut alike = true;
            while node < 256 {
                expected <<= 1;
                let bit = expected & 256 != 0;
                let table = if !alike {
                    &mut literal[0]
                } else if bit {
                    &mut literal[2]
                } else {
                    &mut literal[1]
                };
                let decoded = range.bit(entry(table, node));
                alike &= decoded == bit;
                node = node << 1 | usize::from(decoded);
            }
        }
        self.state = match self.state {
            0..4 => 0,
            4..10 => self.state.wrapping_sub(3),
            _ => self.state.wrapping_sub(6),
        };
        Ok(low8(low32(wide(node))))
    }

    /// Decodes a match, puts its distance first in `distances`, and returns its length.
    #[inline(always)]
    fn sequence(&mut self, range: &mut Range<'_>) -> usize {
        let (state, position) = (self.state, self.position & self.properties.position_mask);
        let symbols = &mut self.model.symbols;
        let literal_before = state < 7;
        let [a, b, c, d] = self.distances;
        if !range.bit(entry(&mut symbols.repeats, state)) {
            self.state = if literal_before { 7 } else { 10 };
            let len = symbols.len.decode(range, position);
            self.distances = [symbols.distance(range, len), a, b, c];
            return len;
        }
        if !range.bit(entry(&mut symbols.not_last, state)) {
            if !range.bit(entry(entry(&mut symbols.last_long, state), position)) {
                self.state = if literal_before { 9 } else { 11 };
                return 1;
            }
        } else if !range.bit(entry(&mut symbols.not_second, state)) {
            self.distances = [b, a, c, d];
        } else if !range.bit(entry(&mut symbols.not_third, state)) {
            self.distances = [c, a, b, d];
        } else {
            self.distances = [d, a, b, c];
        }
        self.state = if literal_before { 8 } else { 11 };
        symbols.repeat_len.decode(range, position)
    }
}

impl Stream for Lzma<'_> {
    fn fill(&mut self, out: &mut [u8], mut at: usize) -> Result<usize, Fault> {
        if self.left > 0 {
            at = self.copy(out, at)?;
        }
        let mut range = self.range;
        while at < out.len() {
            let position = self.position & self.properties.position_mask;
            let is_match =
                range.bit(entry(entry(&mut self.model.symbols.matches, self.state), position));
            if is_match {
                self.left = self.sequence(&mut range);
            } else {
                let byte = self.literal(&mut range, out, at)?;
                *out.get_mut(at).or_bug()? = byte;
                at = at.checked_add(1).or_bug()?;
                self.position = self.position.wrapping_add(1);
            }
            if range.starved() {
                return Err(Fault::InputEnds { decoded: wide(at) });
            }
            if is_match {
                at = self.copy(out, at)?;
            }
        }
        self.range = range;
        Ok(at)
    }

    fn ends(&mut self) -> Result<bool, Fault> {
        Ok(self.left == 0 && self.range.ended())
    }
}
