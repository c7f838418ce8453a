//! A region of any bytes below a mount: the bytes are a list of changes of a region that holds
//! something.
//!
//! Always: every read gives the file's bytes, whatever the region holds.

use std::sync::OnceLock;

use rootlet::blob::{Image, SourceName};
use rootlet::cache::{Cache, CacheOptions, FormatPolicy, SlotSize};
use rootlet::read::Root;
use rootlet::storage::DeviceId;
use rootlet_sim::disk::{Sparse, StableImage, Survive, World};
use rootlet_sim::image::{Built, Content, Options, Tree, build};

use crate::input::Input;
use rootlet_power::decode as seal;

const BLOCK: u64 = 4096;
const REGION_BYTES: u64 = 1 << 20;
const FILE_BYTES: usize = 200_000;
const CHANGES_MAX: usize = 32;

struct Sample {
    built: Built,
    bytes: Vec<u8>,
    /// The region after a mount that read everything.
    filled: StableImage,
    uuid: [u8; 16],
}

struct Machine {
    world: World,
    image: DeviceId,
    disk: DeviceId,
}

impl Machine {
    fn new(built: &Built) -> Self {
        let world = World::new(1);
        let image = world.blob("image", &built.image);
        world.blob("blob1", &built.blobs[0]);
        let disk = world.disk("region", 512, Sparse::zeros(REGION_BYTES));
        Self { world, image, disk }
    }

    /// Mounts and reads the file, twice; the second time the region may serve.
    fn read(&self, bytes: &[u8], entropy: u8) {
        let mut storage = self.world.attach();
        let image = Image::read(&storage, self.image).unwrap();
        let sources = image.bind(&mut storage, &[(1, SourceName::Disk("blob1"))]).unwrap();
        let options = CacheOptions::new(self.disk, [entropy; 16])
            .with_format(FormatPolicy::Auto)
            .with_slot_size(Some(SlotSize::K64));
        let cache = Cache::open(&storage, &options).ok();
        let root = Root::new(storage, cache, &image, &sources).unwrap();
        for (at, len) in [(0, bytes.len()), (100_001, 5000), (0, bytes.len())] {
            let mut out = vec![0; len];
            let got = root.open(b"/file").and_then(|file| file.read_at(at, &mut out));
            let got = got.unwrap_or_else(|error| panic!("a read failed: {error:#}"));
            let (at, len) = (at as usize, len.min(bytes.len() - at as usize));
            assert_eq!(got, len);
            assert!(out[..got] == bytes[at..at + len], "wrong bytes");
        }
        for _ in 0..200 {
            root.progress();
        }
    }
}

fn sample() -> &'static Sample {
    static SAMPLE: OnceLock<Sample> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let content = Content::seeded(1, FILE_BYTES);
        let bytes = content.to_vec();
        let mut tree = Tree::new();
        tree.file("/file", content);
        let built = build(&tree, &Options { blobs: 1, ..Options::default() }).unwrap();
        let machine = Machine::new(&built);
        machine.read(&bytes, 1);
        machine.read(&bytes, 2);
        let filled = machine.world.crash_image(machine.disk, Survive::Everything);
        let mut head = [0; BLOCK as usize];
        filled.0.read(0, &mut head);
        let uuid = seal::Super::decode(&head).unwrap().uuid;
        Sample { built, bytes, filled, uuid }
    })
}

pub fn run(bytes: &[u8]) {
    let input = &mut Input(bytes);
    let sample = sample();
    let mut region = sample.filled.clone();
    for _ in 0..CHANGES_MAX {
        if input.is_empty() {
            break;
        }
        change(&mut region, &sample.uuid, input);
    }
    let machine = Machine::new(&sample.built);
    machine.world.restore(machine.disk, &region);
    machine.read(&sample.bytes, 3);
    machine.read(&sample.bytes, 4);
}

fn change(region: &mut StableImage, uuid: &[u8; 16], input: &mut Input<'_>) {
    /// Blocks of tables, and the first of the slots.
    const BLOCKS: [u64; 8] = [0, 16, 32, 36, 40, 41, 42, 43];
    let (kind, offset) = (input.byte(), input.short());
    let number = if kind & 0x80 == 0 {
        BLOCKS[usize::from(kind & 7)]
    } else {
        input.number(1) % (REGION_BYTES / BLOCK)
    };
    let mut raw = [0; BLOCK as usize];
    region.0.read(number * BLOCK, &mut raw);
    let len = 1 + usize::from(kind >> 3 & 7);
    let at = offset % (raw.len() - 8);
    let value = input.number(8).to_le_bytes();
    raw[at..at + len].copy_from_slice(&value[..len]);
    if kind & 0x40 == 0 {
        match number {
            0 | 16 => seal::seal_superblock(&mut raw),
            32..42 => seal::seal_page(uuid, &mut raw),
            _ => {}
        }
    }
    region.0.write(number * BLOCK, &raw);
}
