//! Regions so large that they have a hint: lives that leave one, stale ones, and spoiled ones.
//!
//! Always: a hint changes what a mount has to read, and nothing else: what was synced hits, with
//! the hint, without it, and with any other bytes in its place, whether they check out or not.

use rootlet::cache::SlotSize;
use rootlet_sim::Rng;
use rootlet_sim::disk::Survive;

use crate::case::Run;
use crate::decode::{self, HINT_ENTRY};
use crate::guest::Guest;
use crate::invariants::{
    Broken, Invariant, Kept, Mutated, Verdict, Watch, block, slots_are_consistent,
};
use crate::machine::{Machine, START, samples};
use crate::power::{extremes, image_of, is_formatted, is_torn, live, recover};
use crate::script;

/// Regions of the smallest length with a hint, and some more: of small slots, and of large ones.
const BYTES: [u64; 2] = [112 << 20, 144 << 20];

/// A machine whose region has a hint; of odd seeds with a descriptor page for each slot, so that
/// what is learned of one says nothing of others.
pub fn machine(seed: u64) -> Machine {
    let bytes = BYTES[usize::from(has_large_slots(seed))];
    let mut machine = Machine::with(seed, bytes, [512, 512, 4096][seed as usize % 3]);
    if has_large_slots(seed) {
        machine.options.slot_size = Some(SlotSize::M1);
    }
    machine
}

fn has_large_slots(seed: u64) -> bool {
    seed % 2 == 1
}

/// The first byte of the hint on the disk, and the byte after its last; `None` if the region has none.
pub fn range(guest: &Guest) -> Option<std::ops::Range<u64>> {
    let geometry = guest.cache(|cache| cache.superblock().geometry)?;
    let range = START + geometry.hint_at(0)..START + geometry.slots_at();
    (!range.is_empty()).then_some(range)
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

/// `forged:seed`: a hint whose checks are right and which is wrong about where windows lie. That is
/// found out before any block is read, or blocks would fail their checks.
pub fn forged(run: &mut Run<'_>, numbers: &[u64]) -> Verdict {
    let mut rng = Rng::new(numbers[0]);
    let mut machine = machine(numbers[0]);
    let guest = Guest::boot(&mut machine, 0)?;
    for op in script::random_with_leaves(rng.next_u64(), &samples(run.scale)[0], 6) {
        guest.run(&machine, &op)?;
    }
    guest.read_all()?;
    let (range, left) = (range(&guest), guest.leave());
    let region = guest.cache(|cache| *cache.superblock());
    let (Some(range), Some(region), true) = (range, region, left) else {
        return Err(Broken::new(Invariant::WorkEnds, "a region without a hint"));
    };
    drop(guest);
    forge(&machine, range, (&region.uuid, region.geometry.slots()), &mut rng);
    for _ in 0..2 {
        let guest = Guest::boot_blind(&mut machine, 0)?;
        Mutated::judge(guest.read_all().map_err(Broken::from))?;
        if guest.cache_stats().check_failures > 0 {
            let what = "a block was read because a hint said so";
            return Err(Broken::new(Invariant::MutationIsAMiss, what));
        }
        slots_are_consistent(&guest)?;
        guest.leave();
        counts_are_right(&guest)?;
    }
    Ok(())
}

/// Once all pages were read, the resident bytes of the blobs are those that are found block by block.
fn counts_are_right(guest: &Guest) -> Verdict {
    let counted = guest.root.with_layer(|cache, storage| {
        let cache = cache.as_mut()?;
        cache.scan_all(storage);
        let blobs = cache.blobs().filter(|(_, entry)| entry.identity.0[8..24] == guest.sample.uuid);
        Some(blobs.map(|(blob, _)| cache.resident_bytes(blob)).sum::<u64>())
    });
    let found = guest.residents().len() as u64 * 4096;
    if counted.is_none_or(|counted| counted == found) {
        return Ok(());
    }
    let what = format!("{counted:?} bytes are counted, {found} are found");
    Err(Broken::new(Invariant::SlotsAreConsistent, what))
}

/// Moves what the entries of a hint say about slots around, to slots that hold something else, to
/// free ones and to those that are not there, and puts the checks right. In half of the hints the
/// counts of resident blocks are others, too.
fn forge(
    machine: &Machine,
    range: std::ops::Range<u64>,
    (uuid, slots): (&[u8; 16], u32),
    rng: &mut Rng,
) {
    let read = |at| machine.world.with_medium(machine.disk, |disk| block(disk.current(), at));
    let head = range.start;
    let pages: Vec<u64> = range.step_by(4096).skip(1).collect();
    let entries = |raw: &[u8]| decode::hint_slots(raw).len();
    let read = |at| decode::unsealed(&read(at));
    if rng.chance(500_000) {
        let mut raw = read(head);
        forge_counts(&mut raw, rng);
        decode::seal_page(uuid, &mut raw);
        machine.world.poke(machine.disk, head, &raw);
    }
    let mut held: Vec<u32> = pages.iter().flat_map(|at| decode::hint_slots(&read(*at))).collect();
    // Neighbours trade places.
    held.rotate_left(1);
    let mut held = held.into_iter();
    for at in pages {
        let mut raw = read(at);
        for index in 0..entries(&raw) {
            let other = held.next().unwrap_or(0);
            let slot = match rng.below(4) {
                0 => rng.below(u64::from(slots)) as u32,
                1 => rng.next_u64() as u32 & !(1 << 31),
                _ => other,
            };
            let entry = decode::HINT_ENTRIES + index * HINT_ENTRY;
            raw[entry..entry + 4].copy_from_slice(&slot.to_le_bytes());
        }
        decode::seal_page(uuid, &mut raw);
        machine.world.poke(machine.disk, at, &raw);
    }
}

/// Lowers the counts of resident blocks, which are then contradicted page by page; or makes one of
/// them larger than any count.
fn forge_counts(raw: &mut [u8], rng: &mut Rng) {
    let is_large = rng.chance(300_000);
    for count in raw[decode::HINT_COUNTS..][..8 * 124].chunks_exact_mut(8) {
        let blocks = decode::u64_at(count, 0);
        let forged = match is_large {
            true if rng.chance(300_000) => u64::MAX - rng.below(2),
            true => blocks,
            false => rng.below(blocks + 1),
        };
        count.copy_from_slice(&forged.to_le_bytes());
    }
}
