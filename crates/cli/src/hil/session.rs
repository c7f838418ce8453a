//! What a guest says over a wire, put in order.
//!
//! Always: pure; only frames of the run whose hello was seen count, each once; a frame that was
//! lost is counted, and so is a second hello.

use rootlet_guest::wire::{Decoder, Frame, Kind, Piece};

use crate::boot::console::Lines;
use crate::boot::verdict::Verdict;

/// What came over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// The guest is up: the text of its hello.
    Hello(String),
    /// Standard output of the guest command.
    Output(Vec<u8>),
    /// Standard error of the guest command.
    Error(Vec<u8>),
    /// How far it is.
    Progress(String),
    /// A part of the timeline.
    Timeline,
    /// The verdict.
    Verdict(Verdict),
    /// A line of someone else.
    Noise(String),
}

/// The state of the wire.
#[derive(Default)]
pub struct Session {
    decoder: Decoder,
    noise: Lines,
    run: Option<u16>,
    next: u32,
    /// What was counted.
    pub counts: Counts,
}

/// What was counted on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Bytes of any kind.
    pub bytes: u64,
    /// Frames of the run.
    pub frames: u64,
    /// Frames that are missing between others.
    pub lost: u64,
    /// Frames of a run whose hello was not seen, of an earlier boot or of one whose start was lost.
    pub stale: u64,
    /// Lines of others.
    pub noise_lines: u64,
    /// How often another run said hello.
    pub restarts: u64,
}

impl Session {
    /// Takes bytes off the wire and calls `each` with what they complete.
    pub fn feed(&mut self, bytes: &[u8], each: &mut dyn FnMut(Said)) {
        let Self { decoder, noise, run, next, counts } = self;
        counts.bytes += bytes.len() as u64;
        decoder.feed(bytes, &mut |piece| match piece {
            Piece::Noise(bytes) => noise.push(bytes, &mut |line| {
                counts.noise_lines += 1;
                each(Said::Noise(line));
            }),
            Piece::Frame(frame) => {
                if is_next(&frame, run, next, counts) {
                    each(said(frame.kind, frame.payload));
                }
            }
        });
    }

    /// Ends the wire.
    pub fn finish(&mut self, each: &mut dyn FnMut(Said)) {
        let Self { decoder, noise, counts, .. } = self;
        let mut line = |line| {
            counts.noise_lines += 1;
            each(Said::Noise(line));
        };
        decoder.finish(&mut |piece| {
            if let Piece::Noise(bytes) = piece {
                noise.push(bytes, &mut line);
            }
        });
        noise.end(&mut line);
    }
}

/// Returns whether the frame belongs to this run and is not a copy. Counts the frames that are
/// missing before it.
fn is_next(frame: &Frame<'_>, run: &mut Option<u16>, next: &mut u32, counts: &mut Counts) -> bool {
    if frame.kind == Kind::Hello && *run != Some(frame.run) {
        counts.restarts += u64::from(run.is_some());
        *run = Some(frame.run);
        *next = 0;
    }
    if *run != Some(frame.run) {
        counts.stale += 1;
        return false;
    }
    let Some(missing) = frame.number.checked_sub(*next) else { return false };
    counts.lost += u64::from(missing);
    counts.frames += 1;
    *next = frame.number.saturating_add(1);
    true
}

fn said(kind: Kind, payload: &[u8]) -> Said {
    let text = || String::from_utf8_lossy(payload).into_owned();
    match kind {
        Kind::Hello => Said::Hello(text()),
        Kind::Output => Said::Output(payload.to_vec()),
        Kind::Error => Said::Error(payload.to_vec()),
        Kind::Progress => Said::Progress(text()),
        // The raw log has it.
        Kind::Timeline => Said::Timeline,
        Kind::Verdict => Verdict::parse(&text()).map_or(Said::Noise(text()), Said::Verdict),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rootlet_guest::wire::{LINE_BYTES_MAX, encode};

    fn line(run: u16, number: u32, kind: Kind, text: &str) -> Vec<u8> {
        let frame = Frame { run, number, kind, payload: text.as_bytes() };
        encode(&frame, &mut [0; LINE_BYTES_MAX]).unwrap().to_vec()
    }

    fn heard(wire: &[u8]) -> (Vec<Said>, Counts) {
        let (mut session, mut said) = (Session::default(), Vec::new());
        for bytes in wire.chunks(5) {
            session.feed(bytes, &mut |what| said.push(what));
        }
        session.finish(&mut |what| said.push(what));
        (said, session.counts)
    }

    #[test]
    fn copies_count_once_and_chatter_is_told_apart() {
        let hello = line(1, 0, Kind::Hello, "board=x");
        let wire = [
            b"SeaBIOS\r\n\r\n".to_vec(),
            hello.clone(),
            hello,
            line(1, 1, Kind::Output, "one\n"),
            b"kernel: hm\n".to_vec(),
            line(1, 1, Kind::Output, "one\n"),
            line(1, 2, Kind::Verdict, "PASS reads=3"),
        ];
        let (said, counts) = heard(&wire.concat());
        let expected = [
            Said::Noise("SeaBIOS".into()),
            Said::Hello("board=x".into()),
            Said::Output(b"one\n".to_vec()),
            Said::Noise("kernel: hm".into()),
            Said::Verdict(Verdict::parse("PASS reads=3").unwrap()),
        ];
        assert_eq!(said, expected);
        assert_eq!((counts.frames, counts.lost, counts.stale, counts.restarts), (3, 0, 0, 0));
        assert_eq!(counts.noise_lines, 2);
    }

    #[test]
    fn what_an_earlier_boot_left_in_the_line_is_not_this_ones() {
        let wire = [
            line(9, 7, Kind::Output, "old\n"),
            line(9, 8, Kind::Verdict, "PASS"),
            line(1, 0, Kind::Hello, "board=x"),
            line(9, 9, Kind::Verdict, "PASS"),
        ];
        let (said, counts) = heard(&wire.concat());
        assert_eq!(said, [Said::Hello("board=x".into())]);
        assert_eq!((counts.stale, counts.lost), (3, 0));
    }

    #[test]
    fn missing_frames_and_second_hellos_are_counted() {
        let wire = [
            line(1, 0, Kind::Hello, ""),
            line(1, 4, Kind::Output, "x"),
            line(1, 6, Kind::Output, "y"),
            line(2, 0, Kind::Hello, ""),
        ];
        let (_, counts) = heard(&wire.concat());
        assert_eq!((counts.lost, counts.restarts), (4, 1));
    }
}
