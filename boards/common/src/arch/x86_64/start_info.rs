//! What the loader tells: the command line and the map of RAM.
//!
//! Always: the command line is copied before the heap exists, and the map is not looked at any
//! more once it does, so that both may lie anywhere; RAM beyond 4 GiB is not used, because it is not
//! mapped.

use core::ops::Range;

use crate::cmdline::{self, CommandLine};
use pvh::start_info::reader::StartInfoReader;
use pvh::start_info::{MemmapTableEntry, MemmapType};

const MAPPED_END: u64 = 1 << 32;

unsafe extern "C" {
    /// The first byte behind the image; the linker script defines it.
    safe static __image_end: u8;
}

/// The loader's message, until there is a heap.
pub(super) struct StartInfo<'m> {
    cmdline: CommandLine,
    map: &'m [MemmapTableEntry],
}

/// Reads the message at physical address `paddr`.
pub(super) fn read<'m>(paddr: u32) -> StartInfo<'m> {
    // SAFETY: the loader passed this address and it is valid by the boot protocol; memory is
    // mapped to itself; nothing has been allocated that could overwrite it.
    let info = unsafe { StartInfoReader::from_paddr_identity(paddr) }
        .expect("the loader passed no start_info, or one without the PVH magic");
    let cmdline = cmdline::keep(info.cmdline().map_or(&[][..], |line| line.to_bytes()));
    StartInfo { cmdline, map: info.memmap() }
}

impl StartInfo<'_> {
    /// The command line, up to what cannot be read of it.
    pub(super) fn cmdline(&self) -> CommandLine {
        self.cmdline
    }

    /// RAM below 4 GiB.
    pub(super) fn ram(&self) -> impl Iterator<Item = Range<u64>> {
        let below = |at: u64| at.min(MAPPED_END);
        let ram = self.map.iter().filter(|entry| entry.ty() == MemmapType::Ram);
        let ram =
            ram.map(move |entry| below(entry.addr)..below(entry.addr.saturating_add(entry.size)));
        // An empty one would give its page a cache.
        ram.filter(|range| !range.is_empty())
    }
}

/// What of `ram` lies behind the image.
pub(super) fn behind_image(ram: &Range<u64>) -> Range<usize> {
    let image_end = (&raw const __image_end).addr();
    (ram.start as usize).max(image_end)..ram.end as usize
}
