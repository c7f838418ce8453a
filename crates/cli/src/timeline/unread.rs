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
    let mut used: BTreeMap<u16, Vec<Range<u64>>> = BTreeMap::new();
    for (slot, event) in of_slots(timeline, Kind::Use) {
        let end = (event.at + event.len).next_multiple_of(BLOCK);
        used.entry(slot).or_default().push(event.at / BLOCK * BLOCK..end);
    }
    let mut files: BTreeMap<Option<u64>, u64> = BTreeMap::new();
    for (slot, event) in of_slots(timeline, Kind::Fetch) {
        let used = used.entry(slot).or_default();
        let rest = without(event.at..event.at + event.len, used);
        let bytes: u64 = rest.iter().map(|range| range.end - range.start).sum();
        if bytes > 0 {
            *files.entry(event.nid).or_default() += bytes;
        }
        // What is fetched twice is counted once.
        used.extend(rest);
    }
    let mut files: Vec<_> = files.into_iter().collect();
    files.sort_by_key(|(nid, bytes)| (std::cmp::Reverse(*bytes), *nid));
    Unread { bytes: files.iter().map(|(_, bytes)| bytes).sum(), files }
}

fn of_slots(timeline: &Timeline, kind: Kind) -> impl Iterator<Item = (u16, &Event)> {
    let events = timeline.events.iter().filter(move |event| event.kind == kind);
    events.filter_map(|event| Some((event.slot?, event)))
}

/// Returns the parts of `range` that are in none of `others`.
fn without(range: Range<u64>, others: &mut [Range<u64>]) -> Vec<Range<u64>> {
    others.sort_by_key(|other| (other.start, other.end));
    let (mut at, mut left) = (range.start, Vec::new());
    for other in others.iter().filter(|other| other.end > range.start && other.start < range.end) {
        if other.start > at {
            left.push(at..other.start);
        }
        at = at.max(other.end);
    }
    if at < range.end {
        left.push(at..range.end);
    }
    left
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
    fn parts_outside_of_all_others_are_left() {
        let mut others = vec![30..40, 0..10, 35..50, 70..80];
        assert_eq!(without(5..75, &mut others), [10..30, 50..70]);
        assert!(without(36..49, &mut others).is_empty());
        assert_eq!(without(90..91, &mut others), std::slice::from_ref(&(90..91)));
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
