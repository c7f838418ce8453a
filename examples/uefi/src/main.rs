//! A UEFI application that reads an EROFS root through Block I/O, and keeps what it fetched in a
//! region on another disk.
//!
//! ```text
//! cargo build --target x86_64-unknown-uefi
//! mkdir -p esp/EFI/BOOT && cp target/x86_64-unknown-uefi/debug/rootlet-uefi-example.efi esp/EFI/BOOT/BOOTX64.EFI
//! truncate -s 16M region.img && cp ../../tests/data/tiny.erofs image.erofs
//! qemu-system-x86_64 -machine q35 -m 256 -nographic -net none \
//!     -bios /usr/share/ovmf/OVMF.fd \
//!     -drive if=virtio,format=raw,readonly=on,file=fat:esp \
//!     -drive if=virtio,format=raw,readonly=on,file=image.erofs -drive if=virtio,format=raw,file=region.img
//! ```
//! The first disk with an image is read. A region is made on the first writable disk that holds
//! nothing: one that was there before is used.
#![no_std]
#![no_main]

extern crate alloc;

mod adapter;

use adapter::FirmwareDisk;
use alloc::vec;
use rootlet::Error;
use rootlet::blob::Image;
use rootlet::cache::{Cache, CacheOptions};
use rootlet::read::Root;
use rootlet::storage::{DeviceId, Simple};
use uefi::boot::{self, SearchType};
use uefi::prelude::*;
use uefi::println;
use uefi::proto::media::block::BlockIO;
use uefi::runtime::{self, ResetType};

/// Disks that are looked at.
const DISKS: usize = 16;

#[entry]
fn main() -> Status {
    if let Err(error) = uefi::helpers::init() {
        return error.status();
    }
    let status = match disks().map(read) {
        Ok(Ok(())) => Status::SUCCESS,
        Ok(Err(error)) => {
            println!("failed: {error:#}");
            Status::ABORTED
        }
        Err(error) => error.status(),
    };
    println!("end: {status}");
    runtime::reset(ResetType::SHUTDOWN, status, None)
}

/// Returns all whole disks of the firmware.
fn disks() -> uefi::Result<Simple<FirmwareDisk, DISKS>> {
    // A firmware that boots fast has started the drivers of the boot disk alone. Most handles are of
    // no device.
    for handle in boot::locate_handle_buffer(SearchType::AllHandles)?.iter() {
        let _ = boot::connect_controller(*handle, None, None, true);
    }
    // No deadline depends on a clock here, so one that stands still serves.
    let mut storage = Simple::with_room(|| 0);
    for handle in boot::find_handles::<BlockIO>()? {
        let Ok(disk) = boot::open_protocol_exclusive::<BlockIO>(handle) else { continue };
        let media = disk.media();
        if !media.is_media_present() || media.is_logical_partition() {
            continue;
        }
        let Some(disk) = FirmwareDisk::new(disk) else {
            println!("a disk of 2^64 bytes or more is not looked at");
            continue;
        };
        if storage.add(disk).is_err() {
            println!("more than {DISKS} disks: the others are not looked at");
            break;
        }
    }
    Ok(storage)
}

fn read(mut storage: Simple<FirmwareDisk, DISKS>) -> Result<(), Error> {
    let devices: vec::Vec<DeviceId> = storage.iter().map(|(device, _)| device).collect();
    let image = devices.iter().find(|device| Image::read(&storage, **device).is_ok());
    let Some(image) = image else {
        println!("no disk holds an image");
        return Ok(());
    };
    let others = devices.iter().filter(|device| *device != image);
    let region = others.copied().find_map(|device| open_region(&mut storage, device));
    println!("image on {image}, region: {}", region.is_some());
    let root = Root::open_image(storage, region, *image)?;
    let mut out = vec![0; 64 << 10];
    for path in [b"/hello".as_slice(), b"/data"] {
        let Ok(file) = root.open(path) else { continue };
        let (mut offset, mut sum) = (0, 0x811c_9dc5_u32);
        loop {
            let len = file.read_at(offset, &mut out)?;
            if len == 0 {
                break;
            }
            sum = out[..len]
                .iter()
                .fold(sum, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
            offset += len as u64;
        }
        println!("{} {offset} {sum}", core::str::from_utf8(path).unwrap_or("?"));
    }
    let stats = root.stats();
    println!("fetched {} bytes, {} came from the region", stats.fetched_bytes, stats.hit_bytes);
    let synced = root.with_layer(|region, storage| {
        // Over a clock that stands still it counts the looks.
        region.as_mut().is_none_or(|region| region.sync(storage, 1_000_000))
    });
    println!("durable: {synced}");
    Ok(())
}

fn open_region(storage: &mut Simple<FirmwareDisk, DISKS>, device: DeviceId) -> Option<Cache> {
    // What differs between two boots: the time of day.
    let now = runtime::get_time().ok()?;
    let seconds = u128::from(now.year()) << 40
        | u128::from(now.month()) << 32
        | u128::from(now.day()) << 24
        | u128::from(now.hour()) << 16
        | u128::from(now.minute()) << 8
        | u128::from(now.second());
    let entropy = (seconds << 64 | u128::from(now.nanosecond())).to_le_bytes();
    match Cache::open(storage, &CacheOptions::new(device, entropy)) {
        Ok(region) => Some(region),
        Err(refused) => {
            println!("{device} has no region: {refused:#}");
            None
        }
    }
}
