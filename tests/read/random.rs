//! Random trees, layouts, devices and reads against the tree itself; and the same over a region.

use proptest::prelude::*;
use rootlet::storage::DeviceId;
use rootlet_guest::SYNC_TIME;
use rootlet_sim::Rng;
use rootlet_sim::disk::{Sparse, World};
use rootlet_sim::image::random::{pick, some_image, tree};
use rootlet_sim::image::{Built, Options};

use crate::cases::cases;
use crate::guest::Guest;
use crate::oracle;

/// Plugs the parts in as disks and shared files, by name or by tag, and returns the line that
/// mounts them.
fn plug(world: &World, rng: &mut Rng, options: &Options, built: &Built) -> String {
    // A slot inside of the image begins on a block, which has to be whole sectors.
    let small = options.flattened && options.block_bits < 12;
    let sector = if small { 512 } else { pick(rng, &[512, 4096]) };
    let image = world.disk("image", sector, &built.image);
    let mut devices = vec![image];
    let mut line = "image=image".to_string();
    for (number, blob) in built.blobs.iter().enumerate() {
        let slot = number + 1;
        let tag = format!("tag-of-blob-{number}-and-more");
        let sector = pick(rng, &[512, 4096]);
        devices.push(match rng.below(4) {
            0 => {
                line.push_str(&format!(" blob{slot}=d{slot}"));
                world.disk(&format!("d{slot}"), sector, blob)
            }
            1 => {
                line.push_str(&format!(" blob{slot}=share:sub/{slot}"));
                world.share_file("share", &format!("sub/{slot}"), blob)
            }
            2 => world.disk(&tag[..20], sector, blob),
            _ => world.share_file("share", &tag, blob),
        });
    }
    for device in devices {
        world.set_read_only(device, true);
        world.set_transfer_max(device, pick(rng, &[4096, 8192, 65_536, 1 << 20]));
    }
    line
}

fn region(world: &World, rng: &mut Rng) -> DeviceId {
    // From too small for the image to large enough for all of it.
    let bytes = pick(rng, &[512 << 10, 1 << 20, 4 << 20, 16 << 20]);
    let region = world.disk("cache", pick(rng, &[512, 4096]), Sparse::zeros(bytes));
    world.set_transfer_max(region, pick(rng, &[262_144, 1 << 20]));
    region
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn any_image_reads_as_the_tree_that_it_was_made_of(seed in any::<u64>()) {
        let rng = &mut Rng::new(seed);
        let tree = tree(rng);
        let (options, built) = some_image(rng, &tree);
        let world = World::new(seed);
        let line = plug(&world, rng, &options, &built);
        let guest = Guest::mount(world.attach(), &line, 1);
        let guest = guest.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let outcome = oracle::compare(&guest.root, &tree, &options, rng);
        prop_assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
    }

    #[test]
    fn region_changes_no_byte_of_any_read(seed in any::<u64>()) {
        let rng = &mut Rng::new(seed);
        let tree = tree(rng);
        let (options, built) = some_image(rng, &tree);
        let world = World::new(seed);
        let line = plug(&world, rng, &options, &built) + " cache=cache";
        region(&world, rng);
        for boot in 1..4 {
            let guest = Guest::mount(world.attach(), &line, boot);
            let guest = guest.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            let notice = guest.notices.last().unwrap();
            prop_assert!(notice.starts_with("region  disk cache"), "{notice}");
            for _ in 0..2 {
                let outcome = oracle::compare(&guest.root, &tree, &options, rng);
                prop_assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
            }
            let cache = guest.counters().cache.unwrap();
            prop_assert_eq!((cache.region_faults, cache.check_failures), (0, 0));
            prop_assert!(guest.root.sync(SYNC_TIME));
        }
    }
}
