//! Power cuts: at every event, whatever subset of what was not flushed survives.
//!
//! Always: after a cut every read is right (L1) and none fails (L2); what was synced and not
//! given up hits; no check fails, because the order of writes alone is enough on an honest disk.

use std::collections::BTreeSet;

use rootlet::cache::Refused;
use rootlet::storage::DeviceId;
use rootlet_sim::Rng;
use rootlet_sim::disk::{StableImage, Survive};

use crate::case::{Verdict, runs, sweep};
use crate::decode::{Super, hash};
use crate::guest::{Guest, Stop};
use crate::kept::Kept;
use crate::machine::{Machine, START, samples};
use crate::script::{self, Op};
use crate::watch::{Watch, block};

/// Bytes of one read while everything is read.
const READ_BYTES: usize = 128 << 10;

/// Runs a life until its script or its power ends.
fn live(
    machine: &mut Machine,
    number: usize,
    ops: &[Op],
    kept: &mut Kept,
) -> Result<Option<Guest>, String> {
    let guest = match Guest::boot(machine, number) {
        Ok(guest) => guest,
        Err(_) if !machine.world.has_power() => return Ok(None),
        Err(stop) => return Err(stop.text().to_owned()),
    };
    if let Some(lost) = kept.missing(&guest).filter(|_| machine.world.has_power()) {
        return Err(lost);
    }
    kept.moved_on(&guest);
    for op in ops {
        if !machine.world.has_power() {
            break;
        }
        let result = guest.run(machine, op);
        kept.moved_on(&guest);
        match result {
            Ok(done) if *op == Op::Sync && done => {
                if !machine.world.has_power() {
                    return Err("sync said yes though the power went".into());
                }
                kept.synced(&guest);
            }
            Ok(_) => {}
            Err(Stop::Failed(_)) if !machine.world.has_power() => break,
            Err(stop) => return Err(stop.text().to_owned()),
        }
    }
    if !guest.slots_sum_up() {
        return Err("a slot is in no state, or in two".into());
    }
    honest(&guest)?;
    Ok(Some(guest))
}

/// On an honest disk no check ever fails.
fn honest(guest: &Guest) -> Verdict {
    match guest.cache_stats().check_failures {
        0 => Ok(()),
        count => Err(format!("{count} checks failed on an honest disk")),
    }
}

/// Boots on what survived, twice, and reads everything.
fn recover(
    machine: &mut Machine,
    number: usize,
    (image, torn): (&StableImage, bool),
    kept: &Kept,
) -> Verdict {
    machine.world.restore(machine.disk, image);
    let boot =
        |machine: &mut Machine| Guest::boot(machine, number).map_err(|stop| stop.text().to_owned());
    let once = boot(machine)?;
    refusal_is_right(&once, torn)?;
    let found = once.opened.clone();
    drop(once);
    let guest = boot(machine)?;
    if guest.opened != found {
        return Err("mounting twice is not as mounting once".into());
    }
    kept.missing(&guest).map_or(Ok(()), Err)?;
    let mut kept = kept.clone();
    kept.moved_on(&guest);
    read_all_of(machine, &guest, &mut kept)?;
    honest(&guest)
}

/// Reads every file; what is promised, and not given up on the way, is not fetched.
fn read_all_of(machine: &Machine, guest: &Guest, kept: &mut Kept) -> Verdict {
    machine.world.record_trace();
    let mut seen = machine.world.trace().len();
    for (file, of) in guest.sample.files.iter().enumerate() {
        for at in (0..of.bytes.len() as u64).step_by(READ_BYTES) {
            guest.read(file, at, READ_BYTES).map_err(|stop| stop.text().to_owned())?;
            let trace = machine.world.trace();
            let again = kept.fetched(&machine.sources[guest.number], &trace[seen..]);
            again.map_or(Ok(()), Err)?;
            seen = trace.len();
            kept.moved_on(guest);
        }
    }
    Ok(())
}

/// A region is refused only when a sector of its first superblocks was torn, so that nothing
/// says whose the bytes are.
fn refusal_is_right(guest: &Guest, torn: bool) -> Verdict {
    match guest.refused {
        Some(Refused::Unknown) if torn => Ok(()),
        Some(refused) => Err(format!("the region is refused after a cut: {refused}")),
        None => Ok(()),
    }
}

/// What a power cut now leaves if it takes nothing, or all.
fn extremes(machine: &Machine) -> [StableImage; 2] {
    [Survive::Nothing, Survive::Everything]
        .map(|survive| machine.world.crash_image(machine.disk, survive))
}

/// Whether a sector of the superblocks is neither old nor new in `image`.
fn is_torn(whole: &[StableImage; 2], image: &StableImage) -> bool {
    let sector = |image: &StableImage, at: u64| {
        let mut sector = [0; 512];
        image.read(at, &mut sector);
        sector
    };
    let places = [0, 16].into_iter().flat_map(|number| (0..8).map(move |s| number * 8 + s));
    places.map(|place| START + place * 512).any(|at| {
        let got = sector(image, at);
        whole.iter().all(|whole| sector(whole, at) != got)
    })
}

/// Whether a superblock is durable. Before, a drive that damages neighbours can make a blank area
/// look like anybody's.
fn is_formatted(machine: &Machine) -> bool {
    let decode = |at| machine.world.with_medium(machine.disk, |disk| block(disk.stable(), at));
    [0, 16].iter().any(|number| Super::decode(&decode(START + number * 4096)).is_some())
}

/// Images, and whether the format of each was torn.
type Survivors = Vec<(StableImage, bool)>;

/// What may have survived, each once: `limit` of all combinations if there are few, else samples.
fn survivors(machine: &Machine, samples: u64, limit: usize, seed: u64) -> Survivors {
    let whole = extremes(machine);
    let mut seen = BTreeSet::new();
    let mut images = Vec::new();
    let all = machine.world.crash_images(machine.disk, samples, seed);
    let damages = if is_formatted(machine) { samples / 4 } else { 0 };
    let damaged = (0..damages).map(|number| {
        machine.world.crash_image(machine.disk, Survive::SeededDamage(seed ^ number))
    });
    for image in all.chain(damaged) {
        if images.len() < limit + samples as usize && seen.insert(hash(&[0; 16], &image.to_vec())) {
            let torn = !is_formatted(machine) && is_torn(&whole, &image);
            images.push((image, torn));
        }
    }
    images
}

/// How many events a life of this seed has.
fn events(seed: u64) -> u64 {
    let mut machine = Machine::new(seed);
    let ops = script::tour(seed, &samples()[0]);
    live(&mut machine, 0, &ops, &mut Kept::default()).unwrap();
    machine.world.events()
}

/// `cut:seed:event`: a life cut at this event, and everything that may have survived.
pub fn cut(numbers: &[u64]) -> Verdict {
    let [seed, event] = *numbers else { return Err("cut:seed:event".into()) };
    let mut machine = Machine::new(seed);
    let watch = Watch::new(&machine, true);
    machine.world.cut_after(event);
    let mut kept = Kept::default();
    let ops = script::tour(seed, &samples()[0]);
    let guest = live(&mut machine, 0, &ops, &mut kept)?;
    watch.verdict()?;
    let images = survivors(&machine, runs(6), runs(40) as usize, seed ^ event);
    machine.world.crash(Survive::Nothing);
    drop(guest);
    for (image, torn) in images {
        recover(&mut machine, 0, (&image, torn), &kept)?;
    }
    Ok(())
}

/// `deep:seed`: a cut, and a cut of the recovery from it.
pub fn deep(numbers: &[u64]) -> Verdict {
    let [seed] = *numbers else { return Err("deep:seed".into()) };
    let mut rng = Rng::new(seed);
    let mut machine = Machine::new(seed);
    let watch = Watch::new(&machine, true);
    let mut kept = Kept::default();
    let mut was_torn = false;
    let ops = script::tour(seed, &samples()[0]);
    for most in [300, 60] {
        machine.world.cut_after(1 + rng.below(most));
        let guest = live(&mut machine, 0, &ops, &mut kept)?;
        watch.verdict()?;
        let images = survivors(&machine, 8, 8, rng.next_u64());
        drop(guest);
        machine.world.crash(Survive::Nothing);
        machine.stir(rng.next_u64());
        if most == 60 {
            for (image, torn) in images {
                recover(&mut machine, 0, (&image, torn || was_torn), &kept)?;
            }
            break;
        }
        let (image, torn) = &images[rng.index(images.len())];
        machine.world.restore(machine.disk, image);
        was_torn = *torn;
    }
    Ok(())
}

/// `kill:seed:event`: a guest is killed, the power stays on, and the next one goes on from what
/// it left volatile.
pub fn kill(numbers: &[u64]) -> Verdict {
    let [seed, event] = *numbers else { return Err("kill:seed:event".into()) };
    let text = |stop: Stop| stop.text().to_owned();
    let mut machine = Machine::new(seed);
    let watch = Watch::new(&machine, true);
    let guest = Guest::boot(&mut machine, 0).map_err(text)?;
    guest.read(0, 0, 100_000).map_err(text)?;
    machine.world.advance_ns(2_000_000_000);
    for _ in 0..500 {
        if machine.world.events() < event {
            guest.root.progress();
        }
    }
    drop(guest);
    let guest = Guest::boot(&mut machine, 0).map_err(text)?;
    guest.read_all().map_err(text)?;
    if !guest.sync() {
        return Err("a sync on an honest disk did not end well".into());
    }
    watch.verdict()
}

/// The region's disk among those of a crash.
fn image_of(machine: &Machine, images: Vec<(DeviceId, StableImage)>) -> StableImage {
    let mut images = images.into_iter();
    images.find_map(|(disk, image)| (disk == machine.disk).then_some(image)).unwrap()
}

/// `lives:seed`: five lives in a row with one image or the other, each ended by a power cut, by
/// a kill, or in order.
pub fn lives(numbers: &[u64]) -> Verdict {
    let [seed] = *numbers else { return Err("lives:seed".into()) };
    let mut rng = Rng::new(seed);
    let mut machine = Machine::new(seed);
    let watch = Watch::new(&machine, true);
    // What one image is promised, the other may push out.
    let mut kept = Kept::default();
    let mut was_torn = false;
    let mut last = 0;
    for _ in 0..5 {
        let number = usize::from(rng.chance(400_000));
        if number != last {
            kept = Kept::default();
            last = number;
        }
        let ops = script::random(rng.next_u64(), &samples()[number], 12);
        match rng.below(3) {
            0 => machine.world.cut_after(1 + rng.below(20)),
            1 => machine.world.cut_after(1 + rng.below(300)),
            _ => {}
        }
        let guest = live(&mut machine, number, &ops, &mut kept)?;
        watch.verdict()?;
        // Without a cut the guest is killed: what it has in flight is done or vanishes.
        drop(guest);
        if !machine.world.has_power() || rng.chance(300_000) {
            let survive = match rng.below(4) {
                0 => Survive::Nothing,
                1 if is_formatted(&machine) => Survive::SeededDamage(rng.next_u64()),
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

#[test]
fn power_cut_at_every_event_costs_nothing_that_was_synced() {
    for seed in 1..=runs(1) {
        sweep("cut", (1..=events(seed)).map(|event| [seed, event]));
    }
}

#[test]
fn killed_guest_leaves_nothing_volatile_that_the_next_one_relies_on() {
    let cases = (1..=runs(6)).flat_map(|seed| (7..40).map(move |event| [seed, event]));
    sweep("kill", cases);
}

#[test]
fn power_cut_during_recovery_is_survived_too() {
    sweep("deep", (1..=runs(100)).map(|seed| [seed]));
}

#[test]
fn five_lives_in_a_row_keep_both_laws() {
    sweep("lives", (1..=runs(150)).map(|seed| [seed]));
}
