//! Files of a share that futures read at once, while a seed decides in which order the daemon answers,
//! and whether it fails, lies, keeps silent, or is started anew.
//!
//! Always: a future resolves to the exact bytes or to an error, and to no error without a fault; every
//! wake arrives; a future may be dropped at any moment; once the daemon answers again, nothing is left.
//!
//! `SHARE_SEED=7 cargo test -p rootlet-board together` replays a seed, `SHARE_SEEDS=10000` tries more.

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use core::cell::RefCell;
use std::env;
use std::sync::OnceLock;

use rootlet::blob::{Image, SourceName};
use rootlet::cache::NoRegion;
use rootlet::read::Root;
use rootlet::storage::Retry;
use rootlet_sim::Rng;
use rootlet_sim::disk::Sparse;
use rootlet_sim::image::{Content, Options, Tree, build};
use rootlet_sim::tasks::{Task, join, within};

use super::*;
use crate::storage::fake_share::{self, Course, FakeShare, Shared, State};

const SEEDS: u64 = if cfg!(miri) { 2 } else { 300 };
const FILES: u64 = 4;
const FILE_BYTES: usize = 24 << 10;
const WORKERS: usize = 6;
const WORKS: usize = 6;
const POLLS_MAX: usize = 400;
const SECOND_NS: u64 = 1_000_000_000;

type Mount = Root<Retry<VirtioStorage<FakeShare>>, NoRegion>;
type Outcome = Result<(), rootlet::Error>;

fn file(number: u64) -> Vec<u8> {
    Content::seeded(number, FILE_BYTES).to_vec()
}

/// An image and its two blobs, as files of a share.
fn files() -> Vec<Shared> {
    static MADE: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let mut tree = Tree::new();
        for number in 0..FILES {
            tree.file(format!("/dir/{number}"), Content::bytes(file(number)));
        }
        let options = Options { blobs: 2, chunk_bits: 12, ..Options::default() };
        let built = build(&tree, &options).unwrap();
        let blobs = built.blobs.iter().map(|blob| Sparse::from(blob).to_vec());
        core::iter::once(Sparse::from(&built.image).to_vec()).chain(blobs).collect()
    });
    let names = ["image", "blob1", "blob2"];
    let files = names.into_iter().zip(made).zip(1..);
    files.map(|((name, bytes), ctime)| Shared { name, bytes: bytes.clone(), ctime }).collect()
}

/// Mounts the image of a share whose daemon answers honestly, in an order that the seed decides.
fn mount(seed: u64, retry_s: u32) -> (Mount, Rc<RefCell<State>>) {
    fake::told();
    let (found, state) = fake_share::share(files());
    state.borrow_mut().course = Some(Course::new(seed));
    let mut storage = VirtioStorage::new(fake::processor());
    storage.add(found).unwrap();
    storage.set_timeout_ns(3 * SECOND_NS);
    let mut storage = Retry::new(storage, retry_s, None);
    let device = storage.share_file(None, "image").unwrap();
    let image = Image::read(&storage, device).unwrap();
    let name = |name| SourceName::File { mount_tag: None, name };
    let blobs = [(1, name("blob1")), (2, name("blob2"))];
    let sources = image.bind(&mut storage, &blobs).unwrap();
    (Root::new(storage, NoRegion, &image, &sources).unwrap(), state)
}

async fn read(root: &Mount, mut rng: Rng) -> Outcome {
    let number = rng.below(FILES);
    let (at, len) = (rng.index(FILE_BYTES), 1 + rng.index(FILE_BYTES / 2));
    let mut out = vec![0xee; len];
    let inode = root.metadata_async(format!("/dir/{number}").as_bytes()).await?;
    let len = root.read(&inode, at as u64, &mut out).await?;
    assert_eq!(len, out.len().min(FILE_BYTES - at));
    assert!(out[..len] == file(number)[at..][..len], "wrong bytes of {number}, {at}..+{len}");
    Ok(())
}

/// What became of the works.
#[derive(Default)]
struct Sum {
    done: usize,
    failed: usize,
    dropped: usize,
    swapped: usize,
    restarts: usize,
}

async fn work(root: &Mount, mut rng: Rng, is_faulty: bool) -> Sum {
    let mut sum = Sum::default();
    for _ in 0..WORKS {
        let gives_up = rng.below(6) == 0;
        let polls_max = if gives_up { rng.index(4) } else { POLLS_MAX };
        match within(polls_max, read(root, rng.fork())).await {
            Some((result, _)) => {
                assert!(is_faulty || result.is_ok(), "{result:?}");
                (sum.done, sum.failed) = (sum.done + 1, sum.failed + usize::from(result.is_err()));
            }
            None => {
                assert!(gives_up, "more than {POLLS_MAX} polls");
                sum.dropped += 1;
            }
        }
    }
    sum
}

fn world(seed: u64) -> Sum {
    let mut rng = Rng::new(seed);
    // Where the daemon only dies, each read is tried again, and none fails.
    let dies_only = seed % 6 == 4;
    let (root, state) = mount(seed, if dies_only { 60 } else { 0 });
    if let Some(course) = &mut state.borrow_mut().course {
        match seed % 6 {
            1 => course.fails = 50_000,
            2 => course.lies = 50_000,
            3 => course.keeps = 10_000,
            4 => course.dies = 30_000,
            5 => (course.fails, course.lies, course.dies) = (20_000, 20_000, 20_000),
            _ => {}
        }
    }
    let is_faulty = !seed.is_multiple_of(6) && !dies_only;
    let works =
        (0..WORKERS).map(|_| -> Task<'_, Sum> { Box::pin(work(&root, rng.fork(), is_faulty)) });
    let works = works.collect();
    let all = join(&mut rng, works, |_| {
        root.drive();
    });
    let mut sum = Sum::default();
    for one in all {
        (sum.done, sum.failed) = (sum.done + one.done, sum.failed + one.failed);
        sum.dropped += one.dropped;
    }
    sum.restarts = state.borrow().resets - 1;
    if let Some(course) = &mut state.borrow_mut().course {
        course.heal();
        assert!(course.together > 1, "reads of two files are under way at once");
        sum.swapped = course.swapped;
    }
    leaves_nothing(root, &mut rng);
    sum
}

/// Once the daemon answers, so do all reads, and no memory is left with the share.
fn leaves_nothing(root: Mount, rng: &mut Rng) {
    let is_back = |_| {
        root.drive();
        root.open(b"/dir/0").is_ok_and(|file| file.read_at(0, &mut [0; 9]).is_ok())
    };
    assert!((0..10_000).any(is_back), "it does not come back");
    let reads = (0..8).map(|_| -> Task<'_, Outcome> { Box::pin(read(&root, rng.fork())) });
    let reads = reads.collect();
    let all = join(rng, reads, |_| {
        root.drive();
    });
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    let (mut storage, _) = root.into_parts();
    let left = storage.inner_mut().given_up_bytes();
    assert_eq!(left, 0, "bytes are left with the share");
}

fn seeds() -> core::ops::Range<u64> {
    let number = |name| env::var(name).ok().map(|seed| seed.parse::<u64>().unwrap());
    match (number("SHARE_SEED"), number("SHARE_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, seeds) => 0..seeds.unwrap_or(SEEDS),
    }
}

#[test]
fn futures_over_a_share_get_exact_bytes_or_an_error_in_any_order_of_its_answers() {
    let mut sum = Sum::default();
    for seed in seeds() {
        std::println!("SHARE_SEED={seed} replays what fails now");
        let one = world(seed);
        (sum.done, sum.failed) = (sum.done + one.done, sum.failed + one.failed);
        (sum.dropped, sum.swapped) = (sum.dropped + one.dropped, sum.swapped + one.swapped);
        sum.restarts += one.restarts;
    }
    let Sum { done, failed, dropped, swapped, restarts } = sum;
    std::println!(
        "{done} done, {failed} of them failed, {dropped} dropped; {swapped} answers out of order, \
         {restarts} restarts"
    );
    assert!(done > 0 && dropped > 0 && swapped > 0);
}
