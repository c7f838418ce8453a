//! Sending what a guest recorded, as its last words but for the verdict.
//!
//! Always: allocates nothing; every payload is whole lines, so that one that is lost spoils no
//! other.

use super::names::{Name, Names};
use super::{Begin, Line};
use crate::command::Escaped;
use crate::config::{Config, SourceWord};
use crate::mount::Mounted;
use core::fmt::{self, Write};
use rootlet::cache::CacheStats;
use rootlet::storage::DeviceId;
use rootlet::storage::events::Recorder;

/// The longest line in bytes, its end included; and the longest payload.
pub const LINE_BYTES_MAX: usize = 256;

/// Stages of a guest that are marked at most.
const MARKS_MAX: usize = 8;

/// When a guest reached its stages.
#[derive(Clone, Debug, Default)]
pub struct Marks(heapless::Vec<(&'static str, u64), MARKS_MAX>);

impl Marks {
    /// Marks that the stage `name`, one word, is reached at `ns`. There are no more than eight.
    pub fn reach(&mut self, name: &'static str, ns: u64) {
        // A ninth is left out.
        let _ = self.0.push((name, ns));
    }
}

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
        self.recorder.each(|_| events = events.wrapping_add(1));
        let mut payload = Payload { lines: heapless::String::new(), send };
        payload.line(Line::Begin(Begin {
            events,
            dropped: self.recorder.dropped(),
            flushes_before: self.before.flushes,
            written_before: self.before.written_bytes,
        }));
        for (name, ns) in &self.marks.0 {
            payload.line(Line::Mark { name, ns: *ns });
        }
        self.send_slots(&mut payload);
        for Name { nid, path, is_cut } in self.names.iter() {
            let mut text: heapless::String<{ LINE_BYTES_MAX - 32 }> = heapless::String::new();
            // At most four characters for a byte.
            let _ = write!(text, "{}{}", if *is_cut { "..." } else { "" }, Escaped(path));
            payload.line(Line::File { nid: nid.0, path: &text });
        }
        self.recorder.each(|event| payload.line(Line::Event(*event)));
        payload.line(Line::End { events });
        payload.flush();
    }

    fn send_slots(&self, payload: &mut Payload<'_>) {
        for (slot, source) in (0..=u16::MAX).zip(&self.mounted.sources) {
            let config = self.config;
            let given = match slot {
                0 => config.image.as_ref(),
                _ => config.blobs.iter().find(|(of, _)| *of == slot).map(|(_, name)| name),
            };
            let mut name: heapless::String<{ LINE_BYTES_MAX - 64 }> = heapless::String::new();
            // A name that is too long is cut.
            let _ = match given {
                Some(given) => write!(Cut(&mut name), "{}", SourceWord(given)),
                None if source.device == DeviceId::NONE => name.write_str("not there"),
                None => write!(name, "slot {slot}"),
            };
            payload.line(Line::Slot { slot, bytes: source.bytes, name: &name });
        }
    }
}

/// A text that takes what fits, and no line ends.
struct Cut<'t, const N: usize>(&'t mut heapless::String<N>);

impl<const N: usize> Write for Cut<'_, N> {
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
    send: &'s mut dyn FnMut(&[u8]),
}

impl Payload<'_> {
    fn line(&mut self, line: Line<'_>) {
        let before = self.lines.len();
        if writeln!(self.lines, "{line}").is_err() {
            self.lines.truncate(before);
            self.flush();
            // Each line is shorter than a payload.
            let _ = writeln!(self.lines, "{line}");
        }
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
    use super::*;
    use alloc::string::String;
    use alloc::vec::Vec;

    #[test]
    fn payloads_are_whole_lines_in_their_order() {
        let mut sent: Vec<Vec<u8>> = Vec::new();
        let mut send = |payload: &[u8]| sent.push(payload.to_vec());
        let mut payload = Payload { lines: heapless::String::new(), send: &mut send };
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
}
