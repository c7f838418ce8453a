//! What a stack costs: lookups of names, and reads of a stack of one.
//!
//! Always: counted, never timed.

use rootlet::PathError;
use rootlet::blob::Image;
use rootlet::cache::NoRegion;
use rootlet::read::{DirEntry, Root};
use rootlet_sim::image::{Content, Kind, Options, Tree, build};

use crate::made::{Disks, Stack, stack};
use crate::{model, rows};
use rootlet_rows::differences;

/// The most images of a stack.
const LAYERS_MAX: usize = 128;

fn image(tree: &Tree) -> Vec<u8> {
    build(tree, &Options::default()).unwrap().image.bytes().to_vec()
}

/// Images that all have the directory `/d/e/f`; a file for each in it, and one that all have.
fn alike(count: usize) -> Vec<Tree> {
    let trees = (0..count).map(|number| {
        let mut tree = Tree::new();
        tree.file(format!("/d/e/f/own{number}"), Content::bytes(number.to_string()));
        tree.file("/d/e/f/same", Content::bytes(format!("same {number}")));
        tree
    });
    trees.collect()
}

/// Returns how many lookups a call takes.
fn lookups<T>(root: &Stack<'_>, call: impl FnOnce() -> T) -> (u64, T) {
    let before = root.stats().lookups;
    let result = call();
    (root.stats().lookups - before, result)
}

#[test]
fn hit_at_the_top_is_one_lookup_a_name_and_a_miss_one_for_each_image() {
    for count in [2, 5, 20] {
        let images: Vec<_> = alike(count).iter().map(image).collect();
        let root = stack(&images).unwrap();
        let (cost, found) = lookups(&root, || root.metadata(b"/d/e/f/same"));
        assert_eq!((cost, found.unwrap().nid().layer() as usize), (4, count));
        let (cost, found) = lookups(&root, || root.metadata(b"/d/e/f/own0"));
        assert_eq!(found.unwrap().nid().layer(), 1);
        assert_eq!(cost, 4 * count as u64, "each name once in each image");
        let (cost, found) = lookups(&root, || root.metadata(b"/d/e/f/none"));
        assert_eq!(found, Err(PathError::NotFound.into()));
        assert_eq!(cost, 4 * count as u64);
        let (cost, found) = lookups(&root, || root.metadata(b"/none/e/f/same"));
        assert_eq!(found, Err(PathError::NotFound.into()));
        assert_eq!(cost, count as u64);
        // By the inode of a directory whose parts are known.
        let dir = root.metadata(b"/d/e/f").unwrap();
        let (cost, found) = lookups(&root, || root.find(&dir, b"same"));
        assert_eq!((cost, found.unwrap().unwrap().nid().layer() as usize), (1, count));
        let (cost, found) = lookups(&root, || root.find(&dir, b"none"));
        assert_eq!((cost, found), (count as u64, Ok(None)));
    }
}

#[test]
fn list_of_a_directory_looks_no_name_up() {
    let images: Vec<_> = alike(20).iter().map(image).collect();
    let root = stack(&images).unwrap();
    let dir = root.metadata(b"/d/e/f").unwrap();
    let (cost, names) = lookups(&root, || {
        let (mut cursor, mut entry) = (root.read_dir_inode(dir).unwrap(), DirEntry::default());
        let mut names = Vec::new();
        while cursor.next_inode(&root, &mut entry).unwrap().is_some() {
            names.push(entry.name.to_vec());
        }
        names
    });
    assert_eq!((cost, names.len()), (0, 21));
    assert!(names.is_sorted());
}

#[test]
fn as_many_images_as_a_stack_may_have_are_one_tree() {
    let trees = alike(LAYERS_MAX);
    let images: Vec<_> = trees.iter().map(image).collect();
    let root = stack(&images).unwrap();
    let found =
        differences("rootlet", &rows::rows(&root).unwrap(), "the model", &model::rows(&trees));
    assert!(found.is_empty(), "{}", found.join("\n"));
    let more: Vec<_> = (0..=LAYERS_MAX).map(|_| images[0].clone()).collect();
    let error = format!("{:#}", stack(&more).unwrap_err());
    assert_eq!(
        error,
        "unsupported image: a stack of 129 images with 129 sources together; at most 128 and 65536"
    );
}

#[test]
fn stack_of_one_is_the_image_alone() {
    let mut tree = alike(1).remove(0);
    tree.add("/device", Kind::CharDevice(0, 0), 0o600);
    tree.file("/big", Content::seeded(1, 100_000));
    let images = [image(&tree)];
    let one = stack(&images).unwrap();
    let mut disks = Disks::default();
    let device = disks.add_disk("a", &images[0]).unwrap();
    let head = Image::read(&disks, device).unwrap();
    let sources = head.alone(&disks).unwrap();
    let alone = Root::new(disks, NoRegion, &head, &sources).unwrap();
    assert_eq!(rows::rows(&one).unwrap(), rows::rows(&alone).unwrap());
    assert_eq!(one.stats(), alone.stats());
    assert!(rows::rows(&one).unwrap().contains_key("device"), "nothing is hidden");
    assert_eq!(one.stats().lookups, 0);
}
