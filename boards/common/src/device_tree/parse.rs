//! What a device tree says of the machine, as far as anything here needs it.
//!
//! Always: pure; addresses are the processor's, through every bus above a node; a node that is off,
//! and all in it, counts for nothing; a device that is known and cannot be used is named by its
//! path; a tree that breaks off, or reserves memory and does not say which, is refused.
//!
//! Sources: Devicetree Specification 0.4; Linux binding `virtio,mmio`, and those of `devices`;
//! `rng-seed` of the schema of `/chosen`.

use core::fmt::{self, Write};
use core::ops::Range;

use heapless::Vec;
use rootlet_handover::tree::{Blob, Fault, Token, Tokens, number};

use super::devices::{self, Conduit, Gic, Unusable};
use super::node::{Bus, Fact, Facts, Path, named, registers};
use super::told::Told;
use crate::pci::Host;
use crate::ram::Ram;
use crate::text::until_zero;
use crate::uart::{Family, Serial};

/// How deep nodes are looked at: the walk takes stack for each level.
const DEPTH_MAX: usize = 16;
const VIRTIO_MMIO_MAX: usize = 64;
const PCI_MAX: usize = 4;
const PORTS_MAX: usize = 8;
const PROCESSORS_MAX: usize = 2;

/// The path of a node for a message, cut where it is full.
pub type PathText = heapless::String<88>;

/// The reason why a tree is not trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// It is none, or a broken one.
    Broken(Fault),
    /// A node reserves memory, and does not say which.
    Reserved {
        /// The node.
        path: PathText,
    },
}

impl From<Fault> for Distrust {
    fn from(fault: Fault) -> Self {
        Self::Broken(fault)
    }
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(fault) => fault.fmt(f),
            Self::Reserved { path } => {
                write!(f, "{path}: it reserves memory, and its reg does not say which")
            }
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
    /// How to switch off, and to start processors.
    pub psci: Option<Conduit>,
    /// The first processors that firmware starts, by their affinity or hart (`reg`): no more are used.
    pub processors: Vec<u64, PROCESSORS_MAX>,
    /// SiFive's test device, which ends a machine with a status.
    pub test_device: Option<usize>,
    /// The interrupt controller of an Arm machine.
    pub gic: Option<Gic>,
    /// Ticks a second of the counter, where the tree tells.
    pub timebase_hz: Option<u64>,
    /// What is known and cannot be used.
    pub told: Told,
    /// Random bits from firmware, the same after a resume; 0 where there are none.
    pub seed: [u64; 2],
    /// The address of the machine's generation, which the monitor changes at a resume.
    pub generation: Option<u64>,
}

/// Reads a tree. Devices are served that end below `reach`.
///
/// # Errors
///
/// [`Distrust`]: of the structure, or of what memory is reserved.
pub fn parse(tree: Blob<'_>, reach: u64) -> Result<Parsed<'_>, Distrust> {
    let mut parsed = Parsed::default();
    tree.reserved(|range| parsed.ram.take(range))?;
    let mut visit =
        Visit { parsed: &mut parsed, reach, ports: Vec::new(), stdout: &[], aliases: None };
    let mut tokens = tree.tokens();
    let Token::Begin(_) = tokens.step()? else { return Err(tokens.misplaced().into()) };
    let root = Spot {
        path: Path::ROOT,
        place: Place::Root,
        depth: 0,
        within: Bus::PROCESSOR,
        is_on: true,
    };
    visit.node(&mut tokens, &root)?;
    let Token::Over = tokens.step()? else { return Err(tokens.misplaced().into()) };
    let console = visit.console(tree.tokens())?;
    parsed.console = console.or(parsed.ports.first().copied());
    Ok(parsed)
}

/// What kind of place a node stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Chosen,
    Aliases,
    Cpus,
    /// In `/cpus`.
    Cpu,
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
    /// Returns the place of the node `name` in a node here.
    fn of(self, name: &[u8]) -> Self {
        match self {
            Self::Root => named(&PLACES, name).unwrap_or(Self::Elsewhere),
            Self::ReservedMemory => Self::Reserved,
            Self::Cpus => Self::Cpu,
            _ => Self::Elsewhere,
        }
    }

    /// Returns whether addresses in a node here are always the processor's: the root is not a bus,
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
    Generation,
}

const KINDS: [(&[u8], Kind); 14] = [
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
    (b"microsoft,vmgenid", Kind::Generation),
];

/// Where a node stands.
struct Spot<'a, 't> {
    path: Path<'a, 't>,
    place: Place,
    depth: usize,
    /// The bus that it is on.
    within: Bus<'a, 't>,
    /// Whether all nodes above are on.
    is_on: bool,
}

/// A walk through a tree, and the devices found so far.
struct Visit<'v, 't> {
    parsed: &'v mut Parsed<'t>,
    reach: u64,
    /// What may be the console, by where the node begins.
    ports: Vec<(usize, Serial), PORTS_MAX>,
    /// What names it: a path or an alias, perhaps with a rate (`/uart@9000000:115200`).
    stdout: &'t [u8],
    /// The properties of `/aliases`.
    aliases: Option<Tokens<'t>>,
}

impl<'t> Visit<'_, 't> {
    /// Takes what a node says that has begun, and then what the nodes in it do.
    fn node(&mut self, tokens: &mut Tokens<'t>, spot: &Spot<'_, 't>) -> Result<(), Distrust> {
        let begin = tokens.at();
        if spot.place == Place::Aliases {
            self.aliases = Some(tokens.clone());
        }
        let mut facts = Facts::default();
        let mut token = tokens.step()?;
        while let Token::Property(name, value) = token {
            facts.take(name, value);
            token = tokens.step()?;
        }
        let is_on = spot.is_on && facts.is_on();
        let is_open = self.take(spot, begin, is_on, &facts)?;
        let within = spot.within.below(&facts, spot.place.is_processors());
        let mut is_told = false;
        loop {
            match token {
                Token::End => return Ok(()),
                Token::Begin(name) if is_open && spot.depth < DEPTH_MAX => {
                    let below = Spot {
                        path: spot.path.below(name),
                        place: spot.place.of(name),
                        depth: spot.depth + 1,
                        within,
                        is_on,
                    };
                    self.node(tokens, &below)?;
                }
                Token::Begin(name) => {
                    if is_open && !is_told {
                        is_told = true;
                        let deep = &"nodes so deep are not looked at";
                        self.parsed.told.add(&spot.path.below(name), deep);
                    }
                    tokens.skip()?;
                }
                // A property comes before the nodes, and the tree ends after the root.
                Token::Property(..) | Token::Over => {
                    return Err(tokens.misplaced().into());
                }
            }
            token = tokens.step()?;
        }
    }

    /// Takes a node that begins at this byte and whose properties are known; whether a node in it
    /// may matter.
    fn take(
        &mut self,
        spot: &Spot<'_, 't>,
        begin: usize,
        is_on: bool,
        facts: &Facts<'t>,
    ) -> Result<bool, Distrust> {
        match spot.place {
            Place::Chosen => {
                self.parsed.bootargs = facts.text(Fact::Bootargs);
                self.stdout = facts.text(Fact::StdoutPath);
                self.parsed.seed = seed(facts.bytes(Fact::RngSeed));
                return Ok(false);
            }
            Place::Cpus => {
                let hz = number(facts.bytes(Fact::TimebaseFrequency));
                self.parsed.timebase_hz = hz.filter(|hz| *hz > 0);
                return Ok(true);
            }
            Place::Cpu => {
                self.processor(is_on, facts);
                return Ok(false);
            }
            Place::Aliases => return Ok(false),
            Place::Reserved if is_on => self.reserve(spot, facts)?,
            _ => {}
        }
        if is_on && facts.text(Fact::DeviceType) == b"memory" {
            self.memory(spot, facts);
        }
        let mut kinds = facts.bytes(Fact::Compatible).split(|byte| *byte == 0);
        let Some(kind) = kinds.find_map(|kind| named(&KINDS, kind)) else { return Ok(true) };
        // Devices that are there, and off; a console that is named is used all the same.
        if (is_on || matches!(kind, Kind::Port(_)))
            && let Err(why) = self.device(kind, spot, begin, is_on, facts)
            && is_on
        {
            self.parsed.told.add(&spot.path, &why);
        }
        Ok(false)
    }

    /// Takes a processor that PSCI starts, or that has no method of its own (RISC-V, where the SBI
    /// starts all), as long as there is room: no more are used.
    fn processor(&mut self, is_on: bool, facts: &Facts<'t>) {
        let is_startable = is_on
            && facts.text(Fact::DeviceType) == b"cpu"
            && matches!(facts.text(Fact::EnableMethod), b"" | b"psci");
        if let Some(affinity) = facts.get(Fact::Reg).and_then(number).filter(|_| is_startable)
            && !self.parsed.processors.is_full()
        {
            self.parsed.processors.extend([affinity]);
        }
    }

    /// Takes memory away that a node reserves, if it says where already.
    fn reserve(&mut self, spot: &Spot<'_, 't>, facts: &Facts<'t>) -> Result<(), Distrust> {
        for range in registers(facts, &spot.within) {
            let Some(range) = range else {
                let mut path = PathText::new();
                // A path that is too long is cut.
                let _ = write!(path, "{}", spot.path);
                return Err(Distrust::Reserved { path });
            };
            self.parsed.ram.take(range);
        }
        Ok(())
    }

    /// Takes RAM.
    fn memory(&mut self, spot: &Spot<'_, 't>, facts: &Facts<'t>) {
        let mut is_whole = true;
        for range in registers(facts, &spot.within) {
            match range {
                Some(range) => self.parsed.ram.add(range),
                None => is_whole = false,
            }
        }
        if !is_whole {
            self.parsed.told.add(&spot.path, &"its reg names memory that does not exist");
        }
    }

    /// Takes a device.
    fn device(
        &mut self,
        kind: Kind,
        spot: &Spot<'_, 't>,
        begin: usize,
        is_on: bool,
        facts: &Facts<'t>,
    ) -> Result<(), Unusable> {
        let mut blocks = registers(facts, &spot.within);
        let mut block = || blocks.next().flatten();
        let start = |range: Option<Range<u64>>| {
            range.and_then(|range| usize::try_from(range.start).ok()).ok_or(Unusable::Registers)
        };
        let parsed = &mut *self.parsed;
        match kind {
            Kind::VirtioMmio => keep(&mut parsed.virtio_mmio, start(block())?)?,
            Kind::PciHost => {
                keep(&mut parsed.pci, devices::host(facts, &spot.within, block(), self.reach)?)?;
            }
            Kind::Psci => parsed.psci = Some(devices::conduit(facts)?),
            Kind::Gic(gic) => parsed.gic = Some(gic(start(block())?, start(block())?)),
            Kind::Port(family) => {
                let port = devices::port(family, start(block())?, facts)?;
                keep(&mut self.ports, (begin, port))?;
                if is_on {
                    keep(&mut parsed.ports, port)?;
                }
            }
            Kind::Test => parsed.test_device = Some(start(block())?),
            Kind::Generation => {
                let place = devices::generation(block(), self.reach)?;
                parsed.generation = Some(place.start);
                // RAM, to be cached as all of it, and the monitor's.
                parsed.ram.add(place.clone());
                parsed.ram.take(place);
            }
        }
        Ok(())
    }

    /// Returns the port that `stdout-path` or its alias names.
    fn console(&self, tokens: Tokens<'t>) -> Result<Option<Serial>, Fault> {
        let Some(named) = self.stdout.split(|byte| *byte == b':').next() else { return Ok(None) };
        let path = if named.starts_with(b"/") { Some(named) } else { self.alias(named)? };
        let Some(path) = path else { return Ok(None) };
        let begin = find(tokens, path)?;
        Ok(self.ports.iter().find(|(of, _)| Some(*of) == begin).map(|(_, port)| *port))
    }

    fn alias(&self, named: &[u8]) -> Result<Option<&'t [u8]>, Fault> {
        let Some(mut tokens) = self.aliases.clone() else { return Ok(None) };
        while let Token::Property(name, value) = tokens.step()? {
            if name == named {
                return Ok(Some(until_zero(value)));
            }
        }
        Ok(None)
    }
}

/// Adds one to a table, if there is room.
fn keep<T, const MOST: usize>(table: &mut Vec<T, MOST>, one: T) -> Result<(), Unusable> {
    table.push(one).map_err(|_| Unusable::Crowded(MOST))
}

/// Returns all of a seed in two words.
fn seed(bytes: &[u8]) -> [u64; 2] {
    let mut words = [0; 2];
    for (at, byte) in bytes.iter().enumerate() {
        words[at / 8 % 2] ^= u64::from(*byte) << (at % 8 * 8);
    }
    words
}

/// Returns where the node begins that `path` names, perhaps without the addresses in it (2.2.3).
fn find(mut tokens: Tokens<'_>, path: &[u8]) -> Result<Option<usize>, Fault> {
    tokens.step()?;
    for asked in path.split(|byte| *byte == b'/').skip(1) {
        let is_asked = |name: &[u8]| {
            let rest = name.strip_prefix(asked);
            rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'@')))
        };
        loop {
            match tokens.step()? {
                Token::Begin(name) if is_asked(name) => break,
                Token::Begin(_) => tokens.skip()?,
                Token::Property(..) => {}
                Token::End | Token::Over => return Ok(None),
            }
        }
    }
    Ok(Some(tokens.at()))
}
