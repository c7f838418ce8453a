//! What a timeline says in words: for people, in a picture or beside it.
//!
//! Always: what is not known, because events are missing, is said to be at least.

use super::delay::{self, Step};
use super::model::Timeline;
use super::totals::{Total, totals};
use super::unread::unread;
use crate::size::human;

/// Returns a time in milliseconds.
pub fn ms(ns: u64) -> String {
    format!("{}.{} ms", ns / 1_000_000, ns / 100_000 % 10)
}

/// Returns the time of a step, and its first read or the work in it.
pub fn step(timeline: &Timeline, step: &Step) -> String {
    let took = ms(step.ns());
    let Some(first) = step.reads.first() else {
        return format!("{took:>9} processor, after {}", step.stage);
    };
    let of = match first.slot {
        Some(slot) => timeline.slot_name(slot),
        None => "region".into(),
    };
    let file = match first.nid {
        Some(nid) => timeline.file_name(nid),
        None => "metadata".into(),
    };
    let many = match step.reads.len() {
        1 => String::new(),
        reads => format!("{reads} reads, "),
    };
    format!("{took:>9} {of}: {many}{}, {file}", human(step.bytes()))
}

/// Returns at most `columns` characters of `text`; the last one of a text that was cut is `~`.
pub fn cut(text: &str, columns: usize) -> String {
    match text.char_indices().nth(columns) {
        Some(_) => text.chars().take(columns - 1).chain(['~']).collect(),
        None => text.into(),
    }
}

/// Returns the main figures, a line each.
pub fn summary(timeline: &Timeline) -> Vec<String> {
    let mut lines = Vec::new();
    let steps = delay::steps(timeline);
    let waits = steps.iter().filter(|step| !step.reads.is_empty());
    let (waited, reads) =
        waits.fold((0, 0), |(ns, reads), step| (ns + step.ns(), reads + step.reads.len()));
    lines.push(match timeline.first_byte_ns() {
        Some(first) => {
            format!("first byte {}, of which {reads} reads {}", ms(first), ms(waited))
        }
        None => "no byte of a file was read".into(),
    });
    let all = totals(timeline);
    let sum =
        |name: &str| all.iter().find(|total| total.name == name).map_or(0, |total| total.events);
    let (fetched, hit) = (human(sum("fetched_bytes")), human(sum("hit_bytes")));
    let asked = human(sum("asked_bytes"));
    lines.push(format!("asked {asked}, fetched {fetched}, region {hit}"));
    lines.push(format!("fetched and never read {}", human(unread(timeline).bytes)));
    lines.extend(missing(timeline));
    lines
}

/// Returns what is missing, if anything is.
pub fn missing(timeline: &Timeline) -> Vec<String> {
    let mut lines = Vec::new();
    if timeline.dropped() > 0 {
        lines.push(format!("{} older events were dropped: sums are too low", timeline.dropped()));
    }
    if timeline.unsent() > 0 {
        lines.push(format!("{} events could not be sent: sums are too low", timeline.unsent()));
    }
    match timeline.lost() {
        Some(0) => {}
        Some(lost) => lines.push(format!("{lost} events were lost on the way: sums are too low")),
        None => lines.push("its first and last line are lost: sums may be too low".into()),
    }
    if timeline.is_whole() {
        let differ = totals(timeline).into_iter().filter(Total::differs);
        lines.extend(differ.map(|Total { name, events, verdict }| {
            let verdict = verdict.unwrap_or_default();
            format!("{name}: events sum up to {events}, the verdict says {verdict}")
        }));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::model::{End, sample};
    use super::*;

    #[test]
    fn summary_has_the_first_byte_and_what_it_waited_for() {
        assert_eq!(
            summary(&sample()),
            [
                "first byte 6.1 ms, of which 3 reads 1.6 ms",
                "asked 123.0 KiB, fetched 196.0 KiB, region 4.0 KiB",
                "fetched and never read 72.0 KiB",
            ]
        );
        assert_eq!(summary(&Timeline::default())[0], "no byte of a file was read");
    }

    #[test]
    fn what_is_missing_is_said() {
        assert!(missing(&sample()).is_empty());
        let mut timeline = sample();
        timeline.events.truncate(4);
        assert_eq!(missing(&timeline), ["5 events were lost on the way: sums are too low"]);
        timeline = sample();
        timeline.events.truncate(8);
        timeline.end = Some(End { events: 9, unsent: 1 });
        assert_eq!(missing(&timeline), ["1 events could not be sent: sums are too low"]);
        timeline = sample();
        timeline.events[3].len += 1;
        assert!(missing(&timeline)[0].contains("the verdict says"), "{:?}", missing(&timeline));
        let mut begin = timeline.begin.unwrap();
        begin.dropped = 7;
        timeline.begin = Some(begin);
        assert_eq!(missing(&timeline), ["7 older events were dropped: sums are too low"]);
    }
}
