//! Random trees, layouts, devices and reads against the tree itself; and the same over a region.

use proptest::prelude::*;
use rootlet::storage::DeviceId;
use rootlet_sim::Rng;
use rootlet_sim::disk::{Sparse, World};
use rootlet_sim::image::{
    Built, Content, FileLayout, Holes, Inodes, Kind, Options, Spread, Tree, XattrPlace, build,
};

use crate::cases::cases;
use crate::guest::Guest;
use crate::oracle;

fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.index(from.len())]
}

fn tree(rng: &mut Rng) -> Tree {
    let mut tree = Tree::new();
    let mut dirs = vec![Vec::new()];
    for number in 0..5 + rng.below(40) {
        let mut path = dirs[rng.index(dirs.len())].clone();
        path.push(b'/');
        path.extend(name(rng, number));
        match rng.below(10) {
            0 | 1 => {
                tree.dir(&path);
                dirs.push(path.clone());
            }
            2 => {
                tree.symlink(&path, pick(rng, &["a", "../b", "/", "/a/b", "long/../name"]));
            }
            3 => {
                tree.add(&path, Kind::CharDevice(rng.below(4096) as u32, 7), 0o600);
            }
            4 => {
                tree.add(&path, pick(rng, &[Kind::Fifo, Kind::Socket].each_ref()).clone(), 0);
            }
            _ => {
                tree.file(&path, content(rng));
            }
        }
        let meta = tree.meta_mut(&path).unwrap();
        meta.uid = pick(rng, &[0, 1000, 65_535, 65_536, u32::MAX]);
        meta.gid = pick(rng, &[0, 5, 70_000]);
        meta.mtime_s = pick(rng, &[0, 1_700_000_000, 1 << 33]);
        meta.mtime_ns = pick(rng, &[0, 1, 999_999_999]);
        if rng.chance(200_000) {
            meta.xattrs.push(("user.a".into(), vec![7; rng.index(300)]));
            meta.xattrs.push(("security.b".into(), b"shared".to_vec()));
        }
    }
    tree
}

/// A name that no other number has.
fn name(rng: &mut Rng, number: u64) -> Vec<u8> {
    let mut name = format!("{number}-").into_bytes();
    let len = pick(rng, &[2, 3, 5, 9, 30, 100, 255]);
    while name.len() < len {
        name.push(pick(rng, b"abcxyz .-_\t\x01\x7f\xc3\xff"));
    }
    name
}

fn content(rng: &mut Rng) -> Content {
    let edge = pick(rng, &[0, 1, 512, 4096, 8192, 16_384, 65_536, 131_072, 200_000]);
    let size = (edge + rng.below(3)).saturating_sub(1);
    match rng.below(4) {
        0 => Content::hole(size),
        1 => {
            let mut content = Content::hole(size);
            let mut at = rng.below(20_000);
            while at + 5000 < size {
                let mut data = vec![0; 1 + rng.index(5000)];
                rng.fill(&mut data);
                content.put(at, data);
                at += 5000 + rng.below(100_000);
            }
            content
        }
        2 => Content::bytes(vec![b'x'; size as usize]),
        _ => Content::seeded(rng.next_u64(), size as usize),
    }
}

fn options(rng: &mut Rng, tree: &Tree) -> Options {
    let layouts = [
        FileLayout::Plain,
        FileLayout::Inline,
        FileLayout::ChunkMap,
        FileLayout::ChunkIndexes,
        FileLayout::ChunkIndexes48,
    ];
    let block_bits = pick(rng, &[9, 10, 12, 12, 12, 13, 16]);
    let mut options = Options {
        block_bits,
        inodes: pick(rng, &[Inodes::Compact, Inodes::Extended, Inodes::Lossless]),
        layout: pick(rng, &layouts),
        inline_dirs: rng.chance(500_000),
        chunk_bits: block_bits + rng.below(5) as u8,
        blobs: pick(rng, &[0, 0, 1, 2, 3, 5]),
        spread: pick(rng, &[Spread::RoundRobin, Spread::Hash, Spread::Seeded(3)]),
        primary_too: rng.chance(300_000),
        slot_blocks: rng.chance(700_000),
        uniaddr: rng.chance(800_000),
        dedupe: rng.chance(500_000),
        holes: pick(rng, &[Holes::Stored, Holes::Sparse, Holes::Zero]),
        flat_holes: rng.chance(500_000),
        lead_blocks: pick(rng, &[0, 0, 1, 100]),
        bits48: rng.chance(300_000),
        dot_omitted: rng.chance(200_000),
        xattrs: pick(rng, &[XattrPlace::Inline, XattrPlace::Shared, XattrPlace::SharedIfRepeated]),
        meta_at_zero: rng.chance(700_000),
        checksum: rng.chance(800_000),
        ..Options::default()
    };
    // Where a blob begins and ends in the image can only be told from both.
    options.flattened = options.slot_blocks && options.uniaddr && rng.chance(300_000);
    for (path, number) in tree.walk() {
        if matches!(tree.nodes()[number].kind, Kind::File(_)) && rng.chance(300_000) {
            options.layouts.insert(path, pick(rng, &layouts));
        }
    }
    options.tags = (0..options.blobs).map(|n| format!("tag-of-blob-{n}-and-more").into()).collect();
    options
}

/// Some options under which the tree has an image.
fn some_image(rng: &mut Rng, tree: &Tree) -> (Options, Built) {
    // A slot of no blocks in the image itself is one of unknown length: nothing leads to it.
    let has_empty_slot = |options: &Options, built: &Built| {
        (1..=options.blobs).any(|slot| {
            let at = built.image.device_slot_at(slot) as usize + 64;
            built.image.bytes()[at..at + 4] == [0; 4]
        })
    };
    let mut tries = (0..200).map(|_| options(rng, tree));
    let found = tries.find_map(|options| {
        let built = build(tree, &options).ok()?;
        let suits = !options.flattened || !has_empty_slot(&options, &built);
        suits.then_some((options, built))
    });
    found.expect("most options suit most trees")
}

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
            prop_assert!(guest.root.sync());
        }
    }
}
