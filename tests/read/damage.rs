//! Random damage to random images: any outcome but a panic, a hang or unbounded work.

use proptest::prelude::*;
use rootlet::erofs::FileKind;
use rootlet::read::XATTR_BYTES_MAX;
use rootlet_sim::Rng;
use rootlet_sim::disk::World;
use rootlet_sim::image::{Built, Content, FileLayout, Kind, Options, Tree, build};

use crate::cases::cases;
use crate::guest::Guest;
use crate::mount;

/// Entries looked at in one image at most: damage can make one directory's subtree appear in
/// another, so that a walk has no end of its own in reasonable time.
const ENTRIES_MAX: usize = 400;
/// Bytes of each read.
const READ_BYTES: usize = 64 << 10;
/// Transfers and bytes that one call may cost: a path of a few names takes a binary search in
/// each directory, a read of 64 KiB in chunks of 512 bytes as many transfers and a long map.
const TRANSFERS_PER_CALL: u64 = 300;
const BYTES_PER_CALL: u64 = 1 << 20;

fn tree() -> Tree {
    let mut tree = Tree::new();
    for number in 0..40_u64 {
        let size = [0, 1, 100, 4096, 5000, 70_000][number as usize % 6];
        let meta =
            tree.file(format!("/d{}/f{number:02}", number % 3), Content::seeded(number, size));
        meta.uid = (number % 4) as u32 * 30_000;
        meta.xattrs.push(("user.number".into(), number.to_le_bytes().to_vec()));
        meta.xattrs.push(("security.same".into(), vec![1; 40]));
    }
    tree.symlink("/d0/link", "../d1/f01");
    tree.add("/d1/null", Kind::CharDevice(1, 3), 0o666);
    tree
}

fn image(rng: &mut Rng) -> Built {
    let layouts = [
        FileLayout::Inline,
        FileLayout::ChunkMap,
        FileLayout::ChunkIndexes,
        FileLayout::ChunkIndexes48,
        FileLayout::Plain,
    ];
    let block_bits = [9, 12, 12][rng.index(3)];
    let options = Options {
        block_bits,
        layout: layouts[rng.index(layouts.len())],
        chunk_bits: block_bits + rng.below(3) as u8,
        blobs: rng.below(3) as u16,
        bits48: rng.chance(500_000),
        dot_omitted: rng.chance(200_000),
        ..Options::default()
    };
    build(&tree(), &options).unwrap()
}

/// Overwrites bytes of the metadata, mostly where something lies.
fn damage(built: &mut Built, rng: &mut Rng) {
    let places: Vec<u64> = tree()
        .walk()
        .iter()
        .flat_map(|(path, _)| {
            let found = built.image.locate(path);
            [Some(found.inode_at), found.xattr_at, found.body_at, found.data_at, found.dirent_at]
        })
        .flatten()
        .chain([1024, 1024 + 64, 1024 + 80, built.image.device_slot_at(1)])
        .collect();
    for _ in 0..1 + rng.below(8) {
        let at = places[rng.index(places.len())] + rng.below(64);
        let value = [0, 0xff, 1, 0x80, rng.next_u64() as u8][rng.index(5)];
        let len = [1, 1, 2, 4, 8][rng.index(5)];
        if at + len <= built.image.bytes().len() as u64 {
            built.image.patch(at, &vec![value; len as usize]);
        }
    }
    // Most readers would stop at a wrong checksum.
    if rng.chance(900_000) {
        built.image.fix_checksum();
    }
}

/// Looks at everything in bounded steps; returns the number of calls.
fn look_at_all(guest: &Guest<rootlet_sim::disk::SimStorage>, rng: &mut Rng) -> u64 {
    let root = &guest.root;
    let mut calls = 1;
    let mut ahead = vec![b"/".to_vec()];
    let mut seen = 0;
    let (mut data, mut xattrs) = (vec![0; READ_BYTES], vec![0; XATTR_BYTES_MAX]);
    while let Some(path) = ahead.pop() {
        seen += 1;
        calls += 1;
        let Ok(inode) = root.symlink_metadata(&path) else { continue };
        calls += 1;
        let _ = root.xattrs(&inode, &mut xattrs, |_, _| {
            calls += 1;
            Ok(())
        });
        if let Ok(file) = root.open_inode(inode) {
            for offset in [0, rng.below(inode.size().max(1)), inode.size().saturating_sub(70_000)] {
                calls += 1;
                let _ = file.read_at(offset, &mut data);
            }
        }
        let _ = root.read_link_inode(&inode, &mut data);
        let _ = root.metadata(&path);
        calls += 2;
        if inode.kind() != FileKind::Directory || path.len() > 100 {
            continue;
        }
        let mut cursor = root.read_dir_inode(inode).unwrap();
        while let Ok(Some(entry)) = cursor.next(root) {
            calls += 1;
            if seen + ahead.len() >= ENTRIES_MAX {
                break;
            }
            ahead.push([&path[..], b"/", &entry.name[..]].concat());
        }
    }
    calls
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn damaged_image_ends_every_call_in_bounded_work(seed in any::<u64>()) {
        let rng = &mut Rng::new(seed);
        let mut built = image(rng);
        damage(&mut built, rng);
        let world = World::new(seed);
        let devices = mount::plug(&world, &built);
        let Ok(guest) = Guest::mount(world.attach(), &mount::line(built.blobs.len()), 1) else {
            return Ok(());
        };
        let calls = look_at_all(&guest, rng);
        let (mut reads, mut bytes) = (0, 0);
        for device in devices {
            let counters = world.counters(device);
            reads += counters.reads;
            bytes += counters.read_bytes;
        }
        prop_assert!(reads <= calls * TRANSFERS_PER_CALL, "{reads} reads in {calls} calls");
        prop_assert!(bytes <= calls * BYTES_PER_CALL, "{bytes} bytes in {calls} calls");
    }
}
