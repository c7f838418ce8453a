//! Larger slots, with memory for fewer descriptor pages than there are.
//!
//! Always: a page that had to leave memory comes back with every bit it had.

use rootlet::cache::SlotSize;
use rootlet_sim::Rng;
use rootlet_sim::disk::Survive;

use crate::case::Run;
use crate::guest::{Guest, Stop};
use crate::invariants::{Broken, Invariant, Verdict, no_check_fails, slots_are_consistent};
use crate::machine::Machine;
use crate::script::{self, Op};

const SIZES: [(SlotSize, u64); 2] = [(SlotSize::M1, 9 << 20), (SlotSize::K256, 5 << 20)];

/// A machine with larger slots; the region's size is that of at least eight.
pub fn machine(seed: u64) -> Machine {
    let (slot_size, bytes) = SIZES[seed as usize % 2];
    let mut machine = Machine::with(seed, bytes, 512);
    machine.options.slot_size = Some(slot_size);
    machine.options.pages_bytes = 0;
    machine
}

/// `slots:seed`: lives of two images that do not fit together, cut or killed; no check fails.
pub fn lives(_: &mut Run<'_>, numbers: &[u64]) -> Verdict {
    let seed = numbers[0];
    let mut rng = Rng::new(seed);
    let mut machine = machine(seed);
    for _ in 0..4 {
        let number = rng.index(2);
        if rng.chance(500_000) {
            machine.world.cut_after(8 + rng.below(150));
        }
        match life(&mut machine, number, rng.next_u64()) {
            Err(Stop::Failed(_)) if !machine.world.has_power() => {}
            result => result?,
        }
        if !machine.world.has_power() || rng.chance(300_000) {
            machine.world.crash(Survive::Seeded(rng.next_u64()));
        }
    }
    machine.world.crash(Survive::Everything);
    let guest = Guest::boot(&mut machine, 0)?;
    Ok(guest.read_all()?)
}

fn life(machine: &mut Machine, number: usize, seed: u64) -> Result<(), Stop> {
    let guest = Guest::boot(machine, number)?;
    for op in script::random(seed, &machine.samples[number], 15) {
        let done = guest.run(machine, &op)?;
        if matches!(op, Op::Sync | Op::Leave) && !done && machine.world.has_power() {
            let what = "a sync on an honest disk did not end well";
            return Err(Stop::Wrong(Broken::new(Invariant::WorkEnds, what)));
        }
    }
    slots_are_consistent(&guest).map_err(Stop::Wrong)?;
    no_check_fails(&guest).map_err(Stop::Wrong)
}
