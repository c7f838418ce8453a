//! The range decoder of LZMA: decodes bits from bytes, by adaptive probabilities.
//!
//! Always: after the end of the input the decoder reads zeros, and [`Range::starved`] is true;
//! arithmetic is modulo 2^32, as in the format, so that no input overflows.

/// The probability of a zero bit, in 2048ths.
pub(super) type Probability = u16;

/// The probability of a bit that is equally likely zero or one.
pub(super) const EVEN: Probability = 1024;

/// The smallest range: below it the decoder takes a byte.
const RANGE_MIN: u32 = 1 << 24;

/// The state of the decoder, and the rest of its input.
#[derive(Clone, Copy)]
pub(super) struct Range<'a> {
    range: u32,
    code: u32,
    input: &'a [u8],
    starved: bool,
}

impl<'a> Range<'a> {
    /// Returns a decoder at the start of a stream: `code` is its first four bytes, `input` the
    /// rest.
    pub(super) fn new(code: [u8; 4], input: &'a [u8]) -> Self {
        Self { range: u32::MAX, code: u32::from_be_bytes(code), input, starved: false }
    }

    /// Returns whether the decoder has read past the end of the input.
    pub(super) fn starved(&self) -> bool {
        self.starved
    }

    /// Returns whether the input is used up and the code is 0, as an encoder leaves it.
    pub(super) fn ended(&mut self) -> bool {
        self.normalize();
        self.input.is_empty() && self.code == 0
    }

    #[inline(always)]
    fn normalize(&mut self) {
        if self.range < RANGE_MIN {
            self.range <<= 8;
            self.code <<= 8;
            match self.input.split_first() {
                Some((byte, rest)) => {
                    self.code |= u32::from(*byte);
                    self.input = rest;
                }
                None => self.starved = true,
            }
        }
    }

    /// Decodes a bit, and adapts its probability.
    #[inline(always)]
    pub(super) fn bit(&mut self, zero: &mut Probability) -> bool {
        self.normalize();
        let bound = (self.range >> 11).wrapping_mul(u32::from(*zero));
        if self.code < bound {
            self.range = bound;
            *zero = zero.wrapping_add(2048_u16.wrapping_sub(*zero) >> 5);
            false
        } else {
            self.range = self.range.wrapping_sub(bound);
            self.code = self.code.wrapping_sub(bound);
            *zero = zero.wrapping_sub(*zero >> 5);
            true
        }
    }

    /// Decodes a number below `N`, a power of two, the highest bit first.
    #[inline(always)]
    pub(super) fn tree<const N: usize>(&mut self, tree: &mut [Probability; N]) -> usize {
        let mut node = 1;
        while node < N {
            node = node << 1 | usize::from(self.bit(entry(tree, node)));
        }
        node & const { N - 1 }
    }

    /// Decodes a number of `bits` bits, the lowest bit first; the nodes of the number are in `tree`
    /// from `base` on, modulo `N`.
    #[inline(always)]
    pub(super) fn reverse<const N: usize>(
        &mut self,
        tree: &mut [Probability; N],
        base: usize,
        bits: u32,
    ) -> u32 {
        let (mut node, mut number) = (1_usize, 0);
        for place in 0..bits {
            let bit = self.bit(entry(tree, base.wrapping_add(node)));
            node = node << 1 | usize::from(bit);
            number |= u32::from(bit) << place;
        }
        number
    }

    /// Decodes `bits` bits that are equally likely zero or one, the highest bit first.
    #[inline(always)]
    pub(super) fn direct(&mut self, bits: u32) -> u32 {
        let mut number = 0;
        for _ in 0..bits {
            self.normalize();
            self.range >>= 1;
            let bit = self.code >= self.range;
            if bit {
                self.code = self.code.wrapping_sub(self.range);
            }
            number = number << 1 | u32::from(bit);
        }
        number
    }
}

/// Returns entry `index`, modulo `N`, of a table whose length is a power of two.
#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "the mask keeps the index below N, a power of two")]
pub(super) fn entry<T, const N: usize>(table: &mut [T; N], index: usize) -> &mut T {
    const { assert!(N.is_power_of_two()) };
    &mut table[index & const { N - 1 }]
}
