//! The machine of a case: two images over their blobs, and a disk with the region.
//!
//! Always: a machine is made anew from its seed; the samples are built once and never change.

use std::sync::OnceLock;

use rootlet::cache::{CacheOptions, FormatPolicy, SlotSize};
use rootlet::storage::DeviceId;
use rootlet_sim::Rng;
use rootlet_sim::disk::{Sparse, World};
use rootlet_sim::image::{Built, Content, Options, Tree, build};

/// First byte of the region on its disk.
pub const START: u64 = 64 << 10;
/// Length of the region: 13 slots of 64 KiB for some 20 windows of an image.
pub const BYTES: u64 = 1 << 20;
/// What stands around the region on its disk.
pub const OUTSIDE: u8 = 0xa5;

/// A file of a sample.
pub struct SampleFile {
    pub path: String,
    pub bytes: Vec<u8>,
}

/// An image, and what its files must read as.
pub struct Sample {
    pub built: Built,
    pub files: Vec<SampleFile>,
}

/// The two samples: same paths, other bytes, other identity.
pub fn samples() -> &'static [Sample; 2] {
    static SAMPLES: OnceLock<[Sample; 2]> = OnceLock::new();
    SAMPLES.get_or_init(|| [sample(0), sample(1)])
}

fn sample(number: u64) -> Sample {
    let sizes =
        [("/a", 300_000), ("/b", 417_792), ("/d/c", 350_001), ("/d/e", 140_000), ("/t", 77)];
    let mut tree = Tree::new();
    let mut files = Vec::new();
    for (index, (path, size)) in (0u64..).zip(sizes) {
        let content = Content::seeded(1 + index + 100 * number, size);
        files.push(SampleFile { path: path.to_owned(), bytes: content.to_vec() });
        tree.file(path, content);
    }
    let options = Options {
        blobs: 3,
        tags: (0..3).map(|blob| tag(number, blob).into_bytes()).collect(),
        uuid: [number as u8 + 1; 16],
        ..Options::default()
    };
    Sample { built: build(&tree, &options).unwrap(), files }
}

fn tag(sample: u64, blob: u64) -> String {
    format!("s{sample}-blob{blob}")
}

/// The devices of a case.
pub struct Machine {
    pub world: World,
    /// The disk with the region.
    pub disk: DeviceId,
    /// The primary devices of the samples.
    pub images: [DeviceId; 2],
    /// By sample and slot (0: the image): the sources.
    pub sources: [Vec<DeviceId>; 2],
    /// How each guest opens the region; the entropy is drawn anew each time.
    pub options: CacheOptions,
    entropy: Rng,
}

impl Machine {
    /// A machine whose region was never formatted.
    pub fn new(seed: u64) -> Self {
        Self::with(seed, BYTES, 512)
    }

    /// The same with a region of `bytes` on a disk with sectors of `sector` bytes.
    pub fn with(seed: u64, bytes: u64, sector: u32) -> Self {
        let world = World::new(seed);
        let disk = world.disk("region", sector, blank_disk(bytes));
        let mut images = [DeviceId(0); 2];
        let mut sources = [Vec::new(), Vec::new()];
        for (number, sample) in (0u64..).zip(samples()) {
            let index = number as usize;
            images[index] = world.blob(&format!("image{number}"), &sample.built.image);
            sources[index].push(images[index]);
            for (blob, content) in (0u64..).zip(&sample.built.blobs) {
                let name = tag(number, blob);
                // One blob of each image is a file of a share.
                let device = if blob == 2 {
                    world.share_file("share", &name, content)
                } else {
                    world.blob(&name, content)
                };
                sources[index].push(device);
            }
        }
        let options = CacheOptions {
            start: START,
            bytes: Some(bytes),
            format: FormatPolicy::Auto,
            slot_size: Some(SlotSize::K64),
            ..CacheOptions::new(disk, [0; 16])
        };
        Self { world, disk, images, sources, options, entropy: Rng::new(seed ^ 0x0e57) }
    }

    /// The options of the next mount.
    pub fn next_options(&mut self) -> CacheOptions {
        self.entropy.fill(&mut self.options.entropy);
        self.options
    }

    /// Makes the mounts of this machine draw other entropy from now on, as a real one would.
    pub fn stir(&mut self, seed: u64) {
        self.entropy = Rng::new(seed ^ 0x5717);
    }
}

/// A disk with a blank region of `bytes` and foreign bytes around it.
pub fn blank_disk(bytes: u64) -> Sparse {
    let mut content = Sparse::zeros(START + bytes + START);
    content.write(0, &[OUTSIDE; START as usize]);
    content.write(START + bytes, &[OUTSIDE; START as usize]);
    content
}
