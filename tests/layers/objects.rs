//! composefs images whose objects lie on a disk, in an EROFS image of their own.
//!
//! Always: a file is its object, byte for byte, or an error that says why; a region that has an object
//! saves its source every byte, and a region that lies costs nothing but that.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use embedded_io::Read;
use rootlet::storage::{
    DeviceId, DeviceInfo, Ended, Job, Lent, ObjectFault, ObjectPlace, Parts, Storage, Transfer,
    Vouch,
};
use rootlet_guest::config::Config;
use rootlet_guest::{
    Memory, Mounted, SYNC_TIME, keep_trees, open_region, open_verified, root_verified,
};
use rootlet_rows::{differences, of_manifest};
use rootlet_sim::disk::{SimStorage, Sparse, Survive, World};
use rootlet_sim::image::{Content, Options, Tree, build};
use rootlet_trust::{Algorithm, Builder, Format, Root, Salt, Shape, Software};
use rootlet_verity::Verified;

use crate::guest::Guest;

type Checked = Guest<Verified<Parts<SimStorage>>>;

const LINE: &str = "image=image objects=objects";
/// Around the edges of blocks, of leaves of SHA-256 and of those of SHA-512.
const SIZES: [usize; 9] =
    [65, 4096, 4097, 60_000, 256 << 10, (256 << 10) + 1, 512 << 10, (512 << 10) + 1, 1_700_000];

/// Files, the image that names their objects, and the paths of these.
struct Made {
    files: Vec<(String, Vec<u8>)>,
    image: Vec<u8>,
    paths: Vec<String>,
}

/// Returns the fs-verity digest of some bytes, in hex.
fn digest(algorithm: Algorithm, bytes: &[u8]) -> Vec<u8> {
    let block = rootlet_base::units::BLOCK;
    let shape = Shape::new(algorithm, Format::FsVerity, Salt::NONE, [block; 2], bytes.len() as u64)
        .unwrap();
    let mut builder = Builder::new(&Software, shape).unwrap();
    for block in bytes.chunks(4096) {
        builder.push(block, &mut |_, _| {}).unwrap();
    }
    let Root::File(digest) = builder.finish(&mut |_, _| {}).unwrap() else { panic!() };
    digest.as_bytes().to_vec()
}

fn image(tree: &Tree) -> Vec<u8> {
    build(tree, &Options::default()).unwrap().image.bytes().to_vec()
}

fn made() -> Made {
    let (mut tree, mut files, mut paths) = (Tree::new(), Vec::new(), Vec::new());
    for (number, size) in SIZES.into_iter().enumerate() {
        for (algorithm, kind) in [(Algorithm::Sha256, 1), (Algorithm::Sha512, 2)] {
            let content = Content::seeded((number * 2 + kind) as u64, size);
            let bytes = content.to_vec();
            let digest = digest(algorithm, &bytes);
            let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            let object = format!("/{}/{}", &hex[..2], &hex[2..]);
            let path = format!("/usr/{kind}/{size}");
            let mark = [&[0, digest.len() as u8 + 4, 0, kind as u8][..], &digest].concat();
            let meta = tree.file(&path, Content::hole(size as u64));
            meta.xattrs.push(("trusted.overlay.metacopy".into(), mark));
            meta.xattrs.push(("trusted.overlay.redirect".into(), object.clone().into()));
            files.push((path, bytes));
            paths.push(object);
        }
    }
    Made { files, image: image(&tree), paths }
}

impl Made {
    /// Returns the tree of the objects, that of file `number` with `change`.
    fn objects(&self, number: usize, change: impl FnOnce(&mut Vec<u8>)) -> Tree {
        let mut contents: Vec<_> = self.files.iter().map(|(_, bytes)| bytes.clone()).collect();
        change(&mut contents[number]);
        let mut tree = Tree::new();
        for (path, bytes) in self.paths.iter().zip(contents) {
            tree.file(path, Content::bytes(bytes));
        }
        tree
    }

    fn world(&self) -> World {
        self.world_with(&image(&self.objects(0, |_| ())))
    }

    fn world_with(&self, objects: &[u8]) -> World {
        let world = World::new(1);
        world.blob("image", self.image.clone());
        world.blob("objects", objects.to_vec());
        world
    }

    /// Reads all files; returns which fail, and why.
    fn read(&self, guest: &Checked) -> Vec<(String, String)> {
        let mut failed = Vec::new();
        for (path, bytes) in &self.files {
            let mut out = vec![0xee; bytes.len()];
            let read = guest.root.open(path.as_bytes()).and_then(|file| file.read_at(0, &mut out));
            match read {
                Ok(len) => assert!(len == bytes.len() && out == *bytes, "{path}: other bytes"),
                Err(error) => failed.push((path.clone(), format!("{error:#}"))),
            }
        }
        failed
    }
}

fn mount(world: &World, line: &str) -> Result<Checked, String> {
    let storage = Verified::new(Parts::new(world.attach()), &Software, 1 << 20);
    let root = |mounted: &Mounted, storage, region, memory: &Memory| {
        root_verified(mounted, storage, region, memory, &mut |_| {})
    };
    Guest::mount_with(open_verified, root, storage, line, 1)
}

/// Boots with a region, reads all, and returns what was fetched and the region. A region that lied too
/// often is given up, and made anew by the next boot.
fn boot(made: &Made, region: &Sparse) -> (Checked, u64, Sparse) {
    let world = made.world();
    let disk = world.disk("cache", 512, region.clone());
    let guest = mount(&world, &format!("{LINE} cache=cache")).unwrap();
    assert_eq!(made.read(&guest), []);
    keep_trees(&guest.root).unwrap();
    guest.root.leave(SYNC_TIME);
    let fetched = guest.root.stats().fetched_bytes;
    (guest, fetched, world.crash_image(disk, Survive::Everything).0)
}

#[test]
fn fixture_is_what_linux_shows_with_its_objects_on_a_disk() {
    let dir = tempfile::tempdir().unwrap();
    rootlet_golden::composefs(dir.path());
    let objects = Tree::from_host(&dir.path().join("objects")).unwrap();
    let linux = of_manifest(&std::fs::read(dir.path().join("overlay.jsonl")).unwrap());
    let world = World::new(1);
    world.blob("image", std::fs::read(dir.path().join("image.cfs")).unwrap());
    world.blob("objects", image(&objects));
    let mut guest = mount(&world, LINE).unwrap();
    let ours = of_manifest(&guest.run(&["manifest", "/"]).unwrap());
    let found = differences("rootlet", &ours, "Linux", &linux);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn objects_of_all_lengths_and_of_both_digests_are_their_files() {
    let made = made();
    let guest = mount(&made.world(), LINE).unwrap();
    assert!(guest.notices[1].starts_with("objects objects: "), "{:?}", guest.notices);
    assert_eq!(made.read(&guest), []);
    // Any part of any file.
    for (path, bytes) in &made.files {
        let file = guest.root.open(path.as_bytes()).unwrap();
        for at in [0, 1, 4095, bytes.len() / 2, bytes.len() - 1] {
            let mut out = [0xee; 5000];
            let len = file.read_at(at as u64, &mut out).unwrap();
            let want = &bytes[at.min(bytes.len())..];
            assert!(out[..len] == want[..want.len().min(5000)], "{path} from {at}");
        }
    }
}

#[test]
fn second_boot_fetches_no_byte_of_an_object() {
    let made = made();
    let (_, cold, region) = boot(&made, &Sparse::zeros(32 << 20));
    assert!(cold > SIZES.iter().sum::<usize>() as u64 * 2, "{cold}");
    let (guest, warm, _) = boot(&made, &region);
    assert_eq!(warm, 0, "{:?}", guest.root.stats());
    let stats = guest.root.storage().stats();
    assert_eq!((stats.wrong, stats.wrong_elsewhere), (0, 0), "{stats:?}");
    // Nothing but the heads of both images is read of their disks.
    let world = World::new(1);
    let head = |bytes: &[u8]| bytes[..bytes.len().min(4096)].to_vec();
    let objects = image(&made.objects(0, |_| ()));
    let mut cut = head(&objects);
    cut.resize(objects.len(), 0xff);
    world.blob("image", made.image.clone());
    world.blob("objects", cut);
    world.disk("cache", 512, region);
    let guest = mount(&world, &format!("{LINE} cache=cache")).unwrap();
    assert_eq!(made.read(&guest), [], "the disk of the objects is not asked");
}

#[test]
fn futures_and_streams_read_objects_out_of_a_region() {
    let made = made();
    let (_, _, region) = boot(&made, &Sparse::zeros(32 << 20));
    let world = made.world();
    world.disk("cache", 512, region);
    let guest = mount(&world, &format!("{LINE} cache=cache")).unwrap();
    for (number, (path, bytes)) in made.files.iter().enumerate() {
        let mut out = vec![0xee; bytes.len()];
        if number % 2 == 0 {
            let mut stream = guest.root.stream(path.as_bytes()).unwrap();
            stream.read_exact(&mut out).unwrap();
        } else {
            let inode = guest.root.metadata(path.as_bytes()).unwrap();
            let mut read = pin!(guest.root.read(&inode, 0, &mut out));
            let mut context = Context::from_waker(Waker::noop());
            let len = loop {
                match read.as_mut().poll(&mut context) {
                    Poll::Ready(read) => break read.unwrap(),
                    Poll::Pending => _ = guest.root.drive(),
                }
            };
            assert_eq!(len, bytes.len(), "{path}");
        }
        assert!(out == *bytes, "{path}");
    }
    assert_eq!(guest.root.stats().fetched_bytes, 0);
}

#[test]
fn region_that_lies_costs_time_and_no_file() {
    let made = made();
    let (_, _, region) = boot(&made, &Sparse::zeros(32 << 20));
    let clean = region.to_vec();
    // The checks of a region find accidents; an enemy makes them right. Here they are what finds it.
    for (seed, stride) in [(1, 40_000), (2, 4096)] {
        let mut bytes = clean.clone();
        for at in (200_000 + seed..bytes.len()).step_by(stride) {
            bytes[at] ^= 0x40;
        }
        boot(&made, &Sparse::from(bytes));
    }
}

/// A storage whose objects have other bytes, and that finds them right. The region that it leaves is
/// one that an enemy wrote who held it for a while.
struct Liar(Verified<Parts<SimStorage>>);

impl Storage for Liar {
    fn info(&self, device: DeviceId) -> Option<DeviceInfo> {
        self.0.info(device)
    }

    fn run<'b>(&self, batch: &mut [Transfer<'b>], done: &mut dyn FnMut(usize, &mut Transfer<'b>)) {
        let objects = self.0.objects();
        self.0.run(batch, &mut |index, transfer| {
            if let (Lent::Read(out), true) = (&mut transfer.lent, Some(transfer.device) == objects)
            {
                out[7] ^= 1;
            }
            done(index, transfer);
        });
    }

    fn objects(&self) -> Option<DeviceId> {
        self.0.objects()
    }

    fn object(&self, digest: &[u8], len: u64, place: ObjectPlace<'_>) -> Result<u64, ObjectFault> {
        self.0.object(digest, len, place)
    }

    fn prove_object(&self, at: u64) -> Result<(), ObjectFault> {
        self.0.prove_object(at)
    }

    fn vouch(&self, _: DeviceId, _: u64, _: &[u8]) -> Vouch {
        Vouch::Right
    }

    fn now_ns(&self) -> u64 {
        self.0.now_ns()
    }

    fn start(&self, job: Job) -> Result<(), Job> {
        self.0.start(job)
    }

    fn poll(&self) -> Option<Ended> {
        self.0.poll()
    }

    fn rest(&self, ns: u32) {
        self.0.rest(ns);
    }
}

#[test]
fn region_of_an_enemy_is_not_believed() {
    let made = made();
    let world = made.world();
    let disk = world.disk("cache", 512, Sparse::zeros(32 << 20));
    let config = Config::parse(&format!("{LINE} cache=cache")).unwrap();
    let mut storage = Verified::new(Parts::new(world.attach()), &Software, 1 << 20);
    let mounted = open_verified(&mut storage, &config).unwrap();
    let memory = Memory::of(48 << 20, &config).unwrap();
    let region = open_region(&mut storage, &config, &mounted, [1; 16], &memory, &mut |_| {});
    let root = mounted.root(Liar(storage), region, &memory).unwrap();
    for (path, bytes) in &made.files {
        let mut out = vec![0; bytes.len()];
        root.open(path.as_bytes()).unwrap().read_at(0, &mut out).unwrap();
        assert!(out != *bytes, "{path}");
    }
    assert!(root.leave(SYNC_TIME));
    let region = world.crash_image(disk, Survive::Everything).0;
    let (guest, fetched, _) = boot(&made, &region);
    let stats = guest.root.storage().stats();
    assert!(stats.wrong == 0 && stats.wrong_elsewhere > 0 && fetched > 0, "{stats:?}");
    // What is prefetched before its object is known is not believed either.
    let world = made.world();
    world.disk("cache", 512, region);
    let guest = mount(&world, &format!("{LINE} cache=cache")).unwrap();
    guest.root.open(made.files[0].0.as_bytes()).unwrap();
    guest.root.prefetch();
    for _ in 0..200 {
        guest.root.progress();
        world.advance_ns(1_000_000);
    }
    assert_eq!(made.read(&guest), []);
}

#[test]
fn object_that_is_wrong_fails_its_file_alone_and_by_its_name() {
    let made = made();
    let fails = |objects: &[u8], number: usize, why: &str| {
        let guest = mount(&made.world_with(objects), LINE).unwrap();
        let failed = made.read(&guest);
        assert_eq!(failed.len(), 1, "{failed:?}");
        let (path, told) = &failed[0];
        assert!(path == &made.files[number].0 && told.contains(why), "{why}: {told}");
        let name = made.paths[number].replace('/', "");
        assert!(told.starts_with(&format!("object {name} of nid ")), "{told}");
    };
    for number in 0..made.files.len() {
        let len = made.files[number].1.len();
        let objects = made.objects(number, |bytes| bytes[len - 1] ^= 1);
        fails(&image(&objects), number, "its bytes have another digest");
    }
    let short = made.objects(4, |bytes| bytes.truncate(4095));
    fails(&image(&short), 4, "it has 4095 bytes");
    let mut absent = Tree::new();
    for (number, path) in made.paths.iter().enumerate().filter(|(number, _)| *number != 6) {
        absent.file(path, Content::bytes(made.files[number].1.clone()));
    }
    fails(&image(&absent), 6, "it is not among the objects");
    absent.dir(&made.paths[6]);
    fails(&image(&absent), 6, "it is not among the objects");
}

#[test]
fn object_that_changes_after_its_proof_fails_where_it_is_wrong() {
    let made = made();
    let objects = made.objects(0, |_| ());
    let built = build(&objects, &Options::default()).unwrap();
    let bytes = built.image.bytes().to_vec();
    let world = made.world_with(&bytes);
    let guest = mount(&world, &format!("{LINE} ram-cache=0")).unwrap();
    let (path, content) = &made.files[16];
    let file = guest.root.open(path.as_bytes()).unwrap();
    let at = bytes.windows(64).position(|part| part == &content[900_096..900_160]).unwrap() as u64;
    world.poke(DeviceId(1), at, &[!content[900_096]]);
    let mut out = [0; 4096];
    let error = file.read_at(900_096, &mut out).unwrap_err();
    assert!(format!("{error:#}").contains("another digest"), "{error:#}");
    assert_eq!(file.read_at(800_000, &mut out), Ok(4096));
    assert!(out[..] == content[800_000..804_096]);
}

#[test]
fn image_of_objects_that_cannot_be_used_is_named() {
    let made = made();
    let world = made.world();
    world.blob("text", vec![b'x'; 4096]);
    for (line, why) in [
        ("image=image objects=none", "objects (none): "),
        ("image=image objects=text", "objects (text): "),
        ("image=image objects=objects@name:x", "it has no valid GPT"),
    ] {
        let error = mount(&world, line).map(|_| ()).unwrap_err();
        assert!(error.contains(why), "{line}: {error}");
    }
    // A region over the objects would destroy them.
    let guest = mount(&world, &format!("{LINE} cache=objects")).unwrap();
    let told = guest.notices.join("\n");
    assert!(told.contains("disk objects has the objects"), "{told}");
}
