//! Versions that are said of sources: other content under the same name.
//!
//! Always: with another version nothing is served that a region kept under an older one.

use rootlet_guest::SYNC_TIME;
use rootlet_sim::disk::{Sparse, Survive, World};
use rootlet_sim::image::{Built, Content, Options, Tree, build};

use crate::guest::Guest;

const TAG: &str = "a-tag-that-is-longer-than-twenty";

/// An image as a reproducible build leaves it: only the content of its file depends on `seed`.
fn release(seed: u64) -> Built {
    of_options(seed, 300_000, Options::default())
}

fn of_options(seed: u64, len: usize, options: Options) -> Built {
    let mut tree = Tree::new();
    tree.file("/f", Content::bytes(Content::seeded(seed, len).to_vec()));
    let tags = vec![TAG.as_bytes().to_vec()];
    let options = Options { uuid: [1; 16], blobs: 1, dedupe: false, tags, ..options };
    build(&tree, &options).unwrap()
}

/// Boots over a region, reads the file if it is that of `seed`, and returns bytes fetched and the
/// region.
fn boot(
    blob: Option<&Sparse>,
    region: &Sparse,
    line: &str,
    seed: u64,
) -> Result<(u64, Sparse), String> {
    let world = World::new(1);
    world.blob("image", &release(1).image);
    if let Some(blob) = blob {
        world.blob("b", blob.to_vec());
    }
    let disk = world.disk("cache", 512, region.clone());
    let mut guest = Guest::mount(world.attach(), &format!("{line} cache=cache"), 3)?;
    let got = guest.run(&["cat", "/f"])?;
    if got != Content::seeded(seed, 300_000).to_vec() {
        return Err("other bytes".into());
    }
    let fetched = guest.root.stats().fetched_bytes;
    assert!(guest.root.leave(SYNC_TIME));
    Ok((fetched, world.crash_image(disk, Survive::Everything).0))
}

#[test]
fn disk_with_other_content_and_another_version_is_fetched_anew() {
    let [old, new] = [1, 2].map(|seed| Sparse::from(&release(seed).blobs[0]));
    assert_ne!(old.to_vec(), new.to_vec());
    assert_eq!(release(1).image.bytes(), release(2).image.bytes(), "reproducible");
    let blank = Sparse::zeros(4 << 20);
    for [before, after] in [
        ["image=image blob1=b,version=1", "image=image blob1=b,version=2"],
        ["image=image blob1=b disk=b,version=1", "image=image blob1=b disk=b,version=2"],
        ["image=image blob1=b", "image=image blob1=b,version=2"],
    ] {
        let (_, region) = boot(Some(&old), &blank, before, 1).unwrap();
        let (fetched, _) = boot(Some(&old), &region, before, 1).unwrap();
        assert!(fetched < 100_000, "the blob is in the region: {fetched} bytes fetched");
        let (fetched, region) = boot(Some(&new), &region, after, 2).unwrap();
        assert!(fetched >= 300_000, "{after}");
        let (fetched, _) = boot(Some(&new), &region, after, 2).unwrap();
        assert!(fetched < 100_000, "{fetched}");
    }
    // What the version is for: nothing else tells the two disks apart.
    let (_, region) = boot(Some(&old), &blank, "image=image blob1=b", 1).unwrap();
    let error = boot(Some(&new), &region, "image=image blob1=b", 2).unwrap_err();
    assert_eq!(error, "other bytes");
}

#[test]
fn missing_source_is_read_from_a_region_that_holds_its_version_alone() {
    let old = Sparse::from(&release(1).blobs[0]);
    let blank = Sparse::zeros(4 << 20);
    let (_, region) = boot(Some(&old), &blank, "image=image blob1=b,version=1", 1).unwrap();
    let none = |line: &str| boot(None, &region, line, 1).map(|_| ());
    none("image=image blob1=b,version=1").unwrap();
    none("image=image blob1=b").unwrap();
    let missing = "blob of slot 1 (disk b): not found";
    assert_eq!(none("image=image blob1=b,version=2").unwrap_err(), missing);
    // By the tag, of which a serial has 20 bytes.
    none(&format!("image=image disk={},version=1", &TAG[..20])).unwrap();
    let error = none(&format!("image=image disk={},version=2", &TAG[..20])).unwrap_err();
    assert!(error.starts_with("blob of slot 1: none given"), "{error}");
    none(&format!("image=image disk={TAG},version=1")).unwrap();
}

/// Boots `image` over a region, with a disk `b` if there is one, and returns the file and the
/// region.
fn read(
    image: &Built,
    blob: Option<Vec<u8>>,
    region: &Sparse,
    line: &str,
) -> Result<(Vec<u8>, Sparse), String> {
    let world = World::new(1);
    world.blob("image", &image.image);
    if let Some(blob) = blob {
        world.blob("b", blob);
    }
    let disk = world.disk("cache", 512, region.clone());
    let line = format!("image=image blob1=b cache=cache {line}");
    let mut guest = Guest::mount(world.attach(), &line, 3)?;
    let got = guest.run(&["cat", "/f"])?;
    assert!(guest.root.leave(SYNC_TIME));
    Ok((got, world.crash_image(disk, Survive::Everything).0))
}

fn blob(built: &Built) -> Vec<u8> {
    Sparse::from(&built.blobs[0]).to_vec()
}

#[test]
fn disk_of_another_length_is_another_blob_where_the_image_states_none() {
    let unstated = || Options { slot_blocks: false, uniaddr: false, ..Options::default() };
    let [old, new] = [1, 2].map(|seed| of_options(seed, 300_000, unstated()));
    assert_eq!(old.image.bytes(), new.image.bytes());
    let blank = Sparse::zeros(4 << 20);
    let (_, region) = read(&old, Some(blob(&old)), &blank, "").unwrap();
    let longer = [blob(&new), vec![0; 4096]].concat();
    let (got, _) = read(&new, Some(longer), &region, "").unwrap();
    assert!(got == Content::seeded(2, 300_000).to_vec(), "nothing of the shorter disk is served");
}

#[test]
fn image_with_another_superblock_has_other_blobs() {
    let named = |volume| Options { volume, ..Options::default() };
    let [one, two] = [1, 2].map(|seed| of_options(seed, 300_000, named([seed as u8; 16])));
    assert_ne!(one.image.bytes(), two.image.bytes());
    assert_eq!(blob(&one).len(), blob(&two).len());
    let blank = Sparse::zeros(4 << 20);
    let (_, region) = read(&one, Some(blob(&one)), &blank, "").unwrap();
    let (got, _) = read(&two, Some(blob(&two)), &region, "").unwrap();
    assert!(got == Content::seeded(2, 300_000).to_vec(), "UUID, tag and length are alike");
}

#[test]
fn region_that_holds_a_blob_of_another_length_is_no_source() {
    // Both take two blocks of a region.
    let small = || Options { block_bits: 9, chunk_bits: 9, ..Options::default() };
    let [short, long] = [9, 10].map(|blocks| of_options(blocks, blocks as usize * 512, small()));
    assert_eq!([&short, &long].map(|built| blob(built).len()), [9 * 512, 10 * 512]);
    let blank = Sparse::zeros(4 << 20);
    let domain = "domain=d";
    let (_, region) = read(&short, Some(blob(&short)), &blank, domain).unwrap();
    read(&short, None, &region, domain).unwrap();
    let error = read(&long, None, &region, domain).map(|_| ()).unwrap_err();
    assert_eq!(error, "blob of slot 1 (disk b): not found");
}

#[test]
fn version_of_a_disk_that_is_not_there_is_an_error() {
    let old = Sparse::from(&release(1).blobs[0]);
    let blank = Sparse::zeros(4 << 20);
    for (more, why) in [
        ("disk=typo,version=1", "a version is given for disk typo: not found"),
        ("disk=b,version=1 disk=typo,version=2", "a version is given for disk typo: not found"),
    ] {
        let line = format!("image=image blob1=b {more}");
        assert_eq!(boot(Some(&old), &blank, &line, 1).unwrap_err(), why);
    }
    let line = "image=image blob1=b,version=1 disk=typo,version=1";
    let (_, region) = boot(Some(&old), &blank, "image=image blob1=b,version=1", 1).unwrap();
    let error = boot(None, &region, line, 1).unwrap_err();
    assert_eq!(error, "a version is given for disk typo: not found", "another slot's is missing");
}

/// The image at the start of a disk, and the region after it, on one disk or on two of one file.
#[test]
fn image_and_region_on_one_disk_lie_beside_each_other_or_the_region_is_not_used() {
    let mut tree = Tree::new();
    tree.file("/f", Content::seeded(1, 300_000));
    let built = build(&tree, &Options { blobs: 0, ..Options::default() }).unwrap();
    let bytes = built.image.bytes();
    let sectors = bytes.len().div_ceil(512);
    let disk = [bytes.to_vec(), vec![0; 8 << 20]].concat();
    let notice = "region  not used: disk cache is the source of slot 0";
    for (line, of_image, used) in [
        ("image=cache cache=cache@{at}+16384", false, true),
        ("image=cache cache=cache@{last}+16384", false, false),
        ("image=cache cache=cache", false, false),
        ("image=image,file=0x7 disk=cache,file=0x7 cache=cache@{at}+16384", true, true),
        ("image=image,file=0x7 disk=cache,file=0x7 cache=cache@{last}+16384", true, false),
    ] {
        let world = World::new(1);
        if of_image {
            world.blob("image", disk.clone());
        }
        let region = world.disk("cache", 512, disk.clone());
        let line = line.replace("{at}", &sectors.to_string());
        let line = line.replace("{last}", &(sectors - 1).to_string());
        let mut guest = Guest::mount(world.attach(), &line, 3).unwrap();
        assert_eq!(!guest.notices.iter().any(|line| line == notice), used, "{:?}", guest.notices);
        let got = guest.run(&["cat", "/f"]).unwrap();
        assert!(got == Content::seeded(1, 300_000).to_vec(), "{line}");
        assert!(guest.root.leave(SYNC_TIME));
        let now = world.crash_image(region, Survive::Everything).0.to_vec();
        assert!(now[..bytes.len()] == *bytes, "{line}: the region overwrote the image");
    }
}
