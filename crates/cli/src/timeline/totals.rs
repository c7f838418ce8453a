//! The sums of a boot's events, beside the counters of its verdict.
//!
//! Always: of a boot that is whole both are equal, or one of them is wrong.

use rootlet::storage::events::{Cause, Event, Kind};

use super::model::Timeline;

/// A sum of events, and the counter that it should equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Total {
    /// The counter's name.
    pub name: &'static str,
    /// What the events sum up to.
    pub events: u64,
    /// What the verdict says, if it says it.
    pub verdict: Option<u64>,
}

impl Total {
    /// Returns whether the verdict says another number.
    pub fn differs(&self) -> bool {
        self.verdict.is_some_and(|verdict| verdict != self.events)
    }
}

/// Returns all sums.
pub fn totals(timeline: &Timeline) -> Vec<Total> {
    let begin = timeline.begin.unwrap_or_default();
    let is = |kind: Kind| move |event: &Event| event.kind == kind;
    let hit = |event: &Event| event.kind == Kind::Hit && event.cause != Cause::Prefetch;
    let count = |which: &dyn Fn(&Event) -> bool| {
        timeline.events.iter().filter(|event| which(event)).count() as u64
    };
    let bytes = |which: &dyn Fn(&Event) -> bool| -> u64 {
        timeline.events.iter().filter(|event| which(event)).map(|event| event.len).sum()
    };
    let sums = [
        ("reads", count(&is(Kind::Read))),
        ("asked_bytes", bytes(&is(Kind::Read))),
        ("fetches", count(&is(Kind::Fetch))),
        ("fetched_bytes", bytes(&is(Kind::Fetch))),
        ("hits", count(&hit)),
        ("hit_bytes", bytes(&hit)),
        ("joins", count(&is(Kind::Join))),
        ("written_bytes", bytes(&is(Kind::Write)) + begin.written_before),
        ("flushes", count(&is(Kind::Flush)) + begin.flushes_before),
    ];
    let said = |name: &str| timeline.verdict.as_ref().and_then(|verdict| verdict.number(name));
    sums.map(|(name, events)| Total { name, events, verdict: said(name) }).to_vec()
}

#[cfg(test)]
mod tests {
    use super::super::model::sample;
    use super::*;

    #[test]
    fn sums_of_a_whole_boot_equal_its_verdict() {
        let totals = totals(&sample());
        assert!(totals.iter().all(|total| total.verdict == Some(total.events)), "{totals:?}");
    }

    #[test]
    fn event_that_is_missing_shows_in_its_sum_alone() {
        let mut timeline = sample();
        timeline.events.retain(|event| event.kind != Kind::Hit);
        let differ = totals(&timeline).into_iter().filter(Total::differs);
        assert!(differ.map(|total| total.name).eq(["hits", "hit_bytes"]));
    }
}
