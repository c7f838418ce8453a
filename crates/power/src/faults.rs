//! Faults of the region's disk: by rates, at every request, and a hand that damages it.
//!
//! Always: the sources answer, so no read fails (L2) and none is wrong (L1), whatever the disk
//! does; a region that is read-only or bypassed is not written.

use rootlet::storage::IoErrorKind;
use rootlet_sim::Rng;
use rootlet_sim::disk::{Fault, OpKind, Rule, Survive};

use crate::case::Run;
use crate::guest::Guest;
use crate::invariants::{Broken, Damaged, Verdict, Watch, silence, slots_are_consistent};
use crate::machine::{BYTES, Machine, START, Scale};
use crate::script;

/// What goes wrong now and then, and how often in a million.
const RATES: [(Fault, Option<OpKind>, u32); 21] = [
    (Fault::DropFlush, None, 300_000),
    (Fault::DropFlush, None, 1_000_000),
    (Fault::EarlyFlush, None, 500_000),
    (Fault::EndTwice, None, 100_000),
    (Fault::EndTwice, Some(OpKind::Write), 500_000),
    (Fault::Fail(IoErrorKind::Short(512)), Some(OpKind::Write), 50_000),
    (Fault::LoseWrite, None, 50_000),
    (Fault::LoseWrite, None, 400_000),
    (Fault::MisdirectWrite(None), None, 80_000),
    (Fault::TearWrite(None), None, 100_000),
    (Fault::FlipRead, None, 60_000),
    (Fault::StaleRead, None, 100_000),
    (Fault::NoiseRead, None, 30_000),
    (Fault::Fail(IoErrorKind::Device(5)), Some(OpKind::Read), 50_000),
    (Fault::Fail(IoErrorKind::Device(5)), Some(OpKind::Write), 80_000),
    (Fault::Fail(IoErrorKind::Device(5)), Some(OpKind::Flush), 100_000),
    (Fault::Fail(IoErrorKind::Short(512)), Some(OpKind::Read), 50_000),
    (Fault::Delay(10_000_000_000), None, 20_000),
    (Fault::Hang, None, 3_000),
    (Fault::ScatterWrite, None, 80_000),
    (Fault::Fail(IoErrorKind::Device(1)), None, 1_000_000),
];

/// What strikes once, at a request of choice.
pub const ONCE: [(Fault, OpKind); 18] = [
    (Fault::Fail(IoErrorKind::Device(5)), OpKind::Read),
    (Fault::Fail(IoErrorKind::Device(5)), OpKind::Write),
    (Fault::Fail(IoErrorKind::Device(5)), OpKind::Flush),
    (Fault::Hang, OpKind::Read),
    (Fault::Hang, OpKind::Write),
    (Fault::Hang, OpKind::Flush),
    (Fault::Unplug, OpKind::Read),
    (Fault::Unplug, OpKind::Write),
    (Fault::TurnReadOnly, OpKind::Write),
    (Fault::Shrink(START + BYTES / 4), OpKind::Write),
    (Fault::Shrink(START), OpKind::Read),
    (Fault::NoiseRead, OpKind::Read),
    (Fault::LoseWrite, OpKind::Write),
    (Fault::DropFlush, OpKind::Flush),
    (Fault::EarlyFlush, OpKind::Flush),
    (Fault::EndTwice, OpKind::Read),
    (Fault::EndTwice, OpKind::Write),
    (Fault::EndTwice, OpKind::Flush),
];

/// A hand that damages the region.
fn damage(machine: &Machine, rng: &mut Rng) {
    let world = &machine.world;
    let mut noise = vec![0; 4096];
    match rng.below(8) {
        0 => world.poke(machine.disk, START, &vec![0; machine.bytes() as usize]),
        1 => {
            noise.resize(machine.bytes() as usize, 0);
            rng.fill(&mut noise);
            world.poke(machine.disk, START, &noise);
        }
        2 => world.poke(machine.disk, START, &noise),
        3 => world.set_read_only(machine.disk, rng.chance(500_000)),
        4 => world.set_gone(machine.disk, rng.chance(300_000)),
        5 => {
            // Bits rot in the tables.
            let at = START + rng.below(48 * 4096);
            rng.fill(&mut noise[..1]);
            world.poke(machine.disk, at, &noise[..1]);
        }
        _ => {
            let at = START + rng.below(machine.bytes() / 4096) * 4096;
            rng.fill(&mut noise);
            world.poke(machine.disk, at, &noise);
        }
    }
}

/// A life in which every read must be right.
fn live(machine: &mut Machine, rng: &mut Rng, len: usize, damaged: bool) -> Result<Guest, Broken> {
    let number = usize::from(rng.chance(300_000));
    let guest = Guest::boot(machine, number)?;
    for op in script::random(rng.next_u64(), &machine.samples[number], len) {
        if damaged && rng.chance(120_000) {
            damage(machine, rng);
        }
        let mode = guest.mode();
        let writes = machine.world.counters(machine.disk).writes;
        guest.run(machine, &op)?;
        silence(mode, writes, machine.world.counters(machine.disk).writes)?;
        slots_are_consistent(&guest)?;
    }
    Ok(guest)
}

/// `rates:seed`: three lives with one to three kinds of fault and a hand that damages the region.
pub fn rates(run: &mut Run<'_>, numbers: &[u64]) -> Verdict {
    let seed = numbers[0];
    let mut rng = Rng::new(seed);
    let mut machine = Machine::of(run.scale, seed);
    let watch = Watch::new(&machine, false);
    // The format itself is spared in most cases, else there is nothing to be damaged.
    if rng.chance(800_000) {
        live(&mut machine, &mut rng, 12, false)?;
    }
    for _ in 0..rng.below(4) {
        let (fault, op, rate) = RATES[rng.index(RATES.len())];
        let rule = Rule::new(fault).device(machine.disk).per_million(rate);
        machine.world.rule(op.map_or(rule.clone(), |op| rule.op(op)));
    }
    let damaged = rng.chance(500_000);
    let rest = tortured(&mut machine, &mut rng, &watch, damaged);
    if damaged { Damaged::judge(rest) } else { rest }
}

/// Three lives with faults, and one when all is well again.
fn tortured(machine: &mut Machine, rng: &mut Rng, watch: &Watch, damaged: bool) -> Verdict {
    let whole = machine.bytes() + 2 * START;
    for _ in 0..3 {
        let guest = live(machine, rng, 15, damaged)?;
        watch.verdict()?;
        if rng.chance(600_000) {
            machine.world.crash(Survive::Seeded(rng.next_u64()));
        }
        drop(guest);
        machine.stir(rng.next_u64());
        match rng.below(12) {
            0 => {
                machine.world.resize(machine.disk, START + rng.below(machine.bytes() / 4096) * 4096)
            }
            1 => machine.world.resize(machine.disk, whole + (1 << 20)),
            _ => {}
        }
    }
    machine.world.heal();
    machine.world.set_gone(machine.disk, false);
    machine.world.resize(machine.disk, whole);
    live(machine, rng, 15, false).map(drop)?;
    watch.verdict()
}

/// `script:fault:n`: one fault at the n-th request of its kind.
pub fn scripted(run: &mut Run<'_>, numbers: &[u64]) -> Verdict {
    let (number, nth) = (numbers[0], numbers[1]);
    let (fault, op) = ONCE[number as usize];
    let mut machine = Machine::of(run.scale, number + 100 * nth);
    let watch = Watch::new(&machine, false);
    machine.world.rule(Rule::new(fault).device(machine.disk).op(op).nth(nth));
    for life in 0..2 {
        let guest = Guest::boot(&mut machine, 0)?;
        for op in script::tour(nth + life, &machine.samples[0]) {
            guest.run(&machine, &op)?;
        }
        watch.verdict()?;
    }
    Ok(())
}

/// `flips:seed`: data that is read wrong, or not written, a few times makes slots be given up at
/// any moment; the order of writes holds all the same.
pub fn flips(run: &mut Run<'_>, numbers: &[u64]) -> Verdict {
    let seed = numbers[0];
    let mut rng = Rng::new(seed);
    // Two pages of descriptors, so that one can be in flight while the other changes.
    let mut machine = match run.scale {
        Scale::Large => Machine::with(seed, 2 << 20, [512, 4096][rng.index(2)]),
        Scale::Keyed => Machine::of(run.scale, seed),
        Scale::Small | Scale::Wide => Machine::of([Scale::Small, Scale::Wide][rng.index(2)], seed),
    };
    let watch = Watch::new(&machine, true);
    machine.world.set_jitter_ns(300_000);
    for life in 0..2 {
        // Something to be read wrong.
        let guest = Guest::boot(&mut machine, 0)?;
        guest.read_all()?;
        guest.sync();
        drop(guest);
        let slots_at = START + 46 * 4096;
        let slots = slots_at..START + machine.bytes();
        let flip = Rule::new(Fault::FlipRead).device(machine.disk).range(slots.clone());
        machine
            .world
            .rule(flip.per_million([50_000, 150_000, 500_000][rng.index(3)]).times(rng.below(7)));
        let fail = Rule::new(Fault::Fail(IoErrorKind::Device(5))).device(machine.disk);
        let fail = fail.op(OpKind::Write).range(slots);
        machine.world.rule(fail.per_million(100_000).times(rng.below(4)));
        // Pages that stay in flight while slots are given up.
        let slow = Rule::new(Fault::Delay([0, 300_000, 3_000_000][rng.index(3)]));
        machine.world.rule(slow.device(machine.disk).op(OpKind::Write).range(START..slots_at));
        live(&mut machine, &mut rng, 60, false)?;
        watch.verdict()?;
        machine.world.heal();
        if life == 0 && rng.chance(500_000) {
            machine.world.crash(Survive::Seeded(rng.next_u64()));
        }
    }
    Ok(())
}
