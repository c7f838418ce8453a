//! Nodes that count for nothing, or cannot be used.

use super::*;

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
