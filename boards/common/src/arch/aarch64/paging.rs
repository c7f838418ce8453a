//! The page tables: 0..512 GiB mapped to itself, 1 GiB an entry.
//!
//! Always: an entry is cached memory only if RAM lies in it; the page below the stack is not
//! mapped, so that an overflow is a fault with an address and no silent overwrite.
//!
//! Source: Arm ARM, D8.3 (descriptors), D8.6 (attributes). A machine with RAM and devices in one
//! GiB is not served: its devices would be cached.

use core::arch::asm;
use core::ops::Range;

use crate::arch::stack::STACK;

/// A block or page that may be used: AF set.
const USED: u64 = 1 << 10;
const NO_EXECUTE: u64 = 1 << 54 | 1 << 53;
/// Attribute 0 of MAIR: device memory without gathering, reordering or early acknowledgement.
pub(super) const DEVICE: u64 = USED | NO_EXECUTE | BLOCK;
/// Attribute 1 of MAIR: cached, write-back; inner shareable.
pub(super) const CACHED: u64 = USED | 3 << 8 | 1 << 2 | BLOCK;
const BLOCK: u64 = 0b01;
/// The next level's table; at the last level, a page.
const TABLE: u64 = 0b11;

/// Attributes: 0 device nGnRnE, 1 normal write-back.
pub(super) const MAIR: u64 = 0xff00;
/// 39 bits of addresses from TTBR0, 4 KiB granule, cached walks, 40 bits of physical addresses.
pub(super) const TCR: u64 = 25 | 1 << 8 | 1 << 10 | 3 << 12 | 1 << 23 | 2 << 32;
/// MMU, data and instruction caches on; the other bits are those that must be set.
pub(super) const SCTLR: u64 = 0x30d0_0800 | 1 << 12 | 1 << 2 | 1;

const GIB: u64 = 1 << 30;
const MIB_2: u64 = 2 << 20;
const KIB_4: u64 = 4 << 10;

/// One table of any level.
#[repr(C, align(4096))]
pub(super) struct Table([u64; 512]);

const EMPTY: Table = Table([0; 512]);

/// Level 1, which the entry code fills.
pub(super) static mut LEVEL1: Table = EMPTY;
/// Splits the GiB, and in it the 2 MiB, that hold the stack's guard.
static mut LEVEL2: Table = EMPTY;
static mut LEVEL3: Table = EMPTY;

/// Caches every GiB with RAM, and unmaps the guard page. `ram` yields ranges in bytes.
pub(super) fn refine(ram: impl Iterator<Item = Range<u64>>) {
    let level1 = &raw mut LEVEL1;
    // SAFETY: called once, on the only processor; nothing else names the table after the entry
    // code filled it. The walker reads it at any time, but each store below is one aligned u64
    // that leaves the entry valid.
    let level1 = unsafe { &mut (*level1).0 };
    for ram in ram {
        for index in ram.start / GIB..ram.end.div_ceil(GIB) {
            if let Some(entry) = level1.get_mut(index as usize) {
                *entry = (index * GIB) | CACHED;
            }
        }
    }
    let guard = (&raw const STACK).addr() as u64;
    let (level2, level3) = (&raw mut LEVEL2, &raw mut LEVEL3);
    // SAFETY: as above, and the table is not in use yet.
    let pages = unsafe { &mut (*level3).0 };
    fill(pages, guard & !(MIB_2 - 1), KIB_4, CACHED | TABLE);
    pages[(guard / KIB_4 % 512) as usize] = 0;
    // SAFETY: as above.
    let blocks = unsafe { &mut (*level2).0 };
    fill(blocks, guard & !(GIB - 1), MIB_2, CACHED);
    blocks[(guard / MIB_2 % 512) as usize] = level3.addr() as u64 | TABLE;
    level1[(guard / GIB) as usize] = level2.addr() as u64 | TABLE;
    forget_translations();
}

fn fill(table: &mut [u64; 512], start: u64, bytes: u64, attributes: u64) {
    for (index, entry) in table.iter_mut().enumerate() {
        *entry = (start + index as u64 * bytes) | attributes;
    }
}

/// Makes the walker see the tables, and forget what it knew.
pub(crate) fn forget_translations() {
    // SAFETY: forgetting a translation is always allowed; the tables are complete.
    unsafe {
        asm!("dsb ishst", "tlbi vmalle1", "dsb ish", "isb", options(nostack, preserves_flags));
    }
}
