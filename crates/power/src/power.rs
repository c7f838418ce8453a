//! Power cuts: at every event, whatever subset of what was not flushed survives.
//!
//! Always: after a cut every read is right (L1) and none fails (L2); what was synced and not
//! given up hits; no check fails, because the order of writes alone is enough on an honest disk.

use std::collections::BTreeSet;

use rootlet::storage::DeviceId;
use rootlet_sim::Rng;
use rootlet_sim::disk::{StableImage, Survive};

use crate::case::{Run, runs};
use crate::decode::{Super, hash};
use crate::guest::{Guest, Stop};
use crate::invariants::{
    Broken, Invariant, Kept, Verdict, Watch, no_check_fails, refusal_is_right, same_mount,
    slots_are_consistent,
};
use crate::machine::{Machine, START, Scale, samples};
use crate::script::{self, Op};

/// Bytes of one read while everything is read.
const READ_BYTES: usize = 128 << 10;

/// Runs a life until its script or its power ends.
pub fn live(
    machine: &mut Machine,
    number: usize,
    ops: &[Op],
    kept: &mut Kept,
) -> Result<Option<Guest>, Broken> {
    let guest = match Guest::boot(machine, number) {
        Ok(guest) => guest,
        Err(_) if !machine.world.has_power() => return Ok(None),
        Err(stop) => return Err(stop.into()),
    };
    if machine.world.has_power() {
        kept.found(&guest)?;
        if guest.refused.is_none() && !is_formatted(machine) {
            let what = "a format that has ended is not durable";
            return Err(Broken::new(Invariant::MountIsIdempotent, what));
        }
    }
    act(machine, &guest, ops, kept)?;
    no_check_fails(&guest)?;
    Ok(Some(guest))
}

/// Runs a script until it or the power ends, and notes what is promised.
pub fn act(machine: &Machine, guest: &Guest, ops: &[Op], kept: &mut Kept) -> Verdict {
    kept.moved_on(guest);
    for op in ops {
        if !machine.world.has_power() {
            break;
        }
        let result = guest.run(machine, op);
        kept.moved_on(guest);
        match result {
            Ok(done) if matches!(op, Op::Sync | Op::Leave) && done => {
                // A leave continues after its sync.
                if !machine.world.has_power() && *op == Op::Sync {
                    let what = "sync said yes though the power went";
                    return Err(Broken::new(Invariant::SyncedIsKept, what));
                }
                kept.synced(guest);
            }
            Ok(_) => {}
            Err(Stop::Failed(_)) if !machine.world.has_power() => break,
            Err(stop) => return Err(stop.into()),
        }
    }
    slots_are_consistent(guest)
}

/// Boots on what survived, twice, and reads everything.
pub fn recover(
    machine: &mut Machine,
    number: usize,
    (image, torn): (&StableImage, bool),
    kept: &Kept,
) -> Verdict {
    machine.world.restore(machine.disk, image);
    let once = Guest::boot(machine, number)?;
    refusal_is_right(once.refused, torn)?;
    let found = once.opened.clone();
    drop(once);
    let guest = Guest::boot(machine, number)?;
    same_mount(&found, &guest.opened)?;
    kept.found(&guest)?;
    let mut kept = kept.clone();
    kept.moved_on(&guest);
    read_all_of(machine, &guest, &mut kept)?;
    no_check_fails(&guest)
}

/// Reads every file; what is promised, and not given up on the way, is not fetched.
fn read_all_of(machine: &Machine, guest: &Guest, kept: &mut Kept) -> Verdict {
    machine.world.record_trace();
    let mut seen = machine.world.trace().len();
    for (file, of) in guest.sample.files.iter().enumerate() {
        for at in (0..of.bytes.len() as u64).step_by(READ_BYTES) {
            guest.read(file, at, READ_BYTES)?;
            let trace = machine.world.trace();
            kept.not_fetched(&machine.sources[guest.number], &trace[seen..])?;
            seen = trace.len();
            kept.moved_on(guest);
        }
    }
    Ok(())
}

/// What a power cut now leaves if it takes nothing, or all.
pub fn extremes(machine: &Machine) -> [StableImage; 2] {
    [Survive::Nothing, Survive::Everything]
        .map(|survive| machine.world.crash_image(machine.disk, survive))
}

/// Whether a sector of the superblocks is neither old nor new in `image`.
pub fn is_torn(whole: &[StableImage; 2], image: &StableImage) -> bool {
    let sector = |image: &StableImage, at: u64| {
        let mut sector = [0; 512];
        image.read(at, &mut sector);
        sector
    };
    // The last two are headers, where the region has a key; else nobody writes there.
    let blocks = [START, START + 16 * 4096, 0, START / 2];
    blocks.into_iter().flat_map(|at| (at..at + 4096).step_by(512)).any(|at| {
        let got = sector(image, at);
        whole.iter().all(|whole| sector(whole, at) != got)
    })
}

/// Whether a superblock is durable. Before, a drive that damages neighbours can make a blank area
/// look like anybody's.
pub fn is_formatted(machine: &Machine) -> bool {
    let decode = |at| {
        machine.world.with_medium(machine.disk, |disk| {
            machine.cipher(disk.stable()).block(disk.stable(), at)
        })
    };
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
pub fn events(scale: Scale, seed: u64) -> u64 {
    let mut machine = Machine::of(scale, seed);
    let ops = script::tour(seed, &samples(scale)[0]);
    live(&mut machine, 0, &ops, &mut Kept::default()).unwrap();
    machine.world.events()
}

/// `cut:seed:event`: a life cut at this event, and everything that may have survived.
pub fn cut(run: &mut Run<'_>, numbers: &[u64]) -> Verdict {
    let (seed, event) = (numbers[0], numbers[1]);
    let mut machine = Machine::of(run.scale, seed);
    let watch = Watch::new(&machine, true);
    machine.world.cut_after(event);
    let mut kept = Kept::default();
    let ops = script::tour(seed, &samples(run.scale)[0]);
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
pub fn deep(run: &mut Run<'_>, numbers: &[u64]) -> Verdict {
    let seed = numbers[0];
    let mut rng = Rng::new(seed);
    let mut machine = Machine::of(run.scale, seed);
    let watch = Watch::new(&machine, true);
    let mut kept = Kept::default();
    let mut was_torn = false;
    let ops = script::tour(seed, &samples(run.scale)[0]);
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

/// `kill:seed:event`: a guest is killed, the power stays on, and the next one continues from the bytes that
/// the first one left volatile.
pub fn kill(run: &mut Run<'_>, numbers: &[u64]) -> Verdict {
    let (seed, event) = (numbers[0], numbers[1]);
    let mut machine = Machine::of(run.scale, seed);
    let watch = Watch::new(&machine, true);
    let guest = Guest::boot(&mut machine, 0)?;
    guest.read(0, 0, 100_000)?;
    machine.world.advance_ns(2_000_000_000);
    for _ in 0..500 {
        if machine.world.events() < event {
            guest.root.progress();
        }
    }
    drop(guest);
    let guest = Guest::boot(&mut machine, 0)?;
    guest.read_all()?;
    if !guest.sync() {
        let what = "a sync on an honest disk did not end well";
        return Err(Broken::new(Invariant::WorkEnds, what));
    }
    watch.verdict()
}

/// The region's disk among those of a crash.
pub fn image_of(machine: &Machine, images: Vec<(DeviceId, StableImage)>) -> StableImage {
    let mut images = images.into_iter();
    images.find_map(|(disk, image)| (disk == machine.disk).then_some(image)).unwrap()
}

/// `lives:seed`: five lives in a row with one image or the other, each ended by a power cut, by
/// a kill, or in order.
pub fn lives(run: &mut Run<'_>, numbers: &[u64]) -> Verdict {
    let seed = numbers[0];
    let mut rng = Rng::new(seed);
    let mut machine = Machine::of(run.scale, seed);
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
        let ops = script::random(rng.next_u64(), &samples(run.scale)[number], 12);
        match rng.below(3) {
            0 => machine.world.cut_after(1 + rng.below(20)),
            1 => machine.world.cut_after(1 + rng.below(300)),
            _ => {}
        }
        let guest = live(&mut machine, number, &ops, &mut kept)?;
        watch.verdict()?;
        // Without a cut the guest is killed: its writes in flight are done or vanish.
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
