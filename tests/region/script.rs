//! Scripts: what a guest does in a life.
//!
//! Always: a script follows from its seed; it reads more than the region holds, so that slots
//! are given up, and syncs at places.

use rootlet_sim::Rng;

use crate::machine::Sample;

/// One thing that a guest does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Reads `len` bytes of a file from `at` on.
    Read { file: usize, at: u64, len: usize },
    /// Makes everything durable.
    Sync,
    /// Lets the region catch up with this many polls.
    Progress(u32),
    /// Nothing for this many nanoseconds.
    Wait(u64),
}

/// A script that reads files whole, in parts and again.
pub fn tour(seed: u64, sample: &Sample) -> Vec<Op> {
    let mut rng = Rng::new(seed);
    let whole = |file: usize| Op::Read { file, at: 0, len: sample.files[file].bytes.len() };
    let mut ops = vec![whole(0), Op::Progress(4), whole(4), Op::Sync];
    ops.extend([part(&mut rng, sample), part(&mut rng, sample), Op::Progress(30)]);
    ops.extend([whole(1), Op::Progress(60), part(&mut rng, sample), Op::Sync]);
    ops.extend([whole(2), Op::Progress(60), whole(3), Op::Wait(2_000_000_000)]);
    ops.extend([Op::Progress(60), part(&mut rng, sample), Op::Sync]);
    ops.extend([part(&mut rng, sample), whole(0), Op::Progress(80), Op::Sync]);
    ops
}

/// `len` random operations.
pub fn random(seed: u64, sample: &Sample, len: usize) -> Vec<Op> {
    let mut rng = Rng::new(seed);
    let op = |rng: &mut Rng| match rng.below(16) {
        0..9 => part(rng, sample),
        9 => {
            let file = rng.index(sample.files.len());
            Op::Read { file, at: 0, len: sample.files[file].bytes.len() }
        }
        10 => Op::Sync,
        11 => Op::Wait(rng.below(1_500_000_000)),
        _ => Op::Progress(rng.below(40) as u32),
    };
    (0..len).map(|_| op(&mut rng)).collect()
}

/// A read of any part of any file; some reach beyond its end.
fn part(rng: &mut Rng, sample: &Sample) -> Op {
    let file = rng.index(sample.files.len());
    let size = sample.files[file].bytes.len() as u64;
    let at = rng.below(size);
    let at = if rng.chance(400_000) { at & !4095 } else { at };
    let longest = [4096, 40_000, 200_000][rng.index(3)];
    let len = 1 + rng.below(longest);
    let len = if rng.chance(400_000) { (len + 4095) & !4095 } else { len };
    Op::Read { file, at, len: len as usize }
}
