//! What a full region keeps: hit rates on a synthetic trace, beside FIFO, LRU and SIEVE.
//!
//! Always: every policy sees the same reads; ours is the region's own slot table, which is built
//! anew at every boot from what its descriptors would hold, while the others keep all they know.
//!
//! `cargo bench --bench evict` prints the table; nothing here is timed.
#![expect(
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a benchmark that panics has failed"
)]

mod ours;
mod policies;
mod trace;

use ours::Ours;
use policies::{Fifo, Lru, Policy, Sieve};
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
fn run(trace: &Trace, policy: &mut dyn Policy) -> [Rate; 2] {
    let mut rates = [Rate::default(); 2];
    for (number, boot) in trace.boots.iter().enumerate() {
        policy.reboot();
        for (phase, window) in boot {
            let hit = policy.read(*window, *phase);
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
        "| hit rate, boot phase / application, % | FIFO | LRU | SIEVE | S3-FIFO of the region | and its boot set |"
    );
    println!("|-|-:|-:|-:|-:|-:|");
    for share in [10, 20, 40] {
        let slots = trace.windows as usize * share / 100;
        let policies: [Box<dyn Policy>; 5] = [
            Box::new(Fifo::new(slots)),
            Box::new(Lru::new(slots)),
            Box::new(Sieve::new(slots)),
            Box::new(Ours::new(slots, false)),
            Box::new(Ours::new(slots, true)),
        ];
        let cells = policies.map(|mut policy| {
            let [boot, application] = run(&trace, policy.as_mut());
            format!("{:.0} / {:.0}", boot.percent(), application.percent())
        });
        println!("| region of {share} % of the image | {} |", cells.join(" | "));
    }
}
