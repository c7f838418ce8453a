//! What a mount records of itself: its sums are the counters', whatever is read and whatever fails.

use std::fmt::Arguments;

use rootlet::cache::CacheStats;
use rootlet::read::{DirEntry, Stats};
use rootlet::storage::events::{Cause, Event, Kind};
use rootlet::storage::{DeviceId, IoErrorKind};
use rootlet_guest::{self as guest, GuestRoot, Memory, config::Config};
use rootlet_sim::Rng;
use rootlet_sim::disk::{Fault, OpKind, Rule, SimStorage, World};
use rootlet_sim::image::{Content, Options, Tree, build};

use crate::mount;

const FILES: [(&str, usize); 4] =
    [("/large", 3 << 20), ("/middle", 700_001), ("/small", 5000), ("/tiny", 30)];
const LINE: &str = "image=image blob1=blob1 blob2=blob2 cache=cache";

/// A machine with an image over two blobs, and an empty region.
fn machine(seed: u64) -> World {
    machine_and_region(seed).0
}

fn machine_and_region(seed: u64) -> (World, DeviceId) {
    let mut tree = Tree::new();
    for (number, (path, len)) in (0..).zip(FILES) {
        tree.file(path, Content::seeded(number, len));
    }
    for number in 0..60 {
        tree.file(format!("/many/{number}"), Content::seeded(number, 3000));
    }
    let built = build(&tree, &Options { blobs: 2, ..Options::default() }).unwrap();
    let world = World::new(seed);
    mount::plug(&world, &built);
    let region = mount::plug_region(&world, 16 << 20);
    (world, region)
}

/// The events that a boot recorded, and its counters.
struct Boot {
    events: Vec<Event>,
    dropped: u64,
    read: Stats,
    cache: CacheStats,
    before: CacheStats,
}

/// Mounts with room for `events` events, reads, and leaves the region in order.
fn boot(world: &World, events: u32, reads: impl FnOnce(&GuestRoot<SimStorage>)) -> Boot {
    let config = Config::parse(LINE).unwrap();
    let mut storage = world.attach();
    let notice = &mut |_: Arguments<'_>| {};
    let mounted = guest::open(&mut storage, &config).unwrap();
    let mut memory = Memory::of(48 << 20, &config).unwrap();
    memory.mount.events = events;
    let region = guest::open_region(&mut storage, &config, &mounted, [1; 16], &memory, notice);
    let before = region.as_ref().unwrap().stats();
    let root = mounted.root(storage, region, &memory).unwrap();
    reads(&root);
    // What is still on its way ends meanwhile.
    for _ in 0..1000 {
        root.with_layer(|_, storage| rootlet::storage::Storage::rest(storage, 1_000_000));
        root.progress();
    }
    root.leave(guest::SYNC_TIME);
    let (mut all, recorder) = (Vec::new(), root.recorder());
    recorder.each(|event| all.push(*event));
    let cache = root.with_layer(|layer, _| layer.as_ref().unwrap().stats());
    Boot { events: all, dropped: recorder.dropped(), read: root.stats(), cache, before }
}

/// Reads files in every way that there is, as `seed` says.
fn read_anything(root: &GuestRoot<SimStorage>, seed: u64) {
    let rng = &mut Rng::new(seed);
    root.prefetch();
    let mut out = vec![0; 300_000];
    for _ in 0..40 {
        let (path, size) = FILES[rng.index(FILES.len())];
        match rng.below(4) {
            0 => {
                let len = 1 + rng.index(out.len());
                let at = rng.below(size as u64 + 100);
                let _ = root.open(path.as_bytes()).unwrap().read_at(at, &mut out[..len]);
            }
            1 => {
                let at = rng.below(size as u64);
                let _ = root.open(path.as_bytes()).unwrap().read_at(at, &mut out[..100]);
            }
            2 => {
                // Given up somewhere.
                let mut stream = root.stream(path.as_bytes()).unwrap();
                for _ in 0..rng.below(20) {
                    let Ok(len) = stream.lend().map(<[u8]>::len) else { break };
                    stream.advance(len.min(1 + rng.index(200_000)));
                }
            }
            _ => {
                let mut cursor = root.read_dir(b"/many").unwrap();
                let mut entry = DirEntry::default();
                while let Ok(Some(_)) = cursor.next_inode(root, &mut entry) {}
            }
        }
    }
}

impl Boot {
    fn sum(&self, which: impl Fn(&Event) -> bool) -> (u64, u64) {
        let found = self.events.iter().filter(|event| which(event));
        found.fold((0, 0), |(count, bytes), event| (count + 1, bytes + event.len))
    }

    fn of(&self, kind: Kind) -> (u64, u64) {
        self.sum(|event| event.kind == kind)
    }

    /// Every sum is that of the counters, and every event lies in its time.
    fn assert_sums(&self, name: &str) {
        let Self { read, cache, before, .. } = self;
        assert_eq!(self.dropped, 0, "{name}");
        assert_eq!(self.of(Kind::Read), (read.reads, read.asked_bytes), "{name}: reads");
        assert_eq!(self.of(Kind::Fetch), (read.fetches, read.fetched_bytes), "{name}: fetches");
        let hits = self.sum(|event| event.kind == Kind::Hit && event.cause != Cause::Prefetch);
        assert_eq!(hits, (read.hits, read.hit_bytes), "{name}: hits");
        assert_eq!(self.of(Kind::Join).0, read.joins, "{name}: joins");
        let prefetched = self.sum(|event| event.cause == Cause::Prefetch).1;
        assert_eq!(prefetched, read.prefetched_bytes, "{name}: prefetched");
        let written = cache.written_bytes - before.written_bytes;
        assert_eq!(self.of(Kind::Write).1, written, "{name}: written");
        assert_eq!(self.of(Kind::Flush).0, cache.flushes - before.flushes, "{name}: flushes");
        assert!(self.events.iter().all(|event| event.start_ns <= event.end_ns), "{name}");
    }
}

#[test]
fn sums_of_events_are_the_counters_cold_and_warm() {
    for seed in 0..24 {
        let world = machine(seed);
        let slow = Rule::new(Fault::Delay(200_000)).op(OpKind::Read);
        if seed % 2 == 1 {
            world.rule(slow);
        }
        let cold = boot(&world, 65_536, |root| read_anything(root, seed));
        cold.assert_sums(&format!("{seed}, cold"));
        assert!(cold.read.fetches > 0 && cold.cache.flushes > 0);
        let warm = boot(&world, 65_536, |root| read_anything(root, seed));
        warm.assert_sums(&format!("{seed}, warm"));
        assert!(warm.read.hits > 0 && warm.read.prefetched_bytes > 0, "{seed}");
        assert!(warm.of(Kind::Fetch).1 < cold.of(Kind::Fetch).1, "{seed}");
    }
}

#[test]
fn sums_are_the_counters_when_the_region_lies_and_sources_fail() {
    for seed in 0..12 {
        let (world, region) = machine_and_region(seed);
        let first = boot(&world, 65_536, |root| read_anything(root, seed));
        first.assert_sums("before the faults");
        let fault = Rule::new(Fault::Fail(IoErrorKind::Device(5))).device(region).op(OpKind::Read);
        world.rule(fault.per_million(50_000));
        let lying = boot(&world, 65_536, |root| read_anything(root, seed + 100));
        lying.assert_sums(&format!("{seed}, a region that fails"));
    }
}

/// All that a reader gets was needed, and all that is needed was fetched or hit or there before.
#[test]
fn whole_files_are_used_byte_by_byte_and_fetched_for_themselves() {
    let world = machine(5);
    let nid = std::cell::Cell::new(0);
    let boot = boot(&world, 65_536, |root| {
        let mut stream = root.stream(b"/large").unwrap();
        nid.set(stream.inode().nid().0);
        loop {
            let len = stream.lend().unwrap().len();
            if len == 0 {
                break;
            }
            stream.advance(len);
        }
    });
    let nid = nid.get();
    let of_file = |kind| boot.sum(move |event| event.kind == kind && event.nid == Some(nid)).1;
    assert_eq!(of_file(Kind::Use), 3 << 20);
    assert_eq!(of_file(Kind::Read), 3 << 20);
    assert!(of_file(Kind::Fetch) >= 3 << 20);
    let ahead = boot.sum(|event| event.cause == Cause::Ahead).0;
    assert!(ahead > 0, "a stream reads on");
}

#[test]
fn ring_of_sixteen_events_drops_the_others_and_counts_them() {
    let (few, many) = (machine(9), machine(9));
    let all = boot(&many, 65_536, |root| read_anything(root, 9));
    let last = boot(&few, 16, |root| read_anything(root, 9));
    assert_eq!(last.events.len(), 16);
    // Uses that are side by side are one as long as the first is kept.
    assert!(last.dropped + 16 >= all.events.len() as u64);
    assert_eq!(last.events.last().unwrap().kind, all.events.last().unwrap().kind);
    assert_eq!(last.read, all.read, "a record changes nothing");
}

#[test]
fn mount_that_records_nothing_reads_the_same() {
    let (off, on) = (machine(3), machine(3));
    let silent = boot(&off, 0, |root| read_anything(root, 3));
    let told = boot(&on, 65_536, |root| read_anything(root, 3));
    assert!(silent.events.is_empty() && silent.dropped == 0);
    assert_eq!((silent.read, silent.cache), (told.read, told.cache));
}
