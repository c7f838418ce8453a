//! What a sync promised while writes, reads and flushes fail, and then the power goes.
//!
//! Always: the disk says what failed. A sync that says yes is kept after any cut; a read of a source
//! that is well does not fail, and no check does, because a failed write is not a lie.

use rootlet::storage::IoErrorKind;
use rootlet_sim::Rng;
use rootlet_sim::disk::{Fault, OpKind, Rule, Survive};

use crate::case::Run;
use crate::guest::Guest;
use crate::invariants::{Kept, Verdict, Watch, no_check_fails, slots_are_consistent};
use crate::machine::{Machine, samples};
use crate::power::act;
use crate::script;

/// What fails, and how often in a million.
const FAILS: [(Fault, OpKind, u32); 8] = [
    (Fault::Fail(IoErrorKind::Device(5)), OpKind::Write, 20_000),
    (Fault::Fail(IoErrorKind::Device(5)), OpKind::Write, 150_000),
    (Fault::ScatterWrite, OpKind::Write, 20_000),
    (Fault::ScatterWrite, OpKind::Write, 150_000),
    (Fault::Fail(IoErrorKind::Device(5)), OpKind::Read, 50_000),
    (Fault::Fail(IoErrorKind::Short(512)), OpKind::Read, 50_000),
    (Fault::Fail(IoErrorKind::Device(5)), OpKind::Flush, 60_000),
    (Fault::LoseFlush, OpKind::Flush, 60_000),
];

/// `synced:seed`: two to four lives on a disk whose requests fail at times, each ended by a cut.
pub fn lives(run: &mut Run<'_>, numbers: &[u64]) -> Verdict {
    let seed = numbers[0];
    let mut rng = Rng::new(seed ^ 0x51ced);
    let mut machine = Machine::of(run.scale, seed);
    let watch = Watch::new(&machine, true);
    let mut kept = Kept::default();
    for life in 0..2 + rng.below(3) {
        if life > 0 || rng.chance(200_000) {
            for _ in 0..1 + rng.below(3) {
                let (fault, op, rate) = FAILS[rng.index(FAILS.len())];
                let rule = Rule::new(fault).device(machine.disk).op(op).skip(rng.below(12));
                machine.world.rule(rule.per_million(rate).times(1 + rng.below(6)));
            }
        }
        if rng.chance(300_000) {
            machine.world.cut_after(1 + rng.below(300));
        }
        let ops = script::random_with_leaves(rng.next_u64(), &samples(run.scale)[0], 20);
        // Its mount may not see all that was promised, because its reads fail too.
        let guest = match Guest::boot(&mut machine, 0) {
            Ok(guest) => Some(guest),
            Err(_) if !machine.world.has_power() => None,
            Err(stop) => return Err(stop.into()),
        };
        if let Some(guest) = &guest {
            act(&machine, guest, &ops, &mut kept)?;
            no_check_fails(guest)?;
        }
        watch.verdict()?;
        machine.world.crash(Survive::Seeded(rng.next_u64()));
        drop(guest);
        machine.world.heal();
        machine.stir(rng.next_u64());
        // Looks at what is there, and changes nothing.
        let guest = Guest::boot(&mut machine, 0)?;
        kept.found(&guest)?;
        slots_are_consistent(&guest)?;
        if life % 2 == 1 {
            guest.read_all()?;
            no_check_fails(&guest)?;
            kept.moved_on(&guest);
        }
    }
    watch.verdict()
}
