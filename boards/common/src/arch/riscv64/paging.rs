//! The page tables: 0..256 GiB mapped to itself, 1 GiB an entry, but for the guards of stacks.
//!
//! Always: the page below a stack is not mapped, so that an overflow is a fault with an address
//! and no silent overwrite. What is cached is the machine's own knowledge.
//!
//! Source: RISC-V Privileged 1.12, 4.4 (Sv39). A processor without Sv39 ignores the mode and
//! continues without translation, and so without the guard.

use core::alloc::Layout;
use core::arch::asm;
use core::ops::Range;
use core::ptr::with_exposed_provenance_mut;

use crate::arch::Kind;
use crate::arch::stack::STACK;

/// Valid, all rights, accessed and dirty (which some processors do not set by themselves).
const LEAF: u64 = 0xcf;
/// Those of the bits that grant something; an entry without them names a table.
const RIGHTS: u64 = 0xe;
/// Valid: the next level's table.
const TABLE: u64 = 1;
/// satp: Sv39.
const SV39: u64 = 8 << 60;

const GIB: u64 = 1 << 30;
const MIB_2: u64 = 2 << 20;
const KIB_4: u64 = 4 << 10;
/// The lower half of the addresses that Sv39 has.
const GIBS: usize = 256;

/// Where mapped addresses end.
pub(crate) const REACH: u64 = GIBS as u64 * GIB;

/// One table of any level.
#[repr(C, align(4096))]
struct Table([u64; 512]);

const EMPTY: Table = Table([0; 512]);

static mut LEVEL2: Table = EMPTY;
/// Splits the GiB, and in it the 2 MiB, that hold the stack's guard.
static mut LEVEL1: Table = EMPTY;
static mut LEVEL0: Table = EMPTY;

/// Returns an address as an entry has it: its page number from bit 10 on.
fn entry(address: u64) -> u64 {
    address >> 12 << 10
}

/// Turns translation on; called once at entry.
pub(super) fn start() {
    let guard = (&raw const STACK).addr() as u64;
    let (level2, level1, level0) = (&raw mut LEVEL2, &raw mut LEVEL1, &raw mut LEVEL0);
    // The tables are walked again when another page is unmapped.
    level1.expose_provenance();
    level0.expose_provenance();
    // SAFETY: called once, on the only hart, and the table is not in use yet.
    let pages = unsafe { &mut (*level0).0 };
    fill(pages, guard & !(MIB_2 - 1), KIB_4);
    pages[(guard / KIB_4 % 512) as usize] = 0;
    // SAFETY: as above.
    let megapages = unsafe { &mut (*level1).0 };
    fill(megapages, guard & !(GIB - 1), MIB_2);
    megapages[(guard / MIB_2 % 512) as usize] = entry(level0.addr() as u64) | TABLE;
    // SAFETY: as above.
    let gigapages = unsafe { &mut (*level2).0 };
    fill(&mut gigapages[..GIBS], 0, GIB);
    gigapages[(guard / GIB) as usize] = entry(level1.addr() as u64) | TABLE;
    let satp = SV39 | level2.addr() as u64 >> 12;
    // SAFETY: the tables map every address to itself that is in use, the code's included.
    unsafe { asm!("sfence.vma", "csrw satp, {}", "sfence.vma", in(reg) satp, options(nostack)) };
}

fn fill(table: &mut [u64], start: u64, bytes: u64) {
    for (index, slot) in table.iter_mut().enumerate() {
        *slot = entry(start + index as u64 * bytes) | LEAF;
    }
}

/// Unmaps a page of RAM, for good; `None` if there is no memory for the tables that this takes.
pub(super) fn unmap(page: u64) -> Option<()> {
    let mut table = &raw mut LEVEL2;
    for bytes in [GIB, MIB_2] {
        let index = (page / bytes % 512) as usize;
        // SAFETY: the table is one of ours, and only this function writes it since `start`, on the
        // only hart that runs.
        let entry_then = unsafe { (*table).0[index] };
        let next = if entry_then & RIGHTS == 0 {
            with_exposed_provenance_mut((entry_then >> 10 << 12) as usize)
        } else {
            let next = new_table()?;
            // SAFETY: the table is new, and nobody else's.
            fill(unsafe { &mut (*next).0 }, page - page % bytes, bytes / 512);
            // SAFETY: as above; one aligned store leaves the entry valid.
            unsafe { (*table).0[index] = entry(next.expose_provenance() as u64) | TABLE };
            next
        };
        table = next;
    }
    // SAFETY: as above.
    unsafe { (*table).0[(page / KIB_4 % 512) as usize] = 0 };
    forget_translations();
    Some(())
}

/// Returns a new table, which is empty.
fn new_table() -> Option<*mut Table> {
    // SAFETY: the layout is not empty.
    let table: *mut Table = unsafe { alloc::alloc::alloc_zeroed(Layout::new::<Table>()) }.cast();
    (!table.is_null()).then_some(table)
}

/// Returns whether a range is mapped: all is, below the end.
pub(crate) fn map(range: &Range<u64>, _: Kind) -> Option<()> {
    (range.end <= REACH).then_some(())
}

/// Makes the walker forget all translations.
pub(crate) fn forget_translations() {
    // SAFETY: forgetting a translation is always allowed; the tables do not change.
    unsafe { asm!("sfence.vma", options(nostack, preserves_flags)) };
}
