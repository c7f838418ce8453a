//! Sources that answer differently the second time, and readers that a refused read leaves with
//! zeros.

use rootlet_sim::disk::{Fault, OpKind, Rule};

use crate::world::{made, mount};

#[test]
fn source_that_heals_is_read_once_more_and_counted() {
    let made = made(1, 100_000);
    let (world, data, _) = made.world();
    let guest = mount(&world, &made.line()).unwrap();
    world.rule(Rule::new(Fault::FlipRead).device(data[1]).op(OpKind::Read).nth(1));
    world.rule(Rule::new(Fault::NoiseRead).device(data[2]).op(OpKind::Read).nth(1));
    assert!(made.read_all(&guest).iter().all(Result::is_ok));
    assert_eq!(guest.root.storage().stats().wrong, 2);
}

#[test]
fn source_that_does_not_heal_is_an_error_after_two_reads() {
    let made = made(2, 100_000);
    let (world, data, _) = made.world();
    // Without blocks in memory, which are read with their neighbours, and then alone.
    let guest = mount(&world, &format!("{} ram-cache=0", made.line())).unwrap();
    world.rule(Rule::new(Fault::NoiseRead).device(data[1]).op(OpKind::Read));
    let before = world.counters(data[1]).reads;
    let file = guest.root.open(b"/f0").unwrap();
    let mut out = vec![0xee; 4096];
    let mut failed = 0;
    for number in 0..24_u64 {
        out.fill(0xee);
        if file.read_at(number * 4096, &mut out).is_err() {
            failed += 1;
            assert!(out.iter().all(|byte| *byte == 0), "a refused block is not handed out");
        }
    }
    assert!(failed > 0);
    assert_eq!(world.counters(data[1]).reads - before, 2 * failed, "once more, no oftener");
    world.heal();
    assert!(made.read_all(&guest).iter().all(Result::is_ok), "nothing wrong was kept");
}

#[test]
fn node_that_lies_once_is_read_once_more() {
    let made = made(3, 1_200_000);
    let (world, _, trees) = made.world();
    let guest = mount(&world, &made.line()).unwrap();
    world.rule(Rule::new(Fault::NoiseRead).device(trees[1]).op(OpKind::Read).nth(1));
    assert!(made.read_all(&guest).iter().all(Result::is_ok));
    assert!(guest.root.storage().stats().wrong > 0);
}

/// Random faults of every device, at any read: right bytes, or an error.
#[test]
fn lying_sources_never_pass() {
    let made = made(4, 300_000);
    let (mut right, mut wrong) = (0, 0);
    for seed in 0..60 {
        let (world, data, trees) = made.world();
        let Ok(guest) = mount(&world, &made.line()) else { continue };
        world.stir(seed);
        for device in data.iter().chain(&trees) {
            for fault in [Fault::FlipRead, Fault::NoiseRead, Fault::MisdirectRead] {
                world.rule(Rule::new(fault).device(*device).per_million(200_000));
            }
        }
        for result in made.read_all(&guest) {
            if result.is_ok() { right += 1 } else { wrong += 1 }
        }
    }
    assert!(right > 20 && wrong > 20, "{right} right, {wrong} refused");
}
