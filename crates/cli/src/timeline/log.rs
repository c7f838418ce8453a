//! What a log holds of a guest's timeline: the raw bytes of a console, framed, as lines of a wire,
//! or plain.
//!
//! Always: a log of several boots gives the last one; a frame that came several times counts once;
//! what has not its right checksum counts not at all.

use std::collections::BTreeMap;

use rootlet_guest::frame;
use rootlet_guest::wire;

use super::model::Timeline;
use crate::boot::verdict::Verdict;

/// A boot in a log, as far as it was read.
#[derive(Default)]
struct Boot {
    /// The payloads by their numbers.
    payloads: BTreeMap<u32, Vec<u8>>,
    verdict: Option<Verdict>,
}

/// Returns the timeline in a log; `None` if there is none.
pub fn read(log: &[u8]) -> Option<Timeline> {
    let framed = read_frames(log);
    let boot = if framed.payloads.is_empty() { read_wire(log) } else { framed };
    let Boot { payloads, verdict } = boot;
    let verdict = verdict.or_else(|| plain_verdict(log));
    let payloads: Vec<&[u8]> = payloads.values().map(Vec::as_slice).collect();
    (!payloads.is_empty()).then(|| Timeline::of(payloads, verdict))
}

fn read_frames(log: &[u8]) -> Boot {
    let mut boot = Boot::default();
    let mut number = 0;
    let mut each = |piece: frame::Piece<'_>| match piece {
        frame::Piece::Frame(frame::Kind::Timeline, payload) => {
            // The first line of another boot.
            if payload.starts_with(b"begin ") {
                boot = Boot::default();
            }
            number += 1;
            boot.payloads.insert(number, payload.to_vec());
        }
        frame::Piece::Frame(frame::Kind::Verdict, payload) => {
            boot.verdict = Verdict::parse(&String::from_utf8_lossy(payload));
        }
        _ => {}
    };
    let mut decoder = frame::Decoder::new();
    decoder.feed(log, &mut each);
    decoder.finish(&mut each);
    boot
}

fn read_wire(log: &[u8]) -> Boot {
    let mut boot = Boot::default();
    let mut run = None;
    let mut each = |piece: wire::Piece<'_>| {
        let wire::Piece::Frame(frame) = piece else { return };
        if run != Some(frame.run) {
            (run, boot) = (Some(frame.run), Boot::default());
        }
        match frame.kind {
            wire::Kind::Timeline => {
                boot.payloads.insert(frame.number, frame.payload.to_vec());
            }
            wire::Kind::Verdict => {
                boot.verdict = Verdict::parse(&String::from_utf8_lossy(frame.payload));
            }
            _ => {}
        }
    };
    let mut decoder = wire::Decoder::new();
    decoder.feed(log, &mut each);
    decoder.finish(&mut each);
    boot
}

/// Returns the last verdict that stands in plain text.
fn plain_verdict(log: &[u8]) -> Option<Verdict> {
    String::from_utf8_lossy(log).lines().rev().find_map(Verdict::parse)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: [&[u8]; 3] = [
        b"begin 1 events 2 dropped 0 flushes 0 written 0\n",
        b"event fetch demand 0 1 2 0 4096 -\nevent hit demand 0 5 2 0 4096 -\n",
        b"end 2\n",
    ];
    const VERDICT: &[u8] = b"PASS files=0 fetches=1 hits=1";

    fn framed() -> Vec<u8> {
        let mut log = b"SeaBIOS\r\n".to_vec();
        let mut out = [0; frame::FRAME_BYTES_MAX];
        for payload in LINES {
            log.extend(frame::encode(frame::Kind::Timeline, payload, &mut out).unwrap());
        }
        log.extend(frame::encode(frame::Kind::Verdict, VERDICT, &mut out).unwrap());
        log
    }

    fn wired(run: u16, copies: usize) -> Vec<u8> {
        let kinds = [(wire::Kind::Timeline, &LINES[..]), (wire::Kind::Verdict, &[VERDICT])];
        let all = kinds.iter().flat_map(|(kind, all)| all.iter().map(move |one| (*kind, *one)));
        let mut log = b"U-Boot 2026.01\r\n".to_vec();
        for (number, (kind, payload)) in (1..).zip(all) {
            let frame = wire::Frame { run, number, kind, payload };
            let mut out = [0; wire::LINE_BYTES_MAX];
            let line = wire::encode(&frame, &mut out).unwrap();
            (0..copies).for_each(|_| log.extend(line));
        }
        log
    }

    fn is_whole(log: &[u8]) -> bool {
        let timeline = read(log).unwrap();
        timeline.is_whole() && timeline.verdict.is_some_and(|verdict| verdict.passed)
    }

    #[test]
    fn timeline_is_found_in_frames_and_on_a_wire() {
        assert!(is_whole(&framed()));
        assert!(is_whole(&wired(7, 1)));
        assert!(is_whole(&wired(7, 3)), "copies count once");
        assert!(read(b"no timeline here\nPASS files=0\n").is_none());
    }

    #[test]
    fn plain_console_has_its_verdict_in_plain_text() {
        let mut log = wired(7, 1);
        let verdict = log.windows(2).rposition(|pair| pair == b"~r").unwrap();
        log.truncate(verdict);
        log.extend(b"PASS files=0 fetches=1 hits=1\n");
        assert!(is_whole(&log));
    }

    #[test]
    fn log_of_several_boots_gives_the_last() {
        let mut log = wired(7, 1);
        log.extend(wired(8, 1));
        assert!(is_whole(&log));
        let mut log = framed();
        log.extend(framed());
        assert!(is_whole(&log));
    }

    #[test]
    fn lost_byte_costs_one_payload_whose_events_are_missed() {
        for (log, mark) in [(framed(), b"event fetch"), (wired(7, 1), b"event fetch")] {
            let at = log.windows(mark.len()).position(|part| part == mark).unwrap();
            let mut damaged = log;
            damaged.remove(at);
            let timeline = read(&damaged).unwrap();
            assert_eq!((timeline.lost(), timeline.is_whole()), (Some(2), false));
        }
    }
}
