//! Reading an image beside the kernel of this machine, which mounts the same file: two threads each.
//! Prints a table of rates and their ratio.
//!
//! Always: both read an image from a fresh mount, one run after the other in turn; an image is either in
//! the page cache for both, or dropped for both. Both found equal sums before a clock ran. What cannot be
//! mounted or made here is named and left out. `MKFS_EROFS` names another mkfs.erofs, one with
//! Zstandard for example.
#![expect(
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a benchmark that panics has failed"
)]

mod images;
mod linux;
mod ours;

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use rootlet_rows::linux::unable;
use rustix::fs::{Advice, fadvise};

use images::{LARGE_BYTES, Subject};

/// Threads of each side.
const THREADS: usize = 2;
/// Runs of each side; figures are medians.
const RUNS: usize = 9;
/// Bytes of a long read, and of a short one.
const LONG: usize = 1 << 20;
const SHORT: usize = 4096;
/// Short reads of a thread.
const SHORTS: usize = 8192;

/// What a thread does: a share of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Reads one large file from its start.
    Sequential,
    /// Reads 4 KiB of one large file at places that look random.
    Random,
    /// Reads every small file of its half of the directories.
    Files,
    /// Lists its half of the directories, with the attributes of each entry.
    Walk,
}

/// What was done: the number of bytes or operations, and a sum of what was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    count: u64,
    sum: u64,
}

impl Done {
    /// Adds bytes, of which the first and the last are looked at.
    fn bytes(&mut self, bytes: &[u8]) {
        self.count += bytes.len() as u64;
        let ends = bytes.first().into_iter().chain(bytes.last());
        self.sum += ends.map(|byte| u64::from(*byte)).sum::<u64>();
    }

    /// Adds an entry with its mode and size.
    fn entry(&mut self, mode: u32, size: u64) {
        self.count += 1;
        self.sum += u64::from(mode) + if mode & 0o170_000 == 0o040_000 { 0 } else { size };
    }
}

/// A mounted image.
pub trait Reader: Sync {
    /// Does the share of one of [`THREADS`].
    fn work(&self, work: Work, thread: usize) -> Done;
}

/// Returns the place of a thread's short read.
fn place(number: usize) -> u64 {
    let blocks = LARGE_BYTES / SHORT;
    ((number * 0x9e37_79b1) % blocks * SHORT) as u64
}

/// The seconds that all threads together take, and what they did.
fn run(reader: &dyn Reader, work: Work) -> (f64, Done) {
    let start = Instant::now();
    let done = std::thread::scope(|scope| {
        let threads = (0..THREADS).map(|thread| scope.spawn(move || reader.work(work, thread)));
        let threads: Vec<_> = threads.collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).fold(
            Done::default(),
            |all, one| Done { count: all.count + one.count, sum: all.sum + one.sum },
        )
    });
    (start.elapsed().as_secs_f64(), done)
}

fn drop_pages(image: &Path) {
    let file = File::open(image).unwrap();
    file.sync_all().unwrap();
    fadvise(&file, 0, None, Advice::DontNeed).unwrap();
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// Prints a row for an image and a kind of work.
fn row(name: &str, image: &Path, work: Work, dropped: bool) {
    let (mut ours, mut theirs, mut count) = (Vec::new(), Vec::new(), 0);
    for number in 0..=RUNS {
        let mut seconds = [0.0; 2];
        let mut dones = [Done::default(); 2];
        // In turn, each first in every other run.
        for side in [number % 2, (number + 1) % 2] {
            std::fs::read(image).unwrap();
            let reader: Box<dyn Reader> = match side {
                0 => Box::new(ours::Ours::mount(image)),
                _ => Box::new(linux::Linux::mount(image)),
            };
            if dropped {
                drop_pages(image);
            }
            (seconds[side], dones[side]) = run(&*reader, work);
        }
        assert_eq!(dones[0], dones[1], "{name}, {work:?}");
        count = dones[0].count;
        // The first run is a warm-up.
        if number > 0 {
            ours.push(seconds[0]);
            theirs.push(seconds[1]);
        }
    }
    let ratios = ours.iter().zip(&theirs).map(|(ours, theirs)| theirs / ours).collect();
    let (unit, scale) = match work {
        Work::Sequential => ("MiB/s", f64::from(1 << 20)),
        Work::Random => ("reads/s", SHORT as f64),
        Work::Files => ("MiB/s", f64::from(1 << 20)),
        Work::Walk => ("entries/s", 1.0),
    };
    let rate = |seconds: Vec<f64>| count as f64 / scale / median(seconds);
    let state = if dropped { "dropped" } else { "cached" };
    println!(
        "| {name} | {state} | {unit} | {:.0} | {:.0} | {:.2} |",
        rate(ours),
        rate(theirs),
        median(ratios)
    );
}

fn main() {
    let subjects = images::all();
    let Some(Subject { image, .. }) = subjects.first() else {
        println!("skipped: there is no image");
        return;
    };
    if let Some(why) = unable(image) {
        println!("skipped: the kernel is not compared: {why}");
        return;
    }
    println!("| two threads | image | unit | rootlet | kernel | ratio |\n|-|-|-|-:|-:|-:|");
    for Subject { name, image, works } in &subjects {
        for work in *works {
            for dropped in [false, true] {
                row(&format!("{name}, {}", work.name()), image, *work, dropped);
            }
        }
    }
}

impl Work {
    fn name(self) -> &'static str {
        match self {
            Self::Sequential => "sequential 1 MiB",
            Self::Random => "random 4 KiB",
            Self::Files => "10,000 small files",
            Self::Walk => "walk with stat",
        }
    }
}
