//! A region as one JSON object.
//!
//! Always: quantities are numbers; bits, checks and bytes are strings of hexadecimal digits, which
//! no reader rounds.

use data_encoding::HEXLOWER;
use rootlet::cache::inspect::{self, Blob, Field, Hint, PageState, Region, Superblocks, Value};
use rootlet::cache::{Copy2, Described};
use serde_json::{Map, Value as Json, json};

use super::RegionStorage;
use super::show::{Counters, copy_state, meaning};
use super::tag;
use crate::shown::shown;

fn fields(fields: &[Field]) -> Json {
    let mut object = Map::new();
    let mut checks = Map::new();
    for field in fields {
        let value = match &field.value {
            Value::Number(number) => json!(number),
            Value::Check(block, check) => {
                checks.insert(block.to_string(), json!(format!("{check:016x}")));
                continue;
            }
            Value::Bits(bits) => json!(format!("{bits:#x}")),
            Value::Bytes(bytes) => json!(HEXLOWER.encode(bytes)),
        };
        object.insert(field.name.replace(' ', "_"), value);
    }
    if !checks.is_empty() {
        object.insert("checks".into(), Json::Object(checks));
    }
    Json::Object(object)
}

/// Returns both superblocks, and which one counts.
pub fn superblocks(superblocks: &Superblocks) -> Json {
    let copies: Vec<_> = Copy2::BOTH
        .into_iter()
        .zip(&superblocks.copies)
        .map(|(copy, found)| {
            let raw = found.raw.as_deref().map(|raw| fields(&inspect::superblock(raw)));
            json!({
                "copy": format!("{copy:?}"),
                "at": found.at,
                "fields": raw.unwrap_or(Json::Null),
                "fault": match (&found.raw, found.judged) {
                    (Err(why), _) => Some(why.to_string()),
                    (Ok(_), Err(why)) => Some(why.to_string()),
                    (Ok(_), Ok(_)) => None,
                },
            })
        })
        .collect();
    let counts = superblocks.counts.as_ref();
    json!({
        "area_bytes": superblocks.area_bytes,
        "copies": copies,
        "counts": counts.ok().map(|(_, copy)| format!("{copy:?}")),
        "refused": counts.err().map(ToString::to_string),
    })
}

/// Returns all that is known of a region.
pub fn region(
    region: &Region,
    storage: &mut RegionStorage,
    holders: &[String],
    with_pages: bool,
) -> Json {
    let geometry = region.superblock.geometry;
    let counters = Counters::of(region);
    let slots: Map<_, _> = counters
        .slots
        .iter()
        .map(|(name, count)| (name.replace("of them ", "").replace(' ', "_"), json!(count)))
        .collect();
    let mut object = json!({
        "superblocks": superblocks(&region.superblocks),
        "in_use": holders,
        "layout": {
            "start": region.superblock.start,
            "bytes": region.superblock.bytes,
            "slot_bytes": geometry.slot_size().bytes(),
            "slots": geometry.slots(),
            "descriptor_pages": geometry.pages(),
            "condemned": region.superblock.condemned,
            "boot_trace": region.boot_trace.iter().map(|run| json!({
                "blob": run.blob.get(), "first_block": run.first, "blocks": run.blocks,
            })).collect::<Vec<_>>(),
            "hint_counts": region.hint == Hint::Counts,
        },
        "slots": slots,
        "slots_by_frequency": counters.frequencies,
        "counters": {
            "resident_blocks": counters.resident_blocks,
            "superblock_generation": counters.announced,
            "blob_page_writes": counters.page_writes[0],
            "descriptor_page_writes": counters.page_writes[1],
            "slot_changes": counters.slot_changes,
        },
        "blobs": region.blobs.iter().map(|blob| of_blob(region, blob)).collect::<Vec<_>>(),
    });
    if with_pages {
        object["blob_pages"] = blob_pages(region, storage);
        object["descriptor_pages"] = descriptor_pages(region, storage);
    }
    object
}

fn of_blob(region: &Region, blob: &Blob) -> Json {
    let described = blob.entry.identity.describe().map(|described| match described {
        Described::OfImage { slot, image, digest, version, domain, .. } => json!({
            "tag": tag(blob),
            "slot": slot,
            "image": HEXLOWER.encode(&image),
            "digest": format!("{digest:016x}"),
            "version": format!("{version:016x}"),
            "domain_digest": format!("{domain:016x}"),
        }),
        Described::OfDomain { domain, version, .. } => json!({
            "tag": tag(blob),
            "domain": shown(domain),
            "version": format!("{version:016x}"),
        }),
        Described::OfContent { content, base } => json!({
            "content": HEXLOWER.encode(content),
            "base": base,
        }),
    });
    json!({
        "number": blob.index.get(),
        "bytes": blob.entry.bytes,
        "generation": blob.entry.generation,
        "identity": HEXLOWER.encode(&blob.entry.identity.0),
        "named": described,
        "slots": blob.slots,
        "resident_bytes": blob.resident_bytes(),
        // Window (in slot sizes), and blocks of 4 KiB of it that are resident.
        "windows": region.windows(blob.index).collect::<Vec<_>>(),
    })
}

fn page(number: u32, state: &PageState, raw: Option<&[u8]>) -> Map<String, Json> {
    let mut object = Map::new();
    object.insert("number".into(), json!(number));
    object.insert("copies".into(), json!(state.copies.each_ref().map(copy_state)));
    let counts = state.counts().map(|(copy, _)| format!("{copy:?}"));
    object.insert("counts".into(), json!(counts));
    object
        .insert("header".into(), raw.map_or(Json::Null, |raw| fields(&inspect::page_header(raw))));
    object
}

fn blob_pages(region: &Region, storage: &mut RegionStorage) -> Json {
    let all = (0u32..).zip(&region.blob_pages).map(|(number, state)| {
        let raw = region.blob_page(storage, number);
        let mut object = page(number, state, raw.as_deref());
        let entries: Vec<_> = raw
            .iter()
            .flat_map(|raw| (0..inspect::ENTRIES_PER_PAGE).map(move |entry| (raw, entry)))
            .filter(|(raw, entry)| inspect::entry_used(raw, *entry))
            .map(|(raw, entry)| fields(&inspect::blob_entry(raw, entry)))
            .collect();
        object.insert("entries".into(), json!(entries));
        Json::Object(object)
    });
    all.collect()
}

fn descriptor_pages(region: &Region, storage: &mut RegionStorage) -> Json {
    let geometry = region.superblock.geometry;
    let all = (0u32..).zip(&region.pages).map(|(number, state)| {
        let raw = region.page(storage, number);
        let mut object = page(number, state, raw.as_deref());
        let mut slots = Vec::new();
        for (slot, index) in geometry.slots_of(number).zip(0u32..) {
            let known = region.slots.get(slot.get() as usize);
            if let (Some(raw), Some(known)) = (&raw, known)
                && known.head != inspect::Head::default()
            {
                let mut one = fields(&inspect::descriptor(raw, geometry.slot_size(), index));
                one["slot"] = json!(slot.get());
                one["means"] = json!(meaning(&known.holds));
                slots.push(one);
            }
        }
        object.insert("descriptors".into(), json!(slots));
        Json::Object(object)
    });
    all.collect()
}
