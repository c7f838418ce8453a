//! Lanes of a timeline: what each device did, as bars in time.
//!
//! Always: pure; every bar lies within the time that is drawn, and is at least as wide as what can
//! be seen; bars of a lane that overlap or touch are one bar.

use std::collections::BTreeMap;
use std::ops::Range;

use rootlet::storage::events::{Cause, Event, Kind};

use super::model::Timeline;

/// How a bar is painted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Paint {
    /// A reader waits.
    Wait,
    /// Fetched from a source because a reader waits.
    Fetch,
    /// Fetched ahead of a reader.
    Ahead,
    /// Fetched, or read from the region, because an earlier boot read it.
    Prefetch,
    /// Read from the region.
    Hit,
    /// A read that brought nothing.
    Failed,
    /// The region's own tables.
    Table,
    /// Written to the region.
    Write,
    /// A flush of the region.
    Flush,
}

impl Paint {
    /// All, with their colours, signs and meanings.
    pub const ALL: [(Self, &'static str, char, &'static str); 9] = [
        (Self::Wait, "#b8bec6", 'r', "a reader waits"),
        (Self::Fetch, "#d1495b", 'f', "fetched"),
        (Self::Ahead, "#edae49", 'a', "fetched ahead"),
        (Self::Prefetch, "#8d6cab", 'p', "prefetched"),
        (Self::Hit, "#2e8b57", 'h', "from the region"),
        (Self::Failed, "#000000", 'x', "failed"),
        (Self::Table, "#7ea6c9", 't', "region tables"),
        (Self::Write, "#30638e", 'w', "written"),
        (Self::Flush, "#003d5b", 's', "flushed"),
    ];

    /// Returns the paint of an event; `None` for one that is not drawn.
    pub fn of(event: &Event) -> Option<Self> {
        Some(match (event.kind, event.cause) {
            (Kind::Read, _) => Self::Wait,
            (Kind::Failed | Kind::Refused, _) => Self::Failed,
            (Kind::Fetch | Kind::Hit, Cause::Prefetch) => Self::Prefetch,
            (Kind::Fetch, Cause::Ahead) => Self::Ahead,
            (Kind::Fetch, _) => Self::Fetch,
            (Kind::Hit, _) => Self::Hit,
            (Kind::Table, _) => Self::Table,
            (Kind::Write, _) => Self::Write,
            (Kind::Flush, _) => Self::Flush,
            // Use and Join move no bytes of a device.
            _ => return None,
        })
    }

    /// Returns the colour.
    pub fn colour(self) -> &'static str {
        self.row().1
    }

    /// Returns the sign in text.
    pub fn sign(self) -> char {
        self.row().2
    }

    fn row(self) -> &'static (Self, &'static str, char, &'static str) {
        let found = Self::ALL.iter().find(|(paint, ..)| *paint == self);
        found.unwrap_or_else(|| unreachable!("every paint has its row"))
    }
}

/// What one device, the region or the readers did.
#[derive(Clone, Debug)]
pub struct Lane<'t> {
    /// The name of the lane.
    pub name: String,
    /// What happened, by its beginning.
    pub events: Vec<&'t Event>,
}

impl Lane<'_> {
    fn new(name: String) -> Self {
        Self { name, events: Vec::new() }
    }
}

/// Returns the lanes: the readers, the slots that were read, the region.
pub fn lanes(timeline: &Timeline) -> Vec<Lane<'_>> {
    let (mut readers, mut region) = (Lane::new("readers".into()), Lane::new("region".into()));
    let mut slots: BTreeMap<u16, Lane<'_>> = BTreeMap::new();
    for event in timeline.events.iter().filter(|event| Paint::of(event).is_some()) {
        let lane = match (event.kind, event.slot) {
            (Kind::Read, _) => &mut readers,
            (Kind::Fetch | Kind::Failed, Some(slot)) => {
                slots.entry(slot).or_insert_with(|| Lane::new(timeline.slot_name(slot)))
            }
            // No guest fetches without a slot.
            (Kind::Fetch | Kind::Failed, None) => continue,
            _ => &mut region,
        };
        lane.events.push(event);
    }
    let region = Some(region).filter(|region| !region.events.is_empty());
    [readers].into_iter().chain(slots.into_values()).chain(region).collect()
}

/// A bar, in cells of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar {
    /// How it is painted.
    pub paint: Paint,
    /// Its cells.
    pub cells: Range<u64>,
}

/// Returns the bars of a lane in `cells` cells for the time `time`, by their paints and places.
/// What took part of a cell takes all of it.
pub fn bars(lane: &Lane<'_>, time: &Range<u64>, cells: u64) -> Vec<Bar> {
    let span = u128::from((time.end - time.start).max(1));
    let cell = |ns: u64| (u128::from(ns - time.start) * u128::from(cells) / span) as u64;
    let mut bars: Vec<Bar> = Vec::new();
    let inside = lane
        .events
        .iter()
        .filter(|event| event.start_ns < time.end && event.end_ns >= time.start && cells > 0);
    for event in inside {
        let Some(paint) = Paint::of(event) else { continue };
        let (start, end) = (event.start_ns.max(time.start), event.end_ns.min(time.end));
        let first = cell(start).min(cells - 1);
        let last = cell(end.saturating_sub(1).max(start)).min(cells - 1);
        bars.push(Bar { paint, cells: first..last + 1 });
    }
    bars.sort_by_key(|bar| (bar.paint, bar.cells.start, bar.cells.end));
    bars.dedup_by(|next, bar| {
        let joins = next.paint == bar.paint && next.cells.start <= bar.cells.end;
        if joins {
            bar.cells.end = bar.cells.end.max(next.cells.end);
        }
        joins
    });
    bars
}

#[cfg(test)]
mod tests {
    use super::super::model::sample;
    use super::*;

    #[test]
    fn lanes_are_the_readers_the_slots_and_the_region() {
        let timeline = sample();
        let lanes = lanes(&timeline);
        let found: Vec<_> =
            lanes.iter().map(|lane| (lane.name.as_str(), lane.events.len())).collect();
        assert_eq!(found, [("readers", 1), ("image", 1), ("blob1", 2), ("region", 4)]);
    }

    #[test]
    fn bars_lie_within_the_row_and_do_not_touch_whatever_the_time() {
        let timeline = sample();
        for lane in lanes(&timeline) {
            for cells in [1, 7, 40, 1000, 1 << 40] {
                for time in [0..20_000_000, 5_500_000..5_500_001, 0..u64::MAX, 0..1, 9..9] {
                    let bars = bars(&lane, &time, cells);
                    assert!(bars.iter().all(|bar| bar.cells.start < bar.cells.end));
                    assert!(bars.iter().all(|bar| bar.cells.end <= cells), "{bars:?}");
                    assert!(bars.windows(2).all(|pair| pair[0].paint != pair[1].paint
                        || pair[0].cells.end < pair[1].cells.start));
                }
            }
        }
    }

    #[test]
    fn short_event_is_one_cell_and_one_outside_is_none() {
        let timeline = sample();
        let lanes = lanes(&timeline);
        let image = &bars(&lanes[1], &(0..20_000_000), 20);
        assert_eq!(*image, [Bar { paint: Paint::Fetch, cells: 3..4 }]);
        assert!(bars(&lanes[1], &(10_000_000..20_000_000), 20).is_empty());
        assert!(bars(&lanes[1], &(0..20_000_000), 0).is_empty());
    }
}
