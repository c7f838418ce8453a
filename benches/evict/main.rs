//! What a full region keeps: hit rates on a synthetic trace, beside FIFO, LRU and SIEVE.
//!
//! Always: every policy sees the same reads, in the region's own slot table, which is built anew at
//! every boot from what its descriptors would hold.
//!
//! `cargo bench --bench evict` prints the table; nothing here is timed.
#![expect(
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a benchmark that panics has failed"
)]

mod policies;
mod region;
mod trace;

use policies::{Fifo, Lru, Sieve};
use region::{Boots, Region};
use rootlet::evict::S3Fifo;
use trace::{Phase, Trace};

/// Reads and hits of one phase.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    reads: u64,
    hits: u64,
}

impl Rate {
    fn percent(self) -> f64 {
        self.hits as f64 * 100.0 / self.reads.max(1) as f64
    }
}

/// Boots whose hits are not counted: the region is empty at first.
const WARM_BOOTS: usize = 1;

/// Hit rates of boot and application.
fn run(trace: &Trace, region: &mut dyn Boots) -> [Rate; 2] {
    let mut rates = [Rate::default(); 2];
    for (number, boot) in trace.boots.iter().enumerate() {
        region.reboot();
        for (phase, window) in boot {
            let hit = region.read(*window);
            let rate = match phase {
                Phase::Boot => &mut rates[0],
                Phase::Application => &mut rates[1],
                Phase::Scan => continue,
            };
            if number >= WARM_BOOTS {
                rate.reads += 1;
                rate.hits += u64::from(hit);
            }
        }
    }
    rates
}

fn main() {
    let trace = Trace::new(1);
    println!("{trace}\n");
    println!(
        "| hit rate, boot phase / application, % | FIFO | LRU | SIEVE | S3-FIFO | S3-FIFO and the boot set |"
    );
    println!("|-|-:|-:|-:|-:|-:|");
    for share in [10, 20, 40] {
        let slots = trace.windows as usize * share / 100;
        let regions: [Box<dyn Boots>; 5] = [
            Box::new(Region::<Fifo>::new(slots, false)),
            Box::new(Region::<Lru>::new(slots, false)),
            Box::new(Region::<Sieve>::new(slots, false)),
            Box::new(Region::<S3Fifo>::new(slots, false)),
            Box::new(Region::<S3Fifo>::new(slots, true)),
        ];
        let cells = regions.map(|mut region| {
            let [boot, application] = run(&trace, region.as_mut());
            format!("{:.0} / {:.0}", boot.percent(), application.percent())
        });
        println!("| region of {share} % of the image | {} |", cells.join(" | "));
    }
}
