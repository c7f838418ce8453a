//! Regions that an enemy wrote: with the region's own checks right, which need no key that the
//! enemy does not have.
//!
//! Always: right bytes while the sources are there; without them right bytes or an error.

use embedded_io::Read;
use rootlet::storage::DeviceId;
use rootlet_guest::SYNC_TIME;
use rootlet_sim::disk::{Sparse, Survive, World};

use crate::world::{Made, made, made_as, mount, stride};

const REGION: u64 = 4 << 20;

/// Reads all files of `sources` over a region without verifying, as if they were those of `pinned`,
/// and returns the region: what an enemy can write who holds the region for a while.
pub fn filled(sources: &Made, pinned: &Made, region: &Sparse) -> Sparse {
    let (world, ..) = sources.world();
    let disk = world.disk("cache", 512, region.clone());
    let line = format!("{} cache=cache", sources.plain_line());
    let mut guest = Made::mount_as(pinned, &world, &line).unwrap();
    guest.run(&["manifest", "/"]).unwrap();
    assert!(guest.root.leave(SYNC_TIME));
    world.crash_image(disk, Survive::Everything).0
}

/// Returns the same image with blobs of which each block is changed: consistent for a region, which
/// knows blobs by their names.
pub fn forged(made: &Made) -> Made {
    let mut parts = made.parts.clone();
    for part in parts.iter_mut().skip(1) {
        part.data.iter_mut().step_by(4096).for_each(|byte| *byte ^= 1);
    }
    Made { parts, files: made.files.clone() }
}

pub fn with_region(made: &Made, region: &Sparse) -> (World, String) {
    let (world, ..) = made.world();
    world.disk("cache", 512, region.clone());
    (world, format!("{} cache=cache", made.line()))
}

#[test]
fn region_with_other_bytes_and_right_checks_is_not_believed() {
    let made = made(3, 300_000);
    let region = filled(&forged(&made), &made, &Sparse::zeros(REGION));
    // The enemy's region works: without digests its bytes are served.
    let (world, line) = with_region(&made, &region);
    let plain = format!("{} cache=cache", made.plain_line());
    let mut believer = Made::mount_as(&made, &world, &plain).unwrap();
    assert_ne!(believer.run(&["cat", "/f0"]).unwrap(), made.files[0].1);
    drop(believer);
    let guest = mount(&world, &line).unwrap();
    assert!(guest.notices.iter().any(|told| told.starts_with("region  disk cache: ")));
    assert!(made.read_all(&guest).iter().all(Result::is_ok));
    let stats = guest.root.storage().stats();
    assert!(stats.wrong_elsewhere > 0 && stats.wrong == 0, "{stats:?}");
    // By streams, whose reads are jobs.
    let (world, line) = with_region(&made, &region);
    let guest = mount(&world, &line).unwrap();
    for (path, content) in &made.files {
        let mut stream = guest.root.stream(path.as_bytes()).unwrap();
        let (mut found, mut piece) = (Vec::<u8>::new(), vec![0; 20_000]);
        loop {
            let len = stream.read(&mut piece).unwrap();
            if len == 0 {
                break;
            }
            found.extend(&piece[..len]);
        }
        assert!(found == *content, "{path}");
    }
    let stats = guest.root.storage().stats();
    assert!(stats.wrong_elsewhere > 0 && stats.wrong == 0, "{stats:?}");
}

#[test]
fn region_that_was_prefetched_from_an_enemy_puts_nothing_into_memory() {
    let made = made(4, 200_000);
    let region = filled(&forged(&made), &made, &Sparse::zeros(REGION));
    let (world, line) = with_region(&made, &region);
    let guest = mount(&world, &line).unwrap();
    guest.root.prefetch();
    for _ in 0..200 {
        guest.root.progress();
        world.advance_ns(1_000_000);
    }
    assert!(made.read_all(&guest).iter().all(Result::is_ok));
}

#[test]
fn right_region_serves_what_changed_sources_do_not_have_any_more() {
    let made = made(5, 300_000);
    let region = filled(&made, &made, &Sparse::zeros(REGION));
    let (world, data, _) = made.world();
    world.disk("cache", 512, region);
    let line = format!("{} cache=cache", made.line());
    // All but the first block of each blob, which proves nothing here: their trees have levels.
    for (device, part) in data.iter().zip(&made.parts).skip(1) {
        world.poke(*device, 0, &vec![0x5a; part.data.len()]);
    }
    let guest = mount(&world, &line).unwrap();
    assert!(made.read_all(&guest).iter().all(Result::is_ok));
    let stats = guest.root.storage().stats();
    assert_eq!((stats.wrong, stats.wrong_elsewhere), (0, 0), "{stats:?}");
    assert!(guest.counters().read.hits > 0);
}

/// Bytes of a blob whose blocks are exchanged, and of one whose every byte may be changed.
const SMALL: usize = 9000;
const TINY: usize = 300;
/// Bytes of a region for two such blobs.
const SMALL_REGION: u64 = (40 + 2 + 3 * 16) * 4096;
/// The number of the region's device after those of the parts and their trees.
const CACHE: DeviceId = DeviceId(6);

#[test]
fn changed_byte_of_a_region_costs_a_fetch_and_no_wrong_byte() {
    let made = made(6, TINY);
    let region = filled(&made, &made, &Sparse::zeros(SMALL_REGION));
    let bytes = region.to_vec();
    let used: Vec<usize> =
        (0..bytes.len()).filter(|at| bytes[*at] != 0).step_by(stride(61)).collect();
    assert!(used.len() > 50, "{} bytes", used.len());
    let (world, line) = with_region(&made, &region);
    let (lone, _) = with_region(&made, &region);
    let mut errors = 0;
    for at in used {
        let change = |world: &World| {
            world.replace(CACHE, region.clone(), false);
            world.poke(CACHE, at as u64, &[bytes[at] ^ 4]);
            mount(world, &line)
        };
        let guest = change(&world).unwrap();
        assert!(made.read_all(&guest).iter().all(Result::is_ok), "byte {at}");
        // Without sources: right bytes, or an error.
        let Ok(guest) = change(&lone) else { continue };
        let blobs = [DeviceId(1), DeviceId(2)];
        blobs.iter().for_each(|device| lone.set_gone(*device, true));
        errors += made.read_all(&guest).iter().filter(|read| read.is_err()).count();
        blobs.iter().for_each(|device| lone.set_gone(*device, false));
    }
    assert!(errors > 0, "some files miss a block");
}

/// Each block that a region had when it held one image, in the place of each block that it has with
/// another one, and each two of its own exchanged.
#[test]
fn no_block_of_a_region_is_served_in_the_place_of_another_of_any_time() {
    let (old, new) = (made(17, SMALL), made(18, SMALL));
    let before = filled(&old, &old, &Sparse::zeros(SMALL_REGION));
    let after = filled(&new, &new, &before);
    let (before, now) = (before.to_vec(), after.to_vec());
    let used = |region: &[u8]| -> Vec<usize> {
        let blocks = region.chunks(4096).enumerate();
        blocks.filter(|(_, block)| block.iter().any(|byte| *byte != 0)).map(|(at, _)| at).collect()
    };
    let (mut mounts, mut wrong) = (0, 0);
    let mut try_both = |changes: &[(usize, &[u8])]| {
        for made in [&old, &new] {
            let (world, line) = with_region(made, &after);
            changes
                .iter()
                .for_each(|(block, bytes)| world.poke(CACHE, *block as u64 * 4096, bytes));
            let guest = mount(&world, &line).unwrap();
            assert!(made.read_all(&guest).iter().all(Result::is_ok), "blocks {:?}", changes[0].0);
            let stats = guest.root.storage().stats();
            assert_eq!(stats.wrong, 0);
            mounts += 1;
            wrong += stats.wrong_elsewhere;
        }
    };
    let block = |region: &'_ [u8], at: usize| region[at * 4096..][..4096].to_vec();
    for to in used(&now) {
        for from in used(&before) {
            try_both(&[(to, &block(&before, from))]);
        }
        for other in used(&now).into_iter().filter(|other| *other < to) {
            try_both(&[(to, &block(&now, other)), (other, &block(&now, to))]);
        }
    }
    println!("{mounts} mounts, {wrong} blocks that the region's own checks let through");
    assert!(mounts > 500, "{mounts} mounts");
}

#[test]
fn region_knows_a_blob_by_its_digest_and_not_by_what_its_disk_says() {
    let (made, other) = (made(9, 200_000), made(10, 200_000));
    let (cold, region) = read_over(&made, &Sparse::zeros(REGION));
    let (warm, region) = read_over(&made, &region);
    assert!(cold > 200_000 && warm < 50_000, "{cold} bytes fetched, then {warm}");
    // Other content on the same disks: nothing of the old one is tried.
    let (changed, region) = read_over(&other, &region);
    assert!(changed > 200_000, "{changed} bytes fetched");
    let (again, _) = read_over(&other, &region);
    assert!(again < 50_000, "{again} bytes fetched");
}

/// Reads all files over a region with digests; returns the bytes that were fetched from sources, and
/// the region.
fn read_over(made: &Made, region: &Sparse) -> (u64, Sparse) {
    let (world, ..) = made.world();
    let disk = world.disk("cache", 512, region.clone());
    let guest = mount(&world, &format!("{} cache=cache", made.line())).unwrap();
    assert!(made.read_all(&guest).iter().all(Result::is_ok));
    assert!(guest.root.leave(SYNC_TIME));
    let (fetched, stats) = (guest.root.stats().fetched_bytes, guest.root.storage().stats());
    assert_eq!((stats.wrong, stats.wrong_elsewhere), (0, 0), "{stats:?}");
    (fetched, world.crash_image(disk, Survive::Everything).0)
}

#[test]
fn images_share_blobs_by_their_digests_without_a_domain() {
    let (one, other) = (made_as(14, 200_000, [1; 16]), made_as(14, 200_000, [2; 16]));
    assert_ne!(one.parts[0].data, other.parts[0].data);
    let (cold, region) = read_over(&one, &Sparse::zeros(REGION));
    let (shared, region) = read_over(&other, &region);
    assert!(cold > 400_000 && shared < 50_000, "{cold} bytes fetched, then {shared}");
    // A neighbour with the same names and other blobs takes nothing, and leaves nothing.
    let (fetched, region) = read_over(&made_as(15, 200_000, [1; 16]), &region);
    assert!(fetched > 400_000, "{fetched} bytes fetched");
    for made in [&one, &other] {
        let (fetched, _) = read_over(made, &region);
        assert!(fetched < 50_000, "{fetched} bytes fetched");
    }
}
