//! Numbers as texts have them: hex digits of bytes, plain decimal numbers.
//!
//! Always: a sign, a blank or half a byte is an error.

use core::fmt;

/// Bytes as lower-case hex digits.
pub(crate) struct Hex<'b>(pub(crate) &'b [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Writes the bytes of `digits` to the front of `out`, and returns them; `None` if `digits` are not
/// pairs of hex digits, or are more than `out` holds.
pub(crate) fn unhex<'o>(digits: &str, out: &'o mut [u8]) -> Option<&'o [u8]> {
    let (pairs, half) = digits.as_bytes().as_chunks::<2>();
    let out = out.get_mut(..pairs.len()).filter(|_| half.is_empty())?;
    for (place, pair) in out.iter_mut().zip(pairs) {
        *place = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(out)
}

fn value(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Returns the number that plain decimal digits write; `None` for any other text, and for a number
/// of more than 64 bits.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    // `parse` would take a sign.
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Bytes of a [`Brief`].
const BRIEF_BYTES: usize = 16;

/// The front of a digest or a salt, for messages: 16 bytes, and two dots if there are more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brief {
    bytes: [u8; BRIEF_BYTES],
    /// How many bytes there are in all.
    of: usize,
}

impl Brief {
    /// Returns the front of `bytes`.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut brief = Self { bytes: [0; BRIEF_BYTES], of: bytes.len() };
        brief.bytes.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
        brief
    }
}

impl fmt::Display for Brief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bytes.get(..self.of) {
            Some([]) => f.write_str("-"),
            Some(bytes) => Hex(bytes).fmt(f),
            None => write!(f, "{}..", Hex(&self.bytes)),
        }
    }
}
