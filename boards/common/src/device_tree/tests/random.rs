//! Random trees of machines: the reader finds exactly the parts that were put into a tree, and it
//! reports or refuses each part that is broken.

use dtoolkit::model::DeviceTreeNode;
use proptest::prelude::*;

use super::{Blob, Distrust, Parsed, bytes, cells, node, parse, told, tree};
use crate::pci::{Access, Host, Window};
use crate::uart::Serial;

/// Hosts that stand higher are beyond it.
const REACH: u64 = 0x6000_0000;
/// Where devices see memory of PCI, and how much.
const WINDOW: (u32, u32) = (0x1000_0000, 0x1000_0000);

#[derive(Clone, Copy, Debug)]
enum Kind {
    Memory,
    VirtioMmio,
    Port,
    Test,
    Host,
}

/// How the registers of a node are said.
#[derive(Clone, Copy, Debug)]
enum Reg {
    Whole,
    Half,
    Beyond,
    Absent,
}

/// How a bus passes addresses on.
#[derive(Clone, Copy, Debug)]
enum Passing {
    Same,
    MovedBy(u32),
    Apart,
}

/// A node with the buses above it, from the root down.
#[derive(Clone, Debug)]
struct Part {
    kind: Kind,
    at: u32,
    state: Option<&'static str>,
    reg: Reg,
    buses: Vec<(Option<&'static str>, Passing)>,
}

fn is_on(state: Option<&str>) -> bool {
    matches!(state, None | Some("okay" | "ok"))
}

impl Part {
    fn bytes(&self) -> u32 {
        match self.kind {
            Kind::Memory => 0x100_0000,
            Kind::Host => 0x20_0000,
            _ => 0x1000,
        }
    }

    fn name(&self, number: usize) -> String {
        format!("part{number}@{:x}", self.at)
    }

    fn path(&self, number: usize) -> String {
        format!("{}/{}", format!("/soc@{number}").repeat(self.buses.len()), self.name(number))
    }

    /// Returns the node, in its buses.
    fn node(&self, number: usize) -> DeviceTreeNode {
        let compatible: &[u8] = match self.kind {
            Kind::Memory => b"vendor,memory\0",
            Kind::VirtioMmio => b"virtio,mmio\0",
            Kind::Port => b"arm,pl011\0arm,primecell\0",
            Kind::Test => b"vendor,test\0sifive,test0\0",
            Kind::Host => b"pci-host-ecam-generic\0",
        };
        let mut part = node(&self.name(number), vec![bytes("compatible", compatible)]);
        match self.kind {
            Kind::Memory => part.add_property(bytes("device_type", b"memory\0")),
            Kind::Host => {
                let (start, len) = WINDOW;
                part.add_property(cells("#address-cells", &[3]));
                part.add_property(cells("#size-cells", &[2]));
                part.add_property(cells("bus-range", &[0, 0]));
                let window = [2 << 24, 0, start, 0, start, 0, len];
                part.add_property(cells("ranges", &window));
            }
            _ => {}
        }
        let reg = [0, self.at, 0, self.bytes()];
        match self.reg {
            Reg::Whole => part.add_property(cells("reg", &reg)),
            Reg::Half => part.add_property(cells("reg", &reg[..3])),
            Reg::Beyond => part.add_property(cells("reg", &[u32::MAX, u32::MAX, 0, 2])),
            Reg::Absent => {}
        }
        let say = |mut node: DeviceTreeNode, state: Option<&str>| {
            if let Some(state) = state {
                node.add_property(bytes("status", format!("{state}\0").as_bytes()));
            }
            node
        };
        let part = say(part, self.state);
        self.buses.iter().rev().fold(part, |inner, (state, passing)| {
            // One of its own: nodes of one name are one.
            let mut outer = node(&format!("soc@{number}"), vec![]);
            outer.add_property(cells("#address-cells", &[2]));
            outer.add_property(cells("#size-cells", &[2]));
            match passing {
                Passing::Same => outer.add_property(cells("ranges", &[])),
                Passing::MovedBy(by) => {
                    outer.add_property(cells("ranges", &[0, 0, 0, *by, 0, u32::MAX]));
                }
                Passing::Apart => {}
            }
            outer.add_child(inner);
            say(outer, *state)
        })
    }

    fn is_on(&self) -> bool {
        is_on(self.state) && self.buses.iter().all(|(state, _)| is_on(*state))
    }

    /// Returns how far its addresses are moved on the way to the processor, if they come through.
    fn moved(&self) -> Option<u32> {
        self.buses.iter().try_fold(0, |sum, (_, passing)| match passing {
            Passing::Same => Some(sum),
            Passing::MovedBy(by) => Some(sum + by),
            Passing::Apart => None,
        })
    }
}

/// What a tree of such parts has to say.
#[derive(Debug, Default, PartialEq)]
struct Machine {
    ram: Vec<std::ops::Range<u64>>,
    virtio_mmio: Vec<usize>,
    pci: Vec<Host>,
    ports: Vec<Serial>,
    test_device: Option<usize>,
    /// The paths of nodes that are known and not used.
    told: Vec<String>,
}

impl Machine {
    fn of(parts: &[Part]) -> Self {
        let mut machine = Self::default();
        for (number, part) in parts.iter().enumerate().filter(|(_, part)| part.is_on()) {
            let is_used = machine.add(part);
            if !is_used {
                machine.told.push(part.path(number));
            }
        }
        machine
    }

    /// Adds a part that is on, and returns whether the part can be used.
    fn add(&mut self, part: &Part) -> bool {
        // A node of memory without `reg` is not a fault.
        if let (Kind::Memory, Reg::Absent) = (part.kind, part.reg) {
            return true;
        }
        let (Reg::Whole, Some(by)) = (part.reg, part.moved()) else { return false };
        let at = (part.at + by) as usize;
        let range = at as u64..at as u64 + u64::from(part.bytes());
        match part.kind {
            Kind::Memory => self.ram.push(range),
            Kind::VirtioMmio => self.virtio_mmio.push(at),
            Kind::Port => self.ports.push(Serial::Pl011(at)),
            Kind::Test => self.test_device = Some(at),
            Kind::Host if range.end > REACH || by > 0 || self.pci.len() == 4 => return false,
            Kind::Host => {
                let (start, len) = WINDOW;
                let window = Window::new(start.into(), (start + len).into());
                let access = Access::Memory { base: at, buses: 1 };
                self.pci.push(Host { access, window });
            }
        }
        true
    }

    fn read(parsed: &Parsed<'_>) -> Self {
        let path = |line: &String| line.split(": ").nth(1).unwrap().to_string();
        assert_eq!(parsed.console, parsed.ports.first().copied());
        Self {
            ram: parsed.ram.ranges.to_vec(),
            virtio_mmio: parsed.virtio_mmio.to_vec(),
            pci: parsed.pci.to_vec(),
            ports: parsed.ports.to_vec(),
            test_device: parsed.test_device,
            told: told(parsed).iter().map(path).collect(),
        }
    }
}

fn states() -> impl Strategy<Value = Option<&'static str>> {
    let off = prop::sample::select(vec!["disabled", "fail", "fail-sss", "reserved", "okay2", ""]);
    let on = prop::sample::select(vec![None, Some("okay"), Some("ok")]);
    prop_oneof![6 => on, 1 => off.prop_map(Some)]
}

fn parts() -> impl Strategy<Value = Vec<Part>> {
    let kind = prop::sample::select(vec![
        Kind::Memory,
        Kind::VirtioMmio,
        Kind::Port,
        Kind::Test,
        Kind::Host,
        Kind::Host,
    ]);
    let reg = prop_oneof![
        6 => Just(Reg::Whole),
        1 => Just(Reg::Half),
        1 => Just(Reg::Beyond),
        1 => Just(Reg::Absent),
    ];
    let passing = prop_oneof![
        4 => Just(Passing::Same),
        2 => (1_u32..0x1000).prop_map(|by| Passing::MovedBy(by << 12)),
        1 => Just(Passing::Apart),
    ];
    let buses = prop::collection::vec((states(), passing), 0..4);
    let at = (0_u32..0x8000).prop_map(|at| at << 16);
    let part = (kind, at, states(), reg, buses).prop_map(|(kind, at, state, reg, buses)| Part {
        kind,
        at,
        state,
        reg,
        buses,
    });
    // More would not all be told, nor all ports have room.
    prop::collection::vec(part, 0..9)
}

fn blob(parts: &[Part]) -> Vec<u8> {
    tree(parts.iter().enumerate().map(|(number, part)| part.node(number)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn machine_of_a_random_tree_is_what_was_put_into_it(parts in parts()) {
        let blob = blob(&parts);
        let parsed = parse(Blob::new(&blob).unwrap(), REACH).unwrap();
        prop_assert_eq!(Machine::read(&parsed), Machine::of(&parts));
    }

    #[test]
    fn random_tree_with_bytes_changed_is_read_or_refused(
        parts in parts(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        len in any::<prop::sample::Index>(),
    ) {
        let whole = blob(&parts);
        // A tree that is cut anywhere is refused.
        let cut = len.index(whole.len());
        prop_assert!(Blob::new(&whole[..cut]).is_err());
        let mut blob = whole;
        for (at, value) in changes {
            let at = at.index(blob.len());
            blob[at] = value;
        }
        let tree = Blob::new(&blob).map_err(Distrust::from);
        if let Ok(parsed) = tree.and_then(|tree| parse(tree, REACH)) {
            let free = parsed.ram.free(0x8020_0000, u64::MAX);
            prop_assert!(free.is_none_or(|free| free.iter().all(|piece| !piece.is_empty())));
        }
    }
}
