//! Frames that carry a guest's output over a serial line that others may write on, too.
//!
//! Always: what a decoder hands out as a frame had the right checksum; everything else comes out
//! as noise, byte for byte and in order, so nothing that was on the line is lost.
//!
//! One frame is
//! ```text
//! 0x1e  'R'  type  length  check  payload  '\n'
//! ```
//! with type `o` (standard output), `e` (standard error) or `v` (verdict), length in 4 lowercase
//! hexadecimal digits (0 to 1024 bytes), check in 8: the CRC-32/ISO-HDLC of type and payload.

use crc::{CRC_32_ISO_HDLC, Crc};

/// The longest payload in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 1024;
/// The longest frame in bytes.
pub const FRAME_BYTES_MAX: usize = HEADER_BYTES + PAYLOAD_BYTES_MAX + 1;

const HEADER_BYTES: usize = 15;
const MARK: u8 = 0x1e;
pub(crate) const CHECK: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Standard output of the guest command.
    Output,
    /// Standard error of the guest command.
    Error,
    /// The last line of a run.
    Verdict,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Self::Output => b'o',
            Self::Error => b'e',
            Self::Verdict => b'v',
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            b'o' => Some(Self::Output),
            b'e' => Some(Self::Error),
            b'v' => Some(Self::Verdict),
            _ => None,
        }
    }

    fn check(self, payload: &[u8]) -> u32 {
        let mut digest = CHECK.digest();
        digest.update(&[self.byte()]);
        digest.update(payload);
        digest.finalize()
    }
}

/// A frame of `payload` in `out`: its bytes, or `None` if the payload is longer than
/// [`PAYLOAD_BYTES_MAX`].
pub fn encode<'o>(
    kind: Kind,
    payload: &[u8],
    out: &'o mut [u8; FRAME_BYTES_MAX],
) -> Option<&'o [u8]> {
    let (header, rest) = out.split_at_mut_checked(HEADER_BYTES)?;
    rest.get_mut(..payload.len())
        .filter(|_| payload.len() <= PAYLOAD_BYTES_MAX)?
        .copy_from_slice(payload);
    *rest.get_mut(payload.len())? = b'\n';
    let (start, digits) = header.split_at_mut_checked(3)?;
    start.copy_from_slice(&[MARK, b'R', kind.byte()]);
    let (length, check) = digits.split_at_mut_checked(4)?;
    write_hex(u32::try_from(payload.len()).ok()?, length);
    write_hex(kind.check(payload), check);
    out.get(..HEADER_BYTES.checked_add(payload.len())?.checked_add(1)?)
}

pub(crate) fn write_hex(value: u32, out: &mut [u8]) {
    let mut rest = value;
    for digit in out.iter_mut().rev() {
        let nibble = u8::try_from(rest & 0xf).unwrap_or(0);
        *digit = if nibble < 10 { b'0' } else { b'a' - 10 }.wrapping_add(nibble);
        rest >>= 4;
    }
}

pub(crate) fn read_hex(digits: &[u8]) -> Option<u32> {
    let mut value = 0_u32;
    for &digit in digits {
        let nibble = match digit {
            b'0'..=b'9' => digit.wrapping_sub(b'0'),
            b'a'..=b'f' => digit.wrapping_sub(b'a' - 10),
            _ => return None,
        };
        value = value << 4 | u32::from(nibble);
    }
    Some(value)
}

/// A piece of what came over the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// The payload of a frame.
    Frame(Kind, &'a [u8]),
    /// Bytes outside any frame: a loader's banner, plain text of a panic, a damaged frame.
    Noise(&'a [u8]),
}

/// Takes a line apart, however it is cut into reads.
#[derive(Debug)]
pub struct Decoder {
    /// The start of what may become a frame; the first byte is the mark.
    held: [u8; FRAME_BYTES_MAX],
    len: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

/// What the bytes held so far are.
enum Prefix {
    /// No start of a frame.
    Noise,
    /// The start of a frame.
    Partial,
    /// A whole frame of this length.
    Whole(Kind, usize),
}

impl Decoder {
    /// A decoder at the start of a line.
    pub const fn new() -> Self {
        Self { held: [0; FRAME_BYTES_MAX], len: 0 }
    }

    /// Takes the next bytes, and calls `each` with every piece that they complete.
    pub fn feed(&mut self, mut bytes: &[u8], each: &mut impl FnMut(Piece<'_>)) {
        while !bytes.is_empty() {
            if self.len == 0 {
                let at = bytes.iter().position(|&byte| byte == MARK).unwrap_or(bytes.len());
                let (noise, rest) = bytes.split_at_checked(at).unwrap_or((bytes, &[]));
                if !noise.is_empty() {
                    each(Piece::Noise(noise));
                }
                bytes = rest;
            }
            let Some((&byte, rest)) = bytes.split_first() else { return };
            if let Some(slot) = self.held.get_mut(self.len) {
                *slot = byte;
                self.len = self.len.saturating_add(1);
                bytes = rest;
            }
            self.settle(each);
        }
    }

    /// Ends the line: what is held is noise.
    pub fn finish(&mut self, each: &mut impl FnMut(Piece<'_>)) {
        if let Some(held) = self.held.get(..self.len).filter(|held| !held.is_empty()) {
            each(Piece::Noise(held));
        }
        self.len = 0;
    }

    /// Hands out what the held bytes complete. A false mark gives way to the next one, which may
    /// already be held with whole frames behind it; each round drops at least one byte.
    fn settle(&mut self, each: &mut impl FnMut(Piece<'_>)) {
        while self.len > 0 {
            let held = self.held.get(..self.len).unwrap_or_default();
            let drop = match parse(held) {
                Prefix::Partial => return,
                Prefix::Whole(kind, len) => {
                    let end = HEADER_BYTES.saturating_add(len);
                    each(Piece::Frame(kind, held.get(HEADER_BYTES..end).unwrap_or_default()));
                    end.saturating_add(1)
                }
                Prefix::Noise => {
                    let next = held.iter().skip(1).position(|&byte| byte == MARK);
                    let noise = next.map_or(held.len(), |at| at.saturating_add(1));
                    each(Piece::Noise(held.get(..noise).unwrap_or_default()));
                    noise
                }
            };
            let drop = drop.min(self.len);
            self.held.copy_within(drop..self.len, 0);
            self.len = self.len.saturating_sub(drop);
        }
    }
}

fn parse(held: &[u8]) -> Prefix {
    let start = [MARK, b'R'];
    if held.iter().zip(start).any(|(&have, want)| have != want) {
        return Prefix::Noise;
    }
    let Some(&kind) = held.get(2) else { return Prefix::Partial };
    let Some(kind) = Kind::from_byte(kind) else { return Prefix::Noise };
    let digits = held.get(3..held.len().min(HEADER_BYTES)).unwrap_or_default();
    if read_hex(digits).is_none() {
        return Prefix::Noise;
    }
    let Some((length, check)) = digits.split_at_checked(4) else { return Prefix::Partial };
    let len = read_hex(length).and_then(|len| usize::try_from(len).ok()).unwrap_or(usize::MAX);
    if len > PAYLOAD_BYTES_MAX {
        return Prefix::Noise;
    }
    let end = HEADER_BYTES.saturating_add(len);
    let Some(&last) = held.get(end) else { return Prefix::Partial };
    let payload = held.get(HEADER_BYTES..end).unwrap_or_default();
    if last != b'\n' || read_hex(check) != Some(kind.check(payload)) {
        return Prefix::Noise;
    }
    Prefix::Whole(kind, len)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "tests may panic")]

    use super::*;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    #[derive(Debug, PartialEq, Clone)]
    enum Owned {
        Frame(u8, Vec<u8>),
        Noise(Vec<u8>),
    }

    fn frame(kind: Kind, payload: &[u8]) -> Vec<u8> {
        encode(kind, payload, &mut [0; FRAME_BYTES_MAX]).unwrap().to_vec()
    }

    /// Decodes in reads of `step` bytes, with neighbouring noise joined.
    fn decode(line: &[u8], step: usize) -> Vec<Owned> {
        let mut pieces: Vec<Owned> = Vec::new();
        let mut each = |piece: Piece<'_>| match (piece, pieces.last_mut()) {
            (Piece::Frame(kind, payload), _) => {
                pieces.push(Owned::Frame(kind.byte(), payload.to_vec()));
            }
            (Piece::Noise(bytes), Some(Owned::Noise(before))) => before.extend_from_slice(bytes),
            (Piece::Noise(bytes), _) => pieces.push(Owned::Noise(bytes.to_vec())),
        };
        let mut decoder = Decoder::new();
        for read in line.chunks(step) {
            decoder.feed(read, &mut each);
        }
        decoder.finish(&mut each);
        pieces
    }

    #[test]
    fn frame_has_the_documented_bytes() {
        // CRC-32/ISO-HDLC("ohi") computed with another implementation (zlib).
        assert_eq!(frame(Kind::Output, b"hi"), b"\x1eRo000225806d5chi\n");
    }

    #[test]
    fn payload_over_the_limit_is_refused() {
        let mut out = [0; FRAME_BYTES_MAX];
        assert!(encode(Kind::Error, &[7; PAYLOAD_BYTES_MAX], &mut out).is_some());
        assert!(encode(Kind::Error, &[7; PAYLOAD_BYTES_MAX + 1], &mut out).is_none());
    }

    #[test]
    fn false_mark_does_not_swallow_the_frames_behind_it() {
        let mut line = b"\x1eRo0400".to_vec();
        line.extend(b"00000000");
        line.extend(frame(Kind::Output, b"one"));
        line.extend(frame(Kind::Error, b"two"));
        line.extend(vec![b'.'; PAYLOAD_BYTES_MAX]);
        let pieces = decode(&line, 1);
        assert_eq!(pieces[0], Owned::Noise(b"\x1eRo040000000000".to_vec()));
        assert_eq!(pieces[1], Owned::Frame(b'o', b"one".to_vec()));
        assert_eq!(pieces[2], Owned::Frame(b'e', b"two".to_vec()));
    }

    #[test]
    fn flipped_bit_makes_a_frame_noise() {
        let whole = frame(Kind::Verdict, b"PASS");
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[at] ^= 1 << bit;
                assert_eq!(decode(&damaged, 5), [Owned::Noise(damaged.clone())], "{at}.{bit}");
            }
        }
    }

    proptest! {
        #[test]
        fn frames_survive_noise_and_any_cut(
            parts in prop::collection::vec(
                (0..4_u8, prop::collection::vec(prop_oneof![Just(MARK), Just(b'R'), any::<u8>()], 1..60)),
                0..20,
            ),
            step in 1..70_usize,
        ) {
            let mut line = Vec::new();
            let mut sent: Vec<Owned> = Vec::new();
            for (kind, bytes) in parts {
                let kind = [Some(Kind::Output), Some(Kind::Error), Some(Kind::Verdict), None][usize::from(kind)];
                match (kind, sent.last_mut()) {
                    (Some(kind), _) => {
                        line.extend(frame(kind, &bytes));
                        sent.push(Owned::Frame(kind.byte(), bytes));
                    }
                    (None, Some(Owned::Noise(before))) => {
                        line.extend(&bytes);
                        before.extend(bytes);
                    }
                    (None, _) => {
                        line.extend(&bytes);
                        sent.push(Owned::Noise(bytes));
                    }
                }
            }
            prop_assert_eq!(decode(&line, step), sent);
        }
    }
}
