//! What belongs to another root: an inode, a position in a directory, a walk, sources, a ticket of
//! the region.

use std::time::Duration;

use rootlet::blob::{BindError, Image, identity};
use rootlet::cache::{Layer, NoRegion, Residence, Ticket, Verdict, Why};
use rootlet::erofs::{Inode, Nid};
use rootlet::read::{DirEntry, DirGuard, Root, Tree};
use rootlet::storage::memory::MemoryStorage;
use rootlet::storage::{DeviceId, Storage, Transfer};
use rootlet::{Error, PathError};
use rootlet_sim::disk::{SimStorage, World};
use rootlet_sim::image::{Content, Options, build};

use crate::guest::Guest;
use crate::mount;

type TestRoot<'i> = Root<MemoryStorage<'i>, NoRegion>;

/// Returns the bytes of an image that differs from its siblings in the content of its files alone.
fn image(letter: u8) -> Vec<u8> {
    let mut tree = rootlet_sim::image::Tree::new();
    tree.file("/dir/file", Content::bytes([letter; 20]))
        .xattrs
        .push(("user.letter".into(), vec![letter]));
    tree.symlink("/dir/link", vec![letter; 9]);
    build(&tree, &Options::default()).unwrap().image.into_bytes()
}

fn storage(bytes: &[u8]) -> (MemoryStorage<'_>, DeviceId) {
    let mut storage = MemoryStorage::new();
    let device = storage.add_disk("image", bytes).unwrap();
    (storage, device)
}

fn mounted(bytes: &[u8]) -> TestRoot<'_> {
    let (storage, device) = storage(bytes);
    Root::open_image(storage, NoRegion, device).unwrap()
}

fn stranger<T>(result: Result<T, Error>, nid: Nid) {
    assert_eq!(result.err(), Some(PathError::OtherRoot(nid).into()));
}

/// Hands the inodes of one root to another in all ways.
fn refuses_all(root: &TestRoot<'_>, dir: Inode, file: Inode, link: Inode) {
    let mut buffer = [0; 4096];
    stranger(root.open_inode(file), file.nid());
    stranger(root.stream_inode(file), file.nid());
    stranger(root.source_of(&file, 0), file.nid());
    stranger(root.xattr(&file, b"user.letter", &mut buffer), file.nid());
    stranger(root.xattrs(&file, &mut buffer, |_, _| Ok(())), file.nid());
    stranger(root.read_link_inode(&link, &mut buffer), link.nid());
    stranger(root.read_dir_inode(dir), dir.nid());
    stranger(root.read_dir_at(dir, 1), dir.nid());
    stranger(root.find(&dir, b"file"), dir.nid());
    stranger(root.read_dir_block(&dir, 0, &mut buffer), dir.nid());
    let mut tree = Tree::new();
    stranger(tree.begin_with(root, dir, b"/dir"), dir.nid());
    assert_eq!(tree.next(root), Ok(None));
    let mut guard = DirGuard::new();
    guard.begin(root);
    stranger(guard.enter(&dir), dir.nid());
}

#[test]
fn inode_of_another_root_is_refused_by_name_also_if_only_contents_differ() {
    let (a, b) = (image(b'a'), image(b'b'));
    let (one, other, again) = (mounted(&a), mounted(&b), mounted(&a));
    let at = |path: &[u8]| one.symlink_metadata(path).unwrap();
    let (dir, file, link) = (at(b"/dir"), at(b"/dir/file"), at(b"/dir/link"));
    // Same head, same places, other bytes: nothing but the origin tells them apart.
    assert_eq!(other.metadata(b"/dir/file").unwrap().nid(), file.nid());
    refuses_all(&other, dir, file, link);
    refuses_all(&again, dir, file, link);
    let mut bytes = [0; 20];
    assert_eq!(one.open_inode(file).unwrap().read_at(0, &mut bytes), Ok(20));
    assert_eq!(bytes, [b'a'; 20]);
}

#[test]
fn cursor_and_walk_of_another_root_are_refused_and_serve_their_own_again() {
    let (a, b) = (image(b'a'), image(b'b'));
    let (one, other) = (mounted(&a), mounted(&b));
    let mut cursor = one.read_dir(b"/dir").unwrap();
    let dir = cursor.dir().nid();
    stranger(cursor.next(&other), dir);
    let mut entry = DirEntry::default();
    entry.name.extend_from_slice(b"left over").unwrap();
    stranger(cursor.next_inode(&other, &mut entry), dir);
    assert!(entry.name.is_empty());
    assert_eq!(cursor.next(&one).unwrap().unwrap().name, b"file");
    let mut tree = Tree::new();
    tree.begin(&one, b"/dir").unwrap();
    stranger(tree.next(&other), dir);
    assert_eq!(tree.next(&other), Ok(None));
    tree.begin(&one, b"/dir").unwrap();
    assert_eq!(tree.next(&one).unwrap().unwrap().nid(), dir);
    stranger(tree.next(&other), dir);
}

#[test]
fn inode_that_no_root_has_parsed_is_refused() {
    let a = image(b'a');
    let root = mounted(&a);
    let nid = root.metadata(b"/dir/file").unwrap().nid();
    let parse = |superblock| {
        let at = rootlet::erofs::Superblock::inode_at(&superblock, nid).unwrap();
        Inode::from_bytes(&superblock, nid, &a[usize::try_from(at).unwrap()..]).unwrap()
    };
    stranger(root.open_inode(parse(rootlet::erofs::Superblock::from_bytes(&a).unwrap())), nid);
    assert!(root.open_inode(parse(root.superblock())).is_ok());
}

#[test]
fn sources_of_another_image_are_refused() {
    let (a, b) = (image(b'a'), image(b'b'));
    let (one, device) = storage(&a);
    let (other, _) = storage(&b);
    let image = Image::read(&one, device).unwrap();
    let sources = Image::read(&other, device).unwrap().alone(&other).unwrap();
    let failed = Root::new(one, NoRegion, &image, &sources).unwrap_err();
    assert_eq!(failed.error, Error::Bind(BindError::OtherImage));
    let sources = image.alone(&failed.storage).unwrap();
    assert!(Root::new(failed.storage, failed.layer, &image, &sources).is_ok());
}

/// Mounts an image whose file has the content of `seed`, and has the region keep the file.
fn kept(seed: u64) -> Guest<SimStorage> {
    let mut tree = rootlet_sim::image::Tree::new();
    tree.file("/file", Content::seeded(seed, 256 << 10));
    let built = build(&tree, &Options { blobs: 1, ..Options::default() }).unwrap();
    let world = World::new(7);
    mount::plug(&world, &built);
    mount::plug_region(&world, 16 << 20);
    let line = format!("{} cache=cache", mount::line(1));
    let guest = Guest::mount(world.attach(), &line, 1).unwrap();
    let mut out = vec![0; 256 << 10];
    assert_eq!(guest.root.open(b"/file").unwrap().read_at(0, &mut out), Ok(out.len()));
    assert!(guest.root.sync(Duration::from_secs(60)));
    guest
}

/// Returns a ticket for the first block of the blob, and the bytes that its read brings.
fn ticket(guest: &Guest<SimStorage>) -> (Ticket, Vec<u8>) {
    guest.root.with_layer(|layer, storage| {
        let (image, blob) = (DeviceId(0), DeviceId(1));
        let info = storage.info(blob).unwrap();
        let image = Image::read(storage, image).unwrap();
        let identity = identity(&image, 1, info.version.number());
        let bytes = image.devices().slot(1).unwrap().bytes().len();
        let blob = Layer::<SimStorage>::attach(layer, || identity, bytes).unwrap();
        layer.prepare(storage, blob, 0..1, Why::Read);
        let (Residence::Resident(spot), _) = Layer::<SimStorage>::locate(layer, blob, 0..1) else {
            panic!("the region has kept nothing")
        };
        let ticket = Layer::<SimStorage>::ticket(layer, spot, 0..1).unwrap();
        let (device, at) = ticket.place();
        let mut bytes = vec![0; 4096];
        let mut batch = [Transfer::read(device, at, &mut bytes)];
        storage.run(&mut batch, &mut |_, _| {});
        batch[0].outcome().unwrap();
        (ticket, bytes)
    })
}

#[test]
fn ticket_of_another_region_never_makes_its_bytes_right() {
    let settle = |guest: &Guest<SimStorage>, ticket, bytes: &[u8]| {
        guest.root.with_layer(|layer, _| Layer::<SimStorage>::settle(layer, ticket, Ok(bytes)))
    };
    let (one, other) = (kept(1), kept(2));
    let ((a, bytes_a), (b, bytes_b)) = (ticket(&one), ticket(&other));
    assert!(a.place() == b.place() && bytes_a != bytes_b, "only contents differ");
    assert_eq!(settle(&other, a, &bytes_b), Verdict::Stale);
    assert_eq!(settle(&one, b, &bytes_b), Verdict::Stale);
    let (a, _) = ticket(&one);
    assert_eq!(settle(&other, a, &bytes_a), Verdict::Stale);
    for (guest, bytes) in [(&one, bytes_a), (&other, bytes_b)] {
        let (own, _) = ticket(guest);
        assert_eq!(settle(guest, own, &bytes), Verdict::Right);
    }
}
