//! Images of many device slots: tables as long as the image says.

use rootlet::blob::Image;
use rootlet::erofs::Corrupt;
use rootlet::storage::Discover;
use rootlet::storage::memory::MemoryStorage;
use rootlet_sim::disk::World;
use rootlet_sim::image::{Built, Content, FileLayout, Options, Tree, build};

use crate::guest::Guest;

/// An image of one file, whose chunks lie on `slots` blobs in turn; the file.
fn image(slots: u16, options: Options) -> (Built, Vec<u8>) {
    let content = Content::seeded(u64::from(slots), usize::from(slots) * 4096 + 100);
    let mut tree = Tree::new();
    tree.file("/f", content.clone());
    let tags = (1..=slots).map(|slot| format!("layer-{slot}").into_bytes()).collect();
    let options = Options { blobs: slots, chunk_bits: 12, tags, dedupe: false, ..options };
    (build(&tree, &options).unwrap(), content.to_vec())
}

fn assert_reads(world: &World, line: &str, content: &[u8]) {
    let mut guest = Guest::mount(world.attach(), line, 1).unwrap();
    assert!(guest.run(&["cat", "/f"]).unwrap() == content);
}

#[test]
fn image_of_108_layers_takes_them_from_disks_and_shares() {
    let (built, content) = image(108, Options::default());
    let world = World::new(1);
    world.blob("image", &built.image);
    for (number, blob) in built.blobs.iter().enumerate() {
        match number % 2 {
            0 => world.blob(&format!("layer-{}", number + 1), blob),
            _ => world.share_file("fs", &format!("layer-{}", number + 1), blob),
        };
    }
    assert_reads(&world, "image=image", &content);
    // With a region, which knows all of them.
    world.disk("cache", 512, vec![0; 8 << 20]);
    for _ in 0..2 {
        assert_reads(&world, "image=image cache=cache", &content);
    }
}

#[test]
fn thousands_of_slots_are_found_by_their_tags_and_in_a_flattened_image() {
    for layout in [FileLayout::ChunkIndexes, FileLayout::ChunkMap] {
        let options = Options { flattened: true, layout, ..Options::default() };
        let (built, content) = image(5000, options);
        let world = World::new(1);
        world.blob("image", &built.image);
        assert_reads(&world, "image=image", &content);
    }
    let (built, content) = image(2000, Options::default());
    let world = World::new(1);
    world.blob("image", &built.image);
    for (number, blob) in built.blobs.iter().enumerate() {
        world.blob(&format!("layer-{}", number + 1), blob);
    }
    assert_reads(&world, "image=image", &content);
}

#[test]
fn table_may_have_as_many_slots_as_the_format() {
    let slots = u16::MAX;
    let (mut built, content) =
        image(2, Options { flattened: true, block_bits: 9, ..Options::default() });
    // The table is put after everything, and has 65,533 slots of no blocks after the two.
    let mut table = Vec::new();
    for slot in 1..=2 {
        let at = built.image.device_slot_at(slot) as usize;
        table.extend_from_slice(&built.image.bytes()[at..at + 128]);
    }
    table.resize(usize::from(slots) * 128, 0);
    // Each at its own place, so that a block is looked for among all of them.
    for (number, slot) in table.chunks_exact_mut(128).enumerate().skip(2) {
        slot[64..68].copy_from_slice(&1_u32.to_le_bytes());
        slot[68..72].copy_from_slice(&(70_000 - number as u32).to_le_bytes());
    }
    let end = built.image.bytes().len() as u64;
    let at = end.next_multiple_of(128);
    built.image.resize(70_001 * 512);
    built.image.patch(at, &table);
    let superblock = 1024;
    built.image.patch(superblock + 86, &slots.to_le_bytes());
    built.image.patch(superblock + 88, &((at / 128) as u16).to_le_bytes());
    // The primary has no length: the table would lie beyond it.
    built.image.patch(superblock + 36, &[0; 4]).fix_checksum();

    let mut storage = MemoryStorage::new();
    storage.add_disk("image", built.image.bytes()).unwrap();
    let device = storage.disk("image").unwrap();
    let image = Image::read(&storage, device).unwrap();
    assert_eq!(image.devices().len(), slots);
    assert_eq!(image.devices().iter().last().unwrap().0, slots);
    let sources = image.bind(&mut storage, &[]).unwrap();
    assert_eq!(sources.len(), 65_536);
    let last = image.devices().resolve(slots, 0).unwrap();
    assert_eq!((last.slot, last.block), (slots, 0));
    let place = image.devices().resolve(0, 70_000 - 40_000).unwrap();
    assert_eq!((place.slot, place.block), (40_001, 0));
    let root =
        rootlet::read::Root::new(storage, rootlet::cache::NoRegion, &image, &sources).unwrap();
    let mut out = vec![0; content.len()];
    root.open(b"/f").unwrap().read_at(0, &mut out).unwrap();
    assert!(out == content);
}

#[test]
fn overlap_of_two_among_thousands_is_named() {
    let (mut built, _) = image(3000, Options { flattened: true, ..Options::default() });
    let uniaddr = |slot: u16| built.image.device_slot_at(slot) + 68;
    let (from, to) = (uniaddr(17) as usize, uniaddr(2999));
    let address: [u8; 4] = built.image.bytes()[from..from + 4].try_into().unwrap();
    built.image.patch(to, &address).fix_checksum();
    let error = crate::mount::image(&built.image).err().unwrap();
    let block = u64::from(u32::from_le_bytes(address));
    let fault = Corrupt::SlotsOverlap { low: 17, high: 2999, block };
    assert_eq!(error, format!("corrupt image: {fault}"));
}
