//! A timeline as JSON, for programs.
//!
//! Always: times in nanoseconds since the entry, lengths in bytes; what is not known is null.

use rootlet_guest::timeline::{cause_word, kind_word};
use serde_json::{Value, json};

use super::delay::steps;
use super::model::Timeline;
use super::totals::totals;
use super::unread::unread;

/// Returns everything that is known of a boot.
pub fn value(timeline: &Timeline) -> Value {
    let marks = timeline.marks.iter().map(|(name, ns)| json!({"stage": name, "ns": ns}));
    let slots = timeline
        .slots
        .iter()
        .map(|(number, slot)| json!({"slot": number, "bytes": slot.bytes, "name": slot.name}));
    let files = timeline.files.iter().map(|(nid, path)| json!({"nid": nid, "path": path}));
    let events = timeline.events.iter().map(|event| {
        json!({
            "kind": kind_word(event.kind),
            "cause": cause_word(event.cause),
            "slot": event.slot,
            "start_ns": event.start_ns,
            "end_ns": event.end_ns,
            "at": event.at,
            "len": event.len,
            "nid": event.nid,
        })
    });
    let totals = totals(timeline)
        .into_iter()
        .map(|total| json!({"name": total.name, "events": total.events, "verdict": total.verdict}));
    let delay = steps(timeline).into_iter().map(|step| {
        json!({
            "after": step.stage,
            "start_ns": step.start_ns,
            "end_ns": step.end_ns,
            "reads": step.reads.len(),
            "bytes": step.bytes(),
        })
    });
    let unread = unread(timeline);
    let by_file = unread.files.iter().map(|(nid, bytes)| json!({"nid": nid, "bytes": bytes}));
    json!({
        "first_byte_ns": timeline.first_byte_ns(),
        "end_ns": timeline.end_ns(),
        "dropped": timeline.dropped(),
        "lost": timeline.lost(),
        "unsent": timeline.unsent(),
        "passed": timeline.verdict.as_ref().map(|verdict| verdict.passed),
        "stages": marks.collect::<Vec<_>>(),
        "slots": slots.collect::<Vec<_>>(),
        "files": files.collect::<Vec<_>>(),
        "totals": totals.collect::<Vec<_>>(),
        "delay": delay.collect::<Vec<_>>(),
        "unread": {"bytes": unread.bytes, "files": by_file.collect::<Vec<_>>()},
        "events": events.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::model::sample;
    use super::*;

    #[test]
    fn every_event_and_figure_is_there() {
        let value = value(&sample());
        assert_eq!(value["first_byte_ns"], 6_100_000);
        assert_eq!(value["events"].as_array().unwrap().len(), 9);
        assert_eq!(value["events"][0]["slot"], Value::Null);
        assert_eq!(value["unread"]["bytes"], 73_728);
        assert_eq!(value["delay"].as_array().unwrap().last().unwrap()["end_ns"], 6_100_000);
        let fetched = json!({"name": "fetched_bytes", "events": 200_704, "verdict": 200_704});
        assert!(value["totals"].as_array().unwrap().contains(&fetched));
    }
}
