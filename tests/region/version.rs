//! Versions that are said of sources: other content under the same name.
//!
//! Always: with another version nothing is served that a region kept under an older one.

use rootlet_sim::disk::{Sparse, Survive, World};
use rootlet_sim::image::{Built, Content, Options, Tree, build};

use crate::guest::Guest;

const TAG: &str = "a-tag-that-is-longer-than-twenty";

/// An image as a reproducible build leaves it: only the content of its file depends on `seed`.
fn release(seed: u64) -> Built {
    let mut tree = Tree::new();
    tree.file("/f", Content::bytes(Content::seeded(seed, 300_000).to_vec()));
    let options = Options {
        uuid: [1; 16],
        blobs: 1,
        dedupe: false,
        tags: vec![TAG.as_bytes().to_vec()],
        ..Options::default()
    };
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
    assert!(guest.root.leave());
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
