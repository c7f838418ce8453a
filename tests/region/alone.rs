//! A boot from the region alone: the source of a blob is not there, and the region holds it.
//!
//! Always: what the region holds is read; anything else is an error that says why. A region that
//! holds nothing of the blob, or another version or image's, is not a source: the mount fails, and
//! says what was looked for.

use rootlet::storage::Discover;
use rootlet_guest::SYNC_TIME;
use rootlet_sim::disk::{SimStorage, Sparse, Survive, World};
use rootlet_sim::image::{Built, Content, Options, Spread, Tree, build};

use crate::guest::Guest;

const FILE_BYTES: usize = 300_000;
const REGION_BYTES: u64 = 4 << 20;

/// Two files, each in a blob of its own: one on a disk, one on a share.
struct Case {
    built: Built,
    files: [(&'static str, Vec<u8>); 2],
    seed: u64,
}

fn case(seed: u64) -> Case {
    case_with(seed, true)
}

fn case_with(seed: u64, has_lengths: bool) -> Case {
    let mut tree = Tree::new();
    let files = [("/a", seed), ("/b", seed + 1)].map(|(path, seed)| {
        let bytes = Content::seeded(seed, FILE_BYTES).to_vec();
        tree.file(path, Content::bytes(bytes.clone()));
        (path, bytes)
    });
    let uuid = [seed as u8; 16];
    let options = Options {
        uuid,
        blobs: 2,
        spread: Spread::ByFile,
        slot_blocks: has_lengths,
        uniaddr: has_lengths,
        ..Options::default()
    };
    Case { built: build(&tree, &options).unwrap(), files, seed }
}

/// Which sources a machine has.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sources {
    All,
    None,
}

impl Case {
    /// A machine over the region, and the disk of that.
    fn boot(
        &self,
        region: &Sparse,
        sources: Sources,
    ) -> (World, Result<Guest<SimStorage>, String>) {
        let world = World::new(self.seed);
        world.blob("image", &self.built.image);
        if sources == Sources::All {
            world.blob("a", &self.built.blobs[0]);
            world.share_file("share", "b", &self.built.blobs[1]);
        }
        world.disk("cache", 512, region.clone());
        let line = "image=image blob1=a blob2=share:b cache=cache";
        let guest = Guest::mount(world.attach(), line, 3);
        (world, guest)
    }

    /// Reads these files and returns the region as it is then.
    fn read(&self, region: &Sparse, sources: Sources, files: &[usize]) -> Sparse {
        let (world, guest) = self.boot(region, sources);
        let mut guest = guest.unwrap();
        for (path, bytes) in files.iter().map(|file| &self.files[*file]) {
            assert!(guest.run(&["cat", path]).unwrap() == *bytes, "{path}");
        }
        assert!(guest.root.leave(SYNC_TIME));
        let disk = world.attach().disk("cache").unwrap();
        world.crash_image(disk, Survive::Everything).0
    }

    fn refused(&self, region: &Sparse) -> String {
        self.boot(region, Sources::None).1.map(|_| ()).unwrap_err()
    }
}

fn blank() -> Sparse {
    Sparse::zeros(REGION_BYTES)
}

#[test]
fn blobs_that_the_region_holds_whole_need_no_source() {
    for case in [case(1), case_with(1, false)] {
        let region = case.read(&blank(), Sources::All, &[0, 1]);
        let region = case.read(&region, Sources::None, &[1, 0]);
        // And again, from what such a boot leaves; with the sources back it is the same.
        let region = case.read(&region, Sources::None, &[0]);
        case.read(&region, Sources::All, &[0, 1]);
    }
}

#[test]
fn region_with_nothing_of_the_blob_is_no_source() {
    for has_lengths in [true, false] {
        let case = case_with(1, has_lengths);
        let wanted = "blob of slot 1 (disk a): not found";
        assert_eq!(case.refused(&blank()), wanted);
        let part = case.read(&blank(), Sources::All, &[1]);
        assert_eq!(case.refused(&part), wanted);
        let other = case_with(7, has_lengths).read(&blank(), Sources::All, &[0, 1]);
        assert_eq!(case.refused(&other), wanted);
    }
}

/// mkfs.erofs 1.5 states no lengths.
#[test]
fn part_of_a_blob_that_the_region_holds_is_read_and_the_rest_is_an_error() {
    for has_lengths in [true, false] {
        let case = case_with(1, has_lengths);
        let (world, guest) = case.boot(&blank(), Sources::All);
        let mut guest = guest.unwrap();
        let (_, whole) = &case.files[1];
        assert!(guest.run(&["cat", "/b"]).unwrap() == *whole);
        let mut part = vec![0; 10_000];
        let file = guest.root.open(b"/a").unwrap();
        file.read_at(100_000, &mut part).unwrap();
        assert!(guest.root.leave(SYNC_TIME));
        let disk = world.attach().disk("cache").unwrap();
        let region = world.crash_image(disk, Survive::Everything).0;

        let (_, guest) = case.boot(&region, Sources::None);
        let mut guest = guest.unwrap();
        assert!(guest.run(&["cat", "/b"]).unwrap() == *whole);
        let mut out = vec![0; 10_000];
        let (_, bytes) = &case.files[0];
        let file = guest.root.open(b"/a").unwrap();
        file.read_at(100_000, &mut out).unwrap();
        assert!(out == bytes[100_000..110_000], "{has_lengths}");
        let error = guest.run(&["cat", "/a"]).unwrap_err();
        assert!(error.contains("a source that is not there"), "{error}");
    }
}

#[test]
fn without_a_region_a_source_that_is_not_there_is_told_at_once() {
    let case = case(1);
    let world = World::new(1);
    world.blob("image", &case.built.image);
    let line = "image=image blob1=a blob2=share:b";
    let error = Guest::mount(world.attach(), line, 3).map(|_| ()).unwrap_err();
    assert_eq!(error, "blob of slot 1 (disk a): not found");
}

#[test]
fn block_that_is_garbled_meanwhile_is_an_error_that_says_so() {
    let case = case(1);
    let region = case.read(&blank(), Sources::All, &[0, 1]);
    let (world, guest) = case.boot(&region, Sources::None);
    let mut guest = guest.unwrap();
    let disk = world.attach().disk("cache").unwrap();
    // Everything but the tables, which are in memory.
    world.poke(disk, REGION_BYTES / 2, &vec![0x5a; (REGION_BYTES / 2) as usize]);
    world.poke(disk, REGION_BYTES / 16, &vec![0x5a; (REGION_BYTES / 2) as usize]);
    let error = guest.run(&["cat", "/a"]).unwrap_err();
    assert!(error.contains("a source that is not there"), "{error}");
}
