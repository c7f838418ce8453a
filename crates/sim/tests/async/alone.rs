//! What one future does, and what two do for each other.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::readers::{FILE_BYTES, SMALL_FILES, made, mount, small_file};
use embedded_io_async::{BufRead, Read, Seek, SeekFrom};
use rootlet::blob::Image;
use rootlet::cache::{Cache, NoRegion};
use rootlet::read::{Budget, Root};
use rootlet::storage::{DeviceId, Discover, IoErrorKind, Storage};
use rootlet_sim::Rng;
use rootlet_sim::disk::{Fault, OpKind, Rule, SimStorage, Sparse, World};
use rootlet_sim::image::{Built, Content, Options, Tree, build};
use rootlet_sim::tasks::{Task, join};

type Mount = Root<SimStorage, Option<Cache>>;

const REGION_BYTES: u64 = 4 << 20;
const LATENCY_NS: u64 = 1_000_000;

fn world(seed: u64) -> (World, DeviceId) {
    let world = World::new(seed);
    world.blob("image", &made().built.image);
    let blob = world.blob("blob1", &made().built.blobs[0]);
    world.disk("cache", 512, Sparse::zeros(REGION_BYTES));
    (world, blob)
}

/// Polls a future until it is ready.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    for _ in 0..100_000 {
        let polled = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(value) = polled {
            return value;
        }
    }
    panic!("it does not end")
}

/// Polls a future once, which is not ready then.
fn poll_once<T>(future: impl Future<Output = T>) {
    let polled = pin!(future).poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
}

fn read_blocks(root: &Mount, blocks: &[u64]) {
    let inode = &root.metadata(b"/large").unwrap();
    let reads = blocks.iter().map(|block| -> Task<'_, ()> {
        Box::pin(async move {
            let mut out = [0xee; 4096];
            assert_eq!(root.read(inode, block * 4096, &mut out).await, Ok(4096));
            assert!(out[..] == made().large[*block as usize * 4096..][..4096]);
        })
    });
    let reads = reads.collect();
    join(&mut Rng::new(1), reads, |_| {
        root.drive();
    });
}

#[test]
fn reads_of_several_futures_are_under_way_together() {
    let (world, blob) = world(1);
    let root = mount(world.attach(), false, &Budget::default());
    read_blocks(&root, &[0]);
    world.rule(Rule::new(Fault::Delay(LATENCY_NS)).device(blob).op(OpKind::Read));
    let start_ns = root.now_ns();
    read_blocks(&root, &[3, 14, 15, 92, 65, 35, 89, 79]);
    let took_ns = root.now_ns() - start_ns;
    assert!(took_ns < 3 * LATENCY_NS, "eight reads of {LATENCY_NS} ns took {took_ns} ns");
    assert_eq!(root.stats().blocked_steps, 0);
}

#[test]
fn futures_that_miss_the_same_bytes_fetch_them_once_and_all_are_woken() {
    for seed in 0..20 {
        let (world, blob) = world(seed);
        let root = mount(world.attach(), true, &Budget::default());
        read_blocks(&root, &[0]);
        let before = world.counters(blob).reads;
        read_blocks(&root, &[40; 12]);
        assert_eq!(world.counters(blob).reads - before, 1, "seed {seed}");
    }
}

#[test]
fn blocking_reader_joins_what_a_future_has_begun() {
    let (world, blob) = world(3);
    let root = mount(world.attach(), true, &Budget::default());
    read_blocks(&root, &[0]);
    let before = world.counters(blob).reads;
    let inode = root.metadata(b"/large").unwrap();
    let (mut mine, mut out) = ([0; 4096], [0; 4096]);
    let mut future = Box::pin(root.read(&inode, 64 << 10, &mut mine));
    assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(root.open(b"/large").unwrap().read_at(64 << 10, &mut out), Ok(4096));
    assert_eq!(wait(future), Ok(4096));
    assert!(mine == out && out[..] == made().large[64 << 10..][..4096]);
    assert_eq!(world.counters(blob).reads - before, 1);
}

#[test]
fn dropped_future_leaves_its_bytes_to_the_region_and_lends_nothing() {
    let (world, blob) = world(4);
    let root = mount(world.attach(), true, &Budget::default());
    read_blocks(&root, &[0]);
    let inode = root.metadata(b"/large").unwrap();
    let mut out = [0; 4096];
    poll_once(root.read(&inode, 80 << 10, &mut out));
    while world.counters(blob).lent_bytes > 0 {
        root.drive();
    }
    let before = world.counters(blob).reads;
    read_blocks(&root, &[20]);
    assert_eq!(world.counters(blob).reads, before, "the region has them");
}

#[test]
fn job_that_never_ends_is_an_error_of_the_read_and_not_a_wait() {
    let (world, blob) = world(5);
    let root = mount(world.attach(), false, &Budget::default());
    read_blocks(&root, &[0]);
    world.rule(Rule::new(Fault::Keep).device(blob).op(OpKind::Read).times(1));
    let inode = root.metadata(b"/large").unwrap();
    let mut out = [0; 4096];
    let error = wait(root.read(&inode, 8192, &mut out)).unwrap_err();
    assert!(matches!(error, rootlet::Error::Io(error) if error.kind == IoErrorKind::Timeout));
    assert_eq!(wait(root.read(&inode, 8192, &mut out)), Ok(4096));
    assert_eq!(world.release(), 1);
    assert!((0..100).any(|_| root.drive()), "it comes back");
    assert_eq!((root.stats().stray_jobs, world.counters(blob).lent_bytes), (1, 0));
}

#[test]
fn owned_bytes_of_one_transfer_are_not_copied() {
    let (world, _) = world(6);
    let root = mount(world.attach(), false, &Budget::default());
    let inode = root.metadata(b"/large").unwrap();
    assert_eq!(wait(root.read_owned(&inode, 0, 1)).unwrap()[..], made().large[..1]);
    let before = root.stats().copied_bytes;
    let mut kept = Vec::new();
    // More buffers than the pool has: each is the reader's own, and another one takes its place.
    for at in (0..FILE_BYTES - 32768).step_by(16384) {
        let buffer = wait(root.read_owned(&inode, at as u64 + 5, 32768)).unwrap();
        assert!(buffer[..] == made().large[at + 5..][..32768]);
        kept.push(buffer);
    }
    let copied = root.stats().copied_bytes - before;
    assert!(copied < 16384, "{copied} bytes: more than entries of the chunk map");
    let all = wait(root.read_owned(&inode, 0, FILE_BYTES + 7)).unwrap();
    assert!(all[..] == made().large[..], "of several transfers: a copy");
    assert!(root.stats().copied_bytes - before > FILE_BYTES as u64 - 65536);
    assert_eq!(root.stats().blocked_steps, 0);
    let end = wait(root.read_owned(&inode, FILE_BYTES as u64, 9)).unwrap();
    assert!(end.is_empty());
}

#[test]
fn file_is_a_reader_a_seeker_and_a_lender_of_embedded_io_async() {
    let (world, _) = world(7);
    let root = mount(world.attach(), true, &Budget::default());
    let large = &made().large;
    let mut file = wait(root.open_async(b"/large")).unwrap();
    assert_eq!(wait(Seek::seek(&mut file, SeekFrom::Start(1000))), Ok(1000));
    let mut out = vec![0; 100_000];
    assert_eq!(wait(Read::read_exact(&mut file, &mut out)), Ok(()));
    assert!(out[..] == large[1000..][..100_000]);
    assert_eq!(wait(Seek::seek(&mut file, SeekFrom::Current(-2000))), Ok(99_000));
    let mut at = 99_000;
    loop {
        let lent = wait(BufRead::fill_buf(&mut file)).unwrap();
        assert!(*lent == large[at..][..lent.len()]);
        if lent.is_empty() {
            break;
        }
        let used = 1 + lent.len() / 2;
        let used = used.min(lent.len());
        BufRead::consume(&mut file, used);
        at += used;
        // Sometimes the other way.
        let mut some = [0; 7];
        let len = wait(Read::read(&mut file, &mut some)).unwrap();
        assert!(some[..len] == large[at..][..len]);
        at += len;
    }
    assert_eq!(at, FILE_BYTES);
    assert_eq!(wait(Seek::seek(&mut file, SeekFrom::End(-3))), Ok(FILE_BYTES as u64 - 3));
    let mut end = [0; 9];
    assert_eq!(wait(Read::read(&mut file, &mut end)), Ok(3));
    assert_eq!(wait(Read::read(&mut file, &mut end)), Ok(0));
}

#[test]
fn futures_find_what_blocking_lookups_find() {
    let (world, _) = world(8);
    let root = mount(world.attach(), false, &Budget::default().with_metadata_bytes(0));
    for number in 0..SMALL_FILES {
        let (path, content) = small_file(number);
        let found = wait(root.metadata_async(path.as_bytes())).unwrap();
        assert_eq!(Ok(found), root.metadata(path.as_bytes()));
        let mut out = vec![0; content.len()];
        assert_eq!(wait(root.read(&found, 0, &mut out)), Ok(content.len()));
        assert!(out == content);
    }
    let missing = wait(root.metadata_async(b"/dir/nothing"));
    assert_eq!(missing, root.metadata(b"/dir/nothing"));
    let dir = root.metadata(b"/dir").unwrap();
    assert_eq!(wait(root.read(&dir, 0, &mut [0])), root.open_inode(dir).map(|_| 0));
    let mut cursor = root.read_dir(b"/dir").unwrap();
    let mut other = cursor.clone();
    loop {
        let entry = wait(cursor.next_async(&root)).unwrap();
        assert_eq!(Ok(entry.clone()), other.next(&root));
        assert_eq!(cursor.position(), other.position());
        let Some(entry) = entry else { break };
        let found = wait(root.find_async(&dir, &entry.name)).unwrap();
        assert_eq!(Ok(found), root.find(&dir, &entry.name));
    }
}

/// An image with a file below directories of several blocks each.
fn deep(path: &str) -> Built {
    let mut tree = Tree::new();
    for (at, _) in path.match_indices('/').skip(1) {
        for number in 0..150 {
            let name = format!("{}/a-name-that-takes-some-room-{number:04}", &path[..at]);
            tree.file(name, Content::hole(0));
        }
    }
    tree.file(path, Content::bytes(vec![7; 100]));
    build(&tree, &Options::default()).unwrap()
}

#[test]
fn path_that_needs_more_pages_than_the_cache_has_reads_each_of_them_once() {
    let path = "/first/second/third/fourth/fifth/file";
    let world = World::new(10);
    world.blob("image", &deep(path).image);
    let mut storage = world.attach();
    let device = storage.disk("image").unwrap();
    let image = Image::read(&storage, device).unwrap();
    let sources = image.bind(&mut storage, &[]).unwrap();
    let budget = Budget::default().with_metadata_bytes(0);
    let root = Root::with_budget(storage, NoRegion, &image, &sources, &budget).unwrap();
    let before = world.counters(device).reads;
    let found = wait(root.metadata_async(path.as_bytes())).unwrap();
    let reads = world.counters(device).reads - before;
    assert!((10..=32).contains(&reads), "{reads} reads: each page once");
    assert_eq!((found.size(), Ok(found)), (100, root.metadata(path.as_bytes())));
    assert_eq!(root.stats().blocked_steps, 0);
}

#[test]
fn storage_that_takes_no_jobs_serves_futures_as_it_serves_blocking_readers() {
    let (world, blob) = world(9);
    let image = world.attach().info(DeviceId(0)).map(|info| info.bytes);
    assert!(image.is_some());
    world.set_jobs_max(blob, 0);
    world.set_jobs_max(DeviceId(0), 0);
    let root = mount(world.attach(), false, &Budget::default());
    let inode = root.metadata(b"/large").unwrap();
    let mut out = vec![0; FILE_BYTES];
    assert_eq!(wait(root.read(&inode, 0, &mut out)), Ok(FILE_BYTES));
    assert!(out == made().large && root.stats().blocked_steps > 0);
}

#[test]
fn buffers_of_a_future_that_nobody_polls_any_more_go_to_those_who_wait() {
    let (world, _) = world(11);
    // Four buffers, of which the first future takes all.
    let budget = Budget::default().with_stream_bytes(256 << 10);
    let root = mount(world.attach(), false, &budget);
    let inode = root.metadata(b"/large").unwrap();
    let (mut long, mut out) = (vec![0xee; FILE_BYTES], [0xee; 4096]);
    {
        let mut forgotten = Box::pin(root.read(&inode, 0, &mut long));
        assert!(forgotten.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        for _ in 0..100 {
            root.drive();
        }
        assert_eq!(wait(root.read(&inode, 400 << 10, &mut out)), Ok(4096));
        assert!(out[..] == made().large[400 << 10..][..4096]);
        assert_eq!(root.stats().blocked_steps, 0);
        assert_eq!(wait(forgotten), Ok(FILE_BYTES));
    }
    assert!(long == made().large);
}

/// A waker that calls the mount, as an executor does that polls where it is woken.
struct Caller(Arc<Mount>, AtomicUsize);

impl Wake for Caller {
    fn wake(self: Arc<Self>) {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.drive();
        assert!(self.0.stats().reads < 100);
    }
}

#[test]
fn waker_may_call_the_mount() {
    let (world, _) = world(12);
    let root = Arc::new(mount(world.attach(), true, &Budget::default()));
    let inode = root.metadata(b"/large").unwrap();
    let caller = Arc::new(Caller(Arc::clone(&root), AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&caller));
    let mut out = vec![0xee; 100_000];
    let mut future = Box::pin(root.read(&inode, 0, &mut out));
    let polls = (0..10_000).take_while(|_| {
        let is_pending = future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending();
        root.drive();
        is_pending
    });
    assert!(polls.count() < 10_000);
    drop(future);
    assert!(out[..] == made().large[..100_000] && caller.1.load(Ordering::Relaxed) > 0);
}
