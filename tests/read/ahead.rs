//! A directory's entries with their inodes: the same as one by one, in fewer batches.

use rootlet::Error;
use rootlet::blob::Image;
use rootlet::cache::NoRegion;
use rootlet::erofs::{Inode, Layout, Mtime, Nid};
use rootlet::read::{Budget, DirEntry, Root, Stats};
use rootlet::storage::{Discover, IoErrorKind};
use rootlet_sim::disk::{Fault, OpKind, Rule, SimStorage, World};
use rootlet_sim::image::{Built, Content, FileLayout, Options, Tree, build};

use crate::mount;

type Entries = Vec<(DirEntry, Fields)>;

/// What an inode says, whichever root has read it.
type Fields = (Nid, u16, u64, u32, Mtime, Layout);

fn fields(inode: &Inode) -> Fields {
    let (nid, mode, size) = (inode.nid(), inode.mode(), inode.size());
    (nid, mode, size, inode.nlink(), inode.mtime(), inode.layout())
}

const FILES: u64 = 100;

/// Inodes with tails of 1500 bytes after them: about two on a page.
fn built() -> Built {
    let mut tree = Tree::new();
    for number in 0..FILES {
        tree.file(format!("/{number:03}"), Content::seeded(number, 1500));
    }
    let options = Options { layout: FileLayout::Inline, ..Options::default() };
    build(&tree, &options).unwrap()
}

fn mounted(world: &World, metadata_bytes: usize) -> Root<SimStorage, NoRegion> {
    let mut storage = world.attach();
    let device = storage.disk("image").unwrap();
    let image = Image::read(&storage, device).unwrap();
    let sources = image.bind(&mut storage, &[]).unwrap();
    let budget = Budget::default().with_metadata_bytes(metadata_bytes);
    Root::with_budget(storage, NoRegion, &image, &sources, &budget).unwrap()
}

fn one_by_one(root: &Root<SimStorage, NoRegion>) -> Entries {
    let mut cursor = root.read_dir(b"/").unwrap();
    let mut entries = Entries::new();
    while let Some(entry) = cursor.next(root).unwrap() {
        let inode = root.inode(entry.nid).unwrap();
        entries.push((entry, fields(&inode)));
    }
    entries
}

fn together(root: &Root<SimStorage, NoRegion>) -> Result<Entries, Error> {
    let mut cursor = root.read_dir(b"/")?;
    let (mut entries, mut entry) = (Entries::new(), DirEntry::default());
    while let Some(inode) = cursor.next_inode(root, &mut entry)? {
        entries.push((entry.clone(), fields(&inode)));
    }
    Ok(entries)
}

/// The entries both ways, each on a mount of its own, and what the mounts did.
fn both(metadata_bytes: usize) -> [(Entries, Stats); 2] {
    let world = World::new(3);
    mount::plug(&world, &built());
    let root = mounted(&world, metadata_bytes);
    let single = (one_by_one(&root), root.stats());
    let root = mounted(&world, metadata_bytes);
    let batched = (together(&root).unwrap(), root.stats());
    [single, batched]
}

#[test]
fn inodes_of_a_directory_come_in_batches_and_are_the_same() {
    let [(single, each), (batched, all)] = both(1 << 20);
    assert_eq!(single.len() as u64, FILES);
    assert_eq!(batched, single);
    assert_eq!(all.fetched_bytes, each.fetched_bytes, "no page twice, none that is not needed");
    assert!(each.batches > FILES / 3, "one page after another: {each:?}");
    assert!(all.batches * 3 < each.batches, "{} and {} batches", all.batches, each.batches);
}

#[test]
fn small_cache_is_not_filled_with_more_than_it_keeps() {
    for metadata_bytes in [1, 64 << 10] {
        let [(single, each), (batched, all)] = both(metadata_bytes);
        assert_eq!(batched, single);
        assert_eq!(all.fetched_bytes, each.fetched_bytes, "{metadata_bytes} bytes of cache");
    }
}

#[test]
fn page_that_cannot_be_read_fails_no_entry_before_its_own() {
    let world = World::new(3);
    let devices = mount::plug(&world, &built());
    let root = mounted(&world, 1 << 20);
    let good = one_by_one(&root);
    let last = good.last().unwrap().1.0;
    let at = root.superblock().inode_at(last).unwrap() & !4095;
    let root = mounted(&world, 1 << 20);
    let broken = Rule::new(Fault::Fail(IoErrorKind::Device(5))).device(devices[0]);
    world.rule(broken.op(OpKind::Read).range(at..at + 4096).times(1 << 20));
    let mut cursor = root.read_dir(b"/").unwrap();
    let (mut entry, mut seen) = (DirEntry::default(), 0);
    let error = loop {
        match cursor.next_inode(&root, &mut entry) {
            Ok(found) => assert_eq!(found.as_ref().map(fields), Some(good[seen].1), "{seen}"),
            Err(error) => break error,
        }
        seen += 1;
    };
    assert!(matches!(error, Error::Io(error) if error.at == at), "{error}");
    let first_there = good
        .iter()
        .position(|(_, fields)| root.superblock().inode_at(fields.0).unwrap() & !4095 == at);
    assert_eq!(Some(seen), first_there);
}
