//! What the node of one device says, as far as it is used.
//!
//! Always: pure; a device that cannot be used is an [`Unusable`] that says why.
//!
//! Sources: Linux bindings `pci-host-ecam-generic`, `arm,psci`, `arm,gic`, `arm,gic-v3`, `8250`,
//! `arm,pl011`, `microsoft,vmgenid`.

use core::fmt;
use core::ops::Range;

use rootlet_handover::tree::number;

use super::node::{Bus, Fact, Facts};
use crate::acpi::GENERATION_BYTES;
use crate::pci::{Access, Host, Window};
use crate::uart::{Family, Serial, Width};

/// Registers of a serial port are at most `1 << SHIFT_MAX` bytes apart.
const SHIFT_MAX: u8 = 4;
/// Bytes of configuration of one bus.
const BUS_BYTES: u64 = 1 << 20;

/// How firmware is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduit {
    /// By `hvc`.
    Hypervisor,
    /// By `smc`.
    Monitor,
}

/// Registers of an interrupt controller of Arm's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gic {
    /// Version 2: the distributor, and the interface to the processor.
    V2 {
        /// The distributor.
        distributor: usize,
        /// The interface to the processor.
        processor: usize,
    },
    /// Version 3: the distributor, and the first processor's redistributor.
    V3 {
        /// The distributor.
        distributor: usize,
        /// The redistributor.
        redistributor: usize,
    },
}

impl Gic {
    pub(super) fn v2(distributor: usize, processor: usize) -> Self {
        Self::V2 { distributor, processor }
    }

    pub(super) fn v3(distributor: usize, redistributor: usize) -> Self {
        Self::V3 { distributor, redistributor }
    }

    /// Returns where its two blocks begin.
    pub fn blocks(self) -> [usize; 2] {
        match self {
            Self::V2 { distributor, processor } => [distributor, processor],
            Self::V3 { distributor, redistributor } => [distributor, redistributor],
        }
    }
}

/// Why a device is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// There are more than this number of its kind.
    Crowded(usize),
    /// `reg` is missing, or names nothing that the processor reaches through the buses above.
    Registers,
    /// `method`.
    Method,
    /// `reg-shift` or `reg-io-width`.
    Access,
    /// `bus-range`.
    Buses,
    /// Configuration with room for no bus.
    NoBus,
    /// Configuration that ends here, beyond what is mapped.
    Beyond { end: u64, reach: u64 },
    /// `#address-cells` of a PCI bus.
    Cells(usize),
    /// `ranges` of a PCI bus.
    Window,
    /// `reg` of the machine's generation.
    Generation,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crowded(most) => write!(f, "there is room for {most} devices of its kind"),
            Self::Registers => write!(f, "its reg names no registers that can be reached"),
            Self::Method => write!(f, "its method is neither hvc nor smc"),
            Self::Access => write!(f, "its reg-shift and reg-io-width are none that are known"),
            Self::Buses => write!(f, "its bus-range does not begin with bus 0, or is none"),
            Self::NoBus => write!(f, "its configuration has less than the 1 MiB of one bus"),
            Self::Beyond { end, reach } => {
                write!(f, "its configuration ends at {end:#x}, and {reach:#x} can be reached")
            }
            Self::Cells(cells) => write!(f, "an address on its bus has {cells} words, not 3"),
            Self::Generation => {
                write!(f, "its reg names no 16 bytes that can be reached, aligned to 8")
            }
            Self::Window => write!(
                f,
                "its ranges name no memory below 4 GiB with the same addresses on both sides"
            ),
        }
    }
}

/// Returns the way to firmware.
pub(super) fn conduit(facts: &Facts<'_>) -> Result<Conduit, Unusable> {
    match facts.text(Fact::Method) {
        b"hvc" => Ok(Conduit::Hypervisor),
        b"smc" => Ok(Conduit::Monitor),
        _ => Err(Unusable::Method),
    }
}

/// Returns the address of the machine's generation.
pub(super) fn generation(block: Option<Range<u64>>, reach: u64) -> Result<Range<u64>, Unusable> {
    let is_place = |range: &Range<u64>| {
        range.start.is_multiple_of(8)
            && range.end - range.start >= GENERATION_BYTES
            && range.end <= reach
    };
    block.filter(is_place).ok_or(Unusable::Generation)
}

/// Returns a serial port.
pub(super) fn port(family: Family, at: usize, facts: &Facts<'_>) -> Result<Serial, Unusable> {
    if family == Family::Pl011 {
        return Ok(Serial::Pl011(at));
    }
    let width = match facts.get(Fact::RegIoWidth).map_or(Some(1), number) {
        Some(1) => Width::Byte,
        Some(4) => Width::Word,
        _ => return Err(Unusable::Access),
    };
    let shift = facts.get(Fact::RegShift).map_or(Some(0), number);
    let shift = shift.and_then(|shift| u8::try_from(shift).ok()).ok_or(Unusable::Access)?;
    let is_known = shift <= SHIFT_MAX && (width == Width::Byte || shift >= 2);
    is_known.then_some(Serial::Ns16550 { at, shift, width }).ok_or(Unusable::Access)
}

/// Returns a host bridge: its configuration, of buses from 0 on, and a window below 4 GiB where
/// addresses are the same on both sides (IEEE Std 1275 PCI binding: space 2 is memory of 32 bits).
pub(super) fn host<'t>(
    facts: &Facts<'t>,
    within: &Bus<'_, 't>,
    configuration: Option<Range<u64>>,
    reach: u64,
) -> Result<Host, Unusable> {
    const SPACE: u64 = 3 << 24;
    const MEMORY_32: u64 = 2 << 24;
    /// Words of an address on the bus: one of flags (its space), and two of the address itself.
    const BUS_CELLS: usize = 3;
    let Range { start, end } = configuration.ok_or(Unusable::Registers)?;
    if end > reach {
        return Err(Unusable::Beyond { end, reach });
    }
    let cells = facts.cells();
    if cells.address != BUS_CELLS {
        return Err(Unusable::Cells(cells.address));
    }
    let told = u16::from(last_bus(facts)?) + 1;
    // Those that the configuration has room for, if these are fewer.
    let buses = u16::try_from((end - start) / BUS_BYTES).map_or(told, |room| room.min(told));
    if buses == 0 {
        return Err(Unusable::NoBus);
    }
    let (parent, size) = (within.cells.address * 4, cells.size * 4);
    let entry = parent + size + BUS_CELLS * 4;
    let window = facts.bytes(Fact::Ranges).chunks_exact(entry).find_map(|entry| {
        let (kind, rest) = entry.split_at(4);
        let (child, rest) = rest.split_at(8);
        let (parent, bytes) = rest.split_at(parent);
        let (child, bytes) = (number(child)?, number(bytes)?);
        let end = child.checked_add(bytes).filter(|end| *end <= 1 << 32)?;
        let seen = within.seen(number(parent)?..number(parent)?.checked_add(bytes)?)?;
        (number(kind)? & SPACE == MEMORY_32 && seen.start == child).then(|| Window::new(child, end))
    });
    let base = usize::try_from(start).map_err(|_| Unusable::Registers)?;
    let access = Access::Memory { base, buses };
    Ok(Host { access, window: window.ok_or(Unusable::Window)? })
}

/// Returns the highest bus: 255 unless `bus-range` says less.
fn last_bus(facts: &Facts<'_>) -> Result<u8, Unusable> {
    let Some(range) = facts.get(Fact::BusRange) else { return Ok(u8::MAX) };
    match range.as_chunks() {
        // The configuration of the first one lies where `reg` begins.
        ([[0, 0, 0, 0], [0, 0, 0, last]], []) => Ok(*last),
        _ => Err(Unusable::Buses),
    }
}
