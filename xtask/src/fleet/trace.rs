//! What one guest fetches in a boot, in pieces of 64 KiB.
//!
//! Always: a piece is there once, with the time of its first request; every piece lies in the image.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The length of a piece in bytes.
pub const PIECE: u64 = 64 << 10;
/// A boot of this project's, made with `rootlet boot --timeline`.
const BOOT: &str = include_str!("boot.txt");

/// The pieces of a boot.
#[derive(Debug, Default)]
pub struct Trace {
    /// Milliseconds since the entry, and the number of the piece, in the order of time.
    pub asked: Vec<(u64, u32)>,
    /// How many pieces the image has.
    pub pieces: u32,
}

impl Trace {
    /// Reads the timeline in `file`, or takes the project's.
    pub fn read(file: Option<&Path>) -> Result<Self> {
        let Some(file) = file else { return Self::of_text(BOOT) };
        let name = || file.display().to_string();
        let text = fs::read(file).with_context(name)?;
        let value = serde_json::from_slice(&text).with_context(name)?;
        Self::of_json(&value).with_context(name)
    }

    fn of_text(text: &str) -> Result<Self> {
        let number = |word: &str| word.parse::<u64>().context("a number of the boot");
        let (mut slots, mut rows) = (BTreeMap::new(), Vec::new());
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["slot", slot, bytes] => {
                    slots.insert(number(slot)?, number(bytes)?);
                }
                [ms, slot, first, count] => {
                    let (first, count) = (number(first)?, number(count)?);
                    rows.push((number(ms)?, number(slot)?, first * PIECE, count * PIECE));
                }
                _ => bail!("a line of the boot: {line}"),
            }
        }
        Self::new(&slots, rows)
    }

    /// Takes the fetches of the output of `rootlet timeline --json`.
    fn of_json(value: &Value) -> Result<Self> {
        let number = |value: &Value, name: &str| value[name].as_u64();
        let array = |name: &str| {
            value[name].as_array().with_context(|| {
                format!("no `{name}`: it is not the output of `rootlet timeline LOG --json`")
            })
        };
        let slots = array("slots")?
            .iter()
            .filter_map(|slot| Some((number(slot, "slot")?, number(slot, "bytes")?)));
        let rows = array("events")?.iter().filter(|event| event["kind"] == "fetch");
        let rows = rows.filter_map(|event| {
            let ms = number(event, "start_ns")? / 1_000_000;
            Some((ms, number(event, "slot")?, number(event, "at")?, number(event, "len")?))
        });
        Self::new(&slots.collect(), rows.collect())
    }

    /// `rows` are milliseconds, slot, first byte and length.
    fn new(slots: &BTreeMap<u64, u64>, rows: Vec<(u64, u64, u64, u64)>) -> Result<Self> {
        // Each slot has a part of the numbers.
        let (mut firsts, mut pieces) = (BTreeMap::new(), 0);
        for (slot, bytes) in slots {
            firsts.insert(*slot, pieces);
            pieces += bytes.div_ceil(PIECE);
        }
        let mut times = BTreeMap::new();
        for (ms, slot, at, len) in rows {
            let end = at.checked_add(len).context("a fetch beyond all numbers")?;
            let of = slots.get(&slot).copied().unwrap_or(0).div_ceil(PIECE) * PIECE;
            if end > of {
                bail!("a fetch of slot {slot} to byte {end}, and the slot has {of} at most");
            }
            for piece in at / PIECE..end.div_ceil(PIECE) {
                let time = times.entry(u32::try_from(firsts[&slot] + piece)?).or_insert(ms);
                *time = ms.min(*time);
            }
        }
        let mut asked: Vec<_> = times.into_iter().map(|(piece, ms)| (ms, piece)).collect();
        asked.sort_unstable();
        if asked.is_empty() {
            bail!("it fetches nothing: was everything in a region?");
        }
        Ok(Self { asked, pieces: u32::try_from(pieces)? })
    }

    /// Returns the bytes that a guest fetches.
    pub fn bytes(&self) -> u64 {
        self.asked.len() as u64 * PIECE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_of_the_project_fetches_a_part_of_an_image() {
        let trace = Trace::read(None).unwrap();
        assert_eq!(trace.bytes() >> 20, 44);
        assert_eq!((u64::from(trace.pieces) * PIECE) >> 20, 502);
        assert!(trace.asked.is_sorted());
    }

    #[test]
    fn timeline_is_read_by_its_fetches() {
        let event = |kind: &str, ms: u64, at: u64, len: u64| serde_json::json!({"kind": kind, "slot": 1, "at": at, "len": len, "start_ns": ms * 1_000_000});
        let events =
            [event("fetch", 9, 0, 4096), event("fetch", 7, 4096, 65536), event("use", 1, 0, 1)];
        let slots =
            serde_json::json!([{"slot": 0, "bytes": 70_000}, {"slot": 1, "bytes": 131_072}]);
        let value = serde_json::json!({ "slots": slots, "events": events });
        let trace = Trace::of_json(&value).unwrap();
        assert_eq!((trace.asked, trace.pieces), (vec![(7, 2), (7, 3)], 4));
        for (at, why) in [(131_072, "and the slot has 131072"), (u64::MAX, "beyond all numbers")] {
            let value = serde_json::json!({ "slots": slots, "events": [event("fetch", 1, at, 1)] });
            let error = Trace::of_json(&value).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        let error = Trace::of_json(&serde_json::json!({})).unwrap_err().to_string();
        assert!(error.contains("it is not the output"), "{error}");
    }
}
