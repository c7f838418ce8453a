//! A trace of 30 boots: what is read at start-up, what the application reads, and scans.
//!
//! Always: the same seed gives the same trace.

use std::fmt;

/// Windows of 64 KiB of an image of 1 GiB.
const WINDOWS: u32 = 16_384;
const BOOTS: usize = 30;
/// Windows that every start-up reads, in this order, each a few times; one in ten of them is
/// another in each boot.
const BOOT_WINDOWS: usize = 800;
/// Reads by the application, over all windows by Zipf's law.
const APPLICATION_READS: usize = 6_000;
const ZIPF: f64 = 0.9;
/// Windows that a scan reads once, from where the last one ended.
const SCAN_WINDOWS: u32 = 3_000;

/// Who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Boot,
    Application,
    Scan,
}

/// All reads of all boots.
pub struct Trace {
    pub windows: u32,
    pub boots: Vec<Vec<(Phase, u32)>>,
}

/// SplitMix64.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// From 0 to below 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

impl Trace {
    pub fn new(seed: u64) -> Self {
        let mut numbers = Numbers(seed);
        let mut order: Vec<u32> = (0..WINDOWS).collect();
        for at in (1..order.len()).rev() {
            order.swap(at, numbers.below(at + 1));
        }
        // What is popular has nothing to do with what start-up reads.
        let start_up: Vec<u32> = order[order.len() - BOOT_WINDOWS..].to_vec();
        let mut sums = Vec::with_capacity(order.len());
        let mut sum = 0.0;
        for rank in 1..=order.len() {
            sum += (rank as f64).powf(-ZIPF);
            sums.push(sum);
        }
        let mut scanned = 0;
        let mut boots = Vec::new();
        for _ in 0..BOOTS {
            let mut reads = Vec::new();
            for window in &start_up {
                let other = numbers.below(10) == 0;
                let window = if other { numbers.below(WINDOWS as usize) as u32 } else { *window };
                for _ in 0..=numbers.below(3) {
                    reads.push((Phase::Boot, window));
                }
            }
            // The scan runs beside the application.
            let every = APPLICATION_READS / SCAN_WINDOWS as usize;
            for read in 0..APPLICATION_READS {
                let wanted = numbers.share() * sum;
                let rank = sums.partition_point(|sum| *sum < wanted).min(order.len() - 1);
                reads.push((Phase::Application, order[rank]));
                if read % every == 0 {
                    reads.push((Phase::Scan, scanned));
                    scanned = (scanned + 1) % WINDOWS;
                }
            }
            boots.push(reads);
        }
        Self { windows: WINDOWS, boots }
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{BOOTS} boots over {WINDOWS} windows of 64 KiB: {BOOT_WINDOWS} at start-up, {APPLICATION_READS} \
             reads by the application (Zipf {ZIPF}), {SCAN_WINDOWS} scanned beside them"
        )
    }
}
