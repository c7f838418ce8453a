//! What the loader tells: the command line, the map of RAM, and where ACPI's tables are.
//!
//! Always: the command line is copied, and the tables and the map are read, before the heap exists,
//! so that all of them may lie anywhere.

use core::ptr::with_exposed_provenance;

use pvh::start_info::MemmapType;
use pvh::start_info::reader::StartInfoReader;

use super::paging::MAPPED_END;
use crate::acpi;
use crate::cmdline::{self, CommandLine};
use crate::ram::Ram;

/// The first MiB belongs to the firmware.
const FIRST: u64 = 1 << 20;

/// The loader's message.
pub(super) struct StartInfo {
    /// The command line, up to what cannot be read of it.
    pub(super) cmdline: CommandLine,
    /// RAM.
    pub(super) ram: Ram,
    /// What ACPI's tables say.
    pub(super) acpi: Result<acpi::Facts, acpi::Fault>,
}

/// Reads the message at physical address `paddr`.
pub(super) fn read(paddr: u32) -> StartInfo {
    // SAFETY: the loader passed this address and it is valid by the boot protocol; memory is
    // mapped to itself; nothing has been allocated that could overwrite it.
    let info = unsafe { StartInfoReader::from_paddr_identity(paddr) }
        .expect("the loader passed no start_info, or one without the PVH magic");
    let cmdline = cmdline::keep(info.cmdline().map_or(&[][..], |line| line.to_bytes()));
    let mut ram = Ram::new();
    let map = info.memmap().iter().filter(|entry| entry.ty() == MemmapType::Ram);
    map.for_each(|entry| ram.add(entry.addr.max(FIRST)..entry.addr.saturating_add(entry.size)));
    let acpi = acpi::read(info.raw().rsdp_paddr, &memory);
    StartInfo { cmdline, ram, acpi }
}

/// Bytes of memory that is mapped, as [`acpi::Memory`] wants them.
fn memory<'m>(at: u64, len: usize) -> Option<&'m [u8]> {
    let end = at.checked_add(len as u64)?;
    if at == 0 || end > MAPPED_END {
        return None;
    }
    // SAFETY: all of it is mapped to itself; reading what is no memory gives some bytes. Nothing
    // has been allocated, and nothing writes there as long as this module reads.
    Some(unsafe { core::slice::from_raw_parts(with_exposed_provenance(at as usize), len) })
}
