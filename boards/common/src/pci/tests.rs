//! A bus of devices that answer as registers do, and what becomes of them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use virtio_drivers::transport::Transport;
use virtio_drivers::transport::pci::bus::{ConfigurationAccess, DeviceFunction};

use super::{Bus, Fault, Window};
use crate::virtio::Slot;
use crate::virtio::pci::{Pci, PciError};

const WINDOW: Window = Window::new(0x1000_0000, 0x1010_0000);
const REACH: u64 = 1 << 40;
/// A 64-bit memory range, as the low bits of its register say.
const WIDE: u32 = 0b100;

/// A function: its registers, and which bits of each can be written.
#[derive(Clone)]
struct Function {
    values: [u32; 64],
    writable: [u32; 64],
}

impl Function {
    fn new(header: u32) -> Self {
        let mut function = Self { values: [0; 64], writable: [0; 64] };
        function.values[0] = 0x1042_1af4;
        function.values[3] = header << 16;
        function.writable[1] = 0xffff;
        function
    }

    /// Returns the function with a memory range of `bytes`, 64 bits wide, in registers `index` and
    /// the next.
    fn with_wide(mut self, index: usize, bytes: u64, at: u64) -> Self {
        let mask = !(bytes - 1);
        self.values[4 + index] = at as u32 | WIDE;
        self.values[5 + index] = (at >> 32) as u32;
        self.writable[4 + index] = mask as u32 & !0xf;
        self.writable[5 + index] = (mask >> 32) as u32;
        self
    }

    fn with_narrow(mut self, index: usize, bytes: u32, at: u32) -> Self {
        self.values[4 + index] = at;
        self.writable[4 + index] = !(bytes - 1);
        self
    }
}

/// By bus, device and function.
type Functions = BTreeMap<(u8, u8, u8), Function>;

#[derive(Clone, Default)]
struct Fake(Rc<RefCell<Functions>>);

impl Fake {
    fn add(&self, bus: u8, device: u8, function: u8, what: Function) -> DeviceFunction {
        self.0.borrow_mut().insert((bus, device, function), what);
        DeviceFunction { bus, device, function }
    }

    fn bus(&self) -> Bus<Self> {
        // SAFETY: the devices are this test's, and none answers in memory.
        unsafe { Bus::new(self.clone(), WINDOW, |range| range.end <= REACH) }
    }
}

impl ConfigurationAccess for Fake {
    fn read_word(&self, at: DeviceFunction, register: u8) -> u32 {
        let all = self.0.borrow();
        let function = all.get(&(at.bus, at.device, at.function));
        function.map_or(u32::MAX, |function| function.values[usize::from(register / 4)])
    }

    fn write_word(&mut self, at: DeviceFunction, register: u8, value: u32) {
        let mut all = self.0.borrow_mut();
        let Some(function) = all.get_mut(&(at.bus, at.device, at.function)) else { return };
        let register = usize::from(register / 4);
        let writable = function.writable[register];
        let kept = function.values[register] & !writable;
        function.values[register] = kept | value & writable;
    }

    unsafe fn unsafe_clone(&self) -> Self {
        self.clone()
    }
}

fn found(bus: &mut Bus<Fake>) -> Vec<(u8, u8, u8)> {
    let mut all = Vec::new();
    bus.each(&mut |_, at| all.push((at.bus, at.device, at.function)));
    all
}

#[test]
fn ranges_without_an_address_get_one_each_and_the_device_is_enabled() {
    let fake = Fake::default();
    let one = Function::new(0).with_narrow(1, 0x1000, 0).with_wide(4, 0x4000, 0);
    let at = fake.add(0, 3, 0, one.clone());
    let other = fake.add(0, 4, 0, one);
    let mut bus = fake.bus();
    let places = bus.enable(at).unwrap();
    assert_eq!(places[1], Some(0x1000_0000..0x1000_1000));
    assert_eq!(places[4], Some(0x1000_4000..0x1000_8000));
    assert_eq!(places[5], None, "the upper half of the one before");
    let others = bus.enable(other).unwrap();
    assert_eq!(
        (others[1].clone(), others[4].clone()),
        (Some(0x1000_1000..0x1000_2000), Some(0x1000_8000..0x1000_c000))
    );
    let values = fake.0.borrow()[&(0, 3, 0)].values;
    assert_eq!((values[8], values[9]), (0x1000_4000 | WIDE, 0));
    // Memory alone; a device that is used is bus master, too, and raises no interrupts.
    assert_eq!(values[1] & 0x407, 0x002);
    bus.give_memory(at);
    assert_eq!(fake.0.borrow()[&(0, 3, 0)].values[1] & 0x407, 0x406);
}

#[test]
fn ranges_that_firmware_placed_stay_and_nothing_is_placed_upon_them() {
    let fake = Fake::default();
    let placed = fake.add(0, 1, 0, Function::new(0).with_wide(4, 0x4000, 0x1000_0000));
    let bare = fake.add(0, 2, 0, Function::new(0).with_wide(4, 0x4000, 0));
    let mut bus = fake.bus();
    assert_eq!(bus.enable(bare).unwrap()[4], Some(0x1000_4000..0x1000_8000));
    assert_eq!(bus.enable(placed).unwrap()[4], Some(0x1000_0000..0x1000_4000));
}

#[test]
fn range_that_somebody_placed_is_not_moved_however_high_it_lies() {
    let fake = Fake::default();
    let at = fake.add(0, 1, 0, Function::new(0).with_wide(4, 0x4000, 0x40_0000_0000));
    let beyond = fake.add(0, 2, 0, Function::new(0).with_wide(4, 0x4000, 0x400_0000_0000));
    let mut bus = fake.bus();
    let place = bus.enable(at).unwrap()[4].clone().unwrap();
    assert_eq!((place.clone(), bus.map(&place)), (0x40_0000_0000..0x40_0000_4000, Ok(())));
    let place = bus.enable(beyond).unwrap()[4].clone().unwrap();
    assert_eq!(bus.map(&place), Err(Fault::Unreachable { address: 0x400_0000_0000 }));
    let upper = |device: u8| fake.0.borrow()[&(0, device, 0)].values[9];
    assert_eq!((upper(1), upper(2)), (0x40, 0x400));
}

#[test]
fn device_for_which_there_is_no_room_is_told_with_its_size() {
    let fake = Fake::default();
    let at = fake.add(0, 1, 0, Function::new(0).with_wide(4, 0x20_0000, 0));
    assert_eq!(fake.bus().enable(at), Err(Fault::NoRoom { bytes: 0x20_0000 }));
}

#[test]
fn functions_and_buses_behind_bridges_are_found_once() {
    let fake = Fake::default();
    assert!(!fake.bus().has_bridge());
    fake.add(0, 0, 0, Function::new(0));
    assert!(fake.bus().has_bridge());
    fake.add(0, 1, 0, Function::new(0x80));
    fake.add(0, 1, 5, Function::new(0));
    // Not a function of a device that has only one.
    fake.add(0, 0, 3, Function::new(0));
    let mut bridge = Function::new(1);
    bridge.values[6] = 0x0002_0200;
    fake.add(0, 2, 0, bridge.clone());
    fake.add(2, 0, 0, Function::new(0));
    // A bridge that firmware has not numbered, and one that names itself.
    bridge.values[6] = 0;
    fake.add(0, 3, 0, bridge.clone());
    bridge.values[6] = 0x0000_0000;
    fake.add(2, 1, 0, bridge);
    assert_eq!(found(&mut fake.bus()), [(0, 0, 0), (0, 1, 0), (0, 1, 5), (2, 0, 0)]);
}

#[test]
fn list_of_capabilities_that_bites_its_tail_ends() {
    let fake = Fake::default();
    let mut function = Function::new(0);
    function.values[1] = 1 << 20;
    function.values[13] = 0x40;
    function.values[16] = 0x0000_4409;
    function.values[17] = 0x0000_4011;
    let at = fake.add(0, 1, 0, function);
    let bus = fake.bus();
    assert_eq!(bus.capabilities(at).count(), super::CAPABILITIES_MAX);
    let ids: Vec<u8> = bus.capabilities(at).take(3).map(|capability| capability.id).collect();
    assert_eq!(ids, [0x09, 0x11, 0x09]);
    // Below 0x40 are the registers of the header, and no capability.
    fake.0.borrow_mut().get_mut(&(0, 1, 0)).unwrap().values[13] = 0x3c;
    assert_eq!(bus.capabilities(at).count(), 0);
}

/// Returns a structure of virtio in the memory of register 4, as a capability at `at` names it.
fn structure(function: &mut Function, at: usize, next: u32, kind: u32, offset: u32, length: u32) {
    let words = [kind << 24 | 20 << 16 | next << 8 | 0x09, 4, offset, length, 4];
    function.values[at / 4..at / 4 + 5].copy_from_slice(&words);
}

fn probed(id: u32, fill: impl FnOnce(&mut Function)) -> Slot<Pci> {
    let fake = Fake::default();
    let mut function = Function::new(0).with_wide(4, 0x4000, 0);
    function.values[0] = id;
    function.values[1] = 1 << 20;
    function.values[13] = 0x40;
    fill(&mut function);
    let at = fake.add(0, 1, 0, function);
    // SAFETY: the function is looked at once; none of these comes so far as to touch memory.
    unsafe { Pci::probe(&mut fake.bus(), at) }
}

#[test]
fn virtio_device_that_names_memory_beyond_its_own_is_not_used() {
    let outside = [(0x3fff, 0x38), (0, 0x4001), (u32::MAX, 2), (0x4000, 0x38)];
    for (offset, length) in outside {
        let slot = probed(0x1042_1af4, |function| {
            structure(function, 0x40, 0x60, 1, offset, length);
            structure(function, 0x60, 0, 2, 0, 0x1000);
        });
        assert!(matches!(slot, Slot::Broken(PciError::Structure(1))), "{offset:#x} {slot:?}");
    }
    let slot = probed(0x1042_1af4, |function| structure(function, 0x40, 0, 1, 0, 0x38));
    assert!(matches!(slot, Slot::Broken(PciError::Structure(2))), "{slot:?}");
    let Slot::Broken(error) = slot else { return };
    assert!(error.to_string().starts_with("its notification structure is missing"), "{error}");
}

/// Memory of a device, as large as its range and aligned to it.
#[repr(align(0x4000))]
struct Memory([u8; 0x4000]);

/// The common structure stands first, then `length` bytes of doorbells; queue 1's doorbell is at
/// `offset` times `multiplier`.
#[test]
fn queue_is_on_only_if_its_doorbell_lies_whole_in_the_structure() {
    const NOTIFY: usize = 0x1000;
    for (length, offset, multiplier, rings_at) in [
        (2, 0, 4, Some(0)),
        (6, 1, 4, Some(4)),
        (4, 1, 2, Some(2)),
        // All queues have one.
        (2, 7, 0, Some(0)),
        (0x1000, 0x7ff, 2, Some(0xffe)),
        (0, 0, 4, None),
        (1, 0, 4, None),
        (3, 1, 2, None),
        (4, 1, 4, None),
        (5, 1, 4, None),
        // Not aligned to its width.
        (4, 1, 1, None),
        (0x1000, 0x800, 2, None),
        (0x1000, 0xffff, u32::MAX, None),
    ] {
        let case = format!("{length} {offset} {multiplier}");
        let mut memory = std::boxed::Box::new(Memory([0; 0x4000]));
        memory.0[30..32].copy_from_slice(&u16::to_le_bytes(offset));
        let memory = std::boxed::Box::into_raw(memory);
        let fake = Fake::default();
        let address = memory.expose_provenance() as u64;
        let mut function = Function::new(0).with_wide(4, 0x4000, address);
        function.values[1] = 1 << 20;
        function.values[13] = 0x40;
        structure(&mut function, 0x40, 0x60, 1, 0, 0x38);
        structure(&mut function, 0x60, 0, 2, NOTIFY as u32, length);
        function.values[0x70 / 4] = multiplier;
        let at = fake.add(0, 1, 0, function);
        // SAFETY: the device is this test's, and so is its memory.
        let mut bus = unsafe { Bus::new(fake, WINDOW, |_| true) };
        // SAFETY: the function is looked at once.
        let slot = unsafe { Pci::probe(&mut bus, at) };
        let Slot::Device(found) = slot else { panic!("{case}: {slot:?}") };
        let mut pci = found.transport;
        pci.queue_set(1, 16, 0x1000, 0x2000, 0x3000);
        assert_eq!(pci.queue_used(1), rings_at.is_some(), "{case}");
        pci.notify(1);
        // SAFETY: as it was made above, and nobody uses it from here on.
        let memory = unsafe { std::boxed::Box::from_raw(memory) };
        let rung = memory.0[NOTIFY..].iter().position(|byte| *byte != 0);
        assert_eq!(rung, rings_at, "{case}");
        assert!(rung.is_none_or(|rung| memory.0[NOTIFY + rung..][..2] == [1, 0]), "{case}");
    }
}

#[test]
fn virtio_device_that_nobody_wants_is_left_as_it_is() {
    let fake = Fake::default();
    let mut function = Function::new(0).with_wide(4, 0x4000, 0);
    // A source of entropy.
    function.values[0] = 0x1044_1af4;
    let at = fake.add(0, 1, 0, function.clone());
    // SAFETY: the function is looked at once; none of these comes so far as to touch memory.
    let slot = unsafe { Pci::probe(&mut fake.bus(), at) };
    assert!(matches!(slot, Slot::Other(0x1044)), "{slot:?}");
    assert_eq!(fake.0.borrow()[&(0, 1, 0)].values, function.values);
}

#[test]
fn old_device_and_what_is_none_of_virtio_are_told_apart() {
    let none = |_: &mut Function| {};
    assert!(matches!(probed(0x1001_1af4, |function| function.values[11] = 2 << 16), Slot::Legacy));
    assert!(matches!(probed(0x1110_1af4, none), Slot::Other(0x1110)), "ivshmem");
    assert!(matches!(probed(0x2922_8086, none), Slot::Other(0x2922)));
}
