//! Where the bytes of a slot come from: by name, by tag, in the image itself; and what is said
//! when they cannot be had.

use rootlet::Error;
use rootlet::blob::{BindError, Image, SourceName};
use rootlet::cache::NoRegion;
use rootlet::erofs::Corrupt;
use rootlet::read::Root;
use rootlet::storage::{DeviceId, Discover, DiscoverError, IoErrorKind, Unfit};
use rootlet_sim::disk::{Sparse, World};
use rootlet_sim::image::{Built, Content, FileLayout, Inodes, Options, Tree, build};

use crate::guest::Guest;
use crate::mount;

const TAGS: [&str; 3] = ["short", "a-tag-that-is-longer-than-twenty", "third"];

fn tree() -> Tree {
    let mut tree = Tree::new();
    tree.file("/file", Content::seeded(9, 300_000));
    tree
}

fn options() -> Options {
    let tags = TAGS.map(|tag| tag.as_bytes().to_vec()).to_vec();
    Options { blobs: 3, chunk_bits: 14, tags, ..Options::default() }
}

fn three_blobs() -> Built {
    build(&tree(), &options()).unwrap()
}

/// Mounts and reads the file; the error otherwise.
fn outcome(world: &World, line: &str) -> Result<(), String> {
    let mut guest = Guest::mount(world.attach(), line, 1)?;
    let got = guest.run(&["cat", "/file"])?;
    assert_eq!(got, tree().content("/file").unwrap().to_vec());
    Ok(())
}

/// A world with the image alone.
fn world(built: &Built) -> World {
    let world = World::new(1);
    world.blob("image", &built.image);
    world
}

#[test]
fn one_image_takes_its_blobs_from_disks_and_shares_alike() {
    let built = three_blobs();
    let world = world(&built);
    world.blob("d", &built.blobs[0]);
    world.share_file("fs0", "dir/b", &built.blobs[1]);
    world.share_file("fs1", "c", &built.blobs[2]);
    for (second, third) in [
        ("share:fs0:dir/b", "share:fs1:c"),
        ("share:dir/b", "share::c"),
        ("share::dir/b", "share:c"),
    ] {
        outcome(&world, &format!("image=image blob1=d blob2={second} blob3={third}")).unwrap();
    }
}

#[test]
fn slots_are_found_by_their_tags_without_being_named() {
    let built = three_blobs();
    let by_serial = world(&built);
    by_serial.blob(TAGS[0], &built.blobs[0]);
    by_serial.blob(&TAGS[1][..20], &built.blobs[1]);
    by_serial.share_file("any", TAGS[2], &built.blobs[2]);
    outcome(&by_serial, "image=image").unwrap();

    // On a share the whole tag counts.
    let by_file = world(&built);
    by_file.blob(TAGS[0], &built.blobs[0]);
    by_file.share_file("any", &TAGS[1][..20], &built.blobs[1]);
    by_file.blob(TAGS[2], &built.blobs[2]);
    let error = outcome(&by_file, "image=image").unwrap_err();
    assert_eq!(
        error,
        format!(
            "blob of slot 2: none given (blob2=...), and no disk or shared file is called \"{}\"",
            TAGS[1]
        )
    );
    by_file.share_file("any", TAGS[1], &built.blobs[1]);
    outcome(&by_file, "image=image").unwrap();
}

#[test]
fn what_is_named_wins_over_the_tag() {
    let built = three_blobs();
    let world = world(&built);
    for (number, tag) in TAGS.iter().enumerate() {
        // Wrong bytes under the right tags.
        world.blob(&tag[..tag.len().min(20)], vec![0; 1 << 20]);
        world.blob(&format!("blob{}", number + 1), &built.blobs[number]);
    }
    outcome(&world, &mount::line(3)).unwrap();
}

#[test]
fn flattened_image_needs_no_other_device() {
    let built = build(&tree(), &Options { flattened: true, ..options() }).unwrap();
    assert!(built.blobs.is_empty());
    outcome(&world(&built), "image=image").unwrap();

    let built =
        build(&tree(), &Options { flattened: true, tags: Vec::new(), ..options() }).unwrap();
    outcome(&world(&built), "image=image").unwrap();
    // Its end lost: a part of the last slot is missing.
    let mut cut = built.image;
    let bytes = cut.bytes().len() as u64;
    cut.resize(bytes - 4096);
    let error = mount::image(&cut).err().unwrap();
    assert_eq!(
        error,
        "blob of slot 3: none given (blob3=...), and the slot has no tag to find it by"
    );
}

#[test]
fn slot_of_a_flattened_image_that_states_no_length_reaches_to_the_next() {
    let built =
        build(&tree(), &Options { flattened: true, slot_blocks: false, ..options() }).unwrap();
    outcome(&world(&built), "image=image").unwrap();
    // Its end lost: what is missing is an error when it is read, and no zeros.
    let mut cut = built.image;
    let bytes = cut.bytes().len() as u64;
    cut.resize(bytes - 4096);
    let error = outcome(&world(&Built { image: cut, blobs: Vec::new() }), "image=image");
    assert_eq!(
        error.unwrap_err(),
        "/file: corrupt image: 16384 bytes at byte 0x14000 of device slot 3, whose blob has 0x17000"
    );
}

#[test]
fn slots_without_a_length_that_begin_at_one_place_are_no_flattened_image() {
    let built =
        build(&tree(), &Options { flattened: true, slot_blocks: false, ..options() }).unwrap();
    let mut image = built.image;
    let uniaddr = [1, 2, 3].map(|slot| image.device_slot_at(slot) + 68);
    let first = image.bytes()[uniaddr[0] as usize..][..4].to_vec();
    image.patch(uniaddr[1], &first).patch(uniaddr[2], &first).fix_checksum();
    assert_eq!(
        mount::image(&image).err().unwrap(),
        "blob of slot 1: none given (blob1=...), and no disk or shared file is called \"short\""
    );
}

/// Address 0 is not a place: a slot that has it is not in the unified address space.
#[test]
fn slot_without_a_place_takes_none_of_the_image_from_another() {
    let built =
        build(&tree(), &Options { flattened: true, slot_blocks: false, ..options() }).unwrap();
    let mut image = built.image;
    let first = image.device_slot_at(1) as usize + 68;
    let start = u32::from_le_bytes(image.bytes()[first..first + 4].try_into().unwrap());
    let third = image.device_slot_at(3) + 64;
    image.patch(third, &[start + 1, 0].map(u32::to_le_bytes).concat()).fix_checksum();
    let world = world(&Built { image, blobs: Vec::new() });
    world.blob("third", vec![0; (start as usize + 1) << 12]);
    let guest = Guest::mount(world.attach(), "image=image blob3=third", 1).unwrap();
    let from = u64::from(start) << 12;
    let line = format!("slot  1 in the image, from byte {from}: ");
    assert!(guest.notices.iter().any(|told| told.starts_with(&line)), "{:?}", guest.notices);
}

#[test]
fn slot_that_states_no_length_is_as_long_as_its_source() {
    for sector in [512, 4096] {
        let options = Options { slot_blocks: false, uniaddr: false, ..options() };
        let built = build(&tree(), &options).unwrap();
        let world = world(&built);
        for (number, blob) in built.blobs.iter().enumerate() {
            world.disk(&format!("blob{}", number + 1), sector, blob);
        }
        outcome(&world, &mount::line(3)).unwrap();
    }
}

#[test]
fn block_beyond_a_source_of_unstated_length_is_an_error_and_no_zeros() {
    let options = Options { slot_blocks: false, uniaddr: false, ..options() };
    let built = build(&tree(), &options).unwrap();
    let mount = mount::built(&built).unwrap();
    let bytes = built.blobs[1].bytes();
    mount.world.resize(mount.devices[2], bytes - 4096);
    let guest = Guest::mount(mount.world.attach(), &mount::line(3), 1).unwrap();
    let mut out = vec![0; 300_000];
    let error = guest.root.open(b"/file").unwrap().read_at(0, &mut out).unwrap_err();
    let wanted = format!(" of device slot 2, whose blob has {:#x}", bytes - 4096);
    assert!(format!("{error:#}").ends_with(&wanted), "{error:#}");
    assert!(matches!(error, rootlet::Error::Corrupt(_)), "{error}");
}

#[test]
fn unified_addresses_lead_to_blobs_too() {
    for layout in [FileLayout::Plain, FileLayout::ChunkMap] {
        let options = Options { layout, ..options() };
        let mount = mount::tree(&tree(), &options);
        let mut out = vec![0; 300_000];
        mount.guest.root.open(b"/file").unwrap().read_at(0, &mut out).unwrap();
        assert_eq!(out, tree().content("/file").unwrap().to_vec(), "{layout:?}");
        let reads = |device| mount.world.counters(device).reads;
        assert!(mount.devices[1..].iter().any(|device| reads(*device) > 0), "{layout:?}");
    }
}

#[test]
fn missing_sources_are_named_with_their_slot() {
    let built = three_blobs();
    let world = world(&built);
    world.blob("d", &built.blobs[0]);
    world.blob("d2", &built.blobs[1]);
    world.blob("twin", &built.blobs[2]);
    world.blob("twin", &built.blobs[2]);
    let short = built.blobs[2].bytes() - 4096;
    world.blob("cut", built.blobs[2].to_vec()[..short as usize].to_vec());
    world.share_file("fs0", "b", &built.blobs[1]);
    let need = short + 4096;
    for (end, message) in [
        ("blob3=gone", "blob of slot 3 (disk gone): not found".to_string()),
        ("blob3=twin", "blob of slot 3 (disk twin): 2 disks have this serial".to_string()),
        (
            "blob3=cut",
            format!("blob of slot 3 is too short: {short} bytes, the slot needs {need}"),
        ),
        (
            "blob3=share:x",
            "blob of slot 3 (file x on share (any)): the share has no such file".to_string(),
        ),
        (
            "blob3=share:fs0:x",
            "blob of slot 3 (file x on share fs0): the share has no such file".to_string(),
        ),
        ("blob3=share:fs9:b", "blob of slot 3 (file b on share fs9): not found".to_string()),
        (
            "blob4=d",
            "a blob is given for slot 4, the image has 3 device slots".to_string(),
        ),
        (
            "",
            "blob of slot 3: none given (blob3=...), and no disk or shared file is called \"third\""
                .to_string(),
        ),
    ] {
        let line = format!("image=image blob1=d blob2=d2 {end}");
        assert_eq!(outcome(&world, &line).unwrap_err(), message, "{end}");
    }
}

#[test]
fn missing_image_is_named() {
    let world = World::new(1);
    let failed = |line: &str| outcome(&world, line).unwrap_err();
    assert_eq!(failed(""), "no image given (image=SERIAL), and the machine has no disk");
    world.blob("one", vec![0; 512]);
    world.blob("two", vec![0; 512]);
    world.blob("two", vec![0; 512]);
    assert_eq!(failed(""), "no image given (image=SERIAL); the disks are one, two, two");
    assert_eq!(failed("image=x"), "the image (disk x): not found");
    assert_eq!(failed("image=two"), "the image (disk two): 2 disks have this serial");
    assert_eq!(failed("image=share:x"), "the image (file x on share (any)): not found");
    world.set_share_fault("s", DiscoverError::Daemon(IoErrorKind::Timeout));
    assert_eq!(
        failed("image=share:s:x"),
        "the image (file x on share s): the share's daemon failed: no answer before the deadline"
    );
    world.set_share_fault("t", DiscoverError::Share(13));
    assert_eq!(
        failed("image=share:t:x"),
        "the image (file x on share t): the share refuses it: permission denied (errno 13)"
    );
}

#[test]
fn superblock_of_large_blocks_is_read_through_small_transfers() {
    let options = Options { block_bits: 16, chunk_bits: 16, ..options() };
    let built = build(&tree(), &options).unwrap();
    for max in [8192, 32_768, 65_536] {
        let world = World::new(1);
        for device in mount::plug(&world, &built) {
            world.set_transfer_max(device, max);
        }
        outcome(&world, &mount::line(3)).unwrap();
    }
}

#[test]
fn slot_that_begins_inside_a_sector_of_its_disk_is_refused_with_its_place() {
    let options = Options { flattened: true, block_bits: 9, chunk_bits: 12, ..options() };
    let built = build(&tree(), &options).unwrap();
    let at = built.image.device_slot_at(1) as usize + 68;
    let uniaddr = u32::from_le_bytes(built.image.bytes()[at..at + 4].try_into().unwrap());
    let base = uniaddr * 512;
    assert_ne!(base % 4096, 0, "another tree is needed");
    for (sector, refused) in [(512, false), (4096, true)] {
        let world = World::new(1);
        world.disk("image", sector, &built.image);
        let wanted =
            format!("slot 1 begins at byte {base} of the image, inside a sector of {sector} bytes");
        assert_eq!(outcome(&world, "image=image").err(), refused.then_some(wanted));
    }
}

#[test]
fn adjacent_blocks_of_different_devices_are_not_one_extent() {
    let mut tree = Tree::new();
    tree.file("/file", Content::seeded(9, 4 << 12));
    let options = Options { blobs: 2, chunk_bits: 12, tags: Vec::new(), ..options() };
    let mut built = build(&tree, &options).unwrap();
    // The chunks lie at block 0 of blob 1, 0 of 2, 1 of 1, 1 of 2. Let the second be the fourth:
    // block 0 of blob 1, then block 1 of blob 2.
    let entry = |chunk| built.image.chunk_entry_at("/file", chunk);
    let (second, fourth) = (entry(1), entry(3) as usize);
    let bytes: [u8; 8] = built.image.bytes()[fourth..fourth + 8].try_into().unwrap();
    assert_eq!(bytes[2..], [2, 0, 1, 0, 0, 0]);
    built.image.patch(second, &bytes);
    let mut wanted = tree.content("/file").unwrap().to_vec();
    wanted.copy_within(3 << 12.., 1 << 12);
    let mut mount = mount::built(&built).unwrap();
    assert_eq!(mount.guest.run(&["cat", "/file"]), Ok(wanted));
}

/// A blob on a disk with sectors of this size, and transfers of at most this length.
fn outcome_on(sector_bytes: u32, transfer_max: u32, cache: bool) -> Result<(), String> {
    let built = build(&tree(), &Options { blobs: 1, chunk_bits: 14, ..Options::default() });
    let built = built.unwrap();
    let world = world(&built);
    let mut content = Sparse::from(&built.blobs[0]);
    content.resize(content.bytes().next_multiple_of(4096));
    let blob = world.blob("blob1", content);
    world.set_sector_bytes(blob, sector_bytes);
    world.set_transfer_max(blob, transfer_max);
    mount::plug_region(&world, 8 << 20);
    outcome(
        &world,
        if cache { "image=image blob1=blob1 cache=cache" } else { "image=image blob1=blob1" },
    )
}

#[test]
fn disk_of_sectors_that_no_read_could_be_cut_into_is_refused_by_its_name() {
    for sector in [0, 2, 256, 511, 513, 1536, 8192, 16_384, 1 << 31] {
        let what = "a sector has 1 byte, or a power of two from 512 to 4096";
        let want = format!("blob of slot 1 (device 1): its sectors have {sector} bytes: {what}");
        assert_eq!(outcome_on(sector, 1 << 20, false), Err(want));
    }
    for (sector, max) in [(512, 0), (512, 511), (4096, 1 << 20 | 512), (1, 0)] {
        let what = format!("not a multiple of its sector of {sector} bytes");
        let want =
            format!("blob of slot 1 (device 1): its longest transfer has {max} bytes: {what}");
        assert_eq!(outcome_on(sector, max, false), Err(want));
    }
}

#[test]
fn disk_of_any_other_sectors_is_read_right_with_and_without_a_region() {
    for sector in [1, 512, 1024, 2048, 4096] {
        for max in [sector, 4096, 12_288, 1 << 20] {
            for cache in [false, true] {
                assert_eq!(outcome_on(sector, max, cache), Ok(()), "{sector} {max} {cache}");
            }
        }
    }
}

#[test]
fn image_on_a_disk_of_long_sectors_is_refused_before_it_is_read() {
    let built = build(&tree(), &Options::default()).unwrap();
    let world = world(&built);
    let device = DeviceId(0);
    world.set_sector_bytes(device, 8192);
    let error = outcome(&world, "image=image").unwrap_err();
    let want = "the image (device 0): its sectors have 8192 bytes: ";
    assert!(error.starts_with(want), "{error}");
    assert_eq!(world.counters(device).reads, 0);
}

/// A caller that binds by hand is held to the same.
#[test]
fn mount_refuses_a_source_of_long_sectors_that_nobody_bound() {
    let built = build(&tree(), &Options { blobs: 1, ..Options::default() }).unwrap();
    let world = world(&built);
    let blob = world.blob("blob1", &built.blobs[0]);
    let mut storage = world.attach();
    let device = storage.disk("image").unwrap();
    let image = Image::read(&storage, device).unwrap();
    let sources = image.bind(&mut storage, &[(1, SourceName::Disk("blob1"))]).unwrap();
    world.set_sector_bytes(blob, 16_384);
    let error = Root::new(storage, NoRegion, &image, &sources).err().map(Error::from);
    let unfit = Unfit::Sector(16_384);
    assert_eq!(error, Some(Error::Bind(BindError::Unfit { slot: 1, device: blob, unfit })));
}

#[test]
fn region_on_a_disk_of_long_sectors_is_not_used() {
    let built = build(&tree(), &Options::default()).unwrap();
    let world = world(&built);
    let region = mount::plug_region(&world, 8 << 20);
    world.set_sector_bytes(region, 16_384);
    let guest = Guest::mount(world.attach(), "image=image cache=cache", 1).unwrap();
    let want = "region  not used: its sectors have 16384 bytes: ";
    assert!(guest.notices.iter().any(|notice| notice.starts_with(want)), "{:?}", guest.notices);
    assert_eq!(world.counters(region).reads, 0);
}

#[test]
fn metadata_beyond_the_end_of_a_device_is_an_error_and_no_zeros() {
    let mut tree = Tree::new();
    let paths: Vec<String> = (0..40).map(|number| format!("/{number:02}")).collect();
    for path in &paths {
        tree.file(path, Content::seeded(1, 5000));
    }
    for inodes in [Inodes::Compact, Inodes::Extended] {
        let built = build(&tree, &Options { blobs: 1, inodes, ..Options::default() }).unwrap();
        // The device ends inside an inode; those are not in the order of their names.
        let mut places: Vec<u64> = paths.iter().map(|path| built.image.inode_at(path)).collect();
        places.push(built.image.inode_at("/"));
        places.sort_unstable();
        let end = places[places.len() / 2] + 20;
        let world = World::new(1);
        world.share_file("fs", "image", built.image.bytes()[..end as usize].to_vec());
        world.blob("blob1", &built.blobs[0]);
        let line = "image=share:image blob1=blob1";
        let Ok(guest) = Guest::mount(world.attach(), line, 1) else {
            panic!("{inodes:?}: the root lies in the first half")
        };
        let mut beyond = 0;
        for path in &paths {
            let at = built.image.inode_at(path);
            let found = guest.root.open(path.as_bytes()).map(|file| file.inode().size());
            match found {
                Ok(len) => assert!(at + 32 <= end && len == 5000, "{path}: {len}"),
                Err(rootlet::Error::Corrupt(Corrupt::BeyondBlob {
                    slot: 0,
                    at: told,
                    len,
                    blob,
                })) => {
                    assert!(
                        told + len > end && blob == end && told == at,
                        "{path} at {at}: {told}"
                    );
                    beyond += 1;
                }
                Err(error) => panic!("{path}: {error}"),
            }
        }
        assert!(beyond >= 10, "{beyond}");
    }
}

#[test]
fn missing_source_of_a_slot_without_a_length_has_none_until_a_region_gives_one() {
    let options = Options { slot_blocks: false, uniaddr: false, ..options() };
    let built = build(&tree(), &options).unwrap();
    let world = world(&built);
    world.blob("blob1", &built.blobs[0]);
    world.blob("blob3", &built.blobs[2]);
    let mut storage = world.attach();
    let device = storage.disk("image").unwrap();
    let image = Image::read(&storage, device).unwrap();
    let names = [(1, SourceName::Disk("blob1")), (3, SourceName::Disk("blob3"))];
    let mut told = Vec::new();
    let mut missing = |slot, error| told.push((slot, error));
    let bound = image.bind_present(&mut storage, names.into_iter(), None, &mut missing).unwrap();
    assert_eq!((bound[2].device, bound[2].bytes), (DeviceId::NONE, 0));
    assert!(matches!(told[..], [(2, BindError::Missing { slot: 2, own: None, .. })]), "{told:?}");
}
