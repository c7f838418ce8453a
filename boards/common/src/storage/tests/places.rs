//! Disks named by their places, where their serials say nothing.

use rootlet::storage::{DeviceId, Discover, DiscoverError};

use super::super::fake;
use super::{RO, content, storage};
use crate::virtio::{FILE_SYSTEM, Place};

#[test]
fn disks_of_one_serial_are_told_apart_by_their_places() {
    let mut storage = storage();
    let places = [
        Place::Address(0x1600),
        Place::Pci(0, 0x1f, 2),
        Place::Address(0x200),
        Place::Pci(1, 3, 0),
        Place::Address(0x400),
    ];
    for (number, place) in places.into_iter().enumerate() {
        let (mut found, state) = fake::disk(content(number as u8, 8), RO);
        found.place = place;
        if place == Place::Address(0x400) {
            // A share is on the bus, too.
            found.id = FILE_SYSTEM;
            state.borrow_mut().config[..5].copy_from_slice(b"share");
            state.borrow_mut().config[5..36].fill(0);
            state.borrow_mut().config[36..40].copy_from_slice(&1_u32.to_le_bytes());
        }
        storage.add(found).unwrap();
    }
    assert_eq!(storage.disk("fake"), Err(DiscoverError::Ambiguous(4)));
    for (name, disk) in [
        ("mmio:0", Some(2)),
        ("mmio:1", None),
        ("mmio:2", Some(0)),
        ("mmio:3", None),
        ("mmio:x", None),
        ("mmio:", None),
        ("pci:00:1f.2", Some(1)),
        ("pci:01:03.0", Some(3)),
        ("pci:01:03", None),
        ("pci:01:+3.0", None),
        ("pci:0:100.0", None),
        ("isa:0", None),
    ] {
        let wanted = disk.map(DeviceId).ok_or(DiscoverError::NotFound);
        assert_eq!(storage.disk(name), wanted, "{name}");
    }
}

#[test]
fn place_and_serial_of_two_disks_are_no_name() {
    let mut storage = storage();
    for (serial, at) in [(&b"mmio:1"[..], 0x200), (b"b", 0x400)] {
        let (mut found, state) = fake::disk(content(0, 8), RO);
        found.place = Place::Address(at);
        state.borrow_mut().serial = serial;
        storage.add(found).unwrap();
    }
    assert_eq!(storage.disk("mmio:1"), Err(DiscoverError::Ambiguous(2)));
    assert_eq!(storage.disk("mmio:0"), Ok(DeviceId(0)));
}
