//! Larger slots, with memory for fewer descriptor pages than there are.
//!
//! Always: a page that had to leave memory comes back with every bit it had.

use rootlet_power::case::{runs, sweep};
use rootlet_power::guest::Guest;
use rootlet_power::large::machine;
use rootlet_power::machine::Scale;
use rootlet_sim::disk::{OpKind, Step, Survive};

#[test]
fn few_pages_in_memory_keep_both_laws() {
    sweep(Scale::Large, "slots", (1..=runs(60)).map(|seed| [seed]));
}

#[test]
fn nothing_is_fetched_again_though_pages_leave_memory() {
    for seed in 0..2 {
        let mut machine = machine(seed);
        let guest = Guest::boot(&mut machine, 0).unwrap();
        for _ in 0..3 {
            guest.read_all().unwrap();
            (0..200).for_each(|_| guest.root.progress());
        }
        assert!(guest.sync());
        drop(guest);
        machine.world.crash(Survive::Nothing);
        let guest = Guest::boot(&mut machine, 0).unwrap();
        machine.world.record_trace();
        guest.read_all().unwrap();
        let trace = machine.world.trace();
        let fetched = trace.iter().filter(|seen| {
            seen.device != machine.disk && seen.op == OpKind::Read && seen.step == Step::Submit
        });
        assert_eq!(fetched.count(), 0, "{:?}", guest.cache_stats());
    }
}
