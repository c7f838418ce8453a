//! What a device tree says of the machine, as far as anything here needs it.
//!
//! Always: pure; a node that makes no sense is passed over, and tables that are full take no more.
//!
//! Sources: Devicetree Specification 0.4; Linux bindings `virtio,mmio`, `pci-host-ecam-generic`,
//! `arm,psci`, `ns16550a`, `arm,pl011`.

use core::ops::Range;

use dtoolkit::error::{FdtErrorKind, FdtParseError};
use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::{Node, Property};
use heapless::Vec;

use crate::pci::{Access, Host, Window};

/// How deep nodes of interest stand, at most.
const DEPTH_MAX: usize = 4;
const RAM_RANGES_MAX: usize = 8;
const RESERVED_MAX: usize = 16;
const VIRTIO_MMIO_MAX: usize = 64;
const PCI_MAX: usize = 4;
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
    /// Ticks a second of the counter, where the tree tells.
    pub timebase_hz: Option<u64>,
}

/// Checks a tree. Names of nodes and properties may be longer than the 31 bytes that the
/// specification has (2.2.1, 2.2.4): compilers take longer ones, and QEMU's Versal has some. The
/// check ends at the first of them; a tree that is broken behind it ends in a panic.
///
/// # Errors
///
/// What makes the blob no tree, and where.
pub fn check(blob: &[u8]) -> Result<Fdt<'_>, FdtParseError> {
    Fdt::new(blob).or_else(|error| match error.kind {
        FdtErrorKind::InvalidNodeName | FdtErrorKind::InvalidPropertyName => {
            Ok(Fdt::new_unchecked(blob))
        }
        _ => Err(error),
    })
}

/// Reads a tree. Devices are served that end below `reach`.
pub fn parse(tree: Fdt<'_>, reach: u64) -> Parsed<'_> {
    let mut parsed = Parsed::default();
    let root = tree.root();
    if let Some(chosen) = root.child("chosen") {
        parsed.bootargs = text(chosen, "bootargs");
        parsed.console = console(tree, text(chosen, "stdout-path"));
    }
    for reserved in tree.memory_reservations() {
        add(&mut parsed.reserved, reserved.address(), reserved.size());
    }
    if let Some(all) = root.child("reserved-memory") {
        all.children().for_each(|node| add_registers(&mut parsed.reserved, node));
    }
    if let Some(hz) = root.child("cpus").and_then(|cpus| word(cpus, "timebase-frequency")) {
        parsed.timebase_hz = Some(hz.into());
    }
    walk(root, 0, &mut |node| parsed.take(node, reach));
    parsed
}

impl<'t> Parsed<'t> {
    fn take(&mut self, node: FdtNode<'t>, reach: u64) {
        if text(node, "device_type") == b"memory" {
            add_registers(&mut self.ram, node);
        }
        // Nodes that are there, and off.
        if matches!(text(node, "status"), b"disabled" | b"fail") {
            return;
        }
        for kind in node.compatible().into_iter().flatten() {
            match kind {
                "virtio,mmio" => {
                    let at = first_register(node).and_then(|range| range.start.try_into().ok());
                    // A full table takes no more.
                    let _ = at.map(|at| self.virtio_mmio.push(at));
                }
                "pci-host-ecam-generic" => {
                    let _ = host(node, reach).map(|host| self.pci.push(host));
                }
                "arm,psci-0.2" | "arm,psci-1.0" => {
                    self.psci = match text(node, "method") {
                        b"hvc" => Some(Conduit::Hypervisor),
                        b"smc" => Some(Conduit::Monitor),
                        _ => None,
                    };
                }
                _ => continue,
            }
            break;
        }
    }

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

fn walk<'t>(node: FdtNode<'t>, depth: usize, each: &mut dyn FnMut(FdtNode<'t>)) {
    each(node);
    if depth < DEPTH_MAX {
        node.children().for_each(|child| walk(child, depth + 1, each));
    }
}

fn until_zero(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
    &text[..end]
}

fn text<'t>(node: FdtNode<'t>, name: &str) -> &'t [u8] {
    node.properties().find(|property| property.name() == name).map_or(&[], |property| {
        let value: &'t [u8] = property.value_as().unwrap_or_default();
        until_zero(value)
    })
}

fn word(node: FdtNode<'_>, name: &str) -> Option<u32> {
    node.property(name)?.value_as().ok()
}

fn add<const N: usize>(to: &mut Vec<Range<u64>, N>, start: u64, bytes: u64) {
    let end = start.saturating_add(bytes);
    if start < end {
        // A full table takes no more.
        let _ = to.push(start..end);
    }
}

fn registers(node: FdtNode<'_>) -> impl Iterator<Item = Range<u64>> {
    let all = node.reg().ok().flatten();
    all.into_iter().flatten().filter_map(|range| {
        let (start, bytes) = (range.address::<u64>().ok()?, range.size::<u64>().ok()?);
        Some(start..start.checked_add(bytes)?)
    })
}

fn first_register(node: FdtNode<'_>) -> Option<Range<u64>> {
    registers(node).next()
}

fn add_registers<const N: usize>(to: &mut Vec<Range<u64>, N>, node: FdtNode<'_>) {
    registers(node).for_each(|range| add(to, range.start, range.end - range.start));
}

/// The port that a path or an alias names, which may end in a rate (`/uart@9000000:115200`).
fn console(tree: Fdt<'_>, path: &[u8]) -> Option<Port> {
    let path = str::from_utf8(path).ok()?.split(':').next()?;
    let node = match path.starts_with('/') {
        true => tree.find_node(path)?,
        false => {
            let alias = tree.find_node("/aliases")?;
            tree.find_node(str::from_utf8(text(alias, path)).ok()?)?
        }
    };
    let at = usize::try_from(first_register(node)?.start).ok()?;
    node.compatible()?.find_map(|kind| match kind {
        "ns16550a" | "ns16550" => Some(Port::Ns16550(at)),
        "arm,pl011" => Some(Port::Pl011(at)),
        _ => None,
    })
}

/// A host bridge, if it has configuration within reach, and a window below 4 GiB where addresses
/// are the same on both sides (IEEE Std 1275 PCI binding: space 2 is memory of 32 bits).
fn host(node: FdtNode<'_>, reach: u64) -> Option<Host> {
    const SPACE: u32 = 3 << 24;
    const MEMORY_32: u32 = 2 << 24;
    let configuration = first_register(node).filter(|range| range.end <= reach)?;
    let base = usize::try_from(configuration.start).ok()?;
    let buses = (configuration.end - configuration.start) / BUS_BYTES;
    let window = node.ranges().ok()??.find_map(|range| {
        let words: [u32; 3] = {
            let mut cells = range.child_bus_address.as_ref().iter().map(|cell| cell.get());
            [cells.next()?, cells.next()?, cells.next()?]
        };
        let child = u64::from(words[1]) << 32 | u64::from(words[2]);
        let (parent, bytes) =
            (range.parent_bus_address::<u64>().ok()?, range.length::<u64>().ok()?);
        let end = child.checked_add(bytes).filter(|end| *end <= 1 << 32)?;
        (words[0] & SPACE == MEMORY_32 && child == parent).then(|| Window::new(child, end))
    })?;
    let access = Access::Memory { base, buses: buses.min(256) as u16 };
    Some(Host { access, window, reach })
}
