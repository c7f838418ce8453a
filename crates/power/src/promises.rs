//! One fetch a block while there is room.
//!
//! Always: figures come from the world's trace and counters, not from the reader's own.

use std::collections::BTreeSet;

use rootlet_sim::Rng;
use rootlet_sim::disk::{OpKind, Step};

use crate::case::Run;
use crate::guest::Guest;
use crate::invariants::{Broken, Invariant, Verdict};
use crate::machine::Machine;
use crate::script;

fn broken(what: String) -> Verdict {
    Err(Broken::new(Invariant::OneFetch, what))
}

/// `once:seed`: while nothing is given up, no block is fetched twice.
pub fn once(_: &mut Run<'_>, numbers: &[u64]) -> Verdict {
    let seed = numbers[0];
    let mut rng = Rng::new(seed);
    let mut machine = Machine::with(seed, 4 << 20, 512);
    machine.options.pool_bytes = 16 << 20;
    machine.world.record_trace();
    let guest = Guest::boot(&mut machine, 0)?;
    let skip = machine.world.trace().len();
    for op in script::random(rng.next_u64(), guest.sample, 40) {
        guest.run(&machine, &op)?;
    }
    let stats = guest.cache_stats();
    if stats.culled_slots > 0 || stats.dropped_bytes > 0 {
        return broken(format!("a region with room gave something up: {stats:?}"));
    }
    let mut seen = BTreeSet::new();
    let trace = machine.world.trace();
    let reads = trace[skip..].iter().filter(|e| e.step == Step::Submit && e.op == OpKind::Read);
    for read in reads.filter(|read| read.device != machine.disk) {
        for block in read.at / 4096..(read.at + read.len).div_ceil(4096) {
            if !seen.insert((read.device, block)) {
                return broken(format!("block {block} of {} was fetched twice", read.device));
            }
        }
    }
    let fetched = guest.stats().fetched_bytes;
    // The mount fetched the root's inode.
    let least = seen.len() as u64 * 4096;
    if !(least..=least + 8192).contains(&fetched) {
        return broken(format!("{fetched} bytes fetched, {least} of them distinct"));
    }
    Ok(())
}
