//! What is resident, as a picture.
//!
//! Always: the same region gives the same bytes; the picture needs no font, script or style from
//! elsewhere.

use std::collections::BTreeMap;
use std::fmt::Write;

use rootlet::cache::inspect::{Blob, Region};

use super::picture::{self, Cell};
use super::{hex, tag};
use crate::size::human;

/// Width of the picture, and of what is drawn in it.
const WIDTH: usize = 800;
const INNER: usize = 768;
/// Cells of a blob's bar.
const BAR_CELLS: u64 = 256;
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
        hex(&region.superblock.uuid[..4]),
        human(resident),
        geometry.slots,
        geometry.slot_size.bytes() >> 10
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
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{y}\" \
         viewBox=\"0 0 {WIDTH} {y}\" font-family=\"monospace\">\n<rect width=\"{WIDTH}\" \
         height=\"{y}\" fill=\"#fff\"/>\n{out}</svg>\n"
    )
}

fn text(out: &mut String, y: usize, size: usize, words: &str) {
    let _ = writeln!(
        out,
        "<text x=\"16\" y=\"{y}\" font-size=\"{size}\" fill=\"#222\">{}</text>",
        escaped(words)
    );
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A colour for each blob: neighbours in the list lie far apart on the wheel.
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
    let bar = picture::bar(region, blob, BAR_CELLS);
    let edge = |cell: usize| 16 + cell * INNER / bar.len();
    let mut first = 0;
    while first < bar.len() {
        let level = bar[first].level();
        let run = bar[first..].iter().take_while(|share| share.level() == level).count();
        let (x, end) = (edge(first), edge(first + run));
        let fill = colour(place, level);
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"{}\" width=\"{}\" height=\"12\" fill=\"{fill}\"/>",
            y + 5,
            end - x
        );
        first += run;
    }
    y + 18
}

/// Fill and stroke of a cell of the map.
fn paint(cell: &Cell) -> (String, &'static str) {
    match cell {
        Cell::Free => ("none".into(), "#ccc"),
        Cell::Blob(place, share) => (colour(*place, share.level()), "none"),
        Cell::Orphan => ("#999".into(), "none"),
        Cell::Lost => ("#000".into(), "none"),
    }
}
