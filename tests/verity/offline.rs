//! Boots whose sources are not there: what the region has of blobs and trees is verified.
//!
//! Always: right bytes or an error.

use rootlet_guest::{SYNC_TIME, keep_trees};
use rootlet_sim::disk::{Sparse, Survive, World};

use crate::region::filled;
use crate::world::{Made, made, mount, padded};

const REGION: u64 = 4 << 20;

/// Reads all files, has the trees kept, and returns the region.
fn warmed(made: &Made, region: &Sparse) -> Sparse {
    let (world, ..) = made.world();
    let disk = world.disk("cache", 512, region.clone());
    let guest = mount(&world, &format!("{} cache=cache", made.line())).unwrap();
    assert!(made.read_all(&guest).iter().all(Result::is_ok));
    keep_trees(&guest.root).unwrap();
    assert!(guest.root.leave(SYNC_TIME));
    world.crash_image(disk, Survive::Everything).0
}

/// Returns a world with the image, its tree and the region alone, and the words of a boot.
fn away(made: &Made, region: &[u8]) -> (World, String) {
    let world = World::new(1);
    world.blob("image", padded(&made.parts[0].data));
    world.blob("image.v", padded(&made.parts[0].tree));
    world.disk("cache", 512, Sparse::from(region));
    (world, format!("{} cache=cache", made.line()))
}

#[test]
fn boot_without_sources_is_verified_out_of_the_region() {
    // Trees with two levels, and one whose blob is a block.
    for (seed, bytes) in [(20, 900_000), (21, 100), (22, 100_000)] {
        let made = made(seed, bytes);
        let region = warmed(&made, &Sparse::zeros(REGION));
        let (world, line) = away(&made, &region.to_vec());
        let guest = mount(&world, &line).unwrap();
        let read = made.read_all(&guest);
        assert!(read.iter().all(Result::is_ok), "{bytes}: {read:?}");
        let stats = guest.root.storage().stats();
        assert_eq!((stats.wrong, stats.wrong_elsewhere), (0, 0), "{stats:?}");
        assert!(stats.verified_bytes > bytes as u64, "{stats:?}");
    }
}

#[test]
fn region_without_its_trees_serves_nothing_if_the_sources_are_away() {
    let made = made(23, 300_000);
    let region = filled(&made, &made, &Sparse::zeros(REGION));
    let (world, line) = away(&made, &region.to_vec());
    let guest = mount(&world, &line).unwrap();
    assert!(made.read(&guest, 0).is_err());
}

#[test]
fn without_sources_a_region_that_was_changed_gives_right_bytes_or_errors() {
    let made = made(24, 300_000);
    let right = warmed(&made, &Sparse::zeros(REGION)).to_vec();
    let mut mixed = right.clone();
    // Each block of the region, exchanged with another, and with a bit that is changed.
    let (mut right_reads, mut errors) = (0, 0);
    let used: Vec<usize> = (0..right.len() / 4096)
        .filter(|block| right[block * 4096..][..4096].iter().any(|byte| *byte != 0))
        .collect();
    for (number, block) in used.iter().enumerate().step_by(3) {
        mixed.copy_from_slice(&right);
        match number % 2 {
            0 => mixed[block * 4096 + number % 4096] ^= 0x20,
            _ => {
                let other = used[(number * 7) % used.len()];
                mixed.copy_within(other * 4096..(other + 1) * 4096, block * 4096);
            }
        }
        let (world, line) = away(&made, &mixed);
        let Ok(guest) = mount(&world, &line) else { continue };
        // `read` panics at other bytes.
        for read in made.read_all(&guest) {
            if read.is_ok() { right_reads += 1 } else { errors += 1 }
        }
    }
    assert!(right_reads > 20 && errors > 5, "{right_reads} right, {errors} errors");
}
