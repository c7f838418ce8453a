//! A timeline as text, for a terminal of 40 columns and more.
//!
//! Always: no line is longer than the terminal is wide, but for names that stand alone.

use super::delay;
use super::lanes::{Lane, Paint, bars, lanes};
use super::model::Timeline;
use super::totals::totals;
use super::unread::unread;
use super::words::{self, cut, missing, ms};
use crate::size::human;

/// The narrowest terminal that is drawn for.
pub const COLUMNS_MIN: usize = 40;
/// The names of lanes.
const NAMES: usize = 9;
/// Steps and files that are shown at most.
const STEPS_MAX: usize = 12;
const FILES_MAX: usize = 8;

/// Draws a boot for a terminal of this many columns.
pub fn draw(timeline: &Timeline, columns: usize) -> String {
    let columns = columns.max(COLUMNS_MIN);
    let mut lines = Vec::new();
    let end = timeline.end_ns().max(1);
    if let Some(first) = timeline.first_byte_ns() {
        lines.push(format!("entry to first byte, {}", ms(first)));
        rows(&mut lines, timeline, &(0..first.max(1)), columns);
        lines.push(String::new());
        lines.push("what it waited for".into());
        delay_of_first_byte(&mut lines, timeline, columns);
        lines.push(String::new());
    } else {
        lines.push("no byte of a file was read".into());
    }
    lines.push(format!("entry to end, {}", ms(end)));
    rows(&mut lines, timeline, &(0..end), columns);
    legend(&mut lines, columns);
    lines.push(String::new());
    waste(&mut lines, timeline, columns);
    lines.push(String::new());
    sums(&mut lines, timeline);
    for line in missing(timeline) {
        lines.extend(wrapped(&line, columns));
    }
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn rows(lines: &mut Vec<String>, timeline: &Timeline, time: &std::ops::Range<u64>, columns: usize) {
    let cells = columns - NAMES - 1;
    for lane in lanes(timeline) {
        lines.push(format!("{:NAMES$} {}", cut(&lane.name, NAMES), row(&lane, time, cells)));
    }
    if let Some(first) = timeline.first_byte_ns().filter(|first| time.contains(first)) {
        let span = u128::from(time.end - time.start);
        let at = (u128::from(first - time.start) * cells as u128 / span) as usize;
        lines.push(format!("{:NAMES$} {:at$}^", "", ""));
    }
}

fn row(lane: &Lane<'_>, time: &std::ops::Range<u64>, cells: usize) -> String {
    let mut row = vec!['.'; cells];
    for bar in bars(lane, time, cells as u64) {
        let cells = bar.cells.start as usize..bar.cells.end as usize;
        row[cells].fill(bar.paint.sign());
    }
    row.into_iter().collect()
}

fn legend(lines: &mut Vec<String>, columns: usize) {
    let signs = Paint::ALL.map(|(_, _, sign, meaning)| format!("{sign} {meaning}"));
    lines.extend(wrapped(&format!("{}, ^ first byte", signs.join(", ")), columns));
}

fn delay_of_first_byte(lines: &mut Vec<String>, timeline: &Timeline, columns: usize) {
    let steps = delay::steps(timeline);
    let longest = delay::longest(&steps, STEPS_MAX);
    lines.extend(longest.iter().map(|step| cut(&words::step(timeline, step), columns)));
    if steps.len() > longest.len() {
        lines.push(format!("{:>9} {} shorter ones", "", steps.len() - longest.len()));
    }
}

fn waste(lines: &mut Vec<String>, timeline: &Timeline, columns: usize) {
    let unread = unread(timeline);
    lines.push(format!("fetched and never read: {}", human(unread.bytes)));
    for (nid, bytes) in unread.files.iter().take(FILES_MAX) {
        let file = nid.map_or_else(|| "for no file".into(), |nid| timeline.file_name(nid));
        lines.push(cut(&format!("{:>10} {file}", human(*bytes)), columns));
    }
    if unread.files.len() > FILES_MAX {
        lines.push(format!("{:>10} {} more files", "", unread.files.len() - FILES_MAX));
    }
}

fn sums(lines: &mut Vec<String>, timeline: &Timeline) {
    for total in totals(timeline) {
        let mark = if total.differs() { " !" } else { "" };
        lines.push(format!("{:14} {:>12}{mark}", total.name.replace('_', " "), total.events));
    }
}

/// Cuts a line between words.
fn wrapped(line: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in line.split(' ') {
        match lines.last_mut().filter(|line| line.len() + 1 + word.len() <= columns) {
            Some(line) => *line = format!("{line} {word}"),
            None => lines.push(word.into()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::model::sample;
    use super::*;

    #[test]
    fn text_fits_every_terminal_of_forty_columns_and_more() {
        for timeline in [sample(), Timeline::default()] {
            for columns in [0, 40, 41, 80, 200] {
                let text = draw(&timeline, columns);
                let most = columns.max(COLUMNS_MIN);
                assert!(text.lines().all(|line| line.chars().count() <= most), "{text}");
            }
        }
    }

    #[test]
    fn text_shows_the_lanes_the_delay_and_what_was_in_vain() {
        let text = draw(&sample(), 40);
        for part in [
            "entry to first byte, 6.1 ms\n",
            "readers   ........................rrrrrr\n",
            "blob1     ........................aaaaaa\n",
            "  1.0 ms blob1: 128.0 KiB, /usr/bin/to~\n",
            "fetched and never read: 72.0 KiB\n",
            "  4.0 KiB /usr/bin/tool\n",
            "fetched bytes        200704\n",
        ] {
            assert!(text.contains(part), "{part}{text}");
        }
    }

    #[test]
    fn steps_beyond_the_longest_are_counted() {
        let mut timeline = sample();
        let fetch = timeline.events[1];
        let more = (0..20).map(|at| {
            let start_ns = 4_100_000 + at * 10_000;
            fetch.with_time(start_ns, start_ns + 1)
        });
        timeline.events.extend(more.collect::<Vec<_>>());
        timeline.events.sort_by_key(|event| event.start_ns);
        let text = draw(&timeline, 80);
        let (_, delay) = text.split_once("what it waited for\n").unwrap();
        let (delay, _) = delay.split_once("\n\n").unwrap();
        assert_eq!(delay.lines().count(), STEPS_MAX + 1, "{delay}");
        assert!(delay.ends_with("shorter ones"), "{delay}");
    }
}
