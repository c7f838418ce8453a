//! Stacks as a guest mounts them: images in partitions of one disk, with digests, beside a region.
//!
//! Always: the rows are those that Linux's overlay shows, or the mount says what is wrong.

use rootlet::storage::Parts;
use rootlet_guest::config::Config;
use rootlet_guest::{MountError, Mounted, open_verified};
use rootlet_rows::{differences, of_manifest};
use rootlet_sim::disk::{SimStorage, Sparse, World};
use rootlet_trust::Software;
use rootlet_verity::Verified;

use crate::fixture::{FILES, linux};
use crate::guest::Guest;

type Checked = Guest<Verified<Parts<SimStorage>>>;

/// The roots of the three images, and their blocks of data.
const ROOTS: [(&str, u32); 3] = [
    ("8233540b9ceb9e8eb7ed9353eebe316a78637d22a5d2b58999429ddc24b4456c", 101),
    ("6d338c5ea6b527bebd309214dba6b4b24e3afd86ef02751d5dc0f1c03d16d3cf", 4),
    ("bf951b8e6af9a0727f01eaf126f2da33a9e649b9717db7156c3d092096c5b64d", 51),
];

fn padded(bytes: &[u8]) -> Sparse {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    Sparse::from(bytes)
}

fn mount(world: &World, line: &str) -> Result<Checked, String> {
    let open: fn(&mut Verified<Parts<SimStorage>>, &Config) -> Result<Mounted, MountError> =
        open_verified;
    let storage = Verified::new(Parts::new(world.attach()), &Software, 1 << 20);
    Guest::mount_by(open, storage, line, 1)
}

/// Returns the words that pin the images by their roots.
fn verity(roots: [(&str, u32); 3]) -> String {
    let words = roots.into_iter().zip(1..).map(|((root, blocks), number)| {
        format!(
            " verity{number}=root_hash={root},salt={},data_blocks={blocks},data_block_size=4096,\
             hash_block_size=4096",
            "00".repeat(32)
        )
    });
    words.collect()
}

fn is_linux(guest: &mut Checked, line: &str) {
    let ours = of_manifest(&guest.run(&["manifest", "/"]).unwrap());
    let found = differences("rootlet", &ours, "Linux", &linux());
    assert!(found.is_empty() && ours.len() == 17, "{line}: {}", found.join("\n"));
}

/// A disk with the partitions of a guest of Kata's.
fn gpt() -> (World, Vec<u8>) {
    let world = World::new(1);
    let disk = FILES["gpt.img"].clone();
    world.blob("gpt", padded(&disk));
    (world, disk)
}

#[test]
fn partitions_of_one_disk_are_a_stack_with_trust_and_without() {
    let (world, _) = gpt();
    for line in [
        "layer=gpt@erofs-layer-*".to_string(),
        "layer=gpt@name:erofs-layer-*".to_string(),
        "layer=gpt@name:erofs-layer-0 layer=gpt@name:erofs-layer-1 layer=gpt@name:erofs-layer-2"
            .to_string(),
        format!("layer=gpt@erofs-layer-*{}", verity(ROOTS)),
    ] {
        let mut guest = mount(&world, &line).unwrap();
        is_linux(&mut guest, &line);
        let verified = guest.root.storage().stats().verified_bytes;
        assert_eq!(verified > 0, line.contains("verity"), "{line}");
        assert!(
            guest.notices[0].starts_with("layer 1 gpt@name:erofs-layer-0: "),
            "{:?}",
            guest.notices
        );
    }
    // One of them alone is an image.
    let mut guest = mount(&world, "image=gpt@name:erofs-layer-2").unwrap();
    assert!(guest.run(&["cat", "/app/main"]).unwrap().len() > 200_000);
}

#[test]
fn files_are_a_stack_as_partitions_are() {
    let world = World::new(1);
    for number in 1..=3 {
        world.blob(&format!("l{number}"), padded(&FILES[&format!("l{number}.erofs")]));
    }
    // A storage without partitions is one, too.
    let mut guest = Guest::mount(world.attach(), "layer=l1 layer=l2 layer=l3", 1).unwrap();
    let ours = of_manifest(&guest.run(&["manifest", "/"]).unwrap());
    assert!(differences("rootlet", &ours, "Linux", &linux()).is_empty());
    assert_eq!(guest.counters().files, 7);
    let error = Guest::mount(world.attach(), "layer=l1@8+8", 1).map(|_| ()).unwrap_err();
    assert!(error.contains("it has no 4096 bytes of whole sectors from byte 4096"), "{error}");
}

#[test]
fn region_keeps_what_a_stack_has_fetched() {
    for pins in [String::new(), verity(ROOTS)] {
        let (world, _) = gpt();
        world.disk("cache", 512, Sparse::zeros(8 << 20));
        let line =
            format!("layer=gpt@erofs-layer-*,version=1 cache=cache cache-format=force{pins}");
        let first = {
            let mut guest = mount(&world, &line).unwrap();
            is_linux(&mut guest, &line);
            assert!(guest.root.leave(rootlet_guest::SYNC_TIME), "{:?}", guest.notices);
            guest.root.stats()
        };
        let line = line.replace("force", "never");
        let mut guest = mount(&world, &line).unwrap();
        is_linux(&mut guest, &line);
        let second = guest.root.stats();
        assert!(second.hits > 0 && second.fetched_bytes < first.fetched_bytes / 2, "{second:?}");
    }
    let (world, _) = gpt();
    // A region over a partition would destroy the image.
    let guest = mount(&world, "layer=gpt@erofs-layer-* cache=gpt@2048+2048").unwrap();
    let told = guest.notices.join("\n");
    assert!(told.contains("disk gpt is the source of layer 1"), "{told}");
}

#[test]
fn changed_byte_of_a_pinned_image_is_an_error_and_another_table_changes_nothing() {
    let line = format!("layer=gpt@erofs-layer-*{}", verity(ROOTS));
    // In the second image, whose partition is not the first one.
    let (world, disk) = gpt();
    let at = disk.windows(4).rposition(|bytes| bytes == [0xe2, 0xe1, 0xf5, 0xe0]).unwrap() as u64;
    world.poke(rootlet::storage::DeviceId(0), at, &[0xe3]);
    let error = mount(&world, &line).map(|_| ()).unwrap_err();
    assert!(error.contains("layer"), "{error}");
    // Images in another order are other images.
    let (world, _) = gpt();
    let [one, two, three] = ROOTS;
    let line = format!("layer=gpt@erofs-layer-*{}", verity([two, one, three]));
    let error = mount(&world, &line).map(|_| ()).unwrap_err();
    assert!(error.starts_with("layer 1") || error.starts_with("verity1="), "{error}");
}

#[test]
fn what_a_line_gets_wrong_is_named() {
    let (world, disk) = gpt();
    let mut gap = disk.clone();
    rename(&mut gap, "erofs-layer-1", "erofs-layer-4");
    world.blob("gap", padded(&gap));
    let mut twice = disk.clone();
    rename(&mut twice, "erofs-layer-1", "erofs-layer-0");
    world.blob("twice", padded(&twice));
    let mut mbr = vec![0; 4096];
    mbr[510..512].copy_from_slice(&[0x55, 0xaa]);
    mbr[450] = 0x83;
    world.blob("mbr", Sparse::from(mbr));
    let roots = verity(ROOTS);
    for (line, want) in [
        ("layer=gpt@none-*", "gpt@name:none-*: its GPT has no such partition"),
        (
            "layer=gap@erofs-layer-*",
            "its GPT has partitions of that name before and after number 1, and not that",
        ),
        ("layer=twice@erofs-layer-*", "its GPT has 2 such partitions"),
        ("image=twice@name:erofs-layer-0", "its GPT has 2 such partitions"),
        ("image=mbr@name:x", "its partition table is an MBR, which is not read"),
        ("image=gpt@99999999+8", "it has no 4096 bytes of whole sectors from byte"),
        ("image=gpt@name:erofs-layer-*", "several partitions (@START*) are those of layer= alone"),
        ("image=gpt layer=gpt", "image= is an image alone, and layer= one of a stack"),
        ("layer=gpt blob1=x", "those of a stack are layerN.blobM="),
        ("image=gpt layer1.blob1=x", "need layer="),
        ("layer=gpt layer0.blob1=x", "expected layerN.blobM="),
        ("layer=gpt layer1.blub1=x", "expected layerN.blobM="),
        (
            "layer=gpt@erofs-layer-* layer4.blob1=gpt",
            "layer4.blobM= names an image that the stack does not have; it has 3",
        ),
        (
            "layer=gpt@erofs-layer-* layer2.blob1=gpt",
            "layer 2 (gpt): a blob is given for slot 1, the image has 0 device slots",
        ),
        ("layer=none", "layer 1 (none): the image (disk none): not found"),
        ("layer=gpt@name:erofs-layer-0 layer=gpt", "layer 2 (gpt): "),
    ] {
        let error = mount(&world, line).map(|_| ()).unwrap_err();
        assert!(error.contains(want), "{line}: {error}");
    }
    // Of a stack of one the image may be called so; of any other that is not enough.
    let one = format!("layer=gpt@name:erofs-layer-0{}", roots.split(" verity2").next().unwrap());
    mount(&world, &one.replace("verity1=", "verity=")).unwrap();
    let all = format!("layer=gpt@erofs-layer-*{}", roots.replace("verity3=", "verity="));
    let error = mount(&world, &all).map(|_| ()).unwrap_err();
    assert!(error.starts_with("layer 3: nothing says what it is"), "{error}");
    let error =
        mount(&world, &format!("layer=gpt@name:erofs-layer-0{roots}")).map(|_| ()).unwrap_err();
    assert!(error.contains("names a layer that the stack does not have; it has 1"), "{error}");
    let error = mount(
        &world,
        &format!("layer=gpt@erofs-layer-*{}", roots.split(" verity3").next().unwrap()),
    );
    let error = error.map(|_| ()).unwrap_err();
    assert!(error.starts_with("layer 3: nothing says what it is"), "{error}");
}

/// The types of partitions by the Discoverable Partitions Specification, as they lie on a disk: of a
/// root on x86-64, of its tree, and of the same on 64-bit ARM.
const ROOT: [[u8; 16]; 2] = [
    *b"\xe3\xbc\x68\x4f\xcd\xe8\xb1\x4d\x96\xe7\xfb\xca\xf9\x84\xb7\x09",
    *b"\xed\x57\x73\x2c\xd2\xeb\xd9\x46\xae\xc1\x23\xd4\x37\xec\x2b\xf5",
];
const ROOT_OF_ARM: [[u8; 16]; 2] = [
    *b"\x45\xb0\x21\xb9\xf0\x1d\xc3\x41\xaf\x44\x4c\x6f\x28\x0d\x3f\xae",
    *b"\xce\x00\x33\xdf\x9f\xd6\x92\x4c\x97\x8c\x9b\xfb\x0f\x38\xd8\x20",
];

/// A disk image of systemd's form: the first layer in a partition of the first type, and its superblock
/// of dm-verity and its tree in one of the second.
fn discoverable(types: [[u8; 16]; 2]) -> Vec<u8> {
    let mut disk = FILES["gpt.img"].clone();
    let lba = |disk: &[u8], at: usize| u64::from_le_bytes(disk[at..at + 8].try_into().unwrap());
    let (first, last) = (lba(&disk, 1024 + 32), lba(&disk, 1024 + 40));
    let tree = first + u64::from(ROOTS[0].1) * 8;
    for (number, (kind, from, to)) in
        [(types[0], first, tree - 1), (types[1], tree, last)].into_iter().enumerate()
    {
        let entry = 1024 + 128 * number;
        disk[entry..entry + 16].copy_from_slice(&kind);
        disk[entry + 32..entry + 40].copy_from_slice(&from.to_le_bytes());
        disk[entry + 40..entry + 48].copy_from_slice(&to.to_le_bytes());
    }
    disk[1024 + 256..1024 + 384].fill(0);
    sum(&mut disk);
    disk
}

#[test]
fn partitions_of_a_discoverable_image_are_found_by_their_types() {
    let alone = |world: &World, line: &str| {
        let mut guest = mount(world, line).unwrap();
        (guest.run(&["manifest", "/"]).unwrap(), guest.root.storage().stats().verified_bytes)
    };
    let root = verity(ROOTS).split(" verity2").next().unwrap().replace("verity1=", "verity=");
    let world = World::new(1);
    world.blob("l1", padded(&FILES["l1.erofs"]));
    let (rows, _) = alone(&world, "image=l1");
    for types in [ROOT, ROOT_OF_ARM] {
        let (world, disk) = (World::new(1), discoverable(types));
        world.blob("disk", padded(&disk));
        assert_eq!(alone(&world, "image=disk@type:root"), (rows.clone(), 0));
        let (verified, bytes) = alone(&world, &format!("image=disk@type:root{root}"));
        assert!(verified == rows && bytes > 0);
        // The tree decides, wherever it lies.
        let mut changed = disk.clone();
        let tree = u64::from_le_bytes(disk[1152 + 32..1152 + 40].try_into().unwrap()) * 512 + 4096;
        changed[tree as usize + 5] ^= 1;
        let world = World::new(1);
        world.blob("disk", padded(&changed));
        let error = mount(&world, &format!("image=disk@type:root{root}")).map(|_| ()).unwrap_err();
        assert!(error.starts_with("image: tree, level "), "{error}");
        // Without the partition of the tree nothing verifies the other.
        let mut bare = disk;
        bare[1152..1280].fill(0);
        sum(&mut bare);
        let world = World::new(1);
        world.blob("disk", padded(&bare));
        let error = mount(&world, &format!("image=disk@type:root{root}")).map(|_| ()).unwrap_err();
        assert!(error.contains("no tree is found"), "{error}");
        let error = mount(&world, "image=disk@type:usr").map(|_| ()).unwrap_err();
        assert!(error.contains("its GPT has no such partition"), "{error}");
    }
    // Two roots, of two processors: one has to be named.
    let mut two = discoverable(ROOT);
    two[1152..1168].copy_from_slice(&ROOT_OF_ARM[0]);
    sum(&mut two);
    let world = World::new(1);
    world.blob("disk", padded(&two));
    let error = mount(&world, "image=disk@type:root").map(|_| ()).unwrap_err();
    assert!(error.contains("its GPT has 2 such partitions"), "{error}");
    let one = "image=disk@type:4f68bce3-e8cd-4db1-96e7-fbcaf984b709";
    assert_eq!(alone(&world, one).0, rows);
}

/// Gives a partition another name of the same length.
fn rename(disk: &mut [u8], from: &str, to: &str) {
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let (from, to) = (utf16(from), utf16(to));
    let at = disk.windows(from.len()).position(|bytes| bytes == from).unwrap();
    disk[at..at + to.len()].copy_from_slice(&to);
    sum(disk);
}

/// Gives the table of a disk its checksums.
fn sum(disk: &mut [u8]) {
    let crc = crc(&disk[1024..1024 + 128 * 128]);
    disk[512 + 88..512 + 92].copy_from_slice(&crc.to_le_bytes());
    disk[512 + 16..512 + 20].fill(0);
    let crc = self::crc(&disk[512..512 + 92]);
    disk[512 + 16..512 + 20].copy_from_slice(&crc.to_le_bytes());
}

/// The CRC-32 of a GPT, bit by bit.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    })
}
