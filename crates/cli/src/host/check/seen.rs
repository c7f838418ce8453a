//! Which ranges of which devices were read already.
//!
//! Always: ranges of one device neither overlap nor touch; no byte is handed out twice.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use rootlet::storage::DeviceId;

/// Ranges by device.
#[derive(Debug, Default)]
pub struct Seen(HashMap<DeviceId, BTreeMap<u64, u64>>);

impl Seen {
    /// Adds a range; returns the parts of it that are new, in order.
    pub fn add(&mut self, device: DeviceId, range: Range<u64>) -> Vec<Range<u64>> {
        let known = self.0.entry(device).or_default();
        let (mut start, mut end) = (range.start, range.end);
        let mut touched: Vec<(u64, u64)> = Vec::new();
        if let Some((from, to)) = known.range(..start).next_back()
            && *to >= start
        {
            touched.push((*from, *to));
        }
        touched.extend(known.range(start..=end).map(|(from, to)| (*from, *to)));
        let mut new = Vec::new();
        let mut at = start;
        for (from, to) in touched {
            if from > at {
                new.push(at..from);
            }
            at = at.max(to);
            known.remove(&from);
            (start, end) = (start.min(from), end.max(to));
        }
        if at < range.end {
            new.push(at..range.end);
        }
        if start < end {
            known.insert(start, end);
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_is_new_once() {
        let mut seen = Seen::default();
        let mut model = [false; 64];
        let mut state = 7_u64;
        for _ in 0..2000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (start, len) = (state >> 33 & 31, state >> 40 & 15);
            let new = seen.add(DeviceId(1), start..start + len);
            for at in start..start + len {
                let is_new = new.iter().any(|range| range.contains(&at));
                assert_eq!(is_new, !std::mem::replace(&mut model[at as usize], true), "{at}");
            }
            if model.iter().take(40).all(|seen| *seen) {
                (seen, model) = (Seen::default(), [false; 64]);
            }
        }
    }

    #[test]
    fn ranges_that_touch_are_one_and_devices_are_apart() {
        let mut seen = Seen::default();
        let mut new = |device, range| seen.add(DeviceId(device), range).first().cloned();
        assert_eq!(new(0, 0..4), Some(0..4));
        assert_eq!(new(0, 8..12), Some(8..12));
        assert_eq!(new(0, 2..10), Some(4..8));
        assert_eq!(new(1, 2..3), Some(2..3));
        assert_eq!(new(0, 3..3), None);
        assert_eq!(seen.0[&DeviceId(0)], BTreeMap::from([(0, 12)]));
    }
}
