//! A built image mounted over simulated disks, for tests that need one image each.
//!
//! Always: disk `image` is the primary device, disk `blobN` the source of slot N, disk `cache`,
//! where there is one, the region.

use rootlet::storage::DeviceId;
use rootlet_sim::disk::{SimStorage, Sparse, World};
use rootlet_sim::image::{Built, Image, Options, Tree, build};

use crate::guest::Guest;

/// A mounted image and the world below it.
pub struct Mount {
    /// The world.
    pub world: World,
    /// The devices: the image, then the blobs.
    pub devices: Vec<DeviceId>,
    /// The root, and commands over it.
    pub guest: Guest<SimStorage>,
}

/// Builds an image of `tree` and mounts it without a region.
pub fn tree(tree: &Tree, options: &Options) -> Mount {
    built(&build(tree, options).unwrap()).unwrap()
}

/// Mounts `built` without a region.
///
/// # Errors
/// The message that a user would see.
pub fn built(built: &Built) -> Result<Mount, String> {
    let world = World::new(7);
    let devices = plug(&world, built);
    let guest = Guest::mount(world.attach(), &line(built.blobs.len()), 1)?;
    Ok(Mount { world, devices, guest })
}

/// Mounts an image without blobs.
///
/// # Errors
/// The message that a user would see.
pub fn image(image: &Image) -> Result<Mount, String> {
    built(&Built { image: image.clone(), blobs: Vec::new() })
}

/// Adds the image and its blobs to a world.
pub fn plug(world: &World, built: &Built) -> Vec<DeviceId> {
    let mut devices = vec![world.blob("image", &built.image)];
    for (number, blob) in built.blobs.iter().enumerate() {
        devices.push(world.blob(&format!("blob{}", number + 1), blob));
    }
    devices
}

/// Adds an empty region to a world.
pub fn plug_region(world: &World, bytes: u64) -> DeviceId {
    world.disk("cache", 512, Sparse::zeros(bytes))
}

/// The command line for an image with this many blobs.
pub fn line(blobs: usize) -> String {
    let blobs = (1..=blobs).map(|slot| format!(" blob{slot}=blob{slot}"));
    format!("image=image{}", blobs.collect::<String>())
}
