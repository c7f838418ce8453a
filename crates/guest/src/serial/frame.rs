//! Frames that carry a guest's output over a serial line on which others write, too.
//!
//! Always: a frame that a decoder returns had the right checksum; all other bytes are returned as
//! noise, in order, so nothing that was on the line is lost.
//!
//! One frame is
//! ```text
//! 0x1e  'R'  type  length  check  payload  '\n'
//! ```
//! with type `o` (standard output), `e` (standard error), `t` (timeline) or `v` (verdict), length
//! in 4 lowercase hexadecimal digits (0 to 1024 bytes), check in 8: the CRC-32/ISO-HDLC of type and payload.

use super::{CHECK, hex};
use rootlet_base::num::index;

/// The longest payload in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 1024;
/// The longest frame in bytes.
pub const FRAME_BYTES_MAX: usize = HEADER_BYTES + PAYLOAD_BYTES_MAX + 1;

/// Mark, `R`, type.
const START_BYTES: usize = 3;
/// Length, check.
const DIGITS: usize = 4 + 8;
const HEADER_BYTES: usize = START_BYTES + DIGITS;
const MARK: u8 = 0x1e;

/// The purpose of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Standard output of the guest command.
    Output,
    /// Standard error of the guest command.
    Error,
    /// What the guest recorded ([`crate::timeline`]).
    Timeline,
    /// The last line of a run.
    Verdict,
}

impl Kind {
    const fn byte(self) -> u8 {
        match self {
            Self::Output => b'o',
            Self::Error => b'e',
            Self::Timeline => b't',
            Self::Verdict => b'v',
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            b'o' => Some(Self::Output),
            b'e' => Some(Self::Error),
            b't' => Some(Self::Timeline),
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

/// Returns the frame of `payload`, written to `out`, or `None` if the payload is longer than
/// [`PAYLOAD_BYTES_MAX`].
pub fn encode<'o>(
    kind: Kind,
    payload: &[u8],
    out: &'o mut [u8; FRAME_BYTES_MAX],
) -> Option<&'o [u8]> {
    let (header, rest) = out.split_at_mut_checked(HEADER_BYTES)?;
    rest.get_mut(..payload.len())?.copy_from_slice(payload);
    // No room for the line end: the payload is one byte too long.
    *rest.get_mut(payload.len())? = b'\n';
    let (start, digits) = header.split_at_mut_checked(START_BYTES)?;
    start.copy_from_slice(&[MARK, b'R', kind.byte()]);
    let (length, check) = digits.split_at_mut_checked(4)?;
    hex::write(u32::try_from(payload.len()).ok()?, length);
    hex::write(kind.check(payload), check);
    out.get(..frame_bytes(payload))
}

/// Returns the length of the frame of a payload.
#[expect(clippy::arithmetic_side_effects, reason = "a slice is shorter than memory by far more")]
const fn frame_bytes(payload: &[u8]) -> usize {
    HEADER_BYTES + payload.len() + 1
}

/// A piece of the bytes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// The payload of a frame.
    Frame(Kind, &'a [u8]),
    /// Bytes outside any frame: a loader's banner, plain text of a panic, a damaged frame.
    Noise(&'a [u8]),
}

/// A reader that takes a line apart, however the line is cut into reads.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The start of what may become a frame; the first byte is the mark.
    held: heapless::Vec<u8, FRAME_BYTES_MAX>,
}

/// What the bytes held so far are.
enum Prefix<'h> {
    /// No start of a frame.
    Noise,
    /// The start of a frame.
    Partial,
    /// A whole frame with this payload.
    Whole(Kind, &'h [u8]),
}

impl Decoder {
    /// Returns a decoder at the start of a line.
    pub const fn new() -> Self {
        Self { held: heapless::Vec::new() }
    }

    /// Takes the next bytes, and calls `each` with every piece that they complete.
    pub fn feed(&mut self, mut bytes: &[u8], each: &mut impl FnMut(Piece<'_>)) {
        while !bytes.is_empty() {
            if self.held.is_empty() {
                let at = bytes.iter().position(|&byte| byte == MARK);
                let (noise, rest) = at.map_or((bytes, &[][..]), |at| bytes.split_at(at));
                if !noise.is_empty() {
                    each(Piece::Noise(noise));
                }
                bytes = rest;
            }
            let Some((&byte, rest)) = bytes.split_first() else { return };
            let held = self.held.push(byte);
            assert!(held.is_ok(), "what is as long as the longest frame is whole or noise");
            bytes = rest;
            self.settle(each);
        }
    }

    /// Ends the line: the bytes that are held are noise.
    pub fn finish(&mut self, each: &mut impl FnMut(Piece<'_>)) {
        if !self.held.is_empty() {
            each(Piece::Noise(&self.held));
        }
        self.held.clear();
    }

    /// Returns to `each` the pieces that the held bytes complete. A false mark makes way for the
    /// next one, which may be held already, with whole frames after it; each round drops at least
    /// one byte.
    fn settle(&mut self, each: &mut impl FnMut(Piece<'_>)) {
        while !self.held.is_empty() {
            let done = match parse(&self.held) {
                Prefix::Partial => return,
                Prefix::Whole(kind, payload) => {
                    each(Piece::Frame(kind, payload));
                    frame_bytes(payload)
                }
                Prefix::Noise => {
                    let next =
                        self.held.iter().enumerate().skip(1).find(|(_, byte)| **byte == MARK);
                    let end = next.map_or(self.held.len(), |(at, _)| at);
                    each(Piece::Noise(self.held.split_at(end).0));
                    end
                }
            };
            self.held.drain(..done);
        }
    }
}

/// Returns what `held` is, which begins with a mark.
fn parse(held: &[u8]) -> Prefix<'_> {
    let start = [MARK, b'R'];
    if held.iter().zip(start).any(|(&have, want)| have != want) {
        return Prefix::Noise;
    }
    let Some((start, rest)) = held.split_at_checked(START_BYTES) else { return Prefix::Partial };
    let Some(kind) = start.last().and_then(|byte| Kind::from_byte(*byte)) else {
        return Prefix::Noise;
    };
    let digits = rest.get(..DIGITS).unwrap_or(rest);
    if hex::read(digits).is_none() {
        return Prefix::Noise;
    }
    let Some((length, check)) = digits.split_at_checked(4) else { return Prefix::Partial };
    let len = match hex::read(length).map(index) {
        Some(len) if len <= PAYLOAD_BYTES_MAX => len,
        _ => return Prefix::Noise,
    };
    let body = rest.get(DIGITS..).and_then(|body| body.split_at_checked(len));
    let Some((payload, [last, ..])) = body else { return Prefix::Partial };
    if *last != b'\n' || hex::read(check) != Some(kind.check(payload)) {
        return Prefix::Noise;
    }
    Prefix::Whole(kind, payload)
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
    fn false_mark_does_not_swallow_the_frames_after_it() {
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
                (0..5_u8, prop::collection::vec(prop_oneof![Just(MARK), Just(b'R'), any::<u8>()], 1..60)),
                0..20,
            ),
            step in 1..70_usize,
        ) {
            let mut line = Vec::new();
            let mut sent: Vec<Owned> = Vec::new();
            for (kind, bytes) in parts {
                let kind = [Some(Kind::Output), Some(Kind::Error), Some(Kind::Timeline), Some(Kind::Verdict), None][usize::from(kind)];
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
