//! The page tables: 0..512 GiB mapped to itself, 1 GiB an entry, 2 MiB where a GiB has RAM and
//! registers.
//!
//! Always: an entry is cached memory only if RAM lies in it; the page below the stack is not
//! mapped, so that an overflow is a fault with an address and no silent overwrite.
//!
//! Source: Arm ARM, D8.3 (descriptors), D8.6 (attributes).

use alloc::alloc::alloc_zeroed;
use core::alloc::Layout;
use core::arch::asm;
use core::ops::Range;
use core::ptr::{NonNull, with_exposed_provenance, with_exposed_provenance_mut};

use crate::arch::Kind;
use crate::arch::stack::STACK;
use crate::ram::Ram;

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
/// Of an entry: where its table is, and which attribute of MAIR it has.
const ADDRESS: u64 = 0xffff_ffff_f000;
const ATTRIBUTE: u64 = 7 << 2;

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
/// Split the GiB that have RAM and registers, and the one with the stack's guard. Each is filled
/// before it is used, so nobody zeroes them.
#[unsafe(link_section = ".bss.stack")]
static mut LEVEL2: [Table; SPLITS_MAX] = [EMPTY; SPLITS_MAX];
/// Splits the 2 MiB that hold the stack's guard.
#[unsafe(link_section = ".bss.stack")]
static mut LEVEL3: Table = EMPTY;

/// The GiB that may be split.
const SPLITS_MAX: usize = 16;

/// Where addresses end that are mapped.
pub(crate) const REACH: u64 = 512 * GIB;

/// Caches RAM, and unmaps the guard page; called once. RAM of a GiB for which no table is left stays
/// as devices are, and [`map`] says so.
pub(super) fn refine(ram: &Ram) {
    let (level1, level2) = (&raw mut LEVEL1, &raw mut LEVEL2);
    // SAFETY: called once, on the only processor; nothing else names the table after the entry
    // code filled it. The walker reads it at any time, but each store below is one aligned u64
    // that leaves the entry valid.
    let level1 = unsafe { &mut (*level1).0 };
    // SAFETY: as above, and the tables are not in use yet.
    let [guards, tables @ ..] = unsafe { &mut *level2 };
    let mut tables = tables.iter_mut();
    let guard = (&raw const STACK).addr() as u64;
    for (index, entry) in level1.iter_mut().enumerate() {
        let start = index as u64 * GIB;
        let gib = start..start + GIB;
        let is_ram = |range: &Range<u64>| ram.ranges.iter().any(|ram| contains(ram, range));
        if gib.contains(&guard) {
            split(guards, start, ram);
            guards.0[(guard / MIB_2 % 512) as usize] = guarded(guard);
            *entry = (&raw const *guards).expose_provenance() as u64 | TABLE;
        } else if is_ram(&gib) {
            *entry = start | CACHED;
        } else if ram.overlaps(&gib)
            && let Some(table) = tables.next()
        {
            split(table, start, ram);
            *entry = (&raw const *table).expose_provenance() as u64 | TABLE;
        }
    }
    forget_translations();
}

/// Fills the table of the GiB at `start`.
fn split(table: &mut Table, start: u64, ram: &Ram) {
    for (block, slot) in table.0.iter_mut().enumerate() {
        let block = start + block as u64 * MIB_2;
        let is_cached = ram.overlaps(&(block..block + MIB_2));
        *slot = block | if is_cached { CACHED } else { DEVICE };
    }
}

fn contains(one: &Range<u64>, other: &Range<u64>) -> bool {
    one.start <= other.start && other.end <= one.end
}

/// Unmaps one page of memory that is mapped. `None` if there is no memory for tables.
pub(super) fn unmap(page: u64) -> Option<()> {
    let mut table = &raw mut LEVEL1;
    for bytes in [GIB, MIB_2] {
        let index = (page / bytes % 512) as usize;
        let entry = read(table, index as u64);
        let next = if entry & TABLE == TABLE {
            with_exposed_provenance_mut((entry & ADDRESS) as usize)
        } else {
            let next = new_table()?;
            let kind = if bytes == GIB { CACHED } else { CACHED | TABLE };
            // SAFETY: the table is new, and nobody else's.
            fill(unsafe { &mut (*next).0 }, page - page % bytes, bytes / 512, kind);
            // SAFETY: the table is one of ours, and only this function writes it since `refine`, on
            // the only processor that runs; one aligned store leaves the entry valid.
            unsafe { (*table).0[index] = next.expose_provenance() as u64 | TABLE };
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
    let table = NonNull::new(unsafe { alloc_zeroed(Layout::new::<Table>()) })?;
    Some(table.as_ptr().cast())
}

/// Returns the entry of the 2 MiB in which the page at `guard` is not mapped.
fn guarded(guard: u64) -> u64 {
    let level3 = &raw mut LEVEL3;
    // SAFETY: called once, on the only processor, and the table is not in use yet.
    let pages = unsafe { &mut (*level3).0 };
    fill(pages, guard & !(MIB_2 - 1), KIB_4, CACHED | TABLE);
    pages[(guard / KIB_4 % 512) as usize] = 0;
    level3.addr() as u64 | TABLE
}

/// Returns whether a range is mapped as its kind, which is settled since entry: registers within
/// the 2 MiB of RAM are not.
pub(crate) fn map(range: &Range<u64>, kind: Kind) -> Option<()> {
    if range.end > REACH {
        return None;
    }
    let mut address = range.start;
    while address < range.end {
        let (entry, bytes) = leaf(address);
        let is_cached = entry & ATTRIBUTE == CACHED & ATTRIBUTE;
        if is_cached != (kind == Kind::Ram) {
            return None;
        }
        address += bytes - address % bytes;
    }
    Some(())
}

/// Returns the entry that maps an address below the reach, and how many bytes it does. The 2 MiB
/// with the guard count as one, which is RAM.
fn leaf(address: u64) -> (u64, u64) {
    let entry = read(&raw const LEVEL1, address / GIB);
    if entry & TABLE != TABLE {
        return (entry, GIB);
    }
    let level2 = with_exposed_provenance::<Table>((entry & ADDRESS) as usize);
    let entry = read(level2, address / MIB_2);
    (if entry & TABLE == TABLE { CACHED } else { entry }, MIB_2)
}

fn read(table: *const Table, index: u64) -> u64 {
    // SAFETY: the table is one of ours, complete since entry and not written since `refine`.
    unsafe { (*table).0[(index % 512) as usize] }
}

fn fill(table: &mut [u64; 512], start: u64, bytes: u64, attributes: u64) {
    for (index, entry) in table.iter_mut().enumerate() {
        *entry = (start + index as u64 * bytes) | attributes;
    }
}

/// Makes the walker see the tables, and forget all translations.
pub(crate) fn forget_translations() {
    // SAFETY: forgetting a translation is always allowed; the tables are complete.
    unsafe {
        asm!("dsb ishst", "tlbi vmalle1", "dsb ish", "isb", options(nostack, preserves_flags));
    }
}
