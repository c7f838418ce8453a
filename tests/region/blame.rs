//! Who is blamed for a read of the region that did not bring the right bytes.
//!
//! Always: a block is blamed once, for bytes that differ from its check; what was overtaken by
//! others is nobody's fault, and every read is right.

use embedded_io::{Seek, SeekFrom};
use rootlet::blob::{Image, SourceName};
use rootlet::cache::{Cache, CacheOptions, CacheStats, Copy2, Mode, SlotSize};
use rootlet::read::{Budget, Root};
use rootlet::storage::{DeviceId, Storage};
use rootlet_sim::disk::{Fault, OpKind, Rule, SimStorage, Sparse, World};
use rootlet_sim::image::{Content, Options, Spread, Tree, build};

const FILE: u64 = 24 << 20;
const WINDOW: u64 = 64 << 10;
/// Slots that a page describes.
const PER_PAGE: u64 = 25;

/// A file on a blob, and a region that has room for all of it.
struct Scene {
    world: World,
    disk: DeviceId,
    image: DeviceId,
    bytes: Vec<u8>,
    mounts: std::cell::Cell<u8>,
}

impl Scene {
    fn new() -> Self {
        let mut tree = Tree::new();
        let bytes = Content::seeded(7, FILE as usize).to_vec();
        tree.file("/f", Content::bytes(bytes.clone()));
        let options = Options {
            blobs: 1,
            spread: Spread::ByFile,
            chunk_bits: 20,
            dedupe: false,
            ..Options::default()
        };
        let built = build(&tree, &options).unwrap();
        let world = World::new(5);
        let image = world.blob("image", &built.image);
        world.blob("b", &built.blobs[0]);
        let disk = world.disk("region", 512, Sparse::zeros(48 << 20));
        Self { world, disk, image, bytes, mounts: 0.into() }
    }

    /// A mount whose region keeps `pages` pages of descriptors in memory.
    fn mount(&self, pages: usize) -> Root<SimStorage, Option<Cache>> {
        self.mounts.set(self.mounts.get() + 1);
        let mut storage = self.world.attach();
        let image = Image::read(&storage, self.image).unwrap();
        let parts = image.bind(&mut storage, &[(1, SourceName::Disk("b"))]).unwrap();
        let options = CacheOptions::new(self.disk, [self.mounts.get(); 16])
            .with_slot_size(Some(SlotSize::K64))
            .with_pages_bytes(pages * 4096)
            .with_pool_bytes(8 << 20);
        let cache = Cache::open(&storage, &options).unwrap();
        // A stream reads over several slots at once.
        let budget = Budget::default().with_stream_bytes(8 << 20);
        Root::with_budget(storage, Some(cache), &image, &parts, &budget).unwrap()
    }

    fn read(&self, root: &Root<SimStorage, Option<Cache>>, at: u64, len: usize) {
        let mut out = vec![0; len];
        assert_eq!(root.open(b"/f").unwrap().read_at(at, &mut out), Ok(len));
        assert!(out == self.bytes[at as usize..][..len], "wrong bytes from {at} on");
    }

    /// Fetches these parts of each window into the region.
    fn fill(&self, parts: std::ops::Range<u64>) {
        let root = self.mount(256);
        let len = (parts.end - parts.start) as usize;
        for window in (0..FILE).step_by(WINDOW as usize) {
            self.read(&root, window + parts.start, len);
            let catch_up = |cache: &mut Option<Cache>, storage: &SimStorage| {
                cache.as_mut().unwrap().catch_up(storage, u64::MAX);
            };
            root.with_layer(catch_up);
        }
        let synced = |cache: &mut Option<Cache>, storage: &SimStorage| {
            let deadline_ns = storage.now_ns() + 100_000_000_000;
            cache.as_mut().unwrap().sync(storage, deadline_ns)
        };
        assert!(root.with_layer(synced));
    }

    /// Spoils the block of the file that begins at byte `at`, wherever it lies in the region.
    fn spoil(&self, at: u64) {
        let block = &self.bytes[at as usize..][..4096];
        let whole = self.world.crash_image(self.disk, rootlet_sim::disk::Survive::Everything);
        let whole = whole.to_vec();
        let place = whole.chunks(4096).position(|held| held == block).unwrap();
        self.world.poke(self.disk, place as u64 * 4096 + 9, b"spoiled");
    }
}

fn look(root: &Root<SimStorage, Option<Cache>>) -> (CacheStats, Mode) {
    root.with_layer(|cache, _| {
        let cache = cache.as_ref().unwrap();
        (cache.stats(), cache.mode())
    })
}

/// A stream's reads have landed; before it looks at them another reader needs the few pages that
/// fit in memory.
#[test]
fn page_that_left_memory_is_nobodys_fault() {
    let scene = Scene::new();
    scene.fill(0..WINDOW);
    let root = scene.mount(4);
    let pages = FILE / WINDOW / PER_PAGE;
    for start in 0..2 {
        let mut stream = root.stream(b"/f").unwrap();
        stream.seek(SeekFrom::Start(start * WINDOW)).unwrap();
        loop {
            let at = stream.position();
            let lent = stream.lend().unwrap();
            assert!(*lent == scene.bytes[at as usize..][..lent.len()], "wrong bytes from {at} on");
            let len = lent.len();
            if len == 0 {
                break;
            }
            stream.advance(len);
            // The page of what comes next stays, and the one after it goes.
            let next = (stream.position() / WINDOW + 1) / PER_PAGE;
            let window = |page: u64| (page * PER_PAGE + 3).min(FILE / WINDOW - 1);
            for page in (0..pages).filter(|page| *page != next && *page != next + 1) {
                scene.read(&root, window(page) * WINDOW, 4096);
            }
            scene.read(&root, (window(next) - 1) * WINDOW, 4096);
        }
    }
    let (stats, mode) = look(&root);
    assert_eq!((stats.check_failures, mode), (0, Mode::ReadWrite), "{stats:?}");
    drop(root);
    let root = scene.mount(256);
    let used = root.with_layer(|cache, _| cache.as_ref().unwrap().used_slots());
    assert!(u64::from(used) >= FILE / WINDOW, "{used} slots are left");
}

/// The slot of the block is busy with a fill of its neighbour, for a second or so.
#[test]
fn wrong_block_of_a_busy_slot_is_absent_at_once() {
    let scene = Scene::new();
    scene.fill(0..WINDOW / 2);
    scene.spoil(0);
    let root = scene.mount(256);
    let fetched = || root.stats().fetched_bytes;
    scene.read(&root, WINDOW / 2, 4096);
    for round in 0..20 {
        let before = fetched();
        scene.read(&root, 0, 4096);
        assert_eq!(fetched() - before, if round == 0 { 4096 } else { 0 }, "round {round}");
    }
    let (stats, mode) = look(&root);
    assert_eq!((stats.check_failures, mode), (1, Mode::ReadWrite), "{stats:?}");
    root.with_layer(|cache, storage| {
        let deadline_ns = storage.now_ns() + 100_000_000_000;
        assert!(cache.as_mut().unwrap().sync(storage, deadline_ns));
    });
    drop(root);
    let root = scene.mount(256);
    let before = root.stats().fetched_bytes;
    scene.read(&root, 0, 4096);
    assert_eq!(root.stats().fetched_bytes, before, "it was kept anew");
    assert_eq!(look(&root).0.check_failures, 0);
}

/// A place that never holds what is written to it: the same block is wrong again and again.
#[test]
fn one_block_does_not_condemn_a_region() {
    let scene = Scene::new();
    scene.fill(0..WINDOW);
    let root = scene.mount(256);
    for _ in 0..20 {
        let flip = Rule::new(Fault::FlipRead).device(scene.disk).op(OpKind::Read);
        scene.world.rule(flip.range(500 << 10..48 << 20).times(1));
        scene.read(&root, 5 * WINDOW, 4096);
        scene.world.heal();
        root.with_layer(|cache, storage| {
            let deadline_ns = storage.now_ns() + 100_000_000_000;
            cache.as_mut().unwrap().sync(storage, deadline_ns)
        });
    }
    let (stats, mode) = look(&root);
    assert_eq!((stats.check_failures, mode), (20, Mode::ReadWrite), "{stats:?}");
}

#[test]
fn eight_wrong_blocks_condemn_a_region() {
    let scene = Scene::new();
    scene.fill(0..WINDOW);
    (0..8).for_each(|number| scene.spoil(number * 3 * WINDOW));
    let root = scene.mount(256);
    for number in 0..8 {
        assert_eq!(look(&root).1, Mode::ReadWrite, "after {number} wrong blocks");
        scene.read(&root, number * 3 * WINDOW, 4096);
    }
    let (stats, mode) = look(&root);
    assert!(matches!(mode, Mode::Bypass(_)), "{mode:?}");
    assert_eq!(stats.check_failures, 8);
}

/// A page of descriptors is damaged under the mount, and read again after it had left memory.
#[test]
fn page_that_is_read_again_is_checked_again() {
    let scene = Scene::new();
    scene.fill(0..WINDOW);
    let root = scene.mount(4);
    let geometry = root.with_layer(|cache, _| cache.as_ref().unwrap().superblock().geometry);
    for copy in Copy2::BOTH {
        // Checks of blocks of the page's first slots.
        scene.world.poke(scene.disk, geometry.page_at(copy, 10) + 100, &[0x77; 300]);
    }
    for slot in 0..3 {
        scene.read(&root, (10 * PER_PAGE + slot) * WINDOW, 4096);
    }
    let (stats, mode) = look(&root);
    assert_eq!((stats.check_failures, stats.region_faults), (0, 1), "{stats:?}");
    assert_eq!(mode, Mode::ReadOnly("a page of descriptors cannot be read"));
}
