//! What is resident, as a picture.
//!
//! Always: the same region gives the same bytes.

use std::collections::BTreeMap;
use std::fmt::Write;

use data_encoding::HEXLOWER;
use rootlet::cache::Share;
use rootlet::cache::inspect::{Blob, Region};

use super::picture::{self, Cell};
use super::tag;
use crate::size::human;
use crate::svg;

/// The width of the picture, and of the drawing in it.
const WIDTH: usize = 800;
const INNER: usize = 768;
/// Cells of a blob's bar.
const BAR_CELLS: u64 = 256;
/// The least of a cell that is drawn, and the least that is left out, in hundredths of a unit.
const SEEN: u64 = 20;
/// Cells of a row of the map, its side, and the most cells there are.
const MAP_CELLS: usize = 64;
const CELL: usize = INNER / MAP_CELLS;
const CELLS_MAX: usize = MAP_CELLS * 64;
const LINE: usize = 18;

/// Draws the blobs as bars, and the slots as a map.
pub fn draw(region: &Region) -> String {
    let mut out = String::new();
    let mut y = 28;
    let geometry = region.superblock.geometry;
    let resident: u64 = region.blobs.iter().map(Blob::resident_bytes).sum();
    let title = format!(
        "region {}: {} resident, {} slots of {} KiB",
        HEXLOWER.encode(&region.superblock.uuid[..4]),
        human(resident),
        geometry.slots(),
        geometry.slot_size().bytes() >> 10
    );
    text(&mut out, y, 15, &title);
    y += LINE;
    for (place, blob) in region.blobs.iter().enumerate() {
        y = bar(&mut out, region, blob, place, y);
    }
    let (per_cell, map) = picture::map(region, CELLS_MAX);
    let legend = if per_cell == 1 {
        "slots in order; hollow: free".to_string()
    } else {
        format!("slots in order, {per_cell} a cell; hollow: free")
    };
    y += LINE;
    text(&mut out, y, 12, &legend);
    y += 8;
    // One path for all cells of a kind.
    let mut paths = BTreeMap::<_, String>::new();
    for (at, cell) in map.iter().enumerate() {
        let (x, y) = (16 + at % MAP_CELLS * CELL, y + at / MAP_CELLS * CELL);
        let _ = write!(paths.entry(paint(cell)).or_default(), "M{x} {y}h10v10h-10z");
    }
    for ((fill, stroke), path) in paths {
        let _ = writeln!(out, "<path fill=\"{fill}\" stroke=\"{stroke}\" d=\"{path}\"/>");
    }
    y += map.len().div_ceil(MAP_CELLS) * CELL + 16;
    svg::document(WIDTH as u64, y as u64, "font-family=\"monospace\"", &out)
}

fn text(out: &mut String, y: usize, size: usize, words: &str) {
    let _ = writeln!(
        out,
        "<text x=\"16\" y=\"{y}\" font-size=\"{size}\" fill=\"#222\">{}</text>",
        svg::escaped(words)
    );
}

/// Returns a colour for each blob: neighbours in the list lie far apart on the wheel.
fn colour(place: usize, level: usize) -> String {
    let light = [94, 80, 70, 60, 45][level.min(4)];
    format!("hsl({},65%,{light}%)", (place * 137 + 210) % 360)
}

fn bar(out: &mut String, region: &Region, blob: &Blob, place: usize, y: usize) -> usize {
    let (resident, bytes) = (blob.resident_bytes(), blob.entry.bytes);
    let label = format!(
        "blob {} {}  {} of {} ({} %)",
        blob.index.get(),
        tag(blob),
        human(resident),
        human(bytes),
        resident * 100 / bytes.max(1)
    );
    let y = y + LINE;
    text(out, y, 12, &label);
    let (top, empty, full) = (y + 5, colour(place, 0), colour(place, 4));
    let _ = writeln!(
        out,
        "<rect x=\"16\" y=\"{top}\" width=\"{INNER}\" height=\"12\" fill=\"{empty}\"/>"
    );
    let mut path = String::new();
    for (x, width) in boxes(&picture::bar(region, blob, BAR_CELLS)) {
        let (x, width) = (svg::decimal(1600 + x), svg::decimal(width));
        let _ = write!(path, "M{x} {top}h{width}v12h-{width}z");
    }
    if !path.is_empty() {
        let _ = writeln!(out, "<path fill=\"{full}\" d=\"{path}\"/>");
    }
    y + 18
}

/// Returns the boxes of a bar, by their places and widths in hundredths of a unit: as much of a cell
/// from its left as is resident of it. A part of a cell is a part of its box, however little or much.
fn boxes(bar: &[Share]) -> Vec<(u64, u64)> {
    let edge = |cell: usize| (cell * INNER * 100 / bar.len()) as u64;
    let mut boxes: Vec<(u64, u64)> = Vec::new();
    for (cell, share) in bar.iter().enumerate() {
        let (x, room) = (edge(cell), edge(cell + 1) - edge(cell));
        let width = match share.level() {
            0 => continue,
            4 => room,
            _ => {
                let part = u128::from(share.resident) * u128::from(room) / u128::from(share.of);
                (part as u64).clamp(SEEN, room - SEEN)
            }
        };
        match boxes.last_mut().filter(|(at, wide)| at + *wide == x) {
            Some((_, wide)) => *wide += width,
            None => boxes.push((x, width)),
        }
    }
    boxes
}

/// Returns fill and stroke of a cell of the map.
fn paint(cell: &Cell) -> (String, &'static str) {
    match cell {
        Cell::Free => ("none".into(), "#ccc"),
        Cell::Blob(place, share) => (colour(*place, share.level()), "none"),
        Cell::Orphan => ("#999".into(), "none"),
        Cell::Lost => ("#000".into(), "none"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The width of a full bar in hundredths of a unit.
    const FULL: u64 = INNER as u64 * 100;

    fn wide(bar: &[Share]) -> u64 {
        boxes(bar).iter().map(|(_, width)| width).sum()
    }

    /// Returns bars of which `resident` of `of` blocks are resident: from the front, in each cell
    /// alike, and in every second cell first.
    fn bars(resident: u64, of: u64, cells: u64) -> [Vec<Share>; 3] {
        let room = |cell: u64| of * (cell + 1) / cells - of * cell / cells;
        let fill = |order: &dyn Fn(u64) -> u64| {
            let mut bar: Vec<_> =
                (0..cells).map(|cell| Share { resident: 0, of: room(cell) }).collect();
            let mut left = resident;
            for cell in 0..cells {
                let share = &mut bar[order(cell) as usize];
                share.resident = share.of.min(left);
                left -= share.resident;
            }
            bar
        };
        let even = (0..cells).map(|cell| Share {
            resident: resident * (cell + 1) / cells - resident * cell / cells,
            of: room(cell),
        });
        let second = cells.div_ceil(2);
        [
            fill(&|cell| cell),
            even.collect(),
            fill(&|cell| if cell < second { 2 * cell } else { 2 * (cell - second) + 1 }),
        ]
    }

    #[test]
    fn bar_is_as_full_as_its_words_say_wherever_the_blocks_are() {
        for cells in [1, 3, 64, 255, BAR_CELLS] {
            let of = 1000 * cells * 16;
            for (resident, permille) in [
                (0, 0),
                (1, 0),
                (of / 1000, 1),
                (of / 2, 500),
                (of / 100 * 91, 910),
                (of / 1000 * 999, 999),
                (of - 1, 1000),
                (of, 1000),
            ] {
                for bar in bars(resident, of, cells) {
                    assert_eq!(bar.iter().map(|share| share.resident).sum::<u64>(), resident);
                    let wide = wide(&bar);
                    assert_eq!(wide == 0, resident == 0, "{resident} of {of}");
                    assert_eq!(wide == FULL, resident == of, "{resident} of {of}");
                    // A cell whose part cannot be seen is drawn a little wider or narrower.
                    let words = FULL * permille / 1000;
                    assert!(wide.abs_diff(words) <= FULL / 12, "{wide} for {words} in {cells}");
                    let text: String = bar.iter().map(|share| share.shade()).collect();
                    assert_eq!(text.chars().all(|sign| sign == '·'), resident == 0, "{text}");
                    assert_eq!(text.chars().all(|sign| sign == '█'), resident == of, "{text}");
                }
                let [front, ..] = bars(resident, of, cells);
                assert!(wide(&front).abs_diff(FULL * permille / 1000) <= FULL / 1000);
            }
        }
    }

    #[test]
    fn part_of_a_cell_is_a_part_of_its_box() {
        let share = |resident| Share { resident, of: 16 };
        let mut bar = vec![share(16); BAR_CELLS as usize];
        assert_eq!(boxes(&bar), [(0, FULL)]);
        (bar[7], bar[9]) = (share(8), share(0));
        assert_eq!(boxes(&bar), [(0, 2250), (2400, 300), (3000, FULL - 3000)]);
    }

    #[test]
    fn boxes_lie_in_the_bar_and_apart() {
        for cells in [1, 3, 100, 255, 256] {
            for step in 1..17 {
                let bar: Vec<_> =
                    (0..cells).map(|cell| Share { resident: cell * step % 17, of: 16 }).collect();
                let boxes = boxes(&bar);
                assert!(boxes.iter().all(|(x, width)| *width > 0 && x + width <= FULL));
                assert!(boxes.windows(2).all(|pair| pair[0].0 + pair[0].1 < pair[1].0));
            }
        }
    }
}
