//! Trees of machines, and what is read of them.

use dtoolkit::fdt::Fdt;
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};

use super::blob::{Blob, Fault};
use super::parse::{Parsed, parse};
use super::{Conduit, Gic};
use crate::pci::{Access, Host, Window};
use crate::uart::{Serial, Width};

const REACH: u64 = 512 << 30;

pub(super) fn bytes(name: &str, value: &[u8]) -> DeviceTreeProperty {
    DeviceTreeProperty::new(name, value).unwrap()
}

pub(super) fn cells(name: &str, value: &[u32]) -> DeviceTreeProperty {
    let value: Vec<u8> = value.iter().flat_map(|cell| cell.to_be_bytes()).collect();
    bytes(name, &value)
}

pub(super) fn node(name: &str, properties: Vec<DeviceTreeProperty>) -> DeviceTreeNode {
    let mut node = DeviceTreeNode::new(name).unwrap();
    properties.into_iter().for_each(|property| node.add_property(property));
    node
}

/// A tree with two cells each for addresses and sizes, as all machines here have.
pub(super) fn tree(children: Vec<DeviceTreeNode>) -> Vec<u8> {
    let mut tree = DeviceTree::new();
    tree.root.add_property(cells("#address-cells", &[2]));
    tree.root.add_property(cells("#size-cells", &[2]));
    children.into_iter().for_each(|child| tree.root.add_child(child));
    tree.to_dtb()
}

fn with(children: Vec<DeviceTreeNode>, look: impl FnOnce(Parsed<'_>)) {
    let blob = tree(children);
    look(read(&blob));
}

fn read(blob: &[u8]) -> Parsed<'_> {
    parse(Blob::new(blob).unwrap(), REACH).unwrap()
}

/// What is said of nodes that are not used.
pub(super) fn told(tree: &Parsed<'_>) -> Vec<String> {
    let mut told = Vec::new();
    tree.told.each(|line| told.push(line.to_string()));
    told
}

fn memory(start: u32, len: u32) -> DeviceTreeNode {
    let name = format!("memory@{start:x}");
    node(&name, vec![bytes("device_type", b"memory\0"), cells("reg", &[0, start, 0, len])])
}

/// A bus with two cells each for addresses and sizes.
fn bus(ranges: &[u32]) -> DeviceTreeNode {
    let sizes = vec![cells("#address-cells", &[2]), cells("#size-cells", &[2])];
    let mut bus = node("soc", sizes);
    bus.add_property(cells("ranges", ranges));
    bus
}

fn pci(kind: u32, child: u32, parent: u32) -> DeviceTreeNode {
    pci_named("pcie@10000000", kind, child, parent)
}

fn pci_named(name: &str, kind: u32, child: u32, parent: u32) -> DeviceTreeNode {
    node(
        name,
        vec![
            bytes("compatible", b"pci-host-ecam-generic\0"),
            cells("#address-cells", &[3]),
            cells("#size-cells", &[2]),
            cells("reg", &[0x40, 0x1000_0000, 0, 0x1000_0000]),
            cells("ranges", &[kind, 0, child, 0, parent, 0, 0x2eff_0000]),
        ],
    )
}

#[test]
fn tree_with_names_longer_than_the_specification_has_is_read() {
    let long = node("usb", vec![bytes("snps,quirk-frame-length", b""), bytes("adjustment", b"")]);
    let mut blob = tree(vec![long, memory(0x4000_0000, 0x100_0000)]);
    // The one name becomes both, as vendors write them.
    let names = b"snps,quirk-frame-length\0adjustment";
    let at = blob.windows(names.len()).position(|bytes| bytes == names).unwrap();
    blob[at + 23] = b'-';
    assert!(Fdt::new(&blob).is_err(), "a reader that checks all of it gives nothing");
    assert_eq!(read(&blob).ram.ranges, [0x4000_0000..0x4100_0000]);
}

#[test]
fn line_that_a_loader_passed_is_given_as_bytes_without_its_zero() {
    let chosen = |line: &[u8]| vec![node("chosen", vec![bytes("bootargs", line)])];
    with(chosen(b"image=x -- cat /\xff\0"), |tree| {
        assert_eq!(tree.bootargs, b"image=x -- cat /\xff");
    });
    with(chosen(b"no zero"), |tree| assert_eq!(tree.bootargs, b"no zero"));
    with(Vec::new(), |tree| assert_eq!(tree.bootargs, b""));
}

#[test]
fn devices_are_found_at_any_depth_and_not_where_they_are_off() {
    let device = |at: u32| {
        let name = format!("virtio_mmio@{at:x}");
        let mut kind = vec![bytes("compatible", b"virtio,mmio\0")];
        kind.push(cells("reg", &[0, at, 0, 0x200]));
        node(&name, kind)
    };
    let mut soc = bus(&[]);
    soc.add_child(device(0x1000_8000));
    let mut off = device(0xa00_0200);
    off.add_property(bytes("status", b"disabled\0"));
    with(vec![device(0xa00_0000), off, soc], |tree| {
        assert_eq!(tree.virtio_mmio, [0xa00_0000, 0x1000_8000]);
        assert_eq!(told(&tree), [""; 0]);
    });
}

/// Of all words for a state Linux knows two that mean on.
#[test]
fn node_that_is_off_and_all_in_it_counts_for_nothing() {
    let device = || {
        let mut device = node("virtio_mmio@a000000", vec![bytes("compatible", b"virtio,mmio\0")]);
        device.add_property(cells("reg", &[0, 0xa00_0000, 0, 0x200]));
        device
    };
    let state = |mut node: DeviceTreeNode, word: &[u8]| {
        node.add_property(bytes("status", word));
        node
    };
    let in_bus = |bus: &DeviceTreeNode| {
        let mut bus = bus.clone();
        bus.add_child(device());
        vec![bus]
    };
    for (word, is_on) in [
        (&b"okay\0"[..], true),
        (b"ok\0", true),
        (b"disabled\0", false),
        (b"reserved\0", false),
        (b"fail\0", false),
        (b"fail-sss\0", false),
        (b"okey\0", false),
        (b"", false),
    ] {
        let count = usize::from(is_on);
        let found = |children: Vec<DeviceTreeNode>, of: fn(&Parsed<'_>) -> usize| {
            with(children, |tree| {
                assert_eq!(of(&tree), count, "{word:?}");
                assert_eq!(told(&tree), [""; 0]);
            });
        };
        found(vec![state(memory(0x8000_0000, 0x100_0000), word)], |tree| tree.ram.ranges.len());
        found(vec![state(device(), word)], |tree| tree.virtio_mmio.len());
        found(in_bus(&state(bus(&[]), word)), |tree| tree.virtio_mmio.len());
        let mut outer = state(bus(&[]), word);
        in_bus(&bus(&[])).into_iter().for_each(|bus| outer.add_child(bus));
        found(vec![outer], |tree| tree.virtio_mmio.len());
        let mut held = node("held@80000000", vec![cells("reg", &[0, 0x8000_0000, 0, 0x1000])]);
        held = state(held, word);
        let sizes = vec![cells("#address-cells", &[2]), cells("#size-cells", &[2])];
        let mut all = node("reserved-memory", sizes);
        all.add_child(held);
        found(vec![all], |tree| tree.ram.taken.len());
    }
}

#[test]
fn devices_that_tables_have_no_room_for_are_told_by_their_paths() {
    let device = |number: u32| {
        let name = format!("virtio_mmio@{:x}", 0xa00_0000 + number * 0x200);
        let reg = cells("reg", &[0, 0xa00_0000 + number * 0x200, 0, 0x200]);
        node(&name, vec![bytes("compatible", b"virtio,mmio\0"), reg])
    };
    with((0..66).map(device).collect(), |tree| {
        assert_eq!(tree.virtio_mmio.len(), 64);
        let why = "there is room for 64 devices of its kind";
        let names = ["a008000", "a008200"];
        let lines = names.map(|name| format!("device tree: /virtio_mmio@{name}: {why}"));
        assert_eq!(told(&tree), lines);
    });
    let hosts = (0..5)
        .map(|number| pci_named(&format!("pcie@{number}"), 0x200_0000, 0x1000_0000, 0x1000_0000));
    with(hosts.collect(), |tree| {
        assert_eq!(tree.pci.len(), 4);
        let why = "device tree: /pcie@4: there is room for 4 devices of its kind";
        assert_eq!(told(&tree), [why]);
    });
    // More lines than there is room for are counted.
    with((0..164).map(device).collect(), |tree| {
        let told = told(&tree);
        let rest = 100 - (told.len() - 1);
        let last = format!("device tree: {rest} more nodes that are not used");
        assert!(told.len() > 20 && told.last() == Some(&last), "{told:?}");
    });
}

#[test]
fn nodes_too_deep_to_be_looked_at_are_told_once_for_each_node_above_them() {
    let within = |depth: usize| {
        let mut inner = node("serial@9000000", vec![bytes("compatible", b"arm,pl011\0")]);
        inner.add_property(cells("reg", &[0, 0x900_0000, 0, 0x1000]));
        for _ in 1..depth {
            let mut outer = bus(&[]);
            outer.add_child(inner.clone());
            outer.add_child(node("other", vec![]));
            inner = outer;
        }
        vec![inner]
    };
    with(within(16), |tree| {
        assert_eq!((tree.console, told(&tree)), (Some(Serial::Pl011(0x900_0000)), vec![]));
    });
    with(within(17), |tree| {
        let path = "/soc".repeat(16);
        let line = format!("device tree: {path}/serial@9000000: nodes so deep are not looked at");
        assert_eq!((tree.console, told(&tree)), (None, vec![line]));
    });
}

#[test]
fn device_whose_registers_cannot_be_found_is_told() {
    let kinds = [
        ("virtio", &b"virtio,mmio\0"[..]),
        ("serial", b"arm,pl011\0"),
        ("intc", b"arm,gic-v3\0"),
        ("test", b"sifive,test0\0"),
        ("pcie", b"pci-host-ecam-generic\0"),
    ];
    let why = "its reg names no registers that can be reached";
    for (name, kind) in kinds {
        // None, half an entry, an end beyond all addresses.
        for reg in [&[][..], &[0, 0x1000, 0], &[u32::MAX, u32::MAX, 0, 2]] {
            let lost = node(name, vec![bytes("compatible", kind), cells("reg", reg)]);
            with(vec![lost], |tree| {
                assert_eq!(told(&tree), [format!("device tree: /{name}: {why}")], "{reg:x?}");
            });
        }
    }
    let mut memory = memory(0x8000_0000, 0x100_0000);
    memory.add_property(cells("reg", &[0, 0x8000_0000, 0, 0x100_0000, u32::MAX, 0, 1, 0]));
    with(vec![memory], |tree| {
        assert_eq!(tree.ram.ranges, [0x8000_0000..0x8100_0000], "what can be read is used");
        let why = "its reg names memory that does not exist";
        assert_eq!(told(&tree), [format!("device tree: /memory@80000000: {why}")]);
    });
}

/// Memory that somebody else uses must not become the heap.
#[test]
fn tree_that_reserves_memory_and_does_not_say_which_is_refused() {
    let sizes = vec![cells("#address-cells", &[2]), cells("#size-cells", &[2])];
    for reg in [&[0, 0x8000_0000, 0][..], &[u32::MAX, u32::MAX, 0, 2]] {
        let mut all = node("reserved-memory", sizes.clone());
        all.add_child(node("held@80000000", vec![cells("reg", reg)]));
        let blob = tree(vec![memory(0x8000_0000, 0x400_0000), all]);
        let fault = parse(Blob::new(&blob).unwrap(), REACH).unwrap_err();
        let why = "it reserves memory, and its reg does not say which";
        assert_eq!(fault.to_string(), format!("/reserved-memory/held@80000000: {why}"));
    }
    // The list apart from nodes has to end, and its entries within all addresses.
    let blob = tree(vec![]);
    let at = u32::from_be_bytes(blob[16..20].try_into().unwrap()) as usize;
    let mut beyond = blob.clone();
    beyond[at..at + 16].copy_from_slice(&[0xff; 16]);
    let refused = |blob: &[u8]| parse(Blob::new(blob).unwrap(), REACH).unwrap_err();
    assert_eq!(refused(&beyond), Fault::Reservation { at });
    let mut endless = blob.clone();
    endless[16..20].copy_from_slice(&(blob.len() as u32 - 8).to_be_bytes());
    assert_eq!(refused(&endless), Fault::Reservation { at: blob.len() - 8 });
}

#[test]
fn pci_host_is_taken_with_a_window_that_is_the_same_on_both_sides() {
    with(vec![pci(0x200_0000, 0x1000_0000, 0x1000_0000)], |tree| {
        let access = Access::Memory { base: 0x40_1000_0000, buses: 256 };
        let window = Window::new(0x1000_0000, 0x3eff_0000);
        assert_eq!(tree.pci, [Host { access, window }]);
    });
    // I/O ports, memory of 64 bits, and addresses that mean something else to the processor.
    let why = "device tree: /pcie@10000000: its ranges name no memory below 4 GiB with the same \
               addresses on both sides";
    for (kind, parent) in
        [(0x100_0000, 0x1000_0000), (0x300_0000, 0x1000_0000), (0x200_0000, 0x2000_0000)]
    {
        with(vec![pci(kind, 0x1000_0000, parent)], |tree| {
            assert!(tree.pci.is_empty());
            assert_eq!(told(&tree), [why]);
        });
    }
    let blob = tree(vec![pci(0x200_0000, 0x1000_0000, 0x1000_0000)]);
    let beyond = parse(Blob::new(&blob).unwrap(), 256 << 30).unwrap();
    assert!(beyond.pci.is_empty(), "its configuration cannot be addressed");
    let why = "device tree: /pcie@10000000: its configuration ends at 0x4020000000, and \
               0x4000000000 can be reached";
    assert_eq!(told(&beyond), [why]);
}

#[test]
fn pci_host_has_the_buses_that_its_range_and_its_configuration_have() {
    let host = |range: &[u32], mib: u32| {
        let mut host = pci(0x200_0000, 0x1000_0000, 0x1000_0000);
        host.add_property(cells("bus-range", range));
        host.add_property(cells("reg", &[0x40, 0x1000_0000, 0, mib << 20]));
        vec![host]
    };
    for (last, mib, expected) in [(255, 256, 256), (0, 1, 1), (15, 256, 16), (255, 3, 3)] {
        with(host(&[0, last], mib), |tree| {
            let access = Access::Memory { base: 0x40_1000_0000, buses: expected };
            let found: Vec<Access> = tree.pci.iter().map(|host| host.access).collect();
            assert_eq!((found, told(&tree)), (vec![access], vec![]), "{last}, {mib} MiB");
        });
    }
    let name = "device tree: /pcie@10000000: ";
    for (range, mib, why) in [
        (&[16, 31][..], 16, "its bus-range does not begin with bus 0, or is none"),
        (&[0, 256], 256, "its bus-range does not begin with bus 0, or is none"),
        (&[0], 256, "its bus-range does not begin with bus 0, or is none"),
        (&[0, 255], 0, "its configuration has less than the 1 MiB of one bus"),
    ] {
        with(host(range, mib), |tree| {
            assert_eq!((tree.pci.len(), told(&tree)), (0, vec![format!("{name}{why}")]));
        });
    }
}

#[test]
fn console_is_what_the_path_or_the_alias_names() {
    let uart = |kind: &[u8]| {
        node(
            "serial@9000000",
            vec![bytes("compatible", kind), cells("reg", &[0, 0x900_0000, 0, 8])],
        )
    };
    let chosen = |path: &[u8]| node("chosen", vec![bytes("stdout-path", path)]);
    let pl011 = Some(Serial::Pl011(0x900_0000));
    let kind = b"arm,pl011\0arm,primecell\0";
    with(vec![uart(kind), chosen(b"/serial@9000000:115200n8\0")], |tree| {
        assert_eq!(tree.console, pl011);
    });
    let aliases = node("aliases", vec![bytes("serial0", b"/serial@9000000\0")]);
    with(vec![uart(b"ns16550a\0"), aliases, chosen(b"serial0\0")], |tree| {
        assert_eq!(tree.console, Some(Serial::bytes(0x900_0000)));
    });
    let mut first = node("serial@8000000", vec![bytes("compatible", b"ns16550\0")]);
    first.add_property(cells("reg", &[0, 0x800_0000, 0, 8]));
    for path in [&b"/gone\0"[..], b"serial1\0", b"\xff\0", b"\0"] {
        with(vec![first.clone(), uart(kind), chosen(path)], |tree| {
            assert_eq!(tree.console, Some(Serial::bytes(0x800_0000)), "the first there is");
        });
        with(vec![chosen(path)], |tree| assert_eq!(tree.console, None));
    }
    let mut off = first.clone();
    off.add_property(bytes("status", b"disabled\0"));
    with(vec![off, uart(kind)], |tree| {
        assert_eq!((tree.console, tree.ports.len()), (pl011, 1), "one that is off is not");
    });
}

#[test]
fn registers_of_a_port_are_as_far_apart_and_as_wide_as_the_tree_says() {
    let uart = |more: &[(&str, u32)]| {
        let mut uart = node("serial@fe201000", vec![bytes("compatible", b"snps,dw-apb-uart\0")]);
        uart.add_property(cells("reg", &[0, 0xfe20_1000, 0, 0x100]));
        more.iter().for_each(|(name, value)| uart.add_property(cells(name, &[*value])));
        vec![uart]
    };
    let at = 0xfe20_1000;
    with(uart(&[("reg-shift", 2)]), |tree| {
        assert_eq!(tree.console, Some(Serial::Ns16550 { at, shift: 2, width: Width::Byte }));
    });
    with(uart(&[("reg-shift", 2), ("reg-io-width", 4)]), |tree| {
        assert_eq!(tree.console, Some(Serial::Ns16550 { at, shift: 2, width: Width::Word }));
    });
    let why = "its reg-shift and reg-io-width are none that are known";
    for wrong in [&[("reg-io-width", 2)][..], &[("reg-shift", 9)], &[("reg-io-width", 4)]] {
        with(uart(wrong), |tree| {
            assert_eq!(tree.console, None, "{wrong:?}");
            assert_eq!(told(&tree), [format!("device tree: /serial@fe201000: {why}")]);
        });
    }
}

#[test]
fn addresses_below_a_bus_are_those_that_the_processor_has_for_them() {
    let device = |at: u32| {
        let name = format!("serial@{at:x}");
        let uart = vec![bytes("compatible", b"arm,pl011\0"), cells("reg", &[0, at, 0, 0x200])];
        node(&name, uart)
    };
    // As the buses of a Raspberry Pi are: 0x7e000000 there is 0xfe000000 here.
    let ranges = [0, 0x7e00_0000, 0, 0xfe00_0000, 0, 0x180_0000];
    let console = |bus: DeviceTreeNode| {
        let blob = tree(vec![bus]);
        read(&blob).console
    };
    let mut soc = bus(&ranges);
    soc.add_child(device(0x7e20_1000));
    assert_eq!(console(soc.clone()), Some(Serial::Pl011(0xfe20_1000)));
    let mut outer = bus(&[0, 0xfe00_0000, 0x10, 0xfe00_0000, 0, 0x180_0000]);
    outer.add_child(soc);
    assert_eq!(console(outer), Some(Serial::Pl011(0x10_fe20_1000)), "through both");
    let mut soc = bus(&ranges);
    soc.add_child(device(0x7f7f_ff00));
    assert_eq!(console(soc), None, "its end lies beyond the range");
    let mut apart = node("i2c", vec![cells("#address-cells", &[2]), cells("#size-cells", &[2])]);
    apart.add_child(device(0x20));
    assert_eq!(console(apart), None, "the processor has no address for it");
}

#[test]
fn test_device_is_what_the_tree_names() {
    let mut test = node("test@100000", vec![bytes("compatible", b"sifive,test1\0syscon\0")]);
    test.add_property(cells("reg", &[0, 0x10_0000, 0, 0x1000]));
    let mut soc = bus(&[]);
    soc.add_child(test);
    with(vec![soc], |tree| assert_eq!(tree.test_device, Some(0x10_0000)));
    with(Vec::new(), |tree| assert_eq!(tree.test_device, None));
}

#[test]
fn interrupt_controller_has_two_blocks_of_registers() {
    let gic = |kind: &[u8], reg: &[u32]| {
        node("intc@8000000", vec![bytes("compatible", kind), cells("reg", reg)])
    };
    let registers = [0, 0x800_0000, 0, 0x1_0000, 0, 0x801_0000, 0, 0x1_0000];
    let (distributor, processor) = (0x800_0000, 0x801_0000);
    with(vec![gic(b"arm,cortex-a15-gic\0", &registers)], |tree| {
        assert_eq!(tree.gic, Some(Gic::V2 { distributor, processor }));
    });
    with(vec![gic(b"arm,gic-v3\0", &registers)], |tree| {
        assert_eq!(tree.gic, Some(Gic::V3 { distributor, redistributor: processor }));
    });
    for (kind, reg) in [(&b"arm,gic-v3\0"[..], &registers[..4]), (b"arm,gic-v9\0", &registers)] {
        with(vec![gic(kind, reg)], |tree| assert_eq!(tree.gic, None));
    }
}

#[test]
fn firmware_and_counter_are_read() {
    let psci = |method: &[u8]| {
        node("psci", vec![bytes("compatible", b"arm,psci-1.0\0"), bytes("method", method)])
    };
    let cpus = node("cpus", vec![cells("timebase-frequency", &[10_000_000])]);
    with(vec![psci(b"hvc\0"), cpus], |tree| {
        assert_eq!(tree.psci, Some(Conduit::Hypervisor));
        assert_eq!(tree.timebase_hz, Some(10_000_000));
    });
    with(vec![psci(b"smc\0")], |tree| assert_eq!(tree.psci, Some(Conduit::Monitor)));
    with(vec![psci(b"magic\0")], |tree| {
        assert_eq!(tree.psci, None);
        assert_eq!(told(&tree), ["device tree: /psci: its method is neither hvc nor smc"]);
    });
}

#[test]
fn memory_behind_the_image_that_nobody_has_reserved_is_free() {
    let reserved = |at: u32, len: u32| {
        let mut all = node(
            "reserved-memory",
            vec![cells("#address-cells", &[2]), cells("#size-cells", &[2])],
        );
        let name = format!("held@{at:x}");
        all.add_child(node(&name, vec![cells("reg", &[0, at, 0, len])]));
        all
    };
    let image_end = 0x8030_0000;
    let free = |tree: Parsed<'_>| tree.ram.free(image_end, u64::MAX).unwrap();
    with(vec![memory(0x8000_0000, 0x400_0000)], |tree| {
        assert_eq!(free(tree), [image_end..0x8400_0000]);
    });
    // Below the image, in the middle of what is left, at its end, and over all of it.
    for (at, len, pieces) in [
        (0x8000_0000, 0x4_0000, &[image_end..0x8400_0000][..]),
        (0x8100_0000, 0x10_0000, &[image_end..0x8100_0000, 0x8110_0000..0x8400_0000]),
        (0x83f0_0000, 0x10_0000, &[image_end..0x83f0_0000]),
        (0x8000_0000, 0x800_0000, &[]),
    ] {
        with(vec![memory(0x8000_0000, 0x400_0000), reserved(at, len)], |tree| {
            assert_eq!(free(tree), pieces, "{at:#x}");
        });
    }
    let two = vec![memory(0x8000_0000, 0x100_0000), memory(0xa000_0000, 0x200_0000)];
    with(two, |tree| {
        assert_eq!(free(tree), [image_end..0x8100_0000, 0xa000_0000..0xa200_0000]);
    });
}

/// A machine with everything that is looked at.
fn machine() -> Vec<u8> {
    let mut held = node("reserved-memory", vec![cells("#address-cells", &[2])]);
    held.add_property(cells("#size-cells", &[2]));
    held.add_child(node("held@80000000", vec![cells("reg", &[0, 0x8000_0000, 0, 0x4_0000])]));
    let uart = vec![
        bytes("compatible", b"arm,pl011\0arm,primecell\0"),
        cells("reg", &[0, 0x900_0000, 0, 8]),
    ];
    let mut soc = bus(&[]);
    soc.add_child(node("serial@9000000", uart));
    let psci = vec![bytes("compatible", b"arm,psci-1.0\0"), bytes("method", b"hvc\0")];
    let stdout = bytes("stdout-path", b"/soc/serial:115200\0");
    tree(vec![
        node("chosen", vec![bytes("bootargs", b"image=x -- ls /\0"), stdout]),
        node("cpus", vec![cells("timebase-frequency", &[10_000_000])]),
        node("psci", psci),
        memory(0x8000_0000, 0x400_0000),
        held,
        soc,
        pci(0x200_0000, 0x1000_0000, 0x1000_0000),
    ])
}

#[test]
fn path_may_leave_out_addresses_and_go_through_nodes() {
    let blob = machine();
    let parsed = read(&blob);
    assert_eq!(parsed.console, Some(Serial::Pl011(0x900_0000)));
    assert_eq!((parsed.psci, parsed.timebase_hz), (Some(Conduit::Hypervisor), Some(10_000_000)));
    let (ranges, taken) = (parsed.ram.ranges.len(), parsed.ram.taken.len());
    assert_eq!((ranges, taken, parsed.pci.len()), (1, 1, 1));
}

/// Where the structure of a tree begins and how long it is.
fn structure(blob: &[u8]) -> (usize, usize) {
    let word = |at: usize| u32::from_be_bytes(blob[at..at + 4].try_into().unwrap()) as usize;
    (word(8), word(36))
}

#[test]
fn tree_that_breaks_off_or_has_something_out_of_place_is_refused_by_its_byte() {
    let whole = machine();
    let (begin, len) = structure(&whole);
    // Every length of the structure but the whole.
    for cut in 0..len {
        let mut blob = whole.clone();
        blob[36..40].copy_from_slice(&(cut as u32).to_be_bytes());
        let fault = parse(Blob::new(&blob).unwrap(), REACH).unwrap_err();
        let Fault::Structure { at } = fault else { panic!("{fault:?}") };
        assert!((begin..=begin + cut).contains(&at), "{cut}: {at}");
    }
    // Every length of the blob but the whole: some part of it is missing.
    for cut in 0..whole.len() {
        assert_eq!(Blob::new(&whole[..cut]).unwrap_err(), Fault::Short(cut));
    }
    // Something behind the root, a property behind a node, a name that does not end.
    let end = begin + len - 4;
    let mut blob = whole.clone();
    blob[end + 3] = 4;
    let refused = |blob: &[u8]| parse(Blob::new(blob).unwrap(), REACH).unwrap_err();
    assert_eq!(refused(&blob), Fault::Structure { at: begin + len });
    let mut late = node("soc", vec![]);
    late.add_child(node("first", vec![]));
    let mut blob = tree(vec![late, node("last", vec![bytes("a", b"b")])]);
    let name = blob.windows(4).position(|bytes| bytes == b"last").unwrap();
    // The node that follows ends and begins no more: what it has becomes the root's.
    blob[name - 4..name + 8].copy_from_slice(&[0, 0, 0, 4].repeat(3));
    assert_eq!(refused(&blob), Fault::Structure { at: name + 8 });
    let mut blob = whole.clone();
    let names = u32::from_be_bytes(blob[12..16].try_into().unwrap());
    let ends = u32::from_be_bytes(blob[32..36].try_into().unwrap());
    blob[32..36].copy_from_slice(&(ends - 1).to_be_bytes());
    assert!(matches!(refused(&blob), Fault::Structure { .. }), "{names}");
}

#[test]
fn tree_with_any_byte_changed_is_read_or_refused() {
    let whole = machine();
    let look = |blob: &[u8]| {
        let Ok(parsed) = Blob::new(blob).and_then(|tree| parse(tree, REACH)) else { return };
        // Also what is made of it ends, and stays inside.
        let free = parsed.ram.free(0x8020_0000, u64::MAX);
        assert!(free.is_none_or(|free| free.iter().all(|piece| piece.start < piece.end)));
        assert!(told(&parsed).iter().all(|line| line.starts_with("device tree: ")));
    };
    for at in 0..whole.len() {
        for value in [0, 1, 2, 3, 4, 9, 0x7f, 0xff, whole[at] ^ 1, whole[at] ^ 0x80] {
            let mut blob = whole.clone();
            blob[at] = value;
            look(&blob);
        }
    }
}

#[test]
fn bytes_that_are_no_tree_of_version_17_are_refused() {
    let whole = machine();
    let mut blob = whole.clone();
    blob[0] ^= 1;
    assert_eq!(Blob::new(&blob).unwrap_err(), Fault::Magic(0xd10d_feed));
    assert_eq!(Blob::bytes_of(blob[..8].try_into().unwrap()), Err(Fault::Magic(0xd10d_feed)));
    assert_eq!(Blob::bytes_of(whole[..8].try_into().unwrap()), Ok(whole.len()));
    assert_eq!(Blob::new(&whole[..30]).unwrap_err(), Fault::Short(30));
    let mut blob = whole.clone();
    // Nothing older than version 18 can read it.
    blob[27] = 18;
    assert_eq!(Blob::new(&blob).unwrap_err(), Fault::Version(17));
}
