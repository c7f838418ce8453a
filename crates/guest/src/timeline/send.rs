//! Sending what a guest recorded, as its last words but for the verdict.
//!
//! Always: allocates nothing; every payload is whole lines, so that one that is lost spoils no
//! other.

use super::marks::Marks;
use super::names::{Name, Names};
use super::{Begin, Line};
use crate::command::Escaped;
use crate::config::{Config, SourceWord};
use crate::mount::Mounted;
use core::fmt::{self, Write};
use rootlet::cache::CacheStats;
use rootlet::storage::DeviceId;
use rootlet::storage::events::{Event, Recorder};
use rootlet_base::units::count;

/// The longest line in bytes, its end included; and the longest payload.
pub const LINE_BYTES_MAX: usize = 256;

/// The longest name of a source or path of a file, in bytes: `slot`, `file`, two numbers of 64 bits,
/// three blanks and the end of the line take less than the rest.
const NAME_BYTES_MAX: usize = LINE_BYTES_MAX - 48;

/// The part of a name that was cut off.
const CUT: &str = "...";

/// A name on its way into a line.
type Text = heapless::String<NAME_BYTES_MAX>;

/// All that is sent.
#[derive(Clone, Copy)]
pub struct Report<'r> {
    /// The events.
    pub recorder: &'r Recorder,
    /// When the guest reached its stages.
    pub marks: &'r Marks,
    /// The files that the command read.
    pub names: &'r Names,
    /// The names of sources.
    pub config: &'r Config,
    /// What is mounted.
    pub mounted: &'r Mounted,
    /// What the region did before the first event.
    pub before: CacheStats,
}

impl Report<'_> {
    /// Sends everything, in payloads of at most [`LINE_BYTES_MAX`] bytes; nothing where nothing was
    /// recorded.
    pub fn send(&self, send: &mut dyn FnMut(&[u8])) {
        if !self.recorder.is_on() {
            return;
        }
        let mut events = 0_u64;
        self.recorder.each(|_| count(&mut events, 1));
        let mut payload = Payload { lines: heapless::String::new(), unsent: 0, send };
        payload.line(Line::Begin(Begin {
            events,
            dropped: self.recorder.dropped(),
            flushes_before: self.before.flushes,
            written_before: self.before.written_bytes,
        }));
        for (stage, ns) in self.marks.iter() {
            payload.line(Line::Mark { name: stage.word(), ns });
        }
        self.send_slots(&mut payload);
        for name in self.names.iter() {
            payload.line(Line::File { nid: name.nid.0, path: &path_text(name) });
        }
        self.recorder.each(|event| payload.event(*event));
        payload.line(Line::End { events, unsent: payload.unsent });
        payload.flush();
    }

    fn send_slots(&self, payload: &mut Payload<'_>) {
        // Events count the slots of all images of a stack.
        let sources = (0..=u16::MAX).zip(self.mounted.sources());
        for (slot, (layer, own, source)) in sources {
            let config = self.config;
            let mut images = self.mounted.numbered();
            let given = match own {
                0 => images.find(|(number, _)| *number == layer).map(|(_, bound)| &bound.name),
                _ => config.blob(layer, own),
            };
            let name = match given {
                Some(given) => source_text(&SourceWord(given)),
                None if source.device == DeviceId::NONE => source_text(&"not there"),
                None => source_text(&format_args!("slot {slot}")),
            };
            payload.line(Line::Slot { slot, bytes: source.bytes, name: &name });
        }
    }
}

/// Returns the path of a file as a line has it: escaped, and of a long one its end after [`CUT`].
fn path_text(name: &Name) -> Text {
    let Name { path, is_cut, .. } = name;
    let mut text = Text::new();
    let mut rest = path.as_slice();
    let mut cut = if *is_cut { CUT } else { "" };
    // A byte takes up to six characters.
    while write!(text, "{cut}{}", Escaped(rest)).is_err() {
        text.clear();
        (rest, cut) = (rest.split_first().map_or(&[][..], |(_, rest)| rest), CUT);
    }
    text
}

/// Returns the name of a source as a line has it: without control characters, and of a long one its
/// start before [`CUT`].
fn source_text(name: &dyn fmt::Display) -> Text {
    let mut text = Text::new();
    if write!(Start(&mut text), "{name}").is_err() {
        while text.push_str(CUT).is_err() {
            text.pop();
        }
    }
    text
}

/// A text that takes the characters that fit, with `?` for a control character.
struct Start<'t>(&'t mut Text);

impl Write for Start<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for char in text.chars() {
            let char = if char.is_control() { '?' } else { char };
            self.0.push(char).map_err(|_| fmt::Error)?;
        }
        Ok(())
    }
}

/// Lines that wait for others to go with them.
struct Payload<'s> {
    lines: heapless::String<LINE_BYTES_MAX>,
    /// The number of events that no line could hold.
    unsent: u64,
    send: &'s mut dyn FnMut(&[u8]),
}

impl Payload<'_> {
    /// Adds an event, or counts it as unsent.
    fn event(&mut self, event: Event) {
        if self.add(Line::Event(event)).is_err() {
            count(&mut self.unsent, 1);
        }
    }

    /// Adds any other line: the types of its parts bound its length.
    fn line(&mut self, line: Line<'_>) {
        let added = self.add(line);
        assert!(added.is_ok(), "a line is shorter than a payload");
    }

    fn add(&mut self, line: Line<'_>) -> fmt::Result {
        let before = self.lines.len();
        if writeln!(self.lines, "{line}").is_ok() {
            return Ok(());
        }
        self.lines.truncate(before);
        self.flush();
        let added = writeln!(self.lines, "{line}");
        if added.is_err() {
            self.lines.clear();
        }
        added
    }

    fn flush(&mut self) {
        if !self.lines.is_empty() {
            (self.send)(self.lines.as_bytes());
            self.lines.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests may panic")]

    use super::super::names::PATH_BYTES_MAX;
    use super::*;
    use alloc::string::String;
    use alloc::vec::Vec;
    use rootlet::erofs::Nid;
    use rootlet::storage::events::{Cause, Kind, Place};

    #[test]
    fn payloads_are_whole_lines_in_their_order() {
        let mut sent: Vec<Vec<u8>> = Vec::new();
        let mut send = |payload: &[u8]| sent.push(payload.to_vec());
        let lines = heapless::String::new();
        let mut payload = Payload { lines, unsent: 0, send: &mut send };
        let path = "x".repeat(100);
        (0..40).for_each(|nid| payload.line(Line::File { nid, path: &path }));
        payload.flush();
        assert!(sent.iter().all(|payload| payload.len() <= LINE_BYTES_MAX));
        assert!(sent.iter().all(|payload| payload.ends_with(b"\n")) && sent.len() == 20);
        let text = String::from_utf8_lossy(&sent.concat()).into_owned();
        let nids = text.lines().map(|line| match Line::parse(line) {
            Some(Line::File { nid, path: found }) if found == path => nid,
            _ => unreachable!("{line}"),
        });
        assert!(nids.eq(0..40));
    }

    #[test]
    fn event_that_ends_before_its_start_is_counted_and_spoils_no_other() {
        let mut sent = String::new();
        let mut send = |payload: &[u8]| sent.push_str(&String::from_utf8_lossy(payload));
        let lines = heapless::String::new();
        let mut payload = Payload { lines, unsent: 0, send: &mut send };
        let place = Place { slot: None, at: 0, len: 1 };
        let event = |start_ns| Event::new(Kind::Fetch, Cause::Demand, place).with_time(start_ns, 5);
        [4, 6, 5].into_iter().for_each(|start_ns| payload.event(event(start_ns)));
        payload.line(Line::End { events: 3, unsent: payload.unsent });
        payload.flush();
        let lines: Vec<_> = sent.lines().map(Line::parse).collect();
        let end = Line::End { events: 3, unsent: 1 };
        assert_eq!(lines, [Line::Event(event(4)), Line::Event(event(5)), end].map(Some));
    }

    #[test]
    fn longest_names_fit_into_their_lines() {
        let mut sent = Vec::new();
        let mut send = |payload: &[u8]| sent.push(payload.to_vec());
        let lines = heapless::String::new();
        let mut payload = Payload { lines, unsent: 0, send: &mut send };
        for byte in [b'x', 0xff, 0x1b, 0x7f] {
            let path = heapless::Vec::from_slice(&[byte; PATH_BYTES_MAX]).unwrap();
            let text = path_text(&Name { nid: Nid(0), path, is_cut: true });
            assert!(text.starts_with("...") && text.len() > NAME_BYTES_MAX - 9 || byte == b'x');
            payload.line(Line::File { nid: u64::MAX, path: &text });
        }
        let name = source_text(&"n".repeat(500));
        assert!(name.len() == NAME_BYTES_MAX && name.ends_with("n..."));
        assert_eq!(source_text(&"a\nb"), "a?b");
        payload.line(Line::Slot { slot: u16::MAX, bytes: u64::MAX, name: &name });
        payload.flush();
        assert!(sent.iter().all(|payload| payload.len() <= LINE_BYTES_MAX));
        assert_eq!(sent.concat().iter().filter(|byte| **byte == b'\n').count(), 5);
    }

    #[test]
    fn short_path_is_sent_as_it_is() {
        let path = heapless::Vec::from_slice(b"/a\x1b").unwrap();
        assert_eq!(path_text(&Name { nid: Nid(0), path, is_cut: false }), "/a\\u{1b}");
    }
}
