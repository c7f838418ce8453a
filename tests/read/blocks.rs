//! Blocks in memory: small reads that were read before cost no device read.

use rootlet::blob::Image;
use rootlet::cache::NoRegion;
use rootlet::read::{Budget, Root};
use rootlet::storage::{Discover, IoErrorKind};
use rootlet_sim::disk::{Fault, OpKind, Rule, SimStorage, World};
use rootlet_sim::image::{Built, Content, FileLayout, Options, Tree, build};

use crate::mount;

const FILE: u64 = 1 << 20;

fn content() -> Content {
    Content::seeded(5, FILE as usize)
}

fn built() -> Built {
    let mut tree = Tree::new();
    tree.file("/large", content());
    for number in 0..8 {
        tree.file(format!("/small{number}"), Content::seeded(number, 500));
    }
    build(&tree, &Options { layout: FileLayout::Inline, ..Options::default() }).unwrap()
}

fn mounted(world: &World, block_bytes: usize) -> Root<SimStorage, NoRegion> {
    let mut storage = world.attach();
    let device = storage.disk("image").unwrap();
    let image = Image::read(&storage, device).unwrap();
    let sources = image.bind(&mut storage, &[]).unwrap();
    let budget = Budget::default().with_block_bytes(block_bytes);
    Root::with_budget(storage, NoRegion, &image, &sources, &budget).unwrap()
}

fn world() -> World {
    let world = World::new(3);
    mount::plug(&world, &built());
    world
}

/// Reads `len` bytes at `at`, compares them, and says how many bytes were fetched for them.
fn read(root: &Root<SimStorage, NoRegion>, at: u64, len: usize) -> u64 {
    let before = root.stats().fetched_bytes;
    let mut out = vec![0; len];
    let mut want = vec![0; len];
    let got = content().read_at(at, &mut want);
    assert_eq!(root.open(b"/large").unwrap().read_at(at, &mut out).unwrap(), got);
    assert!(out == want, "other bytes at {at}");
    root.stats().fetched_bytes - before
}

#[test]
fn small_read_that_comes_again_costs_no_device_read() {
    let root = mounted(&world(), 256 << 10);
    for (at, len) in [(8192, 4096), (20_000, 100), (40_960, 16_384), (FILE - 50, 50)] {
        assert!(read(&root, at, len) > 0, "{at}");
        let batches = root.stats().batches;
        assert_eq!(read(&root, at, len), 0, "{at}");
        assert_eq!(read(&root, at + 1, len - 1), 0, "{at}");
        assert_eq!(root.stats().batches, batches);
    }
    assert_eq!(root.stats().block_hits, 8);
    // Without memory for blocks each of them is read again.
    let root = mounted(&world(), 0);
    assert!(read(&root, 8192, 4096) > 0 && read(&root, 8192, 4096) >= 4096);
    assert_eq!(root.stats().block_hits, 0);
}

#[test]
fn large_read_passes_by_and_a_part_of_it_is_not_here() {
    let root = mounted(&world(), 2 << 20);
    let reserve = root.reserve_bytes();
    read(&root, 0, 1 << 20);
    read(&root, 0, 1 << 20);
    assert_eq!((root.stats().block_hits, root.reserve_bytes()), (0, reserve));
    assert!(read(&root, 4096, 4096) >= 4096);
}

#[test]
fn memory_is_bounded_and_what_is_used_stays_through_a_scan() {
    let root = mounted(&world(), 160 << 10);
    let reserve = root.reserve_bytes();
    for _ in 0..3 {
        read(&root, 0, 4096);
    }
    for at in (0..FILE).step_by(4096) {
        read(&root, at, 4096);
    }
    assert_eq!(read(&root, 0, 4096), 0);
    // Blocks, room to read in, and the tables of 40 blocks, which are allocated with the first.
    let tables = 40 * 64 + 64 * 8;
    assert!(reserve - root.reserve_bytes() <= (160 << 10) + (30 << 10) + tables);
}

#[test]
fn read_that_fails_keeps_nothing() {
    let world = world();
    let root = mounted(&world, 256 << 10);
    let file = root.open(b"/large").unwrap();
    world.rule(Rule::new(Fault::Fail(IoErrorKind::Device(1))).op(OpKind::Read));
    let mut out = [0; 4096];
    assert!(file.read_at(65_536, &mut out).is_err());
    assert!(file.read_at(65_536 + 7, &mut out[..9]).is_err());
    world.heal();
    assert!(read(&root, 65_536, 4096) >= 4096);
}

/// Small reads of any length, one after the other: as many batches as what is read together has
/// times in the file, and a few while that grows.
#[test]
fn reads_in_sequence_of_every_small_length_are_read_ahead_of() {
    for (budget, together) in [(4 << 20, 128 << 10), (512 << 10, 48 << 10), (256 << 10, 24 << 10)] {
        for len in [1000, 4096, 5000, 8192, 12_288, 16_384] {
            let root = mounted(&world(), budget);
            for at in (0..FILE).step_by(len) {
                read(&root, at, len);
            }
            let batches = root.stats().batches;
            // A window is rounded down to whole reads, of which one has to begin in it.
            let most = FILE / (together - len as u64) + 8;
            assert!(batches <= most, "{budget}: reads of {len}: {batches} batches, not {most}");
            // Each batch is rounded at both ends, and the inodes are read.
            let most = FILE + batches * 2 * 4096 + 4096;
            let fetched = root.stats().fetched_bytes;
            assert!(fetched <= most, "{budget}: reads of {len}: {fetched} bytes, not {most}");
        }
    }
}

#[test]
fn reads_in_sequence_are_read_ahead_of_and_others_are_not() {
    let world = world();
    let root = mounted(&world, 2 << 20);
    for at in (0..FILE).step_by(4096) {
        read(&root, at, 4096);
    }
    let stats = root.stats();
    assert_eq!(stats.fetched_bytes, FILE + 4096, "every byte once, and the inodes");
    assert!(stats.batches < 20, "{}", stats.batches);
    let root = mounted(&world, 2 << 20);
    for n in 1..40 {
        assert!(read(&root, n * 7919 * 4096 % FILE, 4096) <= 2 * 4096);
    }
}

#[test]
fn fault_in_what_is_read_ahead_fails_no_read_before_it() {
    const BAD: u64 = 73_728;
    let world = world();
    let root = mounted(&world, 2 << 20);
    let inode = root.metadata(b"/large").unwrap();
    let (device, at) = root.source_of(&inode, BAD).unwrap().unwrap();
    world.rule(Rule::new(Fault::Fail(IoErrorKind::Device(1))).device(device).range(at..at + 4096));
    for at in (0..BAD).step_by(4096) {
        read(&root, at, 4096);
    }
    let file = root.open_inode(inode).unwrap();
    assert!(file.read_at(BAD, &mut [0; 4096]).is_err());
    assert!(file.read_at(BAD + 100, &mut [0; 10]).is_err());
    read(&root, BAD + 4096, 4096);
}
