//! Larger slots, with memory for fewer descriptor pages than there are.
//!
//! Always: a page that had to leave memory comes back with every bit it had.

use rootlet::cache::SlotSize;
use rootlet_sim::Rng;
use rootlet_sim::disk::{OpKind, Step, Survive};

use crate::case::{Verdict, runs, sweep};
use crate::guest::{Guest, Stop};
use crate::machine::{Machine, samples};
use crate::script::{self, Op};

const SIZES: [(SlotSize, u64); 2] = [(SlotSize::M1, 9 << 20), (SlotSize::K256, 5 << 20)];

fn machine(seed: u64) -> Machine {
    let (slot_size, bytes) = SIZES[seed as usize % 2];
    let mut machine = Machine::with(seed, bytes, 512);
    machine.options.slot_size = Some(slot_size);
    machine.options.pages_bytes = 0;
    machine
}

/// `large:seed`: lives of two images that do not fit together, cut or killed; no check fails.
pub fn lives(numbers: &[u64]) -> Verdict {
    let [seed] = *numbers else { return Err("large:seed".into()) };
    let mut rng = Rng::new(seed);
    let mut machine = machine(seed);
    for _ in 0..4 {
        let number = rng.index(2);
        if rng.chance(500_000) {
            machine.world.cut_after(8 + rng.below(150));
        }
        match life(&mut machine, number, rng.next_u64()) {
            Err(Stop::Failed(_)) if !machine.world.has_power() => {}
            Err(stop) => return Err(stop.text().to_owned()),
            Ok(0) => {}
            Ok(count) => return Err(format!("{count} checks failed on an honest disk")),
        }
        if !machine.world.has_power() || rng.chance(300_000) {
            machine.world.crash(Survive::Seeded(rng.next_u64()));
        }
    }
    machine.world.crash(Survive::Everything);
    let guest = Guest::boot(&mut machine, 0).map_err(|stop| stop.text().to_owned())?;
    guest.read_all().map_err(|stop| stop.text().to_owned())
}

fn life(machine: &mut Machine, number: usize, seed: u64) -> Result<u64, Stop> {
    let guest = Guest::boot(machine, number)?;
    for op in script::random(seed, &samples()[number], 15) {
        let done = guest.run(machine, &op)?;
        if op == Op::Sync && !done && machine.world.has_power() {
            return Err(Stop::Wrong("a sync on an honest disk did not end well".into()));
        }
    }
    if !guest.slots_sum_up() {
        return Err(Stop::Wrong("a slot is in no state, or in two".into()));
    }
    Ok(guest.cache_stats().check_failures)
}

#[test]
fn few_pages_in_memory_keep_both_laws() {
    sweep("large", (1..=runs(60)).map(|seed| [seed]));
}

#[test]
fn nothing_is_fetched_again_though_pages_leave_memory() {
    for seed in 0..2 {
        let mut machine = machine(seed);
        let guest = Guest::boot(&mut machine, 0).unwrap();
        for _ in 0..3 {
            guest.read_all().unwrap();
            (0..200).for_each(|_| guest.root.progress());
        }
        assert!(guest.sync());
        drop(guest);
        machine.world.crash(Survive::Nothing);
        let guest = Guest::boot(&mut machine, 0).unwrap();
        machine.world.record_trace();
        guest.read_all().unwrap();
        let trace = machine.world.trace();
        let fetched = trace.iter().filter(|seen| {
            seen.device != machine.disk && seen.op == OpKind::Read && seen.step == Step::Submit
        });
        assert_eq!(fetched.count(), 0, "{:?}", guest.cache_stats());
    }
}
