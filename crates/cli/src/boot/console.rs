//! The serial line of the guest, taken apart.
//!
//! Always: only payloads of whole frames count as the guest command's output; everything else on
//! the line is kept apart, and lines of it are shown whole.

use rootlet_guest::frame::{Decoder, Kind, Piece};

use crate::boot::verdict::Verdict;

/// The longest line of noise that waits for its end.
const LINE_BYTES_MAX: usize = 4096;

/// What came over the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Standard output of the guest command.
    Output(Vec<u8>),
    /// Standard error of the guest command.
    Error(Vec<u8>),
    /// A line outside of frames: a loader's banner, a panic in plain text.
    Noise(String),
    /// A part of the timeline: whole lines.
    Timeline(Vec<u8>),
    /// The verdict.
    Verdict(Verdict),
}

/// The state of the line.
#[derive(Default)]
pub struct Console {
    decoder: Decoder,
    noise: Lines,
}

/// Bytes outside of frames, on their way to be lines.
#[derive(Default)]
pub struct Lines(Vec<u8>);

impl Lines {
    /// Takes bytes and hands out the lines that they end.
    pub fn push(&mut self, bytes: &[u8], each: &mut dyn FnMut(String)) {
        for &byte in bytes {
            match byte {
                b'\n' => self.end(each),
                _ => self.0.push(byte),
            }
            if self.0.len() >= LINE_BYTES_MAX {
                self.end(each);
            }
        }
    }

    /// Hands out the collected line, with control characters made visible.
    pub fn end(&mut self, each: &mut dyn FnMut(String)) {
        let line = String::from_utf8_lossy(self.0.trim_ascii_end()).into_owned();
        self.0.clear();
        if !line.is_empty() {
            let visible = |c: char| if c.is_control() && c != '\t' { '\u{fffd}' } else { c };
            each(line.chars().map(visible).collect());
        }
    }
}

impl Console {
    /// Takes bytes off the line and calls `each` with what they complete.
    pub fn feed(&mut self, bytes: &[u8], each: &mut impl FnMut(Said)) {
        let Self { decoder, noise } = self;
        decoder.feed(bytes, &mut |piece| sort(piece, noise, each));
    }

    /// Ends the line.
    pub fn finish(&mut self, each: &mut impl FnMut(Said)) {
        let Self { decoder, noise } = self;
        decoder.finish(&mut |piece| sort(piece, noise, each));
        noise.end(&mut |line| each(Said::Noise(line)));
    }
}

fn sort(piece: Piece<'_>, noise: &mut Lines, each: &mut impl FnMut(Said)) {
    match piece {
        Piece::Frame(Kind::Output, payload) => each(Said::Output(payload.to_vec())),
        Piece::Frame(Kind::Error, payload) => each(Said::Error(payload.to_vec())),
        Piece::Frame(Kind::Timeline, payload) => each(Said::Timeline(payload.to_vec())),
        Piece::Frame(Kind::Verdict, payload) => {
            let line = String::from_utf8_lossy(payload);
            each(Verdict::parse(&line).map_or(Said::Noise(line.into_owned()), Said::Verdict));
        }
        Piece::Noise(bytes) => noise.push(bytes, &mut |line| each(Said::Noise(line))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rootlet_guest::frame::{FRAME_BYTES_MAX, encode};

    #[test]
    fn output_noise_and_verdict_are_told_apart_however_the_line_is_cut() {
        let mut line = b"SeaBIOS\r\n\x1b[2J".to_vec();
        for (kind, payload) in [
            (Kind::Output, &b"row\n"[..]),
            (Kind::Error, b"oh\n"),
            (Kind::Timeline, b"end 0\n"),
            (Kind::Verdict, b"FAIL no such file reads=2"),
        ] {
            line.extend_from_slice(encode(kind, payload, &mut [0; FRAME_BYTES_MAX]).unwrap());
        }
        line.extend_from_slice(b"panicked at x.rs");
        for step in 1..line.len() {
            let mut said = Vec::new();
            let mut console = Console::default();
            for bytes in line.chunks(step) {
                console.feed(bytes, &mut |piece| said.push(piece));
            }
            console.finish(&mut |piece| said.push(piece));
            let verdict = Verdict::parse("FAIL no such file reads=2").unwrap();
            let expected = [
                Said::Noise("SeaBIOS".into()),
                Said::Output(b"row\n".to_vec()),
                Said::Error(b"oh\n".to_vec()),
                Said::Timeline(b"end 0\n".to_vec()),
                Said::Verdict(verdict),
                Said::Noise("\u{fffd}[2Jpanicked at x.rs".into()),
            ];
            assert_eq!(said, expected, "step {step}");
        }
    }
}
