//! The region's state in words, for the command `cache`.
//!
//! Always: only reads.

use crate::cache::{Cache, Mode, SlotState};
use crate::storage::Storage;
use embedded_io::{Write, WriteFmtError};

/// Writes what is known of the region.
pub fn show<S: Storage, W: Write>(
    cache: &mut Cache,
    storage: &mut S,
    out: &mut W,
) -> Result<(), W::Error> {
    match lines(cache, storage, out) {
        Ok(()) | Err(WriteFmtError::FmtError) => Ok(()),
        Err(WriteFmtError::Other(error)) => Err(error),
    }
}

fn lines<S: Storage, W: Write>(
    cache: &mut Cache,
    storage: &mut S,
    out: &mut W,
) -> Result<(), WriteFmtError<W::Error>> {
    cache.scan_all(storage);
    let superblock = *cache.superblock();
    write!(out, "region    ")?;
    for byte in superblock.uuid {
        write!(out, "{byte:02x}")?;
    }
    writeln!(out, " at byte {:#x}, {} bytes", superblock.start, superblock.bytes)?;
    match cache.mode() {
        Mode::ReadWrite => writeln!(out, "mode      read-write")?,
        Mode::ReadOnly(why) => writeln!(out, "mode      read-only: {why}")?,
        Mode::Bypass(why) => writeln!(out, "mode      bypassed: {why}")?,
    }
    let geometry = superblock.geometry;
    writeln!(
        out,
        "layout    {} slots of {} KiB, {} descriptor pages, generation {}",
        geometry.slots,
        geometry.slot_size.bytes() >> 10,
        geometry.pages,
        superblock.generation
    )?;
    let count = |state| cache.slots(state);
    writeln!(
        out,
        "slots     free {}, small {}, main {}, given up {}, dead {}",
        count(SlotState::Free),
        count(SlotState::Small),
        count(SlotState::Main),
        count(SlotState::Evicted)
            .saturating_add(count(SlotState::Entombing))
            .saturating_add(count(SlotState::Entombed)),
        count(SlotState::Dead),
    )?;
    let blobs: heapless::Vec<_, 124> =
        cache.blobs().map(|(index, entry)| (index, *entry)).collect();
    for (index, entry) in blobs {
        let resident = cache.resident_bytes(index);
        let slot = entry.identity.slot();
        writeln!(
            out,
            "blob {:3}  slot {slot} of an image, {resident} of {} bytes resident",
            index.0, entry.bytes
        )?;
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
