//! What was fetched and never read.
//!
//! Always: a block of 4 KiB counts as read if one byte of it was; fetches come in whole blocks.

use std::collections::BTreeMap;
use std::ops::Range;

use rootlet::storage::events::{Event, Kind};

use super::model::Timeline;

const BLOCK: u64 = 4096;

/// What was fetched in vain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// Bytes in all.
    pub bytes: u64,
    /// Bytes by file, the most first; `None` stands for what nobody fetched for a file.
    pub files: Vec<(Option<u64>, u64)>,
}

/// Returns what was fetched and never read.
pub fn unread(timeline: &Timeline) -> Unread {
    let mut known: BTreeMap<u16, Ranges> = BTreeMap::new();
    for (slot, event) in of_slots(timeline, Kind::Use) {
        let end = (event.at + event.len).next_multiple_of(BLOCK);
        known.entry(slot).or_default().add(event.at / BLOCK * BLOCK..end);
    }
    let mut files: BTreeMap<Option<u64>, u64> = BTreeMap::new();
    for (slot, event) in of_slots(timeline, Kind::Fetch) {
        // What is fetched twice is counted once.
        let bytes = known.entry(slot).or_default().add(event.at..event.at + event.len);
        if bytes > 0 {
            *files.entry(event.nid).or_default() += bytes;
        }
    }
    let mut files: Vec<_> = files.into_iter().collect();
    files.sort_by_key(|(nid, bytes)| (std::cmp::Reverse(*bytes), *nid));
    Unread { bytes: files.iter().map(|(_, bytes)| bytes).sum(), files }
}

fn of_slots(timeline: &Timeline, kind: Kind) -> impl Iterator<Item = (u16, &Event)> {
    let events = timeline.events.iter().filter(move |event| event.kind == kind);
    events.filter_map(|event| Some((event.slot?, event)))
}

/// Bytes of a slot: ranges that neither overlap nor touch, their ends by their starts.
#[derive(Default)]
struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Adds a range, and returns how many of its bytes are new. Takes the logarithm of the number of
    /// ranges on average: a range that is added is joined with others once.
    fn add(&mut self, range: Range<u64>) -> u64 {
        let (mut start, mut end) = (range.start, range.end);
        let mut new = end - start;
        while let Some((own_start, own_end)) = self.last_until(range.end)
            && own_end >= range.start
        {
            self.0.remove(&own_start);
            new -= own_end.min(range.end) - own_start.max(range.start);
            (start, end) = (start.min(own_start), end.max(own_end));
        }
        if start < end {
            self.0.insert(start, end);
        }
        new
    }

    /// Returns the last range that starts at `end` or before.
    fn last_until(&self, end: u64) -> Option<(u64, u64)> {
        self.0.range(..=end).next_back().map(|(start, end)| (*start, *end))
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::sample;
    use super::*;

    #[test]
    fn blocks_of_which_a_byte_was_read_are_not_in_vain() {
        // 126,000 of 131,072 bytes were used: the last block that has none of them is in vain, and
        // so is all that was prefetched. Metadata was fetched for nobody's use here.
        let found = unread(&sample());
        assert_eq!(found.files, [(None, 65_536 + 4096), (Some(36), 4096)]);
        assert_eq!(found.bytes, 65_536 + 2 * 4096);
    }

    #[test]
    fn ranges_count_each_byte_once_and_join() {
        let mut ranges = Ranges::default();
        let added = [30..40, 0..10, 35..50, 70..80, 5..75, 36..49, 80..81, 90..90, 0..81];
        let new = added.map(|range| ranges.add(range));
        assert_eq!(new, [10, 10, 10, 10, 40, 0, 1, 0, 0]);
        assert!(ranges.0.into_iter().eq([(0, 81)]));
    }

    #[test]
    fn ranges_agree_with_a_list_of_bytes() {
        let mut state = 1_u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        for _ in 0..200 {
            let (mut ranges, mut bytes) = (Ranges::default(), [false; 64]);
            for _ in 0..30 {
                let start = random(64);
                let end = start + random(65 - start);
                let of = &mut bytes[start as usize..end as usize];
                let new = of.iter().filter(|byte| !**byte).count() as u64;
                of.fill(true);
                assert_eq!(ranges.add(start..end), new);
            }
        }
    }

    #[test]
    fn what_is_fetched_twice_in_vain_counts_once() {
        let mut timeline = sample();
        let again: Vec<_> =
            timeline.events.iter().filter(|event| event.kind == Kind::Fetch).copied().collect();
        timeline.events.extend(again);
        assert_eq!(unread(&timeline), unread(&sample()));
    }
}
