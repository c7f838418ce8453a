//! What is read of one node of a device tree, and where its addresses belong.
//!
//! Always: pure; an address that does not come through every bus above its node is none.
//!
//! Source: Devicetree Specification 0.4, chapter 2.3.

use core::fmt;
use core::ops::Range;

use rootlet_handover::tree::number;

use crate::text::until_zero;

/// Most words of an address or a length; numbers that are longer are beyond all addresses.
const CELLS_MAX: usize = 16;

/// Returns what `table` has for `name`.
pub(super) fn named<T: Copy>(table: &[(&[u8], T)], name: &[u8]) -> Option<T> {
    table.iter().find(|(known, _)| *known == name).map(|(_, meant)| *meant)
}

/// Where a node stands.
#[derive(Clone, Copy)]
pub(super) struct Path<'a, 't> {
    name: &'t [u8],
    above: Option<&'a Path<'a, 't>>,
}

impl<'t> Path<'_, 't> {
    pub(super) const ROOT: Path<'static, 'static> = Path { name: b"", above: None };

    /// Returns the path of the node `name` in the node that stands here.
    pub(super) fn below<'b>(&'b self, name: &'t [u8]) -> Path<'b, 't> {
        Path { name, above: Some(self) }
    }
}

impl fmt::Display for Path<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.above {
            None => return f.write_str("/"),
            Some(above) if above.above.is_some() => above.fmt(f)?,
            Some(_) => {}
        }
        write!(f, "/{}", self.name.escape_ascii())
    }
}

/// How many words addresses and lengths have in the nodes of a node.
#[derive(Clone, Copy)]
pub(super) struct Cells {
    pub(super) address: usize,
    pub(super) size: usize,
}

/// A property that is looked at.
#[derive(Clone, Copy)]
pub(super) enum Fact {
    AddressCells,
    Bootargs,
    BusRange,
    Compatible,
    DeviceType,
    EnableMethod,
    Method,
    Ranges,
    Reg,
    RegIoWidth,
    RegShift,
    RngSeed,
    SizeCells,
    Status,
    StdoutPath,
    TimebaseFrequency,
}

const FACTS: [(&[u8], Fact); 16] = [
    (b"#address-cells", Fact::AddressCells),
    (b"bootargs", Fact::Bootargs),
    (b"bus-range", Fact::BusRange),
    (b"compatible", Fact::Compatible),
    (b"device_type", Fact::DeviceType),
    (b"enable-method", Fact::EnableMethod),
    (b"method", Fact::Method),
    (b"ranges", Fact::Ranges),
    (b"reg", Fact::Reg),
    (b"reg-io-width", Fact::RegIoWidth),
    (b"reg-shift", Fact::RegShift),
    (b"rng-seed", Fact::RngSeed),
    (b"#size-cells", Fact::SizeCells),
    (b"status", Fact::Status),
    (b"stdout-path", Fact::StdoutPath),
    (b"timebase-frequency", Fact::TimebaseFrequency),
];

/// What is looked at of a node, as it is stored.
#[derive(Clone, Copy, Default)]
pub(super) struct Facts<'t>([Option<&'t [u8]>; FACTS.len()]);

impl<'t> Facts<'t> {
    pub(super) fn take(&mut self, name: &[u8], value: &'t [u8]) {
        if let Some(fact) = named(&FACTS, name) {
            self.0[fact as usize] = Some(value);
        }
    }

    /// Returns the property, if the node has it.
    pub(super) fn get(&self, fact: Fact) -> Option<&'t [u8]> {
        self.0[fact as usize]
    }

    /// Returns the property; nothing where there is none.
    pub(super) fn bytes(&self, fact: Fact) -> &'t [u8] {
        self.get(fact).unwrap_or(&[])
    }

    pub(super) fn text(&self, fact: Fact) -> &'t [u8] {
        until_zero(self.bytes(fact))
    }

    /// Returns whether the node is on, as Linux takes it: whatever else `status` says is a way to
    /// be off (2.3.4).
    pub(super) fn is_on(&self) -> bool {
        let status = self.get(Fact::Status).map(until_zero);
        status.is_none_or(|status| matches!(status, b"okay" | b"ok"))
    }

    /// Returns the form of addresses in the nodes of this one (2.3.5 has the defaults).
    pub(super) fn cells(&self) -> Cells {
        let cells = |fact, default| {
            let told = self.get(fact).map_or(Some(default), number);
            told.and_then(|cells| usize::try_from(cells).ok()).filter(|cells| *cells <= CELLS_MAX)
        };
        // Of a form that is none no entry is read.
        let none = Cells { address: CELLS_MAX, size: CELLS_MAX };
        let both = cells(Fact::AddressCells, 2).zip(cells(Fact::SizeCells, 1));
        both.map_or(none, |(address, size)| Cells { address, size })
    }
}

/// Where the addresses of a node's `reg` belong.
#[derive(Clone, Copy)]
pub(super) struct Bus<'a, 't> {
    pub(super) cells: Cells,
    /// How they become addresses of the bus above: entries of three, unless they are the same.
    ranges: &'t [u8],
    /// Whether they become any.
    is_mapped: bool,
    above: Option<&'a Bus<'a, 't>>,
}

impl<'t> Bus<'_, 't> {
    /// The processor's own addresses.
    pub(super) const PROCESSOR: Bus<'static, 'static> =
        Bus { cells: Cells { address: 2, size: 1 }, ranges: &[], is_mapped: true, above: None };

    /// Returns the bus of the nodes in a node on this bus (2.3.8); whether their addresses are the
    /// processor's although the node does not say so.
    pub(super) fn below<'b>(&'b self, facts: &Facts<'t>, is_processors: bool) -> Bus<'b, 't> {
        let ranges = facts.get(Fact::Ranges);
        Bus {
            cells: facts.cells(),
            ranges: ranges.unwrap_or(&[]),
            is_mapped: ranges.is_some() || is_processors,
            above: Some(self),
        }
    }

    /// Returns the range of the processor's addresses that a range of this bus has.
    pub(super) fn seen(&self, range: Range<u64>) -> Option<Range<u64>> {
        let Some(above) = self.above else { return Some(range) };
        if self.ranges.is_empty() {
            return if self.is_mapped { above.seen(range) } else { None };
        }
        let [child, parent, size] =
            [self.cells.address, above.cells.address, self.cells.size].map(|cells| cells * 4);
        let entry = child.checked_add(parent)?.checked_add(size)?;
        let mut entries = self.ranges.chunks_exact(entry.max(1));
        entries.find_map(|entry| {
            let (start, rest) = entry.split_at(child);
            let (there, bytes) = rest.split_at(parent);
            let (start, there, bytes) = (number(start)?, number(there)?, number(bytes)?);
            let offset = range.start.checked_sub(start)?;
            let len = range.end - range.start;
            if offset.checked_add(len)? > bytes {
                return None;
            }
            let there = there.checked_add(offset)?;
            above.seen(there..there.checked_add(len)?)
        })
    }
}

/// Returns the ranges that a node's `reg` names, in the processor's addresses; `None` for an entry
/// that is not a range, or that the processor cannot address.
pub(super) fn registers<'t>(
    facts: &Facts<'t>,
    within: &Bus<'_, 't>,
) -> impl Iterator<Item = Option<Range<u64>>> {
    let address = within.cells.address * 4;
    let entry = address + within.cells.size * 4;
    // Without words, what there is makes no sense.
    facts.bytes(Fact::Reg).chunks(entry.max(1)).map(move |words| {
        let (start, bytes) = words.split_at_checked(address).filter(|_| words.len() == entry)?;
        let (start, bytes) = (number(start)?, number(bytes)?);
        within.seen(start..start.checked_add(bytes)?)
    })
}
