//! The page tables: 0..4 GiB mapped to itself.
//!
//! Always: a 2 MiB page is cached only if RAM lies in it; the guard page below the stack is not
//! mapped at all, so that an overflow is a fault with an address and no silent overwrite.

use core::ops::Range;

use x86_64::instructions::tlb;

use crate::arch::stack::STACK;

/// Present, writable.
const TABLE: u64 = 0x3;
/// Write-through, cache disabled (Intel SDM volume 3, table 4-17).
const UNCACHED: u64 = 0x18;
const PAGE_2M: u64 = 0x20_0000;

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

/// Takes the cache away from every page without RAM, and unmaps the guard page.
///
/// `ram` yields the ranges of RAM, in bytes, below 4 GiB.
pub(super) fn refine(ram: impl Iterator<Item = Range<u64>>) {
    let tables = &raw mut PML4;
    // SAFETY: called once, by the entry code, on the only processor; nothing else names PML4
    // after the entry code filled it. The walker reads it at any time, but each store below is
    // one aligned u64 that leaves the entry valid.
    let level2 = unsafe { &mut (*tables).level2 };
    for table in &mut *level2 {
        table.0.iter_mut().for_each(|entry| *entry |= UNCACHED);
    }
    for ram in ram {
        for page in ram.start / PAGE_2M..ram.end.div_ceil(PAGE_2M) {
            let (table, slot) = ((page / 512) as usize, (page % 512) as usize);
            level2[table].0[slot] &= !UNCACHED;
        }
    }
    unmap_guard(level2);
    tlb::flush_all();
}

fn unmap_guard(level2: &mut [Table; 4]) {
    let guard = (&raw const STACK).addr() as u64;
    let table = &raw mut GUARD_TABLE;
    let base = guard & !(PAGE_2M - 1);
    // SAFETY: as in `refine`: once, one processor, and the table is not yet in use.
    let small = unsafe { &mut (*table).0 };
    for (index, entry) in small.iter_mut().enumerate() {
        let page = base + index as u64 * 4096;
        *entry = if page == guard { 0 } else { page | TABLE };
    }
    let slot = (base / PAGE_2M) as usize;
    level2[slot / 512].0[slot % 512] = table.addr() as u64 | TABLE;
}
