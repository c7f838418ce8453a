//! Regions so large that they have a hint: lives that leave one, stale ones, and spoiled ones.
//!
//! Always: a hint changes what a mount has to read, and nothing else: what was synced hits, with
//! the hint, without it, and with any other bytes in its place.

use rootlet::cache::SlotSize;
use rootlet_sim::Rng;
use rootlet_sim::disk::Survive;

use crate::case::Run;
use crate::guest::Guest;
use crate::invariants::{Broken, Invariant, Kept, Verdict, Watch};
use crate::machine::{Machine, START, samples};
use crate::power::{extremes, image_of, is_formatted, is_torn, live, recover};
use crate::script;

/// A region of the smallest length with a hint, and some more.
const BYTES: u64 = 112 << 20;

/// A machine whose region has a hint; of odd seeds with a descriptor page for each slot, so that
/// what is learned of one says nothing of others.
pub fn machine(seed: u64) -> Machine {
    let mut machine = Machine::with(seed, BYTES, [512, 512, 4096][seed as usize % 3]);
    if has_large_slots(seed) {
        machine.options.slot_size = Some(SlotSize::M1);
    }
    machine
}

fn has_large_slots(seed: u64) -> bool {
    seed % 2 == 1
}

/// First byte of the hint on the disk, and the one behind it.
pub fn range(guest: &Guest) -> Option<std::ops::Range<u64>> {
    let geometry = guest
        .root
        .with_layer(|cache, _| cache.as_ref().map(|cache| cache.superblock().geometry))?;
    Some(START + geometry.hint_at(0)..START + geometry.slots_at())
}

/// `hint:seed`: lives with one image or the other that leave hints, each ended by a power cut, by
/// a kill, or in order.
pub fn lives(run: &mut Run<'_>, numbers: &[u64]) -> Verdict {
    let seed = numbers[0];
    let mut rng = Rng::new(seed);
    let mut machine = machine(seed);
    // The watch knows regions of small slots only.
    let watch = (!has_large_slots(seed)).then(|| Watch::new(&machine, true));
    let verdict = || watch.as_ref().map_or(Ok(()), Watch::verdict);
    let mut kept = Kept::default();
    let (mut was_torn, mut last) = (false, 0);
    for _ in 0..4 {
        let number = usize::from(rng.chance(300_000));
        if number != last {
            kept = Kept::default();
            last = number;
        }
        let ops = script::random_with_leaves(rng.next_u64(), &samples(run.scale)[number], 10);
        match rng.below(3) {
            0 => machine.world.cut_after(1 + rng.below(30)),
            1 => machine.world.cut_after(1 + rng.below(300)),
            _ => {}
        }
        let guest = live(&mut machine, number, &ops, &mut kept)?;
        verdict()?;
        drop(guest);
        if !machine.world.has_power() || rng.chance(300_000) {
            let survive = match rng.below(3) {
                0 => Survive::Nothing,
                _ => Survive::Seeded(rng.next_u64()),
            };
            let (formatted, whole) = (is_formatted(&machine), extremes(&machine));
            let image = image_of(&machine, machine.world.crash(survive));
            was_torn |= !formatted && is_torn(&whole, &image);
        }
    }
    let image = image_of(&machine, machine.world.crash(Survive::Everything));
    recover(&mut machine, last, (&image, was_torn), &kept)
}

/// `stale:seed`: a hint of which parts are garbled, zeroed, or as they were in an earlier life.
pub fn spoiled(_: &mut Run<'_>, numbers: &[u64]) -> Verdict {
    let mut rng = Rng::new(numbers[0]);
    let mut machine = machine(numbers[0]);
    let mut older: Option<(u64, Vec<u8>)> = None;
    for _ in 0..3 {
        let guest = Guest::boot(&mut machine, 0)?;
        let ops = script::random_with_leaves(rng.next_u64(), guest.sample, 6);
        for op in &ops {
            guest.run(&machine, op)?;
        }
        let Some(range) = range(&guest) else {
            return Err(Broken::new(Invariant::MountIsIdempotent, "a region without a hint"));
        };
        if !guest.leave() {
            let what = "leaving an honest disk did not end well";
            return Err(Broken::new(Invariant::WorkEnds, what));
        }
        let blocks = (range.end - range.start) / 4096;
        let at = range.start + rng.below(blocks) * 4096;
        let mut now = vec![0; 4096];
        machine.world.with_medium(machine.disk, |disk| disk.stable().read(at, &mut now));
        match (rng.below(4), older.take()) {
            (0, Some((at, bytes))) => machine.world.poke(machine.disk, at, &bytes),
            (1, _) => machine.world.poke(machine.disk, at, &[0; 4096]),
            (2, _) => {
                let mut byte = [0];
                rng.fill(&mut byte);
                machine.world.poke(machine.disk, at + rng.below(4096), &byte);
            }
            _ => {}
        }
        older = Some((at, now));
        drop(guest);
        machine.world.crash(Survive::Nothing);
    }
    let guest = Guest::boot(&mut machine, 0)?;
    Ok(guest.read_all()?)
}
