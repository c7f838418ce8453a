//! The timeline that a guest sends: its events add up to the boot's counters.

use std::ffi::OsString;
use std::fs;

use rootlet::storage::events::{Event, Kind as What};
use rootlet_guest::frame::{Decoder, Kind, Piece};
use rootlet_guest::timeline::{Begin, Line};

use crate::boot::passes;
use crate::regions::MANIFEST;
use crate::sample::Sample;

/// What a boot sent.
#[derive(Default)]
struct Sent {
    begin: Begin,
    end: Option<u64>,
    stages: Vec<String>,
    slots: usize,
    files: usize,
    events: Vec<Event>,
    verdict: String,
}

/// Boots with `words` as options of the guest, and returns the frames that the guest sent.
fn boot(sample: &Sample, words: &[&str]) -> Sent {
    let keep = tempfile::tempdir().unwrap();
    let options = words.iter().flat_map(|word| ["--guest-option", *word]);
    let options: Vec<&str> = options.chain(["--keep", keep.path().to_str().unwrap()]).collect();
    let args: Vec<OsString> = sample.cached(&[&options[..], &MANIFEST].concat());
    let outcome = passes(args);
    assert!(outcome.stdout == sample.manifest(), "{}", outcome.stderr);
    let mut sent = Sent::default();
    let mut each = |piece: Piece<'_>| match piece {
        Piece::Frame(Kind::Timeline, payload) => {
            let payload = str::from_utf8(payload).unwrap();
            assert!(payload.ends_with('\n'), "whole lines: {payload}");
            payload.lines().for_each(|line| sent.take(line));
        }
        Piece::Frame(Kind::Verdict, payload) => {
            sent.verdict = String::from_utf8(payload.to_vec()).unwrap();
        }
        _ => {}
    };
    Decoder::new().feed(&fs::read(keep.path().join("console.bin")).unwrap(), &mut each);
    sent
}

impl Sent {
    fn take(&mut self, line: &str) {
        assert!(self.end.is_none(), "{line} after the end");
        match Line::parse(line).unwrap_or_else(|| panic!("no line: {line}")) {
            Line::Begin(begin) => self.begin = begin,
            Line::Mark { name, .. } => self.stages.push(name.into()),
            Line::Slot { .. } => self.slots += 1,
            Line::File { path, .. } => {
                assert!(path.starts_with('/') || path.starts_with("..."), "{path}");
                self.files += 1;
            }
            Line::Event(event) => self.events.push(event),
            Line::End { events, unsent } => {
                assert_eq!(unsent, 0);
                self.end = Some(events);
            }
        }
    }

    /// Returns a counter of the verdict.
    fn counter(&self, name: &str) -> u64 {
        let (_, rest) = self.verdict.split_once(&format!(" {name}=")).unwrap();
        rest.split(' ').next().unwrap().parse().unwrap()
    }

    fn sum(&self, kind: What) -> (u64, u64) {
        let events = self.events.iter().filter(|event| event.kind == kind);
        events.fold((0, 0), |(count, bytes), event| (count + 1, bytes + event.len))
    }

    fn assert_whole(&self) {
        let events = self.events.len() as u64;
        assert_eq!((self.begin.events, self.end), (events, Some(events)));
        assert!(events > 0 && self.slots > 1);
        assert_eq!(self.stages, ["devices", "bound", "region", "mounted", "read", "end"]);
        let fetched = (self.counter("fetches"), self.counter("fetched_bytes"));
        let reads = (self.counter("reads"), self.counter("asked_bytes"));
        assert_eq!(self.sum(What::Fetch), fetched);
        assert_eq!(self.sum(What::Read), reads);
        assert_eq!(self.sum(What::Join).0, self.counter("joins"));
        let flushes = self.begin.flushes_before + self.sum(What::Flush).0;
        assert_eq!(flushes, self.counter("flushes"));
        let written = self.begin.written_before + self.sum(What::Write).1;
        assert_eq!(written, self.counter("written_bytes"));
    }
}

#[test]
fn events_of_a_cold_and_a_warm_boot_sum_up_to_their_verdicts() {
    let sample = Sample::new();
    let cold = boot(&sample, &["timeline=60000"]);
    assert_eq!(cold.begin.dropped, 0);
    cold.assert_whole();
    assert!(cold.sum(What::Fetch).1 > 0 && cold.files > 0);
    let warm = boot(&sample, &["timeline=60000"]);
    assert_eq!(warm.begin.dropped, 0);
    warm.assert_whole();
    assert_eq!(warm.sum(What::Fetch), (0, 0));
    assert!(warm.sum(What::Hit).0 >= warm.counter("hits") && warm.counter("hits") > 0);
}

#[test]
fn ring_of_sixteen_entries_drops_the_others_and_says_so() {
    let sent = boot(&Sample::new(), &["timeline=16"]);
    assert_eq!((sent.begin.events, sent.end, sent.events.len()), (16, Some(16), 16));
    assert!(sent.begin.dropped > 0);
}

#[test]
fn guest_that_is_not_asked_sends_no_timeline() {
    let sent = boot(&Sample::new(), &[]);
    assert!(sent.end.is_none() && sent.events.is_empty() && sent.begin == Begin::default());
    assert!(sent.verdict.starts_with("PASS "));
}
