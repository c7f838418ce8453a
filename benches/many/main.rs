//! One reader and sixteen, of random 4 KiB over devices that take 100 us: without a region, into an
//! empty one, and from a full one; in virtual time, and in that of the machine; sixteen threads, and
//! sixteen futures of one thread. Prints reads a second, their ratio to those of one thread, and the
//! waits of the sixteen. With `--lone BYTES` one reader alone, whose instructions a tool may count.
//!
//! Always: each reader has a part of the file of its own; each read is compared with the file.
#![expect(
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a benchmark that panics has failed"
)]

mod disks;
mod futures;
mod lone;

use std::thread;
use std::time::Duration;

use rootlet::blob::{Image, SourceName};
use rootlet::cache::{Cache, CacheOptions};
use rootlet::read::Root;
use rootlet::storage::{Discover, Storage};
use rootlet_sim::image::{Built, Content, Options, Tree, build};

use disks::{Clock, Disks};

const READERS: usize = 16;
/// The blocks of 4 KiB that each reader reads.
const BLOCKS: usize = 256;
const BLOCK: usize = 4096;
const REGION_BYTES: usize = 64 << 20;
const SECOND: Duration = Duration::from_secs(1);

type Mounted = Root<Disks, Option<Cache>>;

/// What the region holds at the start.
#[derive(Clone, Copy, PartialEq)]
enum Region {
    None,
    Cold,
    Warm,
}

fn mounted(built: &Built, clock: Clock, region: Region) -> Mounted {
    let image = built.image.bytes().to_vec();
    let disks = vec![
        ("image", image),
        ("blob1", built.blobs[0].to_vec()),
        ("cache", vec![0; REGION_BYTES]),
    ];
    let mut storage = Disks::new(clock, disks);
    let device = storage.disk("image").unwrap();
    let image = Image::read(&storage, device).unwrap();
    let sources = image.bind(&mut storage, &[(1, SourceName::Disk("blob1"))]).unwrap();
    let layer = (region != Region::None).then(|| {
        let device = storage.disk("cache").unwrap();
        Cache::open(&storage, &CacheOptions::new(device, [5; 16])).unwrap()
    });
    let root = Root::new(storage, layer, &image, &sources).unwrap();
    if region == Region::Warm {
        let file = root.open(b"/large").unwrap();
        let mut out = vec![0; 1 << 20];
        for at in (0..file.size()).step_by(out.len()) {
            file.read_at(at, &mut out).unwrap();
            assert!(root.sync(10 * SECOND));
        }
    }
    root
}

/// Reads of one reader: each block of its part once, in an order that looks random. Returns how long
/// each took, in nanoseconds.
fn read(root: &Mounted, data: &[u8], part: usize) -> Vec<u64> {
    let file = root.open(b"/large").unwrap();
    let mut out = [0; BLOCK];
    let mut waits = Vec::with_capacity(BLOCKS);
    for number in 0..BLOCKS {
        let at = (part * BLOCKS + number * 89 % BLOCKS) * BLOCK;
        let start_ns = root.storage().now_ns();
        assert_eq!(file.read_at(at as u64, &mut out), Ok(BLOCK));
        waits.push(root.storage().now_ns() - start_ns);
        assert!(out[..] == data[at..][..BLOCK]);
    }
    root.storage().ends();
    waits
}

/// What this many readers together did.
struct Measured {
    /// Reads a second.
    rate: f64,
    /// The wait of each read, in nanoseconds, sorted.
    waits: Vec<u64>,
}

/// What reads.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Readers {
    Threads,
    Futures,
}

fn measure(data: &[u8], mut root: Mounted, kind: Readers, readers: usize) -> Measured {
    // The chunk map, and the file's inode.
    root.open(b"/large").unwrap().read_at(0, &mut [0]).unwrap();
    if kind == Readers::Futures {
        root.storage_mut().slow_reads();
    }
    root.storage().set_readers(readers);
    let (root, start_ns) = (&root, root.storage().now_ns());
    let mut waits: Vec<u64> = match kind {
        Readers::Futures => futures::read_all(root, data, readers),
        Readers::Threads => thread::scope(|scope| {
            let readers = (0..readers).map(|part| scope.spawn(move || read(root, data, part)));
            let readers: Vec<_> = readers.collect();
            readers.into_iter().flat_map(|reader| reader.join().unwrap()).collect()
        }),
    };
    let seconds = (root.storage().now_ns() - start_ns) as f64 / 1e9;
    waits.sort_unstable();
    Measured { rate: (readers * BLOCKS) as f64 / seconds, waits }
}

fn main() {
    if let Some(bytes) = lone::asked() {
        return lone::read(bytes);
    }
    let data = Content::seeded(1, READERS * BLOCKS * BLOCK).to_vec();
    let mut tree = Tree::new();
    tree.file("/large", Content::bytes(data.clone()));
    let built = build(&tree, &Options { blobs: 1, ..Options::default() }).unwrap();
    println!(
        "| time | region | 16 | 1 thread, /s | the 16, /s | ratio | wait, us | worst | ratio |"
    );
    println!("|-|-|-|-:|-:|-:|-:|-:|-:|");
    for time in ["virtual", "real"] {
        let clock = || if time == "real" { Clock::real() } else { Clock::virtual_() };
        for (name, region) in
            [("none", Region::None), ("cold", Region::Cold), ("warm", Region::Warm)]
        {
            let of =
                |kind, readers| measure(&data, mounted(&built, clock(), region), kind, readers);
            let one = of(Readers::Threads, 1);
            for kind in [Readers::Threads, Readers::Futures] {
                let many = of(kind, READERS);
                let us = |place: usize| many.waits[place] as f64 / 1e3;
                let (median, worst) = (us(many.waits.len() / 2), us(many.waits.len() - 1));
                println!(
                    "| {time} | {name} | {kind:?} | {:.0} | {:.0} | {:.1} | {median:.0} | {worst:.0} | {:.1} |",
                    one.rate,
                    many.rate,
                    many.rate / one.rate,
                    worst / median
                );
            }
        }
    }
}
