//! A region as text.
//!
//! Always: every field of the superblock has a line, and with `--pages` every field of every page.

use anyhow::Result;
use data_encoding::HEXLOWER;
use rootlet::cache::inspect::{
    self, Blob, CopyState, Field, Hint, Holds, PageState, Region, Superblocks, Value,
};
use rootlet::cache::{Copy2, Described, OBJECTS, Refusal, Refused};

use super::RegionStorage;
use super::picture::{self, Cell};
use super::tag;
use crate::say;
use crate::shown::shown;
use crate::size::{counted, human};

/// Cells of a blob's bar, and of a row of the map.
const WIDTH: u64 = 64;
/// Rows of the map.
const ROWS: usize = 16;

/// Returns whether a copy of the superblock is there.
pub fn is_there(superblocks: &Superblocks) -> bool {
    superblocks.copies.iter().any(|copy| copy.judged != Err(Refusal::NoMagic))
}

/// Prints both superblocks, side by side.
pub fn superblocks(superblocks: &Superblocks) -> Result<()> {
    let [a, b] = &superblocks.copies;
    let fields = |copy: &inspect::SuperblockCopy| {
        copy.raw.as_deref().map(inspect::superblock).unwrap_or_default()
    };
    let (a_fields, b_fields) = (fields(a), fields(b));
    let verdict = |copy: Copy2, found: &inspect::SuperblockCopy| match (&found.raw, found.judged) {
        (Err(why), _) => format!("unread: {why}"),
        (_, Err(Refusal::NoMagic)) => "not there".into(),
        (_, Err(why)) => why.to_string(),
        _ if matches!(superblocks.counts, Ok((_, counts)) if counts == copy) => "counts".into(),
        (_, Ok(_)) => "valid".into(),
    };
    say!("superblock     {:34} copy B", "copy A");
    say!("  {:13} {:34} {}", "at byte", format!("{:#x}", a.at), format_args!("{:#x}", b.at));
    for at in 0..a_fields.len().max(b_fields.len()) {
        let name = a_fields.get(at).or(b_fields.get(at)).map_or("", |field| field.name);
        let value = |fields: &[Field]| fields.get(at).map_or("?".into(), text);
        say!("  {name:13} {:34} {}", value(&a_fields), value(&b_fields));
    }
    say!("  {:13} {:34} {}", "it", verdict(Copy2::A, a), verdict(Copy2::B, b));
    Ok(())
}

fn text(field: &Field) -> String {
    match (&field.value, field.name) {
        (Value::Bytes(bytes), "magic") => bytes
            .iter()
            .flat_map(|byte| std::ascii::escape_default(*byte))
            .map(char::from)
            .collect(),
        (value, _) => value.to_string(),
    }
}

/// Prints all but the pages.
pub fn region(region: &Region, holders: &[String]) -> Result<()> {
    superblocks(&region.superblocks)?;
    for holder in holders {
        say!("in use    {holder} has it open for writing: what is shown may change meanwhile");
    }
    let superblock = &region.superblock;
    if superblock.condemned {
        say!("condemned the mount that wrote it met wrong checks; the next formats it");
    }
    let geometry = superblock.geometry;
    let size = geometry.slot_size();
    say!(
        "layout    {} of {} bytes of the area: {} slots of {} KiB from byte {:#x} on, {} descriptor \
         pages of {} twice from byte {:#x} on",
        superblock.bytes,
        region.superblocks.area_bytes,
        geometry.slots(),
        size.bytes() >> 10,
        superblock.start + geometry.slots_at(),
        geometry.pages(),
        size.descriptors_per_page(),
        region.page_on_disk(Copy2::A, 0),
    );
    if superblock.bytes > region.superblocks.area_bytes {
        let bytes = region.superblocks.area_bytes;
        say!("shrunk    {}", Refused::Shrunk { says: superblock.bytes, bytes });
    }
    let hint = match region.hint {
        Hint::NoRoom => "none in a region of this size",
        Hint::Stale => "none that counts: the next mount reads all descriptor pages",
        Hint::Counts => "counts",
    };
    say!("hint      {hint}");
    match &*region.boot_trace {
        [] => say!("boot      no trace of one"),
        runs => {
            let blocks: u64 = runs.iter().map(|run| u64::from(run.blocks)).sum();
            say!("boot      began with {} ranges, {} KiB", runs.len(), blocks * 4);
        }
    }
    counters(region)?;
    for blob in &region.blobs {
        show_blob(region, blob)?;
    }
    show_map(region)
}

/// What the tables add up to.
pub struct Counters {
    /// Slots by what they hold: a name, how many, and why they are so.
    pub slots: [(&'static str, u64); 8],
    /// Slots in use by their frequency.
    pub frequencies: [u64; 4],
    /// Blocks that are resident.
    pub resident_blocks: u64,
    /// Mounts that announced themselves as writers; formatting counts as one.
    pub announced: u64,
    /// Writes of pages of the blob table, and of descriptors.
    pub page_writes: [u64; 2],
    /// How often slots got another content, or a tombstone.
    pub slot_changes: u64,
}

impl Counters {
    pub fn of(region: &Region) -> Self {
        let count = |wanted: &dyn Fn(&inspect::Slot) -> bool| {
            region.slots.iter().filter(|slot| wanted(slot)).count() as u64
        };
        let live = |slot: &inspect::Slot| slot.holds == Holds::Window;
        let main = |slot: &inspect::Slot| slot.head.class & 0x10 != 0;
        let free = |slot: &inspect::Slot| slot.holds == Holds::Free;
        let tombstone = |slot: &inspect::Slot| free(slot) && slot.head.slot_generation > 0;
        let frequency = |slot: &inspect::Slot| usize::from((slot.head.class & 0xf).min(3));
        let orphan = |slot: &inspect::Slot| {
            !matches!(slot.holds, Holds::Free | Holds::Window | Holds::Unknown | Holds::Beyond)
        };
        // A region says anything; a full counter stays full.
        let writes = |pages: &[PageState]| {
            let generations = pages.iter().filter_map(PageState::counts).map(|(_, of)| of);
            generations.fold(0, u64::saturating_add)
        };
        Self {
            slots: [
                ("free", count(&free)),
                ("of them tombstones", count(&tombstone)),
                ("small", count(&|slot| live(slot) && !main(slot))),
                ("main", count(&|slot| live(slot) && main(slot))),
                ("boot set", count(&|slot| live(slot) && slot.head.class & 0x20 != 0)),
                ("orphaned", count(&orphan)),
                ("unreadable", count(&|slot| slot.holds == Holds::Unknown)),
                ("beyond the area", count(&|slot| slot.holds == Holds::Beyond)),
            ],
            frequencies: [0, 1, 2, 3].map(|f| count(&|slot| live(slot) && frequency(slot) == f)),
            resident_blocks: region.blobs.iter().map(|blob| blob.resident_blocks).sum(),
            announced: region.superblock.generation,
            page_writes: [writes(&region.blob_pages), writes(&region.pages)],
            slot_changes: region.slots.iter().map(|s| u64::from(s.head.slot_generation)).sum(),
        }
    }
}

fn counters(region: &Region) -> Result<()> {
    let counters = Counters::of(region);
    let slots: Vec<_> =
        counters.slots.iter().map(|(name, count)| format!("{name} {count}")).collect();
    say!("slots     {}", slots.join(", "));
    let frequencies: Vec<_> = (0..).zip(counters.frequencies).collect();
    let frequencies: Vec<_> =
        frequencies.iter().map(|(uses, count): &(u32, u64)| format!("{uses}: {count}")).collect();
    say!("uses      {} (slots by their frequency, at most 3)", frequencies.join(", "));
    say!(
        "counters  superblock generation {}, blob table written {} times, descriptor pages {} times, \
         slots filled or given up {} times",
        counters.announced,
        counters.page_writes[0],
        counters.page_writes[1],
        counters.slot_changes
    );
    let blocks = counters.resident_blocks;
    say!("resident  {} in {blocks} blocks of 4 KiB", human(blocks << 12));
    Ok(())
}

fn show_blob(region: &Region, blob: &Blob) -> Result<()> {
    let (bytes, resident) = (blob.entry.bytes, blob.resident_bytes());
    let percent = resident * 100 / bytes.max(1);
    say!(
        "blob {:4} {} of {} resident ({percent} %), {}, generation {}",
        blob.index.get(),
        human(resident),
        human(bytes),
        counted(blob.slots.into(), "slot", "slots"),
        blob.entry.generation
    );
    match blob.entry.identity.describe() {
        Some(Described::OfImage { slot, image, digest, version, domain, .. }) => {
            let (tag, image) = (tag(blob), HEXLOWER.encode(&image));
            say!(
                "          tag \"{tag}\", slot {slot} of image {image}, digest {digest:016x}, version {version:016x}{}",
                of_domain(domain)
            );
        }
        Some(Described::OfDomain { domain, version, .. }) => {
            let (tag, domain) = (tag(blob), shown(domain));
            say!("          tag \"{tag}\" in domain \"{domain}\", version {version:016x}");
        }
        Some(Described::OfContent { content: &OBJECTS, .. }) => {
            say!("          objects, each at the place that its digest chooses");
        }
        Some(Described::OfContent { content, base }) => {
            say!("          content {} from byte {base} on", HEXLOWER.encode(content));
        }
        None => say!("          identity {}", HEXLOWER.encode(&blob.entry.identity.0)),
    }
    let bar: String = picture::bar(region, blob, WIDTH).iter().map(|share| share.shade()).collect();
    say!("          {bar}");
    Ok(())
}

/// Returns the domain of an image's own blob; only its digest is kept.
fn of_domain(digest: u64) -> String {
    if digest == 0 { String::new() } else { format!(", domain digest {digest:016x}") }
}

fn show_map(region: &Region) -> Result<()> {
    let (per_cell, map) = picture::map(region, WIDTH as usize * ROWS);
    let each = counted(per_cell as u64, "slot", "slots");
    say!("map       {each} a sign: blob's number (base 36), . free, x given up, ? lost");
    let sign = |cell: &Cell| match cell {
        Cell::Free => '.',
        Cell::Blob(blob, _) => picture::sign(&region.blobs[*blob]),
        Cell::Orphan => 'x',
        Cell::Lost => '?',
    };
    for row in map.chunks(WIDTH as usize) {
        say!("          {}", row.iter().map(sign).collect::<String>());
    }
    Ok(())
}

/// Prints the pages of the blob table and of descriptors, field by field; free entries and
/// descriptors that were never used are left out.
pub fn pages(region: &Region, storage: &mut RegionStorage) -> Result<()> {
    for (number, state) in (0u32..).zip(&region.blob_pages) {
        let at = Copy2::BOTH.map(|copy| region.blob_page_on_disk(copy, number));
        let Some(raw) = page(storage, region, "blob table", number, state, at)? else { continue };
        for entry in 0..inspect::ENTRIES_PER_PAGE {
            if inspect::entry_used(&raw, entry) {
                let number = number as usize * inspect::ENTRIES_PER_PAGE + entry;
                say!("  entry {number}");
                fields(&inspect::blob_entry(&raw, entry))?;
            }
        }
    }
    let geometry = region.superblock.geometry;
    for (number, state) in (0u32..).zip(&region.pages) {
        let at = Copy2::BOTH.map(|copy| region.page_on_disk(copy, number));
        let Some(raw) = page(storage, region, "descriptor", number, state, at)? else { continue };
        for (slot, index) in geometry.slots_of(number).zip(0u32..) {
            let Some(known) = region.slots.get(slot.get() as usize) else { continue };
            if known.head != inspect::Head::default() {
                say!("  slot {slot}: {}", meaning(&known.holds));
                fields(&inspect::descriptor(&raw, geometry.slot_size(), index))?;
            }
        }
    }
    Ok(())
}

fn page(
    storage: &mut RegionStorage,
    region: &Region,
    kind: &str,
    number: u32,
    state: &PageState,
    at: [u64; 2],
) -> Result<Option<Vec<u8>>> {
    let counts = state.counts();
    if counts.is_none() && state.copies.iter().all(|copy| *copy == CopyState::Blank) {
        return Ok(None);
    }
    let copies: Vec<_> = Copy2::BOTH
        .into_iter()
        .zip(state.copies.iter().zip(at))
        .map(|(copy, (found, at))| {
            let counts = if counts.is_some_and(|(of, _)| of == copy) { ", counts" } else { "" };
            format!("{copy:?} at byte {at:#x}: {}{counts}", copy_state(found))
        })
        .collect();
    say!("{kind} page {number}: {}", copies.join("; "));
    let raw = match kind {
        "descriptor" => region.page(storage, number),
        _ => region.blob_page(storage, number),
    };
    let Some(raw) = raw else { return Ok(None) };
    fields(&inspect::page_header(&raw))?;
    Ok(Some(raw))
}

fn fields(fields: &[Field]) -> Result<()> {
    for field in fields {
        say!("    +{:<5} {:16} {}", field.at, field.name, text(field));
    }
    Ok(())
}

/// Returns what a copy of a page is, in words.
pub fn copy_state(state: &CopyState) -> String {
    match state {
        CopyState::Valid(generation) => format!("generation {generation}"),
        CopyState::Blank => "never written".into(),
        CopyState::Invalid => "not valid".into(),
        CopyState::Unread(why) => format!("unread: {why}"),
    }
}

/// Returns what a descriptor means, in words.
pub fn meaning(holds: &Holds) -> String {
    match holds {
        Holds::Free => "free".into(),
        Holds::Window => "in use".into(),
        Holds::BlobGone => "orphaned: its blob is gone".into(),
        Holds::BlobChanged => "orphaned: its blob's entry has another generation".into(),
        Holds::NoWindow => "orphaned: no blob has such a window".into(),
        Holds::Double(other) => format!("orphaned: slot {other} holds the same window"),
        Holds::Unknown => "its page is unreadable".into(),
        Holds::Beyond => "behind the end of the area".into(),
    }
}
