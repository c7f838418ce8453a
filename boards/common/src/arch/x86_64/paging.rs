//! The page tables: 0..4 GiB mapped to itself.
//!
//! Always: a 2 MiB page is cached only if RAM lies in it; the guard page below the stack is not
//! mapped at all, so that an overflow is a fault with an address and no silent overwrite.

use core::ops::Range;

use x86_64::instructions::tlb;

use crate::arch::stack::STACK;

/// Present, writable.
const TABLE: u64 = 0x3;
/// A page of 2 MiB: present, writable.
pub(super) const CACHED: u64 = 0x83;
/// Write-through, cache disabled (Intel SDM volume 3, table 4-17).
pub(super) const UNCACHED: u64 = 0x18;
const PAGE_2M: u64 = 0x20_0000;
const PAGE_4K: u64 = 0x1000;

/// One table of any level.
#[repr(C, align(4096))]
pub(super) struct Table([u64; 512]);

/// Level 4, level 3 and four tables of level 2, in one piece so that the entry code can fill
/// them with one address.
#[repr(C, align(4096))]
pub(super) struct Tables {
    level4: Table,
    level3: Table,
    level2: [Table; 4],
}

pub(super) static mut PML4: Tables = Tables {
    level4: Table([0; 512]),
    level3: Table([0; 512]),
    level2: [const { Table([0; 512]) }; 4],
};

/// Splits the 2 MiB page that holds the stack's guard.
static mut GUARD_TABLE: Table = Table([0; 512]);

/// Gives every page with a part of `ram`, a range in bytes below 4 GiB, a cache.
pub(super) fn cache(ram: &Range<u64>) {
    let tables = &raw mut PML4;
    // SAFETY: only the entry code calls this and `finish`, one after the other, on the only
    // processor; nothing else names PML4 after the entry code filled it. The walker reads it at
    // any time, but each store is one aligned u64 that leaves the entry valid.
    let level2 = unsafe { &mut (*tables).level2 };
    for page in ram.start / PAGE_2M..ram.end.div_ceil(PAGE_2M) {
        let (table, slot) = ((page / 512) as usize, (page % 512) as usize);
        level2[table].0[slot] &= !UNCACHED;
    }
}

/// Unmaps the guard page, and makes all changes seen.
pub(super) fn finish() {
    let guard = (&raw const STACK).addr() as u64;
    let (tables, small) = (&raw mut PML4, &raw mut GUARD_TABLE);
    // SAFETY: as in `cache`, and the table is not yet in use.
    let pages = unsafe { &mut (*small).0 };
    let mut entry = guard & !(PAGE_2M - 1) | TABLE;
    for page in &mut *pages {
        *page = entry;
        entry += PAGE_4K;
    }
    pages[(guard / PAGE_4K % 512) as usize] = 0;
    // SAFETY: as in `cache`.
    let level2 = unsafe { &mut (*tables).level2 };
    let slot = (guard / PAGE_2M) as usize;
    level2[slot / 512].0[slot % 512] = small.addr() as u64 | TABLE;
    tlb::flush_all();
}
