//! What the loader tells: the command line, the map of RAM, and where ACPI's tables are.
//!
//! Always: the command line is copied, and the tables and the map are read, before the heap exists,
//! so that all of them may lie anywhere.

use core::fmt;
use core::ptr::with_exposed_provenance;

use heapless::Vec;
use pvh::start_info::MemmapType;
use pvh::start_info::reader::StartInfoReader;

use rootlet_guest::boot::{MAP_ENTRIES_MAX, MapEntry};
use spin::Mutex;

use super::paging::MAPPED_END;
use crate::acpi::{self, GENERATION_BYTES};
use crate::cmdline::{self, CommandLine};
use crate::ram::{self, Beyond, Ram};

/// The first MiB belongs to the firmware.
const FIRST: u64 = 1 << 20;

/// The facts for a kernel that is started here: the map as the loader gave it, and the address of
/// ACPI's first table.
pub(super) static TOLD: Mutex<(Vec<MapEntry, MAP_ENTRIES_MAX>, u64)> = Mutex::new((Vec::new(), 0));

/// The loader's message.
pub(super) struct StartInfo {
    /// The command line, up to what cannot be read of it.
    pub(super) cmdline: CommandLine,
    /// RAM.
    pub(super) ram: Ram,
    /// What ACPI's tables say.
    pub(super) acpi: acpi::Facts,
}

/// Why nothing is known of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// No message is at this address.
    Absent(u32),
    /// A range of the map ends beyond all addresses.
    Memory(Beyond),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(at) => write!(f, "start_info at {at:#x}: the loader passed none"),
            Self::Memory(beyond) => write!(f, "start_info: memory: {beyond}"),
        }
    }
}

/// Reads the message at physical address `paddr`.
///
/// # Errors
///
/// [`Refused`].
pub(super) fn read(paddr: u32) -> Result<StartInfo, Refused> {
    // SAFETY: the loader passed this address and it is valid by the boot protocol; memory is
    // mapped to itself; nothing has been allocated that could overwrite it.
    let info = unsafe { StartInfoReader::from_paddr_identity(paddr) };
    let info = info.ok_or(Refused::Absent(paddr))?;
    let cmdline = cmdline::keep(info.cmdline().map_or(&[][..], |line| line.to_bytes()));
    let mut ram = Ram::new();
    let mut told = TOLD.lock();
    told.1 = info.raw().rsdp_paddr;
    for entry in info.memmap() {
        let whole = MapEntry { start: entry.addr, bytes: entry.size, kind: entry.ty };
        // A map that does not fit has no room for its ranges in `ram` either, and starts nothing.
        if whole.bytes > 0 {
            let _ = told.0.push(whole);
        }
        let range = ram::range(entry.addr, entry.size).map_err(Refused::Memory)?;
        match entry.ty() {
            MemmapType::Ram => ram.add(range.start.max(FIRST)..range.end),
            // Somebody else's, also where another entry says that it is RAM.
            _ => ram.take(range),
        }
    }
    let acpi = acpi::read(info.raw().rsdp_paddr, &memory);
    if let Some(at) = acpi.generation {
        ram.take(ram::range(at, GENERATION_BYTES).map_err(Refused::Memory)?);
    }
    Ok(StartInfo { cmdline, ram, acpi })
}

/// Bytes of memory that is mapped, as [`acpi::Memory`] wants them.
fn memory<'m>(at: u64, len: usize) -> Option<&'m [u8]> {
    let end = at.checked_add(len as u64)?;
    if at == 0 || end > MAPPED_END {
        return None;
    }
    // SAFETY: all of it is mapped to itself; reading where no memory is gives some bytes. Nothing
    // has been allocated, and nothing writes there as long as this module reads.
    Some(unsafe { core::slice::from_raw_parts(with_exposed_provenance(at as usize), len) })
}
