//! What a device tree says of the machine, as far as anything here needs it.
//!
//! Always: pure; a node that makes no sense is passed over, and tables that are full take no more.
//!
//! Sources: Devicetree Specification 0.4; Linux bindings `virtio,mmio`, `pci-host-ecam-generic`,
//! `arm,psci`, `arm,gic`, `arm,gic-v3`, `ns16550a`, `arm,pl011`.

use core::ops::Range;

use heapless::Vec;

use super::blob::{Blob, Token, Tokens, number};
use crate::pci::{Access, Host, Window};
use crate::text::until_zero;

/// How deep nodes of interest stand, at most.
const DEPTH_MAX: usize = 4;
const RAM_RANGES_MAX: usize = 8;
const RESERVED_MAX: usize = 16;
const VIRTIO_MMIO_MAX: usize = 64;
const PCI_MAX: usize = 4;
const PORTS_MAX: usize = 8;
/// The longest path of a serial port in bytes.
const PATH_BYTES_MAX: usize = 120;
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

/// A serial port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// A 16550 with registers of one byte.
    Ns16550(usize),
    /// Arm's PL011.
    Pl011(usize),
}

/// What a device tree says.
#[derive(Debug, Default)]
pub struct Parsed<'t> {
    /// The kernel command line, without its zero.
    pub bootargs: &'t [u8],
    /// RAM, in bytes.
    pub ram: Vec<Range<u64>, RAM_RANGES_MAX>,
    /// Ranges that are somebody else's.
    pub reserved: Vec<Range<u64>, RESERVED_MAX>,
    /// Register blocks of virtio devices.
    pub virtio_mmio: Vec<usize, VIRTIO_MMIO_MAX>,
    /// PCI hosts.
    pub pci: Vec<Host, PCI_MAX>,
    /// The console.
    pub console: Option<Port>,
    /// How to switch off.
    pub psci: Option<Conduit>,
    /// The interrupt controller of an Arm machine.
    pub gic: Option<Gic>,
    /// Ticks a second of the counter, where the tree tells.
    pub timebase_hz: Option<u64>,
}

/// Reads a tree. Devices are served that end below `reach`.
pub fn parse(tree: Blob<'_>, reach: u64) -> Parsed<'_> {
    let mut parsed = Parsed::default();
    for (start, bytes) in tree.reserved() {
        add(&mut parsed.reserved, start, bytes);
    }
    let mut visit = Visit {
        parsed: &mut parsed,
        reach,
        path: Path::new(),
        ports: Vec::new(),
        stdout: &[],
        aliases: None,
    };
    let mut tokens = tree.tokens();
    if let Some(Token::Begin(_)) = tokens.next() {
        // A tree that breaks off has told what it has told.
        let _ = visit.node(&mut tokens, Place::Root, 0, Cells { address: 2, size: 1 });
    }
    visit.parsed.console = visit.console();
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
}

/// Kinds of devices that are known.
#[derive(Clone, Copy)]
enum Kind {
    VirtioMmio,
    PciHost,
    Psci,
    Gic(fn(usize, usize) -> Gic),
    Port(fn(usize) -> Port),
}

const KINDS: [(&[u8], Kind); 10] = [
    (b"virtio,mmio", Kind::VirtioMmio),
    (b"pci-host-ecam-generic", Kind::PciHost),
    (b"arm,psci-0.2", Kind::Psci),
    (b"arm,psci-1.0", Kind::Psci),
    (b"arm,cortex-a15-gic", Kind::Gic(Gic::v2)),
    (b"arm,gic-400", Kind::Gic(Gic::v2)),
    (b"arm,gic-v3", Kind::Gic(Gic::v3)),
    (b"ns16550a", Kind::Port(Port::Ns16550)),
    (b"ns16550", Kind::Port(Port::Ns16550)),
    (b"arm,pl011", Kind::Port(Port::Pl011)),
];

/// What `table` has for `name`. Tables, because what compilers make of names in a `match` is many
/// times the code, and this runs once.
fn named<T: Copy>(table: &[(&[u8], T)], name: &[u8]) -> Option<T> {
    table.iter().find(|(known, _)| *known == name).map(|(_, meant)| *meant)
}

/// How many words addresses and lengths have in the nodes of a node.
#[derive(Clone, Copy)]
struct Cells {
    address: usize,
    size: usize,
}

/// A property that is looked at.
#[derive(Clone, Copy)]
enum Fact {
    AddressCells,
    Bootargs,
    Compatible,
    DeviceType,
    Method,
    Ranges,
    Reg,
    SizeCells,
    Status,
    StdoutPath,
    TimebaseFrequency,
}

const FACTS: [(&[u8], Fact); 11] = [
    (b"#address-cells", Fact::AddressCells),
    (b"bootargs", Fact::Bootargs),
    (b"compatible", Fact::Compatible),
    (b"device_type", Fact::DeviceType),
    (b"method", Fact::Method),
    (b"ranges", Fact::Ranges),
    (b"reg", Fact::Reg),
    (b"#size-cells", Fact::SizeCells),
    (b"status", Fact::Status),
    (b"stdout-path", Fact::StdoutPath),
    (b"timebase-frequency", Fact::TimebaseFrequency),
];

/// What is looked at of a node, as it is stored; nothing where it says nothing.
#[derive(Clone, Copy, Default)]
struct Facts<'t>([&'t [u8]; FACTS.len()]);

impl<'t> Facts<'t> {
    fn take(&mut self, name: &[u8], value: &'t [u8]) {
        if let Some(fact) = named(&FACTS, name) {
            self.0[fact as usize] = value;
        }
    }

    fn bytes(&self, fact: Fact) -> &'t [u8] {
        self.0[fact as usize]
    }

    fn text(&self, fact: Fact) -> &'t [u8] {
        until_zero(self.bytes(fact))
    }

    /// The form of addresses in the nodes of this one (2.3.5 has the defaults).
    fn cells(&self) -> Cells {
        let number = |fact, default| match self.bytes(fact) {
            [] => default,
            words => number(words).and_then(|cells| cells.try_into().ok()).unwrap_or(usize::MAX),
        };
        Cells { address: number(Fact::AddressCells, 2), size: number(Fact::SizeCells, 1) }
    }
}

type Path = Vec<u8, PATH_BYTES_MAX>;

/// A walk through a tree, with what it found so far.
struct Visit<'v, 't> {
    parsed: &'v mut Parsed<'t>,
    reach: u64,
    /// That of the node.
    path: Path,
    /// What may be the console.
    ports: Vec<(Path, Port), PORTS_MAX>,
    /// What names it: a path or an alias, perhaps with a rate (`/uart@9000000:115200`).
    stdout: &'t [u8],
    /// The properties of `/aliases`.
    aliases: Option<Tokens<'t>>,
}

impl<'t> Visit<'_, 't> {
    /// Takes what a node says that has begun, and then what the nodes in it do; `within` is the
    /// form of its addresses. `None` if the tree breaks off.
    fn node(
        &mut self,
        tokens: &mut Tokens<'t>,
        place: Place,
        depth: usize,
        within: Cells,
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
                    self.node(tokens, place.of(name), depth + 1, facts.cells())?;
                    self.path.truncate(parent);
                }
                Token::Begin(_) => tokens.skip()?,
                Token::Property(..) => {}
            }
            token = tokens.next()?;
        }
    }

    /// Takes a node whose properties are known; the answer is whether no node in it matters.
    fn take(&mut self, place: Place, facts: &Facts<'t>, within: Cells) -> bool {
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
            Place::Reserved => add_registers(&mut self.parsed.reserved, facts, within),
            _ => {}
        }
        if facts.text(Fact::DeviceType) == b"memory" {
            add_registers(&mut self.parsed.ram, facts, within);
        }
        let mut kinds = facts.bytes(Fact::Compatible).split(|byte| *byte == 0);
        kinds.find_map(|kind| named(&KINDS, kind)).is_some_and(|kind| {
            self.device(kind, facts, within);
            true
        })
    }

    /// Takes a device. Full tables take no more.
    fn device(&mut self, kind: Kind, facts: &Facts<'t>, within: Cells) {
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
            Kind::Port(port) => {
                if let Some(at) = at {
                    let _ = self.ports.push((self.path.clone(), port(at)));
                }
            }
        }
    }

    /// The port that `stdout-path` or its alias names.
    fn console(&self) -> Option<Port> {
        let named = self.stdout.split(|byte| *byte == b':').next()?;
        let path = if named.first() == Some(&b'/') { named } else { self.alias(named)? };
        let (_, port) = self.ports.iter().find(|(of, _)| is_path(of, path))?;
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

impl Parsed<'_> {
    /// The largest piece of RAM behind `image_end` that nobody has reserved.
    pub fn heap(&self, image_end: u64) -> Range<u64> {
        let mut best = 0..0;
        for ram in &self.ram {
            let mut start = ram.start.max(image_end);
            // Ends: each step takes the first reserved range behind the last one.
            while start < ram.end {
                let next = self.reserved.iter().filter(|taken| taken.end > start);
                let next =
                    next.min_by_key(|taken| taken.start).cloned().unwrap_or(ram.end..ram.end);
                let end = next.start.clamp(start, ram.end);
                if end - start > best.end - best.start {
                    best = start..end;
                }
                start = next.end.max(start + 1);
            }
        }
        best
    }
}

fn add<const N: usize>(to: &mut Vec<Range<u64>, N>, start: u64, bytes: u64) {
    let end = start.saturating_add(bytes);
    if start < end {
        // A full table takes no more.
        let _ = to.push(start..end);
    }
}

/// The ranges that a node's `reg` names.
fn registers<'t>(facts: &Facts<'t>, within: Cells) -> impl Iterator<Item = Range<u64>> + use<'t> {
    let address = within.address.saturating_mul(4);
    let entry = address.saturating_add(within.size.saturating_mul(4)).max(1);
    facts.bytes(Fact::Reg).chunks_exact(entry).filter_map(move |entry| {
        let (start, bytes) = entry.split_at(address);
        let (start, bytes) = (number(start)?, number(bytes)?);
        Some(start..start.checked_add(bytes)?)
    })
}

fn add_registers<const N: usize>(to: &mut Vec<Range<u64>, N>, facts: &Facts<'_>, within: Cells) {
    registers(facts, within).for_each(|range| add(to, range.start, range.end - range.start));
}

/// A host bridge, if it has configuration within reach, and a window below 4 GiB where addresses
/// are the same on both sides (IEEE Std 1275 PCI binding: space 2 is memory of 32 bits).
fn host(facts: &Facts<'_>, within: Cells, configuration: Range<u64>, reach: u64) -> Option<Host> {
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
    let (parent, size) = (within.address.checked_mul(4)?, cells.size.checked_mul(4)?);
    let entry = parent.checked_add(size)?.checked_add(BUS_CELLS * 4)?;
    let window = facts.bytes(Fact::Ranges).chunks_exact(entry).find_map(|entry| {
        let (kind, rest) = entry.split_at(4);
        let (child, rest) = rest.split_at(8);
        let (parent, bytes) = rest.split_at(parent);
        let (child, bytes) = (number(child)?, number(bytes)?);
        let end = child.checked_add(bytes).filter(|end| *end <= 1 << 32)?;
        (number(kind)? & SPACE == MEMORY_32 && number(parent)? == child)
            .then(|| Window::new(child, end))
    })?;
    let access = Access::Memory { base, buses: buses.min(256) as u16 };
    Some(Host { access, window, reach })
}
