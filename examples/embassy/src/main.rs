//! Reads two files of an EROFS image at once on a Cortex-M4, by the executor of embassy.
//!
//! ```text
//! mkfs.erofs image.erofs FOLDER        # with the files data and more
//! cargo run
//! ```
//! Two tasks each read a file, 4 KiB at a time, over embedded-io-async. A third one drives the mount
//! after each interrupt of the card; while all wait, the processor sleeps. It prints length and FNV-1a
//! of both files, and how many reads and requests were under way at once.
#![no_std]
#![no_main]

mod card;
mod machine;

use core::sync::atomic::{AtomicUsize, Ordering};

use card::Card;
use embassy_executor::Spawner;
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::channel::Channel;
use embedded_io_async::Read as _;
use rootlet::Error;
use rootlet::cache::NoRegion;
use rootlet::read::Root;
use rootlet::storage::DeviceId;
use semihosting::{println, process};
use static_cell::StaticCell;

type Mount = Root<Card, NoRegion>;

const PATHS: [&str; 2] = ["/data", "/more"];
/// How much a task reads at a time. It is one request, so two requests under way are of two files.
const READ_BYTES: usize = 4096;

static ROOT: StaticCell<Mount> = StaticCell::new();
/// The reads that wait for bytes.
static READS: AtomicUsize = AtomicUsize::new(0);
/// The most of them at once.
static READS_MAX: AtomicUsize = AtomicUsize::new(0);
/// What came of each file: its path, its length and its sum.
static ENDED: Channel<CriticalSectionRawMutex, Outcome, 2> = Channel::new();

type Outcome = (&'static str, Result<(usize, u32), Error>);

#[embassy_executor::main]
async fn main(spawner: Spawner) {
    process::exit(i32::from(run(spawner).await.is_none()))
}

/// Mounts the image, and has two tasks read. Returns `None` if something fails.
async fn run(spawner: Spawner) -> Option<()> {
    machine::start_heap();
    let Ok(card) = Card::open(c"image.erofs") else {
        println!("no file image.erofs");
        return None;
    };
    let root = match Root::open_image(card, NoRegion, DeviceId(0)) {
        Ok(root) => &*ROOT.init(root),
        Err(failed) => {
            println!("no mount: {:#}", failed.error);
            return None;
        }
    };
    machine::start_timer(cortex_m::Peripherals::take()?);
    spawner.spawn(drive(root).ok()?);
    for path in PATHS {
        spawner.spawn(read(root, path).ok()?);
    }
    for _ in PATHS {
        match ENDED.receive().await {
            (path, Ok((len, sum))) => println!("{path} {len} {sum}"),
            (path, Err(error)) => {
                println!("{path}: {error:#}");
                return None;
            }
        }
    }
    println!("reads at once: {}", READS_MAX.load(Ordering::Relaxed));
    println!("requests at once: {}", root.with_layer(|_, card| card.most_at_once()));
    println!("steps that blocked: {}", root.stats().blocked_steps);
    Some(())
}

/// Takes what the card has ended after each of its interrupts. The handler of the interrupt does not
/// call the mount: it may interrupt somebody who has the lock.
#[embassy_executor::task]
async fn drive(root: &'static Mount) {
    loop {
        card::interrupt().await;
        while root.drive() {}
    }
}

#[embassy_executor::task(pool_size = 2)]
async fn read(root: &'static Mount, path: &'static str) {
    ENDED.send((path, sum(root, path).await)).await;
}

/// Returns the length of a file and the FNV-1a of all its bytes.
async fn sum(root: &'static Mount, path: &'static str) -> Result<(usize, u32), Error> {
    let mut file = root.open_async(path.as_bytes()).await?;
    let (mut all, mut sum) = (0, 0x811c_9dc5_u32);
    let mut out = [0; READ_BYTES];
    loop {
        let reads = READS.fetch_add(1, Ordering::Relaxed) + 1;
        READS_MAX.fetch_max(reads, Ordering::Relaxed);
        let read = file.read(&mut out).await;
        READS.fetch_sub(1, Ordering::Relaxed);
        let len = read?;
        if len == 0 {
            return Ok((all, sum));
        }
        for byte in &out[..len] {
            sum = (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
        all += len;
    }
}
