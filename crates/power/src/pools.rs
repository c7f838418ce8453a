//! Resources that run out: buffers, pages in memory, places in the disk's queue, free slots.
//!
//! Always: what finds no room is dropped and counted, no reader waits or fails for it, and work
//! continues when there is room again.

use rootlet_sim::Rng;
use rootlet_sim::disk::{Fault, OpKind, Rule};

use crate::case::Run;
use crate::guest::Guest;
use crate::invariants::{
    Broken, Invariant, Verdict, Watch, lent_is_bounded, no_check_fails, one_fetch,
    slots_are_consistent, work_ends,
};
use crate::machine::Machine;
use crate::script;

/// `pools:seed`: few buffers and pages, a disk whose queue is short or full or slow, so that all
/// slots are held and none is free.
pub fn scarce(run: &mut Run<'_>, numbers: &[u64]) -> Verdict {
    let mut rng = Rng::new(numbers[0]);
    let mut machine = Machine::of(run.scale, numbers[0]);
    machine.options.pool_bytes = [0, 16 << 10, 64 << 10][rng.index(3)];
    machine.options.pages_bytes = 0;
    let watch = Watch::new(&machine, true);
    let guest = Guest::boot(&mut machine, 0)?;
    guest.read(2, 0, 77)?;
    machine.world.record_trace();
    let most = [0, 1, 1, 2, 64][rng.index(5)];
    machine.world.set_jobs_max(machine.disk, most);
    if rng.chance(400_000) {
        let slow = Rule::new(Fault::Delay(10_000_000_000)).device(machine.disk);
        machine.world.rule(slow.op([OpKind::Write, OpKind::Flush][rng.index(2)]));
    }
    for op in script::random(rng.next_u64(), guest.sample, 30) {
        machine.world.take_trace();
        guest.run(&machine, &op)?;
        one_fetch(&machine, &machine.world.take_trace())?;
        slots_are_consistent(&guest)?;
    }
    machine.world.heal();
    machine.world.set_jobs_max(machine.disk, 64);
    work_ends(&machine, &guest)?;
    if !guest.sync() {
        let what = "a sync did not end well though there is room again";
        return Err(Broken::new(Invariant::WorkEnds, what));
    }
    guest.read_all()?;
    no_check_fails(&guest)?;
    lent_is_bounded(&machine, machine.world.counters(machine.disk).lent_bytes_max)?;
    watch.verdict()
}
