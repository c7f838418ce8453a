//! The boot trace: what the start of one boot read is near when the next one reads it.

use rootlet_guest::SYNC_TIME;
use rootlet_sim::disk::{Fault, OpKind, Rule, SimStorage, Sparse, Survive, World};
use rootlet_sim::image::{Built, Content, Options, Tree, build};

use crate::guest::Guest;

const FILE: usize = 2 << 20;
/// Where the boot reads, 4 KiB each, in its order.
const PLACES: [u64; 8] =
    [1 << 20, 40_960, 1_500_000, 8192, 700_000, 16 << 10, (2 << 20) - 4096, 90_000];

struct Boot {
    world: World,
    guest: Guest<SimStorage>,
    bytes: Vec<u8>,
}

impl Boot {
    fn new(built: &Built, region: &Sparse, entropy: u8) -> Self {
        let world = World::new(entropy.into());
        world.blob("image", &built.image);
        world.blob("a", &built.blobs[0]);
        world.disk("cache", 512, region.clone());
        let guest = Guest::mount(world.attach(), "image=image blob1=a cache=cache", entropy);
        Self { world, guest: guest.unwrap(), bytes: content() }
    }

    /// Reads as a boot does; returns how many bytes devices read for it.
    fn read(&self) -> u64 {
        let before = self.device_bytes();
        let file = self.guest.root.open(b"/file").unwrap();
        let mut out = [0; 4096];
        for at in PLACES {
            file.read_at(at, &mut out).unwrap();
            assert!(out[..] == self.bytes[at as usize..at as usize + 4096], "at {at}");
        }
        self.device_bytes() - before
    }

    fn device_bytes(&self) -> u64 {
        let mut storage = self.world.attach();
        ["image", "a", "cache"]
            .map(|serial| rootlet::storage::Discover::disk(&mut storage, serial).unwrap())
            .map(|device| self.world.counters(device).read_bytes)
            .iter()
            .sum()
    }

    /// Prefetches until nothing more comes.
    fn prefetch(&self) {
        self.guest.root.prefetch();
        for _ in 0..1000 {
            self.world.advance_ns(1_000_000);
            self.guest.root.progress();
        }
    }

    fn end(self) -> Sparse {
        assert!(self.guest.root.leave(SYNC_TIME));
        let disk = rootlet::storage::Discover::disk(&mut self.world.attach(), "cache").unwrap();
        self.world.crash_image(disk, Survive::Everything).0
    }
}

fn content() -> Vec<u8> {
    Content::seeded(8, FILE).to_vec()
}

fn built() -> Built {
    let mut tree = Tree::new();
    tree.file("/file", Content::bytes(content()));
    build(&tree, &Options { blobs: 1, ..Options::default() }).unwrap()
}

fn traced(built: &Built) -> Sparse {
    let first = Boot::new(built, &Sparse::zeros(8 << 20), 1);
    assert!(first.read() > 0);
    first.end()
}

#[test]
fn what_a_boot_read_is_in_memory_when_the_next_one_reads_it() {
    let built = built();
    let region = traced(&built);
    let next = Boot::new(&built, &region, 2);
    assert!(next.read() >= 4096 * PLACES.len() as u64, "without it the region is read");
    let next = Boot::new(&built, &region, 3);
    next.prefetch();
    assert_eq!(next.read(), 0);
    let stats = next.guest.counters().read;
    assert_eq!((stats.fetched_bytes, stats.block_hits), (0, PLACES.len() as u64));
    // It is not a reader: the trace stays that of the reads.
    let after = Boot::new(&built, &next.end(), 4);
    after.prefetch();
    assert_eq!(after.read(), 0);
}

#[test]
fn what_the_region_lost_is_fetched_into_it_before_it_is_wanted() {
    let built = built();
    let mut region = traced(&built).to_vec();
    // Slots, not tables: their checks fail, and the source has to.
    let len = region.len();
    region[len / 8..].fill(0x5a);
    let next = Boot::new(&built, &Sparse::from(region), 2);
    next.prefetch();
    let first = next.read();
    let again = Boot::new(&built, &next.end(), 3);
    assert!(again.read() <= 4096 * 20, "{first}");
    assert_eq!(again.guest.counters().read.fetched_bytes, 0);
}

#[test]
fn read_overtakes_what_is_prefetched() {
    let built = built();
    let region = traced(&built);
    let next = Boot::new(&built, &region, 2);
    let disk = rootlet::storage::Discover::disk(&mut next.world.attach(), "cache").unwrap();
    // Each answer of the region takes 10 ms: the whole trace would take 80.
    next.world.rule(Rule::new(Fault::Delay(10_000_000)).device(disk).op(OpKind::Read));
    next.guest.root.prefetch();
    let begin = next.guest.root.now_ns();
    let mut out = [0; 4096];
    next.guest.root.open(b"/file").unwrap().read_at(300_000, &mut out).unwrap();
    assert!(out[..] == next.bytes[300_000..304_096]);
    let took = next.guest.root.now_ns() - begin;
    assert!(took < 50_000_000, "{took} ns of simulated time");
}

#[test]
fn trace_of_garbage_or_of_another_region_is_none() {
    let built = built();
    let region = traced(&built).to_vec();
    for change in 0..64 {
        let mut region = region.clone();
        region[8 * 4096 + change * 64] ^= 0x10;
        let next = Boot::new(&built, &Sparse::from(region), 2);
        next.prefetch();
        assert_eq!(next.guest.counters().read.prefetched_bytes, 0, "{change}");
        next.read();
    }
}

/// What was prefetched is read from memory; a trace without it would leave the boot after the
/// next one to wait again.
#[test]
fn trace_of_a_boot_that_was_prefetched_has_what_it_read() {
    let built = built();
    let mut region = traced(&built);
    for entropy in 2..6 {
        let next = Boot::new(&built, &region, entropy);
        next.prefetch();
        assert_eq!(next.read(), 0, "boot {entropy}");
        // Something new, so that the region is written, and the trace with it.
        let at = 200_000 + 60_000 * u64::from(entropy);
        next.guest.root.open(b"/file").unwrap().read_at(at, &mut [0; 4096]).unwrap();
        region = next.end();
    }
}

/// A boot that read much, over a region that is lost and slow: what is prefetched waits for it.
#[test]
fn what_is_prefetched_is_no_more_than_the_region_takes() {
    let mut tree = Tree::new();
    tree.file("/file", Content::seeded(8, 24 << 20));
    let built = build(&tree, &Options { blobs: 1, ..Options::default() }).unwrap();
    let first = Boot::new(&built, &Sparse::zeros(64 << 20), 1);
    let mut out = vec![0; 1 << 20];
    for at in 0..24 {
        first.guest.root.open(b"/file").unwrap().read_at(at << 20, &mut out).unwrap();
        while first.guest.root.with_layer(|cache, _| cache.as_ref().unwrap().pressed()) {
            first.world.advance_ns(1_000_000);
            first.guest.root.progress();
        }
    }
    // All descriptors, so that it holds nothing; the trace is left.
    let mut region = first.end().to_vec();
    region[40 * 4096..1 << 20].fill(0);
    let next = Boot::new(&built, &Sparse::from(region), 3);
    let disk = rootlet::storage::Discover::disk(&mut next.world.attach(), "cache").unwrap();
    next.world.rule(Rule::new(Fault::Delay(20_000_000)).device(disk).op(OpKind::Write));
    next.guest.root.prefetch();
    for _ in 0..20_000 {
        next.guest.root.progress();
    }
    let counters = next.guest.counters();
    let cache = counters.cache.unwrap();
    assert!(counters.read.prefetched_bytes > 1 << 20, "{counters}");
    assert_eq!(cache.dropped_bytes, 0, "{counters}");
}
