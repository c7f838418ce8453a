//! Scripts: what a guest does in a life.
//!
//! Always: a script follows from its seed; it reads more than the region holds, so that slots
//! are given up, and syncs at places.

use rootlet_sim::Rng;

use crate::machine::{Sample, WINDOW};

/// One thing that a guest does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Reads bytes of a file.
    Read {
        /// Which file of the sample.
        file: usize,
        /// From where on.
        at: u64,
        /// How many.
        len: usize,
    },
    /// Makes everything durable.
    Sync,
    /// The same, and leaves a hint.
    Leave,
    /// Begins to fetch what an earlier boot began with.
    Prefetch,
    /// Lets the region catch up with this many polls.
    Progress(u32),
    /// Nothing for this many nanoseconds.
    Wait(u64),
}

/// A script that reads files whole, in parts and again.
pub fn tour(seed: u64, sample: &Sample) -> Vec<Op> {
    let mut rng = Rng::new(seed);
    let whole = |file| whole(sample, file);
    let mut ops = vec![whole(0), Op::Progress(4), whole(4), Op::Sync];
    ops.extend([part(&mut rng, sample), part(&mut rng, sample), Op::Progress(30)]);
    ops.extend([whole(1), Op::Progress(60), part(&mut rng, sample), Op::Sync]);
    ops.extend([whole(2), Op::Progress(60), whole(3), Op::Wait(2_000_000_000)]);
    ops.extend([Op::Progress(60), part(&mut rng, sample), Op::Sync]);
    ops.extend([part(&mut rng, sample), whole(0), Op::Progress(80), Op::Sync]);
    ops
}

/// A file whole, or of one that is not read whole a part that reaches over two windows.
fn whole(sample: &Sample, file: usize) -> Op {
    if sample.is_large() {
        return Op::Read { file, at: 0, len: sample.files[file].bytes.len() };
    }
    let window = file as u64 % 3;
    Op::Read { file: file % 2, at: (window + 1) * WINDOW - 8192, len: 16_384 }
}

/// `len` random operations.
pub fn random(seed: u64, sample: &Sample, len: usize) -> Vec<Op> {
    let mut rng = Rng::new(seed);
    let op = |rng: &mut Rng| match rng.below(16) {
        0..9 => part(rng, sample),
        9 => whole(sample, rng.index(sample.files.len())),
        10 => Op::Sync,
        11 => Op::Wait(rng.below(1_500_000_000)),
        _ => Op::Progress(rng.below(40) as u32),
    };
    let mut ops: Vec<Op> = (0..len).map(|_| op(&mut rng)).collect();
    // As a machine does it, before it reads, or later.
    if rng.chance(400_000) {
        ops.insert(if rng.chance(500_000) { 0 } else { rng.index(len + 1) }, Op::Prefetch);
    }
    ops
}

/// As [`random`], with leaves in place of some syncs.
pub fn random_with_leaves(seed: u64, sample: &Sample, len: usize) -> Vec<Op> {
    let mut rng = Rng::new(seed ^ 0x1ea5e);
    let mut ops = random(seed, sample, len);
    for op in &mut ops {
        if *op == Op::Sync && rng.chance(600_000) || rng.chance(60_000) {
            *op = Op::Leave;
        }
    }
    ops
}

/// A read of any part of any file; some reach beyond its end.
fn part(rng: &mut Rng, sample: &Sample) -> Op {
    if !sample.is_large() {
        return small_part(rng, sample);
    }
    let file = rng.index(sample.files.len());
    let size = sample.files[file].bytes.len() as u64;
    let at = rng.below(size);
    let at = if rng.chance(400_000) { at & !4095 } else { at };
    let longest = [4096, 40_000, 200_000][rng.index(3)];
    let len = 1 + rng.below(longest);
    let len = if rng.chance(400_000) { (len + 4095) & !4095 } else { len };
    Op::Read { file, at, len: len as usize }
}

/// A read of one to four blocks at the edges of a window.
fn small_part(rng: &mut Rng, sample: &Sample) -> Op {
    let file = if rng.chance(30_000) { 2 } else { rng.index(2) };
    let windows = (sample.files[file].bytes.len() as u64).div_ceil(WINDOW);
    // Some windows are read more often than others.
    let window = rng.below(windows).min(rng.below(windows));
    let at = window * WINDOW + [0, 0, 4096, 20_480, 57_344, 61_440][rng.index(6)];
    let at = if rng.chance(250_000) { at + rng.below(4096) } else { at };
    let len = [4096, 4096, 8192, 12_288][rng.index(4)];
    let len = if rng.chance(250_000) { 1 + rng.below(len) } else { len };
    Op::Read { file, at, len: len as usize }
}
