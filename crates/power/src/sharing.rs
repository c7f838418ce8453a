//! Guests that share a region, at once or one after the other, and places of its tables that are
//! used again.
//!
//! Always: bytes of another blob or of another guest are never served.

use rootlet::cache::{BlobIdentity, FormatPolicy, IDENTITY_BYTES, Layer};
use rootlet::storage::Parts;
use rootlet_sim::Rng;
use rootlet_sim::disk::{SimStorage, Survive};

use crate::case::Run;
use crate::guest::Guest;
use crate::invariants::{Broken, Invariant, Verdict, Watch, no_check_fails, slots_are_consistent};
use crate::machine::Machine;
use crate::script::{self, Op};

/// `two:seed`: two guests on one region at once, clones of one machine at times, and a third after
/// a power cut.
pub fn two_guests(run: &mut Run<'_>, numbers: &[u64]) -> Verdict {
    let mut rng = Rng::new(numbers[0]);
    let mut machine = Machine::of(run.scale, numbers[0]);
    let watch = Watch::new(&machine, false);
    if rng.chance(500_000) {
        let guest = Guest::boot(&mut machine, 0)?;
        guest.read_all()?;
        guest.sync();
    }
    let numbers = [0, usize::from(rng.chance(500_000))];
    // A cloned machine draws the same entropy: the same nonce, and the same UUID if it formats.
    let cloned = rng.chance(300_000).then(|| rng.next_u64());
    let mut guests = Vec::new();
    for number in numbers {
        if let Some(seed) = cloned {
            machine.stir(seed);
        }
        guests.push(Guest::boot(&mut machine, number)?);
    }
    let mut scripts: Vec<Vec<Op>> =
        guests.iter().map(|guest| script::random(rng.next_u64(), guest.sample, 30)).collect();
    while scripts.iter().any(|ops| !ops.is_empty()) {
        let turn = rng.index(2);
        if let Some(op) = scripts[turn].pop() {
            guests[turn].run(&machine, &op)?;
        }
    }
    watch.verdict()?;
    machine.world.crash(Survive::Seeded(rng.next_u64()));
    drop(guests);
    for number in numbers {
        let guest = Guest::boot(&mut machine, number)?;
        guest.read_all()?;
        slots_are_consistent(&guest)?;
    }
    watch.verdict()
}

/// Entries of the blob table.
const ENTRIES: u64 = 124;

/// `blobs:seed`: the blob table is full of others, so that a blob's entry is given to the next
/// one while slots of it are in the region; or the region is formatted anew over itself.
pub fn reused_entries(run: &mut Run<'_>, numbers: &[u64]) -> Verdict {
    let mut rng = Rng::new(numbers[0]);
    let mut machine = Machine::of(run.scale, numbers[0]);
    let watch = Watch::new(&machine, true);
    let mut stranger = rng.next_u64();
    for _ in 0..4 {
        let number = rng.index(2);
        let guest = Guest::boot(&mut machine, number)?;
        if machine.options.format == FormatPolicy::Force && !guest.opened.is_empty() {
            let what = "a region that was just formatted holds something";
            return Err(Broken::new(Invariant::NothingMixes, what));
        }
        for op in script::random(rng.next_u64(), guest.sample, 8) {
            guest.run(&machine, &op)?;
        }
        let strangers = rng.below(2 * ENTRIES);
        guest.root.with_layer(|cache, _| {
            for _ in 0..strangers {
                stranger = stranger.wrapping_add(1);
                let mut identity = [0; IDENTITY_BYTES];
                identity[24..32].copy_from_slice(&stranger.to_le_bytes());
                if let Some(cache) = cache {
                    Layer::<Parts<SimStorage>>::attach(cache, || BlobIdentity(identity), 1 << 20);
                }
            }
        });
        guest.read_all()?;
        if rng.chance(600_000) && !guest.sync() {
            let what = "a sync on an honest disk did not end well";
            return Err(Broken::new(Invariant::WorkEnds, what));
        }
        no_check_fails(&guest)?;
        slots_are_consistent(&guest)?;
        watch.verdict()?;
        if rng.chance(400_000) {
            machine.world.crash(Survive::Seeded(rng.next_u64()));
        }
        drop(guest);
        if rng.chance(100_000) {
            machine.options.format = FormatPolicy::Force;
        } else {
            machine.options.format = FormatPolicy::Auto;
        }
    }
    Ok(())
}
