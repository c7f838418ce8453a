//! What a device tree says of the machine, as far as anything here needs it.
//!
//! Always: pure; addresses are the processor's, through every bus above a node; a node that makes
//! no sense is passed over, and tables that are full take no more.
//!
//! Sources: Devicetree Specification 0.4; Linux bindings `virtio,mmio`, `pci-host-ecam-generic`,
//! `arm,psci`, `arm,gic`, `arm,gic-v3`, `8250`, `arm,pl011`.

use core::ops::Range;

use heapless::Vec;

use super::blob::{Blob, Token, Tokens, number};
use super::node::{Bus, Fact, Facts, named, registers};
use crate::pci::{Access, Host, Window};
use crate::ram::Ram;
use crate::text::until_zero;
use crate::uart::{Family, Serial, Width};

/// How deep nodes of interest stand, at most.
const DEPTH_MAX: usize = 4;
const VIRTIO_MMIO_MAX: usize = 64;
const PCI_MAX: usize = 4;
const PORTS_MAX: usize = 8;
/// The longest path of a serial port in bytes.
const PATH_BYTES_MAX: usize = 120;
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
    fn v2(distributor: usize, processor: usize) -> Self {
        Self::V2 { distributor, processor }
    }

    fn v3(distributor: usize, redistributor: usize) -> Self {
        Self::V3 { distributor, redistributor }
    }

    /// Where its two blocks begin.
    pub fn blocks(self) -> [usize; 2] {
        match self {
            Self::V2 { distributor, processor } => [distributor, processor],
            Self::V3 { distributor, redistributor } => [distributor, redistributor],
        }
    }
}

/// What a device tree says.
#[derive(Debug, Default)]
pub struct Parsed<'t> {
    /// The kernel command line, without its zero.
    pub bootargs: &'t [u8],
    /// RAM, and what of it is somebody else's.
    pub ram: Ram,
    /// Register blocks of virtio devices.
    pub virtio_mmio: Vec<usize, VIRTIO_MMIO_MAX>,
    /// PCI hosts.
    pub pci: Vec<Host, PCI_MAX>,
    /// The console: what the tree names, else its first serial port.
    pub console: Option<Serial>,
    /// The serial ports that are on.
    pub ports: Vec<Serial, PORTS_MAX>,
    /// How to switch off.
    pub psci: Option<Conduit>,
    /// SiFive's test device, which ends a machine with a status.
    pub test_device: Option<usize>,
    /// The interrupt controller of an Arm machine.
    pub gic: Option<Gic>,
    /// Ticks a second of the counter, where the tree tells.
    pub timebase_hz: Option<u64>,
}

/// Reads a tree. Devices are served that end below `reach`.
pub fn parse(tree: Blob<'_>, reach: u64) -> Parsed<'_> {
    let mut parsed = Parsed::default();
    for (start, bytes) in tree.reserved() {
        parsed.ram.take(start..start.saturating_add(bytes));
    }
    let mut visit = Visit {
        parsed: &mut parsed,
        reach,
        path: Path::new(),
        paths: Vec::new(),
        stdout: &[],
        aliases: None,
    };
    let mut tokens = tree.tokens();
    if let Some(Token::Begin(_)) = tokens.next() {
        // A tree that breaks off has told what it has told.
        let _ = visit.node(&mut tokens, Place::Root, 0, &Bus::PROCESSOR);
    }
    visit.parsed.console = visit.console().or(visit.parsed.ports.first().copied());
    parsed
}

/// Where a node stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Chosen,
    Aliases,
    Cpus,
    ReservedMemory,
    /// In `/reserved-memory`.
    Reserved,
    Elsewhere,
}

/// The nodes in the root that are looked at.
const PLACES: [(&[u8], Place); 4] = [
    (b"chosen", Place::Chosen),
    (b"aliases", Place::Aliases),
    (b"cpus", Place::Cpus),
    (b"reserved-memory", Place::ReservedMemory),
];

impl Place {
    /// That of the node `name` in a node here.
    fn of(self, name: &[u8]) -> Self {
        match self {
            Self::Root => named(&PLACES, name).unwrap_or(Self::Elsewhere),
            Self::ReservedMemory => Self::Reserved,
            _ => Self::Elsewhere,
        }
    }

    /// Whether addresses in a node here are the processor's, whatever it says: the root is no bus,
    /// and memory is reserved as the processor sees it.
    fn is_processors(self) -> bool {
        matches!(self, Self::Root | Self::ReservedMemory)
    }
}

/// Kinds of devices that are known.
#[derive(Clone, Copy)]
enum Kind {
    VirtioMmio,
    PciHost,
    Psci,
    Gic(fn(usize, usize) -> Gic),
    Port(Family),
    Test,
}

const KINDS: [(&[u8], Kind); 13] = [
    (b"virtio,mmio", Kind::VirtioMmio),
    (b"pci-host-ecam-generic", Kind::PciHost),
    (b"arm,psci-0.2", Kind::Psci),
    (b"arm,psci-1.0", Kind::Psci),
    (b"arm,cortex-a15-gic", Kind::Gic(Gic::v2)),
    (b"arm,gic-400", Kind::Gic(Gic::v2)),
    (b"arm,gic-v3", Kind::Gic(Gic::v3)),
    (b"ns16550a", Kind::Port(Family::Ns16550)),
    (b"ns16550", Kind::Port(Family::Ns16550)),
    (b"snps,dw-apb-uart", Kind::Port(Family::Ns16550)),
    (b"arm,pl011", Kind::Port(Family::Pl011)),
    (b"sifive,test0", Kind::Test),
    (b"sifive,test1", Kind::Test),
];

type Path = Vec<u8, PATH_BYTES_MAX>;

/// A walk through a tree, with what it found so far.
struct Visit<'v, 't> {
    parsed: &'v mut Parsed<'t>,
    reach: u64,
    /// That of the node.
    path: Path,
    /// What may be the console.
    paths: Vec<(Path, Serial), PORTS_MAX>,
    /// What names it: a path or an alias, perhaps with a rate (`/uart@9000000:115200`).
    stdout: &'t [u8],
    /// The properties of `/aliases`.
    aliases: Option<Tokens<'t>>,
}

impl<'t> Visit<'_, 't> {
    /// Takes what a node says that has begun, and then what the nodes in it do; `within` is the
    /// bus that it is on. `None` if the tree breaks off.
    fn node(
        &mut self,
        tokens: &mut Tokens<'t>,
        place: Place,
        depth: usize,
        within: &Bus<'_, 't>,
    ) -> Option<()> {
        if place == Place::Aliases {
            self.aliases = Some(tokens.clone());
        }
        let mut facts = Facts::default();
        let mut token = tokens.next()?;
        while let Token::Property(name, value) = token {
            facts.take(name, value);
            token = tokens.next()?;
        }
        let is_open = !self.take(place, &facts, within) && depth < DEPTH_MAX;
        loop {
            match token {
                Token::End => return Some(()),
                Token::Begin(name) if is_open => {
                    let parent = self.path.len();
                    // A path without room names no port.
                    let _ = self.path.push(b'/');
                    let _ = self.path.extend_from_slice(name);
                    self.node(
                        tokens,
                        place.of(name),
                        depth + 1,
                        &within.below(&facts, place.is_processors()),
                    )?;
                    self.path.truncate(parent);
                }
                Token::Begin(_) => tokens.skip()?,
                Token::Property(..) => {}
            }
            token = tokens.next()?;
        }
    }

    /// Takes a node whose properties are known; the answer is whether no node in it matters.
    fn take(&mut self, place: Place, facts: &Facts<'t>, within: &Bus<'_, 't>) -> bool {
        match place {
            Place::Chosen => {
                self.parsed.bootargs = facts.text(Fact::Bootargs);
                self.stdout = facts.text(Fact::StdoutPath);
                return true;
            }
            Place::Cpus => {
                let hz = number(facts.bytes(Fact::TimebaseFrequency));
                self.parsed.timebase_hz = hz.filter(|hz| *hz > 0);
                return true;
            }
            Place::Aliases => return true,
            Place::Reserved => {
                registers(facts, within).for_each(|range| self.parsed.ram.take(range));
            }
            _ => {}
        }
        if facts.text(Fact::DeviceType) == b"memory" {
            registers(facts, within).for_each(|range| self.parsed.ram.add(range));
        }
        let mut kinds = facts.bytes(Fact::Compatible).split(|byte| *byte == 0);
        kinds.find_map(|kind| named(&KINDS, kind)).is_some_and(|kind| {
            self.device(kind, facts, within);
            true
        })
    }

    /// Takes a device. Full tables take no more.
    fn device(&mut self, kind: Kind, facts: &Facts<'t>, within: &Bus<'_, 't>) {
        // Devices that are there, and off; a console that is named is used all the same.
        let is_off = matches!(facts.text(Fact::Status), b"disabled" | b"fail");
        if is_off && !matches!(kind, Kind::Port(_)) {
            return;
        }
        let mut registers = registers(facts, within);
        let first = registers.next();
        let start = |range: Option<&Range<u64>>| usize::try_from(range?.start).ok();
        let at = start(first.as_ref());
        match kind {
            Kind::VirtioMmio => {
                let _ = at.map(|at| self.parsed.virtio_mmio.push(at));
            }
            Kind::PciHost => {
                let host = first.and_then(|range| host(facts, within, range, self.reach));
                let _ = host.map(|host| self.parsed.pci.push(host));
            }
            Kind::Psci => {
                self.parsed.psci = match facts.text(Fact::Method) {
                    b"hvc" => Some(Conduit::Hypervisor),
                    b"smc" => Some(Conduit::Monitor),
                    _ => None,
                };
            }
            Kind::Gic(gic) => {
                let second = start(registers.next().as_ref());
                self.parsed.gic = at.zip(second).map(|(first, second)| gic(first, second));
            }
            Kind::Port(family) => {
                let port = at.and_then(|at| port(family, at, facts));
                if let Some(port) = port {
                    let _ = self.paths.push((self.path.clone(), port));
                }
                if let Some(port) = port.filter(|_| !is_off) {
                    let _ = self.parsed.ports.push(port);
                }
            }
            Kind::Test => self.parsed.test_device = at,
        }
    }

    /// The port that `stdout-path` or its alias names.
    fn console(&self) -> Option<Serial> {
        let named = self.stdout.split(|byte| *byte == b':').next()?;
        let path = if named.first() == Some(&b'/') { named } else { self.alias(named)? };
        let (_, port) = self.paths.iter().find(|(of, _)| is_path(of, path))?;
        Some(*port)
    }

    fn alias(&self, named: &[u8]) -> Option<&'t [u8]> {
        self.aliases.clone()?.find_map(|token| match token {
            Token::Property(name, value) if name == named => Some(until_zero(value)),
            _ => None,
        })
    }
}

/// Whether `asked` is the path `of` a node, perhaps without the addresses in it (2.2.3).
fn is_path(of: &[u8], asked: &[u8]) -> bool {
    let names = |path| <[u8]>::split(path, |byte| *byte == b'/');
    let bare = |name: &[u8], asked: &[u8]| {
        name.strip_prefix(asked).is_some_and(|rest| matches!(rest.first(), None | Some(b'@')))
    };
    names(of).count() == names(asked).count()
        && names(of).zip(names(asked)).all(|(name, asked)| bare(name, asked))
}

/// A serial port; `None` for one whose registers are accessed in another way than is known.
fn port(family: Family, at: usize, facts: &Facts<'_>) -> Option<Serial> {
    if family == Family::Pl011 {
        return Some(Serial::Pl011(at));
    }
    let width = match facts.get(Fact::RegIoWidth).map_or(Some(1), number)? {
        1 => Width::Byte,
        4 => Width::Word,
        _ => return None,
    };
    let shift = u8::try_from(facts.get(Fact::RegShift).map_or(Some(0), number)?).ok()?;
    let is_known = shift <= SHIFT_MAX && (width == Width::Byte || shift >= 2);
    is_known.then_some(Serial::Ns16550 { at, shift, width })
}

/// A host bridge, if it has configuration within reach, and a window below 4 GiB where addresses
/// are the same on both sides (IEEE Std 1275 PCI binding: space 2 is memory of 32 bits).
fn host<'t>(
    facts: &Facts<'t>,
    within: &Bus<'_, 't>,
    configuration: Range<u64>,
    reach: u64,
) -> Option<Host> {
    const SPACE: u64 = 3 << 24;
    const MEMORY_32: u64 = 2 << 24;
    /// Words of an address on the bus: what it is, and two of the address itself.
    const BUS_CELLS: usize = 3;
    let cells = facts.cells();
    if configuration.end > reach || cells.address != BUS_CELLS {
        return None;
    }
    let base = usize::try_from(configuration.start).ok()?;
    let buses = (configuration.end - configuration.start) / BUS_BYTES;
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
    })?;
    let access = Access::Memory { base, buses: buses.min(256) as u16 };
    Some(Host { access, window })
}
