//! The timeline of one boot, as its guest sent it.
//!
//! Always: what is here was sent whole; how much is not here is known, if the guest's first or
//! last line came. Times and places are less than 2^60 and lengths less than 2^36, so sums of them fit
//! into 64 bits.

use std::collections::BTreeMap;

use rootlet::storage::events::{Cause, Event, Kind};
use rootlet_guest::timeline::{Begin, Line};

use crate::boot::verdict::Verdict;

/// Times in nanoseconds, places and counts are less: 36 years, or an EiB.
const NUMBER_END: u64 = 1 << 60;
/// Lengths in bytes are less.
const LEN_END: u64 = 1 << 36;

/// A device slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its length in bytes.
    pub bytes: u64,
    /// The name of its source.
    pub name: String,
}

/// The last line of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// How many events there are.
    pub events: u64,
    /// How many of them were not sent.
    pub unsent: u64,
}

/// A boot.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// What the guest said at first, if that came.
    pub begin: Option<Begin>,
    /// What the guest said at last, if that came.
    pub end: Option<End>,
    /// The stages and when they were reached, in order.
    pub marks: Vec<(String, u64)>,
    /// The device slots.
    pub slots: BTreeMap<u16, Slot>,
    /// The paths of files by their inodes.
    pub files: BTreeMap<u64, String>,
    /// What happened, by its beginning.
    pub events: Vec<Event>,
    /// The guest's last line.
    pub verdict: Option<Verdict>,
}

impl Timeline {
    /// Returns the timeline that `payloads` make, each whole lines.
    pub fn of<'p>(payloads: impl IntoIterator<Item = &'p [u8]>, verdict: Option<Verdict>) -> Self {
        let mut timeline = Self { verdict, ..Self::default() };
        for payload in payloads {
            String::from_utf8_lossy(payload).lines().for_each(|line| timeline.take(line));
        }
        timeline.marks.sort_by_key(|(_, ns)| *ns);
        timeline.events.sort_by_key(|event| (event.start_ns, event.end_ns));
        timeline
    }

    /// Takes a line; one that is none, or that no guest can mean, is lost.
    fn take(&mut self, line: &str) {
        match Line::parse(line).filter(is_possible) {
            Some(Line::Begin(begin)) => self.begin = Some(begin),
            Some(Line::Mark { name, ns }) => self.marks.push((shown(name), ns)),
            Some(Line::Slot { slot, bytes, name }) => {
                self.slots.insert(slot, Slot { bytes, name: shown(name) });
            }
            Some(Line::File { nid, path }) => {
                self.files.insert(nid, shown(path));
            }
            Some(Line::Event(event)) => self.events.push(event),
            Some(Line::End { events, unsent }) => self.end = Some(End { events, unsent }),
            None => {}
        }
    }

    /// Returns how many events the guest dropped for want of room.
    pub fn dropped(&self) -> u64 {
        self.begin.map_or(0, |begin| begin.dropped)
    }

    /// Returns how many events the guest could not send; 0 if its last line is lost.
    pub fn unsent(&self) -> u64 {
        self.end.map_or(0, |end| end.unsent)
    }

    /// Returns how many events were lost on their way; `None` if nobody knows.
    pub fn lost(&self) -> Option<u64> {
        let events = self.begin.map(|begin| begin.events).or(self.end.map(|end| end.events))?;
        events.checked_sub(self.unsent())?.checked_sub(self.events.len() as u64)
    }

    /// Returns whether every event of the boot is here.
    pub fn is_whole(&self) -> bool {
        let is_all = self.dropped() == 0 && self.unsent() == 0;
        is_all && self.begin.is_some() && self.lost() == Some(0)
    }

    /// Returns why these are not the lines of one boot, if they are not.
    pub fn contradiction(&self) -> Option<String> {
        let here = self.events.len() as u64 + self.unsent();
        let said = [self.begin.map(|begin| begin.events), self.end.map(|end| end.events)];
        let numbers: Vec<u64> = said.into_iter().flatten().collect();
        match *numbers {
            [first, last] if first != last => Some(format!(
                "its first line says {first} events and its last line {last}: they are of two boots"
            )),
            [said, ..] if here > said => Some(format!(
                "it has {here} events and its guest sent {said}: they are of two boots"
            )),
            _ => None,
        }
    }

    /// Returns when the first byte of a file was there, by the verdict or else by the events;
    /// `None` if none was read.
    pub fn first_byte_ns(&self) -> Option<u64> {
        let said = self.verdict.as_ref().and_then(|verdict| verdict.number("first_byte_us"));
        let read = |event: &&Event| event.kind == Kind::Read && event.len > 0;
        let seen = self.events.iter().filter(read).map(|event| event.end_ns).min();
        match said {
            Some(0) => None,
            // The verdict counts whole microseconds.
            Some(us) => {
                let said = us.checked_mul(1000).filter(|ns| *ns < NUMBER_END);
                seen.filter(|ns| ns / 1000 == us).or(said).or(seen)
            }
            None => seen,
        }
    }

    /// Returns when the last thing happened.
    pub fn end_ns(&self) -> u64 {
        let events = self.events.iter().map(|event| event.end_ns);
        events.chain(self.marks.iter().map(|(_, ns)| *ns)).max().unwrap_or(0)
    }

    /// Returns the name of a slot.
    pub fn slot_name(&self, slot: u16) -> String {
        self.slots.get(&slot).map_or_else(|| format!("slot {slot}"), |slot| slot.name.clone())
    }

    /// Returns the name of a file.
    pub fn file_name(&self, nid: u64) -> String {
        self.files.get(&nid).map_or_else(|| format!("inode {nid}"), String::clone)
    }
}

/// Returns a name with U+FFFD for each control character: a name may stand on a terminal.
pub fn shown(name: &str) -> String {
    name.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
}

/// Returns whether a line says what may have happened.
fn is_possible(line: &Line<'_>) -> bool {
    let fits = |numbers: &[u64]| numbers.iter().all(|number| *number < NUMBER_END);
    match line {
        Line::Begin(Begin { events, dropped, flushes_before, written_before }) => {
            fits(&[*events, *dropped, *flushes_before, *written_before])
        }
        Line::Mark { ns, .. } => fits(&[*ns]),
        Line::Event(event) => fits(&[event.end_ns, event.at]) && event.len < LEN_END,
        Line::End { events, unsent } => fits(&[*events, *unsent]),
        Line::Slot { .. } | Line::File { .. } => true,
    }
}

/// Returns whether an event is a read of a device that a reader may have waited for.
pub fn is_read_of_device(event: &Event) -> bool {
    let reads =
        matches!(event.kind, Kind::Fetch | Kind::Failed | Kind::Hit | Kind::Refused | Kind::Table);
    reads && matches!(event.cause, Cause::Demand | Cause::Ahead)
}

/// Returns a boot for tests: an image, a blob, and a file of which one block is never read.
#[cfg(test)]
pub fn sample() -> Timeline {
    let text = "begin 1 events 9 dropped 0 flushes 1 written 4096\n\
        mark devices 1000000\n\
        mark bound 2000000\n\
        mark mounted 4000000\n\
        mark end 20000000\n\
        slot 0 49152 image\n\
        slot 1 8478720 blob1\n\
        file 36 /usr/bin/tool\n\
        event table demand - 2500000 100000 4096 4096 -\n\
        event fetch demand 0 3000000 500000 0 4096 -\n\
        event fetch ahead 1 5000000 1000000 65536 131072 36\n\
        event use demand 1 6000000 100 65536 126000 36\n\
        event read demand - 4900000 1200000 0 126000 36\n\
        event fetch prefetch 1 7000000 1000000 262144 65536 -\n\
        event hit demand 1 9000000 200000 0 4096 36\n\
        event write keep - 10000000 3000000 1048576 200704 -\n\
        event flush keep - 14000000 4000000 0 0 -\n\
        end 9\n";
    let verdict = "PASS files=1 reads=1 asked_bytes=126000 fetches=3 fetched_bytes=200704 hits=1 \
        hit_bytes=4096 joins=0 written_bytes=204800 flushes=2 first_byte_us=6100";
    Timeline::of([text.as_bytes()], Verdict::parse(verdict))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_is_whole_unless_a_line_is_missing() {
        let whole = sample();
        assert!(whole.is_whole() && whole.lost() == Some(0));
        assert_eq!(whole.first_byte_ns(), Some(6_100_000));
        assert_eq!(whole.end_ns(), 20_000_000);
        let lines = ["begin 1 events 2 dropped 0 flushes 0 written 0\nevent fetch dem", "end 2\n"];
        let damaged = Timeline::of(lines.map(str::as_bytes), None);
        assert_eq!((damaged.lost(), damaged.is_whole()), (Some(2), false));
        assert_eq!(Timeline::default().lost(), None);
        assert_eq!(damaged.first_byte_ns(), None);
    }

    #[test]
    fn boot_that_dropped_events_is_not_whole() {
        let text = b"begin 1 events 0 dropped 5 flushes 0 written 0\nend 0\n";
        let timeline = Timeline::of([&text[..]], None);
        assert_eq!((timeline.dropped(), timeline.lost()), (5, Some(0)));
        assert!(!timeline.is_whole());
    }

    #[test]
    fn first_byte_that_no_boot_can_have_is_that_of_the_events() {
        for us in [u64::MAX / 1000, NUMBER_END / 1000 + 1, u64::MAX] {
            let mut timeline = sample();
            timeline.verdict = Verdict::parse(&format!("PASS first_byte_us={us}"));
            assert_eq!(timeline.first_byte_ns(), Some(6_100_000));
            timeline.events.clear();
            assert_eq!(timeline.first_byte_ns(), None);
        }
    }

    #[test]
    fn names_have_no_control_characters() {
        let text = "mark a\u{1b}b 1\nslot 1 9 \u{7}bell\nfile 36 /\u{9b}2J\r\nfile 37 /a\tb\n";
        let timeline = Timeline::of([text.as_bytes()], None);
        assert_eq!(timeline.marks, [("a\u{fffd}b".to_string(), 1)]);
        assert_eq!(timeline.slot_name(1), "\u{fffd}bell");
        assert_eq!(timeline.file_name(36), "/\u{fffd}2J");
        assert_eq!(timeline.file_name(37), "/a\u{fffd}b");
    }

    #[test]
    fn lines_of_two_boots_contradict_each_other() {
        assert_eq!(sample().contradiction(), None);
        assert_eq!(Timeline::default().contradiction(), None);
        let event = "event fetch demand 0 1 2 0 4096 -\n";
        let begin = "begin 1 events 1 dropped 0 flushes 0 written 0\n";
        for (text, is_mixed) in [
            (format!("{begin}{event}end 1 unsent 0\n"), false),
            (format!("{begin}{event}end 2 unsent 0\n"), true),
            (format!("{begin}{event}{event}"), true),
            (format!("{begin}{event}end 1 unsent 1\n"), true),
            (format!("{event}{event}end 3 unsent 1\n"), false),
            (format!("{event}{event}end 1\n"), true),
            (format!("{event}{event}"), false),
        ] {
            let timeline = Timeline::of([text.as_bytes()], None);
            assert_eq!(timeline.contradiction().is_some(), is_mixed, "{text}");
        }
    }

    #[test]
    fn events_that_were_not_sent_are_not_lost_on_the_way() {
        let text = "begin 1 events 3 dropped 0 flushes 0 written 0\n\
            event fetch demand 0 1 2 0 4096 -\nend 3 unsent 1\n";
        let timeline = Timeline::of([text.as_bytes()], None);
        assert_eq!((timeline.unsent(), timeline.lost(), timeline.is_whole()), (1, Some(1), false));
    }
}
