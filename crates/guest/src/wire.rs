//! Lines of text that carry a guest's output over a real serial line, where bytes get lost, line
//! ends change and others write, too.
//!
//! Always: what a decoder hands out as a frame had the right checksum; everything else comes out
//! as noise, byte for byte and in order. A frame that was lost shows as a gap in the numbers.
//!
//! One frame is a line of printable ASCII:
//! ```text
//! ~r RUN NUMBER KIND PAYLOAD ~ CHECK      (without the blanks; ended by CR LF)
//! ```
//! - RUN: 4 lowercase hexadecimal digits, another for every boot, so that what an earlier boot
//!   left in a buffer is told apart.
//! - NUMBER: 8 hexadecimal digits, from 0 on, one more for every frame. A frame may be sent several
//!   times; copies have the same number.
//! - KIND: `h` (hello, number 0), `o` (standard output), `e` (standard error), `p` (progress), `v`
//!   (verdict, the last one).
//! - PAYLOAD: 0 to 1024 bytes. A byte from 0x20 to 0x7d but the backslash stands for itself, every
//!   other is a backslash and 2 hexadecimal digits. So a tilde is never within.
//! - CHECK: 8 hexadecimal digits, the CRC-32/ISO-HDLC of all from RUN to the payload's end.
//!
//! Hello, progress and verdict are text: words and pairs `key=value`.

use crate::frame::{self, CHECK, read_hex, write_hex};
use core::fmt;

/// The longest payload in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 1024;
/// The longest line in bytes, its end included.
pub const LINE_BYTES_MAX: usize = HEADER_BYTES + 3 * PAYLOAD_BYTES_MAX + TRAILER_BYTES + 2;

/// `~r`, run, number, kind.
const HEADER_BYTES: usize = 2 + 4 + 8 + 1;
/// `~`, check.
const TRAILER_BYTES: usize = 1 + 8;
const MARK: u8 = b'~';
const START: u8 = b'r';
const ESCAPE: u8 = b'\\';

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The first frame of a boot: who speaks.
    Hello,
    /// Standard output of the guest command.
    Output,
    /// Standard error of the guest command.
    Error,
    /// How far the guest is.
    Progress,
    /// The last frame of a boot.
    Verdict,
}

impl From<frame::Kind> for Kind {
    fn from(kind: frame::Kind) -> Self {
        match kind {
            frame::Kind::Output => Self::Output,
            frame::Kind::Error => Self::Error,
            frame::Kind::Verdict => Self::Verdict,
        }
    }
}

impl Kind {
    const ALL: [(Self, u8); 5] = [
        (Self::Hello, b'h'),
        (Self::Output, b'o'),
        (Self::Error, b'e'),
        (Self::Progress, b'p'),
        (Self::Verdict, b'v'),
    ];

    fn byte(self) -> u8 {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or(b'?', |(_, byte)| *byte)
    }

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.iter().find(|(_, own)| *own == byte).map(|(kind, _)| *kind)
    }
}

/// One frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Which boot.
    pub run: u16,
    /// Which frame of it.
    pub number: u32,
    /// What it carries.
    pub kind: Kind,
    /// At most [`PAYLOAD_BYTES_MAX`].
    pub payload: &'a [u8],
}

/// The line of a frame, in `out`; `None` if the payload is longer than [`PAYLOAD_BYTES_MAX`].
pub fn encode<'o>(frame: &Frame<'_>, out: &'o mut [u8; LINE_BYTES_MAX]) -> Option<&'o [u8]> {
    if frame.payload.len() > PAYLOAD_BYTES_MAX {
        return None;
    }
    let mut line = Line { out, len: 0 };
    line.push(&[MARK, START])?;
    line.push_hex(u32::from(frame.run), 4)?;
    line.push_hex(frame.number, 8)?;
    line.push(&[frame.kind.byte()])?;
    for &byte in frame.payload {
        if stands_for_itself(byte) {
            line.push(&[byte])?;
        } else {
            line.push(&[ESCAPE])?;
            line.push_hex(u32::from(byte), 2)?;
        }
    }
    let check = CHECK.checksum(line.out.get(2..line.len)?);
    line.push(&[MARK])?;
    line.push_hex(check, 8)?;
    line.push(b"\r\n")?;
    let len = line.len;
    out.get(..len)
}

fn stands_for_itself(byte: u8) -> bool {
    (b' '..MARK).contains(&byte) && byte != ESCAPE
}

struct Line<'o> {
    out: &'o mut [u8; LINE_BYTES_MAX],
    len: usize,
}

impl Line<'_> {
    fn push(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.len.checked_add(bytes.len())?;
        self.out.get_mut(self.len..end)?.copy_from_slice(bytes);
        self.len = end;
        Some(())
    }

    fn push_hex(&mut self, value: u32, digits: usize) -> Option<()> {
        let end = self.len.checked_add(digits)?;
        write_hex(value, self.out.get_mut(self.len..end)?);
        self.len = end;
        Some(())
    }
}

/// A piece of what came over the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A whole frame.
    Frame(Frame<'a>),
    /// Bytes outside any frame: a loader's banner, line ends, a damaged frame.
    Noise(&'a [u8]),
}

/// Takes a line apart, however it is cut into reads.
pub struct Decoder {
    /// The start of what may become a frame; the first byte is the mark.
    held: [u8; LINE_BYTES_MAX],
    len: usize,
    /// Where in it the mark behind the payload is.
    tail: Option<usize>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Decoder({} bytes held)", self.len)
    }
}

impl Decoder {
    /// A decoder at the start of a line.
    pub const fn new() -> Self {
        Self { held: [0; LINE_BYTES_MAX], len: 0, tail: None }
    }

    /// Takes the next bytes, and calls `each` with every piece that they complete.
    pub fn feed(&mut self, mut bytes: &[u8], each: &mut impl FnMut(Piece<'_>)) {
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.len == 0 && byte != MARK {
                let at = bytes.iter().position(|&byte| byte == MARK).unwrap_or(bytes.len());
                let (noise, behind) = bytes.split_at_checked(at).unwrap_or((bytes, &[]));
                each(Piece::Noise(noise));
                bytes = behind;
                continue;
            }
            if self.takes(byte) {
                self.hold(byte);
                bytes = rest;
                self.complete(each);
            } else {
                // The byte is looked at again, with nothing held.
                self.drop_to(self.restart(byte), each);
            }
        }
    }

    /// Ends the line: what is held is noise.
    pub fn finish(&mut self, each: &mut impl FnMut(Piece<'_>)) {
        if self.len > 0 {
            self.drop_to(self.len, each);
        }
    }

    /// Whether `byte` may follow what is held.
    fn takes(&self, byte: u8) -> bool {
        match (self.len, self.tail) {
            (0, _) => byte == MARK,
            (1, _) => byte == START,
            (_, Some(_)) => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
            (len, None) if byte == MARK => len >= HEADER_BYTES,
            (len, None) => {
                let room = LINE_BYTES_MAX.saturating_sub(TRAILER_BYTES);
                (b' '..MARK).contains(&byte) && len < room
            }
        }
    }

    fn hold(&mut self, byte: u8) {
        if byte == MARK && self.len > 0 {
            self.tail = Some(self.len);
        }
        if let Some(slot) = self.held.get_mut(self.len) {
            *slot = byte;
            self.len = self.len.saturating_add(1);
        }
    }

    /// How much of what is held goes when `byte` does not follow: all of it, but not a mark at its
    /// end that `byte` makes the start of the next frame.
    fn restart(&self, byte: u8) -> usize {
        let last = self.len.saturating_sub(1);
        let starts = byte == START && self.tail == Some(last);
        if starts { last } else { self.len }
    }

    fn drop_to(&mut self, at: usize, each: &mut impl FnMut(Piece<'_>)) {
        each(Piece::Noise(self.held.get(..at).unwrap_or_default()));
        self.held.copy_within(at.min(self.len)..self.len, 0);
        self.len = self.len.saturating_sub(at);
        self.tail = None;
    }

    /// Hands out what is held, if all of a frame's bytes are there.
    fn complete(&mut self, each: &mut impl FnMut(Piece<'_>)) {
        let Some(tail) = self.tail else { return };
        if self.len < tail.saturating_add(TRAILER_BYTES) {
            return;
        }
        let mut payload = [0; PAYLOAD_BYTES_MAX];
        match self.held.get(..self.len).and_then(|held| parse(held, tail, &mut payload)) {
            Some(frame) => each(Piece::Frame(frame)),
            None => each(Piece::Noise(self.held.get(..self.len).unwrap_or_default())),
        }
        self.len = 0;
        self.tail = None;
    }
}

fn parse<'p>(
    line: &[u8],
    tail: usize,
    payload: &'p mut [u8; PAYLOAD_BYTES_MAX],
) -> Option<Frame<'p>> {
    let (body, trailer) = line.split_at_checked(tail)?;
    let body = body.get(2..)?;
    if read_hex(trailer.get(1..)?)? != CHECK.checksum(body) {
        return None;
    }
    let (run, rest) = body.split_at_checked(4)?;
    let (number, rest) = rest.split_at_checked(8)?;
    let (kind, mut text) = rest.split_first()?;
    let mut len: usize = 0;
    while let Some((&first, rest)) = text.split_first() {
        let (byte, rest) = match first {
            ESCAPE => {
                let (digits, rest) = rest.split_at_checked(2)?;
                (u8::try_from(read_hex(digits)?).ok()?, rest)
            }
            _ => (first, rest),
        };
        *payload.get_mut(len)? = byte;
        len = len.checked_add(1)?;
        text = rest;
    }
    Some(Frame {
        run: u16::try_from(read_hex(run)?).ok()?,
        number: read_hex(number)?,
        kind: Kind::from_byte(*kind)?,
        payload: payload.get(..len)?,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "tests may panic")]

    use super::*;
    use proptest::prelude::*;
    use std::string::String;
    use std::vec;
    use std::vec::Vec;

    #[derive(Debug, PartialEq, Clone)]
    enum Owned {
        Frame(u16, u32, Kind, Vec<u8>),
        Noise(Vec<u8>),
    }

    fn line(run: u16, number: u32, kind: Kind, payload: &[u8]) -> Vec<u8> {
        let frame = Frame { run, number, kind, payload };
        encode(&frame, &mut [0; LINE_BYTES_MAX]).unwrap().to_vec()
    }

    /// Decodes in reads of `step` bytes, with neighbouring noise joined.
    fn decode(bytes: &[u8], step: usize) -> Vec<Owned> {
        let mut pieces: Vec<Owned> = Vec::new();
        let mut each = |piece: Piece<'_>| match (piece, pieces.last_mut()) {
            (Piece::Frame(Frame { run, number, kind, payload }), _) => {
                pieces.push(Owned::Frame(run, number, kind, payload.to_vec()));
            }
            (Piece::Noise(bytes), Some(Owned::Noise(before))) => before.extend_from_slice(bytes),
            (Piece::Noise(bytes), _) => pieces.push(Owned::Noise(bytes.to_vec())),
        };
        let mut decoder = Decoder::new();
        for read in bytes.chunks(step) {
            decoder.feed(read, &mut each);
        }
        decoder.finish(&mut each);
        pieces
    }

    #[test]
    fn frame_is_the_documented_line() {
        // CRC-32/ISO-HDLC of `1f0a00000003ohi\0a\7e` computed with another implementation (zlib).
        let bytes = line(0x1f0a, 3, Kind::Output, b"hi\n~");
        assert_eq!(String::from_utf8(bytes).unwrap(), "~r1f0a00000003ohi\\0a\\7e~8c9b735d\r\n");
    }

    #[test]
    fn longest_payload_comes_through_and_a_longer_one_is_refused() {
        let long = vec![0xff; PAYLOAD_BYTES_MAX];
        let bytes = line(1, u32::MAX, Kind::Verdict, &long);
        assert_eq!(bytes.len(), LINE_BYTES_MAX);
        assert_eq!(decode(&bytes, 7)[0], Owned::Frame(1, u32::MAX, Kind::Verdict, long.clone()));
        let longer = vec![b'x'; PAYLOAD_BYTES_MAX + 1];
        let frame = Frame { run: 0, number: 0, kind: Kind::Error, payload: &longer };
        assert!(encode(&frame, &mut [0; LINE_BYTES_MAX]).is_none());
    }

    #[test]
    fn lost_byte_anywhere_costs_its_own_frame_alone() {
        let lines = [
            line(7, 0, Kind::Hello, b"board=x"),
            line(7, 1, Kind::Output, b"one\n"),
            line(7, 2, Kind::Verdict, b"PASS reads=1"),
        ];
        let whole = lines.concat();
        let (first, second) = (lines[0].len(), lines[1].len());
        // The line ends stand between frames, and no frame needs them.
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes.remove(at);
            let numbers: Vec<u32> = decode(&bytes, 3)
                .into_iter()
                .filter_map(|piece| match piece {
                    Owned::Frame(_, number, ..) => Some(number),
                    Owned::Noise(_) => None,
                })
                .collect();
            let starts = [0, first, first + second, whole.len()];
            let hit = (0..3).find(|n| (starts[*n]..starts[n + 1] - 2).contains(&at));
            let kept: Vec<u32> =
                (0..3).filter(|n| Some(*n) != hit).map(|n| u32::try_from(n).unwrap()).collect();
            assert_eq!(numbers, kept, "byte {at}");
        }
    }

    #[test]
    fn frame_whose_line_end_is_another_or_missing_is_read() {
        let text = [line(7, 0, Kind::Hello, b""), line(7, 1, Kind::Verdict, b"PASS")].concat();
        let text = String::from_utf8(text).unwrap();
        for end in ["", "\n", "\r", "\r\r\n", "\r\n\r\n"] {
            let frames = decode(text.replace("\r\n", end).as_bytes(), 1)
                .into_iter()
                .filter(|piece| matches!(piece, Owned::Frame(..)));
            assert_eq!(frames.count(), 2, "{end:?}");
        }
    }

    #[test]
    fn text_of_another_in_the_middle_of_a_frame_makes_it_noise() {
        let whole = line(7, 4, Kind::Error, b"some words");
        for at in 1..whole.len() - 2 {
            let mut bytes = whole.clone();
            bytes.splice(at..at, *b"[ 1.0] hello\n");
            let pieces = decode(&bytes, 4);
            assert!(pieces.iter().all(|piece| matches!(piece, Owned::Noise(_))), "{at} {pieces:?}");
        }
    }

    proptest! {
        #[test]
        fn frames_survive_noise_and_any_cut(
            parts in prop::collection::vec(
                (
                    prop::option::of((any::<u16>(), any::<u32>(), 0..5_usize)),
                    prop::collection::vec(
                        prop_oneof![Just(b'r'), Just(ESCAPE), 0..126_u8, 127..=255_u8], 1..60,
                    ),
                ),
                0..20,
            ),
            step in 1..70_usize,
        ) {
            let mut bytes = Vec::new();
            let mut sent: Vec<Owned> = Vec::new();
            let noise = |sent: &mut Vec<Owned>, more: &[u8]| match sent.last_mut() {
                Some(Owned::Noise(before)) => before.extend_from_slice(more),
                _ => sent.push(Owned::Noise(more.to_vec())),
            };
            for (frame, payload) in parts {
                match frame {
                    Some((run, number, kind)) => {
                        let kind = Kind::ALL[kind].0;
                        bytes.extend(line(run, number, kind, &payload));
                        sent.push(Owned::Frame(run, number, kind, payload));
                        noise(&mut sent, b"\r\n");
                    }
                    None => {
                        bytes.extend(&payload);
                        noise(&mut sent, &payload);
                    }
                }
            }
            prop_assert_eq!(decode(&bytes, step), sent);
        }

        #[test]
        fn arbitrary_bytes_come_out_again_as_they_went_in(
            bytes in prop::collection::vec(prop_oneof![Just(MARK), Just(b'r'), Just(b'0'), any::<u8>()], 0..300),
            step in 1..70_usize,
        ) {
            let pieces = decode(&bytes, step);
            let out: Vec<u8> = pieces.into_iter().flat_map(|piece| match piece {
                Owned::Noise(noise) => noise,
                Owned::Frame(run, number, kind, payload) => {
                    let mut bytes = line(run, number, kind, &payload);
                    bytes.truncate(bytes.len().saturating_sub(2));
                    bytes
                }
            }).collect();
            prop_assert_eq!(out, bytes);
        }
    }
}
