//! The state of a region in words, for the command `cache`.
//!
//! Always: only reads.

use super::print::printed;
use embedded_io::{Write, WriteFmtError};
use rootlet::cache::{BlobEntry, BlobIndex, Cache, Cells, Described, Mode, Share, SlotState};
use rootlet::storage::Storage;

/// The cells of the bar that shows where a blob is resident.
const BAR_CELLS: u64 = 64;

/// Prints the state of the region and of each blob in it.
pub fn show<S: Storage, W: Write>(
    cache: &mut Cache,
    storage: &S,
    out: &mut W,
) -> Result<(), W::Error> {
    printed(lines(cache, storage, out))
}

fn lines<S: Storage, W: Write>(
    cache: &mut Cache,
    storage: &S,
    out: &mut W,
) -> Result<(), WriteFmtError<W::Error>> {
    cache.scan_all(storage);
    show_layout(cache, out)?;
    show_slots(cache, out)?;
    let blobs: heapless::Vec<_, 124> =
        cache.blobs().map(|(index, entry)| (index, *entry)).collect();
    for (index, entry) in blobs {
        show_blob(cache, storage, index, &entry, out)?;
    }
    let stats = cache.stats();
    writeln!(
        out,
        "this boot kept {}, dropped {}, written {} bytes, {} flushes, {} faults, {} failed checks, {} slots given up",
        stats.kept_bytes,
        stats.dropped_bytes,
        stats.written_bytes,
        stats.flushes,
        stats.region_faults,
        stats.check_failures,
        stats.culled_slots
    )
}

/// Prints where the region lies, and what its superblock says.
fn show_layout<W: Write>(cache: &Cache, out: &mut W) -> Result<(), WriteFmtError<W::Error>> {
    let superblock = cache.superblock();
    write!(out, "region    ")?;
    write_hex(out, &superblock.uuid)?;
    writeln!(out, " at byte {:#x}, {} bytes", superblock.start, superblock.bytes)?;
    match cache.mode() {
        Mode::ReadWrite => writeln!(out, "mode      read-write")?,
        Mode::ReadOnly(why) => writeln!(out, "mode      read-only: {why}")?,
        Mode::Bypass(why) => writeln!(out, "mode      bypassed: {why}")?,
        mode => writeln!(out, "mode      {mode:?}")?,
    }
    let geometry = superblock.geometry;
    #[expect(clippy::arithmetic_side_effects, reason = "a region lies within its disk")]
    let slots_at = superblock.start + geometry.slots_at();
    writeln!(
        out,
        "layout    {} slots of {} KiB from byte {slots_at:#x} on, {} descriptor pages twice",
        geometry.slots(),
        geometry.slot_size().bytes() >> 10,
        geometry.pages(),
    )?;
    let condemned = if superblock.condemned { ", condemned" } else { "" };
    let (generation, nonce) = (superblock.generation, superblock.nonce);
    writeln!(out, "written   generation {generation}, nonce {nonce:#x}{condemned}")
}

/// Prints how many slots are in which state.
fn show_slots<W: Write>(cache: &Cache, out: &mut W) -> Result<(), WriteFmtError<W::Error>> {
    let count = |state| cache.slots(state);
    let given_up = [SlotState::Evicted, SlotState::Entombing, SlotState::Entombed];
    writeln!(
        out,
        "slots     free {}, in use {}, given up {}, dead {}, boot set {}",
        count(SlotState::Free),
        count(SlotState::Live),
        given_up.into_iter().map(|state| u64::from(count(state))).sum::<u64>(),
        count(SlotState::Dead),
        cache.pinned(),
    )
}

/// Writes bytes as hexadecimal digits.
fn write_hex<W: Write>(out: &mut W, bytes: &[u8]) -> Result<(), WriteFmtError<W::Error>> {
    bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
}

/// Prints a blob: its identity, how much of it is resident, and where.
fn show_blob<S: Storage, W: Write>(
    cache: &mut Cache,
    storage: &S,
    index: BlobIndex,
    entry: &BlobEntry,
    out: &mut W,
) -> Result<(), WriteFmtError<W::Error>> {
    let resident = cache.resident_bytes(index).min(entry.bytes);
    let bytes = entry.bytes;
    let described = entry.identity.describe();
    write!(out, "blob {:3}  ", index.get())?;
    match described {
        Some(Described::OfDomain { .. }) => write!(out, "of a domain")?,
        Some(Described::OfImage { slot, .. }) => write!(out, "slot {slot} of an image")?,
        Some(Described::OfContent { .. }) => write!(out, "of a digest")?,
        None => write!(out, "of another program")?,
    }
    writeln!(out, ", {resident} of {bytes} bytes resident")?;
    write!(out, "          generation {}", entry.generation)?;
    match described {
        Some(Described::OfImage { image, .. }) => {
            write!(out, ", image ")?;
            write_hex(out, &image)?;
        }
        Some(Described::OfDomain { domain, .. }) => {
            write!(out, ", domain \"{}\"", domain.escape_ascii())?;
        }
        Some(Described::OfContent { content, .. }) => {
            write!(out, ", content ")?;
            write_hex(out, content)?;
        }
        None => {}
    }
    if let Some(described) = described.filter(|described| !described.tag().is_empty()) {
        write!(out, ", tag \"{}\"", described.tag().escape_ascii())?;
    }
    write!(out, "\n          ")?;
    let cells =
        Cells::new(entry.bytes, cache.superblock().geometry.slot_size().blocks(), BAR_CELLS);
    for cell in 0..cells.count() {
        let resident = cache.resident_in(storage, index, cells.windows(cell));
        write!(out, "{}", Share { resident, of: cells.blocks(cell) }.shade())?;
    }
    writeln!(out)
}
