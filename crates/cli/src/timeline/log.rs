//! What a log holds of a guest's timeline: the raw bytes of a console, framed, as lines of a wire,
//! or plain.
//!
//! Always: memory is bounded, however long a log is; a log of several boots gives the last one that
//! sent a timeline, and nothing of the others; a frame that came several times counts once; what has
//! not its right checksum counts not at all.

use std::io::{self, Read};

use anyhow::{Result, bail};
use rootlet_guest::frame;
use rootlet_guest::wire::{self, Kind};

use super::model::Timeline;
use super::sent::Sent;
use crate::boot::console::Lines;
use crate::boot::verdict::Verdict;

/// Bytes of a log that are looked at together.
const PIECE_BYTES: usize = 64 << 10;
/// Lines of plain text between a timeline and its verdict at most: the guest writes one.
const PLAIN_LINES_MAX: u32 = 4;

/// Returns the timeline in a log; `None` if there is none.
///
/// # Errors
/// Those of reading; a timeline that is too long or contradicts itself.
pub fn read(log: &mut impl Read) -> Result<Option<Timeline>> {
    let mut reader = Reader::default();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match log.read(&mut piece) {
            Ok(0) => break,
            Ok(len) => reader.feed(&piece[..len]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    let Boot { sent, verdict, .. } = reader.finish();
    timeline(&sent, verdict)
}

/// Returns the timeline that a guest sent; `None` if it sent none.
///
/// # Errors
/// One that is too long or contradicts itself.
pub fn timeline(sent: &Sent, verdict: Option<Verdict>) -> Result<Option<Timeline>> {
    if sent.is_empty() {
        return Ok(None);
    }
    let timeline = Timeline::of(sent.payloads()?, verdict);
    match timeline.contradiction() {
        None => Ok(Some(timeline)),
        Some(why) => bail!(why),
    }
}

/// A log that is being read. What is in no frame may be a line of a wire, and what is in neither may
/// be a verdict in plain text.
#[derive(Default)]
struct Reader {
    frames: frame::Decoder,
    wire: wire::Decoder,
    plain: Lines,
    order: Order,
    boot: Boot,
}

impl Reader {
    fn feed(&mut self, bytes: &[u8]) {
        let Self { frames, wire, plain, order, boot } = self;
        frames.feed(bytes, &mut |piece| sort(piece, wire, plain, order, boot));
    }

    fn finish(self) -> Boot {
        let Self { mut frames, mut wire, mut plain, mut order, mut boot } = self;
        frames.finish(&mut |piece| sort(piece, &mut wire, &mut plain, &mut order, &mut boot));
        wire.finish(&mut |piece| sort_wire(piece, &mut plain, &mut order, &mut boot));
        plain.end(&mut |line| boot.take_plain(&line));
        boot
    }
}

fn sort(
    piece: frame::Piece<'_>,
    wire: &mut wire::Decoder,
    plain: &mut Lines,
    order: &mut Order,
    boot: &mut Boot,
) {
    match piece {
        frame::Piece::Frame(kind, payload) => boot.take(kind.into(), payload),
        frame::Piece::Noise(bytes) => {
            wire.feed(bytes, &mut |piece| sort_wire(piece, plain, order, boot));
        }
    }
}

fn sort_wire(piece: wire::Piece<'_>, plain: &mut Lines, order: &mut Order, boot: &mut Boot) {
    match piece {
        wire::Piece::Frame(frame) => match order.place(frame.run, frame.number) {
            Place::Next => boot.take(frame.kind, frame.payload),
            Place::Copy => {}
            Place::OtherBoot => {
                boot.is_over = true;
                boot.take(frame.kind, frame.payload);
            }
        },
        wire::Piece::Noise(bytes) => plain.push(bytes, &mut |line| boot.take_plain(&line)),
    }
}

/// The last line of a wire: its run and its number.
#[derive(Default)]
struct Order(Option<(u16, u32)>);

/// Where a line of a wire belongs.
enum Place {
    /// After the last one.
    Next,
    /// It is the last one again.
    Copy,
    /// To another boot: numbers of a boot grow.
    OtherBoot,
}

impl Order {
    fn place(&mut self, run: u16, number: u32) -> Place {
        let last = self.0.replace((run, number));
        match last {
            None => Place::Next,
            Some(last) if last == (run, number) => Place::Copy,
            Some((last_run, last)) if last_run == run && last < number => Place::Next,
            Some(_) => Place::OtherBoot,
        }
    }
}

/// The last boot of a log that sent a timeline, as far as it was read.
#[derive(Default)]
struct Boot {
    sent: Sent,
    verdict: Option<Verdict>,
    /// Messages of the guest, and lines of plain text, since its last payload.
    messages: u32,
    plain_lines: u32,
    /// Whether the boot has ended, so that what follows is another one's.
    is_over: bool,
}

impl Boot {
    /// Takes a frame. After its timeline a guest sends at most one message, why it failed, and its
    /// verdict.
    fn take(&mut self, kind: Kind, payload: &[u8]) {
        match kind {
            Kind::Timeline => {
                let begins = payload.starts_with(b"begin ");
                if begins || self.is_over || self.messages > 0 {
                    *self = Self::default();
                }
                self.sent.push(payload);
                self.plain_lines = 0;
            }
            Kind::Verdict => self.end(&String::from_utf8_lossy(payload)),
            Kind::Error => {
                self.messages += 1;
                self.is_over |= self.messages > 1;
            }
            Kind::Hello | Kind::Output | Kind::Progress => self.is_over = true,
        }
    }

    /// Takes a line of plain text, which may be the verdict.
    fn take_plain(&mut self, line: &str) {
        self.plain_lines += 1;
        if self.plain_lines <= PLAIN_LINES_MAX && Verdict::parse(line).is_some() {
            self.end(line);
        }
    }

    fn end(&mut self, verdict: &str) {
        if !self.sent.is_empty() && !self.is_over {
            self.verdict = Verdict::parse(verdict);
        }
        self.is_over = true;
    }
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

    fn frames(frames: &[(frame::Kind, &[u8])]) -> Vec<u8> {
        let mut out = [0; frame::FRAME_BYTES_MAX];
        let frames = frames.iter();
        let bytes = frames
            .flat_map(|(kind, payload)| frame::encode(*kind, payload, &mut out).unwrap().to_vec());
        bytes.collect()
    }

    fn framed() -> Vec<u8> {
        let lines = frames(&LINES.map(|line| (frame::Kind::Timeline, line)));
        let verdict = frames(&[(frame::Kind::Verdict, VERDICT)]);
        [b"SeaBIOS\r\n", &lines[..], &verdict].concat()
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

    fn boot(mut log: &[u8]) -> Option<Timeline> {
        read(&mut log).unwrap()
    }

    fn is_whole(log: &[u8]) -> bool {
        let timeline = boot(log).unwrap();
        timeline.is_whole() && timeline.verdict.is_some_and(|verdict| verdict.passed)
    }

    #[test]
    fn timeline_is_found_in_frames_and_on_a_wire() {
        assert!(is_whole(&framed()));
        assert!(is_whole(&wired(7, 1)));
        assert!(is_whole(&wired(7, 3)), "copies count once");
        assert!(boot(b"no timeline here\nPASS files=0\n").is_none());
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
            let timeline = boot(&damaged).unwrap();
            assert_eq!((timeline.lost(), timeline.is_whole()), (Some(2), false));
        }
    }

    #[test]
    fn cuts_of_a_log_make_no_difference() {
        /// A log that gives few bytes at a time.
        struct Slow<'l>(&'l [u8], usize);
        impl Read for Slow<'_> {
            fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
                let len = self.1.min(out.len());
                self.0.read(&mut out[..len])
            }
        }
        for (log, step) in [framed(), wired(7, 2)].iter().flat_map(|log| [(log, 1), (log, 7)]) {
            let timeline = read(&mut Slow(log, step)).unwrap().unwrap();
            assert!(timeline.is_whole() && timeline.verdict.is_some());
        }
    }

    #[test]
    fn boot_whose_first_line_is_lost_is_not_mixed_with_the_one_before() {
        use frame::Kind::{Error, Output, Timeline, Verdict};
        let [begin, events, end] = LINES.map(|line| (Timeline, line));
        let (verdict, error) = ((Verdict, VERDICT), (Error, &b"error   no such file\n"[..]));
        let (notice, output) = ((Error, &b"image   root\n"[..]), (Output, &b"row\n"[..]));
        for between in [
            &[end, verdict][..],
            &[end, error, verdict, notice],
            // The end of the first boot is lost, too.
            &[notice],
            &[output],
            &[verdict],
        ] {
            let all = [&[begin, events][..], between, &[events, end, verdict]].concat();
            let timeline = boot(&frames(&all)).unwrap();
            assert!(timeline.begin.is_none() && timeline.events.len() == 2, "{between:?}");
            assert!(timeline.verdict.is_some(), "{between:?}");
        }
    }

    #[test]
    fn later_boot_without_a_timeline_leaves_the_earlier_one_as_it_is() {
        use frame::Kind::{Error, Output, Verdict};
        let notice = (Error, &b"image   root\n"[..]);
        let later =
            frames(&[notice, notice, (Output, b"row\n"), (Verdict, b"FAIL no such file files=7")]);
        assert!(is_whole(&[framed(), later.clone()].concat()));
        // Without its own verdict it has none.
        let whole = framed();
        let sent = whole.len() - frames(&[(Verdict, VERDICT)]).len();
        let timeline = boot(&[&whole[..sent], &later].concat()).unwrap();
        assert!(timeline.is_whole() && timeline.verdict.is_none());
        let plain = b"image   root\nslot  1\nregion  none\nrow\nFAIL files=7\n";
        let mut log = wired(7, 1);
        log.truncate(log.windows(2).rposition(|pair| pair == b"~r").unwrap());
        log.extend(plain);
        assert!(boot(&log).unwrap().verdict.is_none());
    }

    #[test]
    fn boots_of_a_wire_with_the_same_run_are_told_apart() {
        let mut log = wired(7, 2);
        log.extend(wired(7, 2));
        assert!(is_whole(&log));
        assert!(is_whole(&[framed(), wired(7, 1)].concat()));
        assert!(is_whole(&[wired(7, 1), framed()].concat()));
    }

    #[test]
    fn failed_guest_says_why_before_its_verdict() {
        use frame::Kind::{Error, Timeline, Verdict};
        let lines = frames(&LINES.map(|line| (Timeline, line)));
        let end = frames(&[(Error, b"error   no such file\n"), (Verdict, b"FAIL no such file")]);
        let timeline = boot(&[lines, end].concat()).unwrap();
        assert!(timeline.is_whole() && timeline.verdict.is_some_and(|verdict| !verdict.passed));
    }

    #[test]
    fn timeline_of_two_boots_and_one_that_is_too_long_are_refused() {
        let [begin, events, end] = LINES.map(|line| (frame::Kind::Timeline, line));
        let mixed = frames(&[begin, events, events, end]);
        let error = read(&mut &*mixed).unwrap_err().to_string();
        assert_eq!(error, "it has 4 events and its guest sent 2: they are of two boots");
        let long = [frames(&[begin]), frames(&vec![events; 100_001])].concat();
        let error = read(&mut &*long).unwrap_err().to_string();
        assert!(error.contains("more than 200000 events"), "{error}");
    }
}
