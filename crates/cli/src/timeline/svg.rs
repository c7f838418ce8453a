//! Timelines as a picture.
//!
//! Always: the same boots give the same bytes; every bar lies within its frame.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::ops::Range;

use super::delay::{self, Step};
use super::lanes::{Paint, bars, lanes};
use super::model::Timeline;
use super::words::{self, cut, ms, summary};
use crate::svg;

/// Width of one boot, its margin, the names of lanes, and what is left for bars.
const WIDTH: u64 = 620;
const MARGIN: u64 = 12;
const NAMES: u64 = 98;
const NAME_CHARS: usize = 14;
const BARS: u64 = WIDTH - 2 * MARGIN - NAMES;
/// Cells of a bar for each unit of the picture.
const CELLS: u64 = 2;
/// A cell in hundredths of a unit.
const CELL: u64 = 100 / CELLS;
const LINE: u64 = 16;
const LANE: u64 = 16;
const BAR: u64 = 11;
/// The longest steps that are listed, and the characters of a line: one is 6.6 wide at most.
const STEPS_MAX: usize = 5;
const COLUMNS: usize = ((WIDTH - 2 * MARGIN) * 10 / 66) as usize;

/// Draws boots side by side, each under its title.
pub fn draw(boots: &[(&str, &Timeline)]) -> String {
    let mut out = String::new();
    let mut height = 0;
    for (at, (title, timeline)) in (0..).zip(boots) {
        let mut boot = Boot { out: &mut out, x: at * WIDTH, y: MARGIN };
        boot.draw(title, timeline);
        height = height.max(boot.y);
    }
    let width = WIDTH * boots.len().max(1) as u64;
    let mut legend = Boot { out: &mut out, x: 0, y: height };
    legend.legend(width);
    let height = legend.y + MARGIN;
    svg::document(width, height, "font-family=\"monospace\" font-size=\"11\"", &out)
}

/// One boot that is being drawn, from `x` and `y` on.
struct Boot<'o> {
    out: &'o mut String,
    x: u64,
    y: u64,
}

impl Boot<'_> {
    fn draw(&mut self, title: &str, timeline: &Timeline) {
        self.line(14, &cut(title, COLUMNS * 11 / 14));
        summary(timeline).iter().for_each(|line| self.line(11, line));
        let end = timeline.end_ns().max(1);
        if let Some(first) = timeline.first_byte_ns() {
            // A little more, so that its mark is seen.
            let until = (first + first / 50 + 1).min(end.max(first + 1));
            self.line(11, &format!("from the entry to the first byte, {}", ms(first)));
            self.stages(timeline, &(0..until));
            let steps = delay::steps(timeline);
            self.steps(&steps, &(0..until));
            self.panel(timeline, &(0..until));
            self.longest(timeline, &steps);
        }
        self.line(11, &format!("from the entry to the end, {}", ms(end)));
        self.panel(timeline, &(0..end));
    }

    fn line(&mut self, size: u64, words: &str) {
        self.y += LINE;
        let (x, y) = (self.x + MARGIN, self.y);
        self.text(x, y, size, words);
    }

    fn text(&mut self, x: u64, y: u64, size: u64, words: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(
            self.out,
            "<text x=\"{x}\" y=\"{y}\" font-size=\"{size}\" fill=\"#222\">{}</text>",
            svg::escaped(words)
        );
    }

    /// Names the stages where they were reached.
    fn stages(&mut self, timeline: &Timeline, time: &Range<u64>) {
        self.y += LINE - 4;
        let y = self.y;
        self.text(self.x + MARGIN, y, 11, "stages");
        // The end of the last name: names that would overlap are left out.
        let mut free = 0;
        for (name, ns) in timeline.marks.iter().filter(|(_, ns)| time.contains(ns)) {
            let x = self.at(*ns, time);
            if x >= free {
                self.text(x, y, 9, &format!("|{name}"));
                free = x + 6 * (name.len() as u64 + 2);
            }
        }
    }

    /// Draws the steps to the first byte: devices dark, the processor light.
    fn steps(&mut self, steps: &[Step], time: &Range<u64>) {
        self.y += 4;
        let y = self.y;
        self.text(self.x + MARGIN, y + BAR - 2, 11, "waits for");
        // Steps that look alike are one box.
        let mut boxes = ["#e3e6ea", "#555"].map(|fill| (fill, BTreeSet::new()));
        for step in steps {
            let (x, end) = (self.at(step.start_ns, time), self.at(step.end_ns, time));
            boxes[usize::from(!step.reads.is_empty())].1.insert((x, (end - x).max(1)));
        }
        for (fill, boxes) in boxes.iter().filter(|(_, boxes)| !boxes.is_empty()) {
            let path = boxes.iter().map(|(x, wide)| format!("M{x} {y}h{wide}v{BAR}h-{wide}z"));
            let path: String = path.collect();
            let _ = writeln!(self.out, "<path fill=\"{fill}\" d=\"{path}\"/>");
        }
        self.y += LANE - 4;
    }

    /// Lists the longest steps, as far as there is room for their words.
    fn longest(&mut self, timeline: &Timeline, steps: &[Step]) {
        self.line(11, &format!("the longest of {} steps to the first byte", steps.len()));
        for step in delay::longest(steps, STEPS_MAX) {
            self.line(11, &cut(words::step(timeline, step).trim_start(), COLUMNS));
        }
        self.y += LINE / 2;
    }

    /// Draws all lanes in a frame, with the mark of the first byte.
    fn panel(&mut self, timeline: &Timeline, time: &Range<u64>) {
        self.y += 6;
        let (left, top) = (self.x + MARGIN + NAMES, self.y);
        let mut paths = BTreeMap::<Paint, String>::new();
        for lane in lanes(timeline) {
            self.text(self.x + MARGIN, self.y + BAR, 11, &cut(&lane.name, NAME_CHARS));
            for bar in bars(&lane, time, BARS * CELLS) {
                let (x, width) = (bar.cells.start, bar.cells.end - bar.cells.start);
                let (x, width) = (svg::decimal(left * 100 + x * CELL), svg::decimal(width * CELL));
                let y = self.y + 2;
                let path = paths.entry(bar.paint).or_default();
                let _ = write!(path, "M{x} {y}h{width}v{BAR}h-{width}z");
            }
            self.y += LANE;
        }
        let height = self.y - top;
        for (paint, path) in paths {
            let _ = writeln!(self.out, "<path fill=\"{}\" d=\"{path}\"/>", paint.colour());
        }
        let _ = writeln!(
            self.out,
            "<rect x=\"{left}\" y=\"{top}\" width=\"{BARS}\" height=\"{height}\" fill=\"none\" \
             stroke=\"#999\"/>"
        );
        if let Some(first) = timeline.first_byte_ns().filter(|ns| time.contains(ns)) {
            let x = self.at(first, time);
            let _ = writeln!(
                self.out,
                "<path stroke=\"#d00\" stroke-dasharray=\"3 2\" d=\"M{x} {top}v{height}\"/>"
            );
        }
        self.y += LINE - 2;
        for tick in 0..=4 {
            let x = left + BARS * tick / 4;
            let words = ms(time.start + (time.end - time.start) / 4 * tick);
            // The last one ends where the frame does.
            let x = x - if tick == 4 { 6 * words.len() as u64 } else { 0 };
            self.text(x, self.y, 9, &words);
        }
        self.y += 6;
    }

    /// Draws what the colours mean, in as many lines as it takes.
    fn legend(&mut self, width: u64) {
        self.y += LINE;
        let mut x = MARGIN;
        for (_, colour, _, meaning) in Paint::ALL {
            let wide = 22 + 7 * meaning.len() as u64;
            if x + wide > width {
                (x, self.y) = (MARGIN, self.y + LINE);
            }
            let y = self.y - 9;
            let _ = writeln!(
                self.out,
                "<rect x=\"{x}\" y=\"{y}\" width=\"10\" height=\"10\" fill=\"{colour}\"/>"
            );
            self.text(x + 14, self.y, 11, meaning);
            x += wide;
        }
        self.y += LINE;
        let words = "red: the first byte of a file; dark waits: devices, light: the processor";
        self.text(MARGIN, self.y, 11, words);
    }

    /// Returns where a moment lies.
    fn at(&self, ns: u64, time: &Range<u64>) -> u64 {
        let span = u128::from((time.end - time.start).max(1));
        let inside = u128::from(ns.clamp(time.start, time.end) - time.start);
        self.x + MARGIN + NAMES + (inside * u128::from(BARS) / span) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::sample;
    use super::*;

    /// Returns the numbers of an attribute.
    fn numbers(element: &roxmltree::Node<'_, '_>, name: &str) -> f64 {
        element.attribute(name).map_or(0.0, |text| text.parse().unwrap())
    }

    /// Checks that a path of boxes lies in the picture.
    fn assert_inside(path: &str, width: f64, height: f64) {
        for part in path.split('M').filter(|part| !part.is_empty()) {
            let place = part.split(['h', 'v']).next().unwrap();
            let (x, y) = place.split_once(' ').unwrap();
            let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
            let wide = part
                .split_once('h')
                .map_or(0.0, |(_, rest)| rest.split('v').next().unwrap().parse::<f64>().unwrap());
            assert!(x >= 0.0 && x + wide <= width && y >= 0.0 && y + 11.0 <= height, "{part}");
        }
    }

    #[test]
    fn picture_is_xml_whose_bars_and_words_lie_within_it() {
        let (timeline, empty) = (sample(), Timeline::default());
        for boots in [
            &[("cold", &timeline)][..],
            &[("cold <1>", &timeline), ("warm & 2", &timeline)],
            &[("empty", &empty)],
        ] {
            let picture = draw(boots);
            let document = roxmltree::Document::parse(&picture).unwrap();
            let root = document.root_element();
            let (width, height) = (numbers(&root, "width"), numbers(&root, "height"));
            for element in root.descendants().filter(roxmltree::Node::is_element).skip(1) {
                let (x, y) = (numbers(&element, "x"), numbers(&element, "y"));
                let size = numbers(&element, "font-size");
                let letters = element.text().unwrap_or_default().chars().count() as f64;
                assert!(x + letters * size * 0.55 <= width, "{element:?}");
                assert!(y + numbers(&element, "height") <= height, "{element:?}");
                if let Some(path) = element.attribute("d") {
                    assert_inside(path, width, height);
                }
            }
        }
    }

    #[test]
    fn picture_of_a_small_boot_is_the_one_that_was_looked_at() {
        let timeline = sample();
        let picture = draw(&[("sample", &timeline)]);
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/src/timeline/sample.svg");
        if std::env::var_os("ROOTLET_BLESS").is_some() {
            std::fs::write(golden, &picture).unwrap();
        }
        assert!(picture == std::fs::read_to_string(golden).unwrap(), "ROOTLET_BLESS=1 makes it");
    }
}
