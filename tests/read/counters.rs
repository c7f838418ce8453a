//! What the main paths cost, in requests, copies and flushes: figures that no busy machine moves.
//!
//! Always: the guest has the memory of a board and does the steps of `bench --peer`; requests are
//! counted by the simulated disks, all else as in a verdict. The table is shown by
//! `cargo test --test read counters -- --nocapture --test-threads 1`.

use rootlet::storage::DeviceId;
use rootlet_guest::bench::Setup;
use rootlet_guest::config::Config;
use rootlet_guest::race::{self, Step};
use rootlet_guest::{self as guest, Counters, Memory};
use rootlet_sim::disk::World;
use rootlet_sim::image::{Content, Options, Tree, build};

use crate::mount;

const MIB: f64 = 1048576.0;
const HEAP_BYTES: usize = 48 << 20;
const FILE_BYTES: usize = 64 << 20;
const FILES: u64 = 2000;
const MIBS: u64 = FILE_BYTES as u64 >> 20;
/// What finding the large file takes: the root, its inode, and 8 KiB of where its chunks are.
const METADATA_BYTES: u64 = 24 << 10;
const METADATA_READS: u64 = 8;
/// What mounting the region takes, of its 128 MiB.
const MOUNT_READS: u64 = 32;
/// The pages of the descriptors of a slot for every 64 KiB that are read.
const PAGES: u64 = 128;
/// Flushes of a mount and of its end.
const FLUSHES_MORE: u64 = 5;

/// A machine with a large file in a blob, many small files in the image, and an empty region.
struct Machine {
    world: World,
    sources: Vec<DeviceId>,
    region: DeviceId,
}

/// What a step did.
#[derive(Debug)]
struct Cost {
    ops: u64,
    asked: u64,
    /// Reads of the image and the blob, and of the region, those of the mount among them.
    source_reads: u64,
    region_reads: u64,
    counters: Counters,
}

impl Machine {
    fn new() -> Self {
        let mut tree = Tree::new();
        tree.file("/large", Content::seeded(1, FILE_BYTES));
        for number in 0..FILES {
            tree.file(format!("/many/{number:04}"), Content::hole(number));
        }
        let built = build(&tree, &Options { blobs: 1, ..Options::default() }).unwrap();
        let world = World::new(11);
        let sources = mount::plug(&world, &built);
        let region = mount::plug_region(&world, 128 << 20);
        Self { world, sources, region }
    }

    /// Mounts anew and does one step.
    fn cost(&self, name: &str, with_region: bool, step: &str) -> Cost {
        let reads = || {
            let sources = self.sources.iter().map(|id| self.world.counters(*id).reads);
            (sources.sum::<u64>(), self.world.counters(self.region).reads)
        };
        let before = reads();
        let mut storage = self.world.attach();
        let line = mount::line(1) + if with_region { " cache=cache" } else { "" };
        let config = Config::parse(&line).unwrap();
        let mounted = guest::open(&mut storage, &config).unwrap();
        let memory = Memory::of_heap(HEAP_BYTES);
        let setup =
            Setup { config: &config, mounted: &mounted, memory: &memory, entropy: &|| [1; 16] };
        let steps = [Step::parse(&format!("step={step}")).unwrap()];
        let mut output: Vec<u8> = Vec::new();
        let counters = race::run(storage, &setup, &steps, &mut output, &mut |_| {}).unwrap();
        let after = reads();
        let output = String::from_utf8(output).unwrap();
        let number = |key: &str| -> u64 {
            let (_, rest) = output.split_once(key).unwrap();
            rest.split(' ').next().unwrap().parse().unwrap()
        };
        let cost = Cost {
            ops: number("ops="),
            asked: number("bytes="),
            source_reads: after.0 - before.0,
            region_reads: after.1 - before.1,
            counters,
        };
        println!("{name:<24} {cost}");
        cost
    }
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (read, cache) = (&self.counters.read, self.counters.cache.unwrap_or_default());
        write!(
            f,
            "ops {:>6}  asked {:>5.1} MiB  fetched {:>6.3}  reads {:>5} + {:>5}  copied {:>6.3}  \
             kept {:>5.1} MiB  written {:>6.3}  flushes {}",
            self.ops,
            self.asked as f64 / MIB,
            read.fetched_bytes as f64 / MIB,
            self.source_reads,
            self.region_reads,
            read.copied_bytes as f64 / MIB,
            cache.kept_bytes as f64 / MIB,
            cache.written_bytes as f64 / MIB,
            cache.flushes
        )
    }
}

impl Cost {
    /// Bytes that sources gave beyond those asked for: metadata.
    fn fetched_more(&self) -> u64 {
        self.counters.read.fetched_bytes.saturating_sub(self.asked)
    }

    fn copied(&self) -> u64 {
        self.counters.read.copied_bytes
    }

    /// All that was fetched is in the region, which was written with `percent` of a hundred of it,
    /// and flushed once in 16 MiB and a few times at the beginning and the end.
    fn assert_kept(&self, percent: u64) {
        let cache = self.counters.cache.unwrap();
        assert_eq!(cache.dropped_bytes, 0, "{self}");
        assert!(cache.kept_bytes <= self.counters.read.fetched_bytes, "{self}");
        assert!(cache.written_bytes * 100 <= cache.kept_bytes * percent, "{self}");
        assert!(cache.flushes <= cache.kept_bytes.div_ceil(16 << 20) + FLUSHES_MORE, "{self}");
    }

    /// Nothing was fetched or kept again.
    fn assert_warm(&self) {
        let cache = self.counters.cache.unwrap();
        assert_eq!(self.counters.read.fetched_bytes, 0, "{self}");
        assert_eq!((cache.kept_bytes, cache.written_bytes), (0, 0), "{self}");
        assert_eq!((cache.check_failures, cache.region_faults), (0, 0), "{self}");
        assert!(self.source_reads <= 2, "the mount looks at the image: {self}");
        assert!(cache.flushes <= 1, "{self}");
    }
}

#[test]
fn plain_reads_cost_a_request_each_and_large_ones_no_copy() {
    let machine = Machine::new();
    let cost = machine.cost("1 MiB", false, "seq-1M:/large");
    assert_eq!(cost.asked, FILE_BYTES as u64);
    assert!(cost.source_reads <= MIBS + METADATA_READS, "{cost}");
    assert!(cost.fetched_more() <= METADATA_BYTES && cost.copied() <= METADATA_BYTES, "{cost}");

    let cost = machine.cost("random 4 KiB", false, "rand-4K:/large");
    assert!(cost.source_reads <= cost.ops + METADATA_READS, "{cost}");
    assert!(cost.fetched_more() <= METADATA_BYTES, "{cost}");
    // By way of the blocks that are kept in memory.
    assert!(cost.copied() <= cost.asked + METADATA_BYTES, "{cost}");
}

#[test]
fn stream_of_small_reads_fetches_each_byte_once_in_large_requests() {
    let machine = Machine::new();
    let cost = machine.cost("4 KiB", false, "seq-4K:/large");
    assert!(cost.source_reads <= 5 * MIBS, "{cost}");
    assert!(cost.fetched_more() <= METADATA_BYTES, "{cost}");
    assert!(cost.copied() <= cost.asked + METADATA_BYTES, "one copy a byte: {cost}");
}

#[test]
fn walk_reads_the_metadata_of_many_files_at_once() {
    let machine = Machine::new();
    let cost = machine.cost("walk", false, "walk:/many");
    assert!(cost.ops > FILES && cost.source_reads * 32 <= FILES, "{cost}");
    assert!(cost.counters.read.fetched_bytes <= 128 * FILES, "{cost}");
}

#[test]
fn sequence_is_kept_with_hardly_a_byte_more_and_then_fetched_no_more() {
    let machine = Machine::new();
    let cost = machine.cost("cold, 1 MiB", true, "seq-1M:/large");
    assert!(cost.source_reads <= 4 * MIBS + METADATA_READS, "{cost}");
    assert!(cost.fetched_more() <= METADATA_BYTES && cost.copied() <= METADATA_BYTES, "{cost}");
    assert!(cost.region_reads <= MOUNT_READS, "{cost}");
    assert!(cost.counters.cache.unwrap().kept_bytes >= cost.asked, "{cost}");
    cost.assert_kept(102);

    for (name, step, copies) in
        [("warm, 1 MiB", "seq-1M:/large", 0), ("warm, 4 KiB", "seq-4K:/large", FILE_BYTES as u64)]
    {
        let cost = machine.cost(name, true, step);
        cost.assert_warm();
        assert!(cost.region_reads <= 6 * MIBS + MOUNT_READS, "{cost}");
        assert!(cost.copied() <= copies + METADATA_BYTES, "{cost}");
    }
}

#[test]
fn scattered_reads_are_kept_with_few_bytes_more_and_then_fetched_no_more() {
    let machine = Machine::new();
    let cost = machine.cost("cold, random 4 KiB", true, "rand-4K:/large");
    // Some places come up twice.
    assert!(cost.counters.read.fetched_bytes <= cost.asked, "{cost}");
    assert!(cost.copied() <= cost.asked + METADATA_BYTES, "{cost}");
    cost.assert_kept(115);

    let cost = machine.cost("warm, random 4 KiB", true, "rand-4K:/large");
    cost.assert_warm();
    // One for each, and one for each page of descriptors.
    assert!(cost.region_reads <= cost.ops + PAGES + MOUNT_READS, "{cost}");
}

#[test]
fn head_of_an_image_is_one_read_of_one_block() {
    let machine = Machine::new();
    let mut storage = machine.world.attach();
    let config = Config::parse(&mount::line(1)).unwrap();
    let mounted = guest::open(&mut storage, &config).unwrap();
    assert_eq!(
        mounted.images[0].image.devices().len(),
        1,
        "the table of devices is in the first block, too"
    );
    assert_eq!(mounted.images[0].image.read_bytes(), 4096);
    let reads = machine.sources.iter().map(|id| machine.world.counters(*id).reads);
    assert_eq!(reads.sum::<u64>(), 1);
}
