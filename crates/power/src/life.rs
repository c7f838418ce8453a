//! Histories: one to five lives in a row, the last of them cut, and every durable state that the
//! cut may leave.
//!
//! Always: the disk is honest. After the cut every read is right (L1) and none fails (L2), what
//! was synced hits, and no check fails, because the order of writes alone is enough.

use rootlet_sim::Rng;
use rootlet_sim::disk::{Digests, StableImage, Survive};

use crate::case::Run;
use crate::guest::Guest;
use crate::invariants::{
    Invariant, Kept, Verdict, Watch, lent_is_bounded, no_check_fails, refusal_is_right, same_mount,
    slots_are_consistent,
};
use crate::machine::{Machine, samples};
use crate::power::{extremes, image_of, is_formatted, is_torn, live};
use crate::script;

/// Seeded outcomes of a cut beside all whole ones, and where those are too many.
const SAMPLES: [u64; 2] = [6, 24];

/// `life:seed:state`: lives with one image or the other, each ended by a power cut, by a kill, or
/// in order; the last is cut, and `state` is one of the outcomes. Without `state`: all of them.
pub fn life(run: &mut Run<'_>, numbers: &[u64]) -> Verdict {
    let seed = numbers[0];
    let mut rng = Rng::new(seed);
    let mut machine = Machine::of(run.scale, seed);
    let watch = Watch::new(&machine, true);
    let mut past = Past::default();
    let lives = 1 + rng.below(5);
    for left in (0..lives).rev() {
        let number = usize::from(rng.chance(250_000));
        past.mounts(number);
        let len = 2 + rng.index(14);
        let ops = script::random(rng.next_u64(), &samples(run.scale)[number], len);
        if let Some(event) = cut_at(&mut rng) {
            machine.world.cut_after(event);
        }
        let guest = live(&mut machine, number, &ops, &mut past.kept)?;
        watch.verdict()?;
        lent_is_bounded(&machine, machine.world.counters(machine.disk).lent_bytes_max)?;
        if left > 0 {
            // Without a cut the guest is killed: its writes in flight are done or vanish.
            drop(guest);
            if !machine.world.has_power() || rng.chance(300_000) {
                past.crashes(&machine, &mut rng);
            }
            machine.stir(rng.next_u64());
            continue;
        }
        let outcomes = Outcomes::of(&machine, rng.next_u64(), past.torn);
        machine.world.crash(Survive::Nothing);
        drop(guest);
        run.cuts(outcomes.whole);
        outcomes.each_recovers(run, seed, &mut machine, (&past, &watch))?;
    }
    Ok(())
}

/// Where in its life a guest is cut: while it mounts, formats or recovers, later, or not at all.
fn cut_at(rng: &mut Rng) -> Option<u64> {
    let most = [Some(12), Some(40), Some(40), Some(120), Some(300), None][rng.index(6)]?;
    Some(1 + rng.below(most))
}

/// What earlier lives left.
#[derive(Default)]
struct Past {
    kept: Kept,
    /// A sector of the first superblocks was torn once.
    torn: bool,
    last: usize,
}

impl Past {
    /// What one image is promised, the other may push out.
    fn mounts(&mut self, number: usize) {
        if number != self.last {
            self.kept = Kept::default();
            self.last = number;
        }
    }

    fn crashes(&mut self, machine: &Machine, rng: &mut Rng) {
        let survive = match rng.below(4) {
            0 => Survive::Nothing,
            1 if is_formatted(machine) => Survive::SeededDamage(rng.next_u64()),
            _ => Survive::Seeded(rng.next_u64()),
        };
        let (formatted, whole) = (is_formatted(machine), extremes(machine));
        let image = image_of(machine, machine.world.crash(survive));
        self.torn |= !formatted && is_torn(&whole, &image);
    }
}

/// What a cut may leave.
struct Outcomes {
    images: Vec<(StableImage, bool)>,
    whole: bool,
    digests: Digests,
}

impl Outcomes {
    /// All combinations of whole sectors while there are few, and samples with torn ones.
    fn of(machine: &Machine, seed: u64, torn: bool) -> Self {
        let (formatted, extremes) = (is_formatted(machine), extremes(machine));
        let all = machine.world.crash_images(machine.disk, 0, seed);
        let whole = all.is_exhaustive();
        let samples = machine.world.crash_images(machine.disk, SAMPLES[usize::from(!whole)], seed);
        // Those that a whole cut has already are left out: nothing, and everything.
        let samples = samples.skip(if whole { all.clone().count() + 2 } else { 0 });
        let damages = if formatted { SAMPLES[usize::from(!whole)] / 4 } else { 0 };
        let damaged = (0..damages).map(|number| {
            machine.world.crash_image(machine.disk, Survive::SeededDamage(seed ^ number))
        });
        let judge = |image: StableImage| {
            let torn = torn || !formatted && is_torn(&extremes, &image);
            (image, torn)
        };
        let digests = Digests::new(extremes[0].0.clone());
        Self { images: all.chain(samples).chain(damaged).map(judge).collect(), whole, digests }
    }

    fn each_recovers(
        &self,
        run: &mut Run<'_>,
        seed: u64,
        machine: &mut Machine,
        (past, watch): (&Past, &Watch),
    ) -> Verdict {
        let seen = watch.seen();
        for (state, (image, torn)) in (0u64..).zip(&self.images) {
            if run.begins(seed, state) {
                // Each state is for itself, so that it replays alone.
                watch.back_to(&seen);
                machine.world.stir(seed ^ state << 32);
                machine.stir(seed ^ state << 32);
                run.visits(self.digests.digest(image));
                recover(machine, past, image, *torn, state)?;
                watch.verdict()?;
            }
        }
        Ok(())
    }
}

/// Boots on what survived, and reads what was promised and more.
fn recover(
    machine: &mut Machine,
    past: &Past,
    image: &StableImage,
    torn: bool,
    state: u64,
) -> Verdict {
    machine.world.restore(machine.disk, image);
    let mut twice = None;
    if state.is_multiple_of(4) {
        let guest = Guest::boot(machine, past.last)?;
        twice = Some(guest.opened);
    }
    let guest = Guest::boot(machine, past.last)?;
    refusal_is_right(guest.refused, torn)?;
    twice.map_or(Ok(()), |first| same_mount(&first, &guest.opened))?;
    past.kept.found(&guest)?;
    let mut kept = past.kept.clone();
    kept.moved_on(&guest);
    read_kept(machine, &guest, &kept)?;
    slots_are_consistent(&guest)?;
    // What is not there is fetched, and pushes out what is.
    let mut rng = Rng::new(state);
    for op in script::random(rng.next_u64(), guest.sample, 3) {
        guest.run(machine, &op)?;
    }
    let done = state % 16 == 5 && !guest.sync() && guest.refused.is_none();
    if done && guest.mode() == Some(rootlet::cache::Mode::ReadWrite) {
        let what = "a sync on an honest disk did not end well";
        return Err(crate::invariants::Broken::new(Invariant::WorkEnds, what));
    }
    no_check_fails(&guest)
}

/// Reads every promised block and everything else that was found; nothing promised is fetched.
fn read_kept(machine: &Machine, guest: &Guest, kept: &Kept) -> Verdict {
    machine.world.record_trace();
    machine.world.take_trace();
    let mut blocks = guest.opened.keys().copied().peekable();
    while let Some((slot, first)) = blocks.next() {
        let mut count = 1;
        while blocks.next_if_eq(&(slot, first + count)).is_some() {
            count += 1;
        }
        if let Some((file, at)) = guest.sample.place(slot, first) {
            guest.read(file, at, (count * 4096) as usize)?;
        }
    }
    let trace = machine.world.take_trace();
    crate::invariants::one_fetch(machine, &trace)?;
    kept.not_fetched(&machine.sources[guest.number], &trace)
}
