//! What a guest did and when, as lines of text: for a picture of its boot.
//!
//! Always: a line says the same before and after the way; a line that is not whole is none. What
//! is sent begins with [`Line::Begin`] and ends with [`Line::End`], both of which say how many
//! events there are, so a reader knows how many were lost on the way.
//!
//! ```text
//! begin 1 events 812 dropped 0 flushes 2 written 8192
//! mark devices 60123456
//! slot 1 8478720 blob1
//! file 36 /usr/bin/tool
//! event fetch demand 1 78812345 912345 65536 4096 36
//! end 812 unsent 0
//! ```
//! - `begin`: the version of these lines, which is 1; how many events follow, and how many the
//!   guest dropped before for want of room; flushes of the region, and bytes written to it, before
//!   the first event.
//! - `mark`: a [`Stage`] that was reached, and when.
//! - `slot`: a device slot, its bytes, and the name of its source to the line's end.
//! - `file`: the number of an inode, and its path to the line's end, as [`ls`](crate::Command::Ls)
//!   prints it; of a long one, its end after `...`.
//! - `event`: kind, cause, slot or `-`, when it began, how long it took, the first byte, how many
//!   bytes, and the inode or `-` ([`Event`] says what they mean).
//! - `end`: how many events there are, and how many of them no line could hold; the second number
//!   may be absent, which means 0.
//!
//! Times are decimal nanoseconds, the first since the entry of the guest. Lines come in no order
//! but that of the first and the last.

mod marks;
mod names;
mod send;

pub use marks::{Marks, Stage};
pub use names::Names;
pub use send::{LINE_BYTES_MAX, Report};

use core::fmt;
use rootlet::storage::events::{Cause, Event, Kind, Place};

/// The version of the lines.
pub const VERSION: u32 = 1;

/// The words of kinds and causes.
const KINDS: [(Kind, &str); 10] = [
    (Kind::Read, "read"),
    (Kind::Use, "use"),
    (Kind::Fetch, "fetch"),
    (Kind::Failed, "failed"),
    (Kind::Hit, "hit"),
    (Kind::Refused, "refused"),
    (Kind::Join, "join"),
    (Kind::Table, "table"),
    (Kind::Write, "write"),
    (Kind::Flush, "flush"),
];
const CAUSES: [(Cause, &str); 4] = [
    (Cause::Demand, "demand"),
    (Cause::Ahead, "ahead"),
    (Cause::Prefetch, "prefetch"),
    (Cause::Keep, "keep"),
];

/// Returns the word for a kind.
pub fn kind_word(kind: Kind) -> &'static str {
    word(&KINDS, kind)
}

/// Returns the word for a cause.
pub fn cause_word(cause: Cause) -> &'static str {
    word(&CAUSES, cause)
}

fn word<T: Copy + PartialEq>(words: &[(T, &'static str)], of: T) -> &'static str {
    let found = words.iter().find(|(value, _)| *value == of);
    found.map_or("?", |(_, word)| word)
}

fn meaning<T: Copy>(words: &[(T, &str)], word: &str) -> Option<T> {
    words.iter().find(|(_, own)| *own == word).map(|(value, _)| *value)
}

/// One line, without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'l> {
    /// The first line.
    Begin(Begin),
    /// A stage was reached.
    Mark {
        /// Its name, one word.
        name: &'l str,
        /// When.
        ns: u64,
    },
    /// A device slot.
    Slot {
        /// Its number; 0 is the image.
        slot: u16,
        /// Its length.
        bytes: u64,
        /// The name of its source.
        name: &'l str,
    },
    /// A file that was read.
    File {
        /// Its inode.
        nid: u64,
        /// Its path.
        path: &'l str,
    },
    /// Something that happened.
    Event(Event),
    /// The last line.
    End {
        /// How many events there are.
        events: u64,
        /// How many of them were not sent, because no line could hold them.
        unsent: u64,
    },
}

/// What the first line says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Begin {
    /// How many events follow.
    pub events: u64,
    /// How many were dropped before they were sent.
    pub dropped: u64,
    /// Flushes of the region before the first event.
    pub flushes_before: u64,
    /// Bytes written to the region before the first event.
    pub written_before: u64,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin(Begin { events, dropped, flushes_before, written_before }) => write!(
                f,
                "begin {VERSION} events {events} dropped {dropped} flushes {flushes_before} \
                 written {written_before}"
            ),
            Self::Mark { name, ns } => write!(f, "mark {name} {ns}"),
            Self::Slot { slot, bytes, name } => write!(f, "slot {slot} {bytes} {name}"),
            Self::File { nid, path } => write!(f, "file {nid} {path}"),
            Self::Event(event) => print(event, f),
            Self::End { events, unsent } => write!(f, "end {events} unsent {unsent}"),
        }
    }
}

fn print(event: &Event, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Event { kind, cause, slot, start_ns, end_ns, at, len, nid, .. } = *event;
    write!(f, "event {} {} ", kind_word(kind), cause_word(cause))?;
    match slot {
        Some(slot) => write!(f, "{slot}")?,
        None => f.write_str("-")?,
    }
    // An event that ends before its start cannot be written, and is counted as unsent.
    let took_ns = end_ns.checked_sub(start_ns).ok_or(fmt::Error)?;
    write!(f, " {start_ns} {took_ns} {at} {len} ")?;
    match nid {
        Some(nid) => write!(f, "{nid}"),
        None => f.write_str("-"),
    }
}

impl<'l> Line<'l> {
    /// Reads a line; `None` if it is none.
    pub fn parse(line: &'l str) -> Option<Self> {
        let (word, rest) = line.split_once(' ')?;
        match word {
            "begin" => begin(rest).map(Self::Begin),
            "mark" => {
                let (name, ns) = rest.split_once(' ')?;
                Some(Self::Mark { name, ns: ns.parse().ok()? })
            }
            "slot" => {
                let (slot, rest) = rest.split_once(' ')?;
                let (bytes, name) = rest.split_once(' ')?;
                Some(Self::Slot { slot: slot.parse().ok()?, bytes: bytes.parse().ok()?, name })
            }
            "file" => {
                let (nid, path) = rest.split_once(' ')?;
                Some(Self::File { nid: nid.parse().ok()?, path })
            }
            "event" => event(rest).map(Self::Event),
            "end" => {
                let (events, unsent) = rest.split_once(" unsent ").unwrap_or((rest, "0"));
                Some(Self::End { events: events.parse().ok()?, unsent: unsent.parse().ok()? })
            }
            _ => None,
        }
    }
}

fn begin(text: &str) -> Option<Begin> {
    let mut words = text.split(' ');
    if words.next()?.parse() != Ok(VERSION) {
        return None;
    }
    let mut number = |name: &str| words.next().filter(|word| *word == name).and(words.next());
    let begin = Begin {
        events: number("events")?.parse().ok()?,
        dropped: number("dropped")?.parse().ok()?,
        flushes_before: number("flushes")?.parse().ok()?,
        written_before: number("written")?.parse().ok()?,
    };
    words.next().is_none().then_some(begin)
}

fn event(text: &str) -> Option<Event> {
    let mut words = text.split(' ');
    let kind = meaning(&KINDS, words.next()?)?;
    let cause = meaning(&CAUSES, words.next()?)?;
    let slot = match words.next()? {
        "-" => None,
        slot => Some(slot.parse().ok()?),
    };
    let mut number = || words.next()?.parse::<u64>().ok();
    let (start_ns, took_ns, at, len) = (number()?, number()?, number()?, number()?);
    let end_ns = start_ns.checked_add(took_ns)?;
    let nid = match words.next()? {
        "-" => None,
        nid => Some(nid.parse().ok()?),
    };
    let event = Event::new(kind, cause, Place { slot, at, len });
    let event = event.with_time(start_ns, end_ns).with_nid(nid);
    words.next().is_none().then_some(event)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;

    fn events() -> impl Strategy<Value = Event> {
        let what = (prop::sample::select(&KINDS[..]), prop::sample::select(&CAUSES[..]));
        let place = (any::<Option<u16>>(), any::<u64>(), any::<u64>(), any::<Option<u64>>());
        (what, place, any::<(u64, u64)>()).prop_map(
            |(((kind, _), (cause, _)), (slot, at, len, nid), (one, other))| {
                let (start_ns, end_ns) = (one.min(other), one.max(other));
                let event = Event::new(kind, cause, Place { slot, at, len });
                event.with_time(start_ns, end_ns).with_nid(nid)
            },
        )
    }

    proptest! {
        #[test]
        fn event_is_the_same_after_the_way(event in events()) {
            let line = Line::Event(event).to_string();
            prop_assert!(line.len() < LINE_BYTES_MAX, "{}", line);
            prop_assert_eq!(Line::parse(&line), Some(Line::Event(event)));
            let longer = std::format!("{line} 1");
            prop_assert_eq!(Line::parse(&longer), None);
        }

        #[test]
        fn no_text_is_taken_apart_wrongly(text in "(begin|mark|slot|file|event|end)?[ -~]{0,60}") {
            if let Some(line) = Line::parse(&text) {
                let printed = line.to_string();
                prop_assert_eq!(Line::parse(&printed), Some(line));
            }
        }
    }

    #[test]
    fn lines_are_the_documented_ones() {
        let begin = Begin { events: 812, dropped: 3, flushes_before: 2, written_before: 8192 };
        let place = Place { slot: Some(1), at: 65_536, len: 4096 };
        let event = Event::new(Kind::Fetch, Cause::Demand, place);
        let event = event.with_time(78_812_345, 79_724_690).with_nid(Some(36));
        for (line, text) in [
            (Line::Begin(begin), "begin 1 events 812 dropped 3 flushes 2 written 8192"),
            (Line::Mark { name: "devices", ns: 60 }, "mark devices 60"),
            (Line::Slot { slot: 1, bytes: 9, name: "share:c d" }, "slot 1 9 share:c d"),
            (Line::File { nid: 36, path: "/a b" }, "file 36 /a b"),
            (Line::Event(event), "event fetch demand 1 78812345 912345 65536 4096 36"),
            (Line::End { events: 812, unsent: 7 }, "end 812 unsent 7"),
        ] {
            assert_eq!(line.to_string(), text);
            assert_eq!(Line::parse(text), Some(line));
        }
        assert_eq!(Line::parse("end 812"), Some(Line::End { events: 812, unsent: 0 }));
        assert_eq!(Line::parse("begin 2 events 0 dropped 0 flushes 0 written 0"), None);
    }
}
