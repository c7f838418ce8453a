//! Readers that want the same bytes at once: each byte is fetched from its source once.

use embedded_io::{Seek, SeekFrom};
use rootlet::read::Stream;
use rootlet::storage::DeviceId;
use rootlet_guest::{self as guest, Memory, config::Config};
use rootlet_sim::disk::{Fault, OpKind, Rule, Sparse, World};
use rootlet_sim::image::{Content, Options, Tree, build};

use crate::guest::Guest;

const FILE: usize = 3 << 20;

fn content() -> Vec<u8> {
    Content::seeded(3, FILE).to_vec()
}

/// A machine whose file takes its time, and the blob that holds it.
fn machine(seed: u64) -> (World, DeviceId) {
    let mut tree = Tree::new();
    tree.file("/file", Content::bytes(content()));
    let built = build(&tree, &Options { blobs: 1, ..Options::default() }).unwrap();
    let world = World::new(seed);
    world.blob("image", &built.image);
    let blob = world.blob("blob1", &built.blobs[0]);
    world.disk("cache", 512, Sparse::zeros(16 << 20));
    world.rule(Rule::new(Fault::Delay(300_000)).device(blob).op(OpKind::Read));
    (world, blob)
}

/// A guest with a region, and how many bytes of the blob were read at its source.
fn with_region<R>(
    seed: u64,
    reads: impl FnOnce(&Guest<rootlet_sim::disk::SimStorage>) -> R,
) -> u64 {
    let (world, blob) = machine(seed);
    let guest = Guest::mount(world.attach(), "image=image blob1=blob1 cache=cache", 1).unwrap();
    reads(&guest);
    let cache = guest.counters().cache.unwrap();
    assert_eq!((cache.dropped_bytes, cache.check_failures), (0, 0));
    world.counters(blob).read_bytes
}

fn rounded() -> u64 {
    FILE.next_multiple_of(4096) as u64
}

/// Takes up to `len` bytes off a stream and compares them; false at its end.
fn take<S: rootlet::storage::Storage, L: rootlet::cache::Layer<S>>(
    stream: &mut Stream<'_, S, L>,
    len: usize,
    want: &[u8],
) -> bool {
    let at = stream.position() as usize;
    let bytes = stream.lend().unwrap();
    let len = len.min(bytes.len());
    assert!(bytes[..len] == want[at..at + len], "at {at}");
    stream.advance(len);
    len > 0
}

#[test]
fn two_streams_over_one_file_fetch_it_once() {
    let want = content();
    for (seed, one, other) in [(1, 100_000, 100_000), (2, 4096, 300_000), (3, 262_144, 5000)] {
        let fetched = with_region(seed, |guest| {
            let mut streams = [(); 2].map(|()| guest.root.stream(b"/file").unwrap());
            let [first, second] = &mut streams;
            while take(first, one, &want) | take(second, other, &want) {}
        });
        assert_eq!(fetched, rounded(), "{seed}");
    }
}

#[test]
fn reads_of_what_a_stream_has_on_its_way_wait_for_it() {
    let want = content();
    let fetched = with_region(4, |guest| {
        let mut stream = guest.root.stream(b"/file").unwrap();
        let file = guest.root.open(b"/file").unwrap();
        let mut out = vec![0; 200_000];
        while take(&mut stream, 150_000, &want) {
            for ahead in [10_000, 140_000] {
                let at = stream.position() as usize + ahead;
                let len = file.read_at(at as u64, &mut out).unwrap();
                assert!(out[..len] == want[at.min(FILE)..at.min(FILE) + len], "at {at}");
            }
        }
    });
    assert_eq!(fetched, rounded());
}

#[test]
fn stream_that_is_given_up_leaves_what_it_had_on_its_way_to_others() {
    let want = content();
    let fetched = with_region(5, |guest| {
        for _ in 0..3 {
            let mut stream = guest.root.stream(b"/file").unwrap();
            take(&mut stream, 1000, &want);
        }
        let mut out = vec![0; FILE];
        guest.root.open(b"/file").unwrap().read_at(0, &mut out).unwrap();
        assert!(out == want);
    });
    assert_eq!(fetched, rounded());
}

/// Reads that a mount had on its way end in the next one over the same storage, which must not
/// take them for its own.
#[test]
fn mount_after_a_stream_that_was_given_up_reads_right() {
    for (seed, line) in (1..40).flat_map(|seed| [(seed, ""), (seed, " cache=cache")]) {
        let (world, _) = machine(seed);
        let config = Config::parse(&format!("image=image blob1=blob1{line}")).unwrap();
        let mut storage = world.attach();
        let notice = &mut |_: std::fmt::Arguments<'_>| {};
        let mounted = guest::open(&mut storage, &config).unwrap();
        let memory = Memory::of(48 << 20, &config).unwrap();
        let region = guest::open_region(&mut storage, &config, &mounted, [1; 16], &memory, notice);
        let mut root = mounted.root(storage, region, &memory).unwrap();
        let want = content();
        for first in [2_000_000, 0, 1_000_000] {
            let mut stream = root.stream(b"/file").unwrap();
            stream.seek(SeekFrom::Start(first)).unwrap();
            take(&mut stream, 1000, &want);
            drop(stream);
            let (storage, region) = root.into_parts();
            root = mounted.root(storage, region, &memory).unwrap();
            let mut stream = root.stream(b"/file").unwrap();
            stream.seek(SeekFrom::Start(first / 2)).unwrap();
            while take(&mut stream, 300_000, &want) {}
        }
    }
}

/// A chunk that a file has several times: one read of all of them fetches it once, and what comes
/// in between too.
#[test]
fn chunk_that_occurs_twice_in_a_read_is_fetched_once() {
    let (one, other) = (Content::seeded(1, 4096).to_vec(), Content::seeded(2, 4096).to_vec());
    let want = [&one[..], &other, &one, &one, &other, &one].concat();
    let mut tree = Tree::new();
    tree.file("/file", Content::bytes(want.clone()));
    let built = build(&tree, &Options { blobs: 1, chunk_bits: 12, ..Options::default() }).unwrap();
    let world = World::new(4);
    world.blob("image", &built.image);
    let blob = world.blob("blob1", &built.blobs[0]);
    world.disk("cache", 512, Sparse::zeros(16 << 20));
    let guest = Guest::mount(world.attach(), "image=image blob1=blob1 cache=cache", 1).unwrap();
    let mut out = vec![0; want.len()];
    let file = guest.root.open(b"/file").unwrap();
    assert_eq!(file.read_at(0, &mut out).unwrap(), want.len());
    assert!(out == want);
    assert_eq!(world.counters(blob).read_bytes, 2 * 4096);
}
