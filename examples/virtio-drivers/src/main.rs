//! A small riscv64 kernel that reads an EROFS root through the crate virtio-drivers, and keeps what it
//! fetched in a region on another disk.
//!
//! ```text
//! cargo build --target riscv64gc-unknown-none-elf
//! truncate -s 16M region.img
//! qemu-system-riscv64 -machine virt -m 128 -nographic -global virtio-mmio.force-legacy=false \
//!     -drive if=none,id=a,format=raw,readonly=on,file=../../tests/data/tiny.erofs \
//!     -device virtio-blk-device,drive=a,serial=image \
//!     -drive if=none,id=b,format=raw,file=region.img -device virtio-blk-device,drive=b,serial=cache \
//!     -kernel target/riscv64gc-unknown-none-elf/debug/rootlet-virtio-drivers-example
//! ```
#![no_std]
#![no_main]

extern crate alloc;

mod adapter;
mod machine;

use core::fmt::Write as _;

use adapter::BlkDisk;
use alloc::vec;
use machine::{Console, Memory, now_ns};
use rootlet::Error;
use rootlet::blob::SourceName;
use rootlet::cache::{Cache, CacheOptions};
use rootlet::read::Root;
use rootlet::storage::{DeviceId, Discover as _, Simple, Storage as _};
use virtio_drivers::transport::mmio::MmioTransport;

type Disks = Simple<BlkDisk<Memory, MmioTransport<'static>>, 8>;

/// How long the region may take to make durable what it took in, in nanoseconds.
const SYNC_NS_MAX: u64 = 5_000_000_000;

macro_rules! say {
    ($($word:tt)*) => {
        // A console that fails is no reason to.
        let _ = writeln!(Console, $($word)*);
    };
}

/// Reads the image on the disk `image`, over a region on the disk `cache` if there is one.
pub(crate) fn run() -> Result<(), ()> {
    let mut storage = Disks::with_room(now_ns);
    for transport in machine::block_devices() {
        if let Err(error) = add(&mut storage, transport) {
            say!("a disk does not start: {error}");
        }
    }
    read(storage).map_err(|error| {
        say!("failed: {error:#}");
    })
}

fn add(storage: &mut Disks, transport: MmioTransport<'static>) -> virtio_drivers::Result<()> {
    let disk = BlkDisk::new(transport)?;
    // `virt` has no more places for devices than there is room for.
    storage.add(disk).map(|_| ()).map_err(|_| virtio_drivers::Error::QueueFull)
}

fn read(mut storage: Disks) -> Result<(), Error> {
    let image = SourceName::Disk("image").find(&mut storage)?;
    let region = storage.disk("cache").ok().and_then(|device| open_region(&mut storage, device));
    let root = Root::open_image(storage, region, image)?;
    let mut out = vec![0; 64 << 10];
    for path in ["/hello", "/data"] {
        let Ok(file) = root.open(path.as_bytes()) else { continue };
        let (mut offset, mut sum) = (0, 0x811c_9dc5_u32);
        loop {
            let len = file.read_at(offset, &mut out)?;
            if len == 0 {
                break;
            }
            for byte in &out[..len] {
                sum = (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
            }
            offset += len as u64;
        }
        say!("{path} {offset} {sum}");
    }
    let stats = root.stats();
    say!("fetched {} bytes, {} came from the region", stats.fetched_bytes, stats.hit_bytes);
    let durable = root.with_layer(|region, storage| {
        let until = storage.now_ns() + SYNC_NS_MAX;
        region.as_mut().is_none_or(|region| region.sync(storage, until))
    });
    say!("durable: {durable}");
    Ok(())
}

fn open_region(storage: &mut Disks, device: DeviceId) -> Option<Cache> {
    // What differs between two boots, as far as this machine knows anything that does.
    let entropy = u128::from(now_ns()).to_le_bytes();
    match Cache::open(storage, &CacheOptions::new(device, entropy)) {
        Ok(region) => Some(region),
        Err(refused) => {
            say!("without a region: {refused:#}");
            None
        }
    }
}
