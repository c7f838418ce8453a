//! The page tables: memory and registers mapped to themselves, 0..4 GiB from the start with RAM
//! cached, what lies above as it is asked for.
//!
//! Always: a page is cached only if RAM lies in it; the guard page below the stack is not mapped at
//! all, so that an overflow is a fault with an address and no silent overwrite.
//!
//! Source: Intel SDM volume 3, 4.5 (paging with four levels), 4.9.2 (memory types).

use alloc::alloc::alloc_zeroed;
use core::alloc::Layout;
use core::arch::x86_64::__cpuid;
use core::ops::Range;
use core::ptr::{NonNull, with_exposed_provenance_mut};

use x86_64::instructions::tlb;

use crate::arch::Kind;
use crate::arch::stack::STACK;
use crate::ram::Ram;

/// Present, writable.
const TABLE: u64 = 0x3;
const PRESENT: u64 = 1;
/// A page of 2 MiB or 1 GiB, not the next level's table.
const LEAF: u64 = 0x80;
/// A page of 2 MiB: present, writable.
pub(super) const CACHED: u64 = TABLE | LEAF;
/// Write-through, cache disabled (table 4-17).
pub(super) const UNCACHED: u64 = 0x18;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

const PAGE_4K: u64 = 0x1000;
const PAGE_2M: u64 = 0x20_0000;
const PAGE_1G: u64 = 0x4000_0000;
/// Bytes of an entry of the highest level; its lower half has 256 of them.
const REGION: u64 = 512 * PAGE_1G;
const ADDRESSES_END: u64 = 256 * REGION;
/// What the entry code maps.
pub(super) const MAPPED_END: u64 = 4 * PAGE_1G;

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

/// One entry of a table of ours.
struct Entry(NonNull<u64>);

impl Entry {
    fn of(table: u64, index: u64) -> Option<Self> {
        let at = table + index % 512 * 8;
        NonNull::new(with_exposed_provenance_mut(usize::try_from(at).ok()?)).map(Self)
    }

    fn get(&self) -> u64 {
        // SAFETY: an entry of a table of ours, which is mapped to itself and lives as long as the
        // program. The walker may set bits in it at any time, hence volatile.
        unsafe { self.0.read_volatile() }
    }

    fn set(&self, value: u64) {
        // SAFETY: as above; only this module writes, on the only processor, and one aligned store
        // leaves the entry whole.
        unsafe { self.0.write_volatile(value) }
    }

    /// Returns the table that the entry names, and makes one if the entry names none.
    fn table(&self) -> Option<u64> {
        match self.get() {
            entry if entry & PRESENT == 0 => {
                let table = Self::new_table()?;
                self.set(table | TABLE);
                Some(table)
            }
            entry if entry & LEAF != 0 => None,
            entry => Some(entry & ADDRESS),
        }
    }

    /// Puts a table of pages, each a 512th as large, in the place of a cached page of `bytes`.
    fn split(&self, bytes: u64) -> Option<()> {
        let (first, part) = (self.get() & ADDRESS, bytes / 512);
        let table = Entry::new_table()?;
        let leaf = if part == PAGE_4K { TABLE } else { CACHED };
        for index in 0..512 {
            Self::of(table, index)?.set((first + index * part) | leaf);
        }
        self.set(table | TABLE);
        Some(())
    }

    /// Returns a new table, which is empty.
    fn new_table() -> Option<u64> {
        let layout = Layout::new::<Table>();
        // SAFETY: the layout is not empty.
        let table = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(table.expose_provenance().get() as u64)
    }

    /// Maps the page at `address`, unless it is mapped as the other kind already. The one with the
    /// guard is RAM.
    fn map(&self, address: u64, kind: Kind) -> Option<()> {
        let uncached = if kind == Kind::Ram { 0 } else { UNCACHED };
        let is_new = self.get() & PRESENT == 0;
        if !is_new && self.get() & LEAF == 0 {
            return (kind == Kind::Ram).then_some(());
        }
        if is_new {
            self.set(address | CACHED | uncached);
        }
        (self.get() & UNCACHED == uncached).then_some(())
    }
}

/// Maps `range` to itself, whole pages of 2 MiB or, where the processor has them and all of one is
/// asked for, of 1 GiB. `None` if there are no such addresses, no memory for tables, or RAM and
/// registers in one page.
pub(crate) fn map(range: &Range<u64>, kind: Kind) -> Option<()> {
    if range.end > addresses_end() {
        return None;
    }
    let level4 = (&raw mut PML4).expose_provenance() as u64;
    let mut address = range.start - range.start % PAGE_2M;
    while address < range.end {
        let level3 = Entry::of(level4, address / REGION)?.table()?;
        let entry = Entry::of(level3, address / PAGE_1G)?;
        let is_whole = address.is_multiple_of(PAGE_1G) && range.end - address >= PAGE_1G;
        let is_large = entry.get() & LEAF != 0;
        if is_large || is_whole && entry.get() & PRESENT == 0 && has_large_pages() {
            entry.map(address - address % PAGE_1G, kind)?;
            address = address - address % PAGE_1G + PAGE_1G;
        } else {
            Entry::of(entry.table()?, address / PAGE_2M)?.map(address, kind)?;
            address += PAGE_2M;
        }
    }
    // What was uncached until now is known to the processor.
    tlb::flush_all();
    Some(())
}

/// Returns the end of the addresses that the processor has (Intel SDM volume 2A, CPUID, leaf
/// 80000008H).
fn addresses_end() -> u64 {
    const SIZES: u32 = 0x8000_0008;
    let has_sizes = __cpuid(0x8000_0000).eax >= SIZES;
    let bits = if has_sizes { __cpuid(SIZES).eax & 0xff } else { 36 };
    1_u64.checked_shl(bits).map_or(ADDRESSES_END, |end| end.min(ADDRESSES_END))
}

/// Returns whether the processor has pages of 1 GiB (leaf 80000001H).
fn has_large_pages() -> bool {
    __cpuid(0x8000_0001).edx & 1 << 26 != 0
}

/// Unmaps one page of memory that is mapped. `None` if there is no memory for tables.
pub(super) fn unmap(page: u64) -> Option<()> {
    let mut table = (&raw mut PML4).expose_provenance() as u64;
    for bytes in [REGION, PAGE_1G, PAGE_2M] {
        let entry = Entry::of(table, page / bytes)?;
        if entry.get() & LEAF != 0 {
            entry.split(bytes)?;
        }
        table = entry.table()?;
    }
    Entry::of(table, page / PAGE_4K)?.set(0);
    tlb::flush_all();
    Some(())
}

/// Caches RAM below 4 GiB; called once, and before registers are mapped: a page that has both is
/// RAM's.
pub(super) fn refine(ram: &Ram) {
    let tables = &raw mut PML4;
    // SAFETY: called once, on the only processor, and nothing else names the tables meanwhile; each
    // store is one aligned word that leaves the entry valid.
    let level2 = unsafe { &mut (*tables).level2 };
    let mut start = 0;
    for entry in level2.iter_mut().flat_map(|table| &mut table.0) {
        // The one with the guard is cached already.
        if *entry & LEAF != 0 && ram.overlaps(&(start..start + PAGE_2M)) {
            *entry = start | CACHED;
        }
        start += PAGE_2M;
    }
    tlb::flush_all();
}

/// Unmaps the guard page; called once.
pub(super) fn guard() {
    let guard = (&raw const STACK).addr() as u64;
    let small = &raw mut GUARD_TABLE;
    // SAFETY: called once, on the only processor; nothing else names the table, which is not yet in
    // use.
    let pages = unsafe { &mut (*small).0 };
    let mut entry = guard & !(PAGE_2M - 1) | TABLE;
    for page in &mut *pages {
        *page = entry;
        entry += PAGE_4K;
    }
    pages[(guard / PAGE_4K % 512) as usize] = 0;
    let (small, tables) = (small.expose_provenance() as u64, &raw mut PML4);
    // SAFETY: as above; the entry code has filled the tables, and each store is one aligned word.
    let level2 = unsafe { &mut (*tables).level2 };
    let slot = (guard / PAGE_2M) as usize;
    level2[slot / 512].0[slot % 512] = small | TABLE;
    tlb::flush_all();
}
