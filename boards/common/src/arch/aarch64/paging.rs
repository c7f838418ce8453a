//! The page tables: 0..512 GiB mapped to itself, 1 GiB an entry, 2 MiB where a GiB has RAM and
//! registers.
//!
//! Always: an entry is cached memory only if RAM lies in it; the page below the stack is not
//! mapped, so that an overflow is a fault with an address and no silent overwrite.
//!
//! Source: Arm ARM, D8.3 (descriptors), D8.6 (attributes).

use core::arch::asm;
use core::ops::Range;

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

/// Caches RAM, and unmaps the guard page; called once.
///
/// # Panics
///
/// If more GiB than there are tables for have both RAM and registers.
pub(super) fn refine(ram: &Ram) {
    let (level1, level2) = (&raw mut LEVEL1, &raw mut LEVEL2);
    // SAFETY: called once, on the only processor; nothing else names the table after the entry
    // code filled it. The walker reads it at any time, but each store below is one aligned u64
    // that leaves the entry valid.
    let level1 = unsafe { &mut (*level1).0 };
    // SAFETY: as above, and the tables are not in use yet.
    let mut tables = unsafe { &mut *level2 }.iter_mut();
    let guard = (&raw const STACK).addr() as u64;
    for (index, entry) in level1.iter_mut().enumerate() {
        let start = index as u64 * GIB;
        let gib = start..start + GIB;
        let is_ram = |range: &Range<u64>| ram.ranges.iter().any(|ram| contains(ram, range));
        if gib.contains(&guard) || ram.overlaps(&gib) && !is_ram(&gib) {
            let table = tables.next().expect("memory: its map has more pieces than can be served");
            for (block, slot) in table.0.iter_mut().enumerate() {
                let block = start + block as u64 * MIB_2;
                let is_cached = ram.overlaps(&(block..block + MIB_2));
                *slot = block | if is_cached { CACHED } else { DEVICE };
            }
            if gib.contains(&guard) {
                table.0[(guard / MIB_2 % 512) as usize] = guarded(guard);
            }
            *entry = (&raw const *table).addr() as u64 | TABLE;
        } else if is_ram(&gib) {
            *entry = start | CACHED;
        }
    }
    forget_translations();
}

fn contains(one: &Range<u64>, other: &Range<u64>) -> bool {
    one.start <= other.start && other.end <= one.end
}

/// The entry of the 2 MiB in which the page at `guard` is not mapped.
fn guarded(guard: u64) -> u64 {
    let level3 = &raw mut LEVEL3;
    // SAFETY: called once, on the only processor, and the table is not in use yet.
    let pages = unsafe { &mut (*level3).0 };
    fill(pages, guard & !(MIB_2 - 1), KIB_4, CACHED | TABLE);
    pages[(guard / KIB_4 % 512) as usize] = 0;
    level3.addr() as u64 | TABLE
}

/// Whether a range is mapped: all is, below the end, and RAM is cached since entry.
pub(crate) fn map(range: &Range<u64>, _: Kind) -> Option<()> {
    (range.end <= REACH).then_some(())
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
