//! Lines of text that carry a guest's output over a real serial line, where bytes get lost, line
//! ends change and others write, too.
//!
//! Always: a frame that a decoder returns had the right checksum; all other bytes are returned as
//! noise, in order. A frame that was lost shows as a gap in the numbers.
//!
//! One frame is a line of printable ASCII:
//! ```text
//! ~r RUN NUMBER KIND PAYLOAD ~ CHECK      (without the blanks; ended by CR LF)
//! ```
//! - RUN: 4 lowercase hexadecimal digits, different for every boot: a frame that an earlier boot
//!   left in a buffer is not taken for one of this boot.
//! - NUMBER: 8 hexadecimal digits, from 0, one more for every frame. A frame may be sent several
//!   times; copies have the same number.
//! - KIND: `h` (hello, number 0), `o` (standard output), `e` (standard error), `p` (progress), `t`
//!   (timeline), `v` (verdict, the last one).
//! - PAYLOAD: 0 to 1024 bytes. A byte from 0x20 to 0x7d except the backslash stands for itself,
//!   every other is a backslash and 2 hexadecimal digits, so a payload has no tilde.
//! - CHECK: 8 hexadecimal digits, the CRC-32/ISO-HDLC from RUN to the end of the payload.
//!
//! Hello, progress and verdict are text: words and pairs `key=value`.

use super::{CHECK, frame, hex};
use core::fmt;

/// The longest payload in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 1024;
/// The longest line in bytes, with its end.
pub const LINE_BYTES_MAX: usize = ROOM + TRAILER_BYTES + 2;

/// Before the trailer: the header, and a payload in which every byte is escaped.
const ROOM: usize = HEADER_BYTES + 3 * PAYLOAD_BYTES_MAX;
/// `~r`.
const START_BYTES: usize = 2;
const RUN_DIGITS: usize = 4;
const NUMBER_DIGITS: usize = 8;
/// `~r`, run, number, kind.
const HEADER_BYTES: usize = START_BYTES + RUN_DIGITS + NUMBER_DIGITS + 1;
const CHECK_DIGITS: usize = 8;
/// `~`, check.
const TRAILER_BYTES: usize = 1 + CHECK_DIGITS;
const MARK: u8 = b'~';
const START: u8 = b'r';
const ESCAPE: u8 = b'\\';

/// The purpose of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The first frame of a boot: which board, and which build.
    Hello,
    /// Standard output of the guest command.
    Output,
    /// Standard error of the guest command.
    Error,
    /// How far the guest is.
    Progress,
    /// What the guest recorded ([`crate::timeline`]).
    Timeline,
    /// The last frame of a boot.
    Verdict,
}

impl From<frame::Kind> for Kind {
    fn from(kind: frame::Kind) -> Self {
        match kind {
            frame::Kind::Output => Self::Output,
            frame::Kind::Error => Self::Error,
            frame::Kind::Timeline => Self::Timeline,
            frame::Kind::Verdict => Self::Verdict,
        }
    }
}

impl Kind {
    const ALL: [Self; 6] =
        [Self::Hello, Self::Output, Self::Error, Self::Progress, Self::Timeline, Self::Verdict];

    const fn byte(self) -> u8 {
        match self {
            Self::Hello => b'h',
            Self::Output => b'o',
            Self::Error => b'e',
            Self::Progress => b'p',
            Self::Timeline => b't',
            Self::Verdict => b'v',
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.byte() == byte)
    }
}

/// One frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Which boot.
    pub run: u16,
    /// Which frame of the boot.
    pub number: u32,
    /// The purpose.
    pub kind: Kind,
    /// The content, at most [`PAYLOAD_BYTES_MAX`].
    pub payload: &'a [u8],
}

/// Returns the line of `frame`, written to `out`, or `None` if the payload is longer than
/// [`PAYLOAD_BYTES_MAX`].
pub fn encode<'o>(frame: &Frame<'_>, out: &'o mut [u8; LINE_BYTES_MAX]) -> Option<&'o [u8]> {
    if frame.payload.len() > PAYLOAD_BYTES_MAX {
        return None;
    }
    let mut line = Line { out, len: 0 };
    line.push(&[MARK, START])?;
    line.push_hex(u32::from(frame.run), RUN_DIGITS)?;
    line.push_hex(frame.number, NUMBER_DIGITS)?;
    line.push(&[frame.kind.byte()])?;
    for &byte in frame.payload {
        if stands_for_itself(byte) {
            line.push(&[byte])?;
        } else {
            line.push(&[ESCAPE])?;
            line.push_hex(u32::from(byte), 2)?;
        }
    }
    let check = CHECK.checksum(line.out.get(START_BYTES..line.len)?);
    line.push(&[MARK])?;
    line.push_hex(check, CHECK_DIGITS)?;
    line.push(b"\r\n")?;
    let len = line.len;
    out.get(..len)
}

fn stands_for_itself(byte: u8) -> bool {
    (b' '..MARK).contains(&byte) && byte != ESCAPE
}

/// A line that is being written.
struct Line<'o> {
    out: &'o mut [u8; LINE_BYTES_MAX],
    len: usize,
}

impl Line<'_> {
    fn push(&mut self, bytes: &[u8]) -> Option<()> {
        self.next(bytes.len())?.copy_from_slice(bytes);
        Some(())
    }

    fn push_hex(&mut self, value: u32, digits: usize) -> Option<()> {
        hex::write(value, self.next(digits)?);
        Some(())
    }

    fn next(&mut self, len: usize) -> Option<&mut [u8]> {
        let start = self.len;
        self.len = start.checked_add(len)?;
        self.out.get_mut(start..self.len)
    }
}

/// A piece of the bytes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A whole frame.
    Frame(Frame<'a>),
    /// Bytes outside any frame: a loader's banner, line ends, a damaged frame.
    Noise(&'a [u8]),
}

/// A reader that takes a line apart, however the line is cut into reads.
#[derive(Default)]
pub struct Decoder {
    /// The start of what may become a frame, up to the end of the payload; the first byte is the
    /// mark.
    body: heapless::Vec<u8, ROOM>,
    /// What follows the payload: a mark and digits of the check.
    trailer: heapless::Vec<u8, TRAILER_BYTES>,
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Decoder({} and {} bytes held)", self.body.len(), self.trailer.len())
    }
}

impl Decoder {
    /// Returns a decoder at the start of a line.
    pub const fn new() -> Self {
        Self { body: heapless::Vec::new(), trailer: heapless::Vec::new() }
    }

    /// Takes the next bytes, and calls `each` with every piece that they complete.
    pub fn feed(&mut self, mut bytes: &[u8], each: &mut impl FnMut(Piece<'_>)) {
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.body.is_empty() && byte != MARK {
                let at = bytes.iter().position(|&byte| byte == MARK);
                let (noise, after) = at.map_or((bytes, &[][..]), |at| bytes.split_at(at));
                each(Piece::Noise(noise));
                bytes = after;
                continue;
            }
            if self.takes(byte) {
                bytes = rest;
                self.complete(each);
            } else {
                // The byte is looked at again, after what was held.
                self.give_up(byte, each);
            }
        }
    }

    /// Ends the line: the bytes that are held are noise.
    pub fn finish(&mut self, each: &mut impl FnMut(Piece<'_>)) {
        self.drop_all(each);
    }

    /// Holds `byte` if a frame may have it after what is held. Returns whether it may.
    fn takes(&mut self, byte: u8) -> bool {
        let held = match (self.body.len(), self.trailer.is_empty()) {
            (0, _) if byte == MARK => self.body.push(byte),
            (1, _) if byte == START => self.body.push(byte),
            (0 | 1, _) => return false,
            (_, false) if byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte) => {
                self.trailer.push(byte)
            }
            (len, true) if byte == MARK && len >= HEADER_BYTES => self.trailer.push(byte),
            // Without room for the byte, the payload is too long.
            (_, true) if (b' '..MARK).contains(&byte) => self.body.push(byte),
            _ => return false,
        };
        held.is_ok()
    }

    /// Drops what is held, because `byte` does not follow it; but not a mark at the end, if `byte`
    /// makes it the start of the next frame.
    fn give_up(&mut self, byte: u8, each: &mut impl FnMut(Piece<'_>)) {
        let starts = byte == START && self.trailer.as_slice() == [MARK];
        if !starts {
            return self.drop_all(each);
        }
        each(Piece::Noise(&self.body));
        self.trailer.clear();
        self.body.truncate(1);
    }

    fn drop_all(&mut self, each: &mut impl FnMut(Piece<'_>)) {
        for held in [self.body.as_slice(), &self.trailer] {
            if !held.is_empty() {
                each(Piece::Noise(held));
            }
        }
        self.body.clear();
        self.trailer.clear();
    }

    /// Returns to `each` what is held, if all of a frame's bytes are there.
    fn complete(&mut self, each: &mut impl FnMut(Piece<'_>)) {
        if !self.trailer.is_full() {
            return;
        }
        let mut payload = heapless::Vec::new();
        match parse(&self.body, &self.trailer, &mut payload) {
            Some(frame) => {
                each(Piece::Frame(frame));
                self.body.clear();
                self.trailer.clear();
            }
            None => self.drop_all(each),
        }
    }
}

/// Returns the frame of a body and its trailer, with its content in `payload`; `None` if it is
/// damaged.
fn parse<'p>(
    body: &[u8],
    trailer: &[u8],
    payload: &'p mut heapless::Vec<u8, PAYLOAD_BYTES_MAX>,
) -> Option<Frame<'p>> {
    let body = body.get(START_BYTES..)?;
    let (_, check) = trailer.split_first()?;
    if hex::read(check)? != CHECK.checksum(body) {
        return None;
    }
    let (run, rest) = body.split_at_checked(RUN_DIGITS)?;
    let (number, rest) = rest.split_at_checked(NUMBER_DIGITS)?;
    let (kind, mut text) = rest.split_first()?;
    while let Some((&first, rest)) = text.split_first() {
        let (byte, rest) = match first {
            ESCAPE => {
                let (digits, rest) = rest.split_at_checked(2)?;
                (u8::try_from(hex::read(digits)?).ok()?, rest)
            }
            _ => (first, rest),
        };
        payload.push(byte).ok()?;
        text = rest;
    }
    Some(Frame {
        run: u16::try_from(hex::read(run)?).ok()?,
        number: hex::read(number)?,
        kind: Kind::from_byte(*kind)?,
        payload,
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
                    prop::option::of((any::<u16>(), any::<u32>(), 0..Kind::ALL.len())),
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
                        let kind = Kind::ALL[kind];
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
