//! The machine of a case: two images over their blobs, and a disk with the region.
//!
//! Always: a machine is made anew from its seed; the samples are built once and never change.

use std::sync::OnceLock;

use rootlet::cache::{Cache, CacheOptions, FormatPolicy, Refused, SlotSize};
use rootlet::storage::{DeviceId, Parts};
use rootlet_crypt::Key;
use rootlet_sim::Rng;
use rootlet_sim::disk::{SimStorage, Sparse, World};
use rootlet_sim::image::{Built, Content, FileLayout, Options, Spread, Tree, build};

use crate::decode::Cipher;
use crate::invariants::block;

/// The key of regions that have one.
pub const KEY: &[u8] = b"32 bytes that nobody can guess..";
/// First byte of the region on its disk; of one with a key, where its header ends.
pub const START: u64 = 64 << 10;
/// Length of the large region: 13 slots of 64 KiB for some 20 windows of an image.
pub const BYTES: u64 = 1 << 20;
/// What stands around the region on its disk.
pub const OUTSIDE: u8 = 0xa5;
/// Bytes of a window: of a slot of the smallest size.
pub const WINDOW: u64 = 64 << 10;

/// How large the world of a case is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// 6 slots for 11 windows, of which a few blocks each are read: a case takes microseconds.
    Small,
    /// 27 slots in two descriptor pages for 35 windows, a few blocks of each.
    Wide,
    /// 13 slots for 20 windows of files that are read whole.
    Large,
    /// As small, in a region with a key.
    Keyed,
}

impl Scale {
    /// Length of the region.
    pub fn region_bytes(self) -> u64 {
        match self {
            Self::Small | Self::Keyed => (40 + 2 + 6 * 16) * 4096,
            Self::Wide => (40 + 4 + 27 * 16) * 4096,
            Self::Large => BYTES,
        }
    }
}

/// A file of a sample.
pub struct SampleFile {
    /// Its path.
    pub path: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// An image, and what its files must read as.
pub struct Sample {
    /// The image and its blobs.
    pub built: Built,
    /// Its files.
    pub files: Vec<SampleFile>,
    /// The devices by slot, 0 is the image.
    pub devices: Vec<Sparse>,
    /// How many blocks each of them has.
    pub blocks: Vec<u64>,
    /// Identity of the image.
    pub uuid: [u8; 16],
    scale: Scale,
}

impl Sample {
    /// Whether whole files are read; else a few blocks of each window.
    pub fn is_large(&self) -> bool {
        self.scale == Scale::Large
    }

    /// The file and the byte in it of a block of a blob; `None` for metadata, and in large worlds.
    pub fn place(&self, slot: u16, block: u64) -> Option<(usize, u64)> {
        let file = usize::from(slot).checked_sub(1)?;
        let at = block * 4096;
        (!self.is_large() && at < self.files.get(file)?.bytes.len() as u64).then_some((file, at))
    }
}

/// The two samples of a scale: same paths, other bytes, other identity.
pub fn samples(scale: Scale) -> &'static [Sample; 2] {
    static SAMPLES: [OnceLock<[Sample; 2]>; 3] = [const { OnceLock::new() }; 3];
    let both = || {
        [0, 1].map(|number| match scale {
            Scale::Small | Scale::Keyed => small(number, Scale::Small, [6, 4]),
            Scale::Wide => small(number, scale, [20, 14]),
            Scale::Large => large(number),
        })
    };
    let place = match scale {
        Scale::Small | Scale::Keyed => 0,
        Scale::Wide => 1,
        Scale::Large => 2,
    };
    SAMPLES[place].get_or_init(both)
}

fn finish(
    number: u64,
    scale: Scale,
    tree: &Tree,
    options: Options,
    files: Vec<SampleFile>,
) -> Sample {
    let options = Options { uuid: [number as u8 + 1; 16], ..options };
    let built = build(tree, &options).unwrap();
    let mut devices = vec![Sparse::from(&built.image)];
    devices.extend(built.blobs.iter().map(Sparse::from));
    let blocks = devices.iter().map(|device| device.bytes().div_ceil(4096)).collect();
    Sample { built, files, devices, blocks, uuid: options.uuid, scale }
}

/// Files of some windows, each on a blob of its own where it lies as it is. One block in eight is
/// all noise; of the others one sector is, so that few sectors tell them apart.
fn small(number: u64, scale: Scale, windows: [u64; 2]) -> Sample {
    let mut tree = Tree::new();
    let mut files = Vec::new();
    for (file, count) in (0u64..).zip(windows) {
        // The last window is not full, and the last block neither.
        let mut bytes = vec![0; (count * WINDOW) as usize - 5000];
        let mut rng = Rng::new(1000 * number + file + 1);
        for (block, data) in bytes.chunks_mut(4096).enumerate() {
            if rng.chance(125_000) {
                rng.fill(data);
            } else {
                let sector = block % (data.len() / 512).max(1);
                let end = data.len().min(sector * 512 + 512);
                rng.fill(&mut data[sector * 512..end]);
            }
        }
        let path = format!("/{}", ["a", "b"][file as usize]);
        tree.file(&path, Content::bytes(bytes.clone()));
        files.push(SampleFile { path, bytes });
    }
    let bytes = vec![b'x' + number as u8; 77];
    tree.file("/t", Content::bytes(bytes.clone()));
    files.push(SampleFile { path: "/t".to_owned(), bytes });
    let options = Options {
        blobs: 2,
        spread: Spread::ByFile,
        dedupe: false,
        layouts: [(b"/t".to_vec(), FileLayout::Inline)].into(),
        tags: (0..2).map(|blob| tag(number, blob).into_bytes()).collect(),
        ..Options::default()
    };
    let sample = finish(number, scale, &tree, options, files);
    for (file, blob) in sample.files.iter().zip(&sample.built.blobs) {
        assert!(blob.data.starts_with(&file.bytes), "a file lies on its blob as it is");
    }
    sample
}

fn large(number: u64) -> Sample {
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
        ..Options::default()
    };
    finish(number, Scale::Large, &tree, options, files)
}

fn tag(sample: u64, blob: u64) -> String {
    format!("s{sample}-blob{blob}")
}

/// The devices of a case.
pub struct Machine {
    /// All of them.
    pub world: World,
    /// The disk with the region.
    pub disk: DeviceId,
    /// The primary devices of the samples.
    pub images: [DeviceId; 2],
    /// By sample and slot (0: the image): the sources.
    pub sources: [Vec<DeviceId>; 2],
    /// How each guest opens the region; the entropy is drawn anew each time.
    pub options: CacheOptions,
    /// What the images hold.
    pub samples: &'static [Sample; 2],
    /// How large it is.
    pub scale: Scale,
    entropy: Rng,
}

impl Machine {
    /// A large machine whose region was never formatted.
    pub fn new(seed: u64) -> Self {
        Self::with(seed, BYTES, 512)
    }

    /// The same with a region of `bytes` on a disk with sectors of `sector` bytes.
    pub fn with(seed: u64, bytes: u64, sector: u32) -> Self {
        Self::build(Scale::Large, seed, bytes, sector)
    }

    /// A machine of a scale; the seed chooses what its disk is like.
    pub fn of(scale: Scale, seed: u64) -> Self {
        if scale == Scale::Large {
            return Self::new(seed);
        }
        let mut rng = Rng::new(seed ^ 0x5eed);
        let machine =
            Self::build(scale, seed, scale.region_bytes(), [512, 512, 512, 4096][rng.index(4)]);
        machine.world.set_transfer_max(machine.disk, [8, 16, 32][rng.index(3)] << 10);
        machine
    }

    fn build(scale: Scale, seed: u64, bytes: u64, sector: u32) -> Self {
        let samples = samples(scale);
        let world = World::new(seed);
        let mut blank = blank_disk(bytes);
        if scale == Scale::Keyed {
            // Here is the header.
            blank.write(0, &[0; START as usize]);
        }
        let disk = world.disk("region", sector, blank);
        let mut images = [DeviceId(0); 2];
        let mut sources = [Vec::new(), Vec::new()];
        for (number, sample) in (0u64..).zip(samples) {
            let index = number as usize;
            images[index] = world.blob(&format!("image{number}"), sample.devices[0].clone());
            sources[index].push(images[index]);
            for (blob, content) in (0u64..).zip(&sample.devices[1..]) {
                let name = tag(number, blob);
                // The last blob of each image is a file of a share.
                let device = if blob + 2 == sample.devices.len() as u64 {
                    world.share_file("share", &name, content.clone())
                } else {
                    world.blob(&name, content.clone())
                };
                sources[index].push(device);
            }
        }
        let mut options = CacheOptions::new(disk, [0; 16])
            .with_start(START)
            .with_bytes(Some(bytes))
            .with_format(FormatPolicy::Auto)
            .with_slot_size(Some(SlotSize::K64));
        if scale != Scale::Large {
            options.pool_bytes = 64 << 10;
        }
        let entropy = Rng::new(seed ^ 0x0e57);
        Self { world, disk, images, sources, options, samples, scale, entropy }
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

    /// Opens the region in a mount.
    pub fn open(&mut self, storage: &mut Parts<SimStorage>) -> Result<Cache, Refused> {
        let options = self.next_options();
        if self.scale != Scale::Keyed {
            return Cache::open(storage, &options);
        }
        let bytes = options.bytes.map(|bytes| bytes + START);
        let area = options.with_start(options.start - START).with_bytes(bytes);
        let options = rootlet_crypt::open(storage, &area, &Key::new(KEY).unwrap())?;
        Cache::open(storage, &options)
    }

    /// What deciphers the region on its disk as that is in `content`.
    pub fn cipher(&self, content: &Sparse) -> Plain {
        Plain::of(self.scale == Scale::Keyed, content)
    }

    /// Length of the region.
    pub fn bytes(&self) -> u64 {
        self.options.bytes.unwrap_or(0)
    }
}

/// How the blocks of a region are read on its disk.
pub struct Plain(Option<Cipher>);

impl Plain {
    /// What reads the blocks of a region that has a key or none, with the header in `content`.
    pub fn of(is_keyed: bool, content: &Sparse) -> Self {
        let header = |at| Cipher::of(&block(content, at), KEY);
        Self(if is_keyed { header(0).or_else(|| header(START / 2)) } else { None })
    }

    /// A block of the disk, or several, from byte `at` on, as the region wrote it.
    pub fn of_bytes(&self, at: u64, raw: &[u8]) -> Vec<u8> {
        match &self.0 {
            Some(cipher) if at >= START => cipher.decipher((at - START) / 4096, raw),
            _ => raw.to_vec(),
        }
    }

    /// The block at byte `at` of the disk, as the region wrote it.
    pub fn block(&self, content: &Sparse, at: u64) -> Vec<u8> {
        self.of_bytes(at, &block(content, at))
    }
}

/// A disk with a blank region of `bytes` and foreign bytes around it.
pub fn blank_disk(bytes: u64) -> Sparse {
    static SMALL: [OnceLock<Sparse>; 2] = [const { OnceLock::new() }; 2];
    let make = || {
        let mut content = Sparse::zeros(START + bytes + START);
        content.write(0, &[OUTSIDE; START as usize]);
        content.write(START + bytes, &[OUTSIDE; START as usize]);
        content
    };
    let small = [Scale::Small, Scale::Wide].iter().position(|it| it.region_bytes() == bytes);
    small.map_or_else(make, |at| SMALL[at].get_or_init(make).clone())
}
