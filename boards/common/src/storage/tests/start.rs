//! The storage against devices that cannot be used: each is reported by its place, with the reason,
//! and passed over.

extern crate std;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use rootlet::storage::Storage;

use super::super::fake::{self, Manner, Reset};
use super::{A, RO, content, storage};
use crate::virtio::FILE_SYSTEM;
use crate::virtio::device::StartError;

#[test]
fn disk_that_cannot_be_started_is_told_by_its_place_and_passed_over() {
    let start = |change: &dyn Fn(&mut fake::State)| {
        let (found, state) = fake::disk(content(3, 8), 0);
        change(&mut state.borrow_mut());
        storage().add(found).map_err(|unusable| unusable.error)
    };
    assert_eq!(start(&|_| {}), Ok(()));
    assert_eq!(start(&|disk| disk.manner = Manner::Removed), Err(StartError::Gone));
    let in_use = |disk: &mut fake::State| {
        disk.status = virtio_drivers::transport::DeviceStatus::DRIVER_OK;
        disk.reset = Reset::Fails;
    };
    assert_eq!(start(&in_use), Err(StartError::Reset));
    assert_eq!(start(&|disk| disk.entries_max = 0), Err(StartError::Queue(0)));
    assert_eq!(start(&|disk| disk.generations = vec![0, 1]), Err(StartError::Changing));
    assert_eq!(start(&|disk| disk.config[..8].fill(0xff)), Err(StartError::Capacity(u64::MAX)));
}

#[test]
fn share_without_a_request_queue_is_refused_by_the_field_that_says_so() {
    for queues in [0, 1] {
        let (mut found, state) = fake::disk(Vec::new(), 0);
        found.id = FILE_SYSTEM;
        state.borrow_mut().config[..5].copy_from_slice(b"share");
        state.borrow_mut().config[5..36].fill(0);
        state.borrow_mut().config[36..40].copy_from_slice(&u32::to_le_bytes(queues));
        let mut storage = storage();
        let started = storage.add(found).map_err(|unusable| unusable.error);
        let name = "num_request_queues";
        let refused = Err(StartError::Field { name, value: 0, wanted: "1 or more" });
        assert_eq!(started, if queues == 0 { refused } else { Ok(()) });
        assert_eq!(storage.mount_tags().collect::<Vec<_>>(), ["share"][..queues as usize]);
    }
}

#[test]
fn configuration_that_changes_while_it_is_read_is_read_again() {
    let (found, state) = fake::disk(content(3, 8), 0);
    state.borrow_mut().generations = vec![0, 1, 1, 1];
    storage().add(found).unwrap();
    assert_eq!(state.borrow().looks.get(), 4);
}

#[test]
fn configuration_of_which_no_transfer_can_be_made_is_refused_by_its_field_and_number() {
    const FIELDS: [(&str, u64, usize); 3] =
        [("size_max", 1 << 1, 8), ("seg_max", 1 << 2, 12), ("blk_size", 1 << 6, 20)];
    let start = |says: &[(&str, u32)]| {
        let named = |name| FIELDS.into_iter().find(|field| field.0 == name).unwrap();
        let features = says.iter().map(|(name, _)| named(*name).1).sum();
        let (found, state) = fake::disk(content(3, 64), features);
        for (name, value) in says {
            state.borrow_mut().config[named(*name).2..][..4].copy_from_slice(&value.to_le_bytes());
        }
        let mut storage = storage();
        storage.add(found).map_err(|unusable| unusable.to_string())?;
        let info = storage.info(A).unwrap();
        Ok((info.sector_bytes, info.transfer_bytes_max))
    };
    let all: u32 = 4 << 20;
    assert_eq!(start(&[]), Ok((512, all)));
    for sector in [512, 1024, 2048, 4096] {
        assert_eq!(start(&[("blk_size", sector)]), Ok((sector, all)));
        let limits = [("blk_size", sector), ("size_max", sector + 511), ("seg_max", 1)];
        assert_eq!(start(&limits), Ok((sector, (sector + 511) / sector * sector)));
    }
    assert_eq!(start(&[("size_max", 0)]), Ok((512, all)), "no limit");
    let refused = |name: &str, value: u32, wanted: &str| -> Result<(u32, u32), String> {
        let configuration = format!("its configuration has {name} {value}; it may be {wanted}");
        Err(format!("virtio device 2 at 0x0: {configuration}"))
    };
    for size in [0, 1, 3, 256, 513, 8192, 65536, 3 << 30, u32::MAX] {
        let wanted = "a power of two from 512 to 4096";
        assert_eq!(start(&[("blk_size", size)]), refused("blk_size", size, wanted));
    }
    for (sector, size_max) in [(512, 1), (512, 511), (4096, 512), (4096, 4095)] {
        let started = start(&[("blk_size", sector), ("size_max", size_max)]);
        assert_eq!(started, refused("size_max", size_max, "0 for no limit, or blk_size at least"));
    }
    assert_eq!(start(&[("seg_max", 0)]), refused("seg_max", 0, "one segment at least"));
}

#[test]
fn features_of_the_platform_are_taken_and_another_one_that_is_a_must_is_named() {
    const ACCESS_PLATFORM: u64 = 1 << 33;
    const ORDER_PLATFORM: u64 = 1 << 36;
    let start = |offered: u64, insists: u64| {
        let (found, state) = fake::disk(content(3, 8), offered);
        state.borrow_mut().insists = insists;
        storage().add(found).map_err(|unusable| unusable.to_string())
    };
    let platform = ACCESS_PLATFORM | ORDER_PLATFORM;
    assert_eq!(start(platform, platform), Ok(()));
    let left = "it does not run without one of the features that are not taken:";
    assert_eq!(
        start(ACCESS_PLATFORM | RO | 1 << 34 | 1 << 50 | 1 << 12, 1 << 50),
        Err(format!("virtio device 2 at 0x0: {left} 12 VIRTIO_F_RING_PACKED 50"))
    );
}
