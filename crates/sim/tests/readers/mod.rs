//! The mounts that many readers share: an image with a large file in a blob and small ones, and what a
//! seed decides about its devices.
//!
//! Always: a source fails only where the course is faulty; the region may at any time.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rootlet::blob::{Image, SourceName};
use rootlet::cache::{Cache, CacheOptions};
use rootlet::read::{Budget, Root};
use rootlet::storage::{DeviceId, Discover, IoErrorKind};
use rootlet_sim::disk::{Fault, OpKind, Rule, Sparse, World};
use rootlet_sim::image::{Built, Content, Options, Tree, build};
use rootlet_sim::{Rng, Turns};

pub const FILE_BYTES: usize = 640 << 10;
pub const LONG_READ: u64 = 96 << 10;
pub const SMALL_FILES: u64 = 60;
pub const SECOND: Duration = Duration::from_secs(1);

pub struct Made {
    pub built: Built,
    pub large: Vec<u8>,
}

pub fn small_file(number: u64) -> (String, Vec<u8>) {
    let bytes = usize::try_from(number * 137 % 9000).unwrap();
    (format!("/dir/sub/file-{number:03}"), Content::seeded(number, bytes).to_vec())
}

pub fn made() -> &'static Made {
    static MADE: OnceLock<Made> = OnceLock::new();
    MADE.get_or_init(|| {
        let large = Content::seeded(7, FILE_BYTES).to_vec();
        let mut tree = Tree::new();
        tree.file("/large", Content::bytes(large.clone()));
        for number in 0..SMALL_FILES {
            let (path, content) = small_file(number);
            tree.file(&path, Content::bytes(content));
        }
        // Empty files whose names fill several blocks of a directory.
        for number in 0..400 {
            tree.file(format!("/dir/a-name-that-takes-some-room-{number:04}"), Content::hole(0));
        }
        let options = Options { blobs: 1, chunk_bits: 14, ..Options::default() };
        Made { built: build(&tree, &options).unwrap(), large }
    })
}

pub fn mount<S: Discover>(mut storage: S, region: bool, budget: &Budget) -> Root<S, Option<Cache>> {
    let device = storage.disk("image").unwrap();
    let image = Image::read(&storage, device).unwrap();
    let sources = image.bind(&mut storage, &[(1, SourceName::Disk("blob1"))]).unwrap();
    // A region that a power cut or garbage has spoilt is not a reason to fail.
    let layer = region.then(|| {
        let device = storage.disk("cache").unwrap();
        Cache::open(&storage, &CacheOptions::new(device, [7; 16])).ok()
    });
    let layer = layer.flatten();
    Root::with_budget(storage, layer, &image, &sources, budget).unwrap()
}

/// What a seed decides about a world.
pub struct Course {
    pub world: World,
    pub turns: Arc<Turns>,
    pub blob: DeviceId,
    /// The region's disk, and its length.
    pub cache: Option<(DeviceId, u64)>,
    pub budget: Budget,
    pub is_faulty: bool,
}

pub fn course(seed: u64) -> Course {
    let mut rng = Rng::new(seed ^ 0x5eed);
    let turns = Arc::new(Turns::new(seed));
    let world = World::new(seed).with_turns(Arc::clone(&turns));
    world.blob("image", &made().built.image);
    let blob = world.blob("blob1", &made().built.blobs[0]);
    let region_bytes = [1 << 20, 4 << 20][rng.index(2)];
    let cache =
        (!seed.is_multiple_of(4)).then(|| world.disk("cache", 512, Sparse::zeros(region_bytes)));
    let cache = cache.map(|cache| (cache, region_bytes));
    world.rule(Rule::new(Fault::Delay(rng.below(200_000))).device(blob).op(OpKind::Read));
    world.set_jobs_max(blob, 1 + rng.index(20));
    let budget = Budget::default()
        .with_metadata_bytes([16 << 10, 256 << 10][rng.index(2)])
        .with_block_bytes([0, 64 << 10][rng.index(2)])
        .with_stream_bytes([0, 256 << 10, 1 << 20][rng.index(3)]);
    Course { world, turns, blob, cache, budget, is_faulty: seed.is_multiple_of(3) }
}

impl Course {
    /// Breaks 2 % of the source's reads, and much of what the region does.
    pub fn break_it(&self) {
        let broken = Rule::new(Fault::Fail(IoErrorKind::Device(5))).op(OpKind::Read);
        self.world.rule(broken.device(self.blob).per_million(20_000));
        if let Some((cache, _)) = self.cache {
            for fault in [Fault::NoiseRead, Fault::FlipRead, Fault::StaleRead, Fault::EndTwice] {
                self.world.rule(Rule::new(fault).device(cache).per_million(30_000));
            }
        }
    }
}
