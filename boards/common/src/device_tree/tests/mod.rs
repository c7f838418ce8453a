//! Trees of machines, and what is read of them.

mod broken;
mod identity;
mod random;
mod told;

use dtoolkit::fdt::Fdt;
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};
use rootlet_handover::tree::{Blob, Fault};

use super::parse::{Distrust, Parsed, parse};
use super::{Conduit, Gic};
use crate::pci::{Access, Host, Window};
use crate::uart::{Serial, Width};

const REACH: u64 = 512 << 30;

fn bytes(name: &str, value: &[u8]) -> DeviceTreeProperty {
    DeviceTreeProperty::new(name, value).unwrap()
}

fn cells(name: &str, value: &[u32]) -> DeviceTreeProperty {
    let value: Vec<u8> = value.iter().flat_map(|cell| cell.to_be_bytes()).collect();
    bytes(name, &value)
}

fn node(name: &str, properties: Vec<DeviceTreeProperty>) -> DeviceTreeNode {
    let mut node = DeviceTreeNode::new(name).unwrap();
    properties.into_iter().for_each(|property| node.add_property(property));
    node
}

/// Returns a tree with two cells each for addresses and sizes, as all machines here have.
fn tree(children: Vec<DeviceTreeNode>) -> Vec<u8> {
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

/// Returns what is said of nodes that are not used.
fn told(tree: &Parsed<'_>) -> Vec<String> {
    let mut told = Vec::new();
    tree.told.each(|line| told.push(line.to_string()));
    told
}

fn memory(start: u32, len: u32) -> DeviceTreeNode {
    let name = format!("memory@{start:x}");
    node(&name, vec![bytes("device_type", b"memory\0"), cells("reg", &[0, start, 0, len])])
}

/// Returns a bus with two cells each for addresses and sizes.
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
fn processors_that_psci_starts_are_known_by_their_affinity() {
    let cpu = |at: u32, method: &[u8], reg: &[u32]| {
        let kind = bytes("device_type", b"cpu\0");
        let properties = vec![kind, bytes("enable-method", method), cells("reg", reg)];
        node(&format!("cpu@{at:x}"), properties)
    };
    let processors = |children: Vec<DeviceTreeNode>| {
        let sizes = vec![cells("#address-cells", &[2]), cells("#size-cells", &[0])];
        let mut cpus = node("cpus", sizes);
        children.into_iter().for_each(|child| cpus.add_child(child));
        let blob = tree(vec![cpus]);
        read(&blob).processors.to_vec()
    };
    let psci = b"psci\0";
    assert_eq!(
        processors(vec![cpu(0, psci, &[0, 0]), cpu(0x101, psci, &[1, 0x101])]),
        [0, 1 << 32 | 0x101]
    );
    // The first two; with words of 32 bits, too.
    let many = (0..5).map(|number| cpu(number, psci, &[number])).collect();
    assert_eq!(processors(many), [0, 1]);
    // The SBI starts all, and no tree says so.
    let kind = || bytes("device_type", b"cpu\0");
    let harts =
        [0, 1].map(|hart| node(&format!("cpu@{hart}"), vec![kind(), cells("reg", &[hart])]));
    assert_eq!(processors(harts.into()), [0, 1]);
    // By another method, off, without a number, something else.
    let mut off = cpu(2, psci, &[2]);
    off.add_property(bytes("status", b"disabled\0"));
    let map = node("cpu-map", vec![cells("reg", &[4]), bytes("enable-method", psci)]);
    let bare = node("cpu@5", vec![bytes("device_type", b"cpu\0"), bytes("enable-method", psci)]);
    let others = vec![cpu(1, b"spin-table\0", &[1]), off, bare, map, cpu(7, psci, &[7])];
    assert_eq!(processors(others), [7]);
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

/// Returns a machine with everything that is looked at.
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
