//! What ACPI's tables say of a machine: how it switches off, where PCI's configuration is, and a
//! timer.
//!
//! Always: nothing is read outside of what `memory` gives; every table has a length and a number of
//! entries that are bounded; a table whose sum is wrong is not believed, and costs no other.
//!
//! The tables are read before the heap exists, by a reader of our own: the libraries map a table
//! where it says it is, and have no answer for one that lies nowhere.
//!
//! Source: ACPI 6.5, chapter 5.2 (tables), 4.8.3 (switching off).

use core::fmt;

use heapless::Vec;

use crate::aml;

/// Longest table that is read, and most tables that are looked at.
const TABLE_BYTES_MAX: usize = 1 << 20;
const TABLES_MAX: usize = 64;
/// Most faults that are kept: of the two lists, and of each table that is read.
const FAULTS_MAX: usize = 5;
/// Where a PC's firmware has its first table, if nobody says (5.2.5.1).
const SEARCH: core::ops::Range<u64> = 0xe_0000..0x10_0000;
const SEARCH_STEP: usize = 16;

/// Bytes of a table's header (5.2.6).
const HEADER_BYTES: usize = 36;
/// Bytes of the machine's generation (Microsoft, Virtual Machine Generation ID).
pub const GENERATION_BYTES: u64 = 16;

/// A register of one byte or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// An I/O port.
    Port(u16),
    /// An address.
    Memory(u64),
}

/// How a machine switches off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerOff {
    /// By the sleep control register of a machine without the older ones (4.8.3.7).
    SleepControl {
        /// The register, of one byte.
        register: Place,
        /// What is written.
        value: u8,
    },
    /// By the control register of the first power management block, of two bytes (4.8.3.2).
    Pm1 {
        /// The register.
        port: u16,
        /// What is written.
        value: u16,
    },
}

/// PCI's configuration in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ecam {
    /// The address of bus 0.
    pub base: u64,
    /// How many buses there are.
    pub buses: u16,
}

/// What the tables say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// How the machine switches off.
    pub power_off: Option<PowerOff>,
    /// PCI's configuration.
    pub ecam: Option<Ecam>,
    /// Entries of PCI's configuration for segments beyond the first, on which nothing is found.
    pub other_segments: usize,
    /// The port of a timer that counts 3579545 a second, 24 bits of it at least.
    pub timer: Option<u16>,
    /// The address of the machine's generation: 16 bytes that the monitor changes when it resumes
    /// the machine from a snapshot, mapped and aligned to 8.
    pub generation: Option<u64>,
    /// The tables that are not believed.
    pub faults: Vec<Fault, FAULTS_MAX>,
}

impl Facts {
    /// Returns what is right. Keeps a fault, if there is room for it.
    fn right<T>(&mut self, found: Result<T, Fault>) -> Option<T> {
        found.map_err(|fault| self.faults.push(fault)).ok()
    }
}

/// Why tables are not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The table at this address does not lie in memory, or has an impossible length.
    Bounds(u64),
    /// The bytes of the table at this address do not sum up to nothing.
    Sum(u64),
    /// The table at this address is of another kind than its place says.
    Kind(u64),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bounds(at) => write!(f, "the ACPI table at {at:#x} does not lie in memory"),
            Self::Sum(at) => write!(f, "the ACPI table at {at:#x} has a wrong sum"),
            Self::Kind(at) => write!(f, "the ACPI table at {at:#x} is of another kind"),
        }
    }
}

/// Memory of a machine: `len` bytes at an address, where the machine has them.
pub trait Memory<'m>: Fn(u64, usize) -> Option<&'m [u8]> {}

impl<'m, F: Fn(u64, usize) -> Option<&'m [u8]>> Memory<'m> for F {}

/// Returns what the tables say whose first one is at `root`; 0 is a machine that does not say where
/// it is, and may have none. A table that is not believed says nothing.
pub fn read<'m>(root: u64, memory: &impl Memory<'m>) -> Facts {
    let mut facts = Facts::default();
    let root = if root == 0 { search(memory) } else { Some(root) };
    let Some((list, width)) = root.and_then(|root| list_of_tables(root, memory, &mut facts)) else {
        return facts;
    };
    for entry in list.chunks_exact(width).take(TABLES_MAX) {
        let at = number(entry);
        // Of the others nothing is needed, and some firmware has sums of theirs wrong.
        match memory(at, HEADER_BYTES).map(|header| &header[..4]) {
            Some(b"FACP") => {
                if let Some(table) = facts.right(table(at, b"FACP", memory)) {
                    fixed(table, memory, &mut facts);
                }
            }
            Some(b"SSDT") => {
                if let Ok(block) = table(at, b"SSDT", memory) {
                    generation(block, memory, &mut facts);
                }
            }
            Some(b"MCFG") => {
                if let Some(table) = facts.right(table(at, b"MCFG", memory)) {
                    configuration(table, &mut facts);
                }
            }
            _ => {}
        }
    }
    facts
}

/// Returns the address at which firmware has the first table, by the table's name.
fn search<'m>(memory: &impl Memory<'m>) -> Option<u64> {
    let all = memory(SEARCH.start, (SEARCH.end - SEARCH.start) as usize)?;
    let step = all.chunks_exact(SEARCH_STEP).position(|part| part.starts_with(b"RSD PTR "))?;
    Some(SEARCH.start + (step * SEARCH_STEP) as u64)
}

/// Returns the addresses of all tables, and how many bytes each has (5.2.5.3): the newer list, or
/// the older one if that is not right.
fn list_of_tables<'m>(
    root: u64,
    memory: &impl Memory<'m>,
    facts: &mut Facts,
) -> Option<(&'m [u8], usize)> {
    let first = facts.right(first_table(root, memory))?;
    let is_new = first[15] >= 2;
    let new = if is_new { memory(root, 36) } else { None };
    let new = new.map(|whole| number(&whole[24..32])).filter(|at| *at != 0);
    let new = new.and_then(|at| facts.right(table(at, b"XSDT", memory)));
    match (new, number(&first[16..20])) {
        (Some(list), _) => Some((&list[HEADER_BYTES..], 8)),
        // One that is wrong has been noted.
        (None, 0) if !facts.faults.is_empty() => None,
        (None, at) => {
            let list = facts.right(table(at, b"RSDT", memory))?;
            Some((&list[HEADER_BYTES..], 4))
        }
    }
}

/// Returns the 20 bytes that lead to all others.
fn first_table<'m>(root: u64, memory: &impl Memory<'m>) -> Result<&'m [u8], Fault> {
    let first = memory(root, 20).ok_or(Fault::Bounds(root))?;
    if !first.starts_with(b"RSD PTR ") {
        return Err(Fault::Kind(root));
    }
    if sum(first) == 0 { Ok(first) } else { Err(Fault::Sum(root)) }
}

/// Returns the table at `at`, of this kind.
fn table<'m>(at: u64, kind: &[u8; 4], memory: &impl Memory<'m>) -> Result<&'m [u8], Fault> {
    let header = memory(at, HEADER_BYTES).ok_or(Fault::Bounds(at))?;
    if !header.starts_with(kind) {
        return Err(Fault::Kind(at));
    }
    let bytes = number(&header[4..8]) as usize;
    if !(HEADER_BYTES..=TABLE_BYTES_MAX).contains(&bytes) {
        return Err(Fault::Bounds(at));
    }
    let table = memory(at, bytes).ok_or(Fault::Bounds(at))?;
    if sum(table) == 0 { Ok(table) } else { Err(Fault::Sum(at)) }
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte))
}

/// Returns a little-endian number of at most 8 bytes.
pub(crate) fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Returns the number of `bytes` bytes at `at` of a table; a table that is shorter has nothing
/// there.
fn field(table: &[u8], at: usize, bytes: usize) -> u64 {
    table.get(at..at + bytes).map_or(0, number)
}

/// Returns a register in the general form (5.2.3.2), if it is one.
fn register(table: &[u8], at: usize) -> Option<Place> {
    let address = field(table, at + 4, 8);
    match (field(table, at, 1), address) {
        (_, 0) => None,
        (0, address) => Some(Place::Memory(address)),
        (1, port) => Some(Place::Port(u16::try_from(port).ok()?)),
        _ => None,
    }
}

/// Returns a port that stands as a word at `old` or in the general form at `new`.
fn port(table: &[u8], old: usize, new: usize) -> Option<u16> {
    match register(table, new) {
        Some(Place::Port(port)) => Some(port),
        _ => u16::try_from(field(table, old, 4)).ok().filter(|port| *port != 0),
    }
}

/// Takes what the fixed table says (5.2.9).
fn fixed<'m>(fixed: &'m [u8], memory: &impl Memory<'m>, facts: &mut Facts) {
    const HARDWARE_REDUCED: u64 = 1 << 20;
    let differentiated = match field(fixed, 140, 8) {
        0 => field(fixed, 40, 4),
        new => new,
    };
    facts.timer = port(fixed, 76, 208);
    // Bits of the register: the state, and that it is to be entered.
    let block = facts.right(table(differentiated, b"DSDT", memory));
    let state = block.and_then(aml::off_state);
    if let Some(block) = block {
        generation(block, memory, facts);
    }
    facts.power_off = if field(fixed, 112, 4) & HARDWARE_REDUCED != 0 {
        let register = register(fixed, 244);
        register
            .zip(state)
            .map(|(register, state)| PowerOff::SleepControl { register, value: state << 2 | 0x20 })
    } else {
        let port = port(fixed, 64, 172);
        port.zip(state)
            .map(|(port, state)| PowerOff::Pm1 { port, value: u16::from(state) << 10 | 0x2000 })
    };
}

/// Takes where the machine's generation is, if a definition block says so.
fn generation<'m>(block: &[u8], memory: &impl Memory<'m>, facts: &mut Facts) {
    let is_place =
        |at: &u64| at.is_multiple_of(8) && memory(*at, GENERATION_BYTES as usize).is_some();
    if let Some(at) = aml::generation(block).filter(is_place) {
        facts.generation = Some(at);
    }
}

/// Takes the configuration of the first segment (PCI Firmware 3.3, 4.1.2), whose address is that of
/// bus 0, wherever its buses begin.
fn configuration(table: &[u8], facts: &mut Facts) {
    let Some(entries) = table.get(HEADER_BYTES + 8..) else { return };
    let entries = entries.chunks_exact(16);
    let is_first = |entry: &&[u8]| field(entry, 8, 2) == 0;
    facts.other_segments = entries.clone().filter(|entry| !is_first(entry)).count();
    facts.ecam = entries
        .clone()
        .find(is_first)
        .map(|first| Ecam { base: field(first, 0, 8), buses: u16::from(first[11]) + 1 });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::vec::Vec;

    /// Tables by their addresses.
    #[derive(Default)]
    struct Machine(BTreeMap<u64, Vec<u8>>);

    impl Machine {
        fn put(&mut self, at: u64, mut bytes: Vec<u8>, sum_at: usize) {
            bytes[sum_at] = bytes[sum_at].wrapping_sub(sum(&bytes));
            self.0.insert(at, bytes);
        }

        fn table(&mut self, at: u64, kind: &[u8; 4], body: &[u8]) {
            let mut bytes = kind.to_vec();
            bytes.extend(((HEADER_BYTES + body.len()) as u32).to_le_bytes());
            bytes.resize(HEADER_BYTES, 0);
            bytes.extend(body);
            self.put(at, bytes, 9);
        }

        fn root(&mut self, at: u64, list: u64) {
            let mut bytes = b"RSD PTR ".to_vec();
            bytes.resize(36, 0);
            bytes[15] = 2;
            bytes[8] = 0_u8.wrapping_sub(sum(&bytes[..20]));
            bytes[24..32].copy_from_slice(&list.to_le_bytes());
            self.0.insert(at, bytes);
        }

        fn read(&self, root: u64) -> Facts {
            read(root, &|at: u64, len: usize| {
                let (start, bytes) = self.0.range(..=at).next_back()?;
                bytes.get((at - start) as usize..)?.get(..len)
            })
        }
    }

    /// Returns the fixed table with these fields, by their offsets.
    fn fixed_table(fields: &[(usize, &[u8])]) -> Vec<u8> {
        let mut body = vec![0; 276 - HEADER_BYTES];
        for (at, bytes) in fields {
            body[at - HEADER_BYTES..at - HEADER_BYTES + bytes.len()].copy_from_slice(bytes);
        }
        body
    }

    fn machine(fixed: &[(usize, &[u8])], definitions: &[u8]) -> Machine {
        let mut machine = Machine::default();
        machine.root(0xa_0000, 0x1000);
        let list = [0x2000_u64, 0x4000, 0x9000].map(u64::to_le_bytes).concat();
        machine.table(0x1000, b"XSDT", &list);
        let place = 0x3000_u64.to_le_bytes();
        let with_definitions = [fixed, &[(140, &place[..])]].concat();
        machine.table(0x2000, b"FACP", &fixed_table(&with_definitions));
        machine.table(0x3000, b"DSDT", definitions);
        let mut segment = vec![0; 8];
        segment.extend(0xeec0_0000_u64.to_le_bytes());
        segment.extend([0, 0, 0, 15, 0, 0, 0, 0]);
        machine.table(0x4000, b"MCFG", &segment);
        machine
    }

    /// As Cloud Hypervisor and microvm have it: `Name (_S5, Package () { 5 })`.
    const REDUCED: &[u8] = b"\x08_S5_\x12\x04\x01\x0a\x05";
    const SLEEP: &[u8] = &[1, 8, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0];

    #[test]
    fn machine_without_the_older_registers_is_off_by_sleep_control() {
        let reduced = (1_u32 << 20).to_le_bytes();
        let found = machine(&[(112, &reduced), (244, SLEEP)], REDUCED).read(0xa_0000);
        let register = Place::Port(0x600);
        assert_eq!(found.power_off, Some(PowerOff::SleepControl { register, value: 0x34 }));
        assert_eq!(found.ecam, Some(Ecam { base: 0xeec0_0000, buses: 16 }));
        // Without the register, as Firecracker is, it has no such way.
        let none = machine(&[(112, &reduced)], REDUCED).read(0xa_0000);
        assert_eq!(none.power_off, None);
    }

    #[test]
    fn pc_is_off_by_its_first_control_register_and_has_a_timer() {
        let ports: [(usize, &[u8]); 2] = [(64, &[4, 6, 0, 0]), (76, &[8, 6, 0, 0])];
        // QEMU's q35: `Package () { Zero, Zero, Zero, Zero }`, after another use of the name.
        let definitions = b"\\_S5_\x08_S5_\x12\x06\x04\0\0\0\0";
        let found = machine(&ports, definitions).read(0xa_0000);
        assert_eq!(found.power_off, Some(PowerOff::Pm1 { port: 0x604, value: 0x2000 }));
        assert_eq!(found.timer, Some(0x608));
    }

    #[test]
    fn generation_is_where_a_definition_block_says_and_in_memory() {
        let block =
            |low: [u8; 4]| [b"VM_Gen_Counter\0\x08ADDR\x12\x08\x02\x0c", &low[..], b"\0"].concat();
        let found = |block: &[u8]| machine(&[], block).read(0xa_0000).generation;
        assert_eq!(found(&block([0x10, 0, 0xa, 0])), Some(0xa_0010));
        // Odd, in no memory, in part.
        assert_eq!(found(&block([0x12, 0, 0xa, 0])), None);
        assert_eq!(found(&block([0, 0, 0, 0x80])), None);
        assert_eq!(found(&block([0x18, 0, 0xa, 0])), None);
        // In a table that stands beside the fixed one.
        let mut machine = machine(&[], REDUCED);
        machine.table(0x9000, b"SSDT", &block([8, 0, 0xa, 0]));
        assert_eq!(machine.read(0xa_0000).generation, Some(0xa_0008));
    }

    #[test]
    fn segments_of_pci_beyond_the_first_are_counted() {
        let mut machine = machine(&[], REDUCED);
        let mut entries = vec![0; 8];
        for (base, segment) in [(0xe000_0000_u64, 1), (0xeec0_0000, 0), (0xd000_0000, 2)] {
            entries.extend(base.to_le_bytes());
            entries.extend([segment, 0, 0, 255, 0, 0, 0, 0]);
        }
        machine.table(0x4000, b"MCFG", &entries);
        let found = machine.read(0xa_0000);
        assert_eq!(found.ecam, Some(Ecam { base: 0xeec0_0000, buses: 256 }));
        assert_eq!(found.other_segments, 2);
    }

    #[test]
    fn first_table_is_searched_for_where_nobody_says() {
        let mut machine = machine(&[], REDUCED);
        assert_eq!(machine.read(0), Facts::default());
        let mut area = vec![0; (SEARCH.end - SEARCH.start) as usize];
        area[0x40..0x40 + 36].copy_from_slice(&machine.0[&0xa_0000]);
        machine.0.insert(SEARCH.start, area);
        assert!(machine.read(0).ecam.is_some());
    }

    #[test]
    fn tables_that_make_no_sense_are_told_by_their_address() {
        let fault = |at: u64, change: &dyn Fn(&mut Vec<u8>)| {
            let mut machine = machine(&[], REDUCED);
            change(machine.0.get_mut(&at).unwrap());
            machine.read(0xa_0000)
        };
        let faults = |at: u64, change: &dyn Fn(&mut std::vec::Vec<u8>)| fault(at, change).faults;
        assert_eq!(faults(0xa_0000, &|table| table[1] = 0), [Fault::Kind(0xa_0000)]);
        assert_eq!(faults(0xa_0000, &|table| table[9] = 1), [Fault::Sum(0xa_0000)]);
        assert_eq!(faults(0xa_0000, &|table| table[30] = 1), [Fault::Bounds(1 << 48 | 0x1000)]);
        assert_eq!(faults(0x1000, &|table| table[0] = b'Y'), [Fault::Kind(0x1000)]);
        assert_eq!(faults(0x1000, &|table| table[6] = 1), [Fault::Bounds(0x1000)]);
        assert_eq!(faults(0x2000, &|table| table[5] = 0), [Fault::Bounds(0x2000)]);
        assert_eq!(faults(0x3000, &|table| table[9] ^= 1), [Fault::Sum(0x3000)]);
        assert_eq!(faults(0x4000, &|table| table[40] = 9), [Fault::Sum(0x4000)]);
        // Nothing of a machine whose tables are cut or altered anywhere is read outside of them.
        for at in [0xa_0000, 0x1000, 0x2000, 0x3000, 0x4000] {
            for index in 0..machine(&[], REDUCED).0[&at].len() {
                let _ = fault(at, &|table| table[index] ^= 0xff);
                let _ = fault(at, &|table| table.truncate(index));
            }
        }
    }
    #[test]
    fn table_that_is_wrong_costs_no_other_one() {
        let ports: [(usize, &[u8]); 2] = [(64, &[4, 6, 0, 0]), (76, &[8, 6, 0, 0])];
        let whole = machine(&ports, REDUCED).read(0xa_0000);
        assert!(whole.power_off.is_some() && whole.ecam.is_some() && whole.faults.is_empty());
        let without = |at: u64| {
            let mut machine = machine(&ports, REDUCED);
            machine.0.get_mut(&at).unwrap()[9] ^= 1;
            machine.read(0xa_0000)
        };
        let faults = |at| [Fault::Sum(at)].into_iter().collect();
        let (bridge, fixed) = (without(0x4000), without(0x2000));
        assert_eq!(bridge, Facts { ecam: None, faults: faults(0x4000), ..whole.clone() });
        assert_eq!((fixed.ecam, fixed.power_off), (whole.ecam, None));
        let no_state = without(0x3000);
        let expected = Facts { power_off: None, faults: faults(0x3000), ..whole.clone() };
        assert_eq!(no_state, expected);
        // The older list leads to the same.
        let mut older = machine(&ports, REDUCED);
        let list = [0x2000_u32, 0x4000].map(u32::to_le_bytes).concat();
        older.table(0x5000, b"RSDT", &list);
        let root = older.0.get_mut(&0xa_0000).unwrap();
        root[16..20].copy_from_slice(&0x5000_u32.to_le_bytes());
        root[8] = 0;
        root[8] = 0_u8.wrapping_sub(sum(&root[..20]));
        older.0.get_mut(&0x1000).unwrap()[9] ^= 1;
        assert_eq!(older.read(0xa_0000), Facts { faults: faults(0x1000), ..whole });
    }
}
