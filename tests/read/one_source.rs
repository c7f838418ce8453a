//! One source serves one slot, unless it is known to be the blob of both.

use rootlet::storage::{Discover, Storage};
use rootlet_sim::disk::World;
use rootlet_sim::image::{Built, Content, Options, Spread, Tree, build};

use crate::guest::Guest;

/// Digits that agree in the first 20, as UUIDs of layers may.
const AGREE: [&str; 2] = ["00000000-0000-0000-0000-1", "00000000-0000-0000-0000-2"];
const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// Two blobs, one file in each; the files, and so the blobs, are alike.
fn two_blobs(tags: [&str; 2]) -> Built {
    let mut tree = Tree::new();
    tree.file("/one", Content::seeded(1, 100_000));
    tree.file("/two", Content::seeded(1, 100_000));
    let options = Options {
        blobs: 2,
        spread: Spread::ByFile,
        chunk_bits: 14,
        dedupe: false,
        tags: tags.map(|tag| tag.as_bytes().to_vec()).to_vec(),
        ..Options::default()
    };
    let built = build(&tree, &options).unwrap();
    assert_eq!(built.blobs[0].to_vec(), built.blobs[1].to_vec());
    built
}

fn world(built: &Built) -> World {
    let world = World::new(1);
    world.blob("image", &built.image);
    world
}

/// Mounts, and reads both files; the error otherwise.
fn outcome(world: &World, line: &str) -> Result<(), String> {
    let mut guest = Guest::mount(world.attach(), line, 1)?;
    for path in ["/one", "/two"] {
        assert!(guest.run(&["cat", path])? == Content::seeded(1, 100_000).to_vec(), "{path}");
    }
    Ok(())
}

#[test]
fn tags_that_agree_in_what_a_serial_holds_do_not_share_a_disk() {
    let built = two_blobs(AGREE);
    let world = world(&built);
    world.blob(&AGREE[0][..20], &built.blobs[0]);
    let shared = "slots 1 and 2 would both be disk 00000000-0000-0000-0; blob1=... and blob2=... \
                  tell them apart";
    assert_eq!(outcome(&world, "image=image").unwrap_err(), shared);
    // A region that could hold the blob makes no difference: nobody knows which blob it is.
    world.disk("cache", 512, vec![0; 4 << 20]);
    assert_eq!(outcome(&world, "image=image cache=cache").unwrap_err(), shared);
    // A user who names them apart is believed.
    world.blob("second", &built.blobs[1]);
    outcome(&world, "image=image blob2=second").unwrap();
    outcome(&world, "image=image blob1=second").unwrap();
}

#[test]
fn equal_tags_that_are_no_digest_do_not_share_a_disk_or_a_file() {
    let tag = "00000000-0000-0000-0000-000000000000";
    let built = two_blobs([tag; 2]);
    let on_disk = world(&built);
    on_disk.blob(&tag[..20], &built.blobs[0]);
    assert_eq!(
        outcome(&on_disk, "image=image").unwrap_err(),
        "slots 1 and 2 would both be disk 00000000-0000-0000-0; blob1=... and blob2=... tell them \
         apart"
    );
    let on_share = world(&built);
    on_share.share_file("fs", tag, &built.blobs[0]);
    assert_eq!(
        outcome(&on_share, "image=image").unwrap_err(),
        format!(
            "slots 1 and 2 would both be file {tag} on share (any); blob1=... and blob2=... tell \
             them apart"
        )
    );
}

#[test]
fn one_file_called_by_its_digest_is_the_blob_of_both_slots() {
    let built = two_blobs([DIGEST; 2]);
    let on_share = world(&built);
    on_share.share_file("fs", DIGEST, &built.blobs[0]);
    outcome(&on_share, "image=image").unwrap();
    // One of them may be named as well.
    outcome(&on_share, &format!("image=image blob2=share:{DIGEST}")).unwrap();
    // A serial has a third of it.
    let on_disk = world(&built);
    on_disk.blob(&DIGEST[..20], &built.blobs[0]);
    let error = outcome(&on_disk, "image=image").unwrap_err();
    assert!(error.starts_with("slots 1 and 2 would both be disk 9f86d081884c7d659a2f;"), "{error}");
    // A user who names it for both slots knows.
    let serial = &DIGEST[..20];
    outcome(&on_disk, &format!("image=image blob1={serial} blob2={serial}")).unwrap();
}

#[test]
fn source_that_is_configured_for_one_slot_is_that_of_another_with_the_same_whole_tag() {
    let built = two_blobs(["layer", "layer"]);
    let world = world(&built);
    world.blob("layer", &built.blobs[0]);
    let error = outcome(&world, "image=image").unwrap_err();
    assert!(error.starts_with("slots 1 and 2 would both be disk layer;"), "{error}");
    outcome(&world, "image=image blob1=layer").unwrap();
    outcome(&world, "image=image blob2=layer").unwrap();
    // Of a long tag a serial has a part only, which others may have as well.
    let built = two_blobs(["a-layer-with-a-long-name"; 2]);
    let world = self::world(&built);
    world.blob("a-layer-with-a-long-", &built.blobs[0]);
    let error = outcome(&world, "image=image blob1=a-layer-with-a-long-").unwrap_err();
    assert!(error.starts_with("slots 1 and 2 would both be disk a-layer-with-a-long-;"), "{error}");
}

#[test]
fn one_source_that_is_configured_for_two_blobs_is_refused() {
    for tags in [["a", "b"], ["", ""]] {
        let built = two_blobs(tags);
        let world = world(&built);
        world.blob("d", &built.blobs[0]);
        world.share_file("fs", "f", &built.blobs[0]);
        for (source, name) in [("d", "disk d"), ("share:f", "file f on share (any)")] {
            let line = format!("image=image blob1={source} blob2={source}");
            let error = outcome(&world, &line).unwrap_err();
            assert_eq!(
                error,
                format!(
                    "slots 1 and 2 would both be {name}; blob1=... and blob2=... tell them apart"
                )
            );
        }
    }
    // One tag, and another length.
    let mut built = two_blobs(["t", "t"]);
    let blocks = built.image.device_slot_at(2) + 64;
    built.image.patch(blocks, &1_u32.to_le_bytes()).fix_checksum();
    let world = world(&built);
    world.blob("d", &built.blobs[0]);
    let error = outcome(&world, "image=image blob1=d blob2=d").unwrap_err();
    assert!(error.starts_with("slots 1 and 2 would both be disk d;"), "{error}");
}

#[test]
fn source_of_one_slot_is_not_found_by_the_tag_of_another() {
    let built = two_blobs(["first", "second"]);
    let world = world(&built);
    world.blob("second", &built.blobs[0]);
    assert_eq!(
        outcome(&world, "image=image blob1=second").unwrap_err(),
        "slots 1 and 2 would both be disk second; blob1=... and blob2=... tell them apart"
    );
}

#[test]
fn image_and_region_are_no_blob_by_their_names() {
    let built = two_blobs(["cache", "image"]);
    let world = world(&built);
    world.disk("cache", 512, vec![0; 4 << 20]);
    world.blob("b", &built.blobs[0]);
    let lines = ["image=image cache=cache blob2=b", "image=image cache=cache blob1=b"];
    assert_eq!(
        lines.map(|line| outcome(&world, line).unwrap_err()),
        [
            "blob of slot 1: none given (blob1=...), and what is called \"cache\" is the disk with \
             the region",
            "blob of slot 2: none given (blob2=...), and what is called \"image\" is the image \
             itself",
        ]
    );
    // A shared file of that name is the blob.
    world.share_file("fs", "cache", &built.blobs[0]);
    world.share_file("fs", "image", &built.blobs[1]);
    outcome(&world, "image=image cache=cache").unwrap();
}

#[test]
fn image_is_no_blob_of_its_own() {
    let built = two_blobs(["a", "b"]);
    let world = world(&built);
    world.blob("b", &built.blobs[1]);
    assert_eq!(
        outcome(&world, "image=image blob1=image").unwrap_err(),
        "slot 1 would be disk image, which is the image itself; blob1=... names its blob"
    );
}

/// Returns the version of a shared file, as a host says it of a disk of the same file.
fn version_of(world: &World, file: &str) -> String {
    let mut storage = world.attach();
    let device = storage.share_file(None, file).unwrap();
    format!("{:#x}", storage.info(device).unwrap().version.number())
}

#[test]
fn disk_and_shared_file_that_are_one_file_are_one_source() {
    let built = two_blobs(["a", "b"]);
    let world = world(&built);
    world.blob("d", &built.blobs[0]);
    world.blob("other", &built.blobs[0]);
    world.share_file("fs", "f", &built.blobs[0]);
    let version = version_of(&world, "f");
    for (one, two, name) in [
        ("d", "share:f", "file f on share (any)"),
        ("share:f", "d", "disk d"),
        ("d", "other", "disk other"),
    ] {
        let told = format!("disk=d,file={version} disk=other,file={version}");
        let line = format!("image=image blob1={one} blob2={two} {told}");
        assert_eq!(
            outcome(&world, &line).unwrap_err(),
            format!("slots 1 and 2 would both be {name}; blob1=... and blob2=... tell them apart")
        );
    }
    // What somebody says of two disks may be the same text.
    outcome(&world, "image=image blob1=d,version=1 blob2=other,version=1").unwrap();
    outcome(&world, "image=image blob1=d,version=0x1 blob2=other,version=0x1").unwrap();
    // Nor is it one file by another number.
    outcome(&world, "image=image blob1=d,file=0x1 blob2=share:f").unwrap();
    // A user who names it for two slots of one tag knows.
    let built = two_blobs(["t", "t"]);
    let world = self::world(&built);
    world.blob("d", &built.blobs[0]);
    world.share_file("fs", "t", &built.blobs[0]);
    let version = version_of(&world, "t");
    outcome(&world, &format!("image=image blob1=d,file={version} blob2=share:t")).unwrap();
}

#[test]
fn shared_file_that_is_the_image_is_no_blob_by_its_name() {
    let built = two_blobs(["layer", "root.erofs"]);
    let world = world(&built);
    world.blob("layer", &built.blobs[0]);
    world.share_file("fs", "root.erofs", &built.image);
    let version = version_of(&world, "root.erofs");
    assert_eq!(
        outcome(&world, &format!("image=image,file={version}")).unwrap_err(),
        "blob of slot 2: none given (blob2=...), and what is called \"root.erofs\" is the image \
         itself"
    );
}

#[test]
fn shared_file_that_is_found_by_a_tag_is_not_a_disk_of_another_slot() {
    let built = two_blobs(["a", "b"]);
    let world = world(&built);
    world.blob("d", &built.blobs[0]);
    world.share_file("fs", "b", &built.blobs[0]);
    let version = version_of(&world, "b");
    let error = outcome(&world, &format!("image=image blob1=d,file={version}")).unwrap_err();
    assert!(error.starts_with("slots 1 and 2 would both be file b on share (any);"), "{error}");
}
