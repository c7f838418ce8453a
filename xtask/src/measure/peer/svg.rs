//! The comparison as a chart.
//!
//! Always: one bar for each row that has a ratio, on a logarithmic scale, with its aim as a tick.

use std::fmt::Write;

use rootlet_cli::svg;

use super::report::{Line, Measured};

const ROW: usize = 26;
const LEFT: usize = 250;
const WIDTH: usize = 460;
const RIGHT: usize = 90;
const TOP: usize = 64;
/// The scale goes from 1/LEAST to MOST times.
const LEAST: f64 = 0.1;
const MOST: f64 = 100.0;

/// Returns the chart as an SVG document.
pub fn chart(measured: &Measured) -> String {
    let lines: Vec<(Line, f64)> = measured
        .lines()
        .into_iter()
        .filter_map(|line| line.ratio.map(|ratio| (line, ratio)))
        .collect();
    let (width, bottom) = (LEFT + WIDTH + RIGHT, TOP + lines.len() * ROW);
    let height = bottom + 34;
    let mut body = String::new();
    let title = format!(
        "rootlet beside {}: how many times better (accel {}, {} runs)",
        measured.kernel, measured.accel, measured.runs
    );
    text(&mut body, 12, 24, "start", &title);
    for decade in [0.1, 1.0, 10.0, 100.0] {
        let x = place(decade);
        let colour = if decade == 1.0 { "#444444" } else { "#dddddd" };
        line(&mut body, (x, TOP - 8), (x, bottom + 4), colour);
        text(&mut body, x, bottom + 22, "middle", &format!("{decade}"));
    }
    for (at, (Line { row, .. }, ratio)) in lines.iter().enumerate() {
        let y = TOP + at * ROW;
        text(&mut body, LEFT - 10, y + 15, "end", row.title);
        let (from, to) = (place(1.0), place(*ratio));
        let (x, wide) = (from.min(to), from.abs_diff(to).max(1));
        let colour = if *ratio >= row.at_least { "#2f7d4f" } else { "#c05a2e" };
        // Writing to a string cannot fail.
        let _ = writeln!(
            body,
            "<rect x=\"{x}\" y=\"{}\" width=\"{wide}\" height=\"16\" fill=\"{colour}\"/>",
            y + 3
        );
        let aim = place(row.at_least);
        line(&mut body, (aim, y), (aim, y + 22), "#222222");
        text(&mut body, LEFT + WIDTH + 12, y + 15, "start", &format!("{ratio:.2}"));
    }
    let font = "font-family=\"sans-serif\" font-size=\"13\"";
    svg::document(width as u64, height as u64, font, &body)
}

/// Returns where a ratio stands.
fn place(ratio: f64) -> usize {
    let part = (ratio.clamp(LEAST, MOST) / LEAST).log10() / (MOST / LEAST).log10();
    LEFT + (part * WIDTH as f64).round() as usize
}

fn line(out: &mut String, from: (usize, usize), to: (usize, usize), colour: &str) {
    let ((x1, y1), (x2, y2)) = (from, to);
    let _ = writeln!(
        out,
        "<line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" stroke=\"{colour}\"/>"
    );
}

fn text(out: &mut String, x: usize, y: usize, anchor: &str, words: &str) {
    let words = svg::escaped(words);
    let _ = writeln!(out, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{words}</text>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use roxmltree::Document;

    #[test]
    fn chart_is_xml_with_a_bar_for_each_ratio() {
        let measured = super::super::report::tests::measured();
        let svg = chart(&measured);
        let document = Document::parse(&svg).unwrap();
        let bars = document.descendants().filter(|node| node.has_tag_name("rect")).count() - 1;
        let ratios = measured.lines().into_iter().filter(|line| line.ratio.is_some()).count();
        assert_eq!(bars, ratios);
        let words: Vec<&str> = document.descendants().filter_map(|node| node.text()).collect();
        assert!(words.iter().any(|words| words.contains("Some <kernel>")), "{words:?}");
        assert!(words.contains(&"20.00"), "{words:?}");
    }

    #[test]
    fn scale_keeps_within_the_chart() {
        assert!(place(1e9) == place(MOST) && place(0.0) == place(LEAST));
        assert!(place(0.5) < place(1.0) && place(1.0) < place(8.0));
    }
}
